%% @doc Looks at the demo's own page of traces, as a browser would.
-module(erlmcp_demo_traces).

-export([killed/1]).

-define(TIMEOUT_MS, 10000).

%% @doc Finds the trace of the request whose session was killed, and looks at its
%% page; the page's address.
-spec killed(Url :: string()) ->
    {ok, Link :: string()} | {skipped, Text :: string()} | {error, Text :: string()}.
killed(Url) ->
    case fetch(Url ++ "/summary.json?errors=1&limit=1000&name=deep_research") of
        {200, Summary} -> killed(Url, Summary);
        %% The setting `debug_traces', or an address that is not loopback.
        {403, _} -> {skipped, "debug_traces does not allow it"};
        Other -> {error, text("~ts: no summary of traces: ~tp", [Url, Other])}
    end.

-spec killed(string(), binary()) -> {ok, string()} | {error, string()}.
killed(Url, Summary) ->
    case re:run(Summary, "\"trace_?[iI]d\": ?\"([0-9a-f]{32})\"", [{capture, all_but_first, list}]) of
        {match, [TraceId]} ->
            Link = Url ++ "?trace_id=" ++ TraceId,
            look_at(Link);
        nomatch ->
            {error, text("~ts shows no trace of the session that was killed", [Url])}
    end.

-spec look_at(string()) -> {ok, string()} | {error, string()}.
look_at(Link) ->
    case fetch(Link) of
        {200, Page} ->
            case binary:match(Page, <<"erlmcp.exit.reason">>) of
                nomatch -> {error, text("~ts does not say why the process ended", [Link])};
                _ -> {ok, Link}
            end;
        Other ->
            {error, text("~ts: no page: ~tp", [Link, Other])}
    end.

-spec fetch(string()) -> {Status :: pos_integer(), Body :: binary()} | {error, term()}.
fetch(Url) ->
    case httpc:request(get, {Url, []}, [{timeout, ?TIMEOUT_MS}], [{body_format, binary}]) of
        {ok, {{_, Status, _}, _Headers, Body}} -> {Status, Body};
        {error, _} = Error -> Error
    end.

-spec text(string(), [term()]) -> string().
text(Format, Arguments) ->
    lists:flatten(io_lib:format(Format, Arguments)).
