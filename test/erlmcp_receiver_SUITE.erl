%% The receivers that the export is tested with are worth something: the strict
%% one takes what is right, refuses what is wrong and misbehaves as told; and
%% what goes through the Collector and through rotel comes out as it went in.
-module(erlmcp_receiver_SUITE).

-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0, init_per_testcase/2, end_per_testcase/2]).
-export([rules/1, servers/1, faults/1, speed/1]).
-export([values_keep_their_types/1]).
-export([faults_by_name/1]).
-export([collector_passes_on/1, rotel_passes_on/1]).
-export([certificates/1]).

-define(SIGNALS, [traces, metrics, logs]).

suite() ->
    [{timetrap, {minutes, 4}}].

all() ->
    [rules, servers, faults, speed, values_keep_their_types, faults_by_name, collector_passes_on,
     rotel_passes_on, certificates].

init_per_testcase(Case, Config) ->
    Dir = filename:join(proplists:get_value(priv_dir, Config), atom_to_list(Case)),
    ok = filelib:ensure_dir(filename:join(Dir, "file")),
    [{dir, Dir} | Config].

end_per_testcase(_Case, _Config) ->
    ok.

%% test/oracle/otlp_receiver_check.py, a group each.

rules(_Config) -> check("rules").
servers(_Config) -> check("servers").
faults(_Config) -> check("faults").
speed(_Config) -> check("speed").

check(Group) ->
    {Status, Output} = python("otlp_receiver_check.py", [Group]),
    ct:log("~ts", [Output]),
    ?assertEqual({0, nomatch}, {Status, re:run(Output, "^FAILED", [multiline, {capture, none}])}),
    ?assertMatch({match, _}, re:run(Output, "^ok ", [multiline])).

%% In Erlang, texts, bytes and numbers are told apart as on the wire.
values_keep_their_types(Config) ->
    with_receiver(Config, fun(Receiver) ->
        [ok = send(Protocol, Receiver, traces, 2) || Protocol <- [grpc, http]],
        [First, Second, Third, _] = Spans = erlmcp_ct_receiver:spans(Receiver),
        ?assertEqual(
            #{<<"text">> => {string, <<"é"/utf8, 0>>},
              <<"int">> => {int, -(1 bsl 63)},
              <<"bool">> => {bool, false},
              <<"double">> => {double, -0.0},
              <<"bytes">> => {bytes, <<255, 0>>},
              <<"null">> => null,
              <<"map">> => {map, #{<<"list">> => {array, [{string, <<"x">>}, {int, 1}]}}}},
            maps:get(attributes, First)),
        ?assertMatch(
            #{trace_id := <<7, 7, _:14/binary>>, span_id := <<0:56, 1>>, kind := server, flags := 16#101,
              start_time := Start, end_time := End, status := {error, <<"broken">>},
              events := [#{name := <<"event">>}], links := [#{span_id := <<2, _:7/binary>>}],
              resource := #{attributes := #{<<"service.name">> := {string, <<"check">>}}},
              request := #{protocol := grpc}} when End - Start =:= 5, First),
        ?assertEqual(<<0:56, 2>>, maps:get(span_id, Second)),
        ?assertMatch(#{request := #{protocol := http, compression := none}}, Third),
        ?assertEqual(4, length(Spans)),
        ?assertMatch(#{spans := 2, duplicate_spans := 2, violations := []},
                     erlmcp_ct_receiver:received(Receiver)),
        ok = erlmcp_ct_receiver:forget(Receiver),
        ?assertEqual([], erlmcp_ct_receiver:spans(Receiver))
    end).

faults_by_name(Config) ->
    with_receiver(Config, fun(Receiver) ->
        ok = erlmcp_ct_receiver:fault(Receiver, status, #{code => 503, retry_after => 1, requests => 1}),
        ok = erlmcp_ct_receiver:then(Receiver, partial, #{n => 1, requests => 1}),
        ?assertMatch({failed, _}, send(http, Receiver, traces, 3)),
        ok = send(http, Receiver, traces, 3),
        ok = send(http, Receiver, traces, 3),
        ?assertEqual(5, erlmcp_ct_receiver:count(Receiver, traces)),
        ok = erlmcp_ct_receiver:fault(Receiver, down),
        ?assertMatch({failed, _}, send(http, Receiver, traces, 3)),
        ok = erlmcp_ct_receiver:fault(Receiver, ok),
        ok = send(http, Receiver, traces, 3),
        ?assertMatch(#{requests := #{traces := #{status := 1, partial := 1, accepted := 2}}, faults := []},
                     erlmcp_ct_receiver:received(Receiver))
    end).

collector_passes_on(Config) ->
    case erlmcp_ct_collector:executable() of
        {ok, _} -> passes_on(Config, erlmcp_ct_collector);
        {skip, _} = Skip -> Skip
    end.

rotel_passes_on(Config) ->
    case erlmcp_ct_rotel:executable() of
        {ok, _} -> passes_on(Config, erlmcp_ct_rotel);
        {skip, _} = Skip -> Skip
    end.

%% What comes out at the other end is what went in. Both write a value that is
%% null as they like; the library sends none.
passes_on(Config, Between) ->
    Dir = proplists:get_value(dir, Config),
    with_receiver(Config, fun(Direct) -> with_receiver(Config, fun(Behind) ->
        Program = Between:start(Dir, #{to => Behind}),
        try
            [begin
                 ok = send(Protocol, Direct, Signal, 40),
                 ok = send(Protocol, Program, Signal, 40)
             end || Protocol <- [grpc, http], Signal <- ?SIGNALS],
            [begin
                 Wanted = sorted(Direct, Signal),
                 ok = erlmcp_ct_receiver:await(Behind, Signal, length(Wanted)),
                 ?assertEqual({Signal, Wanted}, {Signal, sorted(Behind, Signal)})
             end || Signal <- ?SIGNALS],
            ?assertEqual([], erlmcp_ct_receiver:violations(Behind)),
            Between =:= erlmcp_ct_collector andalso
                ?assertEqual(#{accepted => 80, refused => 0}, erlmcp_ct_collector:accepted(Program))
        after
            Between:stop(Program)
        end
    end) end).

sorted(Receiver, Signal) ->
    lists:sort([maps:remove(request, Record) || Record <- erlmcp_ct_receiver:records(Receiver, Signal)]).

%% Certificates of erlmcp_ct_certificates are such that a client of Erlang's own
%% trusts the server, and the server wants the client's.
certificates(Config) ->
    Dir = proplists:get_value(dir, Config),
    Files = erlmcp_ct_certificates:write(Dir),
    {ok, _} = application:ensure_all_started(ssl),
    Client = [{certfile, maps:get(client_cert, Files)}, {keyfile, maps:get(client_key, Files)}],
    [with_receiver(Config, Options, fun(Receiver) ->
         ?assertEqual({Options, Expected},
                      {Options, [post_over_tls(Receiver, Files, Own) || Own <- [[], Client]]})
     end) || {Options, Expected} <- [{#{tls => Files}, [200, 200]},
                                     {#{mutual_tls => Files}, [refused, 200]}]].

%% The server's refusal comes after the client's handshake is done (TLS 1.3).
post_over_tls(#{http := Port}, #{server_ca := Ca}, Own) ->
    Options = [{verify, verify_peer}, {cacertfile, Ca}, {active, false}, {mode, binary} | Own],
    {ok, Socket} = ssl:connect("localhost", Port, Options, 10000),
    {0, Body} = python("otlp_requests.py", []),
    _ = ssl:send(Socket, ["POST /v1/traces HTTP/1.1\r\nHost: localhost\r\n"
                          "Content-Type: application/x-protobuf\r\nContent-Length: ",
                          integer_to_list(byte_size(Body)), "\r\n\r\n", Body]),
    Answer = case ssl:recv(Socket, 0, 10000) of
        {ok, <<"HTTP/1.1 ", Status:3/binary, _/binary>>} -> binary_to_integer(Status);
        {error, {tls_alert, {certificate_required, _}}} -> refused;
        {error, closed} -> refused
    end,
    ok = ssl:close(Socket),
    Answer.

%% Running things

with_receiver(Config, Test) ->
    with_receiver(Config, #{}, Test).

with_receiver(Config, Options, Test) ->
    Receiver = erlmcp_ct_receiver:start(proplists:get_value(dir, Config), Options),
    try Test(Receiver) after erlmcp_ct_receiver:stop(Receiver) end.

send(Protocol, Receiver, Signal, Spans) ->
    Address = "127.0.0.1:" ++ integer_to_list(maps:get(Protocol, Receiver)),
    case python("otlp_send.py", [atom_to_list(Protocol), Address, atom_to_list(Signal),
                                 "--spans", integer_to_list(Spans)]) of
        {0, _} -> ok;
        {_, Output} -> {failed, Output}
    end.

python(Script, Arguments) ->
    Path = filename:join([erlmcp_ct_oracle:root(), "test", "oracle", Script]),
    Port = open_port({spawn_executable, erlmcp_ct_receiver:python()},
                     [{args, ["-B", Path | Arguments]}, binary, exit_status, stderr_to_stdout]),
    output(Port, []).

output(Port, Parts) ->
    receive
        {Port, {data, Part}} -> output(Port, [Parts, Part]);
        {Port, {exit_status, Status}} -> {Status, iolist_to_binary(Parts)}
    after 80000 ->
        port_close(Port),
        error({python_is_silent, iolist_to_binary(Parts)})
    end.
