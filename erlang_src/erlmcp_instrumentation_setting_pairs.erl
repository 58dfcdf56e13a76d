%% @doc Pairs in settings: headers of requests and attributes of the resource, as
%% terms or as `name=value,name=value' with percent-encoding.
-module(erlmcp_instrumentation_setting_pairs).

-export([headers/1]).
-export([encoded_headers/1]).
-export([attributes/1]).
-export([encoded_attributes/1]).

-define(TEXT, erlmcp_instrumentation_setting_text).

-type pair(Value) :: {binary(), Value}.
-type check() :: fun((string(), term()) -> {ok, pair(term())} | error).

%% @doc Headers from a map or a list of pairs.
-spec headers(term()) -> {ok, [pair(term())]} | error.
headers(Pairs) -> pairs(Pairs, fun header/2).

%% @doc Headers from the text of a variable.
-spec encoded_headers(string()) -> {ok, [pair(term())]} | error.
encoded_headers(Text) -> encoded_pairs(Text, fun header/2).

%% @doc Attributes from a map or a list of pairs.
-spec attributes(term()) -> {ok, [pair(term())]} | error.
attributes(Pairs) -> pairs(Pairs, fun attribute/2).

%% @doc Attributes from the text of a variable.
-spec encoded_attributes(string()) -> {ok, [pair(term())]} | error.
encoded_attributes(Text) -> encoded_pairs(Text, fun attribute/2).

%% Internals

-spec pairs(term(), check()) -> {ok, [pair(term())]} | error.
pairs(Pairs, Check) when is_map(Pairs) ->
    pairs(maps:to_list(Pairs), Check);
pairs(Pairs, Check) ->
    try
        {ok, [begin
                  {ok, Name} = ?TEXT:characters(Key),
                  {ok, Pair} = Check(Name, Value),
                  Pair
              end
              || {Key, Value} <- all_pairs(Pairs)]}
    catch
        error:_ -> error
    end.

%% A comprehension passes over what is no pair.
-spec all_pairs([term()]) -> [{term(), term()}].
all_pairs(Pairs) ->
    [{_, _} = Pair || Pair <- Pairs].

%% `name=value,name=value' with percent-encoding; empty members are allowed.
-spec encoded_pairs(string(), check()) -> {ok, [pair(term())]} | error.
encoded_pairs(Text, Check) ->
    Members = [Part || Part <- ?TEXT:parts(Text), Part =/= ""],
    try
        pairs([begin
                   [Name, Value] = string:split(Member, "="),
                   {decoded(string:trim(Name)), decoded(string:trim(Value))}
               end
               || Member <- Members],
              Check)
    catch
        error:_ -> error
    end.

-spec decoded(string()) -> string().
decoded(Text) ->
    Encoded = unicode:characters_to_binary(Text),
    Decoded = unicode:characters_to_list(percent_decoded(Encoded)),
    true = is_list(Decoded),
    Decoded.

-spec percent_decoded(binary()) -> binary().
percent_decoded(<<$%, High, Low, Rest/binary>>) ->
    <<(list_to_integer([High, Low], 16)), (percent_decoded(Rest))/binary>>;
percent_decoded(<<C, Rest/binary>>) when C =/= $% ->
    <<C, (percent_decoded(Rest))/binary>>;
percent_decoded(<<>>) ->
    <<>>.

-spec header(string(), term()) -> {ok, pair(binary())} | error.
header(Name, Value) ->
    Lowercase = string:lowercase(Name),
    IsName = Lowercase =/= "" andalso lists:all(fun is_token/1, Lowercase),
    case ?TEXT:characters(Value) of
        {ok, Text} when IsName ->
            case lists:all(fun(C) -> C >= $\s andalso C < 127 end, Text) of
                true -> {ok, {list_to_binary(Lowercase), list_to_binary(Text)}};
                false -> error
            end;
        _ ->
            error
    end.

-spec is_token(char()) -> boolean().
is_token(C) ->
    (C >= $a andalso C =< $z) orelse (C >= $0 andalso C =< $9)
        orelse lists:member(C, "!#$%&'*+-.^_`|~").

-spec attribute(string(), term()) -> {ok, pair(binary() | number() | boolean())} | error.
attribute(Name, Value) ->
    case {?TEXT:printable(Name), attribute_value(Value)} of
        {{ok, Key}, {ok, Checked}} -> {ok, {Key, Checked}};
        _ -> error
    end.

-spec attribute_value(term()) -> {ok, binary() | number() | boolean()} | error.
attribute_value(Value) when is_boolean(Value); is_float(Value) ->
    {ok, Value};
attribute_value(Value) when is_integer(Value), Value >= -(1 bsl 63), Value < 1 bsl 63 ->
    {ok, Value};
attribute_value("") ->
    {ok, <<>>};
attribute_value(<<>>) ->
    {ok, <<>>};
attribute_value(Value) ->
    ?TEXT:with(Value, fun ?TEXT:printable/1).
