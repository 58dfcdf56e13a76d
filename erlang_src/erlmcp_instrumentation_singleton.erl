%% @private Processes of which the node has one, started by the library's
%% supervisor or, as the guide has it, by the application: in both orders.
-module(erlmcp_instrumentation_singleton).

-export([start_link/2]).

%% @doc Starts a `gen_server' without arguments under a name, or links to the
%% one that runs.
-spec start_link(Name :: atom(), module()) -> {ok, pid()} | {error, term()}.
start_link(Name, Module) ->
    case gen_server:start_link({local, Name}, Module, [], []) of
        {ok, Pid} -> {ok, Pid};
        {error, {already_started, Pid}} -> link_to(Pid, Name, Module);
        {error, Reason} -> {error, Reason}
    end.

-spec link_to(pid(), atom(), module()) -> {ok, pid()} | {error, term()}.
link_to(Pid, Name, Module) ->
    try link(Pid) of
        true -> {ok, Pid}
    catch
        %% Ended between the two steps.
        error:noproc -> start_link(Name, Module)
    end.
