%% @doc `make demo': a simulated MCP server under load that scrapes itself.
%%
%% With `DEMO_SECONDS' it runs, compares the scrape with what its clients
%% counted, prints the figures and ends; with `DEMO_SECONDS=0' it stays up. Exit
%% status: 0 when the scrape was right (or the demo was told to stop while
%% staying up), 1 when not, 2 for a setting that cannot be used.
-module(erlmcp_demo).

-export([main/0]).

-define(OK, 0).
-define(FAILED, 1).
-define(BAD_SETTING, 2).
-define(PROGRESS_MS, 1000).
-define(STATUS_MS, 10000).
-define(SETTLE_MS, 5000).
-define(DIFFERENCES_SHOWN, 5).

%% @doc Starts the demo; it halts the node when it is done.
%%
%% Returns at once: a node whose `-s' function does not return is not booted.
-spec main() -> ok.
main() ->
    _ = spawn(fun run_and_halt/0),
    ok.

-spec run_and_halt() -> no_return().
run_and_halt() ->
    erlang:halt(run()).

-spec run() -> byte().
run() ->
    try
        case erlmcp_demo_settings:read() of
            {ok, Settings} -> with_node(Settings);
            {error, Text} -> complain(Text, ?BAD_SETTING)
        end
    catch
        Class:Reason:Stack ->
            complain(io_lib:format("~ts: ~tp~n~tp", [Class, Reason, Stack]), ?FAILED)
    end.

-spec with_node(erlmcp_demo_settings:settings()) -> byte().
with_node(#{log := Log} = Settings) ->
    erlmcp_demo_signal:forward_to(self()),
    log(Log),
    erlmcp_demo_metrics:declare(),
    case erlmcp_demo_node:start() of
        {ok, Urls, Moved} ->
            [say("port ~b is in use: taking a free one", [Port]) || Port <- Moved],
            try
                with_server(Settings, Urls)
            after
                erlmcp_demo_node:stop()
            end;
        {error, Text} ->
            complain(Text, ?FAILED)
    end.

%% Thousands of lines a second are nothing for a terminal: those of requests go to
%% the handlers of the library only, a file and OTLP.
-spec log(boolean()) -> ok.
log(false) ->
    logger:set_module_level(erlmcp_demo_session, none);
log(true) ->
    ok = logger:set_module_level(erlmcp_demo_session, info),
    logger:add_handler_filter(default, erlmcp_demo, {fun not_of_a_request/2, []}).

-spec not_of_a_request(logger:log_event(), []) -> logger:filter_return().
not_of_a_request(#{meta := #{mfa := {erlmcp_demo_session, _, _}}}, []) -> stop;
not_of_a_request(_, []) -> ignore.

-spec with_server(erlmcp_demo_settings:settings(), erlmcp_demo_node:urls()) -> byte().
with_server(#{seconds := Seconds, rate := Rate, sessions := Sessions, faults := Faults} = Settings,
            Urls) ->
    process_flag(trap_exit, true),
    erlmcp_demo_work:set_faults(Faults),
    erlmcp_demo_tally:new(),
    {ok, Supervisor} = erlmcp_demo_sup:start_link(Settings),
    say("a simulated MCP server, ~b sessions, ~b requests/s; ~ts",
        [Sessions, Rate, maps:get(all, Urls)]),
    say("its recent traces: ~ts", [maps:get(traces, Urls)]),
    erlmcp_demo_sup:start_load(Settings),
    try
        case Seconds of
            0 -> stay(Urls, Supervisor);
            _ -> measure(Seconds, Urls, Supervisor)
        end
    after
        erlmcp_demo_sup:stop(Supervisor)
    end.

-spec stay(erlmcp_demo_node:urls(), pid()) -> byte().
stay(Urls, Supervisor) ->
    io:put_chars([urls(Urls), "\n", prometheus(Urls), "Ctrl-C or SIGTERM stops it.\n\n"]),
    _ = erlmcp_demo_victim:start(0),
    case watch(Supervisor, ?STATUS_MS, infinity, {0, 0}) of
        stopped ->
            say("stopped", []),
            ?OK;
        {crashed, Reason} ->
            complain(io_lib:format("the simulated server ended: ~tp", [Reason]), ?FAILED)
    end.

-spec measure(pos_integer(), erlmcp_demo_node:urls(), pid()) -> byte().
measure(Seconds, Urls, Supervisor) ->
    Victim = erlmcp_demo_victim:start((Seconds - 1) * ?PROGRESS_MS),
    case watch(Supervisor, ?PROGRESS_MS, Seconds, {0, 0}) of
        done ->
            erlmcp_demo_sup:stop_load(),
            settled(erlmcp_demo_victim:await(Victim, ?SETTLE_MS), Urls);
        stopped ->
            complain("stopped before the scrape could be checked", ?FAILED);
        {crashed, Reason} ->
            complain(io_lib:format("the simulated server ended: ~tp", [Reason]), ?FAILED)
    end.

%% The request whose process was killed is counted when the reason is known.
-spec settled(ok | {error, term()}, erlmcp_demo_node:urls()) -> byte().
settled({error, Reason}, _Urls) ->
    complain(io_lib:format("no session could be killed: ~tp", [Reason]), ?FAILED);
settled(ok, Urls) ->
    wait_until_idle(erlang:monotonic_time(millisecond) + ?SETTLE_MS),
    case erlmcp_otel_instrumentation:force_flush(?SETTLE_MS) of
        ok -> report(Urls);
        {error, timeout} -> complain("the spans could not be exported in time", ?FAILED)
    end.

-spec wait_until_idle(End :: integer()) -> ok.
wait_until_idle(End) ->
    InFlight = erlmcp_metrics:value(erlmcp_requests_in_flight, #{}),
    case InFlight =/= 0 andalso erlang:monotonic_time(millisecond) < End of
        true ->
            timer:sleep(10),
            wait_until_idle(End);
        false ->
            ok
    end.

%% One line for each interval, until the time is over or somebody ends it.
-spec watch(pid(), pos_integer(), Left :: non_neg_integer() | infinity,
            {Elapsed :: non_neg_integer(), RequestsBefore :: non_neg_integer()}) ->
    done | stopped | {crashed, term()}.
watch(_Supervisor, _IntervalMs, 0, _Before) ->
    done;
watch(Supervisor, IntervalMs, Left, Before) ->
    Timer = erlang:start_timer(IntervalMs, self(), progress),
    receive
        {timeout, Timer, progress} ->
            Now = progress(IntervalMs, Before),
            watch(Supervisor, IntervalMs, less(Left), Now);
        {signal, sigterm} ->
            stopped;
        {'EXIT', Supervisor, Reason} ->
            {crashed, Reason}
    end.

-spec less(pos_integer() | infinity) -> non_neg_integer() | infinity.
less(infinity) -> infinity;
less(Left) -> Left - 1.

-spec progress(pos_integer(), {non_neg_integer(), non_neg_integer()}) ->
    {non_neg_integer(), non_neg_integer()}.
progress(IntervalMs, {Elapsed, Before}) ->
    #{requests := Requests, errors := Errors, sessions := Sessions} = erlmcp_demo_tally:totals(),
    Seconds = Elapsed + IntervalMs div 1000,
    io:format("~6b s ~10b requests ~7b/s ~8b errors ~7b sessions~n",
              [Seconds, Requests, (Requests - Before) * 1000 div IntervalMs, Errors, Sessions]),
    {Seconds, Requests}.

-spec report(erlmcp_demo_node:urls()) -> byte().
report(#{all := Url} = Urls) ->
    Expected = erlmcp_demo_check:expected(),
    case erlmcp_demo_scrape:all(Url) of
        {ok, [#{exposition := #{samples := Samples}} | _] = Scrapes} ->
            print("Requests, from the scrape of " ++ Url, erlmcp_demo_report:requests(Samples)),
            print("Sessions", erlmcp_demo_report:sessions(Samples)),
            print("Spans", erlmcp_demo_report:spans(Samples)),
            print("Scrapes", erlmcp_demo_report:scrapes(Scrapes)),
            print("Recording, one process, this machine",
                  erlmcp_demo_report:costs(erlmcp_demo_cost:measure())),
            Verdict = max(verdict(Expected, Scrapes), traces(Urls)),
            io:put_chars(["\n", next(Urls)]),
            Verdict;
        {error, Text} ->
            complain(Text, ?FAILED)
    end.

-spec verdict(erlmcp_demo_check:expected(), [erlmcp_demo_scrape:scrape()]) -> byte().
verdict(Expected, Scrapes) ->
    #{requests := Requests, spans := Spans} = erlmcp_demo_tally:totals(),
    Results = [{Title, erlmcp_demo_check:differences(Expected, Samples)
                       ++ erlmcp_demo_check:span_differences(Spans, Samples)}
               || #{title := Title, exposition := #{samples := Samples}} <- Scrapes],
    case [Result || {_, [_ | _]} = Result <- Results] of
        [] ->
            io:format("~ncheck: ok: the clients counted ~b requests, and so says each of "
                      "~b scrapes~n       (~b figures compared: by method, status, histogram, "
                      "sessions)~n       ~b spans were begun, theirs among them, and so many "
                      "were recorded~n",
                      [Requests, length(Scrapes), length(Expected) * length(Scrapes),
                       Spans]),
            ?OK;
        Wrong ->
            lists:foreach(fun complain_of/1, Wrong),
            ?FAILED
    end.

%% Whether the page of traces shows what went wrong.
-spec traces(erlmcp_demo_node:urls()) -> byte().
traces(#{traces := Url}) ->
    case erlmcp_demo_traces:killed(Url) of
        {ok, Link} ->
            io:format("       the session that was killed in the middle of a request is at~n"
                      "       ~ts~n", [Link]),
            ?OK;
        {skipped, Text} ->
            io:format("       ~ts is not looked at: ~ts~n", [Url, Text]),
            ?OK;
        {error, Text} ->
            io:format("~ncheck: FAILED: ~ts~n", [Text]),
            ?FAILED
    end.

-spec complain_of({string(), [erlmcp_demo_check:difference()]}) -> ok.
complain_of({Title, Differences}) ->
    io:format("~ncheck: FAILED: ~ts: ~b figures differ from what the clients counted, such as~n",
              [Title, length(Differences)]),
    lists:foreach(fun({What, Counted, Scraped}) ->
        io:format("       ~ts: ~p counted, ~p scraped~n", [What, Counted, Scraped])
    end, lists:sublist(Differences, ?DIFFERENCES_SHOWN)).

-spec next(erlmcp_demo_node:urls()) -> iolist().
next(Urls) ->
    ["Next:\n",
     "  DEMO_SECONDS=0 make demo          stays up, to look at\n",
     "                                      ", maps:get(traces, Urls), "\n",
     "                                      ", maps:get(all, Urls), "\n",
     prometheus(Urls),
     "  examples/erlmcp_app               a rebar3 project that uses the library\n"
     "  examples/elixir_app               a Mix project that does\n"].

-spec urls(erlmcp_demo_node:urls()) -> iolist().
urls(#{all := All, application := Application, traces := Traces, root := Root}) ->
    ["Open:\n",
     "  ", string:pad(Traces, 40), "recent traces: errors first, then the slowest\n",
     "  ", string:pad(All, 40), "everything: server, VM, process, library\n",
     "  ", string:pad(Application, 40), "what the application registered\n",
     "  ", string:pad(Root ++ "/health", 40), "whether it is well\n"].

-spec prometheus(erlmcp_demo_node:urls()) -> iolist().
prometheus(#{all := All, usual_port := Usual}) ->
    case os:find_executable("prometheus") of
        false ->
            [];
        _ ->
            ["  A Prometheus on http://127.0.0.1:9090 that scrapes it, from the project's root:\n",
             "    prometheus --config.file=examples/demo/prometheus.yml "
             "--storage.tsdb.path=/tmp/erlmcp-demo\n",
             ["    (with the target of " ++ All ++ " in that file)\n" || not Usual]]
    end.

-spec print(string(), iolist()) -> ok.
print(Title, Text) ->
    io:put_chars(["\n", Title, "\n\n", Text]).

-spec say(string(), [term()]) -> ok.
say(Format, Arguments) ->
    io:format("demo: " ++ Format ++ "~n", Arguments).

-spec complain(iolist(), byte()) -> byte().
complain(Text, Status) ->
    io:format(standard_error, "demo: ~ts~n", [Text]),
    Status.
