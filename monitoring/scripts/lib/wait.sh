# shellcheck shell=bash disable=SC2034,SC2154
# Waits until services say themselves that they are ready, whether they run in
# containers or natively. `native` says which.

# The address that answers for a service from here; nothing if its port is not
# published.
service_url() { # SERVICE
  if [ -n "$native" ]; then
    native_url "$1"
  else
    docker_url "$1"
  fi
}

service_log() { # SERVICE
  if [ -n "$native" ]; then
    echo "tail -n 50 $(native_log "$1")"
  else
    echo "docker logs --tail 50 $(container "$1")"
  fi
}

# One look. Sets `answer` to what was found. 0: ready, 1: not yet, 2: it will not.
look() { # SERVICE
  local url status
  if [ -n "$native" ]; then
    if ! native_alive "$1"; then
      answer="it has ended"
      return 2
    fi
  else
    docker_look "$1" || return
  fi
  url=$(service_url "$1")
  # Nothing to ask: Docker's own word has to do.
  [ -n "$url" ] || return 0
  url+=$(service_page "$1")
  status=$(http_status "$url")
  if [ "$status" = 200 ]; then
    answer="$url"
    return
  fi
  if [ "$status" = 000 ]; then
    answer="$url does not answer"
  else
    answer="$url answers $status: $(curl -s -m 5 --noproxy '*' "$url" 2>/dev/null | head -c 120 | head -n 1)"
  fi
  return 1
}

# Who ran already reads its files anew; a wrong file is refused and the old one kept.
reload_configuration() { # SERVICE...
  local service url
  for service in prometheus alertmanager; do
    [[ " $* " == *" $service "* ]] || continue
    url=$(service_url "$service")
    [ -n "$url" ] || continue
    curl -fsS -m 30 -o /dev/null --noproxy '*' -X POST "$url/-/reload" 2>/dev/null ||
      die "$service refuses its configuration and goes on with the one before" "$(service_log "$service")"
  done
}

# 0 when all are ready, 1 when one has failed or the time is over.
wait_for_services() { # SECONDS SERVICE...
  local limit=$1 service status waiting failed=() reasons=() still begin=$SECONDS said=$SECONDS answer
  shift
  waiting=("$@")
  while [ ${#waiting[@]} -gt 0 ]; do
    still=() reasons=()
    for service in "${waiting[@]}"; do
      status=0
      look "$service" || status=$?
      case $status in
        0) say "ready     $service ($((SECONDS - begin)) s)" ;;
        1) still+=("$service") reasons+=("$answer") ;;
        *)
          if native_once_more "$service"; then
            still+=("$service") reasons+=("$answer")
          else
            failed+=("$service: $answer; look at: $(service_log "$service")")
          fi
          ;;
      esac
    done
    waiting=("${still[@]}")
    [ ${#waiting[@]} -gt 0 ] || break
    if [ $((SECONDS - begin)) -ge "$limit" ]; then
      local index
      for index in "${!waiting[@]}"; do
        failed+=("${waiting[index]}: not ready within $limit s, ${reasons[index]}; look at: $(service_log "${waiting[index]}")")
      done
      break
    fi
    if [ $((SECONDS - said)) -ge 5 ]; then
      said=$SECONDS
      say "waiting for ${waiting[*]} ($((SECONDS - begin)) s of $limit)"
    fi
    sleep 0.5
  done
  [ ${#failed[@]} -eq 0 ] && return
  for service in "${failed[@]}"; do
    printf '%s: FAILED    %s\n' "$me" "$service" >&2
  done
  return 1
}
