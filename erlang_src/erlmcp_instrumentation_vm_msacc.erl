%% @doc Collector of microstate accounting: what the VM's threads spend time on.
%%
%% Families `erlang_vm_msacc_*_seconds_total', counters with the labels `type'
%% (of thread) and `id' (of the thread among its type). A VM configured with
%% `--with-microstate-accounting=extra' tells more states, which take their time
%% from the others.
%%
%% Not gathered unless asked for. Asking for the group switches the accounting
%% on when the process that answers scrapes starts, for all users of the node;
%% it costs the VM a clock reading at each change of state. It stays on, and
%% `erlang:system_flag(microstate_accounting, false)' ends it.
-module(erlmcp_instrumentation_vm_msacc).

-behaviour(erlmcp_instrumentation_collector).

-export([collect/1]).
-export([prepare/1]).

-import(erlmcp_instrumentation_collector, [family/4, attempt/1]).

%% @doc Switches microstate accounting on.
-spec prepare(erlmcp_instrumentation_collector:opts()) -> boolean().
prepare(_Opts) ->
    erlang:system_flag(microstate_accounting, true).

%% @doc Gathers the families. One round trip to every thread of the VM.
-spec collect(erlmcp_instrumentation_collector:opts()) ->
    [erlmcp_instrumentation_collector:family()].
collect(_Opts) ->
    Threads = threads(),
    PerSecond = erlang:convert_time_unit(1, second, perf_counter),
    [family(<<"erlang_vm_msacc_", Name/binary, "_seconds_total">>, counter,
            <<"Seconds that the VM's threads have spent ", Doing/binary, ".">>,
            [{[{<<"type">>, Type}, {<<"id">>, Id}], Ticks / PerSecond}
             || #{type := Type, id := Id, counters := #{State := Ticks}} <- Threads])
     || {State, Name, Doing} <- states()].

-spec states() -> [{State :: atom(), Name :: binary(), Doing :: binary()}].
states() ->
    [{aux, <<"aux">>, <<"on auxiliary jobs">>},
     {check_io, <<"check_io">>, <<"checking for new I/O events">>},
     {emulator, <<"emulator">>, <<"running Erlang processes">>},
     {gc, <<"gc">>, <<"collecting garbage">>},
     {other, <<"other">>, <<"on what no other state counts">>},
     {port, <<"port">>, <<"running ports">>},
     {sleep, <<"sleep">>, <<"asleep">>},
     {alloc, <<"alloc">>, <<"managing memory">>},
     {bif, <<"bif">>, <<"in built-in functions">>},
     {busy_wait, <<"busy_wait">>, <<"waiting busily for work">>},
     {ets, <<"ets">>, <<"in functions of ETS">>},
     {gc_full, <<"gc_full">>, <<"collecting garbage of whole heaps">>},
     {nif, <<"nif">>, <<"in native functions">>},
     {send, <<"send">>, <<"sending messages">>},
     {timers, <<"timers">>, <<"managing timers">>}].

%% `undefined' when the VM was built without the accounting.
-spec threads() -> [map()].
threads() ->
    case attempt(fun() -> erlang:statistics(microstate_accounting) end) of
        Threads when is_list(Threads) -> Threads;
        _ -> []
    end.
