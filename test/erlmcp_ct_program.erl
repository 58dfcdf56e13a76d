%% Programs that tests start: they run until they are stopped, or until this node
%% ends, however it does.
-module(erlmcp_ct_program).

-export([start/2, start_and_read_line/2, stop/1]).
-export([run/1]).
-export([free_port/0, await_port/1]).

-define(START_MS, 30000).
-define(STOP_MS, 10000).

%% Starts a program whose output goes to a file. It belongs to a process of its
%% own: init_per_suite runs in one that ends before the tests. The shell ends the
%% program when its own input ends.
start([Executable | _] = Command, Log) ->
    true = filelib:is_regular(Executable),
    Script = "log=$1; shift; \"$@\" >\"$log\" 2>&1 </dev/null & cat >/dev/null; kill $!; wait",
    {Owner, _Line} = own(["-c", Script, "sh", Log | Command], no),
    Owner.

%% As start/2 for one that writes a line when it is ready and ends when its input
%% does; what it says as an error goes to the file.
start_and_read_line([Executable | _] = Command, Log) ->
    true = filelib:is_regular(Executable),
    Script = "log=$1; shift; exec \"$@\" 2>\"$log\"",
    own(["-c", Script, "sh", Log | Command], yes).

%% Runs a program to its end, and returns what it says; one that fails is an error.
run([Executable | Arguments]) ->
    Port = open_port({spawn_executable, Executable},
                     [{args, Arguments}, binary, exit_status, stderr_to_stdout, hide]),
    said(Port, []).

said(Port, Parts) ->
    receive
        {Port, {data, Part}} -> said(Port, [Parts | Part]);
        {Port, {exit_status, 0}} -> iolist_to_binary(Parts);
        {Port, {exit_status, Status}} -> error({failed, Status, iolist_to_binary(Parts)})
    after ?START_MS ->
        try port_close(Port) catch error:badarg -> true end,
        error({does_not_end, iolist_to_binary(Parts)})
    end.

stop(Owner) ->
    Monitor = monitor(process, Owner),
    Owner ! stop,
    receive {'DOWN', Monitor, process, Owner, _} -> ok
    after ?STOP_MS -> error({does_not_stop, Owner})
    end.

own(Arguments, ReadsLine) ->
    Caller = self(),
    {Owner, Monitor} = spawn_monitor(fun() ->
        Port = open_port({spawn_executable, "/bin/sh"},
                         [{args, Arguments}, {line, 65536}, binary, exit_status]),
        Line = case ReadsLine of
            no -> none;
            yes -> receive {Port, {data, {eol, Read}}} -> Read;
                           {Port, {exit_status, Status}} -> exit({ended, Status, Arguments})
                   end
        end,
        Caller ! {self(), Line},
        hold(Port)
    end),
    receive
        {Owner, Line} -> demonitor(Monitor, [flush]), {Owner, Line};
        {'DOWN', Monitor, process, Owner, Reason} -> error(Reason)
    after ?START_MS ->
        exit(Owner, kill),
        error({says_nothing, Arguments})
    end.

hold(Port) ->
    receive
        stop -> try port_close(Port), ok catch error:badarg -> ok end;
        {Port, {exit_status, _}} -> ok;
        {Port, {data, _}} -> hold(Port)
    end.

%% Below the ports that the system gives to connections: one of those could be
%% taken before the program listens.
free_port() ->
    Port = 20000 + rand:uniform(10000),
    case gen_tcp:listen(Port, [{ip, {127, 0, 0, 1}}]) of
        {ok, Socket} -> ok = gen_tcp:close(Socket), Port;
        {error, _} -> free_port()
    end.

await_port(Port) ->
    erlmcp_ct_load:until(fun() ->
        case gen_tcp:connect({127, 0, 0, 1}, Port, [], 1000) of
            {ok, Socket} -> gen_tcp:close(Socket) =:= ok;
            {error, _} -> false
        end
    end).
