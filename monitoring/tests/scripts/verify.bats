# verify of Grafana, by a stand-in: the rest of verify is in native.bats, by the real
# servers.
load helper

setup() {
  common_setup
  with_docker
  # A password with what curl's configuration would mistake.
  password='pa"ss\wo rd'
  /usr/bin/python3 "$here/stand-in/grafana.py" "$password" loki >"$BATS_TEST_TMPDIR/port" 3>&- &
  grafana=$!
  eventually test -s "$BATS_TEST_TMPDIR/port"
  for name in grafana jaeger; do echo "running healthy" >"$STAND_IN/containers/erlmcp-$name"; done
  echo "erlmcp-grafana 3000 127.0.0.1:$(cat "$BATS_TEST_TMPDIR/port")" >"$STAND_IN/ports"
  mkdir -p "$STAND_IN/volumes/grafana"
  printf %s "$password" >"$STAND_IN/volumes/grafana/admin-password"
}

teardown() { kill "$grafana"; }

@test "each data source is asked through Grafana, each dashboard looked for" {
  run "$scripts/deploy-monitoring.sh" verify
  ends_with 1
  for name in prometheus jaeger alertmanager; do says "ok       Grafana's data source $name answers"; done
  says "FAILED   Grafana's data source loki does not answer"
  says "ok       the dashboard erlmcp-overview is there"
  says "FAILED   the dashboard erlmcp-sla is not there"
  says "2 of the checks failed"
}

@test "a password that was changed is said to be, and can be given" {
  echo other >"$STAND_IN/volumes/grafana/admin-password"
  run "$scripts/deploy-monitoring.sh" verify
  ends_with 1
  says "Grafana does not let user admin in"
  says "ERLMCP_GRAFANA_PASSWORD"
  ERLMCP_GRAFANA_PASSWORD=$password run "$scripts/deploy-monitoring.sh" verify
  says "ok       Grafana's data source prometheus answers"
}

@test "without Jaeger its data source is skipped" {
  rm "$STAND_IN/containers/erlmcp-jaeger"
  run "$scripts/deploy-monitoring.sh" verify
  says "skipped  Grafana's data source jaeger: the profile is off"
}
