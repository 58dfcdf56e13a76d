#!/usr/bin/env bash
# Fetches the Prometheus versions that the tests run beside the installed one:
# Debian's newer packages, unpacked and never installed. The binaries need
# nothing but libc. Idempotent: what is there already is not fetched again.
set -euo pipefail

usage() {
  cat <<'USAGE'
usage: scripts/fetch-prometheus.sh [PATTERN ...]

Unpacks prometheus and promtool into .tools/prometheus-VERSION/ for each
version pattern, from Debian's trixie and sid. Without a pattern: 2.53.3 3.5.*

environment:
  ERLMCP_TOOLS    where downloaded tools go (default: .tools in the checkout)
  DEBIAN_MIRROR   default: the one that this machine's apt uses
USAGE
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
tools=${ERLMCP_TOOLS:-$here/.tools}
mirror=${DEBIAN_MIRROR:-}
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

say() { printf 'fetch-prometheus: %s\n' "$*"; }
die() {
  printf 'fetch-prometheus: %s\n' "$*" >&2
  exit 1
}

present() {
  local dir
  # The pattern is to be expanded here.
  # shellcheck disable=SC2086
  for dir in "$tools"/prometheus-$1; do
    [ -x "$dir/prometheus" ] && [ -x "$dir/promtool" ] && return
  done
  return 1
}

work=
cleanup() { [ -z "$work" ] || rm -rf "$work"; }
trap cleanup EXIT

# An apt of its own: its sources and lists are in $work, the system's stay as
# they are. sid's Release file can be past its date.
private_apt() {
  local program=$1
  shift
  "$program" -qq \
    -o Dir::Etc::sourcelist="$work/sources.list" \
    -o Dir::Etc::sourceparts=/nonexistent \
    -o Dir::State::lists="$work/lists" \
    -o Dir::Cache="$work/cache" \
    -o APT::Sandbox::User=root \
    -o APT::Default-Release= \
    -o Acquire::Languages=none \
    -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false \
    -o Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled=false \
    -o Acquire::Check-Valid-Until=false \
    -o Acquire::Retries=2 \
    -o Acquire::http::Timeout=30 \
    "$@"
}

prepare() {
  local program suite
  for program in apt-get apt-cache dpkg-deb; do
    command -v "$program" >/dev/null 2>&1 ||
      die "$program is not here: newer versions of Prometheus are fetched from Debian's archive only"
  done
  if [ -z "$mirror" ]; then
    # shellcheck disable=SC2016
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -m1 '/debian/\?$') ||
      die 'apt knows no Debian mirror: set DEBIAN_MIRROR'
  fi
  [ -r "$keyring" ] || die "$keyring is missing (package debian-archive-keyring)"
  work=$(mktemp -d)
  mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
  for suite in trixie sid; do
    printf 'deb [signed-by=%s] %s %s main\n' "$keyring" "$mirror" "$suite"
  done >"$work/sources.list"
  say "reading the package lists of trixie and sid"
  private_apt apt-get update --error-on=any || die "cannot read $mirror: is there a network?"
}

# The newest version that fits, as apt names it: 3.5.3+ds1-6.
newest() {
  local pattern=$1 full
  private_apt apt-cache madison prometheus | awk '{print $3}' | sort -rV |
    while read -r full; do
      # The right side is a pattern.
      # shellcheck disable=SC2053
      if [[ ${full%%[+-]*} == $pattern ]]; then
        printf '%s\n' "$full"
        break
      fi
    done
}

fetch() {
  local pattern=$1 full into
  full=$(newest "$pattern")
  [ -n "$full" ] || die "Debian has no prometheus $pattern; it has: $(newest '*') and older ones"
  into=$tools/prometheus-${full%%[+-]*}
  say "unpacking prometheus $full into $into"
  (
    cd "$work"
    # Debian ships promtool apart from the server since trixie.
    private_apt apt-get download "prometheus=$full" "promtool=$full"
    for package in ./*.deb; do
      dpkg-deb -x "$package" unpacked
    done
    rm ./*.deb
  ) || die "cannot fetch prometheus $full"
  "$work/unpacked/usr/bin/prometheus" --version >/dev/null 2>&1 ||
    die "prometheus $full does not run on this system"
  rm -rf "$into"
  mkdir -p "$into"
  mv "$work"/unpacked/usr/bin/{prometheus,promtool} "$into"/
  rm -rf "$work/unpacked"
}

case ${1:-} in
  -h | --help)
    usage
    exit 0
    ;;
  -*)
    printf 'fetch-prometheus: unknown option: %s\n' "$1" >&2
    usage >&2
    exit 2
    ;;
esac
[ $# -gt 0 ] || set -- 2.53.3 '3.5.*'
for pattern in "$@"; do
  if present "$pattern"; then
    continue
  fi
  [ -n "$work" ] || prepare
  fetch "$pattern"
done
