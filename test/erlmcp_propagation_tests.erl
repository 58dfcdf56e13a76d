%% Tests of the propagation functions of the shared library: which Erlang terms
%% may be headers. What headers mean is tested in native/trace.
-module(erlmcp_propagation_tests).

-include_lib("eunit/include/eunit.hrl").

-define(PARENT, <<"00-12345678901234567890123456789012-1234567890abcdef-01">>).
-define(CONTEXT, <<16#12345678901234567890123456789012:128, 16#1234567890abcdef:64, 5, 0:64>>).

propagation_test_() ->
    {foreach, fun reset/0, fun(_) -> reset() end,
     [fun headers_of_every_type/0,
      fun the_layout_of_a_context/0,
      fun malformed_headers_are_skipped/0,
      fun baggage_is_read/0,
      fun headers_are_written/0,
      fun baggage_of_every_type_is_written/0,
      fun there_and_back/0,
      fun input_is_bounded/0,
      fun propagators_are_chosen/0]}.

headers_of_every_type() ->
    [?assertEqual({Headers, {?CONTEXT, []}}, {Headers, extract(Headers)})
     || Headers <-
            [[{<<"traceparent">>, ?PARENT}],
             [{"traceparent", binary_to_list(?PARENT)}],
             [{traceparent, binary_to_atom(?PARENT)}],
             [{'TraceParent', ?PARENT}],
             [{<<"TRACEPARENT">>, <<" ", ?PARENT/binary, "\t">>}],
             #{<<"traceparent">> => ?PARENT},
             #{traceparent => binary_to_list(?PARENT), "other" => 1}]].

the_layout_of_a_context() ->
    Unsampled = <<"00-12345678901234567890123456789012-1234567890abcdef-00">>,
    {<<Trace:16/binary, Span:8/binary, Flags:8, Handle:64, State/binary>>, []} =
        extract([{traceparent, Unsampled}, {tracestate, "a=1"}, {tracestate, <<"b=2">>}]),
    ?assertEqual(<<16#12345678901234567890123456789012:128>>, Trace),
    ?assertEqual(<<16#1234567890abcdef:64>>, Span),
    ?assertEqual({4, 0, <<"a=1,b=2">>}, {Flags, Handle, State}).

malformed_headers_are_skipped() ->
    [?assertEqual({Headers, {nil, []}}, {Headers, extract(Headers)})
     || Headers <-
            [[], #{}, nil, 5, <<"traceparent">>, {a, b}, [a | b], self(),
             [{traceparent, <<"00-", 255>>}], [{traceparent, 1.5}], [{traceparent, [a]}],
             [{traceparent, ?PARENT, more, than, three}], [[traceparent, ?PARENT]],
             [{traceparent, <<1:3>>}], [{traceparent, #{}}], [{<<"x">>, ?PARENT}],
             [{traceparent, ?PARENT}, {<<"Traceparent">>, ?PARENT}]]],
    Odd = [nonsense, {<<255>>, <<"x">>}, {1, 2}, {tracestate, [-1]}, {traceparent, ?PARENT},
           {lists:duplicate(1000, $x), "y"} | improper],
    ?assertEqual({?CONTEXT, []}, extract(Odd)).

baggage_is_read() ->
    ?assertEqual(
        {nil, [{<<"a">>, <<"1 2">>, <<"p=1;q">>}, {<<"b">>, <<"ü"/utf8>>, <<>>}]},
        extract([{"Baggage", "a=1%202 ; p=1; q"}, {baggage, <<"no, b=%C3%BC">>}])).

headers_are_written() ->
    ?assertEqual([{<<"traceparent">>, ?PARENT}], inject(?CONTEXT, [])),
    Recording = <<16#12345678901234567890123456789012:128, 16#1234567890abcdef:64, 3, 77:64,
                  "a=1">>,
    ?assertEqual([{<<"traceparent">>, ?PARENT}, {<<"tracestate">>, <<"a=1">>},
                  {<<"baggage">>, <<"k=v">>}],
                 inject(Recording, [{k, v}])),
    [?assertEqual([], inject(Context, []))
     || Context <- [nil, undefined, <<>>, <<0:(33 * 8)>>, binary:part(?CONTEXT, 0, 32), 5, []]].

baggage_of_every_type_is_written() ->
    Written = fun(Baggage) -> proplists:get_value(<<"baggage">>, inject(nil, Baggage)) end,
    ?assertEqual(<<"a=1,b=2.5,c=x%20y;p,d=%C3%BC,e=">>,
                 Written([{a, 1}, {"b", 2.5}, {<<"c">>, "x y", "p"}, {d, <<"ü"/utf8>>, <<>>},
                          {e, []}])),
    ?assertEqual(<<"k=v">>, Written(#{k => v})),
    ?assertEqual(<<"k=v">>,
                 Written([{"", "no name"}, {"a b", 1}, {<<"a\r\n">>, 1}, {a, <<255>>}, {b, self()},
                          {c, "1", "two words"}, nonsense, {k, v}])),
    [?assertEqual(undefined, Written(Baggage)) || Baggage <- [nil, 5, [], #{}, [a | b]]].

there_and_back() ->
    Baggage = [{<<"k", (integer_to_binary(N))/binary>>, varied_text(N), <<"p">>}
               || N <- lists:seq(1, 64)],
    Context = <<?CONTEXT/binary, "a=1,b=2">>,
    ?assertEqual({Context, Baggage}, extract(inject(Context, Baggage))).

input_is_bounded() ->
    Many = [{<<"x-", (integer_to_binary(N))/binary>>, <<"y">>} || N <- lists:seq(1, 1000)],
    ?assertEqual({?CONTEXT, []}, extract(Many ++ [{traceparent, ?PARENT}])),
    ?assertEqual({nil, []}, extract(Many ++ Many ++ [{traceparent, ?PARENT}])),
    Huge = binary:copy(<<"a=1,">>, 20000),
    ?assertEqual({nil, []}, extract([{traceparent, ?PARENT}, {baggage, Huge}])),
    ?assertEqual({?CONTEXT, []}, extract([{traceparent, ?PARENT}, {other, Huge}])),
    ?assertEqual([], inject(nil, [{k, Huge}])),
    Long = lists:duplicate(8190, $x),
    ?assertEqual({nil, [{<<"k">>, list_to_binary(Long), <<>>}]}, extract([{"baggage", "k=" ++ Long}])),
    Half = binary:copy(<<"x">>, 40000),
    ?assertEqual({nil, []}, extract([{traceparent, ?PARENT}, {baggage, Half}, {baggage, Half}])).

propagators_are_chosen() ->
    ok = erlmcp_instrumentation_nif:otel_propagators(<<"b3, baggage">>),
    B3 = <<"12345678901234567890123456789012-1234567890abcdef-1">>,
    ?assertEqual([{<<"b3">>, B3}], inject(?CONTEXT, [])),
    ?assertEqual({?CONTEXT, []}, extract([{"B3", B3}])),
    ?assertEqual({nil, []}, extract([{traceparent, ?PARENT}])),
    ok = erlmcp_instrumentation_nif:otel_propagators(<<"none">>),
    ?assertEqual([], inject(?CONTEXT, [{k, v}])),
    {error, {bad_option, Text}} = erlmcp_instrumentation_nif:otel_propagators(<<"b3,jaeger">>),
    ?assertMatch({_, _}, binary:match(Text, <<"jaeger">>)),
    ?assertEqual([], inject(?CONTEXT, []), "an error changes nothing").

%% Internals

reset() ->
    ok = erlmcp_instrumentation_nif:otel_propagators(<<"tracecontext,baggage">>).

extract(Headers) ->
    erlmcp_instrumentation_nif:otel_extract(Headers).

inject(Context, Baggage) ->
    erlmcp_instrumentation_nif:otel_inject(Context, Baggage).

varied_text(N) ->
    unicode:characters_to_binary([(N * I * 7919) rem 16#D7FF || I <- lists:seq(0, N rem 5)]).
