%% A real Prometheus scrapes a node under load, in each format that it can ask
%% for, and answers queries with exactly what was recorded.
%%
%% The installed version and those that scripts/fetch-debian.sh fetches are
%% tested alike; one that is not here is a skipped group.
-module(erlmcp_prometheus_SUITE).

-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0, groups/0]).
-export([init_per_group/2, end_per_group/2]).
-export([init_per_testcase/2, end_per_testcase/2]).
-export([default_features/1]).
-export([native_histograms/1]).
-export([exemplar_storage/1]).
-export([each_protocol/1]).
-export([exponential_histograms/1]).
-export([exemplars_are_stored/1]).

%% Called on the node.
-export([record_fixed/0, load/1, recorded/0, observe_spread/1, observe_traced/0]).

-define(LOAD_MS, 4000).
-define(RECORDERS, 3).
%% Names that the node and the library itself expose.
-define(OTHERS, "(erlang|erlmcp|process)_.*").

suite() ->
    [{timetrap, {minutes, 4}}].

all() ->
    [{group, Version} || Version <- erlmcp_ct_prometheus:versions()].

groups() ->
    [{Version, [parallel], [default_features, native_histograms, exemplar_storage, each_protocol,
                            exponential_histograms, exemplars_are_stored]}
     || Version <- erlmcp_ct_prometheus:versions()].

init_per_group(Version, Config) ->
    case erlmcp_ct_prometheus:executable(Version) of
        {ok, Executable} ->
            ct:log("~ts: ~ts", [Executable, os:cmd(Executable ++ " --version")]),
            [{prometheus, Executable} | Config];
        Skip ->
            Skip
    end.

end_per_group(_Version, _Config) ->
    ok.

%% Each test case has a node and a folder for its data. The node is its own because
%% it counts scrapes by format.
init_per_testcase(Case, Config) ->
    Dir = filename:join(proplists:get_value(priv_dir, Config),
                        lists:concat([Case, "_", erlang:unique_integer([positive])])),
    ok = file:make_dir(Dir),
    Node = erlmcp_ct_node:start(#{}),
    ok = erlmcp_ct_node:call(Node, ?MODULE, record_fixed, []),
    [{node, Node}, {dir, Dir} | Config].

end_per_testcase(_Case, Config) ->
    erlmcp_ct_node:stop(proplists:get_value(node, Config)).

%% The test cases

default_features(Config) ->
    scraped(Config, [], negotiating(), [openmetrics]).

%% The one way to have Prometheus ask for protobuf before 2.49.
native_histograms(Config) ->
    scraped(Config, ["--enable-feature=native-histograms"], negotiating(), [protobuf]).

exemplar_storage(Config) ->
    scraped(Config, ["--enable-feature=exemplar-storage"], negotiating(), [openmetrics]).

%% From 2.49 on a job may name the one format that it asks for.
each_protocol(Config) ->
    case takes_protocols(Config) of
        true ->
            Jobs = [{"text", "/metrics", "PrometheusText0.0.4"},
                    {"openmetrics", "/metrics", "OpenMetricsText1.0.0"},
                    {"protobuf", "/metrics", "PrometheusProto"},
                    {"custom", "/metrics/custom", "PrometheusText0.0.4"}],
            scraped(Config, [], Jobs, [text, openmetrics, protobuf]);
        false ->
            {skip, "this Prometheus has no scrape_protocols: it cannot ask for text 0.0.4 alone"}
    end.

%% An exponential histogram arrives as a native one: its count, its sum, and
%% quantiles that are right to the width of a bucket, also once its scale was
%% lowered under the eyes of the server.
exponential_histograms(Config) ->
    Node = proplists:get_value(node, Config),
    Jobs = [{"node", "/metrics/custom", any}],
    with_prometheus(Config, ["--enable-feature=native-histograms"], Jobs, fun(Url) ->
        lists:foldl(fun(Values, Before) ->
            All = Before ++ Values,
            #{scale := Scale} = erlmcp_ct_node:call(Node, ?MODULE, observe_spread, [Values]),
            await_scrape(Url, Jobs, erlang:system_time(millisecond)),
            ?assertEqual(length(All), query(Url, "histogram_count(spread)", now)),
            ?assert(abs(query(Url, "histogram_sum(spread)", now) / lists:sum(All) - 1) < 1.0e-9),
            Width = math:pow(2, math:pow(2, -min(Scale, 8))),
            [begin
                 Exact = lists:nth(ceil(Q * length(All)), lists:sort(All)),
                 Query = io_lib:format("histogram_quantile(~w, spread)", [Q]),
                 Found = query(Url, Query, now),
                 ct:log("scale ~b, quantile ~w: ~w, exactly ~w", [Scale, Q, Found, Exact]),
                 ?assert(Found >= Exact / Width / 1.000001),
                 ?assert(Found =< Exact * Width * 1.000001)
             end || Q <- [0.1, 0.5, 0.9, 0.99]],
            %% The buckets were not taken as those of a classic histogram.
            ?assertEqual(none, query(Url, "count(spread_bucket)", now)),
            All
        end, [], [[1 + N / 1000 || N <- lists:seq(1, 1000)],
                  [math:exp(N / 100) || N <- lists:seq(-500, 500)],
                  [math:exp(N / 2) || N <- lists:seq(-100, 100)]])
    end).

%% Exemplars are where the server keeps them, of classic and of native
%% histograms, whichever format it has asked for.
exemplars_are_stored(Config) ->
    Node = proplists:get_value(node, Config),
    Jobs = [{"node", "/metrics/custom", any}],
    TraceIds = erlmcp_ct_node:call(Node, ?MODULE, observe_traced, []),
    [with_prometheus(Config, ["--enable-feature=" ++ Features], Jobs, fun(Url) ->
         await_scrape(Url, Jobs, erlang:system_time(millisecond)),
         [begin
              Expected = taken(version(Config), Name, TraceIds),
              ?assertEqual({Features, Name, Expected}, {Features, Name, stored_exemplars(Url, Name)})
          end || Name <- Names]
     end) || {Features, Names} <- [
         {"exemplar-storage", ["traced_classic_bucket", "traced_exponential_bucket"]},
         {"exemplar-storage,native-histograms", ["traced_classic_bucket", "traced_exponential"]}]].

%% 2.42 takes one exemplar of a native histogram, 2.53 takes all.
taken(Version, "traced_exponential", [First | _]) when Version < {2, 53} -> [First];
taken(_Version, _Name, TraceIds) -> TraceIds.

%% The trace ids of the exemplars of a metric.
stored_exemplars(Url, Name) ->
    Now = erlang:system_time(second),
    Range = [{"query", Name}, {"start", integer_to_list(Now - 600)}, {"end", integer_to_list(Now + 60)}],
    {ok, {{_, 200, _}, _, Body}} =
        httpc:request(Url ++ "/api/v1/query_exemplars?" ++ uri_string:compose_query(Range)),
    {match, Found} = re:run(Body, "\"trace_id\":\"([0-9a-f]+)\"", [global, {capture, all_but_first, list}]),
    lists:usort(lists:append(Found)).

negotiating() ->
    [{"node", "/metrics", any}, {"custom", "/metrics/custom", any}].

takes_protocols(Config) ->
    version(Config) >= {2, 49}.

version(Config) ->
    Version = os:cmd(proplists:get_value(prometheus, Config) ++ " --version"),
    {match, [Major, Minor]} =
        re:run(Version, "version ([0-9]+)\\.([0-9]+)", [{capture, all_but_first, list}]),
    {list_to_integer(Major), list_to_integer(Minor)}.

%% Prometheus scrapes the jobs during a load and once more after it.
scraped(Config, Flags, Jobs, Formats) ->
    Node = proplists:get_value(node, Config),
    Before = scrapes(Node),
    with_prometheus(Config, Flags, Jobs, fun(Url) ->
        await_scrape(Url, Jobs, erlang:system_time(millisecond)),
        {Count, Seconds} = erlmcp_ct_node:call(Node, ?MODULE, load, [?LOAD_MS]),
        End = erlang:system_time(millisecond),
        await_scrape(Url, Jobs, End),
        [exactly_what_was_recorded(Config, Url, Job) || Job <- Jobs],
        [the_rate_is_right(Url, Job, End, Count / Seconds) || Job <- Jobs]
    end),
    %% The scrape that counts is itself one of text.
    ?assertEqual(lists:sort(Formats), asked_for(Before, scrapes(Node))).

exactly_what_was_recorded(Config, Url, {Job, Path, _Protocol}) ->
    File = filename:join(proplists:get_value(dir, Config), "recorded.jsonl"),
    Recorded = erlmcp_ct_node:call(proplists:get_value(node, Config), ?MODULE, recorded, []),
    ok = erlmcp_ct_oracle:write_recorded(File, Recorded),
    Others = case Path of
        "/metrics" -> ["--others", ?OTHERS];
        "/metrics/custom" -> []
    end,
    Oracle = erlmcp_ct_oracle:open(),
    {Verdict, Report} = erlmcp_ct_oracle:compare(
        Oracle, ["--recorded", File, "--prometheus", Url, "--job", Job | Others]),
    erlmcp_ct_oracle:close(Oracle),
    ct:log("~ts", [Report]),
    ?assertEqual({agree, Report}, {Verdict, Report}).

%% Prometheus extrapolates from a handful of scrapes: sane, not exact.
the_rate_is_right(Url, {Job, _Path, _Protocol}, EndMs, PerSecond) ->
    Query = ["sum(rate(load_requests_total{job=\"", Job, "\"}[3s]))"],
    Rate = query(Url, Query, EndMs),
    ct:log("~ts: ~.1f per second recorded, the rate is ~p", [Job, PerSecond, Rate]),
    ?assert(Rate > PerSecond / 2),
    ?assert(Rate < PerSecond * 2).

%% Scrapes by format, as the library counts them. Reading them is a scrape too.
scrapes(Node) ->
    {200, _, Body} = erlmcp_ct_node:call(Node, erlmcp_ct_app, get, ["/metrics"]),
    {match, Counts} = re:run(Body, "^erlmcp_scrapes_total\\{format=\"([a-z]+)\"\\} ([0-9]+)",
                             [global, multiline, {capture, all_but_first, list}]),
    maps:from_list([{list_to_existing_atom(Format), list_to_integer(Count)}
                    || [Format, Count] <- Counts]).

asked_for(#{text := Text} = Before, After) ->
    Others = Before#{text := Text + 1},
    lists:sort([Format || {Format, Count} <- maps:to_list(After), Count > maps:get(Format, Others)]).

%% Waits until each job's last scrape began after a moment. Prometheus moves the
%% times of scrapes by 2 ms at most.
await_scrape(Url, Jobs, Ms) ->
    erlmcp_ct_load:until(fun() ->
        query(Url, "count(up)", now) =:= length(Jobs) andalso
            query(Url, "min(timestamp(up))", now) * 1000 > Ms + 2
    end).

%% Prometheus

with_prometheus(Config, Flags, Jobs, Test) ->
    Target = erlmcp_ct_node:url(proplists:get_value(node, Config), ""),
    erlmcp_ct_prometheus:with(proplists:get_value(prometheus, Config), proplists:get_value(dir, Config),
                              configuration(Target, Jobs), Flags, Test).

configuration(Target, Jobs) ->
    "http://" ++ Address = Target,
    ["global: {scrape_interval: 1s, scrape_timeout: 1s}\n"
     "scrape_configs:\n"
     | [["- {job_name: ", Job, ", metrics_path: ", Path, ", ",
         [["scrape_protocols: [", Protocol, "], "] || Protocol =/= any],
         "static_configs: [{targets: ['", Address, "']}]}\n"]
        || {Job, Path, Protocol} <- Jobs]].

%% The one number that a query gives, or none.
query(Url, Query, Time) ->
    Parameters = [{"query", lists:flatten(Query)}
                  | [{"time", float_to_list(Time / 1000, [{decimals, 3}])} || Time =/= now]],
    {ok, {{_, 200, _}, _, Body}} =
        httpc:request(Url ++ "/api/v1/query?" ++ uri_string:compose_query(Parameters)),
    case re:run(Body, "\"value\":\\[[0-9.e+]+,\"([^\"]+)\"\\]", [global, {capture, all_but_first, list}]) of
        {match, [[Number]]} -> number(Number);
        nomatch -> none
    end.

number(Text) ->
    case string:to_float(Text) of
        {Float, ""} -> Float;
        {error, no_float} -> list_to_integer(Text)
    end.

%% On the node

%% Three observations in sampled spans, by different buckets: their trace ids.
observe_traced() ->
    ok = erlmcp_metrics:declare(exponential_histogram, traced_exponential, #{}),
    lists:sort([begin
        TraceId = <<(16#A0 + N):8, N:120>>,
        [ok = erlmcp_instrumentation_nif:observe_traced(Name, Value, #{}, <<TraceId/binary, N:64, 1, 0:64>>)
         || Name <- [traced_classic, traced_exponential]],
        lists:flatten(io_lib:format("~32.16.0b", [binary:decode_unsigned(TraceId)]))
    end || {N, Value} <- [{1, 0.003}, {2, 0.3}, {3, 20}]]).

observe_spread(Values) ->
    ok = erlmcp_metrics:declare(exponential_histogram, spread, #{}),
    [ok = erlmcp_metrics:observe(spread, Value) || Value <- Values],
    erlmcp_metrics:value(spread, #{}).

%% What no load touches: each kind with what is hard to carry.
record_fixed() ->
    Declare = fun(Kind, Name, Options) -> ok = erlmcp_metrics:declare(Kind, Name, Options) end,
    Declare(counter, fixed_sum, #{description => <<"A \"help\"\nof \\two lines: é😀."/utf8>>}),
    Declare(up_down_counter, fixed_open, #{}),
    Declare(histogram, fixed_seconds, #{unit => seconds, buckets => [1.0e-7, 0.005, 1, 2.5e9]}),
    Declare(histogram, fixed_balance, #{buckets => [-10, -0.5, 0, 10]}),
    lists:foreach(fun fixed/1, fixed()).

fixed({counter, Name, Labels, Value}) -> ok = erlmcp_metrics:record_counter(Name, Value, Labels);
fixed({gauge, Name, Labels, Value}) -> ok = erlmcp_metrics:record_gauge(Name, Value, Labels);
fixed({up_down_counter, Name, Labels, Value}) -> ok = erlmcp_metrics:inc(Name, Value, Labels);
fixed({info, Name, Labels, 1}) -> ok = erlmcp_metrics:set_info(Name, Labels);
fixed({histogram, Name, Labels, Values}) ->
    [ok = erlmcp_metrics:record_histogram(Name, Value, Labels) || Value <- Values],
    ok.

fixed() ->
    [{counter, <<"fixed_sum">>, #{<<"text">> => Text}, Value}
     || {Text, Value} <- lists:zip(hard_texts(), lists:seq(1, length(hard_texts())))] ++
    [{counter, <<"fixed_large">>, #{}, (1 bsl 53) + 2},
     {counter, <<"fixed_float">>, #{}, 0.1},
     {up_down_counter, <<"fixed_open">>, #{<<"a">> => <<"\\">>}, -17},
     {info, <<"fixed_build">>, #{<<"version">> => <<"1.0-\"β\"\\n"/utf8>>}, 1},
     {histogram, <<"fixed_seconds">>, #{<<"path">> => <<"/\"x\\y\nz\"">>},
      [0, 1.0e-8, 0.005, 0.3, 1, 7, 1.0e300]},
     {histogram, <<"fixed_balance">>, #{}, [-12, -3.25, 0, 4]},
     {histogram, <<"fixed_default">>, #{}, [0.07, 11]}] ++
    [{gauge, <<"fixed_level">>, #{<<"is">> => Is}, Value}
     || {Is, Value} <- [{<<"nan">>, nan}, {<<"infinity">>, infinity}, {<<"-infinity">>, '-infinity'},
                        {<<"-0.0">>, -0.0}, {<<"smallest">>, 5.0e-324}, {<<"third">>, 1 / 3},
                        {<<"largest">>, 1.7976931348623157e308}, {<<"integer">>, -(1 bsl 49)}]].

hard_texts() ->
    [<<"plain">>, <<"\"">>, <<"\\">>, <<"\n">>, <<"\\n">>, <<"\\\"">>, <<"\r\n\t">>, <<"}">>,
     <<"a=\"b\",c=\"d\"">>, <<" # EOF">>, <<"\n# EOF\n">>, <<"é"/utf8>>, <<"日本語"/utf8>>,
     <<"😀"/utf8>>, <<16#2028/utf8>>, <<0>>, <<" ">>, binary:copy(<<"x">>, 1024)].

%% Records at a steady pace from some processes: how many recordings of each
%% load_* metric there were, and for how long.
load(Ms) ->
    Begin = erlang:monotonic_time(millisecond),
    Counts = erlmcp_ct_load:together(?RECORDERS, fun(N) -> record_until(Begin + Ms, N, 0) end),
    {lists:sum(Counts), (erlang:monotonic_time(millisecond) - Begin) / 1000}.

record_until(End, N, Count) ->
    case erlang:monotonic_time(millisecond) < End of
        true ->
            [record_once(N, I) || I <- lists:seq(1, 100)],
            timer:sleep(10),
            record_until(End, N, Count + 100);
        false ->
            Count
    end.

record_once(N, I) ->
    [Method | _] = load_methods(I),
    ok = erlmcp_metrics:record_counter(load_requests_total, 1, #{method => Method}),
    ok = erlmcp_metrics:record_histogram(load_duration_seconds, I / 100, #{method => Method}),
    ok = erlmcp_metrics:record_gauge(load_last, I, #{recorder => N}).

load_methods(I) ->
    lists:nthtail(I rem 3, [<<"tools/call">>, <<"ping">>, <<"größe \"1\""/utf8>>]).

recorded() ->
    Load = [{counter, <<"load_requests_total">>, #{<<"method">> => M}, any} || M <- load_methods(0)] ++
        [{histogram, <<"load_duration_seconds">>, #{<<"method">> => M}, any} || M <- load_methods(0)] ++
        [{gauge, <<"load_last">>, #{<<"recorder">> => integer_to_binary(N)}, any}
         || N <- lists:seq(1, ?RECORDERS)],
    [erlmcp_ct_oracle:recorded(Kind, Name, maps:to_list(Labels))
     || {Kind, Name, Labels, _} <- Load ++ fixed()].
