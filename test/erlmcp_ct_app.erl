%% Runs the application for a test: on free ports, with limits that metrics left
%% behind by other suites do not reach. Names given out here are used once.
-module(erlmcp_ct_app).

-export([start/0, start/1, try_start/1, stop/0]).
-export([name/1, forget/0]).
-export([port/0, get/1, get/2]).
-export([quiet/0, loud/0]).

-define(APPLICATION, erlmcp_instrumentation).

%% Restarts the application with the defaults below.
start() ->
    start(#{}).

start(Env) ->
    {ok, _} = try_start(Env),
    ok.

%% As start/1, with what ensure_all_started answers.
try_start(Env) ->
    stop(),
    _ = application:load(?APPLICATION),
    Free = #{http_port => 0, custom_port => 0},
    Wide = #{metrics_limit => 1000000, node_series_limit => 4000000},
    maps:foreach(fun(Key, Value) -> ok = application:set_env(?APPLICATION, Key, Value) end,
                 maps:merge(maps:merge(Free, Wide), Env)),
    application:ensure_all_started(?APPLICATION).

stop() ->
    _ = application:stop(?APPLICATION),
    [application:unset_env(?APPLICATION, Key)
     || #{key := Key} <- erlmcp_instrumentation_config:spec()],
    ok.

%% The registry lives as long as the VM: no two tests may share a name.
name(Prefix) ->
    Number = integer_to_binary(erlang:unique_integer([positive])),
    iolist_to_binary([Prefix, "_", Number]).

%% Removes what the application has recorded, so that the scrapes of other
%% suites are short.
forget() ->
    Scrape = erlmcp_metrics:scrape(text, application),
    case re:run(Scrape, "^# TYPE (.*) ", [global, multiline, {capture, all_but_first, binary}]) of
        {match, Names} -> lists:foreach(fun([Name]) -> erlmcp_metrics:remove(Name) end, Names);
        nomatch -> ok
    end.

port() ->
    [{_Ip, Port} | _] = erlmcp_instrumentation:http_addresses(),
    Port.

%% A GET of its own connection: {Status, Headers, Body}, header names in lower
%% case.
get(Path) ->
    get(Path, []).

get(Path, Headers) ->
    {ok, _} = application:ensure_all_started(inets),
    Url = "http://127.0.0.1:" ++ integer_to_list(port()) ++ Path,
    {ok, {{_, Status, _}, Answered, Body}} =
        httpc:request(get, {Url, [{"connection", "close"} | Headers]}, [{timeout, 30000}],
                      [{body_format, binary}]),
    {Status, Answered, Body}.

%% Keeps this application's log lines off the console. What a test counts comes
%% through a handler of its own.
quiet() ->
    Filter = {fun logger_filters:domain/2, {stop, sub, [erlmcp]}},
    _ = logger:add_handler_filter(default, ?MODULE, Filter),
    ok.

loud() ->
    _ = logger:remove_handler_filter(default, ?MODULE),
    ok.
