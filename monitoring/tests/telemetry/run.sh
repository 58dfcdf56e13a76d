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

# shellcheck source-path=SCRIPTDIR
. "$(dirname "${BASH_SOURCE[0]}")/../lib/part.sh"
words "guide_test current_test files_test" "$@"
need_python yaml
need_namespace
run 900 "${namespace[@]}" "$python" -B "$here/main.py" "$@"
