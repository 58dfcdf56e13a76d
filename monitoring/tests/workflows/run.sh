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

case ${1-} in
  '') ;;
  -h | --help)
    usage
    exit 0
    ;;
  *)
    printf 'workflows: unknown word: %s\n' "$1" >&2
    usage >&2
    exit 2
    ;;
esac

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../../.." && pwd)
python=${ERLMCP_TOOLS:-$root/.tools}/stack-venv/bin/python

if ! "$python" -c 'import yaml' 2>/dev/null; then
  printf 'skipped  no Python packages in %s (scripts/setup.sh stack)\n' "${python%/bin/python}"
  echo 'workflows: 0 passed, 0 failed, 1 skipped'
  exit
fi
exec timeout --kill-after=30 300 "$python" -B "$here/main.py"
