%% Real Prometheus servers.
-module(erlmcp_ct_prometheus).

-export([versions/0, executable/1, with/5]).

%% Those that tests run: the one that is installed, and what scripts/fetch-debian.sh
%% fetches.
versions() ->
    [installed, v2_53, v3_5].

%% `{skip, Why}' if it is not here.
executable(Version) ->
    case found(Version) of
        false -> {skip, lists:concat(["no Prometheus ", Version, ": run scripts/fetch-debian.sh"])};
        Executable -> {ok, Executable}
    end.

found(installed) -> os:find_executable("prometheus");
found(v2_53) -> fetched("prometheus-2.53.*");
found(v3_5) -> fetched("prometheus-3.5.*").

fetched(Pattern) ->
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
