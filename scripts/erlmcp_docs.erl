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
    [{"configuration.md", configuration()}, {"metric-catalogue.md", catalogue()}].

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

-spec catalogue() -> binary().
catalogue() ->
    unicode:characters_to_binary([
        "# Metric catalogue\n\n"
        "<!-- Made by scripts/generate-docs.sh from erlmcp_metrics_catalogue:all/0. -->\n\n"
        "The metrics of an MCP server and of this library. `erlmcp_mcp_metrics` records them by\n"
        "functions ([metrics.md](metrics.md#what-an-mcp-server-does)); those of requests are recorded by\n"
        "`erlmcp_otel_instrumentation:trace_request/2`, those of the library are told at each scrape. The\n"
        "figures of the VM are in [vm-metrics.md](vm-metrics.md).\n\n"
        "A metric is shown from its first series on; one that has none is not shown at all, not even\n"
        "its type. Ratios, quantiles and other computed figures are no metrics: compute them in queries.\n"
        "An up-down counter is shown with the type gauge. The unit of a name's end is that of its values.\n",
        [section(Section, Title) || {Section, Title} <- erlmcp_metrics_catalogue:sections()]
    ]).

-spec section(erlmcp_metrics_catalogue:section(), binary()) -> iodata().
section(Section, Title) ->
    Metrics = [Metric || #{section := Of} = Metric <- erlmcp_metrics_catalogue:all(), Of =:= Section],
    ["\n## ", Title, "\n\n| name | kind | unit | labels | |\n|---|---|---|---|---|\n",
     [["| `", atom_to_binary(Name), "` | ", kind(Kind), " | ", unit_word(Unit), " | ",
       lists:join(", ", [["`", atom_to_binary(Label), "`"] || Label <- Labels]), " | ",
       Help, buckets(Buckets), " |\n"]
      || #{name := Name, kind := Kind, unit := Unit, labels := Labels, help := Help,
           buckets := Buckets} <- Metrics]].

-spec kind(atom()) -> iodata().
kind(up_down_counter) -> "up-down counter";
kind(Kind) -> atom_to_binary(Kind).

-spec unit_word(binary() | none) -> iodata().
unit_word(none) -> "";
unit_word(Unit) -> Unit.

-spec buckets([number()] | default | none) -> iodata().
buckets([_ | _] = Bounds) -> [" Buckets: ", lists:join(", ", [io_lib:format("~p", [B]) || B <- Bounds]), "."];
buckets(_) -> "".
