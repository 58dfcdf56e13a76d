%% @doc The metrics of the simulated server: declared, and bound where it is hot.
%%
%% Names, types and labels are those of the erlmcp catalogue. Declaring first is
%% not needed (the first record registers a name), but only a declaration gives
%% a metric its description, its unit and buckets that suit it.
-module(erlmcp_demo_metrics).

-export([declare/0]).
-export([payload/2]).

%% From 50 us (a ping that never leaves the node) to seconds (a slow tool).
-define(SECONDS, [0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
                  0.1, 0.25, 0.5, 1, 2.5]).
-define(SESSION_SECONDS, [0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800]).
-define(BYTES, [64, 256, 1024, 4096, 16384, 65536]).

%% @doc Declares every metric, then binds the series of each request. Before the
%% library is started, because it declares those of requests with the default
%% buckets.
%%
%% Raises when the library refuses one: a metric declared twice with different
%% types or buckets is a mistake in the program.
-spec declare() -> ok.
declare() ->
    lists:foreach(fun declare_one/1, catalogue()),
    persistent_term:put(?MODULE, bind_series()).

%% @doc The bytes of a request and of its answer.
-spec payload(RequestBytes :: non_neg_integer(), ResponseBytes :: non_neg_integer()) -> ok.
payload(RequestBytes, ResponseBytes) ->
    #{request_size := In, response_size := Out} = persistent_term:get(?MODULE),
    _ = erlmcp_metrics:observe(In, RequestBytes),
    _ = erlmcp_metrics:observe(Out, ResponseBytes),
    ok.

%% Binding a series also exposes it, at 0: a query for the rate of errors then
%% sees the first error, which it would miss were the series to begin with it.
%% What erlmcp_otel_instrumentation:trace_request/2 records needs no series here.
-spec bind_series() -> #{atom() => pos_integer()}.
bind_series() ->
    _ = [bind_request(Method, Component, Status)
         || {Method, Component} <- erlmcp_demo_methods:all(), Status <- [success, error]],
    #{request_size => bind(histogram, erlmcp_request_size_bytes, #{}),
      response_size => bind(histogram, erlmcp_response_size_bytes, #{})}.

-spec bind_request(binary(), atom(), erlmcp_demo_tally:status()) -> pos_integer().
bind_request(Method, Component, Status) ->
    Labels = #{method => Method, component => Component, status => Status},
    _ = bind(counter, erlmcp_requests_total, Labels),
    bind(histogram, erlmcp_request_duration_seconds, Labels).

-spec bind(atom(), atom(), map()) -> pos_integer().
bind(Kind, Name, Labels) ->
    case erlmcp_metrics:bind(Kind, Name, Labels) of
        Series when is_integer(Series) -> Series;
        {error, Reason} -> error({cannot_bind, Name, Reason})
    end.

-spec declare_one({atom(), atom(), map()}) -> ok.
declare_one({Kind, Name, Options}) ->
    case erlmcp_metrics:declare(Kind, Name, Options) of
        ok -> ok;
        {error, Reason} -> error({cannot_declare, Name, Reason})
    end.

-spec catalogue() -> [{Kind :: atom(), Name :: atom(), Options :: map()}].
catalogue() ->
    requests() ++ transport() ++ sessions() ++ registry() ++ security() ++ business().

-spec requests() -> [{atom(), atom(), map()}].
requests() ->
    Labels = [method, status, component],
    [counter(erlmcp_requests_total, <<"Requests answered.">>, Labels),
     seconds(erlmcp_request_duration_seconds,
             <<"Time from a request's arrival to its answer.">>, Labels, ?SECONDS),
     bytes(erlmcp_request_size_bytes, <<"Size of requests as received.">>),
     bytes(erlmcp_response_size_bytes, <<"Size of answers as sent.">>),
     counter(erlmcp_errors_total, <<"Requests answered with an error, by what went wrong.">>,
             [error_type, component])].

-spec transport() -> [{atom(), atom(), map()}].
transport() ->
    [gauge(erlmcp_connections_active, <<"Open connections.">>, [transport]),
     counter(erlmcp_connections_total, <<"Connections opened.">>, [transport]),
     counter(erlmcp_connections_closed_total, <<"Connections closed, by why.">>,
             [transport, reason]),
     counter(erlmcp_connection_errors_total, <<"Connections refused or broken.">>,
             [transport, error_type]),
     {counter, erlmcp_transport_bytes_total,
      #{description => <<"Bytes carried.">>, unit => <<"bytes">>,
        labels => [transport, direction]}},
     counter(erlmcp_messages_total, <<"JSON-RPC messages carried.">>, [transport, direction]),
     seconds(erlmcp_transport_operation_duration_seconds,
             <<"Time to decode (receive) and to encode (send) a message.">>,
             [transport, operation], ?SECONDS)].

-spec sessions() -> [{atom(), atom(), map()}].
sessions() ->
    [gauge(erlmcp_sessions_active, <<"Open sessions.">>, [session_type]),
     counter(erlmcp_sessions_created_total, <<"Sessions opened.">>, []),
     counter(erlmcp_sessions_closed_total, <<"Sessions closed, by why.">>, [reason]),
     counter(erlmcp_sessions_expired_total, <<"Sessions closed for want of requests.">>, []),
     seconds(erlmcp_session_duration_seconds, <<"Time from a session's start to its end.">>,
             [session_type], ?SESSION_SECONDS),
     gauge(erlmcp_session_pool_size, <<"Session processes.">>, [pool]),
     gauge(erlmcp_session_queue_depth, <<"Messages that wait in the sessions' mailboxes.">>,
           [queue])].

-spec registry() -> [{atom(), atom(), map()}].
registry() ->
    [counter(erlmcp_resources_registered_total, <<"Items added to the registry.">>,
             [resource_type]),
     counter(erlmcp_resources_unregistered_total, <<"Items removed from the registry.">>, []),
     counter(erlmcp_resources_accessed_total, <<"Uses of the registry's items.">>,
             [resource_type, access_type]),
     counter(erlmcp_registry_operations_total, <<"Operations on the registry.">>,
             [operation, status]),
     seconds(erlmcp_registry_operation_duration_seconds, <<"Time of operations on the registry.">>,
             [operation], ?SECONDS),
     gauge(erlmcp_subscriptions_active, <<"Subscriptions held.">>, [subscription_type]),
     counter(erlmcp_subscription_events_total, <<"Changes of subscriptions.">>, [event_type]),
     counter(erlmcp_registry_cache_requests_total,
             <<"Reads of resources, by whether the cache had them.">>, [result])].

-spec security() -> [{atom(), atom(), map()}].
security() ->
    [counter(erlmcp_auth_attempts_total, <<"Attempts to authenticate.">>, [result]),
     counter(erlmcp_auth_failures_total, <<"Attempts to authenticate that failed.">>, [reason]),
     counter(erlmcp_authorization_checks_total, <<"Checks of a caller's rights.">>, [result]),
     counter(erlmcp_unauthorized_attempts_total, <<"Requests that the caller had no right to.">>,
             [component]),
     counter(erlmcp_security_events_total, <<"Events that a security team wants to see.">>,
             [event_type, severity])].

-spec business() -> [{atom(), atom(), map()}].
business() ->
    [gauge(erlmcp_api_quota_used, <<"Units used in the last full window of a quota.">>,
           [quota_type]),
     gauge(erlmcp_api_quota_limit, <<"Units that a quota allows in a window.">>, [quota_type]),
     counter(erlmcp_tool_executions_total, <<"Runs of tools.">>, [tool, status]),
     seconds(erlmcp_tool_execution_duration_seconds, <<"Time of a tool's run.">>, [tool],
             ?SECONDS),
     counter(erlmcp_prompt_executions_total, <<"Prompts rendered.">>, [prompt, status]),
     seconds(erlmcp_prompt_execution_duration_seconds, <<"Time to render a prompt.">>, [prompt],
             ?SECONDS),
     counter(erlmcp_prompt_tokens_total, <<"Tokens of the prompts rendered.">>, [model])].

-spec counter(atom(), binary(), [atom()]) -> {atom(), atom(), map()}.
counter(Name, Description, Labels) ->
    {counter, Name, #{description => Description, labels => Labels}}.

-spec gauge(atom(), binary(), [atom()]) -> {atom(), atom(), map()}.
gauge(Name, Description, Labels) ->
    {gauge, Name, #{description => Description, labels => Labels}}.

-spec seconds(atom(), binary(), [atom()], [number()]) -> {atom(), atom(), map()}.
seconds(Name, Description, Labels, Buckets) ->
    {histogram, Name, #{description => Description, unit => <<"seconds">>,
                        labels => Labels, buckets => Buckets}}.

-spec bytes(atom(), binary()) -> {atom(), atom(), map()}.
bytes(Name, Description) ->
    {histogram, Name, #{description => Description, unit => <<"bytes">>,
                        labels => [], buckets => ?BYTES}}.
