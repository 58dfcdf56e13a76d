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
-export([kind/1]).
-export([collect/0]).
-export([remove/2]).
-export([remove_all/1]).
-export([scrape/3]).
-export([stats/0]).

%% Recent operations
-export([operation_add/2]).
-export([operations/0]).
-export([operation_counts/0]).
-export([operations_age/0]).
-export([operations_forget/0]).

%% What is open
-export([lifetime_open/5]).
-export([lifetime_close/2]).

%% Spans
-export([span_start/3]).
-export([span_end/1]).
-export([span_end/2]).
-export([span_set_attribute/3]).
-export([span_set_attributes/2]).
-export([span_add_event/4]).
-export([span_add_link/2]).
-export([span_set_status/3]).
-export([span_set_name/2]).
-export([span_is_open/1]).
-export([span_give_away/2]).
-export([request_end/4]).
-export([span_ids/1]).
-export([is_secret_key/1]).

%% Tracing
-export([tracing_configure/1]).
-export([span_stats/0]).
-export([span_watch/1]).
-export([span_unwatch/0]).
-export([span_owner_down/3]).

%% Exporter
-export([exporter_start/2]).
-export([exporter_stop/1]).
-export([exporter_flush/1]).
-export([log_emit/6]).

%% Capture
-export([capture_start/0]).
-export([capture_spans/1]).
-export([capture_stop/1]).

%% The VM's answers to the native server
-export([vm_register/1]).
-export([vm_reply/2]).
-export([health_register/1]).
-export([health_reply/4]).

%% Listener
-export([listener_start/2]).
-export([listener_stop/0]).
-export([credential_token/2]).
-export([credential_password/2]).

%% Propagation
-export([otel_propagators/1]).
-export([otel_extract/1]).
-export([otel_inject/2]).

%% Proof
-export([panic_probe/0]).

-on_load(load/0).

-nifs([count/3, add/3, subtract/3, set/3, observe/3, observe_traced/4,
       series_add/2, series_subtract/2, series_set/2, series_observe/2, series_observe_traced/3,
       configure/1, declare/3, bind/3, value/2, kind/1, collect/0, remove/2, remove_all/1,
       scrape/3, stats/0, operation_add/2, operations/0, operation_counts/0,
       operations_age/0, operations_forget/0, lifetime_open/5, lifetime_close/2,
       span_start/3, span_end/1, span_end/2, span_set_attribute/3, span_set_attributes/2,
       span_add_event/4, span_add_link/2, span_set_status/3, span_set_name/2, span_is_open/1,
       span_give_away/2, request_end/4, span_ids/1, is_secret_key/1,
       tracing_configure/1, span_stats/0, span_watch/1, span_unwatch/0,
       span_owner_down/3,
       exporter_start/2, exporter_stop/1, exporter_flush/1, log_emit/6,
       capture_start/0, capture_spans/1, capture_stop/1,
       vm_register/1, vm_reply/2, health_register/1, health_reply/4,
       listener_start/2, listener_stop/0,
       credential_token/2, credential_password/2,
       otel_propagators/1, otel_extract/1, otel_inject/2, panic_probe/0]).

-export_type([error/0]).
-export_type([name/0]).
-export_type([labels/0]).
-export_type([series/0]).
-export_type([kind/0]).
-export_type([span_context/0]).
-export_type([baggage/0]).

-type error() :: {error, {Tag :: atom(), Text :: binary()}}.
-type name() :: atom() | binary() | string().
-type labels() :: #{name() => name() | number()}.
-type series() :: pos_integer().
%% `<<TraceId:16/binary, SpanId:8/binary, Flags:8, Handle:64, TraceState/binary>>':
%% flag 1 is sampled, 2 recording, 4 remote.
-type span_context() :: binary().
-type baggage() :: [{Key :: binary(), Value :: binary(), Metadata :: binary()}].
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

%% What the metric that records under a name is, `undefined' if there is none.
-spec kind(name()) -> kind() | undefined | error().
kind(_Name) -> ?NOT_LOADED.

%% Every series that the application has, in the order of the names.
-spec collect() -> [{Name :: binary(), kind(), #{binary() => binary()}, erlmcp_metrics:value()}].
collect() -> ?NOT_LOADED.

-spec remove(name(), labels()) -> boolean() | error().
remove(_Name, _Labels) -> ?NOT_LOADED.

-spec remove_all(name()) -> non_neg_integer() | error().
remove_all(_Name) -> ?NOT_LOADED.

-spec scrape(text | openmetrics | protobuf, all | application,
             [erlmcp_instrumentation_collector:family()]) -> binary() | error().
scrape(_Format, _Scope, _Families) -> ?NOT_LOADED.

-spec stats() -> map().
stats() -> ?NOT_LOADED.

%% Counts an operation, and keeps its term, encoded, as the latest. `false' if
%% it has more than 4 096 bytes; then nothing has changed.
-spec operation_add(Name :: binary(), Encoded :: binary()) -> boolean().
operation_add(_Name, _Encoded) -> ?NOT_LOADED.

%% The latest first.
-spec operations() -> [Encoded :: binary()].
operations() -> ?NOT_LOADED.

-spec operation_counts() -> [{Name :: binary(), pos_integer()}].
operation_counts() -> ?NOT_LOADED.

-spec operations_age() -> Milliseconds :: non_neg_integer().
operations_age() -> ?NOT_LOADED.

-spec operations_forget() -> ok.
operations_forget() -> ?NOT_LOADED.

%% Opens something that belongs to a process, until it is closed or the process
%% ends; its number, or 0 if it is not open.
-spec lifetime_open(pid(), Opened :: series(), Active :: series(), OwnerEnded :: series(),
                    Duration :: series() | 0) -> non_neg_integer().
lifetime_open(_Owner, _Opened, _Active, _OwnerEnded, _Duration) -> ?NOT_LOADED.

%% Counts it as closed for a reason; `false' if it has ended before.
-spec lifetime_close(Number :: non_neg_integer(), Closed :: series() | 0) -> boolean().
lifetime_close(_Number, _Closed) -> ?NOT_LOADED.

-spec span_start(term(), span_context() | undefined, map()) -> span_context().
span_start(_Name, _Current, _Options) -> ?NOT_LOADED.

-spec span_end(span_context()) -> boolean().
span_end(_Span) -> ?NOT_LOADED.

-spec span_end(span_context(), EndTime :: non_neg_integer()) -> boolean().
span_end(_Span, _EndTime) -> ?NOT_LOADED.

-spec span_set_attribute(span_context() | undefined, term(), term()) -> boolean().
span_set_attribute(_Span, _Key, _Value) -> ?NOT_LOADED.

-spec span_set_attributes(span_context() | undefined, term()) -> boolean().
span_set_attributes(_Span, _Attributes) -> ?NOT_LOADED.

-spec span_add_event(span_context() | undefined, term(), term(), now | non_neg_integer()) -> boolean().
span_add_event(_Span, _Name, _Attributes, _Time) -> ?NOT_LOADED.

-spec span_add_link(span_context() | undefined, term()) -> boolean().
span_add_link(_Span, _Link) -> ?NOT_LOADED.

-spec span_set_status(span_context() | undefined, ok | error, term()) -> boolean().
span_set_status(_Span, _Code, _Message) -> ?NOT_LOADED.

-spec span_set_name(span_context() | undefined, term()) -> boolean().
span_set_name(_Span, _Name) -> ?NOT_LOADED.

%% Ends the span of a request and counts the request, in one call: a process
%% that is killed before it is counted by its end. Labels of
%% `erlmcp_errors_total' if it failed.
-spec request_end(span_context(), Seconds :: float(), labels(), ErrorLabels :: labels() | nil) ->
    boolean().
request_end(_Span, _Seconds, _Labels, _ErrorLabels) -> ?NOT_LOADED.

-spec span_is_open(span_context() | undefined) -> boolean().
span_is_open(_Span) -> ?NOT_LOADED.

-spec span_give_away(span_context(), pid()) -> boolean().
span_give_away(_Span, _Pid) -> ?NOT_LOADED.

-spec span_ids(span_context() | undefined) -> {TraceId :: binary(), SpanId :: binary()} | undefined.
span_ids(_Span) -> ?NOT_LOADED.

%% Whether the value of a key is not to be shown: {@link erlmcp_redaction}.
-spec is_secret_key(term()) -> boolean().
is_secret_key(_Key) -> ?NOT_LOADED.

-spec tracing_configure(map()) -> ok | error().
tracing_configure(_Options) -> ?NOT_LOADED.

-spec span_stats() -> #{atom() => non_neg_integer()}.
span_stats() -> ?NOT_LOADED.

-spec span_watch(AgeMs :: non_neg_integer()) -> [pid()].
span_watch(_AgeMs) -> ?NOT_LOADED.

-spec span_unwatch() -> ok.
span_unwatch() -> ?NOT_LOADED.

-spec span_owner_down(pid(), binary(), binary() | nil) -> non_neg_integer().
span_owner_down(_Pid, _ErrorType, _Reason) -> ?NOT_LOADED.

-spec exporter_start(pid(), map()) -> ok | error().
exporter_start(_Owner, _Options) -> ?NOT_LOADED.

-spec exporter_stop(TimeoutMs :: non_neg_integer()) -> boolean().
exporter_stop(_TimeoutMs) -> ?NOT_LOADED.

-spec exporter_flush(TimeoutMs :: non_neg_integer()) -> boolean().
exporter_flush(_TimeoutMs) -> ?NOT_LOADED.

%% Queues a log record; `false' if there was no room, which is counted. The
%% severity is OpenTelemetry's number from 1 to 24, the time in nanoseconds since
%% 1970.
-spec log_emit(Time :: non_neg_integer(), Severity :: 1..24, SeverityText :: term(),
               Body :: term(), Attributes :: term(), span_context() | undefined) -> boolean().
log_emit(_Time, _Severity, _SeverityText, _Body, _Attributes, _Span) -> ?NOT_LOADED.

-spec capture_start() -> non_neg_integer() | nil.
capture_start() -> ?NOT_LOADED.

-spec capture_spans(Id :: non_neg_integer()) -> [map()].
capture_spans(_Id) -> ?NOT_LOADED.

-spec capture_stop(Id :: non_neg_integer()) -> boolean().
capture_stop(_Id) -> ?NOT_LOADED.

-spec vm_register(pid()) -> ok.
vm_register(_Pid) -> ?NOT_LOADED.

-spec vm_reply(integer(), [erlmcp_instrumentation_collector:family()]) -> boolean().
vm_reply(_Id, _Families) -> ?NOT_LOADED.

-spec health_register(pid()) -> ok.
health_register(_Pid) -> ?NOT_LOADED.

-spec health_reply(non_neg_integer(), Node :: binary(), UptimeMs :: non_neg_integer(),
                   [erlmcp_instrumentation_health_responder:item()]) -> boolean().
health_reply(_Id, _Node, _UptimeMs, _Checks) -> ?NOT_LOADED.

-spec listener_start(pid(), map()) -> {ok, [{binary(), inet:port_number()}]} | error().
listener_start(_Owner, _Options) -> ?NOT_LOADED.

-spec listener_stop() -> ok.
listener_stop() -> ?NOT_LOADED.

%% Makes a token where none is given.
-spec credential_token(Name :: binary(), Token :: binary() | nil) ->
    {ok, {Token :: binary(), Line :: binary()}} | error().
credential_token(_Name, _Token) -> ?NOT_LOADED.

%% Takes tens of milliseconds, on a dirty scheduler.
-spec credential_password(Name :: binary(), Password :: binary()) ->
    {ok, Line :: binary()} | error().
credential_password(_Name, _Password) -> ?NOT_LOADED.

%% The text of `OTEL_PROPAGATORS'.
-spec otel_propagators(binary()) -> ok | error().
otel_propagators(_Names) -> ?NOT_LOADED.

%% Headers are pairs in a list or a map; what is malformed is skipped.
-spec otel_extract([{name(), name()}] | #{name() => name()}) ->
    {span_context() | nil, baggage()}.
otel_extract(_Headers) -> ?NOT_LOADED.

%% Entries of baggage that cannot be sent are skipped.
-spec otel_inject(span_context() | nil, baggage() | [{name(), name() | number()}] |
                                        #{name() => name() | number()}) ->
    [{Name :: binary(), Value :: binary()}].
otel_inject(_SpanContext, _Baggage) -> ?NOT_LOADED.

%% Panics in Rust on purpose. It has to come out as `error:nif_panicked'.
-spec panic_probe() -> no_return().
panic_probe() -> ?NOT_LOADED.
