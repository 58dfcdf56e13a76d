%% @private Processes of which the node has one, started by the library's
%% supervisor or, as the guide has it, by the application: in both orders.
-module(erlmcp_instrumentation_singleton).

-export([start_link/2]).

%% How long a process that has its name may take to be ready.
-define(READY_MS, 5000).

%% @doc Starts a `gen_server' without arguments under a name, or links to the
%% one that runs, which is ready when this returns.
-spec start_link(Name :: atom(), module()) -> {ok, pid()} | {error, term()}.
start_link(Name, Module) ->
    case gen_server:start_link({local, Name}, Module, [], []) of
        {ok, Pid} -> {ok, Pid};
        {error, {already_started, Pid}} when is_pid(Pid) -> link_to(Pid, Name, Module);
        %% The one that has the name was gone when `gen' looked who it is.
        {error, {already_started, undefined}} -> start_link(Name, Module);
        {error, Reason} -> {error, Reason}
    end.

-spec link_to(pid(), atom(), module()) -> {ok, pid()} | {error, term()}.
link_to(Pid, Name, Module) ->
    try link(Pid) of
        true -> when_ready(Pid, Name, Module)
    catch
        %% Ended between the two steps.
        error:noproc -> start_link(Name, Module)
    end.

%% A process has its name before `init' has run, which begins anew what its
%% caller is about to record. Any answer means that it has run.
-spec when_ready(pid(), atom(), module()) -> {ok, pid()} | {error, term()}.
when_ready(Pid, Name, Module) ->
    try gen_server:call(Pid, is_ready, ?READY_MS) of
        _Answer -> {ok, Pid}
    catch
        exit:{timeout, _} ->
            {ok, Pid};
        exit:_ ->
            forget(Pid),
            start_link(Name, Module)
    end.

%% It ended after the link: its signal is for nobody, also where exits are
%% trapped.
-spec forget(pid()) -> ok.
forget(Pid) ->
    unlink(Pid),
    receive
        {'EXIT', Pid, _Reason} -> ok
    after 0 -> ok
    end.
