#!/usr/bin/env bash
# /debug/traces in a browser: headless Chromium, cut off from every network but
# loopback, shows an error trace and its waterfall and has nothing to complain of.
set -euo pipefail

usage() {
  cat <<'USAGE'
usage: test/page/run.sh

Ends with `page: N passed, N failed, N skipped`. The screenshots are in
_build/page/.

environment:
  CHROMIUM   the browser (default: chromium)
USAGE
}

case ${1:-} in
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

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root"
shots=$root/_build/page
passed=0 failed=0
chromium=${CHROMIUM:-chromium}

if ! command -v "$chromium" >/dev/null 2>&1; then
  printf 'skipped  no %s on this machine (scripts/setup.sh test installs it)\n' "$chromium"
  echo 'page: 0 passed, 0 failed, 1 skipped'
  exit
fi

work=$(mktemp -d)
node=
cleanup() {
  # The node ends when its input does.
  exec 8>&- || true
  [ -z "$node" ] || wait "$node" || true
  rm -rf "$work"
}
trap cleanup EXIT

ok() {
  passed=$((passed + 1))
  printf 'ok       %s\n' "$1"
}

bad() { # WHAT FILE
  failed=$((failed + 1))
  printf 'FAILED   %s\n' "$1"
  tail -c 4000 "$2" | sed 's/^/         /'
}

has() { # WHAT FILE TEXT
  if grep -qF -- "$3" "$2"; then ok "$1"; else bad "$1: no $3" "$2"; fi
}

# The console's lines, policy violations and uncaught errors among them.
silent() { # WHAT LOG
  if grep -q ':CONSOLE' "$2"; then bad "$1" <(grep ':CONSOLE' "$2"); else ok "$1"; fi
}

# No name resolves: only 127.0.0.1, which is none, is reached. The sandbox needs
# rights that root in a container may lack.
browse() { # LOG ARGUMENT...
  local log=$1 sandbox=()
  shift
  [ "$(id -u)" -ne 0 ] || sandbox=(--no-sandbox)
  timeout 60 "$chromium" --headless "${sandbox[@]}" --disable-gpu --no-first-run \
    --disable-background-networking --disable-component-update --disable-dev-shm-usage \
    --user-data-dir="$work/profile" --window-size=1280,900 \
    --host-resolver-rules='MAP * ~NOTFOUND , EXCLUDE 127.0.0.1' \
    --enable-logging=stderr --log-level=0 "$@" 2>"$log"
}

ERLMCP_NIF_PROFILE=${ERLMCP_NIF_PROFILE:-fast} rebar3 compile >"$work/compile" 2>&1 || {
  bad 'the library compiles' "$work/compile"
  printf 'page: %d passed, %d failed, 0 skipped\n' "$passed" "$failed"
  exit 1
}

# A node with an error trace, and one whose names are not to be trusted.
mkfifo "$work/input"
ERLMCP_HTTP_PORT=0 ERLMCP_CUSTOM_PORT=off OTEL_SERVICE_NAME=page-test timeout 300 \
  erl -noshell -pa _build/default/lib/erlmcp_instrumentation/ebin -eval '
    {ok, _} = application:ensure_all_started(erlmcp_instrumentation),
    Span = fun erlmcp_otel_instrumentation:with_span/3,
    catch erlmcp_otel_instrumentation:trace_request(
        #{method => <<"tools/call">>, tool => <<"search">>}, fun() ->
            Span(<<"SELECT documents">>, #{kind => client}, fun() -> timer:sleep(20) end),
            Span(<<"GET">>, #{kind => client}, fun() -> timer:sleep(10), error(connection_reset) end)
        end),
    Span(<<"<script>alert(1)</script><img src=x onerror=alert(2)>">>, #{}, fun() -> ok end),
    [{_, Port} | _] = erlmcp_instrumentation:http_addresses(),
    io:format("port ~b~n", [Port]),
    eof = io:get_line([]),
    halt(0).' <"$work/input" >"$work/node" 2>&1 &
node=$!
exec 8>"$work/input"

for _ in $(seq 100); do
  grep -q '^port ' "$work/node" && break
  sleep 0.1
done
port=$(sed -n 's/^port //p' "$work/node")
if [ -z "$port" ]; then
  bad 'the node starts' "$work/node"
  printf 'page: %d passed, %d failed, 0 skipped\n' "$passed" "$failed"
  exit 1
fi
url=http://127.0.0.1:$port/debug/traces

# What the checks below rest on: this browser tells of violations.
cat >"$work/violation.html" <<'HTML'
<html><head><meta http-equiv="Content-Security-Policy" content="script-src 'none'"></head>
<body><script>alert(1)</script></body></html>
HTML
browse "$work/control.log" --dump-dom "file://$work/violation.html" >"$work/control" || true
if grep -q ':CONSOLE' "$work/control.log"; then
  ok 'a violation of a security policy would be seen'
else
  bad 'a violation of a security policy would be seen' "$work/control.log"
fi

list=$work/list.html
browse "$work/list.log" --dump-dom "$url" >"$list" || true
has 'the list shows the trace of the request' "$list" 'tools/call search'
has 'the list shows that it has errors' "$list" '2&nbsp;errors'
has 'the list shows what went wrong' "$list" '<span class="why">error: connection_reset'
has 'the list shows names as text' "$list" '&lt;script&gt;alert(1)'
silent 'the list has nothing to complain of' "$work/list.log"

trace=$(grep -oE 'trace_id=[0-9a-f]{32}' "$list" | head -n 1)
page=$work/trace.html
browse "$work/trace.log" --dump-dom "$url?$trace" >"$page" || true
has 'the trace shows its request' "$page" '<span class="label">tools/call search</span>'
has 'the trace shows the span without an error' "$page" '<span class="label">SELECT documents</span>'
has 'the span in which the error began is open' "$page" '<details class="span error" open="">'
has 'the waterfall has bars' "$page" '<rect '
has 'the exception is told' "$page" 'connection_reset'
if grep -q '<button[^>]* hidden' "$page"; then
  bad 'the script ran: its buttons are shown' "$page"
else
  ok 'the script ran: its buttons are shown'
fi
silent 'the trace has nothing to complain of' "$work/trace.log"

if grep -qE '(src|href|action)="([a-z]+:)?//' "$list" "$page"; then
  bad 'neither page refers to another host' "$page"
else
  ok 'neither page refers to another host'
fi

mkdir -p "$shots"
rm -f "$shots"/*.png
browse "$work/shot.log" --screenshot="$shots/list.png" "$url" >/dev/null || true
browse "$work/shot.log" --screenshot="$shots/trace.png" "$url?$trace" >/dev/null || true
for shot in list trace; do
  # An empty page of this size has a few thousand bytes.
  if [ "$(stat -c %s "$shots/$shot.png" 2>/dev/null || echo 0)" -gt 10000 ]; then
    ok "a screenshot is in _build/page/$shot.png"
  else
    bad "a screenshot is in _build/page/$shot.png" "$work/shot.log"
  fi
done

printf 'page: %d passed, %d failed, 0 skipped\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
