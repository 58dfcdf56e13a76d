%% What the endpoint exposes is what was recorded: checked by readers that
%% others wrote (see test/oracle/compare.py) and by promtool.
-module(erlmcp_exposition_SUITE).

-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1]).
-export([formats_agree_with_values/1]).
-export([names_that_clash/1]).
-export([many_series/1]).
-export([series_come_and_go/1]).
-export([exponential_histograms/1]).
-export([exemplars_are_shown/1]).
-export([exemplars_end_with_their_series/1]).
-export([every_format_shows_the_node/1]).
-export([promtool_likes_a_declared_application/1]).
-export([promtool_likes_the_node/1]).
-export([the_checks_can_fail/1]).

%% Called on the node.
-export([record_many/0, record_of_the_node/0, record_known/0, record_declared/0]).
-export([churn/0, forget/1, record_traced/0, record_exponential/0]).
-export([observations/0]).

-define(CASES, 250).
-define(RECORDERS, 3).
-define(CHURN_MS, 2000).
-define(CHURNS, {?MODULE, churns}).
%% Names that the node and the library itself expose.
-define(OTHERS, "(erlang|erlmcp|process)_.*").
-define(FORMATS, [text, openmetrics, protobuf]).

suite() ->
    [{timetrap, {minutes, 4}}].

all() ->
    [formats_agree_with_values,
     names_that_clash,
     many_series,
     series_come_and_go,
     exponential_histograms,
     exemplars_are_shown,
     exemplars_end_with_their_series,
     every_format_shows_the_node,
     promtool_likes_a_declared_application,
     promtool_likes_the_node,
     the_checks_can_fail].

init_per_suite(Config) ->
    [{node, erlmcp_ct_node:start(#{})} | Config].

end_per_suite(Config) ->
    erlmcp_ct_node:stop(proplists:get_value(node, Config)).

%% Random metrics, read back from every format, plain and compressed. The node
%% checks value/2 against what it recorded, compare.py the formats against
%% value/2.
formats_agree_with_values(Config) ->
    hold_for(Config, erlmcp_ct_random:metrics(), record).

%% Metrics of which some would expose a name that another one does: what is not
%% refused is readable in every format.
names_that_clash(Config) ->
    hold_for(Config, erlmcp_ct_random:clashing(), record_clashing).

%% Whether all that a function of erlmcp_ct_random records is in every format.
hold_for(Config, Type, Record) ->
    Node = proplists:get_value(node, Config),
    Url = erlmcp_ct_node:url(Node, "/metrics/custom"),
    Oracle = erlmcp_ct_oracle:open(),
    Check = fun(Metrics) -> disagreements(Config, Url, Oracle, Record, Metrics) end,
    Property = proper:forall(Type, fun(Metrics) -> Check(Metrics) =:= [] end),
    case proper:quickcheck(Property, [quiet, {numtests, ?CASES}, {max_size, 30}]) of
        true ->
            erlmcp_ct_oracle:close(Oracle);
        false ->
            [Smallest] = proper:counterexample(),
            ct:pal(error, "The smallest counterexample:~n~tp~n~ts",
                   [Smallest, lists:join($\n, Check(Smallest))]),
            ct:fail(formats_disagree)
    end.

%% Never raises: Debian's PropEr cannot report an exception.
disagreements(Config, Url, Oracle, Record, Metrics) ->
    try
        Case = erlang:unique_integer([positive]),
        Node = proplists:get_value(node, Config),
        {Recorded, Complaints} = erlmcp_ct_node:call(Node, erlmcp_ct_random, Record, [Case, Metrics]),
        Reports = [Report || Complaints =:= [],
                             {disagree, Report} <- [compare(Config, Oracle, Recorded, ["--url", Url])]],
        ok = erlmcp_ct_node:call(Node, ?MODULE, forget, [Recorded]),
        Complaints ++ Reports
    catch
        Class:Reason:Stack ->
            [unicode:characters_to_binary(io_lib:format("~tp", [{Class, Reason, Stack}]))]
    end.

compare(Config, Oracle, Recorded, Arguments) ->
    File = file(Config, "recorded.jsonl"),
    ok = erlmcp_ct_oracle:write_recorded(File, Recorded),
    erlmcp_ct_oracle:compare(Oracle, ["--recorded", File | Arguments]).

agrees(Config, Recorded, Arguments) ->
    Oracle = erlmcp_ct_oracle:open(),
    {Verdict, Report} = compare(Config, Oracle, Recorded, Arguments),
    ct:log("~ts", [Report]),
    ?assertEqual({agree, Report}, {Verdict, Report}),
    erlmcp_ct_oracle:close(Oracle).

%% Expositions of many chunks.
many_series(Config) ->
    Node = proplists:get_value(node, Config),
    Recorded = erlmcp_ct_node:call(Node, ?MODULE, record_many, []),
    agrees(Config, Recorded, ["--url", erlmcp_ct_node:url(Node, "/metrics/custom")]),
    ok = erlmcp_ct_node:call(Node, ?MODULE, forget, [Recorded]).

%% Scrapes while series are recorded, registered and removed are whole: each
%% series once, each histogram's count that of its last bucket.
series_come_and_go(Config) ->
    Node = proplists:get_value(node, Config),
    Url = erlmcp_ct_node:url(Node, "/metrics/custom"),
    Oracle = erlmcp_ct_oracle:open(),
    {Pid, Monitor} = spawn_monitor(fun() -> erlmcp_ct_node:call(Node, ?MODULE, churn, []) end),
    Scrapes = try
        erlmcp_ct_load:until(fun() -> erlmcp_ct_node:call(Node, persistent_term, get, [?CHURNS, false]) end),
        End = erlang:monotonic_time(millisecond) + ?CHURN_MS,
        scrape_until(End, Oracle, ["--url", Url, "--others", ".*"], 0)
    after
        ok = erlmcp_ct_node:call(Node, persistent_term, put, [?CHURNS, false])
    end,
    receive {'DOWN', Monitor, process, Pid, Reason} -> ?assertEqual(normal, Reason) end,
    erlmcp_ct_oracle:close(Oracle),
    Churned = [#{name => Name} || Name <- [churned_total, churned_seconds]],
    ok = erlmcp_ct_node:call(Node, ?MODULE, forget, [Churned]),
    ct:log("~b times six scrapes", [Scrapes]),
    ?assert(Scrapes > 1).

%% At least three times, however long they take.
scrape_until(End, Oracle, Arguments, Count) ->
    case Count < 3 orelse erlang:monotonic_time(millisecond) < End of
        true ->
            {Verdict, Report} = erlmcp_ct_oracle:compare(Oracle, Arguments),
            ?assertEqual({agree, Report}, {Verdict, Report}),
            scrape_until(End, Oracle, Arguments, Count + 1);
        false ->
            Count
    end.

%% Exponential histograms of many shapes: native in protobuf, classic elsewhere.
exponential_histograms(Config) ->
    Node = proplists:get_value(node, Config),
    Recorded = erlmcp_ct_node:call(Node, ?MODULE, record_exponential, []),
    agrees(Config, Recorded, ["--url", erlmcp_ct_node:url(Node, "/metrics/custom")]),
    ok = erlmcp_ct_node:call(Node, ?MODULE, forget, [Recorded]).

%% Observations in sampled spans are the exemplars of their buckets, by name and
%% by series; any other context leaves none.
exemplars_are_shown(Config) ->
    Node = proplists:get_value(node, Config),
    Url = erlmcp_ct_node:url(Node, "/metrics/custom"),
    Recorded = erlmcp_ct_node:call(Node, ?MODULE, record_traced, []),
    agrees(Config, Recorded, ["--url", Url]),
    Text = scrape(Node, text, application),
    ?assertEqual(nomatch, binary:match(Text, <<"trace_id">>)),
    Openmetrics = scrape(Node, openmetrics, application),
    ?assertMatch({match, [_, _, _]}, re:run(Openmetrics, " # \\{trace_id=\"", [global])),
    ok = erlmcp_ct_node:call(Node, ?MODULE, forget, [Recorded]).

%% A series that comes anew has no exemplar of its predecessor.
exemplars_end_with_their_series(Config) ->
    Node = proplists:get_value(node, Config),
    Recorded = erlmcp_ct_node:call(Node, ?MODULE, record_traced, []),
    ok = erlmcp_ct_node:call(Node, ?MODULE, forget, [Recorded]),
    [ok = erlmcp_ct_node:call(Node, erlmcp_metrics, observe, [Name, 0.3, maps:from_list(Labels)])
     || #{name := Name, labels := Labels} <- Recorded],
    ?assertEqual(nomatch, binary:match(scrape(Node, openmetrics, application), <<"trace_id">>)),
    ?assertMatch({match, [<<"0">>]},
                 re:run(scrape(Node, text, all), "^erlmcp_metrics_exemplars ([0-9]+)$",
                        [multiline, {capture, all_but_first, binary}])),
    ok = erlmcp_ct_node:call(Node, ?MODULE, forget, [Recorded]).

%% The VM's, the process's and the library's own families beside those of the
%% application; an application that takes their names has them.
every_format_shows_the_node(Config) ->
    with_connected_node(#{}, fun(Node) ->
        Url = erlmcp_ct_node:url(Node, "/metrics"),
        %% The size of a format is among the metrics once it was rendered.
        [scrape(Node, Format, all) || Format <- ?FORMATS],
        Recorded = erlmcp_ct_node:call(Node, ?MODULE, record_known, []),
        agrees(Config, Recorded, ["--url", Url, "--others", ?OTHERS]),
        Lines = erlmcp_ct_node:call(Node, ?MODULE, record_of_the_node, []),
        agrees(Config, Recorded, ["--url", Url, "--others", ?OTHERS]),
        Text = scrape(Node, text, all),
        [?assertMatch({Line, {_, _}}, {Line, binary:match(Text, Line)}) || Line <- Lines]
    end).

%% A node that has what the collectors of VM figures can tell: a connection to
%% another node, mnesia, microstate accounting.
with_connected_node(Env, Test) ->
    Node = erlmcp_ct_node:start(Env#{vm_collectors => all}, #{name => peer:random_name()}),
    Other = erlmcp_ct_node:start(#{}, #{name => peer:random_name()}),
    try
        OtherName = erlmcp_ct_node:call(Other, erlang, node, []),
        true = erlmcp_ct_node:call(Node, net_kernel, connect_node, [OtherName]),
        ok = erlmcp_ct_node:call(Node, application, start, [mnesia]),
        %% Fails where a group of families is missing.
        ?assertEqual([], some_of_each_group() -- families(scrape(Node, text, all))),
        Test(Node)
    after
        [erlmcp_ct_node:stop(N) || N <- [Other, Node]]
    end.

some_of_each_group() ->
    [<<"erlang_vm_memory_bytes">>,
     <<"erlang_vm_statistics_reductions_total">>,
     <<"erlang_vm_processes">>,
     <<"erlang_vm_allocators">>,
     <<"erlang_vm_dist_recv_bytes">>,
     <<"erlang_vm_dist_proc_memory_bytes">>,
     <<"erlang_vm_msacc_emulator_seconds_total">>,
     <<"erlang_mnesia_held_locks">>,
     <<"erlmcp_metrics_series">>,
     <<"erlmcp_scrapes_total">>,
     <<"process_cpu_seconds_total">>].

families(Text) ->
    {match, Names} = re:run(Text, "^# TYPE (\\S+)", [global, multiline, {capture, all_but_first, binary}]),
    lists:append(Names).

%% A body as the endpoint serves it.
scrape(Node, Format, Scope) ->
    Path = case Scope of
        all -> "/metrics";
        application -> "/metrics/custom"
    end,
    Accept = [{"accept", binary_to_list(erlmcp_metrics:content_type(Format))}],
    {200, _, Body} = erlmcp_ct_node:call(Node, erlmcp_ct_app, get, [Path, Accept]),
    Body.

%% promtool

promtool_likes_a_declared_application(Config) ->
    Node = proplists:get_value(node, Config),
    Recorded = erlmcp_ct_node:call(Node, ?MODULE, record_declared, []),
    Text = scrape(Node, text, application),
    ok = erlmcp_ct_node:call(Node, ?MODULE, forget, [Recorded]),
    ?assertEqual(length(Recorded), length(families(Text))),
    ?assertEqual([], lint(Config, Text)).

promtool_likes_the_node(Config) ->
    [with_connected_node(#{legacy_names => Legacy}, fun(Node) ->
         ?assertEqual([], lint(Config, scrape(Node, text, all)) -- accepted_lint(Legacy))
     end) || Legacy <- [false, true]].

%% What promtool has against names that dashboards query as they are.
accepted_lint(_LegacyNames = false) ->
    [];
accepted_lint(_LegacyNames = true) ->
    %% Counted in milliseconds by the name that older dashboards know.
    [Name ++ " use base unit \"seconds\" instead of \"milliseconds\"" || Name <- [
        "erlang_vm_statistics_runtime_milliseconds",
        "erlang_vm_statistics_wallclock_time_milliseconds"]].

%% The complaints of every promtool that is here.
lint(Config, Text) ->
    File = file(Config, "linted.txt"),
    ok = file:write_file(File, Text),
    Promtools = [Found || Found <- [os:find_executable("promtool")], Found =/= false] ++
        filelib:wildcard(filename:join(erlmcp_ct_oracle:tools(), "prometheus-*/promtool")),
    ?assertNotEqual([], Promtools),
    lists:usort(lists:flatmap(fun(Promtool) -> lint_lines(Promtool, File) end, Promtools)).

lint_lines(Promtool, File) ->
    Command = io_lib:format("'~ts' check metrics <'~ts' 2>&1; echo \"exit $?\"", [Promtool, File]),
    Lines = string:lexemes(os:cmd(lists:flatten(Command)), "\n"),
    case lists:split(length(Lines) - 1, Lines) of
        {[], ["exit 0"]} -> [];
        %% 3 is promtool's code for lint.
        {[_ | _] = Lint, ["exit 3"]} -> Lint;
        {_, _} -> [{Promtool, Lines}]
    end.

%% The checks themselves

%% Each damage to a body that agrees has to be noticed.
the_checks_can_fail(Config) ->
    Node = proplists:get_value(node, Config),
    Recorded = erlmcp_ct_node:call(Node, ?MODULE, record_known, []),
    Bodies = [{Format, scrape(Node, Format, application)} || Format <- ?FORMATS],
    ok = erlmcp_ct_node:call(Node, ?MODULE, forget, [Recorded]),
    File = file(Config, "recorded.jsonl"),
    ok = erlmcp_ct_oracle:write_recorded(File, Recorded),
    Oracle = erlmcp_ct_oracle:open(),
    Compare = fun(Format, Body) ->
        Exposition = file(Config, "exposition"),
        ok = file:write_file(Exposition, Body),
        Option = ["--", atom_to_list(Format)],
        erlmcp_ct_oracle:compare(Oracle, ["--recorded", File, Option, Exposition])
    end,
    [?assertMatch({agree, _}, Compare(Format, Body)) || {Format, Body} <- Bodies],
    [begin
         ?assertNotEqual({What, Body}, {What, Damaged}),
         {Verdict, Report} = Compare(Format, Damaged),
         ct:log("~ts, ~ts: ~ts~n~ts", [Format, What, Verdict, Report]),
         ?assertEqual({Format, What, disagree}, {Format, What, Verdict})
     end || {Format, Body} <- Bodies, {What, Damaged} <- damaged(Format, Body)],
    erlmcp_ct_oracle:close(Oracle),
    Helpless = lists:keyfind("no help", 1, damaged(text, proplists:get_value(text, Bodies))),
    ?assertMatch([_ | _], lint(Config, element(2, Helpless))).

%% The body, each time with one thing wrong.
damaged(protobuf, Body) ->
    <<Level:64>> = <<0.3/float>>,
    <<Size, First:Size/binary, Rest/binary>> = Body,
    [{"empty", <<>>},
     {"cut", binary:part(Body, 0, byte_size(Body) - 1)},
     {"a message less", Rest},
     {"a message twice", <<Size, First/binary, Body/binary>>},
     {"an unknown field", <<(Size + 2), First/binary, 48, 1, Rest/binary>>}
     | [{What, binary:replace(Body, Old, New)} || {What, Old, New} <- [
            {"the last bit of a value", <<Level:64/little>>, <<(Level + 1):64/little>>},
            {"a label", <<"é😀"/utf8>>, <<"è😀"/utf8>>},
            {"a help", <<"Open \"now\".">>, <<"Open \"new\".">>},
            {"a kind", <<"Open \"now\".", 24, 1>>, <<"Open \"now\".", 24, 3>>},
            {"a bucket", <<8, 2, 17, 1.0/float-little>>, <<8, 3, 17, 1.0/float-little>>},
            {"a bound", <<8, 2, 17, 1.0/float-little>>, <<8, 2, 17, 1.5/float-little>>},
            {"a sum", <<17, 5.55/float-little>>, <<17, 5.5/float-little>>}]]];
damaged(Format, Body) ->
    Lines = binary:split(Body, <<"\n">>, [global]),
    [{"empty", <<>>},
     {"comments only", iolist_to_binary([[L, $\n] || <<"#", _/binary>> = L <- Lines])},
     {"no end", binary:replace(Body, <<"# EOF\n">>, <<>>)},
     {"no help", binary:replace(Body, <<"# HELP known_level At 0.3.\n">>, <<>>)}
     | [{What, binary:replace(Body, Old, New)} || {What, Old, New} <- [
            {"the last bit of a value", <<" 0.3\n">>, <<" 0.30000000000000004\n">>},
            {"an integer by one", <<" 9007199254740993\n">>, <<" 9007199254740992\n">>},
            {"a series less", <<"known_open -3\n">>, <<>>},
            {"a series more", <<"known_open -3\n">>, <<"known_open -3\nknown_open{a=\"b\"} -3\n">>},
            {"a series twice", <<"known_open -3\n">>, <<"known_open -3\nknown_open -3\n">>},
            {"a label", <<"é😀"/utf8>>, <<"è😀"/utf8>>},
            {"an escape", <<"\\n">>, <<"n">>},
            {"a help", <<"now">>, <<"new">>},
            {"a kind", <<"# TYPE known_open gauge">>, <<"# TYPE known_open unknown">>},
            {"a bucket", <<"le=\"1.0\"} 2">>, <<"le=\"1.0\"} 3">>},
            {"a bound", <<"le=\"1.0\"} 2">>, <<"le=\"1.5\"} 2">>},
            {"a sum", <<"known_seconds_sum 5.55\n">>, <<"known_seconds_sum 5.5\n">>}]]]
        -- [{"no end", Body} || Format =:= text].

%% On the node

record_known() ->
    Declare = fun(Kind, Name, Options) -> ok = erlmcp_metrics:declare(Kind, Name, Options) end,
    Declare(counter, known_count, #{description => <<"All\nin \\all.">>}),
    Declare(gauge, known_level, #{description => <<"At 0.3.">>}),
    Declare(up_down_counter, known_open, #{description => <<"Open \"now\".">>}),
    Declare(histogram, known_seconds, #{unit => seconds, buckets => [0.25, 1]}),
    Labels = [{<<"path">>, <<"a\"b\\c\nd é😀"/utf8>>}],
    ok = erlmcp_metrics:inc(known_count, maps:from_list(Labels), 9007199254740993),
    ok = erlmcp_metrics:set(known_level, 0.3),
    ok = erlmcp_metrics:dec(known_open, 3),
    [ok = erlmcp_metrics:observe(known_seconds, X) || X <- [0.05, 0.5, 5.0]],
    ok = erlmcp_metrics:set_info(known_build, #{version => "1.0"}),
    [maps:merge(erlmcp_ct_oracle:recorded(Kind, Name, Ls), More) || {Kind, Name, Ls, More} <- [
        {counter, <<"known_count">>, Labels, #{help => <<"All\nin \\all.">>}},
        {gauge, <<"known_level">>, [], #{help => <<"At 0.3.">>}},
        {up_down_counter, <<"known_open">>, [], #{help => <<"Open \"now\".">>}},
        {histogram, <<"known_seconds">>, [], #{unit => <<"seconds">>}},
        {info, <<"known_build">>, [{<<"version">>, <<"1.0">>}], #{}}]].

record_exponential() ->
    ok = erlmcp_metrics:declare(exponential_histogram, spread, #{buckets => [0.5, 1, 1000]}),
    {error, {buckets_differ, _}} = erlmcp_metrics:declare(exponential_histogram, spread, #{max_buckets => 20}),
    {error, {bad_option, _}} = erlmcp_metrics:declare(exponential_histogram, other, #{max_buckets => 1}),
    {error, {kind_conflict, _}} = erlmcp_metrics:declare(histogram, spread, #{}),
    [begin
         Labels = #{shape => Shape},
         _ = erlmcp_ct_load:together(?RECORDERS, fun(Part) ->
             [ok = erlmcp_metrics:observe(spread, X, Labels)
              || {N, X} <- lists:zip(lists:seq(1, length(Values)), Values), N rem ?RECORDERS =:= Part - 1]
         end),
         Count = length(Values),
         #{count := Count} = erlmcp_metrics:value(spread, Labels),
         Recorded = erlmcp_ct_oracle:recorded(exponential_histogram, <<"spread">>, [{<<"shape">>, Shape}]),
         Recorded#{observations => [float(X) || X <- Values]}
     end || {Shape, Values} <- observations()].

%% Sums are exact here: the order of additions is not known.
observations() ->
    [{<<"one">>, [0.75]},
     {<<"zeroes">>, [0, 0.0, -0.0]},
     {<<"near">>, [1 + N / 1024 || N <- lists:seq(1, 500)]},
     {<<"powers">>, [math:pow(2, N) || N <- lists:seq(-8, 40)]},
     {<<"wide">>, [math:pow(2, N) || N <- [-20, -19, -3, 0, 7, 30]]},
     {<<"gaps">>, [1, 1.0625, 2, 3, 64, 65, 100]}].

%% The three spans whose contexts are sampled are exemplars.
record_traced() ->
    ok = erlmcp_metrics:declare(histogram, traced_seconds, #{buckets => [0.25, 1, 4]}),
    Observe = fun erlmcp_instrumentation_nif:observe_traced/4,
    Labels = #{path => "/\"a\""},
    [ok = Observe(traced_seconds, Value, Labels, Context)
     || {Value, Context} <- [{0.5, span_context(1, 1)}, {3, span_context(2, 5)},
                             %% These leave none.
                             {0.125, span_context(3, 0)}, {0.125, span_context(4, 6)},
                             {0.125, binary:part(span_context(5, 1), 0, 24)}, {0.125, undefined},
                             {0.125, <<1:7>>}, {0.125, <<0:(24 * 8), 1, 0:64>>}]],
    {error, {bad_value, _}} = Observe(traced_seconds, nan, Labels, span_context(6, 1)),
    {error, {bad_labels, _}} = Observe(traced_seconds, 1, [], span_context(6, 1)),
    Series = erlmcp_metrics:bind(histogram, traced_by_series, #{}),
    ok = erlmcp_instrumentation_nif:series_observe_traced(Series, 1.0e9, span_context(7, 1)),
    ok = erlmcp_instrumentation_nif:series_observe_traced(Series, 1, span_context(8, 2)),
    {error, {unknown_series, _}} =
        erlmcp_instrumentation_nif:series_observe_traced(12345, 1, span_context(9, 1)),
    Recorded = fun(Name, Pairs, Exemplars) ->
        Series0 = erlmcp_ct_oracle:recorded(histogram, Name, Pairs),
        Series0#{exemplars => [#{le => Bound, value => Value, trace_id => hex(Trace), span_id => hex(Span)}
                               || {Bound, Value, <<Trace:16/binary, Span:8/binary, _/binary>>} <- Exemplars]}
    end,
    [Recorded(<<"traced_seconds">>, [{<<"path">>, <<"/\"a\"">>}],
              [{1, 0.5, span_context(1, 1)}, {4, 3, span_context(2, 5)}]),
     Recorded(<<"traced_by_series">>, [], [{infinity, 1.0e9, span_context(7, 1)}])].

span_context(N, Flags) ->
    <<(16#ABCDEF bsl 64 + N):128, (N + 1):64, Flags, 99:64, "vendor=1">>.

hex(Bytes) ->
    string:lowercase(<< <<(integer_to_binary(Digit, 16))/binary>> || <<Digit:4>> <= Bytes >>).

%% Metrics of the names that the node exposes too, as the lines of text to see.
record_of_the_node() ->
    ok = erlmcp_metrics:set(process_open_fds, -1),
    ok = erlmcp_metrics:set(process_cpu_seconds, -2),
    ok = erlmcp_metrics:inc(process_threads, 3),
    ok = erlmcp_metrics:observe(erlang_vm_processes, 4),
    ok = erlmcp_metrics:set_info(erlang_vm_wordsize_bytes, #{}),
    ok = erlmcp_metrics:inc(erlmcp_scrapes, 6),
    [<<"\nprocess_open_fds -1\n">>, <<"\nprocess_cpu_seconds -2\n">>, <<"\nprocess_threads_total 3\n">>,
     <<"\nerlang_vm_processes_sum 4.0\n">>, <<"\nerlang_vm_wordsize_bytes_info 1\n">>,
     <<"\nerlmcp_scrapes_total 6\n">>].

record_many() ->
    [ok = erlmcp_metrics:declare(Kind, Name, #{limit => 10000})
     || {Kind, Name} <- [{counter, many_count}, {histogram, many_seconds}]],
    lists:append([begin
        Labels = [{<<"number">>, integer_to_binary(N)}, {<<"text">>, <<"\"größe\"\n"/utf8>>}],
        Map = maps:from_list(Labels),
        ok = erlmcp_metrics:inc(many_count, N, Map),
        ok = erlmcp_metrics:set(many_level, N / 7, Map),
        [ok = erlmcp_metrics:observe(many_seconds, N / 9, Map) || N rem 10 =:= 0],
        [erlmcp_ct_oracle:recorded(Kind, Name, Labels)
         || {Kind, Name} <- [{counter, <<"many_count">>}, {gauge, <<"many_level">>}
                             | [{histogram, <<"many_seconds">>} || N rem 10 =:= 0]]]
    end || N <- lists:seq(1, 1999)]).

%% Records in series of which some are removed again, until it is told to stop.
churn() ->
    persistent_term:put(?CHURNS, true),
    _ = erlmcp_ct_load:together(?RECORDERS, fun(Part) -> churn(Part, 0) end),
    ok.

churn(Part, N) ->
    Labels = #{part => Part, number => N rem 80},
    ok = erlmcp_metrics:inc(churned_total, N, Labels),
    ok = erlmcp_metrics:observe(churned_seconds, (N rem 100) / 10, Labels),
    [begin
         Old = #{part => Part, number => (N - 40) rem 80},
         true = erlmcp_metrics:remove(churned_total, Old),
         true = erlmcp_metrics:remove(churned_seconds, Old)
     end || N >= 40, N rem 3 =/= 0],
    case persistent_term:get(?CHURNS) of
        true -> churn(Part, N + 1);
        false -> ok
    end.

%% Of the catalogue, what has a help, a unit and a name that follows the rules.
record_declared() ->
    Labels = #{method => <<"tools/call">>, status => success},
    [begin
         ok = erlmcp_metrics:declare(Kind, Name, Options#{description => <<"What it is.">>}),
         ok = case Kind of
             counter -> erlmcp_metrics:record_counter(Name, 1, Labels);
             up_down_counter -> erlmcp_metrics:inc(Name, 1, Labels);
             gauge -> erlmcp_metrics:record_gauge(Name, 1, Labels);
             histogram -> erlmcp_metrics:record_histogram(Name, 1, Labels);
             info -> erlmcp_metrics:set_info(Name, Labels)
         end,
         #{name => atom_to_binary(Name)}
     end || {Kind, Name, Options} <- [
         {counter, app_requests_total, #{}},
         {counter, app_transport_bytes, #{unit => bytes}},
         {gauge, app_api_quota_limit, #{limit => 10}},
         {up_down_counter, app_requests_in_flight, #{}},
         {histogram, app_request_duration_seconds, #{unit => seconds}},
         {histogram, app_response_size_bytes, #{unit => bytes, buckets => [100, 10000]}},
         {info, app_build_info, #{}}]].

forget(Recorded) ->
    lists:foreach(fun erlmcp_metrics:remove/1, lists:usort([Name || #{name := Name} <- Recorded])).

%% A file of the test case's own.
file(Config, Name) ->
    filename:join(proplists:get_value(priv_dir, Config), Name).
