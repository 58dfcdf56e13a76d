%% Makes the generated reference pages from the code that they describe.
%% scripts/generate-docs.sh compiles and calls it.
-module(erlmcp_docs).

-export([main/1]).

%% Writes the pages below a folder; with `check', compares and exits with 1 if
%% one is out of date.
-spec main([string()]) -> no_return().
main(["write", Dir]) ->
    [ok = file:write_file(filename:join(Dir, Name), Text) || {Name, Text} <- pages()],
    halt(0);
main(["check", Dir]) ->
    Stale = [Name || {Name, Text} <- pages(),
                     file:read_file(filename:join(Dir, Name)) =/= {ok, Text}],
    [io:format(standard_error, "docs/~ts is out of date: run scripts/generate-docs.sh~n", [Name])
     || Name <- Stale],
    halt(length(Stale)).

-spec pages() -> [{file:filename(), binary()}].
pages() ->
    [{"configuration.md", configuration()}].

-spec configuration() -> binary().
configuration() ->
    unicode:characters_to_binary([
        "# Configuration\n\n"
        "<!-- Made by scripts/generate-docs.sh from erlmcp_instrumentation_config:spec/0. -->\n\n"
        "Each setting is read when the application starts: the environment variable wins over the\n"
        "application environment, which wins over the default. An empty variable counts as not set.\n"
        "A value that is not legal stops the start with a message that names the setting, the value\n"
        "and what is expected; the values of headers are never shown.\n\n"
        "```erlang\n"
        "[{erlmcp_instrumentation, [\n"
        "    {http_ip, \"0.0.0.0\"},\n"
        "    {series_limit, 5000}\n"
        "]}].\n"
        "```\n\n"
        "```sh\n"
        "ERLMCP_HTTP_IP=0.0.0.0 ERLMCP_SERIES_LIMIT=5000 bin/my_release foreground\n"
        "OTEL_SERVICE_NAME=mcp OTEL_EXPORTER_OTLP_ENDPOINT=http://collector:4318 bin/my_release foreground\n"
        "```\n",
        [entry(Entry) || Entry <- erlmcp_instrumentation_config:spec()]
    ]).

-spec entry(erlmcp_instrumentation_config:entry()) -> iodata().
entry(#{key := Key, variable := Variable, type := Type, default := Default,
        unit := Unit, doc := Doc}) ->
    io_lib:format(
        "~n## `~ts`~n~n~ts~n~n- variable: `~ts`~n- default: `~ts`~ts~n- legal: ~ts~n",
        [Key, Doc, Variable, default(Default), unit(Unit),
         erlmcp_instrumentation_config:expected(Type)]).

-spec default(term()) -> iodata().
default(Default) -> io_lib:format("~0tp", [Default]).

-spec unit(atom()) -> iodata().
unit(none) -> "";
unit(Unit) -> [" ", atom_to_list(Unit)].
