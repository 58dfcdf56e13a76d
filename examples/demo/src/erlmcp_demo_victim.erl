%% @doc A session that is killed in the middle of a request: its spans must not be
%% lost.
%%
%% It hangs in a tool until its client, who has waited long enough, kills it, as a
%% watchdog or an operator would. Nothing of the session's own code runs then; the
%% library ends and exports the spans that were open, and counts the request.
-module(erlmcp_demo_victim).

-export([start/1]).
-export([await/2]).

-define(PATIENCE_MS, 400).
-define(OPTIONS, #{session_type => agent, transport => stdio, idle_timeout_ms => 60000}).

%% @doc After a while, starts a session, has it hang, and kills it, in a process of
%% its own.
-spec start(DelayMs :: non_neg_integer()) -> reference().
start(DelayMs) ->
    {_Pid, Monitor} = spawn_monitor(fun() -> timer:sleep(DelayMs), run() end),
    Monitor.

%% @doc Waits until that is done.
-spec await(reference(), TimeoutMs :: pos_integer()) -> ok | {error, term()}.
await(Monitor, TimeoutMs) ->
    receive
        {'DOWN', Monitor, process, _Pid, normal} -> ok;
        {'DOWN', Monitor, process, _Pid, Reason} -> {error, Reason}
    after TimeoutMs ->
        {error, timeout}
    end.

-spec run() -> ok.
run() ->
    process_flag(trap_exit, true),
    Started = erlang:monotonic_time(),
    {ok, Session} = erlmcp_demo_session:start_link(?OPTIONS),
    erlmcp_demo_tally:session(),
    hang(Session),
    erlmcp_demo_session:ended(killed, ?OPTIONS, Started).

%% A quota that is used up answers at once: then it asks again.
-spec hang(pid()) -> ok.
hang(Session) ->
    Method = <<"tools/call">>,
    {ok, Patience} = timer:kill_after(?PATIENCE_MS, Session),
    try erlmcp_demo_transport:request(Session, Method, #{name => <<"deep_research">>}) of
        {error, quota_exceeded} ->
            erlmcp_demo_tally:request(Method, error),
            {ok, cancel} = timer:cancel(Patience),
            timer:sleep(50),
            hang(Session)
    catch
        exit:{killed, {gen_server, call, _}} ->
            erlmcp_demo_tally:request(Method, error)
    end.
