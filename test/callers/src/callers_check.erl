%% Runs the callers and compares what they are answered, and what is exposed,
%% value by value. One line a comparison.
-module(callers_check).

-export([main/1]).

main(Order) ->
    put(failed, 0),
    start(Order),
    check(registered, [true, true],
          [is_pid(whereis(Name)) || Name <- [erlmcp_metrics, erlmcp_otel_instrumentation]]),
    guide(),
    ok = callers_cli:run(),
    ok = callers_draft:declare(),
    ok = callers_draft:run(),
    draft(callers_draft:read()),
    operations(),
    restarts(),
    spans(),
    exposition(scrape(Order)),
    halt(min(1, get(failed))).

%% As the guide has it, the other way round, with the application before, after
%% and not at all.
start(otel_first) ->
    {ok, _} = erlmcp_otel_instrumentation:start_link(),
    {ok, _} = erlmcp_metrics:start_link(),
    {ok, _} = application:ensure_all_started(erlmcp_instrumentation);
start(metrics_first) ->
    {ok, _} = erlmcp_metrics:start_link(),
    {ok, _} = erlmcp_otel_instrumentation:start_link(),
    {ok, _} = application:ensure_all_started(erlmcp_instrumentation);
start(application_first) ->
    {ok, _} = application:ensure_all_started(erlmcp_instrumentation),
    {ok, _} = erlmcp_otel_instrumentation:start_link(),
    {ok, _} = erlmcp_metrics:start_link();
start(no_application) ->
    {ok, _} = erlmcp_metrics:start_link(),
    {ok, _} = erlmcp_otel_instrumentation:start_link().

guide() ->
    check(guide, ok, erlmcp_metrics:record_counter("requests_total", 1, #{})),
    check(guide_again, ok, erlmcp_metrics:record_counter("requests_total", 1, #{})).

draft({Collected, Summary}) ->
    Of = fun(Name) -> lists:sort([{Labels, Value} || #{name := N, labels := Labels, value := Value}
                                                         <- Collected, N =:= Name]) end,
    check(collected_counter, [{#{<<"status">> => <<"error">>}, 3},
                              {#{<<"status">> => <<"success">>}, 1}],
          Of(<<"draft_requests_total">>)),
    check(collected_type, [counter], [Type || #{name := <<"my_custom_metric_total">>, type := Type}
                                                  <- Collected]),
    check(collected_gauge, [{#{<<"queue">> => <<"tools">>}, 4}], Of(<<"draft_depth">>)),
    #{counters := Counters, gauges := Gauges, histograms := Histograms} = Summary,
    check(summary_counter, #{#{} => 5}, maps:get(<<"my_custom_metric_total">>, Counters)),
    check(summary_gauge, #{#{} => 89}, maps:get(<<"my_custom_gauge">>, Gauges)),
    check(summary_histogram, #{#{} => #{count => 2, sum => 43.0}},
          maps:get(<<"my_custom_histogram">>, Histograms)).

%% Everything that the facts say of the list and of the summary.
operations() ->
    ok = erlmcp_metrics:reset_metrics(),
    {Empty, Nothing} = callers_module:read(),
    check(nothing_recorded, [], Empty),
    check(summary_of_nothing, {0, #{}, #{}, #{}, #{}, #{}, true},
          {maps:get(<<"total_metrics_recorded">>, Nothing), maps:get(<<"counters">>, Nothing),
           maps:get(<<"histograms">>, Nothing), maps:get(<<"gauges">>, Nothing),
           maps:get(<<"rates">>, Nothing), maps:get(<<"percentiles">>, Nothing),
           maps:get(<<"uptime_ms">>, Nothing) > 0}),
    Before = erlang:system_time(millisecond),
    check(result, success, callers_module:run()),
    check(raised, {throw, test_error, [{callers_module, here, 2, [{file, "x"}, {line, 1}]}]},
          try callers_module:raises() catch Class:Reason:Stack -> {Class, Reason, Stack} end),
    After = erlang:system_time(millisecond),
    {Listed, Summary} = callers_module:read(),
    [#{value := ErrorMs}, #{value := TestMs} | _] = Listed,
    check(milliseconds, true, is_integer(TestMs) andalso TestMs >= 10 andalso is_integer(ErrorMs)),
    Transport = <<"transport_operation_duration_ms">>,
    Server = <<"server_operation_duration_ms">>,
    Registry = <<"registry_operation_duration_ms">>,
    Of = fun(N) -> {Transport, N, #{<<"transport_id">> => <<"tcp_conn_1">>,
                                    <<"transport_type">> => tcp, <<"operation">> => send}} end,
    check(listed,
          [{<<"error_op">>, ErrorMs, #{}},
           {<<"test_operation">>, TestMs, #{<<"test">> => true}},
           {Registry, 15, #{<<"component">> => <<"registry">>, <<"operation">> => lookup}},
           {Registry, 5, #{<<"component">> => <<"registry">>, <<"operation">> => register}},
           {Server, 12.5, #{<<"server_id">> => srv2, <<"operation">> => <<"call">>,
                            request => {id, 7}}},
           {Server, 50, #{<<"server_id">> => <<"server_1">>, <<"operation">> => initialize,
                          <<"result">> => ok}}
           | [Of(N) || N <- [50, 40, 30, 20, 10]]],
          [{Name, Value, Labels} || #{name := Name, value := Value, labels := Labels} <- Listed]),
    check(timestamps, [], [T || #{timestamp := T} <- Listed, T < Before orelse T > After]),
    check(keys, [labels, name, timestamp, value], lists:sort(maps:keys(hd(Listed)))),
    check(by_name, [12.5, 50], [V || #{value := V} <- erlmcp_metrics:get_metrics(Server)]),
    check(unknown_name, [], erlmcp_metrics:get_metrics(<<"nonexistent">>)),
    Keys = [<<"counters">>, <<"gauges">>, <<"histograms">>, <<"percentiles">>, <<"rates">>,
            <<"system_info">>, <<"total_metrics_recorded">>, <<"uptime_ms">>],
    check(summary_keys, Keys, lists:sort(maps:keys(Summary))),
    check(total, 11, maps:get(<<"total_metrics_recorded">>, Summary)),
    check(counters, #{Transport => 5, Server => 2, Registry => 2, <<"test_operation">> => 1,
                      <<"error_op">> => 1}, maps:get(<<"counters">>, Summary)),
    Histograms = maps:get(<<"histograms">>, Summary),
    check(integers_stay, #{<<"count">> => 5, <<"min">> => 10, <<"max">> => 50, <<"avg">> => 30.0},
          maps:get(Transport, Histograms)),
    check(floats_stay, #{<<"count">> => 2, <<"min">> => 12.5, <<"max">> => 50, <<"avg">> => 31.25},
          maps:get(Server, Histograms)),
    check(gauges, {50, 12.5, 15}, {maps:get(Transport, maps:get(<<"gauges">>, Summary)),
                                   maps:get(Server, maps:get(<<"gauges">>, Summary)),
                                   maps:get(Registry, maps:get(<<"gauges">>, Summary))}),
    check(percentiles, #{<<"p50">> => 30, <<"p90">> => 50, <<"p95">> => 50, <<"p99">> => 50},
          maps:get(<<"transport_operation_duration_ms_percentiles">>,
                   maps:get(<<"percentiles">>, Summary))),
    Uptime = maps:get(<<"uptime_ms">>, Summary),
    check(rate, 5 * 1000 / Uptime, maps:get(<<"transport_operation_duration_ms_per_second">>,
                                            maps:get(<<"rates">>, Summary))),
    check(system_info, true, is_integer(maps:get(<<"process_count">>,
                                                 maps:get(<<"system_info">>, Summary)))),
    [ok = erlmcp_metrics:record_registry_operation(fill, N, #{}) || N <- lists:seq(1, 1500)],
    check(last_thousand, lists:seq(1500, 501, -1), [V || #{value := V} <- erlmcp_metrics:get_metrics()]),
    ok = erlmcp_metrics:reset_metrics(),
    check(reset, [], erlmcp_metrics:get_metrics()).

%% Stopped and started as test suites do, more often than a supervisor allows.
restarts() ->
    Counted = erlmcp_metrics:value(<<"my_custom_metric">>, #{}),
    [begin
         {ok, Pid} = erlmcp_metrics:start_link(),
         ok = erlmcp_metrics:record_transport_operation(again, tcp, recv, 1),
         1 = length(erlmcp_metrics:get_metrics()),
         true = maps:get(<<"uptime_ms">>, erlmcp_metrics:get_performance_summary()) > 0,
         ok = gen_server:stop(Pid)
     end || _ <- lists:seq(1, 100)],
    ok = erlmcp_metrics:record("recorded.while.stopped", 1),
    {ok, _} = erlmcp_metrics:start_link(),
    check(empty_after_restart, {[], 0},
          {erlmcp_metrics:get_metrics(),
           maps:get(<<"total_metrics_recorded">>, erlmcp_metrics:get_performance_summary())}),
    check(series_live_on, Counted, erlmcp_metrics:value(<<"my_custom_metric">>, #{})),
    check(registered_again, true, is_pid(whereis(erlmcp_metrics))).

spans() ->
    {Result, Spans} = erlmcp_otel_test:capture(fun callers_otel:run/0),
    check(spans, ok, Result),
    Kind = fun(Name) -> [maps:get(kind, Span) || #{name := N} = Span <- Spans, N =:= Name] end,
    check(kinds, [[internal], [client], [producer]],
          [Kind(Name) || Name <- [<<"outer">>, <<"client">>, <<"linked">>]]),
    [#{span_id := OuterId}] = [Span || #{name := <<"outer">>} = Span <- Spans],
    check(links, [[OuterId]], [[Id || #{span_id := Id} <- Links]
                               || #{name := <<"linked">>, links := Links} <- Spans]),
    check(attributes, [#{<<"n">> => 4}, #{<<"n">> => 5}],
          [A || Name <- [<<"attributes last">>, <<"attributes first">>],
                #{name := N, attributes := A} <- Spans, N =:= Name]),
    check(request, [#{<<"mcp.method.name">> => <<"tools/call">>,
                      <<"jsonrpc.request.id">> => <<"r1">>, <<"url.path">> => <<"/mcp">>,
                      <<"user.id">> => <<"u1">>, <<"client.address">> => <<"10.0.0.1">>}],
          [A || #{name := <<"tools/call">>, attributes := A} <- Spans]).

%% Names, labels and units of everything above, as Prometheus reads them.
exposition(Text) ->
    Lines = string:split(Text, "\n", all),
    Samples = maps:from_list([sample(Line) || <<C, _/binary>> = Line <- Lines, C =/= $#]),
    check(help, true, lists:member(<<"# HELP draft_requests_total Total number of requests">>, Lines)),
    check(unit_types, [<<"histogram">>, <<"counter">>, <<"gauge">>],
          [type(Name, Text) || Name <- ["cli_command_latency_seconds", "cli_tool_call_success_total",
                                        "my_custom_gauge"]]),
    [check({exposed, Series}, {Value, true},
           {Value, is_same(Value, maps:get(Series, Samples, missing))}) || {Series, Value} <- [
        {<<"requests_total">>, 2},
        {<<"cli_transport_tcp_initialized_total">>, 1},
        {<<"cli_tool_call_success_total">>, 3},
        {<<"cli_json_rpc_errors_parse_total">>, 1},
        {<<"cli_command_latency_seconds_count">>, 2},
        {<<"cli_command_latency_seconds_sum">>, 1},
        {<<"cli_startup_duration_seconds_count">>, 1},
        {<<"failover_triggered_total">>, 1},
        {<<"latency_p50_seconds_sum">>, 0.0015},
        {<<"flow_messages_sent_total">>, 2.5},
        {<<"recorded_while_stopped_total">>, 1},
        {<<"draft_requests_total{status=\"error\"}">>, 3},
        {<<"draft_request_duration_seconds_bucket{le=\"0.1\"}">>, 0},
        {<<"draft_request_duration_seconds_bucket{le=\"1.0\"}">>, 2},
        {<<"draft_registry_operations_total{operation=\"lookup\"}">>, 1},
        {<<"draft_events_total{kind=\"seen\"}">>, 1},
        {<<"draft_size_bytes_bucket{le=\"100.0\"}">>, 1},
        {<<"draft_depth{queue=\"tools\"}">>, 4},
        {<<"my_custom_metric_total">>, 5},
        {<<"my_custom_gauge">>, 89},
        {<<"my_custom_histogram_sum">>, 43},
        {<<"draft_recorded_total{a=\"b\"}">>, 4},
        {<<"draft_recorded_gauge">>, 1.5},
        {<<"draft_recorded_seconds_sum">>, 0.5},
        {<<"erlmcp_transport_operation_duration_seconds_count{operation=\"send\",transport=\"tcp\"}">>, 5},
        {<<"erlmcp_transport_operation_duration_seconds_sum{operation=\"send\",transport=\"tcp\"}">>, 0.15},
        {<<"erlmcp_transport_operation_duration_seconds_count{operation=\"recv\",transport=\"tcp\"}">>, 100},
        {<<"erlmcp_server_operation_duration_seconds_sum{operation=\"initialize\"}">>, 0.05},
        {<<"erlmcp_server_operation_duration_seconds_sum{operation=\"call\"}">>, 0.0125},
        {<<"erlmcp_registry_operation_duration_seconds_sum{operation=\"lookup\"}">>, 0.015},
        {<<"erlmcp_registry_operation_duration_seconds_count{operation=\"fill\"}">>, 1500},
        {<<"test_operation_duration_seconds_count{test=\"true\"}">>, 1},
        {<<"error_op_duration_seconds_count">>, 1},
        {<<"erlmcp_requests_total{component=\"server\",method=\"tools/call\",status=\"success\"}">>, 1},
        {<<"erlmcp_requests_in_flight">>, 0}]],
    %% There is no end of ids.
    check(no_ids, nomatch, re:run(Text, "tcp_conn_1|server_1|srv2|transport_id|server_id")),
    check(no_milliseconds, nomatch, re:run(Text, "^[a-z_]*_ms(_[a-z]+)?[{ ]", [multiline])).

%% Name and labels as they stand there.
sample(Line) ->
    [Series, Value] = string:split(Line, " ", trailing),
    {Series, try binary_to_integer(Value)
             catch error:badarg ->
                 try binary_to_float(Value) catch error:badarg -> Value end
             end}.

%% A sum of floats has the errors of its additions.
is_same(Expected, Got) when is_number(Got) -> abs(Expected - Got) =< 1.0e-12 * abs(Expected);
is_same(_Expected, _Got) -> false.

type(Name, Text) ->
    {match, [Type]} = re:run(Text, ["^# TYPE ", Name, " (.*)$"],
                             [multiline, {capture, all_but_first, binary}]),
    Type.

scrape(no_application) ->
    erlmcp_metrics:scrape(text);
scrape(_Order) ->
    {ok, _} = application:ensure_all_started(inets),
    [{_Ip, Port} | _] = erlmcp_instrumentation:http_addresses(),
    Url = "http://127.0.0.1:" ++ integer_to_list(Port) ++ "/metrics",
    {ok, {{_, 200, _}, _, Body}} = httpc:request(get, {Url, []}, [{timeout, 30000}],
                                                 [{body_format, binary}]),
    Body.

check(_What, Same, Same) ->
    io:format("ok~n");
check(What, Expected, Got) ->
    put(failed, get(failed) + 1),
    io:format("FAILED ~0tp: expected ~0tp, got ~0tp~n", [What, Expected, Got]).
