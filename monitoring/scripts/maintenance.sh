#!/usr/bin/env bash
# The guide's daily, weekly and monthly tasks as questions to the running stack.
# monitoring/docs/maintenance.md says what to do about the answers.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

usage() {
  cat <<'USAGE'
usage: monitoring/scripts/maintenance.sh daily|weekly|monthly

Asks the running stack and prints a report. Lines that begin with
  ok     are as they should be
  look   want somebody to look: what to do is in monitoring/docs/maintenance.md
  -      are figures to review
  n/a    could not be asked, with the reason

environment:
  ERLMCP_PROMETHEUS_URL    default http://localhost:9090
  ERLMCP_ALERTMANAGER_URL  default http://localhost:9093
  ERLMCP_LOKI_URL          default http://localhost:3100
  ERLMCP_GRAFANA_URL       default http://localhost:3000
  ERLMCP_CREDENTIALS_FILE  a file with USER:PASSWORD for Prometheus, Alertmanager
                           and Loki where they want one
  ERLMCP_GRAFANA_TOKEN_FILE  a file with the token of a Grafana service account
  ERLMCP_CA_FILE           certificates to trust for https

exit status: 0 nothing to look at, 1 something, 2 wrong word, 3 no Prometheus
USAGE
}

case ${1-} in
  -h | --help)
    usage
    exit 0
    ;;
  daily | weekly | monthly) ;;
  '')
    printf 'maintenance: a task is needed\n' >&2
    usage >&2
    exit 2
    ;;
  *)
    printf 'maintenance: unknown task: %s\n' "$1" >&2
    usage >&2
    exit 2
    ;;
esac
if [ $# -ne 1 ]; then
  printf 'maintenance: %s takes no argument\n' "$1" >&2
  usage >&2
  exit 2
fi
command -v python3 >/dev/null || {
  printf 'maintenance: python3 (3.9 or later) is needed\n' >&2
  exit 3
}
exec python3 -B "$here/maintenance" "$1"
