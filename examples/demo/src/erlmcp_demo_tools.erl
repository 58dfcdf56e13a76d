%% @doc The simulated server's tools: who may call them, and what they do.
-module(erlmcp_demo_tools).

-export([names/0]).
-export([call/2]).

-export_type([caller/0]).

-type caller() :: #{session_type := atom(), atom() => term()}.
-type failure() :: unknown_tool | unauthorized | quota_exceeded | tool_crashed.

%% @doc The names of the tools.
-spec names() -> [binary(), ...].
names() ->
    [<<"calculator">>, <<"text_search">>, <<"summarize">>, <<"fetch_url">>, <<"create_note">>,
     <<"reindex">>, <<"deep_research">>].

%% @doc Calls a tool on behalf of a session. Never raises: a tool that crashes
%% is an error of its call, and the session goes on.
-spec call(Tool :: binary(), caller()) -> {ok, term()} | {error, failure()}.
call(Tool, #{session_type := SessionType}) ->
    case erlmcp_demo_registry:lookup(tool, Tool) of
        {error, unknown} -> {error, unknown_tool};
        {ok, _} -> authorized(Tool, SessionType)
    end.

-spec authorized(binary(), atom()) -> {ok, term()} | {error, failure()}.
authorized(<<"reindex">>, SessionType) when SessionType =/= admin ->
    _ = erlmcp_metrics:inc(erlmcp_authorization_checks_total, #{result => denied}),
    _ = erlmcp_metrics:inc(erlmcp_unauthorized_attempts_total, #{component => tools}),
    _ = erlmcp_metrics:inc(erlmcp_security_events_total,
                           #{event_type => unauthorized_tool, severity => warning}),
    {error, unauthorized};
authorized(Tool, _SessionType) ->
    _ = erlmcp_metrics:inc(erlmcp_authorization_checks_total, #{result => allowed}),
    case erlmcp_demo_quota:take() of
        true -> execute(Tool);
        false -> {error, quota_exceeded}
    end.

%% time/3 records the duration of a run that crashes too, and lets it crash on.
-spec execute(binary()) -> {ok, term()} | {error, tool_crashed}.
execute(Tool) ->
    Run = fun() -> erlmcp_demo_tracing:span(<<"execute_tool ", Tool/binary>>,
                                            #{attributes => #{'gen_ai.tool.name' => Tool}},
                                            fun() -> run(Tool) end) end,
    try erlmcp_metrics:time(erlmcp_tool_execution_duration_seconds, #{tool => Tool}, Run) of
        Result ->
            executed(Tool, success),
            {ok, Result}
    catch
        Class:Reason:Stack ->
            executed(Tool, error),
            logger:debug(#{what => tool_crashed, tool => Tool, class => Class,
                           reason => Reason, stack => Stack}),
            {error, tool_crashed}
    end.

-spec executed(binary(), erlmcp_demo_tally:status()) -> ok.
executed(Tool, Status) ->
    _ = erlmcp_metrics:record_counter(erlmcp_tool_executions_total, 1,
                                      #{tool => Tool, status => Status}),
    ok.

-spec run(binary()) -> term().
run(<<"calculator">>) ->
    erlmcp_demo_work:cpu(2),
    42;
run(<<"text_search">>) ->
    query(<<"SELECT">>, <<"documents">>, fun() -> erlmcp_demo_work:wait(4, 0.5) end),
    erlmcp_demo_work:cpu(40),
    [<<"doc://17">>, <<"doc://23">>];
run(<<"summarize">>) ->
    query(<<"SELECT">>, <<"documents">>, fun() -> erlmcp_demo_work:cpu(60) end),
    upstream(<<"POST">>, <<"model.example">>, fun() -> erlmcp_demo_work:wait(35, 0.6) end),
    binary:copy(<<"In short, it depends. ">>, 20);
run(<<"fetch_url">>) ->
    upstream(<<"GET">>, <<"pages.example">>, fun() ->
        erlmcp_demo_work:wait(15, 0.8),
        case erlmcp_demo_work:fault(0.05) of
            true -> error(connection_reset);
            false -> binary:copy(<<"<p>text</p>">>, 100)
        end
    end);
run(<<"create_note">>) ->
    erlmcp_demo_work:cpu(4),
    erlmcp_demo_registry:add_note(<<"remember the milk">>);
run(<<"reindex">>) ->
    erlmcp_demo_work:cpu(200),
    done;
run(<<"deep_research">>) ->
    %% Longer than anybody waits: erlmcp_demo_victim is killed in here.
    query(<<"SELECT">>, <<"documents">>, fun() -> erlmcp_demo_work:wait(4, 0.5) end),
    upstream(<<"POST">>, <<"model.example">>, fun() -> timer:sleep(60000) end).

%% The attributes are those of OpenTelemetry's conventions.
-spec query(binary(), binary(), fun(() -> Result)) -> Result.
query(Operation, Table, Fun) ->
    erlmcp_demo_tracing:span(<<Operation/binary, " ", Table/binary>>, #{
        kind => client,
        attributes => #{'db.system.name' => postgresql, 'db.operation.name' => Operation,
                        'db.collection.name' => Table}
    }, Fun).

-spec upstream(binary(), binary(), fun(() -> Result)) -> Result.
upstream(Method, Host, Fun) ->
    erlmcp_demo_tracing:span(Method, #{
        kind => client,
        attributes => #{'http.request.method' => Method, 'server.address' => Host,
                        'server.port' => 443}
    }, Fun).
