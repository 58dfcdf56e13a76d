#!/usr/bin/env bash
# shellcheck source-path=SCRIPTDIR
# Waits until the services of the stack are ready, by their own readiness pages.
set -euo pipefail

me=wait-for-services

usage() {
  cat <<'USAGE'
usage: wait-for-services.sh [OPTION ...] [SERVICE ...]

Waits until each service says that it is ready; without a SERVICE, all that were
started. Says which one failed and where its log is.

options:
  --native      programs that deploy-monitoring.sh --native has started
  --state DIR   their state folder (default: ~/.local/state/erlmcp-monitoring)
  --timeout S   how long to wait for all together (default 180)

exit status: 0 all are ready; 1 one has ended, or the time is over; 2 wrong words
USAGE
}

. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
. "$scripts/lib/services.sh"
. "$scripts/lib/native.sh"
. "$scripts/lib/docker.sh"
. "$scripts/lib/wait.sh"

native='' timeout=180 services=()
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help)
      usage
      exit 0
      ;;
    --native) native=1 ;;
    --timeout | --state)
      [ $# -ge 2 ] || wrong "$1 wants a value"
      if [ "$1" = --timeout ]; then seconds "$1" "$2" && timeout=$2; else state=$2; fi
      shift
      ;;
    -*) wrong "unknown option: $1" ;;
    *)
      service_exists "$1" || wrong "no such service: $1 (there are: $(all_services | tr '\n' ' '))"
      services+=("$1")
      ;;
  esac
  shift
done
[[ $state == /* ]] || state=$PWD/$state

need curl
[ -n "$native" ] || docker_there
if [ ${#services[@]} -eq 0 ]; then
  mapfile -t services < <(if [ -n "$native" ]; then native_chosen; else docker_chosen; fi)
fi
[ ${#services[@]} -gt 0 ] || die "nothing was started" "deploy-monitoring.sh start${native:+ --native}"
wait_for_services "$timeout" "${services[@]}" || exit 1
