%% @doc Collector of the VM's running totals and run queues.
%%
%% Families `erlang_vm_statistics_*' from `erlang:statistics/1'. Times are in
%% seconds, as their names say.
%%
%% `erlang:statistics/1' gives, beside a total, the amount since its last call
%% by anybody on the node; reading `reductions' and `runtime' here starts that
%% amount anew for all other callers. Nothing here depends on it. Garbage
%% collection, I/O and context switches have no such second figure, and the wall
%% clock is read from the VM's start time instead.
-module(erlmcp_instrumentation_vm_statistics).

-behaviour(erlmcp_instrumentation_collector).

-export([collect/1]).

-import(erlmcp_instrumentation_collector, [family/4, aliases/3]).

%% @doc Gathers the statistics families. A few reads and one round trip to each
%% scheduler, for the totals of garbage collection.
-spec collect(erlmcp_instrumentation_collector:opts()) ->
    [erlmcp_instrumentation_collector:family()].
collect(Opts) ->
    {{input, Input}, {output, Output}} = erlang:statistics(io),
    {ContextSwitches, _} = erlang:statistics(context_switches),
    {Collections, WordsReclaimed, _} = erlang:statistics(garbage_collection),
    {Reductions, _} = erlang:statistics(reductions),
    {RuntimeMs, _} = erlang:statistics(runtime),
    Wallclock = uptime(),
    {RunQueues, DirtyCpu, DirtyIo} = run_queues(),
    Families = [
        family(<<"erlang_vm_statistics_bytes_output_total">>, counter,
               <<"Bytes written to ports since the VM started.">>, Output),
        family(<<"erlang_vm_statistics_bytes_received_total">>, counter,
               <<"Bytes received through ports since the VM started.">>, Input),
        family(<<"erlang_vm_statistics_context_switches_total">>, counter,
               <<"Times that a scheduler took up another process since the VM started.">>,
               ContextSwitches),
        family(<<"erlang_vm_statistics_garbage_collection_number_of_gcs_total">>, counter,
               <<"Garbage collections of process heaps since the VM started.">>, Collections),
        family(<<"erlang_vm_statistics_garbage_collection_bytes_reclaimed_total">>, counter,
               <<"Bytes that garbage collections have freed since the VM started.">>,
               WordsReclaimed * erlang:system_info(wordsize)),
        family(<<"erlang_vm_statistics_garbage_collection_words_reclaimed_total">>, counter,
               <<"Words that garbage collections have freed since the VM started.">>,
               WordsReclaimed),
        family(<<"erlang_vm_statistics_reductions_total">>, counter,
               <<"Reductions (units of work) done by processes since the VM started, "
                 "without those of the time slices that run now.">>, Reductions),
        family(<<"erlang_vm_statistics_run_queues_length">>, gauge,
               <<"Processes and ports that are ready to run and wait for a normal or a dirty CPU "
                 "scheduler.">>,
               RunQueues),
        family(<<"erlang_vm_statistics_dirty_cpu_run_queue_length">>, gauge,
               <<"Processes that wait for a dirty CPU scheduler.">>, DirtyCpu),
        family(<<"erlang_vm_statistics_dirty_io_run_queue_length">>, gauge,
               <<"Processes that wait for a dirty I/O scheduler.">>, DirtyIo),
        family(<<"erlang_vm_statistics_runtime_seconds_total">>, counter,
               <<"Seconds of CPU time that all threads of the VM have spent in user mode; "
                 "grows faster than the wall clock when several are busy.">>,
               RuntimeMs / 1000),
        family(<<"erlang_vm_statistics_wallclock_time_seconds_total">>, counter,
               <<"Seconds of real time since the VM started.">>, Wallclock)
    ],
    aliases(Families ++ older_milliseconds(RuntimeMs, Wallclock, Opts), older_names(), Opts).

%% The older counters lack `_total' and so cannot be counters in OpenMetrics; the
%% older gauge has it and so cannot be a gauge.
-spec older_names() -> [erlmcp_instrumentation_collector:alias()].
older_names() ->
    [{<<"erlang_vm_statistics_context_switches_total">>,
      <<"erlang_vm_statistics_context_switches">>, untyped},
     {<<"erlang_vm_statistics_garbage_collection_number_of_gcs_total">>,
      <<"erlang_vm_statistics_garbage_collection_number_of_gcs">>, untyped},
     {<<"erlang_vm_statistics_garbage_collection_bytes_reclaimed_total">>,
      <<"erlang_vm_statistics_garbage_collection_bytes_reclaimed">>, untyped},
     {<<"erlang_vm_statistics_garbage_collection_words_reclaimed_total">>,
      <<"erlang_vm_statistics_garbage_collection_words_reclaimed">>, untyped},
     {<<"erlang_vm_statistics_run_queues_length">>,
      <<"erlang_vm_statistics_run_queues_length_total">>, untyped}].

-spec older_milliseconds(non_neg_integer(), float(), erlmcp_instrumentation_collector:opts()) ->
    [erlmcp_instrumentation_collector:family()].
older_milliseconds(RuntimeMs, Wallclock, #{legacy_names := true}) ->
    [family(<<"erlang_vm_statistics_runtime_milliseconds">>, untyped,
            <<"Older form of erlang_vm_statistics_runtime_seconds_total, in milliseconds.">>,
            RuntimeMs),
     family(<<"erlang_vm_statistics_wallclock_time_milliseconds">>, untyped,
            <<"Older form of erlang_vm_statistics_wallclock_time_seconds_total, "
              "in milliseconds.">>,
            round(Wallclock * 1000))];
older_milliseconds(_RuntimeMs, _Wallclock, _Opts) ->
    [].

-spec uptime() -> float().
uptime() ->
    Native = erlang:monotonic_time() - erlang:system_info(start_time),
    Native / erlang:convert_time_unit(1, second, native).

%% One list holds the normal queues and the dirty CPU queue behind them, the other
%% the same and then the dirty I/O queue. They do not fit together when the
%% schedulers online have changed between the two reads.
-spec run_queues() -> {non_neg_integer(), DirtyCpu, DirtyIo} when
    DirtyCpu :: non_neg_integer() | undefined,
    DirtyIo :: non_neg_integer() | undefined.
run_queues() ->
    CpuBound = erlang:statistics(run_queue_lengths),
    case erlang:statistics(run_queue_lengths_all) of
        All when length(All) =:= length(CpuBound) + 1 ->
            {lists:sum(CpuBound), lists:last(CpuBound), lists:last(All)};
        _ ->
            {lists:sum(CpuBound), undefined, undefined}
    end.
