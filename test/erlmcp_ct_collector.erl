%% The OpenTelemetry Collector that scripts/fetch-collector.sh has its builder
%% build. What it takes it passes on to the strict receiver, or to nobody.
-module(erlmcp_ct_collector).

-export([executable/0]).
-export([start/2, stop/1]).
-export([url/2, accepted/1]).

-define(MISSING, "no OpenTelemetry Collector: run scripts/fetch-collector.sh, which wants Go").

%% The program, or the reason to skip.
executable() ->
    Path = filename:join([erlmcp_ct_oracle:tools(), "otelcol", "otelcol"]),
    case filelib:is_regular(Path) of
        true -> {ok, Path};
        false -> {skip, ?MISSING}
    end.

%% Options: to => a receiver of erlmcp_ct_receiver or nobody (the default);
%% tls or mutual_tls => Files, as of erlmcp_ct_certificates.
start(Dir, Options) ->
    {ok, Executable} = executable(),
    [Grpc, Http, Own] = [erlmcp_ct_program:free_port() || _ <- [grpc, http, own]],
    Ports = #{grpc => Grpc, http => Http, own => Own},
    Name = filename:join(Dir, lists:concat(["otelcol-", erlang:unique_integer([positive])])),
    ok = file:write_file(Name ++ ".yaml", configuration(Ports, Options)),
    Owner = erlmcp_ct_program:start([Executable, "--config=file:" ++ Name ++ ".yaml"], Name ++ ".log"),
    try
        [erlmcp_ct_program:await_port(Port) || Port <- [Grpc, Http, Own]]
    catch
        Class:Reason:Stack ->
            {ok, Log} = file:read_file(Name ++ ".log"),
            ct:pal(error, "The Collector's log:~n~ts", [Log]),
            erlmcp_ct_program:stop(Owner),
            erlang:raise(Class, Reason, Stack)
    end,
    Ports#{owner => Owner, tls => security(Options) =/= []}.

stop(#{owner := Owner}) ->
    erlmcp_ct_program:stop(Owner).

url(#{tls := Tls} = Collector, Protocol) ->
    Scheme = case Tls of true -> "https"; false -> "http" end,
    lists:concat([Scheme, "://127.0.0.1:", maps:get(Protocol, Collector)]).

%% How many spans it says it has accepted, and refused.
accepted(#{own := Port}) ->
    {ok, _} = application:ensure_all_started(inets),
    Url = lists:concat(["http://127.0.0.1:", Port, "/metrics"]),
    {ok, {{_, 200, _}, _, Body}} = httpc:request(get, {Url, []}, [], [{body_format, binary}]),
    #{accepted => sum(Body, "otelcol_receiver_accepted_spans"),
      refused => sum(Body, "otelcol_receiver_refused_spans")}.

%% Over gRPC and HTTP. The suffix came with a version.
sum(Body, Name) ->
    Line = ["^", Name, "(?:__spans_|_)?(?:total)?\\{.*\\} ([0-9.e+]+)$"],
    case re:run(Body, Line, [global, multiline, {capture, all_but_first, list}]) of
        {match, Found} -> lists:sum([number(Text) || [Text] <- Found]);
        nomatch -> 0
    end.

%% Go writes 2e+06 for what Erlang reads as 2.0e+06.
number(Text) ->
    [Mantissa | Exponent] = string:split(Text, "e"),
    Float = case lists:member($., Mantissa) of true -> Mantissa; false -> Mantissa ++ ".0" end,
    trunc(list_to_float(lists:append([Float | ["e" ++ E || E <- Exponent]]))).

%% JSON is YAML.
configuration(#{grpc := Grpc, http := Http, own := Own}, Options) ->
    {Exporter, Exporters} = exporter(maps:get(to, Options, nobody)),
    Listen = fun(Port) ->
        ["{endpoint: '127.0.0.1:", integer_to_list(Port), "'", security(Options), "}"]
    end,
    Pipeline = ["{receivers: [otlp], processors: [memory_limiter, batch], exporters: [", Exporter, "]}"],
    ["receivers: {otlp: {protocols: {grpc: ", Listen(Grpc), ", http: ", Listen(Http), "}}}\n"
     "processors:\n"
     "  memory_limiter: {check_interval: 1s, limit_mib: 512}\n"
     "  batch: {timeout: 50ms}\n"
     "exporters: ", Exporters, "\n"
     "service:\n"
     "  telemetry:\n"
     "    metrics: {level: basic, readers: [{pull: {exporter: {prometheus: "
     "{host: 127.0.0.1, port: ", integer_to_list(Own), "}}}}]}\n"
     "  pipelines: {traces: ", Pipeline, ", metrics: ", Pipeline, ", logs: ", Pipeline, "}\n"].

exporter(nobody) ->
    {"nop", "{nop: {}}"};
exporter(Receiver) ->
    {"otlphttp", ["{otlphttp: {endpoint: '", erlmcp_ct_receiver:url(Receiver, http), "'}}"]}.

security(#{mutual_tls := #{client_ca := Ca} = Files}) ->
    [", tls: {", tls(Files), ", client_ca_file: '", Ca, "'}"];
security(#{tls := Files}) ->
    [", tls: {", tls(Files), "}"];
security(_Options) ->
    [].

tls(#{server_cert := Cert, server_key := Key}) ->
    ["cert_file: '", Cert, "', key_file: '", Key, "'"].
