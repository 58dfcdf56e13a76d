%% Spans, as erlmcp's code starts them.
-module(callers_otel).

-export([run/0]).

run() ->
    Outer = erlmcp_otel_instrumentation:span(<<"outer">>, internal),
    Client = erlmcp_otel_instrumentation:span(<<"client">>, client, #{<<"peer">> => <<"a">>}),
    Linked = erlmcp_otel_instrumentation:span(<<"linked">>, producer, #{n => 1}, [Outer]),
    Registry = erlmcp_otel_instrumentation:trace_registry(<<"lookup">>, <<"resource_1">>),
    [true = erlmcp_otel_instrumentation:end_span(Span)
     || Span <- [Registry, Linked, Client, Outer]],
    3 = erlmcp_otel_instrumentation:measure(<<"measured">>, fun() -> 1 + 2 end),
    4 = erlmcp_otel_instrumentation:measure(<<"attributes last">>, fun() -> 4 end,
                                            #{<<"n">> => 4}),
    5 = erlmcp_otel_instrumentation:measure(<<"attributes first">>, #{<<"n">> => 5},
                                            fun() -> 5 end),
    Request = #{request_id => <<"r1">>, method => <<"tools/call">>, endpoint => <<"/mcp">>,
                user_id => <<"u1">>, client_ip => <<"10.0.0.1">>},
    {ok, done} = erlmcp_otel_instrumentation:trace_request(Request, fun() -> {ok, done} end),
    [done = erlmcp_otel_instrumentation:trace_request(Any, fun() -> done end)
     || Any <- [#{}, request, {req, self()}, [1, 2], <<255>>, #{method => 5, client_ip => x}]],
    done = erlmcp_otel_instrumentation:trace_session(<<"session_1">>, fun() -> done end),
    ok.
