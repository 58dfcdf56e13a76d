%% @private What may be said of a metric: checks the options of a declaration,
%% and reads the forms that erlmcp's callers write them in.
-module(erlmcp_metrics_declaration).

-export([declare/3]).
-export([create/3]).
-export([create/4]).
-export([is_options/1]).

-type name() :: erlmcp_metrics:name().
-type kind() :: erlmcp_metrics:kind().
-type error() :: erlmcp_metrics:error().

-define(NIF, erlmcp_instrumentation_nif).

-spec declare(kind(), name(), term()) -> ok | error().
declare(Kind, Name, Options) when is_map(Options) ->
    case check_options(maps:to_list(Options), undeclared()) of
        {ok, Checked} ->
            try
                ?NIF:declare(Kind, Name, Checked)
            catch
                error:badarg -> bad_option("the kind is not an atom")
            end;
        {error, _} = Error ->
            Error
    end;
declare(_Kind, _Name, _Options) ->
    bad_option("the options are not a map").

%% What is given may be a description, or options.
-spec create(kind(), name(), term()) -> ok | error().
create(Kind, Name, Given) ->
    declare(Kind, Name, options(Given)).

%% Beside the description: options, or a list of labels or of buckets.
-spec create(kind(), name(), Description :: term(), term()) -> ok | error().
create(Kind, Name, Description, Given) ->
    declare(Kind, Name, maps:merge(options(Description), details(Given))).

%% Whether a map says what a metric is, and not which series is meant.
-spec is_options(map()) -> boolean().
is_options(Map) ->
    lists:all(fun(Key) -> lists:member(Key, keys()) end, maps:keys(Map)).

%% Internals

-spec keys() -> [atom()].
keys() ->
    [description, help, unit, labels, buckets, max_buckets, limit].

-spec options(term()) -> map().
options(Options) when is_map(Options) ->
    case maps:take(help, Options) of
        {Help, Rest} -> maps:merge(#{description => Help}, Rest);
        error -> Options
    end;
options(Description) ->
    #{description => Description}.

-spec details(term()) -> map().
details([]) ->
    #{};
details(Given) when is_list(Given) ->
    case is_numbers(Given) of
        true -> #{buckets => Given};
        false -> #{labels => Given}
    end;
details(Given) ->
    options(Given).

-spec is_numbers(maybe_improper_list()) -> boolean().
is_numbers([Bound | Rest]) -> (is_number(Bound) orelse Bound =:= infinity) andalso is_numbers(Rest);
is_numbers(Rest) -> Rest =:= [].

-spec undeclared() -> map().
undeclared() ->
    #{library => false, description => nil, unit => nil,
      buckets => nil, max_buckets => nil, limit => nil}.

-spec check_options([{term(), term()}], map()) -> {ok, map()} | error().
check_options([], Checked) ->
    {ok, Checked};
check_options([{Key, Value} | Rest], Checked) ->
    case check_option(Key, Value) of
        ignore -> check_options(Rest, Checked);
        {ok, Good} -> check_options(Rest, Checked#{Key => Good});
        {error, _} = Error -> Error
    end.

-spec check_option(term(), term()) -> {ok, term()} | ignore | error().
check_option(description, Text) ->
    check_text(Text, "the description is not text");
check_option(unit, Unit) when is_atom(Unit) ->
    check_unit(atom_to_binary(Unit));
check_option(unit, Unit) ->
    case check_text(Unit, "the unit is not text") of
        {ok, Text} -> check_unit(Text);
        {error, _} = Error -> Error
    end;
check_option(labels, Labels) when is_list(Labels) ->
    ignore;
check_option(labels, _Labels) ->
    bad_option("the labels are not a list of names");
check_option(limit, Limit) when is_integer(Limit), Limit >= 2, Limit < 1 bsl 31 ->
    {ok, Limit};
check_option(limit, _Limit) ->
    bad_option("the limit is not an integer of at least 2: one series is the overflow series");
check_option(max_buckets, Count) when is_integer(Count), Count >= 2, Count =< 1024 ->
    {ok, Count};
check_option(max_buckets, _Count) ->
    bad_option("max_buckets is not an integer from 2 to 1024");
check_option(buckets, Buckets) ->
    check_buckets(Buckets, []);
check_option(Key, _Value) ->
    %% The limit of characters does not hold for one large integer.
    Shown = string:slice(io_lib:format("~0tp", [Key], [{chars_limit, 200}]), 0, 250),
    bad_option([Shown, " is no option; options are description, unit, labels, buckets, max_buckets, limit"]).

%% Codes of UCUM as the words that names end in; an annotation such as
%% `{request}' is no unit.
-spec check_unit(binary()) -> {ok, binary()} | ignore.
check_unit(<<"s">>) -> {ok, <<"seconds">>};
check_unit(<<"By">>) -> {ok, <<"bytes">>};
check_unit(<<"1">>) -> {ok, <<"ratio">>};
check_unit(<<"{", _/binary>>) -> ignore;
check_unit(Unit) -> {ok, Unit}.

-spec check_text(term(), string()) -> {ok, binary()} | error().
check_text(Text, Otherwise) ->
    try unicode:characters_to_binary(Text) of
        Binary when is_binary(Binary) -> {ok, Binary};
        _ -> bad_option(Otherwise)
    catch
        error:badarg -> bad_option(Otherwise)
    end.

-spec check_buckets(term(), [float()]) -> {ok, [float()]} | error().
check_buckets([], Bounds) ->
    {ok, lists:reverse(Bounds)};
check_buckets([infinity], Bounds) ->
    {ok, lists:reverse(Bounds)};
check_buckets([Bound | Rest], Bounds) when is_number(Bound) ->
    try float(Bound) of
        Float -> check_buckets(Rest, [Float | Bounds])
    catch
        error:badarg -> bad_option("a bucket's bound is too large")
    end;
check_buckets(_, _Bounds) ->
    bad_option("the buckets are not a list of numbers").

-spec bad_option(iodata()) -> error().
bad_option(Text) ->
    {error, {bad_option, unicode:characters_to_binary(Text)}}.
