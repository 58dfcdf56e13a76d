%% @doc The configuration: where it comes from and what is legal.
%%
%% {@link spec/0} is the one table of all settings. A setting is taken from its
%% environment variable, else from the application environment of
%% `erlmcp_instrumentation', else from the table. A variable that is set to
%% nothing counts as not set. Text from outside is compared with what is known
%% and never turned into a new atom.
-module(erlmcp_instrumentation_config).

-include_lib("kernel/include/logger.hrl").

-export([load/0]).
-export([spec/0]).
-export([format_error/1]).
-export([expected/1]).
-export([format_report/1]).

-export_type([config/0, entry/0, key/0, type/0, error/0]).

-define(APPLICATION, erlmcp_instrumentation).
-define(MAX_VALUE_CHARS, 200).
-define(MAX_MILLISECONDS, 86400000).
-define(MAX_SERIES, 16777216).

-type key() :: atom().
-type config() :: #{key() => term()}.
-type type() ::
    boolean
    | ip
    | {integer, Min :: integer(), Max :: integer()}
    | {integer_or_off, Min :: integer(), Max :: integer()}
    | collectors
    | buckets.
-type entry() :: #{
    key := key(),
    variable := string(),
    type := type(),
    default := term(),
    unit := none | connections | metrics | milliseconds | series,
    doc := binary()
}.
-type error() :: {bad_config, key(), Value :: term(), Expected :: binary()}.

%% @doc Reads and checks all settings.
%%
%% Gives each key of {@link spec/0} its value: `http_ip' as a string in its
%% canonical form, `vm_collectors' as a list of groups, `default_buckets' as a
%% list of floats. The first value that is not legal ends the reading. Keys of
%% the application environment that are not in the table are named in a warning
%% in the log, without their values. Sends no message except to the log.
-spec load() -> {ok, config()} | {error, error()}.
load() ->
    warn_of_unknown_keys(),
    case load(spec(), #{}) of
        {ok, Config} -> check_ports(Config);
        {error, _} = Error -> Error
    end.

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
expected(collectors) ->
    Names = [atom_to_binary(Group) || Group <- groups()],
    iolist_to_binary(["all, none, or a list of ", lists:join(", ", Names)]);
expected(buckets) ->
    <<"at least one number, each greater than the one before">>.

%% @doc A readable sentence for an error of {@link load/0}.
-spec format_error(error()) -> binary().
format_error({bad_config, Key, Value, Expected}) ->
    Text = io_lib:format("~0tp", [Value], [{chars_limit, ?MAX_VALUE_CHARS}]),
    unicode:characters_to_binary(
        io_lib:format("~ts: the setting ~ts (environment variable ~ts) is ~ts, expected ~ts",
                      [?APPLICATION, Key, variable(Key), Text, Expected])).

%% @doc The text of this module's log reports.
-spec format_report(logger:report()) -> {io:format(), [term()]}.
format_report(#{what := unknown_config_keys, application := Application, keys := Keys}) ->
    {"~ts: settings that do not exist are ignored: ~ts",
     [Application, lists:join(", ", [atom_to_list(Key) || Key <- Keys])]}.

%% @doc The table of all settings.
%%
%% The value of a key is legal when it is of the entry's type; `default' is such
%% a value. The documentation and {@link load/0} are both made from this.
-spec spec() -> [entry()].
spec() ->
    [entry(http_enabled, boolean, true, none,
           <<"Whether the HTTP server with /metrics and the health pages is started.">>),
     entry(http_ip, ip, "127.0.0.1", none,
           <<"The address that the HTTP server listens on. Loopback until told otherwise; "
             "0.0.0.0 or :: listens on every interface. The application environment also "
             "takes an address as a tuple.">>),
     entry(http_port, {integer, 0, 65535}, 8080, none,
           <<"The port of the HTTP server; 0 lets the system choose one.">>),
     entry(custom_port, {integer_or_off, 0, 65535}, 8086, none,
           <<"The port of the second listener for the same pages; 0 lets the system choose "
             "one, off does without it. Must differ from http_port.">>),
     entry(http_max_connections, {integer, 1, 65536}, 128, connections,
           <<"Connections that the HTTP server serves at once.">>),
     entry(http_header_timeout_ms, {integer, 1, ?MAX_MILLISECONDS}, 5000, milliseconds,
           <<"How long a client may take to send the head of a request.">>),
     entry(http_write_timeout_ms, {integer, 1, ?MAX_MILLISECONDS}, 30000, milliseconds,
           <<"How long a client may take to accept more of a response before the connection "
             "is closed.">>),
     entry(http_idle_timeout_ms, {integer, 1, ?MAX_MILLISECONDS}, 120000, milliseconds,
           <<"How long a connection may stay open between two requests.">>),
     entry(vm_timeout_ms, {integer, 1, 60000}, 500, milliseconds,
           <<"How long a scrape waits for the figures of the Erlang VM; after it the last "
             "ones are served and marked as stale.">>),
     entry(vm_collectors, collectors, default_groups(), none,
           <<"The groups of VM figures that a scrape gathers. A list of group names (in the "
             "variable separated by commas), or all, or none. Naming msacc switches the VM's "
             "microstate accounting on.">>),
     entry(process_metrics, boolean, true, none,
           <<"Whether a scrape tells the figures of the operating-system process "
             "(process_*).">>),
     entry(legacy_names, boolean, false, none,
           <<"Whether VM figures are also given under the names of older prometheus.erl "
             "versions.">>),
     entry(series_limit, {integer, 2, ?MAX_SERIES}, 2000, series,
           <<"Series that one metric may have, the overflow series included; what would be "
             "a further one is added to the overflow series.">>),
     entry(node_series_limit, {integer, 1, ?MAX_SERIES}, 200000, series,
           <<"Series that all metrics of the node may have together.">>),
     entry(metrics_limit, {integer, 1, ?MAX_SERIES}, 10000, metrics,
           <<"Metrics (names) that may be registered on the node.">>),
     entry(default_buckets, buckets,
           [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0],
           none,
           <<"Upper bounds of the buckets of a histogram that declares none, without "
             "infinity (in the variable separated by commas). The default suits durations "
             "in seconds.">>)].

%% Internals

-spec entry(key(), type(), term(), Unit, binary()) -> entry() when
    Unit :: none | connections | metrics | milliseconds | series.
entry(Key, Type, Default, Unit, Doc) ->
    #{key => Key, variable => variable(Key), type => Type, default => Default,
      unit => Unit, doc => Doc}.

-spec variable(key()) -> string().
variable(Key) ->
    "ERLMCP_" ++ string:uppercase(atom_to_list(Key)).

-spec load([entry()], config()) -> {ok, config()} | {error, error()}.
load([], Config) ->
    {ok, Config};
load([#{key := Key, type := Type} = Entry | Rest], Config) ->
    case value(Entry) of
        {ok, Value} -> load(Rest, Config#{Key => Value});
        {error, Bad} -> {error, {bad_config, Key, Bad, expected(Type)}}
    end.

-spec value(entry()) -> {ok, term()} | {error, Bad :: term()}.
value(#{key := Key, variable := Variable, type := Type, default := Default}) ->
    case os:getenv(Variable, "") of
        "" ->
            Value = application:get_env(?APPLICATION, Key, Default),
            or_bad(from_term(Type, Value), Value);
        Text ->
            or_bad(from_text(Type, string:trim(Text)), Text)
    end.

-spec or_bad({ok, term()} | error, term()) -> {ok, term()} | {error, Bad :: term()}.
or_bad({ok, Value}, _Given) -> {ok, Value};
or_bad(error, Given) -> {error, Given}.

%% Two listeners on one port would fail at the second with an error that does
%% not name the setting.
-spec check_ports(config()) -> {ok, config()} | {error, error()}.
check_ports(#{http_enabled := true, http_port := Port, custom_port := Port}) when Port =/= 0 ->
    {error, {bad_config, custom_port, Port, <<"a port other than http_port, or off">>}};
check_ports(Config) ->
    {ok, Config}.

-spec warn_of_unknown_keys() -> ok.
warn_of_unknown_keys() ->
    %% included_applications is put there by the application controller.
    Known = [included_applications | [Key || #{key := Key} <- spec()]],
    case [Key || {Key, _Value} <- application:get_all_env(?APPLICATION)] -- Known of
        [] ->
            ok;
        Unknown ->
            ?LOG_WARNING(
                #{what => unknown_config_keys,
                  application => ?APPLICATION,
                  keys => lists:sort(Unknown)},
                #{domain => [erlmcp, instrumentation],
                  report_cb => fun ?MODULE:format_report/1})
    end.

-spec groups() -> [erlmcp_instrumentation_vm:group()].
groups() ->
    [Group || {Group, _Module} <- erlmcp_instrumentation_vm:groups()].

-spec default_groups() -> [erlmcp_instrumentation_vm:group()].
default_groups() ->
    groups() -- [msacc].

%% Terms: the application environment and the defaults

-spec from_term(type(), term()) -> {ok, term()} | error.
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

-spec from_text(type(), string()) -> {ok, term()} | error.
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
        Names -> collectors([group(Name) || Name <- parts(Names)])
    end;
from_text(buckets, Text) ->
    buckets([number(Part) || Part <- parts(Text)]).

-spec parts(string()) -> [string()].
parts(Text) ->
    [string:trim(Part) || Part <- string:split(Text, ",", all)].

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
