%% @doc The figures to reach, each against a rival in the same run.
%%
%% `make bench' runs all rows; names of rows as arguments run only those. Every
%% row is the median of several runs in which the two sides take turns, so that
%% a machine that slows down slows both. Durations are of a loop of calls, its
%% own cost (2 ns) included on both sides.
%%
%% Rivals: OTP's `counters' and `ets', and prometheus.erl 4.9.1 as Debian's
%% rabbitmq-server package carries it.
-module(erlmcp_bench).

-export([main/1]).
%% For rows in other modules.
-export([timed/1]).
-export([together/2]).

-define(RUNS, 7).
-define(CALLS, 2000000).

-type row() :: {Name :: string(), Title :: string(), Rival :: string(),
                Reach :: number(), fun(() -> measured())}.
-type measured() :: #{skipped := string()} | #{
    ours := number(), rival := number(), unit := string(), ratio := number(), note => string()
}.

%% API

-spec main([string()]) -> no_return().
main(Names) ->
    case Names -- [Name || {Name, _, _, _, _} <- rows()] of
        [] ->
            run([Row || {Name, _, _, _, _} = Row <- rows(), Names =:= [] orelse lists:member(Name, Names)]);
        Unknown ->
            io:format(standard_error, "unknown row: ~ts~nrows: ~ts~n",
                      [lists:join(" ", Unknown), lists:join(" ", [N || {N, _, _, _, _} <- rows()])]),
            halt(2)
    end.

-spec run([row()]) -> no_return().
run(Rows) ->
    application:load(erlmcp_instrumentation),
    application:set_env(erlmcp_instrumentation, http_port, 0),
    application:set_env(erlmcp_instrumentation, custom_port, off),
    application:set_env(erlmcp_instrumentation, node_series_limit, 2000000),
    %% Room for a whole run: what is refused would cost less.
    application:set_env(erlmcp_instrumentation, bsp_max_queue_size, 400000),
    application:set_env(erlmcp_instrumentation, queue_max_bytes, 1 bsl 30),
    {ok, _} = application:ensure_all_started(erlmcp_instrumentation),
    {ok, _} = application:ensure_all_started(prometheus),
    %% Spans are measured in several settings: the application's stops are told
    %% to nobody.
    ok = logger:set_primary_config(level, warning),
    io:format("~ts~n~n~-42s ~-26s ~12s ~12s ~8s ~8s~n~ts~n",
              [machine(), "", "rival", "ours", "rival", "ratio", "reach", lists:duplicate(112, $-)]),
    lists:foreach(fun print/1, Rows),
    halt(0).

-spec print(row()) -> ok.
print({_Name, Title, Rival, Reach, Measure}) ->
    print(Title, Rival, Reach, Measure()).

-spec print(string(), string(), number(), measured()) -> ok.
print(Title, _Rival, _Reach, #{skipped := Reason}) ->
    io:format("~-42s skipped: ~ts~n", [Title, Reason]);
print(Title, Rival, Reach, #{ours := Ours, rival := Theirs, unit := Unit, ratio := Ratio} = Measured) ->
    Met = case Title of
        "every core" ++ _ -> Ratio >= Reach;
        _ -> Ratio =< Reach
    end,
    Verdict = case Met of true -> ""; false -> "  not yet" end,
    io:format("~-42s ~-26s ~12s ~12s ~8.3f ~8.3f~ts~n",
              [Title, Rival, number(Ours, Unit), number(Theirs, Unit), float(Ratio), float(Reach), Verdict]),
    case Measured of
        #{note := Note} -> io:format("    ~ts~n", [Note]);
        _ -> ok
    end.

-spec number(number(), string()) -> string().
number(Value, Unit) ->
    lists:flatten(io_lib:format("~.1f ~ts", [float(Value), Unit])).

-spec machine() -> string().
machine() ->
    Cpu = os:cmd("grep -m1 'model name' /proc/cpuinfo | cut -d: -f2- | tr -d '\\n'"),
    #{version := Nif} = erlmcp_metrics:info(),
    lists:flatten(io_lib:format(
        "~ts, ~b cores, Erlang/OTP ~ts (erts ~ts, ~ts), ~ts, NIF ~ts; medians of ~b runs",
        [string:trim(Cpu), erlang:system_info(schedulers_online), erlang:system_info(otp_release),
         erlang:system_info(version), erlang:system_info(emu_flavor),
         string:trim(os:cmd("uname -sr")), Nif, ?RUNS])).

%% Rows

-spec rows() -> [row()].
rows() ->
    [{"inc", "inc on a series, one process", "counters:add/3 (wc)", 0.9, fun inc/0},
     {"cores", "every core busy: share of linear", "itself on one core", 0.95, fun cores/0},
     {"name", "record_counter(\"requests_total\", 1, #{})", "prometheus_counter:inc/1", 0.25, fun name/0},
     {"literal", "three binary labels, literal map", "prometheus_counter:inc/3", 0.38, fun literal/0},
     {"built", "three binary labels, map built per call", "prometheus_counter:inc/3", 0.5, fun built/0},
     {"observe", "observe, one label, 11 buckets", "prometheus_histogram:observe", 1 / 40, fun observe/0},
     {"ets", "inc on a series, one process", "ets:update_counter/3", 1.0, fun ets_counter/0},
     {"bytes_counter", "bytes a series, counter", "prometheus.erl", 0.5, fun bytes_counter/0},
     {"bytes_histogram", "bytes a series, histogram, 11 buckets", "prometheus.erl", 0.5, fun bytes_histogram/0},
     {"scrape", "text of 10k counters + 10k histograms", "prometheus_text_format", 1 / 20, fun scrape/0},
     {"beside", "p99 of record_counter beside a scrape", "itself alone", 1.2, fun beside/0}
     | erlmcp_bench_spans:rows() ++ erlmcp_bench_logs:rows()].

-spec inc() -> measured().
inc() ->
    Series = erlmcp_metrics:bind(counter, "bench_inc", #{}),
    Counter = counters:new(1, [write_concurrency]),
    compare(fun() -> loop_inc(?CALLS, Series) end, fun() -> loop_counters(?CALLS, Counter) end).

-spec ets_counter() -> measured().
ets_counter() ->
    Series = erlmcp_metrics:bind(counter, "bench_inc", #{}),
    Table = ets:new(bench, [public, {write_concurrency, true}]),
    true = ets:insert(Table, {key, 0}),
    compare(fun() -> loop_inc(?CALLS, Series) end, fun() -> loop_ets(?CALLS, Table) end).

-spec name() -> measured().
name() ->
    prometheus_counter:declare([{name, bench_name}, {help, "Bench."}]),
    compare(fun() -> loop_name(?CALLS) end, fun() -> loop_prometheus(?CALLS) end).

-spec literal() -> measured().
literal() ->
    declare_labelled(),
    compare(fun() -> loop_literal(?CALLS) end, fun() -> loop_prometheus_labels(?CALLS) end).

-spec built() -> measured().
built() ->
    declare_labelled(),
    Values = {<<"tools/call">>, <<"success">>, <<"transport">>},
    compare(fun() -> loop_built(?CALLS, Values) end,
            fun() -> loop_prometheus_built(?CALLS, Values) end).

-spec declare_labelled() -> term().
declare_labelled() ->
    prometheus_counter:declare([{name, bench_labels}, {help, "Bench."},
                                {labels, [method, status, component]}]).

-define(BUCKETS, [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]).

-spec observe() -> measured().
observe() ->
    ok = erlmcp_metrics:declare(histogram, "bench_observe", #{buckets => ?BUCKETS}),
    prometheus_histogram:declare([{name, bench_observe}, {help, "Bench."}, {labels, [method]},
                                  {buckets, ?BUCKETS}]),
    compare(fun() -> loop_observe(?CALLS) end,
            fun() -> loop_prometheus_observe(?CALLS div 10) end, 1, 10).

%% Two threads of one physical core, or a busy host, keep any program from
%% scaling: the share that OTP's own counters reach is told beside ours.
-spec cores() -> measured().
cores() ->
    Cores = erlang:system_info(schedulers_online),
    Calls = ?CALLS * 5,
    Series = erlmcp_metrics:bind(counter, "bench_cores", #{}),
    Counter = counters:new(1, [write_concurrency]),
    Loops = [fun() -> loop_inc(Calls, Series) end, fun() -> loop_counters(Calls, Counter) end],
    _ = [together(Cores, Loop) || Loop <- Loops],
    Runs = [[{together(Cores, Loop), together(1, Loop)} || Loop <- Loops]
            || _ <- lists:seq(1, ?RUNS)],
    Ours = [Pair || [Pair, _] <- Runs],
    Theirs = [Pair || [_, Pair] <- Runs],
    Share = fun(Pairs) -> median([Alone / All || {All, Alone} <- Pairs]) end,
    Per = fun(Microseconds) -> Microseconds * 1000 / Calls end,
    #{ours => Per(median([All || {All, _} <- Ours])),
      rival => Per(median([Alone || {_, Alone} <- Ours])),
      unit => "ns",
      ratio => Share(Ours),
      note => lists:flatten(io_lib:format(
          "~b processes, ns per call and process; counters:add/3 reaches ~.3f of linear in this run",
          [Cores, Share(Theirs)]))}.

-spec scrape() -> measured().
scrape() ->
    fill(10000),
    Ours = fun() -> erlmcp_metrics:scrape(text, application) end,
    Theirs = fun() -> iolist_to_binary(prometheus_text_format:format()) end,
    Pairs = [{timed(Ours), timed(Theirs)} || _ <- lists:seq(1, ?RUNS)],
    #{ours => median([O || {O, _} <- Pairs]) / 1000,
      rival => median([T || {_, T} <- Pairs]) / 1000,
      unit => "ms",
      ratio => median([O / T || {O, T} <- Pairs]),
      note => lists:flatten(io_lib:format("ours ~.2f MB, theirs ~.2f MB",
                                          [byte_size(Ours()) / 1.0e6, byte_size(Theirs()) / 1.0e6]))}.

-spec bytes_counter() -> measured().
bytes_counter() ->
    Measured = bytes(
          counter, fun(N) -> prometheus_counter:inc(bench_bytes_counter, [integer_to_binary(N)], 1) end,
          fun() -> prometheus_counter:declare([{name, bench_bytes_counter}, {help, "Bench."}, {labels, [id]}]) end,
          prometheus_counter_table,
          fun(N) -> erlmcp_metrics:record_counter(bench_bytes_counter, 1, #{id => N}) end),
    prometheus_counter:deregister(bench_bytes_counter),
    erlmcp_metrics:remove(bench_bytes_counter),
    Measured.

-spec bytes_histogram() -> measured().
bytes_histogram() ->
    Measured = bytes(
          histogram,
          fun(N) -> prometheus_histogram:observe(bench_bytes_histogram, [integer_to_binary(N)], 0.3) end,
          fun() ->
              prometheus_histogram:declare([{name, bench_bytes_histogram}, {help, "Bench."},
                                            {labels, [id]}, {buckets, ?BUCKETS}])
          end,
          prometheus_histogram_table,
          fun(N) -> erlmcp_metrics:record_histogram(bench_bytes_histogram, 0.3, #{id => N}) end),
    prometheus_histogram:deregister(bench_bytes_histogram),
    erlmcp_metrics:remove(bench_bytes_histogram),
    Measured.

%% Resident memory of the whole VM, before and after: what the operating system
%% sees, allocators' slack and look-up tables included.
-spec bytes(atom(), fun((pos_integer()) -> term()), fun(() -> term()), atom(),
            fun((pos_integer()) -> term())) -> measured().
bytes(Kind, Theirs, Declare, Table, Ours) ->
    Count = 100000,
    Name = "bench_bytes_" ++ atom_to_list(Kind),
    ok = erlmcp_metrics:declare(Kind, Name, #{limit => Count + 2, description => "Bench."}),
    Declare(),
    Before = ets:info(Table, memory),
    on_one_scheduler(fun() -> each(Count, Theirs) end),
    TheirBytes = (ets:info(Table, memory) - Before) * erlang:system_info(wordsize) / Count,
    Held = maps:get(memory_bytes, erlmcp_metrics:info()),
    Resident = resident(),
    on_one_scheduler(fun() -> each(Count, Ours) end),
    OurBytes = (maps:get(memory_bytes, erlmcp_metrics:info()) - Held) / Count,
    Grown = (resident() - Resident) / Count,
    #{ours => OurBytes, rival => TheirBytes, unit => "B", ratio => OurBytes / TheirBytes,
      note => lists:flatten(io_lib:format(
          "~b series, recorded on one scheduler; the VM's resident memory grew by ~.1f B a series",
          [Count, float(Grown)]))}.

%% One process records and times each call; a scrape of a million series runs
%% beside it, and then not.
-spec beside() -> measured().
beside() ->
    Limit = 1000002,
    ok = erlmcp_metrics:declare(counter, "bench_million", #{limit => Limit}),
    each(1000000, fun(N) -> erlmcp_metrics:record_counter(bench_million, 1, #{id => N}) end),
    Runs = 3,
    Pairs = [begin
        Alone = percentile99(),
        Scraper = spawn_link(fun() -> scrape_forever() end),
        timer:sleep(100),
        Beside = percentile99(),
        unlink(Scraper),
        Monitor = monitor(process, Scraper),
        exit(Scraper, kill),
        receive {'DOWN', Monitor, process, _, _} -> ok end,
        {Beside, Alone}
    end || _ <- lists:seq(1, Runs)],
    erlmcp_metrics:remove(bench_million),
    #{ours => median([B || {B, _} <- Pairs]), rival => median([A || {_, A} <- Pairs]),
      unit => "ns", ratio => median([B / A || {B, A} <- Pairs]),
      note => "p99 over batches of 100 calls"}.

-spec scrape_forever() -> no_return().
scrape_forever() ->
    _ = erlmcp_metrics:scrape(text, application),
    scrape_forever().

-spec percentile99() -> float().
percentile99() ->
    Batches = 20000,
    Times = [begin
        Start = erlang:monotonic_time(nanosecond),
        loop_name(100),
        (erlang:monotonic_time(nanosecond) - Start) / 100
    end || _ <- lists:seq(1, Batches)],
    lists:nth(Batches * 99 div 100, lists:sort(Times)).

-spec fill(pos_integer()) -> ok.
fill(Count) ->
    ok = erlmcp_metrics:declare(counter, bench_fill, #{limit => Count + 2, description => "Bench."}),
    ok = erlmcp_metrics:declare(histogram, bench_fill_seconds,
                                #{limit => Count + 2, buckets => ?BUCKETS, description => "Bench."}),
    prometheus_counter:declare([{name, bench_fill_total}, {help, "Bench."}, {labels, [id]}]),
    prometheus_histogram:declare([{name, bench_fill_seconds}, {help, "Bench."}, {labels, [id]},
                                  {buckets, ?BUCKETS}]),
    each(Count, fun(N) ->
        Id = integer_to_binary(N),
        Value = (N rem 1000) / 100,
        erlmcp_metrics:record_counter(bench_fill, N, #{id => Id}),
        erlmcp_metrics:record_histogram(bench_fill_seconds, Value, #{id => Id}),
        prometheus_counter:inc(bench_fill_total, [Id], N),
        prometheus_histogram:observe(bench_fill_seconds, [Id], Value)
    end).

%% Measuring

-spec compare(fun(() -> ok), fun(() -> ok)) -> measured().
compare(Ours, Rival) ->
    compare(Ours, Rival, 1, 1).

%% The divisors say by how much fewer calls a side makes.
-spec compare(fun(() -> ok), fun(() -> ok), pos_integer(), pos_integer()) -> measured().
compare(Ours, Rival, OurDivisor, RivalDivisor) ->
    %% Once to warm up: code paths, caches, first registrations.
    _ = {timed(Ours), timed(Rival)},
    Pairs = [{timed(Ours) * OurDivisor, timed(Rival) * RivalDivisor} || _ <- lists:seq(1, ?RUNS)],
    Per = fun(Microseconds) -> Microseconds * 1000 / ?CALLS end,
    #{ours => Per(median([O || {O, _} <- Pairs])),
      rival => Per(median([R || {_, R} <- Pairs])),
      unit => "ns",
      ratio => median([O / R || {O, R} <- Pairs])}.

%% Microseconds of a fun in a process of its own, with a heap that needs no
%% collection for what a loop leaves behind between two.
-spec timed(fun(() -> term())) -> pos_integer().
timed(Fun) ->
    together(1, Fun).

-spec together(pos_integer(), fun(() -> term())) -> pos_integer().
together(Count, Fun) ->
    Parent = self(),
    Pids = [spawn_opt(fun() ->
        receive start -> ok end,
        {Microseconds, _} = timer:tc(Fun),
        Parent ! {self(), Microseconds}
    end, [link]) || _ <- lists:seq(1, Count)],
    [Pid ! start || Pid <- Pids],
    lists:max([receive {Pid, Microseconds} -> Microseconds end || Pid <- Pids]).

%% Both sides keep something for each scheduler that records.
-spec on_one_scheduler(fun(() -> ok)) -> ok.
on_one_scheduler(Fun) ->
    {Pid, Monitor} = spawn_opt(Fun, [monitor, {scheduler, 1}]),
    receive {'DOWN', Monitor, process, Pid, normal} -> ok end.

-spec median([number()]) -> number().
median(Numbers) ->
    lists:nth((length(Numbers) + 1) div 2, lists:sort(Numbers)).

-spec resident() -> non_neg_integer().
resident() ->
    {ok, Statm} = file:read_file("/proc/self/statm"),
    [_, Pages | _] = binary:split(Statm, <<" ">>, [global]),
    binary_to_integer(Pages) * 4096.

-spec each(non_neg_integer(), fun((pos_integer()) -> term())) -> ok.
each(0, _Fun) -> ok;
each(N, Fun) -> _ = Fun(N), each(N - 1, Fun).

%% Loops: the calls as a user writes them

loop_inc(0, _Series) -> ok;
loop_inc(N, Series) -> erlmcp_metrics:inc(Series, 1), loop_inc(N - 1, Series).

loop_counters(0, _Counter) -> ok;
loop_counters(N, Counter) -> counters:add(Counter, 1, 1), loop_counters(N - 1, Counter).

loop_ets(0, _Table) -> ok;
loop_ets(N, Table) -> ets:update_counter(Table, key, 1), loop_ets(N - 1, Table).

loop_name(0) -> ok;
loop_name(N) -> erlmcp_metrics:record_counter("requests_total", 1, #{}), loop_name(N - 1).

loop_prometheus(0) -> ok;
loop_prometheus(N) -> prometheus_counter:inc(bench_name), loop_prometheus(N - 1).

loop_literal(0) ->
    ok;
loop_literal(N) ->
    erlmcp_metrics:record_counter(<<"bench_labels">>, 1, #{
        <<"method">> => <<"tools/call">>,
        <<"status">> => <<"success">>,
        <<"component">> => <<"transport">>
    }),
    loop_literal(N - 1).

loop_built(0, _Values) ->
    ok;
loop_built(N, {Method, Status, Component} = Values) ->
    erlmcp_metrics:record_counter(<<"bench_labels">>, 1, #{
        <<"method">> => Method, <<"status">> => Status, <<"component">> => Component
    }),
    loop_built(N - 1, Values).

loop_prometheus_labels(0) ->
    ok;
loop_prometheus_labels(N) ->
    prometheus_counter:inc(bench_labels, [<<"tools/call">>, <<"success">>, <<"transport">>], 1),
    loop_prometheus_labels(N - 1).

loop_prometheus_built(0, _Values) ->
    ok;
loop_prometheus_built(N, {Method, Status, Component} = Values) ->
    prometheus_counter:inc(bench_labels, [Method, Status, Component], 1),
    loop_prometheus_built(N - 1, Values).

loop_observe(0) -> ok;
loop_observe(N) ->
    erlmcp_metrics:record_histogram("bench_observe", 0.3, #{<<"method">> => <<"get">>}),
    loop_observe(N - 1).

loop_prometheus_observe(0) -> ok;
loop_prometheus_observe(N) ->
    prometheus_histogram:observe(bench_observe, [<<"get">>], 0.3),
    loop_prometheus_observe(N - 1).
