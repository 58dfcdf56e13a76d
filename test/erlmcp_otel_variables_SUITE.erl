%% Every OTEL_* variable does what it says, seen from the receiver; and a wrong
%% value of any of them is a message at start that names it.
-module(erlmcp_otel_variables_SUITE).

-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0]).
-export([init_per_suite/1, end_per_suite/1, init_per_testcase/2, end_per_testcase/2]).
-export([every_variable_has_a_test/1]).
-export([all_signals_over_http/1, all_signals_over_grpc/1, all_signals_over_mutual_tls/1]).
-export([one_signal_over_http/1, one_signal_over_grpc/1, one_signal_over_mutual_tls/1]).
-export([timeouts/1]).
-export([resource/1, samplers/1, propagators/1]).
-export([limits_of_their_own/1, general_limits/1]).
-export([delays/1, queues/1, batches/1, export_timeouts/1]).
-export([intervals_and_temporality/1]).
-export([exporters/1, disabled/1]).
-export([wrong_values/1]).

%% Called on the node.
-export([make/0, limited/0, headers/0, sampled_of/1, start_with/1]).

-define(OTEL, erlmcp_otel_instrumentation).
-define(SIGNALS, [traces, metrics, logs]).
-define(HEADERS, [{"x-tenant", "proof"}]).

suite() ->
    [{timetrap, {minutes, 4}}].

all() ->
    [every_variable_has_a_test,
     all_signals_over_http, all_signals_over_grpc, all_signals_over_mutual_tls,
     one_signal_over_http, one_signal_over_grpc, one_signal_over_mutual_tls, timeouts,
     resource, samplers, propagators, limits_of_their_own, general_limits,
     delays, queues, batches, export_timeouts, intervals_and_temporality,
     exporters, disabled, wrong_values].

%% A receiver where nothing should go, one that wants a header, and one that wants
%% a certificate too.
init_per_suite(Config) ->
    Dir = filename:join(proplists:get_value(priv_dir, Config), "variables"),
    ok = filelib:ensure_dir(filename:join(Dir, "file")),
    Files = erlmcp_ct_certificates:write(Dir),
    [{files, Files},
     {general, erlmcp_ct_receiver:start(Dir)},
     {wanted, erlmcp_ct_receiver:start(Dir, #{headers => ?HEADERS})},
     {secured, erlmcp_ct_receiver:start(Dir, #{headers => ?HEADERS, mutual_tls => Files})} | Config].

end_per_suite(Config) ->
    [erlmcp_ct_receiver:stop(proplists:get_value(Name, Config)) || Name <- [general, wanted, secured]],
    ok.

init_per_testcase(_Case, Config) ->
    [ok = erlmcp_ct_receiver:forget(proplists:get_value(Name, Config)) || Name <- [general, wanted, secured]],
    Config.

end_per_testcase(_Case, Config) ->
    [#{violations := []} = erlmcp_ct_receiver:received(proplists:get_value(Name, Config))
     || Name <- [general, wanted, secured]],
    ok.

%% What the cases below set (those of log records: erlmcp_log_SUITE); those of one
%% signal are made of the general ones.
every_variable_has_a_test(_Config) ->
    PerSignal = ["ENDPOINT", "PROTOCOL", "HEADERS", "TIMEOUT", "COMPRESSION", "INSECURE", "CERTIFICATE",
                 "CLIENT_KEY", "CLIENT_CERTIFICATE"],
    Tested = ["OTEL_EXPORTER_OTLP_" ++ Signal ++ Rest
              || Signal <- ["" | [string:uppercase(atom_to_list(S)) ++ "_" || S <- ?SIGNALS]], Rest <- PerSignal]
        ++ ["OTEL_" ++ Rest
            || Rest <- ["SERVICE_NAME", "RESOURCE_ATTRIBUTES", "TRACES_SAMPLER", "TRACES_SAMPLER_ARG",
                        "PROPAGATORS", "ATTRIBUTE_COUNT_LIMIT", "ATTRIBUTE_VALUE_LENGTH_LIMIT",
                        "SPAN_ATTRIBUTE_COUNT_LIMIT", "SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT",
                        "SPAN_EVENT_COUNT_LIMIT", "SPAN_LINK_COUNT_LIMIT", "EVENT_ATTRIBUTE_COUNT_LIMIT",
                        "LINK_ATTRIBUTE_COUNT_LIMIT", "LOGRECORD_ATTRIBUTE_COUNT_LIMIT",
                        "LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT", "METRIC_EXPORT_INTERVAL", "METRIC_EXPORT_TIMEOUT",
                        "EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "SDK_DISABLED",
                        "TRACES_EXPORTER", "METRICS_EXPORTER", "LOGS_EXPORTER"]]
        ++ ["OTEL_" ++ Processor ++ Rest
            || Processor <- ["BSP_", "BLRP_"],
               Rest <- ["SCHEDULE_DELAY", "MAX_QUEUE_SIZE", "MAX_EXPORT_BATCH_SIZE", "EXPORT_TIMEOUT"]],
    ?assertEqual(lists:sort(variables()), lists:sort(Tested)).

variables() ->
    [Variable || #{variable := "OTEL_" ++ _ = Variable} <- erlmcp_instrumentation_config:spec()].

%% Where to, and how

all_signals_over_http(Config) ->
    Variables = to(Config, wanted, http) ++ [{"OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"} | tenant("")],
    arrives(Config, Variables, #{wanted => ?SIGNALS}, #{protocol => http, compression => gzip}).

all_signals_over_grpc(Config) ->
    Variables = [{"OTEL_EXPORTER_OTLP_ENDPOINT", host(Config, wanted, grpc)},
                 {"OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"},
                 {"OTEL_EXPORTER_OTLP_INSECURE", "true"} | tenant("")],
    arrives(Config, Variables, #{wanted => ?SIGNALS}, #{protocol => grpc}).

all_signals_over_mutual_tls(Config) ->
    [arrives(Config, to(Config, secured, Protocol) ++ certificates(Config, "") ++ tenant(""),
             #{secured => ?SIGNALS}, #{protocol => Protocol}) || Protocol <- [http, grpc]].

%% The variables of one signal win; the others go where the general ones say.
one_signal_over_http(Config) ->
    [begin
         Own = own(Signal, [{"ENDPOINT", url(Config, wanted, http) ++ path(Signal)},
                            {"PROTOCOL", "http/protobuf"}, {"COMPRESSION", "gzip"}]),
         arrives(Config, to(Config, general, grpc) ++ Own ++ tenant(word(Signal)),
                 #{wanted => [Signal], general => ?SIGNALS -- [Signal]},
                 #{protocol => http, compression => gzip})
     end || Signal <- ?SIGNALS].

one_signal_over_grpc(Config) ->
    [begin
         Own = own(Signal, [{"ENDPOINT", host(Config, wanted, grpc)}, {"PROTOCOL", "grpc"},
                            {"INSECURE", "true"}]),
         arrives(Config, to(Config, general, http) ++ Own ++ tenant(word(Signal)),
                 #{wanted => [Signal], general => ?SIGNALS -- [Signal]}, #{protocol => grpc})
     end || Signal <- ?SIGNALS].

one_signal_over_mutual_tls(Config) ->
    [begin
         Own = own(Signal, [{"ENDPOINT", url(Config, secured, http) ++ path(Signal)}]),
         arrives(Config, to(Config, general, http) ++ Own ++ certificates(Config, word(Signal))
                             ++ tenant(word(Signal)),
                 #{secured => [Signal], general => ?SIGNALS -- [Signal]}, #{protocol => http})
     end || Signal <- ?SIGNALS].

%% A request that is not answered in time is sent again; 10 s is the default.
timeouts(Config) ->
    Times = [{"OTEL_EXPORTER_OTLP_TIMEOUT", "300"} |
             lists:append([own(Signal, [{"TIMEOUT", "60000"}]) || Signal <- [metrics, logs]])],
    Slow = #{ms => 1000, requests => 1},
    [begin
         Others = ?SIGNALS -- [Signal],
         Variables = case Signal of
             traces -> Times;
             _ -> own(Signal, [{"TIMEOUT", "300"}])
         end,
         Receiver = proplists:get_value(general, Config),
         ok = erlmcp_ct_receiver:forget(Receiver),
         [ok = erlmcp_ct_receiver:then(Receiver, slow, Slow#{signal => Each}) || Each <- ?SIGNALS],
         with_node(Config, to(Config, general, http) ++ Variables, fun(Node) ->
             ok = erlmcp_ct_node:call(Node, ?MODULE, make, []),
             ok = flush(Node),
             ?assertEqual(1, retries(Node, Signal)),
             [?assertEqual({Other, 0}, {Other, retries(Node, Other)}) || Other <- Others]
         end)
     end || Signal <- ?SIGNALS].

retries(Node, Signal) ->
    figure(Node, "erlmcp_otel_export_retries_total{signal=\"" ++ atom_to_list(Signal) ++ "\"}").

%% What is said of the service, of spans and of contexts

resource(Config) ->
    Variables = [{"OTEL_SERVICE_NAME", "größe"},
                 {"OTEL_RESOURCE_ATTRIBUTES", "service.name=other,team=a%2Cb,deployment.environment.name=test"}],
    with_node(Config, to(Config, general, http) ++ Variables, fun(Node) ->
        ok = erlmcp_ct_node:call(Node, ?MODULE, make, []),
        ok = flush(Node),
        [?assertMatch(#{<<"service.name">> := {string, <<"größe"/utf8>>},
                        <<"team">> := {string, <<"a,b">>},
                        <<"deployment.environment.name">> := {string, <<"test">>}},
                      Attributes)
         || Signal <- ?SIGNALS,
            #{resource := #{attributes := Attributes}} <-
                lists:sublist(erlmcp_ct_receiver:records(proplists:get_value(general, Config), Signal), 1)]
    end).

samplers(Config) ->
    [with_node(Config, to(Config, general, http) ++ [{"OTEL_TRACES_SAMPLER", Sampler} | Argument], fun(Node) ->
         Sampled = erlmcp_ct_node:call(Node, ?MODULE, sampled_of, [2000]),
         ?assert(Least =< Sampled andalso Sampled =< Most, {Sampler, Sampled})
     end) || {Sampler, Argument, Least, Most} <-
                 [{"always_on", [], 2000, 2000}, {"always_off", [], 0, 0}, {"parentbased_always_off", [], 0, 0},
                  {"traceidratio", [{"OTEL_TRACES_SAMPLER_ARG", "0.25"}], 380, 620},
                  {"rate_limited", [{"OTEL_TRACES_SAMPLER_ARG", "10"}], 1, 100}]].

sampled_of(Count) ->
    length([N || N <- lists:seq(1, Count), ?OTEL:with_span(<<"asked">>, fun() -> ?OTEL:is_sampled(?OTEL:current_span()) end)]).

propagators(Config) ->
    [with_node(Config, to(Config, general, http) ++ [{"OTEL_PROPAGATORS", Propagators}], fun(Node) ->
         ?assertEqual({Propagators, Names}, {Propagators, erlmcp_ct_node:call(Node, ?MODULE, headers, [])})
     end) || {Propagators, Names} <-
                 [{"tracecontext", [<<"traceparent">>]},
                  {"b3", [<<"b3">>]},
                  {"b3multi", [<<"x-b3-sampled">>, <<"x-b3-spanid">>, <<"x-b3-traceid">>]},
                  {"none", []}]].

headers() ->
    ?OTEL:with_span(<<"calls">>, fun() ->
        lists:sort([string:lowercase(iolist_to_binary(Name)) || {Name, _} <- ?OTEL:inject([])])
    end).

limits_of_their_own(Config) ->
    Variables = [{"OTEL_ATTRIBUTE_COUNT_LIMIT", "50"}, {"OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "10"},
                 {"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "4"}, {"OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "8"},
                 {"OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", "3"}, {"OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", "2"},
                 {"OTEL_SPAN_EVENT_COUNT_LIMIT", "6"}, {"OTEL_SPAN_LINK_COUNT_LIMIT", "5"}],
    ?assertEqual(#{attributes => {4, 8}, events => {6, 3}, links => {5, 2}}, limits(Config, Variables)).

general_limits(Config) ->
    Variables = [{"OTEL_ATTRIBUTE_COUNT_LIMIT", "7"}, {"OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "10"}],
    ?assertEqual(#{attributes => {7, 10}, events => {20, 7}, links => {20, 7}}, limits(Config, Variables)).

limits(Config, Variables) ->
    Receiver = proplists:get_value(general, Config),
    with_node(Config, to(Config, general, http) ++ Variables, fun(Node) ->
        ok = erlmcp_ct_node:call(Node, ?MODULE, limited, []),
        ok = flush(Node),
        [#{attributes := Attributes, events := [#{attributes := OfEvent} | _] = Events,
           links := [#{attributes := OfLink} | _] = Links}] = erlmcp_ct_receiver:spans(Receiver),
        [Length] = lists:usort([byte_size(Text) || {string, Text} <- maps:values(Attributes)]),
        #{attributes => {map_size(Attributes), Length},
          events => {length(Events), map_size(OfEvent)},
          links => {length(Links), map_size(OfLink)}}
    end).

limited() ->
    Many = [{"key" ++ integer_to_list(N), binary:copy(<<"x">>, 30)} || N <- lists:seq(1, 20)],
    {Target, _} = ?OTEL:extract([{<<"traceparent">>, <<"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01">>}]),
    ?OTEL:with_span(<<"limits">>, #{attributes => Many}, fun() ->
        _ = [{?OTEL:add_event(<<"event">>, Many), ?OTEL:add_link({Target, Many})} || _ <- lists:seq(1, 20)],
        ok
    end).

%% Gathering and sending

%% Without a flush: soon with a short delay, and not for a while with a long one.
delays(Config) ->
    Receiver = proplists:get_value(general, Config),
    [with_node(Config, to(Config, general, http) ++ [{"OTEL_METRICS_EXPORTER", "none"},
                                                    {"OTEL_" ++ Short ++ "_SCHEDULE_DELAY", "20"},
                                                    {"OTEL_" ++ Long ++ "_SCHEDULE_DELAY", "60000"}], fun(Node) ->
         ok = erlmcp_ct_receiver:forget(Receiver),
         ok = erlmcp_ct_node:call(Node, ?MODULE, make, []),
         ok = erlmcp_ct_receiver:await(Receiver, Soon, 10),
         timer:sleep(1300),
         ?assertEqual(0, erlmcp_ct_receiver:count(Receiver, Late)),
         ok = flush(Node),
         ?assertEqual(10, erlmcp_ct_receiver:count(Receiver, Late))
     end) || {Short, Soon, Long, Late} <- [{"BSP", traces, "BLRP", logs}, {"BLRP", logs, "BSP", traces}]].

queues(Config) ->
    Receiver = proplists:get_value(general, Config),
    Variables = [{"OTEL_BSP_MAX_QUEUE_SIZE", "40"}, {"OTEL_BLRP_MAX_QUEUE_SIZE", "30"}],
    with_node(Config, to(Config, general, http) ++ Variables, fun(Node) ->
        ok = erlmcp_ct_receiver:fault(Receiver, silent),
        100 = erlmcp_ct_node:call(Node, erlmcp_ct_spans, end_many, [100, 10]),
        30 = erlmcp_ct_node:call(Node, erlmcp_otlp_signals_SUITE, emit_many, [100, 10]),
        Scrape = scrape(Node),
        ?assertMatch(#{dropped := #{queue_full := 60}}, erlmcp_ct_spans:counts(traces, Scrape)),
        ?assertMatch(#{dropped := #{queue_full := 70}}, erlmcp_ct_spans:counts(logs, Scrape))
    end).

batches(Config) ->
    Receiver = proplists:get_value(general, Config),
    Variables = [{"OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "7"}, {"OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", "3"}],
    with_node(Config, to(Config, general, http) ++ Variables, fun(Node) ->
        100 = erlmcp_ct_node:call(Node, erlmcp_ct_spans, end_many, [100, 10]),
        100 = erlmcp_ct_node:call(Node, erlmcp_otlp_signals_SUITE, emit_many, [100, 10]),
        ok = flush(Node),
        [begin
             Numbers = [Number || #{request := #{number := Number}} <- erlmcp_ct_receiver:records(Receiver, Signal)],
             Sizes = [length([N || N <- Numbers, N =:= Number]) || Number <- lists:usort(Numbers)],
             ?assertEqual({Signal, 100, Most}, {Signal, lists:sum(Sizes), lists:max(Sizes)})
         end || {Signal, Most} <- [{traces, 7}, {logs, 3}]]
    end).

%% All attempts together.
export_timeouts(Config) ->
    Receiver = proplists:get_value(general, Config),
    Variables = [{"OTEL_BSP_EXPORT_TIMEOUT", "300"}, {"OTEL_BLRP_EXPORT_TIMEOUT", "300"},
                 {"OTEL_METRIC_EXPORT_TIMEOUT", "300"}],
    with_node(Config, to(Config, general, http) ++ Variables, fun(Node) ->
        ok = erlmcp_ct_receiver:fault(Receiver, down),
        ok = erlmcp_ct_node:call(Node, ?MODULE, make, []),
        ok = flush(Node),
        Scrape = scrape(Node),
        [?assertMatch(#{exported := 0, dropped := #{retries_exhausted := Dropped}} when Dropped >= 10,
                      erlmcp_ct_spans:counts(Signal, Scrape)) || Signal <- ?SIGNALS]
    end).

intervals_and_temporality(Config) ->
    Receiver = proplists:get_value(general, Config),
    [with_node(Config, to(Config, general, http) ++
                       [{"OTEL_METRIC_EXPORT_INTERVAL", "150"},
                        {"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", Preference}], fun(Node) ->
         ok = erlmcp_ct_receiver:forget(Receiver),
         ok = erlmcp_ct_node:call(Node, ?MODULE, make, []),
         Metrics = fun() -> erlmcp_ct_receiver:records(Receiver, metrics) end,
         Pushes = fun() -> length(lists:usort([N || #{request := #{number := N}} <- Metrics()])) end,
         ok = erlmcp_ct_load:until(fun() -> Pushes() >= 3 end),
         ?assertEqual([Temporality],
                      lists:usort([T || #{name := <<"made_jobs">>, temporality := T} <- Metrics()])),
         Jobs = length([made || #{name := <<"made_jobs">>} <- Metrics()]),
         ?assertEqual(Temporality =:= delta, Jobs =:= 1)
     end) || {Preference, Temporality} <- [{"cumulative", cumulative}, {"delta", delta}, {"lowmemory", delta}]].

%% Signals that go nowhere

exporters(Config) ->
    [arrives(Config, to(Config, general, http) ++ [{"OTEL_" ++ word(Signal) ++ "EXPORTER", "none"}],
             #{general => ?SIGNALS -- [Signal]}, #{protocol => http}) || Signal <- ?SIGNALS].

disabled(Config) ->
    with_node(Config, to(Config, general, http) ++ [{"OTEL_SDK_DISABLED", "true"}], fun(Node) ->
        ok = erlmcp_ct_node:call(Node, ?MODULE, make, []),
        ok = flush(Node),
        ?assertEqual(0, erlmcp_ct_node:call(Node, ?MODULE, sampled_of, [10])),
        ?assertEqual(1, erlmcp_ct_node:call(Node, erlmcp_metrics, value, [made_jobs, #{}])),
        timer:sleep(200),
        #{records := Records} = erlmcp_ct_receiver:received(proplists:get_value(general, Config)),
        ?assertEqual(#{traces => 0, metrics => 0, logs => 0}, Records)
    end).

%% Wrong values

%% A wrong value of each: the application does not start, and says which variable
%% it was and what it should be.
wrong_values(_Config) ->
    Node = erlmcp_ct_node:start(#{}),
    try
        [begin
             {Error, Text} = erlmcp_ct_node:call(Node, ?MODULE, start_with, [Others ++ [{Variable, Wrong}]]),
             ?assertMatch({Variable, {error, _}}, {Variable, Error}),
             Named = case Tells of name -> Variable; Other -> Other end,
             ?assertNotEqual({Variable, Text, nomatch}, {Variable, Text, string:find(Text, Named)}),
             ?assert(string:length(Text) > string:length(Named) + 15)
         end || Variable <- variables(), {Wrong, Others, Tells} <- wrong(Variable)]
    after
        erlmcp_ct_node:stop(Node)
    end.

%% Any text is a service's name.
wrong("OTEL_SERVICE_NAME") ->
    [];
wrong(Variable) ->
    Tls = [{"OTEL_EXPORTER_OTLP_ENDPOINT", "https://localhost:4318"}],
    Missing = "/no/such/file.pem",
    Specials = [{"CLIENT_KEY", {Missing, [], "CLIENT_CERTIFICATE"}},
                {"CLIENT_CERTIFICATE", {Missing, [], "CLIENT_KEY"}},
                {"CERTIFICATE", {Missing, Tls, Missing}},
                {"HEADERS", {"no pair", [], name}},
                {"RESOURCE_ATTRIBUTES", {"no pair", [], name}},
                {"ENDPOINT", {"ftp://x", [], name}}],
    case [Wrong || {End, Wrong} <- Specials, lists:suffix(End, Variable)] of
        [Wrong | _] -> [Wrong];
        [] -> [{"wrong", [], name}]
    end.

%% What a start with these variables answers, and what it says.
start_with(Variables) ->
    [os:putenv(Name, Value) || {Name, Value} <- Variables],
    Self = self(),
    Told = fun(#{msg := Message}, _) -> Self ! {told, Message}, stop end,
    ok = logger:add_primary_filter(?MODULE, {Told, none}),
    try
        Answer = erlmcp_ct_app:try_start(#{}),
        {Answer, unicode:characters_to_list(told())}
    after
        logger:remove_primary_filter(?MODULE),
        [os:unsetenv(Name) || {Name, _} <- Variables]
    end.

told() ->
    receive {told, {Format, Arguments}} when is_list(Format) -> [io_lib:format(Format, Arguments) | told()];
            {told, _} -> told()
    after 0 -> []
    end.

%% Running things

%% Some of each signal, on the node.
make() ->
    10 = erlmcp_ct_spans:end_many(10, 10),
    ok = erlmcp_metrics:record_counter(made_jobs, 1, #{}),
    _ = erlmcp_otlp_signals_SUITE:emit_many(10, 10),
    ok.

%% Which signals come to which receiver, and how they come to the special one.
arrives(Config, Variables, Expected, How) ->
    Receivers = [{Name, proplists:get_value(Name, Config)} || Name <- [general, wanted, secured]],
    [ok = erlmcp_ct_receiver:forget(Receiver) || {_, Receiver} <- Receivers],
    with_node(Config, Variables, fun(Node) ->
        ok = erlmcp_ct_node:call(Node, ?MODULE, make, []),
        ok = flush(Node),
        [begin
             #{records := Records} = erlmcp_ct_receiver:received(Receiver),
             Came = [Signal || Signal <- ?SIGNALS, maps:get(Signal, Records) > 0],
             ?assertEqual({Variables, Name, maps:get(Name, Expected, [])}, {Variables, Name, Came}),
             [?assertEqual(How, maps:with(maps:keys(How), Request))
              || Name =/= general orelse map_size(Expected) =:= 1, Signal <- Came,
                 #{request := Request} <- erlmcp_ct_receiver:records(Receiver, Signal)]
         end || {Name, Receiver} <- Receivers]
    end).

to(Config, Name, Protocol) ->
    [{"OTEL_EXPORTER_OTLP_ENDPOINT", url(Config, Name, Protocol)},
     {"OTEL_EXPORTER_OTLP_PROTOCOL", maps:get(Protocol, #{http => "http/protobuf", grpc => "grpc"})}].

url(Config, Name, Protocol) -> erlmcp_ct_receiver:url(proplists:get_value(Name, Config), Protocol).

host(Config, Name, Protocol) -> erlmcp_ct_receiver:host(proplists:get_value(Name, Config), Protocol).

path(Signal) -> "/v1/" ++ atom_to_list(Signal).

word(Signal) -> string:uppercase(atom_to_list(Signal)) ++ "_".

own(Signal, Pairs) -> [{"OTEL_EXPORTER_OTLP_" ++ word(Signal) ++ Name, Value} || {Name, Value} <- Pairs].

tenant(Word) -> [{"OTEL_EXPORTER_OTLP_" ++ Word ++ "HEADERS", "x-tenant=proof"}].

certificates(Config, Word) ->
    Files = proplists:get_value(files, Config),
    [{"OTEL_EXPORTER_OTLP_" ++ Word ++ Name, maps:get(File, Files)}
     || {Name, File} <- [{"CERTIFICATE", server_ca}, {"CLIENT_CERTIFICATE", client_cert}, {"CLIENT_KEY", client_key}]].

with_node(_Config, Variables, Test) ->
    Node = erlmcp_ct_node:start(#{}, #{env => Variables}),
    try Test(Node) after erlmcp_ct_node:stop(Node) end.

flush(Node) ->
    erlmcp_ct_node:call(Node, ?OTEL, force_flush, [20000]).

scrape(Node) ->
    erlmcp_ct_node:call(Node, erlmcp_metrics, scrape, [text]).

figure(Node, Series) ->
    [Value] = [Value || Line <- string:split(scrape(Node), "\n", all),
                        [Name, Value] <- [string:split(Line, " ", trailing)], Name =:= list_to_binary(Series)],
    binary_to_integer(Value).
