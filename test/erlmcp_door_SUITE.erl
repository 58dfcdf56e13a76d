%% The closed door, as curl and openssl meet it: TLS, credentials, rules by path,
%% limits, and what is logged.
-module(erlmcp_door_SUITE).

-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2, end_per_testcase/2]).
-export([
    statuses/1, without_tls/1, client_certificates/1, versions_and_ciphers/1, rules/1,
    the_guide/1, errors_at_start/1, settings/1, credentials/1, log/1, reachable_and_open/1,
    garbage/1, flood/1, nothing_is_left_behind/1
]).
-export([log/2]).

-define(APPLICATION, erlmcp_instrumentation).
-define(DOOR, erlmcp_ct_door).

suite() ->
    [{timetrap, {minutes, 4}}].

all() ->
    [statuses, without_tls, client_certificates, versions_and_ciphers, rules, the_guide,
     errors_at_start, settings, credentials, log, reachable_and_open, garbage, flood,
     nothing_is_left_behind].

init_per_suite(Config) ->
    erlmcp_ct_app:quiet(),
    Config.

end_per_suite(_Config) ->
    erlmcp_ct_app:loud().

init_per_testcase(Case, Config) ->
    Dir = filename:join(proplists:get_value(priv_dir, Config), atom_to_list(Case)),
    ok = file:make_dir(Dir),
    [{dir, Dir} | Config].

end_per_testcase(_Case, _Config) ->
    erlmcp_ct_app:stop().

dir(Config) ->
    proplists:get_value(dir, Config).

closed(Config) ->
    closed(Config, #{}).

closed(Config, More) ->
    #{settings := Settings} = Files = ?DOOR:files(dir(Config)),
    erlmcp_ct_app:start(maps:merge(Settings, More)),
    Files.

url(Path) ->
    "https://localhost:" ++ integer_to_list(erlmcp_ct_app:port()) ++ Path.

bearer(Token) ->
    ["-H", "Authorization: Bearer " ++ Token].

%% Every status that a client can meet.
statuses(Config) ->
    #{server_ca := Ca, token := Token, password := Password} =
        closed(Config, #{http_auth_failures_per_minute => 6,
                         http_access_rules => [{"/metrics/custom", {client, "alice"}}]}),
    Big = filename:join(dir(Config), "big"),
    ok = file:write_file(Big, binary:copy(<<"x">>, 4000000)),
    Curl = fun(Arguments) -> ?DOOR:status(["--cacert", Ca | Arguments]) end,
    Known = bearer(Token),
    Alice = ["-u", "alice:" ++ Password],
    [?assertEqual({Status, Arguments}, {Curl(Arguments), Arguments}) || {Status, Arguments} <- [
        {200, [url("/health")]},
        {200, ["--http2", url("/live")]},
        {401, [url("/metrics")]},
        {401, [url("/")]},
        {401, [url("/nowhere")]},
        {401, bearer(Token ++ "x") ++ [url("/metrics")]},
        {401, ["-u", "alice:wrong", url("/metrics")]},
        {401, ["-u", "mallory:" ++ Password, url("/metrics")]},
        {401, ["--digest", "-u", "alice:" ++ Password, url("/metrics")]},
        {200, Known ++ [url("/metrics")]},
        {200, Alice ++ [url("/metrics")]},
        {200, Alice ++ [url("/metrics/custom")]},
        {403, Known ++ [url("/metrics/custom")]},
        {404, Known ++ [url("/nowhere")]},
        {405, Known ++ ["-X", "POST", url("/metrics")]},
        {405, Known ++ ["-d", "a little", url("/metrics")]},
        {405, ["-X", "DELETE", url("/health")]},
        {413, ["-d", "@" ++ Big, url("/metrics")]},
        {413, ["-d", "@" ++ Big, "-H", "Expect:", url("/metrics")]},
        {413, Known ++ ["-d", "@" ++ Big, "-X", "GET", url("/metrics")]},
        {431, ["-H", "X-Long: " ++ lists:duplicate(20000, $x), url("/health")]},
        {400, ["http" ++ lists:nthtail(5, url("/metrics"))]},
        {401, bearer("wrong-" ++ Token) ++ [url("/metrics")]},
        {401, bearer("wrong-" ++ Token) ++ [url("/metrics")]},
        {401, bearer("wrong-" ++ Token) ++ [url("/metrics")]},
        {429, bearer("wrong-" ++ Token) ++ [url("/metrics")]},
        {429, Alice ++ [url("/metrics")]},
        {200, Known ++ [url("/metrics")]},
        {200, [url("/health")]}
    ]],
    {429, Head} = ?DOOR:curl(["--cacert", Ca, "-i"] ++ Alice ++ [url("/metrics")]),
    ?assertMatch({match, _}, re:run(Head, "\nretry-after: [0-9]+\r\n")),
    {401, Challenged} = ?DOOR:curl(["--cacert", Ca, "-i", url("/metrics")]),
    [?assertMatch({match, _}, re:run(Challenged, "\nwww-authenticate: " ++ Scheme))
     || Scheme <- ["Bearer realm=", "Basic realm="]],
    %% One who does not know the server's authority does not go on.
    {{exit, 60}, _} = ?DOOR:curl([url("/health")]),
    {200, Metrics} = ?DOOR:curl(["--cacert", Ca] ++ Known ++ [url("/metrics")]),
    Failures = fun(Reason) ->
        value(Metrics, ["erlmcp_auth_failures_total{component=\"metrics_endpoint\",reason=\"", Reason, "\"}"])
    end,
    [?assertEqual({Reason, Count}, {Reason, Failures(Reason)})
     || {Reason, Count} <- [{"missing", 5}, {"invalid_password", 2}, {"invalid_token", 4},
                            {"forbidden", 1}, {"throttled", 3}]].

value(Text, Series) ->
    Quoted = re:replace(Series, "[{}]", "\\\\&", [global]),
    case re:run(Text, ["^", Quoted, " ([0-9]+)$"], [multiline, {capture, all_but_first, list}]) of
        {match, [Number]} -> list_to_integer(Number);
        nomatch -> none
    end.

%% Tokens alone close the door too.
without_tls(Config) ->
    {ok, #{token := Token, line := Line}} = erlmcp_instrumentation_credentials:token("prometheus"),
    File = ?DOOR:write(dir(Config), "tokens", Line),
    erlmcp_ct_app:start(#{http_tokens_file => File}),
    Urls = ["http://127.0.0.1:" ++ integer_to_list(Port) ++ "/metrics"
            || {_, Port} <- erlmcp_instrumentation:http_addresses()],
    ?assertEqual(2, length(Urls)),
    [begin
         ?assertEqual(401, ?DOOR:status([Url])),
         ?assertEqual(200, ?DOOR:status(bearer(binary_to_list(Token)) ++ [Url]))
     end || Url <- Urls],
    %% /debug/traces wants both: a client that is known, and on this host.
    Traces = "http://127.0.0.1:" ++ integer_to_list(erlmcp_ct_app:port()) ++ "/debug/traces",
    ?assertEqual(401, ?DOOR:status([Traces])),
    ?assertEqual(200, ?DOOR:status(bearer(binary_to_list(Token)) ++ [Traces])),
    ?assertEqual(403, ?DOOR:status(bearer(binary_to_list(Token)) ++ ["-H", "Host: a.example", Traces])).

client_certificates(Config) ->
    #{server_ca := Ca, client_cert := Cert, client_key := Key} =
        closed(Config, #{http_tokens_file => off, http_passwords_file => off,
                         http_access_rules => "/metrics/custom=@prometheus-by-certificate,/debug=@nobody"}),
    Curl = fun(Arguments) -> ?DOOR:status(["--cacert", Ca | Arguments]) end,
    Shown = ["--cert", Cert, "--key", Key],
    ?assertEqual(200, Curl([url("/ready")])),
    ?assertEqual(403, Curl([url("/metrics")])),
    ?assertEqual(200, Curl(Shown ++ [url("/metrics")])),
    ?assertEqual(200, Curl(Shown ++ [url("/metrics/custom")])),
    ?assertEqual(403, Curl(Shown ++ [url("/debug/traces")])),
    %% Of another authority: no response at all, whatever the path.
    _ = ?DOOR:authority(dir(Config), "stranger_ca"),
    {Other, OtherKey} = ?DOOR:issue(dir(Config), "stranger_ca", "stranger", "prometheus-by-certificate"),
    ?assertMatch({exit, _}, Curl(["--cert", Other, "--key", OtherKey, url("/health")])).

versions_and_ciphers(Config) ->
    #{server_ca := Ca, settings := Settings} = closed(Config),
    Connect = "localhost:" ++ integer_to_list(erlmcp_ct_app:port()),
    Shake = fun(Port, Arguments) ->
        ?DOOR:sh(dir(Config), lists:flatten(
            ["openssl s_client -connect ", Port, " -CAfile ", Ca, " -verify_return_error ", Arguments,
             " </dev/null"]))
    end,
    {0, Tls13} = Shake(Connect, "-tls1_3 -alpn h2,http/1.1"),
    ?assertMatch({match, _}, re:run(Tls13, "ALPN protocol: http/1.1")),
    {0, Tls12} = Shake(Connect, "-tls1_2"),
    ?assertMatch({match, _}, re:run(Tls12, "Cipher is ECDHE-ECDSA-")),
    %% openssl itself would refuse these at its default security level.
    Refused = ["-tls1_1 -cipher ALL:@SECLEVEL=0", "-tls1 -cipher ALL:@SECLEVEL=0",
               "-tls1_2 -cipher AES128-SHA", "-tls1_2 -cipher ECDHE-ECDSA-AES128-SHA"],
    [begin
         {Code, Output} = Shake(Connect, Arguments),
         ?assertNotEqual({Arguments, 0}, {Arguments, Code}),
         ?assertMatch({match, _}, re:run(Output, "alert (protocol version|handshake failure)"), Output)
     end || Arguments <- Refused],
    erlmcp_ct_app:start(Settings#{http_tls_min_version => 'tlsv1.3'}),
    Again = "localhost:" ++ integer_to_list(erlmcp_ct_app:port()),
    ?assertMatch({0, _}, Shake(Again, "-tls1_3")),
    {1, Output} = Shake(Again, "-tls1_2"),
    ?assertMatch({match, _}, re:run(Output, "alert protocol version")).

rules(Config) ->
    #{server_ca := Ca, token := Token, other_token := Other, password := Password} =
        closed(Config, #{http_access_rules =>
            #{"/metrics" => [{client, prometheus}, basic], <<"/health">> => authenticated,
              "/debug" => {client, <<"alice">>}, "/metrics/custom" => open}}),
    Curl = fun(Arguments) -> ?DOOR:status(["--cacert", Ca | Arguments]) end,
    Alice = ["-u", "alice:" ++ Password],
    [?assertEqual({Path, Statuses}, {Path, [Curl(Who ++ [url(Path)])
                                            || Who <- [[], bearer(Token), bearer(Other), Alice]]})
     || {Path, Statuses} <- [
         {"/metrics", [401, 200, 403, 200]},
         {"/metrics/custom", [200, 200, 200, 200]},
         {"/health", [401, 200, 200, 200]},
         {"/healthz", [401, 200, 200, 200]},
         {"/live", [200, 200, 200, 200]},
         {"/debug/traces", [401, 403, 403, 200]},
         {"/debug/traces.json", [401, 403, 403, 200]},
         {"/", [401, 200, 200, 200]}]].

%% The commands of docs/security.md do what it says.
the_guide(Config) ->
    case os:find_executable("htpasswd") of
        false -> {skip, "no htpasswd: run scripts/setup.sh test"};
        _ -> follow_the_guide(dir(Config))
    end.

follow_the_guide(Dir) ->
    {ok, Text} = file:read_file(filename:join(erlmcp_ct_oracle:root(), "docs/security.md")),
    {match, Blocks} = re:run(Text, "^```sh\n(.*?)^```", [global, multiline, dotall, {capture, all_but_first, list}]),
    {Making, Asking} = lists:splitwith(fun([Block]) -> string:find(Block, "https://") =:= nomatch end, Blocks),
    ?assert(length(Making) >= 3),
    ?assert(length(Asking) >= 1),
    [begin
         Result = ?DOOR:sh(Dir, Block),
         ct:log("~ts~n~ts", [Block, element(2, Result)]),
         ?assertMatch({0, _}, Result)
     end || [Block] <- Making],
    File = fun(Name) -> filename:join(Dir, Name) end,
    erlmcp_ct_app:start(#{
        http_tls_cert_file => File("tls.crt"), http_tls_key_file => File("tls.key"),
        http_tls_client_ca_file => File("clients.crt"), http_tokens_file => File("tokens"),
        http_passwords_file => File("passwords")}),
    Port = integer_to_list(erlmcp_ct_app:port()),
    [begin
         Here = lists:flatten(string:replace(Block, "localhost:8080", "localhost:" ++ Port, all)),
         [begin
              [Command, Expected] = string:split(Line, " # "),
              Result = ?DOOR:sh(Dir, Command),
              ?assertEqual({0, string:trim(Expected), Command},
                           {element(1, Result), string:trim(element(2, Result)), Command})
          end || Line <- string:split(string:trim(Here), "\n", all)]
     end || [Block] <- Asking].

errors_at_start(Config) ->
    Dir = dir(Config),
    #{settings := Settings} = ?DOOR:files(Dir),
    Plain = ?DOOR:write(Dir, "plain", "prometheus my-plain-token\n"),
    Missing = filename:join(Dir, "missing.pem"),
    {_, StrangersKey} = ?DOOR:issue(Dir, "server_ca", "stranger", "stranger"),
    [begin
         {error, {?APPLICATION, {{Tag, Text}, _Where}}} =
             erlmcp_ct_app:try_start(maps:merge(Settings, Wrong)),
         ct:log("~ts", [Text]),
         ?assertEqual({Wrong, cannot_secure}, {Wrong, Tag}),
         [?assertNotEqual({nomatch, Part}, {string:find(Text, Part), Part}) || Part <- Parts],
         ?assertEqual(nomatch, string:find(Text, "my-plain")),
         ?assertEqual([], erlmcp_instrumentation:http_addresses())
     end || {Wrong, Parts} <- [
         {#{http_tls_cert_file => Missing}, ["http_tls_cert_file", "missing.pem", "may read"]},
         {#{http_tls_key_file => StrangersKey}, ["http_tls_key_file", "stranger.key", "Is it the key"]},
         {#{http_tls_client_ca_file => Plain}, ["http_tls_client_ca_file", "plain", "PEM"]},
         {#{http_tokens_file => Plain}, ["http_tokens_file", "plain", "line 1", "sha256sum"]},
         {#{http_passwords_file => Plain}, ["http_passwords_file", "plain", "line 1"]}]].

settings(_Config) ->
    Bad = fun(Env) ->
        {error, {?APPLICATION, {{bad_config, Key, _, _} = Reason, _}}} = erlmcp_ct_app:try_start(Env),
        ct:log("~ts", [erlmcp_instrumentation_config:format_error(Reason)]),
        Key
    end,
    ?assertEqual(http_tls_key_file, Bad(#{http_tls_cert_file => "a.pem"})),
    ?assertEqual(http_tls_cert_file, Bad(#{http_tls_key_file => "a.pem"})),
    ?assertEqual(http_tls_cert_file, Bad(#{http_tls_client_ca_file => "a.pem"})),
    ?assertEqual(http_tls_min_version, Bad(#{http_tls_min_version => 'tlsv1.1'})),
    [?assertEqual({http_access_rules, Rules}, {Bad(#{http_access_rules => Rules}), Rules})
     || Rules <- [[{"metrics", open}], [{"/", closed}], [{"/", []}], [{"/", {client, ""}}], [x], x,
                  "/=nobody", "/", #{"/" => 1}, [{"/", [open | bearer]}]]],
    %% What needs the files to be told.
    {error, {?APPLICATION, {{cannot_secure, Text}, _}}} =
        erlmcp_ct_app:try_start(#{http_access_rules => [{"/metrics", authenticated}]}),
    ?assertNotEqual(nomatch, string:find(Text, "http_tokens_file")),
    true = os:putenv("ERLMCP_HTTP_ACCESS_RULES", "/metrics=open, /debug = open"),
    try erlmcp_ct_app:start()
    after os:unsetenv("ERLMCP_HTTP_ACCESS_RULES")
    end.

credentials(_Config) ->
    C = erlmcp_instrumentation_credentials,
    {ok, #{token := Token, line := Line}} = C:token(prometheus),
    ?assertEqual(43, byte_size(Token)),
    Digest = string:lowercase(binary:encode_hex(crypto:hash(sha256, Token))),
    ?assertEqual(<<"prometheus sha256:", Digest/binary>>, Line),
    ?assertEqual({ok, #{token => Token, line => Line}}, C:token("prometheus", Token)),
    {ok, #{token := Another}} = C:token(prometheus),
    ?assertNotEqual(Token, Another),
    [?assertMatch({error, {bad_option, _}}, Refused)
     || Refused <- [C:token("a b"), C:token(""), C:token(<<255>>), C:token(a, "hunter2"), C:token(a, {}),
                    C:token(a, binary:copy(<<" ">>, 40)), C:password(a, "short"), C:password(a, 17),
                    C:password("a:b", "long enough it is"), C:password(a, binary:copy(<<"x">>, 73))]],
    {ok, <<"alice:", Hash/binary>>} = C:password(<<"alice">>, "größer als zwölf"),
    %% The C library's bcrypt agrees.
    {0, Same} = ?DOOR:run(["perl", "-e", "print crypt($ARGV[0], $ARGV[1])",
                           unicode:characters_to_binary("größer als zwölf"), Hash]),
    ?assertEqual(binary_to_list(Hash), Same).

%% A warning of each kind, with peer, path and reason, without a credential.
log(Config) ->
    #{server_ca := Ca, token := Token, settings := #{http_tokens_file := Tokens}} = Files = ?DOOR:files(dir(Config)),
    ok = file:change_mode(Tokens, 8#644),
    ok = logger:add_handler(?MODULE, ?MODULE, #{config => #{to => self()}}),
    try
        erlmcp_ct_app:start(maps:get(settings, Files)),
        [?assertEqual(401, ?DOOR:status(["--cacert", Ca, "-u", "my-user:my-secret", url("/metrics?my-query")]))
         || _ <- [1, 2, 3]],
        ?assertEqual(401, ?DOOR:status(["--cacert", Ca] ++ bearer("my-secret-" ++ Token) ++ [url("/my-path")])),
        Logged = logged(),
        Texts = [Text || {_, [erlmcp, http], Text} <- Logged],
        ct:log("~tp", [Logged]),
        [?assertEqual({1, Part}, {length([T || T <- Texts, string:find(T, Part) =/= nomatch]), Part})
         || Part <- ["Refused /metrics to 127.0.0.1: invalid_password.",
                     "Refused a path that is not known to 127.0.0.1: invalid_token.",
                     "every user of this host may read"]],
        [?assertEqual(nomatch, string:find(Text, Secret))
         || {_, _, Text} <- Logged, Secret <- ["my-", Token]],
        %% A renewed file is worth a notice.
        _ = ?DOOR:issue(dir(Config), "server_ca", "server", "metrics"),
        receive {logged, notice, [erlmcp, http], Changed} ->
            ?assertNotEqual(nomatch, string:find(Changed, "New certificate from "))
        after 30000 -> ct:fail(no_notice)
        end
    after
        logger:remove_handler(?MODULE)
    end.

logged() ->
    receive {logged, Level, Domain, Text} -> [{Level, Domain, Text} | logged()]
    after 300 -> []
    end.

log(#{level := Level, meta := #{domain := [erlmcp | _] = Domain} = Meta, msg := {Format, Arguments}},
    #{config := #{to := To}}) when is_list(Arguments), is_map(Meta) ->
    To ! {logged, Level, Domain, unicode:characters_to_list(io_lib:format(Format, Arguments))};
log(_Event, _Config) ->
    ok.

%% Told once where others may come in and nobody is asked.
reachable_and_open(Config) ->
    ok = logger:add_handler(?MODULE, ?MODULE, #{config => #{to => self()}}),
    try
        Notices = fun(Env) ->
            erlmcp_ct_app:start(Env),
            length([Text || {notice, [erlmcp, http], Text} <- logged(),
                            string:find(Text, "can be reached from other hosts") =/= nomatch])
        end,
        ?assertEqual(0, Notices(#{})),
        ?assertEqual(1, Notices(#{http_ip => "0.0.0.0"})),
        #{settings := Settings} = ?DOOR:files(dir(Config)),
        ?assertEqual(0, Notices(Settings#{http_ip => "0.0.0.0"}))
    after
        logger:remove_handler(?MODULE)
    end.

%% Bytes of every kind on the TLS port, from many at once: others are served,
%% and memory stays where it was.
garbage(Config) ->
    #{server_ca := Ca, token := Token} = closed(Config, #{http_tls_handshake_timeout_ms => 500}),
    Port = erlmcp_ct_app:port(),
    Scrape = fun() -> ?DOOR:status(["--cacert", Ca] ++ bearer(Token) ++ [url("/metrics")]) end,
    200 = Scrape(),
    Before = resident(),
    _ = erlmcp_ct_load:together(8, fun(N) ->
        [begin
             case gen_tcp:connect("127.0.0.1", Port, [binary, {active, false}], 5000) of
                 {ok, Socket} ->
                     Bytes = rand:bytes(1 + rand:uniform(2000)),
                     Prefix = lists:nth(1 + I rem 4, [<<>>, <<22, 3, 1, 1, 0, 1>>, <<22, 3, 3>>, <<"GET / ">>]),
                     _ = gen_tcp:send(Socket, [Prefix, Bytes]),
                     [timer:sleep(10) || I rem 10 =:= N rem 10],
                     gen_tcp:close(Socket);
                 {error, _} ->
                     ok
             end
         end || I <- lists:seq(1, 150)]
    end),
    200 = Scrape(),
    ?assertEqual(200, ?DOOR:status(["--cacert", Ca, url("/health")])),
    Grown = resident() - Before,
    ct:log("~b bytes more", [Grown]),
    ?assert(Grown < 64 bsl 20, Grown).

%% A crowd of one address opens connections and lets their handshakes stand
%% still, more than may be under way: probes of the same address are answered,
%% and another address scrapes.
flood(Config) ->
    #{server_ca := Ca, token := Token} = closed(Config),
    Port = erlmcp_ct_app:port(),
    Crowd = [spawn_link(fun() -> take_connections(Port, []) end) || _ <- lists:seq(1, 4)],
    Scrape = fun(Address) ->
        ?DOOR:curl(["--cacert", Ca, "--interface", Address] ++ bearer(Token) ++ [url("/metrics")])
    end,
    Displaced = "erlmcp_http_tls_handshake_failures_total{reason=\"displaced\"}",
    erlmcp_ct_load:until(fun() ->
        {200, Metrics} = Scrape("127.0.0.2"),
        value(Metrics, Displaced) =/= none
    end),
    [begin
         ?assertEqual(200, ?DOOR:status(["--cacert", Ca, url("/live")])),
         ?assertMatch({200, _}, Scrape("127.0.0.2"))
     end || _ <- lists:seq(1, 10)],
    [begin unlink(Pid), exit(Pid, kill) end || Pid <- Crowd],
    ?assertMatch({200, _}, Scrape("127.0.0.1")).

%% Some ten a second, the last hundred held.
take_connections(Port, Held) ->
    {Kept, Gone} = lists:split(min(100, length(Held)), Held),
    [gen_tcp:close(Socket) || Socket <- Gone],
    New = case gen_tcp:connect("127.0.0.1", Port, [binary, {active, false}], 1000) of
        {ok, Socket} -> _ = gen_tcp:send(Socket, <<22, 3, 1, 2, 0, 1>>), [Socket];
        {error, _} -> []
    end,
    timer:sleep(100),
    take_connections(Port, New ++ Kept).

resident() ->
    {ok, Text} = file:read_file("/proc/self/statm"),
    [_, Pages | _] = string:lexemes(Text, " "),
    binary_to_integer(Pages) * 4096.

%% Threads and descriptors of servers that have ended are gone.
nothing_is_left_behind(Config) ->
    #{server_ca := Ca, token := Token, password := Password, settings := Settings} = ?DOOR:files(dir(Config)),
    Cycle = fun() ->
        erlmcp_ct_app:start(Settings),
        200 = ?DOOR:status(["--cacert", Ca] ++ bearer(Token) ++ [url("/metrics")]),
        200 = ?DOOR:status(["--cacert", Ca, "-u", "alice:" ++ Password, url("/metrics")]),
        erlmcp_ct_app:stop()
    end,
    [Cycle() || _ <- [1, 2]],
    Before = held(),
    [Cycle() || _ <- lists:seq(1, 10)],
    try
        erlmcp_ct_load:until(fun() ->
            lists:all(fun({A, B}) -> length(A) =< length(B) + 2 end, lists:zip(held(), Before))
        end)
    catch
        error:condition_never_held -> ct:fail({left_behind, [A -- B || {A, B} <- lists:zip(held(), Before)]})
    end.

%% What the descriptors of this process lead to, and what its threads are called.
held() ->
    [[Target || Fd <- names("fd"), {ok, Target} <- [file:read_link_all("/proc/self/fd/" ++ Fd)]],
     [Name || Task <- names("task"), {ok, Name} <- [file:read_file(["/proc/self/task/", Task, "/comm"])]]].

names(Kind) ->
    {ok, Names} = file:list_dir("/proc/self/" ++ Kind),
    Names.
