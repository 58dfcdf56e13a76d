# shellcheck shell=bash disable=SC2034,SC2154
# The folders with the services' data, wherever they are: how to stop who writes
# them, and how to run a few lines of shell in them. In containers these lines run
# in a container of their own that has the volumes, with Prometheus' image, which
# has a shell and tar, and is there in any case.

# Whose data a backup has, in the order in which they are taken: Promtail's
# positions before Loki, so that after a restore lines come twice (Loki drops the
# second) rather than never.
stored_services=(promtail alertmanager prometheus victoria-metrics loki jaeger grafana)

# What a restore puts aside until it has succeeded; in each folder, for volumes
# cannot be renamed.
aside=.before-restore

# Files that belong to a running process, not to the data; with them snapshots,
# which are linked copies of the data.
not_data() { # SERVICE
  case $1 in
    prometheus) echo "lock|queries.active|snapshots|$aside" ;;
    victoria-metrics) echo "flock.lock|snapshots|cache|tmp|$aside" ;;
    *) echo "lost.found|$aside" ;;
  esac
}

# Grafana's first password and the key of what is encrypted in its database.
secret_data() { # SERVICE
  case $1 in
    grafana) echo 'admin-password|secret-key' ;;
  esac
}

service_there() { # SERVICE
  if [ -n "$native" ]; then
    [ -d "$state/data/$1" ] && [[ " $(native_chosen | tr '\n' ' ')" == *" $1 "* ]]
  else
    docker inspect "$(container "$1")" >/dev/null 2>&1
  fi
}

service_alive() { # SERVICE
  if [ -n "$native" ]; then native_alive "$1"; else docker_alive "$1"; fi
}

service_stop() { # SERVICE
  if [ -n "$native" ]; then
    native_stop 60 "$1"
  else
    docker stop -t 60 "$(container "$1")" >/dev/null
    say "stopped   $1"
  fi
}

service_start() { # SERVICE...
  local name
  if [ -n "$native" ]; then
    native_launch "$@"
  else
    for name in "$@"; do
      docker start "$(container "$name")" >/dev/null
      say "started   $name"
    done
  fi
}

# Lines of sh; $1 is the service's data folder.
in_data() { # SERVICE SCRIPT [ARGUMENT...]
  local service=$1 script=$2
  shift 2
  if [ -n "$native" ]; then
    sh -euc "$script" sh "$state/data/$service" "$@"
  else
    # What goes through its standard output must not go into a log as well.
    docker run -i --rm --network none --user 0 --log-driver none --volumes-from "$(container "$service")" \
      --entrypoint /bin/sh "$(docker inspect -f '{{.Config.Image}}' "$(container prometheus)")" \
      -euc "$script" sh "$(service_data "$service")" "$@"
  fi
}

service_version() { # SERVICE
  local program
  if [ -z "$native" ]; then
    docker inspect -f '{{.Config.Image}}' "$(container "$1")" 2>/dev/null || echo unknown
    return
  fi
  program=$(native_program "$1" 2>/dev/null) || true
  case $1 in
    jaeger | victoria-metrics) echo "$program" ;;
    *) timeout 10 "$program" --version 2>&1 | head -n 1 || echo unknown ;;
  esac
}

# The configuration: each folder beside scripts/ that the services read.
configuration_folders() {
  local folder
  for folder in "$monitoring"/*/; do
    folder=${folder%/}
    case ${folder##*/} in
      scripts | tests | runbooks | kubernetes | docs | tools | backup) ;;
      *) printf '%s\n' "${folder##*/}" ;;
    esac
  done
}
