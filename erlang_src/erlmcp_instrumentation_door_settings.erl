%% @doc The table of the settings of the HTTP server's door: TLS, credentials,
%% rules by path, and limits against floods.
%%
%% Part of {@link erlmcp_instrumentation_config:spec/0}.
-module(erlmcp_instrumentation_door_settings).

-export([spec/0]).
-export([options/1]).
-export([is_closed/1]).
-export([check/1]).

-import(erlmcp_instrumentation_config, [entry/5]).

-define(MAX_MILLISECONDS, 86400000).

%% @doc The entries of the table.
-spec spec() -> [erlmcp_instrumentation_config:entry()].
spec() ->
    tls() ++ clients() ++ limits().

%% @doc What the native listener is started with.
-spec options(erlmcp_instrumentation_config:config()) -> map().
options(Config) ->
    Of = fun(Key) -> maps:get(Key, Config) end,
    #{
        cert_file => or_nil(Of(http_tls_cert_file)),
        key_file => or_nil(Of(http_tls_key_file)),
        client_ca_file => or_nil(Of(http_tls_client_ca_file)),
        only_tls13 => Of(http_tls_min_version) =:= 'tlsv1.3',
        tokens_file => or_nil(Of(http_tokens_file)),
        passwords_file => or_nil(Of(http_passwords_file)),
        rules => Of(http_access_rules),
        reload_interval_ms => Of(http_reload_interval_ms),
        failures_per_minute => Of(http_auth_failures_per_minute),
        handshake_timeout_ms => Of(http_tls_handshake_timeout_ms),
        max_handshakes => Of(http_tls_max_handshakes)
    }.

%% @doc Whether clients are asked who they are, and nobody can listen in.
-spec is_closed(erlmcp_instrumentation_config:config()) -> boolean().
is_closed(#{http_tls_cert_file := Certificate, http_tls_client_ca_file := Authority,
            http_tokens_file := Tokens, http_passwords_file := Passwords}) ->
    Certificate =/= off
        andalso lists:any(fun(File) -> File =/= off end, [Authority, Tokens, Passwords]).

%% @doc What one setting alone cannot tell.
-spec check(erlmcp_instrumentation_config:config()) ->
    {ok, erlmcp_instrumentation_config:config()} | {error, erlmcp_instrumentation_config:error()}.
check(#{http_tls_cert_file := off, http_tls_key_file := Key}) when Key =/= off ->
    missing(http_tls_cert_file, <<"the certificate of http_tls_key_file">>);
check(#{http_tls_cert_file := File, http_tls_key_file := off}) when File =/= off ->
    missing(http_tls_key_file, <<"the key of http_tls_cert_file">>);
check(#{http_tls_cert_file := off, http_tls_client_ca_file := File}) when File =/= off ->
    missing(http_tls_cert_file,
            <<"a certificate of the server's, without which no client can show its own "
              "(http_tls_client_ca_file)">>);
check(Config) ->
    {ok, Config}.

%% Internals

-spec missing(erlmcp_instrumentation_config:key(), binary()) ->
    {error, erlmcp_instrumentation_config:error()}.
missing(Key, Expected) ->
    {error, {bad_config, Key, off, Expected}}.

-spec tls() -> [erlmcp_instrumentation_config:entry()].
tls() ->
    [entry(http_tls_cert_file, file(), off, none,
           <<"A PEM file with the HTTP server's certificate and those between it and its "
             "authority. With it and http_tls_key_file both ports speak HTTPS and nothing "
             "else.">>),
     entry(http_tls_key_file, file(), off, none,
           <<"A PEM file with the private key of http_tls_cert_file, not encrypted.">>),
     entry(http_tls_client_ca_file, file(), off, none,
           <<"A PEM file with the authorities whose client certificates are accepted. Clients "
             "are asked for one; those that show none may ask for open paths, or show another "
             "credential.">>),
     entry(http_tls_min_version,
           {choice, [{'tlsv1.2', "tlsv1.2"}, {'tlsv1.3', "tlsv1.3"}]}, 'tlsv1.2', none,
           <<"The oldest version of TLS that is spoken.">>),
     entry(http_tls_handshake_timeout_ms, {integer, 1, ?MAX_MILLISECONDS}, 5000, milliseconds,
           <<"How long a TLS handshake may take.">>),
     entry(http_tls_max_handshakes, {integer, 1, 65536}, 64, connections,
           <<"TLS handshakes that are under way at once; one more ends the oldest.">>)].

-spec clients() -> [erlmcp_instrumentation_config:entry()].
clients() ->
    [entry(http_tokens_file, file(), off, none,
           <<"A file of bearer tokens: a line with a name and sha256:DIGEST for each.">>),
     entry(http_passwords_file, file(), off, none,
           <<"A file of names and bcrypt hashes of passwords, as htpasswd -B writes it.">>),
     entry(http_access_rules, access_rules, [], none,
           <<"Who may ask for paths that begin in some way; the longest beginning counts. Once "
             "there are tokens, passwords or client authorities, the health pages (/health, "
             "/live, /ready, /readiness, /startup) are open and everything else is for the "
             "authenticated, unless a rule here says otherwise. See docs/security.md.">>),
     entry(http_reload_interval_ms, {integer, 10, ?MAX_MILLISECONDS}, 10000, milliseconds,
           <<"How often the files of certificates, tokens and passwords are looked at; what has "
             "changed is taken without a restart.">>)].

-spec limits() -> [erlmcp_instrumentation_config:entry()].
limits() ->
    [entry(http_auth_failures_per_minute, {integer, 1, 1000000}, 10, none,
           <<"Wrong credentials that one peer (an IPv4 address, a /64 network of IPv6) may show "
             "in a minute; beyond, it is answered with 429.">>),
     entry(http_max_connections_per_peer, {integer, 1, 65536}, 64, connections,
           <<"Connections of one peer that are served at once. Beyond this, and beyond "
             "http_max_connections, only health probes are answered, from a reserve.">>),
     entry(http_min_send_rate, {integer, 1, 1073741824}, 16384, bytes,
           <<"Bytes a second that a client has to take of a response on average, once "
             "http_write_timeout_ms has passed; a slower one is cut.">>)].

-spec file() -> erlmcp_instrumentation_setting_type:type().
file() -> {optional, off, path}.

-spec or_nil(off | Value) -> nil | Value.
or_nil(off) -> nil;
or_nil(Value) -> Value.
