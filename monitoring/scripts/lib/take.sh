# shellcheck shell=bash disable=SC2034,SC2154
# backup.sh: one consistent copy of each service's data. A database that runs is
# copied from a snapshot of its own making, or while it is stopped for the copy.

# Written as it is undone: what is still to do if the script ends now.
stopped_for_copy='' prometheus_snapshot='' victoria_snapshot=''

undo_take() {
  if [ -n "$prometheus_snapshot" ]; then drop_prometheus_snapshot || true; fi
  if [ -n "$victoria_snapshot" ]; then drop_victoria_snapshot || true; fi
  if [ -n "$stopped_for_copy" ]; then
    service_start "$stopped_for_copy" || warn "$stopped_for_copy is stopped; start it: deploy-monitoring.sh start${native:+ --native}"
    stopped_for_copy=''
  fi
}

# A folder as an archive, without what is not data. Nothing for an empty one.
copy_folder() { # SERVICE FOLDER-BENEATH EXCLUDED TAR-OPTIONS
  # shellcheck disable=SC2016
  in_data "$1" '
    cd "$1/$2"
    set -- "$3" "$4" $(ls -A | grep -vxE "$3" || true)
    options=$2
    shift 2
    [ $# -gt 0 ] || exit 0
    exec tar "$options" - "$@"
  ' "$2" "$3" "$4" | gzip -1
}

take() { # SERVICE: writes its archive; says in `how` in which way
  local excluded file=$staging/$1.tar.gz
  excluded=$(not_data "$1")
  if [ -z "$with_secrets" ] && [ -n "$(secret_data "$1")" ]; then excluded+="|$(secret_data "$1")"; fi
  if ! service_alive "$1"; then
    how="copied, it did not run"
    copy_folder "$1" . "$excluded" -cf >"$file"
    return
  fi
  case $1 in
    prometheus) take_prometheus "$file" "$excluded" ;;
    victoria-metrics) take_victoria "$file" ;;
    # Replaced as a whole by Promtail, so a copy of it is a consistent one.
    promtail)
      how="copied"
      copy_folder promtail . "$excluded" -cf >"$file"
      ;;
    *) take_stopped "$1" "$file" "$excluded" ;;
  esac
}

take_stopped() { # SERVICE FILE EXCLUDED
  how="stopped for the copy"
  if [ "$1" = loki ]; then
    # What is in memory becomes chunks; what comes after it is in the log.
    http -X POST -m 60 -o /dev/null "$(service_url loki)/flush" 2>/dev/null || warn "Loki did not flush; its log has what is not in chunks"
  fi
  stopped_for_copy=$1
  service_stop "$1"
  copy_folder "$1" . "$3" -cf >"$2"
  service_start "$1"
  stopped_for_copy=''
}

take_prometheus() { # FILE EXCLUDED
  local answer
  if ! answer=$(http -X POST -m 300 "$(service_url prometheus)/api/v1/admin/tsdb/snapshot" 2>/dev/null); then
    warn "Prometheus makes no snapshot (--web.enable-admin-api is off): it is stopped for the copy"
    take_stopped prometheus "$1" "$2"
    return
  fi
  prometheus_snapshot=$(jq -r '.data.name' <<<"$answer")
  [[ $prometheus_snapshot =~ ^[A-Za-z0-9-]+$ ]] || die "Prometheus' answer to a snapshot is not understood: $answer"
  how="snapshot"
  copy_folder prometheus "snapshots/$prometheus_snapshot" "$aside" -cf >"$1"
  drop_prometheus_snapshot
}

drop_prometheus_snapshot() {
  # shellcheck disable=SC2016
  in_data prometheus 'rm -rf "$1/snapshots/$2"' "$prometheus_snapshot"
  prometheus_snapshot=''
}

take_victoria() { # FILE
  local answer
  answer=$(http -m 300 "$(service_url victoria-metrics)/snapshot/create") || die "VictoriaMetrics makes no snapshot" \
    "$(service_log victoria-metrics)"
  victoria_snapshot=$(jq -r '.snapshot' <<<"$answer")
  [[ $victoria_snapshot =~ ^[A-Za-z0-9-]+$ ]] || die "VictoriaMetrics' answer to a snapshot is not understood: $answer"
  how="snapshot"
  # Its entries are links into the data.
  copy_folder victoria-metrics "snapshots/$victoria_snapshot" "$aside" -chf >"$1"
  drop_victoria_snapshot
}

drop_victoria_snapshot() {
  http -o /dev/null "$(service_url victoria-metrics)/snapshot/delete?snapshot=$victoria_snapshot"
  victoria_snapshot=''
}

take_configuration() {
  local folders excluded=()
  mapfile -t folders < <(configuration_folders)
  if [ -z "$with_secrets" ]; then
    excluded=(--exclude=secrets)
  fi
  tar -C "$monitoring" --exclude=__pycache__ --exclude='*.new' "${excluded[@]}" -cf - "${folders[@]}" | gzip -1 >"$staging/configuration.tar.gz"
}
