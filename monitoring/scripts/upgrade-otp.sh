#!/usr/bin/env bash
# shellcheck source-path=SCRIPTDIR
# Brings this machine's Erlang/OTP to another version, and back if that fails.
set -euo pipefail

me=upgrade-otp

usage() {
  cat <<'USAGE'
usage: upgrade-otp.sh [OPTION ...] VERSION

Looks whether it can be done, makes a backup, builds or fetches Erlang/OTP VERSION
beside the one in use, checks it (version, crypto, the library's native code),
switches, restarts the application and asks its health. If anything fails after the
switch, it goes back.

options:
  --with TOOL        kerl, asdf or apt (default: the first of them that is here)
  --restart COMMAND  restarts the application, for example 'systemctl restart erlmcp';
                     without, restarting it is left to you
  --health URL       what answers 200 when it is well (http://127.0.0.1:8080/health)
  --timeout S        how long a restart and its health may take, each (default 120)
  --no-backup        the backup was made already
  --native, --state DIR, --target DIR   for backup.sh
  --dry-run          say what would be done

environment:
  ERLMCP_VERSION     for the name of the backup
  ERLMCP_BUILD       the built library (default: this checkout's)
  ERLMCP_OTP_DIR     where kerl installs: VERSION and the link current beneath it
                     (default: ~/.erlmcp/otp)

exit status: 0 done, or VERSION is in use already; 1 not, and the old version is in
use; 2 wrong words
USAGE
}

. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
. "$scripts/lib/otp-installers.sh"

version='' tool='' restart='' health=http://127.0.0.1:8080/health timeout=120 backup=1 dry='' backup_words=() target=''
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help)
      usage
      exit 0
      ;;
    --with | --restart | --health | --timeout | --state | --target)
      [ $# -ge 2 ] || wrong "$1 wants a value"
      case $1 in
        --with)
          case $2 in kerl | asdf | apt) tool=$2 ;; *) wrong "--with is kerl, asdf or apt: $2" ;; esac
          ;;
        --restart) restart=$2 ;;
        --health)
          [[ $2 =~ ^https?://[^[:space:]]+$ ]] || wrong "--health wants a URL: $2"
          health=$2
          ;;
        --timeout) seconds "$1" "$2" && timeout=$2 ;;
        --state) backup_words+=(--state "$2") ;;
        --target) target=$2 ;;
      esac
      shift
      ;;
    --native) backup_words+=(--native) ;;
    --no-backup) backup='' ;;
    --dry-run) dry=1 ;;
    -*) wrong "unknown option: $1" ;;
    *)
      [ -z "$version" ] || wrong "one version, not $version and $1"
      version=$1
      ;;
  esac
  shift
done
[ -n "$version" ] || wrong "which version?"
[[ $version =~ ^[0-9]{2}(\.[0-9]{1,3}){0,4}(-rc[0-9]+)?$ ]] || wrong "not a version of Erlang/OTP: $version (like 28.3.1)"
[ "${version%%.*}" -ge 25 ] || die "the library wants OTP 25 or later, not $version"
[ -z "$target" ] || backup_words+=("$target")

# The version of an erl, from the file that a release carries.
version_of() { # ERL
  timeout 30 "$1" -noshell -eval '
    {ok, V} = file:read_file(filename:join([code:root_dir(), "releases", erlang:system_info(otp_release), "OTP_VERSION"])),
    io:put_chars(string:trim(V)), halt(0).' 2>/dev/null
}

# Erlang in the new VM; the answer is its exit status.
eval_in() { # ERL WHAT EXPRESSION [FLAG...]
  if timeout 60 "$1" -noshell "${@:4}" -eval "try $3 of _ -> halt(0) catch C:R -> io:format(standard_error, \"~p:~p~n\", [C, R]), halt(1) end." >&2; then
    say "checked   $2"
  else
    printf '%s: %s: failed on OTP %s\n' "$me" "$2" "$version" >&2
    return 1
  fi
}

library() {
  local root folder
  root=$(cd "$monitoring/.." && pwd)
  for folder in "${ERLMCP_BUILD-}" "$root"/_build/{default,test}/lib/erlmcp_instrumentation; do
    if [ -e "$folder/ebin/erlmcp_metrics.beam" ]; then
      echo "$folder"
      return
    fi
  done
}

check_installation() { # ERL
  local found build
  found=$(version_of "$1") || found=nothing
  if [ "$found" != "$version" ]; then
    printf '%s: %s is %s, not %s\n' "$me" "$1" "$found" "$version" >&2
    return 1
  fi
  say "checked   $1 is OTP $version"
  eval_in "$1" "crypto and ssl" '{ok, _} = application:ensure_all_started(ssl), <<_:256>> = crypto:hash(sha256, <<"erlmcp">>)' || return
  build=$(library)
  if [ -z "$build" ]; then
    say "skipped   the library's native code: it is not built here (make compile, or ERLMCP_BUILD)"
  else
    eval_in "$1" "the library's native code loads and counts" \
      '{module, _} = code:ensure_loaded(erlmcp_instrumentation_nif), ok = erlmcp_metrics:record_counter("upgrade_check_total", 1, #{})' \
      -pa "$build/ebin" || return
  fi
}

restart_application() {
  [ -n "$restart" ] || return 0
  say "restarting the application: $restart"
  timeout --kill-after=10 "$timeout" bash -c "$restart" || {
    printf '%s: the restart command failed\n' "$me" >&2
    return 1
  }
}

healthy() { [ "$(http_status "$health")" = 200 ]; }

wait_healthy() {
  local end=$((SECONDS + timeout))
  until healthy; do
    if [ "$SECONDS" -ge "$end" ]; then
      printf '%s: %s did not answer 200 within %s s (last: %s)\n' "$me" "$health" "$timeout" "$(http_status "$health")" >&2
      return 1
    fi
    sleep 1
  done
  say "checked   $health answers 200"
}

# The machines that run, each with the Erlang that it was started from.
running_machines() {
  local exe path
  for exe in /proc/[0-9]*/exe; do
    path=$(readlink "$exe" 2>/dev/null) || continue
    [[ $path == */beam*.smp ]] || continue
    say "runs      pid $(cut -d/ -f3 <<<"$exe"): ${path%/bin/beam*}"
  done
}

# Before anything is changed.
need curl
if [ -z "$tool" ]; then
  if have kerl; then
    tool=kerl
  elif have asdf && asdf plugin list 2>/dev/null | grep -xF erlang >/dev/null; then
    tool=asdf
  elif have apt-get && have dpkg-query; then
    tool=apt
  else
    die "there is none of kerl, asdf and apt-get" "install kerl: https://github.com/kerl/kerl"
  fi
elif [ "$tool" = apt ]; then
  need apt-get dpkg-query
else
  need "$tool"
fi
now=none
if have erl; then now=$(version_of "$(command -v erl)") || now=unknown; fi
say "now       OTP $now ($(command -v erl || echo "no erl on PATH")); wanted $version, by $tool"
running_machines
was_healthy=''
if healthy; then was_healthy=1; fi
if [ "$now" = "$version" ]; then
  check_installation "$(command -v erl)" || die "OTP $version is in use, and does not work"
  say "complete  OTP $version is in use already"
  exit 0
fi
if [ -n "$restart" ] && [ -z "$was_healthy" ]; then
  die "$health answers $(http_status "$health"): the application is not well before the upgrade" \
    "mend that first, or name its address with --health"
fi
[ -n "$was_healthy" ] || say "note      nothing answers at $health: Erlang alone is upgraded"
"${tool}_can" "$version"
if [ "$tool" = apt ]; then
  least=512
  if [ "$(id -u)" -ne 0 ] && [ -z "$dry" ]; then die "packages want root" "sudo $0 ..."; fi
else
  least=3072
fi
folder=$("${tool}_folder")
while [ ! -d "$folder" ]; do folder=$(dirname "$folder"); done
free=$(($(free_kib "$folder") / 1024))
[ "$free" -ge "$least" ] || die "$free MiB are free in $folder, OTP $version wants $least MiB"
used=$("${tool}_used") || used=''
say "ready     $free MiB free; back is to ${used:-the erl before it on PATH}"

if [ -n "$dry" ]; then
  [ -z "$backup" ] || say "would run $scripts/backup.sh ${backup_words[*]}"
  say "would build OTP $version by $tool and check it"
  say "would switch from ${used:-none} to $version"
  [ -z "$restart" ] || say "would run $restart, and wait for 200 at $health"
  exit 0
fi

if [ -n "$backup" ]; then
  "$scripts/backup.sh" "${backup_words[@]}" || die "no backup, so no upgrade" \
    "mend that; or --no-backup if there is one"
fi

say "building  OTP $version by $tool (up to an hour from source)"
"${tool}_build" "$version" || die "cannot build OTP $version" "the messages above say why; nothing was changed"
if [ -n "$new_erl" ]; then
  check_installation "$new_erl" || die "OTP $version does not work here" "nothing was changed"
fi

switched=''
go_back() {
  local status=$?
  trap '' INT TERM HUP
  [ -n "$switched" ] || exit "$status"
  printf '%s: going back to %s\n' "$me" "${used:-the erl before it}" >&2
  if "${tool}_unswitch" "$used" && restart_application && { [ -z "$was_healthy" ] || wait_healthy; }; then
    printf '%s: the old version is in use and the application as it was\n' "$me" >&2
  else
    printf '%s: going back failed as well: %s_unswitch %s\n  do it by hand, then: %s\n' "$me" "$tool" "$used" "${restart:-restart the application}" >&2
  fi
  exit 1
}
trap go_back EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

switched=1
"${tool}_switch" "$version"
say "switched  from ${used:-none} to $version"
[ -n "$new_erl" ] || check_installation "$(command -v erl)"
restart_application
if [ -n "$restart" ]; then wait_healthy; fi
switched=''
"${tool}_note"
if [ -z "$restart" ] && [ -n "$was_healthy" ]; then say "the application still runs on the old one: restart it, and look at $health"; fi
say "complete  OTP $version is in use"
