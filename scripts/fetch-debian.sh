#!/usr/bin/env bash
# Fetches the versions of Prometheus, Alertmanager and the like that the tests
# run: Debian's packages, unpacked and never installed, so that no service is
# started. The programs need nothing but libc. Idempotent: what is there already
# is not fetched again.
set -euo pipefail

usage() {
  cat <<'USAGE'
usage: scripts/fetch-debian.sh PROGRAM=VERSION ...

Unpacks each program into .tools/PROGRAM-VERSION/, from Debian's bookworm,
trixie and sid. VERSION may be a pattern: prometheus=3.5.* takes the newest.

programs:
  prometheus         prometheus, promtool
  alertmanager       alertmanager, amtool, and share/: the templates that Debian's
                     build reads from /usr/share/prometheus/alertmanager
  node_exporter
  blackbox_exporter
  victoria-metrics   victoria-metrics, vmagent, vmalert, vmauth
  etcd               the store of Kubernetes' API server
  docker-compose     the plugin, which also runs alone: no engine, no service
  busybox            static: what small images have for a shell and wget

environment:
  ERLMCP_TOOLS    where downloaded tools go (default: .tools in the checkout)
  DEBIAN_MIRROR   default: the one that this machine's apt uses
USAGE
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
tools=${ERLMCP_TOOLS:-$here/.tools}
mirror=${DEBIAN_MIRROR:-}
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

say() { printf 'fetch-debian: %s\n' "$*"; }
die() {
  printf 'fetch-debian: %s\n' "$*" >&2
  exit 1
}

# Debian's packages of a program; a ? is for one that not every release has.
packages() { # PROGRAM
  case $1 in
    prometheus) echo 'prometheus promtool?' ;;
    alertmanager) echo 'prometheus-alertmanager' ;;
    node_exporter) echo 'prometheus-node-exporter' ;;
    blackbox_exporter) echo 'prometheus-blackbox-exporter' ;;
    victoria-metrics) echo 'victoria-metrics vmagent? vmalert? vmauth?' ;;
    etcd) echo 'etcd-server' ;;
    docker-compose) echo 'docker-compose' ;;
    busybox) echo 'busybox-static' ;;
    *) return 1 ;;
  esac
}

# Debian's name of a program in its package.
debian_name() { # PROGRAM
  case $1 in
    alertmanager | node_exporter | blackbox_exporter) echo "prometheus-${1//_/-}" ;;
    *) echo "$1" ;;
  esac
}

# Where a program is in its package.
debian_path() { # PROGRAM
  case $1 in
    docker-compose) echo usr/libexec/docker/cli-plugins/docker-compose ;;
    *) echo "usr/bin/$(debian_name "$1")" ;;
  esac
}

present() { # PROGRAM PATTERN
  local dir
  # The pattern is to be expanded here.
  # shellcheck disable=SC2086
  for dir in "$tools"/$1-$2; do
    [ -x "$dir/$1" ] || continue
    [ "$1" != alertmanager ] || [ -r "$dir/share/default.tmpl" ] || continue
    return 0
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
      die "$program is not here: these programs are fetched from Debian's archive only"
  done
  if [ -z "$mirror" ]; then
    # shellcheck disable=SC2016
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -m1 '/debian/\?$') ||
      die 'apt knows no Debian mirror: set DEBIAN_MIRROR'
  fi
  [ -r "$keyring" ] || die "$keyring is missing (package debian-archive-keyring)"
  work=$(mktemp -d)
  mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
  for suite in bookworm trixie sid; do
    printf 'deb [signed-by=%s] %s %s main\n' "$keyring" "$mirror" "$suite"
  done >"$work/sources.list"
  say "reading the package lists of bookworm, trixie and sid"
  private_apt apt-get update --error-on=any || die "cannot read $mirror: is there a network?"
}

# The program's version in the package's: 1:1.37.0-6+b1 is 1.37.0.
upstream() { # VERSION
  local version=${1#*:}
  printf '%s\n' "${version%%[+-]*}"
}

# The newest version that fits, as apt names it: 3.5.3+ds1-6.
newest() { # PACKAGE PATTERN
  local package=$1 pattern=$2 full
  private_apt apt-cache madison "$package" | awk '{print $3}' | sort -rV |
    while read -r full; do
      # The right side is a pattern.
      # shellcheck disable=SC2053
      if [[ $(upstream "$full") == $pattern ]]; then
        printf '%s\n' "$full"
        break
      fi
    done
}

fetch() { # PROGRAM PATTERN
  local program=$1 pattern=$2 main full into name path
  local -a wanted
  read -ra wanted < <(packages "$program")
  main=${wanted[0]}
  full=$(newest "$main" "$pattern")
  [ -n "$full" ] || die "Debian has no $program $pattern; it has: $(newest "$main" '*') and older ones"
  into=$tools/$program-$(upstream "$full")
  say "unpacking $program $full into $into"
  (
    cd "$work"
    for name in "${wanted[@]}"; do
      case $name in
        *\?) private_apt apt-get download "${name%\?}=$full" 2>/dev/null || true ;;
        *) private_apt apt-get download "$name=$full" ;;
      esac
    done
    for package in ./*.deb; do
      dpkg-deb -x "$package" unpacked
    done
    rm ./*.deb
  ) || die "cannot fetch $program $full"
  path=$work/unpacked/$(debian_path "$program") name=$(debian_name "$program")
  "$path" --version >/dev/null 2>&1 || "$path" version >/dev/null 2>&1 || "$path" --help >/dev/null 2>&1 ||
    die "$program $full does not run on this system"
  rm -rf "$into"
  mkdir -p "$into"
  mv "${path%/*}"/* "$into"/
  [ "$name" = "$program" ] || mv "$into/$name" "$into/$program"
  if [ "$program" = alertmanager ]; then
    mkdir "$into/share"
    mv "$work"/unpacked/usr/share/prometheus/alertmanager/*.tmpl "$into/share"/
  fi
  rm -rf "$work/unpacked"
}

for argument in "$@"; do
  case $argument in
    -h | --help)
      usage
      exit 0
      ;;
    ?*=?*) packages "${argument%%=*}" >/dev/null || {
      printf 'fetch-debian: unknown program: %s\n' "${argument%%=*}" >&2
      usage >&2
      exit 2
    } ;;
    *)
      printf 'fetch-debian: not PROGRAM=VERSION: %s\n' "$argument" >&2
      usage >&2
      exit 2
      ;;
  esac
done
[ $# -gt 0 ] || {
  usage >&2
  exit 2
}
for argument in "$@"; do
  program=${argument%%=*} pattern=${argument#*=}
  if present "$program" "$pattern"; then
    continue
  fi
  [ -n "$work" ] || prepare
  fetch "$program" "$pattern"
done
