%% The helpers for users' tests, used as users would, with and without the
%% application.
-module(erlmcp_otel_test_tests).

-include_lib("eunit/include/eunit.hrl").

-define(OTEL, erlmcp_otel_instrumentation).
-define(HELP, erlmcp_otel_test).

with_and_without_the_application_test_() ->
    [{setup, fun stop/0, fun(_) -> stop() end, {inorder, cases()}},
     {setup, fun start/0, fun(_) -> stop() end, {inorder, cases()}},
     {setup, fun start/0, fun(_) -> stop() end, {inparallel, [{timeout, 60, fun isolated/0} || _ <- [1, 2, 3, 4]]}}].

cases() ->
    [fun a_captured_request/0,
     fun an_exception_goes_to_the_caller/0,
     fun the_context_is_as_before/0,
     fun other_processes/0,
     fun a_request_with_a_parent_of_its_own/0,
     fun the_whole_node/0,
     fun values_as_they_are_given/0,
     fun failures_tell_what_there_was/0,
     fun refuting/0,
     fun waiting/0,
     fun waiting_is_bounded/0,
     fun counting/0,
     fun open_spans_are_not_caught/0,
     {timeout, 120, fun many_at_once/0}].

start() ->
    erlmcp_ct_app:quiet(),
    erlmcp_ct_app:start().

stop() ->
    erlmcp_ct_app:stop(),
    %% The sampler of the node, as it is without settings.
    _ = erlmcp_ct_app:loud(),
    ok.

a_captured_request() ->
    {Result, Spans} = ?HELP:capture(fun() ->
        ?OTEL:trace_request(#{method => <<"tools/call">>, tool => search, request_id => 7}, fun() ->
            ?OTEL:with_span("query", #{kind => client, attributes => #{rows => 3}}, fun() ->
                ?OTEL:add_event(cache_miss, #{key => "k"}),
                timer:sleep(2),
                {error, no_such_table}
            end)
        end)
    end),
    ?assertEqual({error, no_such_table}, Result),
    ?assertMatch([#{name := <<"tools/call search">>}, #{name := <<"query">>}], Spans),
    Request = ?HELP:assert_span("tools/call search", #{
        kind => server, status => error, parent => undefined,
        attributes => #{'gen_ai.tool.name' => search, 'error.type' => '_',
                        <<"jsonrpc.request.id">> => "7"}
    }, Spans),
    #{trace_id := Trace, span_id := Id} = Request,
    ?HELP:assert_span(query, #{
        kind => client, status => unset, parent => 'tools/call search', parent_span_id => Id,
        trace_id => Trace, attributes => [{"rows", 3}],
        events => [cache_miss, {"cache_miss", #{key => k}}], dropped_attributes => 0
    }, Spans),
    ?assertEqual(Request, ?HELP:find(<<"tools/call search">>, Spans)),
    ?assertEqual([Request], ?HELP:find_all("tools/call search", Spans)),
    ?assertEqual(undefined, ?HELP:find(other, Spans)).

an_exception_goes_to_the_caller() ->
    Before = ?OTEL:current_context(),
    ?assertError(oops, ?HELP:capture(fun() -> ?OTEL:with_span(a, fun() -> error(oops) end) end)),
    ?assertEqual(Before, ?OTEL:current_context()),
    Capture = ?HELP:start(),
    ?assertError(oops, ?OTEL:with_span(a, fun() -> error(oops) end)),
    Spans = ?HELP:stop(Capture),
    ?HELP:assert_span(a, #{status => {error, "error: oops"},
                           events => [{exception, #{'exception.type' => oops}}]}, Spans).

the_context_is_as_before() ->
    ?OTEL:with_span(outer, fun() ->
        Before = ?OTEL:current_context(),
        {ok, [_]} = ?HELP:capture(fun() -> ?OTEL:with_span(a, fun() -> ok end) end),
        ?assertEqual(Before, ?OTEL:current_context())
    end),
    ?assertEqual(undefined, ?OTEL:current_span()).

other_processes() ->
    Capture = ?HELP:start(),
    ?OTEL:with_span(request, fun() ->
        {_, Monitor} = ?OTEL:spawn_monitor(fun() -> ?OTEL:with_span(worker, fun() -> ok end) end),
        receive {'DOWN', Monitor, _, _, _} -> ok after 30000 -> error(timeout) end,
        {_, Other} = erlang:spawn_monitor(fun() -> ?OTEL:with_span(stranger, fun() -> ok end) end),
        receive {'DOWN', Other, _, _, _} -> ok after 30000 -> error(timeout) end
    end),
    Spans = ?HELP:stop(Capture),
    ?HELP:assert_span(worker, #{parent => request}, Spans),
    ?HELP:refute_span(stranger, Spans).

a_request_with_a_parent_of_its_own() ->
    Meta = #{traceparent => <<"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01">>},
    {ok, Spans} = ?HELP:capture(fun() ->
        ?OTEL:trace_request(#{method => <<"ping">>, params => #{'_meta' => Meta}}, fun() ->
            ?OTEL:with_span(inner, fun() -> ok end)
        end)
    end),
    ?HELP:assert_span(ping, #{trace_id => <<"4bf92f3577b34da6a3ce929d0e0e4736">>,
                              parent_span_id => <<"00f067aa0ba902b7">>}, Spans),
    ?HELP:assert_span(inner, #{parent => ping}, Spans).

the_whole_node() ->
    Work = fun() ->
        {_, Monitor} = spawn_monitor(fun() -> ?OTEL:with_span(stranger, fun() -> ok end) end),
        receive {'DOWN', Monitor, _, _, _} -> ok after 30000 -> error(timeout) end
    end,
    {ok, Spans} = ?HELP:capture(Work, all),
    ?HELP:assert_span(stranger, #{parent => undefined}, Spans),
    {ok, Same} = ?HELP:capture(Work, #{all => true}),
    ?HELP:assert_span(stranger, Same).

values_as_they_are_given() ->
    Values = [{a, true}, {b, 1}, {c, 1.5}, {d, "text"}, {e, <<"text">>}, {f, atom}, {g, [1, 2]},
              {h, {array, [1]}}, {i, #{k => v}}, {j, {bytes, <<1>>}}, {k, <<255>>}, {l, ["a", b]},
              {m, []}, {n, -0.5}, {o, <<"größe"/utf8>>}, {p, "größe"}],
    {ok, Spans} = ?HELP:capture(fun() ->
        ?OTEL:with_span(a, #{attributes => Values}, fun() -> ok end)
    end),
    ?HELP:assert_span(a, #{attributes => Values}, Spans),
    ?HELP:assert_span(a, #{attributes => maps:from_list(Values)}, Spans).

failures_tell_what_there_was() ->
    {ok, Spans} = ?HELP:capture(fun() ->
        ?OTEL:with_span(a, #{attributes => #{n => 1}}, fun() -> ok end)
    end),
    ?assertError(
        {no_such_span, [{name, <<"b">>}, {expected, _},
                        {spans, [{<<"a">>, unset, #{<<"n">> := 1}}]}]},
        ?HELP:assert_span(b, Spans)),
    Expected = #{kind => server, status => error, parent => x, events => [boom],
                 attributes => #{n => 2, o => 3}},
    {error, {no_such_span, Details}} =
        try ?HELP:assert_span(a, Expected, Spans) catch error:Reason -> {error, Reason} end,
    {differences, [Differences]} = lists:keyfind(differences, 1, Details),
    ?assertEqual(
        [{event, {expected, boom}, {found, []}},
         {kind, {expected, server}, {found, internal}},
         {parent, {expected, <<"x">>}, {found, undefined}},
         {status, {expected, error}, {found, unset}},
         {{attribute, <<"n">>}, {expected, 2}, {found, 1}},
         {{attribute, <<"o">>}, {expected, 3}, not_there}],
        lists:sort(Differences)),
    ?assertError({bad_expectation, colour, red}, ?HELP:assert_span(a, #{colour => red}, Spans)).

refuting() ->
    {ok, Spans} = ?HELP:capture(fun() -> ?OTEL:with_span(a, fun() -> ok end) end),
    ok = ?HELP:refute_span(b, Spans),
    ok = ?HELP:refute_span(a, #{status => error}, Spans),
    ?assertError({unexpected_span, [{name, <<"a">>} | _]}, ?HELP:refute_span(a, Spans)).

waiting() ->
    Capture = ?HELP:start(),
    Pid = ?OTEL:spawn(fun() -> ?OTEL:with_span(late, fun() -> receive go -> timer:sleep(100) end end) end),
    Monitor = monitor(process, Pid),
    ?assertEqual([], ?HELP:spans(Capture)),
    Pid ! go,
    ?HELP:wait_for(late, #{status => unset}, Capture),
    ?HELP:wait_for(late, Capture),
    ?HELP:assert_span(late, ?HELP:stop(Capture)),
    receive {'DOWN', Monitor, _, _, Reason} -> ?assertEqual(normal, Reason) after 30000 -> error(timeout) end.

waiting_is_bounded() ->
    Capture = ?HELP:start(),
    ?assertError({no_such_span, _}, ?HELP:wait_for(never, #{}, Capture, 50)),
    ?assertEqual([], ?HELP:stop(Capture)),
    ?assertEqual([], ?HELP:spans(Capture)).

counting() ->
    Name = erlmcp_ct_app:name("counted_total"),
    Labels = #{method => ping},
    ?assertEqual({ok, 2}, ?HELP:value_change(Name, Labels, fun() ->
        erlmcp_metrics:record_counter(Name, 2, Labels)
    end)),
    ok = ?HELP:assert_counted(Name, Labels, 1, fun() -> erlmcp_metrics:inc(Name, Labels) end),
    ok = ?HELP:assert_counted(Name, #{method => pong}, 0, fun() -> erlmcp_metrics:inc(Name, Labels) end),
    ?assertError({not_counted, [{name, Name}, {labels, Labels}, {expected, 1}, {counted, 0}, {now, 4}]},
                 ?HELP:assert_counted(Name, Labels, 1, fun() -> ok end)),
    Times = erlmcp_ct_app:name("seconds"),
    ok = ?HELP:assert_counted(Times, #{}, 1, fun() -> erlmcp_metrics:observe(Times, 0.5) end),
    %% Requests count by themselves.
    Method = erlmcp_ct_app:name("method"),
    ok = ?HELP:assert_counted(
        erlmcp_requests_total, #{method => Method, status => success, component => server}, 1,
        fun() -> ?OTEL:trace_request(#{method => Method}, fun() -> ok end) end).

open_spans_are_not_caught() ->
    {Span, Spans} = ?HELP:capture(fun() -> ?OTEL:start_span(open) end),
    ?assertEqual([], Spans),
    ?assert(?OTEL:end_span(Span)).

isolated() ->
    Mine = erlmcp_ct_app:name("span"),
    {ok, Spans} = ?HELP:capture(fun() ->
        [?OTEL:with_span(Mine, fun() -> timer:sleep(1) end) || _ <- lists:seq(1, 20)],
        ok
    end),
    ?assertEqual(20, length(Spans)),
    ?assertEqual(20, length(?HELP:find_all(Mine, Spans))).

%% What has ended is there when it is asked for, whatever else ends, is taken and
%% is asked for at that moment.
many_at_once() ->
    Stop = atomics:new(1, []),
    Others = [spawn_monitor(fun() -> trace_until(Stop) end) || _ <- [1, 2]],
    Caught = erlmcp_ct_load:together(8, fun(_) ->
        [?HELP:capture(fun() -> ?OTEL:with_span(mine, fun() -> ok end) end) || _ <- lists:seq(1, 2000)]
    end),
    atomics:put(Stop, 1, 1),
    [receive {'DOWN', Monitor, _, _, Reason} -> ?assertEqual(normal, Reason) end
     || {_, Monitor} <- Others],
    ?assertEqual([1], lists:usort([length(Spans) || {ok, Spans} <- lists:append(Caught)])).

trace_until(Stop) ->
    case atomics:get(Stop, 1) of
        0 ->
            _ = ?OTEL:with_span(other, fun() -> erlang:yield() end),
            timer:sleep(1),
            trace_until(Stop);
        1 ->
            ok
    end.
