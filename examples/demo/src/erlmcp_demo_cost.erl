%% @doc What one recording costs on this machine, in nanoseconds.
-module(erlmcp_demo_cost).

-export([measure/0]).
-export([median/1]).

-define(RUNS, 7).
-define(CALLS, 200000).
-define(COUNTER, erlmcp_demo_cost_total).
-define(HISTOGRAM, erlmcp_demo_cost_seconds).

%% @doc Measures each way to record, and OTP's own counter as a yardstick.
%%
%% Each figure is the median of seven runs of 200 000 calls, less the median of
%% a loop around nothing. Takes about a second; the series go when it is done.
-spec measure() -> [{Call :: string(), Nanoseconds :: float()}].
measure() ->
    Labels = #{<<"method">> => <<"tools/call">>, <<"status">> => <<"success">>,
               <<"component">> => <<"tools">>},
    Series = erlmcp_metrics:bind(counter, ?COUNTER, #{}),
    Buckets = erlmcp_metrics:bind(histogram, ?HISTOGRAM, #{}),
    Rival = counters:new(1, [write_concurrency]),
    Nothing = run(fun() -> ok end),
    Costs = [{Call, max(0.0, run(Fun) - Nothing)} || {Call, Fun} <- [
        {"counters:add/3 with write_concurrency, as a yardstick",
         fun() -> counters:add(Rival, 1, 1) end},
        {"erlmcp_metrics:inc/2 on a bound series",
         fun() -> erlmcp_metrics:inc(Series, 1) end},
        {"erlmcp_metrics:observe/2 on a bound series",
         fun() -> erlmcp_metrics:observe(Buckets, 0.0042) end},
        {"erlmcp_metrics:record_counter/3 with #{}",
         fun() -> erlmcp_metrics:record_counter(?COUNTER, 1, #{}) end},
        {"erlmcp_metrics:record_counter/3 with three binary labels",
         fun() -> erlmcp_metrics:record_counter(?COUNTER, 1, Labels) end},
        {"erlmcp_metrics:record_histogram/3 with #{}",
         fun() -> erlmcp_metrics:record_histogram(?HISTOGRAM, 0.0042, #{}) end}]],
    _ = [erlmcp_metrics:remove(Name, L)
         || {Name, L} <- [{?COUNTER, #{}}, {?COUNTER, Labels}, {?HISTOGRAM, #{}}]],
    Costs.

%% @doc The middle one of some numbers, the upper of two.
-spec median([number(), ...]) -> number().
median(Numbers) ->
    lists:nth(length(Numbers) div 2 + 1, lists:sort(Numbers)).

-spec run(fun(() -> term())) -> Nanoseconds :: float().
run(Fun) ->
    ok = repeat(?CALLS div 10, Fun),
    median([run_once(Fun) || _ <- lists:seq(1, ?RUNS)]).

-spec run_once(fun(() -> term())) -> float().
run_once(Fun) ->
    Started = erlang:monotonic_time(),
    ok = repeat(?CALLS, Fun),
    erlang:convert_time_unit(erlang:monotonic_time() - Started, native, nanosecond) / ?CALLS.

-spec repeat(non_neg_integer(), fun(() -> term())) -> ok.
repeat(0, _Fun) ->
    ok;
repeat(N, Fun) ->
    _ = Fun(),
    repeat(N - 1, Fun).
