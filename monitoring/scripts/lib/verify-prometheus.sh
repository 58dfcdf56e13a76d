# shellcheck shell=bash disable=SC2034,SC2154
# verify: targets, rules, long-term storage.

# "JOB URL HEALTH ERROR" for each target.
targets_now() {
  http "$(api prometheus)/api/v1/targets?state=active" |
    jq -r '.data.activeTargets[] | [.labels.job, .scrapeUrl, .health, .lastError] | @tsv'
}

# Nothing is down that should be up. A target is asked anew every 15 or 30 s: what
# was started just now may still count as down.
targets_settled() {
  local job url health fault host
  targets_up=0 targets_down=() targets_skipped=()
  found_targets=$(targets_now 2>/dev/null) || return 1
  while IFS=$'\t' read -r job url health fault; do
    host=${url#*://}
    host=${host%%[:/]*}
    if [ "$health" = up ]; then
      targets_up=$((targets_up + 1))
    elif service_exists "$host" && [ "$host" != erlmcp ] && ! runs "$host"; then
      targets_skipped+=("$url: $host is not there")
    elif [ -z "$application" ] && [[ $job == erlmcp || $job == erlmcp_* ]]; then
      targets_skipped+=("$url: --no-application")
    else
      targets_down+=("$job"$'\t'"target $url is $health: $fault")
    fi
  done <<<"$found_targets"
  [ ${#targets_down[@]} -eq 0 ]
}

verify_targets() {
  local line job
  runs prometheus || return 0
  within targets_settled || true
  if [ -z "${found_targets-}" ]; then
    failed "Prometheus does not tell its targets" "$(service_log prometheus)"
    return
  fi
  for line in "${targets_skipped[@]}"; do skipped "target $line"; done
  for line in "${targets_down[@]}"; do
    job=${line%%$'\t'*}
    case $job in
      erlmcp | erlmcp_*) failed "${line#*$'\t'}" \
        "start the application, put its address into prometheus/targets (README.md there), or say --no-application" ;;
      *) failed "${line#*$'\t'}" "$(service_log prometheus)" ;;
    esac
  done
  [ "$targets_up" -eq 0 ] || ok "$targets_up targets are up"
}

# The files that prometheus.yml names, as they are here.
rule_files() {
  local pattern
  awk '/^rule_files:/ { inside = 1; next } /^[^ #]/ { inside = 0 } inside && /^ *- / { print $2 }' \
    "$monitoring/prometheus/prometheus.yml" |
    while read -r pattern; do
      # A pattern, to be expanded here.
      # shellcheck disable=SC2086
      for file in "$monitoring"/prometheus/$pattern; do
        if [ -e "$file" ]; then printf '%s\n' "$file"; fi
      done
    done
}

verify_rules() {
  local loaded written bad files
  runs prometheus || return 0
  if ! loaded=$(http "$(api prometheus)/api/v1/rules" 2>/dev/null); then
    failed "Prometheus does not tell its rules" "$(service_log prometheus)"
    return
  fi
  mapfile -t files < <(rule_files)
  written=$(cat "${files[@]}" | grep -cE '^ *-? *(alert|record):' || true)
  bad=$(jq -r '[.data.groups[].rules[] | select(.health == "err") | "\(.name): \(.lastError)"][:3][]' <<<"$loaded")
  loaded=$(jq '[.data.groups[].rules[]] | length' <<<"$loaded")
  if [ "$loaded" -ne "$written" ]; then
    failed "$loaded rules are loaded, the ${#files[@]} files have $written" \
      "promtool check config prometheus/prometheus.yml, then deploy-monitoring.sh start (which reloads)"
  elif [ -n "$bad" ]; then
    failed "rules fail: ${bad//$'\n'/; }" "promtool check rules, and the expressions in http://localhost:9090/rules"
  else
    ok "$loaded rules are loaded, as in the ${#files[@]} files"
  fi
  if http "$(api prometheus)/metrics" 2>/dev/null | grep -x "prometheus_config_last_reload_successful 1" >/dev/null; then
    ok "Prometheus runs on its newest configuration"
  else
    failed "Prometheus refused its newest configuration and goes on with the one before" "$(service_log prometheus)"
  fi
}

# A sample of the last two minutes, found in a store by its query API.
sample_there() { # BASE
  local newest
  newest=$(http -G "$1/api/v1/query" --data-urlencode 'query=max(timestamp(up{job="prometheus"}))' \
    --data-urlencode nocache=1 2>/dev/null | jq -r '.data.result[0].value[1] // empty' 2>/dev/null) || return 1
  [ -n "$newest" ] && [ $(($(date +%s) - ${newest%.*})) -lt 120 ]
}

verify_storage() {
  local stores
  if runs victoria-metrics; then
    if within sample_there "$(api victoria-metrics)"; then
      ok "VictoriaMetrics has what Prometheus sends by remote_write"
    else
      failed "VictoriaMetrics has no sample of the last two minutes" \
        "is remote_write in prometheus/prometheus.generated.yml? $(service_log prometheus)"
    fi
  fi
  if runs thanos-query; then
    stores=$(http "$(api thanos-query)/api/v1/stores" 2>/dev/null | jq '[.data[][] | select(.lastError == null)] | length') || stores=0
    if [ "${stores:-0}" -ge 2 ] && within sample_there "$(api thanos-query)"; then
      ok "Thanos finds Prometheus' newest samples, and $stores stores"
    else
      failed "Thanos has ${stores:-0} stores, or no sample of the last two minutes" "$(service_log thanos-query)"
    fi
  fi
  if ! runs victoria-metrics && ! runs thanos-query; then
    skipped "long-term storage: none is on (--profile victoria-metrics or --profile thanos)"
  fi
}
