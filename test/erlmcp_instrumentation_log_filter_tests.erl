%% What an operator sees of the library's own messages, in a VM of its own whose
%% logger is set up as OTP does, and in one whose logger is set up otherwise.
-module(erlmcp_instrumentation_log_filter_tests).

-include_lib("eunit/include/eunit.hrl").

log_filter_test_() ->
    {timeout, 120,
     [fun the_default_handler_shows_warnings/0,
      fun a_failed_start_says_why/0,
      fun a_handler_set_up_otherwise_is_left_alone/0]}.

the_default_handler_shows_warnings() ->
    Output = run("[{erlmcp_instrumentation, [{http_ip, \"0.0.0.0\"}, {http_port, 0}, {custom_port, off},"
                 "                           {no_such_setting, 1}]}].",
                 "{ok, _} = application:ensure_all_started(erlmcp_instrumentation), "
                 "erlmcp_metrics:inc(below_zero, -1), "
                 "erlmcp_instrumentation_health:drain(), "
                 "timer:sleep(2000), "
                 "ok = application:stop(erlmcp_instrumentation), "
                 "{ok, #{filters := Filters}} = logger:get_handler_config(default), "
                 "io:format(\"filters ~b~n\", [length(Filters)])"),
    ?assertMatch({match, _}, re:run(Output, "settings that do not exist are ignored: no_such_setting")),
    ?assertMatch({match, _}, re:run(Output, "a recording of metric below_zero was refused")),
    ?assertMatch({match, _}, re:run(Output, "can be reached from other hosts")),
    ?assertMatch({match, _}, re:run(Output, "this node takes no more work")),
    ?assertMatch({match, _}, re:run(Output, "^filters 3$", [multiline])).

a_failed_start_says_why() ->
    Output = run("[{erlmcp_instrumentation, [{http_port, never}]}].",
                 "{error, _} = application:ensure_all_started(erlmcp_instrumentation)"),
    ?assertMatch({match, _}, re:run(Output, "does not start: .*the setting http_port")).

a_handler_set_up_otherwise_is_left_alone() ->
    Output = run("[{erlmcp_instrumentation, [{http_enabled, false}, {no_such_setting, 1}]},"
                 " {kernel, [{logger, [{handler, default, logger_std_h, #{"
                 "     filter_default => stop, filters => []}}]}]}].",
                 "{ok, _} = application:ensure_all_started(erlmcp_instrumentation), "
                 "{ok, #{filters := []}} = logger:get_handler_config(default)"),
    ?assertEqual(nomatch, re:run(Output, "no_such_setting")),
    ?assertMatch({match, _}, re:run(Output, "^done$", [multiline])).

%% What a VM writes that runs an expression with a configuration.
run(Config, Expression) ->
    File = "/tmp/" ++ binary_to_list(erlmcp_ct_app:name("erlmcp_log_filter_" ++ os:getpid())) ++ ".config",
    ok = file:write_file(File, Config),
    try
        Ebin = filename:dirname(code:which(erlmcp_instrumentation_app)),
        os:cmd(lists:concat(["timeout 60 erl -noshell -pa ", Ebin, " -config ", File, " -eval '", Expression,
                             ", timer:sleep(1000), io:format(\"done~n\"), halt().' 2>&1"]))
    after
        file:delete(File)
    end.
