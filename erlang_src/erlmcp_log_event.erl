%% @private What a log event says, for whoever writes it: its text, its fields,
%% and the span that it belongs to. Nothing here raises.
-module(erlmcp_log_event).

-export([text/2]).
-export([fields/1]).
-export([span/1]).
-export([is_own/1]).

-export_type([span/0]).

-type span() :: {TraceId :: binary(), SpanId :: binary(), Flags :: binary()}.

-define(MAX_REPORT_DEPTH, 30).
%% Fields of a report that are looked at.
-define(MAX_PAIRS, 1024).

%% Metadata that logger itself adds, or that are for it. `pid' is one of them.
-define(OWN_METADATA, [time, gl, pid, mfa, file, line, domain, report_cb, error_logger,
                       logger_formatter, trace_id, span_id, trace_flags]).

%% The message as text of about so many characters. Values of secret keys in
%% reports and in the arguments of a format are replaced before it is made.
-spec text(logger:log_event(), pos_integer()) -> binary().
text(#{msg := Message, meta := Meta}, Max) ->
    try
        binary(chars(Message, Meta, Max))
    catch
        Class:Reason:_ ->
            Shown = shown({Message, {Class, Reason}}, Max),
            <<"(the message cannot be formatted) ", Shown/binary>>
    end.

-spec chars(term(), logger:metadata(), pos_integer()) -> unicode:chardata().
chars({string, Text}, _Meta, _Max) ->
    Text;
chars({report, Report}, Meta, Max) ->
    case report_callback(Meta) of
        none ->
            plain_report(Report, Max);
        Callback when is_function(Callback, 1) ->
            {Format, Args} = Callback(erlmcp_redaction:report(Report)),
            io_lib:format(Format, Args, [{chars_limit, Max}]);
        Callback ->
            Callback(erlmcp_redaction:report(Report),
                     #{depth => ?MAX_REPORT_DEPTH, chars_limit => Max, single_line => true})
    end;
chars({Format, []}, _Meta, Max) ->
    io_lib:format(Format, [], [{chars_limit, Max}]);
chars({Format, Args}, _Meta, Max) ->
    io_lib:format(Format, erlmcp_redaction:arguments(Args), [{chars_limit, Max}]).

%% Handlers of OTP give events one that the caller has not given.
-spec report_callback(logger:metadata()) -> none | fun().
report_callback(#{report_cb := Callback}) when is_function(Callback, 1); is_function(Callback, 2) ->
    case Callback =:= fun logger:format_otp_report/1 orelse Callback =:= fun logger:format_report/1 of
        true -> none;
        false -> Callback
    end;
report_callback(_Meta) ->
    none.

%% Its own text if it has one; else all of it.
-spec plain_report(logger:report(), pos_integer()) -> unicode:chardata().
plain_report(Report, Max) when is_map(Report) ->
    case Report of
        #{message := Text} when is_binary(Text); is_atom(Text) -> to_binary(Text);
        #{msg := Text} when is_binary(Text); is_atom(Text) -> to_binary(Text);
        #{what := Text} when is_binary(Text); is_atom(Text) -> to_binary(Text);
        #{event := Text} when is_binary(Text); is_atom(Text) -> to_binary(Text);
        _ -> shown(Report, Max)
    end;
plain_report(Report, Max) ->
    shown(Report, Max).

-spec to_binary(atom() | binary()) -> binary().
to_binary(Text) when is_atom(Text) -> atom_to_binary(Text);
to_binary(Text) -> Text.

-spec shown(term(), pos_integer()) -> binary().
shown(Term, Max) ->
    binary(io_lib:format("~0tp", [erlmcp_redaction:term(Term)], [{chars_limit, Max}])).

%% Bytes that are no text stay: whoever writes them replaces what is none.
-spec binary(unicode:chardata()) -> binary().
binary(Chars) when is_binary(Chars) ->
    Chars;
binary(Chars) ->
    case unicode:characters_to_binary(Chars) of
        Binary when is_binary(Binary) -> Binary;
        _ -> iolist_to_binary(Chars)
    end.

%% What the caller has given beside the message: the metadata, then what a report
%% says. Reports of OTP itself are told by their text. Of two fields of one name
%% the first counts.
-spec fields(logger:log_event()) -> [{term(), term()}].
fields(#{msg := {report, Report}, meta := #{domain := [otp | _]} = Meta}) when is_map(Report) ->
    metadata(Meta);
fields(#{msg := {report, Report}, meta := Meta}) when is_map(Report) ->
    metadata(Meta) ++ pairs(maps:next(maps:iterator(maps:without([message, msg], Report))), ?MAX_PAIRS);
fields(#{msg := {report, [{_, _} | _] = Report}, meta := Meta}) ->
    metadata(Meta) ++ members(Report, ?MAX_PAIRS);
fields(#{meta := Meta}) ->
    metadata(Meta).

-spec metadata(logger:metadata()) -> [{term(), term()}].
metadata(Meta) ->
    maps:to_list(maps:without(?OWN_METADATA, Meta)).

-spec pairs(none | {term(), term(), maps:iterator()}, non_neg_integer()) -> [{term(), term()}].
pairs({Key, Value, Rest}, Left) when Left > 0 -> [{Key, Value} | pairs(maps:next(Rest), Left - 1)];
pairs(_None, _Left) -> [].

-spec members(maybe_improper_list(), non_neg_integer()) -> [{term(), term()}].
members([{_, _} = Pair | Rest], Left) when Left > 0 -> [Pair | members(Rest, Left - 1)];
members([_ | Rest], Left) when Left > 0 -> members(Rest, Left - 1);
members(_Rest, _Left) -> [].

%% The span of an event: the current one of the process that logs, if the event
%% is its own; else what its metadata say. Of two spans of one trace the current
%% one is the nearer one.
-spec span(logger:metadata()) -> span() | undefined.
span(Meta) ->
    case {erlmcp_otel_instrumentation:current_span(), Meta} of
        {undefined, #{trace_id := _}} -> told(Meta);
        {undefined, _} -> undefined;
        {_Span, #{pid := Pid}} when Pid =/= self() -> told(Meta);
        {Span, _} -> current(Span, Meta)
    end.

-spec current(binary(), logger:metadata()) -> span() | undefined.
current(<<_:24/binary, Flags, _/binary>> = Span, Meta) ->
    case {erlmcp_instrumentation_nif:span_ids(Span), Meta} of
        {undefined, _} -> told(Meta);
        {{TraceId, _}, #{trace_id := Told}} when Told =/= TraceId, is_binary(Told) -> told(Meta);
        {{TraceId, SpanId}, _} -> {TraceId, SpanId, flags(Flags)}
    end;
current(_Span, Meta) ->
    told(Meta).

-spec flags(byte()) -> binary().
flags(Flags) when Flags band 1 =:= 1 -> <<"01">>;
flags(_Flags) -> <<"00">>.

-spec told(logger:metadata()) -> span() | undefined.
told(#{trace_id := <<TraceId:32/binary>>, span_id := <<SpanId:16/binary>>} = Meta) ->
    case Meta of
        #{trace_flags := <<Flags:2/binary>>} -> {TraceId, SpanId, Flags};
        _ -> {TraceId, SpanId, <<>>}
    end;
told(_Meta) ->
    undefined.

%% Whether an event is the library's own: what it says of its export must not be
%% exported.
-spec is_own(logger:log_event()) -> boolean().
is_own(#{meta := #{domain := [erlmcp, instrumentation | _]}}) -> true;
is_own(_Event) -> false.
