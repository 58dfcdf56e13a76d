%% @doc The configuration: where it comes from and what is legal.
%%
%% {@link spec/0} is the one table of all settings. A setting is taken from its
%% environment variable, else from the application environment of
%% `erlmcp_instrumentation', else from the table. A variable that is set to
%% nothing counts as not set. What is legal is told by
%% {@link erlmcp_instrumentation_setting_type}.
-module(erlmcp_instrumentation_config).

-include_lib("kernel/include/logger.hrl").

-export([load/0]).
-export([spec/0]).
-export([format_error/1]).
-export([expected/1]).
-export([format_report/1]).
-export([own_variable/1]).
-export([entry/5]).
-export([entry/6]).

-export_type([config/0, entry/0, key/0, unit/0, error/0]).

-define(APPLICATION, erlmcp_instrumentation).
-define(MAX_VALUE_CHARS, 200).
-define(MAX_MILLISECONDS, 86400000).
-define(MAX_SERIES, 16777216).

-type key() :: atom().
-type config() :: #{key() => term()}.
-type unit() ::
    none | attributes | bytes | characters | connections | events | links | metrics
    | milliseconds | records | series | spans.
-type entry() :: #{
    key := key(),
    variable := string(),
    type := erlmcp_instrumentation_setting_type:type(),
    default := term(),
    unit := unit(),
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
        {ok, Config} -> check(Config);
        {error, _} = Error -> Error
    end.

%% @doc What is expected of values of a type, as the end of a sentence.
-spec expected(erlmcp_instrumentation_setting_type:type()) -> binary().
expected(Type) ->
    erlmcp_instrumentation_setting_type:expected(Type).

%% @doc A readable sentence for an error of {@link load/0}.
-spec format_error(error()) -> binary().
format_error({bad_config, Key, Value, Expected}) ->
    Text = io_lib:format("~0tp", [Value], [{chars_limit, ?MAX_VALUE_CHARS}]),
    unicode:characters_to_binary(
        io_lib:format("~ts: the setting ~ts (environment variable ~ts) is ~ts, expected ~ts",
                      [?APPLICATION, Key, variable_of(Key), Text, Expected])).

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
             "in seconds.">>)]
        ++ erlmcp_instrumentation_door_settings:spec()
        ++ erlmcp_instrumentation_health_settings:spec()
        ++ erlmcp_instrumentation_otel_settings:spec()
        ++ erlmcp_instrumentation_log_settings:spec().

%% @doc The environment variable of a setting that is ours alone.
-spec own_variable(key()) -> string().
own_variable(Key) ->
    "ERLMCP_" ++ string:uppercase(atom_to_list(Key)).

%% @private An entry of the table: a setting that is ours alone.
-spec entry(key(), erlmcp_instrumentation_setting_type:type(), term(), unit(), binary()) ->
    entry().
entry(Key, Type, Default, Unit, Doc) ->
    entry(Key, own_variable(Key), Type, Default, Unit, Doc).

%% @private One whose variable OpenTelemetry has named.
-spec entry(key(), Variable :: string(), erlmcp_instrumentation_setting_type:type(), term(),
            unit(), binary()) -> entry().
entry(Key, Variable, Type, Default, Unit, Doc) ->
    #{key => Key, variable => Variable, type => Type, default => Default, unit => Unit,
      doc => Doc}.

%% Internals

%% The variable of any setting.
-spec variable_of(key()) -> string().
variable_of(Key) ->
    case [Variable || #{key := Known, variable := Variable} <- spec(), Known =:= Key] of
        [Variable] -> Variable;
        [] -> own_variable(Key)
    end.

-spec load([entry()], config()) -> {ok, config()} | {error, error()}.
load([], Config) ->
    {ok, Config};
load([#{key := Key, type := Type} = Entry | Rest], Config) ->
    case value(Entry) of
        {ok, Value} ->
            load(Rest, Config#{Key => Value});
        {error, Bad} ->
            Shown = erlmcp_instrumentation_setting_type:shown(Type, Bad),
            {error, {bad_config, Key, Shown, expected(Type)}}
    end.

-spec value(entry()) -> {ok, term()} | {error, Bad :: term()}.
value(#{key := Key, variable := Variable, type := Type, default := Default}) ->
    case os:getenv(Variable, "") of
        "" ->
            Value = application:get_env(?APPLICATION, Key, Default),
            or_bad(erlmcp_instrumentation_setting_type:from_term(Type, Value), Value);
        Text ->
            or_bad(erlmcp_instrumentation_setting_type:from_text(Type, string:trim(Text)), Text)
    end.

-spec or_bad({ok, term()} | error, term()) -> {ok, term()} | {error, Bad :: term()}.
or_bad({ok, Value}, _Given) -> {ok, Value};
or_bad(error, Given) -> {error, Given}.

%% What one setting alone cannot tell.
-spec check(config()) -> {ok, config()} | {error, error()}.
check(Config) ->
    check([fun check_ports/1, fun erlmcp_instrumentation_door_settings:check/1,
           fun erlmcp_instrumentation_otel_config:check/1], Config).

-spec check([fun((config()) -> {ok, config()} | {error, error()})], config()) ->
    {ok, config()} | {error, error()}.
check([], Config) ->
    {ok, Config};
check([Check | Rest], Config) ->
    case Check(Config) of
        {ok, Checked} -> check(Rest, Checked);
        {error, _} = Error -> Error
    end.

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

-spec default_groups() -> [erlmcp_instrumentation_vm:group()].
default_groups() ->
    erlmcp_instrumentation_setting_type:groups() -- [msacc].
