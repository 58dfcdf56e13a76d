%% @doc Counters, gauges, up-down counters, histograms and infos.
%%
%% Recording runs in the caller, sends no message, takes no lock, and never
%% raises: it returns `ok', or `{error, {Tag, Text}}' where `Text' says what is
%% wrong. A refused recording changes nothing, is counted in
%% `erlmcp_metrics_rejected_samples_total' by its reason, and is logged at most
%% once a minute for each name.
%%
%% == Names and labels ==
%%
%% Names, and the names of labels, are atoms, binaries or strings; the values of
%% labels may also be numbers. All spellings of a series are one series:
%% `#{method => get}' and `#{<<"method">> => "get"}'. Characters that Prometheus
%% refuses become `_'. A counter's name ends in `_total' where it is exposed,
%% and may be given with or without. A label with an empty value is no label.
%%
%% == Undeclared names ==
%%
%% The first use of a name registers it, as the kind that the function implies.
%% {@link declare/3} gives it a description, a unit, buckets or another limit,
%% before or after.
%%
%% == Limits ==
%%
%% A metric has at most 2 000 series (`series_limit', or `limit' of its
%% declaration), the node at most 200 000 (`node_series_limit'). What exceeds
%% them is recorded in the metric's overflow series, which has the one label
%% `otel_metric_overflow="true"': the sum over all series stays right.
%%
%% == Cost ==
%%
%% About 20 ns with a series of {@link bind/3}, 40 ns by name without labels,
%% 80 to 130 ns with three labels; the first use of a series takes microseconds.
%% `make bench' measures it on the machine at hand.
-module(erlmcp_metrics).

-behaviour(gen_server).

%% API: process
-export([start_link/0]).

%% API: recording by name
-export([record_counter/3]).
-export([record_gauge/3]).
-export([record_histogram/3]).
-export([set_info/2]).

%% API: short forms, by name or series
-export([inc/1]).
-export([inc/2]).
-export([inc/3]).
-export([dec/1]).
-export([dec/2]).
-export([dec/3]).
-export([set/2]).
-export([set/3]).
-export([observe/2]).
-export([observe/3]).
-export([time/2]).
-export([time/3]).

%% API: the forms of erlmcp's callers
-export([record/2]).
-export([counter/2]).
-export([histogram/2]).
-export([gauge/2]).
-export([gauge/3]).
-export([create_counter/2]).
-export([create_counter/3]).
-export([create_gauge/2]).
-export([create_gauge/3]).
-export([create_histogram/2]).
-export([create_histogram/3]).
-export([collect_metrics/0]).
-export([get_metrics_summary/0]).

%% API: operations
-export([record_transport_operation/4]).
-export([record_server_operation/4]).
-export([record_registry_operation/3]).
-export([with_metrics/3]).
-export([get_metrics/0]).
-export([get_metrics/1]).
-export([reset_metrics/0]).
-export([get_performance_summary/0]).

%% API: registry
-export([declare/3]).
-export([bind/3]).
-export([value/2]).
-export([remove/2]).
-export([remove/1]).

%% API: exposition
-export([scrape/0]).
-export([scrape/1]).
-export([scrape/2]).
-export([content_type/1]).
-export([info/0]).
-export([format_error/1]).

%% Callbacks
-export([format_report/1]).
-export([init/1]).
-export([handle_call/3]).
-export([handle_cast/2]).
-export([handle_info/2]).

-type name() :: erlmcp_instrumentation_nif:name().
-type labels() :: erlmcp_instrumentation_nif:labels().
-type series() :: erlmcp_instrumentation_nif:series().
-type kind() :: erlmcp_instrumentation_nif:kind().
-type error() :: erlmcp_instrumentation_nif:error().
-type gauge_value() :: number() | infinity | '-infinity' | nan.
-type histogram_value() :: #{
    count := non_neg_integer(),
    sum := float(),
    buckets := [{UpperBound :: float() | infinity, CumulativeCount :: non_neg_integer()}],
    %% Of an exponential histogram.
    scale => integer(),
    zero_count => non_neg_integer(),
    positive => {Offset :: integer(), [Count :: non_neg_integer()]},
    negative => {Offset :: integer(), [Count :: non_neg_integer()]}
}.
-type value() :: gauge_value() | histogram_value().
-type format() :: text | openmetrics | protobuf.
-type options() :: #{
    description => unicode:chardata(),
    unit => unicode:chardata() | atom(),
    labels => [name()],
    buckets => [number() | infinity],
    max_buckets => 2..1024,
    limit => pos_integer()
}.
%% Options of {@link declare/3}:
%% <ul>
%% <li>`description': what the metric means, shown as `# HELP'</li>
%% <li>`unit': such as `seconds'; shown by OpenMetrics if the name ends in it</li>
%% <li>`labels': the labels that will be used, for the reader; recording with
%%     others is legal</li>
%% <li>`buckets': a histogram's upper bounds, increasing; +Inf is added. Default:
%%     the setting `default_buckets'. An exponential histogram is shown by them
%%     where a format knows no other</li>
%% <li>`max_buckets': most buckets of each sign that an exponential histogram has.
%%     Default: 160</li>
%% <li>`limit': most series of this metric, at least 2, the overflow series
%%     included. Default: the setting `series_limit'</li>
%% </ul>

-type operation() :: erlmcp_metrics_operations:operation().
%% A recorded operation: `name', `value', `labels' as given, and `timestamp' in
%% milliseconds since 1970.
-type collected() :: #{
    name := binary(),
    type := kind(),
    labels := #{binary() => binary()},
    value := value()
}.

-export_type([operation/0]).
-export_type([collected/0]).
-export_type([name/0]).
-export_type([labels/0]).
-export_type([series/0]).
-export_type([kind/0]).
-export_type([error/0]).
-export_type([value/0]).
-export_type([gauge_value/0]).
-export_type([histogram_value/0]).
-export_type([format/0]).
-export_type([options/0]).

-define(NIF, erlmcp_instrumentation_nif).

%% API: process

%% @doc Starts the process registered as `erlmcp_metrics', or links to the one
%% that runs. It logs refused recordings and holds no count: recording works
%% without it. The application starts it by itself, and again when it was stopped.
%% Where it starts, the list of operations ({@link get_metrics/0}) begins anew.
-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() ->
    erlmcp_instrumentation_singleton:start_link(?MODULE, ?MODULE).

%% API: recording by name

%% @doc Adds to a counter. `Value' is an integer or a float, not negative.
-spec record_counter(name(), number(), labels()) -> ok | error().
record_counter(Name, Value, Labels) ->
    ?NIF:count(Name, Value, Labels).

%% @doc Sets a gauge. An integer of up to 51 bits stays an integer, a larger one
%% becomes the nearest float.
-spec record_gauge(name(), gauge_value(), labels()) -> ok | error().
record_gauge(Name, Value, Labels) ->
    ?NIF:set(Name, Value, Labels).

%% @doc Counts an observation in a histogram, in the unit of its buckets:
%% seconds by default.
-spec record_histogram(name(), number(), labels()) -> ok | error().
record_histogram(Name, Value, Labels) ->
    ?NIF:observe(Name, Value, Labels).

%% @doc Shows labels that describe something, such as a version; the value is
%% always 1. Labels shown before under the name stay until {@link remove/1}.
-spec set_info(name(), labels()) -> ok | error().
set_info(Name, Labels) ->
    case ?NIF:bind(info, Name, Labels) of
        Series when is_integer(Series) -> ok;
        {error, _} = Error -> Error
    end.

%% API: short forms

%% @doc `inc(Name, 1, #{})', or adds 1 to a series.
-spec inc(name() | series()) -> ok | error().
inc(Series) when is_integer(Series) -> ?NIF:series_add(Series, 1);
inc(Name) -> ?NIF:add(Name, 1, #{}).

%% @doc Adds a number to a series or to a name without labels, or 1 to a name
%% with labels.
-spec inc(series(), number()) -> ok | error();
         (name(), number() | labels()) -> ok | error().
inc(Series, Value) when is_integer(Series) -> ?NIF:series_add(Series, Value);
inc(Name, Labels) when is_map(Labels) -> ?NIF:add(Name, 1, Labels);
inc(Name, Value) -> ?NIF:add(Name, Value, #{}).

%% @doc Adds to a counter, an up-down counter or a gauge; an undeclared name
%% becomes a counter. The order of value and labels is free.
-spec inc(name(), number(), labels()) -> ok | error();
         (name(), labels(), number()) -> ok | error().
inc(Name, Labels, Value) when is_map(Labels) -> ?NIF:add(Name, Value, Labels);
inc(Name, Value, Labels) -> ?NIF:add(Name, Value, Labels).

%% @doc `dec(Name, 1, #{})', or subtracts 1 from a series.
-spec dec(name() | series()) -> ok | error().
dec(Series) when is_integer(Series) -> ?NIF:series_subtract(Series, 1);
dec(Name) -> ?NIF:subtract(Name, 1, #{}).

%% @doc Subtracts a number from a series or from a name without labels, or 1
%% from a name with labels.
-spec dec(series(), number()) -> ok | error();
         (name(), number() | labels()) -> ok | error().
dec(Series, Value) when is_integer(Series) -> ?NIF:series_subtract(Series, Value);
dec(Name, Labels) when is_map(Labels) -> ?NIF:subtract(Name, 1, Labels);
dec(Name, Value) -> ?NIF:subtract(Name, Value, #{}).

%% @doc Subtracts from an up-down counter or a gauge; an undeclared name becomes
%% an up-down counter. The order of value and labels is free.
-spec dec(name(), number(), labels()) -> ok | error();
         (name(), labels(), number()) -> ok | error().
dec(Name, Labels, Value) when is_map(Labels) -> ?NIF:subtract(Name, Value, Labels);
dec(Name, Value, Labels) -> ?NIF:subtract(Name, Value, Labels).

%% @doc Sets a gauge given as a series, or as a name without labels.
-spec set(name() | series(), gauge_value()) -> ok | error().
set(Series, Value) when is_integer(Series) -> ?NIF:series_set(Series, Value);
set(Name, Value) -> ?NIF:set(Name, Value, #{}).

%% @doc Sets a gauge. The order of value and labels is free.
-spec set(name(), gauge_value(), labels()) -> ok | error();
         (name(), labels(), gauge_value()) -> ok | error().
set(Name, Labels, Value) when is_map(Labels) -> ?NIF:set(Name, Value, Labels);
set(Name, Value, Labels) -> ?NIF:set(Name, Value, Labels).

%% @doc Counts an observation in a histogram given as a series, or as a name
%% without labels.
-spec observe(name() | series(), number()) -> ok | error().
observe(Series, Value) when is_integer(Series) -> ?NIF:series_observe(Series, Value);
observe(Name, Value) -> ?NIF:observe(Name, Value, #{}).

%% @doc Counts an observation in a histogram. The order of value and labels is
%% free.
-spec observe(name(), number(), labels()) -> ok | error();
             (name(), labels(), number()) -> ok | error().
observe(Name, Labels, Value) when is_map(Labels) -> ?NIF:observe(Name, Value, Labels);
observe(Name, Value, Labels) -> ?NIF:observe(Name, Value, Labels).

%% @doc Calls `Fun' and counts the seconds it took in a histogram given as a
%% series, or as a name without labels. See {@link time/3}.
-spec time(name() | series(), fun(() -> Result)) -> Result.
time(Series, Fun) when is_integer(Series) ->
    timed(fun(Seconds) -> ?NIF:series_observe(Series, Seconds) end, Fun);
time(Name, Fun) ->
    time(Name, #{}, Fun).

%% @doc Calls `Fun' and counts the seconds it took in a histogram, also when it
%% raises. Returns what `Fun' returns, and lets through what it raises.
-spec time(name(), labels(), fun(() -> Result)) -> Result.
time(Name, Labels, Fun) ->
    timed(fun(Seconds) -> ?NIF:observe(Name, Seconds, Labels) end, Fun).

%% API: the forms of erlmcp's callers

%% @doc Records a value under a name such as `"cli.tool.call.success"', without
%% saying what it is. If a word of the name is `latency' or `duration', or the
%% last one is a unit of time, the value is a time, in the unit that the name ends
%% in or else in milliseconds, and goes into the histogram in seconds:
%% `cli_command_latency_seconds'. Anything else is added to a counter:
%% `cli_tool_call_success_total'. If the metric has been declared as something
%% else, the value is recorded into that: a gauge is set. A name that another
%% metric stands in the way of is no error: it is counted and logged as refused.
-spec record(name(), number()) -> ok | error().
record(Name, Value) ->
    erlmcp_metrics_operations:counted(Name, Value).

%% @doc Adds a number to a counter without labels; or, with options, declares the
%% counter, as {@link declare/3} does; or, with labels, adds 1.
-spec counter(name(), number() | options() | labels()) -> ok | error().
counter(Name, Given) when is_map(Given) ->
    case erlmcp_metrics_declaration:is_options(Given) of
        true -> erlmcp_metrics_declaration:create(counter, Name, Given);
        false -> ?NIF:count(Name, 1, Given)
    end;
counter(Name, Value) ->
    ?NIF:count(Name, Value, #{}).

%% @doc Counts an observation in a histogram without labels; or, with options,
%% declares the histogram, as {@link declare/3} does.
-spec histogram(name(), number() | options()) -> ok | error().
histogram(Name, Options) when is_map(Options) ->
    erlmcp_metrics_declaration:create(histogram, Name, Options);
histogram(Name, Value) ->
    ?NIF:observe(Name, Value, #{}).

%% @doc Sets a gauge without labels; or, with options, declares it, as
%% {@link declare/3} does.
-spec gauge(name() | series(), gauge_value() | options()) -> ok | error().
gauge(Name, Options) when is_map(Options) ->
    erlmcp_metrics_declaration:create(gauge, Name, Options);
gauge(Name, Value) ->
    set(Name, Value).

%% @doc As {@link set/3}.
-spec gauge(name(), gauge_value(), labels()) -> ok | error();
           (name(), labels(), gauge_value()) -> ok | error().
gauge(Name, A, B) ->
    set(Name, A, B).

%% @doc Declares a counter by its description, or by options.
-spec create_counter(name(), unicode:chardata() | options()) -> ok | error().
create_counter(Name, Description) ->
    erlmcp_metrics_declaration:create(counter, Name, Description).

%% @doc Declares a counter by its description and its labels or further options.
-spec create_counter(name(), unicode:chardata() | options(), [name()] | options()) ->
    ok | error().
create_counter(Name, Description, Labels) ->
    erlmcp_metrics_declaration:create(counter, Name, Description, Labels).

%% @doc Declares a gauge by its description, or by options.
-spec create_gauge(name(), unicode:chardata() | options()) -> ok | error().
create_gauge(Name, Description) ->
    erlmcp_metrics_declaration:create(gauge, Name, Description).

%% @doc Declares a gauge by its description and its labels or further options.
-spec create_gauge(name(), unicode:chardata() | options(), [name()] | options()) ->
    ok | error().
create_gauge(Name, Description, Labels) ->
    erlmcp_metrics_declaration:create(gauge, Name, Description, Labels).

%% @doc Declares a histogram by its description, or by options.
-spec create_histogram(name(), unicode:chardata() | options()) -> ok | error().
create_histogram(Name, Description) ->
    erlmcp_metrics_declaration:create(histogram, Name, Description).

%% @doc Declares a histogram by its description, and its buckets, its labels or
%% further options.
-spec create_histogram(name(), unicode:chardata() | options(),
                       [number()] | [name()] | options()) -> ok | error().
create_histogram(Name, Description, Buckets) ->
    erlmcp_metrics_declaration:create(histogram, Name, Description, Buckets).

%% @doc Every series that the application has recorded, in the order of the names.
%% The library's own and the VM's are in {@link scrape/0} only. Runs on a dirty
%% scheduler; a node with many series gets a long list.
-spec collect_metrics() -> [collected()].
collect_metrics() ->
    [#{name => exposed(Kind, Name), type => Kind, labels => Labels, value => Value}
     || {Name, Kind, Labels, Value} <- ?NIF:collect()].

%% @doc {@link collect_metrics/0} by kind: the keys `counters', `gauges' and
%% `histograms' have maps from names to maps from labels to values. Of a
%% histogram, `count' and `sum' are told. Up-down counters are among the gauges.
-spec get_metrics_summary() ->
    #{counters | gauges | histograms =>
          #{Name :: binary() => #{Labels :: #{binary() => binary()} => value() | map()}}}.
get_metrics_summary() ->
    lists:foldl(fun summarise/2, #{counters => #{}, gauges => #{}, histograms => #{}},
                collect_metrics()).

%% API: operations

%% @doc An operation of a transport took so many milliseconds. Counts in
%% `erlmcp_transport_operation_duration_seconds{transport,operation}', and is
%% listed by {@link get_metrics/0} with the labels `transport_id',
%% `transport_type' and `operation'. The id is no label of the metric: there is no
%% end of ids.
-spec record_transport_operation(Id :: term(), Type :: term(), Operation :: term(),
                                 Ms :: number()) -> ok | error().
record_transport_operation(Id, Type, Operation, Ms) ->
    erlmcp_metrics_operations:transport(Id, Type, Operation, Ms).

%% @doc An operation of a server took so many milliseconds. Counts in
%% `erlmcp_server_operation_duration_seconds{operation}', and is listed by
%% {@link get_metrics/0} with the given labels, `server_id' and `operation'.
-spec record_server_operation(Id :: term(), Operation :: term(), Ms :: number(),
                              Labels :: map()) -> ok | error().
record_server_operation(Id, Operation, Ms, Labels) ->
    erlmcp_metrics_operations:server(Id, Operation, Ms, Labels).

%% @doc An operation of the registry took so many milliseconds. Counts in
%% `erlmcp_registry_operation_duration_seconds{operation}', and is listed by
%% {@link get_metrics/0} with the given labels, `component' and `operation'.
-spec record_registry_operation(Operation :: term(), Ms :: number(), Labels :: map()) ->
    ok | error().
record_registry_operation(Operation, Ms, Labels) ->
    erlmcp_metrics_operations:registry(Operation, Ms, Labels).

%% @doc Calls `Fun' and records how many milliseconds it took, also when it raises,
%% as an operation of this name with these labels; returns what `Fun' returns, and
%% lets class, reason and stack through as they are. Counts in a histogram in
%% seconds: `tool_call' in `tool_call_duration_seconds', `request_latency_ms' in
%% `request_latency_seconds'. Label values there are text of up to 128 bytes or
%% numbers, else `other'.
-spec with_metrics(name(), Labels :: map(), fun(() -> Result)) -> Result.
with_metrics(Name, Labels, Fun) ->
    erlmcp_metrics_operations:timed(Name, Labels, Fun).

%% @doc The last 1 000 operations, the latest first. It has what the calling
%% process has recorded. Asks no process.
-spec get_metrics() -> [operation()].
get_metrics() ->
    erlmcp_metrics_operations:list().

%% @doc Those of a name.
-spec get_metrics(Name :: term()) -> [operation()].
get_metrics(Name) ->
    erlmcp_metrics_operations:list(Name).

%% @doc Forgets the operations. The metrics in the registry go on: a counter that
%% went down would be a restart to Prometheus.
-spec reset_metrics() -> ok.
reset_metrics() ->
    erlmcp_metrics_operations:forget().

%% @doc What operations there were, by binary keys: `uptime_ms' since they were
%% last forgotten, at least 1; `total_metrics_recorded', and `counters' by name, of
%% all since then; `rates' (`NAME_per_second') of these; and of those that
%% {@link get_metrics/0} lists, by name: `histograms' (`count', `min', `max', `avg'),
%% `gauges' (the latest value), `percentiles' (`NAME_percentiles': `p50', `p90',
%% `p95', `p99', the nearest ranks). Values are as recorded, milliseconds;
%% averages and rates are floats. `system_info' tells of the VM's memory,
%% processes and run queue.
-spec get_performance_summary() -> #{binary() => term()}.
get_performance_summary() ->
    erlmcp_metrics_operations:summary().

%% API: registry

%% @doc Says what a metric is. Declaring again completes or repeats what is
%% known; the kind and a histogram's buckets never change. Takes the registry's
%% lock for microseconds.
-spec declare(kind(), name(), options()) -> ok | error().
declare(Kind, Name, Options) ->
    erlmcp_metrics_declaration:declare(Kind, Name, Options).

%% @doc The series of a name and labels, for {@link inc/2}, {@link set/2} and
%% {@link observe/2}: recording with it skips the look-up. It may be kept and
%% shared by any processes of the node, also across hot upgrades; after
%% {@link remove/2} it is refused as `unknown_series'.
%%
%% Where a limit is reached this is the metric's overflow series.
-spec bind(kind(), name(), labels()) -> series() | error().
bind(Kind, Name, Labels) when is_atom(Kind) ->
    ?NIF:bind(Kind, Name, Labels);
bind(_Kind, _Name, _Labels) ->
    {error, {bad_option, <<"the kind is not an atom">>}}.

%% @doc The value of a series, as of now: it has what the calling process has
%% recorded. `undefined' if there is no such series. A counter's value is an
%% integer as long as no float was added.
-spec value(name(), labels()) -> value() | undefined | error().
value(Name, Labels) ->
    ?NIF:value(Name, Labels).

%% @doc Removes a series; `false' if there was none. Recording into it again
%% starts a new one at 0, which Prometheus takes for a restart of the counter.
-spec remove(name(), labels()) -> boolean() | error().
remove(Name, Labels) ->
    ?NIF:remove(Name, Labels).

%% @doc Removes all series of a metric; returns how many. Runs on a dirty
%% scheduler.
-spec remove(name()) -> non_neg_integer() | error().
remove(Name) ->
    ?NIF:remove_all(Name).

%% API: exposition

%% @doc `scrape(text)'.
-spec scrape() -> binary().
scrape() ->
    scrape(text).

%% @doc All metrics in an exposition format, for a web server of one's own; send
%% it with {@link content_type/1}. The VM's figures are asked of the process that
%% gathers them, the rest runs on a dirty scheduler. The figures of the built-in
%% HTTP server are on its own pages only.
-spec scrape(format()) -> binary() | error().
scrape(Format) ->
    scrape(Format, all).

%% @doc As {@link scrape/1}; `application' leaves out the metrics of the VM and
%% of this library, as `/metrics/custom' does.
-spec scrape(format(), all | application) -> binary() | error().
scrape(Format, all) ->
    ?NIF:scrape(Format, all, erlmcp_instrumentation_vm:gather());
scrape(Format, application) ->
    ?NIF:scrape(Format, application, []).

%% @doc The exact content type of a format: Prometheus 3 refuses any other.
-spec content_type(format()) -> binary().
content_type(text) ->
    <<"text/plain; version=0.0.4; charset=utf-8">>;
content_type(openmetrics) ->
    <<"application/openmetrics-text; version=1.0.0; charset=utf-8">>;
content_type(protobuf) ->
    <<"application/vnd.google.protobuf; "
      "proto=io.prometheus.client.MetricFamily; encoding=delimited">>.

%% @doc Sizes: `metrics', `series' and `series_limit', `threads' that hold cells,
%% `memory_bytes', `overflowed' and `rejected' recordings since the start, and
%% the native library's `version'.
-spec info() -> #{
    metrics := non_neg_integer(),
    series := non_neg_integer(),
    series_limit := pos_integer(),
    threads := non_neg_integer(),
    memory_bytes := non_neg_integer(),
    overflowed := non_neg_integer(),
    rejected := non_neg_integer(),
    version := binary()
}.
info() ->
    ?NIF:stats().

%% @doc The text of an error.
-spec format_error(error() | {Tag :: atom(), Text :: binary()}) -> binary().
format_error({error, Reason}) ->
    format_error(Reason);
format_error({Tag, Text}) when is_atom(Tag), is_binary(Text) ->
    <<(atom_to_binary(Tag))/binary, ": ", Text/binary>>.

%% Callbacks

%% @private The text of this module's log reports.
-spec format_report(logger:report()) -> {io:format(), [term()]}.
format_report(#{what := recording_rejected, name := Name, tag := Tag, text := Text}) ->
    {"a recording of metric ~ts was refused (~ts): ~ts. "
     "Further ones are counted in erlmcp_metrics_rejected_samples_total "
     "and not logged for a minute.",
     [Name, Tag, Text]}.

%% @private
-spec init([]) -> {ok, []}.
init([]) ->
    ok = erlmcp_metrics_operations:forget(),
    {ok, []}.

%% @private
-spec handle_call(term(), gen_server:from(), []) -> {reply, {error, unknown_call}, []}.
handle_call(_Request, _From, State) ->
    {reply, {error, unknown_call}, State}.

%% @private
-spec handle_cast(term(), []) -> {noreply, []}.
handle_cast(_Request, State) ->
    {noreply, State}.

%% @private
-spec handle_info(term(), []) -> {noreply, []}.
handle_info({erlmcp_rejected, Name, Tag, Text}, State)
  when is_binary(Name), is_atom(Tag), is_binary(Text) ->
    logger:warning(#{what => recording_rejected, name => Name, tag => Tag, text => Text},
                   #{domain => [erlmcp, metrics], report_cb => fun ?MODULE:format_report/1}),
    {noreply, State};
handle_info(_Message, State) ->
    {noreply, State}.

%% Internals

-spec timed(fun((float()) -> term()), fun(() -> Result)) -> Result.
timed(Observe, Fun) ->
    Start = erlang:monotonic_time(),
    try
        Fun()
    after
        Duration = erlang:monotonic_time() - Start,
        Observe(Duration / erlang:convert_time_unit(1, second, native))
    end.

%% A counter may be recorded with or without its ending.
-spec exposed(kind(), binary()) -> binary().
exposed(counter, Name) ->
    Start = byte_size(Name) - byte_size(<<"_total">>),
    case Name of
        <<_:Start/binary, "_total">> -> Name;
        _ -> <<Name/binary, "_total">>
    end;
exposed(_Kind, Name) ->
    Name.

-spec summarise(collected(), map()) -> map().
summarise(#{name := Name, type := Kind, labels := Labels, value := Value}, Summary) ->
    {Key, Shown} = shown(Kind, Value),
    Of = maps:get(Key, Summary),
    Series = maps:get(Name, Of, #{}),
    Summary#{Key := Of#{Name => Series#{Labels => Shown}}}.

-spec shown(kind(), value()) -> {counters | gauges | histograms, value() | map()}.
shown(counter, Value) -> {counters, Value};
shown(_Histogram, #{count := _} = Value) -> {histograms, maps:with([count, sum], Value)};
shown(_Gauge, Value) -> {gauges, Value}.
