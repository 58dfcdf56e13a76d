%% Health probes over HTTP, their answers read by Python (test/oracle).
-module(erlmcp_ct_health).

-export([open/0, close/1]).
-export([get/2, get/3]).
-export([status/1, state/2, detail/2]).

-define(TIMEOUT_MS, 20000).

%% The Python process. Whoever opens it may use it, and it ends with that one.
open() ->
    {ok, _} = application:ensure_all_started(inets),
    Python = filename:join([erlmcp_ct_oracle:tools(), "venv", "bin", "python"]),
    filelib:is_regular(Python) orelse error({missing, Python, "run scripts/setup.sh test"}),
    Script = filename:join([erlmcp_ct_oracle:root(), "test", "oracle", "health_answer.py"]),
    open_port({spawn_executable, Python},
              [{args, ["-B", "-u", Script]}, {line, 1048576}, binary, exit_status]).

close(Oracle) ->
    try port_close(Oracle) catch error:badarg -> true end.

%% What a page says: its code, and the answer as a map. An answer that breaks a
%% rule ends the test.
get(Oracle, Url) ->
    get(Oracle, Url, []).

get(Oracle, Url, Headers) ->
    {ok, {{_, Code, _}, Answered, Body}} =
        httpc:request(get, {Url, [{"connection", "close"} | Headers]}, [{timeout, ?TIMEOUT_MS}],
                      [{body_format, binary}]),
    "application/json" = proplists:get_value("content-type", Answered),
    true = port_command(Oracle, [integer_to_list(Code), " ", base64:encode(Body), "\n"]),
    receive
        {Oracle, {data, {eol, Line}}} -> {Code, read(binary:split(Line, <<"\t">>, [global]), Body)};
        {Oracle, {exit_status, Status}} -> error({oracle_ended, Status})
    after ?TIMEOUT_MS ->
        error({oracle_is_silent, Body})
    end.

read([<<"ok">>, Status, Version, Node | Checks], _Body) ->
    #{status => Status, version => base64:decode(Version), node => base64:decode(Node),
      checks => maps:from_list(checks(Checks))};
read([<<"bad">>, Reason], Body) ->
    error({bad_answer, base64:decode(Reason), Body}).

checks([Name, Status, Critical, Detail | Rest]) ->
    Text = case Detail of
        <<"-">> -> none;
        _ -> base64:decode(Detail)
    end,
    [{base64:decode(Name), {Status, Critical, Text}} | checks(Rest)];
checks([]) ->
    [].

status({Code, #{status := Status}}) ->
    {Code, Status}.

state(Name, {_Code, #{checks := Checks}}) ->
    case Checks of
        #{Name := {Status, _, _}} -> Status;
        #{} -> none
    end.

detail(Name, {_Code, #{checks := Checks}}) ->
    {_, _, Detail} = maps:get(Name, Checks),
    Detail.
