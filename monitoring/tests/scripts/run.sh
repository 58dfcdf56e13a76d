#!/usr/bin/env bash
# The scripts of monitoring/scripts: every verb with a stand-in for docker, kerl,
# asdf and apt; natively, and backup and restore, against real servers.
set -euo pipefail

usage() {
  cat <<'USAGE'
usage: monitoring/tests/scripts/run.sh [FILE ...]

Runs the bats files of this folder side by side (or those that are named, without
.bats) and ends with `scripts: N passed, N failed, N skipped`. Takes about two minutes.

environment:
  ERLMCP_BUILD   the built library (default: this checkout's)
  ERLMCP_TOOLS   where the servers are (default: .tools in the checkout)
USAGE
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../../.." && pwd)
export ERLMCP_TOOLS=${ERLMCP_TOOLS:-$root/.tools}
all=(native usage deploy verify backup upgrade)
[ $# -gt 0 ] || set -- "${all[@]}"
for name in "$@"; do
  case $name in
    -h | --help)
      usage
      exit 0
      ;;
  esac
  if [ ! -e "$here/$name.bats" ]; then
    printf 'scripts: unknown word: %s\n' "$name" >&2
    usage >&2
    exit 2
  fi
done

for program in bats jq curl flock unshare; do
  command -v "$program" >/dev/null || {
    printf 'skipped  no %s (scripts/setup.sh stack)\n' "$program"
    echo 'scripts: 0 passed, 0 failed, 1 skipped'
    exit
  }
done
busybox=$(printf '%s\n' "$ERLMCP_TOOLS"/busybox-*/busybox | sort -V | tail -n 1)
work=$(mktemp -d)
running=()
cleanup() {
  trap '' INT TERM HUP
  # Each has a group of its own; native.bats has a namespace that ends with it.
  for pid in "${running[@]}"; do kill -KILL -- "-$pid" 2>/dev/null || true; done
  rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# A folder of busybox's programs: what Prometheus' image has.
if [ -x "$busybox" ]; then
  mkdir "$work/busybox"
  for applet in $("$busybox" --list); do ln -s "$busybox" "$work/busybox/$applet"; done
  export BUSYBOX=$work/busybox
fi

for name in "$@"; do
  mkdir "$work/tmp-$name"
  command=(timeout --kill-after=20 900 bats --tap "$here/$name.bats")
  if [ "$name" = native ]; then
    # Fixed ports are free there, and whatever is left in it ends with it.
    space=(unshare --net --pid --fork --kill-child --mount-proc)
    if [ "$(id -u)" -ne 0 ]; then space+=(--user --map-root-user); fi
    "${space[@]}" true 2>/dev/null || {
      printf 'skipped  native: this machine gives no namespaces\n' >"$work/$name.tap"
      echo "ok 1 # skip no namespaces" >>"$work/$name.tap"
      continue
    }
    command=("${space[@]}" "${command[@]}")
  fi
  TMPDIR=$work/tmp-$name setsid "${command[@]}" >"$work/$name.tap" 2>&1 </dev/null &
  running+=("$!")
done
for pid in "${running[@]}"; do wait "$pid" || true; done
running=()

passed=0 failed=0 skipped=0
for name in "$@"; do
  printf '\n-- %s\n' "$name"
  cat "$work/$name.tap"
  plan=$(sed -nE 's/^1\.\.([0-9]+)$/\1/p' "$work/$name.tap")
  s=$(grep -cE '^ok .*# skip' "$work/$name.tap" || true)
  p=$(($(grep -cE '^ok ' "$work/$name.tap" || true) - s))
  f=$(grep -cE '^not ok ' "$work/$name.tap" || true)
  # A file that broke, or was ended, before its last test.
  if [ $((p + f + s)) -lt "${plan:-1}" ]; then f=$((f + 1)); fi
  passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
done
printf '\nscripts: %d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
[ "$failed" -eq 0 ]
