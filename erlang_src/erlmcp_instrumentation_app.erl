%% @private The OTP application: configuration first, then the supervisor.
-module(erlmcp_instrumentation_app).

-behaviour(application).

-export([start/2]).
-export([prep_stop/1]).
-export([stop/1]).

-spec start(application:start_type(), term()) -> {ok, pid()} | {error, term()}.
start(_Type, _Args) ->
    ok = erlmcp_instrumentation_log_filter:install(),
    case erlmcp_instrumentation_config:load() of
        {ok, Config} ->
            start_configured(Config);
        {error, Reason} ->
            fail(Reason, erlmcp_instrumentation_config:format_error(Reason))
    end.

-spec start_configured(erlmcp_instrumentation_config:config()) ->
    {ok, pid()} | {error, term()}.
start_configured(Config) ->
    Limits = maps:with([series_limit, node_series_limit, metrics_limit, default_buckets,
                        process_metrics], Config),
    Floats = [float(Bound) || Bound <- maps:get(default_buckets, Limits)],
    ok = erlmcp_instrumentation_nif:configure(Limits#{default_buckets := Floats}),
    ok = erlmcp_metrics_catalogue:declare(),
    ok = record_build_info(),
    Checks = [fun erlmcp_instrumentation_exporter:configure/1,
              fun erlmcp_instrumentation_listener:check/1],
    case check(Checks, Config) of
        ok -> start_supervisor(Config);
        {error, {_Tag, Text} = Reason} -> fail(Reason, Text)
    end.

-spec check([fun((erlmcp_instrumentation_config:config()) -> ok | {error, {atom(), binary()}})],
            erlmcp_instrumentation_config:config()) -> ok | {error, {atom(), binary()}}.
check([], _Config) ->
    ok;
check([Check | Rest], Config) ->
    case Check(Config) of
        ok -> check(Rest, Config);
        {error, _} = Error -> Error
    end.

-spec start_supervisor(erlmcp_instrumentation_config:config()) -> {ok, pid()} | {error, term()}.
start_supervisor(Config) ->
    case erlmcp_instrumentation_sup:start_link(Config) of
        {ok, Pid} ->
            ok = erlmcp_log_context:install(Config),
            ok = erlmcp_otel_log_handler:install(Config),
            {ok, Pid};
        {error, {shutdown, {failed_to_start_child, _, {shutdown, {_Tag, Text} = Reason}}}}
          when is_binary(Text) ->
            fail(Reason, Text);
        {error, Reason} ->
            {error, Reason}
    end.

%% Before the exporter ends: what is logged while the rest stops goes elsewhere.
-spec prep_stop(State) -> State.
prep_stop(State) ->
    ok = erlmcp_otel_log_handler:remove(),
    ok = erlmcp_log_context:remove(),
    State.

%% Also after the supervisor has given up.
-spec stop(term()) -> ok.
stop(_State) ->
    ok = erlmcp_otel_log_handler:remove(),
    ok = erlmcp_log_context:remove(),
    erlmcp_instrumentation_log_filter:remove().

%% One line that says what to do, beside the term that the starter gets.
-spec fail(term(), binary()) -> {error, term()}.
fail(Reason, Text) ->
    logger:error("erlmcp_instrumentation does not start: ~ts", [Text],
                 #{domain => [erlmcp, instrumentation]}),
    {error, Reason}.

-spec record_build_info() -> ok.
record_build_info() ->
    #{version := NifVersion} = erlmcp_instrumentation_nif:stats(),
    {ok, Version} = application:get_key(erlmcp_instrumentation, vsn),
    Name = erlmcp_build_info,
    Labels = #{
        version => Version,
        nif => NifVersion,
        otp => erlang:system_info(otp_release)
    },
    case erlmcp_instrumentation_nif:value(Name, Labels) of
        undefined ->
            %% What an earlier start has shown is no longer so.
            _ = erlmcp_instrumentation_nif:remove_all(Name),
            _ = erlmcp_instrumentation_nif:bind(info, Name, Labels),
            ok;
        _Shown ->
            ok
    end.
