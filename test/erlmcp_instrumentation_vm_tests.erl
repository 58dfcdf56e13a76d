%% Tests of erlmcp_instrumentation_vm and its collectors. The native side is
%% played by functions that send what they are called with to the test; mnesia,
%% the peers and TLS are real.
-module(erlmcp_instrumentation_vm_tests).

-behaviour(erlmcp_instrumentation_collector).

-include_lib("eunit/include/eunit.hrl").

-export([collect/1, prepare/1, log/2, links_within/0, flood/2]).

-define(SERVER, erlmcp_instrumentation_vm).
-define(FAILURES, <<"erlmcp_vm_collector_failures_total">>).

vm_test_() ->
    {foreach, fun setup/0, fun cleanup/1,
     [{Name, {timeout, 120, Test}} || {Name, Test} <- tests()]}.

tests() ->
    [{"every name with its type and labels", fun every_name/0},
     {"names and series are unique", fun unique/0},
     {"memory agrees with the VM", fun memory/0},
     {"DETS and ETS tables are counted, DETS not started", fun tables/0},
     {"statistics agree with the VM", fun statistics/0},
     {"sizes and limits agree with the VM", fun system_info/0},
     {"allocators agree with the VM", fun allocators/0},
     {"older names", fun legacy/0},
     {"microstate accounting", fun msacc/0},
     {"mnesia not running", fun mnesia_absent/0},
     {"mnesia running", fun mnesia/0},
     {"not distributed", fun not_distributed/0},
     {"a peer over TCP", fun peer_over_tcp/0},
     {"a peer over TLS", fun peer_over_tls/0},
     {"a value that is no number", fun no_number/0},
     {"a collector that fails", fun failing_collectors/0},
     {"a collector that hangs", fun hanging_collector/0},
     {"a collector that repeats a family", fun repeated_family/0},
     {"failures are logged once a minute", fun log_limit/0},
     {"prepare that fails", fun failing_prepare/0},
     {"queued requests share a gathering", fun shared_gathering/0},
     {"a gathering asked for from Erlang", fun gather/0},
     {"unknown messages and calls", fun unknown_messages/0},
     {"an unknown group", fun unknown_group/0},
     {"no group at all", fun no_group/0},
     {"a reply that raises", fun failing_reply/0},
     {"a gathering ends with its server", fun gathering_ends_with_server/0},
     {"an overloaded node still answers", fun overload/0}].

%% Names, types, labels

every_name() ->
    start(#{}),
    Families = request(),
    Expected = memory_names() ++ statistics_names() ++ system_info_names() ++ allocators_names() ++
        [{?FAILURES, counter, [<<"collector">>]}],
    ?assertEqual(lists:sort(Expected), lists:sort([shape(Family) || Family <- Families])),
    ?assertEqual(ok, erlmcp_instrumentation_collector:check(Families)),
    [?assertMatch({Name, $.}, {Name, binary:last(Help)}) || {Name, _, Help, _} <- Families],
    ?assertEqual(
        lists:sort([{[{<<"collector">>, Group}], 0}
                    || {Group, _} <- ?SERVER:groups(), Group =/= msacc]),
        lists:sort(samples(?FAILURES, Families))).

memory_names() ->
    [{<<"erlang_vm_memory_atom_bytes">>, gauge, [<<"usage">>]},
     {<<"erlang_vm_memory_bytes">>, gauge, [<<"kind">>]},
     {<<"erlang_vm_memory_dets_tables">>, gauge, []},
     {<<"erlang_vm_memory_ets_tables">>, gauge, []},
     {<<"erlang_vm_memory_processes_bytes">>, gauge, [<<"usage">>]},
     {<<"erlang_vm_memory_system_bytes">>, gauge, [<<"usage">>]}].

statistics_names() ->
    Counters = ["bytes_output_total", "bytes_received_total", "context_switches_total",
                "garbage_collection_number_of_gcs_total",
                "garbage_collection_bytes_reclaimed_total",
                "garbage_collection_words_reclaimed_total", "reductions_total",
                "runtime_seconds_total", "wallclock_time_seconds_total"],
    Gauges = ["run_queues_length", "dirty_cpu_run_queue_length", "dirty_io_run_queue_length"],
    [{name("erlang_vm_statistics_", Name), Kind, []}
     || {Kind, Names} <- [{counter, Counters}, {gauge, Gauges}], Name <- Names].

system_info_names() ->
    [{name("erlang_vm_", Name), gauge, []}
     || Name <- ["dirty_cpu_schedulers", "dirty_cpu_schedulers_online", "dirty_io_schedulers",
                 "schedulers", "schedulers_online", "ets_limit", "logical_processors",
                 "logical_processors_available", "logical_processors_online", "ports",
                 "port_limit", "processes", "process_limit", "atoms", "atom_limit",
                 "thread_pool_size", "wordsize_bytes", "smp_support", "threads",
                 "time_correction"]].

allocators_names() ->
    [{<<"erlang_vm_allocators">>, gauge,
      [<<"alloc">>, <<"instance_no">>, <<"kind">>, <<"usage">>]}].

distribution_names() ->
    [{name("erlang_vm_dist_", Name), gauge, [<<"peer">>]}
     || Name <- ["recv_bytes", "recv_cnt", "recv_max_bytes", "recv_avg_bytes", "recv_dvi_bytes",
                 "send_bytes", "send_cnt", "send_max_bytes", "send_avg_bytes",
                 "send_pend_bytes", "port_input_bytes", "port_output_bytes",
                 "port_memory_bytes", "port_queue_size_bytes", "node_state",
                 "node_queue_size_bytes"]] ++
        [{name("erlang_vm_dist_", Name), gauge, [<<"peer">>, <<"type">>]}
         || Name <- ["proc_memory_bytes", "proc_message_queue_len", "proc_reductions",
                     "proc_status"]].

msacc_names() ->
    [{name("erlang_vm_msacc_", Name ++ "_seconds_total"), counter, [<<"id">>, <<"type">>]}
     || Name <- ["aux", "check_io", "emulator", "gc", "other", "port", "sleep"]].

mnesia_names() ->
    Gauges = ["held_locks", "lock_queue", "transaction_participants",
              "transaction_coordinators", "memory_usage_bytes"],
    Counters = [Name ++ "_transactions_total"
                || Name <- ["failed", "committed", "logged", "restarted"]],
    [{name("erlang_mnesia_", Name), Kind, []}
     || {Kind, Names} <- [{gauge, Gauges}, {counter, Counters}], Name <- Names].

legacy_names() ->
    [{name("erlang_vm_", Name), Kind, Labels}
     || {Name, Kind, Labels} <-
            [{"memory_atom_bytes_total", untyped, [<<"usage">>]},
             {"memory_processes_bytes_total", untyped, [<<"usage">>]},
             {"memory_system_bytes_total", untyped, [<<"usage">>]},
             {"memory_bytes_total", untyped, [<<"kind">>]},
             {"process_count", untyped, []},
             {"port_count", untyped, []},
             {"atom_count", untyped, []},
             {"statistics_context_switches", untyped, []},
             {"statistics_garbage_collection_number_of_gcs", untyped, []},
             {"statistics_garbage_collection_bytes_reclaimed", untyped, []},
             {"statistics_garbage_collection_words_reclaimed", untyped, []},
             {"statistics_runtime_milliseconds", untyped, []},
             {"statistics_wallclock_time_milliseconds", untyped, []},
             {"statistics_run_queues_length_total", untyped, []},
             {"ets_tables", gauge, []},
             {"dets_tables", gauge, []}]].

unique() ->
    start(#{legacy_names => true, vm_collectors => [Group || {Group, _} <- ?SERVER:groups()]}),
    Families = request(),
    assert_unique(Families),
    Bases = [case Kind of
                 counter -> binary:part(Name, 0, byte_size(Name) - byte_size(<<"_total">>));
                 _ -> Name
             end || {Name, Kind, _, _} <- Families],
    ?assertEqual([], Bases -- lists:usort(Bases)),
    %% A counter by any name but `_total' is not one in OpenMetrics.
    [?assertMatch({Name, {_, _}}, {Name, binary:match(Name, <<"_total">>)})
     || {Name, counter, _, _} <- Families],
    %% promtool: no gauge ends as a counter or as a part of a histogram does.
    [?assertEqual({Name, nomatch}, {Name, re:run(Name, "_(total|count|sum|bucket|info)$")})
     || {Name, gauge, _, _} <- Families].

%% Values

memory() ->
    start(#{vm_collectors => [memory]}),
    Families = request(),
    Get = fun(Name, Labels) -> value(name("erlang_vm_memory_", Name), Labels, Families) end,
    Kind = fun(Value) -> [{<<"kind">>, Value}] end,
    Usage = fun(Value) -> [{<<"usage">>, Value}] end,
    Now = maps:from_list(erlang:memory()),
    near(maps:get(processes, Now), Get("bytes", Kind(processes))),
    near(maps:get(system, Now), Get("bytes", Kind(system))),
    near(maps:get(processes_used, Now), Get("processes_bytes", Usage(used))),
    ?assertEqual(Get("bytes", Kind(processes)),
                 Get("processes_bytes", Usage(used)) + Get("processes_bytes", Usage(free))),
    [near(maps:get(Key, Now), Get("system_bytes", Usage(Key)))
     || Key <- [atom, binary, code, ets]],
    ?assertEqual(Get("bytes", Kind(system)),
                 lists:sum([Get("system_bytes", Usage(Key))
                            || Key <- [atom, binary, code, ets, other]])),
    near(maps:get(atom_used, Now), Get("atom_bytes", Usage(used))),
    ?assertEqual(Get("system_bytes", Usage(atom)),
                 Get("atom_bytes", Usage(used)) + Get("atom_bytes", Usage(free))),
    Binary = binary:copy(<<1>>, 50000000),
    ?assert(value(<<"erlang_vm_memory_system_bytes">>, Usage(binary), request())
            >= Get("system_bytes", Usage(binary)) + byte_size(Binary) - 5000000).

tables() ->
    start(#{vm_collectors => [memory]}),
    Families = request(),
    ?assertEqual(length(ets:all()), value(<<"erlang_vm_memory_ets_tables">>, [], Families)),
    Started = whereis(dets),
    ?assertEqual(case Started of undefined -> 0; _ -> length(dets:all()) end,
                 value(<<"erlang_vm_memory_dets_tables">>, [], Families)),
    ?assertEqual(Started, whereis(dets)),
    Tables = [ets:new(x, []) || _ <- lists:seq(1, 10)],
    File = filename:join(temporary_directory(), "dets"),
    {ok, Dets} = dets:open_file(make_ref(), [{file, File}]),
    try
        Later = request(),
        ?assert(value(<<"erlang_vm_memory_ets_tables">>, [], Later) >= length(Tables)),
        ?assertEqual(length(dets:all()), value(<<"erlang_vm_memory_dets_tables">>, [], Later))
    after
        dets:close(Dets),
        file:del_dir_r(filename:dirname(File))
    end.

statistics() ->
    start(#{vm_collectors => [statistics]}),
    Get = fun(Name, Families) ->
        value(name("erlang_vm_statistics_", Name), [], Families)
    end,
    Before = erlang:monotonic_time(),
    {EarlierMs, _} = erlang:statistics(wall_clock),
    First = request(),
    {LaterMs, _} = erlang:statistics(wall_clock),
    %% Told in whole milliseconds there, exactly here.
    ?assert(Get("wallclock_time_seconds_total", First) > EarlierMs / 1000 - 0.01),
    ?assert(Get("wallclock_time_seconds_total", First) < LaterMs / 1000 + 0.01),
    ?assert(is_float(Get("wallclock_time_seconds_total", First))),
    Words = Get("garbage_collection_words_reclaimed_total", First),
    ?assertEqual(Words * erlang:system_info(wordsize),
                 Get("garbage_collection_bytes_reclaimed_total", First)),
    burn(200),
    Second = request(),
    Seconds = erlang:convert_time_unit(erlang:monotonic_time() - Before, native, microsecond) / 1.0e6,
    Grown = Get("wallclock_time_seconds_total", Second) - Get("wallclock_time_seconds_total", First),
    ?assert(Grown > 0.19),
    ?assert(Grown < Seconds + 0.2),
    RuntimeGrown = Get("runtime_seconds_total", Second) - Get("runtime_seconds_total", First),
    ?assert(RuntimeGrown > 0.02),
    ?assert(RuntimeGrown < 60),
    [?assert(Get(Name, Second) > Get(Name, First))
     || Name <- ["reductions_total", "context_switches_total"]],
    [?assert(Get(Name, Second) >= Get(Name, First))
     || Name <- ["bytes_output_total", "bytes_received_total",
                 "garbage_collection_number_of_gcs_total",
                 "garbage_collection_words_reclaimed_total"]],
    [?assert(is_integer(Get(Name, Second)) andalso Get(Name, Second) >= 0)
     || Name <- ["run_queues_length", "dirty_cpu_run_queue_length",
                 "dirty_io_run_queue_length"]].

system_info() ->
    start(#{vm_collectors => [system_info]}),
    Families = request(),
    Get = fun(Name) -> value(name("erlang_vm_", Name), [], Families) end,
    [?assertEqual({Name, erlang:system_info(Item)}, {Name, Get(Name)})
     || {Name, Item} <-
            [{"schedulers", schedulers}, {"schedulers_online", schedulers_online},
             {"dirty_cpu_schedulers", dirty_cpu_schedulers},
             {"dirty_cpu_schedulers_online", dirty_cpu_schedulers_online},
             {"dirty_io_schedulers", dirty_io_schedulers}, {"ets_limit", ets_limit},
             {"logical_processors", logical_processors},
             {"logical_processors_available", logical_processors_available},
             {"logical_processors_online", logical_processors_online},
             {"port_limit", port_limit}, {"process_limit", process_limit},
             {"atom_limit", atom_limit}, {"thread_pool_size", thread_pool_size},
             {"wordsize_bytes", wordsize}]],
    [?assertEqual({Name, 1}, {Name, Get(Name)})
     || Name <- ["smp_support", "threads", "time_correction"]],
    near(erlang:system_info(process_count), Get("processes")),
    near(erlang:system_info(atom_count), Get("atoms")),
    ?assert(Get("ports") >= 1).

allocators() ->
    start(#{vm_collectors => [allocators]}),
    Samples = samples(<<"erlang_vm_allocators">>, request()),
    Names = erlang:system_info(alloc_util_allocators),
    Instances = [{Name, Instance}
                 || Name <- Names,
                    {instance, Instance, _} <- list(erlang:system_info({allocator, Name}))],
    Told = lists:usort([{label(<<"alloc">>, Labels), label(<<"instance_no">>, Labels)}
                        || {Labels, _} <- Samples]),
    ?assertEqual(lists:sort(Instances), Told),
    ?assertEqual([mbcs, mbcs_pool, sbcs],
                 lists:usort([label(<<"kind">>, Labels) || {Labels, _} <- Samples])),
    Grouped = lists:foldl(
        fun({Labels, Value}, Acc) ->
            Key = lists:keydelete(<<"usage">>, 1, Labels),
            maps:update_with(Key, fun(Usages) -> Usages#{label(<<"usage">>, Labels) => Value} end,
                             #{label(<<"usage">>, Labels) => Value}, Acc)
        end, #{}, Samples),
    maps:foreach(
        fun(_, Usages) ->
            #{carriers := C, carriers_size := CS, blocks := B, blocks_size := BS} = Usages,
            ?assertEqual(C =:= 0, CS =:= 0),
            ?assertEqual(B =:= 0, BS =:= 0),
            ?assert(BS =< CS)
        end, Grouped),
    Blocks = lists:sum([Value || {Labels, Value} <- Samples,
                                 label(<<"usage">>, Labels) =:= blocks_size]),
    ?assert(Blocks > erlang:memory(total) div 2),
    ?assert(Blocks < erlang:memory(total) * 2).

legacy() ->
    start(#{}),
    Current = request(),
    [?assertEqual({Name, []}, {Name, [F || {N, _, _, _} = F <- Current, N =:= Name]})
     || {Name, _, _} <- legacy_names()],
    stop(),
    start(#{legacy_names => true}),
    Both = request(),
    assert_unique(Both),
    %% A counter beside its name without `_total' would be the same family twice.
    Older = [Name || {Name, _, _} <- legacy_names()],
    Expected = [case shape(Family) of
                    {Name, counter, Labels} ->
                        Base = binary:part(Name, 0, byte_size(Name) - byte_size(<<"_total">>)),
                        {Name, case lists:member(Base, Older) of true -> untyped; false -> counter end,
                         Labels};
                    Shape ->
                        Shape
                end || Family <- Current],
    ?assertEqual(lists:sort(Expected ++ legacy_names()),
                 lists:sort([shape(Family) || Family <- Both])),
    ?assertEqual(4, length([Name || {Name, untyped, _} <- Expected])),
    ?assertEqual(samples(<<"erlang_vm_memory_bytes">>, Both),
                 samples(<<"erlang_vm_memory_bytes_total">>, Both)),
    ?assertEqual(samples(<<"erlang_vm_processes">>, Both),
                 samples(<<"erlang_vm_process_count">>, Both)),
    Milliseconds = value(<<"erlang_vm_statistics_wallclock_time_milliseconds">>, [], Both),
    Seconds = value(<<"erlang_vm_statistics_wallclock_time_seconds_total">>, [], Both),
    ?assertEqual(Milliseconds, round(Seconds * 1000)),
    ?assertEqual(value(<<"erlang_vm_statistics_runtime_milliseconds">>, [], Both),
                 round(1000 * value(<<"erlang_vm_statistics_runtime_seconds_total">>, [], Both))).

msacc() ->
    Previous = erlang:system_flag(microstate_accounting, false),
    try
        start(#{vm_collectors => [msacc]}),
        First = request(),
        ?assertEqual(true, erlang:system_flag(microstate_accounting, true)),
        ?assertEqual([], msacc_names() -- [shape(Family) || Family <- First]),
        burn(200),
        Second = request(),
        Emulator = fun(Families) ->
            lists:sum([Value || {Labels, Value} <-
                                    samples(<<"erlang_vm_msacc_emulator_seconds_total">>, Families),
                                label(<<"type">>, Labels) =:= scheduler])
        end,
        Grown = Emulator(Second) - Emulator(First),
        ?assert(Grown > 0.02),
        ?assert(Grown < 10),
        Ids = [label(<<"id">>, Labels)
               || {Labels, _} <- samples(<<"erlang_vm_msacc_gc_seconds_total">>, Second),
                  label(<<"type">>, Labels) =:= scheduler],
        ?assertEqual(lists:seq(1, erlang:system_info(schedulers)), lists:sort(Ids))
    after
        erlang:system_flag(microstate_accounting, Previous)
    end.

%% mnesia

mnesia_absent() ->
    ?assertNotEqual(yes, mnesia:system_info(is_running)),
    start(#{vm_collectors => [mnesia]}),
    ?assertMatch([{?FAILURES, counter, _, [{[{_, mnesia}], 0}]}], request()).

mnesia() ->
    Directory = temporary_directory(),
    ok = application:set_env(mnesia, dir, Directory),
    ok = mnesia:create_schema([node()]),
    ok = mnesia:start(),
    try
        mnesia_running()
    after
        stopped = mnesia:stop(),
        application:unset_env(mnesia, dir),
        file:del_dir_r(Directory)
    end,
    ?assertMatch([{?FAILURES, counter, _, [{[{_, mnesia}], 0}]}], request()).

mnesia_running() ->
    [{atomic, ok} = mnesia:create_table(Name, [{Storage, [node()]}])
     || {Name, Storage} <- [{t_ram, ram_copies}, {t_disc, disc_copies},
                            {t_only, disc_only_copies}]],
    start(#{vm_collectors => [mnesia]}),
    First = request(),
    ?assertEqual(lists:sort(mnesia_names()),
                 lists:sort([shape(Family) || Family <- First] -- [{?FAILURES, counter, [<<"collector">>]}])),
    Get = fun(Name, Families) -> value(name("erlang_mnesia_", Name), [], Families) end,
    [{atomic, ok} = mnesia:transaction(fun() -> mnesia:write({t_ram, N, binary:copy(<<0>>, 40)}) end)
     || N <- lists:seq(1, 100)],
    {atomic, ok} = mnesia:transaction(fun() -> mnesia:write({t_disc, 1, 1}) end),
    {atomic, ok} = mnesia:transaction(fun() -> mnesia:write({t_only, 1, 1}) end),
    {aborted, _} = mnesia:transaction(fun() -> mnesia:abort(no) end),
    Self = self(),
    Holder = spawn_link(fun() ->
        mnesia:transaction(fun() ->
            mnesia:write({t_ram, lock, 1}),
            Self ! locked,
            receive release -> ok end
        end),
        Self ! released
    end),
    receive locked -> ok end,
    Second = request(),
    Holder ! release,
    receive released -> ok end,
    ?assertEqual(102, Get("committed_transactions_total", Second) - Get("committed_transactions_total", First)),
    ?assertEqual(1, Get("failed_transactions_total", Second) - Get("failed_transactions_total", First)),
    ?assert(Get("logged_transactions_total", Second) > Get("logged_transactions_total", First)),
    ?assert(is_integer(Get("restarted_transactions_total", Second))),
    ?assertEqual(1, Get("transaction_coordinators", Second)),
    ?assertEqual(0, Get("transaction_participants", Second)),
    ?assert(Get("held_locks", Second) >= 1),
    ?assertEqual(0, Get("lock_queue", Second)),
    Words = lists:sum([ets:info(Table, memory) || Table <- [t_ram, t_disc, schema]]),
    ?assertEqual(Words * erlang:system_info(wordsize), Get("memory_usage_bytes", request())).

%% Distribution

not_distributed() ->
    ?assertEqual(false, is_alive()),
    start(#{vm_collectors => [distribution]}),
    ?assertMatch([{?FAILURES, counter, _, [{_, 0}]}], request()).

peer_over_tcp() ->
    {A, _} = Here = start_peer([]),
    {B, Peer} = There = start_peer([]),
    try
        ?assertEqual([], [F || {_, _, _, [_ | _]} = F <- links(A)]),
        true = peer:call(A, net_kernel, connect_node, [Peer]),
        Families = links(A),
        assert_unique(Families),
        ?assertEqual(lists:sort(distribution_names()), lists:sort([shape(F) || F <- Families])),
        [?assertEqual([Peer], lists:usort([label(<<"peer">>, Labels) || {Labels, _} <- Samples]))
         || {_, _, _, Samples} <- Families],
        Get = fun(Name, Fs) -> value(name("erlang_vm_dist_", Name), [{<<"peer">>, Peer}], Fs) end,
        ?assertEqual(3, Get("node_state", Families)),
        ?assertEqual(0, Get("node_queue_size_bytes", Families)),
        ?assertEqual([dist], types(Families)),
        %% A waiting process, or one that has just been woken by the question.
        ?assert(lists:member(value(<<"erlang_vm_dist_proc_status">>,
                                   [{<<"peer">>, Peer}, {<<"type">>, dist}], Families), [3, 5, 6])),
        {ok, Figures} = peer:call(A, inet, getstat, [controller(A)]),
        [?assert(Get(Name, Families) > 0 andalso
                 Get(Name, Families) =< proplists:get_value(Key, Figures))
         || {Name, Key} <- [{"recv_bytes", recv_oct}, {"send_bytes", send_oct},
                            {"recv_cnt", recv_cnt}, {"send_cnt", send_cnt}]],
        flooded(A, B, Peer, Get),
        peer:stop(B),
        await(fun() -> [F || {_, _, _, [_ | _]} = F <- links(A)] =:= [] end)
    after
        [stop_peer(Control) || {Control, _} <- [Here, There]]
    end.

%% A peer that does not read: what is sent to it piles up in the VM.
flooded(A, B, Peer, Get) ->
    Pid = peer:call(B, os, getpid, []),
    Before = links(A),
    os:cmd("kill -STOP " ++ Pid),
    try
        %% More than the kernel's buffers may grow to.
        ok = peer:call(A, ?MODULE, flood, [Peer, 160]),
        await(fun() -> Get("node_queue_size_bytes", links(A)) > 1000000 end),
        ?assert(Get("send_bytes", links(A)) > Get("send_bytes", Before))
    after
        os:cmd("kill -CONT " ++ Pid)
    end,
    %% The senders that were held up come after the queue's first end.
    await(fun() -> Get("send_bytes", links(A)) - Get("send_bytes", Before) > 40 * 500000 end),
    await(fun() -> Get("node_queue_size_bytes", links(A)) =:= 0 end),
    ?assert(Get("send_max_bytes", links(A)) > Get("send_avg_bytes", links(A))).

peer_over_tls() ->
    Directory = temporary_directory(),
    Options = filename:join(Directory, "ssl_dist.conf"),
    ok = file:write_file(Options, io_lib:format("~p.~n", [tls_options()])),
    Arguments = ["-proto_dist", "inet_tls", "-ssl_dist_optfile", Options],
    {A, Name} = Here = start_peer(Arguments),
    {B, Peer} = There = start_peer(Arguments),
    try
        true = peer:call(A, net_kernel, connect_node, [Peer]),
        %% Both ends: the one that connected and the one that accepted.
        [begin
             Families = links(Control),
             ?assertEqual(lists:sort(distribution_names()), lists:sort([shape(F) || F <- Families])),
             ?assertEqual([dist, tls_connection, tls_sender], types(Families)),
             ?assert(value(<<"erlang_vm_dist_recv_bytes">>, [{<<"peer">>, Other}], Families) > 0),
             [?assert(Memory > 0)
              || {_, Memory} <- samples(<<"erlang_vm_dist_proc_memory_bytes">>, Families)]
         end || {Control, Other} <- [{A, Peer}, {B, Name}]]
    after
        [stop_peer(Control) || {Control, _} <- [Here, There]],
        file:del_dir_r(Directory)
    end.

tls_options() ->
    %% The default digest is SHA-1, which TLS of OTP 27 and later refuses.
    Certificate = [{key, {namedCurve, secp256r1}}, {digest, sha256}],
    Chain = #{root => Certificate, intermediates => [], peer => Certificate},
    #{server_config := Server, client_config := Client} =
        public_key:pkix_test_data(#{server_chain => Chain, client_chain => Chain}),
    [{server, [{verify, verify_none} | Server]}, {client, [{verify, verify_none} | Client]}].

start_peer(Arguments) ->
    Paths = lists:append([["-pa", filename:dirname(code:which(Module))]
                          || Module <- [?SERVER, ?MODULE]]),
    {ok, Control, Node} = peer:start_link(#{
        name => peer:random_name(), connection => standard_io, args => Paths ++ Arguments}),
    {Control, Node}.

%% One that a test has stopped already is none to stop.
stop_peer(Control) ->
    try peer:stop(Control) catch exit:_ -> ok end.

links(Control) ->
    Families = peer:call(Control, ?MODULE, links_within, []),
    ?assertEqual(ok, erlmcp_instrumentation_collector:check(Families)),
    Families.

%% Runs on the peer.
links_within() ->
    erlmcp_instrumentation_vm_distribution:collect(#{legacy_names => false}).

%% Runs on the peer. Each message has a sender of its own, which is suspended.
flood(Node, Count) ->
    Message = binary:copy(<<0>>, 500000),
    [spawn(fun() -> {nobody, Node} ! Message end) || _ <- lists:seq(1, Count)],
    ok.

controller(Control) ->
    [{_, Port}] = peer:call(Control, erlang, system_info, [dist_ctrl]),
    Port.

types(Families) ->
    lists:usort([label(<<"type">>, Labels)
                 || {Labels, _} <- samples(<<"erlang_vm_dist_proc_memory_bytes">>, Families)]).

%% Isolation

no_number() ->
    Values = [{[{<<"n">>, N}], Value}
              || {N, Value} <- lists:zip(lists:seq(1, 9),
                                         [1, 2.5, unknown, infinity, undefined, [], 1 bsl 64,
                                          (1 bsl 64) - 1, -(1 bsl 63)])],
    Family = erlmcp_instrumentation_collector:family(<<"x">>, gauge, <<"X.">>, Values),
    ?assertMatch({<<"x">>, gauge, <<"X.">>,
                  [{[{_, 1}], 1}, {[{_, 2}], 2.5}, {[{_, 8}], _}, {[{_, 9}], _}]}, Family),
    ?assertEqual({<<"y">>, gauge, <<"Y.">>, []},
                 erlmcp_instrumentation_collector:family(<<"y">>, gauge, <<"Y.">>, unknown)).

failing_collectors() ->
    start(#{vm_collectors => [memory, {own, ?MODULE}, {absent, no_such_module}]}),
    Modes = [fun() -> error(boom) end,
             fun() -> throw(boom) end,
             fun() -> exit(boom) end,
             fun() -> exit(self(), kill), timer:sleep(1000) end,
             fun() -> not_a_list end,
             fun() -> [a | b] end,
             fun() -> [{<<"x">>, gauge, <<"X.">>, [{[], unknown}]}] end,
             fun() -> [{<<"x">>, gauge, <<"X.">>, [{[] , 1} | x]}] end,
             fun() -> [{<<"x">>, histogram, <<"X.">>, [{[], 1}]}] end,
             fun() -> [{<<"x">>, gauge, <<"X.">>, [{[{a, b}], 1}]}] end,
             fun() -> [{<<"x">>, gauge, <<"X.">>, [{[{<<"a">>, 1.5}], 1}]}] end,
             fun() -> [{"x", gauge, <<"X.">>, [{[], 1}]}] end],
    lists:foldl(
        fun(Mode, N) ->
            behave(Mode),
            Families = request(),
            ?assertEqual(lists:sort(memory_names() ++ [{?FAILURES, counter, [<<"collector">>]}]),
                         lists:sort([shape(Family) || Family <- Families])),
            ?assertEqual({Mode, N}, {Mode, value(?FAILURES, [{<<"collector">>, own}], Families)}),
            ?assertEqual(N, value(?FAILURES, [{<<"collector">>, absent}], Families)),
            ?assertEqual(0, value(?FAILURES, [{<<"collector">>, memory}], Families)),
            N + 1
        end, 1, Modes),
    behave(fun() -> [erlmcp_instrumentation_collector:family(<<"x">>, gauge, <<"X.">>, 7)] end),
    Families = request(),
    ?assertEqual(7, value(<<"x">>, [], Families)),
    ?assertEqual(length(Modes), value(?FAILURES, [{<<"collector">>, own}], Families)).

hanging_collector() ->
    start(#{vm_collectors => [memory, {own, ?MODULE}], vm_timeout_ms => 5000}),
    Self = self(),
    behave(fun() -> Self ! {collector, self()}, timer:sleep(infinity) end),
    {Microseconds, Families} = timer:tc(fun request/0),
    %% In time for the scrape, which waits for all of vm_timeout_ms.
    ?assert(Microseconds >= 4000000),
    ?assert(Microseconds < 5000000),
    ?assertEqual([], memory_names() -- [shape(Family) || Family <- Families]),
    ?assertEqual(1, value(?FAILURES, [{<<"collector">>, own}], Families)),
    Collector = receive {collector, Pid} -> Pid end,
    await(fun() -> not is_process_alive(Collector) end).

repeated_family() ->
    start(#{vm_collectors => [memory, {own, ?MODULE}, {second, ?MODULE}]}),
    X = erlmcp_instrumentation_collector:family(<<"x">>, gauge, <<"X.">>, 1),
    behave(fun() -> [X] end),
    Families = request(),
    assert_unique(Families),
    ?assertEqual(1, value(<<"x">>, [], Families)),
    ?assertEqual(0, value(?FAILURES, [{<<"collector">>, own}], Families)),
    ?assertEqual(1, value(?FAILURES, [{<<"collector">>, second}], Families)),
    behave(fun() -> [X, X] end),
    Later = request(),
    ?assertEqual(1, value(?FAILURES, [{<<"collector">>, own}], Later)).

log_limit() ->
    start(#{vm_collectors => [{own, ?MODULE}, {second, ?MODULE}]}),
    behave(fun() -> error({boom, lists:duplicate(100000, x)}) end),
    Logged = logged_during(fun() ->
        [request() || _ <- lists:seq(1, 20)],
        sys:get_state(?SERVER)
    end),
    ?assertEqual([own, second], lists:sort([Name || #{collector := Name} <- Logged])),
    [begin
         ?assertMatch(#{what := vm_collector_failed, failures := 1,
                        reason := {error, {boom, _}, [{?MODULE, _, _, _} | _]}}, Report),
         {Format, Args} = ?SERVER:format_report(Report),
         ?assert(length(lists:flatten(io_lib:format(Format, Args))) < 5000)
     end || Report <- Logged].

failing_prepare() ->
    persistent_term:put({?MODULE, prepare}, fun() -> error(boom) end),
    behave(fun() -> [erlmcp_instrumentation_collector:family(<<"x">>, gauge, <<"X.">>, 1)] end),
    start(#{vm_collectors => [{own, ?MODULE}]}),
    Families = request(),
    ?assertEqual(1, value(<<"x">>, [], Families)),
    ?assertEqual(1, value(?FAILURES, [{<<"collector">>, own}], Families)).

%% The process

shared_gathering() ->
    start(#{vm_collectors => [{own, ?MODULE}]}),
    Gatherings = counters:new(1, []),
    Self = self(),
    behave(fun() ->
        counters:add(Gatherings, 1, 1),
        Self ! {collector, self()},
        receive go_on -> [] end
    end),
    ?SERVER ! {erlmcp_vm_request, 0},
    First = receive {collector, P1} -> P1 end,
    %% These arrive during the first gathering: they must not get its figures.
    [?SERVER ! {erlmcp_vm_request, Id} || Id <- lists:seq(1, 100)],
    sys:get_state(?SERVER),
    First ! go_on,
    receive {reply, 0, _} -> ok end,
    Second = receive {collector, P2} -> P2 end,
    receive {reply, _, _} -> ?assert(false) after 50 -> ok end,
    Second ! go_on,
    [receive {reply, Id, _} -> ok after 30000 -> ?assert(false) end || Id <- lists:seq(1, 100)],
    ?assertEqual(2, counters:get(Gatherings, 1)),
    %% These are in the mailbox together.
    sys:suspend(?SERVER),
    [?SERVER ! {erlmcp_vm_request, Id} || Id <- lists:seq(1, 100)],
    sys:resume(?SERVER),
    Third = receive {collector, P3} -> P3 end,
    Third ! go_on,
    [receive {reply, Id, _} -> ok after 30000 -> ?assert(false) end || Id <- lists:seq(1, 100)],
    ?assertEqual(3, counters:get(Gatherings, 1)).

gather() ->
    ?assertEqual([], ?SERVER:gather()),
    start(#{vm_collectors => [memory, {own, ?MODULE}]}),
    behave(fun() -> [] end),
    Self = self(),
    ?SERVER ! {erlmcp_vm_request, 1},
    [spawn_link(fun() -> Self ! {gathered, ?SERVER:gather()} end) || _ <- lists:seq(1, 10)],
    [receive {gathered, Families} -> ?assertEqual([], memory_names() -- [shape(F) || F <- Families]) end
     || _ <- lists:seq(1, 10)],
    receive {reply, 1, _} -> ok end,
    behave(fun() -> exit(whereis(?SERVER), kill), timer:sleep(infinity) end),
    process_flag(trap_exit, true),
    ?assertEqual([], ?SERVER:gather()).

unknown_messages() ->
    start(#{vm_collectors => [memory]}),
    Pid = whereis(?SERVER),
    [?SERVER ! Message || Message <- [hello, {erlmcp_vm_request, x}, {erlmcp_ping, 1},
                                      {'EXIT', spawn(fun() -> ok end), normal},
                                      {failures, self(), [{memory, x}]}, {self(), info}]],
    gen_server:cast(?SERVER, hello),
    ?assertEqual({error, unknown_call}, gen_server:call(?SERVER, hello)),
    ?assertMatch([_ | _], request()),
    ?assertEqual(Pid, whereis(?SERVER)).

unknown_group() ->
    process_flag(trap_exit, true),
    ?assertEqual({error, {unknown_collector, nonsense}},
                 erlmcp_instrumentation_vm:start_link(config(#{vm_collectors => [memory, nonsense]}))),
    receive {registered, _} -> ?assert(false) after 0 -> ok end.

no_group() ->
    start(#{vm_collectors => []}),
    ?assertMatch([{?FAILURES, counter, _, []}], request()).

failing_reply() ->
    Self = self(),
    start(#{vm_collectors => [memory],
            reply => fun(Id, Families) -> Id > 0 orelse error(badarg), Self ! {reply, Id, Families} end}),
    Pid = whereis(?SERVER),
    Logged = logged_during(fun() ->
        [begin
             ?SERVER ! {erlmcp_vm_request, 0},
             await(fun() -> element(1, process_info(Pid, links)) =:= links andalso
                            length(element(2, process_info(Pid, links))) =:= 1 end)
         end || _ <- lists:seq(1, 3)],
        ?assertMatch([_ | _], request())
    end),
    ?assertMatch([#{what := vm_gathering_failed, reason := {error, badarg, [_ | _]}}], Logged),
    [Report] = Logged,
    {Format, Args} = ?SERVER:format_report(Report),
    ?assertMatch([_ | _], lists:flatten(io_lib:format(Format, Args))),
    ?assertEqual(Pid, whereis(?SERVER)).

gathering_ends_with_server() ->
    process_flag(trap_exit, true),
    start(#{vm_collectors => [{own, ?MODULE}], vm_timeout_ms => 60000}),
    Self = self(),
    behave(fun() -> Self ! {collector, self()}, timer:sleep(infinity) end),
    [begin
         ?SERVER ! {erlmcp_vm_request, 1},
         Collector = receive {collector, Pid} -> Pid end,
         Monitor = monitor(process, Collector),
         End(),
         receive {'DOWN', Monitor, _, _, _} -> ok after 30000 -> ?assert(false) end,
         start(#{vm_collectors => [{own, ?MODULE}], vm_timeout_ms => 60000})
     end || End <- [fun() -> exit(whereis(?SERVER), kill), await(fun() -> whereis(?SERVER) =:= undefined end) end,
                    fun() -> stop() end]].

%% Everybody busy on every scheduler, far more processes than schedulers.
overload() ->
    start(#{}),
    Busy = [spawn_link(fun Loop() -> Loop() end) || _ <- lists:seq(1, 500)],
    try
        timer:sleep(100),
        Times = [element(1, timer:tc(fun request_at_high_priority/0)) || _ <- lists:seq(1, 5)],
        ?assert(lists:nth(3, lists:sort(Times)) < 400000)
    after
        [begin unlink(Pid), exit(Pid, kill) end || Pid <- Busy]
    end.

request_at_high_priority() ->
    process_flag(priority, high),
    Families = request(),
    process_flag(priority, normal),
    ?assertEqual([], (memory_names() ++ allocators_names()) -- [shape(Family) || Family <- Families]).

%% The collector under test

collect(#{legacy_names := _}) ->
    (persistent_term:get({?MODULE, collect}))().

prepare(_) ->
    (persistent_term:get({?MODULE, prepare}, fun() -> ok end))().

behave(Fun) ->
    persistent_term:put({?MODULE, collect}, Fun).

%% A logger handler that sends each report to the test.
log(#{msg := {report, Report}, meta := #{domain := [erlmcp, instrumentation]}},
    #{config := #{test := Pid}}) ->
    Pid ! {logged, Report};
log(_, _) ->
    ok.

logged_during(Fun) ->
    ok = logger:add_handler(?MODULE, ?MODULE, #{config => #{test => self()}}),
    try Fun() after logger:remove_handler(?MODULE) end,
    drain().

drain() ->
    receive {logged, Report} -> [Report | drain()] after 0 -> [] end.

%% Set-up and small things

%% What the tests provoke is not shown.
setup() ->
    _ = logger:add_handler_filter(default, ?MODULE, {fun(_, _) -> stop end, none}),
    ok.

cleanup(_) ->
    stop(),
    _ = logger:remove_handler_filter(default, ?MODULE),
    [persistent_term:erase({?MODULE, Key}) || Key <- [collect, prepare]],
    ok.

start(Config) ->
    {ok, Pid} = erlmcp_instrumentation_vm:start_link(config(Config)),
    receive {registered, Pid} -> ok after 0 -> ?assert(false) end,
    ?assertEqual(Pid, whereis(?SERVER)).

config(Config) ->
    Self = self(),
    maps:merge(
        %% Generous: the machine that runs the tests may be busy.
        #{vm_timeout_ms => 5000,
          register => fun(Pid) -> Self ! {registered, Pid} end,
          reply => fun(Id, Families) -> Self ! {reply, Id, Families} end},
        Config).

stop() ->
    case whereis(?SERVER) of
        undefined -> ok;
        %% It may also be ending because the test that it is linked to has.
        Pid -> try gen_server:stop(Pid) catch exit:_ -> ok end
    end.

request() ->
    Id = erlang:unique_integer([positive]),
    ?SERVER ! {erlmcp_vm_request, Id},
    receive {reply, Id, Families} -> Families after 30000 -> error(no_reply) end.

name(Prefix, Name) ->
    list_to_binary(Prefix ++ Name).

shape({Name, Kind, _Help, Samples}) ->
    [Labels] = lists:usort([lists:sort([Label || {Label, _} <- Ls]) || {Ls, _} <- Samples]),
    {Name, Kind, Labels}.

samples(Name, Families) ->
    [Samples] = [Samples || {N, _, _, Samples} <- Families, N =:= Name],
    Samples.

value(Name, Labels, Families) ->
    [Value] = [Value || {Ls, Value} <- samples(Name, Families), lists:sort(Ls) =:= lists:sort(Labels)],
    Value.

label(Name, Labels) ->
    {Name, Value} = lists:keyfind(Name, 1, Labels),
    Value.

assert_unique(Families) ->
    Names = [Name || {Name, _, _, _} <- Families],
    ?assertEqual([], Names -- lists:usort(Names)),
    Series = [{Name, lists:sort(Labels)} || {Name, _, _, Samples} <- Families, {Labels, _} <- Samples],
    ?assertEqual([], Series -- lists:usort(Series)).

near(Expected, Value) ->
    ?assert(is_integer(Value)),
    ?assert(abs(Expected - Value) =< 500000 + Expected div 10).

list(Value) when is_list(Value) -> Value;
list(_) -> [].

burn(Milliseconds) ->
    burn_until(erlang:monotonic_time(millisecond) + Milliseconds).

burn_until(End) ->
    _ = lists:sum(lists:seq(1, 10000)),
    erlang:monotonic_time(millisecond) >= End orelse burn_until(End).

await(Condition) ->
    await(Condition, 400).

await(Condition, Left) ->
    case Condition() of
        true -> ok;
        false when Left > 0 -> timer:sleep(25), await(Condition, Left - 1);
        false -> error(condition_not_met)
    end.

temporary_directory() ->
    Directory = filename:join(["/tmp", "erlmcp_vm_tests_" ++ os:getpid() ++ "_" ++
                                           integer_to_list(erlang:unique_integer([positive]))]),
    ok = filelib:ensure_path(Directory),
    Directory.
