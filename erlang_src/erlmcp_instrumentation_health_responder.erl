%% @private The process that answers the native server's health probes.
%%
%% Gets `{erlmcp_health_request, Id, Probe}' and answers by
%% `erlmcp_instrumentation_nif:health_reply/4'. That it answers in time is what
%% liveness means, so it does nothing that could keep it: no call, no dirty
%% scheduler, no handler of the logger, no function of a user. It runs at
%% priority max, which Erlang/OTP keeps for itself: a node whose run queues are
%% long, or full of processes of priority high, is busy and not dead, and what is
%% done here for a probe takes microseconds.
%%
%% Checks run in processes of their own, each at most once at a time. A probe
%% waits a while for those that run; those that are not done by then are shown
%% with their last result. So a probe is answered in time however long a check
%% may take, and one that hangs holds two processes until its own time-out.
-module(erlmcp_instrumentation_health_responder).

-behaviour(gen_server).

%% API
-export([start_link/1]).
-export([refresh/0]).
-export([report/1]).

%% gen_server callbacks
-export([init/1]).
-export([handle_call/3]).
-export([handle_cast/2]).
-export([handle_info/2]).

-export_type([probe/0]).
-export_type([item/0]).

-type probe() :: health | live | ready | startup.
-type name() :: erlmcp_instrumentation_health_registry:name().
-type item() :: {name(), Healthy :: boolean(), Critical :: boolean(), Detail :: binary(),
                 DurationUs :: non_neg_integer() | nil, AgeMs :: non_neg_integer() | nil}.
-type asker() :: Id :: non_neg_integer() | gen_server:from().

-record(check, {
    ref :: reference(),
    options :: erlmcp_instrumentation_health_registry:options(),
    %% Ending: has its result, and its process has not ended yet.
    running :: {pid(), SinceMs :: integer() | ending} | undefined,
    result :: erlmcp_instrumentation_health_check:result() | undefined,
    %% When changes were first logged in this minute, how many were, how many not.
    logged = {0, 0, 0} :: {integer(), non_neg_integer(), non_neg_integer()}
}).

-record(waiter, {asker :: asker(), probe :: probe(), for :: [name()]}).

-record(state, {
    checks = #{} :: #{name() => #check{}},
    runs = #{} :: #{pid() => name()},
    waiters = #{} :: #{Timer :: reference() => #waiter{}},
    wait_ms :: pos_integer(),
    timeout_ms :: pos_integer(),
    cache_ms :: non_neg_integer(),
    max_age_ms :: pos_integer()
}).

-define(NIF, erlmcp_instrumentation_nif).
-define(REGISTRY, erlmcp_instrumentation_health_registry).
-define(CHECK, erlmcp_instrumentation_health_check).
-define(METRICS, erlmcp_instrumentation_health_metrics).
-define(LOG, erlmcp_instrumentation_health_log).

-define(IS_ID(Id), (is_integer(Id) andalso Id >= 0 andalso Id < 1 bsl 64)).
-define(IS_PROBE(Probe), (Probe =:= health orelse Probe =:= live orelse Probe =:= ready
                          orelse Probe =:= startup)).
-define(CALL_TIMEOUT_MS, 70000).
-define(REFRESH_TIMEOUT_MS, 5000).
%% How often it is asked whether the node has started, and how long the first
%% answer is waited for.
-define(BOOT_INTERVAL_MS, 50).
-define(BOOT_WAIT_MS, 200).
%% Changes of a check that are logged in a minute.
-define(LOG_WINDOW_MS, 60000).
-define(LOG_BURST, 6).

%% API

%% @doc Starts the process and registers it with the native side.
-spec start_link(erlmcp_instrumentation_config:config()) -> gen_server:start_ret().
start_link(Config) ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, Config, []).

%% @doc Has the process read which checks are registered. When this is back,
%% nothing more is recorded of checks that no longer are.
-spec refresh() -> ok.
refresh() ->
    try
        gen_server:call(?MODULE, refresh, ?REFRESH_TIMEOUT_MS)
    catch
        %% It reads them when it starts.
        exit:_ -> ok
    end.

%% @doc What a probe is told; with {@link probe()} `live' nothing.
-spec report(probe()) -> {ok, [item()]} | {error, not_running}.
report(Probe) ->
    try
        gen_server:call(?MODULE, {report, Probe}, ?CALL_TIMEOUT_MS)
    catch
        exit:_ -> {error, not_running}
    end.

%% gen_server callbacks

%% @private
-spec init(erlmcp_instrumentation_config:config()) -> {ok, #state{}}.
init(#{health_timeout_ms := Patience, health_check_timeout_ms := Timeout,
       health_cache_ms := Cache, health_max_age_ms := MaxAge}) ->
    process_flag(trap_exit, true),
    process_flag(priority, max),
    ok = watch_boot(),
    %% A node that has started long ago must not look as if it had not.
    ok = await_first(?BOOT_WAIT_MS),
    _ = [?METRICS:state(Name, Healthy) || {Name, Healthy, _, _, _, _} <- states(health)],
    State = #state{wait_ms = max(1, Patience * 3 div 5), timeout_ms = Timeout, cache_ms = Cache,
                   max_age_ms = MaxAge},
    ok = ?NIF:health_register(self()),
    {ok, refreshed(State)}.

%% @private
-spec handle_call(term(), gen_server:from(), #state{}) ->
    {noreply, #state{}} | {reply, ok | {error, unknown_call}, #state{}}.
handle_call({report, Probe}, From, State) when ?IS_PROBE(Probe) ->
    {noreply, ask(From, Probe, State)};
handle_call(refresh, _From, State) ->
    {reply, ok, refreshed(State)};
handle_call(_Request, _From, State) ->
    {reply, {error, unknown_call}, State}.

%% @private
-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast(_Request, State) ->
    {noreply, State}.

%% @private
-spec handle_info(term(), #state{}) -> {noreply, #state{}}.
handle_info({erlmcp_health_request, Id, Probe}, State) when ?IS_ID(Id), ?IS_PROBE(Probe) ->
    {noreply, ask(Id, Probe, State)};
handle_info({checked, Pid, Result}, #state{runs = Runs} = State) when is_map_key(Pid, Runs) ->
    {noreply, ended(Pid, Result, State)};
handle_info({'EXIT', Pid, Reason}, #state{runs = Runs} = State) when is_map_key(Pid, Runs) ->
    %% Without a result: its check has been registered anew or is no more, or
    %% somebody has killed it.
    case refreshed(State) of
        #state{runs = #{Pid := Name}, checks = Checks} = Same ->
            case maps:get(Name, Checks) of
                #check{running = {Pid, ending}} = Check ->
                    {noreply, idle(Pid, Name, Check, Same)};
                #check{} ->
                    {noreply, ended(Pid, ?CHECK:killed(Reason), Same)}
            end;
        Changed ->
            {noreply, Changed}
    end;
handle_info({'EXIT', _Pid, Reason}, State) when Reason =/= normal ->
    ok = watch_boot(),
    {noreply, State};
handle_info({timeout, Timer, answer}, #state{waiters = Waiters} = State) ->
    case maps:take(Timer, Waiters) of
        {Waiter, Rest} -> {noreply, answer(Waiter, State#state{waiters = Rest})};
        error -> {noreply, State}
    end;
handle_info({booted, Pid}, State) when is_pid(Pid) ->
    ok = ?METRICS:state(<<"startup">>, is_started()),
    {noreply, State};
handle_info(_Unknown, State) ->
    {noreply, State}.

%% Internals: the node's own state

%% Has it noted when all applications of the release are started. `init' may be
%% long in answering, hence another process.
-spec watch_boot() -> ok.
watch_boot() ->
    Responder = self(),
    _ = ?REGISTRY:marked(booted) orelse spawn_link(fun() -> await_boot(Responder) end),
    ok.

-spec await_first(non_neg_integer()) -> ok.
await_first(WaitMs) ->
    _ = ?REGISTRY:marked(booted) orelse
        receive {booted, Pid} when is_pid(Pid) -> ok after WaitMs -> ok end,
    ok.

-spec await_boot(pid()) -> term().
await_boot(Responder) ->
    case init:get_status() of
        %% The boot script has come to its end, whatever the command line has
        %% the VM do after it.
        {_Internal, started} ->
            _ = ?REGISTRY:mark(booted, true),
            Responder ! {booted, self()};
        _Starting ->
            timer:sleep(?BOOT_INTERVAL_MS),
            await_boot(Responder)
    end.

-spec is_started() -> boolean().
is_started() ->
    ?REGISTRY:marked(booted) andalso not ?REGISTRY:marked(starting).

-spec states(probe()) -> [item()].
states(live) -> [];
states(startup) -> [startup()];
states(_HealthOrReady) -> [startup(), accepting()].

-spec startup() -> item().
startup() ->
    Detail = case {?REGISTRY:marked(booted), ?REGISTRY:marked(starting)} of
        {true, false} -> <<>>;
        {false, _} -> <<"the applications of this node are being started">>;
        {true, true} -> <<"the application has not said that it has started">>
    end,
    {<<"startup">>, Detail =:= <<>>, true, Detail, nil, nil}.

-spec accepting() -> item().
accepting() ->
    Draining = ?REGISTRY:marked(draining),
    Detail = case Draining of
        true -> <<"draining: this node takes no more work">>;
        false -> <<>>
    end,
    {<<"accepting">>, not Draining, true, Detail, nil, nil}.

%% Internals: the checks that are registered

-spec refreshed(#state{}) -> #state{}.
refreshed(#state{checks = Before} = State) ->
    Registered = [{Name, known(Name, Ref, Options, Before)}
                  || {Name, Ref, Options} <- ?REGISTRY:all()],
    Checks = maps:from_list(Registered),
    maps:fold(fun(Name, Check, Acc) -> dropped(Name, Check, Acc) end,
              State#state{checks = Checks},
              maps:filter(fun(Name, Check) -> not is_same(Check, maps:find(Name, Checks)) end,
                          Before)).

-spec known(name(), reference(), erlmcp_instrumentation_health_registry:options(),
            #{name() => #check{}}) -> #check{}.
known(Name, Ref, Options, Before) ->
    case Before of
        #{Name := #check{ref = Ref} = Check} -> Check;
        _ -> #check{ref = Ref, options = Options}
    end.

-spec is_same(#check{}, {ok, #check{}} | error) -> boolean().
is_same(#check{ref = Ref}, {ok, #check{ref = Ref}}) -> true;
is_same(#check{}, _Found) -> false.

%% Whoever waits for it waits for the one in its place, if there is one.
-spec dropped(name(), #check{}, #state{}) -> #state{}.
dropped(_Name, #check{running = undefined}, State) ->
    State;
dropped(Name, #check{running = {Pid, _Since}}, #state{runs = Runs, checks = Checks} = State) ->
    ok = ?CHECK:stop(Pid),
    Without = State#state{runs = maps:remove(Pid, Runs)},
    case Checks of
        #{Name := _} -> begin_if_due(Name, erlang:monotonic_time(millisecond), Without);
        #{} -> settled(Name, Without)
    end.

%% Internals: questions

-spec ask(asker(), probe(), #state{}) -> #state{}.
ask(Asker, Probe, #state{wait_ms = WaitMs, waiters = Waiters} = State) ->
    Now = erlang:monotonic_time(millisecond),
    Begun = lists:foldl(fun(Name, Acc) -> begin_if_due(Name, Now, Acc) end,
                        State, names(Probe, State)),
    Waiter = #waiter{asker = Asker, probe = Probe, for = running(Probe, Begun)},
    case Waiter of
        #waiter{for = []} ->
            answer(Waiter, Begun);
        #waiter{} ->
            Timer = erlang:start_timer(WaitMs, self(), answer),
            Begun#state{waiters = Waiters#{Timer => Waiter}}
    end.

%% In their order.
-spec names(probe(), #state{}) -> [name()].
names(Probe, #state{checks = Checks}) ->
    lists:sort([Name || {Name, #check{options = Options}} <- maps:to_list(Checks),
                        concerns(Probe, Options)]).

-spec concerns(probe(), erlmcp_instrumentation_health_registry:options()) -> boolean().
concerns(live, _Options) -> false;
concerns(health, _Options) -> true;
concerns(Probe, #{probes := Probes}) -> lists:member(Probe, Probes).

-spec running(probe(), #state{}) -> [name()].
running(Probe, #state{checks = Checks} = State) ->
    [Name || Name <- names(Probe, State),
             #check{running = {_, Since}} <- [maps:get(Name, Checks)], Since =/= ending].

-spec begin_if_due(name(), integer(), #state{}) -> #state{}.
begin_if_due(Name, Now, #state{checks = Checks, runs = Runs, cache_ms = CacheMs} = State) ->
    case Checks of
        #{Name := #check{running = undefined, result = #{at := At}}} when Now - At < CacheMs ->
            State;
        #{Name := #check{running = undefined, ref = Ref} = Check} ->
            Pid = ?CHECK:start(Name, Ref, timeout_ms(Check, State)),
            State#state{checks = Checks#{Name := Check#check{running = {Pid, Now}}},
                        runs = Runs#{Pid => Name}};
        #{} ->
            State
    end.

-spec timeout_ms(#check{}, #state{}) -> pos_integer().
timeout_ms(#check{options = #{timeout := default}}, #state{timeout_ms = Default}) -> Default;
timeout_ms(#check{options = #{timeout := Own}}, _State) -> Own.

%% Internals: results

-spec ended(pid(), erlmcp_instrumentation_health_check:result(), #state{}) -> #state{}.
ended(Pid, Result, #state{checks = Checks, runs = Runs} = State) ->
    #{Pid := Name} = Runs,
    #{Name := Check} = Checks,
    ok = ?METRICS:result(Name, Result),
    Noted = logged(Name, Result, Check#check{result = Result}, Check),
    Next = case Result of
        #{reason := timeout} ->
            State#state{checks = Checks#{Name := Noted#check{running = {Pid, ending}}}};
        #{} ->
            idle(Pid, Name, Noted, State)
    end,
    settled(Name, Next).

-spec idle(pid(), name(), #check{}, #state{}) -> #state{}.
idle(Pid, Name, Check, #state{checks = Checks, runs = Runs} = State) ->
    State#state{checks = Checks#{Name := Check#check{running = undefined}},
                runs = maps:remove(Pid, Runs)}.

%% Nobody waits for this check any more.
-spec settled(name(), #state{}) -> #state{}.
settled(Name, #state{waiters = Waiters} = State) ->
    maps:fold(fun(Timer, Waiter, Acc) -> settled(Name, Timer, Waiter, Acc) end, State, Waiters).

-spec settled(name(), reference(), #waiter{}, #state{}) -> #state{}.
settled(Name, Timer, #waiter{for = For} = Waiter, #state{waiters = Waiters} = State) ->
    case lists:delete(Name, For) of
        For ->
            State;
        [] ->
            _ = erlang:cancel_timer(Timer, [{async, true}, {info, false}]),
            answer(Waiter, State#state{waiters = maps:remove(Timer, Waiters)});
        Fewer ->
            State#state{waiters = Waiters#{Timer := Waiter#waiter{for = Fewer}}}
    end.

%% A change is logged, at most so often. A check that passes at first is none.
-spec logged(name(), erlmcp_instrumentation_health_check:result(), #check{}, Before :: #check{}) ->
    #check{}.
logged(Name, Result, #check{logged = {Since, Count, Suppressed}} = Check, Before) ->
    Now = erlang:monotonic_time(millisecond),
    Fresh = Now - Since >= ?LOG_WINDOW_MS,
    case is_healthy(Check) =/= (Before#check.result =:= undefined orelse is_healthy(Before)) of
        false ->
            Check;
        true when Fresh ->
            ok = ?LOG:changed(Name, Result, Suppressed),
            Check#check{logged = {Now, 1, 0}};
        true when Count < ?LOG_BURST ->
            ok = ?LOG:changed(Name, Result, Suppressed),
            Check#check{logged = {Since, Count + 1, 0}};
        true ->
            Check#check{logged = {Since, Count, Suppressed + 1}}
    end.

-spec is_healthy(#check{}) -> boolean().
is_healthy(#check{result = #{reason := passed}}) -> true;
is_healthy(#check{}) -> false.

%% Internals: answers

-spec answer(#waiter{}, #state{}) -> #state{}.
answer(#waiter{asker = Asker, probe = Probe}, #state{checks = Checks} = State) ->
    Now = erlang:monotonic_time(millisecond),
    Known = [{Name, maps:get(Name, Checks)} || Name <- names(Probe, State)],
    Items = states(Probe) ++ [item(Name, Check, Now, State)
                              || {Name, Check} <- Known, not is_new(Check)],
    ok = reply(Asker, Items),
    State.

%% Registered while this probe was under way: the next one runs it.
-spec is_new(#check{}) -> boolean().
is_new(#check{running = undefined, result = undefined}) -> true;
is_new(#check{}) -> false.

-spec item(name(), #check{}, integer(), #state{}) -> item().
item(Name, #check{result = #{at := At, detail := Detail, duration := Duration}} = Check, Now,
     #state{max_age_ms = MaxAge}) when Now - At =< MaxAge ->
    DurationUs = erlang:convert_time_unit(Duration, native, microsecond),
    {Name, is_healthy(Check), is_critical(Check), Detail, DurationUs, max(0, Now - At)};
item(Name, #check{running = {_Pid, Since}} = Check, Now, _State) when is_integer(Since) ->
    Detail = <<"no result yet, running for ", (integer_to_binary(Now - Since))/binary, " ms">>,
    {Name, false, is_critical(Check), Detail, nil, nil};
item(Name, Check, _Now, _State) ->
    {Name, false, is_critical(Check), <<"no result that is recent enough">>, nil, nil}.

-spec is_critical(#check{}) -> boolean().
is_critical(#check{options = #{critical := Critical}}) -> Critical.

-spec reply(asker(), [item()]) -> ok.
reply(Id, Items) when is_integer(Id) ->
    _ = ?NIF:health_reply(Id, atom_to_binary(node()), uptime_ms(), Items),
    ok;
reply(From, Items) ->
    gen_server:reply(From, {ok, Items}).

-spec uptime_ms() -> non_neg_integer().
uptime_ms() ->
    Native = erlang:monotonic_time() - erlang:system_info(start_time),
    erlang:convert_time_unit(Native, native, millisecond).
