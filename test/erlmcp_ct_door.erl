%% What tests of the HTTP server's door need: authorities and certificates made
%% by openssl, and real programs as clients.
-module(erlmcp_ct_door).

-export([authority/2, issue/4, issue/5]).
-export([curl/1, status/1, run/1, sh/2]).
-export([files/1, write/3, move/2]).

-define(RUN_MS, 30000).

%% Makes an authority; its files are NAME.pem and NAME.key.
authority(Dir, Name) ->
    {Key, Cert} = {path(Dir, Name, ".key"), path(Dir, Name, ".pem")},
    {0, _} = run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                  "-nodes", "-days", "3650", "-subj", "/CN=" ++ Name, "-keyout", Key, "-out", Cert,
                  "-addext", "basicConstraints=critical,CA:TRUE"]),
    Cert.

%% A certificate for localhost, 127.0.0.1 and a name: {CertFile, KeyFile}.
issue(Dir, Authority, File, Name) ->
    issue(Dir, Authority, File, Name, 30).

issue(Dir, Authority, File, Name, Days) ->
    {Key, Cert} = {path(Dir, File, ".key"), path(Dir, File, ".pem")},
    {Request, Extensions} = {path(Dir, File, ".csr"), path(Dir, File, ".ext")},
    ok = file:write_file(Extensions, ["subjectAltName=DNS:localhost,IP:127.0.0.1,DNS:", Name, "\n"]),
    {0, _} = run(["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                  "-nodes", "-subj", "/CN=" ++ Name, "-keyout", Key, "-out", Request]),
    {0, _} = run(["openssl", "x509", "-req", "-in", Request, "-CA", path(Dir, Authority, ".pem"),
                  "-CAkey", path(Dir, Authority, ".key"), "-CAcreateserial",
                  "-days", integer_to_list(Days), "-extfile", Extensions, "-out", Cert]),
    {Cert, Key}.

path(Dir, Name, Extension) ->
    filename:join(Dir, Name ++ Extension).

%% {Status, Body} as curl shows them; {{exit, Code}, Text} if it fails.
curl(Arguments) ->
    case run(["curl", "-sS", "--max-time", "15", "-w", "\n%{http_code}" | Arguments]) of
        {0, Output} ->
            [Body, Status] = string:split(Output, "\n", trailing),
            {list_to_integer(Status), Body};
        {Code, Output} ->
            {{exit, Code}, Output}
    end.

status(Arguments) ->
    {Status, _} = curl(Arguments),
    Status.

%% Runs a program: {ExitStatus, Output}.
run([Program | Arguments]) ->
    Executable = os:find_executable(Program),
    true = Executable =/= false,
    wait(open_port({spawn_executable, Executable},
                   [{args, Arguments}, exit_status, stderr_to_stdout, in, eof]), [], none).

%% Runs a script in a folder: {ExitStatus, Output}.
sh(Dir, Script) ->
    wait(open_port({spawn_executable, "/bin/sh"},
                   [{args, ["-euc", Script]}, {cd, Dir}, exit_status, stderr_to_stdout, in, eof]),
         [], none).

wait(Port, Output, Status) ->
    receive
        {Port, {data, More}} -> wait(Port, [Output | More], Status);
        {Port, {exit_status, Code}} when Status =:= eof -> ended(Port, Code, Output);
        {Port, {exit_status, Code}} -> wait(Port, Output, Code);
        {Port, eof} when is_integer(Status) -> ended(Port, Status, Output);
        {Port, eof} -> wait(Port, Output, eof)
    after ?RUN_MS ->
        try port_close(Port) catch error:badarg -> true end,
        error({does_not_end, lists:flatten(Output)})
    end.

%% A port with the option eof stays open at its end.
ended(Port, Status, Output) ->
    true = port_close(Port),
    {Status, lists:flatten(Output)}.

%% Tokens, passwords, an authority and certificates in a folder, and the settings
%% that close the door with them.
files(Dir) ->
    ServerCa = authority(Dir, "server_ca"),
    ClientCa = authority(Dir, "client_ca"),
    {Cert, Key} = issue(Dir, "server_ca", "server", "metrics"),
    {ClientCert, ClientKey} = issue(Dir, "client_ca", "client", "prometheus-by-certificate"),
    {ok, #{token := Token, line := Tokens}} = erlmcp_instrumentation_credentials:token("prometheus"),
    {ok, #{token := OtherToken, line := OtherTokens}} = erlmcp_instrumentation_credentials:token("other"),
    Password = "a password for alice",
    {ok, Passwords} = erlmcp_instrumentation_credentials:password("alice", Password),
    #{server_ca => ServerCa, client_cert => ClientCert, client_key => ClientKey,
      token => binary_to_list(Token), token_file => write(Dir, "token", Token),
      other_token => binary_to_list(OtherToken),
      password => Password, password_file => write(Dir, "password", Password),
      settings => #{
          http_tls_cert_file => Cert,
          http_tls_key_file => Key,
          http_tls_client_ca_file => ClientCa,
          http_tokens_file => write(Dir, "tokens", [Tokens, "\n", OtherTokens, "\n"]),
          http_passwords_file => write(Dir, "passwords", [Passwords, "\n"]),
          http_reload_interval_ms => 50}}.

%% Writes a file that only its owner may read; who reads it meanwhile sees the
%% old one or the new one.
write(Dir, Name, Text) ->
    File = filename:join(Dir, Name),
    New = File ++ ".new",
    ok = file:write_file(New, Text),
    ok = file:change_mode(New, 8#600),
    ok = file:rename(New, File),
    File.

move(From, To) ->
    ok = file:rename(From, To).
