# shellcheck shell=bash disable=SC2034,SC2154
# What must be there before the stack starts, in containers or natively: the
# configuration of Prometheus for the chosen storage, targets, folders, a password.

wanted_profiles=()

wants() { [[ " ${wanted_profiles[*]} " == *" $1 "* ]]; }

# Prometheus has no include for remote_write: a file is written where it is wanted.
prepare_prometheus() {
  local arguments=() file=$monitoring/prometheus/prometheus.generated.yml
  # Somebody has a file of their own.
  if [ -n "${ERLMCP_PROMETHEUS_CONFIG-}" ] && [ "$ERLMCP_PROMETHEUS_CONFIG" != prometheus.generated.yml ]; then return; fi
  if wants victoria-metrics; then arguments+=(--remote-write victoria-metrics); fi
  if [ -n "${ERLMCP_ENVIRONMENT-}" ]; then arguments+=(--environment "$ERLMCP_ENVIRONMENT"); fi
  if [ -n "${ERLMCP_CLUSTER-}" ]; then arguments+=(--cluster "$ERLMCP_CLUSTER"); fi
  if [ -n "${ERLMCP_REPLICA-}" ]; then arguments+=(--replica "$ERLMCP_REPLICA"); fi
  if [ ${#arguments[@]} -eq 0 ]; then
    export ERLMCP_PROMETHEUS_CONFIG=prometheus.yml
    return
  fi
  "$scripts/prometheus-config.sh" "${arguments[@]}" >"$file.new" || {
    rm -f "$file.new"
    die "cannot write prometheus.generated.yml" "the message above says why"
  }
  mv "$file.new" "$file"
  export ERLMCP_PROMETHEUS_CONFIG=prometheus.generated.yml
  say "prepared  prometheus.generated.yml (${arguments[*]})"
}

# Thanos uploads blocks, which Prometheus must not merge before.
prepare_blocks() {
  if wants thanos; then export ERLMCP_PROMETHEUS_MAX_BLOCK=2h; fi
}

# What has a profile is a target of Prometheus while that is on. A file that
# somebody has changed is theirs.
prepare_targets() {
  local name targets=$monitoring/prometheus/targets
  for name in jaeger thanos victoria-metrics; do
    if wants "$name"; then
      [ -e "$targets/$name-1.yml" ] || cp "$targets/available/$name.yml" "$targets/$name-1.yml"
    elif cmp -s "$targets/available/$name.yml" "$targets/$name-1.yml"; then
      rm "$targets/$name-1.yml"
    fi
  done
}

# Alertmanager runs as 65534 in its container; others on the host read nothing.
prepare_secrets() {
  local folder=$monitoring/alertmanager/secrets gid
  gid=$(id -g)
  if [ "$(id -u)" -eq 0 ]; then gid=65534; fi
  gid=${ERLMCP_SECRETS_GID:-$gid}
  export ERLMCP_SECRETS_GID=$gid
  mkdir -p "$folder"
  if [ -O "$folder" ]; then
    chgrp "$gid" "$folder" 2>/dev/null || warn "you may not give $folder to the group $gid: Alertmanager may not be able to read it"
    chmod 750 "$folder"
  fi
}

# In containers the service grafana-init does this.
prepare_grafana() {
  local name folder=$state/data/grafana
  mkdir -p "$folder"
  for name in admin-password secret-key; do
    [ -s "$folder/$name" ] && continue
    (umask 077 && head -c 512 /dev/urandom | base64 -w 0 | tr -dc A-Za-z0-9 | head -c 32 >"$folder/$name.new")
    mv "$folder/$name.new" "$folder/$name"
  done
}

# An application on this machine writes /var/log/erlmcp: where that is, containers
# read it; otherwise they share a volume of compose.
prepare_logs() {
  if [ -z "${ERLMCP_LOG_DIR-}" ] && [ -d /var/log/erlmcp ]; then export ERLMCP_LOG_DIR=/var/log/erlmcp; fi
  if [ -n "${ERLMCP_LOG_DIR-}" ] && [ ! -d "$ERLMCP_LOG_DIR" ]; then
    mkdir -p "$ERLMCP_LOG_DIR" || die "cannot make ERLMCP_LOG_DIR $ERLMCP_LOG_DIR" "sudo install -d -o \"\$USER\" $ERLMCP_LOG_DIR"
    say "prepared  $ERLMCP_LOG_DIR"
  fi
}
