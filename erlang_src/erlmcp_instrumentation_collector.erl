%% @doc The behaviour of modules that gather metric families at scrape time.
%%
%% A collector reads figures that somebody else keeps (the Erlang VM, mnesia,
%% an application of yours) each time that a scrape asks for them. It holds no
%% state, runs in a process of its own that lives for one gathering, and may
%% crash or hang: only its own families are then missing from that scrape.
%%
%% ```
%% -module(my_collector).
%% -behaviour(erlmcp_instrumentation_collector).
%% -export([collect/1]).
%%
%% collect(_Opts) ->
%%     [erlmcp_instrumentation_collector:family(
%%        <<"my_pool_workers">>, gauge, <<"Workers in the pool.">>,
%%        [{[{<<"state">>, idle}], my_pool:idle()},
%%         {[{<<"state">>, busy}], my_pool:busy()}])].
%% '''
%%
%% Build families with {@link family/4}: it leaves out what
%% is not a number, so that one VM figure that is `unknown' on some platform
%% costs its own sample and not the scrape.
-module(erlmcp_instrumentation_collector).

-compile({no_auto_import, [unregister/1, registered/0]}).

-export([register/1]).
-export([unregister/1]).
-export([registered/0]).
-export([family/4]).
-export([aliases/3]).
-export([attempt/1]).
-export([check/1]).

-export_type([family/0, kind/0, sample/0, labels/0, label_value/0, opts/0, alias/0]).

-type kind() :: counter | gauge | untyped.
-type label_value() :: binary() | atom() | integer().
-type labels() :: [{Name :: binary(), label_value()}].
-type sample() :: {labels(), number()}.
-type family() :: {Name :: binary(), kind(), Help :: binary(), [sample()]}.
%% A counter's name ends in `_total'; the help text is one line or more of UTF-8.
-type opts() :: #{legacy_names := boolean(), atom() => term()}.
%% What every collector is told. `legacy_names' asks for the names of older
%% prometheus.erl versions beside the current ones.
-type alias() :: {Current :: binary(), Older :: binary(), kind()}.

%% The range that the exposition carries without rounding.
-define(MIN_INTEGER, -16#8000000000000000).
-define(MAX_INTEGER, 16#FFFFFFFFFFFFFFFF).

-callback collect(opts()) -> [family()].
%% Gathers the families now. Called at each scrape, in a process of its own.

-callback prepare(opts()) -> term().
%% Called once, when the process that answers scrapes starts.

-optional_callbacks([prepare/1]).

%% @doc Has `Module:collect/1' asked at each scrape from now on. The library's
%% application has to run; what is registered outlives its processes, and a stop
%% and start of it. Its `prepare/1', if there is one, is called in the process that
%% answers scrapes. Registering again changes nothing.
%%
%% Calls that process; takes effect with the next scrape. A module that is not
%% there, or exports no `collect/1', is refused.
-spec register(module()) -> ok | {error, {bad_collector, module()} | not_running}.
register(Module) when is_atom(Module) ->
    case code:ensure_loaded(Module) of
        {module, Module} ->
            case erlang:function_exported(Module, collect, 1) of
                true -> erlmcp_instrumentation_vm:register(Module);
                false -> {error, {bad_collector, Module}}
            end;
        {error, _} ->
            {error, {bad_collector, Module}}
    end.

%% @doc Has a module no longer asked; `ok' also if it never was.
-spec unregister(module()) -> ok | {error, not_running}.
unregister(Module) when is_atom(Module) ->
    erlmcp_instrumentation_vm:unregister(Module).

%% @doc The modules that were registered, in that order. Sends no message.
-spec registered() -> [module()].
registered() ->
    erlmcp_instrumentation_vm:registered().

%% @doc Builds a family from values as the VM gave them.
%%
%% `Values' is either one value, for a family without labels, or a list of
%% labels with values. A value that is not a number of at most 64 bits (the
%% atoms `unknown', `undefined' and `infinity' among them) is left out; the
%% family is returned even when nothing is left. Sends no message, never raises.
-spec family(binary(), kind(), binary(), Values :: [{labels(), term()}] | term()) -> family().
family(Name, Kind, Help, Values) when is_list(Values) ->
    {Name, Kind, Help, [Sample || {_Labels, Value} = Sample <- Values, is_value(Value)]};
family(Name, Kind, Help, Value) ->
    family(Name, Kind, Help, [{[], Value}]).

%% @doc Appends the families' older names when the options ask for them.
%%
%% Each alias repeats the samples of a current family under the older name with
%% the kind given; an alias of a family that is not there is ignored.
%%
%% A counter whose older name is its own without `_total' becomes untyped:
%% OpenMetrics names a counter's family without `_total', and a family must not
%% come twice.
-spec aliases([family()], [alias()], opts()) -> [family()].
aliases(Families, Aliases, #{legacy_names := true}) ->
    OlderNames = [Older || {_Current, Older, _Kind} <- Aliases],
    [untype_beside(OlderNames, Family) || Family <- Families] ++
        [{Older, Kind, <<"Older name of ", Current/binary, ". ", Help/binary>>, Samples}
         || {Current, Older, Kind} <- Aliases,
            {Name, _Kind, Help, Samples} <- Families,
            Name =:= Current];
aliases(Families, _Aliases, _Opts) ->
    Families.

%% @doc The result of `Read', or `undefined' when it raises an error or exits.
%%
%% For items that some OTP release, emulator flag or platform does not have, and
%% for servers that stop while they are asked. Throws pass through.
-spec attempt(fun(() -> Value)) -> Value | undefined.
attempt(Read) ->
    try
        Read()
    catch
        error:_ -> undefined;
        exit:_ -> undefined
    end.

%% @doc Whether a collector's answer is a list of families that can be exposed.
%%
%% Looks at every sample: one malformed term would otherwise cost the whole
%% scrape where it is encoded.
-spec check(term()) -> ok | {error, {bad_families | bad_family, term()}}.
check(Families) when is_list(Families) ->
    try lists:dropwhile(fun is_family/1, Families) of
        [] -> ok;
        [Bad | _] -> {error, {bad_family, Bad}}
    catch
        error:_ -> {error, {bad_families, Families}}
    end;
check(Other) ->
    {error, {bad_families, Other}}.

-spec untype_beside([binary()], family()) -> family().
untype_beside(OlderNames, {Name, counter, Help, Samples} = Family) ->
    case [Older || Older <- OlderNames, <<Older/binary, "_total">> =:= Name] of
        [] -> Family;
        [_ | _] -> {Name, untyped, Help, Samples}
    end;
untype_beside(_OlderNames, Family) ->
    Family.

-spec is_family(term()) -> boolean().
is_family({Name, Kind, Help, Samples}) when
    is_binary(Name), is_binary(Help), is_list(Samples),
    (Kind =:= counter orelse Kind =:= gauge orelse Kind =:= untyped)
->
    lists:all(fun is_sample/1, Samples);
is_family(_) ->
    false.

-spec is_sample(term()) -> boolean().
is_sample({Labels, Value}) when is_list(Labels) ->
    is_value(Value) andalso lists:all(fun is_label/1, Labels);
is_sample(_) ->
    false.

-spec is_label(term()) -> boolean().
is_label({Name, Value}) ->
    is_binary(Name) andalso (is_atom(Value) orelse is_binary(Value) orelse is_integer(Value));
is_label(_) ->
    false.

-spec is_value(term()) -> boolean().
is_value(Value) when is_integer(Value) -> Value >= ?MIN_INTEGER andalso Value =< ?MAX_INTEGER;
is_value(Value) -> is_float(Value).
