%% @doc The table of the settings of tracing and of export by OTLP.
%%
%% Part of {@link erlmcp_instrumentation_config:spec/0}. What OpenTelemetry has a
%% variable for is set by that variable; the rest by one of our own.
-module(erlmcp_instrumentation_otel_settings).

-export([spec/0]).
-export([signals/0]).
-export([signal_key/2]).

-import(erlmcp_instrumentation_config, [entry/5, entry/6]).

-export_type([signal/0]).

-type signal() :: traces | metrics | logs.

-define(MAX_MILLISECONDS, 86400000).
-define(MAX_COUNT, 16777216).
-define(MAX_BYTES, 1099511627776).

%% @doc The signals, in the order of the table.
-spec signals() -> [signal()].
signals() ->
    [traces, metrics, logs].

%% @doc The key of a setting of one signal: `otlp_traces_endpoint'.
-spec signal_key(signal(), atom()) -> erlmcp_instrumentation_config:key().
signal_key(Signal, General) ->
    "otlp_" ++ Rest = atom_to_list(General),
    list_to_atom("otlp_" ++ atom_to_list(Signal) ++ "_" ++ Rest).

%% @doc The entries of the table.
-spec spec() -> [erlmcp_instrumentation_config:entry()].
spec() ->
    general() ++ exporters() ++ otlp() ++ per_signal() ++ sampling() ++ limits()
        ++ batches() ++ storage().

-spec general() -> [erlmcp_instrumentation_config:entry()].
general() ->
    [entry(sdk_disabled, "OTEL_SDK_DISABLED", boolean, false, none,
           <<"Whether tracing and export are off: nothing is sampled and nothing is sent. "
             "Propagation, recording of metrics and /metrics go on.">>),
     entry(service_name, "OTEL_SERVICE_NAME", {optional, off, text}, off, none,
           <<"The resource attribute service.name; wins over one in resource_attributes. "
             "Off takes the name of the release, and unknown_service:erl without one.">>),
     entry(resource_attributes, "OTEL_RESOURCE_ATTRIBUTES", attributes, [], none,
           <<"Attributes of all that is sent, beside those that are found out.">>),
     entry(cluster, {optional, off, text}, off, none,
           <<"The resource attribute erlmcp.cluster.">>),
     entry(environment, {optional, off, text}, off, none,
           <<"The resource attributes deployment.environment.name and erlmcp.environment.">>),
     entry(region, {optional, off, text}, off, none,
           <<"The resource attribute erlmcp.region.">>),
     entry(propagators, "OTEL_PROPAGATORS",
           {choices, [tracecontext, baggage, b3, b3multi]}, [tracecontext, baggage], none,
           <<"How contexts are read from headers and written into headers. All are written; of "
             "those read the first that is valid counts.">>)].

-spec exporters() -> [erlmcp_instrumentation_config:entry()].
exporters() ->
    [entry(traces_exporter, "OTEL_TRACES_EXPORTER", choice([auto, otlp, file, none]), auto, none,
           <<"Where spans go. Auto sends them by OTLP if an endpoint is set and keeps them in "
             "the ring otherwise; file writes them to trace_file only; none keeps and sends "
             "nothing.">>),
     entry(metrics_exporter, "OTEL_METRICS_EXPORTER", choice([auto, otlp, prometheus, none]),
           auto, none,
           <<"Whether metrics are pushed. Auto pushes them by OTLP if an endpoint is set; "
             "prometheus and none leave it at being scraped, which http_enabled decides.">>),
     entry(logs_exporter, "OTEL_LOGS_EXPORTER", choice([auto, otlp, none]), auto, none,
           <<"Where log records go. Auto sends them by OTLP if an endpoint is set.">>)].

-spec otlp() -> [erlmcp_instrumentation_config:entry()].
otlp() ->
    [entry(otlp_endpoint, "OTEL_EXPORTER_OTLP_ENDPOINT", {optional, off, endpoint}, off, none,
           <<"The receiver of all signals. Over HTTP /v1/traces, /v1/metrics or /v1/logs is "
             "added to it; for grpc the scheme may be left out. Where a signal's exporter is "
             "otlp and no endpoint is set, it is http://localhost:4318, for grpc "
             "http://localhost:4317.">>),
     entry(otlp_protocol, "OTEL_EXPORTER_OTLP_PROTOCOL", protocol(), http_protobuf, none,
           <<"How it is sent: http/protobuf (in the application environment also the atom "
             "http_protobuf) or grpc.">>),
     entry(otlp_headers, "OTEL_EXPORTER_OTLP_HEADERS", headers, [], none,
           <<"Headers of every request, such as authorization. Their values are never "
             "logged.">>),
     entry(otlp_timeout_ms, "OTEL_EXPORTER_OTLP_TIMEOUT", time_limit(), 10000, milliseconds,
           <<"How long one request may take; 0 means a day.">>),
     entry(otlp_compression, "OTEL_EXPORTER_OTLP_COMPRESSION", choice([none, gzip]), none, none,
           <<"Whether requests are compressed.">>),
     entry(otlp_insecure, "OTEL_EXPORTER_OTLP_INSECURE", boolean, false, none,
           <<"Whether a grpc endpoint without a scheme is spoken to without TLS.">>),
     entry(otlp_certificate, "OTEL_EXPORTER_OTLP_CERTIFICATE", {optional, off, path}, off, none,
           <<"A PEM file with the certificates that the receiver's is checked against; off "
             "takes the system's.">>),
     entry(otlp_client_key, "OTEL_EXPORTER_OTLP_CLIENT_KEY", {optional, off, path}, off, none,
           <<"A PEM file with the key for mutual TLS.">>),
     entry(otlp_client_certificate, "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
           {optional, off, path}, off, none,
           <<"A PEM file with the certificates for mutual TLS.">>)].

%% Each setting of OTLP once more for each signal.
-spec per_signal() -> [erlmcp_instrumentation_config:entry()].
per_signal() ->
    [begin
         #{key := General, variable := "OTEL_EXPORTER_OTLP_" ++ Rest, type := Type,
           unit := Unit} = Entry,
         Name = atom_to_list(Signal),
         Variable = "OTEL_EXPORTER_OTLP_" ++ string:uppercase(Name) ++ "_" ++ Rest,
         entry(signal_key(Signal, General), Variable, inherited(Type), inherit, Unit,
               signal_doc(Signal, General))
     end
     || Signal <- signals(), #{} = Entry <- otlp()].

-spec inherited(erlmcp_instrumentation_setting_type:type()) ->
    erlmcp_instrumentation_setting_type:type().
inherited(Type) -> {optional, inherit, Type}.

-spec signal_doc(signal(), atom()) -> binary().
signal_doc(Signal, otlp_endpoint) ->
    iolist_to_binary(
        io_lib:format("As otlp_endpoint, for ~ts only; taken as it is, nothing is added to it. "
                      "Inherit takes that of otlp_endpoint, off sends no ~ts.",
                      [Signal, Signal]));
signal_doc(Signal, General) ->
    iolist_to_binary(
        io_lib:format("As ~ts, for ~ts only. Inherit takes that of ~ts.",
                      [General, Signal, General])).

-spec sampling() -> [erlmcp_instrumentation_config:entry()].
sampling() ->
    Samplers = [always_on, always_off, traceidratio, rate_limited, parentbased_always_on,
                parentbased_always_off, parentbased_traceidratio, parentbased_rate_limited],
    [entry(traces_sampler, "OTEL_TRACES_SAMPLER", choice(Samplers), parentbased_always_on, none,
           <<"Which spans are recorded. With parentbased_ before its name a sampler is asked "
             "only where there is no parent.">>),
     entry(traces_sampler_arg, "OTEL_TRACES_SAMPLER_ARG", {optional, off, {number, 0, 1000000}},
           off, none,
           <<"For traceidratio the part of all traces, from 0 to 1 (off means 1); for "
             "rate_limited the spans a second, at least 0.001. Ignored by other samplers.">>),
     entry(tail_errors, boolean, false, none,
           <<"Whether spans that the sampler refused are kept when they end with an error.">>),
     entry(tail_slow_ms, {integer_or_off, 1, ?MAX_MILLISECONDS}, off, milliseconds,
           <<"Spans that the sampler refused are kept when they took longer than this.">>),
     entry(tail_max_bytes, {integer, 0, ?MAX_BYTES}, 16777216, bytes,
           <<"Memory for open spans that the sampler refused and that may still be kept by "
             "tail_errors or tail_slow_ms.">>)].

-spec limits() -> [erlmcp_instrumentation_config:entry()].
limits() ->
    Count = {integer, 0, ?MAX_COUNT},
    [entry(attribute_count_limit, "OTEL_ATTRIBUTE_COUNT_LIMIT", Count, 128, attributes,
           <<"Attributes of a span, an event or a link, where its own setting says inherit. "
             "Further ones are dropped and counted in the span.">>),
     entry(attribute_value_length_limit, "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", Count, 8192,
           characters,
           <<"Length of a text in characters, or of bytes, as an attribute's value; what is "
             "longer is cut. OpenTelemetry's own default is no limit.">>),
     entry(span_attribute_count_limit, "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", inherited(Count),
           inherit, attributes,
           <<"Attributes of a span. Inherit takes attribute_count_limit.">>),
     entry(span_attribute_value_length_limit, "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT",
           inherited(Count), inherit, characters,
           <<"Length of the value of a span's attribute. Inherit takes "
             "attribute_value_length_limit.">>),
     entry(span_event_count_limit, "OTEL_SPAN_EVENT_COUNT_LIMIT", Count, 128, events,
           <<"Events of a span; further ones are dropped and counted in the span.">>),
     entry(span_link_count_limit, "OTEL_SPAN_LINK_COUNT_LIMIT", Count, 128, links,
           <<"Links of a span; further ones are dropped and counted in the span.">>),
     entry(event_attribute_count_limit, "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", inherited(Count),
           inherit, attributes,
           <<"Attributes of an event. Inherit takes attribute_count_limit.">>),
     entry(link_attribute_count_limit, "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", inherited(Count),
           inherit, attributes,
           <<"Attributes of a link. Inherit takes attribute_count_limit.">>),
     entry(max_open_spans, {integer, 1, ?MAX_COUNT}, 100000, spans,
           <<"Spans that may be open on the node at once; further ones are not recorded and are "
             "counted.">>),
     entry(span_max_bytes, {integer, 1024, 1048576}, 65536, bytes,
           <<"Encoded length of a span; attributes, events and links that would make it longer "
             "are dropped and counted in the span.">>)].

-spec batches() -> [erlmcp_instrumentation_config:entry()].
batches() ->
    [entry(bsp_schedule_delay_ms, "OTEL_BSP_SCHEDULE_DELAY", {integer, 1, ?MAX_MILLISECONDS},
           1000, milliseconds,
           <<"How long an ended span waits at most before it is sent. OpenTelemetry's own "
             "default is 5000; a second more or less costs little here and shows an error "
             "sooner.">>),
     entry(bsp_max_queue_size, "OTEL_BSP_MAX_QUEUE_SIZE", {integer, 1, ?MAX_COUNT}, 8192, spans,
           <<"Ended spans that are held, those being sent included; further ones are dropped "
             "and counted. OpenTelemetry's own default is 2048, which a busy node fills within "
             "one delay; memory is bounded by queue_max_bytes anyway.">>),
     entry(bsp_max_export_batch_size, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
           {integer, 1, ?MAX_COUNT}, 512, spans,
           <<"Spans of one request; more than bsp_max_queue_size counts as that.">>),
     entry(bsp_export_timeout_ms, "OTEL_BSP_EXPORT_TIMEOUT", time_limit(), 300000, milliseconds,
           <<"How long a batch of spans is tried to be sent, all attempts together; 0 means a "
             "day. OpenTelemetry's own default is 30000, which loses spans to a receiver that "
             "is restarted slowly.">>),
     entry(blrp_schedule_delay_ms, "OTEL_BLRP_SCHEDULE_DELAY", {integer, 1, ?MAX_MILLISECONDS},
           1000, milliseconds,
           <<"How long a log record waits at most before it is sent.">>),
     entry(blrp_max_queue_size, "OTEL_BLRP_MAX_QUEUE_SIZE", {integer, 1, ?MAX_COUNT}, 8192,
           records,
           <<"Log records that are held, those being sent included; further ones are dropped "
             "and counted. OpenTelemetry's own default is 2048.">>),
     entry(blrp_max_export_batch_size, "OTEL_BLRP_MAX_EXPORT_BATCH_SIZE",
           {integer, 1, ?MAX_COUNT}, 512, records,
           <<"Log records of one request; more than blrp_max_queue_size counts as that.">>),
     entry(blrp_export_timeout_ms, "OTEL_BLRP_EXPORT_TIMEOUT", time_limit(), 300000, milliseconds,
           <<"How long a batch of log records is tried to be sent, all attempts together; 0 "
             "means a day.">>),
     entry(metric_export_interval_ms, "OTEL_METRIC_EXPORT_INTERVAL",
           {integer, 100, ?MAX_MILLISECONDS}, 60000, milliseconds,
           <<"How often metrics are pushed.">>),
     entry(metric_export_timeout_ms, "OTEL_METRIC_EXPORT_TIMEOUT", time_limit(), 30000,
           milliseconds,
           <<"How long a push of metrics is tried, all attempts together; 0 means a day.">>),
     entry(metrics_temporality, "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
           choice([cumulative, delta, lowmemory]), cumulative, none,
           <<"Whether pushed counts are those since the start or those since the last push. "
             "Lowmemory pushes counters and histograms as delta, as delta does; up-down "
             "counters are always cumulative.">>)].

-spec storage() -> [erlmcp_instrumentation_config:entry()].
storage() ->
    [entry(queue_max_bytes, {integer, 65536, ?MAX_BYTES}, 33554432, bytes,
           <<"Encoded bytes of ended spans that are held, those being sent included; as many "
             "for log records.">>),
     entry(spool_dir, {optional, off, path}, off, none,
           <<"A folder for what could not be sent; it is sent later, also after a restart of the "
             "node. Off drops it and counts it.">>),
     entry(spool_max_bytes, {integer, 1048576, ?MAX_BYTES}, 268435456, bytes,
           <<"Bytes that the spool may take on the disk; what is beyond is dropped and "
             "counted.">>),
     entry(trace_ring_bytes, {integer, 0, ?MAX_BYTES}, 4194304, bytes,
           <<"Memory for the recent spans that /debug/traces shows.">>),
     entry(debug_traces, choice([off, loopback, open]), loopback, none,
           <<"Who may see /debug/traces: nobody, those on this machine, or everybody who reaches "
             "the HTTP server. Spans may hold what users sent.">>),
     entry(trace_file, {optional, off, path}, off, none,
           <<"A file to which spans are appended as lines of OTLP JSON, whatever else is done "
             "with them.">>),
     entry(trace_file_max_bytes, {integer, 65536, ?MAX_BYTES}, 67108864, bytes,
           <<"Bytes after which a new trace_file is begun; the four before it are kept beside "
             "it.">>)].

%% Internals

-spec choice([atom()]) -> erlmcp_instrumentation_setting_type:type().
choice(Words) ->
    {choice, [{Word, atom_to_list(Word)} || Word <- Words]}.

-spec protocol() -> erlmcp_instrumentation_setting_type:type().
protocol() ->
    {choice, [{http_protobuf, "http/protobuf"}, {grpc, "grpc"}]}.

-spec time_limit() -> erlmcp_instrumentation_setting_type:type().
time_limit() ->
    {integer, 0, ?MAX_MILLISECONDS}.
