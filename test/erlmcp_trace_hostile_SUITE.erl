%% Any term into any function of tracing: the VM lives, nothing raises but what
%% is said to, spans still work, and no call holds its scheduler for long.
-module(erlmcp_trace_hostile_SUITE).

-include_lib("stdlib/include/assert.hrl").

-import(proper_types, [atom/0, binary/0, bitstring/0, elements/1, float/0, frequency/1,
                       integer/0, integer/2, list/1, loose_tuple/1, oneof/1]).

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1,
         init_per_testcase/2, end_per_testcase/2]).
-export([public_functions/1, functions_around/1, context_functions/1, native_functions/1,
         native_cold_functions/1, forged_contexts/1, huge_terms/1, huge_terms_are_forgotten/1,
         one_span_many_processes/1, messages_to_the_watcher/1]).

-define(M, erlmcp_otel_instrumentation).
-define(NIF, erlmcp_instrumentation_nif).
%% Most that one call may take of its scheduler: a millisecond or two are meant,
%% the rest is the machine's.
-define(MOST_MS, 20).
-define(TRIES, 3).

suite() ->
    [{timetrap, {minutes, 4}}].

all() ->
    [public_functions, functions_around, context_functions, native_functions,
     native_cold_functions, forged_contexts, huge_terms, huge_terms_are_forgotten,
     one_span_many_processes, messages_to_the_watcher].

init_per_suite(Config) ->
    erlmcp_ct_app:quiet(),
    Config.

end_per_suite(_Config) ->
    _ = persistent_term:erase({?MODULE, leaves}),
    erlmcp_ct_app:forget(),
    erlmcp_ct_app:loud().

init_per_testcase(_Case, Config) ->
    erlmcp_ct_app:start(),
    Config.

end_per_testcase(_Case, _Config) ->
    erlmcp_ct_app:stop().

%% Random terms

%% These answer whatever they are given.
public_functions(_Config) ->
    Functions = [{span, 2}, {span, 3}, {span, 4}, {start_span, 1}, {start_span, 2}, {start_span, 3},
                 {end_span, 1}, {end_span, 2}, {give_away, 2},
                 {set_attribute, 2}, {set_attribute, 3}, {set_attributes, 1}, {set_attributes, 2},
                 {add_event, 2}, {add_event, 3}, {add_event, 4}, {add_link, 1}, {add_link, 2},
                 {set_status, 1}, {set_status, 2}, {set_status, 3},
                 {record_exception, 3}, {record_exception, 4}, {update_name, 1}, {update_name, 2},
                 {trace_id, 1}, {span_id, 1}, {is_sampled, 1}, {is_recording, 1}, {extract, 1}],
    holds(1000, calls(Functions), fun({Function, Arguments}) ->
        in_span(fun() -> apply(?M, Function, Arguments) end),
        true
    end).

functions_around(_Config) ->
    Functions = [{with_span, 2}, {with_span, 3}, {measure, 2}, {measure, 3}, {trace_request, 2},
                 {trace_session, 2}, {trace_registry, 2}],
    holds(500, calls(Functions), fun({Function, Arguments}) ->
        Result = make_ref(),
        Around = lists:droplast(Arguments) ++ [fun() -> Result end],
        in_span(fun() -> Result = apply(?M, Function, Around) end),
        true
    end),
    %% Where a function should be.
    holds(300, calls(Functions), fun({Function, Arguments}) ->
        in_span(fun() -> only([function_clause, badfun, badarity, thrown], fun() -> apply(?M, Function, Arguments) end) end)
    end).

%% What takes contexts, functions, times or carriers says so.
context_functions(_Config) ->
    Functions = [{set_current_span, 1}, {attach, 1}, {detach, 1}, {with_context, 2}, {carry, 1},
                 {inject, 1}, {set_baggage, 2}, {remove_baggage, 1}, {handle_traced, 2},
                 {force_flush, 1}, {spawn, 1}, {spawn_opt, 2}],
    Allowed = [function_clause, badarg, badfun, badarity, thrown, badmap, case_clause],
    holds(300, calls(Functions), fun
        ({force_flush, [Timeout]}) when is_integer(Timeout), Timeout > 10 -> true;
        ({Function, Arguments}) ->
            %% In a process of its own, whose dictionary may be anything then.
            {_, Ref} = spawn_monitor(fun() ->
                true = only(Allowed, fun() -> apply(?M, Function, Arguments) end),
                %% With whatever is current now.
                [_ = ?M:F() || F <- [current_span, trace_id, span_id, is_sampled, is_recording]],
                _ = ?M:set_attribute(a, 1),
                ok = ?M:with_span(s, fun() -> ok end),
                ok = ?M:trace_request(#{}, fun() -> ok end)
            end),
            receive
                {'DOWN', Ref, _, _, normal} -> true;
                {'DOWN', Ref, _, _, Reason} -> error({ended, Reason})
            after 30000 -> error(hangs)
            end
    end).

native_functions(_Config) ->
    Functions = [{span_start, 3}, {span_end, 1}, {span_end, 2}, {span_set_attribute, 3},
                 {span_set_attributes, 2}, {span_add_event, 4}, {span_add_link, 2},
                 {span_set_status, 3}, {span_set_name, 2}, {span_is_open, 1}, {span_give_away, 2},
                 {span_ids, 1}, {log_emit, 6}],
    Before = in_flight(),
    holds(1500, calls(Functions), fun({Function, Arguments}) ->
        in_span(fun() -> apply(?NIF, Function, Arguments) end),
        true
    end),
    ?assertEqual(Before, in_flight()).

native_cold_functions(_Config) ->
    Functions = [{tracing_configure, 1}, {span_watch, 1}, {span_owner_down, 3}, {exporter_start, 2},
                 {exporter_stop, 1}, {exporter_flush, 1}, {capture_spans, 1}, {capture_stop, 1},
                 {otel_propagators, 1}, {otel_extract, 1}, {otel_inject, 2}],
    Waits = [exporter_stop, exporter_flush, capture_spans],
    holds(400, calls(Functions), fun
        ({Function, [N]}) when is_integer(N), N > 10, Function =/= capture_stop ->
            not lists:member(Function, Waits) orelse true;
        ({Function, Arguments}) ->
            only([badarg], fun() -> apply(?NIF, Function, Arguments) end)
    end),
    erlmcp_ct_app:start(),
    Numbers = [max_open_spans, queue_records, queue_bytes, queue_wake_at, attribute_limit,
               attribute_length_limit, event_limit, link_limit, event_attribute_limit,
               link_attribute_limit, span_max_bytes, tail_slow_ms, tail_max_bytes],
    Number = oneof([elements([0, 1, 7, 1000, (1 bsl 32) - 1, 1 bsl 32, (1 bsl 64) - 1, nil]), hostile()]),
    Options = map_of([{disabled, oneof([true, false])}, {tail_errors, oneof([true, false])},
                      {sampler, elements([<<"always_on">>, <<"always_off">>, <<"traceidratio">>, <<"x">>])},
                      {sampler_arg, oneof([nil, <<"0.5">>, <<"x">>, hostile()])}
                      | [{Key, frequency([{5, elements([0, 1, 7, 1000, (1 bsl 32) - 1])}, {1, Number}])} || Key <- Numbers]]),
    %% Whatever the limits are, spans of both kinds begin and end.
    holds(200, {term, Options}, fun({term, Map}) ->
        true = only([badarg], fun() -> ?NIF:tracing_configure(Map) end),
        [ok = Call(fun() ->
            _ = ?M:set_attributes(#{a => 1, "b" => [1, #{c => <<"text">>}]}),
            _ = ?M:add_event(e, #{a => lists:seq(1, 100)}),
            _ = ?M:add_link(?M:current_span()),
            _ = ?M:set_status(error, <<"message">>),
            ok
        end) || Call <- [fun(F) -> ?M:with_span(s, F) end, fun(F) -> ?M:trace_request(#{}, F) end]],
        _ = ?NIF:log_emit(1, 9, <<"info">>, <<"body">>, #{a => 1}, undefined),
        true
    end, fun() -> erlmcp_ct_app:start() end).

%% Contexts that are nearly those of open spans lead to none.
forged_contexts(_Config) ->
    {_, Spans} = captured(fun() ->
        Open = [?M:start_span(s) || _ <- lists:seq(1, 8)],
        [First | _] = Open,
        Flipped = [begin
                       <<Head:Bit/bitstring, B:1, Tail/bitstring>> = First,
                       <<Head/bitstring, (1 - B):1, Tail/bitstring>>
                   end || Bit <- lists:seq(128, 191) ++ lists:seq(200, 263)],
        <<Ids:24/binary, Flags, _/binary>> = First,
        Handles = [<<Ids/binary, Flags, Handle:64>>
                   || Handle <- [0, (1 bsl 64) - 1, 1 bsl 20, (1 bsl 20) + 1, 1 bsl 32, 1 bsl 63]],
        Cut = [binary:part(First, 0, Size) || Size <- lists:seq(0, 32)],
        [begin
             ?assertNot(?M:set_attribute(Forged, forged, 1)),
             ?assertNot(?M:end_span(Forged)),
             ?assertNot(?M:is_recording(Forged)),
             ?assertNot(?M:give_away(Forged, self()))
         end || Forged <- Flipped ++ Handles ++ Cut],
        %% Not part of what is looked up, and harmless.
        Long = <<First/binary, (binary:copy(<<"x">>, 1000000))/binary>>,
        ?assert(?M:set_attribute(Long, genuine, 1)),
        ?assert(?M:end_span(?M:start_span(Long, child, #{}))),
        [?assert(?M:end_span(Span)) || Span <- Open]
    end),
    ?assertEqual(9, length(Spans)),
    ?assertEqual([], [S || #{attributes := #{<<"forged">> := _}} = S <- Spans]).

%% Size

huge_terms(_Config) ->
    Calls = [{name, fun(Term) -> ?M:end_span(?M:start_span(Term)) end},
             {value, fun(Term) -> ?NIF:span_set_attribute(?M:current_span(), a, Term) end},
             {nested, fun(Term) -> ?NIF:span_set_attribute(?M:current_span(), a, {b, [Term], #{c => Term}}) end},
             {key, fun(Term) -> ?NIF:span_set_attribute(?M:current_span(), Term, 1) end},
             {attributes, fun(Term) -> ?NIF:span_set_attributes(?M:current_span(), Term) end},
             {event, fun(Term) -> ?NIF:span_add_event(?M:current_span(), Term, Term, Term) end},
             {link, fun(Term) -> ?NIF:span_add_link(?M:current_span(), {?M:current_span(), Term}) end},
             {links, fun(Term) -> ?NIF:span_end(?NIF:span_start(s, undefined, #{links => Term})) end},
             {options, fun(Term) -> ?NIF:span_end(?NIF:span_start(s, undefined, Term)) end},
             {status, fun(Term) -> ?NIF:span_set_status(?M:current_span(), error, Term) end},
             {rename, fun(Term) -> ?NIF:span_set_name(?M:current_span(), Term) end},
             {context, fun(Term) -> ?NIF:span_is_open(Term) end},
             {log, fun(Term) -> ?NIF:log_emit(1, 9, Term, Term, Term, Term) end}],
    Slow = [{Call, Kind, Took}
            || {Kind, Term} <- huge(), {Call, Fun} <- Calls,
               Took <- [quickest(Fun, Term)], Took > ?MOST_MS * 1000],
    ?assertEqual([], Slow),
    {_, [Span]} = captured(fun() ->
        ?M:with_span(s, fun() ->
            [?assert(?M:set_attributes(#{whole => Term})) || {_, Term} <- huge()],
            ?M:set_attributes(proplists:get_value(map, huge())),
            ?M:set_attributes(proplists:get_value(pairs, huge()))
        end)
    end),
    ?assert(maps:get(dropped_attributes, Span) > 1000000).

%% What the first call of a kind pays for memory, and what the machine does
%% meanwhile, is not the call's: the quickest of some.
quickest(Fun, Term) ->
    ?M:with_span(s, fun() ->
        lists:min([begin
                       Begin = erlang:monotonic_time(microsecond),
                       _ = Fun(Term),
                       erlang:monotonic_time(microsecond) - Begin
                   end || _ <- lists:seq(1, ?TRIES)])
    end).

%% In the process' dictionary: shared parts stay shared where nothing is copied.
huge() ->
    case get(huge) of
        undefined ->
            Huge = make_huge(),
            put(huge, Huge),
            Huge;
        Huge ->
            Huge
    end.

make_huge() ->
    Chars = lists:duplicate(1000000, $x),
    Long = lists:duplicate(60000, $x) ++ [0],
    Wide = [Long || _ <- lists:seq(1, 60000)],
    [{nested, lists:foldl(fun(_, Inner) -> [Inner] end, [], lists:seq(1, 100000))},
     {nested_tuples, lists:foldl(fun(_, Inner) -> {Inner, Inner} end, {}, lists:seq(1, 1000))},
     {nested_maps, lists:foldl(fun(_, Inner) -> #{a => Inner, b => Inner} end, #{}, lists:seq(1, 100))},
     {shared_lists, lists:foldl(fun(_, Inner) -> [Inner, Inner, Inner] end, [], lists:seq(1, 100))},
     {integers, lists:seq(1, 1000000)},
     {characters, Chars},
     {almost_characters, Chars ++ [0]},
     {lists, Wide},
     {pairs, [{integer_to_binary(I), I} || I <- lists:seq(1, 1000000)]},
     {pairs_of_long, [{a, Long} || _ <- lists:seq(1, 60000)]},
     {pairs_with_long_keys, [{Chars, Wide} || _ <- lists:seq(1, 60000)]},
     {map, maps:from_list([{I, I} || I <- lists:seq(1, 1000000)])},
     {map_of_texts, maps:from_list([{integer_to_binary(I), I} || I <- lists:seq(1, 1000000)])},
     {map_of_tuples, maps:from_list([{{I, lists:seq(1, 300)}, Chars} || I <- lists:seq(1, 10000)])},
     {tuple, list_to_tuple(lists:seq(1, 1000000))},
     {ascii, binary:copy(<<"x">>, 100000000)},
     {utf8, binary:copy(<<"é"/utf8>>, 50000000)},
     {no_utf8, binary:copy(<<255>>, 100000000)},
     {bits, <<(binary:copy(<<"x">>, 1000000))/binary, 1:1>>},
     %% The largest that OTP 27 still has.
     {integer, 1 bsl 4000000},
     {binaries, lists:duplicate(100000, binary:copy(<<"y">>, 100000))},
     {atom_list, lists:duplicate(1000000, a)}].

%% What was read of large terms does not stay.
huge_terms_are_forgotten(_Config) ->
    _ = huge(),
    [_ = ?M:with_span(Term, #{attributes => #{a => Term}}, fun() -> ok end) || {_, Term} <- huge()],
    Before = resident(),
    [begin
         _ = ?M:with_span(Term, #{attributes => #{a => Term}}, fun() -> ?M:set_status(error, Term) end)
     end || _ <- lists:seq(1, 20), {Kind, Term} <- huge(), Kind =/= tuple],
    Grown = resident() - Before,
    ?assert(Grown < 100000000, Grown).

resident() ->
    {ok, Text} = file:read_file("/proc/self/statm"),
    [_, Pages | _] = string:lexemes(Text, " "),
    binary_to_integer(Pages) * 4096.

%% Many processes

%% Each end is told to one of them.
one_span_many_processes(_Config) ->
    {Ends, Spans} = captured(fun() ->
        lists:sum([begin
             Span = ?M:start_span(s),
             lists:sum(erlmcp_ct_load:together(8, fun(N) ->
                 [?M:set_attribute(Span, {N, I rem 3}, I) || I <- lists:seq(1, 50)],
                 [?M:set_attribute(Span, <<"key">>, binary:copy(<<"x">>, I)) || I <- lists:seq(1, 50)],
                 _ = ?M:add_event(Span, e, #{n => N}),
                 _ = ?M:give_away(Span, self()),
                 length([ended || ?M:end_span(Span)])
             end))
         end || _ <- lists:seq(1, 200)])
    end),
    %% A process that had it and ended may have been its end.
    ?assertEqual(200, length(Spans)),
    ?assertEqual(200, length(lists:usort([Id || #{span_id := Id} <- Spans]))),
    ?assertEqual(200, Ends),
    ?assertEqual(0, maps:get(open, ?NIF:span_stats())).

messages_to_the_watcher(_Config) ->
    Pid = whereis(?M),
    Message = oneof([hostile(), {'DOWN', hostile(), process, self(), hostile()},
                     {'DOWN', hostile(), hostile(), hostile(), hostile()}, ask]),
    holds(300, {term, Message}, fun
        ({term, {'DOWN', _, process, Other, _}}) when not is_pid(Other) -> true;
        ({term, Term}) ->
            Pid ! Term,
            gen_server:cast(Pid, Term),
            {error, unknown_call} = gen_server:call(Pid, {call, Term}),
            true
    end),
    ?assertEqual(Pid, whereis(?M)).

%% Generators

%% A call with what fits in some positions and anything in the others.
calls(Functions) ->
    oneof([{Function, list_of([argument() || _ <- lists:seq(1, Arity)])} || {Function, Arity} <- Functions]).

argument() ->
    frequency([{3, {'$span', integer(0, 3)}}, {2, elements([<<"name">>, name, "name"])},
               {1, elements([ok, error, exit, throw, server, now, none, undefined])},
               {1, options()}, {2, attributes()}, {1, integer()}, {3, hostile()}]).

attributes() ->
    oneof([{'$map', list({elements([a, <<"b">>, "c"]), hostile()})}, list({elements([a, <<"b">>, "c"]), hostile()}),
           {'$map', list({hostile(), hostile()})}]).

options() ->
    map_of([{Key, hostile()} || Key <- [kind, attributes, links, parent, start_time, method, params,
                                       session_id, transport, client_ip, component, tool, uri]]).

map_of(Pairs) ->
    {'$map', list_of([{proper_types:exactly(Key), Type} || {Key, Type} <- Pairs])}.

list_of(Types) ->
    proper_types:fixed_list(Types).

hostile() ->
    proper_types:sized(fun(Size) -> hostile(Size) end).

hostile(Size) when Size < 2 ->
    oneof([integer(), float(), atom(), binary(), bitstring(), list(integer(0, 16#10FFFF)),
           {'$leaf', integer(1, tuple_size(leaves()))}, {'$span', integer(0, 3)}]);
hostile(Size) ->
    Part = proper_types:lazy(fun() -> hostile(Size div 3) end),
    frequency([{6, hostile(1)}, {2, list(Part)}, {1, loose_tuple(Part)}, {1, {'$map', list({Part, Part})}},
               {1, {Part, Part}}, {1, {'$improper', list_of([Part, Part])}}]).

%% Made once.
leaves() ->
    case persistent_term:get({?MODULE, leaves}, undefined) of
        undefined ->
            Leaves = list_to_tuple(make_leaves()),
            persistent_term:put({?MODULE, leaves}, Leaves),
            Leaves;
        Leaves ->
            Leaves
    end.

make_leaves() ->
    [[], <<>>, '', {}, #{}, <<0>>, <<255>>, <<16#C3>>, <<16#ED, 16#A0, 16#80>>, <<1:1>>, 'größe', '日本',
     list_to_atom(lists:duplicate(255, 16#65E5)), 0.0, 5.0e-324, 1 bsl 59, (1 bsl 63) - 1, 1 bsl 63, (1 bsl 64) - 1,
     1 bsl 64, -(1 bsl 63), 1 bsl 1000, -(1 bsl 20000), self(), make_ref(), hd(erlang:ports()), fun() -> ok end,
     fun(X) -> X end, fun() -> throw(thrown) end, fun lists:nonexistent/7, [a | b], [$a | b], [16#D800], [16#110000],
     [-1], {bytes, 1}, {bytes, <<255>>}, {array, x}, {array, [a | b]}, {array, "abc"}, <<0:(33 * 8)>>, <<1:(33 * 8)>>,
     binary:copy(<<"x">>, 1025), binary:copy(<<255>>, 10000), lists:duplicate(4097, $a),
     lists:foldl(fun(_, Inner) -> [Inner] end, [], lists:seq(1, 1000)), list_to_tuple(lists:seq(1, 300)),
     maps:from_list([{I, I} || I <- lists:seq(1, 300)]), #{a => 1, "a" => 2, <<"a">> => 3},
     [{traceparent, <<"00-12345678901234567890123456789012-1234567890abcdef-01">>}, {baggage, <<"a=b">>}]].

real({'$leaf', N}) -> element(N, leaves());
real({'$span', 0}) -> ?M:extract([{traceparent, <<"00-12345678901234567890123456789012-1234567890abcdef-01">>}]);
real({'$span', N}) -> lists:nth(N, get(spans));
real({'$map', Pairs}) -> maps:from_list([{real(Key), real(Value)} || {Key, Value} <- Pairs]);
real({'$improper', [A, B]}) -> [real(A) | real(B)];
real([Head | Tail]) -> [real(Head) | real(Tail)];
real(Tuple) when is_tuple(Tuple) -> list_to_tuple([real(Element) || Element <- tuple_to_list(Tuple)]);
real(Term) -> Term.

%% Checks

holds(Tests, Type, Check) ->
    holds(Tests, Type, Check, fun() -> ok end).

holds(Tests, Type, Check, After) ->
    Why = make_ref(),
    put(spans, [?M:start_span(open), ended(), <<0:(33 * 8)>>]),
    Property = proper:forall(Type, fun(Term) ->
        try Check(real(Term))
        catch Class:Reason:Stack -> put(Why, {Class, Reason, Stack}), false
        end
    end),
    Outcome = proper:quickcheck(Property, [quiet, {numtests, Tests}, {max_size, 20}]),
    After(),
    case Outcome of
        true -> ok;
        false -> ct:fail("~P~n~P", [proper:counterexample(), 60, get(Why), 60]);
        Error -> ct:fail("~p", [Error])
    end,
    ?M:end_span(hd(get(spans))),
    ?M:set_current_span(undefined),
    still_works().

ended() ->
    Span = ?M:start_span(ended),
    true = ?M:end_span(Span),
    Span.

%% Within a span, which is the current one afterwards as before.
in_span(Fun) ->
    Span = ?M:start_span(s),
    ?M:set_current_span(Span),
    try
        Result = Fun(),
        Span = ?M:current_span(),
        Result
    after
        ?M:end_span(Span),
        ?M:set_current_span(undefined)
    end.

%% Whether nothing else is raised.
only(Reasons, Fun) ->
    try Fun() of
        _ -> true
    catch
        %% A NIF's options that are not as they have to be.
        error:Reason when is_binary(Reason) -> lists:member(badarg, Reasons);
        _:Reason when is_tuple(Reason) -> lists:member(element(1, Reason), Reasons) orelse {raised, Reason};
        _:Reason -> lists:member(Reason, Reasons) orelse {raised, Reason}
    end.

still_works() ->
    {_, Spans} = captured(fun() ->
        ok = ?M:with_span(outer, #{attributes => #{a => 1}}, fun() -> ?M:with_span(inner, fun() -> ok end) end)
    end),
    ?assertMatch([#{name := <<"inner">>, parent_span_id := Id},
                  #{name := <<"outer">>, span_id := Id, attributes := #{<<"a">> := 1}}], Spans).

captured(Fun) ->
    Id = ?NIF:capture_start(),
    true = is_integer(Id),
    try
        Result = Fun(),
        {Result, ?NIF:capture_spans(Id)}
    after
        true = ?NIF:capture_stop(Id)
    end.

in_flight() ->
    case erlmcp_metrics:value(erlmcp_requests_in_flight, #{}) of
        N when is_number(N) -> N;
        _ -> 0
    end.
