# deploy-monitoring.sh and wait-for-services.sh on containers, with a stand-in that
# writes the calls down.
load helper

setup() { common_setup; }

deploy() { run "$scripts/deploy-monitoring.sh" "$@"; }

@test "without a word it starts the stack with the profile of docker/.env" {
  with_docker
  deploy
  ends_with 0
  called "docker compose -f $monitoring/docker/docker-compose.monitoring.yml up -d"
  grep -qx 'jaeger unset prometheus.yml' "$STAND_IN/environment"
  says "ready     prometheus"
  says "ready     jaeger"
  says "docker exec erlmcp-grafana cat /var/lib/grafana/admin-password"
  says "the channels have no secrets"
}

@test "start again does no harm" {
  with_docker
  deploy start
  ends_with 0
  deploy start
  ends_with 0
  says "ready     grafana"
}

@test "profiles of the command line replace the default; the storage's is prepared" {
  with_docker
  deploy start --profile victoria-metrics --profile thanos --images tested
  ends_with 0
  grep -qx 'victoria-metrics,thanos tested prometheus.generated.yml' "$STAND_IN/environment"
  grep -q 'url: http://victoria-metrics:8428/api/v1/write' "$monitoring/prometheus/prometheus.generated.yml"
  says "ready     thanos-query"
  cmp "$monitoring/prometheus/targets/available/thanos.yml" "$monitoring/prometheus/targets/thanos-1.yml"
  cmp "$monitoring/prometheus/targets/available/victoria-metrics.yml" "$monitoring/prometheus/targets/victoria-metrics-1.yml"
  [ ! -e "$monitoring/prometheus/targets/jaeger-1.yml" ]
  deploy start --profile none
  [ ! -e "$monitoring/prometheus/targets/thanos-1.yml" ]
  [ ! -e "$monitoring/prometheus/targets/victoria-metrics-1.yml" ]
}

@test "--profile none is the core alone" {
  with_docker
  deploy --profile none
  ends_with 0
  says_not "jaeger"
}

@test "Jaeger's target comes and goes with its profile, a changed one stays" {
  with_docker
  target=$monitoring/prometheus/targets/jaeger-1.yml
  deploy --profile jaeger
  [ -e "$target" ]
  deploy --profile none
  [ ! -e "$target" ]
  echo '- targets: [elsewhere:14269]' >"$target"
  deploy --profile none
  grep -q elsewhere "$target"
}

@test "the folder of secrets is closed to others" {
  with_docker
  chmod 755 "$monitoring/alertmanager/secrets"
  deploy
  ends_with 0
  [ "$(stat -c %a "$monitoring/alertmanager/secrets")" = 750 ]
}

@test "without docker it says what to install, and of --native" {
  deploy
  ends_with 1
  says "docker is not installed"
  says "docs.docker.com"
  says "--native"
}

@test "a daemon that does not answer, and one that may not be asked" {
  with_docker
  echo '^info|Cannot connect to the Docker daemon at unix:///var/run/docker.sock.' >"$STAND_IN/fail"
  deploy
  ends_with 1
  says "Docker does not answer: Cannot connect"
  says "systemctl start docker"
  echo '^info|permission denied while trying to connect to the Docker daemon socket' >"$STAND_IN/fail"
  deploy
  ends_with 1
  says "usermod -aG docker"
}

@test "compose v1 alone is refused" {
  with_docker ""
  printf '#!/bin/sh\necho 1.29.2\n' | stand_in docker-compose
  deploy
  ends_with 1
  says "docker-compose is 1.29.2"
  says "2.1.0 or later"
  not_called "up -d"
}

@test "a plugin that is too old is refused" {
  with_docker 2.0.1
  deploy
  ends_with 1
  says "docker compose is 2.0.1"
}

@test "no compose at all" {
  with_docker ""
  deploy
  ends_with 1
  says "there is none"
}

@test "a docker-compose that is v2 is used where there is no plugin" {
  with_docker ""
  # The same file answers both: the plugin must not be found by it.
  sed 's|cat "$here/compose"|echo 2.26.1|' "$here/stand-in/docker" | stand_in docker-compose
  deploy
  ends_with 0
  called "docker-compose -f $monitoring/docker/docker-compose.monitoring.yml up -d"
}

@test "versions with a v, and 2.1.0 itself, are understood" {
  with_docker v2.1.0
  deploy
  ends_with 0
}

@test "a port in use is named with its owner, and nothing is started" {
  with_docker
  /usr/bin/python3 -c '
import socket, sys, time
s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen()
print(s.getsockname()[1], flush=True); time.sleep(60)' >"$BATS_TEST_TMPDIR/port" 3>&- &
  holder=$!
  eventually test -s "$BATS_TEST_TMPDIR/port"
  port=$(cat "$BATS_TEST_TMPDIR/port")
  printf 'services:\n  prometheus:\n    ports:\n      - mode: ingress\n        host_ip: 127.0.0.1\n        target: 9090\n        published: "%s"\n' "$port" >"$STAND_IN/config"
  deploy
  kill "$holder"
  ends_with 1
  says "port $port is in use by python3"
  says "pid $holder"
  not_called "up -d"
}

@test "a port that another project's container has is named with the container" {
  with_docker
  printf '        published: "9090"\n' >"$STAND_IN/config"
  echo somebody-elses-prometheus >"$STAND_IN/foreign"
  deploy
  ends_with 1
  says "port 9090 is in use by the container somebody-elses-prometheus"
}

@test "ports of our own containers are no fault" {
  with_docker
  printf '        published: "9090"\n' >"$STAND_IN/config"
  echo "erlmcp-prometheus 9090 127.0.0.1:9090" >"$STAND_IN/ports"
  echo somebody >"$STAND_IN/foreign"
  echo running >"$STAND_IN/containers/erlmcp-prometheus"
  sed -i '/9090/d' "$STAND_IN/ports" && echo "erlmcp-prometheus 9090 127.0.0.1:9090" >"$STAND_IN/ports"
  deploy start --timeout 2
  says_not "in use"
}

@test "little memory, disk and one core are warnings" {
  with_docker
  echo "1 2000000000 /nonexistent" >"$STAND_IN/machine"
  deploy
  ends_with 0
  says "warning: 1 CPU core"
  says "warning: 2000 MB of memory"
}

@test "compose that fails is told" {
  with_docker
  echo 'up -d|manifest for prom/prometheus:v2.45.0 not found' >"$STAND_IN/fail"
  deploy
  ends_with 1
  says "not found"
  says "compose could not start the stack"
}

@test "a container that ends is told with its log, at once" {
  with_docker
  echo "exited" >"$STAND_IN/after-up/loki"
  SECONDS=0
  deploy start --timeout 60
  ends_with 1
  says "FAILED    loki: its container has ended (exit status 137); look at: docker logs --tail 50 erlmcp-loki"
  [ "$SECONDS" -lt 30 ]
}

@test "what does not get ready is told when the time is over" {
  with_docker
  echo "running starting" >"$STAND_IN/after-up/grafana"
  deploy start --timeout 1
  ends_with 1
  says "FAILED    grafana: not ready within 1 s, its health check says: starting"
}

@test "stop: senders first, then all, with every profile" {
  with_docker
  deploy start --profile demo
  deploy stop
  ends_with 0
  mapfile -t stops < <(grep ' stop ' "$STAND_IN/calls")
  [[ ${stops[0]} == *"stop --timeout 60"*promtail*prometheus* ]]
  [[ ${stops[1]} == *"stop --timeout 60" ]]
  grep -q '^jaeger,elasticsearch,thanos,victoria-metrics,demo ' "$STAND_IN/environment"
}

@test "restart keeps the profiles that run" {
  with_docker
  deploy start --profile victoria-metrics
  : >"$STAND_IN/environment"
  deploy restart
  ends_with 0
  called "up -d"
  tail -n 200 "$STAND_IN/environment" | grep -q '^victoria-metrics unset prometheus.generated.yml'
}

@test "logs: of all, of one, followed" {
  with_docker
  deploy logs
  ends_with 0
  called "logs --tail 100"
  deploy logs prometheus --tail 5 -f
  ends_with 0
  called "logs --tail 5 --follow prometheus"
}

@test "status: a table; 1 when something is not ready or nothing was started" {
  with_docker
  deploy status
  ends_with 1
  says "nothing was started"
  deploy start
  deploy status
  ends_with 0
  [[ $output =~ prometheus\ +running\ +2026-11-23T04:00:00Z\ +yes ]]
  echo exited >"$STAND_IN/containers/erlmcp-loki"
  deploy status
  ends_with 1
  says "its container has ended"
}

@test "clean refuses without a terminal" {
  with_docker
  deploy start
  run "$scripts/deploy-monitoring.sh" clean </dev/null
  ends_with 1
  says "--yes"
  not_called "down"
}

@test "clean --yes removes containers, volumes and generated files" {
  with_docker
  deploy start --profile victoria-metrics
  deploy clean --yes
  ends_with 0
  called "down --volumes --remove-orphans"
  [ ! -e "$monitoring/prometheus/prometheus.generated.yml" ]
}

@test "clean asks, and only the whole word counts" {
  with_docker
  deploy start
  at_terminal y "$scripts/deploy-monitoring.sh" clean
  ends_with 1
  says "nothing was changed"
  not_called "down"
  at_terminal yes "$scripts/deploy-monitoring.sh" clean
  ends_with 0
  called "down --volumes"
}

@test "wait-for-services waits for all containers, or for those that are named" {
  with_docker
  run "$scripts/wait-for-services.sh"
  ends_with 1
  says "nothing was started"
  deploy start
  run "$scripts/wait-for-services.sh"
  ends_with 0
  says "ready     otel-collector"
  run "$scripts/wait-for-services.sh" loki
  ends_with 0
  says_not "prometheus"
  rm "$STAND_IN/containers/erlmcp-loki"
  run "$scripts/wait-for-services.sh" loki
  ends_with 1
  says "there is no container erlmcp-loki"
}

@test "wait-for-services asks a published port for itself, whatever Docker thinks" {
  with_docker
  deploy start
  # Nobody listens on port 1.
  echo "erlmcp-prometheus 9090 127.0.0.1:1" >"$STAND_IN/ports"
  run "$scripts/wait-for-services.sh" --timeout 1 prometheus
  ends_with 1
  says "http://127.0.0.1:1/-/ready does not answer"
  says "docker logs --tail 50 erlmcp-prometheus"
}

@test "the ports of the shipped compose file are found by compose itself" {
  compose=$(printf '%s\n' "${ERLMCP_TOOLS:-$here/../../../.tools}"/docker-compose-*/docker-compose | sort -V | tail -n 1)
  [ -x "$compose" ] || skip "no docker-compose in ERLMCP_TOOLS (scripts/setup.sh stack)"
  with_docker
  COMPOSE_PROFILES=jaeger "$compose" -f "$monitoring/docker/docker-compose.monitoring.yml" config >"$STAND_IN/config"
  run bash -c ". $scripts/lib/common.sh; me=x; . $scripts/lib/docker.sh; compose=(docker compose); published_ports"
  for port in 9090 3000 3100 9093 4317 4318 16686; do says "127.0.0.1 $port"; done
}
