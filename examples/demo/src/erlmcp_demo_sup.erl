%% @doc The simulated server and its clients as one tree.
-module(erlmcp_demo_sup).
-behaviour(supervisor).

-export([start_link/1]).
-export([start_load/1]).
-export([stop_load/0]).
-export([stop/1]).

-export([init/1]).

-define(CLIENTS, erlmcp_demo_clients).

%% @doc Starts the server, without a client yet.
-spec start_link(erlmcp_demo_settings:settings()) -> supervisor:startlink_ret().
start_link(Settings) ->
    supervisor:start_link({local, ?MODULE}, ?MODULE, Settings).

%% @doc Starts the clients, and lets them go when all are there.
-spec start_load(erlmcp_demo_settings:settings()) -> ok.
start_load(#{rate := Rate, sessions := Sessions}) ->
    PauseMs = Sessions * 1000 / Rate,
    Clients = [start_client(PauseMs) || _ <- lists:seq(1, Sessions)],
    lists:foreach(fun erlmcp_demo_client:go/1, Clients).

%% @doc Ends the clients, each after the answer that it waits for. Their
%% sessions stay open until they expire.
-spec stop_load() -> ok.
stop_load() ->
    ok = supervisor:terminate_child(?MODULE, ?CLIENTS).

%% @doc Ends everything and waits until it has ended.
-spec stop(Supervisor :: pid()) -> ok.
stop(Supervisor) ->
    gen_server:stop(Supervisor, shutdown, infinity).

%% @private
%% The cache belongs to this supervisor: the sessions that fill it come and go.
-spec init(erlmcp_demo_settings:settings()) ->
    {ok, {supervisor:sup_flags(), [supervisor:child_spec()]}}.
init(#{rate := Rate}) ->
    erlmcp_demo_resources:new_cache(),
    Limit = erlmcp_demo_client:allowed_tool_calls(Rate),
    {ok, {#{strategy => rest_for_one, intensity => 3, period => 10},
          [#{id => quota, start => {erlmcp_demo_quota, start_link, [Limit]}},
           #{id => registry, start => {erlmcp_demo_registry, start_link, []}},
           pool(erlmcp_demo_sessions, erlmcp_demo_session),
           #{id => sampler, start => {erlmcp_demo_sampler, start_link, [erlmcp_demo_sessions]}},
           pool(?CLIENTS, erlmcp_demo_client)]}}.

-spec start_client(float()) -> pid().
start_client(PauseMs) ->
    {ok, Client} = erlmcp_demo_pool_sup:start_child(?CLIENTS, PauseMs),
    Client.

-spec pool(atom(), module()) -> supervisor:child_spec().
pool(Name, Module) ->
    #{id => Name, type => supervisor,
      start => {erlmcp_demo_pool_sup, start_link, [Name, Module]}}.
