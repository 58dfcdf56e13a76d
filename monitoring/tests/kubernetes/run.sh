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

# shellcheck source-path=SCRIPTDIR
. "$(dirname "${BASH_SOURCE[0]}")/../lib/part.sh"
words "api components files flows live objects operator secrets" "$@"
need_python "kubernetes_validate, yaml"
compgen -G "$tools/kustomize-*/kustomize" >/dev/null || skip "no kustomize in $tools (scripts/setup.sh stack)"

tests=("$python" -B "$here/main.py" "$@")
# Where there are no namespaces, what starts no server runs all the same.
if "${namespace[@]}" true 2>/dev/null; then tests=("${namespace[@]}" "${tests[@]}"); fi
run 600 "${tests[@]}"
