#!/usr/bin/env bash
# shellcheck source-path=SCRIPTDIR
# One archive with the stack's configuration and a consistent copy of its data.
set -euo pipefail

me=backup

usage() {
  cat <<'USAGE'
usage: backup.sh [OPTION ...] [TARGET]

Writes TARGET/erlmcp-monitoring-VERSION-TIME.tar (mode 600): the configuration, and
the data of Prometheus, Alertmanager, Loki, Grafana, Promtail's positions, and of
Jaeger and VictoriaMetrics where they are on. Alertmanager, Loki, Jaeger and Grafana
are stopped for some seconds each, one after the other. TARGET is a folder
(default: monitoring/backup).

options:
  --native        locally installed programs instead of containers
  --state DIR     their state folder (default: ~/.local/state/erlmcp-monitoring)
  --with-secrets  secrets of the channels, tokens and Grafana's key too
  --configuration-only
  --keep N        after it, remove all but the N newest archives in TARGET

environment:
  ERLMCP_VERSION      the version of erlmcp, for the archive's name (unversioned)
  ERLMCP_BACKUP_DIR   the default of TARGET

exit status: 0 the archive is complete; 1 there is no new archive; 2 wrong words
USAGE
}

. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
. "$scripts/lib/services.sh"
. "$scripts/lib/native.sh"
. "$scripts/lib/docker.sh"
. "$scripts/lib/wait.sh"
. "$scripts/lib/stores.sh"
. "$scripts/lib/take.sh"

native='' with_secrets='' target='' keep='' data=1
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help)
      usage
      exit 0
      ;;
    --native) native=1 ;;
    --with-secrets) with_secrets=1 ;;
    --configuration-only) data='' ;;
    --state | --keep)
      [ $# -ge 2 ] || wrong "$1 wants a value"
      if [ "$1" = --state ]; then
        state=$2
      else
        [[ $2 =~ ^[1-9][0-9]{0,3}$ ]] || wrong "--keep wants a number, 1 to 9999: $2"
        keep=$2
      fi
      shift
      ;;
    -*) wrong "unknown option: $1" ;;
    *)
      [ -z "$target" ] || wrong "one target, not $target and $1"
      target=$1
      ;;
  esac
  shift
done
[[ $state == /* ]] || state=$PWD/$state
target=${target:-${ERLMCP_BACKUP_DIR:-$monitoring/backup}}
version=${ERLMCP_VERSION:-unversioned}
[[ $version =~ ^[A-Za-z0-9._+-]{1,64}$ ]] || wrong "ERLMCP_VERSION is not a version: $version"

umask 077
need curl jq tar gzip sha256sum
staging='' doing=''
finish() {
  local status=$?
  trap '' INT TERM HUP
  if [ "$status" -ne 0 ] && [ -n "$doing" ]; then
    printf '%s: failed at %s; there is no new archive\n' "$me" "$doing" >&2
  fi
  undo_take
  [ -z "$staging" ] || rm -rf "$staging"
  exit "$status"
}
trap finish EXIT
trap 'warn "interrupted: there is no new archive"; exit 130' INT
trap 'warn "ended: there is no new archive"; exit 143' TERM HUP

services=()
if [ -n "$data" ]; then
  if [ -n "$native" ]; then
    native_state
    native_namespace
    native_lock
  else
    docker_there
  fi
  for service in "${stored_services[@]}"; do
    if service_there "$service"; then services+=("$service"); fi
  done
  [ ${#services[@]} -gt 0 ] || die "there are no data: the stack was never started here" \
    "deploy-monitoring.sh start${native:+ --native}, or backup.sh --configuration-only"
fi

mkdir -p "$target" 2>/dev/null || die "cannot make the folder $target" "name another one: backup.sh FOLDER"
target=$(cd "$target" && pwd)
[ -w "$target" ] || die "cannot write to $target" "name another one: backup.sh FOLDER"
exec 8>"$target/.lock"
flock -n 8 || die "another backup writes to $target" "wait for it to end"
# What a backup that was killed has left.
rm -rf "$target"/.erlmcp-backup.*
staging=$(mktemp -d "$target/.erlmcp-backup.XXXXXX")

# Room for everything as it is, and once more for the largest part, which is in a
# file of its own before it is in the archive. Compression is not counted on.
declare -A kib
wanted=10240 largest=0
for service in "${services[@]}"; do
  # shellcheck disable=SC2016
  kib[$service]=$(in_data "$service" 'du -sk "$1"' | awk '{ print $1 }')
  [[ ${kib[$service]} =~ ^[0-9]+$ ]] || die "cannot read the data of $service" "run this as who started the stack, or as root"
  wanted=$((wanted + kib[$service]))
  if [ "${kib[$service]}" -gt "$largest" ]; then largest=${kib[$service]}; fi
done
wanted=$((wanted + largest))
free=$(free_kib "$target")
[ "$free" -ge "$wanted" ] || die "$((free / 1024)) MiB are free in $target, and this may take $((wanted / 1024)) MiB" \
  "name a folder on another disk: backup.sh FOLDER"

name=erlmcp-monitoring-$version-$(date -u +%Y%m%dT%H%M%SZ)
[ ! -e "$target/$name.tar" ] || die "$target/$name.tar is there already" "try again in a second"
parts='[]'
# Into the archive, and its line into the manifest.
add() { # NAME HOW VERSION KIB
  local file=$1.tar.gz bytes sum
  bytes=$(stat -c %s "$staging/$file")
  sum=$(sha256sum "$staging/$file" | awk '{ print $1 }')
  tar -C "$staging" -rf "$staging/archive" --owner=0 --group=0 "$file"
  rm "$staging/$file"
  parts=$(jq --arg name "$1" --arg file "$file" --arg how "$2" --arg version "$3" --argjson kib "$4" \
    --argjson bytes "$bytes" --arg sum "$sum" \
    '. + [{name: $name, file: $file, how: $how, version: $version, unpacked_kib: $kib, bytes: $bytes, sha256: $sum}]' <<<"$parts")
  say "$(printf 'saved     %-16s %10d bytes, %s' "$1" "$bytes" "$2")"
}

doing="copying the configuration"
take_configuration
add configuration "$([ -n "$with_secrets" ] && echo "with secrets" || echo "without secrets")" "$version" \
  "$(cd "$monitoring" && configuration_folders | xargs du -sk | awk '{ n += $1 } END { print n + 0 }')"
running='[]'
for service in "${services[@]}"; do
  if service_alive "$service"; then running=$(jq --arg name "$service" '. + [$name]' <<<"$running"); fi
done
for service in "${services[@]}"; do
  how=''
  doing="copying the data of $service"
  # Not as a condition: within one, a failure would not end it.
  take "$service"
  add "$service" "$how" "$(service_version "$service")" "${kib[$service]}"
done

doing="writing $target/$name.tar"
jq -n --arg version "$version" --arg created "$(date -u +%Y-%m-%dT%H:%M:%SZ)" --arg host "$(uname -n)" \
  --arg mode "$([ -n "$native" ] && echo native || echo docker)" --argjson secrets "$([ -n "$with_secrets" ] && echo true || echo false)" \
  --argjson running "$running" --argjson parts "$parts" \
  '{format: 1, erlmcp_version: $version, created: $created, host: $host, mode: $mode, with_secrets: $secrets, running: $running, parts: $parts}' \
  >"$staging/MANIFEST.json"
tar -C "$staging" -rf "$staging/archive" --owner=0 --group=0 MANIFEST.json
(cd "$staging" && sha256sum archive | sed "s/archive\$/$name.tar/" >sum)
sync "$staging/archive" "$staging/sum"
mv "$staging/sum" "$target/$name.tar.sha256"
mv "$staging/archive" "$target/$name.tar"
doing=''

if [ -n "$keep" ]; then
  find "$target" -maxdepth 1 -name 'erlmcp-monitoring-*.tar' -printf '%T@ %p\n' | sort -rn | tail -n "+$((keep + 1))" |
    while read -r _ old; do
      rm -f "$old" "$old.sha256"
      say "removed   $old"
    done
fi

if [ ${#services[@]} -gt 0 ]; then
  alive=()
  for service in $(jq -r '.[]' <<<"$running"); do alive+=("$service"); done
  if [ ${#alive[@]} -gt 0 ]; then
    wait_for_services 120 "${alive[@]}" || die "the archive is complete, but not everything that ran is ready again" "$target/$name.tar"
  fi
fi
say "complete  $target/$name.tar ($(stat -c %s "$target/$name.tar") bytes)"
