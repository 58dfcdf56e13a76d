# shellcheck shell=bash source-path=SCRIPTDIR/.. disable=SC2034,SC2154
# Whether the stack does what it is for. Each line is ok, FAILED with what to do
# next, or skipped with the reason. What is sent is named erlmcp-verify and can be
# told from real data by its id.

. "$scripts/lib/verify-prometheus.sh"
. "$scripts/lib/verify-alertmanager.sh"
. "$scripts/lib/verify-signals.sh"
. "$scripts/lib/verify-grafana.sh"

verify_failed=0
ok() { printf 'ok       %s\n' "$*"; }
skipped() { printf 'skipped  %s\n' "$*"; }
failed() { # WHAT NEXT
  printf 'FAILED   %s\n         next: %s\n' "$1" "$2"
  verify_failed=$((verify_failed + 1))
}

# Asks until it is so, for as long as verify waits for one thing.
within() { # COMMAND...
  local end=$((SECONDS + patience))
  until "$@"; do
    [ "$SECONDS" -lt "$end" ] || return 1
    sleep 1
  done
}

runs() { [[ " ${verified[*]} " == *" $1 "* ]]; }

# The address of a service's API from here.
api() { # SERVICE [PORT]
  local port=${2:-$(service_port "$1")} address
  if [ -n "$native" ]; then
    echo "http://$(native_address "$1"):$port"
  else
    address=$(docker_address "$1" "$port")
    echo "http://${address:-$1.not-published}"
  fi
}

identity() { # BYTES
  od -An -tx1 -N "$1" /dev/urandom | tr -d ' \n'
}

verify() {
  local name answer
  need curl jq
  patience=${timeout:-60} verified=()
  if [ -n "$native" ]; then
    mapfile -t verified < <(native_chosen)
  else
    docker_ready
    mapfile -t verified < <(docker_chosen)
  fi
  [ ${#verified[@]} -gt 0 ] || die "nothing was started" "deploy-monitoring.sh start${native:+ --native}"

  for name in "${verified[@]}"; do
    if look "$name"; then
      ok "$name runs and is ready"
    else
      failed "$name: $answer" "$(service_log "$name")"
    fi
  done
  if [ -n "$native" ]; then
    for name in $(native_absent); do skipped "$name: not installed on this machine"; done
  fi

  verify_targets
  verify_rules
  verify_alertmanager
  verify_grafana
  verify_trace
  verify_log
  verify_storage

  if [ "$verify_failed" -gt 0 ]; then
    printf '%s: %d of the checks failed\n' "$me" "$verify_failed" >&2
    return 1
  fi
  say "everything that runs works"
}
