%% @doc The metrics of the simulated server: its own buckets for those of the
%% catalogue, and what is bound where it is hot.
%%
%% The library declares its catalogue by itself. A server that is faster than
%% the default buckets are fine declares the histograms before.
-module(erlmcp_demo_metrics).

-export([declare/0]).
-export([payload/2]).

%% From 50 us (a ping that never leaves the node) to seconds (a slow tool).
-define(SECONDS, [0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
                  0.1, 0.25, 0.4, 0.5, 1, 2.5]).
-define(SESSION_SECONDS, [0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800]).
-define(BYTES, [64, 256, 1024, 4096, 16384, 65536]).

%% @doc Declares the catalogue with buckets of its own, then binds the series of
%% each request. Before the library is started, because it declares them with the
%% default buckets.
%%
%% Raises when the library refuses one: a metric declared twice with different
%% types or buckets is a mistake in the program.
-spec declare() -> ok.
declare() ->
    lists:foreach(fun declare_one/1, [Metric || #{source := Source} = Metric
                                                    <- erlmcp_metrics_catalogue:all(),
                                                lists:member(Source, [application, trace_request])]),
    persistent_term:put(?MODULE, bind_series()).

%% @doc The bytes of a request and of its answer.
-spec payload(RequestBytes :: non_neg_integer(), ResponseBytes :: non_neg_integer()) -> ok.
payload(RequestBytes, ResponseBytes) ->
    #{request_size := In, response_size := Out} = persistent_term:get(?MODULE),
    _ = erlmcp_metrics:observe(In, RequestBytes),
    _ = erlmcp_metrics:observe(Out, ResponseBytes),
    ok.

%% Binding a series also exposes it, at 0: a query for the rate of errors then
%% sees the first error, which it would miss were the series to begin with it.
%% What erlmcp_otel_instrumentation:trace_request/2 records needs no series here.
-spec bind_series() -> #{atom() => pos_integer()}.
bind_series() ->
    _ = [bind_request(Method, Component, Status)
         || {Method, Component} <- erlmcp_demo_methods:all(), Status <- [success, error]],
    #{request_size => bind(histogram, erlmcp_request_size_bytes, #{}),
      response_size => bind(histogram, erlmcp_response_size_bytes, #{})}.

-spec bind_request(binary(), atom(), erlmcp_demo_tally:status()) -> pos_integer().
bind_request(Method, Component, Status) ->
    Labels = #{method => Method, component => Component, status => Status},
    _ = bind(counter, erlmcp_requests_total, Labels),
    bind(histogram, erlmcp_request_duration_seconds, Labels).

-spec bind(atom(), atom(), map()) -> pos_integer().
bind(Kind, Name, Labels) ->
    case erlmcp_metrics:bind(Kind, Name, Labels) of
        Series when is_integer(Series) -> Series;
        {error, Reason} -> error({cannot_bind, Name, Reason})
    end.

-spec declare_one(erlmcp_metrics_catalogue:metric()) -> ok.
declare_one(#{name := Name, kind := Kind, help := Help, labels := Labels} = Metric) ->
    Options = maps:merge(#{description => Help, labels => Labels}, unit_and_buckets(Metric)),
    case erlmcp_metrics:declare(Kind, Name, Options) of
        ok -> ok;
        {error, Reason} -> error({cannot_declare, Name, Reason})
    end.

-spec unit_and_buckets(erlmcp_metrics_catalogue:metric()) -> map().
unit_and_buckets(#{name := erlmcp_session_duration_seconds, unit := Unit}) ->
    #{unit => Unit, buckets => ?SESSION_SECONDS};
unit_and_buckets(#{kind := histogram, unit := <<"seconds">> = Unit}) ->
    #{unit => Unit, buckets => ?SECONDS};
unit_and_buckets(#{kind := histogram, unit := <<"bytes">> = Unit}) ->
    #{unit => Unit, buckets => ?BYTES};
unit_and_buckets(#{unit := none}) ->
    #{};
unit_and_buckets(#{unit := Unit}) ->
    #{unit => Unit}.
