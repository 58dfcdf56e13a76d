%% @doc Scrapes the demo's own node over HTTP, as Prometheus does.
-module(erlmcp_demo_scrape).

-export([all/1]).

-export_type([scrape/0]).

-type scrape() :: #{
    title := string(),
    content_type := string(),
    wire_bytes := non_neg_integer(),
    body_bytes := non_neg_integer(),
    milliseconds := float(),
    exposition := erlmcp_demo_exposition:exposition()
}.
%% `wire_bytes' are those of the body as sent, `body_bytes' those after gunzip;
%% `milliseconds' is the median time of several scrapes.

-define(TIMEOUT_MS, 10000).
-define(RUNS, 5).
-define(TEXT, "text/plain; version=0.0.4; charset=utf-8").
-define(OPENMETRICS, "application/openmetrics-text; version=1.0.0; charset=utf-8").

%% @doc Scrapes the URL in every format that the demo can read, the first one
%% twice over: plain and with gzip.
-spec all(Url :: string()) -> {ok, [scrape()]} | {error, Text :: string()}.
all(Url) ->
    Formats = [{"text 0.0.4", "text/plain;version=0.0.4", "identity", ?TEXT},
               {"text 0.0.4, gzip", "text/plain;version=0.0.4", "gzip", ?TEXT},
               {"OpenMetrics 1.0", "application/openmetrics-text;version=1.0.0", "identity",
                ?OPENMETRICS},
               {"OpenMetrics 1.0, gzip", "application/openmetrics-text;version=1.0.0", "gzip",
                ?OPENMETRICS}],
    try
        {ok, [scrape(Url, Format) || Format <- Formats]}
    catch
        throw:{failed, Text} -> {error, Text}
    end.

-spec scrape(string(), {string(), string(), string(), string()}) -> scrape().
scrape(Url, {Title, Accept, Encoding, ContentType}) ->
    Request = {Url, [{"accept", Accept}, {"accept-encoding", Encoding}]},
    Runs = [timer:tc(fun() -> fetch(Request) end) || _ <- lists:seq(1, ?RUNS)],
    {_, {Headers, Wire}} = lists:last(Runs),
    check(Title, "content-type", ContentType, Headers),
    Body = decode(Title, Encoding, proplists:get_value("content-encoding", Headers, "identity"),
                  Wire),
    #{title => Title,
      content_type => ContentType,
      wire_bytes => byte_size(Wire),
      body_bytes => byte_size(Body),
      milliseconds => erlmcp_demo_cost:median([Micros || {Micros, _} <- Runs]) / 1000,
      exposition => parse(Title, Body)}.

-spec fetch({string(), [{string(), string()}]}) -> {[{string(), string()}], binary()}.
fetch({Url, _} = Request) ->
    case httpc:request(get, Request, [{timeout, ?TIMEOUT_MS}], [{body_format, binary}]) of
        {ok, {{_, 200, _}, Headers, Body}} -> {Headers, Body};
        {ok, {{_, Status, Phrase}, _, _}} -> fail("~ts answers ~b ~ts", [Url, Status, Phrase]);
        {error, Reason} -> fail("~ts cannot be reached: ~tp", [Url, Reason])
    end.

-spec check(string(), string(), string(), [{string(), string()}]) -> ok.
check(Title, Header, Expected, Headers) ->
    case proplists:get_value(Header, Headers) of
        Expected -> ok;
        Found -> fail("~ts: the header ~ts is ~tp, not ~tp", [Title, Header, Found, Expected])
    end.

-spec decode(string(), string(), string(), binary()) -> binary().
decode(_Title, "identity", "identity", Wire) ->
    Wire;
decode(Title, "gzip", "gzip", Wire) ->
    try
        zlib:gunzip(Wire)
    catch
        error:Reason -> fail("~ts: not a gzip body: ~tp", [Title, Reason])
    end;
decode(Title, Asked, Got, _Wire) ->
    fail("~ts: asked for the encoding ~ts, got ~ts", [Title, Asked, Got]).

-spec parse(string(), binary()) -> erlmcp_demo_exposition:exposition().
parse(Title, Body) ->
    case {erlmcp_demo_exposition:parse(Body), hd(Title)} of
        {{ok, #{eof := false}}, $O} -> fail("~ts: no # EOF at the end", [Title]);
        {{ok, Exposition}, _} -> Exposition;
        {{error, {Line, Reason, Text}}, _} ->
            fail("~ts: line ~b: ~ts: ~ts", [Title, Line, Reason, Text])
    end.

-spec fail(string(), [term()]) -> no_return().
fail(Format, Arguments) ->
    throw({failed, lists:flatten(io_lib:format(Format, Arguments))}).
