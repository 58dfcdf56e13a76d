#!/usr/bin/env bash
# From a node that dies to the phone that rings, by real programs: the demo,
# Prometheus, Alertmanager, on the shipped files. See chain_test.py.
set -euo pipefail

usage() {
  cat <<'USAGE'
usage: monitoring/tests/live/run.sh

Three nodes of the demo, Prometheus and Alertmanager on the shipped configuration,
the channels' stand-ins. A P0, a P2 that escalates, a silence; prints how long each
notification took. Takes about five minutes and ends with
`live: N passed, N failed, N skipped`.

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
    printf 'live: unknown word: %s\n' "$1" >&2
    usage >&2
    exit 2
    ;;
esac

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../../.." && pwd)
python=${ERLMCP_TOOLS:-$root/.tools}/stack-venv/bin/python

if ! "$python" -c 'import aiosmtpd, yaml' 2>/dev/null; then
  printf 'skipped  no Python packages in %s (scripts/setup.sh stack)\n' "${python%/bin/python}"
  echo 'live: 0 passed, 0 failed, 1 skipped'
  exit
fi
exec timeout --kill-after=30 1200 "$python" -B "$here/main.py"
