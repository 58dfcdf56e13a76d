%% @doc The application's supervisor.
-module(erlmcp_sup).
-behaviour(supervisor).

-export([start_link/0]).

-export([init/1]).

%% @doc Starts the supervisor and the request handler.
-spec start_link() -> {ok, pid()} | ignore | {error, term()}.
start_link() ->
    supervisor:start_link({local, ?MODULE}, ?MODULE, []).

%% @private
-spec init([]) -> {ok, {supervisor:sup_flags(), [supervisor:child_spec()]}}.
init([]) ->
    {ok, {#{strategy => one_for_one},
          [#{id => erlmcp_request_handler,
             start => {erlmcp_request_handler, start_link, []}}]}}.
