#!/usr/bin/env bash
# Puts a native library that was built elsewhere where the Erlang module loads it from,
# once it is known to be the one that is meant. native/Makefile calls this instead of
# cargo where ERLMCP_NIF_PRECOMPILED is set.
set -euo pipefail

usage() {
  cat <<'USAGE'
usage: scripts/fetch-precompiled.sh
       scripts/fetch-precompiled.sh --name

Copies a precompiled native library to priv/erlmcp_nif.so if its SHA-256 is right.
--name prints the file's name for this machine: erlmcp_nif-TARGET.so.

environment:
  ERLMCP_NIF_PRECOMPILED   a file, an https:// address, or a folder of either with a /
                           at its end, to which the name for this machine is added
  ERLMCP_NIF_SHA256        what it must have: 64 hexadecimal digits, or a file as
                           sha256sum writes it, such as a release's SHA256SUMS
USAGE
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
into=$here/priv/erlmcp_nif.so

die() {
  printf 'erlmcp_instrumentation: %s\n' "$*" >&2
  exit 1
}

target() {
  local machine system
  machine=$(uname -m)
  case $machine in
    x86_64 | amd64) machine=x86_64 ;;
    aarch64 | arm64) machine=aarch64 ;;
    *) die "there is no precompiled library for $machine" ;;
  esac
  case $(uname -s) in
    Darwin) system=apple-darwin ;;
    Linux)
      system=unknown-linux-gnu
      # Where the C library is musl, its loader is there. Both may be.
      if compgen -G '/lib/ld-musl-*' >/dev/null && ! getconf GNU_LIBC_VERSION >/dev/null 2>&1; then
        system=unknown-linux-musl
      fi
      ;;
    *) die "there is no precompiled library for $(uname -s)" ;;
  esac
  printf '%s-%s' "$machine" "$system"
}

case ${1:-} in
  '') ;;
  -h | --help)
    usage
    exit 0
    ;;
  --name)
    printf 'erlmcp_nif-%s.so\n' "$(target)"
    exit 0
    ;;
  *)
    printf 'fetch-precompiled: unknown word: %s\n' "$1" >&2
    usage >&2
    exit 2
    ;;
esac

source=${ERLMCP_NIF_PRECOMPILED:-}
wanted=${ERLMCP_NIF_SHA256:-}
[ -n "$source" ] || die "ERLMCP_NIF_PRECOMPILED is not set: a file or an https:// address"
[ -n "$wanted" ] || die "ERLMCP_NIF_SHA256 is not set: what is loaded into the VM is checked first"
case $source in
  */)
    for_this=$(target)
    source=${source}erlmcp_nif-$for_this.so
    ;;
esac
name=${source##*/}

if [[ ! $wanted =~ ^[0-9a-fA-F]{64}$ ]]; then
  [ -r "$wanted" ] || die "ERLMCP_NIF_SHA256 is neither 64 hexadecimal digits nor a file: $wanted"
  sums=$wanted
  wanted=$(awk -v name="$name" '{ sub(/^[*]/, "", $2) } $2 == name { print $1 }' "$sums")
  [[ $wanted =~ ^[0-9a-fA-F]{64}$ ]] || die "$sums has no line, or more than one, for $name"
fi
wanted=$(tr '[:upper:]' '[:lower:]' <<<"$wanted")

sha256() { # FILE
  if command -v sha256sum >/dev/null 2>&1; then sha256sum "$1"; else shasum -a 256 "$1"; fi | cut -d ' ' -f 1
}

if [ -f "$into" ] && [ "$(sha256 "$into")" = "$wanted" ]; then
  exit
fi
mkdir -p "$here/priv"
new=$(mktemp "$into.XXXXXX")
trap 'rm -f "$new"' EXIT
case $source in
  https://*)
    curl --fail --silent --show-error --location --proto =https --tlsv1.2 --max-time 300 --retry 3 \
      --output "$new" "$source" || die "cannot fetch $source"
    ;;
  *://*) die "ERLMCP_NIF_PRECOMPILED is to be a file or an https:// address: $source" ;;
  *)
    [ -f "$source" ] || die "there is no file $source"
    cp "$source" "$new"
    ;;
esac
got=$(sha256 "$new")
[ "$got" = "$wanted" ] || die "$source is not what ERLMCP_NIF_SHA256 names:
  wanted $wanted
  got    $got"
chmod 755 "$new"
# Moved, not copied over: a running VM keeps the file that it has mapped.
mv -f "$new" "$into"
