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

case ${1-} in
  '') ;;
  -h | --help)
    usage
    exit 0
    ;;
  *)
    printf 'guide: unknown word: %s\n' "$1" >&2
    usage >&2
    exit 2
    ;;
esac

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../../.." && pwd)
python=${ERLMCP_TOOLS:-$root/.tools}/stack-venv/bin/python

skip() {
  printf 'skipped  %s\n' "$1"
  echo 'guide: 0 passed, 0 failed, 1 skipped'
  exit
}

"$python" -c 'import yaml' 2>/dev/null ||
  skip "no Python packages in ${python%/bin/python} (scripts/setup.sh stack)"
"$python" -B "$here/../lib/namespace.py" true || skip 'no namespaces: run as root, or allow user namespaces'
exec timeout --kill-after=30 900 "$python" -B "$here/../lib/namespace.py" "$python" -B "$here/main.py"
