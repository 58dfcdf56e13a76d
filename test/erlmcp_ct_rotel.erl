%% rotel, an OTLP collector written in Rust: the program in PyPI's package of
%% that name. It has no file to write to; what it takes it passes on to the
%% strict receiver, or to nobody.
-module(erlmcp_ct_rotel).

-export([executable/0]).
-export([start/2, stop/1]).
-export([url/2]).

%% The program, or the reason to skip. It is linked with the Python library of
%% the version that its wheel is for.
executable() ->
    Pattern = filename:join([erlmcp_ct_oracle:tools(), "venv", "lib", "python*", "site-packages",
                             "rotel", "rotel-agent"]),
    case filelib:wildcard(Pattern) of
        [] -> {skip, "no rotel: there is no wheel of it for this system's Python"};
        [Path | _] -> runs(Path, os:cmd("'" ++ Path ++ "' --version 2>&1"))
    end.

runs(Path, "rotel " ++ _Version) -> {ok, Path};
runs(_Path, Said) -> {skip, "rotel does not run: " ++ string:trim(Said)}.

%% Options: to => a receiver of erlmcp_ct_receiver or nobody (the default). It
%% passes on over gRPC, plain, at the latest after 50 ms. There is no TLS at its
%% doors.
start(Dir, Options) ->
    {ok, Executable} = executable(),
    [Grpc, Http] = [erlmcp_ct_program:free_port() || _ <- [grpc, http]],
    Name = filename:join(Dir, lists:concat(["rotel-", erlang:unique_integer([positive])])),
    Listen = fun(Port) -> "127.0.0.1:" ++ integer_to_list(Port) end,
    Owner = erlmcp_ct_program:start(
        [Executable, "start",
         "--otlp-grpc-endpoint", Listen(Grpc), "--otlp-http-endpoint", Listen(Http),
         "--pid-file", Name ++ ".pid", "--log-file", Name ++ ".own.log", "--batch-timeout", "50ms"
         | exporter(maps:get(to, Options, nobody))], Name ++ ".log"),
    [erlmcp_ct_program:await_port(Port) || Port <- [Grpc, Http]],
    #{owner => Owner, grpc => Grpc, http => Http}.

exporter(nobody) ->
    ["--exporter", "blackhole"];
exporter(Receiver) ->
    ["--exporter", "otlp", "--otlp-exporter-protocol", "grpc", "--otlp-exporter-compression", "none",
     "--otlp-exporter-endpoint", erlmcp_ct_receiver:url(Receiver, grpc)].

stop(#{owner := Owner}) ->
    erlmcp_ct_program:stop(Owner).

url(Rotel, Protocol) ->
    lists:concat(["http://127.0.0.1:", maps:get(Protocol, Rotel)]).
