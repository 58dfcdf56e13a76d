# shellcheck shell=bash disable=SC2034,SC2154
# verify: a test trace from the Collector to Jaeger, a test log line from a file by
# Promtail to Loki.

trace_there() { # ID
  http "$(api jaeger 16686)/api/traces/$1" 2>/dev/null | jq -e '.data | length > 0' >/dev/null 2>&1
}

verify_trace() {
  local id span now
  if ! runs otel-collector || ! runs jaeger; then
    skipped "a test trace: the Collector or Jaeger is not there"
    return
  fi
  id=$(identity 16) span=$(identity 8) now=$(date +%s%N)
  if ! jq -n --arg id "$id" --arg span "$span" --arg began "$((now - 1000000))" --arg ended "$now" '{resourceSpans: [{
        resource: {attributes: [{key: "service.name", value: {stringValue: "erlmcp-verify"}}]},
        scopeSpans: [{scope: {name: "deploy-monitoring.sh"}, spans: [{traceId: $id, spanId: $span, name: "verify",
          kind: 1, startTimeUnixNano: $began, endTimeUnixNano: $ended}]}]}]}' |
    http -o /dev/null -H 'Content-Type: application/json' --data-binary @- \
      "$(api otel-collector 4318)/v1/traces" 2>/dev/null; then
    failed "the Collector does not take a test trace" "$(service_log otel-collector)"
  elif within trace_there "$id"; then
    ok "a test trace is found in Jaeger: $(api jaeger 16686)/trace/$id"
  else
    failed "the test trace $id did not get from the Collector to Jaeger within $patience s" \
      "with tail sampling it may have been let go; otherwise $(service_log otel-collector)"
  fi
}

line_there() { # ID
  http -G "$(api loki)/loki/api/v1/query_range" --data-urlencode "query={job=\"erlmcp\"} |= \`$1\`" \
    --data-urlencode since=1h 2>/dev/null | jq -e '.data.result | length > 0' >/dev/null 2>&1
}

# A command of the shell in the folder that Promtail reads as /var/log/erlmcp, its
# $1: here, or, where that is a volume of Docker, in a container that has it.
in_log_folder() { # SCRIPT
  local kind source
  if [ -n "$native" ]; then
    source=$(awk '$3 == "/var/log/erlmcp" { print $2 }' "$state/run/places")
    sh -c "$1" sh "${source:-/var/log/erlmcp}"
    return
  fi
  read -r kind source < <(docker inspect -f \
    '{{range .Mounts}}{{if eq .Destination "/var/log/erlmcp"}}{{.Type}} {{if .Name}}{{.Name}}{{else}}{{.Source}}{{end}}{{end}}{{end}}' \
    "$(container promtail)") || return 1
  if [ "$kind" = bind ] && [ -w "$source" ]; then
    sh -c "$1" sh "$source"
  else
    docker run --rm --network none --user 0 -v "$source:/var/log/erlmcp" --entrypoint /bin/sh \
      "$(docker inspect -f '{{.Config.Image}}' "$(container prometheus)")" -c "$1" sh /var/log/erlmcp
  fi
}

verify_log() {
  local id
  if ! runs loki || ! runs promtail; then
    skipped "a test log line: Loki or Promtail is not there"
    return
  fi
  id=erlmcp-verify-$(identity 6)
  if ! in_log_folder "printf '%s\n' '{\"time\":\"$(date -u +%Y-%m-%dT%H:%M:%S.%6NZ)\",\"level\":\"info\",\"message\":\"$id\"}' >>\"\$1/erlmcp-verify.log\"" 2>/dev/null; then
    failed "cannot write a test line into the folder that Promtail reads as /var/log/erlmcp" \
      "run verify as somebody who may: the application's user, or root"
    return
  fi
  if within line_there "$id"; then
    ok "a test log line is found in Loki: {job=\"erlmcp\"} |= \`$id\`"
  else
    failed "the test log line $id did not get by Promtail to Loki within $patience s" "$(service_log promtail)"
  fi
  # shellcheck disable=SC2016
  in_log_folder 'rm -f "$1/erlmcp-verify.log"' 2>/dev/null || true
}
