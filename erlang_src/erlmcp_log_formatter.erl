%% @doc A formatter for OTP's logger that writes a JSON object a line.
%%
%% ```
%% {handler, default, logger_std_h, #{formatter => {erlmcp_log_formatter, #{}}}}
%% '''
%%
%% == Fields ==
%%
%% <table>
%% <tr><td>`time'</td><td>RFC 3339 in UTC with microseconds</td></tr>
%% <tr><td>`level'</td><td>as logger has it; `emergency' is `emerg', which Grafana
%%     knows</td></tr>
%% <tr><td>`message'</td><td>the text; of a report without a `report_cb' what it has as
%%     `message', `msg', `what' or `event', else all of it</td></tr>
%% <tr><td>`trace_id', `span_id', `trace_flags'</td><td>inside of a span</td></tr>
%% <tr><td>`pid', `node'</td><td>texts</td></tr>
%% <tr><td>`module', `function', `line'</td><td>where the call is; `function' with its
%%     arity</td></tr>
%% <tr><td>`domain'</td><td>joined by dots</td></tr>
%% <tr><td>others</td><td>all other metadata, and the pairs of a report, as {@link
%%     erlmcp_log_json} writes them. One with a name of this table is written with `user_'
%%     before it. Of two of one name that of the metadata counts.</td></tr>
%% <tr><td>`dropped_fields'</td><td>how many had no room or no name of their own</td></tr>
%% </table>
%%
%% == Limits ==
%%
%% Keys of the formatter's configuration, with defaults. What exceeds one is cut,
%% which `...' at its end shows.
%% <ul>
%% <li>`max_depth' (8): levels of lists and maps in a field</li>
%% <li>`max_field_bytes' (8192): of a field's value, the message included</li>
%% <li>`max_fields' (128): beside those of the table</li>
%% <li>`max_line_bytes' (65536): of a line, its end included; at least 4096</li>
%% </ul>
%%
%% Values of secret keys are replaced by `[REDACTED]': {@link erlmcp_redaction}.
%% It runs in the process that logs, raises nothing, and sends no message.
-module(erlmcp_log_formatter).

-export([format/2]).
-export([check_config/1]).
-export([defaults/0]).

-export_type([config/0]).

-type config() :: #{
    max_depth => 1..64,
    max_field_bytes => pos_integer(),
    max_fields => non_neg_integer(),
    max_line_bytes => pos_integer()
}.

-define(MAX_DEPTH, 8).
-define(MAX_FIELD_BYTES, 8192).
-define(MAX_FIELDS, 128).
-define(MAX_LINE_BYTES, 65536).
-define(MAX_BYTES, 16777216).
%% For the number of dropped fields, and what closes the line.
-define(CLOSING_BYTES, 64).

-define(IS_RESERVED(Name),
        Name =:= <<"time">>; Name =:= <<"level">>; Name =:= <<"message">>; Name =:= <<"pid">>;
        Name =:= <<"node">>; Name =:= <<"module">>; Name =:= <<"function">>; Name =:= <<"line">>;
        Name =:= <<"domain">>; Name =:= <<"trace_id">>; Name =:= <<"span_id">>;
        Name =:= <<"trace_flags">>; Name =:= <<"dropped_fields">>).

%% @doc The limits where the configuration does not name them.
-spec defaults() -> config().
defaults() ->
    #{max_depth => ?MAX_DEPTH, max_field_bytes => ?MAX_FIELD_BYTES, max_fields => ?MAX_FIELDS,
      max_line_bytes => ?MAX_LINE_BYTES}.

%% @doc Whether a configuration is legal. Loads what formatting needs: the code
%% server, too, logs.
-spec check_config(config()) -> ok | {error, term()}.
check_config(Config) when is_map(Config) ->
    _ = [code:ensure_loaded(Module)
         || Module <- [erlmcp_log_json, erlmcp_log_event, erlmcp_log_time, erlmcp_redaction,
                       erlmcp_otel_instrumentation, erlmcp_instrumentation_nif]],
    case [Bad || {Key, Value} = Bad <- maps:to_list(Config), not is_legal(Key, Value)] of
        [] -> ok;
        [Bad | _] -> {error, {invalid_formatter_config, ?MODULE, Bad}}
    end;
check_config(Config) ->
    {error, {invalid_formatter_config, ?MODULE, Config}}.

-spec is_legal(term(), term()) -> boolean().
is_legal(max_depth, N) -> is_integer(N) andalso N >= 1 andalso N =< 64;
is_legal(max_field_bytes, N) -> is_integer(N) andalso N >= 16 andalso N =< ?MAX_BYTES;
is_legal(max_fields, N) -> is_integer(N) andalso N >= 0 andalso N =< 65536;
is_legal(max_line_bytes, N) -> is_integer(N) andalso N >= 4096 andalso N =< ?MAX_BYTES;
is_legal(_Key, _Value) -> false.

%% @doc The line of an event, with the newline at its end. An event that cannot
%% be written gives a line that says so.
-spec format(logger:log_event(), config()) -> binary().
format(Event, Config) ->
    try
        line(Event, Config)
    catch
        Class:Reason:Stack ->
            broken(Event, Config, {Class, Reason, Stack})
    end.

-spec line(logger:log_event(), config()) -> binary().
line(#{level := Level, meta := Meta} = Event, Config) ->
    Depth = maps:get(max_depth, Config, ?MAX_DEPTH),
    FieldBytes = maps:get(max_field_bytes, Config, ?MAX_FIELD_BYTES),
    End = maps:get(max_line_bytes, Config, ?MAX_LINE_BYTES)
        - erlmcp_log_json:overhang(Depth) - ?CLOSING_BYTES,
    Text = erlmcp_log_event:text(Event, FieldBytes),
    Begun = beginning(Level, Meta),
    Said = erlmcp_log_json:string(Text, Begun, min(End, byte_size(Begun) + FieldBytes)),
    Placed = domain(Meta, place(Meta, process(Meta, trace(Meta, Said)))),
    Max = maps:get(max_fields, Config, ?MAX_FIELDS),
    {Filled, Dropped} = fields(erlmcp_log_event:fields(Event), Placed, Max, 0, #{},
                               {Depth, FieldBytes, End}),
    closed(Filled, Dropped).

-spec beginning(logger:level(), logger:metadata()) -> binary().
beginning(Level, Meta) ->
    Time = erlmcp_log_time:rfc3339(maps:get(time, Meta, now)),
    <<"{\"time\":\"", Time/binary, "\",\"level\":\"", (level(Level))/binary, "\",\"message\":">>.

-spec level(logger:level()) -> binary().
level(emergency) -> <<"emerg">>;
level(Level) -> atom_to_binary(Level).

-spec trace(logger:metadata(), binary()) -> binary().
trace(Meta, Acc) ->
    case erlmcp_log_event:span(Meta) of
        undefined ->
            Acc;
        {TraceId, SpanId, Flags} ->
            With = field(<<"span_id">>, SpanId, field(<<"trace_id">>, TraceId, Acc)),
            case Flags of
                <<>> -> With;
                _ -> field(<<"trace_flags">>, Flags, With)
            end
    end.

%% The node of a process of another one is that node.
-spec process(logger:metadata(), binary()) -> binary().
process(#{pid := Pid}, Acc) when is_pid(Pid) ->
    field(<<"node">>, atom_to_binary(node(Pid)),
          field(<<"pid">>, list_to_binary(pid_to_list(Pid)), Acc));
process(_Meta, Acc) ->
    field(<<"node">>, atom_to_binary(node()), Acc).

-spec place(logger:metadata(), binary()) -> binary().
place(#{mfa := {Module, Function, Arity}} = Meta, Acc)
  when is_atom(Module), is_atom(Function), is_integer(Arity) ->
    Name = <<(atom_to_binary(Function))/binary, $/, (integer_to_binary(Arity))/binary>>,
    line_of(Meta, field(<<"function">>, Name, field(<<"module">>, atom_to_binary(Module), Acc)));
place(Meta, Acc) ->
    line_of(Meta, Acc).

-spec line_of(logger:metadata(), binary()) -> binary().
line_of(#{line := Line}, Acc) when is_integer(Line), Line >= 0, Line < 1 bsl 32 ->
    <<Acc/binary, ",\"line\":", (integer_to_binary(Line))/binary>>;
line_of(_Meta, Acc) ->
    Acc.

-spec domain(logger:metadata(), binary()) -> binary().
domain(#{domain := [First | _] = Domain}, Acc) when is_atom(First) ->
    try iolist_to_binary(lists:join($., [atom_to_binary(Name) || Name <- Domain])) of
        Text -> field(<<"domain">>, Text, Acc)
    catch
        %% Somebody's own that is no list of atoms.
        error:_ -> Acc
    end;
domain(_Meta, Acc) ->
    Acc.

%% One of the library's own, whose name needs no escape.
-spec field(binary(), binary(), binary()) -> binary().
field(Name, Value, Acc) ->
    Begun = <<Acc/binary, ",\"", Name/binary, "\":">>,
    erlmcp_log_json:string(Value, Begun, byte_size(Begun) + 1024).

-spec fields([{term(), term()}], binary(), non_neg_integer(), non_neg_integer(), map(),
             {pos_integer(), pos_integer(), integer()}) -> {binary(), non_neg_integer()}.
fields([], Acc, _Left, Dropped, _Seen, _Limits) ->
    {Acc, Dropped};
fields(Rest, Acc, Left, Dropped, _Seen, {_, _, End}) when Left =:= 0; byte_size(Acc) >= End ->
    {Acc, Dropped + length(Rest)};
fields([{Key, Value} | Rest], Acc, Left, Dropped, Seen, {Depth, FieldBytes, End} = Limits) ->
    Name = name(erlmcp_log_json:key_text(Key)),
    case Seen of
        #{Name := _} ->
            fields(Rest, Acc, Left, Dropped + 1, Seen, Limits);
        _ ->
            Comma = <<Acc/binary, $,>>,
            Named = <<(erlmcp_log_json:string(Name, Comma, byte_size(Comma) + 2048))/binary, $:>>,
            FieldEnd = min(End, byte_size(Named) + FieldBytes),
            Written = case erlmcp_redaction:is_secret(Key) of
                true -> erlmcp_log_json:string(erlmcp_redaction:redacted(), Named, FieldEnd + 16);
                false -> erlmcp_log_json:value(Value, Named, Depth, FieldEnd)
            end,
            fields(Rest, Written, Left - 1, Dropped, Seen#{Name => []}, Limits)
    end.

-spec name(binary()) -> binary().
name(Name) when ?IS_RESERVED(Name) -> <<"user_", Name/binary>>;
name(Name) -> Name.

-spec closed(binary(), non_neg_integer()) -> binary().
closed(Acc, 0) ->
    <<Acc/binary, "}\n">>;
closed(Acc, Dropped) ->
    <<Acc/binary, ",\"dropped_fields\":", (integer_to_binary(Dropped))/binary, "}\n">>.

%% A defect of this module, or an event that is none. It is counted.
-spec broken(term(), config(), {atom(), term(), list()}) -> binary().
broken(Event, _Config, {Class, Reason, Stack}) ->
    _ = try erlmcp_metrics:inc(<<"erlmcp_log_failures_total">>, #{component => formatter})
        catch _:_ -> ok
        end,
    {Level, Meta} = case Event of
        #{level := Of, meta := With} when is_atom(Of), is_map(With) -> {Of, With};
        _ -> {error, #{}}
    end,
    Text = io_lib:format("erlmcp_log_formatter cannot write an event: ~0tp:~0tp ~0tp",
                         [Class, erlmcp_redaction:term(Reason), places(Stack)],
                         [{chars_limit, 1024}]),
    Chars = case unicode:characters_to_binary(Text) of
        Binary when is_binary(Binary) -> Binary;
        _ -> <<"erlmcp_log_formatter cannot write an event">>
    end,
    Begun = beginning(Level, maps:with([time], Meta)),
    closed(erlmcp_log_json:string(Chars, Begun, 4000), 0).

%% Without arguments: they may be secret.
-spec places(list()) -> [mfa()].
places([{Module, Function, Args, _} | _]) when is_list(Args) ->
    [{Module, Function, length(Args)}];
places([{Module, Function, Arity, _} | _]) ->
    [{Module, Function, Arity}];
places(_Stack) ->
    [].
