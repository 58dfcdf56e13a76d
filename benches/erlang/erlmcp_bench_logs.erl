%% @doc What a log line costs: rows of the bench.
%%
%% The rival is OTP's `logger_formatter', which prints level, time and message, and
%% none of the metadata. Both lines are brought into the form that handlers write.
-module(erlmcp_bench_logs).

-export([rows/0]).

-define(RUNS, 7).
-define(CALLS, 5000).
-define(THEIRS, #{single_line => true}).

-spec rows() -> [tuple()].
rows() ->
    [{"log", "log line, 3 fields of metadata", "logger_formatter, no fields", 1.0,
      fun() -> lines(fun guide/0, fun outside/1) end},
     {"log_format", "log line, format with 2 arguments", "logger_formatter, no fields", 1.0,
      fun() -> lines(fun format/0, fun outside/1) end},
     {"log_report", "log line, report of 5 pairs", "logger_formatter", 1.0,
      fun() -> lines(fun report/0, fun outside/1) end},
     {"log_span", "log line in a span, 3 fields", "logger_formatter, no fields", 1.0,
      fun() -> lines(fun guide/0, fun in_span/1) end},
     {"log_filter", "ids and count of a message in a span", "logger_filters:domain/2", 20.0,
      fun() -> filter(fun in_span/1) end},
     {"log_filter_0", "count of a message without a span", "logger_filters:domain/2", 5.0,
      fun() -> filter(fun outside/1) end}].

%% Rows

%% The event is made where it is measured: it is that process' own.
lines(Event, Where) ->
    compare(fun() -> Where(fun() -> loop(?CALLS, erlmcp_log_formatter, Event(), #{}) end) end,
            fun() -> Where(fun() -> loop(?CALLS, logger_formatter, Event(), ?THEIRS) end) end).

in_span(Fun) -> erlmcp_otel_instrumentation:with_span(<<"logs">>, Fun).

outside(Fun) -> Fun().

filter(Where) ->
    #{filters := Filters} = logger:get_primary_config(),
    {erlmcp_log_context, Ours} = lists:keyfind(erlmcp_log_context, 1, Filters),
    Theirs = {fun logger_filters:domain/2, {log, super, [otp]}},
    compare(fun() -> Where(fun() -> loop_filter(?CALLS, Ours, guide()) end) end,
            fun() -> Where(fun() -> loop_filter(?CALLS, Theirs, guide()) end) end).

guide() ->
    event({string, <<"Request processed">>}, #{request_id => 42, status => success, duration_ms => 1.5}).

format() ->
    event({"~ts took ~b ms", [<<"tools/call">>, 12]}, #{}).

report() ->
    event({report, #{what => started, session => <<"a7f3">>, transport => tcp, tries => 3, took_ms => 17}}, #{}).

event(Message, Meta) ->
    #{level => info, msg => Message,
      meta => Meta#{time => erlang:system_time(microsecond), pid => self(), gl => group_leader(),
                    mfa => {erlmcp_server, handle, 2}, line => 117, file => "erlmcp_server.erl"}}.

loop(0, _Formatter, _Event, _Config) ->
    ok;
loop(N, Formatter, Event, Config) ->
    <<_/binary>> = unicode:characters_to_binary(Formatter:format(Event, Config)),
    loop(N - 1, Formatter, Event, Config).

loop_filter(0, _Filter, _Event) ->
    ok;
loop_filter(N, {Fun, Argument} = Filter, Event) ->
    _ = Fun(Event, Argument),
    loop_filter(N - 1, Filter, Event).

compare(Ours, Theirs) ->
    _ = [erlmcp_bench:timed(Loop) || Loop <- [Ours, Theirs]],
    Pairs = [{erlmcp_bench:timed(Ours), erlmcp_bench:timed(Theirs)} || _ <- lists:seq(1, ?RUNS)],
    Per = fun(Microseconds) -> Microseconds * 1000 / ?CALLS end,
    #{ours => Per(median([O || {O, _} <- Pairs])), rival => Per(median([T || {_, T} <- Pairs])), unit => "ns",
      ratio => median([O / T || {O, T} <- Pairs])}.

median(Values) ->
    lists:nth((length(Values) + 1) div 2, lists:sort(Values)).
