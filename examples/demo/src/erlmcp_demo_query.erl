%% @doc Sums and quantiles of scraped samples, as PromQL would compute them.
-module(erlmcp_demo_query).

-export([sum/3]).
-export([sum_by/3]).
-export([buckets/3]).
-export([quantile/2]).

-export_type([buckets/0]).

-type buckets() :: [{UpperBound :: float() | infinity, CumulativeCount :: number()}].
%% Ascending; the last bound is `infinity'.

%% @doc `sum(Name{Match})': 0 when no sample matches.
-spec sum(Name :: binary(), Match :: erlmcp_demo_exposition:labels(),
          [erlmcp_demo_exposition:sample()]) -> number().
sum(Name, Match, Samples) ->
    lists:sum([Value || {_Labels, Value} <- matching(Name, Match, Samples)]).

%% @doc `sum by (Label) (Name)'; samples without the label count under `<<>>'.
-spec sum_by(Label :: binary(), Name :: binary(), [erlmcp_demo_exposition:sample()]) ->
    #{LabelValue :: binary() => number()}.
sum_by(Label, Name, Samples) ->
    lists:foldl(fun({Labels, Value}, Sums) ->
        maps:update_with(maps:get(Label, Labels, <<>>), fun(Sum) -> Sum + Value end, Value, Sums)
    end, #{}, matching(Name, #{}, Samples)).

%% @doc `sum by (le) (Name_bucket{Match})' of the histogram `Name'.
-spec buckets(Name :: binary(), Match :: erlmcp_demo_exposition:labels(),
              [erlmcp_demo_exposition:sample()]) -> buckets().
buckets(Name, Match, Samples) ->
    Sums = lists:foldl(fun({#{<<"le">> := Le}, Count}, Sums) ->
        maps:update_with(bound(Le), fun(Sum) -> Sum + Count end, Count, Sums)
    end, #{}, matching(<<Name/binary, "_bucket">>, Match, Samples)),
    %% Atoms sort behind numbers, so `infinity' comes last.
    lists:sort(maps:to_list(Sums)).

%% @doc `histogram_quantile(Q, Buckets)': linear inside the bucket where the
%% quantile falls, from 0 in the first; the highest finite bound when it falls
%% in the last. `undefined' where PromQL says NaN: nothing observed.
-spec quantile(Q :: float(), buckets()) -> float() | undefined.
quantile(Q, [_, _ | _] = Buckets) ->
    case lists:last(Buckets) of
        {infinity, Total} when Total > 0 -> interpolate(Q * Total, 0.0, 0, Buckets);
        _ -> undefined
    end;
quantile(_Q, _Buckets) ->
    undefined.

-spec interpolate(Rank :: float(), Lower :: float(), Below :: number(), buckets()) -> float().
interpolate(_Rank, Lower, _Below, [{infinity, _}]) ->
    Lower;
interpolate(Rank, Lower, Below, [{_Upper, Count} = Bucket | Rest]) when Count >= Rank ->
    within(Rank - Below, Lower, Count - Below, Bucket, Rest);
interpolate(Rank, _Lower, _Below, [{Upper, Count} | Rest]) ->
    interpolate(Rank, Upper, Count, Rest).

%% A first bucket of negative values has no lower end to start from.
-spec within(float(), float(), number(), {float(), number()}, buckets()) -> float().
within(_Rank, Lower, _Inside, {Upper, _}, _Rest) when Upper =< Lower -> Upper;
within(_Rank, Lower, Inside, _Bucket, _Rest) when Inside == 0 -> Lower;
within(Rank, Lower, Inside, {Upper, _}, _Rest) -> Lower + (Upper - Lower) * Rank / Inside.

-spec bound(binary()) -> float() | infinity.
bound(Le) ->
    case erlmcp_demo_exposition:number(Le) of
        {ok, infinity} -> infinity;
        {ok, Bound} when is_number(Bound) -> float(Bound)
    end.

-spec matching(binary(), erlmcp_demo_exposition:labels(), [erlmcp_demo_exposition:sample()]) ->
    [{erlmcp_demo_exposition:labels(), erlmcp_demo_exposition:value()}].
matching(Name, Match, Samples) ->
    Wanted = maps:to_list(Match),
    [{Labels, Value}
     || {SampleName, Labels, Value} <- Samples,
        SampleName =:= Name,
        lists:all(fun({Label, Is}) -> maps:get(Label, Labels, <<>>) =:= Is end, Wanted)].
