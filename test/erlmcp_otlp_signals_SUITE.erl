%% Metrics and log records over OTLP, by the library itself: what the receiver
%% has is what the registry says and what was logged, over gRPC and HTTP, to the
%% strict receiver and through the Collector; and what becomes of them when the
%% receiver takes nothing.
-module(erlmcp_otlp_signals_SUITE).

-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0, groups/0]).
-export([init_per_suite/1, end_per_suite/1, init_per_group/2, end_per_group/2]).
-export([init_per_testcase/2, end_per_testcase/2]).
-export([cumulative_metrics/1, delta_metrics/1]).
-export([exemplars_name_their_spans/1]).
-export([figures_of_the_vm/1]).
-export([resource_as_configured/1]).
-export([log_records/1]).
-export([counts_agree/1]).
-export([metrics_without_a_receiver/1, log_records_without_a_receiver/1]).

%% Called on the node.
-export([record/1, values/0, traced/0, emit/1, emit_many/2, many_series/1]).

-define(OTEL, erlmcp_otel_instrumentation).
-define(NIF, erlmcp_instrumentation_nif).
-define(LOGS, 60).
%% What the node may take beside its queues: 64 MiB.
-define(ROOM_BYTES, (64 bsl 20)).

suite() ->
    [{timetrap, {minutes, 4}}].

all() ->
    [{group, Group} || {Group, _, _} <- groups()].

groups() ->
    Every = [cumulative_metrics, exemplars_name_their_spans, figures_of_the_vm, resource_as_configured,
             log_records, delta_metrics],
    Direct = [counts_agree, metrics_without_a_receiver, log_records_without_a_receiver],
    [{grpc, [], Every ++ Direct},
     {http, [], Every ++ Direct},
     {grpc_collector, [], Every},
     {http_collector, [], Every}].

init_per_suite(Config) ->
    Dir = filename:join(proplists:get_value(priv_dir, Config), "signals"),
    ok = filelib:ensure_dir(filename:join(Dir, "file")),
    [{dir, Dir} | Config].

end_per_suite(_Config) ->
    ok.

init_per_group(Group, Config) ->
    Dir = proplists:get_value(dir, Config),
    case string:split(atom_to_list(Group), "_") of
        [Protocol] ->
            Receiver = erlmcp_ct_receiver:start(Dir),
            Url = erlmcp_ct_receiver:url(Receiver, list_to_atom(Protocol)),
            started(Protocol, Url, [{receiver, Receiver} | Config]);
        [Protocol, "collector"] ->
            case erlmcp_ct_collector:executable() of
                {ok, _} ->
                    Receiver = erlmcp_ct_receiver:start(Dir),
                    Collector = erlmcp_ct_collector:start(Dir, #{to => Receiver}),
                    Url = erlmcp_ct_collector:url(Collector, list_to_atom(Protocol)),
                    started(Protocol, Url, [{receiver, Receiver}, {collector, Collector} | Config]);
                {skip, _} = Skip ->
                    Skip
            end
    end.

%% A node for the cases that only record.
started(Protocol, Url, Config) ->
    Names = #{"grpc" => "grpc", "http" => "http/protobuf"},
    Variables = [{"OTEL_EXPORTER_OTLP_ENDPOINT", Url},
                 {"OTEL_EXPORTER_OTLP_PROTOCOL", maps:get(Protocol, Names)},
                 {"OTEL_SERVICE_NAME", "signals"},
                 {"OTEL_RESOURCE_ATTRIBUTES", "erlmcp.region=eu,service.version=1.2%2B3"},
                 {"OTEL_METRIC_EXPORT_INTERVAL", "3600000"},
                 {"OTEL_BLRP_SCHEDULE_DELAY", "50"}],
    [{node, erlmcp_ct_node:start(#{}, #{env => Variables})}, {variables, Variables} | Config].

end_per_group(_Group, Config) ->
    erlmcp_ct_node:stop(proplists:get_value(node, Config)),
    case proplists:get_value(collector, Config) of
        undefined -> ok;
        Collector -> erlmcp_ct_collector:stop(Collector)
    end,
    erlmcp_ct_receiver:stop(proplists:get_value(receiver, Config)).

init_per_testcase(_Case, Config) ->
    ok = erlmcp_ct_receiver:forget(proplists:get_value(receiver, Config)),
    Config.

end_per_testcase(_Case, Config) ->
    #{violations := []} = erlmcp_ct_receiver:received(proplists:get_value(receiver, Config)),
    ok.

%% Metrics

%% What is pushed last of each series is its value, however often it is pushed.
cumulative_metrics(Config) ->
    [begin
         ok = call(Config, ?MODULE, record, [Seed]),
         ok = flush(Config),
         Expected = call(Config, ?MODULE, values, []),
         eventually(fun() ->
             Points = points(Config),
             [{Series, {registry, Value}, {arrived, last(Arrived)}}
              || {Series, Value} <- Expected, Arrived <- [maps:get(Series, Points, [])],
                 not is_value(Value, last(Arrived))]
         end)
     end || Seed <- [1, 2]],
    Metrics = own(Config),
    ?assertEqual(lists:usort([{Name, otlp_kind(Kind)} || {Kind, Name, _Labels} <- series()]),
                 lists:usort([{binary_to_atom(Name), Kind} || #{name := Name, kind := Kind} <- Metrics])),
    ?assertMatch([{cumulative, true}, {cumulative, false}], sums(Metrics)),
    [?assertMatch(#{unit := <<"s">>, description := <<"How long.">>}, Metric)
     || #{name := <<"signals_seconds">>} = Metric <- Metrics],
    %% All began when the registry did, and only the time of the push moves on.
    [?assertMatch([_], lists:usort([Start || #{start_time := Start} <- Arrived]))
     || Arrived <- maps:values(points(Config))].

sums(Metrics) ->
    lists:reverse(lists:usort([{Temporality, Monotonic}
                               || #{temporality := Temporality, monotonic := Monotonic} <- Metrics])).

%% The pushes of a series add up to its value; each begins where the one before
%% ended, and says nothing where there is nothing new.
delta_metrics(Config) ->
    Preference = {"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "delta"},
    with_node(Config, [Preference], fun(Node) ->
        [begin
             ok = erlmcp_ct_node:call(Node, ?MODULE, record, [Seed]),
             ok = flush(Node)
         end || Seed <- [1, 2, 3]],
        Expected = erlmcp_ct_node:call(Node, ?MODULE, values, []),
        eventually(fun() ->
            Points = points(Config),
            [{Series, {registry, Value}, {arrived, Arrived}}
             || {{Name, _} = Series, Value} <- Expected, Arrived <- [maps:get(Series, Points, [])],
                not case is_added(Name) of
                        true -> is_total(Value, Arrived);
                        false -> length(Arrived) =:= 3 andalso is_value(Value, last(Arrived))
                    end]
        end),
        ?assertEqual([{delta, true}, {cumulative, false}], sums(own(Config))),
        [adjoin(Arrived) || {{Name, _}, Arrived} <- maps:to_list(points(Config)), is_added(Name)],
        ok = flush(Node),
        timer:sleep(100),
        Again = lists:nthtail(length(maps:get({<<"signals_level">>, #{}}, points(Config))) - 1,
                              maps:get({<<"signals_level">>, #{}}, points(Config))),
        ?assertMatch([_], Again),
        ?assertEqual(3, length(maps:get({<<"signals_jobs">>, #{}}, points(Config))))
    end).

is_added(Name) ->
    lists:any(fun({Kind, Own, _}) ->
                  atom_to_binary(Own) =:= Name andalso
                      lists:member(Kind, [counter, histogram, exponential_histogram])
              end, series()).

adjoin([#{time := Time} | [#{start_time := Start} | _] = Rest]) ->
    ?assertEqual(Time, Start),
    adjoin(Rest);
adjoin([_]) ->
    ok.

%% Kind, name and labels of all that record/1 records.
series() ->
    [{counter, signals_jobs, #{}},
     {counter, signals_jobs, #{queue => <<"größe"/utf8>>, 'to' => <<"a\"b\\c\nd">>}},
     {counter, signals_spent, #{}},
     {up_down_counter, signals_open, #{pool => <<"p">>}},
     {gauge, signals_level, #{}},
     {gauge, signals_ratio, #{}},
     {histogram, signals_seconds, #{}},
     {histogram, signals_seconds, #{method => <<"tools/call">>}},
     {exponential_histogram, signals_bytes, #{}},
     {exponential_histogram, signals_signed, #{side => <<"both">>}}].

%% Values of a seed into each series, by several processes.
record(Seed) ->
    Options = #{description => "How long.", unit => seconds, buckets => [0.1, 0.5, 1, 5]},
    ok = erlmcp_metrics:declare(histogram, signals_seconds, Options),
    [ok = erlmcp_metrics:declare(Kind, Name, #{})
     || {Kind, Name, _} <- series(), Name =/= signals_seconds],
    _ = erlmcp_ct_load:together(4, fun(Part) ->
        _ = rand:seed(exsss, {Seed, Part, 0}),
        [ok = record(Kind, Name, Labels) || {Kind, Name, Labels} <- series(), _ <- lists:seq(1, 50)]
    end),
    ok.

record(counter, signals_spent, Labels) ->
    erlmcp_metrics:record_counter(signals_spent, rand:uniform(64) / 8, Labels);
record(counter, Name, Labels) ->
    erlmcp_metrics:record_counter(Name, rand:uniform(1 bsl 40), Labels);
record(up_down_counter, Name, Labels) ->
    case rand:uniform(3) of
        1 -> erlmcp_metrics:inc(Name, 3, Labels);
        _ -> erlmcp_metrics:dec(Name, 5, Labels)
    end;
record(gauge, signals_ratio, Labels) ->
    erlmcp_metrics:record_gauge(signals_ratio, rand:normal(), Labels);
record(gauge, Name, Labels) ->
    erlmcp_metrics:record_gauge(Name, rand:uniform(1 bsl 50) - (1 bsl 49), Labels);
%% Eighths and powers of two: their sums are exact in any order.
record(histogram, Name, Labels) ->
    erlmcp_metrics:record_histogram(Name, (rand:uniform(80) - 1) / 8, Labels);
record(exponential_histogram, signals_signed, Labels) ->
    erlmcp_metrics:observe(signals_signed, rand:uniform(2000) - 1000, Labels);
record(exponential_histogram, Name, Labels) ->
    erlmcp_metrics:observe(Name, (rand:uniform(5000) - 1) * 4, Labels).

%% What the registry says of each series, named as they arrive.
values() ->
    [{{atom_to_binary(Name), maps:from_list([{atom_to_binary(Key), {string, Value}}
                                             || {Key, Value} <- maps:to_list(Labels)])},
      erlmcp_metrics:value(Name, Labels)}
     || {_Kind, Name, Labels} <- series()].

otlp_kind(counter) -> sum;
otlp_kind(up_down_counter) -> sum;
otlp_kind(Kind) -> Kind.

own(Config) ->
    [Metric || #{name := <<"signals_", _/binary>>} = Metric <- metrics(Config)].

metrics(Config) ->
    erlmcp_ct_receiver:records(proplists:get_value(receiver, Config), metrics).

%% The points of each of this suite's series, by time.
points(Config) ->
    Add = fun(#{name := Name, points := Points}, Before) ->
        lists:foldl(fun(#{attributes := Attributes} = Point, Acc) ->
            maps:update_with({Name, Attributes}, fun(Others) -> [Point | Others] end, [Point], Acc)
        end, Before, Points)
    end,
    maps:map(fun(_, Points) -> lists:sort(fun(#{time := A}, #{time := B}) -> A =< B end, Points) end,
             lists:foldl(Add, #{}, own(Config))).

last([]) -> none;
last(Points) -> lists:last(Points).

%% Whether a point says what the registry does.
is_value(_Value, none) ->
    false;
is_value(Value, #{value := {int, Integer}}) ->
    Value =:= Integer;
is_value(Value, #{value := {double, Float}}) ->
    Value =:= Float;
is_value(#{scale := Scale, zero_count := Zeroes, positive := Positive, negative := Negative} = Value, Point) ->
    is_count_and_sum(Value, Point, has_negative(Value)) andalso
        maps:with([scale, zero_count, positive, negative], Point) =:=
            #{scale => Scale, zero_count => Zeroes, positive => Positive, negative => Negative};
is_value(#{buckets := Buckets} = Value, #{bounds := Bounds} = Point) ->
    is_count_and_sum(Value, Point, false) andalso
        Buckets =:= lists:zip(Bounds ++ [infinity], running(maps:get(buckets, Point))).

%% A sum that can go down is not sent.
is_count_and_sum(#{count := Count, sum := Sum}, Point, Signed) ->
    {Count, case Signed of true -> 0.0; false -> Sum end} =:= {maps:get(count, Point), maps:get(sum, Point)}.

has_negative(#{negative := {_, Counts}}) ->
    lists:sum(Counts) > 0.

running(Counts) ->
    {Running, _} = lists:mapfoldl(fun(N, Sum) -> {N + Sum, N + Sum} end, 0, Counts),
    Running.

%% Whether points add up to what the registry says. The scale of an exponential
%% histogram can differ from push to push.
is_total(Value, [#{value := _} | _] = Points) ->
    Value == lists:sum([Number || #{value := {_, Number}} <- Points]);
is_total(#{zero_count := Zeroes} = Value, Points) ->
    Sum = fun(Key) -> lists:sum([maps:get(Key, Point) || Point <- Points]) end,
    Side = fun(Key) -> lists:sum([lists:sum(Counts) || #{Key := {_, Counts}} <- Points]) end,
    Signed = has_negative(Value),
    Of = fun(Key) -> lists:sum(element(2, maps:get(Key, Value))) end,
    is_count_and_sum(Value, #{count => Sum(count), sum => Sum(sum)}, Signed) andalso
        {Zeroes, Of(positive), Of(negative)} =:= {Sum(zero_count), Side(positive), Side(negative)};
is_total(#{buckets := Buckets} = Value, [#{buckets := Counts} | _] = Points) ->
    Sum = fun(Key) -> lists:sum([maps:get(Key, Point) || Point <- Points]) end,
    Added = lists:foldl(fun(#{buckets := More}, Acc) -> lists:zipwith(fun erlang:'+'/2, More, Acc) end,
                        [0 || _ <- Counts], Points),
    is_count_and_sum(Value, #{count => Sum(count), sum => Sum(sum)}, false) andalso
        [Count || {_, Count} <- Buckets] =:= running(Added);
is_total(_Value, []) ->
    false.

%% An exemplar is of a span that was sampled, and names it.
exemplars_name_their_spans(Config) ->
    Spans = call(Config, ?MODULE, traced, []),
    ok = flush(Config),
    eventually(fun() ->
        Found = [{Name, {Trace, Span}} || #{name := Name, points := Points} <- metrics(Config),
                                          #{exemplars := Exemplars} <- Points,
                                          #{trace_id := Trace, span_id := Span} <- Exemplars],
        [{missing, Expected, Found} || Expected <- Spans, not lists:member(Expected, Found)]
    end).

traced() ->
    Ids = fun() -> {binary:decode_hex(?OTEL:trace_id()), binary:decode_hex(?OTEL:span_id())} end,
    ok = erlmcp_metrics:declare(exponential_histogram, traced_bytes, #{}),
    Observed = [?OTEL:with_span(<<"observes">>, fun() ->
                    ok = ?NIF:observe_traced(Name, 3, #{}, ?OTEL:current_span()),
                    {atom_to_binary(Name), Ids()}
                end) || Name <- [traced_seconds, traced_bytes]],
    [{<<"erlmcp_request_duration_seconds">>,
      ?OTEL:trace_request(#{method => <<"tools/list">>, request_id => 1}, Ids)} | Observed].

%% All that a scrape shows is pushed too.
figures_of_the_vm(Config) ->
    ok = flush(Config),
    Scrape = call(Config, erlmcp_metrics, scrape, [text]),
    {match, Found} = re:run(Scrape, "^# TYPE ((?:erlang|process|erlmcp)_\\S+) ",
                            [global, multiline, {capture, all_but_first, binary}]),
    Shown = lists:usort([bare(Name) || [Name] <- Found]),
    ?assert(length(Shown) > 40),
    eventually(fun() -> Shown -- [bare(Name) || #{name := Name} <- metrics(Config)] end),
    [#{points := [#{value := {int, Processes}}]}] =
        lists:sublist([Metric || #{name := <<"erlang_vm_processes">>} = Metric <- metrics(Config)], 1),
    ?assert(Processes > 10).

bare(Name) ->
    case binary:longest_common_suffix([Name, <<"_total">>]) of
        6 -> binary:part(Name, 0, byte_size(Name) - 6);
        _ -> Name
    end.

resource_as_configured(Config) ->
    ok = call(Config, ?MODULE, record, [1]),
    1 = call(Config, ?MODULE, emit_many, [1, 1]),
    ok = flush(Config),
    Receiver = proplists:get_value(receiver, Config),
    [begin
         ok = erlmcp_ct_receiver:await(Receiver, Signal, 1),
         [#{resource := #{attributes := Attributes}, scope := #{name := Scope}} | _] =
             erlmcp_ct_receiver:records(Receiver, Signal),
         ?assertMatch(#{<<"service.name">> := {string, <<"signals">>},
                        <<"service.version">> := {string, <<"1.2+3">>},
                        <<"erlmcp.region">> := {string, <<"eu">>},
                        <<"telemetry.sdk.language">> := {string, <<"erlang">>},
                        <<"process.pid">> := {int, _},
                        <<"service.instance.id">> := {string, _}}, Attributes),
         ?assertNotEqual(<<>>, Scope)
     end || Signal <- [metrics, logs]].

%% Log records

%% Random texts and values, in a span or not: all of it arrives.
log_records(Config) ->
    Expected = call(Config, ?MODULE, emit, [lists:seq(1, ?LOGS)]),
    ok = flush(Config),
    Receiver = proplists:get_value(receiver, Config),
    ok = erlmcp_ct_receiver:await(Receiver, logs, ?LOGS),
    Records = erlmcp_ct_receiver:records(Receiver, logs),
    ?assertEqual(?LOGS, length(Records)),
    Keys = maps:keys(hd(Expected)),
    Arrived = lists:sort(fun(#{time := A}, #{time := B}) -> A =< B end, Records),
    [?assertEqual(bits(Wanted), bits(maps:with(Keys, Got))) || {Wanted, Got} <- lists:zip(Expected, Arrived)],
    Now = erlang:system_time(nanosecond),
    [?assert(abs(Now - Observed) < 120 * 1000000000) || #{observed_time := Observed} <- Arrived].

%% 0.0 and -0.0 are one to =:=, before OTP 27.
bits(Term) -> term_to_binary(Term, [{minor_version, 2}, deterministic]).

%% As they have to arrive.
emit(Seeds) ->
    [emit_one(Seed) || Seed <- Seeds].

emit_one(Seed) ->
    {Body, Attributes} = erlmcp_ct_spans:body_and_attributes(Seed, 20),
    Severity = 1 + Seed rem 24,
    Time = 1700000000000000000 + Seed,
    Record = fun(Span) ->
        true = ?NIF:log_emit(Time, Severity, <<"größe"/utf8>>, Body, maps:from_list(Attributes), Span)
    end,
    Wanted = #{time => Time, severity => Severity, severity_text => <<"größe"/utf8>>,
               body => erlmcp_ct_spans:value(Body),
               attributes => erlmcp_ct_spans:attributes_of(Attributes),
               dropped_attributes => 0},
    case Seed rem 2 of
        0 ->
            Record(undefined),
            Wanted#{trace_id => <<>>, span_id => <<>>, flags => 0};
        1 ->
            ?OTEL:with_span(<<"logs">>, fun() ->
                Record(?OTEL:current_span()),
                Wanted#{trace_id => binary:decode_hex(?OTEL:trace_id()),
                        span_id => binary:decode_hex(?OTEL:span_id()), flags => 1}
            end)
    end.

%% How many of so many found room.
emit_many(Count, Bytes) ->
    Text = binary:copy(<<"x">>, Bytes),
    length([N || N <- lists:seq(1, Count),
                 ?NIF:log_emit(erlang:system_time(nanosecond), 9, info, Text, #{n => N}, undefined)]).

%% Counts

%% What the library says is what the receiver has.
counts_agree(Config) ->
    with_node(Config, [], fun(Node) ->
        ok = erlmcp_ct_receiver:forget(proplists:get_value(receiver, Config)),
        ok = erlmcp_ct_node:call(Node, ?MODULE, record, [1]),
        300 = erlmcp_ct_node:call(Node, ?MODULE, emit_many, [300, 100]),
        200 = erlmcp_ct_node:call(Node, erlmcp_ct_spans, end_many, [200, 10]),
        ok = flush(Node),
        #{records := Records} = received(Config),
        ?assertMatch(#{traces := 200, logs := 300}, Records),
        [begin
             #{exported := Exported, dropped := Dropped} = erlmcp_ct_spans:counts(Signal, scrape(Node)),
             ?assertEqual({Signal, Count, #{}}, {Signal, Exported, Dropped})
         end || {Signal, Count} <- maps:to_list(Records)]
    end).

%% Memory

%% Collections are left out while one is under way: nothing piles up, and the
%% next one that is sent says it all.
metrics_without_a_receiver(Config) ->
    Often = [{"OTEL_METRIC_EXPORT_INTERVAL", "100"}],
    with_node(Config, Often, fun(Node) ->
        ok = erlmcp_ct_receiver:fault(proplists:get_value(receiver, Config), down),
        ok = erlmcp_ct_node:call(Node, ?MODULE, many_series, [20000]),
        timer:sleep(500),
        Before = resident_bytes(Node),
        ok = erlmcp_ct_node:call(Node, ?MODULE, record, [1]),
        timer:sleep(2000),
        After = resident_bytes(Node),
        ct:log("~b bytes before, ~b after", [Before, After]),
        ?assert(After - Before < ?ROOM_BYTES),
        {match, [Skipped]} = re:run(scrape(Node), "^erlmcp_otel_collections_skipped_total ([0-9]+)$",
                                    [multiline, {capture, all_but_first, list}]),
        ?assert(list_to_integer(Skipped) > 0),
        ok = erlmcp_ct_receiver:fault(proplists:get_value(receiver, Config), ok),
        ok = flush(Node),
        Expected = erlmcp_ct_node:call(Node, ?MODULE, values, []),
        eventually(fun() ->
            Points = points(Config),
            [{Series, Value} || {Series, Value} <- Expected, not is_value(Value, last(maps:get(Series, Points, [])))]
        end)
    end).

many_series(Count) ->
    lists:foreach(fun(N) -> ok = erlmcp_metrics:record_counter(many_jobs, N, #{n => N}) end,
                  lists:seq(1, Count)).

%% What finds no room is counted, and the rest is sent later.
log_records_without_a_receiver(Config) ->
    with_node(Config, [{"OTEL_EXPORTER_OTLP_TIMEOUT", "1000"}], fun(Node) ->
        ok = erlmcp_ct_receiver:fault(proplists:get_value(receiver, Config), silent),
        First = erlmcp_ct_node:call(Node, ?MODULE, emit_many, [10000, 1000]),
        Before = resident_bytes(Node),
        Rounds = [erlmcp_ct_node:call(Node, ?MODULE, emit_many, [50000, 1000]) || _ <- lists:seq(1, 3)],
        After = resident_bytes(Node),
        ct:log("~b bytes before, ~b after", [Before, After]),
        ?assert(After - Before < ?ROOM_BYTES),
        Accepted = lists:sum([First | Rounds]),
        ?assert(Accepted < 20000),
        ok = erlmcp_ct_receiver:fault(proplists:get_value(receiver, Config), ok),
        ok = flush(Node),
        ?assertEqual(#{exported => Accepted, dropped => #{queue_full => 160000 - Accepted}},
                     erlmcp_ct_spans:counts(logs, scrape(Node))),
        %% A request that timed out may have come all the same.
        #{records := #{logs := Arrived}} = received(Config),
        ?assertEqual(Accepted, Arrived)
    end).

resident_bytes(Node) ->
    erlmcp_ct_node:call(Node, erlmcp_trace_export_SUITE, resident_bytes, []).

%% Running things

with_node(Config, Variables, Test) ->
    Names = [Name || {Name, _} <- Variables],
    Usual = [Variable || {Name, _} = Variable <- proplists:get_value(variables, Config),
                         not lists:member(Name, Names)],
    Node = erlmcp_ct_node:start(#{}, #{env => Usual ++ Variables}),
    try Test(Node) after erlmcp_ct_node:stop(Node) end.

call(Config, Module, Function, Arguments) ->
    erlmcp_ct_node:call(proplists:get_value(node, Config), Module, Function, Arguments).

flush(Config) when is_list(Config) -> flush(proplists:get_value(node, Config));
flush(Node) -> erlmcp_ct_node:call(Node, ?OTEL, force_flush, [20000]).

scrape(Node) ->
    erlmcp_ct_node:call(Node, erlmcp_metrics, scrape, [text]).

received(Config) ->
    erlmcp_ct_receiver:received(proplists:get_value(receiver, Config)).

%% Behind the Collector, what was flushed comes later.
eventually(Differences) ->
    try erlmcp_ct_load:until(fun() -> Differences() =:= [] end)
    catch error:condition_never_held -> ?assertEqual([], Differences())
    end.
