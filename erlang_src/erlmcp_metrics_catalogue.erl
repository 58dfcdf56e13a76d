%% @doc The metrics of an MCP server: the one list of what there is.
%%
%% Each metric has a name, a kind, a unit, labels, a description and, where the
%% default does not suit, buckets. The application declares them when it starts;
%% docs/metric-catalogue.md is made from them; {@link erlmcp_mcp_metrics} records
%% them. Nobody else spells their names.
%%
%% A metric that has no series yet is not shown by a scrape, not even by its
%% `# TYPE': Prometheus takes a family without samples for nothing, and OpenMetrics
%% parsers differ on it. Figures that can be computed from these (ratios of errors,
%% quantiles, Apdex) are not here: they are recording rules.
-module(erlmcp_metrics_catalogue).

-export([all/0]).
-export([sections/0]).
-export([find/1]).
-export([declare/0]).
-export([declare/1]).

-export_type([metric/0]).
-export_type([section/0]).
-export_type([source/0]).

-type section() ::
    requests | transport | sessions | registry | security | business | recording | endpoint
    | tracing | health | logs | build.
-type source() ::
    %% Recorded by calls of erlmcp_mcp_metrics and erlmcp_metrics.
    application
    %% Recorded by trace_request/2.
    | trace_request
    %% Recorded when the application starts.
    | start
    %% Recorded by logger's filter, formatter and handlers.
    | logger
    %% Recorded when health checks are run.
    | health_check
    %% Told by the library at each scrape.
    | library.
-type metric() :: #{
    name := atom(),
    kind := erlmcp_metrics:kind(),
    unit := binary() | none,
    labels := [atom()],
    help := binary(),
    buckets := [number()] | default | none,
    section := section(),
    source := source()
}.

-define(NIF, erlmcp_instrumentation_nif).
%% From a ping to a file: each four times the one before.
-define(BYTES, [64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216]).
%% The default ones and 0.4: Apdex with 100 ms asks for four times that as well.
-define(REQUEST_SECONDS, [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.4, 0.5, 0.75,
                          1, 2.5, 5, 7.5, 10]).
%% Sessions last from a call to half an hour.
-define(SESSION_SECONDS, [1, 5, 10, 30, 60, 300, 600, 1800]).

%% @doc Every metric, in the order of the sections.
-spec all() -> [metric()].
all() ->
    requests() ++ transport() ++ sessions() ++ registry() ++ security() ++ business()
        ++ recording() ++ endpoint() ++ tracing() ++ health() ++ logs() ++ build().

%% @doc The sections with their titles.
-spec sections() -> [{section(), Title :: binary()}].
sections() ->
    [{requests, <<"Requests">>},
     {transport, <<"Transport">>},
     {sessions, <<"Sessions">>},
     {registry, <<"Registry">>},
     {security, <<"Security">>},
     {business, <<"Business">>},
     {recording, <<"The library: recording">>},
     {endpoint, <<"The library: scrapes and the HTTP endpoint">>},
     {tracing, <<"The library: spans and export">>},
     {health, <<"The library: health checks">>},
     {logs, <<"The library: logs">>},
     {build, <<"Build">>}].

%% @doc The metric of a name.
-spec find(atom()) -> {ok, metric()} | error.
find(Name) ->
    case [Metric || #{name := Known} = Metric <- all(), Known =:= Name] of
        [Metric] -> {ok, Metric};
        [] -> error
    end.

%% @private Declares what is recorded by calls. An application that has declared
%% one of them before keeps what it has said: its buckets, or even its kind.
-spec declare() -> ok.
declare() ->
    lists:foreach(fun declare_metric/1, [Metric || #{source := Source} = Metric <- all(),
                                                   Source =/= library]).

%% @private Declares those of a section.
-spec declare(section()) -> ok.
declare(Section) ->
    lists:foreach(fun declare_metric/1, [Metric || #{section := Of, source := Source} = Metric <- all(),
                                                   Of =:= Section, Source =/= library]).

%% Internals

-spec declare_metric(metric()) -> ok | erlmcp_metrics:error().
declare_metric(#{name := Name, kind := Kind, unit := Unit, help := Help, buckets := Buckets,
          source := Source}) ->
    ?NIF:declare(Kind, Name, #{
        library => Source =/= application,
        description => Help,
        unit => case Unit of none -> nil; _ -> Unit end,
        buckets => case Buckets of
            [_ | _] -> [float(Bound) || Bound <- Buckets];
            _ -> nil
        end,
        max_buckets => nil,
        limit => nil
    }).

-spec requests() -> [metric()].
requests() ->
    Labels = [method, status, component],
    [of_source(trace_request, Metric) || Metric <- [
        counter(requests, erlmcp_requests_total, Labels,
                <<"Requests that have ended; the status is success or error.">>),
        with_buckets(?REQUEST_SECONDS,
                     seconds(requests, erlmcp_request_duration_seconds, Labels,
                             <<"How long requests took.">>)),
        counter(requests, erlmcp_errors_total, [error_type, component],
                <<"Requests that have failed.">>),
        metric(requests, up_down_counter, erlmcp_requests_in_flight, [],
               <<"Requests that are being handled.">>)
    ]] ++ [
        bytes(requests, erlmcp_request_size_bytes, [], <<"Size of requests as received.">>),
        bytes(requests, erlmcp_response_size_bytes, [], <<"Size of responses as sent.">>),
        seconds(requests, erlmcp_server_operation_duration_seconds, [operation],
                <<"How long operations of servers took, as record_server_operation/4 is told.">>)
    ].

-spec transport() -> [metric()].
transport() ->
    [gauge(transport, erlmcp_connections_active, [transport], <<"Connections that are open.">>),
     counter(transport, erlmcp_connections_total, [transport], <<"Connections opened.">>),
     counter(transport, erlmcp_connections_closed_total, [transport, reason],
             <<"Connections closed, by reason.">>),
     counter(transport, erlmcp_connection_errors_total, [transport, error_type],
             <<"Connections that could not be opened, or broke.">>),
     in_bytes(counter(transport, erlmcp_transport_bytes_total, [transport, direction],
                      <<"Bytes received and sent.">>)),
     counter(transport, erlmcp_messages_total, [transport, direction],
             <<"JSON-RPC messages received and sent.">>),
     seconds(transport, erlmcp_transport_operation_duration_seconds, [transport, operation],
             <<"How long operations of transports took.">>)].

-spec sessions() -> [metric()].
sessions() ->
    [gauge(sessions, erlmcp_sessions_active, [session_type], <<"Sessions that are open.">>),
     counter(sessions, erlmcp_sessions_created_total, [], <<"Sessions created.">>),
     counter(sessions, erlmcp_sessions_closed_total, [reason],
             <<"Sessions closed, by reason; those that have expired included.">>),
     counter(sessions, erlmcp_sessions_expired_total, [],
             <<"Sessions closed because they were not used.">>),
     with_buckets(?SESSION_SECONDS,
                  seconds(sessions, erlmcp_session_duration_seconds, [session_type],
                          <<"How long sessions were open.">>)),
     gauge(sessions, erlmcp_session_pool_size, [pool], <<"Sessions that a pool holds.">>),
     gauge(sessions, erlmcp_session_queue_depth, [queue],
           <<"Messages that wait in a queue of sessions.">>)].

-spec registry() -> [metric()].
registry() ->
    [counter(registry, erlmcp_resources_registered_total, [resource_type],
             <<"Resources, tools and prompts registered.">>),
     counter(registry, erlmcp_resources_unregistered_total, [],
             <<"Resources, tools and prompts unregistered.">>),
     counter(registry, erlmcp_resources_accessed_total, [resource_type, access_type],
             <<"Uses of what is registered.">>),
     counter(registry, erlmcp_registry_operations_total, [operation, status],
             <<"Operations of the registry; the status is success or error.">>),
     seconds(registry, erlmcp_registry_operation_duration_seconds, [operation],
             <<"How long operations of the registry took.">>),
     gauge(registry, erlmcp_subscriptions_active, [subscription_type],
           <<"Subscriptions that are open.">>),
     counter(registry, erlmcp_subscription_events_total, [event_type],
             <<"What happened to subscriptions.">>),
     counter(registry, erlmcp_registry_cache_requests_total, [result],
             <<"Reads that the cache was asked for; the result is hit or miss.">>)].

-spec security() -> [metric()].
security() ->
    [counter(security, erlmcp_auth_attempts_total, [result],
             <<"Attempts to authenticate; the result is success or failure.">>),
     counter(security, erlmcp_auth_failures_total, [reason, component],
             <<"Attempts to authenticate that failed, by reason.">>),
     counter(security, erlmcp_authorization_checks_total, [result],
             <<"Checks of what a caller may do; the result is allowed or denied.">>),
     counter(security, erlmcp_unauthorized_attempts_total, [component],
             <<"Requests for what the caller may not do.">>),
     counter(security, erlmcp_security_events_total, [event_type, severity],
             <<"Events that somebody in charge of security wants to see.">>)].

-spec business() -> [metric()].
business() ->
    [gauge(business, erlmcp_api_quota_used, [quota_type], <<"What is used of a quota.">>),
     gauge(business, erlmcp_api_quota_limit, [quota_type], <<"What a quota allows.">>),
     counter(business, erlmcp_tool_executions_total, [tool, status],
             <<"Executions of tools; the status is success or error.">>),
     seconds(business, erlmcp_tool_execution_duration_seconds, [tool],
             <<"How long tools took.">>),
     counter(business, erlmcp_prompt_executions_total, [prompt, status],
             <<"Executions of prompts; the status is success or error.">>),
     seconds(business, erlmcp_prompt_execution_duration_seconds, [prompt],
             <<"How long prompts took.">>),
     counter(business, erlmcp_prompt_tokens_total, [model], <<"Tokens of prompts.">>)].

%% What the native library tells at each scrape: compared with one by the tests.

-spec recording() -> [metric()].
recording() ->
    [of_source(library, Metric) || Metric <- [
        gauge(recording, erlmcp_metrics_series, [], <<"Series held, overflow series not counted.">>),
        gauge(recording, erlmcp_metrics_series_limit, [], <<"Most series that the node may hold.">>),
        gauge(recording, erlmcp_metrics_families, [], <<"Metrics registered.">>),
        in_bytes(gauge(recording, erlmcp_metrics_memory_bytes, [],
                       <<"Memory held for series, cells, exemplars, label texts and look-up tables.">>)),
        gauge(recording, erlmcp_metrics_recording_threads, [],
              <<"Threads that have recorded and hold cells.">>),
        gauge(recording, erlmcp_metrics_exemplars, [], <<"Exemplars held.">>),
        counter(recording, erlmcp_metrics_exemplars_refused_total, [],
                <<"Exemplars that were not kept because as many as may be held were.">>),
        counter(recording, erlmcp_metrics_overflowed_samples_total, [],
                <<"Recordings counted in an overflow series because a series limit was reached.">>),
        counter(recording, erlmcp_metrics_rejected_samples_total, [reason],
                <<"Recordings that were refused, by reason.">>)
    ]].

-spec endpoint() -> [metric()].
endpoint() ->
    [of_source(library, Metric) || Metric <- [
        counter(endpoint, erlmcp_scrapes_total, [format], <<"Scrapes, by exposition format.">>),
        seconds(endpoint, erlmcp_scrape_duration_seconds, [],
                <<"Time from a scrape's request until its response was ready.">>),
        in_bytes(gauge(endpoint, erlmcp_scrape_size_bytes, [format],
                       <<"Size of the last rendering of /metrics before compression, "
                         "by exposition format.">>)),
        counter(endpoint, erlmcp_http_requests_total, [path, code],
                <<"HTTP requests answered, by path and status code.">>),
        gauge(endpoint, erlmcp_http_connections, [], <<"Connections open to the HTTP server.">>),
        counter(endpoint, erlmcp_http_connections_rejected_total, [],
                <<"Connections refused because as many as may be open were.">>),
        counter(endpoint, erlmcp_http_connections_cut_total, [reason],
                <<"Connections that ended in the middle of a request or a response, by reason.">>),
        counter(endpoint, erlmcp_http_accept_errors_total, [],
                <<"Connections that could not be accepted, mostly for want of file descriptors.">>),
        in_seconds(gauge(endpoint, erlmcp_http_tls_certificate_expiry_timestamp_seconds, [],
                         <<"When the certificate of the HTTP server ends, in seconds since 1970.">>)),
        counter(endpoint, erlmcp_http_tls_handshake_failures_total, [reason],
                <<"TLS handshakes with the HTTP server that failed, by reason.">>),
        counter(endpoint, erlmcp_http_credential_reloads_total, [kind, result],
                <<"Changed files of certificates, tokens and passwords that were read again, by "
                  "kind and result.">>),
        counter(endpoint, erlmcp_http_authenticated_requests_total, [method],
                <<"Requests to the HTTP server by clients that showed who they are, by method.">>),
        gauge(endpoint, erlmcp_vm_metrics_stale, [],
              <<"Whether the Erlang VM gave no figures in time for this scrape: "
                "1 if those shown are older.">>),
        in_seconds(gauge(endpoint, erlmcp_vm_metrics_age_seconds, [],
                         <<"Time since the Erlang VM last gave its figures, "
                           "or since the start if it never did.">>)),
        counter(endpoint, erlmcp_vm_collector_failures_total, [collector],
                <<"Times that a collector of VM figures crashed, gave nonsense or took too long; "
                  "its families were then missing from the scrape.">>)
    ]].

-spec tracing() -> [metric()].
tracing() ->
    [of_source(library, Metric) || Metric <- [
        counter(tracing, erlmcp_otel_spans_recorded_total, [],
                <<"Spans that were started and recorded.">>),
        counter(tracing, erlmcp_otel_spans_ended_total, [], <<"Recorded spans that have ended.">>),
        gauge(tracing, erlmcp_otel_spans_open, [], <<"Recorded spans that are open.">>),
        counter(tracing, erlmcp_otel_spans_sampled_out_total, [],
                <<"Spans that the sampler or, at their end, the tail rule left out.">>),
        counter(tracing, erlmcp_otel_spans_dropped_total, [reason],
                <<"Spans that were dropped before the queue, by reason.">>),
        counter(tracing, erlmcp_otel_records_exported_total, [signal],
                <<"Records that an OTLP receiver has, by signal.">>),
        counter(tracing, erlmcp_otel_records_kept_total, [signal],
                <<"Records of a signal without OTLP receiver that were kept inside, by signal.">>),
        counter(tracing, erlmcp_otel_records_dropped_total, [signal, reason],
                <<"Records that were given up, by signal and reason.">>),
        gauge(tracing, erlmcp_otel_records_pending, [signal],
              <<"Records taken for export that are neither exported, spooled nor given up, "
                "by signal.">>),
        counter(tracing, erlmcp_otel_data_points_rejected_total, [],
                <<"Data points that OTLP receivers refused in requests that they took.">>),
        counter(tracing, erlmcp_otel_collections_skipped_total, [],
                <<"Times that metrics were not collected for OTLP because those of the last time "
                  "were still under way.">>),
        counter(tracing, erlmcp_otel_queue_accepted_total, [signal],
                <<"Records that found room in the queue, by signal.">>),
        gauge(tracing, erlmcp_otel_queue_records, [signal],
              <<"Records that take room in the queue, those being sent included, by signal.">>),
        gauge(tracing, erlmcp_otel_queue_capacity_records, [signal],
              <<"Most records that the queue holds, by signal.">>),
        in_bytes(gauge(tracing, erlmcp_otel_queue_bytes, [signal],
                       <<"Bytes of the records that take room in the queue, by signal.">>)),
        in_bytes(gauge(tracing, erlmcp_otel_queue_capacity_bytes, [signal],
                       <<"Most bytes of records that the queue holds, by signal.">>)),
        counter(tracing, erlmcp_otel_export_requests_total, [signal, outcome],
                <<"Requests to OTLP receivers, by signal and outcome.">>),
        counter(tracing, erlmcp_otel_export_retries_total, [signal],
                <<"Attempts after the first to send a request to an OTLP receiver, by signal.">>),
        gauge(tracing, erlmcp_otel_export_requests_in_flight, [signal],
              <<"Requests that wait for an OTLP receiver's answer, by signal.">>),
        in_bytes(counter(tracing, erlmcp_otel_exported_bytes_total, [signal],
                         <<"Bytes of requests that OTLP receivers took, before compression, "
                           "by signal.">>)),
        gauge(tracing, erlmcp_otel_spool_records, [signal],
              <<"Records on disk that wait for an OTLP receiver, by signal.">>),
        counter(tracing, erlmcp_otel_spool_recovered_records_total, [signal],
                <<"Records found on disk when the exporter started, by signal.">>),
        in_bytes(gauge(tracing, erlmcp_otel_spool_bytes, [],
                       <<"Bytes of requests on disk that wait for an OTLP receiver.">>)),
        in_bytes(gauge(tracing, erlmcp_otel_spool_capacity_bytes, [],
                       <<"Most bytes of requests that may be on disk.">>))
    ]].

-spec health() -> [metric()].
health() ->
    [of_source(health_check, Metric) || Metric <- [
        gauge(health, erlmcp_health_check_up, [check],
              <<"Whether a health check passed when it was last run: 1 or 0.">>),
        seconds(health, erlmcp_health_check_duration_seconds, [check],
                <<"How long health checks took.">>),
        counter(health, erlmcp_health_check_failures_total, [check, reason],
                <<"Runs of health checks that failed, by reason.">>),
        in_seconds(gauge(health, erlmcp_health_check_last_run_timestamp_seconds, [check],
                         <<"When a health check was last run, in seconds since 1970.">>))
    ]].

-spec logs() -> [metric()].
logs() ->
    [of_source(logger, Metric) || Metric <- [
        counter(logs, erlmcp_log_messages_total, [level],
                <<"Messages that logger's primary level and filters let through.">>),
        counter(logs, erlmcp_log_dropped_total, [reason],
                <<"Log lines that were not written to log_file.">>),
        counter(logs, erlmcp_log_failures_total, [component],
                <<"Log events that a component could not make sense of.">>)
    ]].

-spec build() -> [metric()].
build() ->
    [of_source(start, metric(build, info, erlmcp_build_info, [version, otp, nif],
                             <<"Versions of the library, of its native part and of "
                               "Erlang/OTP; the value is 1.">>))].

-spec counter(section(), atom(), [atom()], binary()) -> metric().
counter(Section, Name, Labels, Help) ->
    metric(Section, counter, Name, Labels, Help).

-spec gauge(section(), atom(), [atom()], binary()) -> metric().
gauge(Section, Name, Labels, Help) ->
    metric(Section, gauge, Name, Labels, Help).

-spec seconds(section(), atom(), [atom()], binary()) -> metric().
seconds(Section, Name, Labels, Help) ->
    with_buckets(default, in_seconds(metric(Section, histogram, Name, Labels, Help))).

-spec bytes(section(), atom(), [atom()], binary()) -> metric().
bytes(Section, Name, Labels, Help) ->
    with_buckets(?BYTES, in_bytes(metric(Section, histogram, Name, Labels, Help))).

-spec metric(section(), erlmcp_metrics:kind(), atom(), [atom()], binary()) -> metric().
metric(Section, Kind, Name, Labels, Help) ->
    #{name => Name, kind => Kind, unit => none, labels => Labels, help => Help,
      buckets => none, section => Section, source => application}.

-spec in_seconds(metric()) -> metric().
in_seconds(Metric) -> Metric#{unit := <<"seconds">>}.

-spec in_bytes(metric()) -> metric().
in_bytes(Metric) -> Metric#{unit := <<"bytes">>}.

-spec with_buckets([number()] | default, metric()) -> metric().
with_buckets(Buckets, Metric) -> Metric#{buckets := Buckets}.

-spec of_source(source(), metric()) -> metric().
of_source(Source, Metric) -> Metric#{source := Source}.
