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

# shellcheck source-path=SCRIPTDIR
. "$(dirname "${BASH_SOURCE[0]}")/../lib/part.sh"
measure=
case ${1-} in
  scale | bytes)
    measure=$1
    shift
    if [ $# -lt 2 ] || [[ $* =~ [^0-9\ ] ]]; then
      printf 'storage: %s wants two numbers\n' "$measure" >&2
      usage >&2
      exit 2
    fi
    ;;
  *) words "docs elasticsearch load maintenance options thanos victoria_metrics" "$@" ;;
esac
need_python yaml
if [ -n "$measure" ]; then exec "${namespace[@]}" "$python" -B "$here/$measure.py" "$@"; fi
run 900 "$python" -B "$here/main.py" "$@"
