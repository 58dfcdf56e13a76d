#!/usr/bin/env bash
# Writes and checks the files that Alertmanager reads its secrets from. It starts
# without them, and finds out only when it has something to say.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
config=$here/alertmanager/alertmanager.yml
folder=${ERLMCP_ALERTMANAGER_SECRETS:-$here/alertmanager/secrets}

usage() {
  cat <<'USAGE'
usage: alertmanager-secrets.sh COMMAND

commands:
  list          the files that alertmanager.yml names, and whether they are there
  set NAME      write one of them; the value comes from standard input
  phones        write phones.tmpl; standard input has lines of TEAM NUMBER
  check         say what is missing, malformed or readable by everybody;
                exits with 1 if anything is

environment:
  ERLMCP_ALERTMANAGER_SECRETS  the folder (default: monitoring/alertmanager/secrets)
  ERLMCP_SECRETS_GID           the group that may read them: one that the container
                               is in (default: 65534 for root, else one's own)

Values are never arguments: other users of the machine see those. For example:
  read -rs key && printf '%s' "$key" | alertmanager-secrets.sh set pagerduty_key_platform
  printf 'platform +12025550123\n' | alertmanager-secrets.sh phones
USAGE
}

wrong() {
  printf 'alertmanager-secrets: %s\n' "$*" >&2
  usage >&2
  exit 2
}

if [ "$(id -u)" -eq 0 ]; then
  gid=${ERLMCP_SECRETS_GID:-65534}
else
  gid=${ERLMCP_SECRETS_GID:-$(id -g)}
fi

# The files that the configuration names; SNS and the numbers have no key for it.
names() {
  grep -v '^ *#' "$config" | grep -oE '/etc/alertmanager/secrets/[A-Za-z0-9_-]+' | sed 's|.*/||' | sort -u
  if grep -q '^ *sns_configs:' "$config"; then printf '%s\n' aws_credentials phones.tmpl; fi
}

# The teams that a phone is needed for.
teams() {
  grep -oE 'erlmcp\.sms\.phone\.[a-z0-9_]+' "$config" | sed 's/.*\.//' | sort -u
}

known() { # NAME
  # Not -q: it would end before names has said everything, which pipefail minds.
  names | grep -xF -- "$1" >/dev/null
}

# Standard input into a file that nobody can read before it has its rights.
write() { # NAME
  local name=$1 new
  mkdir -p "$folder"
  chgrp "$gid" "$folder"
  chmod 750 "$folder"
  new=$(mktemp "$folder/.new.XXXXXX")
  if ! { cat >"$new" && chgrp "$gid" "$new" && chmod 640 "$new" && mv "$new" "$folder/$name"; }; then
    rm -f "$new"
    return 1
  fi
}

# What is wrong with a file; nothing if nothing is. Never its content.
fault() { # NAME
  local file=$folder/$1 team
  if [ ! -e "$file" ]; then
    echo "is missing"
    return
  fi
  if [ ! -r "$file" ]; then
    echo "cannot be read by you"
    return
  fi
  if [ ! -s "$file" ]; then
    echo "is empty"
    return
  fi
  case $(stat -c %a "$file" 2>/dev/null || stat -f %Lp "$file") in
    *[1-7]) echo "can be read by everybody (chmod 640)" && return ;;
  esac
  case $1 in
    slack_url_* | *_url) grep -qE '^https?://[^[:space:]]+$' "$file" || echo "holds no URL" ;;
    pagerduty_key_*) grep -qE '^[A-Za-z0-9]{32}$' "$file" || echo "holds no key of 32 letters and digits" ;;
    aws_credentials)
      { grep -qF '[erlmcp-alerts]' "$file" && grep -q aws_access_key_id "$file" && grep -q aws_secret_access_key "$file"; } ||
        echo "has no profile [erlmcp-alerts] with aws_access_key_id and aws_secret_access_key"
      ;;
    phones.tmpl)
      for team in $(teams); do
        grep -qE "define \"erlmcp.sms.phone.$team\" -?}}\+[1-9][0-9]{6,14}\{\{" "$file" || {
          echo "has no number for team $team"
          return
        }
      done
      ;;
  esac
}

list() {
  local name what
  for name in $(names); do
    what=$(fault "$name")
    printf '%-28s %s\n' "$name" "${what:-ok}"
  done
}

check() {
  local name what bad=0
  for name in $(names); do
    what=$(fault "$name")
    [ -z "$what" ] && continue
    printf 'alertmanager-secrets: %s/%s %s\n' "$folder" "$name" "$what" >&2
    bad=1
  done
  if [ "$bad" -ne 0 ]; then
    printf 'alertmanager-secrets: write it with "set NAME" or "phones"; secrets/README.md tells where each comes from\n' >&2
    return 1
  fi
  echo "alertmanager-secrets: all files are there"
}

phones() {
  local team number text=
  while read -r team number; do
    [ -n "$team" ] || continue
    [[ $team =~ ^[a-z0-9_]+$ ]] || wrong "not the name of a team: $team"
    [[ $number =~ ^\+[1-9][0-9]{6,14}$ ]] || wrong "team $team: not a number like +12025550123"
    text+="{{ define \"erlmcp.sms.phone.$team\" }}$number{{ end }}"$'\n'
  done
  [ -n "$text" ] || wrong "phones: no TEAM NUMBER on standard input"
  printf '%s' "$text" | write phones.tmpl
}

case ${1:-} in
  -h | --help)
    usage
    ;;
  list | check | phones)
    [ $# -eq 1 ] || wrong "$1 takes no argument"
    "$1"
    ;;
  set)
    [ $# -eq 2 ] || wrong "set takes one name; the value comes from standard input"
    known "$2" || wrong "alertmanager.yml names no file $2"
    write "$2"
    ;;
  '') wrong "a command is needed" ;;
  *) wrong "unknown command: $1" ;;
esac
