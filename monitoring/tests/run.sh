#!/usr/bin/env bash
# Runs the parts of the stack's tests one after the other and ends with one line
# over all: `N passed, N failed, N skipped`. Exits with 1 if anything failed.
#
# A part is a folder with a run.sh that ends with `NAME: N passed, N failed, N
# skipped`, says of each skipped test why, and exits with 1 if one failed.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
logs=$root/_build/test-logs

parts=()
for script in "$here"/*/run.sh; do
  part=${script%/run.sh}
  parts+=("${part##*/}")
done

usage() {
  printf 'usage: monitoring/tests/run.sh [PART ...]\n\nparts: %s\n' "${parts[*]}"
  printf 'Without a part: all of them. make stack-test sets up what they need first.\n'
}

[ $# -gt 0 ] || set -- "${parts[@]}"
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

mkdir -p "$logs"
passed=0 failed=0 skipped=0
for part in "$@"; do
  printf '\n== %s\n' "$part"
  log=$logs/stack-$part.log
  status=0
  "$here/$part/run.sh" 2>&1 | tee "$log" || status=$?
  line=$(grep -E "^$part: [0-9]+ passed, [0-9]+ failed, [0-9]+ skipped\$" "$log" | tail -1 || true)
  if [ -z "$line" ]; then
    # It broke before it could count.
    failed=$((failed + 1))
    continue
  fi
  read -r p f s < <(sed -E 's/[^0-9]*([0-9]+) passed, ([0-9]+) failed, ([0-9]+) skipped/\1 \2 \3/' <<<"${line#"$part": }")
  if [ "$status" -ne 0 ] && [ "$f" -eq 0 ]; then f=1; fi
  if [ $((p + f + s)) -eq 0 ]; then
    printf 'stack-test: %s executed no test\n' "$part" >&2
    f=1
  fi
  passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
done

printf '\n%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
[ "$failed" -eq 0 ]
