#!/usr/bin/env bash
# Builds Kubernetes' API server and kubectl out of the module k8s.io/kubernetes, for
# tests/kubernetes/api_test.py. Not part of `make setup`: it takes a quarter of an hour
# on two cores. Without it those tests are counted as skipped.
set -euo pipefail

usage() {
  cat <<'USAGE'
usage: scripts/fetch-apiserver.sh

Builds .tools/kubernetes-VERSION/{kube-apiserver,kubectl}. Wants Go, 2 GB of disk for a
while, and a quarter of an hour. etcd comes with `scripts/setup.sh stack`.

environment:
  ERLMCP_TOOLS   where built tools go (default: .tools in the checkout)
  GOMAXPROCS     how many cores the build may use (default: 2)
USAGE
}

# shellcheck source-path=SCRIPTDIR
. "$(dirname "${BASH_SOURCE[0]}")/lib/go.sh"
no_words "$@"

version=1.34.3
sum=h1:0TfljWbhEF5DBks+WFMSrvKfxBLo4vnZuqORjLMiyT4=
into=$tools/kubernetes-$version

present() { [ -x "$into/kube-apiserver" ] && [ -x "$into/kubectl" ]; }

begin kubernetes 3600 1.24
answer=$(cd "$work" && go mod download -json "k8s.io/kubernetes@v$version")
field() { sed -nE "s/^\t\"$1\": \"(.*)\",?\$/\1/p" <<<"$answer"; }
[ "$(field Sum)" = "$sum" ] || die "k8s.io/kubernetes@v$version is not what it was: $(field Sum)"
cp -r "$(field Dir)" "$work/source"
chmod -R u+w "$work/source"
cd "$work/source"
# Its own parts are folders beside it in the repository; the module names them by
# version 0.0.0. They are published as 0.34.3 for 1.34.3.
rm -rf vendor go.work go.work.sum
edits=()
while read -r module; do
  edits+=("-dropreplace=$module" "-require=$module@v0.${version#1.}")
done < <(sed -nE 's/^\s*(k8s\.io\/[a-z-]+) v0\.0\.0$/\1/p' go.mod)
while read -r module; do
  edits+=("-dropreplace=$module")
done < <(sed -nE 's/^\s*(k8s\.io\/[a-z-]+) => .*$/\1/p' go.mod)
go mod edit "${edits[@]}"
export GOFLAGS="-mod=mod -trimpath -p=$GOMAXPROCS"
flags="-s -w"
for part in gitVersion=v$version gitMajor=1 "gitMinor=$(cut -d . -f 2 <<<"$version")"; do
  flags+=" -X k8s.io/component-base/version.$part"
done
SECONDS=0
mkdir -p "$into"
for program in kube-apiserver kubectl; do
  say "building $program $version (a quarter of an hour for both)"
  nice -n 15 go build -ldflags "$flags" -o "$work/$program" "./cmd/$program" >"$work/log" 2>&1 9>&- || {
    tail -n 20 "$work/log" >&2
    die "cannot build $program $version"
  }
  mv "$work/$program" "$into/$program"
done
say "built in $SECONDS s"
