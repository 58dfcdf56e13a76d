#!/usr/bin/env bash
# Makes the reference pages that are generated from the code.
set -euo pipefail

usage() {
  cat <<'USAGE'
usage: scripts/generate-docs.sh [--check]

Writes docs/configuration.md and docs/metric-catalogue.md. With --check nothing
is written; exits with 1 if a page is out of date. The library must be compiled: rebar3 compile.
USAGE
}

action='write'
case ${1:-} in
  '') ;;
  --check) action=check ;;
  -h | --help)
    usage
    exit 0
    ;;
  *)
    usage >&2
    exit 2
    ;;
esac

cd "$(dirname "${BASH_SOURCE[0]}")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
erlc -o "$work" scripts/erlmcp_docs.erl
erl -noshell -pa _build/default/lib/erlmcp_instrumentation/ebin -pa "$work" \
  -eval "erlmcp_docs:main([\"$action\", \"docs\"])"
