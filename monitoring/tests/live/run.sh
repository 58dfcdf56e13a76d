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

# shellcheck source-path=SCRIPTDIR
. "$(dirname "${BASH_SOURCE[0]}")/../lib/part.sh"
words '' "$@"
need_python "aiosmtpd, yaml"
run 1200 "$python" -B "$here/main.py"
