#!/usr/bin/env bash
# shellcheck source-path=SCRIPTDIR
# Puts back what backup.sh saved.
set -euo pipefail

me=restore

usage() {
  cat <<'USAGE'
usage: restore.sh [OPTION ...] BACKUP

Checks the archive BACKUP, stops the stack if it runs, replaces configuration and
data, starts again what ran and waits until it is ready. What it replaces is kept
until then and put back if anything fails.

options:
  --check               check the archive, change nothing
  --native              locally installed programs instead of containers
  --state DIR           their state folder (default: ~/.local/state/erlmcp-monitoring)
  --data-only           leave the configuration as it is
  --configuration-only  leave the data as they are
  --timeout S           how long to wait for readiness (default 180)
  --yes                 do not ask

exit status: 0 restored, or the archive is whole; 1 not, and everything is as it was;
2 wrong words
USAGE
}

. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
. "$scripts/lib/services.sh"
. "$scripts/lib/native.sh"
. "$scripts/lib/docker.sh"
. "$scripts/lib/wait.sh"
. "$scripts/lib/stores.sh"
. "$scripts/lib/archive.sh"
. "$scripts/lib/put.sh"

native='' archive='' check='' with_data=1 with_configuration=1 timeout=180 assume_yes=''
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help)
      usage
      exit 0
      ;;
    --check) check=1 ;;
    --native) native=1 ;;
    --data-only) with_configuration='' ;;
    --configuration-only) with_data='' ;;
    --yes) assume_yes=1 ;;
    --state | --timeout)
      [ $# -ge 2 ] || wrong "$1 wants a value"
      if [ "$1" = --state ]; then state=$2; else seconds "$1" "$2" && timeout=$2; fi
      shift
      ;;
    -*) wrong "unknown option: $1" ;;
    *)
      [ -z "$archive" ] || wrong "one archive, not $archive and $1"
      archive=$1
      ;;
  esac
  shift
done
[ -n "$archive" ] || wrong "which archive?"
[ -n "$with_data$with_configuration" ] || wrong "--data-only and --configuration-only leave nothing"
[[ $state == /* ]] || state=$PWD/$state

umask 077
need curl jq tar gzip sha256sum

staging='' stopped=() begun='' doing=''
finish() {
  local status=$?
  trap '' INT TERM HUP
  if [ "$status" -ne 0 ] && [ -n "$begun" ]; then
    printf '%s: failed at %s; putting back what was there\n' "$me" "$doing" >&2
    go_back || true
  fi
  [ -z "$staging" ] || rm -rf "$staging"
  exit "$status"
}

# Whoever was started on the new data ends before these go.
go_back() {
  local service
  for service in "${stopped[@]}"; do
    if service_alive "$service"; then service_stop "$service"; fi
  done
  undo_put || return
  [ ${#stopped[@]} -eq 0 ] || service_start "${stopped[@]}"
  say "everything is as it was" >&2
}
trap finish EXIT
trap 'warn "interrupted"; exit 130' INT
trap 'warn "ended"; exit 143' TERM HUP

# Beside the archive if that can be written, as its copy is as large.
staging=$(mktemp -d "$(dirname "$archive")/.erlmcp-restore.XXXXXX" 2>/dev/null || mktemp -d)
free=$(free_kib "$staging")
size=$(($(stat -c %s "$archive" 2>/dev/null || echo 0) / 1024))
[ "$free" -gt "$size" ] || die "$((free / 1024)) MiB are free in $(dirname "$staging"), the parts want $((size / 1024)) MiB"
open_archive "$archive"
say "whole     $archive: erlmcp $(archive_field erlmcp_version), $(archive_field created), $(archive_parts | tr '\n' ' ')"
[ -z "$check" ] || exit 0

mode=$([ -n "$native" ] && echo native || echo docker)
services=()
if [ -n "$with_data" ]; then
  if [ "$(archive_field mode)" != "$mode" ]; then
    warn "it was saved from a $(archive_field mode) stack: owners of files may not fit"
  fi
  if [ -n "$native" ]; then
    native_namespace
    native_make_state
    native_lock
  else
    docker_there
    find_compose
  fi
  for service in "${stored_services[@]}"; do
    if archive_parts | grep -xF "$service" >/dev/null; then services+=("$service"); fi
  done
  # Who has no container yet gets one: its volume is created with it.
  if [ -z "$native" ]; then
    create='' wanted=''
    for service in "${services[@]}"; do
      service_there "$service" || create=1
      [ "$(service_profile "$service")" = core ] || wanted+=,$(service_profile "$service")
    done
    if [ -n "$create" ]; then
      say "creating the containers"
      COMPOSE_PROFILES=${wanted#,} compose up --no-start
    fi
  fi
fi
mapfile -t stopped < <(if [ -n "$native" ]; then native_running; else docker_running; fi)
for service in "${services[@]}"; do
  now=$(service_version "$service")
  if [ "$now" != "$(archive_version "$service")" ] && [ "$now" != unknown ] && [ -n "$now" ]; then
    warn "$service was $(archive_version "$service"), and is $now here"
  fi
done

ask "this replaces$([ -n "$with_configuration" ] && echo " the configuration in $monitoring")$(
  [ ${#services[@]} -eq 0 ] || echo " and the data of ${services[*]}"
)$([ ${#stopped[@]} -eq 0 ] || echo "; the stack is stopped meanwhile")."

begun=1
if [ ${#stopped[@]} -gt 0 ]; then
  doing="stopping the stack"
  mapfile -t first < <(only_senders "${stopped[@]}")
  mapfile -t last < <(only_senders not "${stopped[@]}")
  for service in "${first[@]}" "${last[@]}"; do service_stop "$service"; done
fi

for service in "${services[@]}"; do
  doing="restoring $service"
  if [ -n "$native" ]; then mkdir -p "$state/data/$service"; fi
  # A restore that was killed has left what it replaced: that counts.
  in_data "$service" "$put_back" "$aside"
  # shellcheck disable=SC2016
  free=$(in_data "$service" 'df -Pk "$1"' | awk 'NR == 2 { print $4 }')
  [ "$free" -ge "$(archive_kib "$service")" ] || die "$((free / 1024)) MiB are free for the data of $service, and $(($(archive_kib "$service") / 1024)) MiB are needed"
  put_parts+=("$service")
  put_service "$service"
  say "restored  $service"
done
if [ -n "$with_configuration" ]; then
  doing="restoring the configuration"
  configuration_back
  put_parts+=(configuration)
  put_configuration
  say "restored  configuration"
fi

if [ ${#stopped[@]} -gt 0 ]; then
  doing="starting the stack on the restored data"
  service_start "${stopped[@]}"
  wait_for_services "$timeout" "${stopped[@]}"
fi
begun=''
keep_put
say "complete$([ ${#stopped[@]} -gt 0 ] || echo "; start the stack: deploy-monitoring.sh start${native:+ --native}")"
