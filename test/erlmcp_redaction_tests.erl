%% Secrets are shown nowhere: one rule for spans, events, links, the resource,
%% baggage, exceptions, terms as text, and logs.
-module(erlmcp_redaction_tests).

-include_lib("eunit/include/eunit.hrl").

-define(OTEL, erlmcp_otel_instrumentation).
-define(SECRET, [<<"password">>, db_password, "accessToken", <<"x-api-key">>, <<"X-API-Key">>, apikey,
                 <<"http.request.header.authorization">>, <<"Set-Cookie">>, client_secret, <<"PrivateKey">>,
                 credentials, jwt, <<"token_2">>]).
-define(SHOWN, [max_tokens, <<"gen_ai.usage.input_tokens">>, token_count, tokenizer, erlmcp_prompt_tokens,
                key, monkey, <<"api_key_id">>, cookie_jar, progressToken, <<"url.path">>, otp, 7, {password}]).

redaction_test_() ->
    {setup,
     fun() -> erlmcp_ct_app:quiet(), erlmcp_ct_app:start() end,
     fun(_) -> erlmcp_ct_app:stop(), erlmcp_ct_app:loud() end,
     [fun keys/0,
      fun attributes/0,
      fun nested_values/0,
      fun events_and_links/0,
      fun exceptions/0,
      fun baggage/0,
      {timeout, 60, fun the_page_of_traces/0},
      fun the_resource/0,
      fun terms/0,
      {timeout, 60, fun walked_terms_are_bounded/0},
      {timeout, 60, fun any_key_is_judged_alike_everywhere/0},
      fun other_names/0]}.

keys() ->
    [?assertEqual({Key, true}, {Key, erlmcp_redaction:is_secret(Key)}) || Key <- ?SECRET],
    [?assertEqual({Key, false}, {Key, erlmcp_redaction:is_secret(Key)}) || Key <- ?SHOWN].

attributes() ->
    Attributes = [{Key, <<"geheim">>} || Key <- ?SECRET],
    Others = [{Key, <<"offen">>} || Key <- ?SHOWN, is_atom(Key) orelse is_binary(Key)],
    Found = captured(fun() ->
        ?OTEL:with_span(<<"one">>, #{attributes => Attributes ++ Others}, fun() -> ok end),
        ?OTEL:with_span(<<"two">>, fun() ->
            ?OTEL:set_attributes(maps:from_list(Attributes ++ Others))
        end),
        ?OTEL:with_span(<<"three">>, fun() ->
            [?OTEL:set_attribute(Key, Value) || {Key, Value} <- Attributes ++ Others]
        end)
    end),
    ?assertEqual(3, length(Found)),
    [begin
         ?assertEqual(length(Attributes), length([V || V <- maps:values(Said), V =:= <<"[REDACTED]">>])),
         ?assertEqual(length(Others), length([V || V <- maps:values(Said), V =:= <<"offen">>]))
     end || #{attributes := Said} <- Found],
    hides(Found).

nested_values() ->
    [Span] = captured(fun() ->
        ?OTEL:with_span(<<"nested">>, #{attributes => #{
            map => #{user => <<"bob">>, password => geheim, deep => #{<<"apiKey">> => "geheim"}},
            list => [{password, geheim}, {user, bob}],
            tuple => {state, #{token => geheim}, [{"secret", geheim}]},
            pair => {password, "geheim"},
            array => {array, [#{cookie => geheim}]}
        }}, fun() -> ok end)
    end),
    hides([Span]),
    #{attributes := #{<<"map">> := Map, <<"pair">> := Pair}} = Span,
    ?assertMatch(#{<<"user">> := <<"bob">>, <<"password">> := <<"[REDACTED]">>}, Map),
    ?assertEqual(<<"{password,[REDACTED]}">>, Pair).

events_and_links() ->
    Found = captured(fun() ->
        Linked = ?OTEL:start_span(<<"linked">>),
        ?OTEL:with_span(<<"events">>, #{links => [{Linked, #{token => geheim}}]}, fun() ->
            ?OTEL:add_event(<<"login">>, #{user => bob, password => geheim}),
            ?OTEL:add_link({Linked, #{<<"authorization">> => geheim}}),
            ?OTEL:set_status(error, {failed, [{password, geheim}]})
        end),
        ?OTEL:end_span(Linked)
    end),
    hides(Found),
    ?assertEqual(4, length(binary:matches(shown(Found), <<"[REDACTED]">>))).

exceptions() ->
    Found = captured(fun() ->
        ?assertError({badmatch, _},
                     ?OTEL:with_span(<<"crash">>, fun() -> error({badmatch, #{password => geheim}}) end)),
        ?OTEL:trace_request(#{method => <<"ping">>}, fun() -> {error, [{token, geheim}]} end)
    end),
    hides(Found),
    ?assert(length(binary:matches(shown(Found), <<"[REDACTED]">>)) >= 3).

%% What others are sent. What the process itself has set it can read.
baggage() ->
    Token = ?OTEL:attach({undefined, []}),
    try
        ok = ?OTEL:set_baggage(<<"accessToken">>, <<"geheim">>),
        ok = ?OTEL:set_baggage(<<"user">>, <<"bob">>),
        Headers = ?OTEL:inject(),
        ?assertEqual([{<<"baggage">>, <<"accessToken=[REDACTED],user=bob">>}],
                     [Header || {<<"baggage">>, _} = Header <- Headers]),
        ?assertMatch([_, _], ?OTEL:baggage())
    after
        ?OTEL:detach(Token)
    end.

the_page_of_traces() ->
    ?OTEL:with_span(<<"page_of_secrets">>, #{attributes => #{user => bob, password => geheim}}, fun() -> ok end),
    ok = ?OTEL:force_flush(),
    [begin
         {200, _, Body} = erlmcp_ct_app:get(Path),
         ?assertMatch({_, _}, binary:match(Body, <<"page_of_secrets">>)),
         ?assertEqual(nomatch, binary:match(Body, <<"geheim">>))
     end || Path <- ["/debug/traces.json?sort=newest", "/debug/traces?sort=newest"]].

the_resource() ->
    os:putenv("OTEL_RESOURCE_ATTRIBUTES", "team.password=geheim,team.name=a"),
    try
        {ok, Config} = erlmcp_instrumentation_config:load(),
        Resource = maps:from_list(erlmcp_instrumentation_otel_config:resource(Config)),
        ?assertMatch(#{<<"team.password">> := <<"[REDACTED]">>, <<"team.name">> := <<"a">>}, Resource)
    after
        os:unsetenv("OTEL_RESOURCE_ATTRIBUTES")
    end.

terms() ->
    R = erlmcp_redaction:redacted(),
    [?assertEqual({Term, Shown}, {Term, erlmcp_redaction:term(Term)})
     || {Term, Shown} <- [{a, a}, {[], []}, {#{}, #{}}, {{}, {}}, {"text", "text"}, {[1 | 2], [1 | 2]},
                          {{password, x}, {password, R}}, {[{"token", x} | y], [{"token", R} | y]},
                          {#{a => #{secret => x}}, #{a => #{secret => R}}}, {{a, password, x}, {a, password, x}},
                          {#{{a, #{jwt => x}} => 1}, #{{a, #{jwt => R}} => 1}}]].

walked_terms_are_bounded() ->
    Deep = lists:foldl(fun(_, Inner) -> [Inner] end, [], lists:seq(1, 100000)),
    ?assert(erts_debug:flat_size(erlmcp_redaction:term(Deep)) < 1000),
    Wide = erlmcp_redaction:term(lists:seq(1, 1000000)),
    ?assertEqual(<<"...">>, lists:last(Wide)),
    ?assert(length(Wide) < 20000),
    Map = erlmcp_redaction:term(maps:from_list([{N, N} || N <- lists:seq(1, 100000)])),
    ?assertMatch(#{<<"...">> := <<"...">>}, Map),
    Tuple = erlmcp_redaction:term(list_to_tuple(lists:seq(1, 100000))),
    ?assert(tuple_size(Tuple) < 20000),
    %% Shared parts make a term that is far larger than its memory.
    Shared = lists:foldl(fun(_, Part) -> {x, Part, Part} end, x, lists:seq(1, 50)),
    ?assert(erts_debug:flat_size(erlmcp_redaction:term(Shared)) < 200000).

%% What the function says of a key is what becomes of an attribute, of a nested
%% one, of one in a printed term, and of a field of a log line.
any_key_is_judged_alike_everywhere() ->
    Word = proper_types:oneof(["token", "Token", "TOKEN", "api", "Api", "key", "Key", "password", "count", "x", "max",
                               "_", "-", ".", "2", "ü", "s", "Set", "cookie"]),
    Reader = erlmcp_ct_lines:open(),
    Property = proper:forall(proper_types:non_empty(proper_types:resize(6, proper_types:list(Word))), fun(Words) ->
        Key = unicode:characters_to_binary(Words),
        IsSecret = erlmcp_redaction:is_secret(Key),
        [#{attributes := Said}] = captured(fun() ->
            ?OTEL:with_span(<<"any">>, #{attributes => #{Key => yes, <<"m_">> => #{Key => yes}, <<"p_">> => {a, {Key, yes}}}},
                            fun() -> ok end)
        end),
        Line = erlmcp_log_formatter:format(
            erlmcp_ct_lines:event(info, {report, #{Key => yes, <<"m_">> => #{Key => yes}}}, #{}), #{}),
        {ok, Fields} = erlmcp_ct_lines:read(Reader, Line),
        Hidden = fun(Value) -> Value =:= <<"[REDACTED]">> end,
        #{<<"m_">> := #{Key := Nested}, <<"p_">> := Printed, Key := Own} = Said,
        #{<<"m_">> := #{Key := InLine}, Key := Field} = Fields,
        Judged = [Hidden(Own), Hidden(Nested), binary:match(Printed, <<"yes">>) =:= nomatch,
                  Hidden(Field), Hidden(InLine)],
        Judged =:= [IsSecret || _ <- Judged] orelse begin put(why, {Key, IsSecret, Judged}), false end
    end),
    Result = proper:quickcheck(Property, [quiet, {numtests, 150}]),
    erlmcp_ct_lines:close(Reader),
    ?assertEqual({true, undefined}, {Result, get(why)}).

other_names() ->
    try
        ok = erlmcp_ct_app:start(#{redact_keys => [default, ssn, <<"-page token">>]}),
        ?assertEqual([true, true, false, false],
                     [erlmcp_redaction:is_secret(Key) || Key <- [user_ssn, token, next_page_token, progressToken]]),
        ok = erlmcp_ct_app:start(#{redact_keys => [ssn]}),
        ?assertEqual([true, false], [erlmcp_redaction:is_secret(Key) || Key <- ["userSSN", password]]),
        ok = erlmcp_ct_app:start(#{redact_keys => none}),
        ?assertNot(erlmcp_redaction:is_secret(password)),
        [#{attributes := Said}] = captured(fun() ->
            ?OTEL:with_span(<<"x">>, #{attributes => #{password => offen}}, fun() -> ok end)
        end),
        ?assertEqual(#{<<"password">> => <<"offen">>}, Said)
    after
        erlmcp_ct_app:start()
    end.

captured(Fun) ->
    {_, Spans} = erlmcp_otel_test:capture(Fun),
    Spans.

hides(Term) ->
    ?assertEqual(nomatch, binary:match(shown(Term), <<"geheim">>)).

shown(Term) ->
    unicode:characters_to_binary(io_lib:format("~0tp", [Term])).
