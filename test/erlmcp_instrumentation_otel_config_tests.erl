%% Tests of erlmcp_instrumentation_otel_config: what the settings of tracing and
%% OTLP come to together.
-module(erlmcp_instrumentation_otel_config_tests).

-include_lib("eunit/include/eunit.hrl").

-define(APP, erlmcp_instrumentation).

otel_config_test_() ->
    {foreach, fun cleanup/0, fun(_) -> cleanup() end,
     [fun nothing_is_sent_by_default/0,
      fun the_general_endpoint/0,
      fun the_endpoint_of_one_signal/0,
      fun endpoints_without_a_scheme/0,
      fun exporters_decide/0,
      fun a_signals_setting_wins/0,
      fun secrets_and_files/0,
      fun settings_that_contradict/0,
      fun the_sampler_of_the_library/0,
      fun the_propagators_of_the_library/0,
      fun limits_of_spans/0,
      fun batches/0,
      fun the_resource/0,
      fun the_name_of_the_service/0]}.

nothing_is_sent_by_default() ->
    Exporter = exporter(),
    ?assertEqual([logs, metrics, traces], lists:sort(maps:keys(Exporter))),
    Nothing = #{endpoint => nil, protocol => http_protobuf, headers => [], timeout_ms => 10000,
                compression => none, insecure => false, ca_file => nil, client_cert_file => nil,
                client_key_file => nil},
    [?assertEqual({Signal, Nothing}, {Signal, Config})
     || {Signal, Config} <- maps:to_list(Exporter)].

the_general_endpoint() ->
    [begin
         os:putenv("OTEL_EXPORTER_OTLP_ENDPOINT", Endpoint),
         ?assertEqual({<<Base/binary, "/v1/traces">>, <<Base/binary, "/v1/metrics">>,
                       <<Base/binary, "/v1/logs">>},
                      endpoints())
     end
     || {Endpoint, Base} <- [{"http://c:4318", <<"http://c:4318">>},
                             {"http://c:4318/", <<"http://c:4318">>},
                             {"https://c/a/b//", <<"https://c/a/b">>}]],
    os:putenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
    os:putenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4317"),
    ?assertEqual({<<"http://c:4317">>, <<"http://c:4317">>, <<"http://c:4317">>}, endpoints()).

the_endpoint_of_one_signal() ->
    os:putenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://t:4318/mine/"),
    ?assertEqual({<<"http://t:4318/mine/">>, nil, nil}, endpoints()),
    os:putenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318"),
    os:putenv("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "off"),
    ?assertEqual({<<"http://t:4318/mine/">>, <<"http://c:4318/v1/metrics">>, nil}, endpoints()).

endpoints_without_a_scheme() ->
    os:putenv("OTEL_EXPORTER_OTLP_ENDPOINT", "c:4317"),
    ?assertMatch({error, {bad_config, otlp_endpoint, <<"c:4317">>, <<"a URL with", _/binary>>}},
                 erlmcp_instrumentation_config:load()),
    os:putenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
    os:putenv("OTEL_EXPORTER_OTLP_METRICS_INSECURE", "true"),
    ?assertEqual({<<"https://c:4317">>, <<"http://c:4317">>, <<"https://c:4317">>}, endpoints()),
    os:putenv("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL", "http/protobuf"),
    ?assertMatch({error, {bad_config, otlp_endpoint, _, _}}, erlmcp_instrumentation_config:load()).

exporters_decide() ->
    os:putenv("OTEL_TRACES_EXPORTER", "otlp"),
    ?assertEqual({<<"http://localhost:4318/v1/traces">>, nil, nil}, endpoints()),
    os:putenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
    ?assertEqual({<<"http://localhost:4317">>, nil, nil}, endpoints()),
    os:putenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4317"),
    os:putenv("OTEL_TRACES_EXPORTER", "none"),
    os:putenv("OTEL_METRICS_EXPORTER", "prometheus"),
    ?assertEqual({nil, nil, <<"http://c:4317">>}, endpoints()),
    os:putenv("OTEL_TRACES_EXPORTER", "file"),
    ?assertMatch({error, {bad_config, trace_file, off, _}}, erlmcp_instrumentation_config:load()),
    os:putenv("ERLMCP_TRACE_FILE", "/tmp/traces.jsonl"),
    ?assertEqual({nil, nil, <<"http://c:4317">>}, endpoints()),
    os:putenv("OTEL_SDK_DISABLED", "true"),
    ?assertEqual({nil, nil, nil}, endpoints()).

a_signals_setting_wins() ->
    [os:putenv("OTEL_EXPORTER_OTLP_" ++ Name, Value)
     || {Name, Value} <- [{"PROTOCOL", "grpc"}, {"METRICS_PROTOCOL", "http/protobuf"},
                          {"TIMEOUT", "5000"}, {"METRICS_TIMEOUT", "0"},
                          {"COMPRESSION", "gzip"}, {"METRICS_COMPRESSION", "none"},
                          {"HEADERS", "a=1"}, {"METRICS_HEADERS", "b=2"},
                          {"INSECURE", "true"}, {"METRICS_INSECURE", "false"}]],
    #{traces := Traces, metrics := Metrics, logs := Logs} = exporter(),
    ?assertEqual(Traces, Logs),
    ?assertMatch(#{protocol := grpc, timeout_ms := 5000, compression := gzip, insecure := true,
                   headers := [{<<"a">>, <<"1">>}]}, Traces),
    ?assertMatch(#{protocol := http_protobuf, timeout_ms := 86400000, compression := none,
                   insecure := false, headers := [{<<"b">>, <<"2">>}]}, Metrics).

secrets_and_files() ->
    os:putenv("OTEL_EXPORTER_OTLP_CERTIFICATE", "/ca.pem"),
    os:putenv("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/key.pem"),
    ?assertMatch({error, {bad_config, otlp_client_certificate, off, _}},
                 erlmcp_instrumentation_config:load()),
    os:putenv("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "/cert.pem"),
    os:putenv("OTEL_EXPORTER_OTLP_LOGS_CERTIFICATE", "off"),
    #{traces := Traces, logs := Logs} = exporter(),
    ?assertMatch(#{ca_file := <<"/ca.pem">>, client_key_file := <<"/key.pem">>,
                   client_cert_file := <<"/cert.pem">>}, Traces),
    ?assertMatch(#{ca_file := nil, client_key_file := <<"/key.pem">>}, Logs),
    os:putenv("OTEL_EXPORTER_OTLP_METRICS_CLIENT_KEY", "off"),
    ?assertMatch({error, {bad_config, otlp_metrics_client_key, off, _}},
                 erlmcp_instrumentation_config:load()).

settings_that_contradict() ->
    [begin
         os:putenv("OTEL_TRACES_SAMPLER", Sampler),
         os:putenv("OTEL_TRACES_SAMPLER_ARG", Argument),
         {error, {bad_config, traces_sampler_arg, _, _} = Error} =
             erlmcp_instrumentation_config:load(),
         ?assertMatch({_, _}, binary:match(erlmcp_instrumentation_config:format_error(Error),
                                           <<"OTEL_TRACES_SAMPLER_ARG">>))
     end
     || {Sampler, Argument} <- [{"traceidratio", "1.5"}, {"parentbased_traceidratio", "2"},
                                {"rate_limited", ""}, {"parentbased_rate_limited", "0"}]].

%% Whatever the configuration lets through has to be a sampler.
the_sampler_of_the_library() ->
    [begin
         os:putenv("OTEL_TRACES_SAMPLER", Sampler),
         os:putenv("OTEL_TRACES_SAMPLER_ARG", Argument),
         ?assertEqual(Expected, erlmcp_instrumentation_otel_config:sampler(config()))
     end
     || {Sampler, Argument, Expected} <-
            [{"", "", {<<"parentbased_always_on">>, nil}},
             {"traceidratio", "", {<<"traceidratio">>, nil}},
             {"parentbased_traceidratio", "0.1", {<<"parentbased_traceidratio">>, <<"0.1">>}},
             {"rate_limited", "100", {<<"rate_limited">>, <<"100.0">>}},
             {"always_on", "9", {<<"always_on">>, <<"9.0">>}}]],
    os:putenv("OTEL_SDK_DISABLED", "true"),
    ?assertEqual({<<"always_off">>, nil}, erlmcp_instrumentation_otel_config:sampler(config())).

the_propagators_of_the_library() ->
    [begin
         os:putenv("OTEL_PROPAGATORS", Text),
         Names = erlmcp_instrumentation_otel_config:propagators(config()),
         ?assertEqual(Expected, Names),
         ?assertEqual(ok, erlmcp_instrumentation_nif:otel_propagators(Names))
     end
     || {Text, Expected} <- [{"none", <<"none">>}, {"B3multi, b3", <<"b3multi,b3">>},
                             {"", <<"tracecontext,baggage">>}]].

limits_of_spans() ->
    Limits = fun() -> erlmcp_instrumentation_otel_config:span_limits(config()) end,
    ?assertEqual(#{attributes => 128, value_bytes => 8192, events => 128, links => 128,
                   event_attributes => 128, link_attributes => 128, span_bytes => 65536,
                   open_spans => 100000},
                 Limits()),
    os:putenv("OTEL_ATTRIBUTE_COUNT_LIMIT", "10"),
    os:putenv("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "20"),
    os:putenv("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", "5"),
    ?assertMatch(#{attributes := 10, value_bytes := 20, event_attributes := 5,
                   link_attributes := 10, events := 128}, Limits()),
    os:putenv("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "30"),
    os:putenv("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "40"),
    ?assertMatch(#{attributes := 30, value_bytes := 40, link_attributes := 10}, Limits()).

batches() ->
    os:putenv("OTEL_BSP_MAX_QUEUE_SIZE", "100"),
    os:putenv("OTEL_BSP_EXPORT_TIMEOUT", "0"),
    ?assertMatch(#{bsp_max_queue_size := 100, bsp_max_export_batch_size := 100,
                   blrp_max_queue_size := 8192, blrp_max_export_batch_size := 512,
                   bsp_export_timeout_ms := 86400000, blrp_export_timeout_ms := 300000,
                   bsp_schedule_delay_ms := 1000, metric_export_interval_ms := 60000,
                   metrics_temporality := cumulative, queue_max_bytes := 33554432},
                 erlmcp_instrumentation_otel_config:batches(config())).

the_resource() ->
    _ = application:load(?APP),
    os:putenv("OTEL_RESOURCE_ATTRIBUTES",
              "service.name=general,host.name=mine,telemetry.sdk.name=fake,a.b=c%20d,"
              "erlmcp.region=north"),
    os:putenv("OTEL_SERVICE_NAME", "own"),
    os:putenv("ERLMCP_CLUSTER", "c1"),
    os:putenv("ERLMCP_ENVIRONMENT", "prod"),
    Resource = resource(),
    ?assertEqual(lists:ukeysort(1, Resource), Resource),
    Pid = list_to_integer(os:getpid()),
    [?assertEqual({Name, Value}, {Name, proplists:get_value(Name, Resource)})
     || {Name, Value} <- [{<<"service.name">>, <<"own">>},
                          {<<"host.name">>, <<"mine">>},
                          {<<"a.b">>, <<"c d">>},
                          {<<"telemetry.sdk.name">>, <<"erlmcp_instrumentation">>},
                          {<<"telemetry.sdk.language">>, <<"erlang">>},
                          {<<"erlmcp.cluster">>, <<"c1">>},
                          {<<"erlmcp.environment">>, <<"prod">>},
                          {<<"deployment.environment.name">>, <<"prod">>},
                          {<<"erlmcp.region">>, <<"north">>},
                          {<<"process.pid">>, Pid},
                          {<<"process.runtime.name">>, <<"BEAM">>}]],
    {ok, Version} = application:get_key(?APP, vsn),
    ?assertEqual(list_to_binary(Version), proplists:get_value(<<"telemetry.sdk.version">>, Resource)),
    [?assert(is_binary(proplists:get_value(Name, Resource)))
     || Name <- [<<"service.instance.id">>, <<"process.runtime.version">>]].

the_name_of_the_service() ->
    ?assertEqual(<<"unknown_service:erl">>, proplists:get_value(<<"service.name">>, resource())),
    os:putenv("RELEASE_NAME", "my_release"),
    os:putenv("RELEASE_VSN", "1.2.3"),
    ?assertEqual({<<"my_release">>, <<"1.2.3">>},
                 {proplists:get_value(<<"service.name">>, resource()),
                  proplists:get_value(<<"service.version">>, resource())}),
    os:putenv("OTEL_RESOURCE_ATTRIBUTES", "service.name=general"),
    ?assertEqual(<<"general">>, proplists:get_value(<<"service.name">>, resource())).

%% Internals

cleanup() ->
    [os:unsetenv(Variable) || #{variable := Variable} <- erlmcp_instrumentation_config:spec()],
    [os:unsetenv(Variable) || Variable <- ["RELEASE_NAME", "RELEASE_VSN"]],
    [application:unset_env(?APP, Key) || {Key, _} <- application:get_all_env(?APP)],
    ok = erlmcp_instrumentation_nif:otel_propagators(<<"tracecontext,baggage">>).

config() ->
    {ok, Config} = erlmcp_instrumentation_config:load(),
    Config.

exporter() ->
    erlmcp_instrumentation_otel_config:exporter(config()).

resource() ->
    erlmcp_instrumentation_otel_config:resource(config()).

endpoints() ->
    #{traces := #{endpoint := Traces}, metrics := #{endpoint := Metrics},
      logs := #{endpoint := Logs}} = exporter(),
    {Traces, Metrics, Logs}.
