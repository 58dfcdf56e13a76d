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
-export([redacted/0]).

%% What is walked of a term: parts, and their depth. The rest is left out.
-define(MAX_PARTS, 16384).
-define(MAX_DEPTH, 64).
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
    {Shown, _Left} = walk(Term, 0, ?MAX_PARTS),
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
