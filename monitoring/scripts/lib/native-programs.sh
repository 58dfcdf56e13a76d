# shellcheck shell=bash disable=SC2034,SC2154
# Which program each service is natively, where it is, and how it is started:
# the compose file's flags with loopback addresses.

# The names under which a program is found.
program_names() { # SERVICE
  case $1 in
    prometheus) echo prometheus ;;
    alertmanager) echo alertmanager prometheus-alertmanager ;;
    node-exporter) echo node_exporter prometheus-node-exporter ;;
    blackbox-exporter) echo blackbox_exporter prometheus-blackbox-exporter ;;
    loki | promtail) echo "$1" ;;
    otel-collector) echo otelcol-contrib otelcol ;;
    jaeger) echo jaeger jaeger-all-in-one ;;
    victoria-metrics) echo victoria-metrics victoria-metrics-prod ;;
    thanos-*) echo thanos ;;
    grafana) echo grafana grafana-server ;;
    elasticsearch | kibana) ;;
    erlmcp) ;;
  esac
}

# Whether a program of that name is the right one: Debian's `loki` is a genetics
# program.
fits() { # SERVICE PATH
  local loki
  case $1 in
    loki | promtail) [[ $(timeout 10 "$2" --version 2>&1 | head -n 3) == *"$1, version"* ]] ;;
    # The current Collector sends logs to a page that Loki has from version 3 on.
    otel-collector)
      at_least "$(version_number "$2")" 0.104.0 || return 0
      loki=$(find_program loki) || return 0
      at_least "$(version_number "$loki")" 3.0.0
      ;;
  esac
}

version_number() { # PATH
  local number
  number=$(timeout 10 "$1" --version 2>&1 | grep -oE '[0-9]+\.[0-9]+\.[0-9]+' | head -n 1) || true
  echo "${number:-0}"
}

# ERLMCP_TOOLS if it is set, then PATH, then this checkout's .tools, where the
# newest version counts.
find_program() { # SERVICE
  local name found folder
  for name in $(program_names "$1"); do
    for folder in "${ERLMCP_TOOLS-}" PATH "$monitoring/../.tools"; do
      [ -n "$folder" ] || continue
      for found in $(if [ "$folder" = PATH ]; then command -v "$name"; else tools_of "$folder" "$name"; fi); do
        if fits "$1" "$found"; then
          readlink -f "$found"
          return
        fi
      done
    done
  done
  return 1
}

tools_of() { # FOLDER NAME
  local path
  if [ -x "$1/$2" ] && [ ! -d "$1/$2" ]; then printf '%s\n' "$1/$2"; fi
  for path in "$1/$2"-[0-9]*/"$2"; do
    if [ -x "$path" ]; then printf '%s\n' "$path"; fi
  done | sort -Vr
}

# Addresses where a service listens, for the question who is there already.
native_ports() { # SERVICE
  local address
  address=$(native_address "$1")
  case $1 in
    otel-collector) printf '127.0.0.1:%s\n' 4317 4318 14250 14268 8888 8889 13133 55679 ;;
    jaeger) printf '127.0.0.2:%s\n' 4317 4318 14250 14268 14269 16685 16686 ;;
    thanos-*) printf '%s:%s\n' "$address" 10901 "$address" 10902 ;;
    erlmcp) printf '127.0.0.1:%s\n' 8080 8086 ;;
    loki) printf '127.0.0.1:%s\n' 3100 9095 ;;
    *) printf '%s:%s\n' "$address" "$(service_port "$1")" ;;
  esac
}

missing=''
command=()

# Sets `command`, with what it finds in its environment in front; fails and says
# in `missing` why the service is left out.
native_command() { # SERVICE
  local program address home
  address=$(native_address "$1")
  missing='' command=()
  case $1 in
    elasticsearch | kibana)
      missing="only with Docker"
      return 1
      ;;
    erlmcp)
      native_demo
      return
      ;;
  esac
  if ! program=$(find_program "$1"); then
    missing="no $(program_names "$1" | sed 's/ / or /g') in ERLMCP_TOOLS, on PATH or in .tools"
    return 1
  fi
  case $1 in
    prometheus)
      command=("$program"
        --config.file="/etc/prometheus/${ERLMCP_PROMETHEUS_CONFIG:-prometheus.yml}"
        --storage.tsdb.path=/prometheus
        --storage.tsdb.retention.time="${ERLMCP_PROMETHEUS_RETENTION:-30d}"
        --web.listen-address=127.0.0.1:9090
        --web.external-url=http://localhost:9090
        --web.enable-lifecycle --web.enable-admin-api
        --storage.tsdb.min-block-duration=2h
        --storage.tsdb.max-block-duration="${ERLMCP_PROMETHEUS_MAX_BLOCK:-3d}"
        --enable-feature=exemplar-storage)
      ;;
    alertmanager)
      command=(/usr/bin/env AWS_SHARED_CREDENTIALS_FILE=/etc/alertmanager/secrets/aws_credentials
        "$program" --config.file=/etc/alertmanager/alertmanager.yml --storage.path=/alertmanager
        --data.retention=120h --web.listen-address=127.0.0.1:9093
        --web.external-url=http://localhost:9093 --cluster.listen-address=)
      ;;
    node-exporter) command=("$program" --web.listen-address=127.0.0.1:9100) ;;
    blackbox-exporter)
      config_there blackbox/blackbox.yml || return 1
      command=("$program" --config.file=/etc/blackbox_exporter/blackbox.yml --web.listen-address=127.0.0.1:9115)
      ;;
    loki)
      config_there loki/loki-config.yml || return 1
      command=("$program" -config.file=/etc/loki/loki-config.yml
        -server.http-listen-address=127.0.0.1 -server.grpc-listen-address=127.0.0.1)
      ;;
    promtail)
      config_there promtail/promtail-config.yml || return 1
      command=("$program" -config.file=/etc/promtail/promtail-config.yml
        -server.http-listen-address=127.0.0.1 -server.grpc-listen-address=127.0.0.1 -server.grpc-listen-port=0)
      ;;
    otel-collector)
      native_collector "$program"
      ;;
    jaeger)
      config_there jaeger/jaeger.env || return 1
      mapfile -t command < <(grep '^[A-Z]' "$monitoring/jaeger/jaeger.env")
      command=(/usr/bin/env "${command[@]}" BADGER_SPAN_STORE_TTL="${ERLMCP_JAEGER_RETENTION:-168h}"
        "$program"
        --collector.otlp.grpc.host-port="$address:4317" --collector.otlp.http.host-port="$address:4318"
        --collector.grpc-server.host-port="$address:14250" --collector.http-server.host-port="$address:14268"
        --admin.http.host-port="$address:14269" --query.http-server.host-port="$address:16686"
        --query.grpc-server.host-port="$address:16685" --http-server.host-port="$address:5778"
        --processor.jaeger-binary.server-host-port="$address:6832"
        --processor.jaeger-compact.server-host-port="$address:6831"
        --processor.zipkin-compact.server-host-port="$address:5775")
      ;;
    victoria-metrics)
      command=("$program" -storageDataPath=/victoria-metrics-data -httpListenAddr=127.0.0.1:8428
        -retentionPeriod="${ERLMCP_VICTORIA_METRICS_RETENTION:-365d}")
      ;;
    thanos-*)
      config_there thanos/bucket.yml || return 1
      native_thanos "$program" "$1" "$address"
      ;;
    grafana)
      command=(/usr/bin/env GF_PATHS_DATA=/var/lib/grafana GF_PATHS_PLUGINS=/var/lib/grafana/plugins
        GF_PATHS_PROVISIONING=/etc/grafana/provisioning GF_PATHS_LOGS=/var/lib/grafana/log
        GF_SERVER_HTTP_ADDR=127.0.0.1 GF_LOG_MODE=console
        # Expanded by Grafana; variables that end in __FILE are the image's own.
        "GF_SECURITY_ADMIN_PASSWORD=\$__file{/var/lib/grafana/admin-password}"
        "GF_SECURITY_SECRET_KEY=\$__file{/var/lib/grafana/secret-key}"
        GF_ANALYTICS_REPORTING_ENABLED=false GF_ANALYTICS_CHECK_FOR_UPDATES=false
        "$program")
      # From 10 on one program; a package's files are in /usr/share.
      if [ "${program##*/}" = grafana ]; then command+=(server); fi
      home=${program%/*}/home
      [ -d "$home" ] || home=/usr/share/grafana
      command+=(--homepath "${GRAFANA_HOME:-$home}")
      ;;
  esac
}

config_there() { # FILE
  [ -r "$monitoring/$1" ] && return
  missing="there is no monitoring/$1"
  return 1
}

# The Collector renames and drops keys: two files say the same for old and new.
native_collector() { # PROGRAM
  local file=collector-config.yaml option
  if at_least "$(version_number "$1")" 0.104.0; then file=collector-config-current.yaml; fi
  config_there "otel/$file" || return 1
  command=(/usr/bin/env ERLMCP_COLLECTOR_LISTEN=127.0.0.1 "$1" --config="/etc/otelcol/$file")
  # As in compose: more files, merged over it.
  for option in ${ERLMCP_COLLECTOR_OPTIONS-}; do command+=("$option"); done
}

native_thanos() { # PROGRAM SERVICE ADDRESS
  local bucket=--objstore.config-file=/etc/thanos/bucket.yml
  local -a doors=(--http-address="$3:10902" --grpc-address="$3:10901")
  case $2 in
    thanos-sidecar)
      command=("$1" sidecar "${doors[@]}" --tsdb.path=/prometheus --prometheus.url=http://prometheus:9090 "$bucket")
      ;;
    thanos-store) command=("$1" store "${doors[@]}" --data-dir=/thanos/store "$bucket") ;;
    thanos-compactor)
      command=("$1" compact --http-address="$3:10902" --wait --data-dir=/thanos/compact "$bucket"
        --retention.resolution-raw=7d --retention.resolution-5m=30d --retention.resolution-1h=365d)
      ;;
    thanos-query)
      command=("$1" query "${doors[@]}" --query.replica-label=replica
        --endpoint=thanos-sidecar:10901 --endpoint=thanos-store:10901)
      ;;
  esac
}

# The example workload as the application that is watched.
native_demo() {
  local root build
  root=$(cd "$monitoring/.." && pwd)
  build=${ERLMCP_BUILD:-$root/_build/default/lib/erlmcp_instrumentation}
  if ! have erl; then
    missing="no erl on PATH"
    return 1
  fi
  if [ ! -e "$build/ebin/erlmcp_metrics.beam" ]; then
    missing="the library is not built (make compile), or set ERLMCP_BUILD"
    return 1
  fi
  command=(/usr/bin/env ERLMCP_BUILD="$build" PATH="$PATH" DEMO_SECONDS=0 DEMO_RATE="${DEMO_RATE:-50}"
    OTEL_SERVICE_NAME=erlmcp OTEL_EXPORTER_OTLP_ENDPOINT=http://otel-collector:4318
    OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf ERLMCP_LOG_FILE=/var/log/erlmcp/erlmcp.log
    "$root/examples/demo/run.sh")
}
