%% A real Prometheus scrapes a closed node with each kind of credential: its
%% target is up with the right one, and down with the wrong one for the right
%% reason. Renewed files cost no scrape.
-module(erlmcp_door_prometheus_SUITE).

-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1, end_per_testcase/2]).
-export([installed/1, v2_53/1, v3_5/1]).

-define(DOOR, erlmcp_ct_door).
%% Scrapes between which files are renewed.
-define(RENEWALS, 3).

suite() ->
    [{timetrap, {minutes, 4}}].

all() ->
    erlmcp_ct_prometheus:versions().

init_per_suite(Config) ->
    erlmcp_ct_app:quiet(),
    Config.

end_per_suite(_Config) ->
    erlmcp_ct_app:loud().

end_per_testcase(_Case, _Config) ->
    erlmcp_ct_app:stop().

installed(Config) -> scraped(Config, installed).

v2_53(Config) -> scraped(Config, v2_53).

v3_5(Config) -> scraped(Config, v3_5).

scraped(Config, Version) ->
    case erlmcp_ct_prometheus:executable(Version) of
        {ok, Executable} -> scraped(Config, Version, Executable);
        Skip -> Skip
    end.

scraped(Config, Version, Executable) ->
    Dir = filename:join(proplists:get_value(priv_dir, Config), Version),
    ok = file:make_dir(Dir),
    #{settings := Settings} = Files = ?DOOR:files(Dir),
    erlmcp_ct_app:start(Settings#{http_auth_failures_per_minute => 100000,
                                  http_access_rules => "/metrics/custom=@nobody"}),
    Target = "localhost:" ++ integer_to_list(erlmcp_ct_app:port()),
    Jobs = jobs(Dir, Files),
    erlmcp_ct_prometheus:with(Executable, Dir, configuration(Target, Jobs), [], fun(Url) ->
        erlmcp_ct_load:until(fun() -> all_scraped(Url, Jobs) end),
        %% On a busy machine a scrape may take too long once, which is another error.
        [erlmcp_ct_load:until(fun() ->
             verdict(Url, Job, Health, Error) =:= {Job, Health, true}
         end) || {Job, _, _, Health, Error} <- Jobs],
        Begin = query(Url, "time()"),
        renew(Url, Dir, Files),
        Seconds = integer_to_list(ceil(query(Url, "time()") - Begin)),
        [begin
             Failed = ["min(min_over_time(up{job=\"", Job, "\"}[", Seconds, "s]))"],
             ?assertEqual({Job, 1.0}, {Job, query(Url, Failed)})
         end || {Job, _, _, "up", _} <- Jobs]
    end).

%% Name, path, what the job has beside, and what becomes of it.
jobs(Dir, #{server_ca := Ca, client_cert := Cert, client_key := Key, token_file := Token,
            password_file := Password}) ->
    Wrong = ?DOOR:write(Dir, "wrong", "this-is-not-the-token-of-anybody-here"),
    StrangersCa = ?DOOR:authority(Dir, "stranger_ca"),
    {Other, OtherKey} = ?DOOR:issue(Dir, "stranger_ca", "stranger", "stranger"),
    Trusting = fun(More) -> ["tls_config: {ca_file: '", Ca, "'", More, "}"] end,
    Bearer = fun(File) -> ["authorization: {type: Bearer, credentials_file: '", File, "'}, "] end,
    Basic = fun(User, File) -> ["basic_auth: {username: ", User, ", password_file: '", File, "'}, "] end,
    Shown = fun(C, K) -> [", cert_file: '", C, "', key_file: '", K, "'"] end,
    M = "/metrics",
    Unauthorized = "HTTP status 401 Unauthorized",
    [{"bearer", M, [Bearer(Token), Trusting("")], "up", ""},
     {"bearer_custom", "/metrics/custom", [Bearer(Token), Trusting("")], "down", "HTTP status 403 Forbidden"},
     {"bearer_wrong", M, [Bearer(Wrong), Trusting("")], "down", Unauthorized},
     {"basic", M, [Basic("alice", Password), Trusting("")], "up", ""},
     {"basic_wrong", M, [Basic("alice", Wrong), Trusting("")], "down", Unauthorized},
     {"basic_nobody", M, [Basic("mallory", Password), Trusting("")], "down", Unauthorized},
     {"certificate", M, Trusting(Shown(Cert, Key)), "up", ""},
     {"certificate_wrong", M, Trusting(Shown(Other, OtherKey)), "down", "tls: "},
     {"nothing", M, Trusting(""), "down", Unauthorized},
     {"strangers_ca", M, [Bearer(Token), "tls_config: {ca_file: '", StrangersCa, "'}"], "down",
      "certificate signed by unknown authority"},
     {"probe", "/health", Trusting(""), "down", ""}].

configuration(Target, Jobs) ->
    ["global: {scrape_interval: 3s, scrape_timeout: 3s}\nscrape_configs:\n"
     | [["- {job_name: ", Job, ", scheme: https, metrics_path: ", Path, ", ", More,
         ", static_configs: [{targets: ['", Target, "']}]}\n"]
        || {Job, Path, More, _, _} <- Jobs]].

all_scraped(Url, Jobs) ->
    try
        query(Url, "count(up)") =:= float(length(Jobs))
            andalso lists:all(fun({Job, _, _, _, _}) ->
                #{"health" := Health} = target(Url, Job),
                Health =/= "unknown"
            end, Jobs)
    catch
        error:_ -> false
    end.

verdict(Url, Job, Health, Error) ->
    #{"health" := Found, "lastError" := Told} = target(Url, Job),
    ct:log("~ts: ~ts ~ts", [Job, Found, Told]),
    %% A health page is no exposition, and says so: not for want of a credential.
    Fits = case Job of
        "probe" -> string:find(Told, "HTTP status") =:= nomatch;
        _ -> string:find(Told, Error) =/= nomatch
    end,
    {Job, case Found of Health -> Health; _ -> {Found, Told} end, Fits}.

%% What Prometheus says of a job's one target.
target(Url, Job) ->
    {ok, {{_, 200, _}, _, Body}} = httpc:request(Url ++ "/api/v1/targets?state=active"),
    [Part] = [P || P <- string:split(Body, "{\"discoveredLabels\":", all),
                   string:find(P, "\"job\":\"" ++ Job ++ "\"}") =/= nomatch],
    maps:from_list([begin
        {match, [Value]} = re:run(Part, "\"" ++ Field ++ "\":\"((?:[^\"\\\\]|\\\\.)*)\"",
                                  [{capture, all_but_first, list}]),
        {Field, Value}
    end || Field <- ["health", "lastError"]]).

query(Url, Query) ->
    Text = uri_string:compose_query([{"query", lists:flatten(Query)}]),
    {ok, {{_, 200, _}, _, Body}} = httpc:request(Url ++ "/api/v1/query?" ++ Text),
    {match, [Number]} = re:run(Body, ",\"([0-9.e+]+)\"\\]", [{capture, all_but_first, list}]),
    float(try list_to_float(Number) catch error:badarg -> list_to_integer(Number) end).

%% The server's certificate, its key, the tokens and the passwords are replaced,
%% one after the other, again and again, while Prometheus goes on.
renew(Url, Dir, #{settings := #{http_tls_cert_file := Cert, http_tls_key_file := Key,
                                http_tokens_file := Tokens, http_passwords_file := Passwords}}) ->
    [begin
         {NewCert, NewKey} = ?DOOR:issue(Dir, "server_ca", "renewed", "metrics", 30 + N),
         Before = query(Url, "time()"),
         ?DOOR:move(NewCert, Cert),
         timer:sleep(200),
         ?DOOR:move(NewKey, Key),
         [begin
              {ok, Text} = file:read_file(File),
              ?DOOR:write(Dir, filename:basename(File), [Text, "# renewed\n"])
          end || File <- [Tokens, Passwords]],
         erlmcp_ct_load:until(fun() -> renewed(expiry(Cert)) end),
         erlmcp_ct_load:until(fun() -> query(Url, "min(timestamp(up))") > Before + 1 end)
     end || N <- lists:seq(1, ?RENEWALS)],
    ok.

%% When a certificate ends, in seconds since 1970.
expiry(Cert) ->
    {ok, Pem} = file:read_file(Cert),
    [{'Certificate', Der, not_encrypted} | _] = public_key:pem_decode(Pem),
    Decoded = public_key:pkix_decode_cert(Der, otp),
    Validity = element(6, element(2, Decoded)),
    {_, Text} = element(3, Validity),
    Digits = case length(Text) of 13 -> "20" ++ Text; 15 -> Text end,
    {ok, [Y, Mo, D, H, Mi, S], _} = io_lib:fread("~4d~2d~2d~2d~2d~2d", Digits),
    calendar:datetime_to_gregorian_seconds({{Y, Mo, D}, {H, Mi, S}}) - 62167219200.

%% Whether the server shows the certificate that ends then.
renewed(Expiry) ->
    Name = <<"erlmcp_http_tls_certificate_expiry_timestamp_seconds">>,
    Token = shown_token(),
    {200, Text} = ?DOOR:curl(["-k", "-H", "Authorization: Bearer " ++ Token,
                              "https://localhost:" ++ integer_to_list(erlmcp_ct_app:port()) ++ "/metrics"]),
    {match, [Shown]} = re:run(Text, ["^", Name, " ([0-9]+)$"], [multiline, {capture, all_but_first, list}]),
    list_to_integer(Shown) =:= Expiry.

shown_token() ->
    {ok, File} = application:get_env(erlmcp_instrumentation, http_tokens_file),
    {ok, Token} = file:read_file(filename:join(filename:dirname(File), "token")),
    binary_to_list(Token).
