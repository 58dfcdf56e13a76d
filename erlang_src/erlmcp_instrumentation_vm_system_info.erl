%% @doc Collector of the VM's sizes and limits.
%%
%% Families `erlang_vm_*', all gauges, from `erlang:system_info/1'. An item that
%% this release does not know or that is `unknown' on this machine is left out.
-module(erlmcp_instrumentation_vm_system_info).

-behaviour(erlmcp_instrumentation_collector).

-export([collect/1]).

-import(erlmcp_instrumentation_collector, [family/4, aliases/3, attempt/1]).

%% @doc Gathers the families. Every item is a plain read.
-spec collect(erlmcp_instrumentation_collector:opts()) ->
    [erlmcp_instrumentation_collector:family()].
collect(Opts) ->
    Families = [family(Name, gauge, Help, value(Item)) || {Name, Item, Help} <- items()],
    aliases(Families, older_names(), Opts).

-spec items() -> [{Name :: binary(), Item :: atom(), Help :: binary()}].
items() ->
    [{<<"erlang_vm_processes">>, process_count,
      <<"Processes that exist on this node.">>},
     {<<"erlang_vm_process_limit">>, process_limit,
      <<"Most processes that can exist at once (emulator flag +P).">>},
     {<<"erlang_vm_ports">>, port_count,
      <<"Ports (sockets, files, external programs) that are open on this node.">>},
     {<<"erlang_vm_port_limit">>, port_limit,
      <<"Most ports that can be open at once (emulator flag +Q).">>},
     {<<"erlang_vm_atoms">>, atom_count,
      <<"Atoms that exist on this node; they are never freed.">>},
     {<<"erlang_vm_atom_limit">>, atom_limit,
      <<"Most atoms that can exist; the VM ends when one more is made (emulator flag +t).">>},
     {<<"erlang_vm_ets_limit">>, ets_limit,
      <<"ETS tables that the VM was sized for; newer releases do not enforce it.">>},
     {<<"erlang_vm_schedulers">>, schedulers,
      <<"Normal scheduler threads of the VM.">>},
     {<<"erlang_vm_schedulers_online">>, schedulers_online,
      <<"Normal scheduler threads that take work now.">>},
     {<<"erlang_vm_dirty_cpu_schedulers">>, dirty_cpu_schedulers,
      <<"Scheduler threads for long native computations.">>},
     {<<"erlang_vm_dirty_cpu_schedulers_online">>, dirty_cpu_schedulers_online,
      <<"Dirty CPU scheduler threads that take work now.">>},
     {<<"erlang_vm_dirty_io_schedulers">>, dirty_io_schedulers,
      <<"Scheduler threads for native calls that wait for I/O.">>},
     {<<"erlang_vm_thread_pool_size">>, thread_pool_size,
      <<"Async threads that drivers can use (emulator flag +A).">>},
     {<<"erlang_vm_logical_processors">>, logical_processors,
      <<"Logical processors that the machine has.">>},
     {<<"erlang_vm_logical_processors_available">>, logical_processors_available,
      <<"Logical processors that the VM may use.">>},
     {<<"erlang_vm_logical_processors_online">>, logical_processors_online,
      <<"Logical processors of the machine that are switched on.">>},
     {<<"erlang_vm_wordsize_bytes">>, wordsize,
      <<"Bytes in a word of an Erlang term.">>},
     {<<"erlang_vm_smp_support">>, smp_support,
      <<"1 when the VM can run on several processors, else 0.">>},
     {<<"erlang_vm_threads">>, threads,
      <<"1 when the VM was built with threads, else 0.">>},
     {<<"erlang_vm_time_correction">>, time_correction,
      <<"1 when the VM corrects its clock for jumps of the system's time, else 0.">>}].

%% Neither OpenMetrics nor promtool lets a gauge end in `_count'.
-spec older_names() -> [erlmcp_instrumentation_collector:alias()].
older_names() ->
    [{<<"erlang_vm_processes">>, <<"erlang_vm_process_count">>, untyped},
     {<<"erlang_vm_ports">>, <<"erlang_vm_port_count">>, untyped},
     {<<"erlang_vm_atoms">>, <<"erlang_vm_atom_count">>, untyped}].

-spec value(atom()) -> term().
value(Item) ->
    case attempt(fun() -> erlang:system_info(Item) end) of
        true -> 1;
        false -> 0;
        Value -> Value
    end.
