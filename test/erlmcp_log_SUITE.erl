%% Logs on nodes of their own: a file that is rotated under load, full, gone or
%% forbidden; the span's ids; log records at the strict receiver and behind the
%% Collector.
-module(erlmcp_log_SUITE).

-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0, groups/0]).
-export([init_per_suite/1, end_per_suite/1, init_per_group/2, end_per_group/2]).
-export([rotation_under_load/1, older_files/1, what_finds_no_room_is_counted/1,
         a_file_that_is_deleted_or_renamed/1, a_line_that_was_cut_off/1, the_owner_is_killed/1,
         a_changed_handler/1]).
-export([what_is_stopped_stays_stopped/1]).

-export([a_folder_that_may_not_be_written/1, a_full_disk/1]).
-export([ids_for_other_formatters/1, messages_are_counted/1, the_filter_is_removed/1]).
-export([records_arrive/1, crashes_arrive/1, nothing_feeds_on_itself/1, limits_of_records/1,
         records_that_find_no_room/1, no_receiver_no_handler/1]).

%% Called on nodes, and by logger.
-export([log_much/2, say/2, say_in_span/0, crash/0, log/2, collect/0]).
-export([in_a_bad_folder/1, on_a_full_disk/0]).

-define(OTEL, erlmcp_otel_instrumentation).
-define(WRITERS, 20).
-define(LINES, 1500).

suite() ->
    [{timetrap, {minutes, 4}}].

all() ->
    [{group, file}, {group, console}, {group, filter}, {group, grpc}, {group, http}, {group, collector}].

groups() ->
    Records = [records_arrive, crashes_arrive, limits_of_records],
    [{file, [], [rotation_under_load, older_files, what_finds_no_room_is_counted,
                 a_file_that_is_deleted_or_renamed, a_line_that_was_cut_off, the_owner_is_killed,
                 a_changed_handler]},
     {console, [], [a_folder_that_may_not_be_written, a_full_disk]},
     {filter, [], [ids_for_other_formatters, messages_are_counted, the_filter_is_removed,
                   what_is_stopped_stays_stopped]},
     {grpc, [], Records},
     {http, [], Records ++ [nothing_feeds_on_itself, records_that_find_no_room, no_receiver_no_handler]},
     {collector, [], Records}].

init_per_suite(Config) ->
    Dir = filename:join(proplists:get_value(priv_dir, Config), "logs"),
    ok = filelib:ensure_dir(filename:join(Dir, "file")),
    [{dir, Dir} | Config].

end_per_suite(_Config) ->
    ok.

init_per_group(collector, Config) ->
    case erlmcp_ct_collector:executable() of
        {ok, _} ->
            Receiver = erlmcp_ct_receiver:start(proplists:get_value(dir, Config)),
            Collector = erlmcp_ct_collector:start(proplists:get_value(dir, Config), #{to => Receiver}),
            [{receiver, Receiver}, {collector, Collector}, {protocol, "http/protobuf"},
             {url, erlmcp_ct_collector:url(Collector, http)} | Config];
        {skip, _} = Skip ->
            Skip
    end;
init_per_group(Protocol, Config) when Protocol =:= grpc; Protocol =:= http ->
    Receiver = erlmcp_ct_receiver:start(proplists:get_value(dir, Config)),
    Names = #{grpc => "grpc", http => "http/protobuf"},
    [{receiver, Receiver}, {protocol, maps:get(Protocol, Names)},
     {url, erlmcp_ct_receiver:url(Receiver, Protocol)} | Config];
init_per_group(_Group, Config) ->
    Config.

end_per_group(_Group, Config) ->
    [erlmcp_ct_collector:stop(Collector) || {collector, Collector} <- Config],
    [begin
         #{violations := []} = erlmcp_ct_receiver:received(Receiver),
         erlmcp_ct_receiver:stop(Receiver)
     end || {receiver, Receiver} <- Config],
    ok.

%% The file

%% Many processes, hundreds of files: every line is there once, in the order of
%% its process, and Promtail's pipeline reads all of them.
rotation_under_load(Config) ->
    File = file(Config, "load"),
    with_file(File, #{log_file_max_bytes => 65536, log_file_count => 1000}, fun(Node) ->
        ok = on(Node, log_much, [?WRITERS, ?LINES]),
        ok = erlmcp_ct_node:call(Node, erlmcp_log_file, flush, []),
        ?assertEqual(0, metric(Node, "erlmcp_log_dropped_total")),
        ?assertEqual(?WRITERS * ?LINES, metric(Node, "erlmcp_log_messages_total\\{level=\"info\"\\}"))
    end),
    Files = files(File),
    ct:log("~b files", [length(Files)]),
    ?assert(length(Files) > 50),
    [?assertEqual({Writer, lists:seq(1, ?LINES)}, {Writer, Numbers})
     || {Writer, Numbers} <- numbers(lists:append([lines(One) || One <- Files]))],
    [?assert(filelib:file_size(One) =< 65536) || One <- Files],
    {Entries, 0} = erlmcp_ct_lines:pipeline(Files),
    ?assertMatch(#{<<"load,info">> := ?WRITERS * ?LINES}, Entries).

%% So many and no more, the newest readable as it is.
older_files(Config) ->
    File = file(Config, "older"),
    with_file(File, #{log_file_max_bytes => 65536, log_file_count => 3}, fun(Node) ->
        ok = on(Node, log_much, [2, 2000]),
        ok = erlmcp_ct_node:call(Node, erlmcp_log_file, flush, [])
    end),
    ?assertEqual([".1", ".2.gz", ".3.gz", ""],
                 lists:sort(fun(A, B) -> A =/= "" andalso (B =:= "" orelse A =< B) end,
                            [lists:nthtail(length(File), One) || One <- files(File)])),
    Plain = file(Config, "plain"),
    with_file(Plain, #{log_file_max_bytes => 65536, log_file_count => 1, log_file_compress => false},
              fun(Node) -> ok = on(Node, log_much, [2, 1000]) end),
    ?assertEqual([Plain ++ ".1", Plain], files(Plain)),
    None = file(Config, "none"),
    with_file(None, #{log_file_max_bytes => 65536, log_file_count => 0},
              fun(Node) -> ok = on(Node, log_much, [2, 1000]) end),
    ?assertEqual([None], files(None)).

%% Whoever logs does not wait for the owner of the file.
what_finds_no_room_is_counted(Config) ->
    File = file(Config, "room"),
    with_file(File, #{log_file_queue_bytes => 65536}, fun(Node) ->
        ok = erlmcp_ct_node:call(Node, sys, suspend, [erlmcp_log_file]),
        ok = on(Node, log_much, [4, 500]),
        ok = erlmcp_ct_node:call(Node, sys, resume, [erlmcp_log_file]),
        ok = erlmcp_ct_node:call(Node, erlmcp_log_file, flush, []),
        Dropped = metric(Node, "erlmcp_log_dropped_total\\{reason=\"queue_full\"\\}"),
        Written = length(said(lines(File))),
        ct:log("~b written, ~b dropped", [Written, Dropped]),
        ?assert(Dropped > 500),
        ?assert(Written > 50),
        ?assertEqual(2000, Written + Dropped),
        %% And there is room again.
        ok = on(Node, log_much, [1, 50]),
        ok = erlmcp_ct_node:call(Node, erlmcp_log_file, flush, []),
        ?assertEqual(Written + 50, length(said(lines(File))))
    end).

a_file_that_is_deleted_or_renamed(Config) ->
    File = file(Config, "deleted"),
    with_file(File, #{}, fun(Node) ->
        [begin
             on(Node, say, [notice, Text]),
             ok = erlmcp_ct_node:call(Node, erlmcp_log_file, flush, []),
             [_] = said(lines(File), Text),
             ok = Remove(),
             timer:sleep(1100)
         end || {Text, Remove} <- [{"one", fun() -> file:delete(File) end},
                                   {"two", fun() -> file:rename(File, File ++ ".mine") end},
                                   {"three", fun() -> ok end}]],
        ?assertMatch([_], said(lines(File ++ ".mine"), "two")),
        ?assertMatch([], said(lines(File), "two"))
    end).

%% As a node leaves it that was killed.
a_line_that_was_cut_off(Config) ->
    File = file(Config, "cut"),
    ok = file:write_file(File, "{\"message\":\"whole\"}\n{\"message\":\"cut o"),
    with_file(File, #{}, fun(Node) -> on(Node, say, [notice, "next"]) end),
    ?assertMatch([<<"{\"message\":\"whole\"}">>, <<"{\"message\":\"cut o">>, <<"{", _/binary>> | _], lines(File)),
    ?assertMatch([_], said(lines(File), "next")).

the_owner_is_killed(Config) ->
    File = file(Config, "killed"),
    with_file(File, #{}, fun(Node) ->
        Owner = erlmcp_ct_node:call(Node, erlang, whereis, [erlmcp_log_file]),
        true = erlmcp_ct_node:call(Node, erlang, exit, [Owner, kill]),
        erlmcp_ct_load:until(fun() -> erlmcp_ct_node:call(Node, erlmcp_log_file, is_writing, []) end),
        on(Node, say, [notice, "after"])
    end),
    ?assertMatch([_], said(lines(File), "after")).

%% Others can change its level, and not what the owner needs.
a_changed_handler(Config) ->
    File = file(Config, "changed"),
    with_file(File, #{}, fun(Node) ->
        ok = erlmcp_ct_node:call(Node, logger, set_handler_config, [erlmcp_log_file, config, #{owner => none}]),
        ok = erlmcp_ct_node:call(Node, logger, set_handler_config, [erlmcp_log_file, level, error]),
        [on(Node, say, [Level, atom_to_list(Level) ++ " text"]) || Level <- [warning, error]],
        {ok, #{config := Shown}} = erlmcp_ct_node:call(Node, logger, get_handler_config, [erlmcp_log_file]),
        ?assertEqual([queue_bytes], maps:keys(Shown))
    end),
    ?assertMatch({[], [_]}, {said(lines(File), "warning text"), said(lines(File), "error text")}).

%% Standard output

%% The node starts, says what is wrong, and goes on on standard output; when the
%% folder can be written, the file is.
a_folder_that_may_not_be_written(Config) ->
    Blocked = filename:join(proplists:get_value(dir, Config), "no_folder"),
    ok = file:write_file(Blocked, "not a folder"),
    File = filename:join(Blocked, "erlmcp.log"),
    Output = run("erlmcp_log_SUITE:in_a_bad_folder(\"" ++ Blocked ++ "\")",
                 [{"ERLMCP_LOG_FILE", File}]),
    ?assertMatch([_], said(Output, "no_folder/erlmcp.log cannot be written (a part of its path is no folder)")),
    ?assertMatch([_], said(Output, "before")),
    ?assertMatch([], said(Output, "after")),
    ?assertMatch([_], said(lines(File), "is written again")),
    ?assertMatch([_], said(lines(File), "after")).

%% In a node of its own.
in_a_bad_folder(Blocked) ->
    %% It stands in where there is no default one.
    ok = logger:remove_handler(simple),
    {ok, _} = application:ensure_all_started(erlmcp_instrumentation),
    logger:notice("before"),
    ok = erlmcp_log_file:flush(),
    false = erlmcp_log_file:is_writing(),
    ok = file:delete(Blocked),
    ok = erlmcp_ct_load:until(fun erlmcp_log_file:is_writing/0),
    logger:notice("after"),
    ok = erlmcp_log_file:flush(),
    %% What it says itself comes after it.
    ok = erlmcp_log_file:flush().

%% What cannot be written is not lost.
a_full_disk(_Config) ->
    case file:read_file_info("/dev/full") of
        {ok, _} ->
            Output = run("erlmcp_log_SUITE:on_a_full_disk()", [{"ERLMCP_LOG_FILE", "/dev/full"}]),
            [?assertMatch([_], said(Output, Text)) || Text <- ["text one", "text two", "text three"]],
            ?assertMatch([_], said(Output, "no space left on device")),
            ?assertMatch([], said(Output, "is written again"));
        {error, _} ->
            {skip, "no /dev/full"}
    end.

on_a_full_disk() ->
    ok = logger:remove_handler(simple),
    {ok, _} = application:ensure_all_started(erlmcp_instrumentation),
    [begin logger:notice(Text), ok = erlmcp_log_file:flush() end || Text <- ["text one", "text two"]],
    %% As after the pause: the file can be opened, and still not be written.
    erlmcp_log_file ! try_again,
    logger:notice("text three"),
    ok = erlmcp_log_file:flush(),
    ok = erlmcp_log_file:flush(),
    nomatch = re:run(erlmcp_metrics:scrape(text), "^erlmcp_log_dropped_total\\{", [multiline]).

%% A node whose standard output is read. Its default handler is quiet.
run(Expression, Variables) ->
    Assignments = [Name ++ "=" ++ Value || {Name, Value} <- [{"ERLMCP_HTTP_ENABLED", "false"} | Variables]],
    Paths = lists:append([["-pa", Path] || Path <- code:get_path(), Path =/= "."]),
    Output = erlmcp_ct_program:run(["/usr/bin/env" | Assignments]
        ++ ["erl", "-noshell", "-kernel", "logger", "[{handler,default,undefined}]"] ++ Paths
        ++ ["-eval", Expression ++ ", halt(0)."]),
    ct:log("~ts", [Output]),
    [Line || <<"{\"time\"", _/binary>> = Line <- binary:split(Output, <<"\n">>, [global])].

%% The filter

ids_for_other_formatters(_Config) ->
    Node = erlmcp_ct_node:start(#{}),
    try
        [{Ids, Meta}, {_, Outside}] = on(Node, collect, []),
        ?assertMatch({{TraceId, SpanId}, #{trace_id := TraceId, span_id := SpanId, trace_flags := <<"01">>}},
                     {Ids, Meta}),
        ?assertEqual(#{}, maps:with([trace_id, span_id, trace_flags], Outside))
    after
        erlmcp_ct_node:stop(Node)
    end.

%% The metadata of one event in a span and one outside of it.
collect() ->
    ok = logger:add_handler(?MODULE, ?MODULE, #{config => #{to => self()}}),
    Said = fun() -> receive {event, #{meta := Meta}} -> Meta after 30000 -> error({nothing_logged, node()}) end end,
    In = ?OTEL:with_span(<<"logs">>, fun() ->
        logger:notice("in"),
        {{?OTEL:trace_id(), ?OTEL:span_id()}, Said()}
    end),
    logger:notice("out"),
    Out = Said(),
    ok = logger:remove_handler(?MODULE),
    [In, {none, Out}].

log(Event, #{config := #{to := Pid}}) ->
    Pid ! {event, Event}.

messages_are_counted(_Config) ->
    Node = erlmcp_ct_node:start(#{}),
    try
        Count = fun(Level) -> metric(Node, "erlmcp_log_messages_total\\{level=\"" ++ Level ++ "\"\\}") end,
        Before = [Count(Level) || Level <- ["notice", "error", "info"]],
        [on(Node, say, [Level, "x"]) || Level <- [notice, error, error, info]],
        %% Info is below logger's own level.
        ?assertEqual([1, 2, 0], [A - B || {A, B} <- lists:zip([Count(Level) || Level <- ["notice", "error", "info"]], Before)])
    after
        erlmcp_ct_node:stop(Node)
    end.

%% Where logger lets nothing through that no filter asks for, a span changes nothing.
what_is_stopped_stays_stopped(_Config) ->
    Node = erlmcp_ct_node:start(#{}),
    try
        ok = erlmcp_ct_node:call(Node, application, stop, [erlmcp_instrumentation]),
        ok = erlmcp_ct_node:call(Node, logger, set_primary_config, [filter_default, stop]),
        ok = erlmcp_ct_node:call(Node, erlmcp_ct_app, start, [#{}]),
        ?assertError({nothing_logged, _}, on(Node, collect, []))
    after
        erlmcp_ct_node:stop(Node)
    end.

the_filter_is_removed(_Config) ->
    Filters = fun(Node) ->
        #{filters := Found} = erlmcp_ct_node:call(Node, logger, get_primary_config, []),
        [Id || {Id, _} <- Found, Id =:= erlmcp_log_context]
    end,
    Node = erlmcp_ct_node:start(#{}),
    try
        ?assertEqual([erlmcp_log_context], Filters(Node)),
        ok = erlmcp_ct_node:call(Node, application, stop, [erlmcp_instrumentation]),
        ?assertEqual([], Filters(Node)),
        ok = erlmcp_ct_node:call(Node, erlmcp_ct_app, start, [#{log_context => false}]),
        ?assertEqual([], Filters(Node))
    after
        erlmcp_ct_node:stop(Node)
    end.

%% Records

records_arrive(Config) ->
    with_export(Config, [], fun(Node) ->
        ok = erlmcp_ct_node:call(Node, logger, set_primary_config, [level, debug]),
        Levels = [debug, info, notice, warning, error, critical, alert, emergency],
        [on(Node, say, [Level, "level"]) || Level <- Levels],
        Records = awaited(Config, Node, <<"level">>, length(Levels)),
        ?assertEqual([{atom_to_binary(Level), erlmcp_otel_log_handler:severity(Level)} || Level <- Levels],
                     [{Text, Severity} || #{severity_text := Text, severity := Severity} <- Records]),
        Now = erlang:system_time(nanosecond),
        [begin
             ?assertMatch(#{<<"n">> := {int, 7}, <<"ratio">> := {double, 0.5}, <<"who">> := {string, <<"größe"/utf8>>},
                            <<"db_password">> := {string, <<"[REDACTED]">>},
                            <<"nested">> := {map, #{<<"token">> := {string, <<"[REDACTED]">>}}},
                            <<"code.function.name">> := {string, <<"erlmcp_log_SUITE:say/2">>},
                            <<"code.line.number">> := {int, _}, <<"code.file.path">> := {string, _},
                            <<"erlang.pid">> := {string, <<"<", _/binary>>},
                            <<"erlang.domain">> := {array, [{string, <<"suite">>}]}}, Attributes),
             ?assert(abs(Now - Time) < 120 * 1000000000),
             ?assert(Observed >= Time)
         end || #{attributes := Attributes, time := Time, observed_time := Observed} <- Records],
        {TraceId, SpanId} = on(Node, say_in_span, []),
        [#{trace_id := Trace, span_id := Span, flags := 1}] = awaited(Config, Node, <<"in a span">>, 1),
        ?assertEqual({TraceId, SpanId}, {Trace, Span})
    end).

%% What proc_lib and gen_server say of a process that crashed.
crashes_arrive(Config) ->
    with_export(Config, [], fun(Node) ->
        ok = on(Node, crash, []),
        ok = flush(Node),
        erlmcp_ct_load:until(fun() -> length(exceptions(Config)) >= 1 end),
        [?assertMatch(#{<<"exception.type">> := {string, <<"boom">>},
                        <<"exception.stacktrace">> := {string, <<"erlmcp_log_SUITE:", _/binary>>}}, Attributes)
         || Attributes <- exceptions(Config)],
        [?assertEqual(nomatch, binary:match(term_to_binary(Record), <<"geheim">>)) || Record <- records(Config)]
    end).

exceptions(Config) ->
    [Attributes || #{attributes := #{<<"exception.type">> := {string, <<"boom">>}} = Attributes} <- records(Config)].

crash() ->
    {Pid, Monitor} = proc_lib:spawn_opt(fun() ->
        put(db_password, <<"geheim">>),
        error({boom, #{token => <<"geheim">>}})
    end, [monitor]),
    receive {'DOWN', Monitor, process, Pid, _} -> ok end.

%% What the exporter says of its failures is not exported, and what others say
%% meanwhile comes later.
nothing_feeds_on_itself(Config) ->
    with_export(Config, [], fun(Node) ->
        Receiver = proplists:get_value(receiver, Config),
        ok = erlmcp_ct_receiver:fault(Receiver, status, #{code => 503}),
        on(Node, say, [error, "kept"]),
        timer:sleep(3000),
        ok = erlmcp_ct_receiver:fault(Receiver, ok),
        [_] = awaited(Config, Node, <<"kept">>, 1),
        on(Node, say, [error, "last"]),
        [_] = awaited(Config, Node, <<"last">>, 1),
        ?assertEqual([], [Record || #{body := {string, Text}} = Record <- records(Config),
                                    binary:match(Text, <<"erlmcp_instrumentation">>) =/= nomatch])
    end).

limits_of_records(Config) ->
    Limits = [{"OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT", "3"}, {"OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT", "5"}],
    with_export(Config, Limits, fun(Node) ->
        on(Node, say, [error, "limit and more"]),
        [#{attributes := Attributes, dropped_attributes := Dropped}] = awaited(Config, Node, <<"limit">>, 1),
        ?assertEqual({3, true}, {maps:size(Attributes), Dropped > 2}),
        [?assert(byte_size(Text) =< 10) || {string, Text} <- maps:values(Attributes)]
    end).

records_that_find_no_room(Config) ->
    with_export(Config, [{"OTEL_BLRP_MAX_QUEUE_SIZE", "100"}, {"OTEL_BLRP_SCHEDULE_DELAY", "60000"}], fun(Node) ->
        ok = erlmcp_ct_receiver:fault(proplists:get_value(receiver, Config), silent),
        on(Node, log_much, [4, 500]),
        ok = erlmcp_ct_receiver:fault(proplists:get_value(receiver, Config), ok),
        ok = flush(Node),
        #{exported := Exported, dropped := #{queue_full := Dropped}} =
            erlmcp_ct_spans:counts(logs, erlmcp_ct_node:call(Node, erlmcp_metrics, scrape, [text])),
        ct:log("~b exported, ~b dropped", [Exported, Dropped]),
        ?assert(Exported >= 100),
        ?assertEqual(2000, Exported + Dropped)
    end).

no_receiver_no_handler(Config) ->
    Handlers = fun(Variables) ->
        Node = erlmcp_ct_node:start(#{}, #{env => Variables}),
        try lists:member(erlmcp_otel, erlmcp_ct_node:call(Node, logger, get_handler_ids, []))
        after erlmcp_ct_node:stop(Node)
        end
    end,
    Endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT", proplists:get_value(url, Config)},
    ?assertEqual([false, true, false],
                 [Handlers(Variables) || Variables <- [[], [Endpoint], [Endpoint, {"OTEL_LOGS_EXPORTER", "none"}]]]).

%% On nodes

log_much(Writers, Lines) ->
    ok = logger:set_primary_config(level, info),
    _ = erlmcp_ct_load:together(Writers, fun(Writer) ->
        [logger:info("much ~b ~ts", [N, lists:duplicate(N rem 50, $x)], #{writer => Writer, number => N})
         || N <- lists:seq(1, Lines)]
    end),
    ok.

say(Level, Text) ->
    logger:log(Level, Text, #{n => 7, ratio => 0.5, who => <<"größe"/utf8>>, db_password => <<"geheim">>,
                              nested => #{token => <<"geheim">>}, domain => [suite],
                              mfa => {?MODULE, ?FUNCTION_NAME, ?FUNCTION_ARITY}, line => ?LINE, file => ?FILE}).

say_in_span() ->
    ?OTEL:with_span(<<"logs">>, fun() ->
        logger:error("in a span"),
        {binary:decode_hex(?OTEL:trace_id()), binary:decode_hex(?OTEL:span_id())}
    end).

%% Running things

on(Node, Function, Arguments) ->
    erlmcp_ct_node:call(Node, ?MODULE, Function, Arguments).

file(Config, Name) ->
    filename:join(proplists:get_value(dir, Config), Name ++ ".log").

with_file(File, Settings, Test) ->
    Node = erlmcp_ct_node:start(Settings#{log_file => File}),
    try
        %% The peer's console is the test's.
        _ = erlmcp_ct_node:call(Node, logger, remove_handler, [default]),
        Test(Node),
        ok = erlmcp_ct_node:call(Node, application, stop, [erlmcp_instrumentation])
    after
        erlmcp_ct_node:stop(Node)
    end.

with_export(Config, Variables, Test) ->
    ok = erlmcp_ct_receiver:forget(proplists:get_value(receiver, Config)),
    Usual = [{"OTEL_EXPORTER_OTLP_ENDPOINT", proplists:get_value(url, Config)},
             {"OTEL_EXPORTER_OTLP_PROTOCOL", proplists:get_value(protocol, Config)},
             {"OTEL_METRICS_EXPORTER", "none"},
             {"OTEL_BLRP_SCHEDULE_DELAY", "50"}],
    Named = [Name || {Name, _} <- Variables],
    Node = erlmcp_ct_node:start(#{}, #{env => [One || {Name, _} = One <- Usual, not lists:member(Name, Named)]
                                                  ++ Variables}),
    try
        _ = erlmcp_ct_node:call(Node, logger, remove_handler, [default]),
        Test(Node)
    after
        erlmcp_ct_node:stop(Node)
    end.

flush(Node) ->
    erlmcp_ct_node:call(Node, ?OTEL, force_flush, [20000]).

records(Config) ->
    erlmcp_ct_receiver:records(proplists:get_value(receiver, Config), logs).

%% So many records with this text, in the order of their times.
awaited(Config, Node, Text, Count) ->
    ok = flush(Node),
    Found = fun() -> [Record || #{body := {string, Body}} = Record <- records(Config), Body =:= Text] end,
    erlmcp_ct_load:until(fun() -> length(Found()) >= Count end),
    lists:sort(fun(#{time := A}, #{time := B}) -> A =< B end, Found()).

%% Files from the oldest on.
files(File) ->
    Older = [{list_to_integer(N), One} || One <- filelib:wildcard(File ++ ".*"),
                                          {match, [N]} <- [re:run(One, "\\.log\\.([0-9]+)(?:\\.gz)?$",
                                                                  [{capture, all_but_first, list}])]],
    [One || {_, One} <- lists:reverse(lists:sort(Older))] ++ [File].

lines(File) ->
    {ok, Bytes} = file:read_file(File),
    Text = case filename:extension(File) of ".gz" -> zlib:gunzip(Bytes); _ -> Bytes end,
    ?assertEqual($\n, binary:last(Text)),
    lists:droplast(binary:split(Text, <<"\n">>, [global])).

said(Lines) ->
    said(Lines, "much ").

said(Lines, Text) ->
    [Line || Line <- Lines, binary:match(Line, list_to_binary(Text)) =/= nomatch].

%% What each process has written, in the order of the lines.
numbers(Lines) ->
    Add = fun(Line, Acc) ->
        {match, [Number, Writer]} = re:run(Line, "\"number\":([0-9]+),\"writer\":([0-9]+)[,}]",
                                           [{capture, all_but_first, binary}]),
        maps:update_with(Writer, fun(Before) -> [binary_to_integer(Number) | Before] end,
                         [binary_to_integer(Number)], Acc)
    end,
    Found = lists:foldl(Add, #{}, said(Lines)),
    ?WRITERS = maps:size(Found),
    [{Writer, lists:reverse(Numbers)} || {Writer, Numbers} <- maps:to_list(Found)].

metric(Node, Series) ->
    Text = erlmcp_ct_node:call(Node, erlmcp_metrics, scrape, [text]),
    case re:run(Text, "^" ++ Series ++ " ([0-9]+)", [multiline, {capture, all_but_first, list}]) of
        {match, [Value]} -> list_to_integer(Value);
        nomatch -> 0
    end.
