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

for part in "$@"; do
  case $part in
    -h | --help)
      usage
      exit 0
      ;;
    files | live) ;;
    *)
      printf 'dashboards: unknown part: %s\n' "$part" >&2
      usage >&2
      exit 2
      ;;
  esac
done

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../../.." && pwd)
python=${ERLMCP_TOOLS:-$root/.tools}/stack-venv/bin/python

if [ ! -x "$python" ]; then
  printf 'skipped  no Python packages in %s (scripts/setup.sh stack)\n' "${python%/bin/python}"
  echo 'dashboards: 0 passed, 0 failed, 1 skipped'
  exit
fi
exec "$python" "$here/main.py" "$@"
