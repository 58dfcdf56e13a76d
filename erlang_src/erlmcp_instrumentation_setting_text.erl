%% @doc Texts in settings: what counts as one, and what one may stand for.
-module(erlmcp_instrumentation_setting_text).

-export([with/2]).
-export([characters/1]).
-export([printable/1]).
-export([endpoint/1]).
-export([parts/1]).

-define(MAX_TEXT_BYTES, 4096).

%% @doc Calls a function with the characters of a term, if it is text.
-spec with(term(), fun((string()) -> {ok, term()} | error)) -> {ok, term()} | error.
with(Value, Fun) ->
    case characters(Value) of
        {ok, Text} -> Fun(Text);
        error -> error
    end.

%% @doc The characters of an atom, a binary or a string.
-spec characters(term()) -> {ok, string()} | error.
characters(Value) when is_atom(Value), not is_boolean(Value), Value =/= undefined ->
    {ok, atom_to_list(Value)};
characters(Value) when is_binary(Value); is_list(Value) ->
    try unicode:characters_to_list(Value) of
        Text when is_list(Text) -> {ok, Text};
        _ -> error
    catch
        error:_ -> error
    end;
characters(_Value) ->
    error.

%% @doc A text that can be shown, as a binary.
-spec printable(string()) -> {ok, binary()} | error.
printable(Text) ->
    IsPrintable = lists:all(fun(C) -> C >= $\s andalso C =/= 127 end, Text),
    case unicode:characters_to_binary(Text) of
        Binary when is_binary(Binary), IsPrintable, Binary =/= <<>>,
                    byte_size(Binary) =< ?MAX_TEXT_BYTES ->
            {ok, Binary};
        _ ->
            error
    end.

%% @doc A URL of http or https, or `Host:Port'.
-spec endpoint(string()) -> {ok, binary()} | error.
endpoint(Text) ->
    Url =
        case string:find(Text, "://") of
            nomatch -> "//" ++ Text;
            _ -> Text
        end,
    case parsed_url(Url) of
        #{userinfo := _} -> error;
        #{query := _} -> error;
        #{fragment := _} -> error;
        #{host := "", path := _} -> error;
        #{scheme := Scheme, host := _} = Parsed ->
            case lists:member(string:lowercase(Scheme), ["http", "https"])
                andalso has_legal_port(Parsed) of
                true -> printable(Text);
                false -> error
            end;
        #{host := _, port := _, path := ""} = Parsed ->
            case has_legal_port(Parsed) of
                true -> printable(Text);
                false -> error
            end;
        _ ->
            error
    end.

-spec parsed_url(string()) -> map().
parsed_url(Url) ->
    try uri_string:parse(Url) of
        #{} = Parsed -> Parsed;
        {error, _, _} -> #{}
    catch
        error:_ -> #{}
    end.

-spec has_legal_port(map()) -> boolean().
has_legal_port(Parsed) ->
    case maps:get(port, Parsed, 80) of
        Port when is_integer(Port) -> Port >= 1 andalso Port =< 65535;
        _ -> false
    end.

%% @doc The parts between commas, without white space around them.
-spec parts(string()) -> [string()].
parts(Text) ->
    [string:trim(Part) || Part <- string:split(Text, ",", all)].
