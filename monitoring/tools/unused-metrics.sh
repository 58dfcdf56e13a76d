#!/usr/bin/env bash
# Metrics that Prometheus has and that no rule, dashboard or page here names, the
# most series first: what could be dropped without anybody missing it.
set -euo pipefail

usage() {
  cat <<'USAGE'
usage: monitoring/tools/unused-metrics.sh URL [COUNT]

Asks the Prometheus at URL (http://localhost:9090) and prints so many lines (20):
series and name. A histogram counts as one.
USAGE
}

case ${1-} in
  -h | --help)
    usage
    exit 0
    ;;
  http://* | https://*) ;;
  *)
    usage >&2
    exit 2
    ;;
esac
count=${2:-20}
if ! [[ $count =~ ^[0-9]+$ ]]; then
  usage >&2
  exit 2
fi

monitoring=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# All words of all files, once: a name that is in none of them is nobody's.
words=$(cat "$monitoring"/prometheus/{rules,recording_rules}/*.yml "$monitoring"/prometheus/rules/custom/* \
  "$monitoring"/grafana/dashboards/*.json "$monitoring"/grafana/datasources/*.yml "$monitoring"/runbooks/*.md |
  grep -oE '[a-zA-Z_:][a-zA-Z0-9_:]+' | sort -u)

curl -sfG "$1/api/v1/query" --data-urlencode 'query=count by (__name__) ({__name__=~".+"})' |
  grep -oE '"__name__":"[^"]+"\},"value":\[[0-9.]+,"[0-9]+"' |
  sed -E 's/"__name__":"([^"]+)".*"([0-9]+)"$/\1 \2/' |
  # The sum over a histogram's parts; it is used if any of them is.
  awk -v words="$words" '
    BEGIN { n = split(words, list, "\n"); for (i = 1; i <= n; i++) used[list[i]] = 1 }
    { family = $1; sub(/_(bucket|sum|count)$/, "", family); total[family] += $2; if (used[$1] || used[family]) kept[family] = 1 }
    END { for (family in total) if (!kept[family] && family !~ /^(ALERTS|ALERTS_FOR_STATE|.*:.*)$/) print total[family], family }' |
  sort -k1,1nr -k2 |
  awk -v count="$count" 'NR <= count'
