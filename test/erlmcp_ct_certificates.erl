%% Certificates for tests, as PEM files: a server for localhost and 127.0.0.1, a
%% client, and a CA for each.
-module(erlmcp_ct_certificates).

-include_lib("public_key/include/public_key.hrl").

-export([write/1]).

%% The files' names: server_ca, server_cert, server_key, client_ca, client_cert,
%% client_key. server_ca is what a client trusts.
write(Dir) ->
    %% The default digest is SHA-1. No curves: OTP 25 writes one down as a parameter
    %% of ECDSA signatures, which RFC 5758 forbids and rustls refuses.
    Key = [{key, {rsa, 2048, 65537}}, {digest, sha256}],
    Names = #'Extension'{
        extnID = ?'id-ce-subjectAltName',
        extnValue = [{dNSName, "localhost"}, {iPAddress, <<127, 0, 0, 1>>}],
        critical = false
    },
    Server = #{root => Key, intermediates => [], peer => [{extensions, [Names]} | Key]},
    Client = #{root => Key, intermediates => [], peer => Key},
    #{server_config := ServerConfig, client_config := ClientConfig} =
        public_key:pkix_test_data(#{server_chain => Server, client_chain => Client}),
    maps:from_list(
        pair(Dir, "server", ServerConfig) ++ pair(Dir, "client", ClientConfig) ++
        %% Each side's configuration has the other's CA.
        [pem(Dir, "server_ca", authorities(ClientConfig)),
         pem(Dir, "client_ca", authorities(ServerConfig))]).

pair(Dir, Who, Config) ->
    {Type, Der} = proplists:get_value(key, Config),
    [pem(Dir, Who ++ "_cert", [{'Certificate', proplists:get_value(cert, Config), not_encrypted}]),
     pem(Dir, Who ++ "_key", [{Type, Der, not_encrypted}])].

authorities(Config) ->
    [{'Certificate', Der, not_encrypted} || Der <- proplists:get_value(cacerts, Config)].

pem(Dir, Name, Entries) ->
    File = filename:join(Dir, Name ++ ".pem"),
    ok = file:write_file(File, public_key:pem_encode(Entries)),
    {list_to_atom(Name), File}.
