# shellcheck shell=bash disable=SC2034,SC2154
# The verbs of deploy-monitoring.sh on locally installed programs.

native_verb_start() {
  local chosen
  native_namespace
  choose_profiles
  prepare
  native_machine
  prepare_grafana
  mapfile -t chosen < <(services_of "${wanted_profiles[@]}")
  native_start "${chosen[@]}"
  mapfile -t chosen < <(native_chosen)
  wait_for_services "${timeout:-180}" "${chosen[@]}" || die "not everything is ready" \
    "the lines above say what and where to look; what runs goes on"
  reload_configuration "${chosen[@]}"
  where "${chosen[@]}"
}

native_machine() {
  local memory free
  memory=$(awk '$1 == "MemTotal:" { print $2 }' /proc/meminfo)
  [ "$memory" -ge 3800000 ] || warn "$((memory / 1000)) MB of memory; 4 GB are the least, 8 GB are better"
  native_make_state
  free=$(free_kib "$state")
  [ "$free" -ge 20971520 ] || warn "$((free / 1048576)) GB are free in $state; the stack wants 20 GB"
}

native_verb_stop() {
  local running
  native_state
  native_lock
  mapfile -t running < <(native_running)
  if [ ${#running[@]} -eq 0 ]; then
    say "nothing runs"
  else
    native_stop_all 60 "${running[@]}"
  fi
  exec 9>&-
}

native_verb_restart() {
  local chosen
  native_namespace
  mapfile -t chosen < <(native_chosen)
  remember_profiles "${chosen[@]}"
  native_verb_stop
  native_verb_start
}

native_verb_logs() {
  local name files=() names=()
  for name in ${service:-$(native_chosen)}; do
    [ ! -e "$(native_log "$name")" ] || { files+=("$(native_log "$name")") && names+=("$name"); }
  done
  [ ${#files[@]} -gt 0 ] || die "there is no log${service:+ of $service} in $state/log" "nothing was started with this --state"
  tail -n "$tail" ${follow:+-F} "${files[@]}"
}

native_verb_status() {
  local name pid since answer bad=0
  [ -n "$(native_chosen)" ] || die "nothing was started in $state" "deploy-monitoring.sh start --native"
  printf '%-18s %-8s %-12s %s\n' SERVICE PID UP READY
  for name in $(native_chosen); do
    if ! pid=$(native_pid "$name"); then
      printf '%-18s %-8s %-12s %s\n' "$name" - - "not running; tail $(native_log "$name")"
      bad=1
      continue
    fi
    since=$(ps -o etime= -p "$pid" | tr -d ' ')
    if look "$name"; then
      printf '%-18s %-8s %-12s %s\n' "$name" "$pid" "$since" yes
    else
      printf '%-18s %-8s %-12s %s\n' "$name" "$pid" "$since" "no: $answer"
      bad=1
    fi
  done
  for name in $(native_absent); do
    printf '%-18s %-8s %-12s %s\n' "$name" - - "not installed"
  done
  return "$bad"
}

native_verb_clean() {
  native_state
  [ -e "$state/.erlmcp-monitoring" ] || die "there is nothing in $state"
  ask "this stops the stack and removes all of its data in $state."
  native_verb_stop
  native_lock
  rm -rf "${state:?}"/{data,log,run,root,erlmcp-logs}
  rm -f "$monitoring/prometheus/prometheus.generated.yml" "$state/.lock" "$state/.erlmcp-monitoring"
  rmdir "$state" 2>/dev/null || true
  say "removed   $state"
}
