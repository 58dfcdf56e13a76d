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
exec timeout --kill-after=30 900 "$python" -B "$here/../lib/namespace.py" "$python" -B "$here/main.py" "$@"
