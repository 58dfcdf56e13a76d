# shellcheck shell=bash disable=SC2034,SC2154
# The stack from locally installed programs, without Docker: one mount namespace
# with the paths and names that the containers have (native-root.sh), a pid file,
# a log and a data folder for each program, all in one state folder.

state=${ERLMCP_MONITORING_STATE:-${XDG_STATE_HOME:-$HOME/.local/state}/erlmcp-monitoring}

# Whether what a pid file names is still that process.
native_pid() { # SERVICE
  local pid started stat
  local -a fields
  read -r pid started 2>/dev/null <"$state/run/$1.pid" || return 1
  stat=$(cat "/proc/$pid/stat" 2>/dev/null) || return 1
  read -ra fields <<<"${stat##*) }"
  # A zombie has ended.
  [ "${fields[19]}" = "$started" ] && [ "${fields[0]}" != Z ] || return 1
  printf '%s\n' "$pid"
}

native_alive() { native_pid "$1" >/dev/null; }

native_running() {
  local service
  for service in $(all_services); do
    if native_alive "$service"; then printf '%s\n' "$service"; fi
  done
}

# Those that start chose, also when they have ended since.
native_chosen() { cat "$state/run/services" 2>/dev/null || true; }

native_absent() { cat "$state/run/absent" 2>/dev/null || true; }

native_log() { printf '%s/log/%s.log\n' "$state" "$1"; }

# Everybody is at 127.0.0.1, save for those who share a port number with another.
native_address() { # SERVICE
  case $1 in
    jaeger) echo 127.0.0.2 ;;
    thanos-sidecar) echo 127.0.0.3 ;;
    thanos-store) echo 127.0.0.4 ;;
    thanos-compactor) echo 127.0.0.5 ;;
    *) echo 127.0.0.1 ;;
  esac
}

native_url() { # SERVICE
  printf 'http://%s:%s\n' "$(native_address "$1")" "$(service_port "$1")"
}

# A folder that another start made, or one that may become it: clean removes it,
# so it must not be anything else's.
native_state() {
  [[ $state == /* ]] || state=$PWD/$state
  if [[ $state =~ [[:space:]] ]]; then die "the state folder must have no spaces: $state"; fi
  if [ -e "$state" ] && [ ! -e "$state/.erlmcp-monitoring" ] && [ -n "$(ls -A "$state" 2>/dev/null)" ]; then
    die "$state holds something else" "choose another folder with --state, or an empty one"
  fi
}

native_make_state() {
  native_state
  mkdir -p "$state" || die "cannot write $state" "choose another folder with --state"
  chmod 700 "$state"
  touch "$state/.erlmcp-monitoring"
  mkdir -p "$state"/{run,log,data,root}
}

# One start, stop, clean or restore at a time. Programs must not inherit it.
native_lock() {
  [ -d "$state" ] || return 0
  exec 9>"$state/.lock"
  flock -w 60 9 || die "another script works on $state" "wait for it to end"
}

# How to get a namespace: root does as it is, others are root of a namespace of
# users first.
namespace=()
native_namespace() {
  [ "$(uname -s)" = Linux ] || die "--native wants Linux" "use Docker: deploy-monitoring.sh start"
  need unshare chroot setsid flock curl
  namespace=(unshare --mount)
  if [ "$(id -u)" -ne 0 ]; then namespace=(unshare --user --map-root-user --mount); fi
  "${namespace[@]}" true 2>/dev/null || die "this machine does not let you make a mount namespace" \
    "run this as root, or let users do it:" \
    "sysctl -w kernel.unprivileged_userns_clone=1 (Debian), kernel.apparmor_restrict_unprivileged_userns=0 (Ubuntu)," \
    "user.max_user_namespaces=15000 (RHEL); in a container: --privileged"
}

# Who listens on a port that a program wants; nothing if nobody does.
port_owner() { # ADDRESS PORT
  local line
  if have ss; then
    line=$(ss -Hltnp "sport = :$2" 2>/dev/null |
      awk -v wanted="$1:$2" -v any="$2" '$4 == wanted || $4 == "0.0.0.0:" any || $4 == "*:" any || $4 == "[::]:" any' | head -n 1)
    [ -n "$line" ] || return 0
    if [[ $line =~ \(\(\"([^\"]+)\",pid=([0-9]+) ]]; then
      echo "${BASH_REMATCH[1]} (pid ${BASH_REMATCH[2]})"
    else
      echo "a program of another user (sudo ss -ltnp 'sport = :$2' names it)"
    fi
  elif (exec 3<>"/dev/tcp/$1/$2") 2>/dev/null; then
    echo "a program (ss is not here to name it)"
  fi
}

native_ports_free() { # SERVICE...
  local service port owner bad=()
  for service in "$@"; do
    for port in $(native_ports "$service"); do
      owner=$(port_owner "${port%:*}" "${port#*:}")
      if [ -n "$owner" ]; then bad+=("$service wants $port, where $owner listens"); fi
    done
  done
  [ ${#bad[@]} -eq 0 ] || die "ports are in use" "${bad[@]}" "end that program, or run the stack on another machine"
}

# What the namespace has and the host has not, for native-root.sh.
native_places() {
  local service data logs name
  : >"$state/run/places"
  place() { printf '%s %s %s\n' "$1" "$2" "$3" >>"$state/run/places"; }

  {
    for service in $(all_services); do
      printf '%s %s\n' "$(native_address "$service")" "$service"
    done
    # This host's own names, behind the stack's.
    cat /etc/hosts
  } >"$state/run/hosts"
  place file "$state/run/hosts" /etc/hosts
  # Go's resolver asks the hosts file first only if this says so in a way it knows.
  printf 'passwd: files\ngroup: files\nhosts: files dns\n' >"$state/run/nsswitch.conf"
  place file "$state/run/nsswitch.conf" /etc/nsswitch.conf

  place folder "$monitoring/prometheus" /etc/prometheus
  place folder "$monitoring/alertmanager" /etc/alertmanager
  place folder "$monitoring/grafana/datasources" /etc/grafana/provisioning/datasources
  place folder "$monitoring/grafana/dashboards" /etc/grafana/provisioning/dashboards
  for name in loki:loki promtail:promtail otel:otelcol blackbox:blackbox_exporter thanos:thanos; do
    if [ -d "$monitoring/${name%:*}" ]; then place folder "$monitoring/${name%:*}" "/etc/${name#*:}"; fi
  done

  for service in $(all_services); do
    data=$(service_data "$service")
    [ "$data" != - ] || continue
    mkdir -p "$state/data/$service"
    place folder "$state/data/$service" "$data"
  done
  mkdir -p "$state/data/thanos"
  place folder "$state/data/thanos" /thanos

  logs=$(log_folder)
  if [ "$logs" != /var/log/erlmcp ]; then place folder "$logs" /var/log/erlmcp; fi
}

# Where the application's logs are on this host: /var/log/erlmcp, or a folder of
# the state where that cannot be made.
log_folder() {
  local folder=${ERLMCP_LOG_DIR:-/var/log/erlmcp}
  if mkdir -p "$folder" 2>/dev/null && [ -r "$folder" ]; then
    printf '%s\n' "$folder"
  else
    mkdir -p "$state/erlmcp-logs"
    printf '%s\n' "$state/erlmcp-logs"
  fi
}

# Keeps one old log; who wants more has a log rotation of their own.
native_turn_log() { # SERVICE
  local log
  log=$(native_log "$1")
  if [ "$(stat -c %s "$log" 2>/dev/null || echo 0)" -gt 10485760 ]; then mv "$log" "$log.1"; fi
}

# Starts what does not run yet. Says which programs this machine has not.
native_start() { # SERVICE...
  local service starting=() chosen=() absent=()
  native_make_state
  native_lock
  for service in "$@"; do
    if native_command "$service"; then
      chosen+=("$service")
      # Another program, or other flags: that one is started anew.
      if native_alive "$service"; then
        if printf '%s\0' "${command[@]}" | cmp -s - "$state/run/$service.command"; then continue; fi
        native_stop 60 "$service"
      fi
      starting+=("$service")
      printf '%s\0' "${command[@]}" >"$state/run/$service.command"
    elif native_alive "$service"; then
      chosen+=("$service")
    else
      absent+=("$service")
      say "left out  $service: $missing"
    fi
  done
  [ ${#chosen[@]} -gt 0 ] || die "none of the programs is installed" \
    "scripts/setup.sh stack fetches them into .tools; or put them on PATH, or say where in ERLMCP_TOOLS"
  printf '%s\n' "${chosen[@]}" >"$state/run/services"
  printf '%s\n' "${absent[@]}" >"$state/run/absent"
  if [ ${#starting[@]} -eq 0 ]; then
    say "everything runs already"
    exec 9>&-
    return
  fi
  native_ports_free "${starting[@]}"
  native_places
  native_launch "${starting[@]}"
  for service in "${starting[@]}"; do once_more[$service]=1; done
  exec 9>&-
}

# By the commands that are written down, in a namespace of their own.
native_launch() { # SERVICE...
  local service
  for service in "$@"; do
    rm -f "$state/run/$service.pid"
    native_turn_log "$service"
  done
  "${namespace[@]}" "$BASH" "$scripts/lib/native-root.sh" "$state" "$@" 8>&- 9>&- ||
    die "cannot make the namespace that the programs run in" "the message above says what the system refused"
  for service in "$@"; do
    say "started   $service ($(native_program "$service"))"
  done
}

# What Docker does for a container that ends (`restart: unless-stopped`), a start does
# once for a program that it has just started. Grafana 10 needs it: on a busy
# machine it may fail while it makes its database ("failed to create default
# organization"), and finds it made the next time.
declare -A once_more=()
native_once_more() { # SERVICE
  [ -n "${once_more[$1]-}" ] || return 1
  unset "once_more[$1]"
  warn "$1 has ended, and is started once more; $(service_log "$1")"
  native_lock
  native_launch "$1"
  exec 9>&-
}

# The program that a service was started from.
native_program() { # SERVICE
  tr '\0' '\n' <"$state/run/$1.command" | awk '/^\// && $0 != "/usr/bin/env" && !found { print; found = 1 }'
}

# Waits until none of them is alive; prints those that still are.
native_ended() { # SECONDS SERVICE...
  local end=$((SECONDS + $1)) service still
  shift
  while :; do
    still=()
    for service in "$@"; do
      if native_alive "$service"; then still+=("$service"); fi
    done
    [ ${#still[@]} -gt 0 ] || return 0
    set -- "${still[@]}"
    [ "$SECONDS" -lt "$end" ] || break
    sleep 0.2
  done
  printf '%s\n' "$@"
  return 1
}

# Senders first, then those who store.
native_stop_all() { # SECONDS SERVICE...
  local limit=$1 first last
  shift
  mapfile -t first < <(only_senders "$@")
  mapfile -t last < <(only_senders not "$@")
  native_stop "$limit" "${first[@]}"
  native_stop "$limit" "${last[@]}"
}

# Asks the programs to end, all at once, and ends those who do not within a time.
native_stop() { # SECONDS SERVICE...
  local limit=$1 service pid late
  shift
  [ $# -gt 0 ] || return 0
  for service in "$@"; do
    if pid=$(native_pid "$service"); then kill -TERM "$pid" 2>/dev/null || true; fi
  done
  if ! late=$(native_ended "$limit" "$@"); then
    for service in $late; do
      warn "$service did not end within $limit s and is killed; what it said last: tail $(native_log "$service")"
      # With what it has started: each has a process group of its own.
      if pid=$(native_pid "$service"); then kill -KILL -- "-$pid" 2>/dev/null || true; fi
    done
    # shellcheck disable=SC2086
    late=$(native_ended 10 $late) || die "these do not end: $late" "the disk may hang: dmesg | tail"
  fi
  for service in "$@"; do
    rm -f "$state/run/$service.pid"
    say "stopped   $service"
  done
}
