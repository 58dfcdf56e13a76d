%% @doc Records what an MCP server does, by what it is and not by the names of
%% metrics: {@link erlmcp_metrics_catalogue} has those.
%%
%% ```
%% Connection = erlmcp_mcp_metrics:connection_opened(tcp),
%% erlmcp_mcp_metrics:received(tcp, byte_size(Frame)),
%% Result = erlmcp_mcp_metrics:tool(Tool, fun() -> run(Tool) end),
%% erlmcp_mcp_metrics:connection_closed(Connection, client_closed).
%% '''
%%
%% Recording runs in the caller, costs what {@link erlmcp_metrics} costs, and
%% never raises: it returns `ok', or `{error, {Tag, Text}}', and what is refused is
%% counted in `erlmcp_metrics_rejected_samples_total'.
%%
%% == Labels ==
%%
%% Atoms, binaries in UTF-8 and strings of up to 128 bytes; anything longer, or no
%% text, is recorded as `other', and an empty text as `unknown'. Every value is a
%% series that is kept, so give what is bounded: the names of tools that are
%% registered, not the one that a client asked for; the reason's word, not its
%% message. Beyond the metric's limit of series all are counted together.
%%
%% == Durations ==
%%
%% `{Number, Unit}', such as `{12, millisecond}', or {@link since/1} with what
%% `erlang:monotonic_time()' said at the beginning. A number alone is refused: it
%% would not say what it is. Where a function can be given ({@link tool/2} and its
%% siblings), it is timed.
%%
%% == What is open ==
%%
%% {@link connection_opened/1}, {@link session_created/1} and
%% {@link subscription_added/1} return what the closing function takes. It belongs
%% to a process: when that ends first, whatever way, the library closes it for it, with
%% the reason `owner_ended'. It is closed once; closing it again does nothing and
%% returns `false'. The gauges of what is open are raised and lowered in the calls
%% that open and close, which a kill cannot divide, so they stay right. No process
%% is needed for that and no message is sent. A million can be open
%% at a time; what is more is counted as opened, not as open, and in
%% `erlmcp_metrics_rejected_samples_total{reason="too_many_open"}'.
-module(erlmcp_mcp_metrics).

%% API: durations
-export([since/1]).

%% API: requests
-export([request_size/1]).
-export([response_size/1]).

%% API: transport
-export([connection_opened/1]).
-export([connection_opened/2]).
-export([connection_closed/2]).
-export([connection_failed/2]).
-export([received/2]).
-export([sent/2]).
-export([transport_operation/3]).

%% API: sessions
-export([session_created/1]).
-export([session_created/2]).
-export([session_closed/2]).
-export([session_expired/1]).
-export([session_pool_size/2]).
-export([session_queue_depth/2]).

%% API: registry
-export([resource_registered/1]).
-export([resource_unregistered/0]).
-export([resource_accessed/2]).
-export([registry_operation/2]).
-export([registry_operation/3]).
-export([subscription_added/1]).
-export([subscription_added/2]).
-export([subscription_removed/1]).
-export([subscription_event/1]).
-export([cache_request/1]).

%% API: security
-export([authenticated/0]).
-export([authentication_failed/1]).
-export([authentication_failed/2]).
-export([authorized/0]).
-export([unauthorized/1]).
-export([security_event/2]).

%% API: business
-export([quota/3]).
-export([tool/2]).
-export([tool_executed/3]).
-export([prompt/2]).
-export([prompt_executed/3]).
-export([prompt_tokens/2]).

-export_type([text/0]).
-export_type([duration/0]).
-export_type([status/0]).
-export_type([connection/0]).
-export_type([session/0]).
-export_type([subscription/0]).
-export_type([result/0]).

-type text() :: atom() | binary() | string().
-type duration() :: {number(), second | millisecond | microsecond | nanosecond | native}.
-type status() :: success | error.
-opaque connection() :: {connection, Number :: non_neg_integer(), label()}.
-opaque session() :: {session, Number :: non_neg_integer()}.
-opaque subscription() :: {subscription, Number :: non_neg_integer()}.
-type label() :: erlmcp_instrumentation_label:label().
-type result() :: ok | {error, {Tag :: atom(), Text :: binary()}}.

-define(NIF, erlmcp_instrumentation_nif).

%% API: durations

%% @doc The time since `erlang:monotonic_time()' was `Begin'.
-spec since(Begin :: integer()) -> duration().
since(Begin) ->
    {erlang:monotonic_time() - Begin, native}.

%% API: requests

%% @doc The size of a request as received, in bytes:
%% `erlmcp_request_size_bytes'.
-spec request_size(Bytes :: non_neg_integer()) -> result().
request_size(Bytes) ->
    ?NIF:observe(erlmcp_request_size_bytes, Bytes, #{}).

%% @doc The size of a response as sent, in bytes: `erlmcp_response_size_bytes'.
-spec response_size(Bytes :: non_neg_integer()) -> result().
response_size(Bytes) ->
    ?NIF:observe(erlmcp_response_size_bytes, Bytes, #{}).

%% API: transport

%% @doc A connection that belongs to the calling process. See
%% {@link connection_opened/2}.
-spec connection_opened(Transport :: text()) -> connection().
connection_opened(Transport) ->
    connection_opened(Transport, self()).

%% @doc A connection was opened, by a transport such as `stdio', `tcp', `http',
%% `websocket' or `sse'; it is open until {@link connection_closed/2}, or until
%% the process `Owner' ends. Counts in `erlmcp_connections_total{transport}' and
%% `erlmcp_connections_active{transport}'.
-spec connection_opened(Transport :: text(), Owner :: pid()) -> connection().
connection_opened(Transport, Owner) ->
    Labels = #{transport => label(Transport)},
    Number = open(Owner, series(counter, erlmcp_connections_total, Labels),
                  series(gauge, erlmcp_connections_active, Labels),
                  closed_connections(Labels, owner_ended), 0),
    {connection, Number, label(Transport)}.

%% @doc A connection was closed, from any process. Counts in
%% `erlmcp_connections_closed_total{transport,reason}'. `false' if it was closed
%% before.
-spec connection_closed(connection(), Reason :: text()) -> boolean().
connection_closed({connection, Number, Transport}, Reason) ->
    close(Number, closed_connections(#{transport => Transport}, label(Reason)));
connection_closed(_Other, _Reason) ->
    false.

%% @doc A connection could not be opened, or broke:
%% `erlmcp_connection_errors_total{transport,error_type}'. It says nothing of
%% whether it is open.
-spec connection_failed(Transport :: text(), ErrorType :: text()) -> result().
connection_failed(Transport, ErrorType) ->
    ?NIF:count(erlmcp_connection_errors_total, 1,
               #{transport => label(Transport), error_type => label(ErrorType)}).

%% @doc A message of so many bytes was received: `erlmcp_messages_total' and
%% `erlmcp_transport_bytes_total', `{transport,direction="received"}'.
-spec received(Transport :: text(), Bytes :: non_neg_integer()) -> result().
received(Transport, Bytes) ->
    message(Transport, received, Bytes).

%% @doc A message of so many bytes was sent: as {@link received/2}, with
%% `direction="sent"'.
-spec sent(Transport :: text(), Bytes :: non_neg_integer()) -> result().
sent(Transport, Bytes) ->
    message(Transport, sent, Bytes).

%% @doc How long an operation of a transport took, such as `send':
%% `erlmcp_transport_operation_duration_seconds{transport,operation}'.
-spec transport_operation(Transport :: text(), Operation :: text(), duration()) -> result().
transport_operation(Transport, Operation, Duration) ->
    observe(erlmcp_transport_operation_duration_seconds, Duration,
            #{transport => label(Transport), operation => label(Operation)}).

%% API: sessions

%% @doc A session that belongs to the calling process. See
%% {@link session_created/2}.
-spec session_created(Type :: text()) -> session().
session_created(Type) ->
    session_created(Type, self()).

%% @doc A session was created; it is open until {@link session_closed/2} or
%% {@link session_expired/1}, or until the process `Owner' ends. Counts in
%% `erlmcp_sessions_created_total' and `erlmcp_sessions_active{session_type}'.
-spec session_created(Type :: text(), Owner :: pid()) -> session().
session_created(Type, Owner) ->
    Labels = #{session_type => label(Type)},
    {session, open(Owner, series(counter, erlmcp_sessions_created_total, #{}),
                   series(gauge, erlmcp_sessions_active, Labels),
                   closed_sessions(owner_ended),
                   series(histogram, erlmcp_session_duration_seconds, Labels))}.

%% @doc A session was closed, from any process. Counts in
%% `erlmcp_sessions_closed_total{reason}' and, with the time since its creation,
%% in `erlmcp_session_duration_seconds{session_type}'. `false' if it was closed
%% before.
-spec session_closed(session(), Reason :: text()) -> boolean().
session_closed({session, Number}, Reason) ->
    close(Number, closed_sessions(label(Reason)));
session_closed(_Other, _Reason) ->
    false.

%% @doc A session was closed because nobody used it: as {@link session_closed/2}
%% with the reason `expired', and in `erlmcp_sessions_expired_total'.
-spec session_expired(session()) -> boolean().
session_expired(Session) ->
    session_closed(Session, expired)
        andalso ok =:= ?NIF:count(erlmcp_sessions_expired_total, 1, #{}).

%% @doc How many sessions a pool holds: `erlmcp_session_pool_size{pool}'.
-spec session_pool_size(Pool :: text(), non_neg_integer()) -> result().
session_pool_size(Pool, Size) ->
    ?NIF:set(erlmcp_session_pool_size, Size, #{pool => label(Pool)}).

%% @doc How many messages wait in a queue of sessions:
%% `erlmcp_session_queue_depth{queue}'.
-spec session_queue_depth(Queue :: text(), non_neg_integer()) -> result().
session_queue_depth(Queue, Depth) ->
    ?NIF:set(erlmcp_session_queue_depth, Depth, #{queue => label(Queue)}).

%% API: registry

%% @doc A resource, tool or prompt was registered:
%% `erlmcp_resources_registered_total{resource_type}'.
-spec resource_registered(ResourceType :: text()) -> result().
resource_registered(ResourceType) ->
    ?NIF:count(erlmcp_resources_registered_total, 1, #{resource_type => label(ResourceType)}).

%% @doc A resource, tool or prompt was unregistered:
%% `erlmcp_resources_unregistered_total'.
-spec resource_unregistered() -> result().
resource_unregistered() ->
    ?NIF:count(erlmcp_resources_unregistered_total, 1, #{}).

%% @doc What is registered was used, by a type of access such as `read':
%% `erlmcp_resources_accessed_total{resource_type,access_type}'.
-spec resource_accessed(ResourceType :: text(), AccessType :: text()) -> result().
resource_accessed(ResourceType, AccessType) ->
    ?NIF:count(erlmcp_resources_accessed_total, 1,
               #{resource_type => label(ResourceType), access_type => label(AccessType)}).

%% @doc Calls `Fun', an operation of the registry, and records it as
%% {@link registry_operation/3} does, with the status of {@link tool/2}.
-spec registry_operation(Operation :: text(), fun(() -> Result)) -> Result.
registry_operation(Operation, Fun) ->
    timed(fun(Status, Duration) -> registry_operation(Operation, Status, Duration) end, Fun).

%% @doc An operation of the registry, such as `lookup':
%% `erlmcp_registry_operations_total{operation,status}' and
%% `erlmcp_registry_operation_duration_seconds{operation}'.
-spec registry_operation(Operation :: text(), status(), duration()) -> result().
registry_operation(Operation, Status, Duration) ->
    Label = label(Operation),
    first_error(
        ?NIF:count(erlmcp_registry_operations_total, 1,
                   #{operation => Label, status => status(Status)}),
        observe(erlmcp_registry_operation_duration_seconds, Duration, #{operation => Label})).

%% @doc A subscription that belongs to the calling process. See
%% {@link subscription_added/2}.
-spec subscription_added(Type :: text()) -> subscription().
subscription_added(Type) ->
    subscription_added(Type, self()).

%% @doc A subscription was added; it is there until {@link
%% subscription_removed/1}, or until the process `Owner' ends. Counts in
%% `erlmcp_subscriptions_active{subscription_type}' and in
%% `erlmcp_subscription_events_total{event_type="subscribed"}'.
-spec subscription_added(Type :: text(), Owner :: pid()) -> subscription().
subscription_added(Type, Owner) ->
    Active = series(gauge, erlmcp_subscriptions_active, #{subscription_type => label(Type)}),
    {subscription, open(Owner, subscription_events(subscribed), Active,
                        subscription_events(owner_ended), 0)}.

%% @doc A subscription was removed. Counts in
%% `erlmcp_subscription_events_total{event_type="unsubscribed"}'; one that ends with
%% its process counts as `event_type="owner_ended"'. `false' if it was removed
%% before.
-spec subscription_removed(subscription()) -> boolean().
subscription_removed({subscription, Number}) ->
    close(Number, subscription_events(unsubscribed));
subscription_removed(_Other) ->
    false.

%% @doc Something else happened to a subscription, such as `notified':
%% `erlmcp_subscription_events_total{event_type}'.
-spec subscription_event(EventType :: text()) -> result().
subscription_event(EventType) ->
    ?NIF:count(erlmcp_subscription_events_total, 1, #{event_type => label(EventType)}).

%% @doc The registry's cache was asked:
%% `erlmcp_registry_cache_requests_total{result}'.
-spec cache_request(hit | miss) -> result().
cache_request(Result) when Result =:= hit; Result =:= miss ->
    ?NIF:count(erlmcp_registry_cache_requests_total, 1, #{result => Result});
cache_request(_Other) ->
    ?NIF:count(erlmcp_registry_cache_requests_total, 1, #{result => other}).

%% API: security

%% @doc Somebody has authenticated:
%% `erlmcp_auth_attempts_total{result="success"}'.
-spec authenticated() -> result().
authenticated() ->
    ?NIF:count(erlmcp_auth_attempts_total, 1, #{result => success}).

%% @doc `authentication_failed(Reason, server)'.
-spec authentication_failed(Reason :: text()) -> result().
authentication_failed(Reason) ->
    authentication_failed(Reason, server).

%% @doc Somebody has failed to authenticate at a component:
%% `erlmcp_auth_attempts_total{result="failure"}' and
%% `erlmcp_auth_failures_total{reason,component}'. The reason is a word such as
%% `expired_token', never the credential.
-spec authentication_failed(Reason :: text(), Component :: text()) -> result().
authentication_failed(Reason, Component) ->
    first_error(
        ?NIF:count(erlmcp_auth_attempts_total, 1, #{result => failure}),
        ?NIF:count(erlmcp_auth_failures_total, 1,
                   #{reason => label(Reason), component => label(Component)})).

%% @doc A caller may do what it asked for:
%% `erlmcp_authorization_checks_total{result="allowed"}'.
-spec authorized() -> result().
authorized() ->
    ?NIF:count(erlmcp_authorization_checks_total, 1, #{result => allowed}).

%% @doc A caller may not do what it asked a component for:
%% `erlmcp_authorization_checks_total{result="denied"}' and
%% `erlmcp_unauthorized_attempts_total{component}'.
-spec unauthorized(Component :: text()) -> result().
unauthorized(Component) ->
    first_error(
        ?NIF:count(erlmcp_authorization_checks_total, 1, #{result => denied}),
        ?NIF:count(erlmcp_unauthorized_attempts_total, 1, #{component => label(Component)})).

%% @doc Something that somebody in charge of security wants to see:
%% `erlmcp_security_events_total{event_type,severity}'.
-spec security_event(EventType :: text(), Severity :: text()) -> result().
security_event(EventType, Severity) ->
    ?NIF:count(erlmcp_security_events_total, 1,
               #{event_type => label(EventType), severity => label(Severity)}).

%% API: business

%% @doc What is used of a quota, and what it allows:
%% `erlmcp_api_quota_used{quota_type}' and `erlmcp_api_quota_limit{quota_type}'.
%% Alert on their ratio.
-spec quota(QuotaType :: text(), Used :: number(), Limit :: number()) -> result().
quota(QuotaType, Used, Limit) ->
    Labels = #{quota_type => label(QuotaType)},
    first_error(?NIF:set(erlmcp_api_quota_used, Used, Labels),
                ?NIF:set(erlmcp_api_quota_limit, Limit, Labels)).

%% @doc Calls `Fun', the execution of a tool, and records it as {@link
%% tool_executed/3} does. It failed, as a request of {@link
%% erlmcp_otel_instrumentation:trace_request/2} does, if it raises, returns
%% `{error, Reason}' or a map with an `error' or an `isError' that is true. Result
%% and exception go to the caller as they are. If the process is killed meanwhile,
%% nothing is recorded.
-spec tool(Tool :: text(), fun(() -> Result)) -> Result.
tool(Tool, Fun) ->
    timed(fun(Status, Duration) -> tool_executed(Tool, Status, Duration) end, Fun).

%% @doc A tool was executed: `erlmcp_tool_executions_total{tool,status}' and
%% `erlmcp_tool_execution_duration_seconds{tool}'.
-spec tool_executed(Tool :: text(), status(), duration()) -> result().
tool_executed(Tool, Status, Duration) ->
    Label = label(Tool),
    first_error(
        ?NIF:count(erlmcp_tool_executions_total, 1, #{tool => Label, status => status(Status)}),
        observe(erlmcp_tool_execution_duration_seconds, Duration, #{tool => Label})).

%% @doc As {@link tool/2}, for a prompt.
-spec prompt(Prompt :: text(), fun(() -> Result)) -> Result.
prompt(Prompt, Fun) ->
    timed(fun(Status, Duration) -> prompt_executed(Prompt, Status, Duration) end, Fun).

%% @doc A prompt was executed: `erlmcp_prompt_executions_total{prompt,status}' and
%% `erlmcp_prompt_execution_duration_seconds{prompt}'.
-spec prompt_executed(Prompt :: text(), status(), duration()) -> result().
prompt_executed(Prompt, Status, Duration) ->
    Label = label(Prompt),
    first_error(
        ?NIF:count(erlmcp_prompt_executions_total, 1,
                   #{prompt => Label, status => status(Status)}),
        observe(erlmcp_prompt_execution_duration_seconds, Duration, #{prompt => Label})).

%% @doc So many tokens of prompts went to a model:
%% `erlmcp_prompt_tokens_total{model}'.
-spec prompt_tokens(Model :: text(), non_neg_integer()) -> result().
prompt_tokens(Model, Tokens) ->
    ?NIF:count(erlmcp_prompt_tokens_total, Tokens, #{model => label(Model)}).

%% Internals

-spec open(term(), series(), series(), series(), series()) -> non_neg_integer().
open(Owner, Opened, Active, OwnerEnded, Duration) when is_pid(Owner) ->
    ?NIF:lifetime_open(Owner, Opened, Active, OwnerEnded, Duration);
open(_NoOwner, _Opened, _Active, _OwnerEnded, _Duration) ->
    0.

-spec close(term(), series()) -> boolean().
close(Number, Closed) when is_integer(Number), Number > 0, Number < 1 bsl 64 ->
    ?NIF:lifetime_close(Number, Closed);
close(_Number, _Closed) ->
    false.

-type series() :: erlmcp_metrics:series() | 0.

%% A handle; 0, which is none, where the application has made the name another
%% kind of metric. That is counted and logged.
-spec series(erlmcp_metrics:kind(), atom(), #{atom() => label()}) -> series().
series(Kind, Name, Labels) ->
    case ?NIF:bind(Kind, Name, Labels) of
        Series when is_integer(Series) -> Series;
        {error, _} -> 0
    end.

-spec closed_connections(#{atom() => label()}, label()) -> series().
closed_connections(Labels, Reason) ->
    series(counter, erlmcp_connections_closed_total, Labels#{reason => Reason}).

-spec closed_sessions(label()) -> series().
closed_sessions(Reason) ->
    series(counter, erlmcp_sessions_closed_total, #{reason => Reason}).

-spec subscription_events(label()) -> series().
subscription_events(Event) ->
    series(counter, erlmcp_subscription_events_total, #{event_type => Event}).

-spec message(text(), received | sent, non_neg_integer()) -> result().
message(Transport, Direction, Bytes) ->
    Labels = #{transport => label(Transport), direction => Direction},
    first_error(?NIF:count(erlmcp_messages_total, 1, Labels),
                ?NIF:count(erlmcp_transport_bytes_total, Bytes, Labels)).

-spec timed(fun((status(), duration()) -> result()), fun(() -> Result)) -> Result.
timed(Record, Fun) ->
    Begin = erlang:monotonic_time(),
    try Fun() of
        Result ->
            Status = case erlmcp_otel_request:failure(Result) of
                none -> success;
                {failed, _Type, _Message} -> error
            end,
            _ = Record(Status, since(Begin)),
            Result
    catch
        Class:Reason:Stack ->
            _ = Record(error, since(Begin)),
            erlang:raise(Class, Reason, Stack)
    end.

-spec observe(atom(), duration() | term(), #{atom() => label()}) -> result().
observe(Name, Duration, Labels) ->
    ?NIF:observe(Name, in_seconds(Duration), Labels).

%% What is no duration is left to be refused.
-spec in_seconds(duration() | term()) -> term().
in_seconds({Value, Unit}) when is_float(Value); is_integer(Value), abs(Value) < 1 bsl 63 ->
    case Unit of
        second -> Value;
        millisecond -> Value / 1000;
        microsecond -> Value / 1000000;
        nanosecond -> Value / 1000000000;
        native -> Value / erlang:convert_time_unit(1, second, native);
        _ -> no_unit
    end;
in_seconds(_Other) ->
    no_duration.

-spec status(term()) -> status().
status(success) -> success;
status(ok) -> success;
status(_Other) -> error.

-spec label(term()) -> label().
label(Term) ->
    erlmcp_instrumentation_label:value_or_unknown(Term).

-spec first_error(result(), result()) -> result().
first_error(ok, Second) -> Second;
first_error(First, _Second) -> First.
