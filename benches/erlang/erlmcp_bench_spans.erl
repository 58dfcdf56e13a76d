%% @doc What spans cost: rows of the bench.
%%
%% opentelemetry-erlang comes from hex.pm, which is not everywhere to be had. Its
%% figures were taken on another machine, with `prometheus_counter:inc/1' beside
%% them; here the same call runs beside ours, and a figure to reach is a part of
%% opentelemetry-erlang's, in units of that call. Notes tell the ratios to an
%% `ets:insert/2' of the same attributes and to an empty fun.
-module(erlmcp_bench_spans).

-export([rows/0]).

-define(RUNS, 7).
-define(CALLS, 100000).
%% opentelemetry-erlang 1.7, and prometheus_counter:inc/1 on the machine where it
%% was measured, in nanoseconds.
-define(OTEL_INC, 170).
-define(OTEL_SAMPLED, 3800).
-define(OTEL_NOT_SAMPLED, 2600).
-define(OTEL_INSIDE, 5800).
-define(OTEL_EMPTY, 3100).
-define(OTEL_CPU, 15000).
-define(OTEL_RATE, 69000).

-define(NIF, erlmcp_instrumentation_nif).
-define(FOUR, #{
    <<"http.request.method">> => <<"GET">>,
    <<"url.path">> => <<"/users/123">>,
    <<"http.response.status_code">> => 200,
    <<"server.address">> => <<"example.com">>
}).

-spec rows() -> [tuple()].
rows() ->
    Part = fun(Ns, Part) -> Ns * Part / ?OTEL_INC end,
    [{"span", "with_span, 4 attributes, sampled", "prometheus_counter:inc/1",
      Part(?OTEL_SAMPLED, 0.2), fun() -> sampled(?FOUR) end},
     {"span_off", "with_span, 4 attributes, not sampled", "prometheus_counter:inc/1",
      Part(?OTEL_NOT_SAMPLED, 0.08), fun not_sampled/0},
     {"span_0", "with_span, no attributes, sampled", "prometheus_counter:inc/1",
      Part(?OTEL_EMPTY, 0.2), fun() -> sampled(#{}) end},
     {"span_16", "with_span, 16 attributes, sampled", "prometheus_counter:inc/1",
      Part(?OTEL_SAMPLED, 0.4), fun() -> sampled(sixteen()) end},
     {"span_inside", "with_span, 4 set inside and 1 event", "prometheus_counter:inc/1",
      Part(?OTEL_INSIDE, 0.2), fun inside/0},
     {"span_nested", "with_span, three deep, a span", "prometheus_counter:inc/1",
      Part(?OTEL_EMPTY, 0.2), fun nested/0},
     {"span_tail", "with_span, 4, not sampled, tail rule", "prometheus_counter:inc/1",
      Part(?OTEL_SAMPLED, 0.2), fun tail/0},
     {"request", "trace_request: span, 4 metrics, log ids", "prometheus_counter:inc/1",
      Part(?OTEL_SAMPLED, 1), fun request/0},
     {"span_cpu", "CPU of a span, start to the wire", "prometheus_counter:inc/1",
      Part(?OTEL_CPU, 1 / 8), fun cpu/0},
     {"span_rate", "spans/s into a Collector, none dropped", "opentelemetry-erlang's",
      1.0, fun rate/0}].

%% Rows

sampled(Attributes) ->
    Options = #{attributes => Attributes},
    with_notes(Attributes, fun() -> loop_with(?CALLS, Options) end, 1).

not_sampled() ->
    in_setting(#{traces_sampler => always_off}, fun() -> sampled(?FOUR) end).

tail() ->
    Setting = #{traces_sampler => always_off, tail_errors => true},
    in_setting(Setting, fun() -> sampled(?FOUR) end).

inside() ->
    with_notes(?FOUR, fun() -> loop_inside(?CALLS) end, 1).

nested() ->
    with_notes(#{}, fun() -> loop_nested(?CALLS div 3) end, 1).

request() ->
    with_notes(?FOUR, fun() -> loop_request(?CALLS) end, 1).

%% The whole process' CPU time, the exporter's threads included, with a real
%% receiver in a process of its own.
cpu() ->
    with_receiver(fun(_Collector) ->
        Calls = 10 * ?CALLS,
        Options = #{attributes => ?FOUR},
        _ = paced(?CALLS, Options),
        Runs = [begin
            Before = cpu_ns(),
            ok = paced(Calls, Options),
            ok = erlmcp_otel_instrumentation:force_flush(30000),
            (cpu_ns() - Before) / Calls
        end || _ <- lists:seq(1, 3)],
        Ours = median(Runs),
        Rival = median([inc_ns() || _ <- lists:seq(1, ?RUNS)]),
        #{ours => Ours, rival => Rival, unit => "ns", ratio => Ours / Rival, note => receiver_note()}
    end).

%% Two processes make spans as fast as there is room in the queue.
rate() ->
    with_receiver(fun(Collector) ->
        Calls = 10 * ?CALLS,
        #{accepted := AcceptedBefore} = erlmcp_ct_collector:accepted(Collector),
        #{queue_refused := RefusedBefore} = ?NIF:span_stats(),
        Options = #{attributes => ?FOUR},
        {Microseconds, ok} = timer:tc(fun() ->
            _ = erlmcp_bench:together(2, fun() -> paced(Calls, Options) end),
            erlmcp_otel_instrumentation:force_flush(30000)
        end),
        #{accepted := Accepted, refused := Refused} = erlmcp_ct_collector:accepted(Collector),
        #{queue_refused := RefusedAfter} = ?NIF:span_stats(),
        Rate = 2 * Calls * 1.0e6 / Microseconds,
        Lost = 2 * Calls - (Accepted - AcceptedBefore) + RefusedAfter - RefusedBefore + Refused,
        Note = io_lib:format("~b of ~b spans lost; ~ts", [Lost, 2 * Calls, receiver_note()]),
        #{ours => Rate, rival => ?OTEL_RATE, unit => "/s", ratio => ?OTEL_RATE / Rate,
          note => lists:flatten(Note)}
    end).

receiver_note() ->
    "gRPC into the OpenTelemetry Collector (nop exporter), which shares the machine".

%% Measuring

%% Ours in turns with the rival; the queue is emptied between two runs, and no
%% span may have been refused by it.
with_notes(Attributes, Ours, Divisor) ->
    declare(),
    Table = ets:new(bench_spans, [public, {write_concurrency, true}]),
    #{queue_refused := Before} = ?NIF:span_stats(),
    Loops = [Ours, fun() -> loop_inc(?CALLS) end,
             fun() -> loop_insert(?CALLS, Table, Attributes) end, fun() -> loop_empty(?CALLS) end],
    Run = fun() -> [begin ok = flush(), erlmcp_bench:timed(Loop) * 1000 / ?CALLS end || Loop <- Loops] end,
    _ = Run(),
    Runs = [Run() || _ <- lists:seq(1, ?RUNS)],
    #{queue_refused := After} = ?NIF:span_stats(),
    Refused = After - Before,
    [Span, Counter, Insert, Empty] = [median(Column) || Column <- transposed(Runs)],
    Note = io_lib:format("~.1f x an ets:insert of the attributes (~b ns), ~b x an empty fun "
                         "(~.1f ns); ~b spans refused",
                         [Span / Divisor / Insert, round(Insert), round(Span / Divisor / Empty), Empty,
                          Refused]),
    #{ours => Span / Divisor, rival => Counter, unit => "ns",
      ratio => median([S / Divisor / C || [S, C | _] <- Runs]), note => lists:flatten(Note)}.

declare() ->
    prometheus_counter:declare([{name, bench_spans}, {help, "Bench."}]).

flush() ->
    erlmcp_otel_instrumentation:force_flush(30000).

transposed([[] | _]) -> [];
transposed(Rows) -> [[hd(Row) || Row <- Rows] | transposed([tl(Row) || Row <- Rows])].

inc_ns() ->
    declare(),
    erlmcp_bench:timed(fun() -> loop_inc(?CALLS) end) * 1000 / ?CALLS.

%% Makes spans, and waits whenever the queue is half full.
paced(0, _Options) ->
    ok;
paced(Calls, Options) ->
    Some = min(1000, Calls),
    ok = loop_with(Some, Options),
    ok = wait_for_room(),
    paced(Calls - Some, Options).

wait_for_room() ->
    case ?NIF:span_stats() of
        #{queue_held := Held, queue_capacity := Capacity} when 2 * Held > Capacity ->
            timer:sleep(1),
            wait_for_room();
        _ ->
            ok
    end.

%% User and system time of this process, in nanoseconds.
cpu_ns() ->
    {ok, Stat} = file:read_file("/proc/self/stat"),
    [_, Fields] = binary:split(Stat, <<") ">>),
    Parts = binary:split(Fields, <<" ">>, [global]),
    Ticks = binary_to_integer(lists:nth(12, Parts)) + binary_to_integer(lists:nth(13, Parts)),
    Ticks * 10000000.

with_receiver(Fun) ->
    case erlmcp_ct_collector:executable() of
        {skip, Reason} ->
            #{skipped => Reason};
        {ok, _} ->
            Dir = filename:join("_build", "bench"),
            Collector = erlmcp_ct_collector:start(Dir, #{}),
            try
                Url = list_to_binary(erlmcp_ct_collector:url(Collector, grpc)),
                in_setting(#{otlp_endpoint => Url, otlp_protocol => grpc,
                             metrics_exporter => none}, fun() -> Fun(Collector) end)
            after
                erlmcp_ct_collector:stop(Collector)
            end
    end.

%% Runs with other settings, and the ones before afterwards.
in_setting(Settings, Fun) ->
    Before = maps:map(fun(Key, _) -> application:get_env(erlmcp_instrumentation, Key) end, Settings),
    restart(Settings),
    try
        Fun()
    after
        _ = [application:unset_env(erlmcp_instrumentation, Key) || {Key, undefined} <- maps:to_list(Before)],
        restart(maps:from_list([{Key, Value} || {Key, {ok, Value}} <- maps:to_list(Before)]))
    end.

restart(Settings) ->
    ok = application:stop(erlmcp_instrumentation),
    maps:foreach(fun(Key, Value) -> application:set_env(erlmcp_instrumentation, Key, Value) end, Settings),
    ok = application:start(erlmcp_instrumentation).

median(Numbers) ->
    lists:nth((length(Numbers) + 1) div 2, lists:sort(Numbers)).

sixteen() ->
    maps:from_list([{<<"attribute.", (integer_to_binary(N))/binary>>, attribute(N)} || N <- lists:seq(1, 16)]).

attribute(N) when N rem 2 =:= 0 -> N;
attribute(N) -> <<"value ", (integer_to_binary(N))/binary>>.

%% Loops: the calls as a user writes them

loop_empty(0) -> ok;
loop_empty(N) -> _ = call(fun() -> ok end), loop_empty(N - 1).

call(Fun) -> Fun().

loop_inc(0) -> ok;
loop_inc(N) -> prometheus_counter:inc(bench_spans), loop_inc(N - 1).

loop_insert(0, _Table, _Attributes) -> ok;
loop_insert(N, Table, Attributes) -> ets:insert(Table, {span, Attributes}), loop_insert(N - 1, Table, Attributes).

loop_with(0, _Options) -> ok;
loop_with(N, Options) ->
    ok = erlmcp_otel_instrumentation:with_span(<<"GET /users/:id">>, Options, fun() -> ok end),
    loop_with(N - 1, Options).

loop_inside(0) -> ok;
loop_inside(N) ->
    true = erlmcp_otel_instrumentation:with_span(<<"GET /users/:id">>, fun() ->
        erlmcp_otel_instrumentation:set_attributes(?FOUR),
        erlmcp_otel_instrumentation:add_event(<<"cache.miss">>, #{})
    end),
    loop_inside(N - 1).

loop_nested(0) -> ok;
loop_nested(N) ->
    ok = erlmcp_otel_instrumentation:with_span(<<"one">>, fun() ->
        erlmcp_otel_instrumentation:with_span(<<"two">>, fun() ->
            erlmcp_otel_instrumentation:with_span(<<"three">>, fun() -> ok end)
        end)
    end),
    loop_nested(N - 1).

loop_request(0) -> ok;
loop_request(N) ->
    Request = #{method => <<"tools/call">>, request_id => N, endpoint => <<"/mcp">>, user_id => <<"u-17">>},
    ok = erlmcp_otel_instrumentation:trace_request(Request, fun() -> ok end),
    loop_request(N - 1).
