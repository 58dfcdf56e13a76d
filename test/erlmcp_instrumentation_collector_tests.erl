%% Collectors of an application's own, against the real scrape.
-module(erlmcp_instrumentation_collector_tests).

-behaviour(erlmcp_instrumentation_collector).

-include_lib("eunit/include/eunit.hrl").

-export([collect/1, prepare/1]).

-define(COLLECTOR, erlmcp_instrumentation_collector).
-define(MODE, {?MODULE, mode}).

collector_test_() ->
    {foreach,
     fun() -> erlmcp_ct_app:quiet(), erlmcp_ct_app:start(), persistent_term:put(?MODE, depth) end,
     fun(_) ->
         ok = ?COLLECTOR:unregister(?MODULE),
         persistent_term:erase(?MODE),
         erlmcp_ct_app:stop(),
         erlmcp_ct_app:loud()
     end,
     [fun what_is_registered_is_scraped/0,
      fun a_failure_costs_its_own_families/0,
      fun registration_outlives_the_process_and_the_application/0,
      {timeout, 60, fun what_is_no_collector_is_refused/0},
      fun names_of_the_registry_win/0]}.

%% The collector.

prepare(_Opts) ->
    persistent_term:put({?MODULE, prepared}, true).

collect(_Opts) ->
    case persistent_term:get(?MODE) of
        crash -> error(crash);
        nonsense -> [nonsense];
        {name, Name} -> [?COLLECTOR:family(Name, gauge, <<"Taken.">>, 1)];
        depth ->
            [?COLLECTOR:family(<<"own_queue_depth">>, gauge, <<"Depth.">>,
                               [{[{<<"queue">>, mail}], 3}, {[{<<"queue">>, other}], unknown}])]
    end.

what_is_registered_is_scraped() ->
    ?assertEqual([], ?COLLECTOR:registered()),
    ?assertEqual(nomatch, shown("own_queue_depth")),
    ok = ?COLLECTOR:register(?MODULE),
    ok = ?COLLECTOR:register(?MODULE),
    ?assertEqual([?MODULE], ?COLLECTOR:registered()),
    ?assert(persistent_term:get({?MODULE, prepared})),
    ?assertEqual(<<"own_queue_depth{queue=\"mail\"} 3">>, shown("own_queue_depth")),
    ok = ?COLLECTOR:unregister(?MODULE),
    ?assertEqual(nomatch, shown("own_queue_depth")).

a_failure_costs_its_own_families() ->
    ok = ?COLLECTOR:register(?MODULE),
    [begin
         persistent_term:put(?MODE, Mode),
         ?assertEqual(nomatch, shown("own_queue_depth")),
         ?assertNotEqual(nomatch, shown("erlang_vm_processes"))
     end || Mode <- [crash, nonsense]],
    %% Two scrapes of each, and this one.
    Failures = "erlmcp_vm_collector_failures_total.collector=\"" ++ ?MODULE_STRING ++ "\"",
    ?assertMatch({match, _}, re:run(shown(Failures), "\\} 5$")),
    persistent_term:put(?MODE, depth),
    ?assertNotEqual(nomatch, shown("own_queue_depth")).

registration_outlives_the_process_and_the_application() ->
    ok = ?COLLECTOR:register(?MODULE),
    Pid = whereis(erlmcp_instrumentation_vm),
    Monitor = erlang:monitor(process, Pid),
    exit(Pid, kill),
    receive {'DOWN', Monitor, process, Pid, killed} -> ok after 30000 -> error(lives) end,
    wait_for(fun() -> shown("own_queue_depth") =/= nomatch end),
    erlmcp_ct_app:stop(),
    ?assertEqual({error, not_running}, ?COLLECTOR:register(?MODULE)),
    erlmcp_ct_app:start(),
    ?assertNotEqual(nomatch, shown("own_queue_depth")).

what_is_no_collector_is_refused() ->
    ?assertEqual({error, {bad_collector, no_such_module}}, ?COLLECTOR:register(no_such_module)),
    ?assertEqual({error, {bad_collector, lists}}, ?COLLECTOR:register(lists)),
    ?assertEqual([], ?COLLECTOR:registered()).

%% One name twice would cost the whole scrape.
names_of_the_registry_win() ->
    ok = erlmcp_metrics:set(own_taken, 7),
    ok = ?COLLECTOR:register(?MODULE),
    [begin
         persistent_term:put(?MODE, {name, Name}),
         ?assertEqual(1, length(binary:matches(erlmcp_metrics:scrape(), <<"# TYPE ", Name/binary, " ">>)))
     end || Name <- [<<"own_taken">>, <<"erlang_vm_processes">>]].

%% The first line that begins so.
shown(Begin) ->
    case re:run(erlmcp_metrics:scrape(), "^" ++ Begin ++ ".*$", [multiline, {capture, first, binary}]) of
        {match, [Line]} -> Line;
        nomatch -> nomatch
    end.

wait_for(Condition) ->
    wait_for(Condition, 200).

wait_for(Condition, Left) ->
    case Condition() of
        true -> ok;
        false when Left > 0 -> timer:sleep(20), wait_for(Condition, Left - 1)
    end.
