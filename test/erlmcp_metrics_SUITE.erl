%% Recording with erlmcp_metrics: every function, arity and argument order, every
%% spelling of names and labels, every sort of value. The registry behind it has
%% a suite of its own.
-module(erlmcp_metrics_SUITE).

-include_lib("stdlib/include/assert.hrl").

-import(erlmcp_ct_refusal, [refused/3, risen/1]).

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1]).
-export([
    counter_forms/1, up_down_counter_forms/1, gauge_forms/1, histogram_forms/1, info_forms/1,
    add_and_subtract_follow_the_kind/1, undeclared_names_become_what_the_call_implies/1,
    one_series_however_it_is_spelled/1, characters_beyond_latin1/1, numbers_as_label_values/1,
    negative_zero_as_label_value/1, names_are_brought_into_prometheus_form/1,
    counters_with_and_without_total/1, labels_may_differ_between_calls/1,
    an_empty_label_value_is_no_label/1, label_limits/1,
    label_values_come_back_from_the_scrape/1, integers_stay_integers/1,
    floats_and_integers_mixed/1, tiny_and_huge_floats/1, the_largest_integers/1,
    a_sum_of_floats_never_becomes_infinite/1, gauge_values/1, up_down_counter_values/1,
    histogram_bounds_are_inclusive/1, histogram_sums_are_not_rounded/1, histogram_buckets/1,
    time_returns_and_observes/1, time_lets_exceptions_through/1, what_a_scrape_shows/1,
    scrape_forms/1, format_error/1, info_figures/1, start_link_links_to_what_runs/1
]).

-define(M, erlmcp_metrics).
-define(MAX_I64, 16#7FFFFFFFFFFFFFFF).
-define(MAX_U64, 16#FFFFFFFFFFFFFFFF).

suite() ->
    [{timetrap, {minutes, 4}}].

all() ->
    [counter_forms, up_down_counter_forms, gauge_forms, histogram_forms, info_forms,
     add_and_subtract_follow_the_kind, undeclared_names_become_what_the_call_implies,
     one_series_however_it_is_spelled, characters_beyond_latin1, numbers_as_label_values,
     negative_zero_as_label_value, names_are_brought_into_prometheus_form,
     counters_with_and_without_total, labels_may_differ_between_calls,
     an_empty_label_value_is_no_label, label_limits, label_values_come_back_from_the_scrape,
     integers_stay_integers, floats_and_integers_mixed, tiny_and_huge_floats,
     the_largest_integers, a_sum_of_floats_never_becomes_infinite, gauge_values,
     up_down_counter_values, histogram_bounds_are_inclusive, histogram_sums_are_not_rounded,
     histogram_buckets, time_returns_and_observes, time_lets_exceptions_through,
     what_a_scrape_shows, scrape_forms, format_error, info_figures,
     start_link_links_to_what_runs].

init_per_suite(Config) ->
    erlmcp_ct_app:quiet(),
    erlmcp_ct_app:start(),
    Config.

end_per_suite(_Config) ->
    erlmcp_ct_app:forget(),
    erlmcp_ct_app:stop(),
    erlmcp_ct_app:loud().

%% Forms

counter_forms(_Config) ->
    N = erlmcp_ct_app:name("forms_counter"),
    L = #{a => b},
    ok = ?M:record_counter(N, 1, #{}),
    ok = ?M:inc(N),
    ok = ?M:inc(N, 10),
    ok = ?M:inc(N, 100, #{}),
    ok = ?M:inc(N, #{}, 1000),
    ?assertEqual(1112, ?M:value(N, #{})),
    ok = ?M:record_counter(N, 1, L),
    ok = ?M:inc(N, L),
    ok = ?M:inc(N, 10, L),
    ok = ?M:inc(N, L, 100),
    ?assertEqual(112, ?M:value(N, L)),
    Series = ?M:bind(counter, N, L),
    ?assert(is_integer(Series) andalso Series > 0),
    ok = ?M:inc(Series),
    ok = ?M:inc(Series, 1000),
    ok = ?M:inc(Series, 0),
    ?assertEqual(1113, ?M:value(N, L)),
    ?assertEqual(1112, ?M:value(N, #{})).

up_down_counter_forms(_Config) ->
    N = erlmcp_ct_app:name("forms_updown"),
    L = #{a => b},
    ok = ?M:declare(up_down_counter, N, #{}),
    ok = ?M:dec(N),
    ok = ?M:dec(N, 10),
    ok = ?M:dec(N, 100, #{}),
    ok = ?M:dec(N, #{}, 1000),
    ok = ?M:inc(N),
    ok = ?M:inc(N, 5),
    ?assertEqual(-1105, ?M:value(N, #{})),
    ok = ?M:dec(N, L),
    ok = ?M:dec(N, 10, L),
    ok = ?M:dec(N, L, 100),
    ok = ?M:inc(N, L),
    ?assertEqual(-110, ?M:value(N, L)),
    Series = ?M:bind(up_down_counter, N, L),
    ok = ?M:dec(Series),
    ok = ?M:dec(Series, 9),
    ok = ?M:inc(Series),
    ok = ?M:inc(Series, 19),
    ?assertEqual(-100, ?M:value(N, L)).

gauge_forms(_Config) ->
    N = erlmcp_ct_app:name("forms_gauge"),
    L = #{a => b},
    ok = ?M:record_gauge(N, 1, L),
    ?assertEqual(1, ?M:value(N, L)),
    ok = ?M:set(N, 2, L),
    ?assertEqual(2, ?M:value(N, L)),
    ok = ?M:set(N, L, 3),
    ?assertEqual(3, ?M:value(N, L)),
    ?assertEqual(undefined, ?M:value(N, #{})),
    ok = ?M:set(N, 4),
    ?assertEqual(4, ?M:value(N, #{})),
    Series = ?M:bind(gauge, N, L),
    ok = ?M:set(Series, 5),
    ?assertEqual(5, ?M:value(N, L)),
    ok = ?M:inc(Series),
    ok = ?M:dec(Series, 3),
    ok = ?M:inc(N, L),
    ok = ?M:dec(N, L, 10),
    ?assertEqual(-6, ?M:value(N, L)).

histogram_forms(_Config) ->
    N = erlmcp_ct_app:name("forms_histogram"),
    L = #{a => b},
    ok = ?M:record_histogram(N, 1, L),
    ok = ?M:observe(N, 2, L),
    ok = ?M:observe(N, L, 4),
    Series = ?M:bind(histogram, N, L),
    ok = ?M:observe(Series, 8),
    ?assertMatch(#{count := 4, sum := 15.0}, ?M:value(N, L)),
    ok = ?M:observe(N, 16),
    ?assertMatch(#{count := 1, sum := 16.0}, ?M:value(N, #{})).

info_forms(_Config) ->
    N = erlmcp_ct_app:name("forms_info"),
    ok = ?M:set_info(N, #{version => "1.0"}),
    ok = ?M:set_info(N, #{version => <<"1.0">>}),
    ok = ?M:set_info(N, #{version => '2.0'}),
    ?assertEqual(1, ?M:value(N, #{version => "1.0"})),
    ?assertEqual(1, ?M:value(N, #{version => "2.0"})),
    Name = <<N/binary, "_info">>,
    Scrape = scrape(text),
    ?assertEqual(gauge, type(Scrape, Name)),
    ?assertEqual(1, erlmcp_ct_exposition:value(Scrape, Name, #{<<"version">> => <<"1.0">>})),
    ?assertEqual(info, type(scrape(openmetrics), N)),
    ?assertEqual(2, ?M:remove(N)),
    ?assertEqual(undefined, ?M:value(N, #{version => "1.0"})).

add_and_subtract_follow_the_kind(_Config) ->
    Gauge = erlmcp_ct_app:name("follow_gauge"),
    UpDown = erlmcp_ct_app:name("follow_updown"),
    ok = ?M:set(Gauge, 10),
    ok = ?M:declare(up_down_counter, UpDown, #{}),
    [begin
         ok = ?M:inc(Name, 3),
         ok = ?M:dec(Name, 5),
         ok = ?M:inc(Name, -1),
         ok = ?M:dec(Name, -2),
         ?assertEqual(Begin - 1, ?M:value(Name, #{}))
     end || {Name, Begin} <- [{Gauge, 10}, {UpDown, 0}]],
    %% record_counter/3 adds to counters alone.
    refused(kind_conflict, "is a gauge", ?M:record_counter(Gauge, 1, #{})),
    refused(kind_conflict, "is an up_down_counter", ?M:record_counter(UpDown, 1, #{})).

undeclared_names_become_what_the_call_implies(_Config) ->
    Calls = [{counter, fun(N) -> ?M:inc(N) end},
             {counter, fun(N) -> ?M:record_counter(N, 1, #{}) end},
             {gauge, fun(N) -> ?M:dec(N) end},
             {gauge, fun(N) -> ?M:set(N, 1) end},
             {gauge, fun(N) -> ?M:record_gauge(N, 1, #{}) end},
             {histogram, fun(N) -> ?M:observe(N, 1) end},
             {histogram, fun(N) -> ?M:record_histogram(N, 1, #{}) end},
             {histogram, fun(N) -> ?M:time(N, fun() -> ok end) end}],
    Named = [{Type, erlmcp_ct_app:name("implied"), Call} || {Type, Call} <- Calls],
    [ok = Call(Name) || {_, Name, Call} <- Named],
    Scrape = scrape(openmetrics),
    [?assertEqual({Name, Type}, {Name, type(Scrape, Name)}) || {Type, Name, _} <- Named],
    %% What dec/1 makes adds up, so it is no gauge that is set.
    {_, Decreased, _} = lists:nth(3, Named),
    refused(kind_conflict, "up_down_counter", ?M:set(Decreased, 1)).

%% Names and labels

one_series_however_it_is_spelled(_Config) ->
    Binary = erlmcp_ct_app:name("spelled"),
    Before = maps:get(series, ?M:info()),
    Names = [Binary, binary_to_list(Binary), binary_to_atom(Binary)],
    Keys = [method, <<"method">>, "method"],
    Others = [code, <<"code">>, "code"],
    Values = [get, <<"get">>, "get"],
    Numbers = [200, <<"200">>, "200", '200'],
    Spellings = [{Name, #{Key => Value, Other => Number}}
                 || Name <- Names, Key <- Keys, Value <- Values, Other <- Others,
                    Number <- Numbers],
    %% Twice, so that whatever is remembered of the first time is used.
    [ok = ?M:inc(Name, Labels) || _ <- [1, 2], {Name, Labels} <- Spellings],
    Total = 2 * length(Spellings),
    [?assertEqual(Total, ?M:value(Name, Labels)) || {Name, Labels} <- Spellings],
    ?assertEqual(1, length(lists:usort([?M:bind(counter, N, L) || {N, L} <- Spellings]))),
    ?assertEqual(Before + 1, maps:get(series, ?M:info())),
    %% Also parts of larger binaries, and binaries that do not begin at a byte.
    <<_:3/binary, Part:6/binary, _/binary>> = <<"xxxmethodyyy">>,
    <<_:3, Unaligned:6/binary, _/bitstring>> = <<0:3, "method", 0:5>>,
    [ok = ?M:inc(Binary, #{Key => get, code => 200}) || Key <- [Part, Unaligned]],
    ?assertEqual(Total + 2, ?M:value(Binary, #{method => get, code => 200})).

characters_beyond_latin1(_Config) ->
    N = erlmcp_ct_app:name("wide"),
    Value = <<"значение €"/utf8>>,
    Spelled = [Value, unicode:characters_to_list(Value), binary_to_atom(Value)],
    Key = <<"a_ключ"/utf8>>,
    Keys = [Key, unicode:characters_to_list(Key), binary_to_atom(Key)],
    [ok = ?M:inc(N, #{K => V}) || K <- Keys, V <- Spelled],
    %% A character that Prometheus refuses is one underscore.
    ?assertEqual(9, ?M:value(N, #{'a_____' => Value})),
    Latin = <<"größe"/utf8>>,
    [ok = ?M:inc(N, #{K => V}) || K <- [Latin, 'größe', "größe"], V <- [Latin, 'größe', "größe"]],
    ?assertEqual(9, ?M:value(N, #{gr__e => Latin})),
    Name = <<N/binary, "_запросы"/utf8>>,
    [ok = ?M:inc(As) || As <- [Name, unicode:characters_to_list(Name), binary_to_atom(Name)]],
    ?assertEqual(3, ?M:value(<<N/binary, "________">>, #{})),
    Scrape = scrape(text),
    ?assertEqual(9, sample(Scrape, N, #{<<"a_____">> => Value})),
    ?assertEqual(9, sample(Scrape, N, #{<<"gr__e">> => Latin})).

numbers_as_label_values(_Config) ->
    N = erlmcp_ct_app:name("numbers"),
    Integers = [0, -1, 200, 1 bsl 40, ?MAX_I64, -?MAX_I64 - 1],
    Floats = [0.5, 1.0, -2.25, 0.1, 123456.789, 1.0e15, 1.0e16, 1.0e22, 1.5e300, 1.0e-7, 5.0e-324],
    Texts = [{I, integer_to_binary(I)} || I <- Integers]
        ++ [{F, float_to_binary(F, [short])} || F <- Floats],
    [begin
         ok = ?M:inc(N, #{v => Number}),
         ok = ?M:inc(N, #{v => Text}),
         ?assertEqual({Text, 2}, {Text, ?M:value(N, #{v => Number})})
     end || {Number, Text} <- Texts],
    %% A number is not its neighbour of another type.
    ok = ?M:inc(N, #{w => 1}),
    ?assertEqual(undefined, ?M:value(N, #{w => 1.0})),
    refused(bad_labels, "64 bits", ?M:inc(N, #{v => 1 bsl 64})).

%% 0.0 and -0.0 are =:= before OTP 27: they must not lead to one series here and
%% to another there.
negative_zero_as_label_value(_Config) ->
    N = erlmcp_ct_app:name("zero"),
    <<Minus/float>> = <<1:1, 0:63>>,
    ok = ?M:inc(N, #{v => 0.0}),
    ok = ?M:inc(N, #{v => Minus}),
    ?assertEqual({2, 2}, {?M:value(N, #{v => 0.0}), ?M:value(N, #{v => Minus})}).

names_are_brought_into_prometheus_form(_Config) ->
    N = erlmcp_ct_app:name("form"),
    Dotted = <<"a.b-c/", N/binary>>,
    ok = ?M:inc(Dotted),
    ok = ?M:inc(<<"a_b_c_", N/binary>>),
    ?assertEqual(2, ?M:value(Dotted, #{})),
    Digit = <<"9", N/binary>>,
    ok = ?M:inc(Digit),
    ?assertEqual(1, ?M:value(<<"_9", N/binary>>, #{})),
    ok = ?M:inc(N, #{'http.method' => get, '2xx' => yes}),
    ?assertEqual(1, ?M:value(N, #{http_method => get, '_2xx' => yes})),
    Colon = <<"job:", N/binary>>,
    ok = ?M:inc(Colon),
    ?assertEqual(1, sample(scrape(text), Colon, #{})).

counters_with_and_without_total(_Config) ->
    N = erlmcp_ct_app:name("suffix"),
    Total = <<N/binary, "_total">>,
    ok = ?M:inc(N),
    ok = ?M:record_counter(Total, 1, #{}),
    ?assertEqual(2, ?M:value(N, #{})),
    ?assertEqual(2, ?M:value(Total, #{})),
    ?assertEqual(?M:bind(counter, N, #{}), ?M:bind(counter, Total, #{})),
    ok = ?M:declare(counter, Total, #{description => "Either way."}),
    ok = ?M:declare(counter, N, #{}),
    #{families := Families} = Scrape = scrape(text),
    ?assertMatch(#{help := <<"Either way.">>}, maps:get(Total, Families)),
    ?assertNot(is_map_key(N, Families)),
    ?assertEqual(2, erlmcp_ct_exposition:value(Scrape, Total, #{})).

%% A peer's metric that is called with other labels costs the whole export.
labels_may_differ_between_calls(_Config) ->
    N = erlmcp_ct_app:name("differ"),
    ok = ?M:declare(counter, N, #{labels => [a]}),
    Sets = [#{}, #{a => 1}, #{b => 1}, #{a => 1, b => 1}, #{b => 1, a => 2}],
    [ok = ?M:inc(N, L, I) || {I, L} <- lists:enumerate(Sets)],
    [?assertEqual(I, ?M:value(N, L)) || {I, L} <- lists:enumerate(Sets)],
    [?assertEqual(15, lists:sum(samples(scrape(Format), <<N/binary, "_total">>)))
     || Format <- [text, openmetrics]].

an_empty_label_value_is_no_label(_Config) ->
    N = erlmcp_ct_app:name("empty"),
    ok = ?M:inc(N),
    [ok = ?M:inc(N, #{Key => Empty}) || Key <- [a, b, <<"c">>], Empty <- ['', <<>>, "", []]],
    ok = ?M:inc(N, #{a => <<>>, b => x}),
    ?assertEqual(13, ?M:value(N, #{})),
    ?assertEqual(13, ?M:value(N, #{z => ""})),
    ?assertEqual(1, ?M:value(N, #{b => x, a => ''})),
    ?assertEqual(13, sample(scrape(text), N, #{})).

label_limits(_Config) ->
    N = erlmcp_ct_app:name("limits"),
    Long = binary:copy(<<"x">>, 1024),
    ok = ?M:inc(N, #{a => Long}),
    ok = ?M:inc(N, #{a => binary_to_list(Long)}),
    ?assertEqual(2, ?M:value(N, #{a => Long})),
    %% Bytes count, not characters.
    ok = ?M:inc(N, #{a => binary:copy(<<"é"/utf8>>, 512)}),
    refused(bad_labels, "1026", ?M:inc(N, #{a => binary:copy(<<"é"/utf8>>, 513)})),
    refused(bad_labels, "1025", ?M:inc(N, #{a => <<Long/binary, "x">>})),
    refused(bad_labels, "4096", ?M:inc(N, #{a => lists:duplicate(100000, $x)})),
    Key = binary:copy(<<"k">>, 255),
    ok = ?M:inc(N, #{Key => 1}),
    refused(bad_labels, "255", ?M:inc(N, #{<<Key/binary, "k">> => 1})),
    Many = maps:from_list([{<<"l", (integer_to_binary(I))/binary>>, I} || I <- lists:seq(1, 64)]),
    ok = ?M:inc(N, Many),
    ok = ?M:inc(N, Many),
    ?assertEqual(2, ?M:value(N, Many)),
    refused(bad_labels, "65", ?M:inc(N, Many#{more => 1})),
    Name = binary:copy(<<"n">>, 255 - byte_size(N)),
    ok = ?M:inc(<<N/binary, Name/binary>>),
    refused(bad_name, "256", ?M:inc(<<N/binary, Name/binary, "n">>)).

label_values_come_back_from_the_scrape(_Config) ->
    N = erlmcp_ct_app:name("escaped"),
    Values = [<<"\"">>, <<"\\">>, <<"\n">>, <<"\\n">>, <<"\\\"">>, <<"a\"b\\c\nd">>, <<"{}=,">>,
              <<"\r\t">>, <<0>>, <<"  ">>, <<"ünïcødé 日本 🎉"/utf8>>, <<"\\\\">>, <<"true">>, <<127>>],
    [ok = ?M:inc(N, #{v => V}, I) || {I, V} <- lists:enumerate(Values)],
    [begin
         Scrape = scrape(Format),
         [?assertEqual({V, I}, {V, erlmcp_ct_exposition:value(Scrape, <<N/binary, "_total">>,
                                                              #{<<"v">> => V})})
          || {I, V} <- lists:enumerate(Values)]
     end || Format <- [text, openmetrics]],
    Protobuf = scrape(protobuf),
    [?assertEqual(float(I), erlmcp_ct_exposition:value(Protobuf, <<N/binary, "_total">>,
                                                       #{<<"v">> => V}))
     || {I, V} <- lists:enumerate(Values)],
    ok.

%% Values

integers_stay_integers(_Config) ->
    N = erlmcp_ct_app:name("integers"),
    ok = ?M:inc(N, 9007199254740993),
    ok = ?M:inc(N, 1 bsl 60),
    ?assertEqual(9007199254740993 + (1 bsl 60), ?M:value(N, #{})),
    ?assertEqual(9007199254740993 + (1 bsl 60), sample(scrape(text), N, #{})),
    ok = ?M:inc(N, 0.5),
    ?assert(is_float(?M:value(N, #{}))).

%% prometheus.erl hangs here.
floats_and_integers_mixed(_Config) ->
    N = erlmcp_ct_app:name("mixed"),
    Series = ?M:bind(counter, N, #{}),
    [begin
         ok = ?M:inc(N, 1),
         ok = ?M:inc(N, 0.25),
         ok = ?M:inc(Series, 2),
         ok = ?M:inc(Series, 0.5),
         ok = ?M:inc(N, 0.0)
     end || _ <- lists:seq(1, 1000)],
    ?assertEqual(3750.0, ?M:value(N, #{})),
    ?assertEqual(3750.0, sample(scrape(text), N, #{})).

%% A peer prints values below 1e-10 as 0.
tiny_and_huge_floats(_Config) ->
    [begin
         N = erlmcp_ct_app:name("extreme"),
         ok = ?M:inc(N, X),
         ok = ?M:set(<<N/binary, "_gauge">>, X),
         ok = ?M:observe(<<N/binary, "_seconds">>, X),
         ?assertEqual(X, ?M:value(N, #{})),
         ?assertEqual(X, ?M:value(<<N/binary, "_gauge">>, #{})),
         ?assertMatch(#{sum := X, count := 1}, ?M:value(<<N/binary, "_seconds">>, #{})),
         Scrapes = [scrape(Format) || Format <- [text, openmetrics]],
         [begin
              ?assertEqual(X, sample(Scrape, N, #{})),
              ?assertEqual(X, erlmcp_ct_exposition:value(Scrape, <<N/binary, "_gauge">>, #{})),
              ?assertEqual(X, erlmcp_ct_exposition:value(Scrape, <<N/binary, "_seconds_sum">>, #{}))
          end || Scrape <- Scrapes]
     end || X <- [1.0e-11, 1.0e-300, 5.0e-324, 1.0e300, max_float(), 0.1, 1.0 / 3]].

the_largest_integers(_Config) ->
    N = erlmcp_ct_app:name("largest"),
    ok = ?M:inc(N, ?MAX_I64),
    ?assertEqual(?MAX_I64, ?M:value(N, #{})),
    ok = ?M:inc(N, ?MAX_I64),
    ok = ?M:inc(N, 1),
    ?assertEqual(?MAX_U64, ?M:value(N, #{})),
    %% Full is full: never back to 0, also not by way of another thread's part.
    [erlmcp_ct_load:pinned(S, fun() -> ok = ?M:inc(N, ?MAX_I64), ok = ?M:inc(N) end)
     || S <- lists:seq(1, erlang:system_info(schedulers))],
    ?assertEqual(?MAX_U64, ?M:value(N, #{})),
    ?assertEqual(?MAX_U64, sample(scrape(text), N, #{})),
    [refused(bad_value, "64 bits", ?M:inc(N, X)) || X <- [?MAX_I64 + 1, 1 bsl 64, 1 bsl 5000]],
    [refused(bad_value, "64 bits", ?M:Set(<<N/binary, "_gauge">>, X, #{}))
     || Set <- [record_gauge, set], X <- [?MAX_I64 + 1, -?MAX_I64 - 2, 1 bsl 5000]],
    Series = ?M:bind(counter, N, #{}),
    refused(bad_value, "64 bits", ?M:inc(Series, 1 bsl 5000)),
    ?assertEqual(?MAX_U64, ?M:value(N, #{})).

a_sum_of_floats_never_becomes_infinite(_Config) ->
    N = erlmcp_ct_app:name("finite"),
    H = erlmcp_ct_app:name("finite_histogram"),
    Max = max_float(),
    [erlmcp_ct_load:pinned(S, fun() ->
         [begin ok = ?M:inc(N, Max), ok = ?M:observe(H, Max) end || _ <- [1, 2]]
     end) || S <- lists:seq(1, erlang:system_info(schedulers))],
    try
        ?assertEqual(Max, ?M:value(N, #{})),
        ?assertMatch(#{sum := Max}, ?M:value(H, #{})),
        Scrape = scrape(text),
        ?assertEqual(Max, sample(Scrape, N, #{})),
        ?assertEqual(Max, erlmcp_ct_exposition:value(Scrape, <<H/binary, "_sum">>, #{}))
    after
        %% An infinite counter would be found in the scrapes of all other tests.
        ?M:remove(N)
    end.

gauge_values(_Config) ->
    N = erlmcp_ct_app:name("gauge"),
    Series = ?M:bind(gauge, N, #{}),
    Exact = [0, 1, -1, (1 bsl 50) - 1, -(1 bsl 50), 0.0, 0.5, -1.0e-300, max_float(),
             infinity, '-infinity', nan],
    [begin
         ok = ?M:set(N, -7),
         ok = Set(X),
         ?assertEqual(X, ?M:value(N, #{})),
         ?assertEqual(X, sample(scrape(text), N, #{}))
     end || X <- Exact, Set <- [fun(V) -> ?M:set(N, V) end, fun(V) -> ?M:set(Series, V) end]],
    [begin
         ok = ?M:set(N, X),
         ?assertEqual(float(X), ?M:value(N, #{}))
     end || X <- [1 bsl 50, -(1 bsl 50) - 1, ?MAX_I64, -?MAX_I64 - 1]],
    ok = ?M:set(N, 1),
    ok = ?M:inc(N, 0.5),
    ?assertEqual(1.5, ?M:value(N, #{})),
    ok = ?M:dec(N, 2),
    ?assertEqual(-0.5, ?M:value(N, #{})),
    ok = ?M:set(N, infinity),
    ok = ?M:inc(N, 1),
    ?assertEqual(infinity, ?M:value(N, #{})),
    ok = ?M:set(N, nan),
    ok = ?M:dec(N, 1.5),
    ?assertEqual(nan, ?M:value(N, #{})),
    ok = ?M:set(N, (1 bsl 50) - 1),
    ok = ?M:inc(N),
    ?assertEqual(float(1 bsl 50), ?M:value(N, #{})),
    ok = ?M:set(N, 3),
    [refused(bad_value, Text, ?M:Change(N, X))
     || Change <- [inc, dec],
        {X, Text} <- [{infinity, "finite"}, {nan, "finite"}, {foo, "not a number"}]],
    ?assertEqual(3, ?M:value(N, #{})).

up_down_counter_values(_Config) ->
    N = erlmcp_ct_app:name("updown"),
    ok = ?M:declare(up_down_counter, N, #{}),
    ok = ?M:inc(N, ?MAX_I64),
    ok = ?M:dec(N, ?MAX_I64),
    ?assertEqual(0, ?M:value(N, #{})),
    ok = ?M:dec(N, ?MAX_I64),
    ok = ?M:dec(N, 1),
    ?assertEqual(-?MAX_I64 - 1, ?M:value(N, #{})),
    ok = ?M:inc(N, ?MAX_I64),
    ok = ?M:inc(N, 1),
    ?assertEqual(0, ?M:value(N, #{})),
    %% The parts of single threads go up and down without bound.
    Up = ?M:bind(up_down_counter, N, #{}),
    Schedulers = lists:seq(1, erlang:system_info(schedulers)),
    [erlmcp_ct_load:pinned(S, fun() -> ok = ?M:inc(Up, 1000) end) || S <- Schedulers],
    [erlmcp_ct_load:pinned(S, fun() -> ok = ?M:dec(Up, 1001) end) || S <- Schedulers],
    ?assertEqual(-length(Schedulers), ?M:value(N, #{})),
    ok = ?M:dec(N, 0.25),
    ?assertEqual(-length(Schedulers) - 0.25, ?M:value(N, #{})),
    refused(bad_value, "finite", ?M:inc(N, infinity)),
    refused(bad_value, "finite", ?M:dec(N, infinity)).

histogram_bounds_are_inclusive(_Config) ->
    N = erlmcp_ct_app:name("bounds"),
    ok = ?M:declare(histogram, N, #{buckets => [-1, 0, 0.1, 10, infinity]}),
    Values = [-5, -1, -1.0e-300, 0, 0.1, 0.1000001, 10, 10.000001, 1.0e300],
    [ok = ?M:observe(N, X) || X <- Values],
    ?assertMatch(#{count := 9,
                   buckets := [{-1.0, 2}, {+0.0, 4}, {0.1, 5}, {10.0, 7}, {infinity, 9}]},
                 ?M:value(N, #{})),
    %% What value/2 says is what each format says.
    Bucket = <<N/binary, "_bucket">>,
    [begin
         Scrape = scrape(Format),
         [?assertEqual(Count, erlmcp_ct_exposition:value(Scrape, Bucket, #{<<"le">> => Le}))
          || {Le, Count} <- [{<<"-1.0">>, 2}, {<<"0.0">>, 4}, {<<"0.1">>, 5},
                             {<<"10.0">>, 7}, {<<"+Inf">>, 9}]],
         ?assertEqual(9, erlmcp_ct_exposition:value(Scrape, <<N/binary, "_count">>, #{}))
     end || Format <- [text, openmetrics]],
    ?assertMatch({9, _, [{-1.0, 2}, {+0.0, 4}, {0.1, 5}, {10.0, 7}, {infinity, 9}]},
                 erlmcp_ct_exposition:value(scrape(protobuf), N, #{})),
    %% Every bound of the default buckets.
    D = erlmcp_ct_app:name("bounds_default"),
    ok = ?M:observe(D, -1),
    #{buckets := Default} = ?M:value(D, #{}),
    Bounds = [B || {B, _} <- Default, B =/= infinity],
    ?assertEqual([0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0],
                 Bounds),
    [ok = ?M:observe(D, B) || B <- Bounds],
    #{buckets := Counted} = ?M:value(D, #{}),
    ?assertEqual(lists:zip(Bounds ++ [infinity], lists:seq(2, 15) ++ [15]), Counted).

%% A peer rounds them to integers.
histogram_sums_are_not_rounded(_Config) ->
    N = erlmcp_ct_app:name("sums"),
    [ok = ?M:observe(N, 0.001) || _ <- lists:seq(1, 1000)],
    #{sum := Sum, count := 1000} = ?M:value(N, #{}),
    close(1.0, Sum),
    close(1.0, erlmcp_ct_exposition:value(scrape(text), <<N/binary, "_sum">>, #{})),
    M = erlmcp_ct_app:name("sums"),
    [ok = ?M:observe(M, X) || X <- [-3, 1, 0.25]],
    ?assertMatch(#{sum := -1.75, count := 3}, ?M:value(M, #{})),
    [refused(bad_value, Text, ?M:observe(M, X))
     || {X, Text} <- [{infinity, "finite"}, {'-infinity', "finite"}, {nan, "finite"},
                      {"1", "not a number"}, {1 bsl 70, "64 bits"}]],
    ?assertMatch(#{sum := -1.75, count := 3}, ?M:value(M, #{})).

histogram_buckets(_Config) ->
    Of = fun(Buckets) ->
        N = erlmcp_ct_app:name("buckets"),
        ok = ?M:declare(histogram, N, #{buckets => Buckets}),
        ok = ?M:observe(N, 1),
        #{buckets := Known} = ?M:value(N, #{}),
        Known
    end,
    ?assertEqual([{infinity, 1}], Of([])),
    ?assertEqual([{infinity, 1}], Of([infinity])),
    ?assertEqual([{1.0, 1}, {infinity, 1}], Of([1])),
    ?assertEqual([{1.0, 1}, {infinity, 1}], Of([1.0, infinity])),
    ?assertEqual([{-5.5, 0}, {1.0e300, 1}, {infinity, 1}], Of([-5.5, 1.0e300])),
    ?assertEqual(257, length(Of(lists:seq(1, 256)))),
    N = erlmcp_ct_app:name("buckets"),
    refused(bad_option, "256", ?M:declare(histogram, N, #{buckets => lists:seq(1, 257)})),
    [refused(bad_option, Text, ?M:declare(histogram, N, #{buckets => Buckets}))
     || {Buckets, Text} <- [{[2, 1], "increase"}, {[1, 1.0], "increase"}, {[1, 1], "increase"},
                            {[infinity, 1], "numbers"}, {[a], "numbers"}, {foo, "numbers"},
                            {[1 | 2], "numbers"}, {#{}, "numbers"}, {[1 bsl 5000], "too large"},
                            {[nan], "numbers"}, {["1"], "numbers"}]],
    ?assertEqual(undefined, ?M:value(N, #{})),
    %% Other kinds have no use for buckets.
    ok = ?M:declare(gauge, N, #{buckets => [1, 2]}).

%% time/2,3

time_returns_and_observes(_Config) ->
    N = erlmcp_ct_app:name("timed"),
    L = #{a => b},
    ?assertEqual({some, result}, ?M:time(N, fun() -> {some, result} end)),
    ?assertEqual(1, ?M:time(N, L, fun() -> 1 end)),
    Series = ?M:bind(histogram, N, L),
    ?assertEqual([], ?M:time(Series, fun() -> [] end)),
    ?assertMatch(#{count := 1}, ?M:value(N, #{})),
    ?assertMatch(#{count := 2}, ?M:value(N, L)),
    Slow = erlmcp_ct_app:name("timed"),
    ok = ?M:time(Slow, fun() -> timer:sleep(60) end),
    #{sum := Sum, buckets := Buckets} = ?M:value(Slow, #{}),
    ?assert(Sum >= 0.055 andalso Sum < 20),
    ?assertMatch({0.05, 0}, lists:keyfind(0.05, 1, Buckets)),
    %% A metric that cannot take it does not come between Fun and its caller.
    Counter = erlmcp_ct_app:name("timed"),
    ok = ?M:inc(Counter),
    Before = erlmcp_ct_refusal:counts(),
    ?assertEqual(fine, ?M:time(Counter, fun() -> fine end)),
    ?assertEqual(fine, ?M:time(1, fun() -> fine end)),
    ?assertEqual(fine, ?M:time({bad, name}, fun() -> fine end)),
    ?assertEqual(fine, ?M:time(N, not_labels, fun() -> fine end)),
    ?assertEqual(#{kind_conflict => 1, unknown_series => 1, bad_name => 1, bad_labels => 1},
                 risen(Before)).

time_lets_exceptions_through(_Config) ->
    N = erlmcp_ct_app:name("raised"),
    Series = ?M:bind(histogram, N, #{}),
    Ways = [fun(Fun) -> ?M:time(N, Fun) end,
            fun(Fun) -> ?M:time(N, #{}, Fun) end,
            fun(Fun) -> ?M:time(Series, Fun) end],
    Raised = [{throw, {ball, 1}}, {exit, normal}, {exit, {shutdown, x}}, {error, badarg},
              {error, {own, [reason]}}],
    [try Way(fun() -> ends(Class, Reason) end) of
         Result -> ct:fail({returned, Result})
     catch
         C:R:Stack ->
             ?assertEqual({Class, Reason}, {C, R}),
             ?assertMatch([{?MODULE, ends, 2, _} | _], Stack)
     end || {Class, Reason} <- Raised, Way <- Ways],
    ?assertMatch(#{count := 15}, ?M:value(N, #{})),
    ?assertError({badarity, _}, ?M:time(N, fun(X) -> X end)),
    ?assertError({badfun, nothing}, ?M:time(N, nothing)).

ends(Class, Reason) ->
    erlang:raise(Class, Reason, [{?MODULE, ends, 2, []}]).

%% Exposition and the rest

what_a_scrape_shows(_Config) ->
    N = erlmcp_ct_app:name("shown"),
    ok = ?M:inc(<<N/binary, "_requests">>, #{m => a}),
    ok = ?M:set(<<N/binary, "_gauge">>, 0.5),
    ok = ?M:dec(<<N/binary, "_updown">>, 2),
    Application = scrape(text),
    All = erlmcp_ct_exposition:parse(text, ?M:scrape()),
    Own = maps:get(samples, Application),
    [begin
         ?assertEqual(1, erlmcp_ct_exposition:value(S, <<N/binary, "_requests_total">>, #{<<"m">> => <<"a">>})),
         ?assertEqual(0.5, erlmcp_ct_exposition:value(S, <<N/binary, "_gauge">>, #{})),
         ?assertEqual(-2, erlmcp_ct_exposition:value(S, <<N/binary, "_updown">>, #{}))
     end || S <- [Application, All]],
    [begin
         ?assertEqual([], samples(Application, Name)),
         ?assertNotEqual([], samples(All, Name))
     end || Name <- [<<"erlmcp_build_info">>, <<"erlmcp_metrics_series">>,
                     <<"erlang_vm_memory_bytes">>,
                     <<"erlmcp_metrics_rejected_samples_total">>]],
    ?assertEqual(#{}, maps:without(maps:keys(maps:get(samples, All)), Own)),
    %% What is not the application's own stays out of its names, and families
    %% are sorted by name.
    ?assertEqual([], [Name || {Name, _} <- maps:keys(Own),
                              binary:match(Name, <<"erlang_vm_">>) =/= nomatch]).

scrape_forms(_Config) ->
    N = erlmcp_ct_app:name("forms"),
    ok = ?M:inc(N),
    ?assertEqual(1, sample(erlmcp_ct_exposition:parse(text, ?M:scrape()), N, #{})),
    [begin
         Scrape = erlmcp_ct_exposition:parse(Format, ?M:scrape(Format)),
         ?assertEqual(1.0, 1.0 * sample(Scrape, N, #{})),
         ?assertEqual(1.0, 1.0 * sample(scrape(Format), N, #{})),
         All = erlmcp_ct_exposition:parse(Format, ?M:scrape(Format, all)),
         ?assertEqual(1.0, 1.0 * sample(All, N, #{}))
     end || Format <- [text, openmetrics, protobuf]],
    refused(bad_option, "format", ?M:scrape(json)),
    refused(bad_option, "format", ?M:scrape(xml, application)),
    ?assertEqual(<<"text/plain; version=0.0.4; charset=utf-8">>, ?M:content_type(text)),
    ?assertEqual(<<"application/openmetrics-text; version=1.0.0; charset=utf-8">>,
                 ?M:content_type(openmetrics)),
    ?assertEqual(<<"application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; "
                   "encoding=delimited">>, ?M:content_type(protobuf)).

format_error(_Config) ->
    Error = {error, {Tag, Text}} = ?M:inc(<<>>),
    Expected = iolist_to_binary([atom_to_binary(Tag), ": ", Text]),
    ?assertEqual(Expected, ?M:format_error(Error)),
    ?assertEqual(Expected, ?M:format_error({Tag, Text})).

info_figures(_Config) ->
    Before = ?M:info(),
    ?assertEqual([memory_bytes, metrics, overflowed, rejected, series, series_limit, threads, version],
                 lists:sort(maps:keys(Before))),
    ?assertEqual(4000000, maps:get(series_limit, Before)),
    N = erlmcp_ct_app:name("figures"),
    [ok = ?M:inc(N, #{i => I}) || I <- lists:seq(1, 100)],
    {error, _} = ?M:inc(N, #{i => 1}, -1),
    After = ?M:info(),
    Risen = fun(Key) -> maps:get(Key, After) - maps:get(Key, Before) end,
    ?assertEqual({1, 100, 1, 0}, {Risen(metrics), Risen(series), Risen(rejected), Risen(overflowed)}),
    ?assert(Risen(memory_bytes) > 0),
    ?assert(maps:get(threads, After) >= 1),
    ?assertEqual(erlmcp_instrumentation:version(), maps:get(version, After)),
    Scrape = scrape_all(),
    [?assertEqual(maps:get(Key, ?M:info()), erlmcp_ct_exposition:value(Scrape, Name, #{}))
     || {Key, Name} <- [{series, <<"erlmcp_metrics_series">>},
                        {series_limit, <<"erlmcp_metrics_series_limit">>},
                        {metrics, <<"erlmcp_metrics_families">>},
                        {overflowed, <<"erlmcp_metrics_overflowed_samples_total">>}]],
    100 = ?M:remove(N),
    ok.

start_link_links_to_what_runs(_Config) ->
    Running = whereis(?M),
    Caller = self(),
    Pid = spawn(fun() -> Caller ! {self(), ?M:start_link()}, receive stop -> ok end end),
    receive {Pid, Answer} -> ?assertEqual({ok, Running}, Answer) end,
    ?assert(lists:member(Running, element(2, process_info(Pid, links)))),
    Pid ! stop,
    %% Its caller ends normally: the process and the application go on.
    erlmcp_ct_load:until(fun() -> not is_process_alive(Pid) end),
    ?assertEqual(Running, whereis(?M)),
    ok = ?M:inc(erlmcp_ct_app:name("linked")).

%% Internals

scrape(Format) ->
    erlmcp_ct_exposition:parse(Format, ?M:scrape(Format, application)).

scrape_all() ->
    erlmcp_ct_exposition:parse(text, ?M:scrape(text, all)).

type(#{families := Families}, Name) ->
    maps:get(type, maps:get(Name, Families)).

%% A sample by the name that was recorded.
sample(Scrape, Name, Labels) ->
    case erlmcp_ct_exposition:value(Scrape, <<Name/binary, "_total">>, Labels) of
        undefined -> erlmcp_ct_exposition:value(Scrape, Name, Labels);
        Value -> Value
    end.

samples(#{samples := Samples}, Name) ->
    [Value || {{N, _}, Value} <- maps:to_list(Samples), N =:= Name].

close(Expected, Value) ->
    ?assert(abs(Value - Expected) =< 1.0e-12 * abs(Expected)).

max_float() ->
    <<Max/float>> = <<16#7FEFFFFFFFFFFFFF:64>>,
    Max.
