#!/usr/bin/env bash
# GitHub's workflows: by actionlint, zizmor and the schema, what they call, and the
# steps that can be run without GitHub.
set -euo pipefail

usage() {
  cat <<'USAGE'
usage: monitoring/tests/workflows/run.sh

Ends with `workflows: N passed, N failed, N skipped`.

environment:
  ERLMCP_BUILD   the built library (default: this checkout's)
USAGE
}

# shellcheck source-path=SCRIPTDIR
. "$(dirname "${BASH_SOURCE[0]}")/../lib/part.sh"
words '' "$@"
need_python yaml
run 300 "$python" -B "$here/main.py"
