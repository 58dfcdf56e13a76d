#!/usr/bin/env bash
# The example project, built the way a user builds it: `rebar3 compile` in a
# folder of its own, with the library fetched by git from a fresh clone. What it
# counts and traces is looked at.
set -euo pipefail

case ${1:-} in
  '') ;;
  -h | --help)
    echo "usage: test/example/run.sh"
    exit 0
    ;;
  *)
    echo "usage: test/example/run.sh" >&2
    exit 2
    ;;
esac

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0 failed=0

check() { # WHAT COMMAND...
  local what=$1
  shift
  if "$@" >"$work/output" 2>&1; then
    passed=$((passed + 1))
    printf 'ok       %s\n' "$what"
  else
    failed=$((failed + 1))
    printf 'FAILED   %s\n' "$what"
    sed 's/^/         /' "$work/output"
  fi
}

# What is committed, as a user would get it.
git clone --quiet --no-local "$root" "$work/library"
git -C "$work/library" checkout --quiet -B main
git -C "$root" archive HEAD examples/erlmcp_app | tar -x -C "$work"
app=$work/examples/erlmcp_app
cd "$app"

export ERLMCP_INSTRUMENTATION_GIT=file://$work/library
export ERLMCP_HTTP_PORT=0 ERLMCP_CUSTOM_PORT=0
# Crates that did not change are not compiled again for every run of the test.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/target}

counts_requests() {
  erl -noshell -pa _build/default/lib/*/ebin -config config/sys -eval '
    {ok, _} = application:ensure_all_started(erlmcp_app),
    {ok, _} = application:ensure_all_started(inets),
    {ok, _} = erlmcp_request_handler:handle(#{request_id => 1, method => <<"ping">>}),
    {error, method_not_found} =
        erlmcp_request_handler:handle(#{request_id => 2, method => <<"no/such">>}),
    true = is_pid(whereis(erlmcp_metrics)),
    [{Ip, Port} | _] = erlmcp_instrumentation:http_addresses(),
    Url = lists:flatten(io_lib:format("http://~s:~b/metrics/custom", [inet:ntoa(Ip), Port])),
    {ok, {{_, 200, _}, _, Body}} = httpc:request(Url),
    io:put_chars(Body),
    true = lists:member("requests_total 2", string:split(Body, "\n", all)),
    halt(0).'
}

# A line of JSON for each request, with the ids of its span.
logs_requests() {
  erl -noshell -pa _build/default/lib/*/ebin -config config/sys -eval '
    {ok, _} = application:ensure_all_started(erlmcp_app),
    {ok, _} = erlmcp_request_handler:handle(#{request_id => 17, method => <<"ping">>}),
    init:stop().' >"$work/lines" || return 1
  cat "$work/lines"
  grep -E '^\{"time":"[0-9T:.-]+Z","level":"info","message":"Request processed","trace_id":"[0-9a-f]{32}",' "$work/lines" |
    grep -E '"request_id":17' | grep -qE '"duration_ms":[0-9]'
}

# Names, parents and errors are as the handler has them.
shows_its_traces() {
  erl -noshell -pa _build/default/lib/*/ebin -config config/sys -eval '
    {ok, _} = application:ensure_all_started(erlmcp_app),
    {ok, _} = application:ensure_all_started(inets),
    {ok, _} = erlmcp_request_handler:handle(#{request_id => 1, method => <<"ping">>}),
    {error, method_not_found} =
        erlmcp_request_handler:handle(#{request_id => 2, method => <<"no/such">>}),
    true = is_pid(whereis(erlmcp_otel_instrumentation)),
    [{Ip, Port} | _] = erlmcp_instrumentation:http_addresses(),
    Url = lists:flatten(io_lib:format("http://~s:~b/debug/traces.json", [inet:ntoa(Ip), Port])),
    {ok, {{_, 200, _}, _, Body}} = httpc:request(get, {Url, []}, [], [{body_format, binary}]),
    io:put_chars(Body),
    [{_, _} = binary:match(Body, Part)
     || Part <- [<<"\"ping\"">>, <<"\"no/such\"">>, <<"method_not_found">>, <<"mcp.method.name">>]],
    halt(0).'
}

# The same, at a receiver that takes nothing that the protocol does not allow.
sends_its_traces() {
  local endpoint=$1
  OTEL_EXPORTER_OTLP_ENDPOINT=$endpoint OTEL_SERVICE_NAME=example \
    erl -noshell -pa _build/default/lib/*/ebin -config config/sys -eval '
    {ok, _} = application:ensure_all_started(erlmcp_app),
    {ok, _} = erlmcp_request_handler:handle(#{request_id => 1, method => <<"ping">>}),
    {error, method_not_found} =
        erlmcp_request_handler:handle(#{request_id => 2, method => <<"no/such">>}),
    ok = erlmcp_otel_instrumentation:force_flush(),
    halt(0).'
}

arrives() {
  local receiver=$root/test/oracle/otlp_receiver.py python=${ERLMCP_TOOLS:-$root/.tools}/venv/bin/python
  [ -x "$python" ] || {
    echo "no $python: run scripts/setup.sh test"
    return 1
  }
  local ports http control records received
  # The receiver ends when its input does.
  coproc RECEIVER { exec timeout 120 "$python" -B "$receiver" 2>"$work/receiver.log"; }
  read -r -t 30 -u "${RECEIVER[0]}" ports || {
    cat "$work/receiver.log"
    return 1
  }
  http=$(sed -nE 's/.*"http": ([0-9]+).*/\1/p' <<<"$ports")
  control=$(sed -nE 's/.*"control": ([0-9]+).*/\1/p' <<<"$ports")
  sends_its_traces "http://127.0.0.1:$http" || return 1
  records=$(curl -sS --max-time 20 "http://127.0.0.1:$control/records?signal=traces&format=json")
  received=$(curl -sS --max-time 20 "http://127.0.0.1:$control/received?format=json")
  eval "exec ${RECEIVER[1]}>&-"
  wait "$RECEIVER_PID" || true
  echo "$records" "$received"
  grep -q '"ping"' <<<"$records" && grep -q 'method_not_found' <<<"$records" &&
    grep -q '"violation_count": 0,' <<<"$received"
}

builds_again_without_work() {
  local library=_build/default/lib/erlmcp_instrumentation/priv/erlmcp_nif.so before
  before=$(stat -L -c %Y "$library")
  rebar3 compile && [ "$(stat -L -c %Y "$library")" = "$before" ]
}

check 'rebar3 compile fetches and builds the library' rebar3 compile
check 'the application starts, counts two requests and shows them' counts_requests
check 'it logs each request as a line of JSON' logs_requests
check 'it shows their spans at /debug/traces' shows_its_traces
check 'it sends their spans to an OTLP receiver' arrives
check 'building again changes nothing' builds_again_without_work

printf 'example: %d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
