#!/usr/bin/env bash
# Prints prometheus.yml with what Prometheus cannot include by itself: long-term
# storage, and the names of this place. It expands no variables and knows no
# include for remote_write.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
prometheus=$here/../prometheus

usage() {
  cat <<'USAGE'
usage: monitoring/scripts/prometheus-config.sh [OPTION VALUE ...]

Prints a configuration of Prometheus. Paths in it are relative: keep it in
monitoring/prometheus/, for example as prometheus.generated.yml.

options:
  --discovery NAME       ask DNS for the targets of the jobs that discovery/NAME/ has
                         a file for, instead of the names in prometheus.yml
  --remote-write NAME    append remote_write/NAME.yml (may be repeated: one NAME each)
  --environment NAME     the label environment of all targets (production)
  --cluster NAME         the external label cluster (erlmcp)
  --replica NAME         the external label replica (prometheus-1)
USAGE
}

wrong() {
  printf 'prometheus-config: %s\n' "$1" >&2
  usage >&2
  exit 2
}

environment=production cluster=erlmcp replica=prometheus-1 discovery='' storages=()
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help)
      usage
      exit 0
      ;;
    --discovery | --remote-write | --environment | --cluster | --replica) ;;
    *) wrong "unknown option: $1" ;;
  esac
  [ $# -ge 2 ] || wrong "$1 wants a value"
  [[ $2 =~ ^[A-Za-z0-9._-]+$ ]] || wrong "not a name: $2"
  case $1 in
    --remote-write)
      [ -f "$prometheus/remote_write/$2.yml" ] || wrong "there is no remote_write/$2.yml"
      storages+=("$2")
      ;;
    --discovery)
      [ -d "$prometheus/discovery/$2" ] || wrong "there is no discovery/$2"
      discovery=$prometheus/discovery/$2
      ;;
    --environment) environment=$2 ;;
    --cluster) cluster=$2 ;;
    --replica) replica=$2 ;;
  esac
  shift 2
done

# A job's static targets make way for the text of its file. Rules for labels come
# before those that the job has itself.
discover() {
  awk -v folder="$discovery" '
    function close_job() {
      if (rules != "") printf "    relabel_configs:\n%s", rules
      rules = ""
    }
    # A blank line or a comment at the level of the jobs belongs to the next one.
    folder != "" && job != "" && /^(  [-#]|[^ ]|$)/ { close_job() }
    /^  - job_name: / { job = $3 }
    folder == "" || job == "" { print; next }
    /^    static_configs:$/ {
      file = folder "/" job ".yml"
      found = in_rules = 0
      while ((getline line < file) > 0) {
        found = 1
        if (line ~ /^    relabel_configs:$/) in_rules = 1
        else if (in_rules) rules = rules line "\n"
        else print (line ~ /^#/ ? "    " line : line)
      }
      close(file)
      if (found) { skipping = 1; next }
    }
    skipping && /^      / { next }
    { skipping = 0 }
    /^    relabel_configs:$/ { print; printf "%s", rules; rules = ""; next }
    { print }
    END { close_job() }
  '
}

sed -E \
  -e "s/^(    cluster: ).*/\1$cluster/" \
  -e "s/^(    environment: &environment ).*/\1$environment/" \
  -e "s/^(    replica: ).*/\1$replica/" \
  "$prometheus/prometheus.yml" | discover

# One key for all of them.
[ ${#storages[@]} -eq 0 ] || printf '\nremote_write:\n'
for storage in "${storages[@]}"; do
  sed '/^remote_write:$/d' "$prometheus/remote_write/$storage.yml"
done
