%% @doc A small parser of what Prometheus scrapes: text 0.0.4 and OpenMetrics 1.0.
%%
%% It reads names, labels, values and types. Help, units, timestamps and
%% exemplars are passed over. The library's own tests use parsers that others
%% wrote; this one is short enough to be read with the demo.
-module(erlmcp_demo_exposition).

-export([parse/1]).
-export([number/1]).

-export_type([exposition/0, sample/0, value/0, labels/0]).

-type value() :: number() | infinity | neg_infinity | nan.
-type labels() :: #{Name :: binary() => Value :: binary()}.
-type sample() :: {Name :: binary(), labels(), value()}.
-type exposition() :: #{
    types := #{Family :: binary() => Type :: binary()},
    samples := [sample()],
    eof := boolean()
}.
%% `samples' in the order of the text; `eof' tells whether the last line was
%% OpenMetrics' `# EOF', without which such a scrape is cut off.
-type reason() :: bad_name | bad_labels | bad_value | after_eof.

%% @doc Parses an exposition; an error tells the line's number and the line.
-spec parse(binary()) ->
    {ok, exposition()} | {error, {Line :: pos_integer(), reason(), Text :: binary()}}.
parse(Text) ->
    lines(binary:split(Text, <<"\n">>, [global]), 1, #{}, [], false).

%% @doc Reads a value as Prometheus writes it: `12', `0.5', `1e-05', `+Inf', `NaN'.
-spec number(binary()) -> {ok, value()} | error.
number(<<"+Inf">>) -> {ok, infinity};
number(<<"Inf">>) -> {ok, infinity};
number(<<"-Inf">>) -> {ok, neg_infinity};
number(<<"NaN">>) -> {ok, nan};
number(Token) -> decimal([fun binary_to_integer/1, fun binary_to_float/1, fun pointless/1], Token).

-spec lines([binary()], pos_integer(), #{binary() => binary()}, [sample()], boolean()) ->
    {ok, exposition()} | {error, {pos_integer(), reason(), binary()}}.
lines([], _Number, Types, Samples, Eof) ->
    {ok, #{types => Types, samples => lists:reverse(Samples), eof => Eof}};
lines([<<>> | Rest], Number, Types, Samples, Eof) ->
    lines(Rest, Number + 1, Types, Samples, Eof);
lines([Line | _], Number, _Types, _Samples, true) ->
    {error, {Number, after_eof, Line}};
lines([<<"# EOF">> | Rest], Number, Types, Samples, false) ->
    lines(Rest, Number + 1, Types, Samples, true);
lines([<<"# TYPE ", Type/binary>> | Rest], Number, Types, Samples, Eof) ->
    case binary:split(Type, <<" ">>) of
        [Name, Kind] -> lines(Rest, Number + 1, Types#{Name => Kind}, Samples, Eof);
        [_] -> {error, {Number, bad_name, <<"# TYPE ", Type/binary>>}}
    end;
lines([<<"#", _/binary>> | Rest], Number, Types, Samples, Eof) ->
    lines(Rest, Number + 1, Types, Samples, Eof);
lines([Line | Rest], Number, Types, Samples, Eof) ->
    case sample(Line) of
        {ok, Sample} -> lines(Rest, Number + 1, Types, [Sample | Samples], Eof);
        {error, Reason} -> {error, {Number, Reason, Line}}
    end.

-spec sample(binary()) -> {ok, sample()} | {error, reason()}.
sample(Line) ->
    case binary:match(Line, [<<"{">>, <<" ">>]) of
        {At, 1} when At > 0 ->
            case Line of
                <<Name:At/binary, "{", Rest/binary>> -> labelled(Name, Rest);
                <<Name:At/binary, " ", Rest/binary>> -> valued(Name, #{}, Rest)
            end;
        _ ->
            {error, bad_name}
    end.

-spec labelled(binary(), binary()) -> {ok, sample()} | {error, reason()}.
labelled(Name, Text) ->
    case labels(Text, #{}) of
        {ok, Labels, Rest} -> valued(Name, Labels, Rest);
        error -> {error, bad_labels}
    end.

-spec valued(binary(), labels(), binary()) -> {ok, sample()} | {error, reason()}.
valued(Name, Labels, Text) ->
    [Token | _] = binary:split(string:trim(Text, leading, " "), <<" ">>),
    case number(Token) of
        {ok, Value} -> {ok, {Name, Labels, Value}};
        error -> {error, bad_value}
    end.

%% The text behind an opening brace, up to the closing one.
-spec labels(binary(), labels()) -> {ok, labels(), Rest :: binary()} | error.
labels(<<"}", Rest/binary>>, Labels) ->
    {ok, Labels, Rest};
labels(Text, Labels) ->
    case binary:split(Text, <<"=\"">>) of
        [Name, Rest] when Name =/= <<>>, not is_map_key(Name, Labels) ->
            case quoted(Rest, <<>>) of
                {ok, Value, <<",", More/binary>>} -> labels(More, Labels#{Name => Value});
                {ok, Value, <<"}", _/binary>> = More} -> labels(More, Labels#{Name => Value});
                _ -> error
            end;
        _ ->
            error
    end.

-spec quoted(binary(), binary()) -> {ok, Value :: binary(), Rest :: binary()} | error.
quoted(<<"\"", Rest/binary>>, Value) -> {ok, Value, Rest};
quoted(<<"\\n", Rest/binary>>, Value) -> quoted(Rest, <<Value/binary, "\n">>);
quoted(<<"\\\\", Rest/binary>>, Value) -> quoted(Rest, <<Value/binary, "\\">>);
quoted(<<"\\\"", Rest/binary>>, Value) -> quoted(Rest, <<Value/binary, "\"">>);
quoted(<<"\\", _/binary>>, _Value) -> error;
quoted(<<Byte, Rest/binary>>, Value) -> quoted(Rest, <<Value/binary, Byte>>);
quoted(<<>>, _Value) -> error.

-spec decimal([fun((binary()) -> number())], binary()) -> {ok, number()} | error.
decimal([], _Token) ->
    error;
decimal([Read | Others], Token) ->
    try
        {ok, Read(Token)}
    catch
        error:badarg -> decimal(Others, Token)
    end.

%% `1e-05' is a number for everybody but Erlang, who wants `1.0e-05'.
-spec pointless(binary()) -> float().
pointless(Token) ->
    case binary:split(Token, [<<"e">>, <<"E">>]) of
        [Mantissa, Exponent] -> binary_to_float(<<Mantissa/binary, ".0e", Exponent/binary>>);
        [_] -> error(badarg)
    end.
