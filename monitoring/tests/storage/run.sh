#!/usr/bin/env bash
# Long-term storage, sizing, maintenance and the pages about them, by real programs.
set -euo pipefail

usage() {
  cat <<'USAGE'
usage: monitoring/tests/storage/run.sh [TEST ...]
       monitoring/tests/storage/run.sh scale SECONDS NODES ...
       monitoring/tests/storage/run.sh bytes SECONDS RATE

tests:  docs elasticsearch load maintenance options thanos victoria_metrics
        (default: all)
scale:  what so many simulated nodes cost a Prometheus on the shipped files, after
        so many seconds; a row for each number (monitoring/docs/sizing.md)

Ends with `storage: N passed, N failed, N skipped`.

environment:
  ERLMCP_BUILD   the built library (default: this checkout's)
USAGE
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../../.." && pwd)
python=${ERLMCP_TOOLS:-$root/.tools}/stack-venv/bin/python

for word in "$@"; do
  case $word in
    -h | --help)
      usage
      exit 0
      ;;
  esac
done

if ! "$python" -c 'import yaml' 2>/dev/null; then
  printf 'skipped  no Python packages in %s (scripts/setup.sh stack)\n' "${python%/bin/python}"
  echo 'storage: 0 passed, 0 failed, 1 skipped'
  exit
fi

if [ "${1-}" = scale ] || [ "${1-}" = bytes ]; then
  measure=$1
  shift
  if [ $# -lt 2 ] || [[ $* =~ [^0-9\ ] ]]; then
    printf 'storage: %s wants two numbers\n' "$measure" >&2
    usage >&2
    exit 2
  fi
  exec "$python" -B "$here/../lib/namespace.py" "$python" -B "$here/$measure.py" "$@"
fi

for word in "$@"; do
  if [ ! -f "$here/${word}_test.py" ]; then
    printf 'storage: unknown word: %s\n' "$word" >&2
    usage >&2
    exit 2
  fi
done
exec timeout --kill-after=30 900 "$python" -B "$here/main.py" "$@"
