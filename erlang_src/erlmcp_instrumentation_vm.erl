%% @doc The process that answers the native server's requests for VM figures.
%%
%% A scrape is served by native threads, which cannot read the VM's figures.
%% They send this process `{erlmcp_vm_request, Id}' and wait a bounded time for
%% `erlmcp_instrumentation_nif:vm_reply(Id, Families)'.
%%
%% Each gathering runs in processes of its own: one for each collector and one
%% that awaits them, replies and ends. So a collector that crashes or hangs costs
%% only its own families and no garbage stays behind. Requests that are queued
%% share a gathering; those that arrive while one runs share the next, so that a figure
%% is never older than the request that it answers. {@link gather/0} asks the
%% same from Erlang.
%%
%% All of them run at high priority: a gathering is a few milliseconds of work,
%% and a node with long run queues is the one whose figures are wanted.
-module(erlmcp_instrumentation_vm).

-compile({no_auto_import, [unregister/1, registered/0]}).

-behaviour(gen_server).

-include_lib("kernel/include/logger.hrl").

%% API
-export([start_link/1]).
-export([gather/0]).
-export([groups/0]).
-export([register/1]).
-export([unregister/1]).
-export([registered/0]).
-export([format_report/1]).

%% gen_server callbacks
-export([init/1]).
-export([handle_call/3]).
-export([handle_cast/2]).
-export([handle_info/2]).

-export_type([config/0, collector/0, group/0]).

-type group() ::
    memory | statistics | system_info | allocators | distribution | msacc | mnesia.
-type collector() :: {Name :: atom(), module()}.
-type config() :: #{
    vm_collectors => [group() | collector()],
    vm_timeout_ms => pos_integer(),
    legacy_names => boolean(),
    register => fun((pid()) -> term()),
    reply => fun((Id :: integer(), [erlmcp_instrumentation_collector:family()]) -> term()),
    atom() => term()
}.
%% What `start_link/1' takes; other keys are ignored.
%% <ul>
%% <li>`vm_collectors': groups of {@link groups/0} or collectors of the caller's
%%     own; all groups but `msacc' when left out.</li>
%% <li>`vm_timeout_ms': milliseconds that the asking side waits (500). A
%%     gathering ends after four fifths of it, with what it then has.</li>
%% <li>`legacy_names': also the older names of the figures (false).</li>
%% <li>`register', `reply': the functions of `erlmcp_instrumentation_nif' that
%%     are called; for tests.</li>
%% </ul>

-type asker() :: Id :: integer() | gen_server:from().
-type failure() :: {collector(), Reason :: term()}.
-type answer() :: {ok, [erlmcp_instrumentation_collector:family()]} | {error, Reason :: term()}.
-type answers() :: #{collector() => answer()}.

-record(state, {
    collectors :: [collector()],
    opts :: erlmcp_instrumentation_collector:opts(),
    budget_ms :: pos_integer(),
    reply :: fun((integer(), [erlmcp_instrumentation_collector:family()]) -> term()),
    gathering :: pid() | undefined,
    waiting = [] :: [asker()],
    failures = #{} :: #{Name :: atom() => Count :: non_neg_integer()},
    logged = #{} :: #{Name :: atom() => MonotonicMs :: integer()}
}).

%% What the native side counts its questions with.
-define(IS_ID(Id), (is_integer(Id) andalso Id >= 0 andalso Id < 1 bsl 64)).
-define(DEFAULT_TIMEOUT_MS, 500).
-define(REGISTERED, {?MODULE, registered}).
-define(CALL_TIMEOUT_MS, 5000).
-define(LOG_INTERVAL_MS, 60000).
-define(REPORT_CHARS, 4096).
-define(LOG_METADATA, #{
    domain => [erlmcp, instrumentation],
    report_cb => fun ?MODULE:format_report/1
}).

%% API

%% @doc Starts the process, registers it under this module's name and registers
%% it with the native side as the one to ask.
-spec start_link(config()) -> gen_server:start_ret().
start_link(Config) when is_map(Config) ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, Config, []).

%% @doc Gathers the figures now, as a scrape does.
%%
%% Calls the process and waits for a gathering, which takes a few milliseconds
%% and at most twice `vm_timeout_ms'. The answer is `[]' when the process does
%% not run or does not answer within five seconds. Never raises.
-spec gather() -> [erlmcp_instrumentation_collector:family()].
gather() ->
    try
        gen_server:call(?MODULE, gather, ?CALL_TIMEOUT_MS)
    catch
        exit:_ -> []
    end.

%% @doc The groups of figures that can be asked for, with their collectors.
-spec groups() -> [{group(), module()}].
groups() ->
    [{memory, erlmcp_instrumentation_vm_memory},
     {statistics, erlmcp_instrumentation_vm_statistics},
     {system_info, erlmcp_instrumentation_vm_system_info},
     {allocators, erlmcp_instrumentation_vm_allocators},
     {distribution, erlmcp_instrumentation_vm_distribution},
     {msacc, erlmcp_instrumentation_vm_msacc},
     {mnesia, erlmcp_instrumentation_vm_mnesia}].

%% @doc Adds a collector; see {@link erlmcp_instrumentation_collector:register/1}.
-spec register(module()) -> ok | {error, not_running}.
register(Module) ->
    change({register, Module}).

%% @doc Takes a collector away.
-spec unregister(module()) -> ok | {error, not_running}.
unregister(Module) ->
    change({unregister, Module}).

%% @doc The collectors that were registered. They outlive this process.
-spec registered() -> [module()].
registered() ->
    persistent_term:get(?REGISTERED, []).

-spec change({register | unregister, module()}) -> ok | {error, not_running}.
change(Request) ->
    try
        gen_server:call(?MODULE, Request, ?CALL_TIMEOUT_MS)
    catch
        exit:_ -> {error, not_running}
    end.

%% @doc The text of this module's log reports.
-spec format_report(logger:report()) -> {io:format(), [term()]}.
format_report(#{what := vm_collector_failed, collector := Name, failures := Count} = Report) ->
    {"VM collector ~tp failed (~b so far); its figures are missing from the scrape: ~ts",
     [Name, Count, reason(Report)]};
format_report(#{what := vm_gathering_failed} = Report) ->
    {"VM figures could not be handed to the scrape: ~ts", [reason(Report)]}.

-spec reason(#{reason := term(), _ => _}) -> io_lib:chars().
reason(#{reason := Reason}) ->
    io_lib:format("~0tp", [Reason], [{chars_limit, ?REPORT_CHARS}]).

%% gen_server callbacks

%% @private
-spec init(config()) -> {ok, #state{}} | {stop, {unknown_collector, term()}}.
init(Config) ->
    case resolve(maps:get(vm_collectors, Config, default_groups()), []) of
        {ok, Collectors} ->
            {ok, start(Collectors, Config)};
        {error, Unknown} ->
            {stop, {unknown_collector, Unknown}}
    end.

%% @private
-spec handle_call(term(), gen_server:from(), #state{}) ->
    {noreply, #state{}} | {reply, ok | {error, unknown_call}, #state{}}.
handle_call(gather, From, #state{waiting = Waiting} = State) ->
    {noreply, start_gathering(State#state{waiting = [From | Waiting]})};
handle_call({register, Module}, _From, State) ->
    case lists:member(Module, registered()) of
        true ->
            {reply, ok, State};
        false ->
            persistent_term:put(?REGISTERED, registered() ++ [Module]),
            {reply, ok, prepare({Module, Module}, State)}
    end;
handle_call({unregister, Module}, _From, #state{failures = Failures} = State) ->
    persistent_term:put(?REGISTERED, lists:delete(Module, registered())),
    {reply, ok, State#state{failures = maps:remove(Module, Failures)}};
handle_call(_Request, _From, State) ->
    {reply, {error, unknown_call}, State}.

%% @private
-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast(_Request, State) ->
    {noreply, State}.

%% @private
-spec handle_info(term(), #state{}) -> {noreply, #state{}}.
handle_info({erlmcp_vm_request, Id}, #state{waiting = Waiting} = State) when ?IS_ID(Id) ->
    {noreply, start_gathering(State#state{waiting = queued_requests([Id | Waiting])})};
handle_info({failures, Pid, Failures}, #state{gathering = Pid} = State) when is_pid(Pid) ->
    {noreply, lists:foldl(fun note_failure/2, State, Failures)};
handle_info({'EXIT', Pid, Reason}, #state{gathering = Pid} = State) when is_pid(Pid) ->
    {noreply, start_gathering(note_end(Reason, State#state{gathering = undefined}))};
handle_info(_Unknown, State) ->
    {noreply, State}.

%% Internals: start

-spec default_groups() -> [group()].
default_groups() ->
    [Group || {Group, _Module} <- groups(), Group =/= msacc].

-spec resolve([term()], [collector()]) -> {ok, [collector()]} | {error, term()}.
resolve([], Collectors) ->
    {ok, lists:reverse(Collectors)};
resolve([{Name, Module} = Own | Rest], Collectors) when is_atom(Name), is_atom(Module) ->
    resolve(Rest, [Own | Collectors]);
resolve([Group | Rest], Collectors) ->
    case lists:keyfind(Group, 1, groups()) of
        false -> {error, Group};
        Collector -> resolve(Rest, [Collector | Collectors])
    end.

-spec start([collector()], config()) -> #state{}.
start(Collectors, Config) ->
    process_flag(trap_exit, true),
    process_flag(priority, high),
    Register = maps:get(register, Config, fun erlmcp_instrumentation_nif:vm_register/1),
    Timeout = maps:get(vm_timeout_ms, Config, ?DEFAULT_TIMEOUT_MS),
    State = #state{
        collectors = Collectors,
        opts = #{legacy_names => maps:get(legacy_names, Config, false)},
        budget_ms = max(1, Timeout * 4 div 5),
        reply = maps:get(reply, Config, fun erlmcp_instrumentation_nif:vm_reply/2),
        failures = maps:from_list([{Name, 0} || {Name, _Module} <- Collectors])
    },
    Prepared = lists:foldl(fun prepare/2, State, with_registered(Collectors)),
    _ = Register(self()),
    Prepared.

%% Those that were registered come last: a name that the library uses stays its.
-spec with_registered([collector()]) -> [collector()].
with_registered(Collectors) ->
    Collectors ++ [{Module, Module} || Module <- registered(),
                                       not lists:keymember(Module, 1, Collectors)].

-spec prepare(collector(), #state{}) -> #state{}.
prepare({_Name, Module} = Collector, #state{opts = Opts} = State) ->
    %% An unknown module fails at its first gathering, where it is counted.
    _ = code:ensure_loaded(Module),
    try
        _ = erlang:function_exported(Module, prepare, 1) andalso Module:prepare(Opts),
        State
    catch
        Class:Reason:Stack ->
            note_failure({Collector, {Class, Reason, Stack}}, State)
    end.

%% Internals: requests

-spec queued_requests([asker()]) -> [asker()].
queued_requests(Askers) ->
    receive
        {erlmcp_vm_request, Id} when ?IS_ID(Id) -> queued_requests([Id | Askers])
    after 0 ->
        Askers
    end.

-spec start_gathering(#state{}) -> #state{}.
start_gathering(#state{gathering = undefined, waiting = [_ | _] = Askers} = State) ->
    Server = self(),
    Pid = spawn_opt(fun() -> gathering(Server, Askers, State) end, [link, {priority, high}]),
    State#state{gathering = Pid, waiting = []};
start_gathering(State) ->
    State.

%% A failure of the functions that prepare or gather is counted and told here.
-spec note_failure(failure(), #state{}) -> #state{}.
note_failure({{Name, _Module}, Reason}, #state{failures = Failures} = State) ->
    Count = maps:get(Name, Failures, 0) + 1,
    Report = #{what => vm_collector_failed, collector => Name, failures => Count, reason => Reason},
    log(Name, Report, State#state{failures = Failures#{Name => Count}}).

-spec note_end(term(), #state{}) -> #state{}.
note_end(normal, State) ->
    State;
note_end(Reason, State) ->
    log(?MODULE, #{what => vm_gathering_failed, reason => Reason}, State).

-spec log(atom(), map(), #state{}) -> #state{}.
log(Name, Report, #state{logged = Logged} = State) ->
    Now = erlang:monotonic_time(millisecond),
    case Logged of
        #{Name := Last} when Now - Last < ?LOG_INTERVAL_MS ->
            State;
        _ ->
            ?LOG_WARNING(Report, ?LOG_METADATA),
            State#state{logged = Logged#{Name => Now}}
    end.

%% Internals: one gathering, in its own process

-spec gathering(pid(), [asker()], #state{}) -> ok.
gathering(Server, Askers, #state{collectors = Configured, opts = Opts} = State) ->
    process_flag(trap_exit, true),
    Collectors = with_registered(Configured),
    Deadline = erlang:monotonic_time(millisecond) + State#state.budget_ms,
    Running = maps:from_list([{start_collector(Collector, Opts), Collector}
                              || Collector <- Collectors]),
    Answers = await(Server, Deadline, Running, #{}),
    {Families, Failures} = merge(Collectors, Answers),
    _ = [Server ! {failures, self(), Failures} || Failures =/= []],
    All = Families ++ [failures_family(Failures, State)],
    try
        lists:foreach(fun(Asker) -> answer(Asker, All, State) end, Askers)
    catch
        %% exit/1, because an error would also be logged by the VM, each time.
        Class:Reason:Stack -> exit({Class, Reason, Stack})
    end.

-spec answer(asker(), [erlmcp_instrumentation_collector:family()], #state{}) -> term().
answer(Id, Families, #state{reply = Reply}) when is_integer(Id) ->
    Reply(Id, Families);
answer(From, Families, _State) ->
    gen_server:reply(From, Families).

-spec start_collector(collector(), erlmcp_instrumentation_collector:opts()) -> pid().
start_collector({_Name, Module}, Opts) ->
    Gathering = self(),
    spawn_opt(fun() -> Gathering ! {collected, self(), collect(Module, Opts)} end,
              [link, {priority, high}]).

-spec collect(module(), erlmcp_instrumentation_collector:opts()) -> answer().
collect(Module, Opts) ->
    try
        Families = Module:collect(Opts),
        case erlmcp_instrumentation_collector:check(Families) of
            ok -> {ok, Families};
            {error, _} = Error -> Error
        end
    catch
        Class:Reason:Stack -> {error, {Class, Reason, Stack}}
    end.

%% The answers by collector. What has not answered at the deadline is killed.
-spec await(pid(), integer(), #{pid() => collector()}, answers()) -> answers().
await(_Server, _Deadline, Running, Answers) when map_size(Running) =:= 0 ->
    Answers;
await(Server, Deadline, Running, Answers) ->
    receive
        {collected, Pid, Answer} when is_map_key(Pid, Running) ->
            {Collector, Rest} = maps:take(Pid, Running),
            await(Server, Deadline, Rest, Answers#{Collector => Answer});
        {'EXIT', Server, _Reason} ->
            %% Not its reason: normal would leave the collectors running.
            exit(shutdown);
        {'EXIT', Pid, Reason} when is_map_key(Pid, Running) ->
            {Collector, Rest} = maps:take(Pid, Running),
            await(Server, Deadline, Rest, Answers#{Collector => {error, {exited, Reason}}})
    after max(0, Deadline - erlang:monotonic_time(millisecond)) ->
        _ = [exit(Pid, kill) || Pid <- maps:keys(Running)],
        maps:fold(fun(_Pid, Collector, Acc) -> Acc#{Collector => {error, timeout}} end,
                  Answers, Running)
    end.

%% In the order of the collectors. A name that an earlier one has given is a
%% failure of the later one, because a scrape must not hold a family twice.
-spec merge([collector()], answers()) ->
    {[erlmcp_instrumentation_collector:family()], [failure()]}.
merge(Collectors, Answers) ->
    {Families, Failures, _Names} = lists:foldl(
        fun(Collector, {Families, Failures, Names}) ->
            case distinct(maps:get(Collector, Answers), Names) of
                {ok, New, NewNames} -> {[New | Families], Failures, NewNames};
                {error, Reason} -> {Families, [{Collector, Reason} | Failures], Names}
            end
        end, {[], [], #{}}, Collectors),
    {lists:append(lists:reverse(Families)), Failures}.

-spec distinct(answer(), Names) ->
    {ok, [erlmcp_instrumentation_collector:family()], Names} | {error, term()} when
    Names :: #{binary() => []}.
distinct({error, Reason}, _Names) ->
    {error, Reason};
distinct({ok, Families}, Names) ->
    Present = [Family || {_, _, _, [_ | _]} = Family <- Families],
    New = maps:from_list([{Name, []} || {Name, _, _, _} <- Present]),
    All = maps:merge(Names, New),
    case map_size(All) =:= map_size(Names) + length(Present) of
        true -> {ok, Present, All};
        false -> {error, duplicate_family}
    end.

-spec failures_family([failure()], #state{}) -> erlmcp_instrumentation_collector:family().
failures_family(Now, #state{failures = Before}) ->
    Counts = lists:foldl(
        fun({{Name, _Module}, _Reason}, Counts) ->
            maps:update_with(Name, fun(Count) -> Count + 1 end, 1, Counts)
        end, Before, Now),
    erlmcp_instrumentation_collector:family(
        <<"erlmcp_vm_collector_failures_total">>, counter,
        <<"Times that a collector of VM figures crashed, gave nonsense or took too long; its "
          "families were then missing from the scrape.">>,
        [{[{<<"collector">>, Name}], Count} || {Name, Count} <- lists:sort(maps:to_list(Counts))]).
