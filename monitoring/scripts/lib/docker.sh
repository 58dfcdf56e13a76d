# shellcheck shell=bash disable=SC2034,SC2154
# The stack as containers: which docker and which compose, what must be so before
# they are asked, and what they say of each service.

compose_file=$monitoring/docker/docker-compose.monitoring.yml
project=erlmcp-monitoring
least_compose=2.1.0

# Everything natively: that is the way where there is no Docker.
native_hint="without Docker: $me.sh with --native runs locally installed programs"

container() { # SERVICE
  case $1 in
    erlmcp) echo erlmcp-demo ;;
    *) echo "erlmcp-$1" ;;
  esac
}

docker_there() {
  local answer
  have docker || die "docker is not installed" \
    "install Docker Engine with the Compose plugin: https://docs.docker.com/engine/install/" "$native_hint"
  if ! answer=$(timeout 30 docker info --format '{{.ServerVersion}}' 2>&1); then
    case $answer in
      *"permission denied"*) die "you may not talk to Docker" \
        "be in the group docker (sudo usermod -aG docker $(id -un), then log in again), or use sudo" ;;
      *) die "Docker does not answer: $(head -n 1 <<<"$answer")" \
        "start it, for example: sudo systemctl start docker" "$native_hint" ;;
    esac
  fi
}

# `docker compose`, or a docker-compose that is v2. v1 reads this file wrongly.
compose=()
find_compose() {
  local version='' old=''
  [ ${#compose[@]} -eq 0 ] || return 0
  if version=$(docker compose version --short 2>/dev/null) && at_least "${version#v}" "$least_compose"; then
    compose=(docker compose)
    return
  fi
  [ -z "$version" ] || old="docker compose is $version"
  if have docker-compose && version=$(docker-compose version --short 2>/dev/null); then
    if at_least "${version#v}" "$least_compose"; then
      compose=(docker-compose)
      return
    fi
    old="${old:+$old, }docker-compose is $version"
  fi
  die "Docker Compose $least_compose or later is needed; ${old:-there is none}" \
    "install the plugin: apt-get install docker-compose-plugin, or https://docs.docker.com/compose/install/" "$native_hint"
}

compose() {
  "${compose[@]}" -f "$compose_file" "$@"
}

# For verbs that concern all of the stack, whatever profiles it was started with.
compose_all() {
  COMPOSE_PROFILES=$(IFS=, && echo "${profiles[*]}") compose "$@"
}

# Services that have a container, in the order of the table.
docker_chosen() {
  local have_containers service
  have_containers=$(docker ps -a --filter "label=com.docker.compose.project=$project" \
    --format '{{.Label "com.docker.compose.service"}}')
  for service in $(all_services); do
    if grep -qxF "$service" <<<"$have_containers"; then printf '%s\n' "$service"; fi
  done
}

docker_running() {
  local service
  for service in $(docker_chosen); do
    if docker_alive "$service"; then printf '%s\n' "$service"; fi
  done
}

docker_alive() { # SERVICE
  [ "$(docker inspect -f '{{.State.Status}}' "$(container "$1")" 2>/dev/null)" = running ]
}

# Where a port of a service is published on this host; nothing if it is not.
docker_address() { # SERVICE PORT
  local address
  address=$(docker port "$(container "$1")" "$2/tcp" 2>/dev/null | head -n 1) || true
  case $address in
    '') ;;
    0.0.0.0:* | '[::]:'*) echo "127.0.0.1:${address##*:}" ;;
    *) echo "$address" ;;
  esac
}

docker_url() { # SERVICE
  local address
  address=$(docker_address "$1" "$(service_port "$1")")
  [ -z "$address" ] || echo "http://$address"
}

# What Docker itself knows of a service. Sets `answer`. 0: runs, and is healthy as
# far as anybody asks in the container; 1: not yet; 2: it will not.
docker_look() { # SERVICE
  local state health
  read -r state health < <(docker inspect \
    -f '{{.State.Status}} {{if .State.Health}}{{.State.Health.Status}}{{end}}' "$(container "$1")" 2>/dev/null) || true
  case ${state:-missing} in
    running) ;;
    missing)
      answer="there is no container $(container "$1")"
      return 2
      ;;
    restarting)
      answer="its container ends and is restarted"
      return 1
      ;;
    exited | dead)
      answer="its container has ended (exit status $(docker inspect -f '{{.State.ExitCode}}' "$(container "$1")" 2>/dev/null))"
      return 2
      ;;
    *)
      answer="its container is $state"
      return 1
      ;;
  esac
  case $health in
    starting | unhealthy)
      answer="its health check says: $health"
      return 1
      ;;
  esac
}

# The machine, against the guide's requirements: less is slow, not impossible.
docker_machine() {
  local root cpus memory free
  read -r cpus memory root < <(docker info --format '{{.NCPU}} {{.MemTotal}} {{.DockerRootDir}}' 2>/dev/null) || true
  if [[ ${cpus-} =~ ^[0-9]+$ ]] && [ "$cpus" -lt 2 ]; then warn "$cpus CPU core; 2 are the least, 4 are better"; fi
  # 4 GB less what firmware and kernel keep for themselves.
  if [[ ${memory-} =~ ^[0-9]+$ ]] && [ "$memory" -lt 3900000000 ]; then
    warn "$((memory / 1000000)) MB of memory; 4 GB are the least, 8 GB are better"
  fi
  if [ -d "${root-}" ] && free=$(free_kib "$root") && [ "$free" -lt 20971520 ]; then
    warn "$((free / 1048576)) GB are free in $root; the stack wants 20 GB"
  fi
}

# Ports that the file publishes and somebody else has. Of those that our own
# containers publish, nothing is said.
docker_ports_free() {
  local address port owner ours bad=()
  ours=$(docker ps --filter "label=com.docker.compose.project=$project" --format '{{.Ports}}')
  while read -r address port; do
    [[ $ours != *":$port->"* ]] || continue
    owner=$(docker ps --filter "publish=$port" --format '{{.Names}}' | head -n 1)
    if [ -n "$owner" ]; then
      owner="the container $owner"
    else
      owner=$(port_owner "$address" "$port")
    fi
    if [ -n "$owner" ]; then bad+=("port $port is in use by $owner"); fi
  done < <(published_ports)
  [ ${#bad[@]} -eq 0 ] || die "ports are in use" "${bad[@]}" \
    "end that program, or publish another port (docker/README.md)"
}

# "ADDRESS PORT" of each port that the chosen profiles publish.
published_ports() {
  compose config 2>/dev/null | awk '
    $1 == "host_ip:" { address = $2 }
    $1 == "published:" { gsub(/"/, "", $2); print (address == "" ? "127.0.0.1" : address), $2; address = "" }
  '
}
