%% Random spans: what they may be, their recording, and what has to arrive.
-module(erlmcp_ct_spans).

%% Generators
-export([spans/0]).
-export([body_and_attributes/2]).
%% Recording, on the node
-export([record/1, end_many/2]).
%% What was recorded and what arrived
-export([differences/2]).
-export([value/1, attributes_of/1]).
%% The library's own counts, on the node
-export([counts/0, counts/2, account/0]).

%% Debian's package of PropEr comes without its header.
-import(proper_types, [integer/2, list/1, non_empty/1, resize/2, sized/1]).
-define(LET(Pattern, Type, Made), proper_types:bind(Type, fun(Pattern) -> Made end, false)).

-define(OTEL, erlmcp_otel_instrumentation).
%% 2023-11-14, in nanoseconds: neither the test's own time nor 32 bits.
-define(THEN, 1700000000000000000).
-define(MOST_OPS, 8).

%% Generators

%% Trees of spans, each with its name, kind, attributes and what happens in it.
%%
%% PropEr draws a seed and a size for each tree and shrinks these; the trees are
%% made of them here. Types of this depth take PropEr a second to draw from.
spans() ->
    Tree = sized(fun(Size) -> {integer(0, 1 bsl 32), integer(1, max(1, Size))} end),
    ?LET(Trees, non_empty(sized(fun(Size) -> list_of(min(Size, 5), resize(Size, Tree)) end)),
         [tree(Seed, Size) || {Seed, Size} <- Trees]).

list_of(Most, Type) ->
    ?LET(Items, list(Type), lists:sublist(Items, max(1, Most))).

tree(Seed, Size) ->
    _ = rand:seed(exsss, Seed),
    span(Size, 3).

span(Size, Depth) ->
    #{name => name(),
      kind => pick([default, internal, server, client, producer, consumer]),
      attributes => attributes(Size),
      ops => some(min(Size, ?MOST_OPS), fun() -> op(Size) end),
      times => pick([fun() -> now end, fun given_times/0]),
      %% Where the trace begins: at a root, or elsewhere. Spans inside of others
      %% are their children.
      parent => pick([current, none, fun() -> {remote, remote()} end]),
      style => pick([around, by_hand]),
      children => case Depth of
          0 -> [];
          _ -> some(min(Size div 2, 2), fun() -> span(Size div 2, Depth - 1) end)
      end}.

%% Those of a log record.
body_and_attributes(Seed, Size) ->
    _ = rand:seed(exsss, Seed),
    {_Given, Pairs} = attributes(Size),
    {value_of(Size), maps:to_list(maps:from_list([{text_of(Key), Value} || {Key, Value} <- Pairs]))}.

given_times() ->
    Start = between(1, 1 bsl 62),
    {Start, Start + between(0, 1 bsl 40)}.

name() ->
    pick([fun non_empty_text/0, fun atom_name/0, "tools/call", <<"tools/call größe"/utf8>>]).

%% A map, or pairs of which the last of a key counts.
attributes(Size) ->
    Pairs = some(min(Size, 10), fun() -> {key(), value_of(min(Size, 12))} end),
    case pick([map, pairs]) of
        map -> {map, maps:to_list(maps:from_list([{text_of(Key), Value} || {Key, Value} <- Pairs]))};
        pairs -> {pairs, Pairs}
    end.

op(Size) ->
    pick([
        fun() -> {attribute, key(), value_of(min(Size, 12))} end,
        fun() -> {attributes, attributes(Size)} end,
        fun() -> {event, non_empty_text(), attributes(Size), now} end,
        fun() -> {event, non_empty_text(), attributes(Size), between(?THEN, ?THEN * 2)} end,
        fun() -> {link, remote(), attributes(Size)} end,
        fun() -> {status, pick([ok, error]), text()} end,
        fun() -> {name, name()} end
    ]).

remote() ->
    {between(1, (1 bsl 128) - 1), between(1, (1 bsl 64) - 1),
     pick([<<>>, <<"vendor=opaque">>, <<"a=1,t@v=2">>])}.

%% Some are met again: the last value counts.
key() ->
    pick([fun non_empty_text/0, fun atom_name/0, "http.request.method", <<"mcp.session.id">>,
          <<"a">>, <<"b">>, a, "b"]).

value_of(0) ->
    scalar();
value_of(Size) ->
    case between(1, 12) of
        1 -> some(5, fun() -> value_of(Size div 3) end);
        2 -> {array, some(5, fun scalar/0)};
        3 -> maps:from_list(some(4, fun() -> {non_empty_text(), value_of(Size div 3)} end));
        4 -> some(5, fun scalar/0);
        _ -> scalar()
    end.

scalar() ->
    pick([fun text/0, fun() -> unicode:characters_to_list(text()) end, fun bytes/0,
          fun() -> {bytes, bytes()} end, {bytes, <<"text">>}, true, false, undefined, null,
          fun atom_name/0, fun() -> between(-100, 100) end,
          fun() -> between(-(1 bsl 63), (1 bsl 63) - 1) end,
          %% Where a small integer of the VM ends, and where OTLP's do.
          (1 bsl 59) - 1, 1 bsl 59, -(1 bsl 59), -(1 bsl 59) - 1,
          (1 bsl 63) - 1, -(1 bsl 63), 1 bsl 63, -(1 bsl 63) - 1, 1 bsl 200,
          fun() -> rand:normal() end, 0.0, -0.0, 5.0e-324, 1.7976931348623157e308, 0.1,
          {a, 1}, <<>>, [], fun() -> lists:duplicate(300, $x) end]).

%% Few: atoms stay.
atom_name() ->
    pick([a, ok, 'Elixir.Plug', 'Elixir.plug', 'größe', 'with space',
          fun() -> list_to_atom("atom_" ++ integer_to_list(between(1, 50))) end]).

bytes() ->
    rand:bytes(between(0, 12)).

text() ->
    unicode:characters_to_binary(some(8, fun fragment/0)).

non_empty_text() ->
    unicode:characters_to_binary([pick(["a", "é", "日本", "😀"]), text()]).

fragment() ->
    pick(["\"", "\\", "\n", "\r\n", "\t", " ", "{", "}", ",", "=", "a", "true", "é", "ß", "日本", "😀",
          "👩‍👧", [0], [16#7F], [16#85], [16#2028], [16#FEFF], [16#10FFFF],
          fun() -> [valid(between(0, 16#10FFFF))] end]).

%% Surrogates are no characters; about these two, Erlang and others differ.
valid(C) when C >= 16#D800, C =< 16#DFFF -> $.;
valid(C) when C band 16#FFFE =:= 16#FFFE -> $.;
valid(C) -> C.

pick(Choices) ->
    case lists:nth(rand:uniform(length(Choices)), Choices) of
        Make when is_function(Make, 0) -> Make();
        Value -> Value
    end.

between(Low, High) ->
    Low + rand:uniform(High - Low + 1) - 1.

some(Most, Make) ->
    [Make() || _ <- lists:seq(1, between(0, Most))].

%% Recording

%% Records trees of spans: what has to arrive, by span id.
record(Trees) ->
    maps:from_list(lists:append([record_tree(Tree) || Tree <- Trees])).

record_tree(#{style := Style, children := Children, ops := Ops} = Tree) ->
    {Name, Options, Context} = start_arguments(Tree),
    Outside = current_ids(),
    Begin = erlang:system_time(nanosecond),
    Inside = fun(Span) ->
        Done = [perform(Span, Op) || Op <- Ops],
        Below = lists:append([record_tree(Child) || Child <- Children]),
        %% The children have left what was current.
        Span = ?OTEL:current_span(),
        {Span, Done, Below}
    end,
    {Parent, {Span, Done, Below}} = ?OTEL:with_context(Context, fun() ->
        {parent_ids(Options), in_span(Style, Name, Options, maps:get(times, Tree), Inside)}
    end),
    Outside = current_ids(),
    TraceId = binary:decode_hex(?OTEL:trace_id(Span)),
    SpanId = binary:decode_hex(?OTEL:span_id(Span)),
    Meanwhile = {Begin, erlang:system_time(nanosecond)},
    [{SpanId, expected(Tree, Done, Parent, TraceId, Meanwhile)} | Below].

in_span(around, Name, Options, _Times, Inside) ->
    ?OTEL:with_span(Name, Options, fun() -> Inside(?OTEL:current_span()) end);
in_span(by_hand, Name, Options, Times, Inside) ->
    Span = ?OTEL:start_span(Name, Options),
    Result = ?OTEL:with_context(Span, fun() -> Inside(Span) end),
    true = case Times of
        now -> ?OTEL:end_span(Span);
        {_Start, End} -> ?OTEL:end_span(Span, End)
    end,
    Result.

start_arguments(#{name := Name, kind := Kind, attributes := Attributes, times := Times, style := Style,
                  parent := Parent}) ->
    Options = maps:from_list(
        [{kind, Kind} || Kind =/= default] ++
        [{attributes, given(Attributes)} || Attributes =/= {pairs, []}] ++
        [{parent, none} || Parent =:= none] ++
        %% with_span/3 ends at its own time.
        [{start_time, Start} || {Start, _} <- [Times], Style =:= by_hand]),
    Context = case Parent of
        {remote, Remote} -> ?OTEL:extract(headers(Remote));
        _ -> ?OTEL:current_context()
    end,
    {Name, Options, Context}.

headers({Trace, Span, State}) ->
    TraceParent = io_lib:format("00-~32.16.0b-~16.16.0b-01", [Trace, Span]),
    [{<<"traceparent">>, iolist_to_binary(TraceParent)}] ++
        [{<<"tracestate">>, State} || State =/= <<>>].

current_ids() ->
    {?OTEL:trace_id(), ?OTEL:span_id()}.

parent_ids(#{parent := none}) ->
    none;
parent_ids(_Options) ->
    case current_ids() of
        {undefined, undefined} -> none;
        {Trace, Span} -> {binary:decode_hex(Trace), binary:decode_hex(Span)}
    end.

%% An operation as it has to arrive.
perform(Span, {attribute, Key, Value} = Op) ->
    true = ?OTEL:set_attribute(Span, Key, Value),
    Op;
perform(Span, {attributes, Attributes} = Op) ->
    true = ?OTEL:set_attributes(Span, given(Attributes)),
    Op;
perform(Span, {event, Name, Attributes, now}) ->
    Before = erlang:system_time(nanosecond),
    true = ?OTEL:add_event(Span, Name, given(Attributes)),
    {event, Name, Attributes, {Before, erlang:system_time(nanosecond)}};
perform(Span, {event, Name, Attributes, Time}) ->
    true = ?OTEL:add_event(Span, Name, given(Attributes), Time),
    {event, Name, Attributes, {Time, Time}};
perform(Span, {link, Remote, Attributes} = Op) ->
    {Target, _Baggage} = ?OTEL:extract(headers(Remote)),
    true = ?OTEL:add_link(Span, {Target, given(Attributes)}),
    Op;
perform(Span, {status, Code, Message} = Op) ->
    true = ?OTEL:set_status(Span, Code, Message),
    Op;
perform(Span, {name, Name} = Op) ->
    true = ?OTEL:update_name(Span, Name),
    Op.

given({map, Pairs}) -> maps:from_list(Pairs);
given({pairs, Pairs}) -> Pairs.

%% Ends spans by several processes, Bytes of text in each: how many.
end_many(Count, Bytes) ->
    Text = binary:copy(<<"x">>, Bytes),
    Each = 4,
    Ended = erlmcp_ct_load:together(Each, fun(Part) ->
        length([ended || N <- lists:seq(Part, Count, Each),
                         ok =:= ?OTEL:with_span(<<"many">>, #{attributes => #{n => N, text => Text}},
                                                fun() -> ok end)])
    end),
    lists:sum(Ended).

%% What has to arrive

expected(#{name := Name, kind := Kind, attributes := Attributes, times := Times, style := Style,
           parent := From}, Done, Parent, TraceId, {Begin, End}) ->
    {Start, Finish} = case {Style, Times} of
        {by_hand, {S, F}} -> {{S, S}, {F, F}};
        %% A start that is given and an end that is not, or neither.
        _ -> {{Begin, End}, {Begin, End}}
    end,
    #{
        trace_id => case Parent of {Trace, _} -> Trace; none -> TraceId end,
        parent_span_id => case Parent of {_, Span} -> Span; none -> <<>> end,
        trace_state => case {From, Parent} of {{remote, {_, _, State}}, _} -> State; _ -> any end,
        name => text_of(lists:last([Name | [N || {name, N} <- Done]])),
        kind => case Kind of default -> internal; _ -> Kind end,
        start_time => Start,
        end_time => Finish,
        attributes => attributes_of(lists:append(
            [pairs(Attributes) | [pairs(Op) || Op <- Done]])),
        events => [#{name => EventName, time => Time, attributes => attributes_of(pairs(EventAttributes))}
                   || {event, EventName, EventAttributes, Time} <- Done],
        links => [#{trace_id => <<LinkTrace:128>>, span_id => <<LinkSpan:64>>, trace_state => State,
                    attributes => attributes_of(pairs(LinkAttributes))}
                  || {link, {LinkTrace, LinkSpan, State}, LinkAttributes} <- Done],
        status => lists:foldl(fun status/2, {unset, <<>>}, Done),
        dropped_attributes => 0, dropped_events => 0, dropped_links => 0
    }.

pairs({map, Pairs}) -> Pairs;
pairs({pairs, Pairs}) -> Pairs;
pairs({attribute, Key, Value}) -> [{Key, Value}];
pairs({attributes, Attributes}) -> pairs(Attributes);
pairs(_Op) -> [].

%% Only an error has a message; ok is final.
status({status, ok, _Message}, _Before) -> {ok, <<>>};
status({status, error, _Message}, {ok, <<>>}) -> {ok, <<>>};
status({status, error, Message}, _Before) -> {error, Message};
status(_Op, Before) -> Before.

attributes_of(Pairs) ->
    maps:from_list([{text_of(Key), value(Value)} || {Key, Value} <- Pairs]).

%% A term as the value that arrives.
value(true) -> {bool, true};
value(false) -> {bool, false};
value(Atom) when is_atom(Atom) -> {string, shown(Atom)};
value(Integer) when is_integer(Integer), Integer >= -(1 bsl 63), Integer < 1 bsl 63 -> {int, Integer};
value(Float) when is_float(Float) -> {double, Float};
value({bytes, Bytes}) when is_binary(Bytes) -> {bytes, Bytes};
value({array, List}) when is_list(List) -> {array, [value(Element) || Element <- List]};
value(Map) when is_map(Map) -> {map, attributes_of(maps:to_list(Map))};
value([]) -> {array, []};
value(List) when is_list(List) ->
    case io_lib:printable_unicode_list(List) of
        true -> {string, unicode:characters_to_binary(List)};
        false -> {array, [value(Element) || Element <- List]}
    end;
value(Binary) when is_binary(Binary) ->
    case unicode:characters_to_binary(Binary) of
        Binary -> {string, Binary};
        _ -> {bytes, Binary}
    end;
value(Other) ->
    {string, unicode:characters_to_binary(io_lib:format("~0tp", [Other]))}.

text_of(Atom) when is_atom(Atom) -> shown(Atom);
text_of(Text) -> unicode:characters_to_binary(Text).

%% A module of Elixir goes by the name that Elixir shows.
shown('Elixir.Plug') -> <<"Plug">>;
shown(Atom) -> atom_to_binary(Atom).

%% Comparing

%% What is not as it was recorded, in words; nothing if all is. Floats are
%% compared by their bits.
differences(Expected, Received) ->
    ById = maps:from_list([{Id, Span} || #{span_id := Id} = Span <- Received]),
    [{twice, Received} || map_size(ById) =/= length(Received)] ++
    [{unknown_span, Span} || {Id, Span} <- maps:to_list(ById), not is_map_key(Id, Expected)] ++
    lists:append([case ById of
                      #{Id := Span} -> span_differences(Wanted, Span);
                      _ -> [{missing, Wanted}]
                  end || {Id, Wanted} <- maps:to_list(Expected)]).

span_differences(Wanted, Span) ->
    [{Key, {recorded, Value}, {arrived, maps:get(Key, Span)}}
     || {Key, Value} <- maps:to_list(Wanted), not agrees(Key, Value, maps:get(Key, Span))] ++
    [{not_sampled, Flags} || #{flags := Flags} <- [Span], Flags band 1 =:= 0].

agrees(_Key, any, _Got) ->
    true;
agrees(Time, {Earliest, Latest}, Got) when Time =:= start_time; Time =:= end_time; Time =:= time ->
    %% The wall clock of the library and of the VM differ by the VM's corrections.
    Slack = case Earliest =:= Latest of true -> 0; false -> 1000000000 end,
    Earliest - Slack =< Got andalso Got =< Latest + Slack;
agrees(List, Wanted, Got) when List =:= events; List =:= links ->
    length(Wanted) =:= length(Got) andalso
        lists:all(fun({W, G}) ->
                      lists:all(fun({Key, Value}) -> agrees(Key, Value, maps:get(Key, G)) end,
                                maps:to_list(W))
                  end, lists:zip(Wanted, Got));
agrees(_Key, Wanted, Got) ->
    bits(Wanted) =:= bits(Got).

%% 0.0 and -0.0 are one to =:=, before OTP 27.
bits({double, Float}) -> <<Float/float>>;
bits(Map) when is_map(Map) -> [{Key, bits(Value)} || {Key, Value} <- lists:sort(maps:to_list(Map))];
bits(Tuple) when is_tuple(Tuple) -> bits(tuple_to_list(Tuple));
bits(List) when is_list(List) -> [bits(Element) || Element <- List];
bits(Other) -> Other.

%% The library's own counts

%% Of spans: exported, and dropped by reason, as a scrape tells them.
counts() ->
    counts(traces, erlmcp_metrics:scrape(text)).

%% As counts/0, of any signal in a scrape.
counts(Signal, Scrape) ->
    #{exported => lists:sum([Value || {_, Value} <- by_label(Scrape, Signal, "erlmcp_otel_records_exported_total")]),
      dropped => by_reason(Scrape, Signal, "erlmcp_otel_records_dropped_total")}.

%% Where all spans are, of one scrape.
account() ->
    Scrape = erlmcp_metrics:scrape(text),
    {match, [Ended]} = re:run(Scrape, "^erlmcp_otel_spans_ended_total ([0-9]+)$",
                              [multiline, {capture, all_but_first, binary}]),
    Sum = fun(Name) -> lists:sum([Value || {_, Value} <- by_label(Scrape, traces, Name)]) end,
    Sums = maps:map(fun(_, Name) -> Sum(Name) end,
             #{recovered => "erlmcp_otel_spool_recovered_records_total",
               exported => "erlmcp_otel_records_exported_total",
               kept => "erlmcp_otel_records_kept_total",
               dropped => "erlmcp_otel_records_dropped_total",
               held => "erlmcp_otel_queue_records",
               spooled => "erlmcp_otel_spool_records"}),
    Sums#{ended => binary_to_integer(Ended)}.

by_reason(Scrape, Signal, Name) ->
    maps:from_list([{binary_to_atom(Reason), Value}
                    || {Labels, Value} <- by_label(Scrape, Signal, Name), Value > 0,
                       {match, [Reason]} <- [re:run(Labels, "reason=\"([^\"]*)\"",
                                                    [{capture, all_but_first, binary}])]]).

by_label(Scrape, Signal, Name) ->
    Line = ["^", Name, "\\{(.*signal=\"", atom_to_list(Signal), "\".*)\\} ([0-9]+)$"],
    case re:run(Scrape, Line, [global, multiline, {capture, all_but_first, binary}]) of
        {match, Found} -> [{Labels, binary_to_integer(Value)} || [Labels, Value] <- Found];
        nomatch -> []
    end.
