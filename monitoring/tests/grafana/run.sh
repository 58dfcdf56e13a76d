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

# shellcheck source-path=SCRIPTDIR
. "$(dirname "${BASH_SOURCE[0]}")/../lib/part.sh"
words '' "$@"
need_python yaml
need_namespace
run 900 "${namespace[@]}" "$python" -B "$here/main.py"
