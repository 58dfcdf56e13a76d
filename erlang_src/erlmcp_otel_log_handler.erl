%% @doc A handler of logger that sends log records by OTLP.
%%
%% The application adds it, as `erlmcp_otel', where log records are sent (settings
%% `logs_exporter', `otlp_endpoint', `otlp_log_level'). It encodes the record in
%% the process that logs and queues it, which takes one call of a NIF: it sends no
%% message, waits for nothing and raises nothing. The queue is bounded
%% (`blrp_max_queue_size', `queue_max_bytes'); what finds no room is counted as
%% dropped with the reason `queue_full'.
%%
%% Body is the message's text. Attributes are the metadata and the pairs of a
%% report, `code.function.name', `code.file.path', `code.line.number',
%% `erlang.pid', `erlang.domain', and for crashes `exception.type',
%% `exception.message' and `exception.stacktrace'. Severity numbers are those of
%% OpenTelemetry's table for syslog. Trace and span are those of the process.
%%
%% Messages of the domain `[erlmcp, instrumentation]' are not sent: what is said
%% of a failing export must not feed it.
-module(erlmcp_otel_log_handler).

-export([install/1]).
-export([remove/0]).
-export([severity/1]).

%% logger callbacks
-export([log/2]).
-export([adding_handler/1]).

-define(NIF, erlmcp_instrumentation_nif).
-define(HANDLER, erlmcp_otel).
-define(MAX_TEXT_CHARS, 65536).

%% @private Adds the handler if log records go anywhere.
-spec install(erlmcp_instrumentation_config:config()) -> ok.
install(Config) ->
    ok = remove(),
    case erlmcp_instrumentation_otel_config:exporter(Config) of
        #{logs := #{endpoint := nil}} ->
            ok;
        _ ->
            #{value_bytes := Max} = erlmcp_instrumentation_log_settings:record_limits(Config),
            Handler = #{level => maps:get(otlp_log_level, Config),
                        config => #{max_chars => min(Max, ?MAX_TEXT_CHARS)}},
            _ = logger:add_handler(?HANDLER, ?MODULE, Handler),
            ok
    end.

%% @private
-spec remove() -> ok.
remove() ->
    _ = logger:remove_handler(?HANDLER),
    ok.

%% @doc OpenTelemetry's severity number of a level.
-spec severity(logger:level()) -> 1..24.
severity(debug) -> 5;
severity(info) -> 9;
severity(notice) -> 10;
severity(warning) -> 13;
severity(error) -> 17;
severity(critical) -> 18;
severity(alert) -> 19;
severity(emergency) -> 21.

%% logger callbacks

%% @private
-spec adding_handler(logger:handler_config()) -> {ok, logger:handler_config()}.
adding_handler(Config) ->
    {ok, Config}.

%% @private
-spec log(logger:log_event(), logger:handler_config()) -> ok.
log(#{level := Level, meta := Meta} = Event, Config) ->
    try
        case erlmcp_log_event:is_own(Event) of
            true ->
                ok;
            false ->
                Body = erlmcp_log_event:text(Event, max_chars(Config)),
                %% The queue counts what it refuses.
                _ = ?NIF:log_emit(time(Meta), severity(Level), Level, Body, attributes(Event),
                                  context(Meta)),
                ok
        end
    catch
        _:_ -> failed()
    end;
log(_Event, _Config) ->
    failed().

-spec failed() -> ok.
failed() ->
    try erlmcp_metrics:inc(<<"erlmcp_log_failures_total">>, #{component => otlp}) of
        _ -> ok
    catch
        _:_ -> ok
    end.

-spec max_chars(logger:handler_config()) -> pos_integer().
max_chars(#{config := #{max_chars := Max}}) when is_integer(Max), Max > 0 -> Max;
max_chars(_Config) -> ?MAX_TEXT_CHARS.

-spec time(logger:metadata()) -> non_neg_integer() | now.
time(#{time := Time}) when is_integer(Time), Time >= 0, Time < 1 bsl 53 -> Time * 1000;
time(_Meta) -> now.

%% Of two of one name the last counts.
-spec attributes(logger:log_event()) -> [{term(), term()}].
attributes(#{meta := Meta} = Event) ->
    lists:reverse(erlmcp_log_event:fields(Event), exception(Event) ++ place(Meta)).

-spec place(logger:metadata()) -> [{binary(), term()}].
place(Meta) ->
    [{<<"code.function.name">>, function_name(M, F, A)}
     || #{mfa := {M, F, A}} <- [Meta], is_atom(M), is_atom(F), is_integer(A)]
        ++ [{<<"code.file.path">>, File} || #{file := File} <- [Meta]]
        ++ [{<<"code.line.number">>, Line} || #{line := Line} <- [Meta]]
        ++ [{<<"erlang.pid">>, Pid} || #{pid := Pid} <- [Meta]]
        ++ [{<<"erlang.domain">>, {array, Domain}} || #{domain := [_ | _] = Domain} <- [Meta]].

-spec function_name(module(), atom(), arity()) -> binary().
function_name(Module, Function, Arity) ->
    <<(atom_to_binary(Module))/binary, $:, (atom_to_binary(Function))/binary, $/,
      (integer_to_binary(Arity))/binary>>.

%% What ended a process, from reports of proc_lib and of behaviours, and from what
%% Elixir says.
-spec exception(logger:log_event()) -> [{binary(), binary()}].
exception(#{meta := #{crash_reason := {Reason, [_ | _] = Stack}}}) ->
    attributes_of(error, Reason, Stack);
exception(#{msg := {report, #{label := {proc_lib, crash}, report := [[_ | _] = Info | _]}}}) ->
    case lists:keyfind(error_info, 1, Info) of
        {error_info, {Class, Reason, Stack}} -> attributes_of(Class, Reason, Stack);
        _ -> []
    end;
exception(#{msg := {report, #{label := {_, terminate}, reason := {Reason, [{_, _, _, _} | _] = Stack}}}}) ->
    attributes_of(error, Reason, Stack);
exception(#{msg := {report, #{label := {_, terminate}, reason := {Class, Reason, Stack}}}})
  when Class =:= error; Class =:= exit; Class =:= throw ->
    attributes_of(Class, Reason, Stack);
exception(_Event) ->
    [].

-spec attributes_of(atom(), term(), term()) -> [{binary(), binary()}].
attributes_of(Class, Reason, Stack) when is_list(Stack) ->
    maps:to_list(erlmcp_otel_exception:attributes(Class, Reason, Stack));
attributes_of(_Class, _Reason, _Stack) ->
    [].

%% As `span_context()' of the NIF, without a handle.
-spec context(logger:metadata()) -> binary() | undefined.
context(Meta) ->
    case erlmcp_log_event:span(Meta) of
        undefined ->
            undefined;
        {TraceId, SpanId, Flags} ->
            Sampled = case Flags of <<"01">> -> 1; _ -> 0 end,
            try <<(binary_to_integer(TraceId, 16)):128, (binary_to_integer(SpanId, 16)):64,
                  Sampled, 0:64>>
            catch error:badarg -> undefined
            end
    end.
