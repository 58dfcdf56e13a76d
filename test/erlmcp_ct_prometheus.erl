%% Real Prometheus servers.
-module(erlmcp_ct_prometheus).

-export([executable/1, with/5]).

%% The one that is installed, or the newest of those that scripts/fetch-debian.sh
%% has fetched whose folder is named so; `false' if there is none.
executable(installed) ->
    os:find_executable("prometheus");
executable(Pattern) ->
    case filelib:wildcard(filename:join([erlmcp_ct_oracle:tools(), Pattern, "prometheus"])) of
        [] -> false;
        Found -> lists:last(Found)
    end.

%% Calls Test with the URL of a server that is ready. Port and data are its own:
%% one that was stopped may need a moment to its end.
with(Executable, Folder, Configuration, Flags, Test) ->
    {ok, _} = application:ensure_all_started(inets),
    Dir = filename:join(Folder, lists:concat(["prometheus_", erlang:unique_integer([positive])])),
    ok = file:make_dir(Dir),
    Yml = filename:join(Dir, "prometheus.yml"),
    Log = filename:join(Dir, "prometheus.log"),
    ok = file:write_file(Yml, Configuration),
    Listen = "127.0.0.1:" ++ integer_to_list(erlmcp_ct_program:free_port()),
    Url = "http://" ++ Listen,
    Program = erlmcp_ct_program:start(
        [Executable, "--config.file=" ++ Yml, "--storage.tsdb.path=" ++ filename:join(Dir, "data"),
         "--web.listen-address=" ++ Listen | Flags], Log),
    try
        erlmcp_ct_load:until(fun() -> is_ready(Url) end),
        Test(Url)
    catch
        Class:Reason:Stack ->
            {ok, Text} = file:read_file(Log),
            ct:pal(error, "Prometheus' log:~n~ts", [Text]),
            erlang:raise(Class, Reason, Stack)
    after
        erlmcp_ct_program:stop(Program)
    end.

is_ready(Url) ->
    case httpc:request(Url ++ "/-/ready") of
        {ok, {{_, 200, _}, _, _}} -> true;
        _ -> false
    end.
