%% @doc What the settings of tracing and OTLP come to: the special ones before
%% the general ones, defaults filled in, in the shape that the native side takes.
-module(erlmcp_instrumentation_otel_config).

-export([check/1]).
-export([exporter/1]).
-export([resource/1]).
-export([sampler/1]).
-export([propagators/1]).
-export([span_limits/1]).
-export([batches/1]).

-export_type([signal_config/0]).

-type config() :: erlmcp_instrumentation_config:config().
-type signal() :: erlmcp_instrumentation_otel_settings:signal().
-type signal_config() :: #{
    endpoint := binary() | nil,
    protocol := grpc | http_protobuf,
    headers := [{binary(), binary()}],
    timeout_ms := pos_integer(),
    compression := none | gzip,
    insecure := boolean(),
    ca_file := binary() | nil,
    client_cert_file := binary() | nil,
    client_key_file := binary() | nil
}.
-type attribute() :: {binary(), binary() | number() | boolean()}.

-define(DAY_MS, 86400000).
-define(MIN_RATE, 0.001).

%% @doc Finds what is legal by itself and wrong together.
-spec check(config()) -> {ok, config()} | {error, erlmcp_instrumentation_config:error()}.
check(Config) ->
    Checks = [fun check_sampler/1, fun check_trace_file/1
              | [fun(C) -> check_signal(Signal, C) end
                 || Signal <- erlmcp_instrumentation_otel_settings:signals()]],
    check(Checks, Config).

%% @doc Where each signal goes and how; endpoint `nil' where it is not sent.
-spec exporter(config()) -> #{signal() => signal_config()}.
exporter(Config) ->
    maps:from_list([{Signal, signal(Signal, Config)}
                    || Signal <- erlmcp_instrumentation_otel_settings:signals()]).

%% @doc The attributes of the resource, sorted by name.
%%
%% Settings of their own win over `resource_attributes', which win over what is
%% found out; what says who made the telemetry cannot be changed.
-spec resource(config()) -> [attribute()].
resource(#{resource_attributes := Attributes} = Config) ->
    Layers = [found_out(), Attributes, set(Config), sdk()],
    Merged = lists:foldl(fun(Layer, Below) -> maps:merge(Below, maps:from_list(Layer)) end,
                         #{}, Layers),
    lists:sort([{Name, shown(Name, Value)} || {Name, Value} <- maps:to_list(Merged)]).

-spec shown(binary(), Value) -> Value | binary().
shown(Name, Value) ->
    case erlmcp_redaction:is_secret(Name) of
        true -> erlmcp_redaction:redacted();
        false -> Value
    end.

%% @doc The sampler as the native side reads it: its name and its argument.
-spec sampler(config()) -> {binary(), binary() | nil}.
sampler(#{sdk_disabled := true}) ->
    {<<"always_off">>, nil};
%% What goes nowhere is not recorded; its context is passed on.
sampler(#{traces_exporter := none, trace_file := off}) ->
    {<<"always_off">>, nil};
sampler(#{traces_sampler := Sampler, traces_sampler_arg := off}) ->
    {atom_to_binary(Sampler), nil};
sampler(#{traces_sampler := Sampler, traces_sampler_arg := Argument}) ->
    {atom_to_binary(Sampler), float_to_binary(float(Argument), [short])}.

%% @doc The propagators as the native side reads them.
-spec propagators(config()) -> binary().
propagators(#{propagators := []}) ->
    <<"none">>;
propagators(#{propagators := Propagators}) ->
    iolist_to_binary(lists:join(",", [atom_to_binary(Name) || Name <- Propagators])).

%% @doc The limits of a span, the general ones filled in.
-spec span_limits(config()) -> #{atom() => non_neg_integer()}.
span_limits(#{attribute_count_limit := Count, attribute_value_length_limit := Length} = Config) ->
    #{attributes => own_or(span_attribute_count_limit, Config, Count),
      value_bytes => own_or(span_attribute_value_length_limit, Config, Length),
      events => maps:get(span_event_count_limit, Config),
      links => maps:get(span_link_count_limit, Config),
      event_attributes => own_or(event_attribute_count_limit, Config, Count),
      link_attributes => own_or(link_attribute_count_limit, Config, Count),
      span_bytes => maps:get(span_max_bytes, Config),
      open_spans => maps:get(max_open_spans, Config)}.

%% @doc How spans, log records and metrics are gathered for sending: the queues'
%% bounds, batches no larger than them, times without "no limit".
-spec batches(config()) -> #{atom() => term()}.
batches(Config) ->
    #{bsp_max_queue_size := Spans, bsp_max_export_batch_size := SpanBatch,
      blrp_max_queue_size := Records, blrp_max_export_batch_size := RecordBatch} = Config,
    Kept = maps:with([bsp_schedule_delay_ms, bsp_max_queue_size, blrp_schedule_delay_ms,
                      blrp_max_queue_size, queue_max_bytes, metric_export_interval_ms,
                      metrics_temporality], Config),
    Kept#{bsp_max_export_batch_size => min(Spans, SpanBatch),
          blrp_max_export_batch_size => min(Records, RecordBatch),
          bsp_export_timeout_ms => time_limit(maps:get(bsp_export_timeout_ms, Config)),
          blrp_export_timeout_ms => time_limit(maps:get(blrp_export_timeout_ms, Config)),
          metric_export_timeout_ms => time_limit(maps:get(metric_export_timeout_ms, Config))}.

%% Checks

-type check() :: fun((config()) -> ok | {error, erlmcp_instrumentation_config:error()}).

-spec check([check()], config()) ->
    {ok, config()} | {error, erlmcp_instrumentation_config:error()}.
check([], Config) ->
    {ok, Config};
check([Check | Rest], Config) ->
    case Check(Config) of
        ok -> check(Rest, Config);
        {error, _} = Error -> Error
    end.

-spec check_sampler(config()) -> ok | {error, erlmcp_instrumentation_config:error()}.
check_sampler(#{traces_sampler := Sampler, traces_sampler_arg := Argument}) ->
    case {root_sampler(Sampler), Argument} of
        {traceidratio, Ratio} when is_number(Ratio), Ratio > 1 ->
            bad(traces_sampler_arg, Ratio, <<"a number from 0 to 1 with this traces_sampler">>);
        {rate_limited, Rate} when Rate =:= off; Rate < ?MIN_RATE ->
            bad(traces_sampler_arg, Rate,
                <<"spans a second, a number from 0.001 to 1000000, with this traces_sampler">>);
        _ ->
            ok
    end.

-spec root_sampler(atom()) -> atom().
root_sampler(parentbased_traceidratio) -> traceidratio;
root_sampler(parentbased_rate_limited) -> rate_limited;
root_sampler(Sampler) -> Sampler.

-spec check_trace_file(config()) -> ok | {error, erlmcp_instrumentation_config:error()}.
check_trace_file(#{traces_exporter := file, trace_file := off}) ->
    bad(trace_file, off, <<"a path with traces_exporter file">>);
check_trace_file(_Config) ->
    ok.

-spec check_signal(signal(), config()) -> ok | {error, erlmcp_instrumentation_config:error()}.
check_signal(Signal, Config) ->
    {EndpointKey, Endpoint} = setting(Signal, otlp_endpoint, Config),
    {_, Protocol} = setting(Signal, otlp_protocol, Config),
    {KeyKey, Key} = setting(Signal, otlp_client_key, Config),
    {CertificateKey, Certificate} = setting(Signal, otlp_client_certificate, Config),
    case Protocol =:= grpc orelse Endpoint =:= off orelse has_scheme(Endpoint) of
        true -> check_client(KeyKey, Key, CertificateKey, Certificate);
        false -> bad(EndpointKey, Endpoint,
                     <<"a URL with http:// or https://; only grpc does without">>)
    end.

%% Mutual TLS needs both files.
-spec check_client(atom(), off | binary(), atom(), off | binary()) ->
    ok | {error, erlmcp_instrumentation_config:error()}.
check_client(KeyKey, off, _CertificateKey, Certificate) when Certificate =/= off ->
    bad(KeyKey, off, <<"the path of the key that belongs to the client certificate">>);
check_client(_KeyKey, Key, CertificateKey, off) when Key =/= off ->
    bad(CertificateKey, off, <<"the path of the certificate that belongs to the client key">>);
check_client(_KeyKey, _Key, _CertificateKey, _Certificate) ->
    ok.

-spec bad(atom(), term(), binary()) -> {error, erlmcp_instrumentation_config:error()}.
bad(Key, Value, Expected) ->
    {error, {bad_config, Key, Value, Expected}}.

%% Signals

-spec signal(signal(), config()) -> signal_config().
signal(Signal, Config) ->
    Of = fun(General) -> element(2, setting(Signal, General, Config)) end,
    Protocol = Of(otlp_protocol),
    #{endpoint => endpoint(Signal, Protocol, Of(otlp_insecure), Config),
      protocol => Protocol,
      headers => Of(otlp_headers),
      timeout_ms => time_limit(Of(otlp_timeout_ms)),
      compression => Of(otlp_compression),
      insecure => Of(otlp_insecure),
      ca_file => or_nil(Of(otlp_certificate)),
      client_cert_file => or_nil(Of(otlp_client_certificate)),
      client_key_file => or_nil(Of(otlp_client_key))}.

%% The setting of the signal, else the general one, and its key.
-spec setting(signal(), atom(), config()) -> {atom(), term()}.
setting(Signal, General, Config) ->
    Key = erlmcp_instrumentation_otel_settings:signal_key(Signal, General),
    case maps:get(Key, Config) of
        inherit -> {General, maps:get(General, Config)};
        Value -> {Key, Value}
    end.

-spec endpoint(signal(), grpc | http_protobuf, boolean(), config()) -> binary() | nil.
endpoint(_Signal, _Protocol, _Insecure, #{sdk_disabled := true}) ->
    nil;
endpoint(Signal, Protocol, Insecure, Config) ->
    {Key, Set} = setting(Signal, otlp_endpoint, Config),
    case {exporter_of(Signal, Config), Set} of
        {otlp, off} when Key =:= otlp_endpoint ->
            general_endpoint(Signal, Protocol, Insecure, default_endpoint(Protocol));
        {Exporter, Endpoint} when Endpoint =/= off, Exporter =:= otlp orelse Exporter =:= auto ->
            case Key of
                otlp_endpoint -> general_endpoint(Signal, Protocol, Insecure, Endpoint);
                _ -> with_scheme(Endpoint, Insecure)
            end;
        _ ->
            nil
    end.

-spec exporter_of(signal(), config()) -> atom().
exporter_of(traces, #{traces_exporter := Exporter}) -> Exporter;
exporter_of(metrics, #{metrics_exporter := Exporter}) -> Exporter;
exporter_of(logs, #{logs_exporter := Exporter}) -> Exporter.

-spec default_endpoint(grpc | http_protobuf) -> binary().
default_endpoint(grpc) -> <<"http://localhost:4317">>;
default_endpoint(http_protobuf) -> <<"http://localhost:4318">>.

-spec general_endpoint(signal(), grpc | http_protobuf, boolean(), binary()) -> binary().
general_endpoint(_Signal, grpc, Insecure, Endpoint) ->
    with_scheme(Endpoint, Insecure);
general_endpoint(Signal, http_protobuf, _Insecure, Endpoint) ->
    <<(string:trim(Endpoint, trailing, "/"))/binary, "/v1/", (atom_to_binary(Signal))/binary>>.

-spec with_scheme(binary(), boolean()) -> binary().
with_scheme(Endpoint, Insecure) ->
    case {has_scheme(Endpoint), Insecure} of
        {true, _} -> Endpoint;
        {false, true} -> <<"http://", Endpoint/binary>>;
        {false, false} -> <<"https://", Endpoint/binary>>
    end.

-spec has_scheme(binary()) -> boolean().
has_scheme(Endpoint) ->
    binary:match(Endpoint, <<"://">>) =/= nomatch.

-spec time_limit(non_neg_integer()) -> pos_integer().
time_limit(0) -> ?DAY_MS;
time_limit(Milliseconds) -> Milliseconds.

-spec or_nil(off | binary()) -> binary() | nil.
or_nil(off) -> nil;
or_nil(Path) -> Path.

-spec own_or(atom(), config(), non_neg_integer()) -> non_neg_integer().
own_or(Key, Config, General) ->
    case maps:get(Key, Config) of
        inherit -> General;
        Own -> Own
    end.

%% The resource

-spec set(config()) -> [attribute()].
set(Config) ->
    [{Name, Value}
     || {Key, Names} <- [{service_name, [<<"service.name">>]},
                         {cluster, [<<"erlmcp.cluster">>]},
                         {environment, [<<"deployment.environment.name">>,
                                        <<"erlmcp.environment">>]},
                         {region, [<<"erlmcp.region">>]}],
        Value <- [maps:get(Key, Config)], Value =/= off,
        Name <- Names].

-spec found_out() -> [attribute()].
found_out() ->
    {ok, Host} = inet:gethostname(),
    Erts = erlang:system_info(version),
    Description = ["Erlang/OTP ", erlang:system_info(otp_release), " erts-", Erts],
    release()
        ++ [{<<"erlmcp.version">>, list_to_binary(Version)}
            || {ok, Version} <- [application:get_key(erlmcp, vsn)]]
        ++ [{<<"service.instance.id">>, instance(node(), Host)},
            {<<"process.pid">>, list_to_integer(os:getpid())},
            {<<"process.runtime.name">>, <<"BEAM">>},
            {<<"process.runtime.version">>, list_to_binary(Erts)},
            {<<"process.runtime.description">>, iolist_to_binary(Description)},
            {<<"host.name">>, unicode:characters_to_binary(Host)}].

%% The node's name; one that is not distributed has none of its own.
-spec instance(node(), string()) -> binary().
instance(nonode@nohost, Host) ->
    unicode:characters_to_binary([Host, ":", os:getpid()]);
instance(Node, _Host) ->
    atom_to_binary(Node).

%% Name and version of the release: rebar3's and mix's start scripts set the
%% variables; otherwise the boot script tells, unless it is Erlang's own.
-spec release() -> [attribute()].
release() ->
    case {os:getenv("RELEASE_NAME", ""), init:script_id()} of
        {[_ | _] = Name, _} ->
            [{<<"service.name">>, unicode:characters_to_binary(Name)}
             | [{<<"service.version">>, unicode:characters_to_binary(Version)}
                || [_ | _] = Version <- [os:getenv("RELEASE_VSN", "")]]];
        {"", {[C | _] = Name, [_ | _] = Version}} when is_integer(C) ->
            case lists:prefix("Erlang/OTP", Name) orelse lists:prefix("OTP ", Name) of
                true -> unknown_release();
                false -> [{<<"service.name">>, unicode:characters_to_binary(Name)},
                          {<<"service.version">>, unicode:characters_to_binary(Version)}]
            end;
        _ ->
            unknown_release()
    end.

-spec unknown_release() -> [attribute()].
unknown_release() ->
    [{<<"service.name">>, <<"unknown_service:erl">>}].

-spec sdk() -> [attribute()].
sdk() ->
    [{<<"telemetry.sdk.name">>, <<"erlmcp_instrumentation">>},
     {<<"telemetry.sdk.language">>, <<"erlang">>}
     | [{<<"telemetry.sdk.version">>, list_to_binary(Version)}
        || {ok, Version} <- [application:get_key(erlmcp_instrumentation, vsn)]]].
