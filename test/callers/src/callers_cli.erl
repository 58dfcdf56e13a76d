%% The command line: names with dots, a count or milliseconds, and no kind.
-module(callers_cli).

-export([run/0]).

run() ->
    ok = erlmcp_metrics:record("cli.transport.tcp.initialized", 1),
    ok = erlmcp_metrics:record("cli.tool.call.success", 1),
    ok = erlmcp_metrics:record("cli.tool.call.success", 2),
    ok = erlmcp_metrics:record("cli.json_rpc.errors.parse", 1),
    Start = erlang:monotonic_time(millisecond),
    ok = erlmcp_metrics:record("cli.command.latency", 250),
    ok = erlmcp_metrics:record("cli.command.latency", 750),
    ok = erlmcp_metrics:record("cli.startup.duration", erlang:monotonic_time(millisecond) - Start),
    ok = erlmcp_metrics:record(failover_triggered, 1),
    ok = erlmcp_metrics:record(latency_p50_us, 1500),
    ok = erlmcp_metrics:record(<<"flow.messages.sent">>, 2.5),
    ok.
