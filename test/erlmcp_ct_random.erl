%% Random metrics: what they may be, their recording, and what their values have
%% to be.
-module(erlmcp_ct_random).

%% Generators
-export([metrics/0, clashing/0]).
%% Recording, on the node
-export([record/2, record_clashing/2]).

%% Debian's package of PropEr comes without its header.
-import(proper_types, [char/0, float/0, float/2, frequency/1, integer/0, integer/2, list/1,
                       non_empty/1, non_neg_integer/0, oneof/1, resize/2, sized/1]).
-define(LET(Pattern, Type, Made), proper_types:bind(Type, fun(Pattern) -> Made end, false)).

-define(RECORDERS, 3).
-define(IS_HISTOGRAM(Kind), Kind =:= histogram orelse Kind =:= exponential_histogram).

%% Generators

metrics() ->
    non_empty(list(metric())).

%% Names that mean something to a kind or to a format, on one common beginning.
clashing() ->
    non_empty(list({kind(), oneof(["", "_total", "_info", "_bucket", "_count", "_sum", "_created",
                                   "_total_total", "_count_total", "_bucket_info"])})).

metric() ->
    ?LET(Kind, kind(),
         ?LET({Name, Series, Options},
              {{start("cé9_:"), name_end()}, non_empty(short_list(4, series(Kind))), options(Kind)},
              (maps:from_list(lists:append(Options)))#{kind => Kind, name => Name, series => Series})).

kind() ->
    oneof([counter, up_down_counter, gauge, histogram, exponential_histogram, info]).

options(Kind) ->
    [sometimes(?LET(Text, text(), [{description, unicode:characters_to_binary(Text)}])),
     sometimes([{unit, oneof([seconds, bytes, ms])}]),
     case Kind of
         _ when ?IS_HISTOGRAM(Kind) -> sometimes(?LET(Bounds, short_list(12, non_negative()),
                                 [{buckets, lists:usort([float(B) || B <- Bounds])}]));
         _ -> []
     end].

sometimes(Option) ->
    oneof([[], Option]).

series(Kind) ->
    ?LET({Labels, Ops},
         {short_list(4, {{start("lé9"), name_end()}, label_value()}), non_empty(short_list(8, op(Kind)))},
         #{labels => Labels, ops => Ops}).

op(Kind) ->
    {oneof([named, short, by_handle]), value(Kind)}.

value(counter) -> non_negative();
value(up_down_counter) -> oneof([integer(), integer(-(1 bsl 50), 1 bsl 50), float(), real()]);
value(gauge) -> oneof([integer(), integer(-(1 bsl 63), (1 bsl 63) - 1), real(), infinity, '-infinity', nan]);
value(histogram) -> non_negative();
value(exponential_histogram) -> non_negative();
value(info) -> 1.

non_negative() ->
    oneof([non_neg_integer(), integer(0, 1 bsl 60), ?LET(X, real(), abs(X)),
           oneof(default_buckets())]).

%% A float of any magnitude that a few of can be added.
real() ->
    oneof([float(), 0.0, -0.0, 5.0e-324, 1.0e23,
           ?LET({M, E}, {float(-10.0, 10.0), integer(-300, 300)}, M * math:pow(10, E))]).

%% What a name begins with, where a number follows.
start(Characters) ->
    ?LET(Character, oneof(Characters), [Character]).

name_end() ->
    fragments(4, ["_total", "_info", "_bucket", "_count", "_sum", "_created", "_seconds", "_bytes",
                  ".", "-", "ü", "😀", " ", "\n", "\"", "X", "7"]).

label_value() ->
    frequency([{8, text()}, {1, integer()}, {1, integer(-(1 bsl 63), (1 bsl 63) - 1)},
               {1, oneof([0.5, -2.25, 1.0, 0.001])}, {1, lists:duplicate(1024, $x)}]).

%% What a careless writer or reader stumbles over.
text() ->
    fragments(12, ["\"", "\\", "\n", "\\n", "\\\"", "\r\n", "\r", "\t", " ", "{", "}", ",", "=", "=\"",
                   "#", " # ", "# EOF", "\n# EOF\n", "+Inf", "NaN", "1", "a", "true", "é", "ß", "日本",
                   "😀", "👩‍👧", [0], [16#7F], [16#85], [16#2028], [16#FEFF], [16#FFFF], [16#10FFFF],
                   ?LET(C, char(), [valid(C)])]).

%% Surrogates are no characters.
valid(C) when C >= 16#D800, C =< 16#DFFF -> $.;
valid(C) -> C.

fragments(Most, Fragments) ->
    ?LET(Parts, short_list(Most, oneof(Fragments)), lists:append(Parts)).

short_list(Most, Type) ->
    sized(fun(Size) -> resize(min(Size, Most), list(resize(Size, Type))) end).

%% Recording

%% What was recorded, with the values that the library tells; and complaints
%% about refused recordings and values that are not the sum of what was recorded.
record(Case, Metrics) ->
    Numbered = lists:zip(lists:seq(1, length(Metrics)), Metrics),
    {Recorded, Complaints} = lists:unzip([record_metric(Case, N, M) || {N, M} <- Numbered]),
    {lists:append(Recorded), lists:append(Complaints)}.

record_metric(Case, Number, #{kind := Kind, name := {Start, End}, series := Series} = Metric) ->
    Name = lists:flatten([Start, io_lib:format("n~bm~b", [Case, Number]), End]),
    Options = maps:with([description, unit, buckets], Metric),
    %% A description may come after the first recording.
    Late = lists:member(Kind, [counter, gauge]) andalso Number rem 2 =:= 0,
    Declare = fun() -> erlmcp_metrics:declare(Kind, Name, Options) end,
    Before = [Declare() || not Late],
    Each = [record_series(Kind, Name, Options, N, S)
            || {N, S} <- lists:zip(lists:seq(1, length(Series)), Series)],
    After = [Declare() || Late],
    {Recorded, Complaints} = lists:unzip(Each),
    Refused = [io_lib:format("~ts: declaring gives ~tp", [Name, Answer])
               || Answer <- Before ++ After, Answer =/= ok],
    {Recorded, Refused ++ lists:append(Complaints)}.

record_series(Kind, Name, Options, Number, #{labels := Given, ops := Ops}) ->
    %% The first has no label but the random ones, the others are told apart.
    Labels = [{"series", Number} || Number > 1] ++
        [{Start ++ integer_to_list(N) ++ "-" ++ End, Value}
         || {N, {{Start, End}, Value}} <- lists:zip(lists:seq(1, length(Given)), Given)],
    Answers = lists:append(in_parts(Kind, lists:zip(lists:seq(1, length(Ops)), Ops),
                                    fun({N, Op}) -> perform(Kind, Name, Labels, N, Op) end)),
    Texts = [{Label, label_text(Of)} || {Label, Of} <- Labels],
    #{value := Value} = Recorded = erlmcp_ct_oracle:recorded(Kind, Name, Texts),
    Values = [V || {_, V} <- Ops],
    Complaints =
        [io_lib:format("~ts ~tp: recording gives ~tp", [Name, Labels, Answer])
         || Answer <- Answers, Answer =/= ok] ++
        [io_lib:format("~ts ~tp: recorded ~tp, the value is ~tp", [Name, Labels, Values, Value])
         || not is_total(Kind, Value, Values, Options)],
    Described = maps:from_list([{help, Text} || {description, Text} <- maps:to_list(Options)] ++
                               [{unit, atom_to_binary(Unit)} || {unit, Unit} <- maps:to_list(Options)]),
    Observed = maps:from_list([{observations, [float(V) || V <- Values]} || Kind =:= exponential_histogram]),
    {maps:merge(Recorded, maps:merge(Described, Observed)), Complaints}.

%% What was accepted, and nothing to complain about: a refusal is an answer. A
%% counter may be given with its suffix and without, as may an info.
record_clashing(Case, Metrics) ->
    Prefix = io_lib:format("n~b", [Case]),
    Accepted = [{Kind, base(Kind, Name), Name}
                || {Kind, End} <- Metrics,
                   Name <- [unicode:characters_to_binary([Prefix, End])],
                   erlmcp_metrics:declare(Kind, Name, #{}) =:= ok,
                   not is_tuple(erlmcp_metrics:bind(Kind, Name, #{}))],
    {[erlmcp_ct_oracle:recorded(Kind, Name, []) || {Kind, _Base, Name} <- lists:ukeysort(2, Accepted)], []}.

base(counter, Name) -> re:replace(Name, "_total$", "", [{return, binary}]);
base(info, Name) -> re:replace(Name, "_info$", "", [{return, binary}]);
base(_Kind, Name) -> Name.

%% From several processes, which may run on several schedulers; a gauge is set
%% by one, so that the last value is known.
in_parts(gauge, Ops, Perform) ->
    [[Perform(Op) || Op <- Ops]];
in_parts(_Kind, Ops, Perform) ->
    erlmcp_ct_load:together(?RECORDERS, fun(Part) ->
        [Perform(Op) || {N, _} = Op <- Ops, N rem ?RECORDERS =:= Part - 1]
    end).

%% The name and the labels are spelled in another way each time.
perform(Kind, Name, Labels, Number, {How, Value}) ->
    N = spelled(Name, Number),
    Ls = spelled_labels(Labels, Number),
    case {Kind, How} of
        {info, _} -> erlmcp_metrics:set_info(N, Ls);
        {_, by_handle} -> by_handle(Kind, erlmcp_metrics:bind(Kind, N, Ls), Value);
        {counter, named} -> erlmcp_metrics:record_counter(N, Value, Ls);
        {counter, short} -> erlmcp_metrics:inc(N, Ls, Value);
        {up_down_counter, named} -> erlmcp_metrics:inc(N, Value, Ls);
        {up_down_counter, short} -> erlmcp_metrics:dec(N, -Value, Ls);
        {gauge, named} -> erlmcp_metrics:record_gauge(N, Value, Ls);
        {gauge, short} -> erlmcp_metrics:set(N, Ls, Value);
        {_Histogram, named} -> erlmcp_metrics:record_histogram(N, Value, Ls);
        {_Histogram, short} -> erlmcp_metrics:observe(N, Ls, Value)
    end.

by_handle(_Kind, {error, _} = Error, _Value) -> Error;
by_handle(gauge, Series, Value) -> erlmcp_metrics:set(Series, Value);
by_handle(Kind, Series, Value) when ?IS_HISTOGRAM(Kind) -> erlmcp_metrics:observe(Series, Value);
by_handle(_Sum, Series, Value) -> erlmcp_metrics:inc(Series, Value).

spelled_labels(Labels, Number) ->
    maps:from_list([{spelled(Name, Number), spelled(Value, Number + 1)} || {Name, Value} <- Labels]).

spelled(Value, _Number) when is_number(Value) -> Value;
spelled(Text, Number) when Number rem 3 =:= 0 -> unicode:characters_to_binary(Text);
spelled(Text, Number) when Number rem 3 =:= 1, length(Text) =< 255 -> list_to_atom(Text);
spelled(Text, _Number) -> Text.

label_text(Integer) when is_integer(Integer) -> integer_to_binary(Integer);
label_text(Float) when is_float(Float) -> float_to_binary(Float, [short]);
label_text(Text) -> Text.

%% Whether a value is what comes of the recorded ones. Several threads add
%% floats in no certain order.
is_total(info, Value, _Values, _Options) ->
    Value =:= 1;
is_total(gauge, Value, Values, _Options) ->
    case lists:last(Values) of
        N when is_integer(N), N >= -(1 bsl 50), N < 1 bsl 50 -> Value =:= N;
        N when is_integer(N) -> Value =:= float(N);
        X when is_float(X) -> is_float(Value) andalso <<Value/float>> =:= <<X/float>>;
        Other -> Value =:= Other
    end;
is_total(Kind, #{count := Count, sum := Sum, buckets := Buckets}, Values, Options) when ?IS_HISTOGRAM(Kind) ->
    Bounds = maps:get(buckets, Options, default_buckets()) ++ [infinity],
    Count =:= length(Values) andalso is_sum(Sum, Values) andalso
        Buckets =:= [{Bound, length([V || V <- Values, float(V) =< Bound])} || Bound <- Bounds];
is_total(_Sum, Value, Values, _Options) ->
    case lists:all(fun is_integer/1, Values) of
        true -> Value =:= lists:sum(Values);
        false -> is_sum(Value, Values)
    end.

is_sum(Sum, Values) ->
    Floats = [float(Value) || Value <- Values],
    is_float(Sum) andalso
        abs(Sum - lists:sum(Floats)) =< 1.0e-12 * lists:sum([abs(F) || F <- Floats]).

default_buckets() ->
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0].
