%% @private Runs one check, once, apart from everything else.
%%
%% Two processes for each run: one in which the function is called, and one that
%% waits for it, kills it when its time is up, and hands the result to the one
%% who started it. What the function does to its own process (links, traps,
%% memory) stays there; only a text of bounded length comes out.
%%
%% The function runs at normal priority, as the application does: one that spins
%% must not starve it. The one who waits runs at high priority and does nothing.
-module(erlmcp_instrumentation_health_check).

-export([start/3]).
-export([stop/1]).
-export([killed/1]).

-export_type([result/0]).
-export_type([reason/0]).

-type reason() :: passed | failed | raised | timeout | killed | bad_result.
-type result() :: #{
    reason := reason(),
    detail := binary(),
    duration := non_neg_integer(),
    at := integer()
}.
%% `duration' in the VM's native unit of time, `at' monotonic milliseconds.

-type outcome() :: {reason(), Detail :: binary()} | gone.

%% Memory of the process that calls the function, in words: 64 MiB.
-define(MAX_HEAP_WORDS, 8388608).
%% Longest detail, in characters.
-define(MAX_DETAIL, 512).
%% Longest beginning of a binary that is looked at: a character has four bytes
%% at the most.
-define(MAX_DETAIL_BYTES, (4 * (?MAX_DETAIL + 1))).

%% @doc Starts a run of the check that is registered under a name and reference.
%% The caller is linked to the process and gets `{checked, Pid, Result}'. With
%% any result but `timeout' the run is over then; otherwise when `Pid' ends.
-spec start(erlmcp_instrumentation_health_registry:name(), reference(), pos_integer()) -> pid().
start(Name, Ref, TimeoutMs) ->
    Caller = self(),
    spawn_opt(fun() -> watch(Caller, Name, Ref, TimeoutMs) end, [link, {priority, high}]).

%% @doc Ends a run without a result. Only for the process that started it.
-spec stop(pid()) -> ok.
stop(Pid) ->
    true = exit(Pid, shutdown),
    ok.

%% @doc The result of a run whose process has ended from outside.
-spec killed(term()) -> result().
killed(Reason) ->
    #{reason => killed, detail => killed_text(Reason), duration => 0,
      at => erlang:monotonic_time(millisecond)}.

%% Internals: the process that waits

-spec watch(pid(), erlmcp_instrumentation_health_registry:name(), reference(), pos_integer()) ->
    term().
watch(Caller, Name, Ref, TimeoutMs) ->
    process_flag(trap_exit, true),
    Begin = erlang:monotonic_time(),
    Watcher = self(),
    Token = make_ref(),
    {Pid, Monitor} = spawn_opt(
        fun() -> Watcher ! {Token, outcome(Name, Ref)} end,
        [link, monitor, {max_heap_size, #{size => ?MAX_HEAP_WORDS, kill => true,
                                          error_logger => false}}]),
    Outcome = await(Caller, Pid, Monitor, Token, TimeoutMs),
    End = erlang:monotonic_time(),
    Report = fun(Reason, Detail) ->
        At = erlang:convert_time_unit(End, native, millisecond),
        Caller ! {checked, Watcher,
                  #{reason => Reason, detail => Detail, duration => End - Begin, at => At}}
    end,
    case Outcome of
        gone ->
            ok;
        {timeout, Detail} ->
            %% A native function on a dirty scheduler ends when it likes.
            _ = Report(timeout, Detail),
            await_end(Caller, Monitor);
        {killed, Detail} ->
            Report(killed, Detail);
        {Reason, Detail} ->
            ok = await_end(Caller, Monitor),
            Report(Reason, Detail)
    end.

-spec await(pid(), pid(), reference(), reference(), pos_integer()) -> outcome().
await(Caller, Pid, Monitor, Token, TimeoutMs) ->
    receive
        {Token, Outcome} ->
            Outcome;
        {'DOWN', Monitor, process, Pid, Reason} ->
            {killed, killed_text(Reason)};
        {'EXIT', Caller, _Reason} ->
            %% Nobody waits. A process that traps exits has to be killed.
            true = exit(Pid, kill),
            exit(shutdown)
    after TimeoutMs ->
        true = exit(Pid, kill),
        {timeout, unicode:characters_to_binary(
                    io_lib:format("killed after ~b ms without a result", [TimeoutMs]))}
    end.

-spec await_end(pid(), reference()) -> ok.
await_end(Caller, Monitor) ->
    receive
        {'DOWN', Monitor, process, _Pid, _Reason} -> ok;
        {'EXIT', Caller, _} -> exit(shutdown)
    end.

%% Internals: the process that calls

-spec outcome(erlmcp_instrumentation_health_registry:name(), reference()) -> outcome().
outcome(Name, Ref) ->
    case erlmcp_instrumentation_health_registry:function(Name, Ref) of
        {ok, Fun} ->
            try
                judge(Fun())
            catch
                Class:Reason:Stack -> {raised, raised_text(Class, Reason, Stack)}
            end;
        gone ->
            gone
    end.

-spec judge(term()) -> {reason(), binary()}.
judge(ok) -> {passed, <<>>};
judge(true) -> {passed, <<>>};
judge({ok, Detail}) -> {passed, text(Detail)};
judge(false) -> {failed, <<>>};
judge({error, Reason}) -> {failed, text(Reason)};
judge(Other) -> {bad_result, joined(["returned ", text(Other)])}.

%% Without the arguments in the stack, which may hold anything.
-spec raised_text(error | exit | throw, term(), erlang:stacktrace()) -> binary().
raised_text(Class, Reason, Stack) ->
    joined(["raised ", atom_to_binary(Class), ": ", text(Reason) | raised_where(Stack)]).

-spec raised_where(erlang:stacktrace()) -> [unicode:chardata()].
raised_where([{Module, Function, Arguments, _Where} | Rest]) when is_list(Arguments) ->
    raised_where([{Module, Function, length(Arguments), []} | Rest]);
raised_where([{Module, Function, Arity, _Where} | _]) when is_atom(Module) ->
    io_lib:format(", in ~tw:~tw/~w", [Module, Function, Arity]);
raised_where(_Stack) ->
    [].

%% The VM does not tell who killed a process.
-spec killed_text(term()) -> binary().
killed_text(killed) ->
    joined(["killed: by another process, by a purge of its code, or because it took more than ",
            integer_to_binary(?MAX_HEAP_WORDS * erlang:system_info(wordsize) div 1048576),
            " MiB of memory"]);
killed_text(Reason) ->
    joined(["ended by an exit signal: ", text(Reason)]).

%% Internals: texts

%% Texts and atoms as they are, others as the shell prints them.
-spec text(term()) -> binary().
text(Term) when is_atom(Term) ->
    atom_to_binary(Term);
text(Term) when is_binary(Term) ->
    Size = min(byte_size(Term), ?MAX_DETAIL_BYTES),
    case unicode:characters_to_list(binary:part(Term, 0, Size)) of
        {incomplete, Text, _Cut} when Size < byte_size(Term) -> cut(Text);
        Text when is_list(Text) -> cut(Text);
        _NotUtf8 -> printed(Term)
    end;
text([_ | _] = Term) ->
    case beginning(Term, ?MAX_DETAIL + 1) of
        {ok, Text} ->
            case io_lib:printable_unicode_list(Text) of
                true -> cut(Text);
                false -> printed(Term)
            end;
        improper ->
            printed(Term)
    end;
text(Term) ->
    printed(Term).

-spec printed(term()) -> binary().
printed(Term) ->
    Shown = erlmcp_redaction:term(Term),
    cut(lists:flatten(io_lib:format("~0tp", [Shown], [{chars_limit, ?MAX_DETAIL}]))).

-spec joined([unicode:chardata()]) -> binary().
joined(Parts) ->
    cut(unicode:characters_to_list(Parts)).

-spec cut(string()) -> binary().
cut(Text) ->
    case beginning(Text, ?MAX_DETAIL + 1) of
        {ok, Whole} when length(Whole) =< ?MAX_DETAIL ->
            unicode:characters_to_binary(Whole);
        {ok, Longer} ->
            Shown = lists:sublist(Longer, ?MAX_DETAIL - 3),
            unicode:characters_to_binary([Shown, "..."])
    end.

%% Up to so many elements; of a list that is longer its end is not looked at.
-spec beginning(maybe_improper_list(), non_neg_integer()) -> {ok, list()} | improper.
beginning(List, Most) ->
    beginning(List, Most, []).

-spec beginning(term(), non_neg_integer(), list()) -> {ok, list()} | improper.
beginning([Element | Rest], Most, Taken) when Most > 0 ->
    beginning(Rest, Most - 1, [Element | Taken]);
beginning(Rest, _Most, Taken) when is_list(Rest) ->
    {ok, lists:reverse(Taken)};
beginning(_Rest, _Most, _Taken) ->
    improper.
