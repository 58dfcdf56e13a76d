%% Reads expositions, strictly, and written from the formats' specifications
%% alone: whatever a scraper could stumble over is an error here.
%%
%% parse/2 gives #{families => #{Name => #{type, help, unit}},
%% samples => #{{SampleName, #{Label => Value}} => Number}}, or raises
%% {bad_exposition, Why, Line}. Numbers are integers where integers are written.
-module(erlmcp_ct_exposition).

-export([parse/2]).
-export([value/3]).

-record(text, {
    format,
    families = #{},
    samples = #{},
    %% Whose sample names these are.
    owners = #{},
    current,
    of_current = []
}).

parse(protobuf, Binary) ->
    protobuf(Binary, #{families => #{}, samples => #{}});
parse(Format, Binary) ->
    utf8 =:= encoding(Binary) orelse bad(not_utf8, <<>>),
    Lines = lines(Binary),
    Read = lists:foldl(fun line/2, #text{format = Format}, body(Format, Lines)),
    #text{families = Families, samples = Samples} = end_family(Read),
    #{families => Families, samples => Samples}.

%% The value of a sample, or undefined.
value(#{samples := Samples}, Name, Labels) ->
    maps:get({Name, Labels}, Samples, undefined).

%% Lines

encoding(Binary) ->
    case unicode:characters_to_binary(Binary) of
        Binary -> utf8;
        _ -> other
    end.

lines(<<>>) ->
    [];
lines(Binary) ->
    Parts = binary:split(Binary, <<"\n">>, [global]),
    {Lines, [Last]} = lists:split(length(Parts) - 1, Parts),
    Last =:= <<>> orelse bad(no_line_feed_at_the_end, Last),
    Lines.

body(text, Lines) ->
    Lines;
body(openmetrics, []) ->
    bad(no_eof, <<>>);
body(openmetrics, Lines) ->
    {Body, [Last]} = lists:split(length(Lines) - 1, Lines),
    Last =:= <<"# EOF">> orelse bad(no_eof, Last),
    Body.

line(<<"# HELP ", Rest/binary>> = Line, Text) ->
    Read = #text{families = Families} = end_family(Text),
    {Name, Help} = word(Rest, Line),
    is_name(Name) orelse bad(family_name, Line),
    is_map_key(Name, Families) andalso bad(family_twice, Line),
    Read#text{
        families = Families#{Name => #{help => unescape_help(Read#text.format, Help, Line)}},
        current = Name
    };
line(<<"# TYPE ", Rest/binary>> = Line, #text{current = Name, families = Families} = Text) ->
    {Name, Type} = word(Rest, Line),
    lists:member(Type, types(Text#text.format)) orelse bad(type, Line),
    Family = maps:get(Name, Families),
    is_map_key(type, Family) andalso bad(type_twice, Line),
    Text#text{families = Families#{Name := Family#{type => binary_to_atom(Type)}}};
line(<<"# UNIT ", Rest/binary>> = Line,
     #text{format = openmetrics, current = Name, families = Families} = Text) ->
    {Name, Unit} = word(Rest, Line),
    Unit =:= <<>> andalso bad(empty_unit, Line),
    Suffix = <<"_", Unit/binary>>,
    Size = byte_size(Suffix),
    byte_size(Name) > Size andalso binary:part(Name, byte_size(Name), -Size) =:= Suffix
        orelse bad(unit_is_no_suffix, Line),
    Family = maps:get(Name, Families),
    is_map_key(unit, Family) andalso bad(unit_twice, Line),
    Text#text{families = Families#{Name := Family#{unit => Unit}}};
line(<<"#", _/binary>> = Line, _Text) ->
    bad(comment, Line);
line(Line, #text{current = undefined}) ->
    bad(sample_without_family, Line);
line(Line, #text{current = Family, samples = Samples, owners = Owners} = Text) ->
    {Name, AfterName} = take(Line, fun is_name_byte/1),
    is_name(Name) orelse bad(sample_name, Line),
    {Labels, AfterLabels} = labels(AfterName, Line),
    Number = case AfterLabels of
        <<" ", Rest/binary>> -> number(without_exemplar(Text#text.format, Name, Rest, Line), Line);
        _ -> bad(no_value, Line)
    end,
    Type = maps:get(type, maps:get(Family, Text#text.families), untyped_family),
    lists:member(Name, sample_names(Text#text.format, Type, Family))
        orelse bad({not_a_sample_of, Family, Type}, Line),
    Family =:= maps:get(Name, Owners, Family) orelse bad(sample_of_another_family, Line),
    Key = {Name, Labels},
    is_map_key(Key, Samples) andalso bad(sample_twice, Line),
    Type =:= counter andalso not (is_number(Number) andalso Number >= 0)
        andalso bad(counter_value, Line),
    Text#text{
        samples = Samples#{Key => Number},
        owners = Owners#{Name => Family},
        of_current = [{Name, Labels, Number} | Text#text.of_current]
    }.

%% OpenMetrics allows exemplars on buckets and totals only, `{labels} value time'.
without_exemplar(Format, Name, Rest, Line) ->
    case binary:split(Rest, <<" # ">>) of
        [Word, Exemplar] when Format =:= openmetrics ->
            lists:any(fun(Suffix) -> lists:suffix(Suffix, binary_to_list(Name)) end, ["_bucket", "_total"])
                orelse bad(exemplar_on, Line),
            {#{<<"trace_id">> := _}, <<" ", Numbers/binary>>} = labels(Exemplar, Line),
            [Value | Time] = binary:split(Numbers, <<" ">>),
            [number(Number, Line) || Number <- [Value | Time]],
            Word;
        _ ->
            Rest
    end.

types(text) -> [<<"counter">>, <<"gauge">>, <<"histogram">>, <<"untyped">>];
types(openmetrics) -> [<<"counter">>, <<"gauge">>, <<"histogram">>, <<"info">>, <<"unknown">>].

sample_names(_Format, histogram, Family) ->
    [<<Family/binary, Suffix/binary>> || Suffix <- [<<"_bucket">>, <<"_count">>, <<"_sum">>]];
sample_names(openmetrics, counter, Family) ->
    [<<Family/binary, "_total">>];
sample_names(openmetrics, info, Family) ->
    [<<Family/binary, "_info">>];
sample_names(_Format, untyped_family, _Family) ->
    [];
sample_names(_Format, _Type, Family) ->
    [Family].

%% Families

end_family(#text{current = undefined} = Text) ->
    Text;
end_family(#text{current = Name, families = Families, of_current = Samples} = Text) ->
    Samples =:= [] andalso bad(family_without_samples, Name),
    #{type := Type} = maps:get(Name, Families),
    Type =:= histogram andalso histograms(Name, lists:reverse(Samples)),
    Text#text{current = undefined, of_current = []}.

%% Each label set has buckets in rising order up to +Inf, a sum and a count.
histograms(Family, Samples) ->
    Of = fun(Suffix) ->
        Sought = <<Family/binary, Suffix/binary>>,
        [{Labels, Number} || {Name, Labels, Number} <- Samples, Name =:= Sought]
    end,
    Buckets = lists:foldl(
        fun({Labels, Number}, Acc) ->
            {Bound, Rest} = case maps:take(<<"le">>, Labels) of
                {Text, Others} -> {number(Text, Family), Others};
                error -> bad(bucket_without_le, Family)
            end,
            Acc#{Rest => [{Bound, Number} | maps:get(Rest, Acc, [])]}
        end, #{}, Of(<<"_bucket">>)),
    Counts = maps:from_list(Of(<<"_count">>)),
    Sums = maps:from_list(Of(<<"_sum">>)),
    SeriesOf = fun(Map) -> lists:sort(maps:keys(Map)) end,
    SeriesOf(Buckets) =:= SeriesOf(Counts) andalso SeriesOf(Counts) =:= SeriesOf(Sums)
        orelse bad(histogram_parts_differ, Family),
    maps:foreach(
        fun(Labels, [{Last, Total} | _] = Reversed) ->
            Last =:= infinity orelse bad(no_last_bucket, {Family, Labels}),
            Total =:= maps:get(Labels, Counts) orelse bad(count_is_not_last, {Family, Labels}),
            rises(lists:reverse(Reversed)) orelse bad(buckets_fall, {Family, Labels, Reversed})
        end, Buckets).

rises([{Bound, Count}, {Next, NextCount} = Second | Rest]) ->
    less(Bound, Next) andalso is_integer(Count) andalso Count =< NextCount
        andalso rises([Second | Rest]);
rises([{_Bound, Count}]) ->
    is_integer(Count) andalso Count >= 0.

less(infinity, _) -> false;
less(_, infinity) -> true;
less(A, B) -> A < B.

%% Words

word(Text, Line) ->
    case binary:split(Text, <<" ">>) of
        [Name, Rest] -> {Name, Rest};
        _ -> bad(no_word, Line)
    end.

take(Text, Is) ->
    take(Text, Is, 0).

take(Text, Is, N) ->
    case Text of
        <<Word:N/binary, Byte, _/binary>> ->
            case Is(Byte) of
                true -> take(Text, Is, N + 1);
                false -> {Word, binary:part(Text, N, byte_size(Text) - N)}
            end;
        _ ->
            {Text, <<>>}
    end.

is_name(<<First, Rest/binary>>) ->
    is_name_byte(First) andalso not is_digit(First) andalso {Rest, <<>>} =:= take(Rest, fun is_name_byte/1);
is_name(<<>>) ->
    false.

is_name_byte(Byte) ->
    is_label_byte(Byte) orelse Byte =:= $:.

is_label_byte(Byte) ->
    (Byte >= $a andalso Byte =< $z) orelse (Byte >= $A andalso Byte =< $Z)
        orelse is_digit(Byte) orelse Byte =:= $_.

is_digit(Byte) ->
    Byte >= $0 andalso Byte =< $9.

labels(<<"{", Rest/binary>>, Line) ->
    labels(Rest, #{}, Line);
labels(Rest, _Line) ->
    {#{}, Rest}.

labels(Text, Labels, Line) ->
    {Name, Rest} = take(Text, fun is_label_byte/1),
    Name =/= <<>> andalso not is_digit(binary:first(Name)) orelse bad(label_name, Line),
    is_map_key(Name, Labels) andalso bad(label_twice, Line),
    {Value, After} = case Rest of
        <<"=\"", Quoted/binary>> -> quoted(Quoted, <<>>, Line);
        _ -> bad(label, Line)
    end,
    Value =:= <<>> andalso bad(empty_label, Line),
    case After of
        <<",", More/binary>> -> labels(More, Labels#{Name => Value}, Line);
        <<"}", End/binary>> -> {Labels#{Name => Value}, End};
        _ -> bad(after_label, Line)
    end.

quoted(<<"\\\\", Rest/binary>>, Acc, Line) -> quoted(Rest, <<Acc/binary, "\\">>, Line);
quoted(<<"\\\"", Rest/binary>>, Acc, Line) -> quoted(Rest, <<Acc/binary, "\"">>, Line);
quoted(<<"\\n", Rest/binary>>, Acc, Line) -> quoted(Rest, <<Acc/binary, "\n">>, Line);
quoted(<<"\\", _/binary>>, _Acc, Line) -> bad(escape, Line);
quoted(<<"\"", Rest/binary>>, Acc, _Line) -> {Acc, Rest};
quoted(<<Byte, Rest/binary>>, Acc, Line) -> quoted(Rest, <<Acc/binary, Byte>>, Line);
quoted(<<>>, _Acc, Line) -> bad(open_quote, Line).

%% Quotes are escaped in OpenMetrics and stand as they are in the older format.
unescape_help(openmetrics, Help, Line) ->
    case quoted(<<Help/binary, "\"">>, <<>>, Line) of
        {Text, <<>>} -> Text;
        _ -> bad(quote_in_help, Line)
    end;
unescape_help(text, Help, Line) ->
    Quoted = binary:replace(Help, <<"\"">>, <<"\\\"">>, [global]),
    case binary:match(Help, <<"\\\"">>) of
        nomatch -> unescape_help(openmetrics, Quoted, Line);
        _ -> bad(escape_in_help, Line)
    end.

number(<<"+Inf">>, _Line) ->
    infinity;
number(<<"-Inf">>, _Line) ->
    '-infinity';
number(<<"NaN">>, _Line) ->
    nan;
number(Text, Line) ->
    try binary_to_integer(Text)
    catch error:badarg ->
        try binary_to_float(erlang_float(Text))
        catch error:badarg -> bad(number, Line)
        end
    end.

%% 1e-7 is a number everywhere but in Erlang.
erlang_float(Text) ->
    case binary:split(Text, [<<"e">>, <<"E">>]) of
        [Mantissa, Exponent] ->
            case binary:match(Mantissa, <<".">>) of
                nomatch -> <<Mantissa/binary, ".0e", Exponent/binary>>;
                _ -> Text
            end;
        [_] ->
            Text
    end.

%% Length-delimited MetricFamily messages. A histogram's value is
%% {Count, Sum, [{Bound, CumulativeCount}]}; unknown fields are errors.

protobuf(<<>>, Read) ->
    Read;
protobuf(Binary, #{families := Families, samples := Samples}) ->
    {Size, Rest} = varint(Binary),
    <<Message:Size/binary, More/binary>> = Rest,
    Fields = fields(Message),
    Name = text(one(1, Fields)),
    is_name(Name) orelse bad(family_name, Name),
    is_map_key(Name, Families) andalso bad(family_twice, Name),
    Type = maps:get(optional(3, Fields, 0), #{0 => counter, 1 => gauge, 3 => untyped, 4 => histogram}),
    Family = #{type => Type, help => text(one(2, Fields))},
    Metrics = [protobuf_metric(Name, Type, fields(Metric)) || {4, Metric} <- Fields],
    Metrics =:= [] andalso bad(family_without_samples, Name),
    [] = [Field || {Field, _} <- Fields, not lists:member(Field, [1, 2, 3, 4, 5])],
    Added = maps:merge(Samples, maps:from_list(Metrics)),
    map_size(Added) =:= map_size(Samples) + length(Metrics) orelse bad(sample_twice, Name),
    protobuf(More, #{families => Families#{Name => Family}, samples => Added}).

protobuf_metric(Name, Type, Fields) ->
    Pairs = [{text(one(1, Pair)), text(one(2, Pair))}
             || {1, Label} <- Fields, Pair <- [fields(Label)]],
    Labels = maps:from_list(Pairs),
    map_size(Labels) =:= length(Pairs) orelse bad(label_twice, Name),
    ValueField = maps:get(Type, #{gauge => 2, counter => 3, untyped => 5, histogram => 7}),
    [] = [Field || {Field, _} <- Fields, Field =/= 1, Field =/= ValueField],
    Message = fields(one(ValueField, Fields)),
    Value = case Type of
        histogram ->
            Buckets = [{double(one(2, Bucket)), optional(1, Bucket, 0)}
                       || {3, Field} <- Message, Bucket <- [fields(Field)]],
            rises(Buckets) orelse bad(buckets_fall, {Name, Buckets}),
            Count = optional(1, Message, 0),
            {infinity, Count} = lists:last(Buckets),
            {Count, double(one(2, Message)), Buckets};
        _ ->
            double(one(1, Message))
    end,
    {{Name, Labels}, Value}.

fields(<<>>) ->
    [];
fields(Binary) ->
    {Key, Rest} = varint(Binary),
    case Key band 7 of
        0 ->
            {Value, More} = varint(Rest),
            [{Key bsr 3, Value} | fields(More)];
        1 ->
            <<Value:8/binary, More/binary>> = Rest,
            [{Key bsr 3, Value} | fields(More)];
        2 ->
            {Size, Sized} = varint(Rest),
            <<Value:Size/binary, More/binary>> = Sized,
            [{Key bsr 3, Value} | fields(More)]
    end.

varint(<<0:1, Low:7, Rest/binary>>) ->
    {Low, Rest};
varint(<<1:1, Low:7, Rest/binary>>) ->
    {High, More} = varint(Rest),
    {High bsl 7 bor Low, More}.

one(Field, Fields) ->
    case [Value || {F, Value} <- Fields, F =:= Field] of
        [Value] -> Value;
        Values -> bad({field, Field}, Values)
    end.

optional(Field, Fields, Default) ->
    case [Value || {F, Value} <- Fields, F =:= Field] of
        [] -> Default;
        [Value] -> Value
    end.

text(Binary) ->
    utf8 =:= encoding(Binary) orelse bad(not_utf8, Binary),
    Binary.

double(<<Float:64/float-little>>) -> Float;
double(<<0, 0, 0, 0, 0, 0, 16#F0, 16#7F>>) -> infinity;
double(<<0, 0, 0, 0, 0, 0, 16#F0, 16#FF>>) -> '-infinity';
double(<<_:6/binary, _, _>>) -> nan.

-spec bad(term(), term()) -> no_return().
bad(Why, Line) ->
    error({bad_exposition, Why, Line}).
