%% @doc Collector of the VM's memory by kind and of its ETS and DETS tables.
%%
%% Families `erlang_vm_memory_*', all gauges, from `erlang:memory/0'. Where an
%% allocator is switched off the VM cannot tell its memory: those samples are
%% left out and the table counts stay.
-module(erlmcp_instrumentation_vm_memory).

-behaviour(erlmcp_instrumentation_collector).

-export([collect/1]).

-import(erlmcp_instrumentation_collector, [family/4, aliases/3, attempt/1]).

%% @doc Gathers the memory families. One round trip to each scheduler.
-spec collect(erlmcp_instrumentation_collector:opts()) ->
    [erlmcp_instrumentation_collector:family()].
collect(Opts) ->
    Memory = maps:from_list(memory()),
    Get = fun(Key) -> maps:get(Key, Memory, undefined) end,
    Families = [
        family(<<"erlang_vm_memory_bytes">>, gauge,
               <<"Bytes allocated by the VM: for processes, and for everything else (system).">>,
               [{[{<<"kind">>, system}], Get(system)},
                {[{<<"kind">>, processes}], Get(processes)}]),
        family(<<"erlang_vm_memory_processes_bytes">>, gauge,
               <<"Bytes allocated for processes, by whether a process uses them now.">>,
               [{[{<<"usage">>, used}], Get(processes_used)},
                {[{<<"usage">>, free}], rest(Get(processes), [Get(processes_used)])}]),
        family(<<"erlang_vm_memory_system_bytes">>, gauge,
               <<"Bytes allocated by the VM but not for processes, by what holds them.">>,
               [{[{<<"usage">>, atom}], Get(atom)},
                {[{<<"usage">>, binary}], Get(binary)},
                {[{<<"usage">>, code}], Get(code)},
                {[{<<"usage">>, ets}], Get(ets)},
                {[{<<"usage">>, other}],
                 rest(Get(system), [Get(atom), Get(binary), Get(code), Get(ets)])}]),
        family(<<"erlang_vm_memory_atom_bytes">>, gauge,
               <<"Bytes allocated for the atom table's texts, by whether an atom uses them.">>,
               [{[{<<"usage">>, used}], Get(atom_used)},
                {[{<<"usage">>, free}], rest(Get(atom), [Get(atom_used)])}]),
        family(<<"erlang_vm_memory_ets_tables">>, gauge,
               <<"ETS tables that exist on this node.">>,
               attempt(fun() -> erlang:system_info(ets_count) end)),
        family(<<"erlang_vm_memory_dets_tables">>, gauge,
               <<"DETS tables that are open on this node.">>,
               dets_tables())
    ],
    aliases(Families, older_names(), Opts).

%% promtool refuses a gauge whose name ends in `_total', hence untyped.
-spec older_names() -> [erlmcp_instrumentation_collector:alias()].
older_names() ->
    [{<<"erlang_vm_memory_bytes">>, <<"erlang_vm_memory_bytes_total">>, untyped},
     {<<"erlang_vm_memory_processes_bytes">>,
      <<"erlang_vm_memory_processes_bytes_total">>, untyped},
     {<<"erlang_vm_memory_system_bytes">>,
      <<"erlang_vm_memory_system_bytes_total">>, untyped},
     {<<"erlang_vm_memory_atom_bytes">>, <<"erlang_vm_memory_atom_bytes_total">>, untyped},
     {<<"erlang_vm_memory_ets_tables">>, <<"erlang_vm_ets_tables">>, gauge},
     {<<"erlang_vm_memory_dets_tables">>, <<"erlang_vm_dets_tables">>, gauge}].

%% `erlang:memory/0' raises notsup when an allocator has been disabled.
-spec memory() -> [{atom(), term()}].
memory() ->
    case attempt(fun erlang:memory/0) of
        undefined -> [];
        Memory -> Memory
    end.

%% The VM reads the kinds one after the other while it runs on, so their sum may
%% pass the whole for an instant.
-spec rest(term(), [term()]) -> non_neg_integer() | undefined.
rest(Whole, Parts) ->
    case lists:all(fun is_integer/1, [Whole | Parts]) of
        true -> max(0, Whole - lists:sum(Parts));
        false -> undefined
    end.

%% dets:all/0 would start the DETS server on a node that does not use it.
-spec dets_tables() -> non_neg_integer().
dets_tables() ->
    case whereis(dets) of
        undefined -> 0;
        _ -> length(dets:all())
    end.
