#!/usr/bin/env bash
# Compiles the demo and runs it on the library that is built in this checkout.
set -euo pipefail

usage() {
  cat <<'USAGE'
usage: examples/demo/run.sh

Runs the demo workload: a simulated MCP server, recorded through erlmcp_metrics.
The library must be built before: rebar3 compile.

environment:
  DEMO_SECONDS   how long (default 10; 0: until Ctrl-C or SIGTERM)
  DEMO_RATE      requests a second (default: 2000 for each core but one;
                 200 with DEMO_SECONDS=0)
  DEMO_SESSIONS  sessions that are open at a time (default: DEMO_RATE / 20)
  DEMO_FAULTS    how much of what can go wrong does, in percent (default 100:
                 2 to 4 % of the requests fail; 1: fewer than 0.1 %)
  DEMO_LOG       true: each request logs a line, to ERLMCP_LOG_FILE and by OTLP
  ERLMCP_*       the library's own settings, for example ERLMCP_HTTP_PORT

exit status: 0 the scrape said what the clients counted, 1 it did not, 2 wrong setting
USAGE
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
build=${ERLMCP_BUILD:-$root/_build/default/lib/erlmcp_instrumentation}

case "${1-}" in
  '') ;;
  -h | --help)
    usage
    exit 0
    ;;
  *)
    usage >&2
    exit 2
    ;;
esac

if [ ! -f "$build/ebin/erlmcp_metrics.beam" ]; then
  printf 'demo: the library is not built (no %s); run: rebar3 compile\n' "$build/ebin" >&2
  exit 1
fi

mkdir -p "$here/ebin"
erlc -o "$here/ebin" "$here"/src/*.erl

# Ctrl-C would open the emulator's break menu. +Bi has the emulator ignore it;
# this shell takes it and asks the node to end, as a service manager would.
erl -noinput +Bi -pa "$build/ebin" "$here/ebin" -s erlmcp_demo main &
node=$!
signalled=
trap 'signalled=1; kill -TERM "$node" 2>/dev/null || true' INT TERM

# A trapped signal ends `wait' before the node has ended: wait again then.
while :; do
  signalled=
  status=0
  wait "$node" || status=$?
  [ -n "$signalled" ] || break
done
exit "$status"
