#!/usr/bin/env bash
# Whether a tag names the version that the files have: before anything is published.
set -euo pipefail

usage() { echo "usage: scripts/check-version.sh vVERSION"; }

case ${1:-} in
  -h | --help)
    usage
    exit 0
    ;;
  v[0-9]*) ;;
  *)
    usage >&2
    exit 2
    ;;
esac

cd "$(dirname "${BASH_SOURCE[0]}")/.."
wanted=${1#v}
status=0
check() { # FILE VERSION
  [ "$2" = "$wanted" ] && return
  printf 'check-version: %s says %s, the tag %s\n' "$1" "${2:-nothing}" "$wanted" >&2
  status=1
}
check Cargo.toml "$(sed -nE 's/^version = "(.*)"$/\1/p' Cargo.toml)"
check erlang_src/erlmcp_instrumentation.app.src \
  "$(sed -nE 's/^ *\{vsn, "(.*)"\},$/\1/p' erlang_src/erlmcp_instrumentation.app.src)"
grep -q "^## $wanted\b" CHANGELOG.md || {
  printf 'check-version: CHANGELOG.md has no heading for %s\n' "$wanted" >&2
  status=1
}
exit "$status"
