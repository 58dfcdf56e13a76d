%% The functions of erlmcp_otel_instrumentation, value by value: what callers
%% get, what spans say, what requests count, and what becomes of the spans of
%% processes that end. Spans are caught in memory.
-module(erlmcp_trace_SUITE).

-behaviour(gen_server).

-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1,
         init_per_testcase/2, end_per_testcase/2]).
-export([
    results_and_nesting/1, exceptions_pass_untouched/1, exits_that_are_no_errors/1,
    spans_by_hand/1, attributes_of_every_type/1, the_last_value_counts/1,
    limits_of_counts/1, limits_of_lengths/1, events_and_links/1, status_precedence/1,
    exceptions_recorded_by_hand/1, times/1, names/1,
    current_context/1, context_to_processes/1, context_to_a_server/1, carriers/1, baggage/1,
    spans_of_another_node/1,
    requests_with_atom_keys/1, requests_of_json_rpc/1, requests_of_any_term/1,
    requests_that_fail/1, requests_are_counted/1, requests_and_logger/1,
    requests_that_continue_a_trace/1, requests_that_end_their_span/1, requests_after_their_metrics_are_removed/1,
    sessions_and_registry/1,
    start_link_in_any_order/1, samplers/1, the_tail_rule/1, disabled/1,
    processes_that_end/1, reasons_of_ends/1, spans_given_away/1,
    thousands_killed/1, killed_at_work/1, watcher_killed_meanwhile/1,
    application_stopped_meanwhile/1
]).
%% As a gen_server, and on another node.
-export([init/1, handle_call/3, handle_cast/2]).
-export([remote_span/0, touch/1]).

-define(M, erlmcp_otel_instrumentation).
-define(NIF, erlmcp_instrumentation_nif).
-define(APPLICATION, erlmcp_instrumentation).
-define(KILLED, 10000).

suite() ->
    [{timetrap, {minutes, 4}}].

all() ->
    [results_and_nesting, exceptions_pass_untouched, exits_that_are_no_errors,
     spans_by_hand, attributes_of_every_type, the_last_value_counts,
     limits_of_counts, limits_of_lengths, events_and_links, status_precedence,
     exceptions_recorded_by_hand, times, names,
     current_context, context_to_processes, context_to_a_server, carriers, baggage,
     spans_of_another_node,
     requests_with_atom_keys, requests_of_json_rpc, requests_of_any_term,
     requests_that_fail, requests_are_counted, requests_and_logger,
     requests_that_continue_a_trace, requests_that_end_their_span, requests_after_their_metrics_are_removed,
     sessions_and_registry,
     start_link_in_any_order, samplers, the_tail_rule, disabled,
     processes_that_end, reasons_of_ends, spans_given_away,
     thousands_killed, killed_at_work, watcher_killed_meanwhile,
     application_stopped_meanwhile].

init_per_suite(Config) ->
    erlmcp_ct_app:quiet(),
    Config.

end_per_suite(_Config) ->
    erlmcp_ct_app:forget(),
    erlmcp_ct_app:loud().

init_per_testcase(_Case, Config) ->
    erlmcp_ct_app:start(),
    Config.

end_per_testcase(_Case, _Config) ->
    erlmcp_ct_app:stop().

%% Spans around a function

results_and_nesting(_Config) ->
    Result = make_ref(),
    Calls = [fun(F) -> ?M:with_span(<<"s">>, F) end,
             fun(F) -> ?M:with_span("s", #{}, F) end,
             fun(F) -> ?M:measure(s, F) end,
             fun(F) -> ?M:measure(s, #{a => 1}, F) end,
             fun(F) -> ?M:trace_request(#{}, F) end,
             fun(F) -> ?M:trace_session(<<"1">>, F) end,
             fun(F) -> ?M:trace_registry(<<"lookup">>, F) end],
    [begin
         {Ids, [Inner, Outer]} = captured(fun() ->
             ?assertEqual(undefined, ?M:current_span()),
             Got = Call(fun() ->
                 Span = ?M:current_span(),
                 ?assert(?M:is_recording()),
                 ?assert(?M:is_sampled()),
                 Result = ?M:with_span(inner, fun() ->
                     ?assertEqual(?M:trace_id(Span), ?M:trace_id()),
                     ?assertNotEqual(?M:span_id(Span), ?M:span_id()),
                     Result
                 end),
                 ?assertEqual(Span, ?M:current_span()),
                 {Result, ?M:trace_id(), ?M:span_id()}
             end),
             ?assertEqual(undefined, ?M:current_span()),
             Got
         end),
         {Result, TraceId, SpanId} = Ids,
         ?assertMatch(#{trace_id := TraceId, span_id := SpanId, parent_span_id := undefined,
                        status := unset}, Outer),
         ?assertMatch(#{name := <<"inner">>, trace_id := TraceId, parent_span_id := SpanId}, Inner),
         ?assert(maps:get(start_time, Outer) =< maps:get(start_time, Inner)),
         ?assert(maps:get(end_time, Inner) =< maps:get(end_time, Outer))
     end || Call <- Calls],
    ok.

%% Class, reason and stack as they are without tracing.
exceptions_pass_untouched(_Config) ->
    Raisers = [{error, fun() -> error(badthing) end},
               {error, fun() -> error({bad, "thing"}, [with, arguments]) end},
               {throw, fun() -> throw({thrown, 1}) end},
               {exit, fun() -> exit(because) end},
               {error, fun() -> _ = atom_to_list(hd([1])) end},
               {error, fun() -> deep(5) end}],
    Plain = fun(F) -> F() end,
    Calls = [fun(F) -> ?M:with_span(s, F) end,
             fun(F) -> ?M:measure(s, #{}, F) end,
             fun(F) -> ?M:trace_request(#{method => <<"m">>}, F) end,
             fun(F) -> ?M:trace_session(s, F) end,
             fun(F) -> ?M:trace_registry(op, F) end,
             fun(F) -> ?M:with_context(undefined, F) end],
    [begin
         {Class, Reason, Stack} = raised(Plain, Raise),
         {_, Spans} = captured(fun() ->
             Before = ?M:start_span(before),
             ?M:set_current_span(Before),
             {Class, Reason, Traced} = raised(Call, Raise),
             %% The frames of the function itself are the same; below them are
             %% those of the library.
             Depth = length([F || F <- Stack, element(1, F) =/= ?MODULE
                                      orelse element(2, F) =/= raised]),
             ?assertEqual(inner_frames(Stack), lists:sublist(Traced, length(inner_frames(Stack)))),
             ?assert(Depth > 0),
             ?assertEqual(Before, ?M:current_span()),
             ?M:set_current_span(undefined),
             true = ?M:end_span(Before)
         end),
         [?assertMatch({Class, #{status := {error, _},
                                 attributes := #{<<"error.type">> := _},
                                 events := [#{name := <<"exception">>,
                                              attributes := #{<<"exception.type">> := _,
                                                              <<"exception.message">> := _,
                                                              <<"exception.stacktrace">> := <<_, _/binary>>}}]}},
                       {Class, Span})
          || #{name := Name} = Span <- Spans, Name =/= <<"before">>]
     end || {Class, Raise} <- Raisers, Call <- Calls],
    %% Arguments of calls are not written.
    {_, [#{events := [#{attributes := Attributes}]}]} = captured(fun() ->
        raised(fun(F) -> ?M:with_span(s, F) end, fun() -> error(x, ["secret"]) end)
    end),
    ?assertEqual(nomatch, string:find(maps:get(<<"exception.stacktrace">>, Attributes), "secret")),
    ?assertEqual(<<"x">>, maps:get(<<"exception.type">>, Attributes)),
    ?assertEqual(<<"error: x">>, maps:get(<<"exception.message">>, Attributes)).

exits_that_are_no_errors(_Config) ->
    {_, Spans} = captured(fun() ->
        [begin
             ?assertMatch({exit, Reason, _}, raised(Call, fun() -> exit(Reason) end)),
             ?assertEqual(undefined, ?M:current_span())
         end || Reason <- [normal, shutdown, {shutdown, why}],
                Call <- [fun(F) -> ?M:with_span(s, F) end, fun(F) -> ?M:trace_request(#{}, F) end]]
    end),
    ?assertEqual(6, length(Spans)),
    [?assertMatch(#{status := unset, events := []}, Span) || Span <- Spans],
    {_, [Thrown]} = captured(fun() ->
        raised(fun(F) -> ?M:with_span(s, F) end, fun() -> throw(normal) end)
    end),
    ?assertMatch(#{status := {error, <<"throw: normal">>}}, Thrown).

%% Spans by hand

spans_by_hand(_Config) ->
    {_, Spans} = captured(fun() ->
        A = ?M:span(a, client),
        B = ?M:span(<<"b">>, server, #{x => 1}),
        C = ?M:span("c", producer, [{y, 2}], [A, {B, #{why => because}}]),
        D = ?M:start_span(A, d, #{kind => consumer}),
        ?assertEqual(undefined, ?M:current_span()),
        E = ?M:with_context(D, fun() -> ?M:start_span(e) end),
        F = ?M:start_span({E, []}, f, #{}),
        G = ?M:start_span(g, #{parent => F}),
        H = ?M:with_context(G, fun() -> ?M:start_span(h, #{parent => none}) end),
        [begin
             ?assert(?M:is_recording(Span)),
             ?assertEqual(true, ?M:end_span(Span)),
             ?assertEqual(false, ?M:end_span(Span)),
             ?assertNot(?M:is_recording(Span)),
             ?assertEqual(false, ?M:set_attribute(Span, late, 1)),
             ?assertEqual(false, ?M:add_event(Span, late, #{})),
             ?assertEqual(false, ?M:set_status(Span, error)),
             ?assertEqual(false, ?M:update_name(Span, late)),
             ?assertEqual(false, ?M:give_away(Span, self()))
         end || Span <- [A, B, C, D, E, F, G, H]],
        ?assertEqual(8, length(lists:usort([?M:span_id(S) || S <- [A, B, C, D, E, F, G, H]]))),
        ok
    end),
    [A, B, C, D, E, F, G, H] = Spans,
    Id = fun(Span) -> maps:get(span_id, Span) end,
    ?assertEqual([client, server, producer, consumer, internal, internal, internal, internal],
                 [maps:get(kind, Span) || Span <- Spans]),
    ?assertEqual([undefined, undefined, undefined, Id(A), Id(D), Id(E), Id(F), undefined],
                 [maps:get(parent_span_id, Span) || Span <- Spans]),
    ?assertEqual(1, length(lists:usort([maps:get(trace_id, Span) || Span <- [A, D, E, F, G]]))),
    ?assertEqual(4, length(lists:usort([maps:get(trace_id, Span) || Span <- [A, B, C, H]]))),
    ?assertEqual(#{<<"x">> => 1}, maps:get(attributes, B)),
    ?assertEqual(#{<<"y">> => 2}, maps:get(attributes, C)),
    ?assertMatch([#{attributes := Empty}, #{attributes := #{<<"why">> := <<"because">>}}]
                     when map_size(Empty) =:= 0, maps:get(links, C)),
    ?assertEqual([Id(A), Id(B)], [maps:get(span_id, Link) || Link <- maps:get(links, C)]).

%% What spans say

attributes_of_every_type(_Config) ->
    Pid = self(),
    Pairs = [{true, true}, {false, false}, {0, 0}, {-1, -1},
             {(1 bsl 59), 1 bsl 59}, {(1 bsl 63) - 1, (1 bsl 63) - 1}, {-(1 bsl 63), -(1 bsl 63)},
             {1 bsl 63, <<"9223372036854775808">>},
             {-(1 bsl 64), <<"-18446744073709551616">>},
             {1.5, 1.5}, {-0.25, -0.25}, {1.0e300, 1.0e300},
             {<<"text">>, <<"text">>}, {<<>>, <<>>}, {<<"größe"/utf8>>, <<"größe"/utf8>>},
             {<<255, 0>>, {bytes, <<255, 0>>}}, {{bytes, <<"text">>}, {bytes, <<"text">>}},
             {"string", <<"string">>}, {"größe", <<"größe"/utf8>>}, {[16#65E5], <<"日"/utf8>>},
             {[], []}, {[1, 2], [1, 2]}, {[a, "b", 1.5, true], [<<"a">>, <<"b">>, 1.5, true]},
             {{array, "abc"}, "abc"}, {{array, []}, []}, {[0], [0]}, {["a", "b"], [<<"a">>, <<"b">>]},
             {[1 | 2], [1, 2]}, {[$a | b], [$a, <<"b">>]},
             {atom, <<"atom">>}, {'größe', <<"größe"/utf8>>}, {undefined, <<"undefined">>},
             {#{}, #{}}, {#{a => #{b => [1]}, "c" => <<"d">>},
                          #{<<"a">> => #{<<"b">> => [1]}, <<"c">> => <<"d">>}},
             {#{1 => x}, #{<<"1">> => <<"x">>}},
             {{a, 1}, <<"{a,1}">>}, {Pid, list_to_binary(pid_to_list(Pid))},
             {{bytes, not_binary}, <<"{bytes,not_binary}">>}],
    {_, [Span]} = captured(fun() ->
        ?M:with_span(s, fun() ->
            [?assert(?M:set_attribute(integer_to_binary(N), Given))
             || {N, {Given, _}} <- lists:enumerate(Pairs)]
        end)
    end),
    #{attributes := Attributes, dropped_attributes := 0} = Span,
    [?assertEqual({Given, Expected}, {Given, maps:get(integer_to_binary(N), Attributes)})
     || {N, {Given, Expected}} <- lists:enumerate(Pairs)],
    %% These are only shown.
    {_, [Shown]} = captured(fun() ->
        ?M:with_span(s, #{attributes => [{r, make_ref()}, {f, fun() -> ok end}, {b, <<1:3>>},
                                         {p, hd(erlang:ports())}, {n, 1 bsl 100000},
                                         {t, {<<"text">>, "text", 1.5, #{a => 'B c'}}}]},
                     fun() -> ok end)
    end),
    #{<<"r">> := <<"#Ref<", _/binary>>, <<"f">> := <<"#Fun<", _/binary>>, <<"b">> := <<_, _/binary>>,
      <<"p">> := <<"#Port<", _/binary>>, <<"n">> := <<_, _/binary>>, <<"t">> := <<"{", _/binary>>} =
        maps:get(attributes, Shown).

the_last_value_counts(_Config) ->
    {_, [Span]} = captured(fun() ->
        ?M:with_span(s, #{attributes => [{a, 1}, {<<"a">>, 2}, {"b", 3}]}, fun() ->
            ?assert(?M:set_attribute("a", first)),
            ?assert(?M:set_attributes(#{b => second, <<"c">> => 1})),
            ?assert(?M:set_attributes([{"c", [third]}, {<<"d">>, binary:copy(<<"x">>, 300)}])),
            ?assert(?M:set_attribute(d, short)),
            ?assert(?M:set_attribute(a, last))
        end)
    end),
    ?assertMatch(#{attributes := #{<<"a">> := <<"last">>, <<"b">> := <<"second">>,
                                   <<"c">> := [<<"third">>], <<"d">> := <<"short">>} = All,
                   dropped_attributes := 0} when map_size(All) =:= 4, Span),
    %% What is no attribute is counted.
    {_, [Bad]} = captured(fun() ->
        ?M:with_span(s, #{attributes => nonsense}, fun() ->
            ?assert(?M:set_attributes([{a, 1}, b, {c, 2, 3}, {<<255>>, 1}, {<<>>, 1}, {{x}, 1}, {d, 4}])),
            ?assert(?M:set_attributes([{e, 5} | f])),
            ?assert(?M:set_attribute(binary:copy(<<"k">>, 1025), 1))
        end)
    end),
    ?assertMatch(#{attributes := #{<<"a">> := 1, <<"d">> := 4, <<"e">> := 5} = All,
                   dropped_attributes := 8} when map_size(All) =:= 3, Bad).

limits_of_counts(_Config) ->
    erlmcp_ct_app:start(#{span_attribute_count_limit => 3, span_event_count_limit => 2,
                          span_link_count_limit => 2, event_attribute_count_limit => 1,
                          link_attribute_count_limit => 1}),
    {_, [Span]} = captured(fun() ->
        Other = ?M:start_span(other, #{parent => none}),
        ?M:with_span(s, #{attributes => [{I, I} || I <- [a, b, c, d, e]],
                          links => [{Other, [{a, 1}, {b, 2}]}, Other, Other, nonsense]}, fun() ->
            [?M:add_event(E, [{a, 1}, {b, 2}]) || E <- [one, two, three, four]],
            ?assert(?M:set_attribute(a, again)),
            ?assert(?M:set_attribute(f, 1)),
            ?assert(?M:add_link(Other)),
            ?assert(?M:add_link(nonsense))
        end),
        ?M:give_away(Other, self()),
        put(other, Other)
    end),
    ?M:end_span(get(other)),
    ?assertMatch(#{attributes := #{<<"a">> := <<"again">>, <<"b">> := <<"b">>, <<"c">> := <<"c">>} = A,
                   dropped_attributes := 3, dropped_events := 2, dropped_links := 4,
                   events := [#{name := <<"one">>, attributes := #{<<"a">> := 1} = E}, #{name := <<"two">>}],
                   links := [#{attributes := #{<<"a">> := 1} = L}, #{}]}
                     when map_size(A) =:= 3 andalso map_size(E) =:= 1 andalso map_size(L) =:= 1, Span).

limits_of_lengths(_Config) ->
    erlmcp_ct_app:start(#{span_attribute_value_length_limit => 5}),
    {_, [Span]} = captured(fun() ->
        ?M:with_span(s, #{attributes => #{a => <<"größer als"/utf8>>, b => "longer than", c => <<255:80>>,
                                          d => [<<"in an array">>], e => #{k => in_a_map},
                                          f => {bytes, <<"1234567">>}, g => 'an atom', h => {a, tuple}}},
                     fun() -> ok end)
    end),
    ?assertEqual(#{<<"a">> => <<"größe"/utf8>>, <<"b">> => <<"longe">>, <<"c">> => {bytes, <<0, 0, 0, 0, 0>>},
                   <<"d">> => [<<"in an">>], <<"e">> => #{<<"k">> => <<"in_a_">>},
                   <<"f">> => {bytes, <<"12345">>}, <<"g">> => <<"an at">>, <<"h">> => <<"{a,tu">>},
                 maps:get(attributes, Span)),
    erlmcp_ct_app:start(),
    %% A span is never larger than its limit; what does not fit is counted.
    {_, [Large]} = captured(fun() ->
        ?M:with_span(s, fun() ->
            [?assert(?M:set_attribute(integer_to_binary(I), binary:copy(<<"x">>, 10000)))
             || I <- lists:seq(1, 20)],
            ?assert(?M:add_event(e, #{a => binary:copy(<<"x">>, 10000), b => 1}))
        end)
    end),
    #{attributes := Kept, dropped_attributes := Dropped} = Large,
    ?assertEqual(20, map_size(Kept) + Dropped),
    ?assert(Dropped > 0),
    [?assertEqual(8192, byte_size(V)) || V <- maps:values(Kept)].

events_and_links(_Config) ->
    Then = 1700000000000000000,
    {{Before, After}, [Span, Other]} = captured(fun() ->
        Other = ?M:start_span(other),
        Span = ?M:start_span(s),
        Before = erlang:system_time(nanosecond),
        ?assert(?M:with_context(Span, fun() -> ?M:add_event(current, #{a => 1}) end)),
        ?assert(?M:add_event(Span, "named", [])),
        ?assert(?M:add_event(Span, <<"at">>, #{list => [1]}, Then)),
        ?assert(?M:add_event(Span, {any, term}, nonsense)),
        After = erlang:system_time(nanosecond),
        ?assert(?M:add_link(Span, Other)),
        ?assert(?M:with_context(Span, fun() -> ?M:add_link({Other, [{b, true}]}) end)),
        ?assertNot(?M:add_event(none, #{})),
        ?assertNot(?M:add_link(Other)),
        ?M:end_span(Span), ?M:end_span(Other),
        {Before, After}
    end),
    #{events := [E1, E2, E3, E4], links := [L1, L2]} = Span,
    ?assertMatch(#{name := <<"current">>, attributes := #{<<"a">> := 1}}, E1),
    Slack = 1000000000,
    ?assert(maps:get(time, E1) >= Before - Slack andalso maps:get(time, E1) =< After + Slack),
    ?assertMatch(#{name := <<"named">>, attributes := N} when map_size(N) =:= 0, E2),
    ?assertMatch(#{name := <<"at">>, time := Then, attributes := #{<<"list">> := [1]}}, E3),
    ?assertMatch(#{name := <<"{any,term}">>}, E4),
    #{trace_id := TraceId, span_id := SpanId} = Other,
    ?assertMatch(#{trace_id := TraceId, span_id := SpanId}, L1),
    ?assertMatch(#{trace_id := TraceId, attributes := #{<<"b">> := true}}, L2).

status_precedence(_Config) ->
    Cases = [{[], unset}, {[{ok, <<>>}], ok}, {[{error, "why"}], {error, <<"why">>}},
             {[{ok, <<"message">>}, {error, <<"late">>}], ok},
             {[{error, <<"a">>}, {error, <<"b">>}], {error, <<"b">>}},
             {[{error, <<"a">>}, {ok, <<>>}], ok},
             {[{error, <<"a">>}, {unset, <<>>}], {error, <<"a">>}},
             {[{nonsense, <<"a">>}], unset},
             {[{error, {any, term}}], {error, <<"{any,term}">>}}],
    {_, Spans} = captured(fun() ->
        [begin
             Span = ?M:start_span(s),
             [?assert(?M:set_status(Span, Code, Message)) || {Code, Message} <- Sets],
             ?M:end_span(Span)
         end || {Sets, _} <- Cases],
        ?M:with_span(s, fun() -> ?assert(?M:set_status(ok)) end),
        ?M:with_span(s, fun() -> ?assert(?M:set_status(error, atom)) end),
        ?M:with_span(s, fun() -> ?assert(?M:set_status(?M:current_span(), error)) end),
        %% An application's ok outlives an exception.
        raised(fun(F) -> ?M:with_span(s, F) end, fun() -> ?M:set_status(ok), error(late) end)
    end),
    ?assertEqual([Status || {_, Status} <- Cases] ++ [ok, {error, <<"atom">>}, {error, <<>>}, ok],
                 [maps:get(status, Span) || Span <- Spans]).

exceptions_recorded_by_hand(_Config) ->
    Stacks = [[], [{m, f, 1, [{file, "m.erl"}, {line, 7}]}], [{m, f, [secret], []}], [{fun() -> ok end, [secret], []}],
              [nonsense | improper], nonsense, [{m, f, 1, nonsense}, {m, f, [a | b], []}]],
    {_, [Span]} = captured(fun() ->
        ?M:with_span(s, fun() ->
            [?assert(?M:record_exception(error, {badmatch, secretless}, Stack)) || Stack <- Stacks],
            ?assert(?M:record_exception(?M:current_span(), throw, "reason", []))
        end)
    end),
    #{status := unset, events := Events} = Span,
    ?assertEqual(length(Stacks) + 1, length(Events)),
    Texts = [maps:get(<<"exception.stacktrace">>, A) || #{attributes := A} <- Events],
    [?assertEqual(nomatch, string:find(Text, "secret")) || Text <- Texts],
    ?assertMatch([<<>>, <<"m:f/1 (m.erl:7)\n">>, <<"m:f/1\n">> | _], Texts),
    ?assertMatch(#{name := <<"exception">>,
                   attributes := #{<<"exception.type">> := <<"badmatch">>,
                                   <<"exception.message">> := <<"error: {badmatch,secretless}">>}},
                 hd(Events)).

times(_Config) ->
    Then = 1700000000000000000,
    {{Before, After}, [Given, Backwards, Now]} = captured(fun() ->
        true = ?M:end_span(?M:start_span(s, #{start_time => Then}), Then + 5),
        true = ?M:end_span(?M:start_span(s, #{start_time => Then}), Then - 5),
        Before = erlang:system_time(nanosecond),
        Span = ?M:start_span(s, #{start_time => nonsense}),
        timer:sleep(20),
        true = ?M:end_span(Span, nonsense),
        {Before, erlang:system_time(nanosecond)}
    end),
    ?assertMatch(#{start_time := Then, end_time := End} when End =:= Then + 5, Given),
    ?assertMatch(#{start_time := Then, end_time := Then}, Backwards),
    #{start_time := Start, end_time := End} = Now,
    Slack = 1000000000,
    ?assert(Before - Slack =< Start andalso End =< After + Slack),
    ?assert(End - Start >= 19000000 andalso End - Start < 5000000000).

names(_Config) ->
    Long = binary:copy(<<"ü"/utf8>>, 3000),
    Cases = [{"tools/call", <<"tools/call">>}, {atom, <<"atom">>}, {<<"b">>, <<"b">>}, {"größe", <<"größe"/utf8>>},
             {{a, 1}, <<"{a,1}">>}, {17, <<"17">>}],
    {_, Spans} = captured(fun() ->
        [?M:with_span(Name, fun() -> ok end) || {Name, _} <- Cases],
        [?M:with_span(old, fun() -> ?assert(?M:update_name(Name)) end) || {Name, _} <- Cases],
        ?M:with_span(old, fun() -> ?assert(?M:update_name(?M:current_span(), new)) end),
        ?M:with_span(Long, fun() -> ok end)
    end),
    Names = [maps:get(name, Span) || Span <- Spans],
    Expected = [Name || {_, Name} <- Cases],
    ?assertEqual(Expected ++ Expected ++ [<<"new">>], lists:droplast(Names)),
    Cut = lists:last(Names),
    ?assert(byte_size(Cut) < byte_size(Long)),
    ?assertEqual({0, byte_size(Cut)}, binary:match(Long, Cut)).

%% Context

current_context(_Config) ->
    {_, Spans} = captured(fun() ->
        [A, B] = [?M:start_span(Name) || Name <- [a, b]],
        ?assertEqual(undefined, ?M:set_current_span(A)),
        ?assertEqual(A, ?M:set_current_span(B)),
        Token1 = ?M:attach(A),
        ok = ?M:set_baggage(<<"k">>, <<"v">>),
        Token2 = ?M:attach({undefined, [{<<"x">>, <<"y">>, <<>>}]}),
        ?assertEqual({undefined, undefined}, {?M:trace_id(), ?M:span_id()}),
        ?assertNot(?M:is_recording()),
        ?assertNot(?M:is_sampled()),
        ?assertEqual([{<<"x">>, <<"y">>, <<>>}], ?M:baggage()),
        ok = ?M:detach(Token2),
        ?assertEqual({A, [{<<"k">>, <<"v">>, <<>>}]}, ?M:current_context()),
        ok = ?M:detach(Token1),
        ?assertEqual({B, []}, ?M:current_context()),
        ?assertEqual({x, A}, ?M:with_context(A, fun() -> {x, ?M:current_span()} end)),
        raised(fun(F) -> ?M:with_context(undefined, F) end, fun() -> throw(x) end),
        ?assertEqual(B, ?M:current_span()),
        ?assertEqual(B, ?M:set_current_span(undefined)),
        ?assertMatch({match, _}, re:run(?M:trace_id(A), "^[0-9a-f]{32}$")),
        ?assertMatch({match, _}, re:run(?M:span_id(A), "^[0-9a-f]{16}$")),
        [?M:end_span(Span) || Span <- [A, B]]
    end),
    ?assertEqual(2, length(Spans)).

context_to_processes(_Config) ->
    Self = self(),
    {Outer, Spans} = captured(fun() ->
        ?M:with_span(outer, fun() ->
            ok = ?M:set_baggage(<<"k">>, <<"v">>),
            Work = fun(Name) ->
                fun() ->
                    ?M:with_span(Name, fun() -> ok end),
                    Self ! {done, Name, ?M:baggage()}
                end
            end,
            Pid1 = ?M:spawn(Work(spawn)),
            Pid2 = ?M:spawn_link(Work(spawn_link)),
            {Pid3, Ref} = ?M:spawn_monitor(Work(spawn_monitor)),
            {Pid4, Ref4} = ?M:spawn_opt(Work(spawn_opt), [monitor]),
            Pid5 = proc_lib:spawn_link(?M:carry(Work(proc_lib))),
            Pid6 = erlang:spawn(Work(bare)),
            [?assert(is_pid(Pid)) || Pid <- [Pid1, Pid2, Pid3, Pid4, Pid5, Pid6]],
            Done = [receive {done, Name, Baggage} -> {Name, Baggage} after 30000 -> error(timeout) end
                    || Name <- [spawn, spawn_link, spawn_monitor, spawn_opt, proc_lib, bare]],
            ?assertEqual([1, 1, 1, 1, 1, 0], [length(Baggage) || {_, Baggage} <- Done]),
            [receive {'DOWN', R, process, _, normal} -> ok after 30000 -> error(timeout) end || R <- [Ref, Ref4]],
            ok = ?M:remove_baggage(<<"k">>),
            ?M:span_id()
        end)
    end),
    Parents = maps:from_list([{Name, Parent} || #{name := Name, parent_span_id := Parent} <- Spans]),
    ?assertEqual(#{<<"outer">> => undefined, <<"bare">> => undefined, <<"spawn">> => Outer,
                   <<"spawn_link">> => Outer, <<"spawn_monitor">> => Outer, <<"spawn_opt">> => Outer,
                   <<"proc_lib">> => Outer}, Parents).

context_to_a_server(_Config) ->
    {ok, Server} = gen_server:start_link(?MODULE, [], []),
    {Outer, Spans} = captured(fun() ->
        ?M:with_span(outer, fun() ->
            ?assertEqual({handled, one}, ?M:call(Server, one)),
            ?assertEqual({handled, two}, ?M:call(Server, two, 5000)),
            ?assertEqual(ok, ?M:cast(Server, three)),
            ?assertEqual({handled, four}, gen_server:call(Server, four)),
            %% The server's own context is as it was.
            ?assertEqual(undefined, gen_server:call(Server, current)),
            ?assertMatch({exception, error, crash}, ?M:call(Server, {crash, crash})),
            ?assertEqual(undefined, gen_server:call(Server, current)),
            ?M:span_id()
        end)
    end),
    gen_server:stop(Server),
    ?assertEqual([{<<"four">>, undefined}, {<<"one">>, Outer},
                  {<<"outer">>, undefined}, {<<"three">>, Outer}, {<<"two">>, Outer},
                  {<<"{crash,crash}">>, Outer}],
                 lists:sort([{Name, Parent} || #{name := Name, parent_span_id := Parent} <- Spans])).

init([]) -> {ok, []}.

handle_call(current, _From, State) ->
    {reply, ?M:current_span(), State};
handle_call(Message, _From, State) ->
    Reply = try
        ?M:handle_traced(Message, fun(Request) ->
            ?M:with_span(Request, fun() ->
                case Request of
                    {crash, Reason} -> error(Reason);
                    _ -> {handled, Request}
                end
            end)
        end)
    catch
        Class:Reason -> {exception, Class, Reason}
    end,
    {reply, Reply, State}.

handle_cast(Message, State) ->
    ?M:handle_traced(Message, fun(Request) -> ?M:with_span(Request, fun() -> ok end) end),
    {noreply, State}.

carriers(_Config) ->
    ?assertEqual([], ?M:inject()),
    ?assertEqual(#{x => 1}, ?M:inject(#{x => 1})),
    {_, [Span]} = captured(fun() ->
        ?M:with_span(s, fun() ->
            Ids = {?M:trace_id(), ?M:span_id()},
            [{<<"traceparent">>, TraceParent}] = ?M:inject(),
            ?assertEqual(iolist_to_binary(["00-", element(1, Ids), "-", element(2, Ids), "-01"]), TraceParent),
            ok = ?M:set_baggage(<<"user">>, <<"ü 1"/utf8>>),
            Carriers = [?M:inject(), ?M:inject([]), ?M:inject([{"x-other", "1"}, {"TraceParent", "old"}, {traceparent, old}]),
                        ?M:inject(#{}), ?M:inject(#{<<"traceparent">> => <<"old">>, <<"progressToken">> => 7}),
                        maps:from_list([{binary_to_list(K), binary_to_list(V)} || {K, V} <- ?M:inject()])],
            [begin
                 {Context, Baggage} = Extracted = ?M:extract(Carrier),
                 ?assertEqual([{<<"user">>, <<"ü 1"/utf8>>, <<>>}], Baggage),
                 ?assertEqual(Ids, {?M:trace_id(Context), ?M:span_id(Context)}),
                 ?assert(?M:is_sampled(Context)),
                 %% A context that was read is no open span.
                 ?assertNot(?M:is_recording(Context)),
                 ?assertNot(?M:end_span(Context)),
                 ?assertNot(?M:set_attribute(Context, a, 1)),
                 ?M:with_context(Extracted, fun() -> ?assertEqual(Ids, {?M:trace_id(), ?M:span_id()}) end)
             end || Carrier <- Carriers],
            ?assertEqual(1, length([K || {K, _} <- ?M:inject([{"TraceParent", "old"}, {traceparent, old}]),
                                         string:lowercase(unicode:characters_to_binary(
                                             case is_atom(K) of true -> atom_to_list(K); false -> K end))
                                             =:= <<"traceparent">>])),
            ok = ?M:remove_baggage(<<"user">>)
        end)
    end),
    ?assertEqual(#{}, maps:get(attributes, Span)),
    [?assertEqual({undefined, []}, ?M:extract(Carrier))
     || Carrier <- [[], #{}, [{traceparent, "nonsense"}], nonsense, #{traceparent => 1}]],
    State = [{<<"traceparent">>, <<"00-12345678901234567890123456789012-1234567890abcdef-01">>},
             {<<"tracestate">>, <<"vendor=x">>}],
    {_, [Child]} = captured(fun() ->
        ?M:with_context(?M:extract(State), fun() -> ?M:with_span(child, fun() ->
            ?assertMatch([_, {<<"tracestate">>, <<"vendor=x">>}], ?M:inject())
        end) end)
    end),
    ?assertMatch(#{trace_id := <<"12345678901234567890123456789012">>, parent_span_id := <<"1234567890abcdef">>,
                   trace_state := <<"vendor=x">>}, Child).

baggage(_Config) ->
    ?assertEqual([], ?M:baggage()),
    ok = ?M:set_baggage(<<"a">>, <<"1">>),
    ok = ?M:set_baggage(<<"b">>, <<"2">>),
    ok = ?M:set_baggage(<<"a">>, <<"3">>),
    ?assertEqual([{<<"a">>, <<"3">>, <<>>}, {<<"b">>, <<"2">>, <<>>}], ?M:baggage()),
    ?assertEqual([{<<"baggage">>, <<"a=3,b=2">>}], ?M:inject()),
    ok = ?M:remove_baggage(<<"none">>),
    ok = ?M:remove_baggage(<<"a">>),
    ok = ?M:remove_baggage(<<"b">>),
    ?assertEqual([], ?M:baggage()),
    ?assertEqual([], [Key || {Key, _} <- get(), is_atom(Key), hd(atom_to_list(Key)) =:= $$,
                             lists:member(Key, ['$erlmcp_span', '$erlmcp_baggage'])]).

%% A handle of another node must not lead to a span of this one.
spans_of_another_node(_Config) ->
    Node = erlmcp_ct_node:start(#{}),
    try
        {_, Spans} = captured(fun() ->
            Mine = [?M:start_span(mine) || _ <- lists:seq(1, 40)],
            Theirs = [erlmcp_ct_node:call(Node, ?MODULE, remote_span, []) || _ <- lists:seq(1, 40)],
            [begin
                 ?assertNot(?M:is_recording(Span)),
                 ?assertNot(?M:set_attribute(Span, theirs, 1)),
                 ?assertNot(?M:add_event(Span, theirs, #{})),
                 ?assertNot(?M:set_status(Span, error)),
                 ?assertNot(?M:give_away(Span, self())),
                 ?assertNot(?M:end_span(Span)),
                 true = ?M:end_span(?M:start_span(Span, child, #{}))
             end || Span <- Theirs],
            ?assertEqual(lists:duplicate(6, false),
                         erlmcp_ct_node:call(Node, ?MODULE, touch, [hd(Mine)])),
            [?assert(?M:end_span(Span)) || Span <- Mine],
            put(theirs, Theirs)
        end),
        ?assertEqual(80, length(Spans)),
        [?assertMatch(#{status := unset, events := [], attributes := Empty} when map_size(Empty) =:= 0, Span)
         || Span <- Spans],
        ?assertEqual(lists:sort([{?M:trace_id(S), ?M:span_id(S)} || S <- get(theirs)]),
                     lists:sort([{T, P} || #{name := <<"child">>, trace_id := T, parent_span_id := P} <- Spans]))
    after
        erlmcp_ct_node:stop(Node)
    end.

remote_span() ->
    Caller = self(),
    Pid = spawn(fun() -> Caller ! {self(), ?M:start_span(theirs)}, timer:sleep(infinity) end),
    receive {Pid, Span} -> Span end.

touch(Span) ->
    [?M:is_recording(Span), ?M:set_attribute(Span, a, 1), ?M:add_event(Span, a, #{}), ?M:set_status(Span, error),
     ?M:give_away(Span, self()), ?M:end_span(Span)].

%% Requests

requests_with_atom_keys(_Config) ->
    {_, [Full, Http, Prompt, Empty, Resource]} = captured(fun() ->
        ?M:trace_request(#{method => <<"tools/call">>, request_id => 7, endpoint => <<"/mcp">>,
                           user_id => "u1", client_ip => {127, 0, 0, 1}, session_id => <<"s">>,
                           protocol_version => <<"2025-11-25">>, transport => stdio, tool => search,
                           params => #{arguments => #{password => secret}}}, fun() -> ok end),
        ?M:trace_request(#{method => <<"POST">>, transport => http, client_ip => <<"10.0.0.1">>}, fun() -> ok end),
        ?M:trace_request(#{method => 'prompts/get', params => #{name => "hello"}}, fun() -> ok end),
        ?M:trace_request(#{}, fun() -> ok end),
        ?M:trace_request(#{method => "resources/read", uri => <<"file:///a">>, user_id => undefined}, fun() -> ok end)
    end),
    ?assertMatch(#{name := <<"tools/call search">>, kind := server, status := unset}, Full),
    ?assertEqual(#{<<"mcp.method.name">> => <<"tools/call">>, <<"jsonrpc.request.id">> => <<"7">>,
                   <<"url.path">> => <<"/mcp">>, <<"user.id">> => <<"u1">>, <<"client.address">> => <<"127.0.0.1">>,
                   <<"mcp.session.id">> => <<"s">>, <<"mcp.protocol.version">> => <<"2025-11-25">>,
                   <<"network.transport">> => <<"pipe">>, <<"gen_ai.tool.name">> => <<"search">>},
                 maps:get(attributes, Full)),
    ?assertMatch(#{name := <<"POST">>, attributes := #{<<"http.request.method">> := <<"POST">>,
                   <<"network.transport">> := <<"tcp">>, <<"client.address">> := <<"10.0.0.1">>}}, Http),
    ?assertMatch(#{name := <<"prompts/get hello">>,
                   attributes := #{<<"gen_ai.prompt.name">> := <<"hello">>}}, Prompt),
    ?assertMatch(#{name := <<"request">>, kind := server}, Empty),
    ?assertEqual(#{<<"mcp.method.name">> => <<"resources/read">>, <<"mcp.resource.uri">> => <<"file:///a">>},
                 maps:get(attributes, Resource)).

requests_of_json_rpc(_Config) ->
    {_, [Tool, Prompt, Resource]} = captured(fun() ->
        ?M:trace_request(#{<<"jsonrpc">> => <<"2.0">>, <<"id">> => <<"a-1">>, <<"method">> => <<"tools/call">>,
                           <<"params">> => #{<<"name">> => <<"search">>, <<"arguments">> => #{<<"q">> => <<"secret">>}}},
                         fun() -> ok end),
        ?M:trace_request(#{<<"id">> => 2, <<"method">> => <<"prompts/get">>,
                           <<"params">> => #{<<"name">> => <<"greet">>}}, fun() -> ok end),
        ?M:trace_request(#{<<"method">> => <<"resources/read">>, <<"params">> => #{<<"uri">> => <<"file:///b">>}},
                         fun() -> ok end)
    end),
    ?assertMatch(#{name := <<"tools/call search">>, kind := server}, Tool),
    ?assertEqual(#{<<"mcp.method.name">> => <<"tools/call">>, <<"jsonrpc.request.id">> => <<"a-1">>,
                   <<"gen_ai.tool.name">> => <<"search">>}, maps:get(attributes, Tool)),
    ?assertMatch(#{name := <<"prompts/get greet">>, attributes := #{<<"gen_ai.prompt.name">> := <<"greet">>,
                   <<"jsonrpc.request.id">> := <<"2">>}}, Prompt),
    ?assertMatch(#{attributes := #{<<"mcp.resource.uri">> := <<"file:///b">>}}, Resource).

requests_of_any_term(_Config) ->
    Terms = [undefined, "text", <<"binary">>, 17, {request, 1}, self(), [], [{method, <<"m">>}], <<255>>,
             #{method => 17}, #{method => {a, b}}, #{method => lists:duplicate(1000, $x)}, #{method => <<255>>},
             #{params => nonsense}, #{<<"params">> => #{<<"_meta">> => nonsense}}, #{component => 17},
             #{params => #{name => {a}}}, #{client_ip => {999, 1}}, #{client_ip => {}}, #{{} => []},
             #{method => <<"m">>, params => #{name => binary:copy(<<"n">>, 200)}},
             #{request_id => {a, b}, session_id => 17, user_id => 3.5}],
    {_, Spans} = captured(fun() ->
        [?assertEqual({ok, Term}, ?M:trace_request(Term, fun() -> {ok, Term} end)) || Term <- Terms]
    end),
    ?assertEqual(length(Terms), length(Spans)),
    ?assertMatch([#{name := <<"request">>, kind := server, attributes := #{<<"erlmcp.request">> := <<"undefined">>}} | _],
                 Spans).

requests_that_fail(_Config) ->
    JsonRpc = #{<<"jsonrpc">> => <<"2.0">>, <<"error">> => #{<<"code">> => -32601, <<"message">> => <<"no method">>}},
    Cases = [{{error, not_found}, <<"not_found">>, <<"not_found">>},
             {{error, {bad, thing}}, <<"bad">>, <<"{bad,thing}">>},
             {{error, <<"text">>}, <<"error">>, any},
             {error, <<"error">>, any},
             {JsonRpc, <<"-32601">>, <<"no method">>},
             {#{error => #{code => -1, message => "atom keys"}}, <<"-1">>, <<"atom keys">>},
             {#{error => whatever}, <<"whatever">>, any},
             {#{<<"isError">> => true, <<"content">> => []}, <<"tool_error">>, <<>>},
             {#{isError => true}, <<"tool_error">>, <<>>}],
    Fine = [ok, {ok, error}, #{<<"isError">> => false}, #{isError => "true"}, [error], {error, a, b},
            #{<<"result">> => #{}}],
    {_, Spans} = captured(fun() ->
        [?assertEqual(Result, ?M:trace_request(#{method => <<"m">>}, fun() -> Result end))
         || Result <- [R || {R, _, _} <- Cases] ++ Fine]
    end),
    {Failed, Others} = lists:split(length(Cases), Spans),
    [begin
         ?assertMatch(#{status := {error, _}, attributes := #{<<"error.type">> := Type}}, Span),
         {error, Said} = maps:get(status, Span),
         ?assert(Message =:= any orelse Message =:= Said)
     end || {{_, Type, Message}, Span} <- lists:zip(Cases, Failed)],
    [?assertMatch(#{status := unset}, Span) || Span <- Others],
    [?assertNot(is_map_key(<<"error.type">>, maps:get(attributes, Span))) || Span <- Others].

requests_are_counted(_Config) ->
    [begin
         erlmcp_ct_app:start(Env),
         Before = request_counts(<<"counted">>),
         ?M:trace_request(#{method => <<"counted">>}, fun() ->
             ?assertEqual(maps:get(in_flight, Before) + 1, in_flight()),
             ok
         end),
         ?M:trace_request(#{method => <<"counted">>}, fun() -> {error, nope} end),
         raised(fun(F) -> ?M:trace_request(#{method => <<"counted">>}, F) end, fun() -> error(badthing) end),
         raised(fun(F) -> ?M:trace_request(#{method => <<"counted">>}, F) end, fun() -> exit(shutdown) end),
         ?assertEqual({Env, #{in_flight => 0, success => 2, error => 2, timed => 4, nope => 1, badthing => 1}},
                      {Env, difference(request_counts(<<"counted">>), Before)})
     end || Env <- [#{}, #{traces_sampler => always_off}, #{traces_exporter => none}, #{sdk_disabled => true}]],
    erlmcp_ct_app:start(),
    {TraceId, _} = captured(fun() ->
        ?M:trace_request(#{method => <<"exemplar">>, component => registry}, fun() -> ?M:trace_id() end)
    end),
    Scrape = erlmcp_metrics:scrape(openmetrics),
    ?assertNotEqual(nomatch, binary:match(Scrape, <<"trace_id=\"", TraceId/binary>>)),
    ?assertEqual(1, erlmcp_metrics:value(erlmcp_requests_total, #{method => <<"exemplar">>, status => success,
                                                                  component => registry})).

requests_and_logger(_Config) ->
    ok = logger:set_process_metadata(#{mine => 1, trace_id => old}),
    ?M:trace_request(#{}, fun() ->
        TraceId = ?M:trace_id(), SpanId = ?M:span_id(),
        ?assertMatch(#{mine := 1, trace_id := TraceId, span_id := SpanId}, logger:get_process_metadata()),
        ?M:trace_request(#{}, fun() ->
            ?assertNotMatch(#{span_id := SpanId}, logger:get_process_metadata()),
            ?assertMatch(#{trace_id := TraceId}, logger:get_process_metadata())
        end),
        ?assertMatch(#{mine := 1, trace_id := TraceId, span_id := SpanId}, logger:get_process_metadata())
    end),
    ?assertEqual(#{mine => 1, trace_id => old}, logger:get_process_metadata()),
    ok = logger:unset_process_metadata(),
    raised(fun(F) -> ?M:trace_request(#{}, F) end, fun() -> error(x) end),
    ?assertEqual(undefined, logger:get_process_metadata()).

requests_that_continue_a_trace(_Config) ->
    Meta = #{<<"traceparent">> => <<"00-12345678901234567890123456789012-1234567890abcdef-01">>,
             <<"tracestate">> => <<"a=1">>, <<"progressToken">> => 1},
    Requests = [#{<<"method">> => <<"ping">>, <<"params">> => #{<<"_meta">> => Meta}},
                #{method => <<"ping">>, params => #{'_meta' => Meta}}],
    {_, Spans} = captured(fun() -> [?M:trace_request(R, fun() -> ok end) || R <- Requests] end),
    [?assertMatch(#{trace_id := <<"12345678901234567890123456789012">>, parent_span_id := <<"1234567890abcdef">>,
                    trace_state := <<"a=1">>, links := []}, Span) || Span <- Spans],
    %% With a current span, which becomes a link.
    {Outer, [Inner, _]} = captured(fun() ->
        ?M:with_span(transport, fun() -> ?M:trace_request(hd(Requests), fun() -> ok end), ?M:span_id() end)
    end),
    ?assertMatch(#{parent_span_id := <<"1234567890abcdef">>, links := [#{span_id := Outer}]}, Inner),
    {OuterId, [Malformed, _]} = captured(fun() ->
        ?M:with_span(transport, fun() ->
            ?M:trace_request(#{params => #{'_meta' => #{traceparent => <<"nonsense">>}}}, fun() -> ok end),
            ?M:span_id()
        end)
    end),
    ?assertMatch(#{parent_span_id := OuterId, links := []}, Malformed).

%% Whoever removes the metrics takes nothing from those that follow.
requests_after_their_metrics_are_removed(_Config) ->
    ?M:trace_request(#{method => <<"removed">>}, fun() -> ok end),
    [erlmcp_metrics:remove(Name) || Name <- [erlmcp_requests_total, erlmcp_requests_in_flight,
                                             erlmcp_request_duration_seconds, erlmcp_errors_total]],
    ?M:trace_request(#{method => <<"removed">>}, fun() -> ?assertEqual(1, in_flight()), {error, nope} end),
    ?assertMatch(#{in_flight := 0, success := 0, error := 1, timed := 1, nope := 1},
                 request_counts(<<"removed">>)).

%% A function may end the request's span before it returns.
requests_that_end_their_span(_Config) ->
    Before = request_counts(<<"early">>),
    {_, [_]} = captured(fun() ->
        ?M:trace_request(#{method => <<"early">>}, fun() -> true = ?M:end_span(?M:current_span()), ok end)
    end),
    ?assertMatch(#{in_flight := 0, success := 1, timed := 1}, difference(request_counts(<<"early">>), Before)).

sessions_and_registry(_Config) ->
    {_, Spans} = captured(fun() ->
        ?assertEqual(r, ?M:trace_session(<<"s1">>, fun() -> r end)),
        ?assertEqual(r, ?M:trace_session(#{session_id => 17, transport => http}, fun() -> r end)),
        ?assertEqual(r, ?M:trace_registry(lookup, fun() -> r end)),
        ?assert(?M:end_span(?M:trace_registry(<<"register">>, <<"tool-1">>))),
        ?assert(?M:end_span(?M:trace_registry("register", {any, 1}))),
        ?assert(?M:end_span(?M:trace_registry({odd, op}, 5)))
    end),
    ?assertEqual([<<"mcp.session">>, <<"mcp.session">>, <<"registry lookup">>, <<"registry register">>,
                  <<"registry register">>, <<"registry {odd,op}">>], [maps:get(name, S) || S <- Spans]),
    [S1, S2, R1, R2, R3, R4] = [maps:get(attributes, S) || S <- Spans],
    ?assertEqual(#{<<"mcp.session.id">> => <<"s1">>}, S1),
    ?assertEqual(#{<<"mcp.session.id">> => <<"17">>, <<"network.transport">> => <<"tcp">>}, S2),
    ?assertEqual(#{<<"erlmcp.registry.operation">> => <<"lookup">>}, R1),
    ?assertMatch(#{<<"erlmcp.registry.resource_id">> := <<"tool-1">>}, R2),
    ?assertMatch(#{<<"erlmcp.registry.resource_id">> := <<"{any,1}">>}, R3),
    ?assertMatch(#{<<"erlmcp.registry.resource_id">> := <<"5">>}, R4).

%% The process

start_link_in_any_order(_Config) ->
    process_flag(trap_exit, true),
    Orders = [[trace, metrics, application], [metrics, trace, application], [application, trace, metrics],
              [trace, application, metrics], [metrics, application, trace]],
    [begin
         erlmcp_ct_app:stop(),
         [undefined, undefined] = [whereis(Name) || Name <- [?M, erlmcp_metrics]],
         [case Step of
              trace -> {ok, Pid} = ?M:start_link(), {ok, Pid} = ?M:start_link(), Pid = whereis(?M);
              metrics -> {ok, Pid} = erlmcp_metrics:start_link(), Pid = whereis(erlmcp_metrics);
              application -> {ok, _} = erlmcp_ct_app:try_start(#{})
          end || Step <- Order],
         ?assert(is_pid(whereis(?M))),
         {_, [_]} = captured(fun() -> ?M:with_span(s, fun() -> ok end) end),
         ?assertEqual(ok, ?M:force_flush()),
         ?assertEqual(ok, ?M:force_flush(1000)),
         %% Whoever started it, it is replaced.
         Old = whereis(?M),
         exit(Old, kill),
         erlmcp_ct_load:until(fun() -> is_pid(whereis(?M)) andalso whereis(?M) =/= Old end)
     end || Order <- Orders],
    erlmcp_ct_app:stop(),
    {_, [_]} = captured(fun() -> ?M:with_span(without_application, fun() -> ok end) end),
    ?assertEqual(ok, ?M:force_flush()),
    process_flag(trap_exit, false),
    flush().

%% Settings

samplers(_Config) ->
    Remote = fun(Flag) ->
        ?M:extract([{traceparent, <<"00-12345678901234567890123456789012-1234567890abcdef-", Flag/binary>>}])
    end,
    Count = fun(Env, Fun, N) ->
        erlmcp_ct_app:start(Env),
        {_, Spans} = captured(fun() -> [Fun() || _ <- lists:seq(1, N)] end),
        length(Spans)
    end,
    Root = fun() -> ?M:with_span(root, fun() -> ok end) end,
    Nested = fun() -> ?M:with_span(root, fun() -> ?M:with_span(child, fun() -> ok end) end) end,
    Under = fun(Flag) -> fun() -> ?M:with_context(Remote(Flag), Root) end end,
    ?assertEqual(10, Count(#{}, Root, 10)),
    ?assertEqual(0, Count(#{traces_sampler => always_off}, Nested, 10)),
    ?assertEqual(0, Count(#{traces_sampler => parentbased_always_off}, Nested, 10)),
    ?assertEqual(10, Count(#{traces_sampler => parentbased_always_off}, Under(<<"01">>), 10)),
    ?assertEqual(0, Count(#{traces_sampler => parentbased_always_on}, Under(<<"00">>), 10)),
    ?assertEqual(10, Count(#{traces_sampler => always_on}, Under(<<"00">>), 10)),
    ?assertEqual(0, Count(#{traces_sampler => traceidratio, traces_sampler_arg => 0}, Root, 100)),
    Half = Count(#{traces_sampler => traceidratio, traces_sampler_arg => 0.5}, Nested, 1000),
    ?assert(Half rem 2 =:= 0 andalso Half > 800 andalso Half < 1200, Half),
    Limited = Count(#{traces_sampler => rate_limited, traces_sampler_arg => 50}, Root, 2000),
    ?assert(Limited >= 50 andalso Limited < 300, Limited),
    %% What is not sampled has a context nevertheless.
    erlmcp_ct_app:start(#{traces_sampler => always_off}),
    ?M:with_span(s, fun() ->
        ?assertNot(?M:is_sampled()),
        ?assertNot(?M:is_recording()),
        ?assertNot(?M:set_attribute(a, 1)),
        ?assertEqual(32, byte_size(?M:trace_id())),
        [{_, TraceParent}] = ?M:inject(),
        ?assertMatch(<<_:53/binary, "00">>, TraceParent)
    end).

the_tail_rule(_Config) ->
    erlmcp_ct_app:start(#{traces_sampler => always_off, tail_errors => true, tail_slow_ms => 100}),
    Nested = fun(Inner) ->
        ?M:with_span(root, fun() -> ?M:with_span(sibling, fun() -> ok end), ?M:with_span(child, Inner) end)
    end,
    {_, Fine} = captured(fun() -> Nested(fun() -> ok end) end),
    ?assertEqual([], Fine),
    {_, Failed} = captured(fun() -> Nested(fun() -> ?M:set_status(error, <<"x">>) end) end),
    ?assertEqual([<<"child">>, <<"root">>, <<"sibling">>], lists:sort([N || #{name := N} <- Failed])),
    {_, Slow} = captured(fun() -> Nested(fun() -> timer:sleep(120) end) end),
    ?assertEqual(3, length(Slow)),
    {_, Raised} = captured(fun() -> raised(Nested, fun() -> error(x) end) end),
    ?assertEqual(3, length(Raised)),
    %% A request that is killed has failed.
    {_, Killed} = captured(fun() ->
        {Pid, Ref} = spawn_monitor(fun() -> Nested(fun() -> timer:sleep(infinity) end) end),
        timer:sleep(50),
        exit(Pid, kill),
        receive {'DOWN', Ref, _, _, _} -> ok end,
        settled()
    end),
    ?assertEqual(3, length(Killed)),
    erlmcp_ct_app:start(#{traces_sampler => always_off, tail_errors => true, tail_max_bytes => 0}),
    {_, NoRoom} = captured(fun() -> Nested(fun() -> ?M:set_status(error) end) end),
    ?assertMatch([#{name := <<"root">>}], NoRoom).

disabled(_Config) ->
    erlmcp_ct_app:start(#{sdk_disabled => true}),
    Parent = ?M:extract([{traceparent, <<"00-12345678901234567890123456789012-1234567890abcdef-01">>}]),
    {_, Spans} = captured(fun() ->
        {r, undefined} = ?M:with_span(s, fun() -> {r, ?M:trace_id()} end),
        ?assertEqual(r, ?M:trace_request(#{}, fun() -> r end)),
        %% A context from elsewhere is passed on.
        ?M:with_context(Parent, fun() -> ?M:with_span(s, fun() ->
            ?assertEqual(<<"1234567890abcdef">>, ?M:span_id())
        end) end)
    end),
    ?assertEqual([], Spans).

%% Processes that end

processes_that_end(_Config) ->
    Ends = [{exit_normal, fun() -> exit(normal) end},
            {returned, fun() -> ok end},
            {killed, fun() -> exit(self(), kill), timer:sleep(infinity) end},
            {crashed, fun() -> error(crash) end},
            {linked, fun() -> spawn_link(fun() -> exit(partner) end), timer:sleep(infinity) end}],
    [begin
         Before = request_counts(<<"ends">>),
         {_, Spans} = captured(fun() ->
             Pid = spawn(fun() ->
                 %% So that nothing unwinds.
                 _ = ?M:start_span(by_hand),
                 Outer = ?M:start_span(outer),
                 ?M:set_current_span(Outer),
                 _ = ?M:start_span(inner),
                 End()
             end),
             erlmcp_ct_load:until(fun() -> not is_process_alive(Pid) end),
             settled()
         end),
         ?assertEqual({How, 3}, {How, length(Spans)}),
         [?assertMatch(#{status := {error, _}, attributes := #{<<"error.type">> := _}}, Span) || Span <- Spans],
         ?assertEqual(Before, request_counts(<<"ends">>))
     end || {How, End} <- Ends],
    %% Within a request, whose counts it ends.
    Before = request_counts(<<"ends">>),
    {_, Spans} = captured(fun() ->
        Pid = spawn(fun() ->
            ?M:trace_request(#{method => <<"ends">>}, fun() ->
                ?M:with_span(inner, fun() -> exit(self(), kill), timer:sleep(infinity) end)
            end)
        end),
        erlmcp_ct_load:until(fun() -> not is_process_alive(Pid) end),
        settled()
    end),
    [#{name := <<"inner">>, parent_span_id := Parent}, #{name := <<"ends">>, span_id := Parent}] = Spans,
    [?assertMatch(#{status := {error, _}}, Span) || Span <- Spans],
    ?assertMatch(#{in_flight := 0, success := 0, error := 1, timed := 1}, difference(request_counts(<<"ends">>), Before)).

reasons_of_ends(_Config) ->
    Ends = [{kill, <<"killed">>, <<"killed">>}, {{mine, reason}, <<"mine">>, <<"{mine,reason}">>},
            {boom, <<"boom">>, <<"boom">>}],
    [begin
         {_, Spans} = captured(fun() ->
             {Pid, Ref} = spawn_monitor(fun() ->
                 ?M:with_span(outer, fun() -> ?M:with_span(inner, fun() -> timer:sleep(infinity) end) end)
             end),
             timer:sleep(600),
             exit(Pid, Reason),
             receive {'DOWN', Ref, _, _, _} -> ok end,
             settled()
         end),
         ?assertMatch([#{name := <<"inner">>}, #{name := <<"outer">>}], Spans),
         [?assertMatch(#{status := {error, Text},
                         attributes := #{<<"error.type">> := Type, <<"erlmcp.exit.reason">> := Text}}, Span)
          || Span <- Spans]
     end || {Reason, Type, Text} <- Ends],
    %% A crash says its reason, not its stack.
    {_, [Crashed]} = captured(fun() ->
        {_, Ref} = spawn_monitor(fun() -> _ = ?M:start_span(s), timer:sleep(600), error({badthing, 1}) end),
        receive {'DOWN', Ref, _, _, _} -> ok end,
        settled()
    end),
    ?assertMatch(#{status := {error, <<"{badthing,1}">>}, attributes := #{<<"error.type">> := <<"badthing">>}}, Crashed).

spans_given_away(_Config) ->
    {_, [Span]} = captured(fun() ->
        Caller = self(),
        {Starter, Ref} = spawn_monitor(fun() ->
            Given = ?M:start_span(given),
            true = ?M:give_away(Given, Caller),
            true = ?M:give_away(Given, Caller),
            Caller ! {self(), Given}
        end),
        Given = receive {Starter, Sent} -> Sent end,
        receive {'DOWN', Ref, _, _, _} -> ok end,
        timer:sleep(300),
        ?assert(?M:is_recording(Given)),
        %% The new owner's end is the span's.
        Owner = spawn(fun() -> timer:sleep(infinity) end),
        ?assert(?M:give_away(Given, Owner)),
        exit(Owner, kill),
        settled(),
        ?assertNot(?M:is_recording(Given)),
        ?assertNot(?M:give_away(Given, self()))
    end),
    ?assertMatch(#{name := <<"given">>, status := {error, _}}, Span),
    %% To a process that is no more.
    {_, [Dead]} = captured(fun() ->
        {Gone, Ref} = spawn_monitor(fun() -> ok end),
        receive {'DOWN', Ref, _, _, _} -> ok end,
        ?assert(?M:give_away(?M:start_span(dead), Gone)),
        settled()
    end),
    ?assertMatch(#{status := {error, _}}, Dead).

thousands_killed(_Config) ->
    %% All of it has to fit into the queue.
    erlmcp_ct_app:start(#{bsp_max_queue_size => 100000}),
    Before = request_counts(<<"killed">>),
    {_, Spans} = captured(fun() ->
        Caller = self(),
        Pids = [spawn(fun() ->
            ?M:trace_request(#{method => <<"killed">>}, fun() ->
                ?M:with_span(inner, fun() -> Caller ! {inside, self()}, timer:sleep(infinity) end)
            end)
        end) || _ <- lists:seq(1, ?KILLED)],
        [receive {inside, Pid} -> ok end || Pid <- Pids],
        ?assertEqual(maps:get(in_flight, Before) + ?KILLED, in_flight()),
        [exit(Pid, kill) || Pid <- Pids],
        settled()
    end),
    ?assertEqual(2 * ?KILLED, length(Spans)),
    ?assertEqual(2 * ?KILLED, length(lists:usort([Id || #{span_id := Id} <- Spans]))),
    [?assertMatch(#{status := {error, _}}, Span) || Span <- Spans],
    ?assertMatch(#{in_flight := 0, success := 0, error := ?KILLED, timed := ?KILLED},
                 difference(request_counts(<<"killed">>), Before)).

%% At any point of a request, its counting included.
killed_at_work(_Config) ->
    erlmcp_ct_app:start(#{bsp_max_queue_size => 1000000, traces_sampler => always_off}),
    Before = request_counts(<<"work">>),
    Stats = ?NIF:span_stats(),
    _ = captured(fun() ->
        [begin
             Pids = [spawn(fun Loop() ->
                 ?M:trace_request(#{method => <<"work">>}, fun() -> ok end),
                 Loop()
             end) || _ <- lists:seq(1, 100)],
             timer:sleep(10),
             [exit(Pid, kill) || Pid <- Pids]
         end || _ <- lists:seq(1, 50)],
        settled()
    end),
    #{in_flight := 0, success := Fine, error := Killed, timed := Timed} =
        difference(request_counts(<<"work">>), Before),
    ?assertEqual(Timed, Fine + Killed),
    ?assertEqual(Timed, maps:get(recorded, ?NIF:span_stats()) - maps:get(recorded, Stats)).

watcher_killed_meanwhile(_Config) ->
    {_, Spans} = captured(fun() ->
        Pids = [begin
                    Pid = spawn(fun() -> ?M:with_span(s, fun() -> timer:sleep(infinity) end) end),
                    timer:sleep(1),
                    Pid
                end || _ <- lists:seq(1, 500)],
        timer:sleep(500),
        Watcher = whereis(?M),
        [exit(Pid, kill) || Pid <- lists:sublist(Pids, 250)],
        exit(Watcher, kill),
        [exit(Pid, kill) || Pid <- lists:nthtail(250, Pids)],
        erlmcp_ct_load:until(fun() -> is_pid(whereis(?M)) andalso whereis(?M) =/= Watcher end),
        settled()
    end),
    ?assertEqual(500, length(Spans)),
    [?assertMatch(#{status := {error, _}}, Span) || Span <- Spans],
    %% The one after it learns reasons again.
    {_, [Span]} = captured(fun() ->
        Pid = spawn(fun() -> ?M:with_span(s, fun() -> timer:sleep(infinity) end) end),
        timer:sleep(600),
        exit(Pid, why),
        settled()
    end),
    ?assertMatch(#{attributes := #{<<"erlmcp.exit.reason">> := <<"why">>}}, Span).

%% Nobody tells reasons any more; spans are ended nevertheless.
application_stopped_meanwhile(_Config) ->
    {_, Spans} = captured(fun() ->
        Pids = [spawn(fun() -> ?M:with_span(s, fun() -> timer:sleep(infinity) end) end) || _ <- lists:seq(1, 100)],
        %% Some are watched, and two end while the watcher does.
        timer:sleep(500),
        exit(hd(Pids), kill),
        ok = application:stop(?APPLICATION),
        Mine = ?M:start_span(mine),
        [exit(Pid, kill) || Pid <- Pids],
        settled(1),
        ?assert(?M:end_span(Mine))
    end),
    ?assertEqual(101, length(Spans)),
    {ok, _} = application:ensure_all_started(?APPLICATION),
    {_, [_]} = captured(fun() -> ?M:with_span(s, fun() -> ok end) end).

%% Internals

%% What Fun returns, and the spans that ended in it.
captured(Fun) ->
    Id = ?NIF:capture_start(),
    true = is_integer(Id),
    try
        Result = Fun(),
        {Result, ?NIF:capture_spans(Id)}
    after
        true = ?NIF:capture_stop(Id)
    end.

%% Waits until the spans of processes that have ended are: a second, or some on a
%% busy machine.
settled() ->
    settled(0).

settled(Open) ->
    erlmcp_ct_load:until(fun() -> maps:get(open, ?NIF:span_stats()) =:= Open end, 10).

raised(Call, Raise) ->
    try Call(Raise) of
        Result -> ct:fail({returned, Result})
    catch
        Class:Reason:Stack -> {Class, Reason, Stack}
    end.

%% Up to where the function was called.
inner_frames(Stack) ->
    lists:takewhile(fun({Module, Function, _, _}) ->
                        not (Module =:= ?MODULE andalso
                             lists:member(Function, [raised, '-exceptions_pass_untouched/1-fun-6-']))
                    end, Stack) -- [F || {?MODULE, '-exceptions_pass_untouched/1-fun-6-', _, _} = F <- Stack].

deep(0) -> hd(get_keys(make_ref()));
deep(N) -> [deep(N - 1)].

request_counts(Method) ->
    Total = fun(Status) ->
        number(erlmcp_metrics:value(erlmcp_requests_total,
                                    #{method => Method, status => Status, component => server}))
    end,
    Timed = [case erlmcp_metrics:value(erlmcp_request_duration_seconds,
                                       #{method => Method, status => Status, component => server}) of
                 #{count := Count} -> Count;
                 _ -> 0
             end || Status <- [success, error]],
    Errors = fun(Type) ->
        number(erlmcp_metrics:value(erlmcp_errors_total, #{error_type => Type, component => server}))
    end,
    #{in_flight => in_flight(), success => Total(success), error => Total(error), timed => lists:sum(Timed),
      nope => Errors(nope), badthing => Errors(badthing)}.

in_flight() ->
    number(erlmcp_metrics:value(erlmcp_requests_in_flight, #{})).

number(N) when is_number(N) -> N;
number(_) -> 0.

difference(After, Before) ->
    maps:map(fun(Key, Value) -> Value - maps:get(Key, Before) end, After).

flush() ->
    receive _ -> flush() after 0 -> ok end.
