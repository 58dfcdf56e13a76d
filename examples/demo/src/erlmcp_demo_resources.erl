%% @doc Reading the simulated server's resources, through a cache.
-module(erlmcp_demo_resources).

-export([new_cache/0]).
-export([document/1]).
-export([read/1]).

-define(CACHE_MS, 1000).

%% @doc Makes the cache; it belongs to the calling process.
-spec new_cache() -> ok.
new_cache() ->
    ?MODULE = ets:new(?MODULE, [named_table, public, {read_concurrency, true},
                                {write_concurrency, true}]),
    ok.

%% @doc The URI of a document.
-spec document(pos_integer()) -> binary().
document(N) ->
    <<"doc://", (integer_to_binary(N))/binary>>.

%% @doc Reads a resource: at once from the cache, or after a wait for the disk.
-spec read(Uri :: binary()) -> {ok, binary()} | {error, unknown_resource}.
read(Uri) ->
    case erlmcp_demo_registry:lookup(resource, Uri) of
        {ok, _} -> {ok, cached(Uri)};
        {error, unknown} -> {error, unknown_resource}
    end.

-spec cached(binary()) -> binary().
cached(Uri) ->
    Now = erlang:monotonic_time(millisecond),
    case ets:lookup(?MODULE, Uri) of
        [{_, Body, Until}] when Until > Now ->
            _ = erlmcp_metrics:inc(erlmcp_registry_cache_requests_total, #{result => hit}),
            Body;
        _ ->
            _ = erlmcp_metrics:inc(erlmcp_registry_cache_requests_total, #{result => miss}),
            Body = load(Uri),
            true = ets:insert(?MODULE, {Uri, Body, Now + ?CACHE_MS}),
            Body
    end.

-spec load(binary()) -> binary().
load(Uri) ->
    erlmcp_demo_tracing:span(<<"read file">>, #{attributes => #{'mcp.resource.uri' => Uri}}, fun() ->
        erlmcp_demo_work:wait(6, 0.5),
        binary:copy(Uri, 64)
    end).
