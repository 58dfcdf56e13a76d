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

# shellcheck source-path=SCRIPTDIR
. "$(dirname "${BASH_SOURCE[0]}")/../lib/part.sh"
words "files hardening programs image" "$@"
need_python yaml
run 900 "$python" -B "$here/main.py" "$@"
