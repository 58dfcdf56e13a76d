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
      fun errors_are_readable/0,
      fun text_from_outside_makes_no_atoms/0,
      fun unknown_keys_are_warned_of/0]}.

defaults() ->
    {ok, Config} = erlmcp_instrumentation_config:load(),
    ?assertEqual(
        #{http_enabled => true,
          http_ip => "127.0.0.1",
          http_port => 8080,
          custom_port => 8086,
          http_max_connections => 128,
          http_header_timeout_ms => 5000,
          http_write_timeout_ms => 30000,
          http_idle_timeout_ms => 120000,
          vm_timeout_ms => 500,
          vm_collectors => [memory, statistics, system_info, allocators, distribution, mnesia],
          process_metrics => true,
          legacy_names => false,
          series_limit => 2000,
          node_series_limit => 200000,
          metrics_limit => 10000,
          default_buckets =>
              [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0]},
        Config).

the_table_is_complete() ->
    Spec = erlmcp_instrumentation_config:spec(),
    {ok, Config} = erlmcp_instrumentation_config:load(),
    ?assertEqual(lists:sort(maps:keys(Config)), lists:sort([Key || #{key := Key} <- Spec])),
    [begin
         ?assertEqual("ERLMCP_" ++ string:uppercase(atom_to_list(Key)), Variable),
         ?assertEqual(maps:get(Key, Config), Default),
         ?assert(byte_size(Doc) > 20),
         ?assert(is_binary(erlmcp_instrumentation_config:expected(Type))),
         Text = atom_to_list(Key),
         ?assertEqual(lists:suffix("_ms", Text), Unit =:= milliseconds)
     end
     || #{key := Key, variable := Variable, type := Type, default := Default,
          unit := Unit, doc := Doc} <- Spec].

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
             {default_buckets, "-1,1e-3,0.5", [-1.0, 0.001, 0.5]}]].

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
             {default_buckets, [1, 2, 3.5], [1.0, 2.0, 3.5]}]].

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
             {http_port, ["-1", "65536", "80a", "8080.0", "off", "0x50", " "]},
             {custom_port, ["-1", "65536", "none", "of f"]},
             {http_max_connections, ["0", "-1", "many", "65537"]},
             {http_header_timeout_ms, ["0", "5s", "86400001"]},
             {http_write_timeout_ms, ["0", "infinity"]},
             {http_idle_timeout_ms, ["0", "-5"]},
             {vm_timeout_ms, ["0", "60001", "1e3"]},
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
             {custom_port, ["off", false, 65536, undefined]},
             {http_max_connections, [0, infinity]},
             {http_header_timeout_ms, [0, infinity]},
             {http_write_timeout_ms, [0]},
             {http_idle_timeout_ms, [0]},
             {vm_timeout_ms, [0, 60001]},
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

errors_are_readable() ->
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
         ?assertMatch({error, {bad_config, Key, _, _}}, erlmcp_instrumentation_config:load()),
         os:unsetenv(variable(Key))
     end
     || #{key := Key} <- erlmcp_instrumentation_config:spec(), N <- lists:seq(1, 20)],
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
        after 1000 ->
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
    "ERLMCP_" ++ string:uppercase(atom_to_list(Key)).

groups() ->
    [Group || {Group, _} <- erlmcp_instrumentation_vm:groups()].
