%% What arrives is what was recorded: random spans over gRPC and HTTP, plain,
%% compressed and over TLS, to the strict receiver; and through the Collector and
%% through rotel, which others wrote.
-module(erlmcp_trace_wire_SUITE).

-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0, groups/0]).
-export([init_per_suite/1, end_per_suite/1, init_per_group/2, end_per_group/2]).
-export([spans_arrive_as_recorded/1]).
-export([limits_are_kept_and_counted/1]).
-export([exceptions_follow_the_conventions/1]).
-export([requests_follow_the_conventions/1]).
-export([compression_is_used/1]).
-export([a_wrong_certificate_is_refused/1]).

%% Called on the node.
-export([exceed_limits/0, raise_in_span/0, request/0]).

%% Of random spans, where nothing is special, and where something is.
-define(CASES, 60).
-define(SPECIAL_CASES, 15).
-define(OTEL, erlmcp_otel_instrumentation).
-define(HEADERS, [{"x-tenant", "proof"}, {"authorization", "Bearer a b"}]).

suite() ->
    [{timetrap, {minutes, 4}}].

all() ->
    [{group, Group} || {Group, _, _} <- groups()].

groups() ->
    Every = [spans_arrive_as_recorded],
    Once = [limits_are_kept_and_counted, exceptions_follow_the_conventions,
            requests_follow_the_conventions],
    [{grpc, [], Every ++ Once},
     {http, [], Every ++ Once},
     {grpc_gzip, [], Every ++ [compression_is_used]},
     {http_gzip, [], Every ++ [compression_is_used]},
     {grpc_tls, [], Every ++ [a_wrong_certificate_is_refused]},
     {http_tls, [], Every ++ [a_wrong_certificate_is_refused]},
     {grpc_mutual_tls, [], Every},
     {http_mutual_tls, [], Every},
     {grpc_collector, [], Every},
     {http_collector, [], Every},
     {http_tls_collector, [], Every},
     {grpc_rotel, [], Every},
     {http_rotel, [], Every}].

init_per_suite(Config) ->
    Dir = filename:join(proplists:get_value(priv_dir, Config), "wire"),
    ok = filelib:ensure_dir(filename:join(Dir, "file")),
    [{dir, Dir}, {files, erlmcp_ct_certificates:write(Dir)} | Config].

end_per_suite(_Config) ->
    ok.

%% A group's name says how: the protocol, then what is special.
init_per_group(Group, Config) ->
    [Protocol | Words] = [list_to_atom(Word) || Word <- string:lexemes(atom_to_list(Group), "_")],
    case between(Words) of
        {skip, _} = Skip ->
            Skip;
        Between ->
            Dir = proplists:get_value(dir, Config),
            Files = proplists:get_value(files, Config),
            Security = maps:from_list([{security(Words), Files} || security(Words) =/= none]),
            {Receiver, Program, Url} = receivers(Between, Protocol, Dir, Security),
            Variables = variables(Protocol, Url, Words, Files),
            Node = erlmcp_ct_node:start(#{}, #{env => Variables}),
            [{node, Node}, {receiver, Receiver}, {program, {Between, Program}}, {protocol, Protocol},
             {words, Words}, {variables, Variables} | Config]
    end.

end_per_group(_Group, Config) ->
    erlmcp_ct_node:stop(proplists:get_value(node, Config)),
    case proplists:get_value(program, Config) of
        {none, _} -> ok;
        {Between, Program} -> Between:stop(Program)
    end,
    erlmcp_ct_receiver:stop(proplists:get_value(receiver, Config)).

between(Words) ->
    Programs = [Module || {Word, Module} <- [{collector, erlmcp_ct_collector}, {rotel, erlmcp_ct_rotel}],
                          lists:member(Word, Words)],
    case Programs of
        [] -> none;
        [Module] ->
            case Module:executable() of
                {ok, _} -> Module;
                {skip, _} = Skip -> Skip
            end
    end.

security(Words) ->
    case {lists:member(mutual, Words), lists:member(tls, Words)} of
        {true, true} -> mutual_tls;
        {false, true} -> tls;
        {false, false} -> none
    end.

receivers(none, Protocol, Dir, Security) ->
    Receiver = erlmcp_ct_receiver:start(Dir, Security#{headers => ?HEADERS}),
    {Receiver, none, erlmcp_ct_receiver:url(Receiver, Protocol)};
receivers(Between, Protocol, Dir, Security) ->
    Receiver = erlmcp_ct_receiver:start(Dir),
    Program = Between:start(Dir, Security#{to => Receiver}),
    {Receiver, Program, Between:url(Program, Protocol)}.

variables(Protocol, Url, Words, Files) ->
    Names = #{grpc => "grpc", http => "http/protobuf"},
    [{"OTEL_EXPORTER_OTLP_ENDPOINT", Url},
     {"OTEL_EXPORTER_OTLP_PROTOCOL", maps:get(Protocol, Names)},
     {"OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=proof,authorization=Bearer%20a%20b"},
     {"OTEL_SERVICE_NAME", "größe"},
     {"OTEL_RESOURCE_ATTRIBUTES", "erlmcp.region=eu,erlmcp.cluster=a%2Cb"},
     {"OTEL_METRICS_EXPORTER", "none"},
     {"OTEL_BSP_SCHEDULE_DELAY", "50"}] ++
    [{"OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"} || lists:member(gzip, Words)] ++
    [{"OTEL_EXPORTER_OTLP_CERTIFICATE", maps:get(server_ca, Files)} || lists:member(tls, Words)] ++
    [{Name, maps:get(File, Files)}
     || lists:member(mutual, Words),
        {Name, File} <- [{"OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", client_cert},
                         {"OTEL_EXPORTER_OTLP_CLIENT_KEY", client_key}]].

%% The test cases

spans_arrive_as_recorded(Config) ->
    Check = fun(Trees) -> differences(Config, Trees) end,
    Property = proper:forall(erlmcp_ct_spans:spans(), fun(Trees) -> Check(Trees) =:= [] end),
    Cases = case proplists:get_value(words, Config) of [] -> ?CASES; _ -> ?SPECIAL_CASES end,
    case proper:quickcheck(Property, [quiet, {numtests, Cases}, {max_size, 40}]) of
        true ->
            ok;
        false ->
            [Smallest] = proper:counterexample(),
            ct:pal(error, "The smallest counterexample:~n~tp~n~tp", [Smallest, Check(Smallest)]),
            ct:fail(something_else_arrives)
    end,
    Receiver = proplists:get_value(receiver, Config),
    ?assertMatch(#{violations := [], duplicate_spans := 0}, erlmcp_ct_receiver:received(Receiver)).

%% Never raises: Debian's PropEr cannot report an exception.
differences(Config, Trees) ->
    try
        Receiver = proplists:get_value(receiver, Config),
        ok = erlmcp_ct_receiver:forget(Receiver),
        Expected = call(Config, erlmcp_ct_spans, record, [Trees]),
        ok = call(Config, ?OTEL, force_flush, []),
        ok = erlmcp_ct_receiver:await(Receiver, traces, map_size(Expected)),
        Spans = erlmcp_ct_receiver:spans(Receiver),
        erlmcp_ct_spans:differences(Expected, Spans) ++ resources(Spans) ++
            [{violation, Violation} || Violation <- erlmcp_ct_receiver:violations(Receiver)]
    catch
        Class:Reason:Stack -> [{Class, Reason, Stack}]
    end.

resources(Spans) ->
    Wanted = #{<<"service.name">> => {string, <<"größe"/utf8>>},
               <<"erlmcp.region">> => {string, <<"eu">>},
               <<"erlmcp.cluster">> => {string, <<"a,b">>}},
    [{resource, Attributes}
     || #{attributes := Attributes} <- lists:usort([Resource || #{resource := Resource} <- Spans]),
        maps:with(maps:keys(Wanted), Attributes) =/= Wanted].

%% OpenTelemetry's default limits; what is left out is counted in the span.
limits_are_kept_and_counted(Config) ->
    [Span] = arrived(Config, exceed_limits, 1),
    #{attributes := Attributes, events := Events, links := Links} = Span,
    ?assertEqual({128, 128, 128}, {map_size(Attributes), length(Events), length(Links)}),
    ?assertMatch(#{dropped_attributes := 72, dropped_events := 3, dropped_links := 2}, Span),
    [First | _] = Events,
    ?assertMatch(#{dropped_attributes := 5}, First),
    ?assertEqual(128, map_size(maps:get(attributes, First))).

exceed_limits() ->
    ?OTEL:with_span(<<"limits">>, #{attributes => numbered(200)}, fun() ->
        true = ?OTEL:add_event(<<"event">>, numbered(133)),
        [?OTEL:add_event(<<"event">>, #{}) || _ <- lists:seq(1, 130)],
        {Target, _} = ?OTEL:extract([{<<"traceparent">>,
            <<"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01">>}]),
        [?OTEL:add_link(Target) || _ <- lists:seq(1, 130)],
        ok
    end).

numbered(Count) ->
    [{"k" ++ integer_to_list(N), N} || N <- lists:seq(1, Count)].

exceptions_follow_the_conventions(Config) ->
    [Span] = arrived(Config, raise_in_span, 1),
    ?assertMatch(#{status := {error, _}, events := [#{name := <<"exception">>}]}, Span),
    #{attributes := #{<<"error.type">> := {string, <<"badarith">>}},
      events := [#{attributes := Exception}]} = Span,
    ?assertMatch(#{<<"exception.type">> := {string, <<"badarith">>},
                   <<"exception.message">> := {string, _},
                   <<"exception.stacktrace">> := {string, _}}, Exception),
    #{<<"exception.stacktrace">> := {string, Stack}} = Exception,
    ?assertNotEqual(nomatch, string:find(Stack, "raise_in_span")).

raise_in_span() ->
    try ?OTEL:with_span(<<"raises">>, #{}, fun() -> error(badarith) end)
    catch error:badarith:Stack -> [{?MODULE, _, _, _} | _] = Stack, ok
    end.

requests_follow_the_conventions(Config) ->
    [Span] = arrived(Config, request, 1),
    ?assertMatch(#{name := <<"tools/call", _/binary>>, kind := server}, Span),
    ?assertMatch(#{<<"mcp.method.name">> := {string, <<"tools/call">>}}, maps:get(attributes, Span)).

request() ->
    ok = ?OTEL:trace_request(#{request_id => 7, method => <<"tools/call">>,
                               params => #{<<"name">> => <<"echo">>}}, fun() -> ok end).

compression_is_used(Config) ->
    Receiver = proplists:get_value(receiver, Config),
    Protocol = proplists:get_value(protocol, Config),
    Payload = fun(#{payload_bytes := #{traces := Bytes}}) -> Bytes end,
    Wire = fun(#{ports := Ports}) -> maps:get(bytes_in, maps:get(Protocol, Ports)) end,
    Before = erlmcp_ct_receiver:received(Receiver),
    Spans = 500,
    Spans = call(Config, erlmcp_ct_spans, end_many, [Spans, 200]),
    ok = call(Config, ?OTEL, force_flush, []),
    ok = erlmcp_ct_receiver:await(Receiver, traces, Spans),
    After = erlmcp_ct_receiver:received(Receiver),
    ?assert((Wire(After) - Wire(Before)) * 2 < Payload(After) - Payload(Before)),
    [?assertMatch(#{request := #{compression := gzip}}, Span)
     || Protocol =:= http, Span <- erlmcp_ct_receiver:spans(Receiver)].

%% Nothing is sent to a server whose certificate the client does not trust.
a_wrong_certificate_is_refused(Config) ->
    Dir = filename:join(proplists:get_value(dir, Config), "others"),
    ok = filelib:ensure_dir(filename:join(Dir, "file")),
    #{server_ca := Other} = erlmcp_ct_certificates:write(Dir),
    Receiver = proplists:get_value(receiver, Config),
    ok = erlmcp_ct_receiver:forget(Receiver),
    Variables = lists:keystore("OTEL_EXPORTER_OTLP_CERTIFICATE", 1, proplists:get_value(variables, Config),
                               {"OTEL_EXPORTER_OTLP_CERTIFICATE", Other}),
    Node = erlmcp_ct_node:start(#{}, #{env => Variables}),
    try
        10 = erlmcp_ct_node:call(Node, erlmcp_ct_spans, end_many, [10, 10]),
        ?assertMatch({error, timeout}, erlmcp_ct_node:call(Node, ?OTEL, force_flush, [1500])),
        ?assertMatch(#{exported := 0}, erlmcp_ct_node:call(Node, erlmcp_ct_spans, counts, [])),
        ?assertEqual(0, erlmcp_ct_receiver:count(Receiver, traces))
    after
        erlmcp_ct_node:stop(Node)
    end.

%% What arrives of what a function of this module records on the node.
arrived(Config, Function, Count) ->
    Receiver = proplists:get_value(receiver, Config),
    ok = erlmcp_ct_receiver:forget(Receiver),
    ok = call(Config, ?MODULE, Function, []),
    ok = call(Config, ?OTEL, force_flush, []),
    ok = erlmcp_ct_receiver:await(Receiver, traces, Count),
    erlmcp_ct_receiver:spans(Receiver).

call(Config, Module, Function, Arguments) ->
    erlmcp_ct_node:call(proplists:get_value(node, Config), Module, Function, Arguments).
