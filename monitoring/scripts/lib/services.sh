# shellcheck shell=bash disable=SC2034,SC2154
# The services of the stack: their profile, port, the page that answers when they
# are ready, and where they keep their data. Names and ports are those of
# docker/docker-compose.monitoring.yml. Promtail calls itself ready only when it
# reads a file: where there is no log yet, that it answers has to do.

# name  profile  port  page  data (in the container and in the native namespace)
service_table() {
  cat <<'TABLE'
node-exporter     core             9100  /           -
blackbox-exporter core             9115  /-/healthy  -
alertmanager      core             9093  /-/ready    /alertmanager
loki              core             3100  /ready      /loki
promtail          core             9080  /metrics    /var/lib/promtail
jaeger            jaeger           14269 /           /badger
victoria-metrics  victoria-metrics 8428  /health     /victoria-metrics-data
elasticsearch     elasticsearch    9200  /_cluster/health?wait_for_status=yellow&timeout=1s -
kibana            elasticsearch    5601  /api/status -
otel-collector    core             13133 /           /var/lib/otelcol
prometheus        core             9090  /-/ready    /prometheus
thanos-sidecar    thanos           10902 /-/ready    -
thanos-store      thanos           10902 /-/ready    -
thanos-compactor  thanos           10902 /-/ready    -
thanos-query      thanos           10902 /-/ready    -
grafana           core             3000  /api/health /var/lib/grafana
erlmcp            demo             8080  /health     -
TABLE
}

# Who sends to others. They end first: Prometheus waits a minute for a storage that
# has gone before it.
senders=(erlmcp promtail otel-collector thanos-sidecar prometheus)

# Of some services, the senders; or with `not`, the others.
only_senders() { # [not] SERVICE...
  local service wanted=1
  if [ "${1-}" = not ]; then
    wanted=''
    shift
  fi
  for service in "$@"; do
    if [[ " ${senders[*]} " == *" $service "* ]]; then
      [ -z "$wanted" ] || printf '%s\n' "$service"
    else
      [ -n "$wanted" ] || printf '%s\n' "$service"
    fi
  done
}

profiles=(jaeger elasticsearch thanos victoria-metrics demo)

all_services() { service_table | awk '{ print $1 }'; }

# One column of a service's row; fails for a service that does not exist.
service_field() { # SERVICE COLUMN
  service_table | awk -v name="$1" -v column="$2" '$1 == name { print $column; found = 1 } END { exit !found }'
}

service_exists() { service_field "$1" 1 >/dev/null; }
service_profile() { service_field "$1" 2; }
service_port() { service_field "$1" 3; }
service_page() { service_field "$1" 4; }
service_data() { service_field "$1" 5; }

is_profile() { [[ " ${profiles[*]} " == *" $1 "* ]]; }

# The services of the core and of some profiles, in the order of their start.
services_of() { # PROFILE...
  local name profile _
  while read -r name profile _; do
    [[ " core $* " == *" $profile "* ]] && printf '%s\n' "$name"
  done < <(service_table)
  return 0
}
