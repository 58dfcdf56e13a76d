#!/usr/bin/env bash
# Runs the Erlang tests on other OTP releases than the installed one: each in a
# folder of its own with a newer Debian, of which only Erlang is used. The
# native library is the one that is built here.
set -euo pipefail

usage() {
  cat <<'USAGE'
usage: scripts/test-other-otp.sh [SUITE ...]

Needs root rights (chroot). Debian's trixie has OTP 27, sid has OTP 29; each
takes a minute or two the first time. Without SUITE: EUnit and the suites that
need neither Python nor Prometheus.

Ends with `otp: N passed, N failed, N skipped`.

environment:
  ERLMCP_TOOLS   where the folders go (default: .tools in the checkout)
USAGE
}

case ${1:-} in
  -h | --help)
    usage
    exit 0
    ;;
  -*)
    usage >&2
    exit 2
    ;;
esac

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
tools=${ERLMCP_TOOLS:-$root/.tools}
suites=("$@")
[ ${#suites[@]} -gt 0 ] || suites=(
  erlmcp_metrics_SUITE
  erlmcp_metrics_registry_SUITE
  erlmcp_metrics_concurrency_SUITE
  erlmcp_metrics_hostile_SUITE
  erlmcp_instrumentation_upgrade_SUITE
  erlmcp_instrumentation_http_SUITE
  erlmcp_trace_SUITE
  erlmcp_trace_hostile_SUITE
)
passed=0 failed=0 skipped=0

say() { printf 'test-other-otp: %s\n' "$*"; }

# Where this machine gets Debian from, so that mirrors and proxies are kept.
mirror() {
  # shellcheck disable=SC2016
  apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -m1 '/debian/\?$'
}

packages=erlang-base,erlang-dev,erlang-crypto,erlang-public-key,erlang-asn1,erlang-ssl
packages+=,erlang-inets,erlang-mnesia,erlang-runtime-tools,erlang-tools,erlang-syntax-tools
packages+=,erlang-parsetools,erlang-eunit,erlang-common-test,erlang-edoc,erlang-xmerl
packages+=,erlang-proper,rebar3

prepare() { # SUITE FOLDER
  [ -x "$2/usr/bin/rebar3" ] && compgen -G "$2/usr/lib/erlang/lib/proper*" >/dev/null && return
  command -v debootstrap >/dev/null || apt-get install -y -qq debootstrap >/dev/null
  say "unpacking Debian $1 with Erlang into $2"
  rm -rf "$2.new"
  mkdir -p "$2.new"
  cp -r /etc/apt/apt.conf.d "$2.apt.conf.d"
  debootstrap --variant=minbase --include=make "$1" "$2.new" "$(mirror)" >"$2.log" 2>&1 || return
  cp "$2.apt.conf.d"/* "$2.new/etc/apt/apt.conf.d/"
  rm -rf "$2.apt.conf.d"
  cp /etc/resolv.conf /etc/hosts "$2.new/etc/"
  # shellcheck disable=SC2086
  unshare --mount --fork chroot "$2.new" /bin/sh -c "
    mount -t proc proc /proc
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends ${packages//,/ }
  " >>"$2.log" 2>&1 || return
  mv "$2.new" "$2"
}

# The checkout as it is, without what was built, and with the library ready:
# there is no Rust in the folder.
fill() { # FOLDER
  rm -rf "$1/root/src"
  mkdir -p "$1/root/src"
  (cd "$root" && git ls-files -co --exclude-standard -z | tar --null -T - -cf -) | tar -xf - -C "$1/root/src"
  mkdir -p "$1/root/src/priv"
  cp "$root/priv/erlmcp_nif.so" "$1/root/src/priv/"
  sed -i '/^{pre_hooks, \[/,/^\]}\./d' "$1/root/src/rebar.config"
}

inside() { # FOLDER COMMAND
  unshare --mount --fork chroot "$1" /usr/bin/env -i HOME=/root TERM=dumb LANG=C.UTF-8 \
    PATH=/usr/sbin:/usr/bin:/sbin:/bin /bin/sh -c "
      mount -t proc proc /proc
      mount -t devtmpfs none /dev 2>/dev/null || mount --rbind /dev /dev 2>/dev/null || true
      cd /root/src && $2"
}

number() { sed -nE "s/$2/\\1/p" "$1" | awk '{ n += $1 } END { print n + 0 }'; }

run() { # SUITE
  local release=$1 folder=$tools/otp-$1 log=$tools/otp-$1.test.log status=0
  mkdir -p "$tools"
  if [ "$(id -u)" -ne 0 ]; then
    say "skipped: $release needs root rights"
    skipped=$((skipped + 1))
    return
  fi
  if ! prepare "$release" "$folder"; then
    say "skipped: Debian $release could not be unpacked here (see $folder.log)"
    skipped=$((skipped + 1))
    return
  fi
  fill "$folder"
  local list
  list=$(printf ',test/%s' "${suites[@]}")
  say "OTP $(inside "$folder" "erl -noshell -eval 'io:put_chars(erlang:system_info(otp_release)),halt().'")"
  # There is no Python in the folder, which reads the lines of logs.
  local modules
  modules=$(cd "$root/test" && printf '%s\n' *_tests.erl | grep -vE 'log_formatter|redaction' | sed 's/\.erl$//' | paste -sd,)
  inside "$folder" "status=0; rebar3 eunit --module=$modules || status=1; rebar3 ct --sys_config config/test.config --suite ${list#,} || status=1; exit \$status" \
    >"$log" 2>&1 || status=$?
  local ok bad
  ok=$(($(number "$log" '.*All ([0-9]+) tests passed.*') + $(number "$log" '.*Passed: ([0-9]+)\..*') + $(number "$log" '.*[^:] Passed ([0-9]+) tests.*')))
  bad=$(($(number "$log" '.*Failed: ([0-9]+)\..*') + $(number "$log" '.*Failed ([0-9]+) tests.*')))
  [ "$status" -eq 0 ] || [ "$bad" -gt 0 ] || bad=1
  [ "$ok" -gt 0 ] || bad=$((bad + 1))
  passed=$((passed + ok)) failed=$((failed + bad))
  say "$release: $ok passed, $bad failed"
  [ "$bad" -eq 0 ] || tail -n 60 "$log"
}

run trixie
run sid
printf 'otp: %d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
[ "$failed" -eq 0 ]
