%% @doc Which keys name secrets, and terms without the values of such keys.
%%
%% A key is secret when its last words, joined, are one of the names of the
%% setting `redact_keys'; words are runs of letters, and a capital that follows a
%% small letter, or that a small one follows, begins another. So `accessToken',
%% `x-api-key' and `db_password' are secret, `max_tokens' and `token_count' are
%% not. The rule is the native library's: spans, baggage and log records over
%% OTLP follow it where they are encoded, logs and texts by asking here.
-module(erlmcp_redaction).

-export([is_secret/1]).
-export([term/1]).
-export([arguments/1]).
-export([report/1]).
-export([redacted/0]).

%% What is walked of a term: parts, and their depth. The rest is left out.
-define(MAX_PARTS, 16384).
-define(MAX_DEPTH, 64).
%% Levels of pairs in a report that stay whole: `#{report => [Own, Linked]}', where
%% `Own' is a list of pairs.
-define(REPORT_LEVELS, 3).
%% The smallest share of a member; levels with more members are walked as terms.
-define(MIN_SHARE, 16).
-define(REST, <<"...">>).
-define(REDACTED, <<"[REDACTED]">>).

%% @doc Whether the value of a key is not to be shown. What is no atom, binary or
%% string is no secret key. One call of a NIF, about 50 nanoseconds; no message.
%% Where the native library cannot be loaded, every key is secret.
-spec is_secret(term()) -> boolean().
is_secret(Key) when is_atom(Key); is_binary(Key); is_list(Key) ->
    try
        erlmcp_instrumentation_nif:is_secret_key(Key)
    catch
        error:_ -> true
    end;
is_secret(_Key) ->
    false.

%% @doc What stands in the place of a secret.
-spec redacted() -> binary().
redacted() ->
    ?REDACTED.

%% @doc A term with the values of secret keys replaced, in maps and in tuples of
%% two such as those of property lists, at any depth. Of a term with more than
%% 16 384 parts or 64 levels the rest is replaced by `<<"...">>'. Never raises.
-spec term(term()) -> term().
term(Term) ->
    walked(Term, ?MAX_PARTS).

%% @doc The arguments of a format: each as {@link term/1} has it, and as many as
%% there were.
-spec arguments(term()) -> term().
arguments([Argument | Rest]) -> [term(Argument) | arguments(Rest)];
arguments(Rest) -> term(Rest).

%% @doc A report, for a function that makes a text of it: with all of its keys, also
%% those of pairs as deep as OTP's own reports nest them. The members of a level share
%% what is walked, so that a large one does not cost its neighbours.
-spec report(term()) -> term().
report(Report) ->
    report(Report, ?REPORT_LEVELS, ?MAX_PARTS).

-spec report(term(), non_neg_integer(), pos_integer()) -> term().
report(Map, Levels, Parts)
  when is_map(Map), Levels > 0, map_size(Map) > 0, map_size(Map) =< Parts div ?MIN_SHARE ->
    Share = Parts div map_size(Map),
    maps:map(fun(Key, Value) -> report_value(Key, Value, Levels, Share) end, Map);
report([First | _] = List, Levels, Parts)
  when Levels > 0, is_tuple(First) orelse is_list(First) andalso First =/= [] ->
    case members(List, Parts div ?MIN_SHARE, 0) of
        many -> walked(List, Parts);
        Count -> [report_member(Member, Levels, Parts div Count) || Member <- List]
    end;
report(Term, _Levels, Parts) ->
    walked(Term, Parts).

-spec report_member(term(), pos_integer(), pos_integer()) -> term().
report_member({Key, Value}, Levels, Parts) -> {Key, report_value(Key, Value, Levels, Parts)};
report_member(Member, Levels, Parts) -> report(Member, Levels, Parts).

-spec report_value(term(), term(), pos_integer(), pos_integer()) -> term().
report_value(Key, Value, Levels, Parts) ->
    case is_secret(Key) of
        true -> ?REDACTED;
        false -> report(Value, Levels - 1, Parts)
    end.

%% Improper lists are not gone through by their members either.
-spec members(term(), non_neg_integer(), non_neg_integer()) -> pos_integer() | many.
members([], _Left, Count) -> Count;
members([_ | Rest], Left, Count) when Left > 0 -> members(Rest, Left - 1, Count + 1);
members(_Rest, _Left, _Count) -> many.

-spec walked(term(), pos_integer()) -> term().
walked(Term, Parts) ->
    {Shown, _Left} = walk(Term, 0, Parts),
    Shown.

-spec walk(term(), non_neg_integer(), integer()) -> {term(), integer()}.
walk(_Term, _Depth, Left) when Left =< 0 ->
    {?REST, 0};
walk([_ | _] = List, Depth, Left) when Depth < ?MAX_DEPTH ->
    list(List, Depth + 1, Left, []);
walk({Key, Value}, Depth, Left) when Depth < ?MAX_DEPTH ->
    {Shown, Left1} = walk(Key, Depth + 1, Left - 1),
    {ShownValue, Left2} = value(Key, Value, Depth + 1, Left1),
    {{Shown, ShownValue}, Left2};
walk(Tuple, Depth, Left) when is_tuple(Tuple), tuple_size(Tuple) > 0, Depth < ?MAX_DEPTH ->
    {Shown, Left1} = elements(1, Tuple, Depth + 1, Left, []),
    {list_to_tuple(Shown), Left1};
walk(Map, Depth, Left) when is_map(Map), map_size(Map) > 0, Depth < ?MAX_DEPTH ->
    pairs(maps:next(maps:iterator(Map)), Depth + 1, Left, []);
walk(Compound, _Depth, _Left)
  when Compound =/= [], Compound =/= {}, is_list(Compound) orelse is_tuple(Compound) ->
    {?REST, 0};
walk(Map, _Depth, _Left) when is_map(Map), map_size(Map) > 0 ->
    {?REST, 0};
walk(Term, _Depth, Left) ->
    {Term, Left - 1}.

%% A cut list stays one that can be written as text.
-spec list(maybe_improper_list(), non_neg_integer(), integer(), [term()]) -> {list(), integer()}.
list([Head | Tail], Depth, Left, Done) when Left > 0 ->
    {Shown, Left1} = walk(Head, Depth, Left),
    list(Tail, Depth, Left1, [Shown | Done]);
list([], _Depth, Left, Done) ->
    {lists:reverse(Done), Left};
list([_ | _], _Depth, _Left, Done) ->
    {lists:reverse(Done, [?REST]), 0};
list(Tail, Depth, Left, Done) ->
    {Shown, Left1} = walk(Tail, Depth, Left),
    {lists:reverse(Done, Shown), Left1}.

-spec elements(pos_integer(), tuple(), non_neg_integer(), integer(), [term()]) ->
    {[term()], integer()}.
elements(N, Tuple, Depth, Left, Done) when N =< tuple_size(Tuple), Left > 0 ->
    {Shown, Left1} = walk(element(N, Tuple), Depth, Left),
    elements(N + 1, Tuple, Depth, Left1, [Shown | Done]);
elements(N, Tuple, _Depth, Left, Done) when N > tuple_size(Tuple) ->
    {lists:reverse(Done), Left};
elements(_N, _Tuple, _Depth, _Left, Done) ->
    {lists:reverse(Done, [?REST]), 0}.

-spec pairs(none | {term(), term(), maps:iterator()}, non_neg_integer(), integer(),
            [{term(), term()}]) -> {map(), integer()}.
pairs({Key, Value, Rest}, Depth, Left, Done) when Left > 0 ->
    {ShownKey, Left1} = walk(Key, Depth, Left),
    {Shown, Left2} = value(Key, Value, Depth, Left1),
    pairs(maps:next(Rest), Depth, Left2, [{ShownKey, Shown} | Done]);
pairs(none, _Depth, Left, Done) ->
    {maps:from_list(Done), Left};
pairs(_Rest, _Depth, _Left, Done) ->
    {maps:from_list([{?REST, ?REST} | Done]), 0}.

-spec value(term(), term(), non_neg_integer(), integer()) -> {term(), integer()}.
value(Key, Value, Depth, Left) ->
    case is_secret(Key) of
        true -> {?REDACTED, Left - 1};
        false -> walk(Value, Depth, Left)
    end.
