#!/usr/bin/env bash
# The compose file: what compose makes of it, how each service is confined, and the
# real programs with exactly the flags, files, user and rights that it gives them.
set -euo pipefail

usage() {
  cat <<'USAGE'
usage: monitoring/tests/compose/run.sh [MODULE ...]

modules:
  files       every profile and image set, by two versions of compose; the guide's
              names, ports and volumes; bind sources; images
  hardening   one test for each property, over all services
  programs    each program that can be had here, as its container would run it
              (root rights), with its health check
  image       the Dockerfiles: hadolint, and their steps in a Debian (root rights)

Without a module: all. Ends with `compose: N passed, N failed, N skipped`.

environment:
  ERLMCP_BUILD   the built library (default: this checkout's)
  ERLMCP_TOOLS   where fetched programs are (default: .tools in the checkout)
USAGE
}

for word in "$@"; do
  case $word in
    files | hardening | programs | image) ;;
    -h | --help)
      usage
      exit 0
      ;;
    *)
      printf 'compose: unknown word: %s\n' "$word" >&2
      usage >&2
      exit 2
      ;;
  esac
done

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../../.." && pwd)
python=${ERLMCP_TOOLS:-$root/.tools}/stack-venv/bin/python

if ! "$python" -c 'import yaml' 2>/dev/null; then
  printf 'skipped  no Python packages in %s (scripts/setup.sh stack)\n' "${python%/bin/python}"
  echo 'compose: 0 passed, 0 failed, 1 skipped'
  exit
fi
exec timeout --kill-after=30 900 "$python" -B "$here/main.py" "$@"
