%% Any term into any function, any number as a handle: the VM lives, recording
%% functions answer and do not raise, what is counted stays exact, and every
%% exposition can still be read. Refusals do not flood the log.
-module(erlmcp_metrics_hostile_SUITE).

-include_lib("stdlib/include/assert.hrl").

-import(proper_types, [atom/0, binary/0, bitstring/0, elements/1, exactly/1, float/0, frequency/1,
                       integer/0, integer/2, list/1, loose_tuple/1, oneof/1, vector/2]).

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1,
         init_per_testcase/2, end_per_testcase/2]).
-export([
    recording_functions/1, functions_of_callers/1, functions_of_servers/1, other_functions/1,
    native_functions/1, native_limits/1,
    native_listener/1, native_improper_lists/1, gathered_families/1, gathered_families_that_clash/1,
    messages_to_processes/1,
    forged_handles/1, many_labels_and_long_texts/1,
    one_log_line_a_name/1, a_flood_of_names_is_not_logged/1,
    a_logger_that_hangs_holds_nothing/1, log_lines_can_be_read/1,
    the_reader_of_expositions_refuses/1
]).
%% For other tests: descriptions of any terms, and the terms.
-export([hostile/0, real/1]).
%% Run on other nodes, and called by logger.
-export([check_families/1, refuse_many/2, refuse_unheard/1, log/2]).

-define(M, erlmcp_metrics).
-define(NIF, erlmcp_instrumentation_nif).
-define(MAX_TEXT_BYTES, 2000).
-define(LINES, erlmcp_metrics_hostile_lines).

suite() ->
    [{timetrap, {minutes, 4}}].

all() ->
    [recording_functions, functions_of_callers, functions_of_servers, other_functions,
     native_functions, native_limits,
     native_listener, native_improper_lists, gathered_families,
     gathered_families_that_clash, messages_to_processes,
     forged_handles, many_labels_and_long_texts,
     one_log_line_a_name, a_flood_of_names_is_not_logged,
     a_logger_that_hangs_holds_nothing, log_lines_can_be_read,
     the_reader_of_expositions_refuses].

init_per_suite(Config) ->
    erlmcp_ct_app:quiet(),
    Config.

end_per_suite(_Config) ->
    erlmcp_ct_app:loud().

%% A fresh start: some of the cases change limits or who answers for the VM.
init_per_testcase(_Case, Config) ->
    erlmcp_ct_app:start(),
    [{control, control()} | Config].

end_per_testcase(_Case, _Config) ->
    erlmcp_ct_app:forget(),
    erlmcp_ct_app:stop().

%% Random terms

recording_functions(Config) ->
    Functions = [{inc, 1}, {inc, 2}, {inc, 3}, {dec, 1}, {dec, 2}, {dec, 3}, {set, 2}, {set, 3},
                 {observe, 2}, {observe, 3}, {record_counter, 3}, {record_gauge, 3},
                 {record_histogram, 3}, {set_info, 2}, {declare, 3}, {bind, 3}, {value, 2},
                 {remove, 1}, {remove, 2}],
    holds(8000, calls(Functions), Config, fun({Function, Arguments}) ->
        answered(Function, apply(?M, Function, Arguments))
    end).

%% What erlmcp's callers call. Whatever they give, the lists can be read.
functions_of_callers(Config) ->
    Functions = [{record, 2}, {counter, 2}, {histogram, 2}, {gauge, 2}, {gauge, 3},
                 {create_counter, 2}, {create_counter, 3}, {create_gauge, 2}, {create_gauge, 3},
                 {create_histogram, 2}, {create_histogram, 3}, {record_transport_operation, 4},
                 {record_server_operation, 4}, {record_registry_operation, 3}],
    holds(8000, calls(Functions), Config, fun({Function, Arguments}) ->
        answered(Function, apply(?M, Function, Arguments))
    end),
    holds(1000, {name(), oneof([labels(), hostile()])}, Config, fun({Name, Labels}) ->
        done = ?M:with_metrics(Name, Labels, fun() -> done end),
        thrown = try ?M:with_metrics(Labels, Name, fun() -> throw(thrown) end)
                 catch throw:Thrown -> Thrown end,
        true
    end),
    Read = ?M:get_metrics(),
    ?assertEqual([], [Operation || Operation <- Read,
                                   lists:sort(maps:keys(Operation)) =/= [labels, name, timestamp, value]]),
    ?assertEqual(1000, length(Read)),
    [?assert(is_list(?M:get_metrics(real(Name)))) || Name <- [{'$leaf', I} || I <- lists:seq(1, 60)]],
    %% No term that is kept is larger than a slot of the ring.
    ?assertEqual([], [Size || Operation <- Read, Size <- [erlang:external_size(Operation)],
                              Size > 5000]),
    ?assertMatch(#{<<"histograms">> := _, <<"percentiles">> := _}, ?M:get_performance_summary()),
    ?assert(is_list(?M:collect_metrics())),
    ok = ?M:reset_metrics().

%% A server's figures; what is opened is closed by the end of a process.
functions_of_servers(Config) ->
    Module = erlmcp_mcp_metrics,
    Functions = [Function || {Name, _} = Function <- Module:module_info(exports),
                             not lists:member(Name, [module_info, since, tool, prompt])],
    Durations = oneof([{oneof([integer(), float(), hostile()]),
                        elements([second, millisecond, microsecond, nanosecond, native, week])},
                       hostile()]),
    Argument = oneof([elements([tcp, <<"search">>, "stdio", success, error, hit, 1, 0]), Durations]),
    Calls = oneof([{exactly(Name), list_of(lists:duplicate(Arity, Argument))}
                   || {Name, Arity} <- Functions]),
    {Pid, Monitor} = spawn_monitor(fun() ->
        holds(8000, Calls, Config, fun({Function, Arguments}) ->
            try apply(Module, Function, Arguments) of
                ok -> true;
                {error, _} = Error -> answered(Function, Error);
                %% Open, or whether it was.
                Token -> is_tuple(Token) orelse is_boolean(Token)
            catch
                %% Operations of the registry also take functions.
                error:{badfun, _} -> Function =:= registry_operation;
                error:{badarity, _} -> Function =:= registry_operation;
                throw:thrown -> Function =:= registry_operation
            end
        end)
    end),
    receive {'DOWN', Monitor, process, Pid, Reason} -> ?assertEqual(normal, Reason) end,
    Active = fun() ->
        [Value || #{name := Name, value := Value} <- ?M:collect_metrics(),
                  lists:member(Name, [<<"erlmcp_connections_active">>, <<"erlmcp_sessions_active">>,
                                      <<"erlmcp_subscriptions_active">>])]
    end,
    ?assertNotEqual([], Active()),
    erlmcp_ct_load:until(fun() -> lists:all(fun(Value) -> Value == 0 end, Active()) end).

%% These may say badarg or function_clause, and no more.
other_functions(Config) ->
    Functions = [{scrape, 1}, {scrape, 2}, {content_type, 1}, {format_error, 1}, {time, 2}, {time, 3}],
    holds(1500, calls(Functions), Config, fun({Function, Arguments}) ->
        try apply(?M, Function, Arguments) of
            _ -> true
        catch
            error:badarg -> true;
            error:function_clause -> true;
            error:{badfun, _} -> Function =:= time;
            error:{badarity, _} -> Function =:= time;
            %% Some of the terms are functions that raise.
            throw:thrown -> Function =:= time
        end
    end).

native_functions(Config) ->
    Recording = [{count, 3}, {add, 3}, {subtract, 3}, {set, 3}, {observe, 3}, {series_add, 2},
                 {series_subtract, 2}, {series_set, 2}, {series_observe, 2}],
    Others = [{declare, 3}, {bind, 3}, {value, 2}, {remove, 2}, {remove_all, 1}, {scrape, 3},
              {kind, 1}, {collect, 0}, {lifetime_open, 5}, {lifetime_close, 2},
              {vm_register, 1}, {vm_reply, 2}, {health_register, 1}, {health_reply, 4},
              {stats, 0}, {configure, 1},
              {listener_start, 2}, {listener_stop, 0}],
    holds(5000, calls(Recording), Config, fun({Function, Arguments}) ->
        answered(Function, apply(?NIF, Function, Arguments))
    end),
    holds(5000, calls(Others), Config, fun({Function, Arguments}) ->
        badarg_at_most(fun() -> apply(?NIF, Function, Arguments) end)
    end).

%% Limits of the right shape with wrong values: what has been registered stays.
native_limits(Config) ->
    Number = frequency([{3, integer(-2, 5)}, {1, integer()}, {1, hostile()}]),
    Limits = map_of([{process_metrics, oneof([true, false, hostile()])},
                     {series_limit, Number}, {node_series_limit, Number}, {metrics_limit, Number},
                     {default_buckets, oneof([list(float()), list(hostile()), hostile()])}]),
    holds(500, Limits, Config, fun(Map) ->
        Fine = badarg_at_most(fun() -> ?NIF:configure(Map) end),
        [_ = ?M:Record(erlmcp_ct_app:name("limited"), 1, #{}) || Record <- [inc, observe, set]],
        Fine
    end).

native_listener(Config) ->
    Number = oneof([elements([0, 1, 100, 86400000, 1 bsl 31, 1 bsl 32, 1 bsl 63, (1 bsl 64) - 1, -1]),
                    hostile()]),
    Text = oneof([<<"127.0.0.1">>, <<"::1">>, <<"localhost">>, <<>>, hostile()]),
    Options = map_of([{ip, frequency([{3, <<"127.0.0.1">>}, {1, Text}])},
                      {ports, oneof([[0], [0, 0], [], list(Number), hostile()])},
                      {process_metrics, oneof([true, false, hostile()])},
                      {debug_traces, oneof([off, loopback, x, hostile()])},
                      {health_details, oneof([off, loopback, x, hostile()])},
                      {version, Text}, {node, Text}, {door, oneof([door(Number, Text), hostile()])}
                      | [{Key, Number} || Key <- [max_connections, max_connections_per_peer,
                                                  min_send_rate, header_timeout_ms, vm_timeout_ms,
                                                  health_timeout_ms, write_timeout_ms,
                                                  idle_timeout_ms]]]),
    holds(300, Options, Config, fun(Map) ->
        badarg_at_most(fun() -> ?NIF:listener_start(self(), Map) end)
    end),
    ?assertEqual(ok, ?NIF:listener_stop()).

door(Number, Text) ->
    map_of([{Key, oneof([nil, Text])} || Key <- [cert_file, key_file, client_ca_file,
                                                       tokens_file, passwords_file]]
           ++ [{Key, Number} || Key <- [reload_interval_ms, failures_per_minute,
                                        handshake_timeout_ms, max_handshakes]]
           ++ [{rules, oneof([[], [{<<"/">>, [<<"open">>]}], hostile()])},
               {only_tls13, oneof([true, false, hostile()])},
               {report, oneof([true, false, hostile()])}]).

%% `[1 | 2]' where a list is wanted.
native_improper_lists(_Config) ->
    Limits = #{process_metrics => true, series_limit => 10, node_series_limit => 10,
               metrics_limit => 10, default_buckets => [1.0 | 2.0]},
    Declaration = #{library => false, description => nil, unit => nil,
                    buckets => [1.0 | 2.0], max_buckets => nil, limit => nil},
    Door = #{cert_file => nil, key_file => nil, client_ca_file => nil,
             tokens_file => nil, passwords_file => nil, only_tls13 => false,
             rules => [], reload_interval_ms => 1, failures_per_minute => 1,
             handshake_timeout_ms => 1, max_handshakes => 1, report => false},
    Listener = #{ip => <<"127.0.0.1">>, ports => [0], max_connections => 1,
                 max_connections_per_peer => 1, min_send_rate => 1, door => Door,
                 header_timeout_ms => 1, write_timeout_ms => 1, idle_timeout_ms => 1,
                 vm_timeout_ms => 1, health_timeout_ms => 1, health_details => off,
                 process_metrics => true, debug_traces => off,
                 version => <<"1">>, node => <<"n">>},
    %% As it is it is complete: what is refused below is the list.
    ?assertMatch({ok, [_]}, ?NIF:listener_start(self(), Listener)),
    ?assertEqual(ok, ?NIF:listener_stop()),
    Start = fun(Change) -> fun() -> ?NIF:listener_start(self(), maps:merge(Listener, Change)) end end,
    Rules = fun(List) -> Start(#{door => Door#{rules := List}}) end,
    [?assertError(Sentence when is_binary(Sentence), Call())
     || Call <- [fun() -> ?NIF:configure(Limits) end,
                 fun() -> ?NIF:declare(histogram, <<"improper">>, Declaration) end,
                 Start(#{ports => [0 | 0]}),
                 Rules([{<<"/">>, [<<"open">> | x]}]),
                 Rules([x | y])]].

%% Families of the right shape with anything in them. What a collector gives
%% must not cost the scrape of all others. On a node that has few others.
gathered_families(_Config) ->
    Node = erlmcp_ct_node:start(#{}),
    try
        passed(erlmcp_ct_node:call(Node, ?MODULE, check_families, [1500]))
    after
        erlmcp_ct_node:stop(Node)
    end.

check_families(Tests) ->
    Name = oneof([<<"g">>, <<"g_total">>, <<"g_count">>, <<"g_info">>, <<"1g">>, <<>>, <<"a b">>, hostile()]),
    Kind = oneof([counter, gauge, untyped, hostile()]),
    Label = oneof([{oneof([<<"a">>, <<"le">>, <<"a">>, hostile()]), hostile()}, hostile()]),
    Sample = oneof([{few(Label), oneof([integer(), float(), hostile()])}, hostile()]),
    Family = frequency([{5, {Name, Kind, oneof([<<"Help.">>, <<"a\\b\n\"c\"">>, hostile()]), few(Sample)}},
                        {1, hostile()}]),
    Families = oneof([few(Family), few(Family), few(Family), hostile()]),
    check(Tests, Families, fun(List) ->
        Gathered = rising(List),
        [_ = erlmcp_ct_exposition:parse(Format, ?NIF:scrape(Format, all, Gathered))
         || Format <- [text, openmetrics, protobuf]],
        true
    end).

%% That a counter does not stand below 0 is the collector's to know.
rising([{Name, counter, Help, Samples} | Rest]) when is_list(Samples), length(Samples) >= 0 ->
    Positive = [case Sample of
                    {Labels, Value} when is_number(Value) -> {Labels, abs(Value)};
                    _ -> Sample
                end || Sample <- Samples],
    [{Name, counter, Help, Positive} | rising(Rest)];
rising([Family | Rest]) ->
    [Family | rising(Rest)];
rising(End) ->
    End.

%% A name comes once in an exposition, whoever gave it, and so does a series.
gathered_families_that_clash(Config) ->
    N = erlmcp_ct_app:name("gathered"),
    H = <<N/binary, "_h">>,
    ok = ?M:observe(H, 1),
    Of = fun(Suffix, Kind) -> {<<N/binary, Suffix/binary>>, Kind, <<"Help.">>, [{[], 1}]} end,
    Total = <<"_total">>,
    Lists = [[Of(Total, counter), Of(Total, gauge)],
             [Of(Total, gauge), Of(Total, counter)],
             [Of(Total, untyped), Of(Total, counter)],
             [Of(Total, counter), Of(Total, counter)],
             [Of(Total, counter), Of(<<>>, gauge)],
             [Of(<<>>, counter), Of(Total, gauge)],
             [Of(<<>>, counter), Of(Total, counter)],
             [Of(<<"_h">>, gauge)], [Of(<<"_h_count">>, gauge)], [Of(<<"_h_sum_total">>, counter)],
             [Of(<<"_h_bucket">>, untyped)],
             [{<<"erlmcp_metrics_series">>, gauge, <<"Mine.">>, [{[], 1}]}],
             [{N, gauge, <<>>, [{[{<<"a">>, b}], 1}, {[{<<"a">>, <<"b">>}], 2}]}],
             [{N, gauge, <<>>, [{[{<<"a">>, b}, {<<"a">>, c}], 1}, {[], 2}]}],
             [{N, gauge, <<>>, []}, Of(<<>>, untyped)]],
    [begin
         Scrape = erlmcp_ct_exposition:parse(Format, ?NIF:scrape(Format, all, List)),
         Sample = case Format of protobuf -> H; _ -> <<H/binary, "_count">> end,
         ?assertNotEqual({List, undefined}, {List, erlmcp_ct_exposition:value(Scrape, Sample, #{})})
     end || List <- Lists, Format <- [text, openmetrics, protobuf]],
    unharmed(Config).

messages_to_processes(Config) ->
    Names = [erlmcp_metrics, erlmcp_instrumentation_vm, erlmcp_instrumentation_listener],
    Message = oneof([hostile(), {hostile(), hostile()}, {erlmcp_vm_request, integer()},
                     {erlmcp_vm_request, hostile()}, {erlmcp_ping, oneof([integer(), hostile()])},
                     {failures, hostile(), hostile()}, {failures, undefined, hostile()},
                     {'EXIT', self(), hostile()}, {'EXIT', undefined, hostile()},
                     {erlmcp_rejected, hostile(), hostile(), hostile()}]),
    Pids = [whereis(Name) || Name <- Names],
    holds(300, Message, Config, fun(Term) ->
        [begin
             Pid ! Term,
             gen_server:cast(Pid, Term),
             {error, unknown_call} = gen_server:call(Pid, {own, Term})
         end || Pid <- Pids],
        true
    end),
    ?assertEqual(Pids, [whereis(Name) || Name <- Names]),
    ?assertMatch({200, _, _}, erlmcp_ct_app:get("/metrics")),
    ?assertMatch({200, _, _}, erlmcp_ct_app:get("/health")).

%% Handles

forged_handles(Config) ->
    N = erlmcp_ct_app:name("forged"),
    Kinds = [counter, up_down_counter, gauge, histogram],
    Live = [?M:bind(Kind, <<N/binary, (atom_to_binary(Kind))/binary>>, #{i => I})
            || Kind <- Kinds, I <- lists:seq(1, 12)],
    Dead = [begin
                Series = ?M:bind(counter, N, #{i => I}),
                true = ?M:remove(N, #{i => I}),
                Series
            end || I <- lists:seq(1, 12)],
    Flipped = [Series bxor (1 bsl Bit) || Series <- Live, Bit <- lists:seq(0, 63)],
    Near = [Series + D || Series <- Live, D <- [-3, -2, -1, 1, 2, 3]],
    Negative = [-Series || Series <- Live],
    Parts = [Series band Mask || Series <- Live,
                                 Mask <- [16#FFFFFFFF, 16#FFFFFFF, 16#7FFFFFFF00000000]],
    Edges = [Sign * (1 bsl Bit) + D || Bit <- lists:seq(0, 70), D <- [-1, 0, 1], Sign <- [1, -1]],
    Random = [rand:uniform(1 bsl 59) || _ <- lists:seq(1, 50000)],
    %% Every chunk of the table of entries, with and without the rest of a handle.
    Addresses = [(Top bsl 32) bor (Chunk bsl 27) bor Offset
                 || Top <- [0, 1, hd(Live) bsr 32], Chunk <- lists:seq(0, 31),
                    Offset <- [0, 1, 1023, (1 bsl 27) - 1]],
    Forged = (Dead ++ Flipped ++ Near ++ Negative ++ Parts ++ Edges ++ Random ++ Addresses) -- Live,
    Before = ?M:scrape(text, application),
    [begin
         {error, {unknown_series, _}} = ?M:inc(Series, 1),
         {error, {unknown_series, _}} = ?M:inc(Series, 0.5),
         {error, {unknown_series, _}} = ?M:dec(Series, 1),
         {error, {unknown_series, _}} = ?M:set(Series, 7),
         {error, {unknown_series, _}} = ?M:observe(Series, 7)
     end || Series <- Forged],
    ?assertEqual(Before, ?M:scrape(text, application)),
    unharmed(Config).

many_labels_and_long_texts(Config) ->
    N = erlmcp_ct_app:name("large"),
    Bodies = [binary:copy(<<"x">>, 100000000), lists:duplicate(1000000, $x), lists:duplicate(1000000, 16#10FFFF),
              maps:from_list([{I, I} || I <- lists:seq(1, 200000)]), nested(100000), list_to_tuple(lists:seq(1, 100000))],
    [begin
         refused(?M:inc(Body)),
         refused(?M:inc(N, #{a => Body})),
         refused(?M:inc(N, #{Body => a})),
         refused(?M:inc(N, #{Body => {}})),
         refused(?M:inc(N, 1, Body)),
         refused(?M:inc(N, Body, #{})),
         refused(?M:bind(counter, Body, Body)),
         refused(?M:declare(counter, Body, #{Body => Body})),
         refused(?M:value(N, #{a => Body})),
         refused(?M:remove(Body))
     end || Body <- Bodies],
    %% What is remembered of a part of a large binary does not keep the whole.
    garbage_collect(),
    Before = erlang:memory(binary),
    [begin
         Large = binary:copy(integer_to_binary(100 + I), 1000000),
         ok = ?M:inc(N, #{v => binary:part(Large, 0, 3)}),
         ok = ?M:inc(binary:part(<<N/binary, Large/binary>>, 0, byte_size(N)))
     end || I <- lists:seq(1, 50)],
    garbage_collect(),
    ?assertEqual(50, ?M:value(N, #{})),
    ?assertEqual([1], lists:usort([?M:value(N, #{v => 100 + I}) || I <- lists:seq(1, 50)])),
    ?assert(erlang:memory(binary) - Before < 10000000),
    unharmed(Config).

%% The log

%% On nodes of their own, where nothing was refused in the last minute.
one_log_line_a_name(_Config) ->
    Node = erlmcp_ct_node:start(#{}),
    try
        Names = [iolist_to_binary(["name_", integer_to_list(I)]) || I <- lists:seq(1, 20)],
        Lines = erlmcp_ct_node:call(Node, ?MODULE, refuse_many, [Names, 500]),
        ?assertEqual([{Name, 1} || Name <- lists:sort(Names)], Lines)
    after
        erlmcp_ct_node:stop(Node)
    end.

a_flood_of_names_is_not_logged(_Config) ->
    Node = erlmcp_ct_node:start(#{}),
    try
        Names = [iolist_to_binary(["flood_", integer_to_list(I)]) || I <- lists:seq(1, 10000)],
        Lines = erlmcp_ct_node:call(Node, ?MODULE, refuse_many, [Names, 2]),
        ?assertEqual([1], lists:usort([Count || {_, Count} <- Lines])),
        %% Some, for a person to see; never thousands.
        ?assert(length(Lines) >= 100 andalso length(Lines) =< 1024, length(Lines)),
        ?assertEqual([], [Name || {Name, _} <- Lines] -- Names)
    after
        erlmcp_ct_node:stop(Node)
    end.

%% Nobody reads the messages: they do not pile up either.
a_logger_that_hangs_holds_nothing(_Config) ->
    Node = erlmcp_ct_node:start(#{}),
    try
        {Queued, Rejected} = erlmcp_ct_node:call(Node, ?MODULE, refuse_unheard, [50000]),
        ?assertEqual(50000, Rejected),
        ?assert(Queued =< 1024, Queued)
    after
        erlmcp_ct_node:stop(Node)
    end.

log_lines_can_be_read(_Config) ->
    Names = [<<"a">>, <<"größe 日本"/utf8>>, <<"~p~s~">>, <<"new\nline">>, <<>>, {not_a, name},
             binary:copy(<<"é"/utf8>>, 10000), <<255>>],
    [begin
         Text = format(#{what => recording_rejected, name => Name, tag => bad_value,
                         text => <<"the value is not a number: ü"/utf8>>}),
         ?assert(is_binary(unicode:characters_to_binary(Text))),
         ?assertNotEqual(nomatch, string:find(Text, "erlmcp_metrics_rejected_samples_total"))
     end || Name <- Names, is_binary(Name), is_list(unicode:characters_to_list(Name))],
    ok.

format(Report) ->
    {Format, Arguments} = ?M:format_report(Report),
    lists:flatten(io_lib:format(Format, Arguments)).

%% On the node: refuses each name Times times from four processes; the lines
%% that came of it by name.
refuse_many(Names, Times) ->
    erlmcp_ct_app:quiet(),
    ?LINES = ets:new(?LINES, [named_table, public]),
    ok = logger:add_handler(?MODULE, ?MODULE, #{level => all}),
    _ = erlmcp_ct_load:together(4, fun(_) ->
        [{error, {bad_value, _}} = ?M:record_counter(Name, foo, #{})
         || _ <- lists:seq(1, Times), Name <- Names]
    end),
    {error, unknown_call} = gen_server:call(?M, sync),
    ok = logger:remove_handler(?MODULE),
    lists:sort(ets:tab2list(?LINES)).

refuse_unheard(Count) ->
    erlmcp_ct_app:quiet(),
    ok = sys:suspend(?M),
    Before = maps:get(rejected, ?M:info()),
    [{error, _} = ?M:set(integer_to_binary(I), foo) || I <- lists:seq(1, Count)],
    {message_queue_len, Queued} = process_info(whereis(?M), message_queue_len),
    ok = sys:resume(?M),
    {Queued, maps:get(rejected, ?M:info()) - Before}.

%% As a logger handler: counts this application's lines by name.
log(#{meta := #{domain := [erlmcp, metrics]},
      msg := {report, #{what := recording_rejected, name := Name}}} = Event, _Config) ->
    Line = unicode:characters_to_binary(logger_formatter:format(Event, #{single_line => true})),
    true = is_binary(Line),
    _ = ets:update_counter(?LINES, Name, 1, {Name, 0}),
    ok;
log(_Event, _Config) ->
    ok.

%% The reader itself: tests that rest on it can fail.

the_reader_of_expositions_refuses(_Config) ->
    Head = "# HELP a_total x\n# TYPE a_total counter\n",
    Histogram = "# HELP h x\n# TYPE h histogram\n",
    Bad = [{text, "a_total 1\n"},
           {text, Head},
           {text, Head ++ "a_total 1"},
           {text, Head ++ "a_total\n"},
           {text, Head ++ "a_total one\n"},
           {text, Head ++ "a_total -1\n"},
           {text, Head ++ "a_total +Inf\n"},
           {text, Head ++ "a_total 1 \n"},
           {text, Head ++ "a_total  1\n"},
           {text, Head ++ "b_total 1\n"},
           {text, Head ++ "a_total 1\na_total 2\n"},
           {text, Head ++ "a_total{a=\"1\",b=\"2\"} 1\na_total{b=\"2\",a=\"1\"} 2\n"},
           {text, Head ++ "a_total{a=\"1\",a=\"2\"} 1\n"},
           {text, Head ++ "a_total{a=\"\"} 1\n"},
           {text, Head ++ "a_total{a=\"x} 1\n"},
           {text, Head ++ "a_total{a=\"x\\y\"} 1\n"},
           {text, Head ++ "a_total{a=\"x\"y\"} 1\n"},
           {text, Head ++ "a_total{1a=\"x\"} 1\n"},
           {text, Head ++ "a_total{a-b=\"x\"} 1\n"},
           {text, Head ++ "a_total{} 1\n"},
           {text, Head ++ "a_total 1\n\n"},
           {text, Head ++ "a_total 1\n# EOF\n"},
           {text, Head ++ "a_total 1\n" ++ Head ++ "a_total{x=\"y\"} 1\n"},
           {text, "# HELP a_total x\na_total 1\n"},
           {text, "# HELP a-b x\n# TYPE a-b gauge\na-b 1\n"},
           {text, "# HELP a \\x\n# TYPE a gauge\na 1\n"},
           {text, "# HELP a x\n# TYPE a info\na 1\n"},
           {text, <<"# HELP a ", 255, "\n# TYPE a gauge\na 1\n">>},
           {openmetrics, Head ++ "a_total 1\n# EOF\n"},
           {openmetrics, "# HELP a x\n# TYPE a counter\na_total 1\n"},
           {openmetrics, "# HELP a x\n# TYPE a counter\na 1\n# EOF\n"},
           {openmetrics, "# HELP a \"\n# TYPE a counter\na_total 1\n# EOF\n"},
           {openmetrics, "# HELP a x\n# TYPE a gauge\n# UNIT a s\na 1\n# EOF\n"},
           {openmetrics, "# HELP a x\n# TYPE a counter\na_total 1\n"
                         "# HELP a_total x\n# TYPE a_total gauge\na_total{b=\"c\"} 1\n# EOF\n"},
           {openmetrics, ""},
           {text, Histogram ++ "h_bucket{le=\"1\"} 1\nh_count 1\nh_sum 1\n"},
           {text, Histogram ++ "h_bucket{le=\"1\"} 2\nh_bucket{le=\"+Inf\"} 1\nh_count 1\nh_sum 1\n"},
           {text, Histogram ++ "h_bucket{le=\"2\"} 1\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 1\nh_count 1\nh_sum 1\n"},
           {text, Histogram ++ "h_bucket{le=\"+Inf\"} 2\nh_count 1\nh_sum 1\n"},
           {text, Histogram ++ "h_bucket{le=\"+Inf\"} 1\nh_count 1\n"},
           {text, Histogram ++ "h_bucket{le=\"+Inf\"} 1\nh_sum 1\n"}],
    [?assertError({bad_exposition, _, _}, erlmcp_ct_exposition:parse(Format, iolist_to_binary(Text)))
     || {Format, Text} <- Bad],
    Good = Head ++ "a_total{a=\"x\\\"\\\\\\n\"} 1\n" ++ Histogram
        ++ "h_bucket{le=\"-1.0\"} 0\nh_bucket{le=\"1e300\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_count 2\nh_sum -1.5e-7\n",
    #{samples := Samples} = erlmcp_ct_exposition:parse(text, iolist_to_binary(Good)),
    ?assertEqual(1, maps:get({<<"a_total">>, #{<<"a">> => <<"x\"\\\n">>}}, Samples)),
    ?assertEqual(-1.5e-7, maps:get({<<"h_sum">>, #{}}, Samples)),
    #{families := #{}} = erlmcp_ct_exposition:parse(text, <<>>),
    ok.

%% Generators

%% A call with what fits in some positions and anything in the others.
calls(Functions) ->
    oneof([{Function, list_of([frequency([{2, hostile()}, {1, name()}, {1, labels()}, {1, number()},
                                          {1, kind()}])
                               || _ <- lists:seq(1, Arity)])}
           || {Function, Arity} <- Functions]
          ++ [{Function, sensible(Function, Arity)} || {Function, Arity} <- Functions, Arity > 1]).

%% What fits, but for one argument.
sensible(Function, Arity) ->
    Fitting = [case {Function, Position} of
                   {F, 1} when F =:= declare; F =:= bind -> kind();
                   {F, 2} when F =:= declare; F =:= bind -> name();
                   {declare, 3} -> options();
                   {_, 1} -> name();
                   {_, Arity} -> labels();
                   _ -> number()
               end || Position <- lists:seq(1, Arity)],
    oneof([list_of(lists:sublist(Fitting, N - 1) ++ [hostile()] ++ lists:nthtail(N, Fitting))
           || N <- lists:seq(1, Arity)]).

kind() ->
    elements([counter, up_down_counter, gauge, histogram, exponential_histogram, info]).

%% Names that meet again, of every kind.
name() ->
    elements([<<"hostile_a">>, "hostile_a_total", hostile_b, <<"hostile_c">>, 'hostile.c', hostile_d,
              hostile_d_count, <<"hostile_e_info">>]).

labels() ->
    oneof([exactly(#{}), map(elements([a, <<"b">>, "c", le, 'ä', 'ключ']),
                    oneof([elements([x, "y", <<"z">>, '']), integer(), float(), binary(), hostile()])),
           map(hostile(), hostile())]).

options() ->
    map_of([{description, oneof(["text", binary(), hostile()])},
            {unit, oneof([seconds, hostile()])},
            {labels, oneof([[a], hostile()])},
            {buckets, oneof([[1, 2, infinity], list(float()), hostile()])},
            {limit, oneof([2, 10, integer(), hostile()])}]).

number() ->
    oneof([integer(), float(), elements([0, -1, 1, 0.0, infinity, '-infinity', nan])]).

hostile() ->
    proper_types:sized(fun(Size) -> hostile(Size) end).

hostile(Size) when Size < 2 ->
    oneof([integer(), float(), atom(), binary(), bitstring(), list(integer(0, 16#10FFFF)),
           leaf(), leaf()]);
hostile(Size) ->
    Part = proper_types:lazy(fun() -> hostile(Size div 3) end),
    frequency([{6, hostile(1)},
               {2, list(Part)},
               {1, loose_tuple(Part)},
               {1, map(Part, Part)},
               {1, {Part, Part}},
               {1, {'$improper', list_of([Part, Part, Part])}},
               {1, vector(2, Part)}]).

leaf() ->
    {'$leaf', integer(1, tuple_size(leaves()))}.

%% Made once: some are large.
leaves() ->
    case persistent_term:get(?MODULE, undefined) of
        undefined ->
            Leaves = list_to_tuple(make_leaves()),
            persistent_term:put(?MODULE, Leaves),
            Leaves;
        Leaves ->
            Leaves
    end.

make_leaves() ->
    <<_:3, Unaligned:7/binary, _/bitstring>> = <<0:3, "unalign", 0:5>>,
    <<_:3, UnalignedBad:4/binary, _/bitstring>> = <<0:3, 255, 254, 0, 128, 0:5>>,
    <<_:10/binary, Part:20/binary, _/binary>> = binary:copy(<<"0123456789">>, 100),
    <<MinusZero/float>> = <<1:1, 0:63>>,
    <<Max/float>> = <<16#7FEFFFFFFFFFFFFF:64>>,
    [[], <<>>, '', "", {}, #{}, <<0>>, <<"\n">>, <<"\"\\">>, <<255>>, <<16#C3>>, <<16#ED, 16#A0, 16#80>>,
     <<1:1>>, <<5:3>>, Unaligned, UnalignedBad, Part, <<16#F4, 16#90, 16#80, 16#80>>,
     nan, infinity, '-infinity', 'NaN', '+Inf', inf, undefined, null, true, false, nil,
     'größe', '日本', list_to_atom(lists:duplicate(255, 16#65E5)), list_to_atom(lists:duplicate(255, $x)),
     0.0, MinusZero, Max, -Max, 5.0e-324, 1.0e-300,
     1 bsl 59, -(1 bsl 59), (1 bsl 59) - 1, 1 bsl 60, 1 bsl 62, (1 bsl 63) - 1, 1 bsl 63, -(1 bsl 63),
     -(1 bsl 63) - 1, (1 bsl 64) - 1, 1 bsl 64, 1 bsl 1000, -(1 bsl 100000),
     self(), make_ref(), hd(erlang:ports()), fun() -> ok end, fun(X) -> X end, fun() -> throw(thrown) end,
     fun erlang:now/0, fun lists:nonexistent/7,
     [a | b], [$a, $b | c], [$a | <<"b">>], [[$a], $b], [16#D800], [16#110000], [-1], [1.0], [[[[]]]],
     "string", "größe", [16#65E5, 16#672C], lists:duplicate(4096, $a), lists:duplicate(4097, $a),
     binary:copy(<<"x">>, 255), binary:copy(<<"x">>, 256), binary:copy(<<"x">>, 1024),
     binary:copy(<<"x">>, 1025), binary:copy(<<0>>, 100000), binary:copy(<<255>>, 100000),
     nested(2000), list_to_tuple(lists:seq(1, 1000)),
     maps:from_list([{I, I} || I <- lists:seq(1, 33)]),
     maps:from_list([{integer_to_binary(I), I} || I <- lists:seq(1, 64)]),
     maps:from_list([{integer_to_binary(I), I} || I <- lists:seq(1, 65)]),
     maps:from_list([{integer_to_binary(I), I} || I <- lists:seq(1, 5000)]),
     #{a => 1, "a" => 2}, #{'__name__' => x}, #{le => 1}, #{"" => x}, #{#{} => #{}}, #{a => <<255>>},
     #{a => MinusZero}, #{otel_metric_overflow => true}].

nested(0) -> [];
nested(N) -> [nested(N - 1)].

%% Generators make descriptions, and real/1 the terms: proper would take large
%% terms apart each time as if they were types. (Debian's is older than maps,
%% and comes without the header that has the macros.)
map(Key, Value) ->
    {'$map', list({Key, Value})}.

map_of(Pairs) ->
    {'$map', list_of([{exactly(Key), Type} || {Key, Type} <- Pairs])}.

few(Type) ->
    oneof([[], list_of([Type]), list_of([Type, Type]), list_of([Type, Type, Type])]).

list_of(Types) ->
    proper_types:fixed_list(Types).

real({'$leaf', Number}) -> element(Number, leaves());
real({'$map', Pairs}) -> maps:from_list([{real(Key), real(Value)} || {Key, Value} <- Pairs]);
real({'$improper', [A, B, C]}) -> [real(A), real(B) | real(C)];
real([Head | Tail]) -> [real(Head) | real(Tail)];
real(Tuple) when is_tuple(Tuple) -> list_to_tuple(real(tuple_to_list(Tuple)));
real(Term) -> Term.

%% Checks

holds(Tests, Type, Config, Check) ->
    passed(check(Tests, Type, Check)),
    unharmed(Config).

check(Tests, Type, Check) ->
    Why = make_ref(),
    Property = proper:forall(Type, fun(Term) ->
        try Check(real(Term))
        catch Class:Reason:Stack -> put(Why, shortened({Class, Reason, Stack})), false
        end
    end),
    case proper:quickcheck(Property, [quiet, {numtests, Tests}, {max_size, 20}]) of
        true -> passed;
        false -> {counterexample, shortened(proper:counterexample()), get(Why)};
        {error, Reason} -> {no_test, Reason}
    end.

passed(Outcome) ->
    ?assertEqual(passed, Outcome).

shortened(Term) ->
    lists:flatten(io_lib:format("~0tP", [Term, 200])).

answered(_Function, ok) ->
    true;
answered(_Function, {error, {Tag, Text}}) ->
    lists:member(Tag, [bad_name, bad_labels, bad_value, bad_option, kind_conflict, name_taken,
                       buckets_differ, negative_increment, unknown_series])
        andalso is_binary(Text) andalso byte_size(Text) > 0 andalso byte_size(Text) =< ?MAX_TEXT_BYTES
        andalso unicode:characters_to_binary(Text) =:= Text;
answered(bind, Series) ->
    is_integer(Series) andalso Series > 0;
answered(value, Value) ->
    is_number(Value) orelse is_map(Value)
        orelse lists:member(Value, [undefined, infinity, '-infinity', nan]);
answered(remove, Removed) ->
    is_boolean(Removed) orelse (is_integer(Removed) andalso Removed >= 0).

refused({error, {Tag, Text}}) ->
    ?assert(answered(any, {error, {Tag, Text}})).

%% Or a sentence, as rustler says what it could not decode.
badarg_at_most(Call) ->
    try Call() of
        _ -> true
    catch
        error:badarg -> true;
        error:Sentence when is_binary(Sentence) -> true
    end.

%% Series that nobody else can name.
control() ->
    N = erlmcp_ct_app:name("control"),
    Names = #{counter => <<N/binary, "_c">>, float => <<N/binary, "_f">>, gauge => <<N/binary, "_g">>,
              histogram => <<N/binary, "_h">>},
    #{counter := C, float := F, gauge := G, histogram := H} = Names,
    ok = ?M:inc(C, #{a => "x\"y"}, 12345),
    ok = ?M:inc(F, 0.125),
    ok = ?M:set(G, -7),
    ok = ?M:observe(H, 0.25),
    Names.

%% The control series have their values, in value/2 and in every format, and
%% the exposition that they stand in is sound.
unharmed(Config) ->
    #{counter := C, float := F, gauge := G, histogram := H} = proplists:get_value(control, Config),
    ?assertEqual({12345, 0.125, -7}, {?M:value(C, #{a => "x\"y"}), ?M:value(F, #{}), ?M:value(G, #{})}),
    ?assertMatch(#{count := 1, sum := 0.25}, ?M:value(H, #{})),
    ok = ?M:inc(C, #{a => "x\"y"}, 0),
    [begin
         Scrape = erlmcp_ct_exposition:parse(Format, ?NIF:scrape(Format, all, [])),
         Value = fun(Name, Labels) -> erlmcp_ct_exposition:value(Scrape, Name, Labels) end,
         ?assertEqual(12345.0, 1.0 * Value(<<C/binary, "_total">>, #{<<"a">> => <<"x\"y">>})),
         ?assertEqual(0.125, Value(<<F/binary, "_total">>, #{})),
         ?assertEqual(-7.0, 1.0 * Value(G, #{})),
         case Format of
             protobuf -> ?assertMatch({1, 0.25, _}, Value(H, #{}));
             _ -> ?assertEqual({1, 0.25}, {Value(<<H/binary, "_count">>, #{}), Value(<<H/binary, "_sum">>, #{})})
         end
     end || Format <- [text, openmetrics, protobuf]],
    ok.
