#!/usr/bin/env bash
# Provisioning, data sources, dashboards and users by a real Grafana server. See
# server_test.py.
set -euo pipefail

usage() {
  cat <<'USAGE'
usage: monitoring/tests/grafana/run.sh

A Grafana server without its pages (scripts/fetch-go.sh says why), on the shipped files
and the compose file's settings, before Prometheus, Loki, Jaeger and Alertmanager with
a node of the demo, in a network namespace of its own (root, or user namespaces). Takes
about a minute and ends with `grafana: N passed, N failed, N skipped`.

environment:
  ERLMCP_BUILD   the built library (default: this checkout's)
USAGE
}

case ${1-} in
  '') ;;
  -h | --help)
    usage
    exit 0
    ;;
  *)
    printf 'grafana: unknown word: %s\n' "$1" >&2
    usage >&2
    exit 2
    ;;
esac

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../../.." && pwd)
python=${ERLMCP_TOOLS:-$root/.tools}/stack-venv/bin/python

skip() {
  printf 'skipped  %s\n' "$1"
  echo 'grafana: 0 passed, 0 failed, 1 skipped'
  exit
}

"$python" -c 'import yaml' 2>/dev/null ||
  skip "no Python packages in ${python%/bin/python} (scripts/setup.sh stack)"
"$python" -B "$here/../lib/namespace.py" true || skip 'no namespaces: run as root, or allow user namespaces'
exec timeout --kill-after=30 900 "$python" -B "$here/../lib/namespace.py" "$python" -B "$here/main.py"
