%% What lines of logs say, read by Python's json.
-module(erlmcp_log_formatter_tests).

-include_lib("eunit/include/eunit.hrl").

-import(proper_types, [elements/1, float/0, frequency/1, integer/0, integer/2, list/1,
                       non_empty/1, oneof/1, resize/2]).

%% logger's callback.
-export([log/2]).

-define(OTEL, erlmcp_otel_instrumentation).
-define(F, erlmcp_log_formatter).
-define(RUNS, 1000).
-define(MAX_LINE_BYTES, 4096).

formatter_test_() ->
    {setup,
     fun() -> erlmcp_ct_app:quiet(), erlmcp_ct_app:start() end,
     fun(_) -> erlmcp_ct_app:stop(), erlmcp_ct_app:loud() end,
     [fun the_line_of_the_guide/0,
      fun fields_of_logger/0,
      fun times/0,
      fun levels/0,
      fun messages/0,
      fun reports/0,
      fun large_arguments_keep_their_neighbours/0,
      fun large_reports_keep_their_keys/0,
      fun what_crashes_says_so/0,
      fun types_of_values/0,
      fun names_of_fields/0,
      fun characters/0,
      fun limits/0,
      fun ids_of_spans/0,
      fun ids_of_requests/0,
      fun secrets/0,
      fun configurations/0,
      {timeout, 120, fun any_event/0},
      {timeout, 60, fun values_arrive/0}]}.

the_line_of_the_guide() ->
    ok = logger:update_primary_config(#{level => info}),
    ok = logger:add_handler(?MODULE, ?MODULE, #{config => #{to => self()},
                                                formatter => {?F, #{}}}),
    try
        logger:info("Request processed", #{request_id => 42, status => success, duration_ms => 1.5})
    after
        ok = logger:remove_handler(?MODULE),
        ok = logger:update_primary_config(#{level => notice})
    end,
    Line = receive {line, Said} -> Said after 30000 -> error(no_line) end,
    ?assertMatch(#{<<"message">> := <<"Request processed">>, <<"level">> := <<"info">>,
                   <<"request_id">> := 42, <<"status">> := <<"success">>, <<"duration_ms">> := 1.5},
                 read(Line)).

log(Event, #{formatter := {Formatter, Config}, config := #{to := Pid}}) ->
    Pid ! {line, Formatter:format(Event, Config)}.

fields_of_logger() ->
    Fields = fields({string, "x"}, #{mfa => {m, f, 2}, line => 7, file => "src/m.erl",
                                     domain => [a, b], error_logger => #{tag => error},
                                     report_cb => fun logger:format_report/1}),
    ?assertEqual(#{<<"module">> => <<"m">>, <<"function">> => <<"f/2">>, <<"line">> => 7,
                   <<"domain">> => <<"a.b">>, <<"pid">> => list_to_binary(pid_to_list(self())),
                   <<"node">> => atom_to_binary(node()), <<"level">> => <<"info">>,
                   <<"message">> => <<"x">>},
                 maps:remove(<<"time">>, Fields)),
    %% What others put there.
    Odd = fields({string, "x"}, #{mfa => {1, 2}, line => -1, domain => [a | b], pid => 7, time => yesterday}),
    ?assertEqual([<<"level">>, <<"message">>, <<"node">>, <<"time">>], lists:sort(maps:keys(Odd))).

times() ->
    [?assertEqual(Text, erlmcp_log_time:rfc3339(Time))
     || {Time, Text} <- [{0, <<"1970-01-01T00:00:00.000000Z">>},
                         {-1, <<"1969-12-31T23:59:59.999999Z">>},
                         {951782399999999, <<"2000-02-28T23:59:59.999999Z">>},
                         {951782400000000, <<"2000-02-29T00:00:00.000000Z">>},
                         {253402300799999999, <<"9999-12-31T23:59:59.999999Z">>},
                         {-62167219200000000, <<"0000-01-01T00:00:00.000000Z">>}]],
    %% As OTP has it, for any time.
    [begin
         Time = rand:uniform(253402300799999999),
         Theirs = calendar:system_time_to_rfc3339(Time, [{unit, microsecond}, {offset, "Z"}]),
         ?assertEqual(list_to_binary(Theirs), erlmcp_log_time:rfc3339(Time))
     end || _ <- lists:seq(1, 2000)],
    [?assertMatch(<<_:4/binary, "-", _:2/binary, "-", _:2/binary, "T", _:15/binary, "Z">>,
                  erlmcp_log_time:rfc3339(Time))
     || Time <- [now, undefined, 1 bsl 70, -(1 bsl 70), 1.5, 253402300800000000]].

levels() ->
    [?assertMatch(#{<<"level">> := Text}, read(line(Level, {string, "x"}, #{})))
     || {Level, Text} <- [{emergency, <<"emerg">>}, {alert, <<"alert">>}, {critical, <<"critical">>},
                          {error, <<"error">>}, {warning, <<"warning">>}, {notice, <<"notice">>},
                          {info, <<"info">>}, {debug, <<"debug">>}]].

messages() ->
    [?assertEqual(Text, message(Message))
     || {Message, Text} <- [{{string, "größe"}, <<"größe"/utf8>>},
                            {{string, <<"größe"/utf8>>}, <<"größe"/utf8>>},
                            {{string, ["a", $b, <<"c">>]}, <<"abc">>},
                            {{string, <<"a", 255, "b">>}, <<"a", 16#FFFD/utf8, "b">>},
                            {{"~b of ~ts", [3, <<"größe"/utf8>>]}, <<"3 of größe"/utf8>>},
                            {{<<"~p">>, [{a, "b"}]}, <<"{a,\"b\"}">>},
                            {{"two~nlines", []}, <<"two\nlines">>}]].

%% What is cut of one argument costs none of the others.
large_arguments_keep_their_neighbours() ->
    Big = lists:seq(1, 20000),
    [?assertMatch({_, {match, _}},
                  {Args, re:run(maps:get(<<"message">>, fields({Format, Args}, #{})), Pattern, [dotall])})
     || {Format, Args, Pattern} <- [
         {"took ~b ms, state ~0P", [12, Big, 9], "^took 12 ms, state \\[1,2,"},
         {"state ~0P of ~s took ~b ms", [Big, 9, "me", 12], "^state .* of me took 12 ms$"},
         {"~s|~b", [lists:duplicate(20000, $x), 7], "^x+"}]].

%% A callback of a report, such as OTP's for the end of a process, finds all keys.
large_reports_keep_their_keys() ->
    Big = [{N, x} || N <- lists:seq(1, 20000)],
    Callback = fun(#{a := _, report := [[{state, _}, {password, Secret}, {last, Last}], _], z := Z}) ->
        {"~p ~p ~p", [Secret, Last, Z]}
    end,
    Report = #{a => Big, report => [[{state, Big}, {password, <<"geheim">>}, {last, here}], Big], z => too},
    ?assertMatch(#{<<"message">> := <<"<<\"[REDACTED]\">> here too">>},
                 fields({report, Report}, #{report_cb => Callback})),
    ?assertEqual(#{a => [], b => #{}}, erlmcp_redaction:report(#{a => [], b => #{}})),
    ?assertEqual([{a, 1} | tail], erlmcp_redaction:report([{a, 1} | tail])),
    ?assertEqual({secret, <<"[REDACTED]">>}, erlmcp_redaction:report({secret, x})).

reports() ->
    ?assertMatch(#{<<"message">> := <<"started">>, <<"what">> := <<"started">>, <<"n">> := 5},
                 fields({report, #{what => started, n => 5}}, #{})),
    ?assertEqual(error, maps:find(<<"user_message">>, fields({report, #{message => <<"m">>, n => 5}}, #{}))),
    ?assertMatch(#{<<"message">> := <<"#{n => 5}">>, <<"n">> := 5}, fields({report, #{n => 5}}, #{})),
    ?assertMatch(#{<<"n">> := 5}, fields({report, [{n, 5}]}, #{})),
    ?assertMatch(#{<<"message">> := <<"one 5">>, <<"n">> := 5},
                 fields({report, #{n => 5}}, #{report_cb => fun(#{n := N}) -> {"one ~b", [N]} end})),
    ?assertMatch(#{<<"message">> := <<"two 5">>},
                 fields({report, #{n => 5}},
                        #{report_cb => fun(#{n := N}, #{depth := _, chars_limit := _, single_line := true}) ->
                                           ["two ", integer_to_list(N)]
                                       end})),
    %% The one that OTP's handlers give to reports without one.
    ?assertMatch(#{<<"message">> := <<"started">>},
                 fields({report, #{what => started}}, #{report_cb => fun logger:format_otp_report/1})),
    %% Metadata win over a report, and what is left out is counted.
    ?assertMatch(#{<<"n">> := 1, <<"dropped_fields">> := 1}, fields({report, #{n => 5}}, #{n => 1})).

what_crashes_says_so() ->
    [begin
         Text = message(Message, Meta),
         ?assertMatch({0, _}, binary:match(Text, <<"(the message cannot be formatted)">>)),
         ?assertMatch({_, _}, binary:match(Text, Part))
     end
     || {Message, Meta, Part} <- [{{"~p ~p", [1]}, #{}, <<"~p ~p">>},
                                  {{"~q", []}, #{}, <<"~q">>},
                                  {{report, #{n => 5}}, #{report_cb => fun(_) -> error(boom) end}, <<"boom">>},
                                  {{report, #{n => 5}}, #{report_cb => fun(_) -> nonsense end}, <<"nonsense">>},
                                  {{report, #{n => 5}}, #{report_cb => fun(_, _) -> throw(up) end}, <<"up">>},
                                  {{string, [16#D800]}, #{}, <<"55296">>},
                                  {nonsense, #{}, <<"nonsense">>}]],
    ?assertMatch(#{<<"message">> := <<"erlmcp_log_formatter cannot write an event", _/binary>>},
                 read(?F:format(no_event, #{}))).

types_of_values() ->
    Pid = list_to_binary(pid_to_list(self())),
    [?assertEqual({Value, Expected}, {Value, value(Value)})
     || {Value, Expected} <-
            [{1, 1}, {-(1 bsl 63), -(1 bsl 63)}, {(1 bsl 63) - 1, (1 bsl 63) - 1},
             {1 bsl 63, <<"9223372036854775808">>}, {1.5, 1.5}, {1.0e300, 1.0e300}, {1.0e-300, 1.0e-300},
             {true, true}, {false, false}, {null, null}, {undefined, null}, {nil, null},
             {ok, <<"ok">>}, {'größe', <<"größe"/utf8>>}, {"text", <<"text">>}, {"", []}, {<<>>, <<>>},
             {[1, 2], [1, 2]}, {[a, "b", <<"c">>], [<<"a">>, <<"b">>, <<"c">>]}, {[1 | 2], [1, 2]},
             {[{a, 1}, {<<"b">>, 2}], #{<<"a">> => 1, <<"b">> => 2}},
             {[{a, 1}, {a, 2}], [<<"{a,1}">>, <<"{a,2}">>]},
             {#{a => #{<<"b">> => [c]}}, #{<<"a">> => #{<<"b">> => [<<"c">>]}}}, {#{}, #{}},
             {#{1 => a, "two" => b, {3} => c}, #{<<"1">> => <<"a">>, <<"two">> => <<"b">>, <<"{3}">> => <<"c">>}},
             {#{a => 1, "a" => 1, <<"a">> => 1}, #{<<"a">> => 1, <<"a'">> => 1, <<"a''">> => 1}},
             {{error, timeout}, <<"{error,timeout}">>}, {<<1:3>>, <<"<<1:3>>">>},
             {self(), Pid}, {fun erlang:now/0, <<"fun erlang:now/0">>},
             {<<"a", 255, 254, "b">>, <<"a", 16#FFFD/utf8, 16#FFFD/utf8, "b">>}]],
    ?assertMatch(<<"(integer of ", _/binary>>, value(1 bsl 100000)).

names_of_fields() ->
    Names = [time, level, message, pid, node, module, function, line, domain, trace_id, span_id,
             trace_flags, dropped_fields],
    Said = read(line(info, {report, maps:from_list([{Name, mine} || Name <- Names])}, #{})),
    [?assertEqual({Name, <<"mine">>}, {Name, maps:get(<<"user_", (atom_to_binary(Name))/binary>>, Said)})
     || Name <- Names, Name =/= message],
    ?assertMatch(#{<<"message">> := <<"mine">>, <<"level">> := <<"info">>}, Said),
    ?assertMatch(#{<<"user_level">> := 1}, fields({string, "x"}, #{<<"level">> => 1})).

characters() ->
    Every = unicode:characters_to_binary(lists:seq(0, 16#D7FF) ++ lists:seq(16#E000, 16#10FFFF, 7)),
    Parts = [binary:part(Every, At, min(1000, byte_size(Every) - At))
             || At <- lists:seq(0, byte_size(Every) - 1, 1000)],
    [?assertEqual(replaced(Part), value(Part)) || Part <- Parts],
    Line = line(info, {string, <<"a\nb\r\n", 16#2028/utf8, 16#85/utf8, 0, 127>>}, #{}),
    ?assertEqual([byte_size(Line) - 1], [At || {At, 1} <- binary:matches(Line, <<"\n">>)]).

%% As the cuts between the parts leave it.
replaced(Bytes) ->
    case Bytes of
        <<>> -> <<>>;
        <<C/utf8, Rest/binary>> -> <<C/utf8, (replaced(Rest))/binary>>;
        <<_, Rest/binary>> -> <<16#FFFD/utf8, (replaced(Rest))/binary>>
    end.

limits() ->
    Long = binary:copy(<<"ä"/utf8>>, 100000),
    Cut = value(Long),
    ?assert(byte_size(Cut) =< 8192 + 3),
    ?assertEqual(<<"...">>, binary:part(Cut, byte_size(Cut), -3)),
    ?assertMatch([[[<<"...">>]]], value([[[[1]]]], #{max_depth => 3})),
    ?assertMatch(#{<<"a">> := <<"...">>}, value(#{a => #{b => 1}}, #{max_depth => 1})),
    %% Integers that are no characters.
    Many = value(lists:seq(-100000, -1)),
    ?assertEqual(<<"...">>, lists:last(Many)),
    ?assert(length(Many) > 1000),
    Fields = maps:from_list([{list_to_atom("f" ++ integer_to_list(N)), N} || N <- lists:seq(1, 200)]),
    ?assertMatch(#{<<"dropped_fields">> := 72}, fields({string, "x"}, Fields)),
    Large = maps:map(fun(_, _) -> Long end, Fields),
    Line = line(info, {string, Long}, Large),
    ?assert(byte_size(Line) =< 65536),
    #{<<"dropped_fields">> := Dropped} = read(Line),
    ?assert(Dropped > 100),
    ?assert(byte_size(message({string, Long})) =< 8192 + 3),
    ?assertMatch(<<_/binary>>, message({"~s", [lists:duplicate(100000, $a)]})).

ids_of_spans() ->
    ?assertEqual(error, maps:find(<<"trace_id">>, fields({string, "x"}, #{}))),
    ?OTEL:with_span(<<"outer">>, fun() ->
        Outer = {?OTEL:trace_id(), ?OTEL:span_id()},
        ?assertEqual(Outer, ids(#{})),
        ?assertMatch(#{<<"trace_flags">> := <<"01">>}, fields({string, "x"}, #{})),
        ?OTEL:with_span(<<"inner">>, fun() ->
            Inner = {?OTEL:trace_id(), ?OTEL:span_id()},
            %% Of one trace the nearer span; of another one what was told.
            ?assertEqual(Inner, ids(#{trace_id => element(1, Outer), span_id => element(2, Outer)})),
            Other = {binary:copy(<<"a">>, 32), binary:copy(<<"b">>, 16)},
            ?assertEqual(Other, ids(#{trace_id => element(1, Other), span_id => element(2, Other)})),
            %% The event of another process is not in this one's span.
            ?assertEqual(none, ids(#{pid => whereis(init)}))
        end)
    end),
    {Token, Name} = {?OTEL:attach(<<1:128, 2:64, 0, 0:64>>), <<"00000000000000000000000000000001">>},
    try
        ?assertEqual({Name, <<"0000000000000002">>}, ids(#{})),
        ?assertMatch(#{<<"trace_flags">> := <<"00">>}, fields({string, "x"}, #{}))
    after
        ?OTEL:detach(Token)
    end,
    [begin
         Attached = ?OTEL:attach(Bad),
         try ?assertEqual(none, ids(#{})) after ?OTEL:detach(Attached) end
     end || Bad <- [<<>>, <<0:300>>, <<1:128>>]].

ids(Meta) ->
    case fields({string, "x"}, Meta) of
        #{<<"trace_id">> := TraceId, <<"span_id">> := SpanId} -> {TraceId, SpanId};
        _ -> none
    end.

%% What logger adds by itself in a request.
ids_of_requests() ->
    Meta = fun() -> case logger:get_process_metadata() of undefined -> #{}; Known -> Known end end,
    ?OTEL:trace_request(#{method => <<"ping">>, request_id => 17}, fun() ->
        ?assertMatch(#{<<"request_id">> := 17}, fields({string, "x"}, Meta())),
        ?assertEqual({?OTEL:trace_id(), ?OTEL:span_id()}, ids(Meta()))
    end),
    ?assertEqual(undefined, logger:get_process_metadata()).

secrets() ->
    Fields = fields({report, #{user => #{name => <<"bob">>, db_password => <<"geheim">>},
                               headers => [{<<"Authorization">>, <<"geheim">>}, {<<"accept">>, <<"*">>}],
                               max_tokens => 5}},
                    #{accessToken => <<"geheim">>, pair => {secret, geheim}}),
    ?assertMatch(#{<<"user">> := #{<<"name">> := <<"bob">>, <<"db_password">> := <<"[REDACTED]">>},
                   <<"headers">> := #{<<"Authorization">> := <<"[REDACTED]">>, <<"accept">> := <<"*">>},
                   <<"accessToken">> := <<"[REDACTED]">>, <<"max_tokens">> := 5}, Fields),
    Lines = [line(error, Message, Meta)
             || {Message, Meta} <-
                    [{{"state ~p", [#{password => geheim}]}, #{}},
                     {{"~p", [[{x, [{api_key, geheim}]}]]}, #{}},
                     {{report, #{reason => {badmatch, #{"token" => "geheim"}}}}, #{}},
                     {{report, #{state => #{password => geheim}}},
                      #{report_cb => fun(#{state := State}) -> {"state ~p", [State]} end}},
                     {{report, #{label => {gen_server, terminate}, name => x, last_message => {token, geheim},
                                 state => #{secret => geheim}, log => [], reason => {badarg, []},
                                 client_info => undefined}},
                      #{report_cb => fun gen_server:format_log/2, domain => [otp]}},
                     {{string, "x"}, #{a => {1, [{cookie, geheim} | tail]}, b => #{{k, 1} => #{jwt => geheim}}}}]],
    [?assertEqual({nomatch, Line}, {binary:match(Line, <<"geheim">>), Line}) || Line <- Lines],
    [?assertMatch({{_, _}, _}, {binary:match(Line, <<"[REDACTED]">>), Line}) || Line <- Lines].

configurations() ->
    ?assertEqual(ok, ?F:check_config(#{})),
    ?assertEqual(ok, ?F:check_config(?F:defaults())),
    [?assertMatch({error, _}, ?F:check_config(Bad))
     || Bad <- [#{max_depth => 0}, #{max_line_bytes => 100}, #{max_fields => -1}, #{unknown => 1}, nonsense,
                #{max_field_bytes => <<"1">>}]].

%% Any event gives one line of JSON within its limits.
any_event() ->
    Hostile = fun() -> resize(8, erlmcp_metrics_hostile_SUITE:hostile()) end,
    Type = {elements([debug, info, emergency]),
            frequency([{3, {string, Hostile()}}, {3, {report, Hostile()}}, {2, {report, pairs(Hostile)}},
                       {3, {elements(["~p", "~ts ~w", "~s", ""]), list(Hostile())}}, {1, Hostile()}]),
            pairs(Hostile),
            {integer(1, 10), integer(16, 5000), integer(0, 20), integer(4096, 8192)}},
    Reader = erlmcp_ct_lines:open(),
    Property = proper:forall(Type, fun(Made) ->
        {Level, Message, Pairs, {Depth, Field, Fields, Bytes}} = erlmcp_metrics_hostile_SUITE:real(Made),
        Meta = maps:from_list([Pair || {_, _} = Pair <- Pairs]),
        Event = #{level => Level, msg => reported(Message), meta => Meta},
        Line = ?F:format(Event, #{max_depth => Depth, max_field_bytes => Field, max_fields => Fields,
                                  max_line_bytes => Bytes}),
        case erlmcp_ct_lines:read(Reader, Line, Bytes) of
            {ok, #{<<"time">> := _, <<"level">> := _, <<"message">> := _}} -> true;
            Other -> put(why, {Other, Event}), false
        end
    end),
    Result = proper:quickcheck(Property, [quiet, {numtests, ?RUNS}, {max_size, 20}]),
    erlmcp_ct_lines:close(Reader),
    ?assertEqual({true, undefined}, {Result, get(why)}).

pairs(Hostile) ->
    list({oneof([elements([time, pid, mfa, line, domain, gl, trace_id, span_id, trace_flags, report_cb, level,
                           message, password, n]), Hostile()]), Hostile()}).

%% Reports are maps as well.
reported({report, [{_, _} | _] = Pairs}) when length(Pairs) rem 2 =:= 0 ->
    {report, maps:from_list([Pair || {_, _} = Pair <- Pairs])};
reported(Message) ->
    Message.

%% Numbers, texts and what is made of them are read as they were given.
values_arrive() ->
    Text = proper_types:bind(list(proper_types:char()), fun text/1, false),
    Scalar = oneof([integer(), integer(-(1 bsl 63), (1 bsl 63) - 1), float(), Text, elements([true, false, null])]),
    Key = proper_types:bind(list(integer($a, $z)), fun(Letters) -> list_to_binary([$k | Letters]) end, false),
    Value = oneof([Scalar, non_empty(list(Text)), list({Key, Scalar})]),
    Reader = erlmcp_ct_lines:open(),
    Property = proper:forall(resize(12, list({Key, Value})), fun(Pairs) ->
        Meta = maps:from_list([{Name, of_pairs(Given)} || {Name, Given} <- Pairs]),
        {ok, Said} = erlmcp_ct_lines:read(Reader, line(info, {string, "x"}, Meta)),
        Wanted = maps:filter(fun(Name, _) -> not erlmcp_redaction:is_secret(Name) end, Meta),
        bits(Wanted) =:= bits(maps:with(maps:keys(Wanted), Said))
            orelse begin put(why, {Wanted, Said}), false end
    end),
    Result = proper:quickcheck(Property, [quiet, {numtests, 500}]),
    erlmcp_ct_lines:close(Reader),
    ?assertEqual({true, undefined}, {Result, get(why)}).

of_pairs([{_, _} | _] = Pairs) -> maps:from_list([{K, V} || {K, V} <- Pairs, not erlmcp_redaction:is_secret(K)]);
of_pairs(Value) -> Value.

text(Characters) ->
    unicode:characters_to_binary([C || C <- Characters, C < 16#D800 orelse C > 16#DFFF]).

bits(Term) -> term_to_binary(Term, [{minor_version, 2}, deterministic]).

%% Lines

line(Level, Message, Meta) ->
    ?F:format(erlmcp_ct_lines:event(Level, Message, Meta), #{}).

fields(Message, Meta) ->
    read(line(info, Message, Meta)).

message(Message) ->
    message(Message, #{}).

message(Message, Meta) ->
    maps:get(<<"message">>, fields(Message, Meta)).

value(Value) ->
    value(Value, #{}).

value(Value, Config) ->
    Event = erlmcp_ct_lines:event(info, {string, "x"}, #{value => Value}),
    maps:get(<<"value">>, read(?F:format(Event, Config))).

read(Line) ->
    Reader = case get(reader) of
        undefined -> erlmcp_ct_lines:open();
        Open -> Open
    end,
    put(reader, Reader),
    case erlmcp_ct_lines:read(Reader, Line) of
        {ok, Fields} -> Fields;
        {error, Reason} -> error({unreadable, Reason})
    end.
