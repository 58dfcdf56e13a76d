#!/usr/bin/env bash
# Puts monitoring/ onto a machine with Docker and starts the stack there. deploy.yml
# calls it; it works from any machine that may log in.
set -euo pipefail

usage() {
  cat <<'USAGE'
usage: .github/deploy.sh USER@HOST KEYFILE

Copies the repository's files of monitoring/ to ~/erlmcp/monitoring there, removes those
that an earlier call has copied and that are no longer in the repository, and runs
deploy-monitoring.sh start and verify. What the machine has of its own stays: secrets,
custom rules, targets and dashboards, data. Its key has to be in known_hosts.
USAGE
}

case ${1:-} in
  -h | --help)
    usage
    exit 0
    ;;
esac
if [ $# -ne 2 ] || [[ ! $1 =~ ^[A-Za-z0-9._-]+@[A-Za-z0-9._:-]+$ ]]; then
  usage >&2
  exit 2
fi
target=$1 key=$2
[ -r "$key" ] || {
  printf 'deploy: cannot read the key %s\n' "$key" >&2
  exit 1
}

cd "$(dirname "${BASH_SOURCE[0]}")/.."
login=(ssh -i "$key" -o BatchMode=yes -o IdentitiesOnly=yes -o StrictHostKeyChecking=yes -o ConnectTimeout=20)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
LC_ALL=C git ls-files monitoring | LC_ALL=C sort >"$work/.files"

# Sent as one stream: a connection that breaks leaves the stack as it runs, and the
# next call puts all of it right.
# shellcheck disable=SC2016 # expanded there
copy='
  set -eu
  mkdir -p erlmcp
  cd erlmcp
  tar -xf -
  if [ -f .deployed ]; then
    LC_ALL=C comm -23 .deployed .files | while IFS= read -r gone; do rm -f -- "$gone"; done
  fi
  mv .files .deployed
'
tar -cf - -C "$work" .files -C "$PWD" --no-recursion --files-from="$work/.files" | "${login[@]}" "$target" "$copy"
"${login[@]}" "$target" 'cd erlmcp/monitoring && ./scripts/deploy-monitoring.sh start && ./scripts/deploy-monitoring.sh verify --no-application'
