%% @doc The demo's parser of expositions, its quantiles, checks and settings.
-module(erlmcp_demo_tests).

-include_lib("eunit/include/eunit.hrl").

%% Exposition

-spec parses_text_test() -> term().
parses_text_test() ->
    Text = <<"# HELP a_total What it\\nis.\n"
             "# TYPE a_total counter\n"
             "a_total{method=\"tools/call\",status=\"error\"} 3\n"
             "a_total 12 1700000000000\n"
             "\n"
             "# a comment\n"
             "# TYPE temperature gauge\n"
             "temperature -0.5\n">>,
    ?assertEqual(
        {ok, #{types => #{<<"a_total">> => <<"counter">>, <<"temperature">> => <<"gauge">>},
               samples => [{<<"a_total">>, #{<<"method">> => <<"tools/call">>,
                                             <<"status">> => <<"error">>}, 3},
                           {<<"a_total">>, #{}, 12},
                           {<<"temperature">>, #{}, -0.5}],
               eof => false}},
        erlmcp_demo_exposition:parse(Text)).

-spec parses_openmetrics_test() -> term().
parses_openmetrics_test() ->
    Text = <<"# TYPE a_seconds histogram\n"
             "# UNIT a_seconds seconds\n"
             "a_seconds_bucket{le=\"0.1\"} 7 # {trace_id=\"ab} c\"} 0.05 1700000000.5\n"
             "a_seconds_bucket{le=\"+Inf\"} 9\n"
             "# EOF\n">>,
    ?assertEqual(
        {ok, #{types => #{<<"a_seconds">> => <<"histogram">>},
               samples => [{<<"a_seconds_bucket">>, #{<<"le">> => <<"0.1">>}, 7},
                           {<<"a_seconds_bucket">>, #{<<"le">> => <<"+Inf">>}, 9}],
               eof => true}},
        erlmcp_demo_exposition:parse(Text)).

-spec label_values_test_() -> term().
label_values_test_() ->
    [?_assertEqual({Written, Value}, {Written, label(Written)})
     || {Written, Value} <- [
         {<<>>, <<>>},
         {<<"a\\\"b">>, <<"a\"b">>},
         {<<"a\\\\">>, <<"a\\">>},
         {<<"a\\\\nb">>, <<"a\\nb">>},
         {<<"a\\nb">>, <<"a\nb">>},
         {<<"a}b,c=d e{">>, <<"a}b,c=d e{">>},
         {<<"gr\xc3\xbc\xc3\x9fe">>, <<"gr\xc3\xbc\xc3\x9fe">>}
     ]].

-spec label(binary()) -> binary().
label(Written) ->
    {ok, #{samples := [{<<"a">>, #{<<"l">> := Value, <<"m">> := <<"x">>}, 1}]}} =
        erlmcp_demo_exposition:parse(<<"a{l=\"", Written/binary, "\",m=\"x\"} 1\n">>),
    Value.

-spec trailing_comma_test() -> term().
trailing_comma_test() ->
    ?assertMatch({ok, #{samples := [{<<"a">>, #{<<"l">> := <<"x">>}, 1}]}},
                 erlmcp_demo_exposition:parse(<<"a{l=\"x\",} 1">>)).

-spec empty_braces_test() -> term().
empty_braces_test() ->
    ?assertMatch({ok, #{samples := [{<<"a">>, Labels, 1}]}} when map_size(Labels) =:= 0,
                 erlmcp_demo_exposition:parse(<<"a{} 1">>)).

-spec refuses_test_() -> term().
refuses_test_() ->
    [?_assertMatch({Text, {error, {2, Reason, _}}},
                   {Text, erlmcp_demo_exposition:parse(<<"good 1\n", Text/binary>>)})
     || {Reason, Text} <- [
         {bad_name, <<"lonely">>},
         {bad_name, <<" 1">>},
         {bad_name, <<"{l=\"x\"} 1">>},
         {bad_name, <<"# TYPE a">>},
         {bad_value, <<"a ">>},
         {bad_value, <<"a one">>},
         {bad_value, <<"a{l=\"x\"}">>},
         {bad_labels, <<"a{l=\"x} 1">>},
         {bad_labels, <<"a{l=\"x\" 1">>},
         {bad_labels, <<"a{l=x} 1">>},
         {bad_labels, <<"a{l=\"\\t\"} 1">>},
         {bad_labels, <<"a{l=\"x\",l=\"y\"} 1">>}
     ]].

-spec nothing_after_eof_test() -> term().
nothing_after_eof_test() ->
    ?assertEqual({error, {3, after_eof, <<"a 1">>}},
                 erlmcp_demo_exposition:parse(<<"a 1\n# EOF\na 1\n">>)).

-spec numbers_test_() -> term().
numbers_test_() ->
    [?_assertEqual({Text, Number}, {Text, erlmcp_demo_exposition:number(Text)})
     || {Text, Number} <- [
         {<<"0">>, {ok, 0}},
         {<<"-3">>, {ok, -3}},
         {<<"18446744073709551615">>, {ok, 18446744073709551615}},
         {<<"0.5">>, {ok, 0.5}},
         {<<"1e-05">>, {ok, 1.0e-5}},
         {<<"1e+06">>, {ok, 1.0e6}},
         {<<"2.5E3">>, {ok, 2.5e3}},
         {<<"+Inf">>, {ok, infinity}},
         {<<"-Inf">>, {ok, neg_infinity}},
         {<<"NaN">>, {ok, nan}},
         {<<>>, error},
         {<<"e5">>, error},
         {<<"1.2.3">>, error},
         {<<"0x10">>, error}
     ]].

%% Queries

-spec samples() -> [erlmcp_demo_exposition:sample()].
samples() ->
    [{<<"r_total">>, #{<<"m">> => <<"a">>, <<"s">> => <<"success">>}, 5},
     {<<"r_total">>, #{<<"m">> => <<"a">>, <<"s">> => <<"error">>}, 2},
     {<<"r_total">>, #{<<"m">> => <<"b">>, <<"s">> => <<"success">>}, 0.5},
     {<<"r_total_more">>, #{<<"m">> => <<"a">>}, 100},
     {<<"h_bucket">>, #{<<"m">> => <<"a">>, <<"le">> => <<"10">>}, 4},
     {<<"h_bucket">>, #{<<"m">> => <<"a">>, <<"le">> => <<"2.5">>}, 3},
     {<<"h_bucket">>, #{<<"m">> => <<"a">>, <<"le">> => <<"+Inf">>}, 6},
     {<<"h_bucket">>, #{<<"m">> => <<"b">>, <<"le">> => <<"2.5">>}, 1},
     {<<"h_bucket">>, #{<<"m">> => <<"b">>, <<"le">> => <<"10.0">>}, 1},
     {<<"h_bucket">>, #{<<"m">> => <<"b">>, <<"le">> => <<"+Inf">>}, 1}].

-spec sums_test_() -> term().
sums_test_() ->
    [?_assertEqual(7.5, erlmcp_demo_query:sum(<<"r_total">>, #{}, samples())),
     ?_assertEqual(2, erlmcp_demo_query:sum(<<"r_total">>, #{<<"s">> => <<"error">>}, samples())),
     ?_assertEqual(0, erlmcp_demo_query:sum(<<"absent">>, #{}, samples())),
     ?_assertEqual(#{<<"a">> => 7, <<"b">> => 0.5},
                   erlmcp_demo_query:sum_by(<<"m">>, <<"r_total">>, samples()))].

-spec buckets_add_up_and_ascend_test() -> term().
buckets_add_up_and_ascend_test() ->
    ?assertEqual([{2.5, 4}, {10.0, 5}, {infinity, 7}],
                 erlmcp_demo_query:buckets(<<"h">>, #{}, samples())),
    ?assertEqual([{2.5, 3}, {10.0, 4}, {infinity, 6}],
                 erlmcp_demo_query:buckets(<<"h">>, #{<<"m">> => <<"a">>}, samples())).

%% The expected values are what Prometheus answers: `promtool test rules' with
%% histogram_quantile over the same buckets.
-spec quantiles_test_() -> term().
quantiles_test_() ->
    Buckets = [{0.1, 10}, {0.2, 30}, {0.5, 60}, {1.0, 90}, {infinity, 100}],
    Gap = [{0.1, 0}, {0.2, 10}, {0.5, 10}, {infinity, 10}],
    [?_assert(near(Expected, erlmcp_demo_query:quantile(Q, Given)))
     || {Expected, Q, Given} <- [
         {0.05, 0.05, Buckets},
         {0.1, 0.1, Buckets},
         {0.15, 0.2, Buckets},
         {0.4, 0.5, Buckets},
         {1.0, 0.9, Buckets},
         %% In the last bucket: the highest bound that is known.
         {1.0, 0.99, Buckets},
         {0.15, 0.5, Gap},
         {0.199, 0.99, Gap},
         %% Below zero there is nothing to interpolate from.
         {-5.0, 0.5, [{-5.0, 10}, {5.0, 10}, {infinity, 10}]},
         {0.0, 0.75, [{-5.0, 10}, {5.0, 20}, {infinity, 20}]}
     ]].

-spec no_quantile_of_nothing_test_() -> term().
no_quantile_of_nothing_test_() ->
    [?_assertEqual(undefined, erlmcp_demo_query:quantile(0.5, Buckets))
     || Buckets <- [[], [{infinity, 3}], [{0.1, 0}, {infinity, 0}], [{0.1, 1}, {0.2, 2}]]].

-spec near(float(), float() | undefined) -> boolean().
near(Expected, Actual) ->
    is_float(Actual) andalso abs(Expected - Actual) < 1.0e-9.

%% Checks

-spec differences_are_told_test() -> term().
differences_are_told_test() ->
    Expected = [{"right", <<"r_total">>, #{<<"m">> => <<"a">>}, 7},
                {"wrong", <<"r_total">>, #{<<"m">> => <<"b">>}, 1},
                {"missing", <<"absent">>, #{}, 3}],
    ?assertEqual([{"wrong", 1, 0.5}, {"missing", 3, 0}],
                 erlmcp_demo_check:differences(Expected, samples())).

-spec span_differences_are_told_test_() -> term().
span_differences_are_told_test_() ->
    Right = #{recorded => 10, ended => 10, exported => 4, kept => 3, dropped => 2, pending => 1},
    [?_assertEqual({Change, Expected},
                   {Change, erlmcp_demo_check:span_differences(
                                10, span_samples(maps:merge(Right, Change)))})
     || {Change, Expected} <- [
         {#{}, []},
         {#{recorded => 9, ended => 9, too_many_open => 1, kept => 2}, []},
         {#{recorded => 9}, [{"spans recorded", 10, 9}, {"spans ended", 9, 10}]},
         {#{ended => 9, kept => 2}, [{"spans ended", 10, 9}]},
         {#{dropped => 0}, [{"spans kept, exported or dropped", 10, 8}]},
         %% A sampler that leaves some out.
         {#{sampled_out => 3, recorded => 7, ended => 7, exported => 1}, []}
     ]].

-spec span_samples(#{atom() => non_neg_integer()}) -> [erlmcp_demo_exposition:sample()].
span_samples(Counts) ->
    Of = fun(Key) -> maps:get(Key, Counts, 0) end,
    Traces = #{<<"signal">> => <<"traces">>},
    [{<<"erlmcp_otel_spans_recorded_total">>, #{}, Of(recorded)},
     {<<"erlmcp_otel_spans_ended_total">>, #{}, Of(ended)},
     {<<"erlmcp_otel_spans_sampled_out_total">>, #{}, Of(sampled_out)},
     {<<"erlmcp_otel_spans_dropped_total">>, #{<<"reason">> => <<"too_many_open">>},
      Of(too_many_open)},
     {<<"erlmcp_otel_records_exported_total">>, Traces, Of(exported)},
     {<<"erlmcp_otel_records_kept_total">>, Traces, Of(kept)},
     {<<"erlmcp_otel_records_dropped_total">>, Traces#{<<"reason">> => <<"queue_full">>},
      Of(dropped)},
     {<<"erlmcp_otel_records_dropped_total">>, #{<<"signal">> => <<"logs">>}, 100},
     {<<"erlmcp_otel_records_pending">>, Traces, Of(pending)}].

%% Report

-spec table_test() -> term().
table_test() ->
    ?assertEqual(<<"  name  count\n"
                   "  ----  -----\n"
                   "  a         1\n"
                   "  long      -\n">>,
                 iolist_to_binary(erlmcp_demo_report:table([{left, "name"}, {right, "count"}],
                                                           [[a, "1"], [<<"long">>, "-"]]))).

%% Settings

-spec default_settings_test_() -> term().
default_settings_test_() ->
    [?_assertEqual({ok, #{seconds => Seconds, rate => Rate, sessions => Sessions,
                          faults => 100, log => false}},
                   settings(Environment, Cores))
     || {Environment, Cores, Seconds, Rate, Sessions} <- [
         {[], 1, 10, 2000, 100},
         {[], 4, 10, 6000, 300},
         {[], 64, 10, 10000, 500},
         {[{"DEMO_SECONDS", "0"}], 64, 0, 200, 10},
         {[{"DEMO_SECONDS", ""}, {"DEMO_RATE", "50"}], 2, 10, 50, 10},
         {[{"DEMO_SECONDS", "3"}, {"DEMO_RATE", "1000"}, {"DEMO_SESSIONS", "7"}], 2, 3, 1000, 7}
     ]].

-spec fewer_faults_test() -> term().
fewer_faults_test() ->
    {ok, #{faults := Faults}} = settings([{"DEMO_FAULTS", "1"}], 2),
    ?assertEqual(1, Faults).

%% The quota refuses some calls of an even load only where faults are wanted.
-spec quota_test_() -> term().
quota_test_() ->
    [with_faults(Faults, fun() ->
        ?assertEqual(Allowed, erlmcp_demo_client:allowed_tool_calls(1000))
     end) || {Faults, Allowed} <- [{100, 311}, {0, 951}]].

-spec no_faults_test_() -> term().
no_faults_test_() ->
    with_faults(0, fun() ->
        ?assertNot(lists:any(fun erlmcp_demo_work:fault/1, lists:duplicate(1000, 1.0)))
    end).

-spec with_faults(0..100, fun(() -> term())) -> term().
with_faults(Percent, Test) ->
    {setup, fun() -> erlmcp_demo_work:set_faults(Percent) end,
     fun(_) -> erlmcp_demo_work:set_faults(100) end, Test}.

-spec log_setting_test() -> ok.
log_setting_test() ->
    {ok, #{log := true}} = settings([{"DEMO_LOG", "true"}], 2),
    ok.

-spec wrong_settings_test_() -> term().
wrong_settings_test_() ->
    [?_assertEqual({error, Text}, settings([Setting], 2))
     || {Setting, Text} <- [
         {{"DEMO_SECONDS", "-1"},
          "DEMO_SECONDS=-1: a whole number from 0 to 86400 is needed"},
         {{"DEMO_SECONDS", "10s"},
          "DEMO_SECONDS=10s: a whole number from 0 to 86400 is needed"},
         {{"DEMO_RATE", "0"},
          "DEMO_RATE=0: a whole number from 1 to 100000 is needed"},
         {{"DEMO_SESSIONS", "1.5"},
          "DEMO_SESSIONS=1.5: a whole number from 1 to 10000 is needed"},
         {{"DEMO_FAULTS", "101"},
          "DEMO_FAULTS=101: a whole number from 0 to 100 is needed"},
         {{"DEMO_LOG", "yes"},
          "DEMO_LOG=yes: true or false is needed"}
     ]].

-spec settings([{string(), string()}], pos_integer()) ->
    {ok, erlmcp_demo_settings:settings()} | {error, string()}.
settings(Environment, Cores) ->
    erlmcp_demo_settings:read(fun(Name) -> proplists:get_value(Name, Environment, false) end,
                              Cores).
