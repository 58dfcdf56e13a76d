#!/usr/bin/env bash
# Installs what the build, the tests and the benches need on Debian 12 or later.
# Idempotent: a second run only looks, and takes under a second.
set -euo pipefail

usage() {
  cat <<'USAGE'
usage: scripts/setup.sh [GROUP ...]

Installs what is missing, says what it does, and does nothing where nothing is missing.

groups:
  build   Erlang/OTP, rebar3, a C linker           (make demo)
  test    Prometheus, promtool, PropEr, Python,
          OTLP collectors, Chromium, Elixir        (make test)
  stack   Alertmanager, exporters, VictoriaMetrics,
          Loki, Promtail, Jaeger, Thanos, Collectors,
          kustomize, actionlint, etcd, dnsmasq,
          Grafana's npm packages                   (make stack-test)
  bench   prometheus.erl, the rival in the benches, and the Collector (make bench)
  lint    shellcheck, shfmt                        (make lint)

Without a group: build.

environment:
  ERLMCP_TOOLS   where downloaded tools go (default: .tools in the checkout)
USAGE
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
tools=${ERLMCP_TOOLS:-$here/.tools}

say() { printf 'setup: %s\n' "$*"; }
die() {
  printf 'setup: %s\n' "$*" >&2
  exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }
have_package() { dpkg-query -W -f='${db:Status-Abbrev}' "$1" 2>/dev/null | grep -q '^ii'; }

as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  elif have sudo && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
    sudo "$@"
  else
    die "root rights are needed to run: $*
       Run it as root (or with sudo) once, then run this again."
  fi
}

apt_updated=
apt_update() {
  [ -n "$apt_updated" ] && return
  say "reading Debian's package lists"
  as_root apt-get update -qq
  apt_updated=1
}

# Debian packages, by name; only the missing ones are asked for.
need_packages() {
  local missing=() package
  for package in "$@"; do
    have_package "$package" || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return
  have apt-get || die "this machine has no apt-get; install by hand: ${missing[*]}"
  apt_update
  say "installing Debian packages: ${missing[*]}"
  as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

need_rust() {
  if ! have cargo; then
    if [ -x "$HOME/.cargo/bin/cargo" ]; then
      die "cargo is installed but not on PATH. Run: . \"\$HOME/.cargo/env\""
    fi
    die "no Rust toolchain found. Install one with rustup (https://rustup.rs), 1.91 or later, and run this again."
  fi
  local version
  version=$(cargo --version | awk '{print $2}')
  if [ "$(printf '%s\n1.91.0\n' "$version" | sort -V | head -1)" != 1.91.0 ]; then
    die "Rust $version is too old: 1.91 or later is needed. Run: rustup update stable"
  fi
}

group_build() {
  need_rust
  # An Erlang that is already on PATH (kerl, asdf, an image) is used as it is.
  if have erl && have rebar3; then
    have cc || need_packages gcc libc6-dev
    have make || need_packages make
  else
    need_packages gcc libc6-dev make ca-certificates git curl \
      erlang-base erlang-dev erlang-crypto erlang-public-key erlang-asn1 erlang-ssl \
      erlang-inets erlang-mnesia erlang-runtime-tools erlang-tools erlang-syntax-tools \
      erlang-parsetools erlang-eunit erlang-common-test erlang-edoc erlang-xmerl \
      erlang-dialyzer rebar3
  fi
}

# Wants Go; what needs it is skipped without.
need_collector() {
  "$here/scripts/fetch-collector.sh" || say "going on without the OpenTelemetry Collector"
}

# PropEr is a Debian package here: hex.pm is not needed for anything.
group_test() {
  group_build
  need_packages git curl erlang-proper prometheus openssl apache2-utils python3 python3-venv
  # Newer versions than Debian 12's. Where they cannot be had the tests count
  # them as skipped.
  "$here/scripts/fetch-debian.sh" prometheus=2.53.3 'prometheus=3.5.*' ||
    say "going on without newer versions of Prometheus"
  need_collector
  need_chromium || say "going on without Chromium"
  need_elixir || say "going on without Elixir"
  need_python_packages venv test/requirements.txt
  need_libpython "$tools/venv"
}

# A virtual environment in .tools with what a file of requirements names.
need_python_packages() { # NAME REQUIREMENTS
  local venv=$tools/$1 wanted=$here/$2
  # setup.sh is tested alone, without the checkout around it.
  [ -f "$wanted" ] || return 0
  cmp -s "$wanted" "$venv/.requirements" && return
  say "installing Python packages into $venv"
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$wanted"
  cp "$wanted" "$venv/.requirements"
}

# The browser for the page of traces. Another one goes by the name in CHROMIUM.
need_chromium() {
  have "${CHROMIUM:-chromium}" && return
  have apt-get || return
  apt-cache show chromium >/dev/null 2>&1 || apt_update
  apt-cache show chromium >/dev/null 2>&1 || return
  need_packages chromium
}

# An Elixir that is already on PATH is used as it is. Debian's wants Debian's
# Erlang, and would bring it along beside another.
need_elixir() {
  have mix && return
  have_package erlang-base || return
  apt-cache show elixir >/dev/null 2>&1 || apt_update
  apt-cache show elixir >/dev/null 2>&1 || return
  need_packages elixir
}

# rotel's program is linked with the interpreter's library, which Debian has
# apart from python3. Another Python's is not to be had from Debian: the tests
# then count rotel as skipped.
need_libpython() {
  local venv=$1 rotel package
  for rotel in "$venv"/lib/python*/site-packages/rotel/rotel-agent; do
    [ -x "$rotel" ] || continue
    "$rotel" --version >/dev/null 2>&1 && continue
    package=libpython$("$venv/bin/python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    apt-cache show "$package" >/dev/null 2>&1 || apt_update
    if apt-cache show "$package" >/dev/null 2>&1; then
      need_packages "$package"
    else
      say "going on without rotel: there is no $package"
    fi
  done
}

# The programs of the monitoring stack that Debian has, from old to new. Unpacked
# only: an installed package would start a service. Where one cannot be had, the
# tests that need it are counted as skipped.
group_stack() {
  group_test
  "$here/scripts/fetch-debian.sh" prometheus=2.42.0 alertmanager=0.25.0 alertmanager=0.28.1 \
    'alertmanager=0.33.*' node_exporter=1.5.0 'node_exporter=1.11.*' blackbox_exporter=0.23.0 \
    'blackbox_exporter=0.28.*' victoria-metrics=1.112.0 'victoria-metrics=1.145.*' \
    'docker-compose=2.26.*' 'docker-compose=2.40.*' 'busybox=1.37.*' etcd=3.4.23 ||
    say "going on without some of the stack's programs"
  # Wants Go. In a cache of .tools they are found again. loki=3.7.8, for records by
  # OTLP into a current Loki, takes as long as all of these: by hand.
  "$here/scripts/fetch-go.sh" loki=2.9.3 promtail=2.9.3 jaeger=1.50.0 thanos=0.32.5 \
    otelcol=0.87.0 otelcol=0.152.1 grafana=10.0.0 ||
    say "going on without some of Loki, Promtail, Jaeger, Thanos, the Collector and Grafana"
  "$here/scripts/fetch-checkers.sh" ||
    say "going on without kustomize, actionlint and the definitions of the Prometheus operator"
  # A server of names, as a cluster has one, which a test starts; nc, which the guide
  # asks for ports with.
  need_packages dnsmasq-base netcat-openbsd
  # The tests of the stack's scripts, and what those call.
  need_packages bats jq iproute2 util-linux bsdutils procps
  need_alertmanager_templates
  need_python_packages stack-venv monitoring/tests/requirements.txt
  need_stack_node
}

# Grafana's schema, grammar and components, for the tests of the dashboards. No
# package's script is run.
need_stack_node() {
  local into=$tools/stack-node from=$here/monitoring/tests
  cmp -s "$from/package-lock.json" "$into/.lock" && return
  have npm || need_packages nodejs npm
  say "installing npm packages into $into (700 MB)"
  mkdir -p "$into"
  cp "$from/package.json" "$from/package-lock.json" "$into"/
  npm --prefix "$into" ci --ignore-scripts --no-audit --no-fund --loglevel=error ||
    {
      say "going on without the npm packages"
      return 0
    }
  cp "$from/package-lock.json" "$into/.lock"
}

# Upstream's Alertmanager carries its default templates, Debian's reads them from
# this path and does not start without. The newest version's fit all: they only
# ever grew.
need_alertmanager_templates() {
  local into=/usr/share/prometheus/alertmanager from
  [ -r "$into/default.tmpl" ] && return
  from=$(printf '%s\n' "$tools"/alertmanager-*/share | sort -V | tail -1)
  [ -r "$from/default.tmpl" ] || return 0
  say "copying Alertmanager's default templates into $into"
  as_root install -D -m 644 -t "$into" "$from"/*.tmpl
}

# prometheus.erl, compiled, out of Debian's rabbitmq-server package: unpacked, never installed.
group_bench() {
  group_build
  need_collector
  local peers=$tools/peers
  if ! ls "$peers"/prometheus-*/ebin/prometheus.app >/dev/null 2>&1; then
    apt_update
    say "unpacking prometheus.erl from Debian's rabbitmq-server package into $peers"
    local work
    work=$(mktemp -d)
    (cd "$work" && apt-get download -qq rabbitmq-server && dpkg-deb -x rabbitmq-server_*.deb unpacked)
    mkdir -p "$peers"
    local app
    for app in prometheus quantile_estimator; do
      rm -rf "$peers/$app"-*
      cp -r "$work"/unpacked/usr/lib/rabbitmq/lib/rabbitmq_server-*/plugins/"$app"-* "$peers"/ 2>/dev/null || true
    done
    rm -rf "$work"
    ls "$peers"/prometheus-*/ebin/prometheus.app >/dev/null ||
      die "rabbitmq-server's package no longer carries prometheus.erl: the benches lack their rival"
  fi
}

group_lint() {
  group_build
  need_packages shellcheck shfmt
}

[ $# -gt 0 ] || set -- build
for group in "$@"; do
  case $group in
    -h | --help)
      usage
      exit 0
      ;;
    build | test | stack | bench | lint) ;;
    *)
      printf 'setup: unknown group: %s\n' "$group" >&2
      usage >&2
      exit 2
      ;;
  esac
done
for group in "$@"; do
  "group_$group"
done
