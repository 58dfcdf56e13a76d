%% @doc Prints a scrape as tables of plain text, at most 100 columns wide.
-module(erlmcp_demo_report).

-export([requests/1]).
-export([sessions/1]).
-export([spans/1]).
-export([scrapes/1]).
-export([costs/1]).
-export([table/2]).

-type cell() :: string() | binary() | atom().
-type samples() :: [erlmcp_demo_exposition:sample()].

-define(DURATION, <<"erlmcp_request_duration_seconds">>).

%% @doc Requests, error ratio and latency quantiles by method.
-spec requests(samples()) -> iolist().
requests(Samples) ->
    Methods = [{Method, Component, #{<<"method">> => Method}}
               || {Method, Component} <- erlmcp_demo_methods:all()],
    table([{left, "method"}, {left, "component"}, {right, "requests"}, {right, "errors"},
           {right, "ratio"}, {right, "P50"}, {right, "P95"}, {right, "P99"}],
          [request_row(M, Samples) || M <- Methods] ++ [request_row({"all", "", #{}}, Samples)]).

-spec request_row({cell(), cell(), erlmcp_demo_exposition:labels()}, samples()) -> [cell()].
request_row({Title, Component, Match}, Samples) ->
    Requests = erlmcp_demo_query:sum(<<"erlmcp_requests_total">>, Match, Samples),
    Errors = erlmcp_demo_query:sum(<<"erlmcp_requests_total">>,
                                   Match#{<<"status">> => <<"error">>}, Samples),
    Buckets = erlmcp_demo_query:buckets(?DURATION, Match, Samples),
    [Title, Component, whole(Requests), whole(Errors), ratio(Errors, Requests)
     | [duration(erlmcp_demo_query:quantile(Q, Buckets)) || Q <- [0.5, 0.95, 0.99]]].

%% @doc Sessions, and what happened around them.
-spec sessions(samples()) -> iolist().
sessions(Samples) ->
    Lived = erlmcp_demo_query:buckets(<<"erlmcp_session_duration_seconds">>, #{}, Samples),
    Used = total(<<"erlmcp_api_quota_used">>, Samples),
    Limit = total(<<"erlmcp_api_quota_limit">>, Samples),
    Rows = [
        {"sessions opened", whole(total(<<"erlmcp_sessions_created_total">>, Samples))},
        {"  open now", by(<<"session_type">>, <<"erlmcp_sessions_active">>, Samples)},
        {"  closed", by(<<"reason">>, <<"erlmcp_sessions_closed_total">>, Samples)},
        {"  lifetime", ["P50 ", duration(erlmcp_demo_query:quantile(0.5, Lived)),
                        ", P95 ", duration(erlmcp_demo_query:quantile(0.95, Lived))]},
        {"connections", by(<<"transport">>, <<"erlmcp_connections_total">>, Samples)},
        {"bytes carried", by(<<"direction">>, <<"erlmcp_transport_bytes_total">>, Samples)},
        {"errors", by(<<"error_type">>, <<"erlmcp_errors_total">>, Samples)},
        {"resource cache", by(<<"result">>, <<"erlmcp_registry_cache_requests_total">>, Samples)},
        {"tool calls, last second", [whole(Used), " of ", whole(Limit), " allowed"]}
    ],
    [["  ", string:pad(Title, 25), wrap(Text, 27), $\n] || {Title, Text} <- Rows].

%% @doc Spans, and what became of them.
-spec spans(samples()) -> iolist().
spans(Samples) ->
    Traces = [Sample || {_, #{<<"signal">> := <<"traces">>}, _} = Sample <- Samples],
    Rows = [
        {"spans recorded", total(<<"erlmcp_otel_spans_recorded_total">>, Samples)},
        {"  left out by sampling", total(<<"erlmcp_otel_spans_sampled_out_total">>, Samples)},
        {"  exported", total(<<"erlmcp_otel_records_exported_total">>, Traces)},
        {"  kept in this node", total(<<"erlmcp_otel_records_kept_total">>, Traces)},
        {"  dropped", total(<<"erlmcp_otel_records_dropped_total">>, Traces)}
    ],
    [["  ", string:pad(Title, 25), whole(Count), $\n] || {Title, Count} <- Rows].

%% @doc Time, size and samples of a scrape in each format.
-spec scrapes([erlmcp_demo_scrape:scrape()]) -> iolist().
scrapes(Scrapes) ->
    table([{left, "format"}, {right, "time"}, {right, "bytes sent"}, {right, "unpacked"},
           {right, "families"}, {right, "samples"}],
          [[Title, io_lib:format("~.1f ms", [Ms]), whole(Wire), whole(Body),
            whole(map_size(Types)), whole(length(Samples))]
           || #{title := Title, milliseconds := Ms, wire_bytes := Wire, body_bytes := Body,
                exposition := #{types := Types, samples := Samples}} <- Scrapes]).

%% @doc Nanoseconds by way to record.
-spec costs([{string(), float()}]) -> iolist().
costs(Costs) ->
    table([{left, "call"}, {right, "each"}],
          [[Call, io_lib:format("~.1f ns", [Ns])] || {Call, Ns} <- Costs]).

%% @doc Lines up rows under their titles, two blanks between the columns.
-spec table([{left | right, cell()}], [[cell() | iolist()]]) -> iolist().
table(Columns, Rows) ->
    {Aligns, Titles} = lists:unzip(Columns),
    Texts = [[text(Cell) || Cell <- Row] || Row <- [Titles | Rows]],
    Widths = lists:foldl(fun(Row, Widest) ->
        lists:zipwith(fun max/2, [string:length(Cell) || Cell <- Row], Widest)
    end, [0 || _ <- Aligns], Texts),
    [Head | Body] = [line(Aligns, Widths, Row) || Row <- Texts],
    [Head, line(Aligns, Widths, [lists:duplicate(Width, $-) || Width <- Widths]), Body].

-spec line([left | right], [non_neg_integer()], [string()]) -> iolist().
line(Aligns, Widths, Row) ->
    Padded = lists:zipwith3(fun
        (left, Width, Cell) -> string:pad(Cell, Width);
        (right, Width, Cell) -> string:pad(Cell, Width, leading)
    end, Aligns, Widths, Row),
    [string:trim(["  ", lists:join("  ", Padded)], trailing), $\n].

-spec text(cell() | iolist()) -> string().
text(Atom) when is_atom(Atom) -> atom_to_list(Atom);
text(Chars) -> unicode:characters_to_list(Chars).

-spec total(binary(), samples()) -> number().
total(Name, Samples) ->
    erlmcp_demo_query:sum(Name, #{}, Samples).

-spec by(binary(), binary(), samples()) -> iolist().
by(Label, Name, Samples) ->
    Sums = maps:to_list(erlmcp_demo_query:sum_by(Label, Name, Samples)),
    Largest = lists:reverse(lists:keysort(2, Sums)),
    lists:join(", ", [[Value, " ", whole(Sum)] || {Value, Sum} <- Largest]).

-spec whole(number()) -> string().
whole(Number) ->
    integer_to_list(round(Number)).

-spec ratio(number(), number()) -> iolist().
ratio(_Part, Whole) when Whole == 0 -> "-";
ratio(Part, Whole) -> io_lib:format("~.2f %", [100 * Part / Whole]).

-spec duration(float() | undefined) -> iolist().
duration(undefined) -> "-";
duration(Seconds) when Seconds < 0.001 -> io_lib:format("~b us", [round(Seconds * 1.0e6)]);
duration(Seconds) when Seconds < 1 -> io_lib:format("~.1f ms", [Seconds * 1.0e3]);
duration(Seconds) -> io_lib:format("~.1f s", [Seconds]).

%% Breaks at the blanks behind commas, before column 100.
-spec wrap(iolist(), Indent :: non_neg_integer()) -> iolist().
wrap(Text, Indent) ->
    Items = string:split(unicode:characters_to_list(Text), ", ", all),
    {Lines, Last} = lists:foldl(fun
        (Item, {Done, ""}) ->
            {Done, Item};
        (Item, {Done, Current}) ->
            Longer = Current ++ ", " ++ Item,
            case Indent + length(Longer) < 100 of
                true -> {Done, Longer};
                false -> {[Current ++ "," | Done], Item}
            end
    end, {[], ""}, Items),
    lists:join([$\n, lists:duplicate(Indent, $\s)], lists:reverse([Last | Lines])).
