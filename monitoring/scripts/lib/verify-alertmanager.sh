# shellcheck shell=bash disable=SC2034,SC2154
# verify: Alertmanager's configuration, the way from Prometheus to it, and a test
# alert from it to the channels. That alert is P3 and has a route of its own, which
# pages nobody.

verify_alertmanager() {
  local base
  runs alertmanager || return 0
  base=$(api alertmanager)
  if [ -z "$(http "$base/api/v2/status" 2>/dev/null | jq -r '.config.original // empty' 2>/dev/null)" ]; then
    failed "Alertmanager does not tell its configuration" "$(service_log alertmanager)"
    return
  fi
  if http "$base/metrics" 2>/dev/null | grep -x "alertmanager_config_last_reload_successful 1" >/dev/null; then
    ok "Alertmanager runs on its newest configuration"
  else
    failed "Alertmanager refused its newest configuration and goes on with the one before" \
      "amtool check-config alertmanager/alertmanager.yml"
  fi
  if runs prometheus; then
    # A Prometheus that was there before Alertmanager tells it a minute later again
    # (--rules.alert.resend-delay), with the evaluation after that.
    if patience=$((patience < 120 ? 120 : patience)) within alert_there "$base" 'alertname="ErlmcpWatchdog"'; then
      ok "alerts get from Prometheus to Alertmanager (ErlmcpWatchdog is there)"
    else
      failed "ErlmcpWatchdog, which always fires, is not at Alertmanager" \
        "http://localhost:9090/alerts, and $(service_log prometheus)"
    fi
  fi
  verify_test_alert "$base"
}

alert_there() { # BASE MATCHER
  http -G "$1/api/v2/alerts" --data-urlencode "filter=$2" 2>/dev/null | jq -e 'length > 0' >/dev/null 2>&1
}

post_test_alert() { # BASE ID ENDS
  jq -n --arg id "$2" --arg ends "$3" '[{
      labels: {alertname: "ErlmcpTestAlert", priority: "P3", severity: "info", team: "monitoring",
               environment: "test", instance: $id},
      annotations: {summary: "A test alert", description: "Nothing is wrong: deploy-monitoring.sh verify has sent it."},
      endsAt: $ends}]' |
    http -o /dev/null -H 'Content-Type: application/json' --data-binary @- "$1/api/v2/alerts" 2>/dev/null
}

# "SENT FAILED" over the channels of the receiver monitoring-notify.
notifications() { # BASE
  http "$1/metrics" 2>/dev/null | awk '
    /^alertmanager_notification_requests_total\{/ && /integration="(slack|email)"/ { sent += $NF }
    /^alertmanager_notification_requests_failed_total\{/ && /integration="(slack|email)"/ { bad += $NF }
    END { printf "%d %d\n", sent, bad }'
}

# Which secrets of those that the test alert wants are not there.
missing_secrets() {
  "$scripts/alertmanager-secrets.sh" list | awk '($1 == "slack_url_monitoring" || $1 == "smtp_password") && $2 != "ok" { print $1 }'
}

delivered() { # BASE SENT FAILED
  read -r sent_now failed_now < <(notifications "$1")
  # Slack and e-mail.
  [ "$sent_now" -ge $(($2 + 2)) ]
}

verify_test_alert() { # BASE
  local base=$1 id sent bad sent_now=0 failed_now=0 secrets receiver
  id=erlmcp-verify-$(identity 6)
  read -r sent bad < <(notifications "$base")
  if ! post_test_alert "$base" "$id" "$(date -u -d '+10 minutes' +%Y-%m-%dT%H:%M:%SZ)" ||
    ! within alert_there "$base" "instance=\"$id\""; then
    failed "Alertmanager does not take a test alert" "$(service_log alertmanager)"
    return
  fi
  receiver=$(http -G "$base/api/v2/alerts" --data-urlencode "filter=instance=\"$id\"" | jq -r '[.[0].receivers[].name] | join(" ")')
  ok "a test alert is at Alertmanager, for $receiver"
  secrets=$(missing_secrets)
  if [ -n "$secrets" ]; then
    skipped "delivery of the test alert: the channels have no secrets yet (${secrets//$'\n'/ }); nobody is told of any alert." \
      "Write them: $scripts/alertmanager-secrets.sh -h"
  elif ! within delivered "$base" "$sent" "$bad"; then
    failed "the test alert was not sent to Slack and e-mail within $patience s" "$(service_log alertmanager)"
  elif [ "$failed_now" -gt "$bad" ]; then
    failed "$((failed_now - bad)) of $((sent_now - sent)) attempts to deliver the test alert failed" \
      "$(service_log alertmanager) names the channel and the answer"
  else
    ok "the test alert was delivered: $((sent_now - sent)) notifications, none failed"
  fi
  post_test_alert "$base" "$id" "$(date -u +%Y-%m-%dT%H:%M:%SZ)" || true
}
