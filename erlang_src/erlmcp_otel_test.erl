%% @doc For tests of applications: the spans and the counts of one test.
%%
%% ```
%% handles_a_ping_test() ->
%%     {ok, Spans} = erlmcp_otel_test:capture(fun() -> my_server:ping() end),
%%     erlmcp_otel_test:assert_span(<<"ping">>, #{kind => server, status => unset}, Spans).
%% '''
%%
%% Spans are caught in memory as they are exported, whatever the exporter does
%% with them; the application need not be started. A capture catches the spans of
%% one trace, in which the calling process is until the capture is stopped, so
%% that tests can run side by side. That includes processes which carry the
%% context, and traces that link to it, as {@link
%% erlmcp_otel_instrumentation:trace_request/2} does for a request with a parent
%% of its own. What begins traces of its own otherwise (processes that were
%% there before, the option `parent => none') needs the option `all', which
%% catches the whole node's spans.
%%
%% Only spans that have ended are caught, and only those that are recorded: the
%% trace counts as sampled, which the samplers `parentbased_...' follow, the
%% default among them. A capture holds 64 MiB of spans.
%%
%% == Expectations ==
%%
%% {@link assert_span/3} and its siblings compare what is expected, a map, with
%% a part of the span:
%% <ul>
%% <li>`kind', `trace_id', `span_id', `dropped_attributes' and others: equal</li>
%% <li>`status': `unset', `ok', `error' with any message, or
%%     `{error, Message}'</li>
%% <li>`attributes': those given, as they would be given to
%%     {@link erlmcp_otel_instrumentation:set_attribute/2}, among others;
%%     <code>'_'</code> for any value</li>
%% <li>`parent': the name of the parent, `undefined' or `nil' where there is
%%     none</li>
%% <li>`events': those given, by name, or as `{Name, Attributes}', among
%%     others</li>
%% </ul>
%% What is not as expected raises an `error' with a term that tells how the spans
%% of this name differ, and which there are.
-module(erlmcp_otel_test).

%% API: spans
-export([capture/1]).
-export([capture/2]).
-export([start/0]).
-export([start/1]).
-export([stop/1]).
-export([spans/1]).
-export([find/2]).
-export([find_all/2]).
-export([assert_span/2]).
-export([assert_span/3]).
-export([refute_span/2]).
-export([refute_span/3]).
-export([wait_for/2]).
-export([wait_for/3]).
-export([wait_for/4]).

%% API: metrics
-export([value_change/3]).
-export([assert_counted/4]).

-export_type([capture/0]).
-export_type([captured/0]).
-export_type([expected/0]).

-type name() :: erlmcp_otel_instrumentation:name().
-opaque capture() :: {capture, Id :: non_neg_integer(), trace() | all,
                      erlmcp_otel_instrumentation:token() | none}.
-type trace() :: {TraceId :: binary(), SpanId :: binary()}.
-type captured() :: #{
    name := binary(),
    kind := erlmcp_otel_instrumentation:kind(),
    trace_id := binary(),
    span_id := binary(),
    parent_span_id := binary() | undefined,
    trace_state := binary(),
    start_time := non_neg_integer(),
    end_time := non_neg_integer(),
    attributes := #{binary() => term()},
    dropped_attributes := non_neg_integer(),
    events := [#{name := binary(), time := non_neg_integer(),
                 attributes := #{binary() => term()}}],
    dropped_events := non_neg_integer(),
    links := [#{trace_id := binary(), span_id := binary(), trace_state := binary(),
                attributes := #{binary() => term()}}],
    dropped_links := non_neg_integer(),
    status := unset | ok | {error, Message :: binary()}
}.
%% A span that has ended. Ids are hexadecimal digits, times nanoseconds since
%% 1970; texts are binaries, bytes are `{bytes, Binary}'.
-type expected() :: #{atom() => term()}.

-define(NIF, erlmcp_instrumentation_nif).
-define(WAIT_MS, 2000).
-define(AGAIN_MS, 10).

%% API: spans

%% @doc `capture(Fun, #{})'.
-spec capture(fun(() -> Result)) -> {Result, [captured()]}.
capture(Fun) ->
    capture(Fun, #{}).

%% @doc Calls `Fun' and returns its result with the spans that ended meanwhile,
%% in the order in which they began. What `Fun' raises goes to the caller. With
%% the option `all', the spans of the whole node.
-spec capture(fun(() -> Result), #{all => boolean()} | all) -> {Result, [captured()]}.
capture(Fun, Options) ->
    Capture = start(Options),
    try
        Result = Fun(),
        {Result, spans(Capture)}
    after
        stop(Capture)
    end.

%% @doc `start(#{})'.
-spec start() -> capture().
start() ->
    start(#{}).

%% @doc Begins to catch spans, until {@link stop/1}, which the same process has
%% to call. To be used in the set-up of a test; {@link capture/1} otherwise.
-spec start(#{all => boolean()} | all) -> capture().
start(all) ->
    start(#{all => true});
start(#{all := true}) ->
    {capture, begin_capture(), all, none};
start(#{}) ->
    Id = begin_capture(),
    %% A span that was never recorded: those of the test have no parent then,
    %% and whoever asks sees no span that is not the test's.
    TraceId = non_zero(16),
    SpanId = non_zero(8),
    Token = erlmcp_otel_instrumentation:attach(<<TraceId/binary, SpanId/binary, 1, 0:64>>),
    {capture, Id, {hex(TraceId), hex(SpanId)}, Token}.

%% @doc Ends a capture and returns what it has caught.
-spec stop(capture()) -> [captured()].
stop({capture, Id, _Trace, Token} = Capture) ->
    Spans = spans(Capture),
    _ = ?NIF:capture_stop(Id),
    case Token of
        none -> ok;
        _ -> erlmcp_otel_instrumentation:detach(Token)
    end,
    Spans.

%% @doc What has been caught so far, in the order in which it began.
-spec spans(capture()) -> [captured()].
spans({capture, Id, Trace, _Token}) ->
    All = lists:sort(fun(#{start_time := A}, #{start_time := B}) -> A =< B end,
                     ?NIF:capture_spans(Id)),
    of_trace(Trace, All).

%% @doc The first span of a name.
-spec find(name(), [captured()]) -> captured() | undefined.
find(Name, Spans) ->
    case find_all(Name, Spans) of
        [Span | _] -> Span;
        [] -> undefined
    end.

%% @doc The spans of a name.
-spec find_all(name(), [captured()]) -> [captured()].
find_all(Name, Spans) ->
    Text = text(Name),
    [Span || #{name := Found} = Span <- Spans, Found =:= Text].

%% @doc `assert_span(Name, #{}, Spans)'.
-spec assert_span(name(), [captured()]) -> captured().
assert_span(Name, Spans) ->
    assert_span(Name, #{}, Spans).

%% @doc Returns the first span of a name that is as expected. Raises
%% `{no_such_span, Details}' if there is none.
%% ```
%% Call = erlmcp_otel_test:assert_span("tools/call search", #{
%%     kind => server,
%%     status => error,
%%     attributes => #{'gen_ai.tool.name' => search, 'error.type' => '_'},
%%     events => [exception]
%% }, Spans),
%% erlmcp_otel_test:assert_span("SELECT", #{parent => "tools/call search"}, Spans).
%% '''
-spec assert_span(name(), expected(), [captured()]) -> captured().
assert_span(Name, Expected, Spans) ->
    case matching(Name, Expected, Spans) of
        [Span | _] ->
            Span;
        [] ->
            error({no_such_span, [{name, text(Name)}, {expected, Expected}
                                  | what_there_was(Name, Expected, Spans)]})
    end.

%% @doc `refute_span(Name, #{}, Spans)'.
-spec refute_span(name(), [captured()]) -> ok.
refute_span(Name, Spans) ->
    refute_span(Name, #{}, Spans).

%% @doc Raises `{unexpected_span, Details}' if there is a span that
%% {@link assert_span/3} would find.
-spec refute_span(name(), expected(), [captured()]) -> ok.
refute_span(Name, Expected, Spans) ->
    case matching(Name, Expected, Spans) of
        [] ->
            ok;
        [Span | _] ->
            error({unexpected_span, [{name, text(Name)}, {unexpected, Expected}, {found, Span}]})
    end.

%% @doc `wait_for(Name, #{}, Capture)'.
-spec wait_for(name(), capture()) -> captured().
wait_for(Name, Capture) ->
    wait_for(Name, #{}, Capture).

%% @doc `wait_for(Name, Expected, Capture, 2000)'.
-spec wait_for(name(), expected(), capture()) -> captured().
wait_for(Name, Expected, Capture) ->
    wait_for(Name, Expected, Capture, ?WAIT_MS).

%% @doc As {@link assert_span/3}, for a span that another process will end: waits
%% for it, at most so many milliseconds.
-spec wait_for(name(), expected(), capture(), TimeoutMs :: non_neg_integer()) -> captured().
wait_for(Name, Expected, Capture, TimeoutMs) ->
    wait_until(Name, Expected, Capture, erlang:monotonic_time(millisecond) + TimeoutMs).

%% API: metrics

%% @doc Calls `Fun' and returns its result with what it has added to a counter or
%% a gauge, or how many observations to a histogram. A series that was not there
%% counts as 0. The registry is the node's: other processes may record as well.
%% ```
%% {{ok, _}, 1} = erlmcp_otel_test:value_change(requests_total, #{method => ping},
%%                                              fun() -> my_server:ping() end).
%% '''
-spec value_change(erlmcp_instrumentation_nif:name(), erlmcp_instrumentation_nif:labels(),
                   fun(() -> Result)) -> {Result, number()}.
value_change(Name, Labels, Fun) ->
    Before = number(Name, Labels),
    Result = Fun(),
    {Result, number(Name, Labels) - Before}.

%% @doc As {@link value_change/3}; raises `{not_counted, Details}' unless the
%% change is `Change'.
-spec assert_counted(erlmcp_instrumentation_nif:name(), erlmcp_instrumentation_nif:labels(),
                     Change :: number(), fun(() -> Result)) -> Result.
assert_counted(Name, Labels, Change, Fun) ->
    case value_change(Name, Labels, Fun) of
        {Result, Changed} when Changed == Change ->
            Result;
        {_Result, Changed} ->
            error({not_counted, [{name, Name}, {labels, Labels}, {expected, Change},
                                 {counted, Changed}, {now, number(Name, Labels)}]})
    end.

%% Internals

-spec begin_capture() -> non_neg_integer().
begin_capture() ->
    case ?NIF:capture_start() of
        Id when is_integer(Id) -> Id;
        nil -> error(too_many_captures)
    end.

-spec wait_until(name(), expected(), capture(), integer()) -> captured().
wait_until(Name, Expected, Capture, End) ->
    Spans = spans(Capture),
    case matching(Name, Expected, Spans) of
        [Span | _] ->
            Span;
        [] ->
            case erlang:monotonic_time(millisecond) < End of
                true ->
                    timer:sleep(?AGAIN_MS),
                    wait_until(Name, Expected, Capture, End);
                false ->
                    assert_span(Name, Expected, Spans)
            end
    end.

%% The trace, and those that link to it. The span that stands for the test is no
%% parent.
-spec of_trace(trace() | all, [captured()]) -> [captured()].
of_trace(all, Spans) ->
    Spans;
of_trace({TraceId, SpanId}, Spans) ->
    Linked = [Other || #{trace_id := Other, links := Links} <- Spans,
                       #{trace_id := Target} <- Links, Target =:= TraceId],
    [without_parent(SpanId, Span) || #{trace_id := Of} = Span <- Spans,
                                     lists:member(Of, [TraceId | Linked])].

-spec without_parent(binary(), captured()) -> captured().
without_parent(SpanId, #{parent_span_id := SpanId} = Span) ->
    Span#{parent_span_id := undefined};
without_parent(_SpanId, Span) ->
    Span.

-spec matching(name(), expected(), [captured()]) -> [captured()].
matching(Name, Expected, Spans) ->
    [Span || Span <- find_all(Name, Spans), differences(Expected, Span, Spans) =:= []].

-spec what_there_was(name(), expected(), [captured()]) -> [{atom(), term()}].
what_there_was(Name, Expected, Spans) ->
    Names = {spans, [{Found, Status, Attributes}
                     || #{name := Found, status := Status, attributes := Attributes} <- Spans]},
    case find_all(Name, Spans) of
        [] -> [Names];
        Named -> [{differences, [differences(Expected, Span, Spans) || Span <- Named]}, Names]
    end.

%% `{What, {expected, A}, {found, B}}' for each part that is another.
-spec differences(expected(), captured(), [captured()]) -> [tuple()].
differences(Expected, Span, Spans) ->
    lists:append([difference(Key, Wanted, Span, Spans) || {Key, Wanted} <- maps:to_list(Expected)]).

-spec difference(atom(), term(), captured(), [captured()]) -> [tuple()].
difference(status, error, #{status := {error, _Message}}, _Spans) ->
    [];
difference(status, {error, Message}, #{status := Found}, _Spans) ->
    differ(status, {error, text(Message)}, Found);
difference(attributes, Wanted, #{attributes := Found}, _Spans) ->
    attribute_differences(Wanted, Found);
difference(parent, Wanted, Span, Spans) ->
    Name = case Wanted of
        undefined -> undefined;
        nil -> undefined;
        _ -> text(Wanted)
    end,
    differ(parent, Name, parent(Span, Spans));
difference(events, Wanted, #{events := Found}, _Spans) ->
    [{event, {expected, Event}, {found, Found}}
     || Event <- Wanted, not lists:any(fun(One) -> is_event(Event, One) end, Found)];
difference(Key, Wanted, Span, _Spans) when is_map_key(Key, Span) ->
    differ(Key, Wanted, maps:get(Key, Span));
difference(Key, Wanted, _Span, _Spans) ->
    error({bad_expectation, Key, Wanted}).

-spec differ(term(), term(), term()) -> [tuple()].
differ(_What, Same, Same) -> [];
differ(What, Wanted, Found) -> [{What, {expected, Wanted}, {found, Found}}].

-spec attribute_differences(erlmcp_otel_instrumentation:attributes(), #{binary() => term()}) ->
    [tuple()].
attribute_differences(Wanted, Found) when is_map(Wanted) ->
    attribute_differences(maps:to_list(Wanted), Found);
attribute_differences(Wanted, Found) ->
    lists:append([attribute_difference(text(Key), Value, Found) || {Key, Value} <- Wanted]).

-spec attribute_difference(binary(), term(), #{binary() => term()}) -> [tuple()].
attribute_difference(Key, Wanted, Found) ->
    case {Wanted, Found} of
        {'_', #{Key := _}} -> [];
        {_, #{Key := Value}} -> differ({attribute, Key}, value(Wanted), Value);
        {_, _} -> [{{attribute, Key}, {expected, value(Wanted)}, not_there}]
    end.

-spec is_event(name() | {name(), erlmcp_otel_instrumentation:attributes()}, map()) -> boolean().
is_event({Name, Attributes}, #{name := Found, attributes := Has}) ->
    text(Name) =:= Found andalso attribute_differences(Attributes, Has) =:= [];
is_event(Name, #{name := Found}) ->
    text(Name) =:= Found.

%% A parent that is not among the spans goes by its id.
-spec parent(captured(), [captured()]) -> binary() | undefined | {span_id, binary()}.
parent(#{parent_span_id := undefined}, _Spans) ->
    undefined;
parent(#{parent_span_id := Parent}, Spans) ->
    case [Name || #{span_id := Id, name := Name} <- Spans, Id =:= Parent] of
        [Name | _] -> Name;
        [] -> {span_id, Parent}
    end.

%% A value as it is caught, of one as it is given.
-spec value(term()) -> term().
value(Value) when is_boolean(Value) -> Value;
value(Atom) when is_atom(Atom) -> erlmcp_instrumentation_elixir:atom_text(Atom);
value({array, List}) when is_list(List) -> [value(Element) || Element <- List];
value(Map) when is_map(Map) ->
    maps:from_list([{text(Key), value(Value)} || {Key, Value} <- maps:to_list(Map)]);
value([_ | _] = List) ->
    case io_lib:printable_unicode_list(List) of
        true -> unicode:characters_to_binary(List);
        false -> [value(Element) || Element <- List]
    end;
value(Binary) when is_binary(Binary) ->
    case unicode:characters_to_binary(Binary) of
        Binary -> Binary;
        _ -> {bytes, Binary}
    end;
value(Value) ->
    Value.

-spec text(name()) -> binary().
text(Atom) when is_atom(Atom) -> erlmcp_instrumentation_elixir:atom_text(Atom);
text(Chars) ->
    case unicode:characters_to_binary(Chars) of
        Text when is_binary(Text) -> Text;
        _ -> error({bad_name, Chars})
    end.

-spec number(erlmcp_instrumentation_nif:name(), erlmcp_instrumentation_nif:labels()) -> number().
number(Name, Labels) ->
    case erlmcp_metrics:value(Name, Labels) of
        undefined -> 0;
        Number when is_number(Number) -> Number;
        #{count := Count} -> Count;
        Other -> error({no_number, Name, Labels, Other})
    end.

-spec non_zero(pos_integer()) -> binary().
non_zero(Size) ->
    case rand:bytes(Size) of
        <<0:Size/unit:8>> -> non_zero(Size);
        Bytes -> Bytes
    end.

-spec hex(binary()) -> binary().
hex(Bytes) ->
    string:lowercase(binary:encode_hex(Bytes)).
