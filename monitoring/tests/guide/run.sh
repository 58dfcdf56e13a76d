#!/usr/bin/env bash
# Each fenced block of the operator's guide, as written: it works, or
# docs/deviations.md names it and its correction works. See blocks_test.py.
set -euo pipefail

usage() {
  cat <<'USAGE'
usage: monitoring/tests/guide/run.sh

Clones the last commit as the guide says, starts the stack from it with --native in a
network namespace of its own (root, or user namespaces), and runs the guide's blocks.
There is no Docker engine here: commands of Docker are put to the real compose, which
has to take them and name what they name. Takes about two minutes and ends with
`guide: N passed, N failed, N skipped`.

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
