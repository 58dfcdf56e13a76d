%% @doc What one recording costs on this machine, in nanoseconds.
-module(erlmcp_demo_cost).

-export([measure/0]).
-export([median/1]).

-define(ROUNDS, 9).
-define(CALLS, 100000).
-define(COUNTER, erlmcp_demo_cost_total).
-define(HISTOGRAM, erlmcp_demo_cost_seconds).

%% @doc Measures each way to record, and OTP's own counter as a yardstick.
%%
%% Each figure is the median of nine rounds of 100 000 calls, less the median of
%% a loop around nothing. A round takes every call once, so that a busy moment
%% of the machine does not fall on one of them alone. Takes less than a second;
%% the series are removed when it is done.
-spec measure() -> [{Call :: string(), Nanoseconds :: float()}].
measure() ->
    Labels = #{<<"method">> => <<"tools/call">>, <<"status">> => <<"success">>,
               <<"component">> => <<"tools">>},
    Calls = calls(Labels),
    Funs = [fun() -> ok end | [Fun || {_, Fun} <- Calls]],
    _ = once_each(Funs),
    [Nothing | Medians] = medians([once_each(Funs) || _ <- lists:seq(1, ?ROUNDS)]),
    _ = [erlmcp_metrics:remove(Name, L)
         || {Name, L} <- [{?COUNTER, #{}}, {?COUNTER, Labels}, {?HISTOGRAM, #{}}]],
    [{Call, max(0.0, Median - Nothing)} || {{Call, _}, Median} <- lists:zip(Calls, Medians)].

%% @doc The middle one of some numbers, the upper of two.
-spec median([number(), ...]) -> number().
median(Numbers) ->
    lists:nth(length(Numbers) div 2 + 1, lists:sort(Numbers)).

-spec calls(map()) -> [{string(), fun(() -> term())}].
calls(Labels) ->
    Series = erlmcp_metrics:bind(counter, ?COUNTER, #{}),
    Buckets = erlmcp_metrics:bind(histogram, ?HISTOGRAM, #{}),
    Rival = counters:new(1, [write_concurrency]),
    [{"counters:add/3 with write_concurrency, as a yardstick",
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
      fun() -> erlmcp_metrics:record_histogram(?HISTOGRAM, 0.0042, #{}) end}].

-spec medians([[float()]]) -> [float()].
medians([[] | _]) ->
    [];
medians(Rounds) ->
    [median([Time || [Time | _] <- Rounds]) | medians([Others || [_ | Others] <- Rounds])].

-spec once_each([fun(() -> term())]) -> [Nanoseconds :: float()].
once_each(Funs) ->
    [run_once(Fun) || Fun <- Funs].

-spec run_once(fun(() -> term())) -> Nanoseconds :: float().
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
