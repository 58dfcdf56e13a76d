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

case ${1:-} in
  '') ;;
  -h | --help)
    usage
    exit 0
    ;;
  *)
    printf 'fetch-checkers: unknown word: %s\n' "$1" >&2
    usage >&2
    exit 2
    ;;
esac

kustomize=5.8.1
actionlint=1.7.12
operator=0.85.0

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
tools=${ERLMCP_TOOLS:-$here/.tools}
# Debian's golang is older than what these want.
PATH=$PATH:/usr/local/go/bin

say() { printf 'fetch-checkers: %s\n' "$*"; }
die() {
  printf 'fetch-checkers: %s\n' "$*" >&2
  exit 1
}

present() {
  [ -x "$tools/kustomize-$kustomize/kustomize" ] &&
    [ -x "$tools/actionlint-$actionlint/actionlint" ] &&
    [ -r "$tools/prometheus-operator-$operator/monitoring.coreos.com_podmonitors.yaml" ]
}

if present; then
  exit
fi
command -v go >/dev/null 2>&1 || die "no Go on this machine (https://go.dev/dl, 1.24 or later)"

# Of two that build at once, the second finds the work done.
mkdir -p "$tools"
exec 9>"$tools/checkers.lock"
flock -w 900 9 || die "another build has held $tools/checkers.lock for a quarter of an hour"
if present; then
  exit
fi

work=$(mktemp -d "$tools/checkers.XXXXXX")
cleanup() { rm -rf "$work"; }
trap cleanup EXIT
export GOMAXPROCS=${GOMAXPROCS:-2} CGO_ENABLED=0 GO111MODULE=on GOWORK=off
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
