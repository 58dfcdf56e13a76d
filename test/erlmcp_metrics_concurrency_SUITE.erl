%% Many processes at once: sums are exact, whoever records, is killed, registers
%% or removes meanwhile.
%%
%% Recording functions run on normal schedulers only: no Erlang code runs on a
%% dirty one. Threads that are no normal schedulers record here by way of HTTP
%% scrapes, whose duration the native server observes; the stress tests of
%% native/metrics cover the rest.
-module(erlmcp_metrics_concurrency_SUITE).

-include_lib("stdlib/include/assert.hrl").

-import(erlmcp_ct_load, [together/2]).

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1]).
-export([
    integers/1, floats/1, tenths/1, mixed/1, histograms/1, up_down_counters/1, gauges/1,
    many_names/1, processes_that_migrate/1, killed_processes/1,
    same_new_names/1, same_new_name_as_other_kinds/1, new_series_at_the_limit/1,
    remove_beside_record/1, handles_beside_remove/1, declare_beside_record/1,
    scrapes_beside_writers/1, values_beside_writers/1, native_threads/1
]).

-define(M, erlmcp_metrics).
-define(PROCESSES, 8).

suite() ->
    [{timetrap, {minutes, 4}}].

all() ->
    [integers, floats, tenths, mixed, histograms, up_down_counters, gauges,
     many_names, processes_that_migrate, killed_processes,
     same_new_names, same_new_name_as_other_kinds, new_series_at_the_limit,
     remove_beside_record, handles_beside_remove, declare_beside_record,
     scrapes_beside_writers, values_beside_writers, native_threads].

init_per_suite(Config) ->
    erlmcp_ct_app:quiet(),
    erlmcp_ct_app:start(),
    Config.

end_per_suite(_Config) ->
    erlmcp_ct_app:forget(),
    erlmcp_ct_app:stop(),
    erlmcp_ct_app:loud().

%% Exact sums

integers(_Config) ->
    [begin
         N = erlmcp_ct_app:name("integers"),
         L = #{a => <<"b">>, c => d},
         Each = 50000,
         load(Each, Way(N, L)),
         ?assertEqual({Name, ?PROCESSES * Each * 3}, {Name, ?M:value(N, L)}),
         Text = erlmcp_ct_exposition:parse(text, ?M:scrape(text, application)),
         Labels = #{<<"a">> => <<"b">>, <<"c">> => <<"d">>},
         ?assertEqual(?PROCESSES * Each * 3,
                      erlmcp_ct_exposition:value(Text, <<N/binary, "_total">>, Labels))
     end || {Name, Way} <- ways(3)].

floats(_Config) ->
    [begin
         N = erlmcp_ct_app:name("floats"),
         Each = 20000,
         load(Each, Way(N, #{a => b})),
         ?assertEqual({Name, ?PROCESSES * Each * 0.5}, {Name, ?M:value(N, #{a => b})})
     end || {Name, Way} <- ways(0.5)].

tenths(_Config) ->
    [begin
         N = erlmcp_ct_app:name("tenths"),
         Each = 5000,
         load(Each, Way(N, #{a => b})),
         close(?PROCESSES * Each / 10, ?M:value(N, #{a => b}))
     end || {_, Way} <- ways(0.1)].

mixed(_Config) ->
    N = erlmcp_ct_app:name("mixed"),
    Series = ?M:bind(counter, N, #{}),
    Each = 10000,
    load(Each, fun() ->
        ok = ?M:inc(N, 2),
        ok = ?M:inc(Series, 0.25),
        ok = ?M:inc(N, 0.5),
        ok = ?M:inc(Series, 1)
    end),
    ?assertEqual(?PROCESSES * Each * 3.75, ?M:value(N, #{})).

histograms(_Config) ->
    N = erlmcp_ct_app:name("histograms"),
    ok = ?M:declare(histogram, N, #{buckets => [-1, 0, 1, 2.5, 10]}),
    Series = ?M:bind(histogram, N, #{b => c}),
    Values = [-1, -0.5, 0, 1, 1.5, 2.5, 7, 10, 11, 1000],
    Each = 4000,
    load(Each, fun() ->
        [begin
             ok = ?M:observe(N, V, #{b => c}),
             ok = ?M:observe(Series, V)
         end || V <- Values]
    end),
    Of = ?PROCESSES * Each * 2,
    Expected = [{-1.0, Of}, {0.0, 3 * Of}, {1.0, 4 * Of}, {2.5, 6 * Of}, {10.0, 8 * Of},
                {infinity, 10 * Of}],
    #{count := Count, sum := Sum, buckets := Buckets} = ?M:value(N, #{b => c}),
    ?assertEqual({10 * Of, Expected}, {Count, Buckets}),
    ?assertEqual(1031.5 * Of, Sum),
    Protobuf = erlmcp_ct_exposition:parse(protobuf, ?M:scrape(protobuf, application)),
    ?assertEqual({Count, Sum, Expected},
                 erlmcp_ct_exposition:value(Protobuf, N, #{<<"b">> => <<"c">>})).

up_down_counters(_Config) ->
    N = erlmcp_ct_app:name("up_down"),
    ok = ?M:declare(up_down_counter, N, #{}),
    Series = ?M:bind(up_down_counter, N, #{}),
    Each = 20000,
    load(Each, fun() ->
        ok = ?M:inc(N, 5),
        ok = ?M:dec(Series, 7),
        ok = ?M:inc(Series),
        ok = ?M:dec(N)
    end),
    ?assertEqual(-2 * ?PROCESSES * Each, ?M:value(N, #{})).

gauges(_Config) ->
    N = erlmcp_ct_app:name("gauges"),
    ok = ?M:set(N, 100),
    Series = ?M:bind(gauge, N, #{}),
    Each = 20000,
    load(Each, fun() ->
        ok = ?M:inc(N, 5),
        ok = ?M:dec(Series, 7),
        ok = ?M:inc(Series, 0.5)
    end),
    ?assertEqual(100 - 1.5 * ?PROCESSES * Each, ?M:value(N, #{})).

many_names(_Config) ->
    Names = [erlmcp_ct_app:name("many") || _ <- lists:seq(1, 50)],
    Sets = [#{i => I, m => "get"} || I <- lists:seq(1, 20)],
    Rounds = 10,
    _ = together(?PROCESSES, fun(P) ->
        %% Each in an order of its own.
        Pairs = [{N, L} || N <- Names, L <- Sets],
        {Later, First} = lists:split(P * 100, Pairs),
        [ok = ?M:record_counter(N, P, L) || _ <- lists:seq(1, Rounds), {N, L} <- First ++ Later]
    end),
    Each = Rounds * lists:sum(lists:seq(1, ?PROCESSES)),
    ?assertEqual([], [{N, L} || N <- Names, L <- Sets, ?M:value(N, L) =/= Each]).

%% Processes that are moved from one scheduler to another between two calls.
processes_that_migrate(_Config) ->
    N = erlmcp_ct_app:name("migrate"),
    Each = 3000,
    _ = together(100, fun(_) ->
        [begin
             ok = ?M:inc(N, #{a => I rem 7}),
             I rem 10 =:= 0 andalso erlang:yield()
         end || I <- lists:seq(1, Each)]
    end),
    ?assertEqual(100 * Each, lists:sum([?M:value(N, #{a => I}) || I <- lists:seq(0, 6)])).

%% What was acknowledged is there, and of each process at most one more.
killed_processes(_Config) ->
    N = erlmcp_ct_app:name("killed"),
    Series = ?M:bind(counter, N, #{a => b}),
    Acknowledged = counters:new(1, [atomics]),
    H = <<N/binary, "_h">>,
    Observed = counters:new(1, [atomics]),
    Worker = fun Worker() ->
        ok = ?M:inc(Series),
        counters:add(Acknowledged, 1, 1),
        ok = ?M:inc(N, #{a => b}),
        counters:add(Acknowledged, 1, 1),
        ok = ?M:observe(H, 0.5),
        counters:add(Observed, 1, 1),
        Worker()
    end,
    Count = 400,
    Batch = 40,
    [begin
         Pids = [spawn(Worker) || _ <- lists:seq(1, Batch)],
         timer:sleep(rand:uniform(10)),
         [exit(Pid, kill) || Pid <- Pids],
         erlmcp_ct_load:until(fun() -> not lists:any(fun is_process_alive/1, Pids) end)
     end || _ <- lists:seq(1, Count div Batch)],
    between(counters:get(Acknowledged, 1), ?M:value(N, #{a => b}), Count),
    #{count := Seen, sum := Sum, buckets := Buckets} = ?M:value(H, #{}),
    between(counters:get(Observed, 1), Seen, Count),
    %% None is halfway in it.
    ?assertEqual(Seen * 0.5, Sum),
    ?assertEqual({infinity, Seen}, lists:last(Buckets)).

between(Least, Value, Margin) ->
    ?assert(Least > Margin),
    ?assert(Value >= Least andalso Value =< Least + Margin, {Least, Value}).

%% Registration

same_new_names(_Config) ->
    Names = [erlmcp_ct_app:name("new") || _ <- lists:seq(1, 300)],
    Before = maps:with([series, metrics, rejected], ?M:info()),
    Handles = together(?PROCESSES, fun(_) ->
        [begin
             L = #{id => I, <<"k">> => "v"},
             ok = ?M:inc(N, L),
             Series = ?M:bind(counter, N, #{"k" => v, id => integer_to_binary(I)}),
             ok = ?M:inc(Series),
             Series
         end || N <- Names, I <- [1, 2]]
    end),
    ?assertEqual(1, length(lists:usort(Handles))),
    ?assertEqual(600, length(lists:usort(hd(Handles)))),
    ?assertEqual(#{series => maps:get(series, Before) + 600,
                   metrics => maps:get(metrics, Before) + 300,
                   rejected => maps:get(rejected, Before)},
                 maps:with([series, metrics, rejected], ?M:info())),
    ?assertEqual([], [N || N <- Names, I <- [1, 2], ?M:value(N, #{id => I, k => v}) =/= 2 * ?PROCESSES]).

%% One of them wins; the others are refused, every time.
same_new_name_as_other_kinds(_Config) ->
    Record = [fun(N) -> ?M:record_counter(N, 1, #{}) end,
              fun(N) -> ?M:record_gauge(N, 1, #{}) end,
              fun(N) -> ?M:record_histogram(N, 1, #{}) end,
              fun(N) -> ?M:set_info(N, #{}) end],
    [begin
         N = erlmcp_ct_app:name("contested"),
         Answers = together(8, fun(P) ->
             R = lists:nth(1 + P rem 4, Record),
             {P rem 4, [R(N) || _ <- [1, 2, 3]]}
         end),
         Winners = lists:usort([Kind || {Kind, [ok, ok, ok]} <- Answers]),
         ?assertMatch([_], Winners),
         [?assertMatch([{error, {kind_conflict, _}}], lists:usort(Results))
          || {Kind, Results} <- Answers, [Kind] =/= Winners]
     end || _ <- lists:seq(1, 100)].

new_series_at_the_limit(_Config) ->
    N = erlmcp_ct_app:name("crowded"),
    ok = ?M:declare(counter, N, #{limit => 50}),
    Series = maps:get(series, ?M:info()),
    Each = 500,
    _ = together(?PROCESSES, fun(_) -> [ok = ?M:inc(N, #{i => I}) || I <- lists:seq(1, Each)] end),
    Text = erlmcp_ct_exposition:parse(text, ?M:scrape(text, application)),
    Values = [V || {{Name, _}, V} <- maps:to_list(maps:get(samples, Text)), Name =:= <<N/binary, "_total">>],
    ?assertEqual(?PROCESSES * Each, lists:sum(Values)),
    ?assertEqual(50, length(Values)),
    ?assertEqual(Series + 49, maps:get(series, ?M:info())),
    ?assertEqual(?PROCESSES * (Each - 49), ?M:value(N, #{otel_metric_overflow => true})).

%% Removal

remove_beside_record(_Config) ->
    Before = maps:get(series, ?M:info()),
    N = erlmcp_ct_app:name("churn"),
    H = erlmcp_ct_app:name("churn"),
    Bystander = erlmcp_ct_app:name("churn"),
    Each = 20000,
    Answers = together(?PROCESSES, fun
        (P) when P =< 2 ->
            [begin
                 _ = ?M:remove(N, #{i => I rem 10}),
                 _ = ?M:remove(H),
                 I rem 50 =:= 0 andalso ?M:remove(N),
                 ok
             end || I <- lists:seq(1, 2000)];
        (P) ->
            [begin
                 ok = ?M:inc(Bystander),
                 _ = ?M:value(N, #{i => P}),
                 {?M:inc(N, #{i => I rem 10}, 1 + 0.5 * (P rem 2)), ?M:observe(H, P, #{i => I rem 3})}
             end || I <- lists:seq(1, Each)]
    end),
    %% By name there always is a series to record into.
    ?assertEqual([ok, {ok, ok}], lists:usort(lists:append(Answers))),
    ?assertEqual((?PROCESSES - 2) * Each, ?M:value(Bystander, #{})),
    %% It ends consistent: all that is left can go, and then begins at 0.
    _ = ?M:remove(N),
    _ = ?M:remove(H),
    _ = ?M:remove(Bystander),
    ?assertEqual(Before, maps:get(series, ?M:info())),
    ?assertEqual({0, 0}, {?M:remove(N), ?M:remove(H)}),
    _ = together(?PROCESSES, fun(_) ->
        [begin ok = ?M:inc(N, #{i => I}), ok = ?M:observe(H, 1, #{i => I}) end || I <- lists:seq(0, 9)]
    end),
    [begin
         ?assertEqual(?PROCESSES, ?M:value(N, #{i => I})),
         ?assertMatch(#{count := ?PROCESSES, sum := 8.0}, ?M:value(H, #{i => I}))
     end || I <- lists:seq(0, 9)].

%% A handle is good until its series is removed, and never again after.
handles_beside_remove(_Config) ->
    N = erlmcp_ct_app:name("handles"),
    Others = [?M:bind(counter, N, #{other => I}) || I <- lists:seq(1, 10)],
    Current = counters:new(1, [atomics]),
    Series = fun() -> ?M:bind(counter, N, #{a => b}) end,
    counters:put(Current, 1, Series()),
    Rounds = 500,
    Answers = together(?PROCESSES, fun
        (1) ->
            [begin
                 Old = counters:get(Current, 1),
                 true = ?M:remove(N, #{a => b}),
                 {error, {unknown_series, _}} = ?M:inc(Old),
                 New = Series(),
                 true = New =/= Old,
                 counters:put(Current, 1, New),
                 ok
             end || _ <- lists:seq(1, Rounds)];
        (_) ->
            [?M:inc(counters:get(Current, 1)) || _ <- lists:seq(1, 40 * Rounds)]
    end),
    Tags = lists:usort([case A of {error, {Tag, _}} -> Tag; ok -> ok end || A <- lists:append(Answers)]),
    ?assertEqual([], Tags -- [ok, unknown_series]),
    ?assertEqual([0], lists:usort([?M:value(N, #{other => I}) || I <- lists:seq(1, 10)])),
    [ok = ?M:inc(S) || S <- Others],
    ?assertEqual([1], lists:usort([?M:value(N, #{other => I}) || I <- lists:seq(1, 10)])).

declare_beside_record(_Config) ->
    N = erlmcp_ct_app:name("declared"),
    H = erlmcp_ct_app:name("declared"),
    Each = 2000,
    _ = together(?PROCESSES, fun
        (P) when P =< 2 ->
            [begin
                 ok = ?M:declare(counter, N, #{description => integer_to_list(I), limit => 100 + I rem 2}),
                 ok = ?M:declare(histogram, H, #{unit => "s"})
             end || I <- lists:seq(1, Each)];
        (_) ->
            [begin
                 ok = ?M:inc(N, #{i => I rem 20}),
                 ok = ?M:observe(H, 1)
             end || I <- lists:seq(1, Each)]
    end),
    Recorded = (?PROCESSES - 2) * Each,
    ?assertEqual(Recorded, lists:sum([?M:value(N, #{i => I}) || I <- lists:seq(0, 19)])),
    ?assertMatch(#{count := Recorded}, ?M:value(H, #{})).

%% Readers beside writers

%% Counters and buckets never go back, and a histogram's parts belong together:
%% the exposition's reader refuses a count that is not that of the last bucket.
scrapes_beside_writers(_Config) ->
    C = erlmcp_ct_app:name("watched"),
    F = erlmcp_ct_app:name("watched"),
    H = erlmcp_ct_app:name("watched"),
    Writers = [spawn_link(fun() -> write(C, F, H, 0) end) || _ <- lists:seq(1, 4)],
    Watched = fun({Name, _}, _) -> binary:match(Name, [C, F, H]) =/= nomatch end,
    Read = fun(Format) ->
        #{samples := Samples} = erlmcp_ct_exposition:parse(Format, ?M:scrape(Format, application)),
        maps:filter(Watched, Samples)
    end,
    Formats = [text, openmetrics],
    Last = lists:foldl(
        fun(I, Before) ->
            Now = Read(lists:nth(1 + I rem 2, Formats)),
            maps:foreach(
                fun(Key, Value) ->
                    Old = maps:get(Key, Before, 0),
                    ?assert(Value >= Old, {Key, Old, Value})
                end, Now),
            ?assertEqual([], maps:keys(Before) -- maps:keys(Now)),
            Now
        end, #{}, lists:seq(1, 60)),
    Counts = [begin
                  Writer ! {stop, self()},
                  receive {Writer, Written} -> Written end
              end || Writer <- Writers],
    Total = lists:sum(Counts),
    ?assert(Total > 0),
    ?assert(map_size(Last) >= 4),
    Final = Read(text),
    Sum = fun(Name) -> lists:sum([V || {{N, _}, V} <- maps:to_list(Final), N =:= Name]) end,
    ?assertEqual(Total, Sum(<<C/binary, "_total">>)),
    ?assertEqual(Total * 0.5, Sum(<<F/binary, "_total">>)),
    ?assertEqual(Total, Sum(<<H/binary, "_count">>)).

write(C, F, H, Written) ->
    receive
        {stop, From} -> From ! {self(), Written}
    after 0 ->
        ok = ?M:inc(C, #{i => Written rem 5}),
        ok = ?M:inc(F, 0.5),
        ok = ?M:observe(H, Written rem 12, #{i => Written rem 2}),
        write(C, F, H, Written + 1)
    end.

%% value/2 has what the caller has recorded itself.
values_beside_writers(_Config) ->
    N = erlmcp_ct_app:name("own"),
    _ = together(?PROCESSES, fun(_) ->
        [begin
             Before = ?M:value(N, #{}),
             ok = ?M:inc(N),
             After = ?M:value(N, #{}),
             true = Before =:= undefined orelse After > Before
         end || _ <- lists:seq(1, 3000)]
    end),
    ?assertEqual(?PROCESSES * 3000, ?M:value(N, #{})).

%% The native server observes each scrape, from threads that are no schedulers.
native_threads(_Config) ->
    Name = <<"erlmcp_scrape_duration_seconds">>,
    #{count := Before} = ?M:value(Name, #{}),
    Each = 25,
    _ = together(?PROCESSES, fun(_) ->
        [{200, _, _} = erlmcp_ct_app:get("/metrics/custom") || _ <- lists:seq(1, Each)]
    end),
    #{count := After, sum := Sum, buckets := Buckets} = ?M:value(Name, #{}),
    ?assertEqual(Before + ?PROCESSES * Each, After),
    ?assertEqual({infinity, After}, lists:last(Buckets)),
    ?assert(Sum > 0).

%% Internals

%% Ways to add Value to a counter once.
ways(Value) ->
    [{by_handle, fun(N, L) ->
         Series = ?M:bind(counter, N, L),
         fun() -> ok = ?M:inc(Series, Value) end
     end},
     {by_name, fun(N, L) -> fun() -> ok = ?M:record_counter(N, Value, L) end end},
     {by_name_and_map_built_per_call, fun(N, L) ->
         Pairs = maps:to_list(L),
         fun() -> ok = ?M:inc(<<N/binary>>, maps:from_list(Pairs), Value) end
     end},
     {by_string, fun(N, L) ->
         fun() -> ok = ?M:inc(binary_to_list(N), Value, L) end
     end}].

load(Each, Once) ->
    _ = together(?PROCESSES, fun(_) -> repeat(Each, Once) end),
    ok.

repeat(0, _Once) ->
    ok;
repeat(N, Once) ->
    _ = Once(),
    repeat(N - 1, Once).

close(Expected, Value) ->
    ?assert(abs(Value - Expected) =< 1.0e-12 * Expected, {Expected, Value}).
