%% @doc A session of the simulated server: one process from initialize to close.
%%
%% Requests arrive as frames (the external term format stands in for JSON) and
%% are answered one after the other. Everything that a request records on its
%% way is recorded here, in the session's own process, without a message.
-module(erlmcp_demo_session).
-behaviour(gen_server).

-include_lib("kernel/include/logger.hrl").

-export([start_link/1]).
-export([request/2]).
-export([close/1]).
-export([ended/3]).

-export([init/1]).
-export([handle_call/3]).
-export([handle_cast/2]).
-export([handle_info/2]).
-export([terminate/2]).

-export_type([options/0]).

-type options() :: #{
    session_type := atom(),
    transport := atom(),
    idle_timeout_ms := pos_integer()
}.
-type state() :: #{
    options := options(),
    id := binary(),
    requests := non_neg_integer(),
    started := integer(),
    series := erlmcp_demo_transport:series()
}.

%% @doc Starts a session, linked to the caller.
-spec start_link(options()) -> gen_server:start_ret().
start_link(Options) ->
    gen_server:start_link(?MODULE, Options, []).

%% @doc Hands a request's frame to the session and waits for the answer's.
-spec request(pid(), Frame :: binary()) -> Frame :: binary().
request(Session, Frame) ->
    gen_server:call(Session, {frame, Frame}, infinity).

%% @doc Closes the session and waits until it is gone.
-spec close(pid()) -> ok.
close(Session) ->
    gen_server:call(Session, close, infinity).

%% @private
%% Exits are trapped so that terminate/2 runs when the supervisor ends the
%% session: a gauge that counts up at the start must count down at every end.
-spec init(options()) -> {ok, state(), timeout()}.
init(#{session_type := Type, transport := Transport, idle_timeout_ms := IdleTimeout} = Options) ->
    process_flag(trap_exit, true),
    _ = erlmcp_metrics:inc(erlmcp_sessions_created_total),
    _ = erlmcp_metrics:inc(erlmcp_sessions_active, #{session_type => Type}),
    _ = erlmcp_metrics:inc(erlmcp_connections_active, #{transport => Transport}),
    {ok, #{options => Options, id => id(), requests => 0, started => erlang:monotonic_time(),
           series => erlmcp_demo_transport:series(Transport)}, IdleTimeout}.

%% @private
-spec handle_call(term(), gen_server:from(), state()) ->
    {reply, term(), state(), timeout()} | {stop, term(), term(), state()}.
handle_call({frame, Frame}, _From, #{options := Options, requests := Requests} = State) ->
    Next = State#{requests := Requests + 1},
    {reply, answer(Frame, Next), Next, maps:get(idle_timeout_ms, Options)};
handle_call(close, _From, State) ->
    {stop, {shutdown, client_closed}, ok, State}.

%% @private
-spec handle_cast(term(), state()) -> {noreply, state(), timeout()}.
handle_cast(_Message, #{options := Options} = State) ->
    {noreply, State, maps:get(idle_timeout_ms, Options)}.

%% @private
-spec handle_info(term(), state()) ->
    {noreply, state(), timeout()} | {stop, term(), state()}.
handle_info(timeout, State) ->
    _ = erlmcp_metrics:inc(erlmcp_sessions_expired_total),
    {stop, {shutdown, expired}, State};
handle_info(_Message, #{options := Options} = State) ->
    {noreply, State, maps:get(idle_timeout_ms, Options)}.

%% @private
-spec terminate(term(), state()) -> ok.
terminate(Reason, #{options := Options, started := Started}) ->
    ended(Reason, Options, Started).

%% @doc Records the end of a session. Who watches a session that was killed calls
%% it in its place.
-spec ended(Reason :: term(), options(), Started :: integer()) -> ok.
ended(Reason, #{session_type := Type, transport := Transport}, Started) ->
    Closed = reason(Reason),
    _ = erlmcp_metrics:dec(erlmcp_sessions_active, #{session_type => Type}),
    _ = erlmcp_metrics:inc(erlmcp_sessions_closed_total, #{reason => Closed}),
    _ = erlmcp_metrics:observe(erlmcp_session_duration_seconds, seconds_since(Started),
                               #{session_type => Type}),
    _ = erlmcp_metrics:dec(erlmcp_connections_active, #{transport => Transport}),
    _ = erlmcp_metrics:inc(erlmcp_connections_closed_total,
                           #{transport => Transport, reason => Closed}),
    ok.

%% Everything that belongs to the request happens in its span: what it counts in
%% other processes, too, if they are called by erlmcp_otel_instrumentation:call/2.
-spec answer(binary(), state()) -> binary().
answer(Frame, #{options := Options, series := Series} = State) ->
    #{method := Method, params := Params} = erlmcp_demo_transport:decode(Frame, Series),
    Result = erlmcp_demo_tracing:request(request(Method, Params, State), fun() ->
        Handled = erlmcp_demo_methods:handle(Method, Params, Options),
        log(Method, Handled),
        Handled
    end),
    Answer = erlmcp_demo_transport:encode(Result, Series),
    erlmcp_demo_metrics:payload(byte_size(Frame), byte_size(Answer)),
    Answer.

%% Inside of the span, whose ids the line then has.
-spec log(binary(), {ok, term()} | {error, term()}) -> ok.
log(Method, {ok, _}) ->
    ?LOG_INFO("Request processed", #{method => Method, status => success});
log(Method, {error, Reason}) ->
    ?LOG_WARNING("Request processed", #{method => Method, status => error, reason => Reason}).

%% What a request's span says. The params are read for names, never for
%% arguments.
-spec request(binary(), erlmcp_demo_methods:params(), state()) -> map().
request(Method, Params, #{id := Id, requests := Requests, options := #{transport := Transport}}) ->
    #{method => Method, params => Params, request_id => Requests, session_id => Id,
      transport => Transport, component => erlmcp_demo_methods:component(Method)}.

-spec id() -> binary().
id() ->
    binary:encode_hex(rand:bytes(8)).

%% An exit reason may be any term: only known ones become the label's value.
-spec reason(term()) -> atom().
reason({shutdown, client_closed}) -> client_closed;
reason({shutdown, expired}) -> expired;
reason(shutdown) -> shutdown;
reason(killed) -> killed;
reason(_) -> error.

-spec seconds_since(integer()) -> float().
seconds_since(Started) ->
    Elapsed = erlang:monotonic_time() - Started,
    erlang:convert_time_unit(Elapsed, native, nanosecond) / 1.0e9.
