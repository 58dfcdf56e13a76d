%% @doc Gauges that nobody can count as they change: read once a second instead.
-module(erlmcp_demo_sampler).
-behaviour(gen_server).

-export([start_link/1]).

-export([init/1]).
-export([handle_call/3]).
-export([handle_cast/2]).
-export([handle_info/2]).

-define(INTERVAL_MS, 1000).

%% @doc Starts the sampler of a pool of processes.
-spec start_link(Pool :: atom()) -> gen_server:start_ret().
start_link(Pool) ->
    gen_server:start_link(?MODULE, Pool, []).

%% @private
-spec init(atom()) -> {ok, atom()}.
init(Pool) ->
    {ok, _} = timer:send_interval(?INTERVAL_MS, sample),
    {ok, Pool}.

%% @private
-spec handle_call(term(), gen_server:from(), State) -> {reply, ok, State}.
handle_call(_Request, _From, State) ->
    {reply, ok, State}.

%% @private
-spec handle_cast(term(), State) -> {noreply, State}.
handle_cast(_Message, State) ->
    {noreply, State}.

%% @private
-spec handle_info(term(), atom()) -> {noreply, atom()}.
handle_info(sample, Pool) ->
    Sessions = erlmcp_demo_pool_sup:children(Pool),
    Waiting = lists:sum([Length || Pid <- Sessions,
                                   {_, Length} <- [process_info(Pid, message_queue_len)]]),
    _ = erlmcp_metrics:record_gauge(erlmcp_session_pool_size, length(Sessions),
                                    #{pool => sessions}),
    _ = erlmcp_metrics:record_gauge(erlmcp_session_queue_depth, Waiting, #{queue => requests}),
    {noreply, Pool};
handle_info(_Message, Pool) ->
    {noreply, Pool}.
