%% Tests of erlmcp_instrumentation_config: precedence, each type's bad values,
%% and the agreement of the table with what is read from it.
-module(erlmcp_instrumentation_config_tests).

-include_lib("eunit/include/eunit.hrl").

-export([log/2]).

-define(APP, erlmcp_instrumentation).

config_test_() ->
    {foreach, fun setup/0, fun(_) -> cleanup() end,
     [fun defaults/0,
      fun the_table_is_complete/0,
      fun a_variable_wins_over_the_application_environment/0,
      fun the_application_environment_wins_over_the_default/0,
      fun an_empty_variable_counts_as_unset/0,
      fun variables_of_every_type/0,
      fun terms_of_every_type/0,
      fun bad_variables/0,
      fun bad_terms/0,
      fun equal_ports/0,
      fun secrets_are_not_told/0,
      fun errors_are_readable/0,
      {timeout, 60, fun text_from_outside_makes_no_atoms/0},
      fun names_of_secrets/0,
      fun unknown_keys_are_warned_of/0]}.

defaults() ->
    {ok, Config} = erlmcp_instrumentation_config:load(),
    ?assertEqual(
        maps:merge(maps:merge(otel_defaults(), door_defaults()), #{http_enabled => true,
          http_ip => "127.0.0.1",
          http_port => 8080,
          custom_port => 8086,
          http_max_connections => 128,
          http_header_timeout_ms => 5000,
          http_write_timeout_ms => 30000,
          http_idle_timeout_ms => 120000,
          vm_timeout_ms => 500,
          health_timeout_ms => 500,
          health_check_timeout_ms => 5000,
          health_cache_ms => 1000,
          health_max_age_ms => 60000,
          health_details => loopback,
          health_version => off,
          vm_collectors => [memory, statistics, system_info, allocators, distribution, mnesia],
          process_metrics => true,
          legacy_names => false,
          series_limit => 2000,
          node_series_limit => 200000,
          metrics_limit => 10000,
          default_buckets =>
              [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0]}),
        Config).

door_defaults() ->
    Files = [http_tls_cert_file, http_tls_key_file, http_tls_client_ca_file, http_tokens_file,
             http_passwords_file],
    maps:merge(
        maps:from_list([{File, off} || File <- Files]),
        #{http_tls_min_version => 'tlsv1.2',
          http_tls_handshake_timeout_ms => 5000,
          http_tls_max_handshakes => 64,
          http_access_rules => [],
          http_reload_interval_ms => 10000,
          http_auth_failures_per_minute => 10,
          http_max_connections_per_peer => 64,
          http_min_send_rate => 16384}).

otel_defaults() ->
    Inherited = [list_to_atom("otlp_" ++ Signal ++ "_" ++ Name)
                 || Signal <- ["traces", "metrics", "logs"],
                    Name <- ["endpoint", "protocol", "headers", "timeout_ms", "compression",
                             "insecure", "certificate", "client_key", "client_certificate"]]
        ++ [span_attribute_count_limit, span_attribute_value_length_limit,
            event_attribute_count_limit, link_attribute_count_limit,
            logrecord_attribute_count_limit, logrecord_attribute_value_length_limit],
    maps:merge(
        maps:from_list([{Key, inherit} || Key <- Inherited]),
        #{sdk_disabled => false,
          service_name => off,
          resource_attributes => [],
          cluster => off,
          environment => off,
          region => off,
          propagators => [tracecontext, baggage],
          traces_exporter => auto,
          metrics_exporter => auto,
          logs_exporter => auto,
          otlp_endpoint => off,
          otlp_protocol => http_protobuf,
          otlp_headers => [],
          otlp_timeout_ms => 10000,
          otlp_compression => none,
          otlp_insecure => false,
          otlp_certificate => off,
          otlp_client_key => off,
          otlp_client_certificate => off,
          traces_sampler => parentbased_always_on,
          traces_sampler_arg => off,
          tail_errors => false,
          tail_slow_ms => off,
          tail_max_bytes => 16777216,
          attribute_count_limit => 128,
          attribute_value_length_limit => 8192,
          span_event_count_limit => 128,
          span_link_count_limit => 128,
          max_open_spans => 100000,
          span_max_bytes => 65536,
          bsp_schedule_delay_ms => 1000,
          bsp_max_queue_size => 8192,
          bsp_max_export_batch_size => 512,
          bsp_export_timeout_ms => 300000,
          blrp_schedule_delay_ms => 1000,
          blrp_max_queue_size => 8192,
          blrp_max_export_batch_size => 512,
          blrp_export_timeout_ms => 300000,
          metric_export_interval_ms => 60000,
          metric_export_timeout_ms => 30000,
          metrics_temporality => cumulative,
          queue_max_bytes => 33554432,
          spool_dir => off,
          spool_max_bytes => 268435456,
          trace_ring_bytes => 4194304,
          debug_traces => loopback,
          trace_file => off, trace_file_max_bytes => 67108864,
          redact_keys => [<<"default">>],
          log_context => true,
          log_file => off,
          log_file_level => debug,
          log_file_max_bytes => 16777216,
          log_file_count => 5,
          log_file_compress => true,
          log_file_queue_bytes => 8388608,
          otlp_log_level => debug}).

names_of_secrets() ->
    [begin
         ok = application:set_env(?APP, redact_keys, Given),
         ?assertEqual(Expected, loaded(redact_keys))
     end || {Given, Expected} <- [{none, []}, {[], []}, {[ssn, "-page token"], [<<"ssn">>, <<"-page token">>]}]],
    os:putenv("ERLMCP_REDACT_KEYS", " default, SSN ,-page_token"),
    ?assertEqual([<<"default">>, <<"SSN">>, <<"-page_token">>], loaded(redact_keys)),
    [begin
         os:putenv("ERLMCP_REDACT_KEYS", Bad),
         ?assertMatch({error, {bad_config, redact_keys, _, _}}, erlmcp_instrumentation_config:load())
     end || Bad <- ["x", "12", "password,", lists:duplicate(65, $a)]].

the_table_is_complete() ->
    Spec = erlmcp_instrumentation_config:spec(),
    {ok, Config} = erlmcp_instrumentation_config:load(),
    ?assertEqual(lists:sort(maps:keys(Config)), lists:sort([Key || #{key := Key} <- Spec])),
    [begin
         ?assert(lists:prefix("OTEL_", Variable)
                 orelse Variable =:= "ERLMCP_" ++ string:uppercase(atom_to_list(Key))),
         ?assertEqual(maps:get(Key, Config), Default),
         ?assert(byte_size(Doc) > 20),
         ?assert(is_binary(erlmcp_instrumentation_config:expected(Type))),
         Text = atom_to_list(Key),
         ?assertEqual(lists:suffix("_ms", Text), Unit =:= milliseconds)
     end
     || #{key := Key, variable := Variable, type := Type, default := Default,
          unit := Unit, doc := Doc} <- Spec],
    Variables = [Variable || #{variable := Variable} <- Spec],
    ?assertEqual([], Variables -- lists:usort(Variables)).

a_variable_wins_over_the_application_environment() ->
    ok = application:set_env(?APP, http_port, 1111),
    os:putenv("ERLMCP_HTTP_PORT", "2222"),
    ?assertEqual(2222, loaded(http_port)).

the_application_environment_wins_over_the_default() ->
    ok = application:set_env(?APP, http_port, 1111),
    ?assertEqual(1111, loaded(http_port)).

an_empty_variable_counts_as_unset() ->
    os:putenv("ERLMCP_HTTP_PORT", ""),
    ?assertEqual(8080, loaded(http_port)),
    ok = application:set_env(?APP, http_port, 1111),
    ?assertEqual(1111, loaded(http_port)).

variables_of_every_type() ->
    [?assertEqual({Key, Text, Value}, {Key, Text, loaded(Key, Text)})
     || {Key, Text, Value} <-
            [{http_enabled, "false", false},
             {http_enabled, " TRUE ", true},
             {http_ip, "0.0.0.0", "0.0.0.0"},
             {http_ip, " ::1 ", "::1"},
             {http_ip, "0:0:0:0:0:0:0:1", "::1"},
             {http_port, "0", 0},
             {http_port, " 65535 ", 65535},
             {custom_port, "off", off},
             {custom_port, "OFF", off},
             {custom_port, "9999", 9999},
             {vm_collectors, "all", groups()},
             {vm_collectors, "none", []},
             {vm_collectors, "Memory, msacc", [memory, msacc]},
             {vm_collectors, "msacc,memory,memory", [memory, msacc]},
             {series_limit, "2", 2},
             {node_series_limit, "16777216", 16777216},
             {default_buckets, "1, 2.5 ,1e1,2E+2", [1.0, 2.5, 10.0, 200.0]},
             {default_buckets, "-1,1e-3,0.5", [-1.0, 0.001, 0.5]},
             {service_name, " my service ", <<"my service">>},
             {service_name, "Off", off},
             {region, "zürich", <<"zürich"/utf8>>},
             {traces_exporter, "OTLP", otlp},
             {metrics_exporter, "prometheus", prometheus},
             {otlp_protocol, "grpc", grpc},
             {otlp_protocol, "HTTP/protobuf", http_protobuf},
             {otlp_traces_protocol, "grpc", grpc},
             {otlp_traces_protocol, "inherit", inherit},
             {otlp_endpoint, "http://localhost:4318", <<"http://localhost:4318">>},
             {otlp_endpoint, "HTTPS://collector/base/", <<"HTTPS://collector/base/">>},
             {otlp_endpoint, "http://[::1]:4318", <<"http://[::1]:4318">>},
             {otlp_metrics_endpoint, "off", off},
             {otlp_headers, "Authorization=Basic%20YTpi, x-tenant = a ,,y=%3D%2C=",
              [{<<"authorization">>, <<"Basic YTpi">>}, {<<"x-tenant">>, <<"a">>},
               {<<"y">>, <<"=,=">>}]},
             {otlp_timeout_ms, "0", 0},
             {otlp_logs_timeout_ms, "250", 250},
             {otlp_compression, "gzip", gzip},
             {otlp_certificate, "/etc/ca.pem", <<"/etc/ca.pem">>},
             {traces_sampler, "parentbased_traceidratio", parentbased_traceidratio},
             {traces_sampler_arg, "0.25", 0.25},
             {traces_sampler_arg, "1", 1},
             {propagators, "B3, tracecontext,b3", [b3, tracecontext]},
             {propagators, "none", []},
             {resource_attributes, "a=1,b%20c=d%2Ce,f=",
              [{<<"a">>, <<"1">>}, {<<"b c">>, <<"d,e">>}, {<<"f">>, <<>>}]},
             {span_attribute_count_limit, "0", 0},
             {metrics_temporality, "Delta", delta},
             {tail_slow_ms, "500", 500},
             {debug_traces, "open", open},
             {http_tls_min_version, "TLSv1.3", 'tlsv1.3'},
             {http_tokens_file, "/etc/tokens", <<"/etc/tokens">>},
             {http_access_rules, "/metrics = basic|@alice,,/debug=open",
              [{<<"/metrics">>, [<<"basic">>, <<"@alice">>]}, {<<"/debug">>, [<<"open">>]}]},
             {spool_dir, "/var/spool/x y", <<"/var/spool/x y">>}]].

terms_of_every_type() ->
    [begin
         ok = application:set_env(?APP, Key, Term),
         ?assertEqual({Key, Term, Value}, {Key, Term, loaded(Key)}),
         ok = application:unset_env(?APP, Key)
     end
     || {Key, Term, Value} <-
            [{http_enabled, false, false},
             {http_ip, {10, 0, 0, 1}, "10.0.0.1"},
             {http_ip, {0, 0, 0, 0, 0, 0, 0, 0}, "::"},
             {http_ip, "::1", "::1"},
             {http_ip, <<"127.0.0.2">>, "127.0.0.2"},
             {custom_port, off, off},
             {vm_collectors, all, groups()},
             {vm_collectors, none, []},
             {vm_collectors, [], []},
             {vm_collectors, [mnesia, memory], [memory, mnesia]},
             {default_buckets, [1, 2, 3.5], [1.0, 2.0, 3.5]},
             {service_name, my_service, <<"my_service">>},
             {service_name, "my service", <<"my service">>},
             {otlp_protocol, grpc, grpc},
             {otlp_protocol, http_protobuf, http_protobuf},
             {http_access_rules, #{<<"/b">> => authenticated, "/a" => [basic, {client, "x"}]},
              [{<<"/a">>, [<<"basic">>, <<"@x">>]}, {<<"/b">>, [<<"authenticated">>]}]},
             {http_access_rules, [{"/", "@alice"}], [{<<"/">>, [<<"@alice">>]}]},
             {http_access_rules, "/=open", [{<<"/">>, [<<"open">>]}]},
             {http_access_rules, <<"/=bearer">>, [{<<"/">>, [<<"bearer">>]}]},
             {otlp_protocol, <<"http/protobuf">>, http_protobuf},
             {otlp_endpoint, <<"http://localhost:4318">>, <<"http://localhost:4318">>},
             {otlp_traces_endpoint, inherit, inherit},
             {otlp_traces_endpoint, off, off},
             {otlp_headers, #{authorization => "Bearer x"},
              [{<<"authorization">>, <<"Bearer x">>}]},
             {otlp_headers, [{"X-A", <<"1">>}], [{<<"x-a">>, <<"1">>}]},
             {otlp_traces_headers, [], []},
             {propagators, none, []},
             {propagators, [b3multi, b3, b3multi], [b3multi, b3]},
             {resource_attributes, #{"k8s.pod.name" => <<"p">>}, [{<<"k8s.pod.name">>, <<"p">>}]},
             {resource_attributes, [{a, 1}, {b, 2.5}, {c, true}, {d, x}],
              [{<<"a">>, 1}, {<<"b">>, 2.5}, {<<"c">>, true}, {<<"d">>, <<"x">>}]},
             {traces_sampler, always_off, always_off},
             {traces_sampler_arg, 0.5, 0.5}]].

bad_variables() ->
    [begin
         os:putenv(variable(Key), Text),
         Expected = expected(Key),
         ?assertEqual({error, {bad_config, Key, Text, Expected}},
                      erlmcp_instrumentation_config:load()),
         os:unsetenv(variable(Key))
     end
     || {Key, Texts} <-
            [{http_enabled, ["yes", "1", "tru e", "undefined"]},
             {http_ip, ["localhost", "256.0.0.1", "1.2.3.4:80", "[::1]", "1.2.3.4.5"]},
             {otlp_endpoint,
              ["localhost", "ftp://x", "http://", "http://x:0", "http://x:99999", "http://x?a=b",
               "collector:4317/path", "http:// x"]},
             {otlp_protocol, ["http", "http/json", "http_protobuf"]},
             {otlp_timeout_ms, ["-1", "10s"]},
             {traces_exporter, ["console", "otlp,file"]},
             {traces_sampler, ["jaeger_remote", "parentbased", "-"]},
             {traces_sampler_arg, ["half", "-0.1", "1e7"]},
             {propagators, ["jaeger", "b3,", "none,b3", "b3 baggage"]},
             {resource_attributes, ["a", "=b", "a=%zz", "a=%4", "a=%FF", "a=%00"]},
             {bsp_max_queue_size, ["0", "-5"]},
             {debug_traces, ["true", "all"]},
             {http_tls_min_version, ["1.2", "tlsv1.1"]},
             {http_access_rules, ["metrics=open", "/metrics", "/=closed", "/=@", "/=open|", "/="]},
             {http_port, ["-1", "65536", "80a", "8080.0", "off", "0x50", " "]},
             {custom_port, ["-1", "65536", "none", "of f"]},
             {http_max_connections, ["0", "-1", "many", "65537"]},
             {http_header_timeout_ms, ["0", "5s", "86400001"]},
             {http_write_timeout_ms, ["0", "infinity"]},
             {http_idle_timeout_ms, ["0", "-5"]},
             {vm_timeout_ms, ["0", "60001", "1e3"]},
             {health_timeout_ms, ["0", "60001"]},
             {health_check_timeout_ms, ["0", "60001"]},
             {health_cache_ms, ["-1", "60001"]},
             {health_max_age_ms, ["999", "86400001"]},
             {health_details, ["all", "true"]},
             {vm_collectors, ["memory;msacc", "memory,", "nonsense", "all,memory", ",", "none,none"]},
             {process_metrics, ["0", "on"]},
             {legacy_names, ["TRUE!", "legacy"]},
             {series_limit, ["1", "0", "16777217"]},
             {node_series_limit, ["0", "16777217"]},
             {metrics_limit, ["0", "x"]},
             {default_buckets,
              ["1,1", "2,1", "a", "1,,2", "1;2", "1,2,", "NaN", "1,+Inf", "1e400", "1e", "1,1.0",
               "1e99999999999999999999"]}],
        Text <- Texts].

bad_terms() ->
    [begin
         ok = application:set_env(?APP, Key, Term),
         Expected = expected(Key),
         ?assertEqual({error, {bad_config, Key, Term, Expected}},
                      erlmcp_instrumentation_config:load()),
         ok = application:unset_env(?APP, Key)
     end
     || {Key, Terms} <-
            [{http_enabled, [1, "true", <<"true">>, undefined]},
             {http_ip, [localhost, "localhost", {1, 2, 3}, {256, 0, 0, 1}, [a | b], <<255, 254>>,
                        8080, {local, "/tmp/x"}]},
             {http_port, ["8080", <<"8080">>, 8080.0, -1, 65536, off]},
             {otlp_endpoint, [undefined, 4317, {127, 0, 0, 1}, true, inherit]},
             {otlp_protocol, [http, 1, undefined]},
             {traces_exporter, [console, [otlp]]},
             {traces_sampler_arg, ["0.5", -1, infinity]},
             {propagators, [b3, [b3 | baggage], [jaeger], "b3"]},
             {resource_attributes,
              [[a], [{a, b} | c], a, [{a, self()}], [{5, 1}], [{"", 1}], [{a, 1 bsl 63}],
               [{a, "\n"}]]},
             {service_name, ["", <<>>, 5, true, undefined, "a\nb", <<255>>]},
             {spool_dir, [false, ""]},
             {custom_port, ["off", false, 65536, undefined]},
             {http_max_connections, [0, infinity]},
             {http_header_timeout_ms, [0, infinity]},
             {http_write_timeout_ms, [0]},
             {http_idle_timeout_ms, [0]},
             {vm_timeout_ms, [0, 60001]},
             {health_timeout_ms, [0, 60001, 1.0]},
             {health_cache_ms, [-1, off]},
             {health_max_age_ms, [999]},
             {health_details, [true, all]},
             {health_version, [1, ""]},
             {vm_collectors, [memory, [memory | msacc], [nonsense], ["memory"], "memory", true]},
             {process_metrics, [1]},
             {legacy_names, [both]},
             {series_limit, [1, 0, -1, 2.0]},
             {node_series_limit, [0, 16777217]},
             {metrics_limit, [0]},
             {default_buckets,
              [[], [1, 1], [2, 1], [a], [1 | 2], 5, "", [1, infinity], [1 bsl 2000], [1, 1.0]]}],
        Term <- Terms].

equal_ports() ->
    ok = application:set_env(?APP, http_port, 9000),
    ok = application:set_env(?APP, custom_port, 9000),
    ?assertMatch({error, {bad_config, custom_port, 9000, <<"a port other than http_port", _/binary>>}},
                 erlmcp_instrumentation_config:load()),
    ok = application:set_env(?APP, http_enabled, false),
    ?assertMatch({ok, _}, erlmcp_instrumentation_config:load()),
    ok = application:set_env(?APP, http_enabled, true),
    ok = application:set_env(?APP, http_port, 0),
    ok = application:set_env(?APP, custom_port, 0),
    ?assertMatch({ok, #{http_port := 0, custom_port := 0}}, erlmcp_instrumentation_config:load()).

secrets_are_not_told() ->
    [begin
         os:putenv("OTEL_EXPORTER_OTLP_HEADERS", Text),
         {error, {bad_config, otlp_headers, Shown, _} = Error} =
             erlmcp_instrumentation_config:load(),
         Sentence = erlmcp_instrumentation_config:format_error(Error),
         ?assertEqual({Text, nomatch}, {Text, binary:match(Sentence, <<"s3cret">>)}),
         ?assertMatch({_, _}, binary:match(Sentence, <<"OTEL_EXPORTER_OTLP_HEADERS">>)),
         ?assertEqual(nomatch, string:find(Shown, "s3cret"))
     end
     || Text <- ["authorization=s3cret,broken", "s3cret", "bad name=s3cret", "a=%0As3cret",
                 "a=1,s3cret;b"]],
    os:putenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=s3cret,broken"),
    ?assertMatch({error, {bad_config, otlp_headers, "authorization=***,***", _}},
                 erlmcp_instrumentation_config:load()),
    os:unsetenv("OTEL_EXPORTER_OTLP_HEADERS"),
    [begin
         ok = application:set_env(?APP, otlp_traces_headers, Term),
         {error, {bad_config, otlp_traces_headers, Shown, _}} =
             erlmcp_instrumentation_config:load(),
         ?assertEqual(nomatch, string:find(io_lib:format("~p", [Shown]), "s3cret"))
     end
     || Term <- [#{a => "s3cret\n"}, [{authorization, "s3cret"}, x], "s3cret", s3cret,
                 [{s3cret, 5}], [{a, <<"s3cret", 255>>}]]],
    ok = application:unset_env(?APP, otlp_traces_headers),
    os:putenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://me:s3cret@collector:4318"),
    ?assertMatch({error, {bad_config, otlp_endpoint, "http://***@collector:4318", _}},
                 erlmcp_instrumentation_config:load()).

errors_are_readable() ->
    os:putenv("OTEL_BSP_SCHEDULE_DELAY", "soon"),
    {error, Otel} = erlmcp_instrumentation_config:load(),
    ?assertEqual(
        <<"erlmcp_instrumentation: the setting bsp_schedule_delay_ms (environment variable "
          "OTEL_BSP_SCHEDULE_DELAY) is \"soon\", expected an integer from 1 to 86400000">>,
        erlmcp_instrumentation_config:format_error(Otel)),
    os:unsetenv("OTEL_BSP_SCHEDULE_DELAY"),
    os:putenv("ERLMCP_HTTP_PORT", "99999"),
    {error, Error} = erlmcp_instrumentation_config:load(),
    ?assertEqual(
        <<"erlmcp_instrumentation: the setting http_port (environment variable ERLMCP_HTTP_PORT) "
          "is \"99999\", expected an integer from 0 to 65535">>,
        erlmcp_instrumentation_config:format_error(Error)),
    Long = erlmcp_instrumentation_config:format_error(
        {bad_config, http_ip, lists:seq(1, 100000), <<"x">>}),
    ?assert(byte_size(Long) < 500),
    Unicode = erlmcp_instrumentation_config:format_error(
        {bad_config, http_ip, [1087, 1088], <<"x">>}),
    ?assertMatch([_ | _], unicode:characters_to_list(Unicode)).

text_from_outside_makes_no_atoms() ->
    _ = erlmcp_instrumentation_config:load(),
    Before = erlang:system_info(atom_count),
    [begin
         os:putenv(variable(Key), "zq" ++ integer_to_list(N)),
         case erlmcp_instrumentation_config:load() of
             {ok, #{Key := [Value]}} -> ?assert(is_binary(Value));
             {ok, #{Key := Value}} -> ?assert(is_binary(Value));
             Error -> ?assertMatch({error, {bad_config, _, _, _}}, Error)
         end,
         os:unsetenv(variable(Key))
     end
     || #{key := Key} <- erlmcp_instrumentation_config:spec(), N <- lists:seq(1, 5)],
    ?assert(erlang:system_info(atom_count) - Before < 20).

unknown_keys_are_warned_of() ->
    ok = application:set_env(?APP, htp_port, "secret"),
    ok = logger:add_handler(?MODULE, ?MODULE, #{config => #{test => self()}}),
    try
        ?assertMatch({ok, #{http_port := 8080}}, erlmcp_instrumentation_config:load()),
        receive
            {logged, #{level := warning, msg := {report, Report}, meta := Meta}} ->
                ?assertMatch(#{domain := [erlmcp, instrumentation]}, Meta),
                {Format, Args} = (maps:get(report_cb, Meta))(Report),
                Text = lists:flatten(io_lib:format(Format, Args)),
                ?assertNotEqual(nomatch, string:find(Text, "htp_port")),
                ?assertEqual(nomatch, string:find(Text, "secret"))
        after 30000 ->
            ?assert(false)
        end
    after
        logger:remove_handler(?MODULE)
    end.

%% A logger handler that sends each event to the test.
log(Event, #{config := #{test := Pid}}) ->
    Pid ! {logged, Event}.

setup() ->
    _ = logger:add_handler_filter(default, ?MODULE, {fun(_, _) -> stop end, none}),
    cleanup_settings().

cleanup() ->
    _ = logger:remove_handler_filter(default, ?MODULE),
    cleanup_settings().

cleanup_settings() ->
    [os:unsetenv(Variable) || #{variable := Variable} <- erlmcp_instrumentation_config:spec()],
    [application:unset_env(?APP, Key) || {Key, _} <- application:get_all_env(?APP)],
    ok.

loaded(Key, Text) ->
    os:putenv(variable(Key), Text),
    Value = loaded(Key),
    os:unsetenv(variable(Key)),
    Value.

loaded(Key) ->
    {ok, Config} = erlmcp_instrumentation_config:load(),
    maps:get(Key, Config).

expected(Key) ->
    [Type] = [Type || #{key := K, type := Type} <- erlmcp_instrumentation_config:spec(), K =:= Key],
    erlmcp_instrumentation_config:expected(Type).

variable(Key) ->
    [Variable] = [Variable || #{key := Known, variable := Variable}
                                  <- erlmcp_instrumentation_config:spec(), Known =:= Key],
    Variable.

groups() ->
    [Group || {Group, _} <- erlmcp_instrumentation_vm:groups()].
