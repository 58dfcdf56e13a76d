%% Counts and spans outlive everything on the Erlang side: new versions of modules
%% under load, deleted modules, killed processes, stops and starts, and a panic
%% in the library. A node that is told to stop does so.
-module(erlmcp_instrumentation_upgrade_SUITE).

-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1,
         init_per_testcase/2, end_per_testcase/2]).
-export([
    new_versions_under_load/1, deleted_modules_under_load/1, a_version_that_cannot_load/1,
    the_listener_after_a_reload/1, what_is_open_after_a_reload/1,
    a_panic_is_an_error/1, stop_and_start/1, stop_under_load/1,
    killed_processes_are_replaced/1, killed_listener_on_a_fixed_port/1, killed_application/1,
    start_link_before_the_application/1, start_link_without_the_application/1,
    init_stop_under_load/1
]).
%% Called by their full names, so that no code of another module is on a stack.
-export([work/1, scrape/1, load_for_stop/0]).

-define(APPLICATION, erlmcp_instrumentation).
-define(M, erlmcp_metrics).
-define(T, erlmcp_otel_instrumentation).
-define(NIF, erlmcp_instrumentation_nif).
-define(STOPS, 20).
-define(STOPS_AT_ONCE, 5).
-define(STOP_MS, 10000).

suite() ->
    %% Minutes on a machine that has other work.
    [{timetrap, {minutes, 5}}].

all() ->
    [new_versions_under_load, deleted_modules_under_load, a_version_that_cannot_load,
     the_listener_after_a_reload, what_is_open_after_a_reload,
     a_panic_is_an_error, stop_and_start, stop_under_load,
     killed_processes_are_replaced, killed_listener_on_a_fixed_port, killed_application,
     start_link_before_the_application, start_link_without_the_application,
     init_stop_under_load].

init_per_suite(Config) ->
    erlmcp_ct_app:quiet(),
    {ok, _} = application:ensure_all_started(inets),
    Config.

end_per_suite(_Config) ->
    erlmcp_ct_app:forget(),
    erlmcp_ct_app:loud().

init_per_testcase(_Case, Config) ->
    erlmcp_ct_app:start(),
    Config.

end_per_testcase(_Case, _Config) ->
    erlmcp_ct_app:stop(),
    [load(Module, file) || Module <- modules()],
    ok.

%% Code

%% Each module, twice in a row.
new_versions_under_load(_Config) ->
    Versions = [{Module, new_version(Module)} || _ <- [1, 2], Module <- modules()],
    under_load(fun() ->
        [begin
             load(Module, Binary),
             ?assertEqual([Version], proplists:get_value(vsn, Module:module_info(attributes))),
             timer:sleep(5)
         end || {Module, {Binary, Version}} <- Versions]
    end).

%% The next call loads the module from its file again.
deleted_modules_under_load(_Config) ->
    under_load(fun() ->
        [begin
             {module, Module} = code:ensure_loaded(Module),
             purge(Module),
             true = code:delete(Module),
             purge(Module),
             {module, Module} = code:ensure_loaded(Module),
             timer:sleep(5)
         end || _ <- [1, 2], Module <- modules()]
    end).

%% The version before goes on.
a_version_that_cannot_load(_Config) ->
    Forms = forms(?NIF),
    Failing = [case Form of
                   {function, Line, load, 0, _} ->
                       {function, Line, load, 0, [{clause, Line, [], [], [{atom, Line, failing}]}]};
                   _ ->
                       Form
               end || Form <- Forms],
    ?assertNotEqual(Forms, Failing),
    {ok, ?NIF, Binary} = compile:forms(Failing, [nowarn_unused_function]),
    under_load(fun() ->
        [begin
             purge(?NIF),
             ?assertMatch({error, on_load_failure}, code:load_binary(?NIF, "failing", Binary))
         end || _ <- [1, 2]]
    end),
    %% What came after it can still be upgraded.
    {Good, Version} = new_version(?NIF),
    load(?NIF, Good),
    ?assertEqual([Version], proplists:get_value(vsn, ?NIF:module_info(attributes))),
    ok = ?M:inc(erlmcp_ct_app:name("after_failure")).

%% The library still knows when the owner of the listener ends.
the_listener_after_a_reload(_Config) ->
    [begin
         Reload(),
         {200, _, _} = erlmcp_ct_app:get("/metrics"),
         Port = erlmcp_ct_app:port(),
         exit(whereis(erlmcp_instrumentation_sup), kill),
         erlmcp_ct_load:until(fun() -> is_free(Port) end),
         erlmcp_ct_app:start()
     end || Reload <- [fun() -> {Binary, _} = new_version(?NIF), load(?NIF, Binary) end,
                       fun() -> load(?NIF, file) end,
                       fun() -> purge(?NIF), true = code:delete(?NIF), purge(?NIF) end]],
    ok.

%% It still ends with its owner, and operations are still listed.
what_is_open_after_a_reload(_Config) ->
    [begin
         Type = erlmcp_ct_app:name("reloaded"),
         Active = fun() -> ?M:value(erlmcp_sessions_active, #{session_type => Type}) end,
         {Owner, Monitor} = spawn_monitor(fun() -> receive stop -> ok end end),
         Kept = erlmcp_mcp_metrics:session_created(Type),
         Lost = erlmcp_mcp_metrics:session_created(Type, Owner),
         ok = ?M:record_server_operation(Type, reload, 1, #{}),
         Reload(),
         ?assertEqual(2, Active()),
         exit(Owner, kill),
         receive {'DOWN', Monitor, process, Owner, killed} -> ok end,
         erlmcp_ct_load:until(fun() -> Active() =:= 1 end),
         ?assertEqual([true, false], [erlmcp_mcp_metrics:session_closed(Session, done)
                                      || Session <- [Kept, Lost]]),
         ?assertEqual(0, Active()),
         ?assertMatch([#{labels := #{<<"server_id">> := Type}} | _], ?M:get_metrics())
     end || Reload <- [fun() -> {Binary, _} = new_version(?NIF), load(?NIF, Binary) end,
                       fun() -> load(?NIF, file) end,
                       fun() -> purge(?NIF), true = code:delete(?NIF), purge(?NIF) end]],
    ok.

%% Panics

a_panic_is_an_error(_Config) ->
    under_load(fun() ->
        [try ?NIF:panic_probe() of
             Result -> ct:fail({returned, Result})
         catch
             Class:Reason -> ?assertEqual({error, nif_panicked}, {Class, Reason})
         end || _ <- lists:seq(1, 20)]
    end).

%% Processes

stop_and_start(_Config) ->
    N = erlmcp_ct_app:name("restart"),
    ok = ?M:inc(N, 41),
    ok = ?M:observe(<<N/binary, "_h">>, 0.5),
    ok = ?M:set(<<N/binary, "_g">>, nan),
    Series = ?M:bind(counter, N, #{}),
    Values = fun() -> [?M:value(Name, #{}) || Name <- [N, <<N/binary, "_h">>, <<N/binary, "_g">>]] end,
    Before = Values(),
    [begin
         ok = application:stop(?APPLICATION),
         ?assertEqual([], erlmcp_instrumentation:http_addresses()),
         ?assertEqual(Before, Values()),
         %% The application is not needed for recording.
         ok = ?M:inc(Series, 0),
         {error, _} = ?M:inc(Series, -1),
         true = is_binary(?M:scrape(text)),
         {ok, _} = application:ensure_all_started(?APPLICATION),
         {200, _, Body} = erlmcp_ct_app:get("/metrics/custom"),
         Read = erlmcp_ct_exposition:parse(text, Body),
         ?assertEqual(41, erlmcp_ct_exposition:value(Read, <<N/binary, "_total">>, #{})),
         ?assertEqual(Before, Values())
     end || _ <- lists:seq(1, 10)],
    ok.

stop_under_load(_Config) ->
    under_load(fun() ->
        [begin
             ok = application:stop(?APPLICATION),
             {ok, _} = application:ensure_all_started(?APPLICATION),
             timer:sleep(20)
         end || _ <- lists:seq(1, 10)]
    end).

killed_processes_are_replaced(_Config) ->
    under_load(fun() ->
        [begin
             Pid = whereis(Name),
             exit(Pid, kill),
             erlmcp_ct_load:until(fun() -> is_pid(whereis(Name)) andalso whereis(Name) =/= Pid end)
         end || Name <- [erlmcp_metrics, erlmcp_instrumentation_vm, erlmcp_instrumentation_listener]],
        erlmcp_ct_load:until(fun() -> answers() end)
    end).

%% The port is taken by the next one at once, as often as it has to be, also
%% when the processors have other things to do than to close sockets.
killed_listener_on_a_fixed_port(_Config) ->
    busy(fun() ->
        [begin
             [Port, CustomPort] = two_free_ports(),
             erlmcp_ct_app:start(#{http_port => Port, custom_port => CustomPort}),
             Supervisor = whereis(erlmcp_instrumentation_sup),
             [begin
                  Pid = whereis(erlmcp_instrumentation_listener),
                  exit(Pid, kill),
                  erlmcp_ct_load:until(fun() ->
                      New = whereis(erlmcp_instrumentation_listener),
                      is_pid(New) andalso New =/= Pid
                  end),
                  ?assertMatch([{_, Port}, {_, CustomPort}], erlmcp_instrumentation:http_addresses()),
                  ?assertMatch({200, _, _}, erlmcp_ct_app:get("/metrics/custom"))
              end || _ <- lists:seq(1, 4)],
             ?assertEqual(Supervisor, whereis(erlmcp_instrumentation_sup))
         end || _ <- lists:seq(1, 100)]
    end).

%% Keeps the processors busy with expositions, on dirty schedulers: processes
%% run as before, and native threads get their turn late.
busy(Fun) ->
    N = erlmcp_ct_app:name("busy"),
    [ok = ?M:inc(N, #{i => I}) || I <- lists:seq(1, 1000)],
    Busy = [spawn(fun Scrape() -> _ = ?M:scrape(text, application), Scrape() end)
            || _ <- lists:seq(1, 2 * erlang:system_info(dirty_cpu_schedulers))],
    try
        Fun()
    after
        [exit(Pid, kill) || Pid <- Busy],
        ?M:remove(N)
    end.

killed_application(_Config) ->
    Orders = [fun(All) -> All end, fun lists:reverse/1,
              fun(_) -> [whereis(erlmcp_instrumentation_sup)] end,
              fun(_) -> [whereis(erlmcp_instrumentation_listener), whereis(erlmcp_instrumentation_sup)] end],
    [begin
         [Port, CustomPort] = two_free_ports(),
         erlmcp_ct_app:start(#{http_port => Port, custom_port => CustomPort}),
         under_load(fun() ->
             Supervisor = whereis(erlmcp_instrumentation_sup),
             Children = [Pid || {_, Pid, _, _} <- supervisor:which_children(Supervisor)],
             {ok, Idle} = gen_tcp:connect("127.0.0.1", Port, [{active, false}]),
             [exit(Pid, kill) || Pid <- Order([Supervisor | Children])],
             erlmcp_ct_load:until(fun() -> is_free(Port) andalso is_free(CustomPort) end),
             %% So are the connections.
             ?assertMatch({error, _}, gen_tcp:recv(Idle, 0, 5000)),
             gen_tcp:close(Idle),
             erlmcp_ct_load:until(fun() -> not is_running() end),
             {ok, _} = application:ensure_all_started(?APPLICATION),
             ?assertMatch([{_, Port}, {_, CustomPort}], erlmcp_instrumentation:http_addresses())
         end)
     end || Order <- Orders],
    ok.

start_link_before_the_application(_Config) ->
    erlmcp_ct_app:stop(),
    ?assertEqual(undefined, whereis(?M)),
    process_flag(trap_exit, true),
    {ok, Pid} = ?M:start_link(),
    {ok, Pid} = ?M:start_link(),
    ?assertEqual(Pid, whereis(?M)),
    erlmcp_ct_app:try_start(#{}),
    ?assert(is_running()),
    ?assertEqual(Pid, whereis(?M)),
    {ok, Pid} = ?M:start_link(),
    ok = ?M:inc(erlmcp_ct_app:name("early")),
    {200, _, _} = erlmcp_ct_app:get("/metrics"),
    %% Whoever started it, the supervisor replaces it.
    exit(Pid, kill),
    erlmcp_ct_load:until(fun() -> is_pid(whereis(?M)) andalso whereis(?M) =/= Pid end),
    ?assert(is_running()),
    {ok, New} = ?M:start_link(),
    ?assertEqual(New, whereis(?M)),
    ok = application:stop(?APPLICATION),
    ?assertEqual(undefined, whereis(?M)),
    process_flag(trap_exit, false).

start_link_without_the_application(_Config) ->
    erlmcp_ct_app:stop(),
    process_flag(trap_exit, true),
    {ok, Pid} = ?M:start_link(),
    N = erlmcp_ct_app:name("alone"),
    ok = ?M:inc(N),
    ?assertEqual(1, ?M:value(N, #{})),
    ?assertEqual({match, [N]}, re:run(?M:scrape(), N, [{capture, first, binary}])),
    exit(Pid, shutdown),
    receive {'EXIT', Pid, shutdown} -> ok after 30000 -> ct:fail(still_there) end,
    %% Without that process too.
    ok = ?M:inc(N),
    {error, {bad_value, _}} = ?M:inc(N, foo),
    ?assertEqual(2, ?M:value(N, #{})),
    process_flag(trap_exit, false).

%% The end of a node

%% With processes that record and scrape, connections that are idle, half a
%% request, and a client that takes nothing of a large response.
init_stop_under_load(_Config) ->
    Ends = lists:append([erlmcp_ct_load:together(?STOPS_AT_ONCE, fun stop_node/1)
                         || _ <- lists:seq(1, ?STOPS div ?STOPS_AT_ONCE)]),
    ct:log("~p", [Ends]),
    ?assertEqual(lists:duplicate(?STOPS, {exit_status, 0}), [Reason || {Reason, _} <- Ends]),
    ?assert(lists:max([Ms || {_, Ms} <- Ends]) < ?STOP_MS, Ends).

stop_node(_) ->
    process_flag(trap_exit, true),
    {Node, Sockets} = start_node(),
    Begin = erlang:monotonic_time(millisecond),
    ok = peer:call(Node, init, stop, []),
    Reason = receive {'EXIT', Node, Ended} -> Ended after 2 * ?STOP_MS -> never end,
    Took = erlang:monotonic_time(millisecond) - Begin,
    [gen_tcp:close(Socket) || Socket <- Sockets],
    {Reason, Took}.

start_node() ->
    Paths = lists:append([["-pa", Path] || Path <- code:get_path(), Path =/= "."]),
    %% That it ended is told with the exit status.
    {ok, Node, _} = peer:start_link(#{connection => standard_io, args => Paths, peer_down => crash}),
    Port = peer:call(Node, ?MODULE, load_for_stop, [], 30000),
    Get = "GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n",
    Sockets = [begin
                   {ok, Socket} = gen_tcp:connect("127.0.0.1", Port, [{active, false}, {recbuf, 4096}]),
                   ok = gen_tcp:send(Socket, Request),
                   Socket
               end || Request <- ["", "", "GET /metr", Get, Get, Get]],
    {Node, Sockets}.

%% On the node. Processes that are started here end with it.
load_for_stop() ->
    erlmcp_ct_app:quiet(),
    erlmcp_ct_app:start(),
    N = erlmcp_ct_app:name("end"),
    ok = ?M:declare(counter, N, #{limit => 50000}),
    Long = binary:copy(<<"long">>, 50),
    [ok = ?M:inc(N, #{i => I, value => Long}) || I <- lists:seq(1, 5000)],
    Keeper = spawn(fun() -> receive never -> ok end end),
    [spawn(?MODULE, work, [{N, ?M:bind(counter, N, #{}), Keeper, 0}]) || _ <- [1, 2]],
    Port = erlmcp_ct_app:port(),
    _ = spawn(?MODULE, scrape, [{Port, Keeper, 0}]),
    Port.

%% Load

%% Runs Fun while processes record, trace and scrape. All counts are exact after
%% it, none of the processes has ended and the endpoint answers.
under_load(Fun) ->
    N = erlmcp_ct_app:name("load"),
    SpansBefore = ?NIF:span_stats(),
    Series = ?M:bind(counter, N, #{by => handle}),
    %% Linked too: with a case that is out of time they end.
    Started = fun(Function, Argument) ->
        spawn_opt(?MODULE, Function, [Argument], [link, monitor])
    end,
    Workers = [Started(work, {N, Series, self(), 0}) || _ <- [1, 2, 3]],
    Scraper = Started(scrape, {dynamic, self(), 0}),
    timer:sleep(20),
    try
        Fun()
    catch
        Class:Reason:Stack ->
            %% Or they count on into the cases that follow.
            [begin unlink(Pid), exit(Pid, kill) end || {Pid, _} <- [Scraper | Workers]],
            erlang:raise(Class, Reason, Stack)
    end,
    [Pid ! stop || {Pid, _} <- [Scraper | Workers]],
    Scrapes = stopped(Scraper),
    Rounds = lists:sum([stopped(Worker) || Worker <- Workers]),
    ?assert(Rounds > 100),
    ?assert(Scrapes > 0),
    ?assertEqual(Rounds, ?M:value(N, #{by => handle})),
    ?assertEqual(Rounds, ?M:value(N, #{by => name})),
    ?assertEqual(Rounds * 0.5, ?M:value(<<N/binary, "_floats">>, #{})),
    ?assertEqual(-Rounds, ?M:value(<<N/binary, "_updown">>, #{})),
    ?assertEqual(2 * Rounds, ?M:value(<<N/binary, "_gauge">>, #{})),
    ?assertMatch(#{count := Rounds}, ?M:value(<<N/binary, "_timed">>, #{})),
    #{count := Rounds, sum := Sum, buckets := Buckets} = ?M:value(<<N/binary, "_seconds">>, #{}),
    ?assertEqual(Rounds * 2.0, Sum),
    ?assertEqual({2.5, Rounds}, lists:keyfind(2.5, 1, Buckets)),
    ?assertEqual({1.0, 0}, lists:keyfind(1.0, 1, Buckets)),
    %% Each request is counted, and each span that was recorded has ended and is
    %% in the queue or counted as refused.
    Labels = #{method => N, component => server},
    ?assertEqual(Rounds, ?M:value(erlmcp_requests_total, Labels#{status => success})),
    ?assertEqual(Rounds, ?M:value(erlmcp_requests_total, Labels#{status => error})),
    Spans = maps:map(fun(Key, Value) -> Value - maps:get(Key, SpansBefore) end, ?NIF:span_stats()),
    ?assertMatch(#{open := 0, too_many_open := 0, sampled_out := 0}, Spans),
    #{recorded := Recorded, ended := Ended, queue_accepted := Accepted, queue_refused := Refused} = Spans,
    ?assertEqual({3 * Rounds, 3 * Rounds, 3 * Rounds}, {Recorded, Ended, Accepted + Refused}),
    {200, _, Body} = erlmcp_ct_app:get("/metrics/custom"),
    Read = erlmcp_ct_exposition:parse(text, Body),
    ?assertEqual(Rounds, erlmcp_ct_exposition:value(Read, <<N/binary, "_total">>, #{<<"by">> => <<"name">>})),
    ?assertMatch({200, _, _}, erlmcp_ct_app:get("/health")).

stopped({Pid, Monitor}) ->
    receive
        {Pid, Count} -> demonitor(Monitor, [flush]), Count;
        {'DOWN', Monitor, process, Pid, Reason} -> ct:fail({ended, Reason})
    after 20000 ->
        ct:fail({does_not_stop, process_info(Pid, current_stacktrace)})
    end.

work({N, Series, Owner, Rounds}) ->
    receive
        stop -> Owner ! {self(), Rounds}
    after 0 ->
        ok = ?M:inc(Series),
        ok = ?M:record_counter(N, 1, #{<<"by">> => "name"}),
        ok = ?M:inc(<<N/binary, "_floats">>, 0.5),
        ok = ?M:dec(<<N/binary, "_updown">>),
        ok = gauge(<<N/binary, "_gauge">>),
        ok = ?M:observe(<<N/binary, "_seconds">>, 2),
        done = ?M:time(<<N/binary, "_timed">>, #{}, fun() -> done end),
        done = ?T:trace_request(#{method => N}, fun() ->
            ?T:with_span(<<"inside">>, #{attributes => #{round => Rounds}}, fun() ->
                true = ?T:add_event(<<"event">>, #{by => self()}),
                done
            end)
        end),
        {error, failed} = ?T:trace_request(#{method => N}, fun() -> {error, failed} end),
        undefined = ?T:current_span(),
        ?MODULE:work({N, Series, Owner, Rounds + 1})
    end.

gauge(Name) ->
    ok = ?M:declare(gauge, Name, #{}),
    ok = ?M:inc(Name, 3),
    ?M:dec(Name, 1).

%% While the application is down or moves to another port, a request may fail.
scrape({Where, Owner, Count}) ->
    receive
        stop -> Owner ! {self(), Count}
    after 0 ->
        Done = case port(Where) of
            none ->
                0;
            Port ->
                Url = "http://127.0.0.1:" ++ integer_to_list(Port) ++ "/metrics",
                case httpc:request(get, {Url, []}, [{timeout, 5000}], [{body_format, binary}]) of
                    {ok, {{_, 200, _}, _, Body}} when Where =:= dynamic ->
                        _ = erlmcp_ct_exposition:parse(text, Body),
                        1;
                    {ok, {{_, 200, _}, _, _}} ->
                        1;
                    {error, _} ->
                        0
                end
        end,
        timer:sleep(2),
        ?MODULE:scrape({Where, Owner, Count + Done})
    end.

port(dynamic) ->
    try erlmcp_instrumentation:http_addresses() of
        [{_, Port} | _] -> Port;
        [] -> none
    catch
        exit:_ -> none
    end;
port(Port) ->
    Port.

answers() ->
    try erlmcp_ct_app:get("/metrics") of
        {200, _, _} -> true
    catch
        _:_ -> false
    end.

%% Modules

modules() ->
    _ = application:load(?APPLICATION),
    {ok, [_ | _] = Modules} = application:get_key(?APPLICATION, modules),
    Modules.

%% The module as it is, with another version attribute.
new_version(Module) ->
    Version = erlang:unique_integer([positive]),
    {Head, [{attribute, Line, module, _} = Name | Rest]} =
        lists:splitwith(fun(Form) -> element(3, Form) =/= module end, forms(Module)),
    Forms = Head ++ [Name, {attribute, Line, vsn, Version} | Rest],
    {ok, Module, Binary} = compile:forms(Forms, [debug_info]),
    {Binary, Version}.

forms(Module) ->
    File = code:where_is_file(atom_to_list(Module) ++ ".beam"),
    {ok, {Module, [{abstract_code, {raw_abstract_v1, Forms}}]}} =
        beam_lib:chunks(File, [abstract_code]),
    Forms.

%% Makes a version current and sees to it that no process runs the one before.
load(Module, file) ->
    purge(Module),
    {module, Module} = code:load_file(Module),
    purge(Module);
load(Module, Binary) ->
    purge(Module),
    {module, Module} = code:load_binary(Module, code:where_is_file(atom_to_list(Module) ++ ".beam"), Binary),
    purge(Module).

%% soft_purge/1 kills nobody.
purge(Module) ->
    erlmcp_ct_load:until(fun() -> code:soft_purge(Module) end),
    ?assertNot(erlang:check_old_code(Module)).

is_running() ->
    lists:keymember(?APPLICATION, 1, application:which_applications()).

is_free(Port) ->
    case gen_tcp:listen(Port, [{ip, {127, 0, 0, 1}}, {reuseaddr, true}]) of
        {ok, Socket} -> gen_tcp:close(Socket), true;
        {error, eaddrinuse} -> false
    end.

two_free_ports() ->
    First = erlmcp_ct_program:free_port(),
    case erlmcp_ct_program:free_port() of
        First -> two_free_ports();
        Second -> [First, Second]
    end.
