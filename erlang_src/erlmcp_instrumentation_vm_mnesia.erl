%% @doc Collector of mnesia's locks, transactions and memory.
%%
%% Families `erlang_mnesia_*'. Nothing is gathered, and mnesia is neither loaded
%% nor started, unless it runs on this node.
-module(erlmcp_instrumentation_vm_mnesia).

-behaviour(erlmcp_instrumentation_collector).

-export([collect/1]).

-import(erlmcp_instrumentation_collector, [family/4, attempt/1]).

%% How long mnesia's transaction manager may take to answer, in milliseconds.
-define(MANAGER_TIMEOUT_MS, 200).

%% @doc Gathers the families when mnesia runs.
%%
%% Sends one message to mnesia's transaction manager; the rest are reads of ETS
%% tables, one for each table of mnesia's.
-spec collect(erlmcp_instrumentation_collector:opts()) ->
    [erlmcp_instrumentation_collector:family()].
collect(_Opts) ->
    case is_running() of
        true -> families();
        false -> []
    end.

-spec is_running() -> boolean().
is_running() ->
    erlang:function_exported(mnesia, system_info, 1) andalso
        mnesia:system_info(is_running) =:= yes.

-spec families() -> [erlmcp_instrumentation_collector:family()].
families() ->
    {Participants, Coordinators} = transactions(),
    [family(<<"erlang_mnesia_held_locks">>, gauge,
            <<"Locks that transactions hold on this node.">>,
            ets:info(mnesia_held_locks, size)),
     family(<<"erlang_mnesia_lock_queue">>, gauge,
            <<"Requests for locks that wait on this node.">>,
            ets:info(mnesia_lock_queue, size)),
     family(<<"erlang_mnesia_transaction_participants">>, gauge,
            <<"Transactions of other nodes that this node takes part in now.">>,
            Participants),
     family(<<"erlang_mnesia_transaction_coordinators">>, gauge,
            <<"Transactions that run on this node now.">>,
            Coordinators),
     family(<<"erlang_mnesia_failed_transactions_total">>, counter,
            <<"Transactions that were aborted since mnesia started.">>,
            info(transaction_failures)),
     family(<<"erlang_mnesia_committed_transactions_total">>, counter,
            <<"Transactions that were committed since mnesia started.">>,
            info(transaction_commits)),
     family(<<"erlang_mnesia_logged_transactions_total">>, counter,
            <<"Transactions that were written to the log since mnesia started.">>,
            info(transaction_log_writes)),
     family(<<"erlang_mnesia_restarted_transactions_total">>, counter,
            <<"Times that a transaction had to start over since mnesia started.">>,
            info(transaction_restarts)),
     family(<<"erlang_mnesia_memory_usage_bytes">>, gauge,
            <<"Bytes of memory that mnesia's tables on this node take; tables that are only "
              "on disc are not counted.">>,
            memory())].

-spec info(atom()) -> term().
info(Item) ->
    attempt(fun() -> mnesia:system_info(Item) end).

%% mnesia:system_info(transactions) lists coordinators only, so this asks as
%% mnesia:info/0 does. An answer that comes too late dies with this process.
-spec transactions() -> {Participants :: term(), Coordinators :: term()}.
transactions() ->
    case attempt(fun() -> mnesia_tm:get_info(?MANAGER_TIMEOUT_MS) end) of
        {info, Participants, Coordinators} -> {length(Participants), length(Coordinators)};
        _ -> {undefined, undefined}
    end.

%% ets:info/2 counts words. For disc_only_copies mnesia would ask DETS, which
%% answers with the size of the file, in bytes and from a process that may be busy.
-spec memory() -> non_neg_integer().
memory() ->
    Words = lists:sum([Size || Table <- mnesia:system_info(tables),
                               is_in_memory(Table),
                               Size <- [ets:info(Table, memory)],
                               is_integer(Size)]),
    Words * erlang:system_info(wordsize).

-spec is_in_memory(atom()) -> boolean().
is_in_memory(Table) ->
    Storage = attempt(fun() -> mnesia:table_info(Table, storage_type) end),
    Storage =:= ram_copies orelse Storage =:= disc_copies.
