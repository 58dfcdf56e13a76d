#!/usr/bin/env bash
# Builds the OpenTelemetry Collector that the tests export to, with the
# Collector's own builder and the versions of test/collector/builder.yaml.
# Idempotent: what was built from the same file is not built again.
set -euo pipefail

usage() {
  cat <<'USAGE'
usage: scripts/fetch-collector.sh

Builds .tools/otelcol/otelcol from test/collector/builder.yaml. Wants Go; its
modules come from the Go module proxy. Takes some minutes the first time.

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
    printf 'fetch-collector: unknown word: %s\n' "$1" >&2
    usage >&2
    exit 2
    ;;
esac

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
tools=${ERLMCP_TOOLS:-$here/.tools}
manifest=$here/test/collector/builder.yaml
into=$tools/otelcol
# Debian's golang is older than what the Collector wants.
PATH=$PATH:/usr/local/go/bin

say() { printf 'fetch-collector: %s\n' "$*"; }
die() {
  printf 'fetch-collector: %s\n' "$*" >&2
  exit 1
}

# The file that it was built from lies beside the program.
present() { [ -x "$into/otelcol" ] && cmp -s "$manifest" "$into/builder.yaml"; }

if present; then
  exit
fi
command -v go >/dev/null 2>&1 ||
  die "no Go on this machine: the Collector cannot be built (https://go.dev/dl, 1.23 or later)"

# Of two that build at once, the second finds the work done.
mkdir -p "$tools"
exec 9>"$tools/otelcol.lock"
flock -w 1800 9 || die "another build has held $tools/otelcol.lock for half an hour"
if present; then
  exit
fi

version=$(sed -nE 's/^  version: *//p' "$manifest")
work=$(mktemp -d "$tools/otelcol.XXXXXX")
cleanup() { rm -rf "$work"; }
trap cleanup EXIT

export GOMAXPROCS=${GOMAXPROCS:-2} CGO_ENABLED=0 GO111MODULE=on GOWORK=off
export GOFLAGS="${GOFLAGS:-} -p=$GOMAXPROCS -trimpath"
say "building the Collector $version with its builder (some minutes)"
SECONDS=0
(
  cd "$work"
  GOBIN=$work nice go install "go.opentelemetry.io/collector/cmd/builder@v$version" &&
    nice ./builder --config="$manifest" --ldflags='-s -w'
) >"$work/log" 2>&1 9>&- || {
  tail -n 20 "$work/log" >&2
  die "cannot build the Collector $version"
}
"$work/dist/otelcol" --version >/dev/null 2>&1 || die "the Collector $version does not run on this system"

mkdir "$work/otelcol"
mv "$work/dist/otelcol" "$work/otelcol/"
cp "$manifest" "$work/otelcol/"
rm -rf "$into"
mv "$work/otelcol" "$into"
say "built the Collector $version in $SECONDS s"
