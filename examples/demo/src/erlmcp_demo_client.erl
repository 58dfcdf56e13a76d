%% @doc A simulated client: opens a session, sends requests, closes it, begins again.
%%
%% Requests come at random moments (exponential pauses) around an even rate. A
%% client that falls behind catches up, but not for more than a second of work.
-module(erlmcp_demo_client).
-behaviour(gen_server).

-export([start_link/1]).
-export([go/1]).
-export([allowed_tool_calls/1]).

-export([init/1]).
-export([handle_call/3]).
-export([handle_cast/2]).
-export([handle_info/2]).

-type state() :: #{
    pause_ms := float(),
    next_ms := float(),
    session := pid() | none,
    left := non_neg_integer()
}.

-define(MAX_BEHIND_MS, 1000).
-define(SHORTEST_IDLE_MS, 2000).
-define(PAUSES_TO_IDLE, 20).

%% @doc Starts a client with the mean pause between its requests. It waits for
%% {@link go/1}: the first ones' load would hinder the start of the others.
-spec start_link(PauseMs :: float()) -> gen_server:start_ret().
start_link(PauseMs) ->
    gen_server:start_link(?MODULE, PauseMs, []).

%% @doc Has a client begin, at a random moment of its first pause.
-spec go(pid()) -> ok.
go(Client) ->
    gen_server:cast(Client, go).

%% @doc How many tool calls a second to allow so that a few of them are refused:
%% a little less than all clients ask for, and three times as many without faults.
-spec allowed_tool_calls(Rate :: pos_integer()) -> pos_integer().
allowed_tool_calls(Rate) ->
    Share = lists:sum([Weight || {Weight, <<"tools/call">>} <- methods()])
        / lists:sum([Weight || {Weight, _} <- methods()]),
    Room = 2.0 * (1.0 - erlmcp_demo_work:faults()),
    ceil((0.97 + Room) * Rate * Share).

%% @private
%% Exits are trapped so that a client that is stopped still takes, and counts,
%% the answer that it waits for.
-spec init(float()) -> {ok, state()}.
init(PauseMs) ->
    process_flag(trap_exit, true),
    {ok, #{pause_ms => PauseMs, next_ms => 0.0, session => none, left => 0}}.

%% @private
-spec handle_call(term(), gen_server:from(), state()) -> {reply, ok, state()}.
handle_call(_Request, _From, State) ->
    {reply, ok, State}.

%% @private
-spec handle_cast(go, state()) -> {noreply, state()}.
handle_cast(go, #{pause_ms := PauseMs} = State) ->
    Now = erlang:monotonic_time(millisecond),
    {noreply, wake(State#{next_ms := Now + PauseMs * rand:uniform()})}.

%% @private
-spec handle_info(term(), state()) -> {noreply, state()}.
handle_info(step, State) ->
    {noreply, wake(plan(step(State)))};
handle_info(_Message, State) ->
    {noreply, State}.

-spec step(state()) -> state().
step(#{session := none, pause_ms := PauseMs} = State) ->
    Options = #{
        transport => erlmcp_demo_work:pick([{1, T} || T <- erlmcp_demo_transport:names()]),
        session_type => erlmcp_demo_work:pick([{60, interactive}, {35, agent}, {5, admin}]),
        credentials => unless_fault(0.02, <<"expired">>, <<"valid">>),
        idle_timeout_ms => max(?SHORTEST_IDLE_MS, round(PauseMs * ?PAUSES_TO_IDLE))
    },
    case erlmcp_demo_transport:connect(Options) of
        {ok, Session} ->
            erlmcp_demo_tally:session(),
            request(<<"initialize">>, State#{session := Session, left := 20 + rand:uniform(80)});
        {error, unauthorized} ->
            State
    end;
step(#{left := 0, session := Session} = State) ->
    %% Some clients vanish without a word, and their sessions expire.
    case erlmcp_demo_work:chance(0.15) of
        true -> ok;
        false -> close(Session)
    end,
    step(State#{session := none});
step(#{left := Left} = State) ->
    request(erlmcp_demo_work:pick(methods()), State#{left := Left - 1}).

-spec request(binary(), state()) -> state().
request(Method, #{session := Session} = State) ->
    try erlmcp_demo_transport:request(Session, Method, params(Method)) of
        {ok, _} ->
            erlmcp_demo_tally:request(Method, success),
            State;
        {error, _} ->
            erlmcp_demo_tally:request(Method, error),
            State
    catch
        %% The session expired before this request: nobody has seen it.
        exit:{Reason, {gen_server, call, _}} when Reason =:= noproc;
                                                  element(1, Reason) =:= shutdown ->
            State#{session := none}
    end.

-spec close(pid()) -> ok.
close(Session) ->
    try
        erlmcp_demo_transport:close(Session)
    catch
        exit:{_, {gen_server, call, _}} -> ok
    end.

-spec plan(state()) -> state().
plan(#{pause_ms := PauseMs, next_ms := Next} = State) ->
    Pause = -math:log(1.0 - rand:uniform()) * PauseMs,
    Earliest = erlang:monotonic_time(millisecond) - ?MAX_BEHIND_MS,
    State#{next_ms := max(Next + Pause, float(Earliest))}.

%% Absolute times: rounding to milliseconds does not add up to a slower rate.
-spec wake(state()) -> state().
wake(#{next_ms := Next} = State) ->
    _ = erlang:send_after(ceil(Next), self(), step, [{abs, true}]),
    State.

-spec methods() -> [{pos_integer(), Method :: binary()}, ...].
methods() ->
    [{12, <<"ping">>},
     {8, <<"tools/list">>},
     {32, <<"tools/call">>},
     {5, <<"resources/list">>},
     {20, <<"resources/read">>},
     {2, <<"resources/templates/list">>},
     {4, <<"resources/subscribe">>},
     {2, <<"resources/unsubscribe">>},
     {4, <<"prompts/list">>},
     {6, <<"prompts/get">>},
     {4, <<"completion/complete">>},
     {1, <<"logging/setLevel">>}].

-spec params(binary()) -> erlmcp_demo_methods:params().
params(<<"initialize">>) ->
    #{version => unless_fault(0.03, <<"1999-12-31">>, <<"2025-11-25">>)};
params(<<"tools/call">>) ->
    #{name => case erlmcp_demo_work:fault(0.02) of
        true -> erlmcp_demo_work:pick([{1, <<"reindex">>}, {1, <<"make_coffee">>}]);
        false -> erlmcp_demo_work:pick([{40, <<"calculator">>}, {25, <<"text_search">>},
                                        {10, <<"summarize">>}, {15, <<"fetch_url">>},
                                        {8, <<"create_note">>}])
    end};
params(<<"resources/read">>) ->
    #{uri => some_document(0.02)};
params(<<"resources/subscribe">>) ->
    #{uri => some_document(0.01)};
params(<<"resources/unsubscribe">>) ->
    #{uri => some_document(0.01)};
params(<<"prompts/get">>) ->
    Known = erlmcp_demo_work:pick([{50, <<"code_review">>}, {30, <<"explain">>},
                                   {19, <<"release_notes">>}]),
    #{name => unless_fault(0.01, <<"poem">>, Known)};
params(<<"completion/complete">>) ->
    #{name => erlmcp_demo_work:pick([{1, <<"cal">>}, {1, <<"text">>}, {1, <<"s">>}])};
params(<<"logging/setLevel">>) ->
    #{level => unless_fault(0.05, <<"loud">>, <<"info">>)};
params(_) ->
    #{}.

%% Some documents are read far more often than others, hence a cache helps.
-spec some_document(float()) -> binary().
some_document(Unknown) ->
    Known = erlmcp_demo_resources:document(ceil(200 * math:pow(rand:uniform(), 2))),
    unless_fault(Unknown, <<"doc://nowhere">>, Known).

-spec unless_fault(float(), Wrong, Right) -> Wrong | Right.
unless_fault(Probability, Wrong, Right) ->
    case erlmcp_demo_work:fault(Probability) of
        true -> Wrong;
        false -> Right
    end.
