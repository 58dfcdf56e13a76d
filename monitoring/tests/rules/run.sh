#!/usr/bin/env bash
# The rules of Prometheus, by the programs that read them. See suite.py.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
python=${ERLMCP_TOOLS:-$here/../../../.tools}/stack-venv/bin/python

usage() {
  cat <<'USAGE'
usage: monitoring/tests/rules/run.sh [static | cases | example | --write]

Checks monitoring/prometheus and monitoring/runbooks and ends with
`rules: N passed, N failed, N skipped`.

  static    labels, annotations, names of metrics and labels (in the documentation too),
            runbooks, coverage
  cases     promtool of each version: configuration, rules, cases (minutes)
  example   the worked example of a custom metric, with a real node and Prometheus
  --write   make runbooks/README.md from the rules, test nothing

Without a word: all of them.
USAGE
}

[ $# -le 1 ] || {
  usage >&2
  exit 2
}
case ${1-} in
  -h | --help)
    usage
    exit 0
    ;;
  '') set -- ;;
  static | cases | example) set -- --only "$1" ;;
  --write) ;;
  *)
    printf 'rules: unknown word: %s\n' "$1" >&2
    usage >&2
    exit 2
    ;;
esac

if [ ! -x "$python" ]; then
  printf 'rules: there is no %s; run scripts/setup.sh stack\n' "$python" >&2
  exit 1
fi
PYTHONDONTWRITEBYTECODE=1 exec "$python" "$here/suite.py" "$@"
