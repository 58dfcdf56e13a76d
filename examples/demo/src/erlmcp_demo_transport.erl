%% @doc The simulated server's transports: connecting, and frames in and out.
-module(erlmcp_demo_transport).

-export([names/0]).
-export([connect/1]).
-export([request/3]).
-export([close/1]).
-export([series/1]).
-export([decode/2]).
-export([encode/2]).

-export_type([series/0]).

-type series() :: #{
    bytes_in := pos_integer(),
    bytes_out := pos_integer(),
    messages_in := pos_integer(),
    messages_out := pos_integer(),
    decoded := pos_integer(),
    encoded := pos_integer()
}.

%% @doc The transports of MCP.
-spec names() -> [atom(), ...].
names() ->
    [stdio, tcp, http, websocket, sse].

%% @doc Opens a connection and, where the client proves who it is, a session.
-spec connect(#{credentials := binary(), session_type := atom(), transport := atom(),
                idle_timeout_ms := pos_integer()}) ->
    {ok, Session :: pid()} | {error, unauthorized}.
connect(#{credentials := Credentials, transport := Transport} = Options) ->
    _ = erlmcp_metrics:inc(erlmcp_connections_total, #{transport => Transport}),
    case Credentials of
        <<"valid">> ->
            _ = erlmcp_mcp_metrics:authenticated(),
            {ok, _} = erlmcp_demo_pool_sup:start_child(
                erlmcp_demo_sessions, maps:remove(credentials, Options));
        <<"expired">> ->
            refuse(Transport, expired_token)
    end.

%% @doc Sends a request over a session's connection and waits for the answer.
-spec request(pid(), Method :: binary(), erlmcp_demo_methods:params()) ->
    {ok, term()} | {error, atom()}.
request(Session, Method, Params) ->
    Frame = term_to_binary(#{method => Method, params => Params}),
    binary_to_term(erlmcp_demo_session:request(Session, Frame), [safe]).

%% @doc Closes a session and its connection.
-spec close(Session :: pid()) -> ok.
close(Session) ->
    erlmcp_demo_session:close(Session).

%% @doc Binds the series that a connection of this transport writes for each
%% message: a session does it once, in its init, and keeps them in its state.
-spec series(Transport :: atom()) -> series().
series(Transport) ->
    Bind = fun(Kind, Name, Label, Value) ->
        Series = erlmcp_metrics:bind(Kind, Name, #{transport => Transport, Label => Value}),
        true = is_integer(Series),
        Series
    end,
    #{bytes_in => Bind(counter, erlmcp_transport_bytes_total, direction, received),
      bytes_out => Bind(counter, erlmcp_transport_bytes_total, direction, sent),
      messages_in => Bind(counter, erlmcp_messages_total, direction, received),
      messages_out => Bind(counter, erlmcp_messages_total, direction, sent),
      decoded => Bind(histogram, erlmcp_transport_operation_duration_seconds,
                      operation, 'receive'),
      encoded => Bind(histogram, erlmcp_transport_operation_duration_seconds,
                      operation, send)}.

%% @doc Decodes a frame that has arrived.
-spec decode(Frame :: binary(), series()) -> term().
decode(Frame, #{bytes_in := Bytes, messages_in := Messages, decoded := Duration}) ->
    _ = erlmcp_metrics:inc(Bytes, byte_size(Frame)),
    _ = erlmcp_metrics:inc(Messages, 1),
    erlmcp_metrics:time(Duration, fun() -> binary_to_term(Frame, [safe]) end).

%% @doc Encodes an answer to a frame that can be sent.
-spec encode(term(), series()) -> Frame :: binary().
encode(Answer, #{bytes_out := Bytes, messages_out := Messages, encoded := Duration}) ->
    Frame = erlmcp_metrics:time(Duration, fun() -> term_to_binary(Answer) end),
    _ = erlmcp_metrics:inc(Bytes, byte_size(Frame)),
    _ = erlmcp_metrics:inc(Messages, 1),
    Frame.

-spec refuse(atom(), atom()) -> {error, unauthorized}.
refuse(Transport, Reason) ->
    _ = erlmcp_mcp_metrics:authentication_failed(Reason),
    _ = erlmcp_mcp_metrics:connection_failed(Transport, unauthorized),
    _ = erlmcp_metrics:inc(erlmcp_connections_closed_total,
                           #{transport => Transport, reason => refused}),
    _ = erlmcp_metrics:inc(erlmcp_security_events_total,
                           #{event_type => auth_failure, severity => info}),
    {error, unauthorized}.
