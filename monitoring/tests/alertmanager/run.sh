#!/usr/bin/env bash
# Alertmanager: its configuration read by amtool and amlint, the route table, and
# the real program, in two versions, which delivers to local sinks.
# Ends with `alertmanager: N passed, N failed, N skipped`.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../../.." && pwd)
tools=${ERLMCP_TOOLS:-$root/.tools}

usage() {
  cat <<'USAGE'
usage: monitoring/tests/alertmanager/run.sh [PART ...]

parts:
  config       amtool check-config, amlint, secrets only in files
  routes       priority x team x escalated against routes.tsv and timings.tsv
  delivery     Slack, PagerDuty, SMS, e-mail and webhooks at local sinks
  inhibition   every inhibition: what it mutes and what it must not
  muting       business hours, holidays, maintenance
  secrets      the script that writes and checks the secret files
  names        the alerts that are named exist in the rules
  email_page   the mail at a phone's width, in Chromium
  docs         the commands and the example of README.md

Without a part: all of them, about five minutes. scripts/setup.sh stack installs
what they need.
USAGE
}

files=()
for part in "$@"; do
  case $part in
    -h | --help)
      usage
      exit 0
      ;;
    config | routes | delivery | inhibition | muting | secrets | names | email_page | docs)
      files+=("$here/test_$part.py")
      ;;
    *)
      printf 'alertmanager: unknown part: %s\n' "$part" >&2
      usage >&2
      exit 2
      ;;
  esac
done

python=$tools/stack-venv/bin/python
if ! "$python" -c 'import aiosmtpd, pytest, yaml' 2>/dev/null; then
  echo "alertmanager: its Python packages are not there: run scripts/setup.sh stack" >&2
  echo "alertmanager: 0 passed, 1 failed, 0 skipped"
  exit 1
fi

work=$(mktemp -d)
pytest=
# A signal ends pytest too, which stops what it has started.
trap '[ -z "$pytest" ] || kill "$pytest" 2>/dev/null || true; wait; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

status=0
cd "$here"
timeout --kill-after=30 900 "$python" -B -m pytest --quiet --tb=short -rfEs --basetemp="$work/pytest" \
  -p no:cacheprovider "${files[@]:-$here}" &
pytest=$!
wait "$pytest" || status=$?
pytest=
[ "$status" -eq 0 ] || exit 1
