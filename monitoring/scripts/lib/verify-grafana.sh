# shellcheck shell=bash disable=SC2034,SC2154
# verify: Grafana's data sources, each asked through Grafana, and its dashboards.

# As the user admin. The password goes by a file descriptor: arguments are visible.
grafana() { # PATH
  local user=${ERLMCP_GRAFANA_USER:-admin}:$grafana_password
  user=${user//\\/\\\\}
  http -K <(printf 'user = "%s"\n' "${user//\"/\\\"}") "$(api grafana)$1"
}

# One question that each kind of server answers.
question() { # TYPE
  case $1 in
    prometheus) echo 'api/v1/query?query=1' ;;
    loki) echo loki/api/v1/labels ;;
    jaeger) echo api/services ;;
    alertmanager) echo api/v2/status ;;
  esac
}

verify_grafana() {
  local uid type sources boards
  runs grafana || return 0
  grafana_password=${ERLMCP_GRAFANA_PASSWORD-}
  if [ -z "$grafana_password" ]; then
    if [ -n "$native" ]; then
      grafana_password=$(cat "$state/data/grafana/admin-password" 2>/dev/null) || true
    else
      grafana_password=$(docker exec "$(container grafana)" cat /var/lib/grafana/admin-password 2>/dev/null) || true
    fi
  fi
  if ! sources=$(grafana /api/datasources 2>/dev/null); then
    failed "Grafana does not let user ${ERLMCP_GRAFANA_USER:-admin} in" \
      "if the password was changed: ERLMCP_GRAFANA_PASSWORD=... $scripts/deploy-monitoring.sh verify"
    return
  fi
  while IFS=$'\t' read -r uid type; do
    if [ "$type" = jaeger ] && ! runs jaeger; then
      skipped "Grafana's data source jaeger: the profile is off"
    elif [ -z "$(question "$type")" ]; then
      skipped "Grafana's data source $uid: no question for the type $type"
    elif grafana "/api/datasources/proxy/uid/$uid/$(question "$type")" >/dev/null 2>&1; then
      ok "Grafana's data source $uid answers"
    else
      failed "Grafana's data source $uid does not answer" "$(service_log grafana)"
    fi
  done < <(jq -r '.[] | [.uid, .type] | @tsv' <<<"$sources")
  boards=$(grafana '/api/search?type=dash-db' 2>/dev/null | jq -r '.[].uid' 2>/dev/null) || boards=
  for uid in erlmcp-overview erlmcp-performance erlmcp-sla; do
    if grep -qxF "$uid" <<<"$boards"; then
      ok "the dashboard $uid is there"
    else
      failed "the dashboard $uid is not there" "$(service_log grafana)"
    fi
  done
}
