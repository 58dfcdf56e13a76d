%% Health probes over HTTP: what they say of checks of every kind, of the node's
%% own state, and of a VM whose schedulers do not answer.
-module(erlmcp_health_SUITE).

-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1,
         init_per_testcase/2, end_per_testcase/2]).
-export([
    pages/1, results/1, bad_registrations/1, degraded/1, probes_of_a_check/1, names/1,
    from_erlang/1, details_are_not_for_everybody/1, version/1,
    draining/1, startup_of_the_application/1, startup_of_a_release/1,
    a_slow_check_shows_its_last_result/1, a_hanging_check_holds_nothing_up/1,
    children_of_a_check/1, results_are_shared/1, flood/1, most_checks/1,
    unregister_during_a_run/1, register_anew_during_a_run/1,
    registrations_outlive_processes/1, registrations_outlive_the_application/1,
    killed_processes/1, killed_responder_ends_runs/1, killed_listener/1, killed_run/1,
    old_code/1, metrics/1, log_of_changes/1,
    random_checks/1,
    blocked_schedulers/1, one_scheduler/1, overload/1
]).
%% Called on other nodes.
-export([one_scheduler_for/1, overload_for/1, ask_recorder/0]).
%% A handler of the logger.
-export([log/2]).

-import(proper_types, [binary/0, boolean/0, exactly/1, list/1, oneof/1, resize/2, term/0]).

-define(APPLICATION, erlmcp_instrumentation).
-define(H, erlmcp_instrumentation_health).
-define(RESPONDER, erlmcp_instrumentation_health_responder).
-define(CASES, 60).

suite() ->
    [{timetrap, {minutes, 4}}].

all() ->
    [pages, results, bad_registrations, degraded, probes_of_a_check, names,
     from_erlang, details_are_not_for_everybody, version,
     draining, startup_of_the_application, startup_of_a_release,
     a_slow_check_shows_its_last_result, a_hanging_check_holds_nothing_up,
     children_of_a_check, results_are_shared, flood, most_checks,
     unregister_during_a_run, register_anew_during_a_run,
     registrations_outlive_processes, registrations_outlive_the_application,
     killed_processes, killed_responder_ends_runs, killed_listener, killed_run,
     old_code, metrics, log_of_changes,
     random_checks,
     blocked_schedulers, one_scheduler, overload].

init_per_suite(Config) ->
    erlmcp_ct_app:quiet(),
    Config.

end_per_suite(_Config) ->
    erlmcp_ct_app:forget(),
    erlmcp_ct_app:loud().

%% Patient, and without a cache, unless a test is about these.
init_per_testcase(_Case, Config) ->
    erlmcp_ct_app:start(#{health_timeout_ms => 10000, health_cache_ms => 0}),
    [{oracle, erlmcp_ct_health:open()} | Config].

end_per_testcase(_Case, Config) ->
    erlmcp_ct_health:close(oracle(Config)),
    [true = ?H:unregister(Name) || Name <- maps:keys(?H:checks())],
    ok = ?H:resume(),
    ok = ?H:started(),
    erlmcp_ct_app:stop().

%% What is said

pages(Config) ->
    ok = ?H:register(disk, fun() -> ok end, #{probes => [ready, startup]}),
    [begin
         {200, #{status := <<"healthy">>, node := Node, checks := Checks}} = probe(Path, Config),
         ?assertEqual(atom_to_binary(node()), Node),
         ?assertEqual({Path, lists:sort(Expected)}, {Path, maps:keys(Checks)})
     end || {Paths, Expected} <-
                [{["/live", "/liveness", "/health/live"], [<<"beam">>]},
                 {["/startup", "/health/startup"], [<<"beam">>, <<"startup">>, <<"disk">>]},
                 {["/ready", "/readiness", "/health/ready", "/health", "/healthz"],
                  [<<"beam">>, <<"startup">>, <<"accepting">>, <<"disk">>]}],
            Path <- Paths],
    ok.

results(Config) ->
    Long = binary:copy(<<"é"/utf8>>, 1000),
    Table = [{fun() -> ok end, <<"healthy">>, none},
             {fun() -> true end, <<"healthy">>, none},
             {fun() -> {ok, "12 open"} end, <<"healthy">>, <<"12 open">>},
             {fun() -> {ok, #{open => 12}} end, <<"healthy">>, <<"#{open => 12}">>},
             {fun() -> {ok, <<"a\"b\\c\n\0é"/utf8>>} end, <<"healthy">>, <<"a\"b\\c\n\0é"/utf8>>},
             {fun() -> {ok, <<>>} end, <<"healthy">>, none},
             {fun() -> false end, <<"unhealthy">>, none},
             {fun() -> {error, econnrefused} end, <<"unhealthy">>, <<"econnrefused">>},
             {fun() -> {error, {timeout, 5}} end, <<"unhealthy">>, <<"{timeout,5}">>},
             {fun() -> {error, [a | b]} end, <<"unhealthy">>, <<"[a|b]">>},
             {fun() -> {error, <<255, 254>>} end, <<"unhealthy">>, {begins, <<"<<">>}},
             {fun() -> {error, <<"ends in é"/utf8, 16#C3>>} end, <<"unhealthy">>, {begins, <<"<<">>}},
             {fun() -> maybe_later end, <<"unhealthy">>, <<"returned maybe_later">>},
             {fun() -> {ok, 1, 2} end, <<"unhealthy">>, <<"returned {ok,1,2}">>},
             {fun() -> throw(ball) end, <<"unhealthy">>, {begins, <<"raised throw: ball, in ">>}},
             {fun() -> exit(normal) end, <<"unhealthy">>, {begins, <<"raised exit: normal, in ">>}},
             {fun() -> error({a, <<"b">>}) end, <<"unhealthy">>,
              {begins, <<"raised error: {a,<<\"b\">>}, in erlmcp_health_SUITE:">>}},
             {fun() -> binary_to_atom(get(no_such_key)) end, <<"unhealthy">>,
              {begins, <<"raised error: badarg, in erlang:binary_to_atom/">>}},
             {erlang:make_fun(?MODULE, no_such_function, 0), <<"unhealthy">>,
              {begins, <<"raised error: undef, in erlmcp_health_SUITE:no_such_function/0">>}},
             {fun() -> exit(self(), kill), timer:sleep(infinity) end, <<"unhealthy">>,
              {begins, <<"killed: ">>}},
             {fun() -> spawn_link(fun() -> exit(gone) end), timer:sleep(infinity) end,
              <<"unhealthy">>, <<"ended by an exit signal: gone">>},
             {fun() -> {ok, Long} end, <<"healthy">>,
              <<(binary:part(Long, 0, 2 * 509))/binary, "...">>},
             {fun() -> {ok, binary:copy(<<"x">>, 50000000)} end, <<"healthy">>, {begins, <<"xxxx">>}},
             {fun() -> {ok, lists:duplicate(300000, $y)} end, <<"healthy">>, {begins, <<"yyyy">>}},
             {fun() -> {ok, lists:duplicate(300000, {z})} end, <<"healthy">>, {begins, <<"[{z},">>}},
             {fun() -> {ok, length(lists:seq(1, 20000000))} end, <<"unhealthy">>, {begins, <<"killed: ">>}}],
    Numbered = lists:zip(lists:seq(1, length(Table)), Table),
    [ok = ?H:register(integer_to_list(N), Fun) || {N, {Fun, _, _}} <- Numbered],
    {503, #{checks := Checks}} = probe("/health", Config),
    [begin
         {Status, <<"critical">>, Detail} = maps:get(integer_to_binary(N), Checks),
         ?assertEqual({N, Expected}, {N, Status}),
         ?assert(is_expected(Wanted, Detail), {N, Wanted, Detail}),
         ?assert(Detail =:= none orelse string:length(Detail) =< 512, {N, Detail})
     end || {N, {_, Expected, Wanted}} <- Numbered],
    ?assertEqual({200, <<"healthy">>}, erlmcp_ct_health:status(probe("/live", Config))),
    ok.

is_expected({begins, Begin}, Detail) ->
    is_binary(Detail) andalso string:prefix(Detail, Begin) =/= nomatch;
is_expected(Wanted, Detail) ->
    Wanted =:= Detail.

bad_registrations(_Config) ->
    Fine = fun() -> ok end,
    [?assertMatch({Tag, {error, {Tag, Text}}} when is_binary(Text),
                  {Tag, apply(?H, register, Arguments)})
     || {Tag, Arguments} <-
            [{bad_name, [<<>>, Fine]}, {bad_name, ["", Fine]}, {bad_name, [1, Fine]},
             {bad_name, [[a], Fine]}, {bad_name, [[$a | $b], Fine]}, {bad_name, [<<255>>, Fine]},
             {bad_name, [binary:copy(<<"x">>, 129), Fine]}, {bad_name, [<<1:3>>, Fine]},
             {reserved_name, [beam, Fine]}, {reserved_name, ["startup", Fine]},
             {reserved_name, [<<"accepting">>, Fine]},
             {bad_function, [a, ok]}, {bad_function, [a, fun(_) -> ok end]},
             {bad_option, [a, Fine, []]}, {bad_option, [a, Fine, #{timeout => 0}]},
             {bad_option, [a, Fine, #{timeout => 60001}]}, {bad_option, [a, Fine, #{timeout => 1.0}]},
             {bad_option, [a, Fine, #{probes => []}]}, {bad_option, [a, Fine, #{probes => ready}]},
             {bad_option, [a, Fine, #{probes => [live]}]},
             {bad_option, [a, Fine, #{probes => [ready, ready]}]},
             {bad_option, [a, Fine, #{probes => [ready | startup]}]},
             {bad_option, [a, Fine, #{critical => maybe_so}]}, {bad_option, [a, Fine, #{time_out => 1}]}]],
    ?assertEqual(#{}, ?H:checks()),
    ?assertNot(?H:unregister(never)),
    ?assertNot(?H:unregister({})),
    %% Nothing raises, whatever it is given.
    Any = oneof([proper_types:any(), term(), exactly(Fine),
                 proper_types:bind(list({oneof([timeout, probes, critical, term()]),
                                         oneof([term(), true, [ready], 1000])}),
                                   fun maps:from_list/1, false)]),
    Property = proper:forall({Any, Any, Any}, fun({Name, Fun, Options}) ->
        _ = ?H:unregister(Name),
        case ?H:register(Name, Fun, Options) of
            ok -> ?H:unregister(Name);
            {error, {Tag, Text}} -> is_atom(Tag) andalso is_binary(Text)
        end
    end),
    ?assert(proper:quickcheck(Property, [quiet, {numtests, 500}])).

degraded(Config) ->
    ok = ?H:register(cache, fun() -> {error, cold} end, #{critical => false}),
    ?assertEqual({200, <<"degraded">>}, erlmcp_ct_health:status(probe("/ready", Config))),
    ?assertEqual({200, <<"degraded">>}, erlmcp_ct_health:status(probe("/health", Config))),
    ?assertMatch(#{status := degraded}, ?H:run()),
    ok = ?H:register(db, fun() -> false end),
    ?assertEqual({503, <<"unhealthy">>}, erlmcp_ct_health:status(probe("/ready", Config))),
    ?assertMatch(#{status := unhealthy}, ?H:run()).

probes_of_a_check(Config) ->
    Fails = fun() -> {error, no} end,
    ok = ?H:register(migrated, Fails, #{probes => [startup]}),
    ?assertEqual([200, 200, 503, 503], codes(Config)),
    ok = ?H:register(migrated, Fails, #{probes => [startup, ready]}),
    ?assertEqual([200, 503, 503, 503], codes(Config)),
    ok = ?H:register(migrated, Fails),
    ?assertEqual([200, 503, 200, 503], codes(Config)),
    ?assertEqual(#{<<"migrated">> => #{timeout => default, probes => [ready], critical => true}},
                 ?H:checks()).

%% Spellings of one name are one check.
names(Config) ->
    ok = ?H:register(db, fun() -> {ok, 1} end),
    ok = ?H:register("db", fun() -> {ok, 2} end),
    ok = ?H:register(<<"db">>, fun() -> {ok, 3} end),
    ok = ?H:register("größe", fun() -> ok end),
    ok = ?H:register(<<"a\"b\n\\">>, fun() -> ok end),
    Answer = probe("/health", Config),
    ?assertEqual(<<"3">>, erlmcp_ct_health:detail(<<"db">>, Answer)),
    ?assertEqual(<<"healthy">>, erlmcp_ct_health:state(<<"größe"/utf8>>, Answer)),
    ?assertEqual(<<"healthy">>, erlmcp_ct_health:state(<<"a\"b\n\\">>, Answer)),
    ?assertEqual(3, map_size(?H:checks())),
    ?assert(?H:unregister('größe')),
    ?assertEqual(none, erlmcp_ct_health:state(<<"größe"/utf8>>, probe("/health", Config))).

from_erlang(_Config) ->
    ok = ?H:register(db, fun() -> {ok, "fine"} end),
    #{status := healthy, checks := Checks} = ?H:run(),
    ?assertEqual([<<"accepting">>, <<"beam">>, <<"db">>, <<"startup">>], maps:keys(Checks)),
    #{<<"db">> := #{status := healthy, critical := true, detail := <<"fine">>, duration := Duration,
                    age := Age}} = Checks,
    ?assert(Duration >= 0.0 andalso Age >= 0.0),
    ?assertMatch(#{status := healthy, checks := #{<<"beam">> := _}}, ?H:run(live)),
    ?assertEqual([<<"beam">>], maps:keys(maps:get(checks, ?H:run(live)))),
    ?assertError(function_clause, ?H:run(x)),
    erlmcp_ct_app:stop(),
    ?assertEqual({error, not_running}, ?H:run()).

details_are_not_for_everybody(Config) ->
    ok = ?H:register(db, fun() -> {error, "db.internal:5432 refused"} end),
    Detail = fun(Headers) ->
        {503, #{checks := #{<<"db">> := {<<"unhealthy">>, _, Text}}}} =
            erlmcp_ct_health:get(oracle(Config), url("/health"), Headers),
        Text
    end,
    Shown = <<"db.internal:5432 refused">>,
    Proxied = [{"x-forwarded-for", "10.0.0.1"}],
    Elsewhere = [{"host", "mcp.example"}],
    [begin
         erlmcp_ct_app:start(#{health_details => Setting, health_timeout_ms => 10000}),
         ?assertEqual({Setting, Expected}, {Setting, [Detail(H) || H <- [[], Proxied, Elsewhere]]})
     end || {Setting, Expected} <- [{loopback, [Shown, none, none]}, {off, [none, none, none]},
                                    {open, [Shown, Shown, Shown]}]],
    ok.

version(Config) ->
    {ok, Own} = application:get_key(?APPLICATION, vsn),
    Shown = fun(Env) ->
        erlmcp_ct_app:start(Env),
        {200, #{version := Version}} = probe("/live", Config),
        Version
    end,
    ?assertEqual(list_to_binary(Own), Shown(#{})),
    ?assertEqual(<<"4.5.6-rc.1">>, Shown(#{health_version => "4.5.6-rc.1"})),
    ?assertEqual(<<"7.8">>, Shown(#{resource_attributes => [{<<"service.version">>, <<"7.8">>}]})).

%% The node's own state

draining(Config) ->
    ok = ?H:drain(),
    ?assertEqual([200, 503, 200, 503], codes(Config)),
    ?assertEqual(<<"unhealthy">>, erlmcp_ct_health:state(<<"accepting">>, probe("/ready", Config))),
    ?assertEqual(0, erlmcp_metrics:value(erlmcp_health_check_up, #{check => accepting})),
    %% Also after a restart: the node is to be stopped.
    erlmcp_ct_app:start(),
    ?assertEqual([200, 503, 200, 503], codes(Config)),
    ?assertEqual(0, erlmcp_metrics:value(erlmcp_health_check_up, #{check => accepting})),
    ok = ?H:resume(),
    ?assertEqual([200, 200, 200, 200], codes(Config)),
    ?assertEqual(1, erlmcp_metrics:value(erlmcp_health_check_up, #{check => accepting})).

startup_of_the_application(Config) ->
    ok = ?H:starting(),
    ?assertEqual([200, 503, 503, 503], codes(Config)),
    ok = ?H:started(),
    ?assertEqual([200, 200, 200, 200], codes(Config)),
    %% Said before the library is started.
    erlmcp_ct_app:stop(),
    ok = ?H:starting(),
    erlmcp_ct_app:start(),
    ?assertEqual([200, 503, 503, 503], codes(Config)),
    ok = ?H:started(),
    ?assertEqual([200, 200, 200, 200], codes(Config)).

%% A node that boots a release is live at once, and has started when the last of
%% the release's applications has.
startup_of_a_release(Config) ->
    Dir = proplists:get_value(priv_dir, Config),
    Gate = filename:join(Dir, "gate"),
    Boot = release(Dir, Gate),
    Port = erlmcp_ct_program:free_port(),
    Erl = filename:join([code:root_dir(), "bin", "erl"]),
    Node = open_port({spawn_executable, Erl},
                     [{args, ["-boot", Boot, "-noinput", "-erlmcp_instrumentation",
                              "http_port", integer_to_list(Port), "custom_port", "off"]},
                      exit_status, binary, stderr_to_stdout]),
    try
        Code = fun(Path) ->
            Url = "http://127.0.0.1:" ++ integer_to_list(Port) ++ Path,
            try erlmcp_ct_health:get(oracle(Config), Url) of
                {Status, #{version := <<"9.9.9">>}} -> Status
            catch
                error:{badmatch, {error, _}} -> not_yet
            end
        end,
        Codes = fun() -> [Code(Path) || Path <- ["/live", "/ready", "/startup", "/health"]] end,
        erlmcp_ct_load:until(fun() -> Code("/live") =:= 200 end),
        [begin ?assertEqual([200, 503, 503, 503], Codes()), timer:sleep(50) end || _ <- [1, 2, 3]],
        ok = file:write_file(Gate, <<>>),
        erlmcp_ct_load:until(fun() -> Codes() =:= [200, 200, 200, 200] end)
    after
        {os_pid, Pid} = erlang:port_info(Node, os_pid),
        _ = os:cmd("kill -9 " ++ integer_to_list(Pid)),
        receive {Node, {exit_status, _}} -> ok after 30000 -> ct:fail(node_goes_on) end
    end.

%% A boot script of a release whose last application waits for a file.
release(Dir, Gate) ->
    Module = erlmcp_ct_slow_app,
    {ok, Tokens, _} = erl_scan:string(
        "-module(erlmcp_ct_slow_app). -export([start/2, stop/1]). stop(_) -> ok. "
        "start(_, Gate) -> case filelib:is_regular(Gate) of "
        "true -> {ok, spawn_link(fun() -> receive stop -> ok end end)}; "
        "false -> timer:sleep(20), start(normal, Gate) end."),
    {ok, Module, Beam} = compile:forms(forms(Tokens)),
    ok = file:write_file(filename:join(Dir, "erlmcp_ct_slow_app.beam"), Beam),
    App = {application, Module,
           [{vsn, "1"}, {description, ""}, {registered, []}, {modules, [Module]},
            {applications, [kernel, stdlib, ?APPLICATION]}, {mod, {Module, Gate}}]},
    ok = file:write_file(filename:join(Dir, "erlmcp_ct_slow_app.app"), io_lib:format("~p.~n", [App])),
    Versions = [begin _ = application:load(A), {ok, V} = application:get_key(A, vsn), {A, V} end
                || A <- [kernel, stdlib, ?APPLICATION]],
    Release = {release, {"slow", "9.9.9"}, {erts, erlang:system_info(version)},
               Versions ++ [{Module, "1"}]},
    Name = filename:join(Dir, "slow"),
    ok = file:write_file(Name ++ ".rel", io_lib:format("~p.~n", [Release])),
    ok = systools:make_script(Name, [local, {path, [Dir | code:get_path()]}, {outdir, Dir}]),
    Name.

forms(Tokens) ->
    case lists:splitwith(fun(Token) -> element(1, Token) =/= dot end, Tokens) of
        {[], []} -> [];
        {Form, [Dot | Rest]} -> {ok, Parsed} = erl_parse:parse_form(Form ++ [Dot]), [Parsed | forms(Rest)]
    end.

%% Time

%% A check that takes longer than a probe waits, with its first result, its last
%% one, and one that is too old.
a_slow_check_shows_its_last_result(Config) ->
    erlmcp_ct_app:start(#{health_timeout_ms => 1000, health_cache_ms => 0, health_max_age_ms => 1500}),
    ok = ?H:register(slow, fun() -> timer:sleep(1000), {ok, done} end),
    First = probe("/ready", Config),
    ?assertMatch({503, _}, First),
    ?assertMatch(<<"no result yet, running for ", _/binary>>, erlmcp_ct_health:detail(<<"slow">>, First)),
    erlmcp_ct_load:until(fun() -> {Code, _} = probe("/ready", Config), Code =:= 200 end),
    %% Begins another run, which outlasts this probe.
    Shown = probe("/ready", Config),
    ?assertEqual({200, <<"healthy">>}, erlmcp_ct_health:status(Shown)),
    ?assertEqual(<<"done">>, erlmcp_ct_health:detail(<<"slow">>, Shown)),
    timer:sleep(400 + 1600),
    Old = probe("/ready", Config),
    ?assertMatch({503, _}, Old),
    ?assertMatch(<<"no result yet, running for ", _/binary>>, erlmcp_ct_health:detail(<<"slow">>, Old)),
    erlmcp_ct_load:until(fun() -> {Code, _} = probe("/ready", Config), Code =:= 200 end).

%% It has failed with its reason; others, and liveness, are as they were; there
%% is never more than one process of it.
a_hanging_check_holds_nothing_up(Config) ->
    erlmcp_ct_app:start(#{health_timeout_ms => 500, health_cache_ms => 0}),
    Calls = ets:new(calls, [public, bag]),
    ok = ?H:register(hang, fun() ->
                               process_flag(trap_exit, true),
                               true = ets:insert(Calls, {call, self()}),
                               timer:sleep(infinity)
                           end, #{timeout => 500}),
    ok = ?H:register(fine, fun() -> ok end),
    Alive = fun() -> [Pid || {call, Pid} <- ets:lookup(Calls, call), is_process_alive(Pid)] end,
    [begin
         {503, #{checks := Checks}} = probe("/health", Config),
         ?assertMatch(#{<<"fine">> := {<<"healthy">>, _, _}, <<"hang">> := {<<"unhealthy">>, _, _}},
                      Checks),
         {200, _} = probe("/live", Config),
         ?assert(length(Alive()) =< 1)
     end || _ <- lists:seq(1, 8)],
    ?assert(length(ets:lookup(Calls, call)) >= 2),
    ?assertEqual(<<"killed after 500 ms without a result">>,
                 erlmcp_ct_health:detail(<<"hang">>, probe("/health", Config))),
    true = ?H:unregister(hang),
    erlmcp_ct_load:until(fun() -> Alive() =:= [] end),
    ?assertEqual({200, <<"healthy">>}, erlmcp_ct_health:status(probe("/health", Config))).

%% What a check is linked to ends with it when it is killed.
children_of_a_check(Config) ->
    Self = self(),
    ok = ?H:register(parent, fun() ->
                                 Self ! {child, spawn_link(fun() -> timer:sleep(infinity) end)},
                                 timer:sleep(infinity)
                             end, #{timeout => 100}),
    {503, _} = probe("/ready", Config),
    Child = receive {child, Pid} -> Pid after 30000 -> ct:fail(no_child) end,
    erlmcp_ct_load:until(fun() -> not is_process_alive(Child) end).

%% Probes of all kinds share one run while it goes on, and its result for a while.
results_are_shared(_Config) ->
    erlmcp_ct_app:start(#{health_timeout_ms => 10000, health_cache_ms => 60000}),
    Runs = counters:new(1, []),
    ok = ?H:register(counted, fun() -> counters:add(Runs, 1, 1), timer:sleep(200) end),
    Codes = erlmcp_ct_load:together(20, fun(N) ->
        {Code, _, _} = erlmcp_ct_app:get(lists:nth(1 + N rem 2, ["/ready", "/health"])),
        Code
    end),
    %% It returns what timer:sleep/1 does: ok.
    ?assertEqual([200], lists:usort(Codes)),
    #{status := healthy} = ?H:run(ready),
    ?assertEqual(1, counters:get(Runs, 1)).

flood(_Config) ->
    erlmcp_ct_app:start(#{health_timeout_ms => 10000, health_cache_ms => 1000}),
    Runs = counters:new(1, []),
    [ok = ?H:register("check" ++ integer_to_list(N), fun() -> counters:add(Runs, 1, 1) end)
     || N <- lists:seq(1, 10)],
    Before = erlang:system_info(process_count),
    Begin = erlang:monotonic_time(millisecond),
    Codes = erlmcp_ct_load:together(20, fun(N) ->
        [begin
             {Code, _, _} = erlmcp_ct_app:get(lists:nth(1 + (N + I) rem 4,
                                                        ["/ready", "/health", "/live", "/startup"])),
             Code
         end || I <- lists:seq(1, 25)]
    end),
    Took = erlang:monotonic_time(millisecond) - Begin,
    ?assertEqual([200], lists:usort(lists:append(Codes))),
    %% Each check once a second at the most.
    ?assert(counters:get(Runs, 1) =< 10 * (1 + Took div 1000), {counters:get(Runs, 1), Took}),
    erlmcp_ct_load:until(fun() -> erlang:system_info(process_count) =< Before + 20 end),
    ?assertEqual({message_queue_len, 0}, process_info(whereis(?RESPONDER), message_queue_len)).

most_checks(Config) ->
    [ok = ?H:register("check" ++ integer_to_list(N), fun() -> {ok, binary:copy(<<"d">>, 600)} end)
     || N <- lists:seq(1, 100)],
    ?assertMatch({error, {too_many_checks, _}}, ?H:register(one_more, fun() -> ok end)),
    ok = ?H:register("check7", fun() -> {error, replaced} end),
    {503, #{checks := Checks}} = probe("/health", Config),
    ?assertEqual(103, map_size(Checks)),
    ?assertMatch(#{<<"check7">> := {<<"unhealthy">>, _, <<"replaced">>}}, Checks).

%% Changes

unregister_during_a_run(_Config) ->
    Self = self(),
    ok = ?H:register(long, fun() -> Self ! {running, self()}, timer:sleep(infinity) end),
    ok = ?H:register(fine, fun() -> ok end),
    Answer = in_background("/ready"),
    Run = receive {running, Pid} -> Pid after 30000 -> ct:fail(not_run) end,
    ?assert(?H:unregister(long)),
    {200, #{checks := Checks}} = Answer(),
    ?assertEqual(error, maps:find(<<"long">>, Checks)),
    ?assertMatch({ok, {<<"healthy">>, _, _}}, maps:find(<<"fine">>, Checks)),
    erlmcp_ct_load:until(fun() -> not is_process_alive(Run) end),
    ?assertEqual(undefined, erlmcp_metrics:value(erlmcp_health_check_up, #{check => long})).

%% Whoever waits for the old one is told what the new one says.
register_anew_during_a_run(_Config) ->
    Self = self(),
    ok = ?H:register(changing, fun() -> Self ! {running, self()}, timer:sleep(infinity) end),
    Answer = in_background("/ready"),
    Run = receive {running, Pid} -> Pid after 30000 -> ct:fail(not_run) end,
    ok = ?H:register(changing, fun() -> {ok, new} end),
    ?assertEqual(<<"new">>, erlmcp_ct_health:detail(<<"changing">>, Answer())),
    erlmcp_ct_load:until(fun() -> not is_process_alive(Run) end).

registrations_outlive_processes(Config) ->
    {Pid, Monitor} = spawn_monitor(fun() -> ok = ?H:register(left, fun() -> {ok, here} end) end),
    receive {'DOWN', Monitor, process, Pid, normal} -> ok end,
    ?assertEqual(<<"here">>, erlmcp_ct_health:detail(<<"left">>, probe("/ready", Config))).

registrations_outlive_the_application(Config) ->
    ok = ?H:register(running, fun() -> ok end),
    erlmcp_ct_app:stop(),
    ok = ?H:register(stopped, fun() -> {error, no} end),
    ?assertEqual([<<"running">>, <<"stopped">>], maps:keys(?H:checks())),
    erlmcp_ct_app:start(#{health_timeout_ms => 10000}),
    {503, #{checks := #{<<"running">> := {<<"healthy">>, _, _},
                        <<"stopped">> := {<<"unhealthy">>, _, <<"no">>}}}} = probe("/ready", Config),
    erlmcp_ct_app:stop(),
    ?assert(?H:unregister(stopped)),
    ?assertEqual(undefined, erlmcp_metrics:value(erlmcp_health_check_up, #{check => stopped})),
    erlmcp_ct_app:start(#{health_timeout_ms => 10000}),
    {200, #{checks := Checks}} = probe("/ready", Config),
    ?assertNot(is_map_key(<<"stopped">>, Checks)).

%% Probes wait for the next process and are answered 200 throughout.
killed_processes(_Config) ->
    ok = ?H:register(db, fun() -> {ok, alive} end),
    Ids = [Id || {Id, _, _, _} <- supervisor:which_children(erlmcp_instrumentation_sup),
                 Id =/= erlmcp_instrumentation_listener],
    ?assert(lists:member(?RESPONDER, Ids)),
    Self = self(),
    Prober = spawn_link(fun() -> Self ! {codes, self(), probe_until_stopped([])} end),
    [begin
         Pid = child(Id),
         exit(Pid, kill),
         erlmcp_ct_load:until(fun() -> is_pid(child(Id)) andalso child(Id) =/= Pid end),
         %% The supervisor puts up with five in ten seconds.
         timer:sleep(2100)
     end || Id <- [?RESPONDER | Ids -- [?RESPONDER]]],
    Prober ! stop,
    Codes = receive {codes, Prober, Answered} -> Answered after 30000 -> ct:fail(no_codes) end,
    ?assertEqual([200], lists:usort(Codes)),
    ?assert(length(Codes) > 10, length(Codes)),
    #{checks := #{<<"db">> := #{detail := <<"alive">>}}} = ?H:run().

probe_until_stopped(Codes) ->
    receive
        stop -> Codes
    after 0 ->
        Now = [begin {Code, _, _} = erlmcp_ct_app:get(Path), Code end || Path <- ["/ready", "/live"]],
        probe_until_stopped(Now ++ Codes)
    end.

child(Id) ->
    {Id, Pid, _, _} = lists:keyfind(Id, 1, supervisor:which_children(erlmcp_instrumentation_sup)),
    Pid.

%% Nothing of a run is left when the process that began it is killed.
killed_responder_ends_runs(_Config) ->
    Self = self(),
    ok = ?H:register(stubborn, fun() ->
                                   process_flag(trap_exit, true),
                                   Self ! {running, self()},
                                   timer:sleep(infinity)
                               end),
    Answer = in_background("/ready"),
    First = receive {running, Pid} -> Pid after 30000 -> ct:fail(not_run) end,
    exit(whereis(?RESPONDER), kill),
    %% The probe is put again to the next one.
    Second = receive {running, Next} -> Next after 30000 -> ct:fail(not_run) end,
    erlmcp_ct_load:until(fun() -> not is_process_alive(First) end),
    ok = ?H:register(stubborn, fun() -> ok end),
    {200, _} = Answer(),
    erlmcp_ct_load:until(fun() -> not is_process_alive(Second) end).

killed_listener(Config) ->
    ok = ?H:register(db, fun() -> {error, still_here} end),
    Pid = child(erlmcp_instrumentation_listener),
    exit(Pid, kill),
    erlmcp_ct_load:until(fun() -> is_pid(child(erlmcp_instrumentation_listener)) andalso
                                      child(erlmcp_instrumentation_listener) =/= Pid end),
    ?assertEqual(<<"still_here">>, erlmcp_ct_health:detail(<<"db">>, probe("/ready", Config))).

%% The process that waits for a check is killed: the check has failed.
killed_run(_Config) ->
    Self = self(),
    ok = ?H:register(orphan, fun() ->
                                 process_flag(trap_exit, true),
                                 Self ! {running, self()},
                                 receive {'EXIT', _, _} -> ok end
                             end),
    Answer = in_background("/ready"),
    Run = receive {running, Pid} -> Pid after 30000 -> ct:fail(not_run) end,
    {links, [Watcher]} = process_info(Run, links),
    exit(Watcher, kill),
    {503, #{checks := #{<<"orphan">> := {<<"unhealthy">>, _, <<"killed: ", _/binary>>}}}} = Answer().

%% A function of a version that has been replaced twice fails; one that is called
%% by its full name is the new one. The process that answers lives on.
old_code(Config) ->
    Module = erlmcp_ct_health_versions,
    [First, Second, Third] = [version_of(Module, N) || N <- [1, 2, 3]],
    {module, Module} = code:load_binary(Module, "test", First),
    ok = ?H:register(local, Module:local()),
    ok = ?H:register(external, fun Module:external/0),
    Details = fun() ->
        Answer = probe("/ready", Config),
        [erlmcp_ct_health:detail(Name, Answer) || Name <- [<<"local">>, <<"external">>]]
    end,
    Responder = whereis(?RESPONDER),
    ?assertEqual([<<"1">>, <<"1">>], Details()),
    {module, Module} = code:load_binary(Module, "test", Second),
    ?assertEqual([<<"1">>, <<"2">>], Details()),
    _ = code:purge(Module),
    {module, Module} = code:load_binary(Module, "test", Third),
    [Local, <<"3">>] = Details(),
    ?assertMatch(<<"raised error: ", _/binary>>, Local),
    ?assertNotEqual(nomatch, binary:match(Local, <<"badfun">>)),
    ?assertEqual(Responder, whereis(?RESPONDER)),
    _ = code:purge(Module),
    true = code:delete(Module),
    _ = code:purge(Module).

version_of(Module, Number) ->
    N = integer_to_list(Number),
    {ok, Tokens, _} = erl_scan:string(
        "-module(" ++ atom_to_list(Module) ++ "). -export([local/0, external/0]). "
        "local() -> fun() -> {ok, " ++ N ++ "} end. external() -> {ok, " ++ N ++ "}."),
    {ok, Module, Binary} = compile:forms(forms(Tokens)),
    Binary.

%% What is recorded of it

metrics(Config) ->
    Name = erlmcp_ct_app:name("measured"),
    Value = fun(Metric, Labels) -> erlmcp_metrics:value(Metric, Labels#{check => Name}) end,
    Failures = fun(Reason) -> Value(erlmcp_health_check_failures_total, #{reason => Reason}) end,
    %% Only what is to time out has little time.
    Run = fun(Reason, Fun) ->
        Timeout = case Reason of timeout -> 100; _ -> 5000 end,
        ok = ?H:register(Name, Fun, #{timeout => Timeout}),
        {_, _} = probe("/ready", Config),
        Value(erlmcp_health_check_up, #{})
    end,
    ?assertEqual(1, Run(none, fun() -> timer:sleep(20) end)),
    #{count := 1, sum := Sum} = Value(erlmcp_health_check_duration_seconds, #{}),
    ?assert(Sum >= 0.02 andalso Sum < 5),
    LastRun = Value(erlmcp_health_check_last_run_timestamp_seconds, #{}),
    ?assert(abs(LastRun - erlang:system_time(second)) < 10),
    ?assertEqual(undefined, Failures(failed)),
    [begin
         ?assertEqual(0, Run(Reason, Fun)),
         ?assertEqual({Reason, 1}, {Reason, Failures(Reason)})
     end || {Reason, Fun} <- [{failed, fun() -> false end}, {raised, fun() -> error(x) end},
                              {timeout, fun() -> timer:sleep(infinity) end},
                              {killed, fun() -> exit(self(), kill), timer:sleep(infinity) end},
                              {bad_result, fun() -> x end}]],
    ?assertMatch(#{count := 6}, Value(erlmcp_health_check_duration_seconds, #{})),
    {200, _, Scraped} = erlmcp_ct_app:get("/metrics"),
    Read = erlmcp_ct_exposition:parse(text, Scraped),
    ?assertEqual(0, erlmcp_ct_exposition:value(Read, <<"erlmcp_health_check_up">>, #{<<"check">> => Name})),
    ?assertEqual(1, erlmcp_ct_exposition:value(Read, <<"erlmcp_health_check_up">>,
                                               #{<<"check">> => <<"startup">>})),
    {200, _, Custom} = erlmcp_ct_app:get("/metrics/custom"),
    ?assertEqual(nomatch, binary:match(Custom, <<"erlmcp_health">>)),
    ?assert(?H:unregister(Name)),
    {200, _, After} = erlmcp_ct_app:get("/metrics"),
    ?assertEqual(nomatch, binary:match(After, Name)).

%% Changes are logged and states are not; not more often than six times a minute.
log_of_changes(_Config) ->
    Self = self(),
    Good = counters:new(1, []),
    ok = ?H:register(flapping, fun() -> counters:get(Good, 1) =:= 1 orelse {error, "no route"} end),
    ok = logger:add_handler(?FUNCTION_NAME, ?MODULE, #{config => Self}),
    try
        Say = fun(Value) -> counters:put(Good, 1, Value), _ = ?H:run(ready) end,
        [Say(1) || _ <- [1, 2, 3]],
        ?assertEqual(none, logged(100)),
        [Say(0) || _ <- [1, 2, 3]],
        {warning, Failed, Domain} = logged(5000),
        ?assertEqual("health check flapping failed (failed): no route", Failed),
        ?assertEqual([erlmcp, health], Domain),
        ?assertEqual(none, logged(100)),
        Say(1),
        ?assertMatch({notice, "health check flapping passes again", _}, logged(5000)),
        [begin Say(0), Say(1) end || _ <- lists:seq(1, 10)],
        Rest = all_logged(),
        ?assertEqual(4, length(Rest)),
        ok = ?H:drain(),
        ?assertMatch({notice, "this node takes no more work" ++ _, _}, logged(5000)),
        ok = ?H:drain(),
        ?assertEqual(none, logged(100)),
        ok = ?H:resume(),
        ?assertMatch({notice, "this node takes work again", _}, logged(5000))
    after
        logger:remove_handler(?FUNCTION_NAME)
    end.

log(#{level := Level, msg := {report, Report}, meta := #{domain := [erlmcp, health | _] = Domain} = Meta},
    #{config := Pid}) ->
    #{report_cb := Text} = Meta,
    {Format, Arguments} = Text(Report),
    Pid ! {logged, {Level, lists:flatten(io_lib:format(Format, Arguments)), Domain}};
log(_Event, _Handler) ->
    ok.

logged(WaitMs) ->
    receive {logged, Line} -> Line after WaitMs -> none end.

all_logged() ->
    case logged(500) of
        none -> [];
        Line -> [Line | all_logged()]
    end.

%% Any checks

random_checks(Config) ->
    Property = proper:forall(checks(), fun(Checks) -> holds(Checks, Config) end),
    case proper:quickcheck(Property, [quiet, {numtests, ?CASES}, {max_size, 12}]) of
        true -> ok;
        Failed -> ct:fail({Failed, proper:counterexample()})
    end.

checks() ->
    resize(6, list({binary(), behaviour(), boolean(), oneof([[ready], [startup], [ready, startup]])})).

behaviour() ->
    oneof([exactly(ok), exactly(true), exactly(false), {returns, term()}, {passes, term()},
           {fails, term()}, {raises, oneof([error, exit, throw]), term()}, exactly(killed),
           exactly(hangs), exactly(linked), exactly(unregistered), exactly(heap)]).

holds(Checks, Config) ->
    Named = [{unicode_name(N, Name), Check}
             || {N, {Name, _, _, _} = Check} <- lists:zip(lists:seq(1, length(Checks)), Checks)],
    [ok = ?H:register(Name, fun() -> behave(Behaviour, Name) end,
                      #{critical => Critical, probes => Probes, timeout => timeout_of(Behaviour)})
     || {Name, {_, Behaviour, Critical, Probes}} <- Named],
    %% Those that unregister themselves are in no answer.
    Staying = [{Name, Check} || {Name, {_, Behaviour, _, _} = Check} <- Named,
                                Behaviour =/= unregistered],
    Fine = lists:all(fun({Path, Probe}) -> is_right(Probe, Staying, probe(Path, Config)) end,
                     [{"/health", health}, {"/ready", ready}, {"/startup", startup}, {"/live", live}]),
    [_ = ?H:unregister(Name) || {Name, _} <- Named],
    Fine.

unicode_name(Number, Bytes) ->
    Text = [C || <<C>> <= binary:part(Bytes, 0, min(20, byte_size(Bytes)))],
    unicode:characters_to_binary([integer_to_list(Number), $:, Text]).

timeout_of(hangs) -> 30;
timeout_of(_) -> 8000.

behave(ok, _) -> ok;
behave(true, _) -> true;
behave(false, _) -> false;
behave({returns, Term}, _) -> {other, Term};
behave({passes, Term}, _) -> {ok, Term};
behave({fails, Term}, _) -> {error, Term};
behave({raises, Class, Term}, _) -> erlang:raise(Class, Term, []);
behave(killed, _) -> exit(self(), kill), timer:sleep(infinity);
behave(hangs, _) -> process_flag(trap_exit, true), timer:sleep(infinity);
behave(linked, _) -> spawn_link(fun() -> exit({some, reason}) end), timer:sleep(infinity);
behave(unregistered, Name) -> ?H:unregister(Name);
behave(heap, _) -> {ok, length(lists:seq(1, 12000000))}.

passes(ok) -> true;
passes(true) -> true;
passes({passes, _}) -> true;
passes(_) -> false.

is_right(Probe, Staying, {Code, #{checks := Checks}}) ->
    Concerned = [{Name, Behaviour, Critical}
                 || {Name, {_, Behaviour, Critical, Probes}} <- Staying,
                    Probe =:= health orelse lists:member(Probe, Probes)],
    Own = [<<"beam">>, <<"startup">>, <<"accepting">>],
    lists:sort([Name || {Name, _, _} <- Concerned]) =:= lists:sort(maps:keys(Checks) -- Own)
        andalso lists:all(fun({Name, Behaviour, _}) ->
                              {Status, _, _} = maps:get(Name, Checks),
                              (Status =:= <<"healthy">>) =:= passes(Behaviour)
                          end, Concerned)
        andalso (Code =:= 200) =:= lists:all(fun({_, Behaviour, Critical}) ->
                                                 passes(Behaviour) orelse not Critical
                                             end, Concerned).

%% Liveness

%% Every scheduler of a node is held by a NIF. Its probes say so in time and its
%% metrics are read and recorded meanwhile; then it is live again.
blocked_schedulers(Config) ->
    Library = erlmcp_ct_block:build(proplists:get_value(priv_dir, Config)),
    Node = erlmcp_ct_node:start(#{health_timeout_ms => 300, vm_timeout_ms => 300}),
    try
        Url = fun(Path) -> erlmcp_ct_node:url(Node, Path) end,
        [Live, Health, Custom, Metrics] = [Url(Path) || Path <- ["/live", "/health", "/metrics/custom",
                                                                 "/metrics"]],
        ok = erlmcp_ct_node:call(Node, erlmcp_ct_block, load, [Library]),
        {200, _} = erlmcp_ct_health:get(oracle(Config), Live),
        {200, _} = erlmcp_ct_health:get(oracle(Config), Health),
        Name = <<"while_blocked">>,
        ok = erlmcp_ct_node:call(Node, erlmcp_ct_block, record_meanwhile,
                                 [recorder, Name, #{}, 6000]),
        ok = erlmcp_ct_node:call(Node, erlmcp_ct_block, block_all, [300, 5000]),
        erlmcp_ct_load:until(fun() -> element(1, erlmcp_ct_health:get(oracle(Config), Live)) =:= 503 end),
        {503, #{status := <<"unhealthy">>, checks := Checks}} = erlmcp_ct_health:get(oracle(Config), Health),
        ?assertMatch(#{<<"beam">> := {<<"unhealthy">>, <<"critical">>, <<"no answer after ", _/binary>>}},
                     Checks),
        ?assertEqual(1, map_size(Checks)),
        Counts = [counted(Name, Custom) || _ <- [1, 2, 3]],
        ?assert(strictly_grows(Counts), Counts),
        ?assertEqual(1, counted_in(<<"erlmcp_vm_metrics_stale">>, Metrics)),
        %% Still blocked: what was read was read of a node that stood still.
        {503, _} = erlmcp_ct_health:get(oracle(Config), Live),
        erlmcp_ct_load:until(fun() -> element(1, erlmcp_ct_health:get(oracle(Config), Live)) =:= 200 end),
        {200, _} = erlmcp_ct_health:get(oracle(Config), Health),
        ?assertEqual(0, counted_in(<<"erlmcp_vm_metrics_stale">>, Metrics)),
        Counted = erlmcp_ct_node:call(Node, ?MODULE, ask_recorder, []),
        ?assert(is_integer(Counted) andalso Counted > lists:last(Counts), {Counted, Counts}),
        ?assertEqual(Counted, erlmcp_ct_node:call(Node, erlmcp_metrics, value, [Name, #{}])),
        ?assertEqual(Counted, counted(Name, Custom))
    after
        erlmcp_ct_node:stop(Node)
    end.

strictly_grows([A, B | Rest]) -> A < B andalso strictly_grows([B | Rest]);
strictly_grows([_]) -> true.

counted(Name, Url) ->
    timer:sleep(20),
    counted_in(<<Name/binary, "_total">>, Url).

counted_in(Name, Url) ->
    {ok, {{_, 200, _}, _, Body}} = httpc:request(get, {Url, []}, [{timeout, 10000}],
                                                 [{body_format, binary}]),
    erlmcp_ct_exposition:value(erlmcp_ct_exposition:parse(text, Body), Name, #{}).

%% One scheduler is enough to be alive.
one_scheduler(Config) ->
    Node = erlmcp_ct_node:start(#{}),
    try
        Url = [erlmcp_ct_node:url(Node, Path) || Path <- ["/live", "/health", "/ready"]],
        ok = erlmcp_ct_node:call(Node, ?MODULE, one_scheduler_for, [1500]),
        Codes = [element(1, erlmcp_ct_health:get(oracle(Config), U)) || _ <- lists:seq(1, 10), U <- Url],
        ?assertEqual([200], lists:usort(Codes))
    after
        erlmcp_ct_node:stop(Node)
    end.

one_scheduler_for(Ms) ->
    Self = self(),
    Pid = spawn(fun() ->
        blocked = erlang:system_flag(multi_scheduling, block),
        Self ! {blocked, self()},
        timer:sleep(Ms)
    end),
    receive {blocked, Pid} -> ok after 30000 -> error(not_blocked) end.

%% A node with far more to do than it can is busy and not dead, even where the
%% work is of high priority: at any other priority it would not answer at all. The
%% patience is for what else the machine does meanwhile.
overload(Config) ->
    Node = erlmcp_ct_node:start(#{health_timeout_ms => 5000}),
    try
        Url = [erlmcp_ct_node:url(Node, Path) || Path <- ["/live", "/health", "/ready"]],
        ok = erlmcp_ct_node:call(Node, ?MODULE, overload_for, [8000]),
        Answers = answers_for(3000, Url, Config),
        ?assert(length(Answers) >= 10),
        {Codes, Times} = lists:unzip(Answers),
        ct:log("answers under overload, in us: ~p", [lists:sort(Times)]),
        ?assertEqual([200], lists:usort(Codes)),
        {comment, lists:flatten(io_lib:format("median ~b us, longest ~b us",
                                              [lists:nth(length(Times) div 2, lists:sort(Times)), lists:max(Times)]))}
    after
        erlmcp_ct_node:stop(Node)
    end.

answers_for(Ms, Urls, Config) when Ms > 0 ->
    Begin = erlang:monotonic_time(microsecond),
    Answers = [begin
                   Asked = erlang:monotonic_time(microsecond),
                   {Code, _} = erlmcp_ct_health:get(oracle(Config), Url),
                   {Code, erlang:monotonic_time(microsecond) - Asked}
               end || Url <- Urls],
    Took = (erlang:monotonic_time(microsecond) - Begin) div 1000,
    Answers ++ answers_for(Ms - max(1, Took), Urls, Config);
answers_for(_Ms, _Urls, _Config) ->
    [].

overload_for(Ms) ->
    End = erlang:monotonic_time(millisecond) + Ms,
    Spin = fun() -> spin(End) end,
    [spawn_opt(Spin, [{priority, high}]) || _ <- lists:seq(1, 20)],
    [spawn(Spin) || _ <- lists:seq(1, 500)],
    ok.

spin(End) ->
    case erlang:monotonic_time(millisecond) < End of
        true -> spin(End);
        false -> ok
    end.

ask_recorder() ->
    erlmcp_ct_load:until(fun() -> whereis(recorder) =/= undefined end),
    recorder ! {ask, self()},
    receive {counted, Counted} -> Counted after 30000 -> error(no_count) end.

%% By hand

%% What a page says, asked by another process, which has a Python of its own.
in_background(Path) ->
    Self = self(),
    Pid = spawn_link(fun() ->
        Oracle = erlmcp_ct_health:open(),
        Self ! {self(), erlmcp_ct_health:get(Oracle, url(Path))},
        erlmcp_ct_health:close(Oracle)
    end),
    fun() -> receive {Pid, Answer} -> Answer after 30000 -> ct:fail(no_answer) end end.

oracle(Config) ->
    proplists:get_value(oracle, Config).

url(Path) ->
    "http://127.0.0.1:" ++ integer_to_list(erlmcp_ct_app:port()) ++ Path.

probe(Path, Config) ->
    erlmcp_ct_health:get(oracle(Config), url(Path)).

codes(Config) ->
    [element(1, probe(Path, Config)) || Path <- ["/live", "/ready", "/startup", "/health"]].
