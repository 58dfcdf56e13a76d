%% @doc The types of settings: which values are legal, as terms of the
%% application environment and as texts of environment variables.
%%
%% Both give the same value in one form: texts as binaries, choices as atoms.
%% Text from outside is compared with what is known and never turned into a new
%% atom.
-module(erlmcp_instrumentation_setting_type).

-export([from_term/2]).
-export([from_text/2]).
-export([expected/1]).
-export([shown/2]).
-export([groups/0]).

-define(TEXT, erlmcp_instrumentation_setting_text).

-export_type([type/0]).

-type type() ::
    boolean
    | ip
    | {integer, Min :: integer(), Max :: integer()}
    | {integer_or_off, Min :: integer(), Max :: integer()}
    | {number, Min :: number(), Max :: number()}
    | collectors
    | buckets
    %% One of some words.
    | {choice, [{atom(), Text :: string()}]}
    %% Some of some words, in their order, each once; `none' is the empty list.
    | {choices, [atom()]}
    %% A value of the type, or a word that says that there is none.
    | {optional, Word :: off | inherit, type()}
    | text
    | path
    %% A URL, or a host and a port.
    | endpoint
    %% Names and values of HTTP headers. The values may be secret.
    | headers
    %% Attributes of the resource.
    | attributes
    %% Names of secret keys, of two letters or more.
    | names
    %% Who may ask for which paths.
    | access_rules.

%% @doc The value that a term of the application environment stands for.
-spec from_term(type(), term()) -> {ok, term()} | error.
from_term({optional, Word, _Type}, Word) ->
    {ok, Word};
from_term({optional, _Word, Type}, Value) ->
    from_term(Type, Value);
from_term({choice, Choices}, Value) when is_atom(Value) ->
    case lists:keymember(Value, 1, Choices) of
        true -> {ok, Value};
        false -> error
    end;
from_term({choice, _} = Type, Value) ->
    ?TEXT:with(Value, fun(Text) -> from_text(Type, Text) end);
from_term({choices, Known}, none) when is_list(Known) ->
    {ok, []};
from_term({choices, Known}, Value) ->
    try lists:all(fun(Choice) -> lists:member(Choice, Known) end, Value) of
        true -> {ok, distinct(Value)};
        false -> error
    catch
        %% Not a list, or an improper one.
        error:_ -> error
    end;
from_term({number, Min, Max}, Value) when is_number(Value), Value >= Min, Value =< Max ->
    {ok, Value};
from_term(text, Value) ->
    ?TEXT:with(Value, fun ?TEXT:printable/1);
from_term(path, Value) ->
    ?TEXT:with(Value, fun ?TEXT:printable/1);
from_term(endpoint, Value) ->
    ?TEXT:with(Value, fun ?TEXT:endpoint/1);
from_term(headers, Value) ->
    erlmcp_instrumentation_setting_pairs:headers(Value);
from_term(attributes, Value) ->
    erlmcp_instrumentation_setting_pairs:attributes(Value);
from_term(names, none) ->
    {ok, []};
from_term(names, Value) when is_list(Value) ->
    names(Value, []);
from_term(access_rules, Value) ->
    erlmcp_instrumentation_setting_rules:from_term(Value);
from_term(boolean, Value) when is_boolean(Value) ->
    {ok, Value};
from_term(ip, Value) ->
    ip(Value);
from_term({integer, Min, Max}, Value) when is_integer(Value), Value >= Min, Value =< Max ->
    {ok, Value};
from_term({integer_or_off, _Min, _Max}, off) ->
    {ok, off};
from_term({integer_or_off, Min, Max}, Value) ->
    from_term({integer, Min, Max}, Value);
from_term(collectors, all) ->
    {ok, groups()};
from_term(collectors, none) ->
    {ok, []};
from_term(collectors, Value) ->
    collectors(Value);
from_term(buckets, Value) ->
    buckets(Value);
from_term(_Type, _Value) ->
    error.

-spec names(maybe_improper_list(), [binary()]) -> {ok, [binary()]} | error.
names([], Done) ->
    {ok, lists:reverse(Done)};
names([Name | Rest], Done) ->
    case ?TEXT:with(Name, fun ?TEXT:printable/1) of
        {ok, Text} ->
            case length([C || <<C>> <= Text, C bor 32 >= $a, C bor 32 =< $z]) of
                Letters when Letters >= 2, Letters =< 64 -> names(Rest, [Text | Done]);
                _ -> error
            end;
        error ->
            error
    end;
names(_Improper, _Done) ->
    error.

-spec ip(term()) -> {ok, string()} | error.
ip(Value) when is_binary(Value) ->
    ip(unicode:characters_to_list(Value));
ip(Value) when is_list(Value) ->
    try inet:parse_address(Value) of
        {ok, Address} -> ip(Address);
        {error, einval} -> error
    catch
        error:_ -> error
    end;
ip(Value) ->
    case inet:is_ip_address(Value) of
        true -> {ok, inet:ntoa(Value)};
        false -> error
    end.

%% In the order of the groups, each at most once.
-spec collectors(term()) -> {ok, [erlmcp_instrumentation_vm:group()]} | error.
collectors(Value) ->
    Groups = groups(),
    try lists:all(fun(Group) -> lists:member(Group, Groups) end, Value) of
        true -> {ok, [Group || Group <- Groups, lists:member(Group, Value)]};
        false -> error
    catch
        %% Not a list, or an improper one.
        error:_ -> error
    end.

-spec buckets(term()) -> {ok, [float(), ...]} | error.
buckets([_ | _] = Value) ->
    try [float(Bound) || Bound <- Value] of
        Bounds ->
            case lists:usort(Bounds) =:= Bounds of
                true -> {ok, Bounds};
                false -> error
            end
    catch
        error:_ -> error
    end;
buckets(_) ->
    error.

%% Texts: the environment variables

%% @doc The value that the text of an environment variable stands for, without
%% white space around it.
-spec from_text(type(), string()) -> {ok, term()} | error.
from_text({optional, Word, Type}, Text) ->
    case string:lowercase(Text) =:= atom_to_list(Word) of
        true -> {ok, Word};
        false -> from_text(Type, Text)
    end;
from_text({choice, Choices}, Text) ->
    case [Choice || {Choice, Word} <- Choices, Word =:= string:lowercase(Text)] of
        [Choice] -> {ok, Choice};
        [] -> error
    end;
from_text({choices, Known}, Text) ->
    case string:lowercase(Text) of
        "none" -> {ok, []};
        Words -> from_term({choices, Known}, [known(Word, Known) || Word <- ?TEXT:parts(Words)])
    end;
from_text({number, _Min, _Max} = Type, Text) ->
    from_term(Type, number(Text));
from_text(text, Text) ->
    ?TEXT:printable(Text);
from_text(path, Text) ->
    ?TEXT:printable(Text);
from_text(endpoint, Text) ->
    ?TEXT:endpoint(Text);
from_text(headers, Text) ->
    erlmcp_instrumentation_setting_pairs:encoded_headers(Text);
from_text(attributes, Text) ->
    erlmcp_instrumentation_setting_pairs:encoded_attributes(Text);
from_text(names, Text) ->
    case string:lowercase(Text) of
        "none" -> {ok, []};
        _ -> names(?TEXT:parts(Text), [])
    end;
from_text(access_rules, Text) ->
    erlmcp_instrumentation_setting_rules:from_text(Text);
from_text(boolean, Text) ->
    case string:lowercase(Text) of
        "true" -> {ok, true};
        "false" -> {ok, false};
        _ -> error
    end;
from_text(ip, Text) ->
    ip(Text);
from_text({integer_or_off, Min, Max}, Text) ->
    case string:lowercase(Text) of
        "off" -> {ok, off};
        _ -> from_text({integer, Min, Max}, Text)
    end;
from_text({integer, _Min, _Max} = Type, Text) ->
    case string:to_integer(Text) of
        {Value, ""} when is_integer(Value) -> from_term(Type, Value);
        _ -> error
    end;
from_text(collectors, Text) ->
    case string:lowercase(Text) of
        "all" -> from_term(collectors, all);
        "none" -> from_term(collectors, none);
        Names -> collectors([group(Name) || Name <- ?TEXT:parts(Names)])
    end;
from_text(buckets, Text) ->
    buckets([number(Part) || Part <- ?TEXT:parts(Text)]).

%% A name that is no group stays a string and so is refused.
-spec group(string()) -> erlmcp_instrumentation_vm:group() | string().
group(Name) ->
    case [Group || Group <- groups(), atom_to_list(Group) =:= Name] of
        [Group] -> Group;
        [] -> Name
    end.

%% Also forms that Erlang does not read as a float: 5, 1e-3.
-spec number(string()) -> number() | not_a_number.
number(Text) ->
    case string:to_float(Text) of
        {Value, ""} when is_float(Value) ->
            Value;
        _ ->
            case string:to_integer(Text) of
                {Value, ""} when is_integer(Value) -> Value;
                {Value, [E | Exponent]} when is_integer(Value), (E =:= $e orelse E =:= $E) ->
                    scaled(Value, Exponent);
                _ -> not_a_number
            end
    end.

-spec scaled(integer(), string()) -> float() | not_a_number.
scaled(Mantissa, Exponent) ->
    case string:to_float(integer_to_list(Mantissa) ++ ".0e" ++ Exponent) of
        {Value, ""} when is_float(Value) -> Value;
        _ -> not_a_number
    end.

%% What is expected, and what was given

%% @doc What is expected of values of a type, as the end of a sentence.
-spec expected(type()) -> binary().
expected(boolean) ->
    <<"true or false">>;
expected(ip) ->
    <<"an IPv4 or IPv6 address, such as 127.0.0.1 or ::1">>;
expected({integer, Min, Max}) ->
    iolist_to_binary(io_lib:format("an integer from ~b to ~b", [Min, Max]));
expected({integer_or_off, Min, Max}) ->
    iolist_to_binary(io_lib:format("an integer from ~b to ~b, or off", [Min, Max]));
expected({number, Min, Max}) ->
    iolist_to_binary(io_lib:format("a number from ~w to ~w", [Min, Max]));
expected(collectors) ->
    Names = [atom_to_binary(Group) || Group <- groups()],
    iolist_to_binary(["all, none, or a list of ", lists:join(", ", Names)]);
expected(buckets) ->
    <<"at least one number, each greater than the one before">>;
expected({choice, Choices}) ->
    Words = [Word || {_Choice, Word} <- Choices],
    iolist_to_binary(["one of ", lists:join(", ", Words)]);
expected({choices, Known}) ->
    iolist_to_binary(["none, or a list of ", lists:join(", ", [atom_to_list(W) || W <- Known])]);
expected({optional, off, Type}) ->
    <<(expected(Type))/binary, ", or off">>;
expected({optional, inherit, Type}) ->
    <<(expected(Type))/binary, ", or inherit">>;
expected(text) ->
    <<"a text of 1 to 4096 bytes without control characters">>;
expected(path) ->
    <<"a path">>;
expected(endpoint) ->
    <<"a URL such as http://localhost:4318, without user and password, "
      "or for grpc also a host and a port">>;
expected(headers) ->
    <<"names and values of HTTP headers, name=value separated by commas, values "
      "percent-encoded; or a map or a list of pairs">>;
expected(names) ->
    <<"none, or a list of names of 2 to 64 letters, default for the built-in ones, with a "
      "minus before it an exception">>;
expected(access_rules) ->
    <<"paths and who may ask for them, /path=who separated by commas; who is open, "
      "authenticated, or any of bearer, basic, certificate and @name separated by |; or a map "
      "or a list of pairs">>;
expected(attributes) ->
    <<"names and values, name=value separated by commas, both percent-encoded; or a map or "
      "a list of pairs, values also numbers and booleans">>.

%% @doc A value that was not legal, as it may be shown: what may be secret in
%% it is masked.
-spec shown(type(), term()) -> term().
shown({optional, _Word, Type}, Value) ->
    shown(Type, Value);
shown(headers, Value) ->
    case ?TEXT:characters(Value) of
        {ok, Text} -> lists:flatten(lists:join(",", [masked(Part) || Part <- ?TEXT:parts(Text)]));
        error -> '***'
    end;
shown(endpoint, Value) ->
    case ?TEXT:characters(Value) of
        {ok, Text} ->
            case lists:member($@, Text) of
                true -> without_user(Text);
                false -> Value
            end;
        error ->
            Value
    end;
shown(_Type, Value) ->
    Value.

%% The name of a header and no more; of what has no name, nothing.
-spec masked(string()) -> string().
masked(Part) ->
    case string:split(Part, "=") of
        [Name, _Value] -> Name ++ "=***";
        [_NoPair] -> "***"
    end.

-spec without_user(string()) -> string().
without_user(Text) ->
    case string:split(Text, "@", trailing) of
        [Before, Rest] ->
            case string:split(Before, "://") of
                [Scheme, _User] -> Scheme ++ "://***@" ++ Rest;
                [_User] -> "***@" ++ Rest
            end;
        [_] ->
            Text
    end.

%% Words

-spec known(string(), [atom()]) -> atom() | string().
known(Word, Known) ->
    case [Choice || Choice <- Known, atom_to_list(Choice) =:= Word] of
        [Choice] -> Choice;
        [] -> Word
    end.

-spec distinct([atom()]) -> [atom()].
distinct([]) -> [];
distinct([First | Rest]) -> [First | distinct([Other || Other <- Rest, Other =/= First])].

%% @doc The groups of VM figures.
-spec groups() -> [erlmcp_instrumentation_vm:group()].
groups() ->
    [Group || {Group, _Module} <- erlmcp_instrumentation_vm:groups()].
