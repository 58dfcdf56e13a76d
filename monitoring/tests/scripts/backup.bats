# backup.sh and restore.sh on containers whose volumes are folders; what is run in
# them is run by busybox where it is here, as in Prometheus' image.
load helper

setup() {
  common_setup
  with_docker
  for service in prometheus alertmanager loki promtail jaeger grafana; do
    echo "running healthy" >"$STAND_IN/containers/erlmcp-$service"
  done
  volumes=$STAND_IN/volumes target=$BATS_TEST_TMPDIR/target
  for service in prometheus alertmanager loki promtail jaeger; do
    mkdir -p "$volumes/$service/sub"
    echo "data of $service" >"$volumes/$service/sub/file"
  done
  echo lock >"$volumes/prometheus/lock"
  mkdir -p "$volumes/prometheus/snapshots/old" "$volumes/grafana"
  echo database >"$volumes/grafana/grafana.db"
  echo hunter2 >"$volumes/grafana/admin-password"
  echo hidden >"$monitoring/alertmanager/secrets/smtp_password"
}

backup() { run "$scripts/backup.sh" "$@"; }
restore() { run "$scripts/restore.sh" "$@"; }
archive() { printf '%s\n' "$target"/erlmcp-monitoring-*.tar; }
part() { tar -xOf "$(archive)" "$1.tar.gz" | tar -tz | sed 's,^\./,,'; }

@test "the guide's call: the version is in the name and the manifest, rights are 600" {
  ERLMCP_VERSION=3.0.0 backup "$target"
  ends_with 0
  [[ $(archive) == */erlmcp-monitoring-3.0.0-*Z.tar ]]
  [ "$(stat -c %a "$(archive)")" = 600 ]
  [ "$(tar -xOf "$(archive)" MANIFEST.json | jq -r '.erlmcp_version, .mode, .with_secrets')" = "$(printf '3.0.0\ndocker\nfalse')" ]
  (cd "$target" && sha256sum -c ./*.sha256)
}

@test "without a word it goes into monitoring/backup, or ERLMCP_BACKUP_DIR" {
  backup
  ends_with 0
  ls "$monitoring"/backup/erlmcp-monitoring-unversioned-*.tar
  ERLMCP_BACKUP_DIR=$target backup
  ends_with 0
  archive | grep unversioned
}

@test "databases are stopped one after the other, and run again" {
  backup "$target"
  ends_with 0
  for service in alertmanager loki jaeger grafana; do
    called "docker stop -t 60 erlmcp-$service"
    called "docker start erlmcp-$service"
    grep -q running "$STAND_IN/containers/erlmcp-$service"
  done
  # Its API is not published here: stopped too, and said.
  says "Prometheus makes no snapshot"
  not_called "stop -t 60 erlmcp-promtail"
}

@test "what is not data is left out, and secrets are, unless asked for" {
  backup "$target"
  ends_with 0
  [ "$(part prometheus | sort | tr '\n' ' ')" = "sub/ sub/file " ]
  [ "$(part grafana)" = grafana.db ]
  part configuration | grep -qx alertmanager/alertmanager.yml
  if part configuration | grep secrets; then return 1; fi
  rm -r "$target"
  backup --with-secrets "$target"
  ends_with 0
  part grafana | grep -qx admin-password
  part configuration | grep -qx alertmanager/secrets/smtp_password
}

@test "a failed copy is a failed backup, and what was stopped runs again" {
  echo 'volumes-from erlmcp-loki.*exec tar|tar: read error' >"$STAND_IN/fail"
  backup "$target"
  ends_with 1
  says "failed at copying the data of loki; there is no new archive"
  grep -q running "$STAND_IN/containers/erlmcp-loki"
  [ "$(ls -A "$target")" = .lock ]
}

@test "a backup that is interrupted leaves nothing, and starts what it has stopped" {
  stand_in gzip <<'SH'
#!/bin/sh
grep -q 'stop -t 60 erlmcp-loki' "$STAND_IN/calls" && touch "$BATS_TEST_TMPDIR/here" && sleep 20
exec /usr/bin/gzip "$@"
SH
  setsid "$scripts/backup.sh" "$target" >"$BATS_TEST_TMPDIR/out" 2>&1 3>&- &
  pid=$!
  eventually test -e "$BATS_TEST_TMPDIR/here"
  kill -TERM -- "-$pid"
  status=0
  wait "$pid" || status=$?
  [ "$status" -eq 143 ]
  grep -q "there is no new archive" "$BATS_TEST_TMPDIR/out"
  [ "$(ls -A "$target")" = .lock ]
  grep -q running "$STAND_IN/containers/erlmcp-loki"
}

@test "what a killed backup has left is removed by the next, and never taken for an archive" {
  mkdir -p "$target/.erlmcp-backup.killed"
  echo half >"$target/.erlmcp-backup.killed/archive"
  backup "$target"
  ends_with 0
  [ ! -e "$target/.erlmcp-backup.killed" ]
}

@test "too little room is said before anything is stopped" {
  printf '#!/bin/sh\necho x\necho fs 100 100 5 1 /\n' | stand_in df
  backup "$target"
  ends_with 1
  says "MiB are free in $target"
  not_called "docker stop"
}

@test "a folder that cannot be written, and one in use" {
  echo file >"$BATS_TEST_TMPDIR/file"
  backup "$BATS_TEST_TMPDIR/file/sub"
  ends_with 1
  says "cannot make the folder"
  mkdir "$target"
  flock "$target/.lock" -c "$scripts/backup.sh $target" >"$BATS_TEST_TMPDIR/out" 2>&1 && return 1
  grep -q "another backup writes" "$BATS_TEST_TMPDIR/out"
}

@test "--keep removes the oldest archives" {
  mkdir "$target"
  for day in 1 2 3; do
    touch -d "2026-01-0$day" "$target/erlmcp-monitoring-2.0.0-2026010${day}T000000Z.tar"
  done
  backup --keep 2 "$target"
  ends_with 0
  [ "$(archive | wc -l)" -eq 2 ]
  [ -e "$target/erlmcp-monitoring-2.0.0-20260103T000000Z.tar" ]
}

@test "a stack that was never started has nothing but its configuration" {
  rm "$STAND_IN"/containers/*
  backup "$target"
  ends_with 1
  says "the stack was never started"
  backup --configuration-only "$target"
  ends_with 0
  part configuration | grep -q prometheus.yml
}

@test "restore brings data and configuration back, and what ran runs" {
  backup "$target"
  before=$(cd "$volumes" && find . -type f -path '*sub*' -exec sha256sum {} + | sort)
  rm -r "$volumes"/*/sub "$volumes/grafana/grafana.db"
  echo new >"$volumes/loki/new"
  echo changed >"$monitoring/prometheus/prometheus.yml"
  echo later >"$monitoring/prometheus/rules/later.yml"
  restore --yes "$(archive)"
  ends_with 0
  [ "$(cd "$volumes" && find . -type f -path '*sub*' -exec sha256sum {} + | sort)" = "$before" ]
  [ ! -e "$volumes/loki/new" ]
  cmp "$monitoring/prometheus/prometheus.yml" "$here/../../prometheus/prometheus.yml"
  [ ! -e "$monitoring/prometheus/rules/later.yml" ]
  # Secrets that the archive does not have stay.
  [ "$(cat "$volumes/grafana/admin-password")" = hunter2 ]
  [ "$(cat "$monitoring/alertmanager/secrets/smtp_password")" = hidden ]
  [ -z "$(find "$volumes" "$monitoring" -name .before-restore)" ]
  grep -q running "$STAND_IN/containers/erlmcp-prometheus"
}

@test "restore --check changes nothing" {
  backup "$target"
  : >"$STAND_IN/calls"
  restore --check "$(archive)"
  ends_with 0
  says "whole"
  [ ! -s "$STAND_IN/calls" ]
}

@test "restore asks; without a terminal it refuses" {
  backup "$target"
  restore "$(archive)" </dev/null
  ends_with 1
  says "--yes"
  at_terminal no "$scripts/restore.sh" "$(archive)"
  ends_with 1
  says "nothing was changed"
  at_terminal yes "$scripts/restore.sh" "$(archive)"
  ends_with 0
}

# Writes the archive anew with one part changed.
tamper() { # PART FILE
  local folder=$BATS_TEST_TMPDIR/tamper
  mkdir -p "$folder"
  tar -C "$folder" -xf "$(archive)"
  cp "$2" "$folder/$1"
  (cd "$folder" && tar -cf "$(archive)" ./*.tar.gz MANIFEST.json --transform 's,^\./,,')
  rm -f "$target"/*.sha256
}

refused() { # SAYING
  : >"$STAND_IN/calls"
  restore --yes "$(archive)"
  ends_with 1
  says "$1"
  not_called "docker stop"
  grep -q "data of prometheus" "$volumes/prometheus/sub/file"
}

@test "an archive with a part that was changed is refused" {
  backup "$target"
  # One byte, of the same length, where gzip itself does not look.
  tar -xOf "$(archive)" loki.tar.gz >"$BATS_TEST_TMPDIR/x"
  printf '\377' | dd of="$BATS_TEST_TMPDIR/x" bs=1 seek=4 conv=notrunc 2>/dev/null
  tamper loki.tar.gz "$BATS_TEST_TMPDIR/x"
  refused "loki.tar.gz in $(archive) is damaged or was changed"
}

@test "an archive that is not what its checksum says is refused" {
  backup "$target"
  printf x | dd of="$(archive)" bs=1 seek=2000 conv=notrunc 2>/dev/null
  refused "damaged or was changed"
}

@test "half an archive is refused" {
  backup "$target"
  size=$(stat -c %s "$(archive)")
  truncate -s $((size / 2)) "$(archive)"
  rm "$target"/*.sha256
  refused "not all of one"
}

@test "an archive with paths that lead out of its folder is refused" {
  backup "$target"
  mkdir "$BATS_TEST_TMPDIR/evil" && echo x >"$BATS_TEST_TMPDIR/escape"
  tar -C "$BATS_TEST_TMPDIR/evil" -P -czf "$BATS_TEST_TMPDIR/x" ../escape
  tamper loki.tar.gz "$BATS_TEST_TMPDIR/x"
  folder=$BATS_TEST_TMPDIR/tamper
  jq --arg sum "$(sha256sum "$BATS_TEST_TMPDIR/x" | cut -d' ' -f1)" --argjson size "$(stat -c %s "$BATS_TEST_TMPDIR/x")" \
    '(.parts[] | select(.name == "loki")) |= (.sha256 = $sum | .bytes = $size)' "$folder/MANIFEST.json" >"$folder/m"
  mv "$folder/m" "$folder/MANIFEST.json"
  (cd "$folder" && tar -cf "$(archive)" ./*.tar.gz MANIFEST.json --transform 's,^\./,,')
  refused "paths that lead out"
}

@test "something else is no archive" {
  mkdir "$target"
  for name in a.tar b.tar; do echo text >"$target/$name"; done
  restore --yes "$target/a.tar"
  ends_with 1
  says "is no archive"
  (cd "$target" && tar -cf b.tar a.tar)
  restore --yes "$target/b.tar"
  ends_with 1
  says "has no manifest"
  restore --yes "$target/none.tar"
  ends_with 1
  says "cannot read"
}

@test "a restore that fails in the middle puts everything back, and starts the stack" {
  backup "$target"
  echo newer >"$volumes/prometheus/sub/file"
  echo newer >"$monitoring/prometheus/rules/later.yml"
  echo 'volumes-from erlmcp-loki.*tar -xzf|tar: write error: no space left on device' >"$STAND_IN/fail"
  restore --yes "$(archive)"
  ends_with 1
  says "failed at restoring loki"
  says "everything is as it was"
  [ "$(cat "$volumes/prometheus/sub/file")" = newer ]
  [ "$(cat "$volumes/loki/sub/file")" = "data of loki" ]
  [ -e "$monitoring/prometheus/rules/later.yml" ]
  [ -z "$(find "$volumes" "$monitoring" -name .before-restore)" ]
  grep -q running "$STAND_IN/containers/erlmcp-loki"
}

@test "data on which the stack does not get ready are taken back" {
  backup "$target"
  echo newer >"$volumes/prometheus/sub/file"
  # Loki ends at once after its first start.
  sed -i 's|^  start) .*|  start) if [ "$1" = erlmcp-loki ] \&\& [ ! -e "$here/once" ]; then touch "$here/once"; echo exited >"$here/containers/$1"; else echo "running healthy" >"$here/containers/$1"; fi ;;|' "$bin/docker"
  restore --yes "$(archive)"
  ends_with 1
  says "failed at starting the stack on the restored data"
  [ "$(cat "$volumes/prometheus/sub/file")" = newer ]
  grep -q running "$STAND_IN/containers/erlmcp-loki"
}

@test "what a killed restore has put aside counts" {
  backup "$target"
  mkdir "$volumes/loki/.before-restore"
  mv "$volumes/loki/sub" "$volumes/loki/.before-restore/"
  echo half >"$volumes/loki/half"
  restore --yes "$(archive)"
  ends_with 0
  [ "$(cat "$volumes/loki/sub/file")" = "data of loki" ]
  [ ! -e "$volumes/loki/half" ]
}

@test "on a new machine restore creates the containers and leaves the start to you" {
  backup "$target"
  rm -r "$STAND_IN/containers" "$volumes"
  mkdir "$STAND_IN/containers"
  restore --yes "$(archive)"
  ends_with 0
  called "up --no-start"
  tail -n 200 "$STAND_IN/environment" | grep -q '^jaeger '
  [ "$(cat "$volumes/loki/sub/file")" = "data of loki" ]
  says "start the stack: deploy-monitoring.sh start"
}

@test "--data-only and --configuration-only leave the other part alone" {
  backup "$target"
  echo newer >"$volumes/loki/sub/file"
  echo changed >"$monitoring/prometheus/prometheus.yml"
  restore --yes --configuration-only "$(archive)"
  ends_with 0
  [ "$(cat "$volumes/loki/sub/file")" = newer ]
  cmp "$monitoring/prometheus/prometheus.yml" "$here/../../prometheus/prometheus.yml"
  echo changed >"$monitoring/prometheus/prometheus.yml"
  restore --yes --data-only "$(archive)"
  ends_with 0
  [ "$(cat "$volumes/loki/sub/file")" = "data of loki" ]
  [ "$(cat "$monitoring/prometheus/prometheus.yml")" = changed ]
}
