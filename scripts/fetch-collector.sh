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

# shellcheck source-path=SCRIPTDIR
. "$(dirname "${BASH_SOURCE[0]}")/lib/go.sh"
no_words "$@"
manifest=$here/test/collector/builder.yaml
into=$tools/otelcol

# The file that it was built from lies beside the program.
present() { [ -x "$into/otelcol" ] && cmp -s "$manifest" "$into/builder.yaml"; }

begin otelcol 1800 1.23
version=$(sed -nE 's/^  version: *//p' "$manifest")
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
