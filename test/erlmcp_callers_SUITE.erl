%% What erlmcp's callers rely on beside single calls: any number of processes at
%% once, stops and starts, kills; and that the catalogue says what a scrape shows.
-module(erlmcp_callers_SUITE).

-include_lib("stdlib/include/assert.hrl").

-import(proper_types, [elements/1, float/0, integer/0, integer/2, list/1, oneof/1]).

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1,
         init_per_testcase/2, end_per_testcase/2]).
-export([
    nothing_is_lost/1, reads_see_what_was_written/1, large_terms_are_bounded/1,
    lists_and_summary_agree/1, names_become_instruments/1, another_kind_is_no_error/1,
    stops_do_not_end_the_application/1, stops_and_starts_at_once/1,
    an_owner_that_is_killed_leaves_nothing_open/1, it_is_closed_once/1,
    every_function_records_what_it_says/1,
    the_catalogue_is_what_a_scrape_shows/1, the_catalogue_is_well_formed/1,
    the_server_is_read_by_others/1
]).

-define(M, erlmcp_metrics).
-define(MCP, erlmcp_mcp_metrics).
-define(TRANSPORT, <<"transport_operation_duration_ms">>).

suite() ->
    [{timetrap, {minutes, 4}}].

all() ->
    [nothing_is_lost, reads_see_what_was_written, large_terms_are_bounded,
     lists_and_summary_agree, names_become_instruments, another_kind_is_no_error,
     stops_do_not_end_the_application, stops_and_starts_at_once,
     an_owner_that_is_killed_leaves_nothing_open, it_is_closed_once,
     every_function_records_what_it_says,
     the_catalogue_is_what_a_scrape_shows, the_catalogue_is_well_formed,
     the_server_is_read_by_others].

init_per_suite(Config) ->
    erlmcp_ct_app:quiet(),
    Config.

end_per_suite(_Config) ->
    erlmcp_ct_app:loud().

init_per_testcase(_Case, Config) ->
    erlmcp_ct_app:start(),
    ok = ?M:reset_metrics(),
    Config.

end_per_testcase(_Case, _Config) ->
    _ = erlmcp_instrumentation_health:unregister(failing),
    erlmcp_ct_app:forget(),
    erlmcp_ct_app:stop().

%% Operations

%% Many record, others read, one forgets and another stops the process.
nothing_is_lost(_Config) ->
    Writers = 8,
    Each = 3000,
    Name = erlmcp_ct_app:name("caller.latency"),
    Done = fun() -> persistent_term:get({?MODULE, done}, false) end,
    Before = observations(),
    Disturb = fun Disturb(Do) -> Done() orelse begin Do(), Disturb(Do) end end,
    persistent_term:put({?MODULE, done}, false),
    Disturbers = [spawn_monitor(fun() -> Disturb(Do) end) || Do <- [
        fun() -> _ = ?M:get_metrics(), _ = ?M:get_performance_summary() end,
        fun() -> _ = ?M:collect_metrics(), _ = ?M:get_metrics_summary() end,
        fun() -> ok = ?M:reset_metrics() end,
        fun() ->
            {ok, Pid} = ?M:start_link(),
            unlink(Pid),
            try gen_server:stop(Pid) catch exit:_ -> ok end
        end]],
    erlmcp_ct_load:together(Writers, fun(N) ->
        [begin
             ok = ?M:record_transport_operation({id, I}, tcp, lost, 1),
             ok = ?M:record_server_operation(N, lost, 1, #{i => I}),
             ok = ?M:record_registry_operation(lost, 1, #{}),
             ok = ?M:record(Name, 1),
             true = ?M:with_metrics(Name, #{}, fun() -> true end)
         end || I <- lists:seq(1, Each)]
    end),
    persistent_term:put({?MODULE, done}, true),
    [receive {'DOWN', Monitor, process, Pid, Reason} -> ?assertEqual(normal, Reason) end
     || {Pid, Monitor} <- Disturbers],
    ?assertEqual([N + Writers * Each || N <- Before], observations()),
    #{count := Count} = ?M:value(<<Name/binary, "_seconds">>, #{}),
    #{count := Timed} = ?M:value(<<Name/binary, "_seconds">>, #{}),
    ?assertEqual(2 * Writers * Each, Count),
    ?assertEqual(Count, Timed),
    true = persistent_term:erase({?MODULE, done}).

observations() ->
    [case ?M:value(Metric, Labels) of
         #{count := Count} -> Count;
         undefined -> 0
     end || {Metric, Labels} <- [
        {erlmcp_transport_operation_duration_seconds, #{transport => tcp, operation => lost}},
        {erlmcp_server_operation_duration_seconds, #{operation => lost}},
        {erlmcp_registry_operation_duration_seconds, #{operation => lost}}]].

%% Also while others write as much as the list holds.
reads_see_what_was_written(_Config) ->
    erlmcp_ct_load:together(6, fun(N) ->
        [begin
             ok = ?M:record_transport_operation({N, I}, tcp, seen, I),
             [_ | _] = [I || #{labels := #{<<"transport_id">> := {N0, I0}}} <- ?M:get_metrics(),
                             N0 =:= N, I0 =:= I]
         end || I <- lists:seq(1, 150)]
    end),
    ?assertMatch(#{<<"total_metrics_recorded">> := 900}, ?M:get_performance_summary()).

%% What is kept is small, and says that something is missing.
large_terms_are_bounded(_Config) ->
    Binary = binary:copy(<<"x">>, 50000000),
    <<Part:100/binary, _/binary>> = Binary,
    Huge = [Binary, lists:seq(1, 1000000), 1 bsl 4000000, list_to_tuple(lists:seq(1, 100000)),
            maps:from_list([{I, I} || I <- lists:seq(1, 100000)]), fun() -> Binary end,
            {Binary, [Binary]}],
    Before = erlang:memory(binary),
    [begin
         ok = ?M:reset_metrics(),
         ok = ?M:record_server_operation(Term, Term, 1, #{small => yes, large => Term}),
         ok = ?M:record_registry_operation(lookup, 1, #{Term => yes}),
         ok = ?M:record_transport_operation(Part, Part, Part, 1),
         [#{labels := Small}, #{labels := Lost}, #{labels := Labels}] = ?M:get_metrics(),
         ?assertEqual(#{<<"transport_id">> => Part, <<"transport_type">> => Part,
                        <<"operation">> => Part}, Small),
         ?assertEqual('$too_large', Lost),
         ?assertEqual(#{small => yes, large => '$too_large', <<"server_id">> => '$too_large',
                        <<"operation">> => '$too_large'}, Labels)
     end || Term <- Huge],
    %% Nothing of them is held, not even by a part.
    _ = [?M:record_transport_operation(Part, tcp, send, 1) || _ <- lists:seq(1, 1000)],
    erlang:garbage_collect(),
    erlmcp_ct_load:until(fun() -> erlang:memory(binary) < Before + 1000000 end),
    ?assertEqual(1000, length(?M:get_metrics(?TRANSPORT))).

%% For any numbers: what the summary says is what the list has.
lists_and_summary_agree(_Config) ->
    Value = oneof([integer(0, 1000000), float(), integer(), integer(-(1 bsl 62), 1 bsl 62)]),
    Property = proper:forall(proper_types:non_empty(list({elements([a, <<"a">>, "b", 'c.d']), Value})),
        fun(Operations) ->
            ok = ?M:reset_metrics(),
            [ok = ?M:record_server_operation(Id, op, Ms, #{}) || {Id, Ms} <- Operations],
            Values = [Ms || {_Id, Ms} <- Operations],
            Listed = ?M:get_metrics(<<"server_operation_duration_ms">>),
            Summary = ?M:get_performance_summary(),
            [Histogram] = maps:values(maps:get(<<"histograms">>, Summary)),
            [Percentiles] = maps:values(maps:get(<<"percentiles">>, Summary)),
            Sorted = lists:sort(Values),
            Count = length(Values),
            [V || #{value := V} <- lists:reverse(Listed)] =:= Values
                andalso [I || #{labels := #{<<"server_id">> := I}} <- lists:reverse(Listed)]
                            =:= [Id || {Id, _} <- Operations]
                andalso maps:get(<<"count">>, Histogram) =:= Count
                andalso maps:get(<<"min">>, Histogram) =:= hd(Sorted)
                andalso maps:get(<<"max">>, Histogram) =:= lists:last(Sorted)
                andalso maps:get(<<"avg">>, Histogram) =:= lists:sum(lists:reverse(Values)) / Count
                andalso lists:all(fun({_, P}) -> lists:member(P, Values) end, maps:to_list(Percentiles))
                andalso maps:get(<<"p50">>, Percentiles)
                            =:= lists:nth(max(1, ceil(Count * 50 / 100)), Sorted)
                andalso maps:get(<<"p99">>, Percentiles)
                            =:= lists:nth(max(1, ceil(Count * 99 / 100)), Sorted)
        end),
    Outcome = proper:quickcheck(Property, [quiet, {numtests, 300}]),
    ?assertEqual({true, undefined}, {Outcome, case Outcome of true -> undefined;
                                                 false -> proper:counterexample() end}).

names_become_instruments(_Config) ->
    Instrument = fun erlmcp_metrics_naming:instrument/1,
    [?assertEqual({Name, Expected}, {Name, Instrument(Name)}) || {Name, Expected} <- [
        {"cli.tool.call.success", {counter, <<"cli.tool.call.success">>}},
        {"cli.command.latency", {duration, <<"cli.command.latency_seconds">>, 1000}},
        {"cli.latency.tcp", {duration, <<"cli.latency.tcp_seconds">>, 1000}},
        {<<"request_Duration">>, {duration, <<"request_Duration_seconds">>, 1000}},
        {<<"tool.duration.ms">>, {duration, <<"tool.duration_seconds">>, 1000}},
        {<<"startup_ms">>, {duration, <<"startup_seconds">>, 1000}},
        {latency_p50_us, {duration, <<"latency_p50_seconds">>, 1000000}},
        {"gc-pause-ns", {duration, <<"gc-pause_seconds">>, 1000000000}},
        {"lag.seconds", {duration, <<"lag_seconds">>, 1}},
        {"ms", {duration, <<"ms_seconds">>, 1000}},
        {"latencyx", {counter, <<"latencyx">>}},
        {"items", {counter, <<"items">>}},
        {"", error}, {<<>>, error}, {5, error}, {[a | b], error}, {lists:duplicate(256, $a), error}]],
    ?assertEqual({duration, <<"tool_call_duration_seconds">>, 1000},
                 erlmcp_metrics_naming:duration(tool_call)),
    ?assertEqual({duration, <<"tool_latency_seconds">>, 1000},
                 erlmcp_metrics_naming:duration("tool_latency")),
    %% The value of with_metrics/3 is milliseconds whatever the name says.
    ?assertEqual({duration, <<"tool_seconds">>, 1000}, erlmcp_metrics_naming:duration("tool_us")).

%% A name that means something already takes the value as what it is.
another_kind_is_no_error(_Config) ->
    [Gauge, UpDown, Histogram, Info, Latency, Taken] =
        [erlmcp_ct_app:name("kind_" ++ What) || What <- ["g", "u", "h", "i", "latency", "t"]],
    ok = ?M:declare(gauge, Gauge, #{}),
    ok = ?M:declare(up_down_counter, UpDown, #{}),
    ok = ?M:declare(histogram, Histogram, #{}),
    ok = ?M:set_info(Info, #{a => b}),
    ok = ?M:declare(gauge, <<Latency/binary, "_seconds">>, #{}),
    ok = ?M:declare(gauge, <<Taken/binary, "_total">>, #{}),
    [ok = ?M:record(Name, N) || Name <- [Gauge, UpDown, Histogram, Info, Latency, Taken], N <- [3, 4]],
    ?assertEqual(4, ?M:value(Gauge, #{})),
    ?assertEqual(7, ?M:value(UpDown, #{})),
    ?assertMatch(#{count := 2, sum := 7.0}, ?M:value(Histogram, #{})),
    ?assertEqual(0.004, ?M:value(<<Latency/binary, "_seconds">>, #{})),
    %% What cannot be is refused for those who ask, and counted.
    ?assertMatch({error, {kind_conflict, _}}, ?M:inc(Info)),
    ?assertMatch({error, {negative_increment, _}}, ?M:record(erlmcp_ct_app:name("n"), -1)),
    ?assertMatch({error, {bad_value, _}}, ?M:record(erlmcp_ct_app:name("n"), many)).

%% Processes

stops_do_not_end_the_application(_Config) ->
    process_flag(trap_exit, true),
    Supervisor = whereis(erlmcp_instrumentation_sup),
    Start = fun(Module) -> {ok, Pid} = Module:start_link(), Pid end,
    [begin
         Pids = [Start(Module) || Module <- Order],
         ok = ?M:record_registry_operation(again, 1, #{}),
         ?assertMatch([_], ?M:get_metrics()),
         ?assertMatch(#{<<"total_metrics_recorded">> := 1, <<"uptime_ms">> := Ms} when Ms > 0,
                      ?M:get_performance_summary()),
         case Way of
             stop -> [ok = gen_server:stop(Pid) || Pid <- Pids];
             kill -> [exit(Pid, kill) || Pid <- Pids],
                     [receive {'EXIT', Pid, _} -> ok end || Pid <- Pids]
         end
     end || Way <- [stop, kill], _ <- lists:seq(1, 60),
            Order <- [[?M, erlmcp_otel_instrumentation], [erlmcp_otel_instrumentation, ?M]]],
    erlmcp_ct_load:until(fun() -> is_pid(whereis(?M)) end),
    ?assertEqual(Supervisor, whereis(erlmcp_instrumentation_sup)),
    ?assertMatch({200, _, _}, erlmcp_ct_app:get("/metrics")),
    %% Without the application the process is the caller's own.
    erlmcp_ct_app:stop(),
    Own = Start(?M),
    ?assert(lists:member(Own, element(2, process_info(self(), links)))),
    ok = ?M:record_registry_operation(alone, 1, #{}),
    ?assertMatch([_], ?M:get_metrics()),
    ok = gen_server:stop(Own),
    ?assertEqual(undefined, whereis(?M)),
    ok = ?M:record_registry_operation(alone, 1, #{}),
    Next = Start(?M),
    ?assertEqual([], ?M:get_metrics()),
    ok = gen_server:stop(Next).

%% Whoever starts it gets a process that is ready, or that somebody else has
%% stopped meanwhile; never an error.
stops_and_starts_at_once(_Config) ->
    Supervisor = whereis(erlmcp_instrumentation_sup),
    erlmcp_ct_load:together(6, fun(_) ->
        process_flag(trap_exit, true),
        [begin
             {ok, Pid} = ?M:start_link(),
             ok = ?M:record(<<"at.once">>, 1),
             try gen_server:stop(Pid) catch exit:_ -> ok end
         end || _ <- lists:seq(1, 100)]
    end),
    ?assertEqual(600, ?M:value(<<"at_once">>, #{})),
    erlmcp_ct_load:until(fun() -> is_pid(whereis(?M)) end),
    ?assertEqual(Supervisor, whereis(erlmcp_instrumentation_sup)).

%% What is open

%% Opened and closed by processes that are killed at any time: in the end all
%% that was opened has been closed once, and nothing is open.
an_owner_that_is_killed_leaves_nothing_open(_Config) ->
    Type = erlmcp_ct_app:name("type"),
    Loop = fun Loop() ->
        Connection = ?MCP:connection_opened(Type),
        Session = ?MCP:session_created(Type),
        _ = ?MCP:subscription_added(Type),
        true = ?MCP:connection_closed(Connection, done),
        true = ?MCP:session_closed(Session, done),
        Loop()
    end,
    Value = fun(Name, Labels) -> case ?M:value(Name, Labels) of undefined -> 0; V -> V end end,
    Sum = fun(Name, Key) ->
        lists:sum([V || #{name := N, labels := Labels, value := V} <- ?M:collect_metrics(),
                        N =:= Name, maps:get(Key, Labels, Type) =:= Type])
    end,
    SessionsClosed = fun() -> Value(erlmcp_sessions_closed_total, #{reason => done})
                                  + Value(erlmcp_sessions_closed_total, #{reason => owner_ended}) end,
    Created = Value(erlmcp_sessions_created_total, #{}),
    Closed = SessionsClosed(),
    [begin
         Pids = [spawn(Loop) || _ <- lists:seq(1, 8)],
         timer:sleep(5),
         [exit(Pid, kill) || Pid <- Pids]
     end || _ <- lists:seq(1, 50)],
    Active = fun() -> [Value(Name, #{Label => Type}) || {Name, Label} <- [
        {erlmcp_connections_active, transport}, {erlmcp_sessions_active, session_type},
        {erlmcp_subscriptions_active, subscription_type}]] end,
    erlmcp_ct_load:until(fun() -> Active() =:= [0, 0, 0] end),
    Opened = Value(erlmcp_connections_total, #{transport => Type}),
    ?assert(Opened > 0),
    ?assertEqual(Opened, Sum(<<"erlmcp_connections_closed_total">>, <<"transport">>)),
    ?assert(Value(erlmcp_connections_closed_total, #{transport => Type, reason => owner_ended}) > 0),
    ?assertEqual(Value(erlmcp_sessions_created_total, #{}) - Created, SessionsClosed() - Closed),
    #{count := Durations} = ?M:value(erlmcp_session_duration_seconds, #{session_type => Type}),
    ?assertEqual(Value(erlmcp_sessions_created_total, #{}) - Created, Durations).

it_is_closed_once(_Config) ->
    Type = erlmcp_ct_app:name("once"),
    Active = fun() -> ?M:value(erlmcp_connections_active, #{transport => Type}) end,
    Closed = fun(Reason) -> ?M:value(erlmcp_connections_closed_total,
                                     #{transport => Type, reason => Reason}) end,
    Connection = ?MCP:connection_opened(Type),
    ?assertEqual(1, Active()),
    %% By any of many processes.
    Answers = erlmcp_ct_load:together(8, fun(_) -> ?MCP:connection_closed(Connection, raced) end),
    ?assertEqual([true], [Answer || Answer <- Answers, Answer]),
    ?assertEqual({0, 1}, {Active(), Closed(raced)}),
    %% Its owner ends, then somebody closes it.
    {Owner, Monitor} = spawn_monitor(fun() -> receive stop -> ok end end),
    Owned = ?MCP:connection_opened(Type, Owner),
    Session = ?MCP:session_created(Type, Owner),
    ?assertEqual(1, Active()),
    Owner ! stop,
    receive {'DOWN', Monitor, process, Owner, _} -> ok end,
    erlmcp_ct_load:until(fun() -> Active() =:= 0 end),
    ?assertEqual([false, false, false], [?MCP:connection_closed(Owned, late),
                                         ?MCP:session_closed(Session, late),
                                         ?MCP:session_expired(Session)]),
    ?assertEqual({1, 0}, {Closed(owner_ended), Closed(late)}),
    %% Of one that is gone.
    Gone = ?MCP:connection_opened(Type, Owner),
    ?assertEqual(false, ?MCP:connection_closed(Gone, late)),
    ?assertEqual({0, 2}, {Active(), Closed(owner_ended)}),
    %% The application is not needed.
    erlmcp_ct_app:stop(),
    Alone = ?MCP:connection_opened(Type),
    ?assertEqual(1, Active()),
    erlmcp_ct_app:start(),
    ?assertEqual(true, ?MCP:connection_closed(Alone, late)),
    ?assertEqual(0, Active()),
    [?assertEqual(false, ?MCP:connection_closed(Other, x)) || Other <- [Session, undefined, self()]].

%% Each with the series that its documentation names.
every_function_records_what_it_says(_Config) ->
    N = erlmcp_ct_app:name("n"),
    Failing = fun() -> error(failed) end,
    Calls = [
        {fun() -> ?MCP:request_size(100) end, [{erlmcp_request_size_bytes, #{}, {1, 100.0}}]},
        {fun() -> ?MCP:response_size(100) end, [{erlmcp_response_size_bytes, #{}, {1, 100.0}}]},
        {fun() -> ?MCP:connection_failed(tcp, N) end,
         [{erlmcp_connection_errors_total, #{transport => tcp, error_type => N}, 1}]},
        {fun() -> ?MCP:received(N, 10) end,
         [{erlmcp_messages_total, #{transport => N, direction => received}, 1},
          {erlmcp_transport_bytes_total, #{transport => N, direction => received}, 10}]},
        {fun() -> ?MCP:sent(N, 20) end,
         [{erlmcp_messages_total, #{transport => N, direction => sent}, 1},
          {erlmcp_transport_bytes_total, #{transport => N, direction => sent}, 20}]},
        {fun() -> ?MCP:transport_operation(N, send, {250, millisecond}) end,
         [{erlmcp_transport_operation_duration_seconds, #{transport => N, operation => send},
           {1, 0.25}}]},
        {fun() -> ?MCP:session_pool_size(N, 3) end, [{erlmcp_session_pool_size, #{pool => N}, 3}]},
        {fun() -> ?MCP:session_queue_depth(N, 4) end,
         [{erlmcp_session_queue_depth, #{queue => N}, 4}]},
        {fun() -> ?MCP:session_expired(?MCP:session_created(N)) end,
         [{erlmcp_sessions_created_total, #{}, 1}, {erlmcp_sessions_expired_total, #{}, 1},
          {erlmcp_sessions_closed_total, #{reason => expired}, 1}]},
        {fun() -> ?MCP:resource_registered(N) end,
         [{erlmcp_resources_registered_total, #{resource_type => N}, 1}]},
        {fun() -> ?MCP:resource_unregistered() end, [{erlmcp_resources_unregistered_total, #{}, 1}]},
        {fun() -> ?MCP:resource_accessed(N, read) end,
         [{erlmcp_resources_accessed_total, #{resource_type => N, access_type => read}, 1}]},
        {fun() -> ?MCP:registry_operation(N, success, {1500, microsecond}) end,
         [{erlmcp_registry_operations_total, #{operation => N, status => success}, 1},
          {erlmcp_registry_operation_duration_seconds, #{operation => N}, {1, 0.0015}}]},
        {fun() -> {error, x} = ?MCP:registry_operation(N, fun() -> {error, x} end) end,
         [{erlmcp_registry_operations_total, #{operation => N, status => error}, 1}]},
        {fun() -> ?MCP:subscription_removed(?MCP:subscription_added(N)) end,
         [{erlmcp_subscription_events_total, #{event_type => subscribed}, 1},
          {erlmcp_subscription_events_total, #{event_type => unsubscribed}, 1}]},
        {fun() -> ?MCP:subscription_event(N) end,
         [{erlmcp_subscription_events_total, #{event_type => N}, 1}]},
        {fun() -> ?MCP:cache_request(hit) end,
         [{erlmcp_registry_cache_requests_total, #{result => hit}, 1}]},
        {fun() -> ?MCP:authenticated() end, [{erlmcp_auth_attempts_total, #{result => success}, 1}]},
        {fun() -> ?MCP:authentication_failed(N) end,
         [{erlmcp_auth_attempts_total, #{result => failure}, 1},
          {erlmcp_auth_failures_total, #{reason => N, component => server}, 1}]},
        {fun() -> ?MCP:authorized() end,
         [{erlmcp_authorization_checks_total, #{result => allowed}, 1}]},
        {fun() -> ?MCP:unauthorized(N) end,
         [{erlmcp_authorization_checks_total, #{result => denied}, 1},
          {erlmcp_unauthorized_attempts_total, #{component => N}, 1}]},
        {fun() -> ?MCP:security_event(N, high) end,
         [{erlmcp_security_events_total, #{event_type => N, severity => high}, 1}]},
        {fun() -> ?MCP:quota(N, 5, 10) end,
         [{erlmcp_api_quota_used, #{quota_type => N}, 5},
          {erlmcp_api_quota_limit, #{quota_type => N}, 10}]},
        {fun() -> ?MCP:tool_executed(N, success, {2, second}) end,
         [{erlmcp_tool_executions_total, #{tool => N, status => success}, 1},
          {erlmcp_tool_execution_duration_seconds, #{tool => N}, {1, 2.0}}]},
        {fun() -> {error, failed} = raised(fun() -> ?MCP:tool(N, Failing) end) end,
         [{erlmcp_tool_executions_total, #{tool => N, status => error}, 1}]},
        {fun() -> #{isError := true} = ?MCP:prompt(N, fun() -> #{isError => true} end) end,
         [{erlmcp_prompt_executions_total, #{prompt => N, status => error}, 1}]},
        {fun() -> ?MCP:prompt_executed(N, success, {0, native}) end,
         [{erlmcp_prompt_executions_total, #{prompt => N, status => success}, 1}]},
        {fun() -> ?MCP:prompt_tokens(N, 42) end, [{erlmcp_prompt_tokens_total, #{model => N}, 42}]}
    ],
    [begin
         Before = [value(Series) || Series <- Expected],
         _ = Call(),
         ?assertEqual([{Name, Change} || {Name, _, Change} <- Expected],
                      [{Name, change(Then, value(Series))}
                       || {{Name, _, _} = Series, Then} <- lists:zip(Expected, Before)])
     end || {Call, Expected} <- Calls],
    %% A number alone is no duration, and text that is too long no label.
    ?assertMatch({error, {bad_value, _}}, ?MCP:tool_executed(N, success, 5)),
    ?assertMatch({error, {bad_value, _}}, ?MCP:transport_operation(N, send, {1, week})),
    ok = ?MCP:prompt_tokens(binary:copy(<<"m">>, 129), 1),
    ok = ?MCP:prompt_tokens("", 1),
    ?assertEqual({1, 1}, {?M:value(erlmcp_prompt_tokens_total, #{model => other}),
                          ?M:value(erlmcp_prompt_tokens_total, #{model => unknown})}),
    {Native, native} = ?MCP:since(erlang:monotonic_time() - 5),
    ?assert(Native >= 5).

raised(Fun) ->
    try Fun() of Result -> {returned, Result} catch Class:Reason -> {Class, Reason} end.

value({Name, Labels, _Change}) ->
    ?M:value(Name, Labels).

change(undefined, #{count := Count, sum := Sum}) -> {Count, Sum};
change(#{count := N, sum := S}, #{count := Count, sum := Sum}) -> {Count - N, Sum - S};
change(undefined, Now) -> Now;
change(Then, Now) -> Now - Then.

%% The catalogue

%% Name by name, kind by kind, label by label, help by help, in both directions.
the_catalogue_is_what_a_scrape_shows(Config) ->
    erlmcp_ct_app:stop(),
    forget_the_catalogue(),
    Spool = filename:join(proplists:get_value(priv_dir, Config), "spool"),
    Dir = filename:join(proplists:get_value(priv_dir, Config), "door"),
    ok = file:make_dir(Dir),
    #{settings := Door, token := Token, server_ca := Ca} = erlmcp_ct_door:files(Dir),
    erlmcp_ct_app:start(Door#{spool_dir => Spool}),
    record_everything(),
    Url = "://localhost:" ++ integer_to_list(erlmcp_ct_app:port()),
    %% No TLS: a handshake that fails.
    {400, _} = erlmcp_ct_door:curl(["http" ++ Url ++ "/metrics"]),
    {200, _} = erlmcp_ct_door:curl(["--cacert", Ca, "https" ++ Url ++ "/health"]),
    {401, _} = erlmcp_ct_door:curl(["--cacert", Ca, "-H", "Authorization: Bearer wrong", "https" ++ Url]),
    %% The first tells of itself in the second.
    [_, Body] = [begin
         {200, Text} = erlmcp_ct_door:curl([
             "--cacert", Ca, "-H", "Authorization: Bearer " ++ Token,
             "-H", "Accept: application/openmetrics-text; version=1.0.0", "https" ++ Url ++ "/metrics"]),
         Text
     end || _ <- [1, 2]],
    #{families := Families, samples := Samples} =
        erlmcp_ct_exposition:parse(openmetrics, iolist_to_binary(Body)),
    Shown = maps:filter(fun(<<"erlmcp_", _/binary>>, _) -> true; (_, _) -> false end, Families),
    Declared = maps:from_list([{family(Metric), Metric} || Metric <- erlmcp_metrics_catalogue:all()]),
    ?assertEqual({[], []}, {maps:keys(Shown) -- maps:keys(Declared),
                            maps:keys(Declared) -- maps:keys(Shown)}),
    [begin
         #{kind := Kind, help := Help, unit := Unit, labels := Labels, source := Source} =
             maps:get(Name, Declared),
         ?assertEqual({Name, type(Kind), Help}, {Name, maps:get(type, Family), maps:get(help, Family)}),
         %% What the library tells of itself has no unit declared.
         is_map_key(unit, Family) andalso ?assertEqual({Name, Unit}, {Name, maps:get(unit, Family)}),
         Source =:= library orelse Unit =:= none orelse ?assert(is_map_key(unit, Family)),
         Expected = lists:sort([atom_to_binary(Label) || Label <- Labels]),
         [?assertEqual({Sample, Expected}, {Sample, lists:sort(maps:keys(Of)) -- [<<"le">>]})
          || {Sample, Of} <- maps:keys(Samples), belongs(Sample, Name, Kind)]
     end || {Name, Family} <- maps:to_list(Shown)],
    ?assertMatch([1], [Value || {{<<"erlmcp_build_info">>, #{<<"version">> := _, <<"otp">> := _,
                                                              <<"nif">> := _}}, Value}
                                    <- maps:to_list(Samples)]).

%% What earlier cases, and the declarations of other suites, have left.
forget_the_catalogue() ->
    [?M:remove(Name) || #{name := Name, source := Source} <- erlmcp_metrics_catalogue:all(),
                        Source =/= library].

record_everything() ->
    _ = ?MCP:connection_opened(tcp),
    _ = ?MCP:session_closed(?MCP:session_created(stdio), done),
    _ = ?MCP:session_expired(?MCP:session_created(stdio)),
    _ = ?MCP:subscription_added(resource),
    [ok = ok_or_result(Result) || Result <- [
        ?MCP:request_size(1), ?MCP:response_size(1), ?MCP:connection_failed(tcp, refused),
        ?MCP:received(tcp, 1), ?MCP:sent(tcp, 1), ?MCP:transport_operation(tcp, send, {1, second}),
        ?MCP:session_pool_size(a, 1), ?MCP:session_queue_depth(a, 1), ?MCP:resource_registered(tool),
        ?MCP:resource_unregistered(), ?MCP:resource_accessed(tool, call),
        ?MCP:registry_operation(lookup, success, {1, second}), ?MCP:cache_request(miss),
        ?MCP:authentication_failed(expired), ?MCP:unauthorized(tools),
        ?MCP:security_event(scan, low), ?MCP:quota(calls, 1, 2), ?MCP:tool(a, fun() -> ok end),
        ?MCP:prompt(a, fun() -> ok end), ?MCP:prompt_tokens(m, 1),
        ?M:record_server_operation(id, call, 1, #{x => y})]],
    {error, no} = erlmcp_otel_instrumentation:trace_request(#{method => <<"ping">>},
                                                            fun() -> {error, no} end),
    ok = erlmcp_instrumentation_health:register(failing, fun() -> false end, #{critical => false}),
    #{status := degraded} = erlmcp_instrumentation_health:run(),
    logger:error("an error", #{domain => [erlmcp, test]}),
    %% What is no event, and a line for an owner that is gone.
    _ = erlmcp_log_formatter:format(no_event, #{}),
    {Gone, Monitor} = spawn_monitor(fun() -> ok end),
    receive {'DOWN', Monitor, process, Gone, _} -> ok end,
    erlmcp_log_file:log(#{level => error, msg => {string, "x"}, meta => #{}},
                        #{formatter => {erlmcp_log_formatter, #{}},
                          config => #{owner => Gone, queued => atomics:new(1, []), queue_bytes => 1}}).

ok_or_result(ok) -> ok.

%% OpenMetrics' family names are without the ending of the kind.
family(#{name := Name, kind := counter}) -> without(<<"_total">>, atom_to_binary(Name));
family(#{name := Name, kind := info}) -> without(<<"_info">>, atom_to_binary(Name));
family(#{name := Name}) -> atom_to_binary(Name).

without(Ending, Name) ->
    Size = byte_size(Name) - byte_size(Ending),
    <<Family:Size/binary, Ending/binary>> = Name,
    Family.

type(up_down_counter) -> gauge;
type(Kind) -> Kind.

belongs(Sample, Family, histogram) ->
    lists:member(Sample, [<<Family/binary, End/binary>> || End <- [<<"_bucket">>, <<"_count">>, <<"_sum">>]]);
belongs(Sample, Family, counter) -> Sample =:= <<Family/binary, "_total">>;
belongs(Sample, Family, info) -> Sample =:= <<Family/binary, "_info">>;
belongs(Sample, Family, _Kind) -> Sample =:= Family.

%% Names that Prometheus' conventions ask for.
the_catalogue_is_well_formed(_Config) ->
    All = erlmcp_metrics_catalogue:all(),
    Names = [Name || #{name := Name} <- All],
    ?assertEqual([], Names -- lists:usort(Names)),
    Sections = [Section || {Section, _Title} <- erlmcp_metrics_catalogue:sections()],
    [begin
         Text = atom_to_list(Name),
         ?assertMatch({Name, {match, _}}, {Name, re:run(Text, "^erlmcp_[a-z0-9_]+$")}),
         ?assertEqual({Name, Kind =:= counter}, {Name, lists:suffix("_total", Text)}),
         ?assertEqual({Name, Kind =:= info}, {Name, lists:suffix("_info", Text)}),
         Base = string:replace(Text, "_total", "", trailing),
         Unit =/= none andalso
             ?assert(lists:suffix([$_ | binary_to_list(Unit)], lists:flatten(Base))),
         ?assertEqual({Name, Unit =/= none}, {Name, lists:any(fun(U) -> lists:suffix(U, lists:flatten(Base)) end,
                                                             ["_seconds", "_bytes"])}),
         ?assert(lists:member(Section, Sections)),
         ?assertEqual({Name, $.}, {Name, binary:last(Help)}),
         ?assertEqual({Name, Kind =:= histogram}, {Name, Buckets =/= none}),
         ?assertEqual([], [Label || Label <- Labels, lists:member(Label, [id, request_id, session_id, user_id])]),
         ?assertEqual({ok, Metric}, erlmcp_metrics_catalogue:find(Name))
     end || #{name := Name, kind := Kind, unit := Unit, labels := Labels, help := Help,
              buckets := Buckets, section := Section} = Metric <- All],
    ?assertEqual(error, erlmcp_metrics_catalogue:find(erlmcp_no_such_total)).

%% By Prometheus' Python client and others, in every format; they count what they
%% have compared.
the_server_is_read_by_others(Config) ->
    forget_the_catalogue(),
    record_everything(),
    [ok = ?M:record_transport_operation({any, N}, tcp, send, N) || N <- lists:seq(1, 10)],
    ok = ?M:record("cli.tool.call.success", 1),
    ok = ?M:record("cli.command.latency", 12),
    %% All that there is: what the list of all series says is compared as well.
    Recorded = [(said(Name))#{kind => Kind, name => Name, labels => maps:to_list(Labels),
                              value => Value}
                || #{type := Kind, name := Name, labels := Labels, value := Value}
                       <- ?M:collect_metrics()],
    ?assert(length(Recorded) > 30),
    File = filename:join(proplists:get_value(priv_dir, Config), "recorded.jsonl"),
    ok = erlmcp_ct_oracle:write_recorded(File, Recorded),
    Url = "http://127.0.0.1:" ++ integer_to_list(erlmcp_ct_app:port()) ++ "/metrics/custom",
    Oracle = erlmcp_ct_oracle:open(),
    {Verdict, Report} = erlmcp_ct_oracle:compare(Oracle, ["--recorded", File, "--url", Url]),
    erlmcp_ct_oracle:close(Oracle),
    ct:log("~ts", [Report]),
    ?assertEqual(agree, Verdict).

%% Help and unit, as the catalogue has them.
said(Name) ->
    case erlmcp_metrics_catalogue:find(binary_to_atom(Name)) of
        {ok, #{help := Help, unit := none}} -> #{help => Help};
        {ok, #{help := Help, unit := Unit}} -> #{help => Help, unit => Unit};
        error -> #{}
    end.
