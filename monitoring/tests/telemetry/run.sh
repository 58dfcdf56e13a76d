#!/usr/bin/env bash
# Spans, metrics and logs of a real node through the real Collector, Jaeger, Loki,
# Promtail and Prometheus, on the shipped files. See cases.py.
set -euo pipefail

usage() {
  cat <<'USAGE'
usage: monitoring/tests/telemetry/run.sh [guide_test|current_test|files_test ...]

In a network namespace of its own (root, or user namespaces): the guide's versions,
current ones, and the files themselves. What arrives, the ways from a line to its
trace and on, what must not be lost when something is killed, what is refused, and
the options. Takes about two minutes and ends with
`telemetry: N passed, N failed, N skipped`.

environment:
  ERLMCP_BUILD   the built library (default: this checkout's)
USAGE
}

for word in "$@"; do
  case $word in
    guide_test | current_test | files_test) ;;
    -h | --help)
      usage
      exit 0
      ;;
    *)
      printf 'telemetry: unknown word: %s\n' "$word" >&2
      usage >&2
      exit 2
      ;;
  esac
done

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../../.." && pwd)
python=${ERLMCP_TOOLS:-$root/.tools}/stack-venv/bin/python

skip() {
  printf 'skipped  %s\n' "$1"
  echo 'telemetry: 0 passed, 0 failed, 1 skipped'
  exit
}

"$python" -c 'import yaml' 2>/dev/null ||
  skip "no Python packages in ${python%/bin/python} (scripts/setup.sh stack)"
# The program that is run in it is "true": can there be one?
"$python" -B "$here/../lib/namespace.py" true || skip 'no namespaces: run as root, or allow user namespaces'
[ $# -gt 0 ] || set -- guide_test current_test files_test

# Side by side: each has a namespace of its own, and waits most of its time.
logs=$(mktemp -d)
running=()
cleanup() {
  [ ${#running[@]} -eq 0 ] || kill "${running[@]}" 2>/dev/null || true
  rm -rf "$logs"
}
trap cleanup EXIT
trap 'exit 143' INT TERM
for scene in "$@"; do
  timeout --kill-after=30 600 "$python" -B "$here/../lib/namespace.py" "$python" -B "$here/main.py" "$scene" \
    >"$logs/$scene" 2>&1 &
  running+=($!)
done
passed=0 failed=0 skipped=0
for scene in "$@"; do
  wait "${running[0]}" || true
  running=("${running[@]:1}")
  grep -v '^telemetry: ' "$logs/$scene" || true
  line=$(grep '^telemetry: ' "$logs/$scene" | tail -1 || true)
  # One that broke before it could count.
  [ -n "$line" ] || line='telemetry: 0 passed, 1 failed, 0 skipped'
  read -r p f s < <(sed -E 's/[^0-9]*([0-9]+) passed, ([0-9]+) failed, ([0-9]+) skipped/\1 \2 \3/' <<<"$line")
  passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
done
printf 'telemetry: %d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
[ "$failed" -eq 0 ]
