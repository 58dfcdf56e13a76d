#!/usr/bin/env bash
# Runs the parts of the stack's tests, some side by side since they mostly wait,
# and ends with one line over all: `N passed, N failed, N skipped`. Exits with 1
# if anything failed.
#
# A part is a folder with a run.sh that ends with `NAME: N passed, N failed, N
# skipped`, says of each skipped test why, and exits with 1 if one failed.
set -euo pipefail
# Each part gets a process group of its own, which can be ended as a whole.
set -m

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
logs=$root/_build/test-logs
jobs=${STACK_TEST_JOBS:-3}

# Those that wait most begin, with live first, whose times are the shortest; rules
# computes all the time.
order=(live alertmanager scripts dashboards telemetry kubernetes)
last=(rules)
parts=("${order[@]}")
for script in "$here"/*/run.sh; do
  part=${script%/run.sh}
  part=${part##*/}
  [[ " ${order[*]} ${last[*]} " == *" $part "* ]] || parts+=("$part")
done
parts+=("${last[@]}")

usage() {
  cat <<USAGE
usage: monitoring/tests/run.sh [PART ...]

parts: ${parts[*]}
Without a part: all of them. make stack-test sets up what they need first.
A part's output is shown when the part has ended; one part alone shows it at once.
All of it stays in _build/test-logs/stack-PART.log.

environment:
  STACK_TEST_JOBS   how many parts run side by side (default: 3)
USAGE
}

for part in "$@"; do
  case $part in
    -h | --help)
      usage
      exit 0
      ;;
  esac
  if [ ! -x "$here/$part/run.sh" ]; then
    printf 'stack-test: unknown part: %s\n' "$part" >&2
    usage >&2
    exit 2
  fi
done
if ! [[ $jobs =~ ^[1-9][0-9]?$ ]]; then
  printf 'stack-test: STACK_TEST_JOBS is not a number from 1 to 99: %s\n' "$jobs" >&2
  exit 2
fi
[ $# -gt 0 ] || set -- "${parts[@]}"

declare -A running=() began=()
stop() {
  local pid
  for pid in "${!running[@]}"; do
    kill -TERM -- "-$pid" 2>/dev/null || true
  done
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

passed=0 failed=0 skipped=0 broken=()
count() { # PART STATUS
  local line p=0 f=1 s=0
  line=$(grep -E "^$1: [0-9]+ passed, [0-9]+ failed, [0-9]+ skipped\$" "$logs/stack-$1.log" | tail -1 || true)
  if [ -z "$line" ]; then
    printf 'stack-test: %s broke before it could count (status %s)\n' "$1" "$2" >&2
  else
    read -r p f s < <(sed -E 's/[^0-9]*([0-9]+) passed, ([0-9]+) failed, ([0-9]+) skipped/\1 \2 \3/' <<<"${line#"$1": }")
    if [ "$2" -ne 0 ] && [ "$f" -eq 0 ]; then f=1; fi
    if [ $((p + f + s)) -eq 0 ]; then
      printf 'stack-test: %s executed no test\n' "$1" >&2
      f=1
    fi
  fi
  [ "$f" -eq 0 ] || broken+=("$logs/stack-$1.log")
  passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
}

finish_one() {
  local pid status=0 part
  wait -n -p pid "${!running[@]}" || status=$?
  part=${running[$pid]}
  unset "running[$pid]"
  printf '\n== %s (%d s)\n' "$part" $((SECONDS - began[$part]))
  cat "$logs/stack-$part.log"
  count "$part" "$status"
}

mkdir -p "$logs"
if [ $# -eq 1 ]; then
  printf '\n== %s\n' "$1"
  status=0
  "$here/$1/run.sh" 2>&1 | tee "$logs/stack-$1.log" || status=$?
  count "$1" "$status"
else
  for part in "$@"; do
    while [ "${#running[@]}" -ge "$jobs" ]; do finish_one; done
    printf 'stack-test: %s begins\n' "$part"
    "$here/$part/run.sh" >"$logs/stack-$part.log" 2>&1 </dev/null &
    running[$!]=$part
    began[$part]=$SECONDS
  done
  while [ "${#running[@]}" -gt 0 ]; do finish_one; done
fi

if [ ${#broken[@]} -gt 0 ]; then
  printf '\nwhat failed (logs in %s):\n' "$logs"
  "$root/scripts/failures.sh" "${broken[@]}"
fi
printf '\n%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
[ "$failed" -eq 0 ]
