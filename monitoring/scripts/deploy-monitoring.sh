#!/usr/bin/env bash
# shellcheck source-path=SCRIPTDIR
# Starts, stops and checks the monitoring stack: in containers, or natively.
set -euo pipefail

me=deploy-monitoring

usage() {
  cat <<'USAGE'
usage: deploy-monitoring.sh [VERB] [OPTION ...]

verbs:
  start           start what does not run, wait until it is ready (without a verb too)
  stop            end all of it; data stay
  restart         stop and start, with the same profiles
  logs [SERVICE]  what the services printed last
  verify          look whether everything works: targets, rules, a test alert, a test
                  trace, a test log line, long-term storage
  status          each service: runs, since when, ready
  clean           stop, and remove all data; asks

options:
  --profile NAME  with this too: jaeger elasticsearch thanos victoria-metrics demo; may
                  be repeated. Without: COMPOSE_PROFILES, else docker/.env, else jaeger.
                  --profile none: the core alone
  --images SET    container images: guide (the guide's versions) or tested (newer)
  --native        locally installed programs instead of containers
  --state DIR     where --native keeps data, logs and pid files
                  (default: ~/.local/state/erlmcp-monitoring)
  --timeout S     how long to wait for readiness (default 180), for verify: for each of
                  what it sends to be found (default 60)
  --no-application  verify: erlmcp itself may be absent
  --follow, -f    logs: go on until Ctrl-C
  --tail N        logs: how many lines of each (default 100)
  --yes           clean: do not ask

exit status: 0 done; 1 failed, or verify or status found a fault; 2 wrong words
README.md has the environment variables.
USAGE
}

. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
. "$scripts/lib/services.sh"
. "$scripts/lib/native.sh"
. "$scripts/lib/native-programs.sh"
. "$scripts/lib/docker.sh"
. "$scripts/lib/wait.sh"
. "$scripts/lib/prepare.sh"

verb='' service='' native='' timeout='' follow='' tail=100 assume_yes='' images='' application=1 asked=()
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help)
      usage
      exit 0
      ;;
    start | stop | restart | logs | verify | status | clean)
      [ -z "$verb" ] || wrong "one verb, not $verb and $1"
      verb=$1
      ;;
    --profile | --images | --state | --timeout | --tail)
      [ $# -ge 2 ] || wrong "$1 wants a value"
      case $1 in
        --profile)
          is_profile "$2" || [ "$2" = none ] || wrong "no such profile: $2"
          asked+=("$2")
          ;;
        --images)
          [[ $2 == guide || $2 == tested ]] || wrong "--images is guide or tested: $2"
          images=$2
          ;;
        --state)
          [ -n "$2" ] || wrong "--state wants a folder"
          state=$2
          ;;
        --timeout) seconds "$1" "$2" && timeout=$2 ;;
        --tail) seconds "$1" "$2" && tail=$2 ;;
      esac
      shift
      ;;
    --native) native=1 ;;
    --no-application) application='' ;;
    -f | --follow) follow=1 ;;
    --yes) assume_yes=1 ;;
    -*) wrong "unknown option: $1" ;;
    *)
      if [ "$verb" != logs ] || [ -n "$service" ]; then wrong "unknown word: $1"; fi
      service_exists "$1" || wrong "no such service: $1 (there are: $(all_services | tr '\n' ' '))"
      service=$1
      ;;
  esac
  shift
done
verb=${verb:-start}
if [ -n "$native" ] && [ -n "$images" ]; then wrong "--images is about containers, --native has none"; fi
[[ $state == /* ]] || state=$PWD/$state

# The profiles that are meant: those of the command line, of the environment, of
# docker/.env.
choose_profiles() {
  local name default=''
  if [ -r "$monitoring/docker/.env" ]; then
    default=$(sed -n 's/^COMPOSE_PROFILES=//p' "$monitoring/docker/.env" | tail -n 1)
  fi
  if [ ${#asked[@]} -eq 0 ]; then
    IFS=', ' read -ra asked <<<"${COMPOSE_PROFILES-${default:-jaeger}}"
  fi
  wanted_profiles=()
  for name in "${asked[@]}"; do
    [ "$name" != none ] || continue
    is_profile "$name" || wrong "no such profile: $name"
    wanted_profiles+=("$name")
  done
  COMPOSE_PROFILES=$(IFS=, && echo "${wanted_profiles[*]}")
  export COMPOSE_PROFILES
}

# The profiles of the services that are there now, for restart.
remember_profiles() { # SERVICE...
  local name profile
  [ ${#asked[@]} -eq 0 ] && [ $# -gt 0 ] || return 0
  asked=(none)
  for name in "$@"; do
    profile=$(service_profile "$name")
    [ "$profile" = core ] || asked+=("$profile")
  done
}

prepare() {
  prepare_prometheus
  prepare_blocks
  prepare_targets
  prepare_secrets
}

where() { # SERVICE...
  local name url
  printf '\n'
  for name in grafana prometheus alertmanager loki jaeger otel-collector victoria-metrics thanos-query kibana erlmcp; do
    [[ " $* " == *" $name "* ]] || continue
    url=$(where_is "$name")
    [ -z "$url" ] || printf '  %-17s %s\n' "$name" "$url"
  done
  if [[ " $* " == *" grafana "* ]]; then
    printf '\n  Grafana: user admin; its first password: %s\n' "$(grafana_password_command)"
  fi
  if [[ " $* " == *" alertmanager "* ]] && ! "$scripts/alertmanager-secrets.sh" check >/dev/null 2>&1; then
    printf '\n  Nobody is told of alerts yet: the channels have no secrets. %s list\n' "$scripts/alertmanager-secrets.sh"
  fi
  printf '\n  Look whether all of it works: %s verify%s\n' "$scripts/deploy-monitoring.sh" "${native:+ --native}"
}

grafana_password_command() {
  if [ -n "$native" ]; then
    echo "cat $state/data/grafana/admin-password"
  else
    echo "docker exec erlmcp-grafana cat /var/lib/grafana/admin-password"
  fi
}

# For a person: the page to open, or the door to send to.
where_is() { # SERVICE
  local port
  case $1 in
    jaeger) port=16686 ;;
    otel-collector) port=4318 ;;
    *) port=$(service_port "$1") ;;
  esac
  if [ -n "$native" ]; then
    printf 'http://%s:%s\n' "$(native_address "$1")" "$port"
  else
    port=$(docker_address "$1" "$port")
    [ -z "$port" ] || printf 'http://%s\n' "${port/127.0.0.1/localhost}"
  fi
}

. "$scripts/lib/verbs-docker.sh"
. "$scripts/lib/verbs-native.sh"

case $verb in
  logs | clean | stop | start | restart | status)
    if [ -n "$native" ]; then "native_verb_$verb"; else "docker_verb_$verb"; fi
    ;;
  verify)
    . "$scripts/lib/verify.sh"
    verify
    ;;
esac
