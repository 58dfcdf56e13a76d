%% @doc A quota of tool calls in each second, shared by all sessions.
%%
%% Taking from it is one atomic add in the caller. This process starts each
%% window anew and tells the metrics how much of the last one was used.
-module(erlmcp_demo_quota).
-behaviour(gen_server).

-export([start_link/1]).
-export([take/0]).

-export([init/1]).
-export([handle_call/3]).
-export([handle_cast/2]).
-export([handle_info/2]).

-define(WINDOW_MS, 1000).
-define(LABELS, #{quota_type => tool_calls}).

%% @doc Starts the quota with so many calls a second.
-spec start_link(Limit :: pos_integer()) -> gen_server:start_ret().
start_link(Limit) ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, Limit, []).

%% @doc Takes one call; `false' when the window's calls are used up.
-spec take() -> boolean().
take() ->
    {Used, Limit} = persistent_term:get(?MODULE),
    atomics:add_get(Used, 1, 1) =< Limit.

%% @private
-spec init(pos_integer()) -> {ok, {atomics:atomics_ref(), pos_integer()}}.
init(Limit) ->
    Quota = {atomics:new(1, []), Limit},
    ok = persistent_term:put(?MODULE, Quota),
    _ = erlmcp_metrics:set(erlmcp_api_quota_limit, Limit, ?LABELS),
    _ = erlmcp_metrics:set(erlmcp_api_quota_used, 0, ?LABELS),
    {ok, _} = timer:send_interval(?WINDOW_MS, window),
    {ok, Quota}.

%% @private
-spec handle_call(term(), gen_server:from(), State) -> {reply, ok, State}.
handle_call(_Request, _From, State) ->
    {reply, ok, State}.

%% @private
-spec handle_cast(term(), State) -> {noreply, State}.
handle_cast(_Message, State) ->
    {noreply, State}.

%% @private
-spec handle_info(term(), State) -> {noreply, State} when
    State :: {atomics:atomics_ref(), pos_integer()}.
handle_info(window, {Used, Limit} = State) ->
    Taken = min(Limit, atomics:exchange(Used, 1, 0)),
    _ = erlmcp_metrics:set(erlmcp_api_quota_used, Taken, ?LABELS),
    {noreply, State};
handle_info(_Message, State) ->
    {noreply, State}.
