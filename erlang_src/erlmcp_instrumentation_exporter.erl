%% @private Owns the native exporter: starts it, stops it, logs what it reports.
%%
%% Spans and log records wait in queues of the native library; the exporter takes
%% them from there on threads of its own. When this process ends, by whatever
%% means, the exporter ends, and the queues stay for the next one.
-module(erlmcp_instrumentation_exporter).

-behaviour(gen_server).

%% API
-export([configure/1]).
-export([start_link/1]).
-export([force_flush/1]).

%% gen_server callbacks
-export([init/1]).
-export([handle_call/3]).
-export([handle_cast/2]).
-export([handle_info/2]).
-export([terminate/2]).

%% Less than a supervisor gives a worker.
-define(STOP_MS, 4000).
-define(DAY_MS, 86400000).

-define(NIF, erlmcp_instrumentation_nif).

%% API

%% @doc Sets what is recorded: sampler, limits, queue, propagators.
-spec configure(erlmcp_instrumentation_config:config()) ->
    ok | {error, {Tag :: atom(), Text :: binary()}}.
configure(Config) ->
    case ?NIF:tracing_configure(tracing(Config)) of
        ok -> ?NIF:otel_propagators(erlmcp_instrumentation_otel_config:propagators(Config));
        {error, _} = Error -> Error
    end.

%% @doc Starts the exporter. What cannot be used, such as a certificate, is an
%% error `{shutdown, {cannot_export, Text}}'.
-spec start_link(erlmcp_instrumentation_config:config()) ->
    {ok, pid()} | ignore | {error, term()}.
start_link(Config) ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, Config, []).

%% @doc Exports what is queued and waits for it.
-spec force_flush(timeout()) -> ok | {error, timeout}.
force_flush(infinity) ->
    force_flush(?DAY_MS);
force_flush(Timeout) when is_integer(Timeout), Timeout >= 0 ->
    case ?NIF:exporter_flush(Timeout) of
        true -> ok;
        false -> {error, timeout}
    end.

%% gen_server callbacks

%% @private
-spec init(erlmcp_instrumentation_config:config()) ->
    {ok, []} | {stop, {shutdown, {atom(), binary()}}}.
init(Config) ->
    process_flag(trap_exit, true),
    case ?NIF:exporter_start(self(), exporter(Config)) of
        ok ->
            {ok, []};
        {error, Reason} ->
            %% A shutdown: no crash report for what is a wrong setting.
            {stop, {shutdown, Reason}}
    end.

%% @private
-spec handle_call(term(), gen_server:from(), []) -> {reply, {error, unknown_call}, []}.
handle_call(_Request, _From, State) ->
    {reply, {error, unknown_call}, State}.

%% @private
-spec handle_cast(term(), []) -> {noreply, []}.
handle_cast(_Request, State) ->
    {noreply, State}.

%% @private
-spec handle_info(term(), []) -> {noreply, []}.
handle_info({erlmcp_export, Level, Text}, State) when is_binary(Text) ->
    logger:log(Level, "erlmcp_instrumentation: ~ts", [Text],
               #{domain => [erlmcp, instrumentation]}),
    {noreply, State};
handle_info(_Message, State) ->
    {noreply, State}.

%% @private
-spec terminate(term(), []) -> ok.
terminate(_Reason, _State) ->
    _ = ?NIF:exporter_stop(?STOP_MS),
    ok.

%% Internals

-spec tracing(erlmcp_instrumentation_config:config()) -> map().
tracing(Config) ->
    {Sampler, Argument} = erlmcp_instrumentation_otel_config:sampler(Config),
    #{attributes := Attributes, value_bytes := ValueBytes, events := Events, links := Links,
      event_attributes := EventAttributes, link_attributes := LinkAttributes,
      span_bytes := SpanBytes, open_spans := OpenSpans} =
        erlmcp_instrumentation_otel_config:span_limits(Config),
    #{attributes := LogAttributes, value_bytes := LogValueBytes} =
        erlmcp_instrumentation_log_settings:record_limits(Config),
    #{bsp_max_queue_size := Queue, bsp_max_export_batch_size := Batch,
      queue_max_bytes := QueueBytes} = erlmcp_instrumentation_otel_config:batches(Config),
    #{
        disabled => maps:get(sdk_disabled, Config),
        sampler => Sampler,
        sampler_arg => Argument,
        max_open_spans => OpenSpans,
        queue_records => Queue,
        queue_bytes => QueueBytes,
        %% Each scheduler has a part of the queue of its own.
        queue_wake_at => max(1, Batch div erlang:system_info(schedulers)),
        attribute_limit => Attributes,
        attribute_length_limit => ValueBytes,
        event_limit => Events,
        link_limit => Links,
        event_attribute_limit => EventAttributes,
        link_attribute_limit => LinkAttributes,
        span_max_bytes => SpanBytes,
        log_attribute_limit => LogAttributes,
        log_attribute_length_limit => LogValueBytes,
        secret_keys => maps:get(redact_keys, Config),
        tail_errors => maps:get(tail_errors, Config),
        tail_slow_ms => or_nil(maps:get(tail_slow_ms, Config)),
        tail_max_bytes => maps:get(tail_max_bytes, Config)
    }.

-spec exporter(erlmcp_instrumentation_config:config()) -> map().
exporter(Config) ->
    #{traces := Traces, metrics := Metrics, logs := Logs} =
        erlmcp_instrumentation_otel_config:exporter(Config),
    Batches = erlmcp_instrumentation_otel_config:batches(Config),
    Of = fun(Key) -> maps:get(Key, Batches) end,
    {ok, Version} = application:get_key(erlmcp_instrumentation, vsn),
    #{
        resource => erlmcp_instrumentation_otel_config:resource(Config),
        version => list_to_binary(Version),
        traces => Traces#{delay_ms => Of(bsp_schedule_delay_ms),
                          batch_records => Of(bsp_max_export_batch_size),
                          max_elapsed_ms => Of(bsp_export_timeout_ms)},
        metrics => Metrics#{delay_ms => Of(metric_export_interval_ms),
                            batch_records => Of(bsp_max_export_batch_size),
                            max_elapsed_ms => Of(metric_export_timeout_ms)},
        logs => Logs#{delay_ms => Of(blrp_schedule_delay_ms),
                      batch_records => Of(blrp_max_export_batch_size),
                      max_elapsed_ms => Of(blrp_export_timeout_ms)},
        log_queue_records => Of(blrp_max_queue_size),
        queue_bytes => Of(queue_max_bytes),
        delta => Of(metrics_temporality) =/= cumulative,
        process_metrics => maps:get(process_metrics, Config),
        spool_dir => or_nil(maps:get(spool_dir, Config)),
        spool_max_bytes => maps:get(spool_max_bytes, Config),
        trace_file => or_nil(maps:get(trace_file, Config)),
        trace_file_max_bytes => maps:get(trace_file_max_bytes, Config),
        ring_bytes => maps:get(trace_ring_bytes, Config)
    }.

-spec or_nil(off | Value) -> nil | Value.
or_nil(off) -> nil;
or_nil(Value) -> Value.
