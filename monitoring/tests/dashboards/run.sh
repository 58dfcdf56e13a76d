#!/usr/bin/env bash
# The dashboards: as files, on the data of real servers, and as pictures.
set -euo pipefail

usage() {
  cat <<'USAGE'
usage: monitoring/tests/dashboards/run.sh [PART ...]

parts:
  files   built without a diff, schema of Grafana 10.2.0, PromQL and LogQL,
          rules of the house, provisioning
  live    the demo, exporters and Prometheus: every query is answered, every
          panel is drawn; the pictures are in _build/dashboards/

Without a part: both. Ends with `dashboards: N passed, N failed, N skipped`.

environment:
  ERLMCP_BUILD   the built library (default: this checkout's)
  CHROMIUM       the browser (default: chromium)
USAGE
}

# shellcheck source-path=SCRIPTDIR
. "$(dirname "${BASH_SOURCE[0]}")/../lib/part.sh"
words "files live" "$@"
need_python yaml
run 900 "$python" -B "$here/main.py" "$@"
