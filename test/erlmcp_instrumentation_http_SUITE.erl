%% The endpoint, as Erlang's own HTTP client and bare sockets see it.
-module(erlmcp_instrumentation_http_SUITE).

-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1, end_per_testcase/2]).
-export([
    formats/1, values_are_those_of_now/1, gzip/1, head/1, paths/1, methods/1,
    custom_has_the_application_only/1, both_ports/1, health/1, health_without_an_answer/1,
    requests_in_a_row/1, requests_that_are_none/1, many_at_once/1, own_figures/1,
    port_in_use/1, custom_port_in_use/1, address_of_another_host/1, settings_that_are_wrong/1,
    ports_that_are_free/1, custom_port_off/1, http_switched_off/1, ipv6/1,
    slow_head/1, idle_connection/1, too_many_connections/1, a_client_that_takes_nothing/1,
    a_client_that_reads_byte_by_byte/1
]).

-define(APPLICATION, erlmcp_instrumentation).
-define(M, erlmcp_metrics).
-define(TEXT, "text/plain; version=0.0.4; charset=utf-8").
-define(OPENMETRICS, "application/openmetrics-text; version=1.0.0; charset=utf-8").
-define(PROTOBUF, "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; "
                  "encoding=delimited").

suite() ->
    [{timetrap, {minutes, 4}}].

all() ->
    [formats, values_are_those_of_now, gzip, head, paths, methods,
     custom_has_the_application_only, both_ports, health, health_without_an_answer,
     requests_in_a_row, requests_that_are_none, many_at_once, own_figures,
     port_in_use, custom_port_in_use, address_of_another_host, settings_that_are_wrong,
     ports_that_are_free, custom_port_off, http_switched_off, ipv6,
     slow_head, idle_connection, too_many_connections, a_client_that_takes_nothing,
     a_client_that_reads_byte_by_byte].

init_per_suite(Config) ->
    erlmcp_ct_app:quiet(),
    Config.

end_per_suite(_Config) ->
    erlmcp_ct_app:forget(),
    erlmcp_ct_app:loud().

end_per_testcase(_Case, _Config) ->
    erlmcp_ct_app:stop().

%% What is served

formats(_Config) ->
    erlmcp_ct_app:start(),
    N = erlmcp_ct_app:name("formats"),
    ok = ?M:inc(N, #{path => "a\"b\\c\nü"}, 3),
    Prometheus = ?PROTOBUF ++ ";q=0.6,application/openmetrics-text;version=1.0.0;q=0.5,"
        "application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
    OverText = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
        "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
    [begin
         {200, Headers, Body} = erlmcp_ct_app:get("/metrics", Accept),
         ?assertEqual({Accept, ContentType}, {Accept, header("content-type", Headers)}),
         ?assertEqual(list_to_binary(ContentType), ?M:content_type(Format)),
         ?assertEqual(integer_to_list(byte_size(Body)), header("content-length", Headers)),
         ?assertEqual(none, header("content-encoding", Headers)),
         ?assertEqual("Accept, Accept-Encoding", header("vary", Headers)),
         ?assertEqual("no-store", header("cache-control", Headers)),
         Read = erlmcp_ct_exposition:parse(Format, Body),
         Labels = #{<<"path">> => <<"a\"b\\c\nü"/utf8>>},
         ?assertEqual(3.0, 1.0 * erlmcp_ct_exposition:value(Read, <<N/binary, "_total">>, Labels)),
         %% The VM's and the process' figures are among them.
         Families = maps:get(families, Read),
         [?assert(is_map_key(Family, Families), Family)
          || Family <- [<<"erlang_vm_memory_bytes">>, <<"process_resident_memory_bytes">>,
                        <<"erlmcp_metrics_series">>]]
     end || {Format, ContentType, Accept} <-
                [{text, ?TEXT, []},
                 {text, ?TEXT, [{"accept", "*/*"}]},
                 {text, ?TEXT, [{"accept", "text/html"}]},
                 {text, ?TEXT, [{"accept", "not a media type"}]},
                 {text, ?TEXT, [{"accept", "text/plain;version=0.0.4;q=1,*/*;q=0.1"}]},
                 {openmetrics, ?OPENMETRICS, [{"accept", "application/openmetrics-text"}]},
                 {openmetrics, ?OPENMETRICS, [{"accept", OverText}]},
                 {protobuf, ?PROTOBUF, [{"accept", ?PROTOBUF}]},
                 {protobuf, ?PROTOBUF, [{"accept", Prometheus}]}]],
    ok.

%% What was recorded before the request is in the answer.
values_are_those_of_now(_Config) ->
    erlmcp_ct_app:start(),
    N = erlmcp_ct_app:name("now"),
    [begin
         ok = ?M:inc(N),
         ok = ?M:set(<<N/binary, "_g">>, -I / 3),
         ok = ?M:observe(<<N/binary, "_h">>, I),
         {200, _, Body} = erlmcp_ct_app:get("/metrics/custom"),
         Read = erlmcp_ct_exposition:parse(text, Body),
         ?assertEqual(I, erlmcp_ct_exposition:value(Read, <<N/binary, "_total">>, #{})),
         ?assertEqual(-I / 3, erlmcp_ct_exposition:value(Read, <<N/binary, "_g">>, #{})),
         #{count := I, sum := Sum, buckets := Buckets} = ?M:value(<<N/binary, "_h">>, #{}),
         ?assertEqual(Sum, erlmcp_ct_exposition:value(Read, <<N/binary, "_h_sum">>, #{})),
         ?assertEqual([Count || {_, Count} <- Buckets],
                      [erlmcp_ct_exposition:value(Read, <<N/binary, "_h_bucket">>, #{<<"le">> => le(Bound)})
                       || {Bound, _} <- Buckets])
     end || I <- lists:seq(1, 20)],
    ok.

le(infinity) -> <<"+Inf">>;
le(Bound) -> float_to_binary(Bound, [short]).

gzip(_Config) ->
    erlmcp_ct_app:start(),
    N = erlmcp_ct_app:name("gzip"),
    [ok = ?M:inc(N, #{i => I}) || I <- lists:seq(1, 1500)],
    [begin
         Accept = [{"accept", ContentType}],
         {200, PlainHeaders, Plain} = erlmcp_ct_app:get("/metrics/custom", Accept),
         ?assertEqual(none, header("content-encoding", PlainHeaders)),
         {200, Headers, Body} = erlmcp_ct_app:get("/metrics/custom", [{"accept-encoding", Coding} | Accept]),
         ?assertEqual("gzip", header("content-encoding", Headers)),
         ?assertEqual(ContentType, header("content-type", Headers)),
         ?assertEqual(integer_to_list(byte_size(Body)), header("content-length", Headers)),
         ?assert(byte_size(Body) * 3 < byte_size(Plain)),
         Read = erlmcp_ct_exposition:parse(Format, zlib:gunzip(Body)),
         ?assertEqual(erlmcp_ct_exposition:parse(Format, Plain), Read)
     end || {Format, ContentType} <- [{text, ?TEXT}, {openmetrics, ?OPENMETRICS}, {protobuf, ?PROTOBUF}],
            Coding <- ["gzip", "deflate, gzip;q=0.5"]],
    [?assertEqual({Coding, none}, {Coding, encoding(Coding)})
     || Coding <- ["identity", "gzip;q=0", "br", "", "deflate"]],
    ok.

encoding(Coding) ->
    {200, Headers, _} = erlmcp_ct_app:get("/metrics/custom", [{"accept-encoding", Coding}]),
    header("content-encoding", Headers).

%% As GET, without the body; the connection can be used for the next request.
head(_Config) ->
    erlmcp_ct_app:start(),
    ok = ?M:inc(erlmcp_ct_app:name("head")),
    [begin
         Socket = connect(),
         {Status, GetHeaders, Body} = request(Socket, "GET", Path),
         {Status, HeadHeaders, <<>>} = request(Socket, "HEAD", Path),
         {Status, _, Body} = request(Socket, "GET", Path),
         gen_tcp:close(Socket),
         Kept = ["content-type", "content-length", "vary", "allow", "cache-control"],
         [?assertEqual({Path, Name, header(Name, GetHeaders)}, {Path, Name, header(Name, HeadHeaders)})
          || Name <- Kept],
         ?assertEqual(integer_to_list(byte_size(Body)), header("content-length", HeadHeaders))
     end || Path <- ["/metrics/custom", "/", "/nowhere"]],
    ok.

paths(_Config) ->
    erlmcp_ct_app:start(),
    {200, _, Index} = erlmcp_ct_app:get("/"),
    [begin
         {404, Headers, Body} = erlmcp_ct_app:get(Path),
         ?assertMatch("text/plain" ++ _, header("content-type", Headers)),
         [?assertNotEqual(nomatch, binary:match(Text, Known))
          || Text <- [Body, Index], Known <- [<<"/metrics">>, <<"/metrics/custom">>, <<"/health">>]]
     end || Path <- ["/nowhere", "/metrics/", "/Metrics", "/metrics/custom/x", "/metricsx", "//metrics"]],
    {200, Headers, Body} = erlmcp_ct_app:get("/metrics?name%5B%5D=x"),
    ?assertEqual(?TEXT, header("content-type", Headers)),
    _ = erlmcp_ct_exposition:parse(text, Body),
    ok.

methods(_Config) ->
    erlmcp_ct_app:start(),
    [begin
         Socket = connect(),
         {405, Headers, Body} = request(Socket, Method, Path),
         ?assertEqual("GET, HEAD", header("allow", Headers)),
         ?assertNotEqual(nomatch, binary:match(Body, <<"GET, HEAD">>)),
         gen_tcp:close(Socket)
     end || Method <- ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "GOT"],
            Path <- ["/metrics", "/health", "/"]],
    %% A body that nobody reads does no harm.
    {ok, {{_, 405, _}, _, _}} = httpc:request(
        post, {url("/metrics"), [], "text/plain", binary:copy(<<"x">>, 100000)}, [{timeout, 5000}], []),
    {200, _, _} = erlmcp_ct_app:get("/metrics"),
    ok.

custom_has_the_application_only(_Config) ->
    erlmcp_ct_app:start(),
    N = erlmcp_ct_app:name("custom"),
    ok = ?M:set(N, 1),
    Samples = fun(Path) ->
        {200, _, Body} = erlmcp_ct_app:get(Path),
        maps:get(samples, erlmcp_ct_exposition:parse(text, Body))
    end,
    Custom = Samples("/metrics/custom"),
    All = Samples("/metrics"),
    ?assertEqual(1, maps:get({N, #{}}, Custom)),
    ?assertEqual(1, maps:get({N, #{}}, All)),
    ?assertEqual([], maps:keys(Custom) -- maps:keys(All)),
    Foreign = ["^erlang_", "^process_", "^erlmcp_(metrics|scrape|http|build|vm)"],
    ?assertEqual([], [Name || {Name, _} <- maps:keys(Custom), re:run(Name, lists:join("|", Foreign)) =/= nomatch]),
    ?assertNotEqual([], [Name || {Name, _} <- maps:keys(All), re:run(Name, lists:join("|", Foreign)) =/= nomatch]).

both_ports(_Config) ->
    erlmcp_ct_app:start(),
    N = erlmcp_ct_app:name("ports"),
    ok = ?M:inc(N, 7),
    [{Ip, First}, {Ip, Second}] = erlmcp_instrumentation:http_addresses(),
    ?assertEqual({127, 0, 0, 1}, Ip),
    ?assertNotEqual(First, Second),
    [begin
         Socket = connect(Port),
         {200, _, Body} = request(Socket, "GET", Path),
         gen_tcp:close(Socket),
         Read = erlmcp_ct_exposition:parse(text, Body),
         ?assertEqual(7, erlmcp_ct_exposition:value(Read, <<N/binary, "_total">>, #{}))
     end || Port <- [First, Second], Path <- ["/metrics", "/metrics/custom"]],
    ok.

%% Health

health(_Config) ->
    erlmcp_ct_app:start(),
    [begin
         {200, Headers, Body} = erlmcp_ct_app:get(Path),
         ?assertEqual("application/json", header("content-type", Headers)),
         {ok, Version} = application:get_key(?APPLICATION, vsn),
         ?assertEqual("healthy", field("status", Body)),
         ?assertEqual(Version, field("version", Body)),
         ?assertEqual(atom_to_list(node()), field("node", Body)),
         {match, [Uptime]} = re:run(Body, "\"uptime\":([0-9]+\\.[0-9]+)[,}]", [{capture, all_but_first, list}]),
         {Since, _} = erlang:statistics(wall_clock),
         ?assert(abs(list_to_float(Uptime) - Since / 1000) < 5, {Uptime, Since}),
         Timestamp = calendar:rfc3339_to_system_time(field("timestamp", Body)),
         ?assert(abs(Timestamp - erlang:system_time(second)) < 5),
         ?assertMatch({match, _}, re:run(Body, "\"checks\":{\"beam\":{\"status\":\"healthy\""))
     end || Path <- ["/health", "/healthz", "/live", "/liveness", "/health/live", "/ready", "/readiness",
                     "/health/ready", "/startup", "/health/startup"]],
    ok.

%% A node that does not answer is unhealthy, and is scraped all the same.
health_without_an_answer(_Config) ->
    erlmcp_ct_app:start(),
    {200, _, _} = erlmcp_ct_app:get("/metrics"),
    N = erlmcp_ct_app:name("mute"),
    ok = ?M:inc(N),
    ok = sys:suspend(erlmcp_instrumentation_health_responder),
    {503, _, Body} = erlmcp_ct_app:get("/health"),
    ?assertEqual("unhealthy", field("status", Body)),
    ?assertEqual(atom_to_list(node()), field("node", Body)),
    {200, _, Scraped} = erlmcp_ct_app:get("/metrics"),
    ?assertEqual(1, erlmcp_ct_exposition:value(erlmcp_ct_exposition:parse(text, Scraped),
                                               <<N/binary, "_total">>, #{})),
    ok = sys:resume(erlmcp_instrumentation_health_responder),
    erlmcp_ct_load:until(fun() -> {Status, _, _} = erlmcp_ct_app:get("/health"), Status =:= 200 end).

%% Requests

requests_in_a_row(_Config) ->
    erlmcp_ct_app:start(),
    Socket = connect(),
    [{200, _, _} = request(Socket, "GET", Path)
     || _ <- lists:seq(1, 20), Path <- ["/metrics", "/health", "/metrics/custom"]],
    %% Sent without waiting for the answers.
    ok = gen_tcp:send(Socket, [request_text("GET", "/"), request_text("HEAD", "/"), request_text("GET", "/x")]),
    {200, _, Index} = answer(Socket, "GET"),
    {200, Headers, <<>>} = answer(Socket, "HEAD"),
    ?assertEqual(integer_to_list(byte_size(Index)), header("content-length", Headers)),
    {404, _, _} = answer(Socket, "GET"),
    gen_tcp:close(Socket),
    %% The older protocol, and a request that comes in pieces.
    Old = connect(),
    [begin ok = gen_tcp:send(Old, [Byte]), timer:sleep(1) end || Byte <- "GET /metrics/custom HTTP/1.0\r\n\r\n"],
    {200, _, Body} = answer(Old, "GET"),
    _ = erlmcp_ct_exposition:parse(text, Body),
    ?assertEqual({error, closed}, gen_tcp:recv(Old, 0, 5000)).

requests_that_are_none(_Config) ->
    erlmcp_ct_app:start(),
    Long = lists:duplicate(100000, $x),
    Many = [["h", integer_to_list(I), ": x\r\n"] || I <- lists:seq(1, 1000)],
    [begin
         Socket = connect(),
         _ = gen_tcp:send(Socket, Bytes),
         case gen_tcp:recv(Socket, 12, 10000) of
             {ok, <<"HTTP/1.1 4", _:2/binary>>} -> ok;
             {error, closed} -> ok;
             {error, econnreset} -> ok
         end,
         gen_tcp:close(Socket)
     end || Bytes <- ["nonsense\r\n\r\n", <<0, 1, 2, 255, "\r\n\r\n">>, crypto(1000), "\r\n\r\n\r\nx\r\n\r\n",
                      ["GET /", Long, " HTTP/1.1\r\n\r\n"], ["GET / HTTP/1.1\r\nx: ", Long, "\r\n\r\n"],
                      ["GET / HTTP/1.1\r\n", Many, "\r\n"], "GET / HTTP/9.9\r\n\r\n", "GET\r\n\r\n",
                      "GET / HTTP/1.1\r\ncontent-length: -1\r\n\r\n", <<22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3>>,
                      "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]],
    {200, _, _} = erlmcp_ct_app:get("/metrics").

crypto(Bytes) ->
    [rand:uniform(256) - 1 || _ <- lists:seq(1, Bytes)] ++ "\r\n\r\n".

many_at_once(_Config) ->
    erlmcp_ct_app:start(),
    N = erlmcp_ct_app:name("many"),
    Accepts = [?TEXT, ?OPENMETRICS, ?PROTOBUF],
    Results = erlmcp_ct_load:together(60, fun(I) ->
        ok = ?M:inc(N),
        Accept = lists:nth(1 + I rem 3, Accepts),
        Headers = [{"accept", Accept} | [{"accept-encoding", "gzip"} || I rem 2 =:= 0]],
        {200, Answered, Body} = erlmcp_ct_app:get("/metrics", Headers),
        Accept = header("content-type", Answered),
        Format = lists:nth(1 + I rem 3, [text, openmetrics, protobuf]),
        Plain = case header("content-encoding", Answered) of
            "gzip" -> zlib:gunzip(Body);
            none -> Body
        end,
        erlmcp_ct_exposition:value(erlmcp_ct_exposition:parse(Format, Plain), <<N/binary, "_total">>, #{}) >= 1
    end),
    ?assertEqual([true], lists:usort(Results)).

own_figures(_Config) ->
    erlmcp_ct_app:start(),
    [{200, _, _} = erlmcp_ct_app:get("/metrics") || _ <- [1, 2, 3]],
    [{200, _, _} = erlmcp_ct_app:get("/metrics", [{"accept", ?PROTOBUF}]) || _ <- [1, 2]],
    {404, _, _} = erlmcp_ct_app:get("/nowhere"),
    {404, _, _} = erlmcp_ct_app:get("/else"),
    {200, _, Body} = erlmcp_ct_app:get("/metrics"),
    Read = erlmcp_ct_exposition:parse(text, Body),
    Value = fun(Name, Labels) -> erlmcp_ct_exposition:value(Read, Name, Labels) end,
    ?assertEqual(4, Value(<<"erlmcp_scrapes_total">>, #{<<"format">> => <<"text">>})),
    ?assertEqual(2, Value(<<"erlmcp_scrapes_total">>, #{<<"format">> => <<"protobuf">>})),
    ?assertEqual(5, Value(<<"erlmcp_http_requests_total">>, #{<<"path">> => <<"/metrics">>, <<"code">> => <<"200">>})),
    ?assertEqual(2, Value(<<"erlmcp_http_requests_total">>, #{<<"path">> => <<"other">>, <<"code">> => <<"404">>})),
    Size = Value(<<"erlmcp_scrape_size_bytes">>, #{<<"format">> => <<"text">>}),
    ?assert(abs(Size - byte_size(Body)) < byte_size(Body) div 2, {Size, byte_size(Body)}),
    ?assert(Value(<<"erlmcp_scrape_duration_seconds_count">>, #{}) >= 5),
    ?assertEqual(1, Value(<<"erlmcp_http_connections">>, #{})).

%% Start

%% A port in use is told by name, once, and leaves nothing behind.
port_in_use(_Config) ->
    {Port, Socket} = taken(),
    cannot_listen(#{http_port => Port}, Port),
    gen_tcp:close(Socket),
    erlmcp_ct_app:start(#{http_port => Port}),
    ?assertEqual(Port, erlmcp_ct_app:port()),
    {200, _, _} = erlmcp_ct_app:get("/metrics").

custom_port_in_use(_Config) ->
    {Port, Socket} = taken(),
    {Free, Other} = taken(),
    gen_tcp:close(Other),
    cannot_listen(#{http_port => Free, custom_port => Port}, Port),
    %% The one that was free is so again.
    {ok, Again} = gen_tcp:listen(Free, [{ip, {127, 0, 0, 1}}, {reuseaddr, true}]),
    [gen_tcp:close(S) || S <- [Socket, Again]],
    ok.

cannot_listen(Env, Port) ->
    N = erlmcp_ct_app:name("taken"),
    {error, {?APPLICATION, {{Tag, Text}, _Where}}} = erlmcp_ct_app:try_start(Env),
    ?assertEqual(cannot_listen, Tag),
    ?assert(is_binary(Text)),
    ?assertNotEqual(nomatch, binary:match(Text, integer_to_binary(Port))),
    ?assertNotEqual(nomatch, binary:match(Text, <<"in use">>)),
    timer:sleep(200),
    ?assertNot(lists:keymember(?APPLICATION, 1, application:which_applications())),
    ?assertEqual([], [Name || Name <- [erlmcp_instrumentation_sup, erlmcp_instrumentation_listener,
                                       erlmcp_instrumentation_vm, erlmcp_metrics],
                              whereis(Name) =/= undefined]),
    ?assertEqual([], erlmcp_instrumentation:http_addresses()),
    ok = ?M:inc(N),
    ?assertEqual(1, ?M:value(N, #{})).

address_of_another_host(_Config) ->
    %% A block that is kept for documentation.
    {error, {?APPLICATION, {{cannot_listen, Text}, _}}} = erlmcp_ct_app:try_start(#{http_ip => "192.0.2.1"}),
    ?assertNotEqual(nomatch, binary:match(Text, <<"192.0.2.1">>)).

settings_that_are_wrong(_Config) ->
    [begin
         {error, {?APPLICATION, {Reason, _}}} = erlmcp_ct_app:try_start(#{Key => Value}),
         ?assertMatch({bad_config, Key, _, _}, Reason),
         Text = erlmcp_instrumentation_config:format_error(Reason),
         ?assertNotEqual(nomatch, binary:match(Text, atom_to_binary(Key)))
     end || {Key, Value} <- [{http_port, 65536}, {http_port, "8080"}, {http_ip, "localhost"}, {http_ip, 1},
                             {custom_port, -1}, {series_limit, 1}, {http_max_connections, 0}]],
    {Port, Socket} = taken(),
    gen_tcp:close(Socket),
    {error, {?APPLICATION, {{bad_config, custom_port, Port, _}, _}}} =
        erlmcp_ct_app:try_start(#{http_port => Port, custom_port => Port}),
    ok.

ports_that_are_free(_Config) ->
    Seen = [begin
                erlmcp_ct_app:start(#{http_port => 0, custom_port => 0}),
                Ports = [Port || {_, Port} <- erlmcp_instrumentation:http_addresses()],
                ?assertMatch([A, B] when A > 0 andalso B > 0 andalso A =/= B, Ports),
                {200, _, _} = erlmcp_ct_app:get("/health"),
                Ports
            end || _ <- [1, 2, 3]],
    %% Stopped for good: nothing is left listening.
    erlmcp_ct_app:stop(),
    [?assertEqual({error, econnrefused}, gen_tcp:connect("127.0.0.1", Port, [])) || Port <- lists:append(Seen)],
    ok.

custom_port_off(_Config) ->
    erlmcp_ct_app:start(#{custom_port => off}),
    ?assertMatch([{{127, 0, 0, 1}, _}], erlmcp_instrumentation:http_addresses()),
    {200, _, _} = erlmcp_ct_app:get("/metrics/custom"),
    ok.

http_switched_off(_Config) ->
    {Port, Socket} = taken(),
    gen_tcp:close(Socket),
    erlmcp_ct_app:start(#{http_enabled => false, http_port => Port}),
    ?assertEqual([], erlmcp_instrumentation:http_addresses()),
    ?assertEqual(undefined, whereis(erlmcp_instrumentation_listener)),
    ?assertEqual({error, econnrefused}, gen_tcp:connect("127.0.0.1", Port, [])),
    N = erlmcp_ct_app:name("off"),
    ok = ?M:inc(N),
    Read = erlmcp_ct_exposition:parse(text, ?M:scrape()),
    ?assertEqual(1, erlmcp_ct_exposition:value(Read, <<N/binary, "_total">>, #{})),
    ?assert(is_map_key(<<"erlang_vm_memory_bytes">>, maps:get(families, Read))).

ipv6(_Config) ->
    case gen_tcp:listen(0, [inet6, {ip, {0, 0, 0, 0, 0, 0, 0, 1}}]) of
        {error, _} ->
            {skip, "this host has no IPv6"};
        {ok, Probe} ->
            gen_tcp:close(Probe),
            [begin
                 erlmcp_ct_app:start(#{http_ip => Ip}),
                 [{{0, 0, 0, 0, 0, 0, 0, 1}, Port}, {_, _}] = erlmcp_instrumentation:http_addresses(),
                 {ok, Socket} = gen_tcp:connect("::1", Port, [inet6, binary, {active, false}]),
                 {200, _, Body} = request(Socket, "GET", "/metrics"),
                 gen_tcp:close(Socket),
                 _ = erlmcp_ct_exposition:parse(text, Body),
                 ?assertEqual({error, econnrefused}, gen_tcp:connect("127.0.0.1", Port, []))
             end || Ip <- ["::1", {0, 0, 0, 0, 0, 0, 0, 1}, <<"0:0:0:0:0:0:0:1">>]],
            ok
    end.

%% Clients that are slow

slow_head(_Config) ->
    erlmcp_ct_app:start(#{http_header_timeout_ms => 300}),
    Silent = connect(),
    Slow = connect(),
    ok = gen_tcp:send(Slow, "GET /metrics HTTP/1.1\r\nhost: "),
    Dripping = spawn_link(fun() -> drip(Slow) end),
    [?assertMatch(closed, until_closed(Socket)) || Socket <- [Silent, Slow]],
    unlink(Dripping),
    exit(Dripping, kill),
    cut(<<"header_timeout">>, 2).

drip(Socket) ->
    timer:sleep(50),
    case gen_tcp:send(Socket, "x") of
        ok -> drip(Socket);
        {error, _} -> ok
    end.

idle_connection(_Config) ->
    erlmcp_ct_app:start(#{http_idle_timeout_ms => 300}),
    Socket = connect(),
    {200, _, _} = request(Socket, "GET", "/health"),
    timer:sleep(100),
    {200, _, _} = request(Socket, "GET", "/health"),
    ?assertEqual(closed, until_closed(Socket)),
    {200, _, _} = erlmcp_ct_app:get("/health").

too_many_connections(_Config) ->
    erlmcp_ct_app:start(#{http_max_connections => 3}),
    Open = [begin
                Socket = connect(),
                {200, _, _} = request(Socket, "GET", "/health"),
                Socket
            end || _ <- [1, 2, 3]],
    Refused = connect(),
    {503, _, _} = request(Refused, "GET", "/metrics"),
    ?assertEqual(closed, until_closed(Refused)),
    %% A probe is answered even so.
    Probe = connect(),
    {200, _, _} = request(Probe, "GET", "/health"),
    ?assertEqual(closed, until_closed(Probe)),
    %% Those that are open go on; when one goes there is room.
    [{200, _, _} = request(Socket, "GET", "/health") || Socket <- Open],
    gen_tcp:close(hd(Open)),
    erlmcp_ct_load:until(fun() ->
        Socket = connect(),
        {Status, _, Body} = request(Socket, "GET", "/metrics"),
        gen_tcp:close(Socket),
        Status =:= 200 andalso begin
            Read = erlmcp_ct_exposition:parse(text, Body),
            ?assert(erlmcp_ct_exposition:value(Read, <<"erlmcp_http_connections_rejected_total">>, #{}) >= 1),
            true
        end
    end),
    [gen_tcp:close(Socket) || Socket <- tl(Open)].

a_client_that_takes_nothing(_Config) ->
    erlmcp_ct_app:start(#{http_write_timeout_ms => 400}),
    N = large(50000),
    Stuck = [begin
                 Socket = connect(),
                 ok = gen_tcp:send(Socket, request_text("GET", "/metrics/custom")),
                 Socket
             end || _ <- lists:seq(1, 5)],
    %% Nobody else waits for them.
    {200, _, _} = erlmcp_ct_app:get("/health"),
    {200, _, _} = erlmcp_ct_app:get("/metrics"),
    cut(<<"write_timeout">>, 5),
    [begin
         %% What was on the way, and then the end: less than the whole.
         {_, Bytes} = drained(Socket, 0),
         ?assert(Bytes < 50000 * 20, Bytes)
     end || Socket <- Stuck],
    50000 = ?M:remove(N).

%% A scrape of 200 000 series that is taken byte by byte: others record and
%% scrape meanwhile, and what comes in the end is whole.
a_client_that_reads_byte_by_byte(_Config) ->
    erlmcp_ct_app:start(),
    Count = 200000,
    N = large(Count),
    Socket = connect(),
    ok = gen_tcp:send(Socket, request_text("GET", "/metrics/custom")),
    Slow = slow_reader(Socket),
    Own = erlmcp_ct_app:name("meanwhile"),
    Recorders = [spawn_monitor(fun() -> exit({recorded, record_until(Own, 0, 0)}) end) || _ <- [1, 2, 3]],
    Begin = erlang:monotonic_time(millisecond),
    Scrapes = [begin
                   {200, _, Body} = erlmcp_ct_app:get("/metrics"),
                   ?assert(byte_size(Body) > Count * 20)
               end || _ <- [1, 2]],
    ?assertEqual(2, length(Scrapes)),
    timer:sleep(max(0, Begin + 2000 - erlang:monotonic_time(millisecond))),
    [Pid ! stop || {Pid, _} <- Recorders],
    Recorded = [receive
                    {'DOWN', Monitor, process, _, {recorded, Result}} -> Result;
                    {'DOWN', Monitor, process, _, Reason} -> ct:fail(Reason)
                after 20000 -> ct:fail(recorder_hangs)
                end || {_, Monitor} <- Recorders],
    ?assertEqual(lists:sum([Calls || {Calls, _} <- Recorded]), ?M:value(Own, #{})),
    ?assert(lists:all(fun({Calls, _}) -> Calls > 10000 end, Recorded), Recorded),
    %% Liveness, no benchmark: nobody stood still for seconds.
    ?assert(lists:all(fun({_, LongestMs}) -> LongestMs < 2000 end, Recorded), Recorded),
    {Status, Body} = rest_of(Slow),
    ?assertEqual(200, Status),
    ?assertEqual($\n, binary:last(Body)),
    Lines = [Line || Line <- binary:split(Body, <<"\n">>, [global]),
                     binary:part(<<Line/binary, N/binary>>, 0, byte_size(N)) =:= N, Line =/= <<>>],
    ?assertEqual(Count, length(Lines)),
    Count = ?M:remove(N).

%% A gauge of so many series.
large(Count) ->
    N = erlmcp_ct_app:name("large"),
    ok = ?M:declare(gauge, N, #{limit => Count + 1}),
    [ok = ?M:set(N, I, #{number => I}) || I <- lists:seq(1, Count)],
    N.

%% Reads a byte each millisecond until it is asked for the rest.
slow_reader(Socket) ->
    Pid = spawn_link(fun() -> slowly(Socket, <<>>) end),
    ok = gen_tcp:controlling_process(Socket, Pid),
    Pid.

slowly(Socket, Read) ->
    receive
        {rest, From} ->
            {ok, More} = read_all(Socket, [Read]),
            From ! {self(), More}
    after 1 ->
        {ok, Byte} = gen_tcp:recv(Socket, 1, 30000),
        slowly(Socket, <<Read/binary, Byte/binary>>)
    end.

read_all(Socket, Parts) ->
    case whole(iolist_to_binary(Parts)) of
        {true, Status, Body} ->
            {ok, {Status, Body}};
        {false, Missing} ->
            {ok, More} = gen_tcp:recv(Socket, Missing, 30000),
            read_all(Socket, [Parts, More])
    end.

whole(Bytes) ->
    case binary:split(Bytes, <<"\r\n\r\n">>) of
        [Head, Body] ->
            <<"HTTP/1.1 ", Status:3/binary, _/binary>> = Head,
            {match, [Length]} = re:run(Head, "content-length: ([0-9]+)", [caseless, {capture, all_but_first, list}]),
            case list_to_integer(Length) - byte_size(Body) of
                0 -> {true, binary_to_integer(Status), Body};
                Missing -> {false, Missing}
            end;
        [_] ->
            {false, 1}
    end.

rest_of(Slow) ->
    Slow ! {rest, self()},
    receive {Slow, Answer} -> Answer after 30000 -> ct:fail(no_rest) end.

record_until(Name, Calls, Longest) ->
    receive
        stop -> {Calls, Longest}
    after 0 ->
        Begin = erlang:monotonic_time(millisecond),
        ok = ?M:inc(Name),
        Took = erlang:monotonic_time(millisecond) - Begin,
        record_until(Name, Calls + 1, max(Longest, Took))
    end.

%% HTTP by hand

url(Path) ->
    "http://127.0.0.1:" ++ integer_to_list(erlmcp_ct_app:port()) ++ Path.

connect() ->
    connect(erlmcp_ct_app:port()).

connect(Port) ->
    {ok, Socket} = gen_tcp:connect("127.0.0.1", Port, [binary, {active, false}, {recbuf, 8192}]),
    Socket.

request_text(Method, Path) ->
    [Method, " ", Path, " HTTP/1.1\r\nhost: localhost\r\n\r\n"].

request(Socket, Method, Path) ->
    ok = gen_tcp:send(Socket, request_text(Method, Path)),
    answer(Socket, Method).

%% {Status, Headers, Body}, and nothing of what comes after.
answer(Socket, Method) ->
    ok = inet:setopts(Socket, [{packet, http_bin}]),
    {ok, {http_response, _, Status, _}} = gen_tcp:recv(Socket, 0, 10000),
    Headers = headers(Socket),
    ok = inet:setopts(Socket, [{packet, raw}]),
    Body = case {Method, list_to_integer(header("content-length", Headers))} of
        {"HEAD", _} -> <<>>;
        {_, 0} -> <<>>;
        {_, Length} -> {ok, Bytes} = gen_tcp:recv(Socket, Length, 10000), Bytes
    end,
    {Status, Headers, Body}.

headers(Socket) ->
    case gen_tcp:recv(Socket, 0, 10000) of
        {ok, {http_header, _, Name, _, Value}} ->
            Text = case Name of
                _ when is_atom(Name) -> atom_to_list(Name);
                _ -> binary_to_list(Name)
            end,
            [{string:lowercase(Text), binary_to_list(Value)} | headers(Socket)];
        {ok, http_eoh} ->
            []
    end.

header(Name, Headers) ->
    proplists:get_value(Name, Headers, none).

field(Name, Json) ->
    {match, [Value]} = re:run(Json, "\"" ++ Name ++ "\":\"([^\"]*)\"", [{capture, all_but_first, list}]),
    Value.

%% Five seconds at the most.
until_closed(Socket) ->
    case gen_tcp:recv(Socket, 0, 5000) of
        {ok, _} -> until_closed(Socket);
        {error, closed} -> closed;
        {error, econnreset} -> closed;
        {error, Reason} -> Reason
    end.

drained(Socket, Bytes) ->
    case gen_tcp:recv(Socket, 0, 5000) of
        {ok, More} -> drained(Socket, Bytes + byte_size(More));
        {error, Reason} -> {Reason, Bytes}
    end.

%% Waits until so many connections were cut for a reason.
cut(Reason, Count) ->
    erlmcp_ct_load:until(fun() ->
        {200, _, Body} = erlmcp_ct_app:get("/metrics"),
        {match, [Now]} = re:run(Body, ["erlmcp_http_connections_cut_total{reason=\"", Reason, "\"} ([0-9]+)"],
                                [{capture, all_but_first, list}]),
        list_to_integer(Now) =:= Count
    end).

taken() ->
    {ok, Socket} = gen_tcp:listen(0, [{ip, {127, 0, 0, 1}}]),
    {ok, Port} = inet:port(Socket),
    {Port, Socket}.
