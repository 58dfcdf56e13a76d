#!/usr/bin/env bash
# Installs what checks Kubernetes' manifests and GitHub's workflows: kustomize and
# actionlint by `go install`, and the Prometheus operator's definitions of its kinds
# out of its module. Idempotent: what is there is not built again.
set -euo pipefail

usage() {
  cat <<'USAGE'
usage: scripts/fetch-checkers.sh

Puts into .tools: kustomize-VERSION/kustomize, actionlint-VERSION/actionlint,
prometheus-operator-VERSION/*.yaml. Wants Go, which checks what it fetches against its
checksum database. Takes a minute.

environment:
  ERLMCP_TOOLS   where built tools go (default: .tools in the checkout)
  GOMAXPROCS     how many cores the build may use (default: 2)
USAGE
}

# shellcheck source-path=SCRIPTDIR
. "$(dirname "${BASH_SOURCE[0]}")/lib/go.sh"
no_words "$@"

kustomize=5.8.1
actionlint=1.7.12
operator=0.85.0

present() {
  [ -x "$tools/kustomize-$kustomize/kustomize" ] &&
    [ -x "$tools/actionlint-$actionlint/actionlint" ] &&
    [ -r "$tools/prometheus-operator-$operator/monitoring.coreos.com_podmonitors.yaml" ]
}

begin checkers 900 1.24
export GOFLAGS="${GOFLAGS:-} -p=$GOMAXPROCS -trimpath"

install_program() { # NAME VERSION PACKAGE
  local into=$tools/$1-$2
  [ ! -x "$into/$1" ] || return 0
  say "building $1 $2"
  GOBIN=$work nice go install "$3@v$2" >"$work/log" 2>&1 9>&- || {
    tail -n 20 "$work/log" >&2
    die "cannot build $1 $2"
  }
  mkdir -p "$into"
  mv "$work/$1" "$into/$1"
}

install_program kustomize "$kustomize" sigs.k8s.io/kustomize/kustomize/v5
install_program actionlint "$actionlint" github.com/rhysd/actionlint/cmd/actionlint

definitions=$tools/prometheus-operator-$operator
if [ ! -r "$definitions/monitoring.coreos.com_podmonitors.yaml" ]; then
  say "taking the definitions of prometheus-operator $operator out of its module"
  module=$(cd "$work" && go mod download -json "github.com/prometheus-operator/prometheus-operator@v$operator" |
    sed -nE 's/^\t"Dir": "(.*)",$/\1/p')
  [ -d "$module" ] || die "cannot fetch prometheus-operator $operator"
  mkdir -p "$definitions"
  for kind in prometheusrules servicemonitors podmonitors; do
    install -m 644 "$module/example/prometheus-operator-crd/monitoring.coreos.com_$kind.yaml" "$definitions/"
  done
fi
