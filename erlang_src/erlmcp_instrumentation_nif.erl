%% @doc The functions of the shared library, and its loading.
%%
%% The only module that names the library. Everything in the library outlives
%% this module: loading a new version of it keeps every count.
%%
%% Recording functions return `ok | {error, {Tag, Text}}' and never raise. The
%% documentation is that of the modules that call these.
-module(erlmcp_instrumentation_nif).

%% Recording: hot
-export([count/3]).
-export([add/3]).
-export([subtract/3]).
-export([set/3]).
-export([observe/3]).
-export([observe_traced/4]).
-export([series_add/2]).
-export([series_subtract/2]).
-export([series_set/2]).
-export([series_observe/2]).
-export([series_observe_traced/3]).

%% Registry
-export([configure/1]).
-export([declare/3]).
-export([bind/3]).
-export([value/2]).
-export([remove/2]).
-export([remove_all/1]).
-export([scrape/3]).
-export([stats/0]).

%% The VM's answers to the native server
-export([vm_register/1]).
-export([vm_reply/2]).
-export([vm_pong/3]).

%% Listener
-export([listener_start/2]).
-export([listener_stop/0]).

%% Proof
-export([panic_probe/0]).

-on_load(load/0).

-nifs([count/3, add/3, subtract/3, set/3, observe/3, observe_traced/4,
       series_add/2, series_subtract/2, series_set/2, series_observe/2, series_observe_traced/3,
       configure/1, declare/3, bind/3, value/2, remove/2, remove_all/1, scrape/3, stats/0,
       vm_register/1, vm_reply/2, vm_pong/3, listener_start/2, listener_stop/0,
       panic_probe/0]).

-export_type([error/0]).
-export_type([name/0]).
-export_type([labels/0]).
-export_type([series/0]).
-export_type([kind/0]).

-type error() :: {error, {Tag :: atom(), Text :: binary()}}.
-type name() :: atom() | binary() | string().
-type labels() :: #{name() => name() | number()}.
-type series() :: pos_integer().
-type kind() :: counter | up_down_counter | gauge | histogram | exponential_histogram | info.

-define(LIBRARY, "erlmcp_nif").
-define(NOT_LOADED, erlang:nif_error({not_loaded, ?MODULE})).

-spec load() -> ok | {error, {atom(), string()}}.
load() ->
    Path = filename:join(priv_dir(), ?LIBRARY),
    case erlang:load_nif(Path, 0) of
        ok ->
            ok;
        {error, {upgrade, _} = Reason} ->
            logger:error(
                "erlmcp_instrumentation stays at the version that runs: ~ts.so is another "
                "native library, and all counts are in the one that is loaded. "
                "Restart the node to change it.",
                [Path],
                #{domain => [erlmcp, instrumentation]}
            ),
            {error, Reason};
        {error, {Reason, Text}} ->
            logger:error(
                "erlmcp_instrumentation cannot load its native library ~ts.so: ~ts~n"
                "Build it with `make -C native` in the library's folder, or `rebar3 compile`.",
                [Path, Text],
                #{domain => [erlmcp, instrumentation]}
            ),
            {error, {Reason, Text}}
    end.

%% The application's priv folder; beside the module's own folder where the
%% code path does not say which application it belongs to.
-spec priv_dir() -> file:filename().
priv_dir() ->
    case code:priv_dir(erlmcp_instrumentation) of
        {error, bad_name} ->
            Ebin = filename:dirname(code:which(?MODULE)),
            filename:join(filename:dirname(Ebin), "priv");
        Dir ->
            Dir
    end.

-spec count(name(), number(), labels()) -> ok | error().
count(_Name, _Value, _Labels) -> ?NOT_LOADED.

-spec add(name(), number(), labels()) -> ok | error().
add(_Name, _Value, _Labels) -> ?NOT_LOADED.

-spec subtract(name(), number(), labels()) -> ok | error().
subtract(_Name, _Value, _Labels) -> ?NOT_LOADED.

-spec set(name(), number() | infinity | '-infinity' | nan, labels()) -> ok | error().
set(_Name, _Value, _Labels) -> ?NOT_LOADED.

-spec observe(name(), number(), labels()) -> ok | error().
observe(_Name, _Value, _Labels) -> ?NOT_LOADED.

%% Also keeps the observation as an exemplar of its bucket if `SpanContext' is
%% that of a sampled span; with any other term it is {@link observe/3}.
-spec observe_traced(name(), number(), labels(), SpanContext :: term()) -> ok | error().
observe_traced(_Name, _Value, _Labels, _SpanContext) -> ?NOT_LOADED.

-spec series_add(series(), number()) -> ok | error().
series_add(_Series, _Value) -> ?NOT_LOADED.

-spec series_subtract(series(), number()) -> ok | error().
series_subtract(_Series, _Value) -> ?NOT_LOADED.

-spec series_set(series(), number() | infinity | '-infinity' | nan) -> ok | error().
series_set(_Series, _Value) -> ?NOT_LOADED.

-spec series_observe(series(), number()) -> ok | error().
series_observe(_Series, _Value) -> ?NOT_LOADED.

-spec series_observe_traced(series(), number(), SpanContext :: term()) -> ok | error().
series_observe_traced(_Series, _Value, _SpanContext) -> ?NOT_LOADED.

-spec configure(#{
    series_limit := pos_integer(),
    node_series_limit := pos_integer(),
    metrics_limit := pos_integer(),
    default_buckets := [float()],
    process_metrics := boolean()
}) -> ok | error().
configure(_Limits) -> ?NOT_LOADED.

-spec declare(kind(), name(), #{
    library := boolean(),
    description := binary() | nil,
    unit := binary() | nil,
    buckets := [float()] | nil,
    max_buckets := 2..1024 | nil,
    limit := pos_integer() | nil
}) -> ok | error().
declare(_Kind, _Name, _Options) -> ?NOT_LOADED.

-spec bind(kind(), name(), labels()) -> series() | error().
bind(_Kind, _Name, _Labels) -> ?NOT_LOADED.

-spec value(name(), labels()) -> erlmcp_metrics:value() | undefined | error().
value(_Name, _Labels) -> ?NOT_LOADED.

-spec remove(name(), labels()) -> boolean() | error().
remove(_Name, _Labels) -> ?NOT_LOADED.

-spec remove_all(name()) -> non_neg_integer() | error().
remove_all(_Name) -> ?NOT_LOADED.

-spec scrape(text | openmetrics | protobuf, all | application,
             [erlmcp_instrumentation_collector:family()]) -> binary() | error().
scrape(_Format, _Scope, _Families) -> ?NOT_LOADED.

-spec stats() -> map().
stats() -> ?NOT_LOADED.

-spec vm_register(pid()) -> ok.
vm_register(_Pid) -> ?NOT_LOADED.

-spec vm_reply(integer(), [erlmcp_instrumentation_collector:family()]) -> boolean().
vm_reply(_Id, _Families) -> ?NOT_LOADED.

-spec vm_pong(integer(), Node :: binary(), UptimeMs :: non_neg_integer()) -> boolean().
vm_pong(_Id, _Node, _UptimeMs) -> ?NOT_LOADED.

-spec listener_start(pid(), map()) -> {ok, [{binary(), inet:port_number()}]} | error().
listener_start(_Owner, _Options) -> ?NOT_LOADED.

-spec listener_stop() -> ok.
listener_stop() -> ?NOT_LOADED.

%% Panics in Rust on purpose. It has to come out as `error:nif_panicked'.
-spec panic_probe() -> no_return().
panic_probe() -> ?NOT_LOADED.
