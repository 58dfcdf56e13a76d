%% Log lines read by Python: test/oracle/log_lines.py, and Promtail's pipeline,
%% test/oracle/promtail.py.
-module(erlmcp_ct_lines).

-export([open/0, close/1]).
-export([read/2, read/3, event/3]).
-export([pipeline/1]).

-define(TIMEOUT_MS, 30000).

%% A reader for the calling process.
open() ->
    open_port({spawn_executable, erlmcp_ct_receiver:python()},
              [{args, ["-B", "-u", script("log_lines.py")]}, {packet, 4}, binary, exit_status]).

close(Reader) ->
    try port_close(Reader) catch error:badarg -> true end.

%% What a line says: {ok, #{<<"level">> => <<"info">>, ...}}, or what is wrong
%% with it.
read(Reader, Line) ->
    read(Reader, Line, 65536).

read(Reader, Line, MaxBytes) ->
    true = port_command(Reader, [<<MaxBytes:32>>, Line]),
    receive
        {Reader, {data, Answer}} -> binary_to_term(Answer);
        {Reader, {exit_status, Status}} -> error({reader_ended, Status})
    after ?TIMEOUT_MS ->
        error(reader_is_silent)
    end.

%% An event as logger makes it.
event(Level, Message, Meta) ->
    #{level => Level, msg => Message,
      meta => maps:merge(#{time => erlang:system_time(microsecond), pid => self(),
                           gl => group_leader()}, Meta)}.

%% The entries that Promtail would make of files: by <<"app,level">>.
pipeline(Files) ->
    Output = erlmcp_ct_program:run([erlmcp_ct_receiver:python(), "-B", script("promtail.py") | Files]),
    {match, [Streams]} = re:run(Output, "\"streams\": \\{(.*?)\\}", [{capture, all_but_first, binary}]),
    {match, [Traces]} = re:run(Output, "\"traces\": ([0-9]+)", [{capture, all_but_first, binary}]),
    Found = case re:run(Streams, "\"(.*?)\": ([0-9]+)", [global, {capture, all_but_first, binary}]) of
        {match, Pairs} -> Pairs;
        nomatch -> []
    end,
    {maps:from_list([{Name, binary_to_integer(Count)} || [Name, Count] <- Found]),
     binary_to_integer(Traces)}.

script(Name) ->
    filename:join([erlmcp_ct_oracle:root(), "test", "oracle", Name]).
