#!/usr/bin/env bash
# The manifests of monitoring/kubernetes: rendered, validated, compared with the
# configurations and with compose, taken by a real API server, and their pods' programs
# run as the manifests say.
set -euo pipefail

usage() {
  cat <<'USAGE'
usage: monitoring/tests/kubernetes/run.sh [TEST ...]

tests: api components files flows live objects operator secrets (default: all)

Ends with `kubernetes: N passed, N failed, N skipped`.

environment:
  ERLMCP_BUILD   the built library (default: this checkout's)
USAGE
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../../.." && pwd)
python=${ERLMCP_TOOLS:-$root/.tools}/stack-venv/bin/python

for word in "$@"; do
  case $word in
    -h | --help)
      usage
      exit 0
      ;;
  esac
  if [ ! -f "$here/${word}_test.py" ]; then
    printf 'kubernetes: unknown word: %s\n' "$word" >&2
    usage >&2
    exit 2
  fi
done

skip() {
  printf 'skipped  %s\n' "$1"
  echo 'kubernetes: 0 passed, 0 failed, 1 skipped'
  exit
}

"$python" -c 'import kubernetes_validate, yaml' 2>/dev/null ||
  skip "no Python packages in ${python%/bin/python} (scripts/setup.sh stack)"
ls "${ERLMCP_TOOLS:-$root/.tools}"/kustomize-*/kustomize >/dev/null 2>&1 ||
  skip "no kustomize in ${ERLMCP_TOOLS:-$root/.tools} (scripts/setup.sh stack)"

tests=("$python" -B "$here/main.py" "$@")
namespace=("$python" -B "$root/monitoring/tests/lib/namespace.py")
# Where there are no namespaces, what starts no server runs all the same. By exec:
# whoever ends this script ends the programs of the test.
if "${namespace[@]}" true 2>/dev/null; then tests=("${namespace[@]}" "${tests[@]}"); fi
exec timeout --kill-after=30 600 "${tests[@]}"
