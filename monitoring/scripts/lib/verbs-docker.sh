# shellcheck shell=bash disable=SC2034,SC2154
# The verbs of deploy-monitoring.sh on containers.

docker_ready() {
  [ -r "$compose_file" ] || die "there is no $compose_file" "run this from a complete checkout"
  docker_there
  find_compose
}

docker_verb_start() {
  local chosen
  need curl
  docker_ready
  [ -z "$images" ] || export ERLMCP_IMAGES=$images
  choose_profiles
  prepare
  prepare_logs
  docker_machine
  docker_ports_free
  say "starting with ${compose[*]}, profiles: ${wanted_profiles[*]:-none}"
  compose up -d || die "compose could not start the stack" \
    "its message is above; images are fetched from a registry: is there a network?"
  mapfile -t chosen < <(docker_chosen)
  wait_for_services "${timeout:-180}" "${chosen[@]}" || die "not everything is ready" \
    "the lines above say what and where to look; what runs goes on"
  reload_configuration "${chosen[@]}"
  where "${chosen[@]}"
}

docker_verb_stop() {
  local first
  docker_ready
  mapfile -t first < <(docker_running)
  mapfile -t first < <(only_senders "${first[@]}")
  if [ ${#first[@]} -gt 0 ]; then compose_all stop --timeout 60 "${first[@]}"; fi
  compose_all stop --timeout 60
  say "stopped; data stay (clean removes them)"
}

docker_verb_restart() {
  local chosen
  docker_ready
  mapfile -t chosen < <(docker_chosen)
  remember_profiles "${chosen[@]}"
  docker_verb_stop
  docker_verb_start
}

docker_verb_logs() {
  docker_ready
  compose_all logs --tail "$tail" ${follow:+--follow} ${service:+"$service"}
}

docker_verb_status() {
  local name state since answer bad=0
  docker_ready
  [ -n "$(docker_chosen)" ] || die "nothing was started" "deploy-monitoring.sh start"
  printf '%-18s %-10s %-21s %s\n' SERVICE STATE SINCE READY
  for name in $(docker_chosen); do
    read -r state since < <(docker inspect -f '{{.State.Status}} {{.State.StartedAt}}' "$(container "$name")") || true
    if look "$name"; then
      printf '%-18s %-10s %-21s %s\n' "$name" "$state" "${since%.*}Z" yes
    else
      printf '%-18s %-10s %-21s %s\n' "$name" "${state:--}" "${since%.*}Z" "no: $answer"
      bad=1
    fi
  done
  return "$bad"
}

docker_verb_clean() {
  docker_ready
  ask "this stops the stack and removes all of its data (volumes of the project $project)."
  compose_all down --volumes --remove-orphans --timeout 60
  rm -f "$monitoring/prometheus/prometheus.generated.yml"
  say "removed"
}
