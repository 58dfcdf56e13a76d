# The stack natively, by the real servers, in a network namespace (run.sh): verify,
# and backup, wipe, restore. The tests are steps of one story.
load helper

setup_file() {
  export BATS_TEST_TMPDIR=$BATS_FILE_TMPDIR/shared
  mkdir -p "$BATS_TEST_TMPDIR"
  ip link set lo up
}

setup() {
  here=$BATS_TEST_DIRNAME
  story=$BATS_FILE_TMPDIR/story
  export HOME=$story/home ERLMCP_LOG_DIR=$story/logs monitoring=$story/monitoring
  scripts=$monitoring/scripts state=$story/home/.local/state/erlmcp-monitoring
  unset XDG_STATE_HOME COMPOSE_PROFILES ERLMCP_MONITORING_STATE
  if [ ! -e "$story" ]; then
    mkdir -p "$monitoring" "$HOME" "$ERLMCP_LOG_DIR"
    copy_stack "$monitoring"
    channels
  fi
  for name in prometheus alertmanager loki promtail jaeger; do
    compgen -G "$ERLMCP_TOOLS/$name-*" >/dev/null || skip "no $name in $ERLMCP_TOOLS (scripts/setup.sh stack)"
  done
}

# Slack's webhook and the mail server as the secrets and the configuration name them.
channels() {
  local python=$ERLMCP_TOOLS/stack-venv/bin/python slack mail
  "$python" -c 'import aiosmtpd' 2>/dev/null || return 0
  "$python" -B "$here/stand-in/channels.py" >"$story/channels" 2>&1 3>&- &
  echo "$!" >"$story/channels.pid"
  eventually test -s "$story/channels"
  read -r slack mail <"$story/channels"
  printf 'http://127.0.0.1:%s/slack' "$slack" >"$monitoring/alertmanager/secrets/slack_url_monitoring"
  printf 'password' >"$monitoring/alertmanager/secrets/smtp_password"
  chmod 640 "$monitoring"/alertmanager/secrets/*_*
  sed -i -e "s/smtp_smarthost: .*/smtp_smarthost: 127.0.0.1:$mail/" -e 's/smtp_require_tls: true/smtp_require_tls: false/' \
    -e '/smtp_auth_/d' "$monitoring/alertmanager/alertmanager.yml"
}

teardown_file() {
  local pid started
  kill "$(cat "$BATS_FILE_TMPDIR/story/channels.pid" 2>/dev/null)" 2>/dev/null
  for file in "$BATS_FILE_TMPDIR"/story/home/.local/state/erlmcp-monitoring/run/*.pid; do
    [ -e "$file" ] && read -r pid started <"$file" && kill -KILL -- "-$pid" 2>/dev/null
  done
  return 0
}

deploy() { run "$scripts/deploy-monitoring.sh" --native "$@"; }

@test "start: all programs that are here, each ready by its own page" {
  deploy start --profile jaeger --profile victoria-metrics --timeout 120
  ends_with 0
  for name in prometheus alertmanager loki promtail jaeger node-exporter; do says "ready     $name"; done
  if ! compgen -G "$ERLMCP_TOOLS/grafana-*" >/dev/null; then says "left out  grafana"; fi
  # Nothing of the machine's own.
  [ ! -e /badger ] && [ ! -e /victoria-metrics-data ]
}

@test "only loopback addresses are listened on" {
  run ss -Hltn
  ends_with 0
  [ -n "$output" ]
  while read -r _ _ _ address _; do [[ $address == 127.* ]] || { echo "$address" && return 1; }; done <<<"$output"
}

@test "start again starts nothing a second time" {
  before=$(cat "$state"/run/*.pid | sort)
  deploy start --profile jaeger --profile victoria-metrics
  ends_with 0
  says "everything runs already"
  [ "$(cat "$state"/run/*.pid | sort)" = "$before" ]
}

@test "wait-for-services --native, and one that does not exist in time" {
  run "$scripts/wait-for-services.sh" --native
  ends_with 0
  says "ready     loki"
  run "$scripts/wait-for-services.sh" --native --timeout 1 kibana
  ends_with 1
  says "FAILED    kibana: it has ended; look at: tail -n 50 $state/log/kibana.log"
}

@test "status tells number, time and readiness" {
  deploy status
  ends_with 0
  [[ $output =~ prometheus\ +[0-9]+\ +[0-9:]+\ +yes ]]
  if ! compgen -G "$ERLMCP_TOOLS/grafana-*" >/dev/null; then says "not installed"; fi
}

@test "verify: targets, rules, a test alert, trace and line, and remote_write" {
  deploy verify --no-application --timeout 60
  ends_with 0
  for text in "targets are up" "rules are loaded, as in" "ErlmcpWatchdog is there" "a test alert is at Alertmanager, for monitoring-notify" \
    "a test log line is found in Loki" "Alertmanager runs on its newest configuration"; do says "$text"; done
  if compgen -G "$ERLMCP_TOOLS/otelcol-*" >/dev/null; then says "a test trace is found in Jaeger"; fi
  if compgen -G "$ERLMCP_TOOLS/victoria-metrics-*" >/dev/null; then says "VictoriaMetrics has what Prometheus sends"; fi
  if compgen -G "$ERLMCP_TOOLS/grafana-*" >/dev/null; then
    says "Grafana's data source loki answers"
    says "the dashboard erlmcp-overview is there"
  fi
  [ ! -e "$ERLMCP_LOG_DIR/erlmcp-verify.log" ]
  # Delivered, to those who page nobody.
  [ -e "$story/channels.pid" ] || skip "no aiosmtpd for the channels (scripts/setup.sh stack)"
  says "the test alert was delivered: "
  grep -qx 'slack /slack' "$story/channels"
  grep -qx 'mail monitoring-oncall@example.com' "$story/channels"
}

@test "verify finds the faults: no application, a rule that is not loaded, a channel that fails" {
  echo 'groups: [{name: x, rules: [{record: "a:b", expr: "1"}]}]' | sed 's/record/\n    - record/' >"$monitoring/prometheus/rules/custom/late.yml"
  # Nobody listens there.
  printf 'http://127.0.0.1:9/slack' >"$monitoring/alertmanager/secrets/slack_url_monitoring"
  printf 'password' >"$monitoring/alertmanager/secrets/smtp_password"
  chmod 640 "$monitoring"/alertmanager/secrets/*_*
  deploy verify --timeout 12
  rm "$monitoring/prometheus/rules/custom/late.yml"
  ends_with 1
  says "FAILED   target http://erlmcp:8080/metrics"
  says "rules are loaded, the"
  says "attempts to deliver the test alert failed"
  says "of the checks failed"
}

# What the databases answer to the same questions.
answers() { # TIME
  curl -sG http://127.0.0.1:9090/api/v1/query --data-urlencode 'query=sort_desc(sum by (job) (up + scrape_samples_scraped))' -d "time=$1" | jq -cS '.data.result | sort'
  curl -sG http://127.0.0.1:3100/loki/api/v1/query_range --data-urlencode 'query={job="erlmcp"}' -d "start=$(($1 - 3600))" -d "end=$1" | jq -cS '.data.result'
  curl -s http://127.0.0.1:9093/api/v2/silences | jq -cS 'map({id, comment, matchers, startsAt, endsAt, state: .status.state})'
  curl -s 'http://127.0.0.2:16686/api/traces?service=erlmcp-verify' | jq -cS '[.data[].traceID]'
  curl -sG http://127.0.0.1:8428/api/v1/query --data-urlencode 'query=sum by (job) (up)' -d "time=$1" -d nocache=1 -d latency_offset=1ms | jq -cS '.data.result | sort'
}

@test "backup takes a consistent copy of what runs" {
  curl -sf -o /dev/null -H 'Content-Type: application/json' http://127.0.0.1:9093/api/v2/silences -d '{
    "matchers": [{"name": "alertname", "value": "X", "isRegex": false}], "comment": "kept", "createdBy": "test",
    "startsAt": "2026-01-01T00:00:00Z", "endsAt": "2099-01-01T00:00:00Z"}'
  # Ten seconds ago: nothing of that time is still on its way.
  when=$(($(date +%s) - 10))
  echo "$when" >"$story/when"
  answers "$when" >"$story/before"
  grep -q '"job":"prometheus"' "$story/before"
  grep -q erlmcp-verify "$story/before"
  grep -q kept "$story/before"
  ERLMCP_VERSION=3.0.0 run "$scripts/backup.sh" --native "$story/backup"
  ends_with 0
  says "snapshot"
  [ "$(find "$state/data/prometheus/snapshots" -mindepth 1 | wc -l)" -eq 0 ]
}

@test "after a wipe the answers are gone" {
  deploy clean --yes
  ends_with 0
  [ ! -e "$state" ]
  deploy start --profile jaeger --profile victoria-metrics
  ends_with 0
  answers "$(cat "$story/when")" >"$story/wiped"
  run cmp "$story/before" "$story/wiped"
  [ "$status" -eq 1 ]
  if grep -q kept "$story/wiped"; then return 1; fi
}

@test "restore: the same questions have the same answers" {
  run "$scripts/restore.sh" --native --yes "$story"/backup/*.tar
  ends_with 0
  answers "$(cat "$story/when")" >"$story/after"
  diff "$story/before" "$story/after"
  [ -z "$(find "$state" -name .before-restore)" ]
}

@test "verify in Docker's way, against the same servers" {
  common_setup
  with_docker
  for name in prometheus:9090 alertmanager:9093 loki:3100 otel-collector:13133 otel-collector:4318; do
    echo "erlmcp-${name%:*} ${name#*:} 127.0.0.1:${name#*:}" >>"$STAND_IN/ports"
    echo "running healthy" >"$STAND_IN/containers/erlmcp-${name%:*}"
  done
  echo "erlmcp-jaeger 16686 127.0.0.2:16686" >>"$STAND_IN/ports"
  for name in jaeger promtail node-exporter blackbox-exporter; do echo "running healthy" >"$STAND_IN/containers/erlmcp-$name"; done
  # The logs are in a volume of Docker: the line is written by a container.
  echo "volume $story/logs" >"$STAND_IN/log-mount"
  run "$scripts/deploy-monitoring.sh" verify --no-application
  says "a test log line is found in Loki"
  says "rules are loaded, as in"
  says "ErlmcpWatchdog is there"
  says "the channels have no secrets yet (slack_url_monitoring smtp_password)"
  called "docker run --rm --network none --user 0 -v $story/logs:/var/log/erlmcp"
  ends_with 0
}

@test "a program that was killed is told, and started again by start" {
  read -r pid _ <"$state/run/node-exporter.pid"
  kill -KILL "$pid"
  is_missed() { deploy status && [ "$status" -ne 0 ]; }
  eventually is_missed
  ends_with 1
  says "not running"
  deploy start --profile jaeger --profile victoria-metrics
  ends_with 0
  says "started   node-exporter"
}

@test "a program that ends at its start is started once more, and no more than that" {
  mkdir "$story/tools"
  ln -s "$ERLMCP_TOOLS"/* "$story/tools"
  real=$(echo "$ERLMCP_TOOLS"/node_exporter-*/node_exporter)
  printf '#!/bin/sh\nif rm %s; then exit 1; fi\nexec %s "$@"\n' "$story/tools/fail" "${real%% *}" >"$story/tools/node_exporter"
  chmod +x "$story/tools/node_exporter"
  : >"$story/tools/fail"
  ERLMCP_TOOLS=$story/tools deploy start --profile jaeger --profile victoria-metrics
  ends_with 0
  says "node-exporter has ended, and is started once more; tail -n 50 $state/log/node-exporter.log"
  says "ready     node-exporter"
  printf '#!/bin/sh\nexit 1\n' >"$story/tools/node_exporter"
  deploy stop
  ERLMCP_TOOLS=$story/tools deploy start --profile jaeger --profile victoria-metrics
  ends_with 1
  says "node-exporter has ended, and is started once more"
  says "FAILED    node-exporter: it has ended; look at: tail -n 50 $state/log/node-exporter.log"
  deploy start --profile jaeger --profile victoria-metrics
  ends_with 0
}

@test "logs of one service, and of all" {
  deploy logs prometheus --tail 3
  ends_with 0
  [ -n "$output" ]
  deploy logs
  ends_with 0
  says "==> $state/log/loki.log <=="
}

@test "stop ends all of them, and a foreign program on a port is named" {
  deploy stop
  ends_with 0
  says "stopped   prometheus"
  says_not "is killed"
  # The channels' stand-in is no part of it.
  if ss -Hltnp | grep -v python; then return 1; fi
  python3 -m http.server --bind 127.0.0.1 9090 >/dev/null 2>&1 3>&- &
  holder=$!
  listens() { [ -n "$(ss -Hltn 'sport = :9090')" ]; }
  eventually listens
  deploy start
  kill "$holder"
  ends_with 1
  says "prometheus wants 127.0.0.1:9090, where python3 (pid $holder) listens"
}

@test "clean asks, and takes no folder that is not its own" {
  run "$scripts/deploy-monitoring.sh" --native clean </dev/null
  ends_with 1
  says "--yes"
  mkdir "$story/foreign" && touch "$story/foreign/file"
  deploy clean --yes --state "$story/foreign"
  ends_with 1
  says "holds something else"
  [ -e "$story/foreign/file" ]
  deploy clean --yes
  ends_with 0
  [ ! -e "$state" ]
}

@test "as a user without rights, by a user namespace" {
  [ "$(id -u)" -eq 0 ] || skip "is what the other tests were"
  setpriv --reuid=65534 --regid=65534 --clear-groups unshare --user --map-root-user --mount true 2>/dev/null || skip "users get no namespaces here"
  mkdir "$story/user"
  folder=$story
  while [[ $folder == /tmp/* ]]; do chmod a+x "$folder" && folder=${folder%/*}; done
  chown -R 65534:65534 "$story/user" "$monitoring"
  as_user() { setpriv --reuid=65534 --regid=65534 --clear-groups env HOME="$story/user" ERLMCP_LOG_DIR=/nonexistent/logs "$@"; }
  run as_user "$scripts/deploy-monitoring.sh" --native --profile none --timeout 60
  ends_with 0
  says "ready     prometheus"
  run as_user "$scripts/deploy-monitoring.sh" --native stop
  ends_with 0
}
