%% @private The metrics of the health checks.
%%
%% They tell what the last run came to: checks run when somebody probes.
-module(erlmcp_instrumentation_health_metrics).

-export([state/2]).
-export([result/2]).
-export([forget/1]).

-define(NIF, erlmcp_instrumentation_nif).
-define(UP, <<"erlmcp_health_check_up">>).
-define(DURATION, <<"erlmcp_health_check_duration_seconds">>).
-define(FAILURES, <<"erlmcp_health_check_failures_total">>).
-define(LAST_RUN, <<"erlmcp_health_check_last_run_timestamp_seconds">>).
-define(FAILURE_REASONS, [failed, raised, timeout, killed, bad_result]).

%% @doc Shows a check that is not run but known. Sends no message.
-spec state(erlmcp_instrumentation_health_registry:name(), boolean()) -> ok.
state(Name, Up) ->
    _ = ?NIF:set(?UP, up(Up), #{check => Name}),
    ok.

%% @doc Records a run. Sends no message, uses no dirty scheduler.
-spec result(erlmcp_instrumentation_health_registry:name(),
             erlmcp_instrumentation_health_check:result()) -> ok.
result(Name, #{reason := Reason, duration := Duration}) ->
    Labels = #{check => Name},
    Second = erlang:convert_time_unit(1, second, native),
    _ = ?NIF:set(?UP, up(Reason =:= passed), Labels),
    _ = ?NIF:observe(?DURATION, Duration / Second, Labels),
    _ = ?NIF:set(?LAST_RUN, erlang:system_time(millisecond) / 1000, Labels),
    _ = [?NIF:add(?FAILURES, 1, Labels#{reason => Reason}) || Reason =/= passed],
    ok.

%% @doc Ends the series of a check. Uses a dirty scheduler.
-spec forget(erlmcp_instrumentation_health_registry:name()) -> ok.
forget(Name) ->
    Labels = #{check => Name},
    _ = [?NIF:remove(Metric, Labels) || Metric <- [?UP, ?DURATION, ?LAST_RUN]],
    _ = [?NIF:remove(?FAILURES, Labels#{reason => Reason}) || Reason <- ?FAILURE_REASONS],
    ok.

-spec up(boolean()) -> 0 | 1.
up(true) -> 1;
up(false) -> 0.
