%% What is registered and how much of it: declare/3, limits, remove/1,2, handles,
%% and everything that is refused.
-module(erlmcp_metrics_registry_SUITE).

-include_lib("stdlib/include/assert.hrl").

-import(erlmcp_ct_refusal, [refused/3, risen/1]).

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1]).
-export([
    declare_before_and_after_use/1, declare_options/1, declare_refuses/1, names_that_clash/1,
    series_limit/1, series_limit_by_setting/1, the_overflow_series_given_by_hand/1,
    node_limit/1, node_limit_that_is_lowered/1, metrics_limit/1,
    remove_one_and_all/1, removed_handles_are_refused/1, remove_by_the_name_of_a_part/1, handles_are_shared/1, refusals/1,
    refusals_register_nothing/1, refusals_of_a_full_metric/1
]).

-define(M, erlmcp_metrics).
-define(MAX_I64, 16#7FFFFFFFFFFFFFFF).
-define(OVERFLOW, #{otel_metric_overflow => true}).

suite() ->
    [{timetrap, {minutes, 4}}].

all() ->
    [declare_before_and_after_use, declare_options, declare_refuses, names_that_clash,
     series_limit, series_limit_by_setting, the_overflow_series_given_by_hand,
     node_limit, node_limit_that_is_lowered, metrics_limit, remove_one_and_all, removed_handles_are_refused,
     remove_by_the_name_of_a_part, handles_are_shared, refusals, refusals_register_nothing,
     refusals_of_a_full_metric].

init_per_suite(Config) ->
    erlmcp_ct_app:quiet(),
    erlmcp_ct_app:start(),
    Config.

end_per_suite(_Config) ->
    erlmcp_ct_app:forget(),
    erlmcp_ct_app:stop(),
    erlmcp_ct_app:loud().

%% declare/3

declare_before_and_after_use(_Config) ->
    N = erlmcp_ct_app:name("declared_bytes"),
    ok = ?M:set(N, 1),
    ?assertNotMatch(#{unit := _}, family(openmetrics, N)),
    ok = ?M:declare(gauge, N, #{description => "First."}),
    ?assertMatch(#{help := <<"First.">>}, family(text, N)),
    %% Declaring again completes and corrects, and repeats without harm.
    ok = ?M:declare(gauge, N, #{}),
    ?assertMatch(#{help := <<"First.">>}, family(text, N)),
    B = <<"declared_bytes_", N/binary, "_bytes">>,
    ok = ?M:declare(gauge, B, #{unit => bytes, labels => [a, <<"b">>, "c"]}),
    ok = ?M:declare(gauge, B, #{description => <<"Größe \"x\"\\y\nz"/utf8>>}),
    ok = ?M:set(B, 5, #{other => label}),
    Help = <<"Größe \"x\"\\y\nz"/utf8>>,
    ?assertMatch(#{help := Help, type := gauge, unit := <<"bytes">>}, family(openmetrics, B)),
    ?assertMatch(#{help := Help, type := gauge}, family(text, B)),
    ?assertMatch(#{help := Help, type := gauge}, family(protobuf, B)),
    ok = ?M:declare(gauge, B, #{description => "Second."}),
    ?assertMatch(#{help := <<"Second.">>, unit := <<"bytes">>}, family(openmetrics, B)),
    ?assertEqual(5, ?M:value(B, #{other => label})),
    %% A metric that was declared and never used is not shown.
    Unused = erlmcp_ct_app:name("declared"),
    ok = ?M:declare(counter, Unused, #{description => "Not yet."}),
    ?assertEqual(undefined, family(openmetrics, Unused)),
    ?assertEqual(undefined, ?M:value(Unused, #{})).

declare_options(_Config) ->
    [begin
         N = erlmcp_ct_app:name("options"),
         ok = ?M:declare(Kind, N, Options),
         ok = ?M:declare(Kind, N, Options)
     end || Kind <- [counter, up_down_counter, gauge, histogram, exponential_histogram, info],
            Options <- [#{}, #{description => ""}, #{description => [<<"a">>, $b, ["c"]]},
                        #{unit => "seconds"}, #{unit => <<"s">>}, #{unit => s}, #{unit => ""},
                        #{labels => []}, #{limit => 2}, #{limit => (1 bsl 31) - 1},
                        #{buckets => [1, 2]},
                        #{description => "d", unit => s, labels => [x], limit => 10,
                          buckets => [1, 2, infinity]}]],
    %% A unit is announced where the name ends in it, and nowhere else.
    N = erlmcp_ct_app:name("options"),
    [begin
         ok = ?M:declare(gauge, Name, #{unit => Unit}),
         ok = ?M:set(Name, 1),
         try
             ?assertEqual({Name, Shown}, {Name, maps:get(unit, family(openmetrics, Name), none)})
         after
             ?M:remove(Name)
         end
     end || {Name, Unit, Shown} <- [{<<N/binary, "_seconds">>, seconds, <<"seconds">>},
                                    {<<N/binary, "_ms">>, "seconds", none},
                                    {<<N/binary, "_a_b">>, "a_b", <<"a_b">>},
                                    {<<N/binary, "_">>, "", none},
                                    {<<N/binary, "x">>, "x", none}]],
    Counter = <<N/binary, "_spent_seconds_total">>,
    ok = ?M:declare(counter, Counter, #{unit => seconds}),
    ok = ?M:inc(Counter, 0.5),
    ?assertMatch(#{unit := <<"seconds">>, type := counter},
                 family(openmetrics, <<N/binary, "_spent_seconds">>)),
    ok.

declare_refuses(_Config) ->
    N = erlmcp_ct_app:name("refused"),
    Metrics = maps:get(metrics, ?M:info()),
    Options = [{#{description => foo}, "description"},
               {#{description => <<255>>}, "description"},
               {#{description => [$a | $b]}, "description"},
               {#{description => 1}, "description"},
               {#{unit => 1}, "unit"},
               {#{unit => [<<255>>]}, "unit"},
               {#{labels => a}, "labels"},
               {#{labels => #{}}, "labels"},
               {#{limit => 1}, "limit"},
               {#{limit => 0}, "limit"},
               {#{limit => -1}, "limit"},
               {#{limit => 1 bsl 31}, "limit"},
               {#{limit => infinity}, "limit"},
               {#{limit => 10.0}, "limit"},
               {#{buckets => 1}, "buckets"},
               {#{help => "x"}, "help is no option"},
               {#{"description" => "x"}, "is no option"},
               {#{{a, b} => 1}, "{a,b} is no option"},
               {[], "not a map"},
               {foo, "not a map"}],
    [refused(bad_option, Text, ?M:declare(counter, N, Bad)) || {Bad, Text} <- Options],
    [refused(bad_option, "kind", ?M:declare(Kind, N, #{}))
     || Kind <- [summary, "counter", <<"counter">>, 1, {}, [], 'Counter']],
    [refused(bad_option, "kind", ?M:bind(Kind, N, #{}))
     || Kind <- [summary, "counter", <<"counter">>, 1]],
    [refused(bad_name, Text, ?M:declare(counter, Name, #{}))
     || {Name, Text} <- bad_names()],
    ?assertEqual(Metrics, maps:get(metrics, ?M:info())),
    %% One word of a long term is enough of it.
    [begin
         {error, {bad_option, Said}} = ?M:declare(counter, N, #{Long => 1}),
         ?assert(byte_size(Said) < 1000)
     end || Long <- [lists:seq(1, 100000), binary:copy(<<"x">>, 100000), 1 bsl 100000,
                     [#{a => -(1 bsl 100000)}]]],
    ok = ?M:declare(counter, N, #{}),
    refused(kind_conflict, "is a counter, not a gauge", ?M:declare(gauge, N, #{})),
    ok = ?M:declare(counter, N, #{buckets => [1]}),
    H = erlmcp_ct_app:name("refused"),
    ok = ?M:declare(histogram, H, #{buckets => [1, 2]}),
    ok = ?M:declare(histogram, H, #{buckets => [1.0, 2.0, infinity]}),
    ok = ?M:declare(histogram, H, #{}),
    refused(buckets_differ, "buckets cannot change", ?M:declare(histogram, H, #{buckets => [1]})),
    refused(buckets_differ, "buckets", ?M:declare(histogram, H, #{buckets => [], description => "x"})),
    ok = ?M:observe(H, 1),
    ?assertNotMatch(#{help := <<"x">>}, family(text, H)).

names_that_clash(_Config) ->
    Clash = fun(Tag, First, Second) ->
        N = erlmcp_ct_app:name("clash"),
        Of = fun({Kind, Suffix}) -> {Kind, <<N/binary, Suffix/binary>>} end,
        {FirstKind, FirstName} = Of(First),
        {SecondKind, SecondName} = Of(Second),
        ok = ?M:declare(FirstKind, FirstName, #{}),
        ok = record(FirstKind, FirstName),
        Value = ?M:value(FirstName, #{}),
        refused(Tag, binary_to_list(N), ?M:declare(SecondKind, SecondName, #{})),
        %% dec/2 takes gauges too.
        SecondKind =:= up_down_counter orelse
            refused(Tag, binary_to_list(N), record(SecondKind, SecondName)),
        refused(Tag, binary_to_list(N), ?M:bind(SecondKind, SecondName, #{})),
        ?assertEqual(Value, ?M:value(FirstName, #{}))
    end,
    Clash(kind_conflict, {counter, <<>>}, {gauge, <<>>}),
    Clash(kind_conflict, {gauge, <<>>}, {counter, <<>>}),
    Clash(kind_conflict, {gauge, <<>>}, {histogram, <<>>}),
    Clash(kind_conflict, {gauge, <<>>}, {up_down_counter, <<>>}),
    Clash(kind_conflict, {counter, <<"_total">>}, {gauge, <<"_total">>}),
    Clash(kind_conflict, {counter, <<"_total">>}, {gauge, <<>>}),
    Clash(kind_conflict, {histogram, <<>>}, {info, <<>>}),
    Clash(name_taken, {histogram, <<>>}, {gauge, <<"_count">>}),
    Clash(name_taken, {histogram, <<>>}, {gauge, <<"_sum">>}),
    Clash(name_taken, {histogram, <<>>}, {gauge, <<"_bucket">>}),
    Clash(name_taken, {gauge, <<"_count">>}, {histogram, <<>>}),
    Clash(name_taken, {histogram, <<"_sum">>}, {histogram, <<>>}),
    Clash(name_taken, {histogram, <<>>}, {counter, <<"_count_total">>}),
    %% In OpenMetrics a counter's family and a gauge share more than a sample.
    Clash(kind_conflict, {gauge, <<"_total">>}, {counter, <<"_total">>}),
    Clash(name_taken, {gauge, <<"_info">>}, {info, <<>>}),
    Clash(name_taken, {counter, <<"_total">>}, {counter, <<"_total_total">>}),
    %% All that is in the registry now can be exposed side by side.
    [scrape(Format) || Format <- [text, openmetrics, protobuf]],
    ok.

record(counter, Name) -> ?M:record_counter(Name, 1, #{});
record(up_down_counter, Name) -> ?M:dec(Name, 1);
record(gauge, Name) -> ?M:set(Name, 1);
record(histogram, Name) -> ?M:observe(Name, 1);
record(info, Name) -> ?M:set_info(Name, #{}).

%% Limits

series_limit(_Config) ->
    N = erlmcp_ct_app:name("limited"),
    ok = ?M:declare(counter, N, #{limit => 5}),
    #{overflowed := Before, series := Series} = ?M:info(),
    [ok = ?M:inc(N, #{i => I}) || _ <- [1, 2, 3], I <- lists:seq(1, 10)],
    %% Four of their own, six in the fifth.
    [?assertEqual(3, ?M:value(N, #{i => I})) || I <- lists:seq(1, 4)],
    [?assertEqual(undefined, ?M:value(N, #{i => I})) || I <- lists:seq(5, 10)],
    ?assertEqual(18, ?M:value(N, ?OVERFLOW)),
    Name = <<N/binary, "_total">>,
    Scrape = scrape(text),
    ?assertEqual(30, lists:sum(samples(Scrape, Name))),
    ?assertEqual(5, length(samples(Scrape, Name))),
    ?assertEqual(18, erlmcp_ct_exposition:value(Scrape, Name, #{<<"otel_metric_overflow">> => <<"true">>})),
    Now = ?M:info(),
    ?assertEqual({Before + 18, Series + 4}, {maps:get(overflowed, Now), maps:get(series, Now)}),
    ?assertEqual(Before + 18,
                 erlmcp_ct_exposition:value(scrape_all(), <<"erlmcp_metrics_overflowed_samples_total">>, #{})),
    %% A handle beyond the limit is that of the overflow series.
    Handle = ?M:bind(counter, N, #{i => 11}),
    ?assertEqual(Handle, ?M:bind(counter, N, #{i => 12})),
    ok = ?M:inc(Handle, 2),
    ?assertEqual(20, ?M:value(N, ?OVERFLOW)),
    %% Room that is made is used.
    ?assertEqual(true, ?M:remove(N, #{i => 1})),
    ok = ?M:inc(N, #{i => 13}),
    ?assertEqual(1, ?M:value(N, #{i => 13})),
    ok = ?M:inc(N, #{i => 14}),
    ?assertEqual(undefined, ?M:value(N, #{i => 14})),
    %% So is a higher limit; a lower one leaves what is there.
    ok = ?M:declare(counter, N, #{limit => 6}),
    ok = ?M:inc(N, #{i => 14}),
    ?assertEqual(1, ?M:value(N, #{i => 14})),
    ok = ?M:declare(counter, N, #{limit => 2}),
    ok = ?M:inc(N, #{i => 14}),
    ok = ?M:inc(N, #{i => 15}),
    ?assertEqual({2, undefined}, {?M:value(N, #{i => 14}), ?M:value(N, #{i => 15})}),
    %% The other kinds.
    [begin
         Other = erlmcp_ct_app:name("limited"),
         ok = ?M:declare(Kind, Other, #{limit => 2}),
         [ok = Record(Other, #{i => I}) || I <- lists:seq(1, 3)],
         ?assertEqual(Expected, ?M:value(Other, ?OVERFLOW))
     end || {Kind, Record, Expected} <- [
                {gauge, fun(M, L) -> ?M:set(M, 7, L) end, 7},
                {up_down_counter, fun(M, L) -> ?M:dec(M, 2, L) end, -4},
                {info, fun(M, L) -> ?M:set_info(M, L) end, 1}]],
    H = erlmcp_ct_app:name("limited"),
    ok = ?M:declare(histogram, H, #{limit => 2, buckets => [1]}),
    [ok = ?M:observe(H, I, #{i => I}) || I <- lists:seq(1, 3)],
    ?assertMatch(#{count := 2, sum := 5.0, buckets := [{1.0, 0}, {infinity, 2}]},
                 ?M:value(H, ?OVERFLOW)).

series_limit_by_setting(_Config) ->
    erlmcp_ct_app:start(#{series_limit => 3}),
    try
        N = erlmcp_ct_app:name("setting"),
        [ok = ?M:inc(N, #{i => I}) || I <- lists:seq(1, 5)],
        ?assertEqual(3, ?M:value(N, ?OVERFLOW))
    after
        erlmcp_ct_app:start()
    end,
    %% The default.
    D = erlmcp_ct_app:name("setting"),
    [ok = ?M:inc(D, #{i => I}) || I <- lists:seq(1, 2005)],
    ?assertEqual(6, ?M:value(D, ?OVERFLOW)),
    ?assertEqual(2000, ?M:remove(D)).

the_overflow_series_given_by_hand(_Config) ->
    N = erlmcp_ct_app:name("by_hand"),
    Series = maps:get(series, ?M:info()),
    ok = ?M:declare(counter, N, #{limit => 3}),
    ok = ?M:inc(N, ?OVERFLOW),
    [ok = ?M:inc(N, #{i => I}) || I <- lists:seq(1, 5)],
    ?assertEqual(6, lists:sum(samples(scrape(text), <<N/binary, "_total">>))),
    _ = ?M:remove(N),
    ?assertEqual(Series, maps:get(series, ?M:info())),
    %% Nothing of it stays: two series have room again.
    [ok = ?M:inc(N, #{i => I}) || I <- lists:seq(1, 2)],
    ?assertEqual([1, 1], samples(scrape(text), <<N/binary, "_total">>)).

node_limit(_Config) ->
    Before = maps:get(series, ?M:info()),
    A = erlmcp_ct_app:name("node"),
    B = erlmcp_ct_app:name("node"),
    %% The listener's histogram may be among those before, or come with the start.
    erlmcp_ct_app:start(#{node_series_limit => Before + 4}),
    try
        #{series := Now, series_limit := Limit} = ?M:info(),
        ?assertEqual(Before + 4, Limit),
        Room = Limit - Now,
        [ok = ?M:inc(A, #{i => I}) || I <- lists:seq(1, Room + 3)],
        ok = ?M:inc(B),
        ok = ?M:inc(B, 10),
        ?assertEqual(3, ?M:value(A, ?OVERFLOW)),
        ?assertEqual({undefined, 11}, {?M:value(B, #{}), ?M:value(B, ?OVERFLOW)}),
        ?assertEqual(Limit, maps:get(series, ?M:info())),
        ?assertEqual(Room + 3, lists:sum(samples(scrape(text), <<A/binary, "_total">>))),
        %% Series that exist go on.
        ok = ?M:inc(A, #{i => 1}),
        ?assertEqual(2, ?M:value(A, #{i => 1})),
        true = ?M:remove(A, #{i => 1}),
        ok = ?M:inc(B),
        ?assertEqual(1, ?M:value(B, #{}))
    after
        erlmcp_ct_app:start()
    end,
    ok = ?M:inc(B, #{i => 1}),
    ?assertEqual(1, ?M:value(B, #{i => 1})).

%% What is there stays; room for more is there when the lower limit is reached.
node_limit_that_is_lowered(_Config) ->
    N = erlmcp_ct_app:name("lowered"),
    New = erlmcp_ct_app:name("lowered"),
    [ok = ?M:inc(N, #{i => I}) || I <- lists:seq(1, 20)],
    erlmcp_ct_app:start(#{node_series_limit => maps:get(series, ?M:info()) - 10}),
    try
        [begin
             true = ?M:remove(N, #{i => I}),
             ok = ?M:inc(New, #{i => I}),
             ?assertEqual({I, undefined}, {I, ?M:value(New, #{i => I})})
         end || I <- lists:seq(1, 10)],
        true = ?M:remove(N, #{i => 11}),
        ok = ?M:inc(New, #{i => 11}),
        ?assertEqual(1, ?M:value(New, #{i => 11})),
        ?assertEqual(10, ?M:value(New, ?OVERFLOW))
    after
        erlmcp_ct_app:start()
    end.

metrics_limit(_Config) ->
    erlmcp_ct_app:start(#{metrics_limit => maps:get(metrics, ?M:info()) + 1}),
    try
        Known = erlmcp_ct_app:name("metrics"),
        New = erlmcp_ct_app:name("metrics"),
        ok = ?M:inc(Known),
        Before = erlmcp_ct_refusal:counts(),
        refused(metrics_limit, "limit", ?M:inc(New)),
        refused(metrics_limit, "limit", ?M:set(New, 1)),
        refused(metrics_limit, "limit", ?M:bind(histogram, New, #{})),
        refused(metrics_limit, "limit", ?M:declare(counter, New, #{})),
        ?assertEqual(#{metrics_limit => 3}, risen(Before)),
        ok = ?M:inc(Known, #{a => b}),
        ?assertEqual(undefined, ?M:value(New, #{}))
    after
        erlmcp_ct_app:start()
    end.

%% remove/1,2 and handles

remove_one_and_all(_Config) ->
    #{series := Series} = ?M:info(),
    [begin
         N = erlmcp_ct_app:name("removed"),
         Sets = [#{}, #{a => 1}, #{a => 2}],
         [ok = Record(N, L) || L <- Sets],
         Fresh = ?M:value(N, #{}),
         [ok = Record(N, L) || L <- Sets],
         ?assertEqual(false, ?M:remove(N, #{a => 3})),
         ?assertEqual(true, ?M:remove(N, #{"a" => <<"1">>})),
         ?assertEqual(false, ?M:remove(N, #{a => 1})),
         ?assertEqual(undefined, ?M:value(N, #{a => 1})),
         ?assertNotEqual(undefined, ?M:value(N, #{a => 2})),
         %% A series of the same labels begins anew, with what it had before
         %% nowhere in it.
         ok = Record(N, #{a => 1}),
         ?assertEqual(Fresh, ?M:value(N, #{a => 1})),
         ?assertEqual(3, ?M:remove(N)),
         ?assertEqual(0, ?M:remove(N)),
         ?assertEqual([undefined, undefined, undefined], [?M:value(N, L) || L <- Sets]),
         ok = Record(N, #{}),
         ?assertEqual(Fresh, ?M:value(N, #{})),
         ?assertEqual(1, ?M:remove(N))
     end || Record <- [fun(N, L) -> ?M:inc(N, 3, L) end,
                       fun(N, L) -> ?M:inc(N, 0.5, L) end,
                       fun(N, L) -> ?M:dec(N, 3, L) end,
                       fun(N, L) -> ?M:observe(N, 0.5, L) end,
                       fun(N, L) -> ?M:set(N, 0.5, L) end,
                       fun(N, L) -> ?M:set_info(N, L) end]],
    ?assertEqual(Series, maps:get(series, ?M:info())),
    ?assertEqual(false, ?M:remove(erlmcp_ct_app:name("never"), #{})),
    ?assertEqual(0, ?M:remove(erlmcp_ct_app:name("never"))),
    [begin
         refused(bad_name, Text, ?M:remove(Bad)),
         refused(bad_name, Text, ?M:remove(Bad, #{})),
         refused(bad_name, Text, ?M:value(Bad, #{}))
     end || {Bad, Text} <- bad_names()],
    N = erlmcp_ct_app:name("removed"),
    ok = ?M:inc(N),
    refused(bad_labels, "map", ?M:remove(N, [])),
    refused(bad_labels, "map", ?M:value(N, [])).

removed_handles_are_refused(_Config) ->
    [begin
         N = erlmcp_ct_app:name("stale"),
         Old = ?M:bind(Kind, N, #{a => 1}),
         ok = Record(Old),
         ok = Record(Old),
         true = ?M:remove(N, #{a => 1}),
         Before = erlmcp_ct_refusal:count(unknown_series),
         refused(unknown_series, "removed", Record(Old)),
         ?assertEqual(Before + 1, erlmcp_ct_refusal:count(unknown_series)),
         New = ?M:bind(Kind, N, #{a => 1}),
         ?assertNotEqual(Old, New),
         refused(unknown_series, "removed", Record(Old)),
         ok = Record(New),
         ?assertEqual(Value, ?M:value(N, #{a => 1}))
     end || {Kind, Record, Value} <- [
                {counter, fun(S) -> ?M:inc(S) end, 1},
                {counter, fun(S) -> ?M:inc(S, 0.5) end, 0.5},
                {up_down_counter, fun(S) -> ?M:dec(S, 2) end, -2},
                {gauge, fun(S) -> ?M:set(S, 5) end, 5},
                {gauge, fun(S) -> ?M:inc(S, 5) end, 5}]],
    %% By name the way to the new series is found, also where it was remembered.
    N = erlmcp_ct_app:name("stale"),
    [begin
         [ok = ?M:inc(N, #{a => 1}) || _ <- [1, 2, 3]],
         ?assertEqual(3, ?M:value(N, #{a => 1})),
         true = ?M:remove(N, #{a => 1})
     end || _ <- lists:seq(1, 50)],
    H = ?M:bind(histogram, <<N/binary, "_h">>, #{}),
    ok = ?M:observe(H, 1),
    1 = ?M:remove(<<N/binary, "_h">>),
    refused(unknown_series, "removed", ?M:observe(H, 1)),
    ?assertEqual(x, ?M:time(H, fun() -> x end)).

remove_by_the_name_of_a_part(_Config) ->
    N = erlmcp_ct_app:name("part"),
    ok = ?M:observe(N, 1),
    Parts = [<<N/binary, Suffix/binary>> || Suffix <- [<<"_count">>, <<"_sum">>, <<"_bucket">>]],
    [?assertEqual({Part, false}, {Part, ?M:remove(Part, #{})}) || Part <- Parts],
    [?assertEqual({Part, 0}, {Part, ?M:remove(Part)}) || Part <- Parts],
    ?assertMatch(#{count := 1}, ?M:value(N, #{})).

handles_are_shared(_Config) ->
    N = erlmcp_ct_app:name("shared"),
    Series = erlmcp_ct_load:pinned(1, fun() -> ?M:bind(counter, N, #{a => 1}) end),
    Results = erlmcp_ct_load:together(20, fun(_) -> ok = ?M:inc(Series, 5), ?M:inc(Series, 0.5) end),
    ?assertEqual([ok], lists:usort(Results)),
    ?assertEqual(110.0, ?M:value(N, #{a => 1})),
    ?assertEqual(Series, ?M:bind(counter, N, #{"a" => "1"})).

%% Refusals

bad_names() ->
    [{<<>>, "empty"}, {"", "empty"}, {'', "empty"}, {<<"…"/utf8>>, "letter"}, {"__", "letter"},
     {binary:copy(<<"x">>, 256), "256"}, {lists:duplicate(5000, $x), "4096"},
     {<<255, 254>>, "UTF-8"}, {<<1:3>>, "not an atom, a binary or a string"},
     {[$a | $b], "improper"}, {[a, b], "not a string"}, {[16#D800], "not a string"},
     {[-1], "not a string"}, {[$a, <<"b">>], "not a string"},
     {{a, b}, "not an atom"}, {#{}, "not an atom"}, {1.5, "not an atom"}, {self(), "not an atom"},
     {make_ref(), "not an atom"}, {fun() -> ok end, "not an atom"}].

bad_labels() ->
    [{[], "not a map"}, {[{a, 1}], "not a map"}, {foo, "not a map"}, {<<"a">>, "not a map"},
     {#{a => {}}, "label a"}, {#{a => #{}}, "label a"}, {#{a => self()}, "label a"},
     {#{a => <<255>>}, "UTF-8"}, {#{a => [x]}, "label a"}, {#{a => [$x | $y]}, "improper"},
     {#{a => 1 bsl 64}, "64 bits"}, {#{1 => x}, "name"}, {#{{} => x}, "name"},
     {#{<<255>> => x}, "UTF-8"}, {#{"" => x}, "0 bytes"}, {#{'__name__' => x}, "reserved"},
     {#{a => 1, "a" => 2}, "twice"}, {#{'a.b' => 1, a_b => 2}, "twice"},
     {maps:from_list([{integer_to_binary(I), I} || I <- lists:seq(1, 10000)]), "10000"}].

refusals(_Config) ->
    C = erlmcp_ct_app:name("control"),
    G = erlmcp_ct_app:name("control"),
    H = erlmcp_ct_app:name("control"),
    ok = ?M:inc(C, 41),
    ok = ?M:set(G, 42),
    ok = ?M:observe(H, 43),
    Control = fun() -> [?M:value(N, #{}) || N <- [C, G, H]] end,
    Values = Control(),
    Series = ?M:bind(counter, C, #{}),
    Info = ?M:info(),
    Calls =
        [{bad_name, Text, fun() -> ?M:F(Name, V, #{}) end}
         || {Name, Text} <- bad_names(), {F, V} <- recordings()]
        ++ [{bad_name, Text, fun() -> ?M:F(Name) end} || {Name, Text} <- bad_names(), F <- [inc, dec]]
        ++ [{bad_name, Text, fun() -> ?M:set_info(Name, #{}) end} || {Name, Text} <- bad_names()]
        ++ [{bad_name, Text, fun() -> ?M:bind(gauge, Name, #{}) end} || {Name, Text} <- bad_names()]
        ++ [{bad_labels, Text, fun() -> ?M:F(C, V, Labels) end}
            || {Labels, Text} <- bad_labels(),
               {F, V} <- [{record_counter, 1}, {inc, 1}], not is_number(Labels)]
        ++ [{bad_labels, Text, fun() -> ?M:record_gauge(G, 1, Labels) end}
            || {Labels, Text} <- bad_labels()]
        ++ [{bad_labels, Text, fun() -> ?M:observe(H, 1, Labels) end} || {Labels, Text} <- bad_labels()]
        ++ [{bad_labels, Text, fun() -> ?M:bind(counter, C, Labels) end} || {Labels, Text} <- bad_labels()]
        ++ [{bad_labels, "le", fun() -> ?M:observe(H, 1, #{le => 1}) end},
            {bad_labels, "le", fun() -> ?M:bind(histogram, H, #{"le" => 1}) end}]
        ++ [{bad_value, "not a number", fun() -> ?M:F(N, V, #{}) end}
            || {F, N} <- [{record_counter, C}, {record_gauge, G}, {record_histogram, H}, {inc, C},
                          {dec, G}, {set, G}, {observe, H}],
               V <- [foo, "1", <<"1">>, [], {}, self(), true, undefined, <<1:3>>]]
        ++ [{bad_value, "64 bits", fun() -> ?M:F(N, V, #{}) end}
            || {F, N} <- [{record_counter, C}, {record_gauge, G}, {record_histogram, H}],
               V <- [1 bsl 63, 1 bsl 64, -(1 bsl 64), 1 bsl 10000]]
        ++ [{bad_value, "finite", fun() -> ?M:F(N, V, #{}) end}
            || {F, N} <- [{record_counter, C}, {inc, C}, {record_histogram, H}],
               V <- [nan, infinity, '-infinity']]
        ++ [{negative_increment, "never goes down", fun() -> ?M:F(C, V, #{}) end}
            || F <- [record_counter, inc], V <- [-1, -0.5, -1.0e-300, -(1 bsl 63)]]
        ++ [{negative_increment, "never goes down", fun() -> ?M:inc(Series, V) end} || V <- [-1, -0.5]]
        ++ [{kind_conflict, "is a", Call}
            || Call <- [fun() -> ?M:dec(C) end, fun() -> ?M:dec(C, -1) end, fun() -> ?M:set(C, 1) end,
                        fun() -> ?M:observe(C, 1) end, fun() -> ?M:record_counter(G, 1, #{}) end,
                        fun() -> ?M:observe(G, 1) end, fun() -> ?M:inc(H) end,
                        fun() -> ?M:dec(H) end, fun() -> ?M:set(H, 1) end,
                        fun() -> ?M:bind(gauge, C, #{}) end, fun() -> ?M:set_info(C, #{}) end]]
        ++ [{kind_conflict, Text, Call}
            || {Text, Call} <- [{"counter", fun() -> ?M:set(Series, 1) end},
                                {"counter", fun() -> ?M:observe(Series, 1) end},
                                {"counter", fun() -> ?M:observe(Series, 0.5) end}]]
        ++ [{bad_value, "not a number", fun() -> ?M:inc(Series, V) end} || V <- [foo, [], #{}]]
        ++ [{unknown_series, "no such series", fun() -> ?M:F(S, 1) end}
            || S <- [0, 1, -1, 12345678901234, (1 bsl 59) - 1, 1 bsl 60, 1 bsl 62, ?MAX_I64,
                     1 bsl 64, 1 bsl 5000, -(1 bsl 5000)],
               F <- [inc, dec, set, observe]],
    [begin
         Before = erlmcp_ct_refusal:counts(),
         refused(Tag, Text, Call()),
         ?assertEqual({Text, #{Tag => 1}}, {Text, risen(Before)})
     end || {Tag, Text, Call} <- Calls],
    ?assertEqual(Values, Control()),
    Kept = [metrics, series, overflowed],
    ?assertEqual(maps:with(Kept, Info), maps:with(Kept, ?M:info())),
    ?assertEqual(maps:get(rejected, Info) + length(Calls), maps:get(rejected, ?M:info())),
    %% dec/1 with a handle of a counter.
    Before = erlmcp_ct_refusal:counts(),
    ?assertMatch({error, {_, _}}, ?M:dec(Series)),
    ?assertEqual(1, lists:sum(maps:values(risen(Before)))),
    ?assertEqual(Values, Control()),
    [scrape(Format) || Format <- [text, openmetrics, protobuf]],
    ok.

recordings() ->
    [{record_counter, 1}, {record_gauge, 1}, {record_histogram, 1}, {inc, 1}, {dec, 1}, {set, 1},
     {observe, 1}].

%% "A refused recording changes nothing": not even that a name is known.
refusals_register_nothing(_Config) ->
    Calls = [fun(N) -> ?M:record_counter(N, -1, #{}) end,
             fun(N) -> ?M:inc(N, -0.5) end,
             fun(N) -> ?M:inc(N, nan) end,
             fun(N) -> ?M:record_counter(N, infinity, #{a => 1}) end,
             fun(N) -> ?M:observe(N, nan) end,
             fun(N) -> ?M:dec(N, infinity) end,
             fun(N) -> ?M:observe(N, 1, #{le => 1}) end,
             fun(N) -> ?M:bind(histogram, N, #{le => 1}) end,
             fun(N) -> ?M:record_counter(N, foo, #{}) end,
             fun(N) -> ?M:record_counter(N, 1, #{a => {}}) end,
             fun(N) -> ?M:set(N, 1 bsl 70) end],
    Kept = [metrics, series],
    Left = [begin
                N = erlmcp_ct_app:name("nothing"),
                Before = maps:with(Kept, ?M:info()),
                {error, _} = Call(N),
                {Call, ?M:value(N, #{}), ?M:value(N, #{a => 1}),
                 Before =:= maps:with(Kept, ?M:info()), ?M:declare(gauge, N, #{})}
            end || Call <- Calls],
    ?assertEqual([], [Bad || {_, V, W, Same, Declared} = Bad <- Left,
                             {V, W, Same, Declared} =/= {undefined, undefined, true, ok}]).

%% A full metric refuses what any other does.
refusals_of_a_full_metric(_Config) ->
    H = erlmcp_ct_app:name("full"),
    ok = ?M:declare(histogram, H, #{limit => 2}),
    [ok = ?M:observe(H, 1, #{i => I}) || I <- lists:seq(1, 3)],
    Overflowed = maps:get(overflowed, ?M:info()),
    refused(bad_labels, "le", ?M:observe(H, 1, #{le => 1})),
    refused(bad_value, "finite", ?M:observe(H, nan, #{i => 4})),
    refused(bad_labels, "twice", ?M:observe(H, 1, #{a => 1, "a" => 1})),
    C = erlmcp_ct_app:name("full"),
    ok = ?M:declare(counter, C, #{limit => 2}),
    [ok = ?M:inc(C, #{i => I}) || I <- lists:seq(1, 3)],
    refused(negative_increment, "down", ?M:inc(C, #{i => 4}, -1)),
    refused(kind_conflict, "is a counter", ?M:set(C, 1, #{i => 4})),
    ?assertMatch(#{count := 2}, ?M:value(H, ?OVERFLOW)),
    ?assertEqual(2, ?M:value(C, ?OVERFLOW)),
    %% What was refused did not overflow either: one more is that of C itself.
    ?assertEqual(Overflowed + 2, maps:get(overflowed, ?M:info())).

%% Internals

scrape(Format) ->
    erlmcp_ct_exposition:parse(Format, ?M:scrape(Format, application)).

scrape_all() ->
    erlmcp_ct_exposition:parse(text, ?M:scrape(text, all)).

family(Format, Name) ->
    maps:get(Name, maps:get(families, scrape(Format)), undefined).

samples(#{samples := Samples}, Name) ->
    [Value || {{N, _}, Value} <- maps:to_list(Samples), N =:= Name].
