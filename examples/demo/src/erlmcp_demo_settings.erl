%% @doc What the environment says about a demo run: how long, how fast, how many.
-module(erlmcp_demo_settings).

-export([read/0]).
-export([read/2]).

-export_type([settings/0]).

-type settings() :: #{
    seconds := non_neg_integer(),
    rate := pos_integer(),
    sessions := pos_integer(),
    faults := 0..100,
    log := boolean()
}.
%% `seconds' 0 is "until told to stop"; `rate' is requests a second over all
%% sessions; `sessions' is how many are open at a time; `faults' is how many
%% percent of what can go wrong does; `log' is whether each request logs a line.

%% A simulated request costs a quarter of a millisecond of CPU at most, spinning
%% schedulers included: 2 000 a second for every core but one keep that one free.
-define(RATE_PER_CORE, 2000).
-define(HIGHEST_DEFAULT_RATE, 10000).
-define(STAYING_RATE, 200).

-define(REQUESTS_PER_SESSION_SECOND, 20).
-define(MAX_SECONDS, 86400).
-define(MAX_RATE, 100000).
-define(MAX_SESSIONS, 10000).
-define(ALL_FAULTS, 100).

%% @doc Reads `DEMO_SECONDS', `DEMO_RATE', `DEMO_SESSIONS', `DEMO_FAULTS' and `DEMO_LOG'.
-spec read() -> {ok, settings()} | {error, Text :: string()}.
read() ->
    read(fun os:getenv/1, erlang:system_info(schedulers_online)).

%% @doc The same with the environment and the number of cores given.
%%
%% The error text names the variable, the value found and the values allowed.
-spec read(fun((string()) -> string() | false), Cores :: pos_integer()) ->
    {ok, settings()} | {error, Text :: string()}.
read(Getenv, Cores) ->
    try
        Seconds = integer(Getenv, "DEMO_SECONDS", 10, 0, ?MAX_SECONDS),
        Rate = integer(Getenv, "DEMO_RATE", default_rate(Seconds, Cores), 1, ?MAX_RATE),
        Sessions = integer(Getenv, "DEMO_SESSIONS", default_sessions(Rate), 1, ?MAX_SESSIONS),
        Faults = integer(Getenv, "DEMO_FAULTS", ?ALL_FAULTS, 0, ?ALL_FAULTS),
        {ok, #{seconds => Seconds, rate => Rate, sessions => Sessions, faults => Faults,
               log => boolean(Getenv, "DEMO_LOG", false)}}
    catch
        throw:{invalid, Text} -> {error, Text}
    end.

-spec default_rate(non_neg_integer(), pos_integer()) -> pos_integer().
default_rate(0, _Cores) ->
    ?STAYING_RATE;
default_rate(_Seconds, Cores) ->
    min(?HIGHEST_DEFAULT_RATE, ?RATE_PER_CORE * max(1, Cores - 1)).

-spec default_sessions(pos_integer()) -> pos_integer().
default_sessions(Rate) ->
    min(500, max(10, Rate div ?REQUESTS_PER_SESSION_SECOND)).

-spec integer(fun((string()) -> string() | false), string(), integer(), integer(), integer()) ->
    integer().
integer(Getenv, Name, Default, Min, Max) ->
    case Getenv(Name) of
        false ->
            Default;
        "" ->
            Default;
        Text ->
            case string:to_integer(Text) of
                {Value, ""} when is_integer(Value), Value >= Min, Value =< Max ->
                    Value;
                _ ->
                    throw({invalid, lists:flatten(io_lib:format(
                        "~ts=~ts: a whole number from ~b to ~b is needed",
                        [Name, Text, Min, Max]))})
            end
    end.

-spec boolean(fun((string()) -> string() | false), string(), boolean()) -> boolean().
boolean(Getenv, Name, Default) ->
    case Getenv(Name) of
        false -> Default;
        "" -> Default;
        "true" -> true;
        "false" -> false;
        Text ->
            throw({invalid, lists:flatten(io_lib:format("~ts=~ts: true or false is needed",
                                                        [Name, Text]))})
    end.
