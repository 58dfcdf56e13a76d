%% Elixir's terms without Elixir: modules, structs, exceptions, frames. What
%% Elixir itself makes of them is tested in examples/elixir_app.
-module(erlmcp_instrumentation_elixir_tests).

-include_lib("eunit/include/eunit.hrl").

-define(ARGUMENT_ERROR, #{'__exception__' => true, '__struct__' => 'Elixir.ArgumentError',
                          message => <<"not a name">>}).

elixir_test_() ->
    {setup,
     fun() -> erlmcp_ct_app:quiet(), erlmcp_ct_app:start() end,
     fun(_) -> erlmcp_ct_app:forget(), erlmcp_ct_app:stop(), erlmcp_ct_app:loud() end,
     [fun modules_go_by_their_name_in_labels/0,
      fun modules_go_by_their_name_in_spans/0,
      fun only_modules_lose_the_prefix/0,
      {timeout, 60, fun exceptions_have_type_and_message/0},
      {timeout, 60, fun exceptions_of_any_shape_do_no_harm/0},
      fun structs_are_types_of_errors/0,
      fun what_is_absent_is_no_attribute/0,
      fun a_response_with_an_empty_error_succeeded/0,
      fun frames_are_as_elixir_has_them/0]}.

%% Every spelling is one series, also for reading it back.
modules_go_by_their_name_in_labels() ->
    Name = elixir_module_labels_total,
    ok = erlmcp_metrics:record_counter(Name, 1, #{worker => 'Elixir.MyApp.Worker'}),
    ok = erlmcp_metrics:record_counter(Name, 1, #{worker => <<"MyApp.Worker">>}),
    ?assertEqual(2, erlmcp_metrics:value(Name, #{worker => "MyApp.Worker"})),
    ?assertEqual(2, erlmcp_metrics:value(Name, #{worker => 'Elixir.MyApp.Worker'})).

modules_go_by_their_name_in_spans() ->
    {_, Spans} = erlmcp_otel_test:capture(fun() ->
        erlmcp_otel_instrumentation:with_span('Elixir.MyApp.Worker', #{
            attributes => [{'Elixir.Key', 'Elixir.MyApp.Value'}, {list, ['Elixir.A', b]},
                           {struct, #{'__struct__' => 'Elixir.MyApp.Order', id => 7}}]
        }, fun() -> ok end)
    end),
    #{attributes := Attributes} = erlmcp_otel_test:assert_span(<<"MyApp.Worker">>, Spans),
    ?assertEqual(#{<<"Key">> => <<"MyApp.Value">>, <<"list">> => [<<"A">>, <<"b">>],
                   <<"struct">> => #{<<"__struct__">> => <<"MyApp.Order">>, <<"id">> => 7}},
                 Attributes),
    erlmcp_otel_test:assert_span('Elixir.MyApp.Worker',
                                 #{attributes => #{'Elixir.Key' => 'Elixir.MyApp.Value'}}, Spans).

only_modules_lose_the_prefix() ->
    Atoms = ['Elixir', 'Elixir.', 'Elixir.small', 'Elixirs.A', 'elixir.A', 'AElixir.B',
             'Elixir.Ä', list_to_atom("Elixir." ++ lists:duplicate(248, $A))],
    [begin
         {_, [#{attributes := #{<<"a">> := Native}}]} = erlmcp_otel_test:capture(fun() ->
             erlmcp_otel_instrumentation:with_span(s, #{attributes => #{a => Atom}}, fun() -> ok end)
         end),
         ?assertEqual(erlmcp_instrumentation_elixir:atom_text(Atom), Native)
     end || Atom <- Atoms],
    Kept = lists:droplast(Atoms),
    ?assertEqual([atom_to_binary(Atom) || Atom <- Kept],
                 [erlmcp_instrumentation_elixir:atom_text(Atom) || Atom <- Kept]),
    ?assertEqual(248, byte_size(erlmcp_instrumentation_elixir:atom_text(lists:last(Atoms)))),
    %% A term that is printed is Erlang's.
    {_, [#{attributes := #{<<"a">> := Printed}}]} = erlmcp_otel_test:capture(fun() ->
        erlmcp_otel_instrumentation:with_span(s, #{attributes => #{a => {'Elixir.A', 1}}},
                                              fun() -> ok end)
    end),
    ?assertEqual(<<"{'Elixir.A',1}">>, Printed).

exceptions_have_type_and_message() ->
    Raise = fun() ->
        erlmcp_otel_instrumentation:trace_request(#{method => elixir_raise}, fun() ->
            error(?ARGUMENT_ERROR)
        end)
    end,
    Labels = #{error_type => 'ArgumentError', component => server},
    {_, Spans} = erlmcp_otel_test:capture(fun() ->
        erlmcp_otel_test:assert_counted(erlmcp_errors_total, Labels, 1, fun() ->
            ?assertError(#{'__struct__' := 'Elixir.ArgumentError'}, Raise())
        end)
    end),
    erlmcp_otel_test:assert_span(elixir_raise, #{
        status => {error, <<"not a name">>},
        attributes => #{'error.type' => <<"ArgumentError">>},
        events => [{exception, #{'exception.type' => <<"ArgumentError">>,
                                 'exception.message' => <<"not a name">>,
                                 'exception.stacktrace' => '_'}}]
    }, Spans).

%% The exception's own function may be missing, raise, or answer nonsense.
exceptions_of_any_shape_do_no_harm() ->
    Printed = fun(Reason) -> unicode:characters_to_binary(io_lib:format("error: ~0tp", [Reason])) end,
    Shapes = [#{'__exception__' => true},
              #{'__exception__' => true, '__struct__' => <<"ArgumentError">>},
              #{'__exception__' => true, '__struct__' => 'Elixir.ArgumentError', message => nil},
              %% lists:message/1 does not exist, and ?MODULE:message/1 raises.
              #{'__exception__' => true, '__struct__' => lists},
              #{'__exception__' => true, '__struct__' => ?MODULE}],
    [begin
         #{<<"exception.message">> := Message, <<"exception.type">> := Type} =
             erlmcp_otel_exception:attributes(error, Shape, []),
         ?assertEqual({Shape, Printed(Shape)}, {Shape, Message}),
         ?assert(is_binary(Type))
     end || Shape <- Shapes],
    Long = maps:put(message, binary:copy(<<"x">>, 100_000), ?ARGUMENT_ERROR),
    #{<<"exception.message">> := Cut} = erlmcp_otel_exception:attributes(error, Long, []),
    ?assertEqual(2048, byte_size(Cut)),
    Broken = maps:put(message, <<"a", 255, "b">>, ?ARGUMENT_ERROR),
    #{<<"exception.message">> := Shown} = erlmcp_otel_exception:attributes(error, Broken, []),
    ?assertEqual(<<"<<\"aÿb\">>"/utf8>>, Shown).

structs_are_types_of_errors() ->
    ?assertEqual(<<"Ecto.Changeset">>,
                 erlmcp_otel_exception:type(error, #{'__struct__' => 'Elixir.Ecto.Changeset'})),
    %% A task that crashed: the exit of the one who waits for it.
    ?assertEqual(<<"ArgumentError">>,
                 erlmcp_otel_exception:type(exit, {{?ARGUMENT_ERROR, []}, {task, await, []}})),
    ?assertEqual(<<"error">>, erlmcp_otel_exception:type(error, nil)),
    ?assertEqual(<<"error">>, erlmcp_otel_exception:type(error, #{a => 1})),
    ?assertEqual(<<"error">>, erlmcp_otel_exception:type(<<"no class">>, #{a => 1})).

what_is_absent_is_no_attribute() ->
    {_, Spans} = erlmcp_otel_test:capture(fun() ->
        erlmcp_otel_instrumentation:trace_request(
          #{method => elixir_absent, user_id => nil, session_id => undefined, id => null,
            params => #{name => nil, uri => null}}, fun() -> ok end)
    end),
    #{attributes := Attributes} = erlmcp_otel_test:assert_span(elixir_absent, Spans),
    ?assertEqual(#{<<"mcp.method.name">> => <<"elixir_absent">>}, Attributes).

a_response_with_an_empty_error_succeeded() ->
    Failures = [erlmcp_otel_request:failure(Result)
                || Absent <- [nil, null, undefined],
                   Result <- [#{error => Absent, result => 1}, #{<<"error">> => Absent}]],
    ?assertEqual([none], lists:usort(Failures)),
    ?assertMatch({failed, <<"tool_error">>, _},
                 erlmcp_otel_request:failure(#{error => nil, isError => true})),
    ?assertMatch({failed, <<"-32601">>, <<"no">>},
                 erlmcp_otel_request:failure(#{error => #{code => -32601, message => <<"no">>}})).

frames_are_as_elixir_has_them() ->
    Place = [{file, "lib/my_app.ex"}, {line, 12}],
    #{<<"exception.stacktrace">> := Text} = erlmcp_otel_exception:attributes(error, badarg, [
        {'Elixir.MyApp', handle, 1, Place},
        {'Elixir.MyApp', '-handle/1-fun-0-', [secret], Place},
        {'Elixir.MyApp', '-odd', 0, []},
        {lists, map, 2, [{file, "lists.erl"}, {line, 1}]}
    ]),
    ?assertEqual(<<"lib/my_app.ex:12: MyApp.handle/1\n"
                   "lib/my_app.ex:12: anonymous fn/1 in MyApp.handle/1\n"
                   "MyApp.-odd/0\n"
                   "lists:map/2 (lists.erl:1)\n">>, Text).
