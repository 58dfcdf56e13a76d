%% @doc A supervisor of processes that come and go: sessions, clients.
-module(erlmcp_demo_pool_sup).
-behaviour(supervisor).

-export([start_link/2]).
-export([start_child/2]).
-export([children/1]).

-export([init/1]).

%% Far more than a request takes: where more load is asked for than the machine
%% bears, a client waits this long in a queue, and one that is killed there
%% has not counted an answer that the server has.
-define(SHUTDOWN_MS, 60000).

%% @doc Starts an empty pool, registered as `Name', of `Module:start_link/1'.
-spec start_link(Name :: atom(), Module :: module()) -> supervisor:startlink_ret().
start_link(Name, Module) ->
    supervisor:start_link({local, Name}, ?MODULE, Module).

%% @doc Adds a process to a pool.
-spec start_child(Name :: atom(), Argument :: term()) -> supervisor:startchild_ret().
start_child(Name, Argument) ->
    supervisor:start_child(Name, [Argument]).

%% @doc The processes of a pool.
-spec children(Name :: atom()) -> [pid()].
children(Name) ->
    [Pid || {_, Pid, _, _} <- supervisor:which_children(Name), is_pid(Pid)].

%% @private
-spec init(module()) -> {ok, {supervisor:sup_flags(), [supervisor:child_spec()]}}.
init(Module) ->
    {ok, {#{strategy => simple_one_for_one},
          [#{id => Module, start => {Module, start_link, []}, restart => temporary,
             shutdown => ?SHUTDOWN_MS}]}}.
