%% Work by many processes at once, and waiting for what comes of it.
-module(erlmcp_ct_load).

-export([together/2, pinned/2]).
-export([until/1, until/2]).

%% Waits until a condition holds, a minute or the given seconds: longer than a busy
%% machine takes, to end what hangs.
until(Condition) ->
    until(Condition, 60).

until(Condition, Seconds) ->
    until_before(Condition, erlang:monotonic_time(millisecond) + Seconds * 1000).

until_before(Condition, Deadline) ->
    case Condition() of
        true ->
            ok;
        false ->
            erlang:monotonic_time(millisecond) < Deadline orelse error(condition_never_held),
            timer:sleep(10),
            until_before(Condition, Deadline)
    end.

%% What Fun returns on a scheduler of the test's choice; cells belong to
%% schedulers. The option is not documented and has been there since R11.
pinned(Scheduler, Fun) ->
    Caller = self(),
    Ref = make_ref(),
    {_, Monitor} = spawn_opt(fun() -> Caller ! {Ref, Fun()} end,
                             [monitor, {scheduler, Scheduler}]),
    receive
        {Ref, Result} ->
            demonitor(Monitor, [flush]),
            Result;
        {'DOWN', Monitor, process, _, Reason} ->
            error(Reason)
    end.

%% Runs Fun(N) for N from 1 to Count in processes that begin together; the
%% results in the order of N. A process that ends otherwise ends the test.
together(Count, Fun) ->
    Caller = self(),
    Run = fun(N) -> fun() -> receive begin_now -> Caller ! {self(), Fun(N)} end end end,
    Processes = [spawn_monitor(Run(N)) || N <- lists:seq(1, Count)],
    [Pid ! begin_now || {Pid, _} <- Processes],
    [receive
         {Pid, Result} ->
             demonitor(Monitor, [flush]),
             Result;
         {'DOWN', Monitor, process, Pid, Reason} ->
             error({process_ended, Reason})
     end || {Pid, Monitor} <- Processes].
