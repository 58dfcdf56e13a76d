%% @doc The guide's application, made of its own blocks: what Prometheus scrapes,
%% Promtail reads and the Collector takes while the other blocks are tried.
%%
%% Files of the folder in GUIDE_FOLDER: application.erl, request.erl and log.erl are
%% blocks as they stand in the guide, *.beam the rest of the example application.
%% Prints "ready", handles a request every 100 ms, and ends with its standard input.
-module(erlmcp_guide_node).

-export([main/0]).

-spec main() -> no_return().
main() ->
    Folder = os:getenv("GUIDE_FOLDER"),
    true = code:add_patha(Folder),
    Block = fun(Name) ->
        {ok, Text} = file:read_file(filename:join(Folder, Name)),
        string:trim(Text)
    end,
    ok = logger:set_primary_config(level, info),
    {ok, _} = application:ensure_all_started(erlmcp_instrumentation),
    load(Block("application.erl")),
    {ok, _} = erlmcp_app:start(normal, []),
    load(["-module(guide_handler).\n",
          "-import(erlmcp_otel_instrumentation, [trace_request/2]).\n",
          "handle(Req) ->\n", Block("request.erl"), "\n",
          "process_request(Req) -> {processed, Req}.\n"]),
    load(["-module(guide_log).\n",
          "log(ReqId, Status, Duration) ->\n", Block("log.erl"), "\n"]),
    spawn_link(fun() -> work(1) end),
    io:put_chars("ready\n"),
    eof = io:get_line(""),
    init:stop().

work(Number) ->
    Request = #{method => <<"ping">>, request_id => Number},
    {processed, Request} = guide_handler:handle(Request),
    ok = guide_log:log(Number, success, 2),
    timer:sleep(100),
    work(Number + 1).

load(Text) ->
    {ok, Tokens, _} = erl_scan:string(binary_to_list(iolist_to_binary(Text))),
    {ok, Module, Beam} = compile:forms(forms(Tokens, []), [export_all, nowarn_export_all]),
    {module, Module} = code:load_binary(Module, "the guide", Beam).

forms([], []) ->
    [];
forms([{dot, _} = Dot | Tokens], Form) ->
    {ok, Parsed} = erl_parse:parse_form(lists:reverse([Dot | Form])),
    [Parsed | forms(Tokens, [])];
forms([Token | Tokens], Form) ->
    forms(Tokens, [Token | Form]).
