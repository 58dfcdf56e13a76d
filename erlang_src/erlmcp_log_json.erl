%% @doc Any term as JSON, in bounded length: what a log line is written with.
%%
%% <table>
%% <tr><td>`true', `false'</td><td>booleans</td></tr>
%% <tr><td>`null', `nil', `undefined'</td><td>null</td></tr>
%% <tr><td>other atoms, binaries, lists of printable characters</td><td>strings; what is
%%     not UTF-8 in a binary becomes U+FFFD</td></tr>
%% <tr><td>integers of 64 bits, floats</td><td>numbers</td></tr>
%% <tr><td>larger integers</td><td>strings of their digits, up to 4096 bits</td></tr>
%% <tr><td>maps, and lists of pairs with distinct atoms or binaries as keys</td>
%%     <td>objects</td></tr>
%% <tr><td>other lists</td><td>arrays; the tail of an improper one is the last element</td></tr>
%% <tr><td>anything else</td><td>a string, as the shell prints it</td></tr>
%% </table>
%%
%% Values of secret keys ({@link erlmcp_redaction}) are not shown. Control
%% characters and those that some readers take for the end of a line are escaped.
%% What exceeds a limit ends in `...'. Everything is appended to one binary,
%% whose length is known at no cost.
-module(erlmcp_log_json).

-export([value/4]).
-export([string/3]).
-export([key_text/1]).
-export([overhang/1]).

-define(MAX_KEY_BYTES, 256).
-define(MAX_PAIRS_CHECKED, 256).
-define(MAX_INTEGER_BYTES, 512).
-define(REST, "\"...\"").

-define(IS_PLAIN(C), C >= 32, C < 127, C =/= $", C =/= $\\).
%% U+2028 and U+2029 end a line for some readers, U+0080 to U+009F are controls.
-define(IS_PLAIN_BEYOND_ASCII(C), C >= 16#A0, C =/= 16#2028, C =/= 16#2029).

%% @doc Most bytes that {@link value/4} writes beyond an end: a key that was
%% begun, a number, a mark, and for each level a mark and what closes it.
-spec overhang(non_neg_integer()) -> pos_integer().
overhang(Depth) ->
    6 * ?MAX_KEY_BYTES + 128 + 16 * Depth.

%% @doc Appends a term. Nothing is begun when `Acc' has `End' bytes; at most
%% `Depth' levels are nested.
-spec value(term(), binary(), non_neg_integer(), non_neg_integer()) -> binary().
value(Integer, Acc, _Depth, _End)
  when is_integer(Integer), Integer < 1 bsl 63, Integer >= -(1 bsl 63) ->
    <<Acc/binary, (integer_to_binary(Integer))/binary>>;
value(Binary, Acc, _Depth, End) when is_binary(Binary) ->
    string(Binary, Acc, End);
value(Atom, Acc, _Depth, End) when is_atom(Atom) ->
    atom(Atom, Acc, End);
value(Float, Acc, _Depth, _End) when is_float(Float) ->
    <<Acc/binary, (float_to_binary(Float, [short]))/binary>>;
value([], Acc, _Depth, _End) ->
    <<Acc/binary, "[]">>;
value(Map, Acc, _Depth, _End) when map_size(Map) =:= 0 ->
    <<Acc/binary, "{}">>;
value([_ | _] = List, Acc, Depth, End) ->
    list(List, Acc, Depth, End);
value(Map, Acc, 0, _End) when is_map(Map) ->
    <<Acc/binary, ?REST>>;
value(Map, Acc, Depth, End) when is_map(Map) ->
    Seen = seen(Map),
    pairs(maps:next(maps:iterator(Map)), Seen, <<Acc/binary, ${>>, <<>>, Depth - 1, End);
value(Integer, Acc, _Depth, End) when is_integer(Integer) ->
    string(digits(Integer), Acc, End);
value(Term, Acc, _Depth, End) ->
    string(printed(Term, End - byte_size(Acc)), Acc, End).

-spec atom(atom(), binary(), non_neg_integer()) -> binary().
atom(true, Acc, _End) -> <<Acc/binary, "true">>;
atom(false, Acc, _End) -> <<Acc/binary, "false">>;
atom(null, Acc, _End) -> <<Acc/binary, "null">>;
atom(nil, Acc, _End) -> <<Acc/binary, "null">>;
atom(undefined, Acc, _End) -> <<Acc/binary, "null">>;
atom(Atom, Acc, End) -> string(atom_to_binary(Atom), Acc, End).

-spec digits(integer()) -> binary().
digits(Integer) ->
    case erlang:external_size(Integer) of
        Size when Size =< ?MAX_INTEGER_BYTES -> integer_to_binary(Integer);
        Size -> <<"(integer of ", (integer_to_binary(Size))/binary, " bytes)">>
    end.

%% Lists

-spec list(nonempty_maybe_improper_list(), binary(), non_neg_integer(), non_neg_integer()) ->
    binary().
list([First | _] = List, Acc, Depth, End) ->
    case is_integer(First) andalso characters(List, End - byte_size(Acc), <<>>) of
        Text when is_binary(Text) ->
            string(Text, Acc, End);
        false when Depth =:= 0 ->
            <<Acc/binary, ?REST>>;
        false ->
            case keys(List, ?MAX_PAIRS_CHECKED, #{}) of
                true -> members(List, <<Acc/binary, ${>>, <<>>, Depth - 1, End);
                false -> elements(List, <<Acc/binary, $[>>, <<>>, Depth - 1, End)
            end
    end.

%% The text of a list of printable characters; of a long one the beginning.
-spec characters(maybe_improper_list(), integer(), binary()) -> binary() | false.
characters([], _Room, Text) ->
    Text;
characters([C | Rest], Room, Text)
  when is_integer(C), C >= 32, C < 127; C >= 8, C =< 13; C =:= 27; C >= 16#A0, C =< 16#D7FF;
       C >= 16#E000, C =< 16#FFFD; C >= 16#10000, C =< 16#10FFFF ->
    case byte_size(Text) > Room of
        true -> Text;
        false -> characters(Rest, Room, <<Text/binary, C/utf8>>)
    end;
characters(_Rest, _Room, _Text) ->
    false.

%% Whether these are pairs of which each has a key of its own.
-spec keys(maybe_improper_list(), non_neg_integer(), map()) -> boolean().
keys([], _Left, _Seen) ->
    true;
keys([{Key, _Value} | Rest], Left, Seen)
  when is_atom(Key), Left > 0; is_binary(Key), Left > 0 ->
    Text = key_text(Key),
    not is_map_key(Text, Seen) andalso keys(Rest, Left - 1, Seen#{Text => []});
keys(_Rest, _Left, _Seen) ->
    false.

-spec members([{term(), term()}], binary(), binary(), non_neg_integer(), non_neg_integer()) ->
    binary().
members([], Acc, _Comma, _Depth, _End) ->
    <<Acc/binary, $}>>;
members(_Rest, Acc, Comma, _Depth, End) when byte_size(Acc) >= End ->
    <<Acc/binary, Comma/binary, ?REST ":" ?REST "}">>;
members([{Key, Value} | Rest], Acc, Comma, Depth, End) ->
    members(Rest, pair(Key, key_text(Key), Value, <<Acc/binary, Comma/binary>>, Depth, End), <<$,>>,
            Depth, End).

-spec elements(maybe_improper_list(), binary(), binary(), non_neg_integer(), non_neg_integer()) ->
    binary().
elements([], Acc, _Comma, _Depth, _End) ->
    <<Acc/binary, $]>>;
elements(_Rest, Acc, Comma, _Depth, End) when byte_size(Acc) >= End ->
    <<Acc/binary, Comma/binary, ?REST "]">>;
elements([Element | Rest], Acc, Comma, Depth, End) ->
    elements(Rest, value(Element, <<Acc/binary, Comma/binary>>, Depth, End), <<$,>>, Depth, End);
elements(Tail, Acc, Comma, Depth, End) ->
    <<(value(Tail, <<Acc/binary, Comma/binary>>, Depth, End))/binary, $]>>.

%% Maps

%% Keys of a map that differ can have one text, unless all are atoms.
-spec seen(map()) -> all_differ | map().
seen(Map) when map_size(Map) =< ?MAX_PAIRS_CHECKED ->
    case lists:all(fun is_atom/1, maps:keys(Map)) of
        true -> all_differ;
        false -> #{}
    end;
seen(_Map) ->
    #{}.

-spec pairs(none | {term(), term(), maps:iterator()}, all_differ | map(), binary(), binary(),
            non_neg_integer(), non_neg_integer()) -> binary().
pairs(none, _Seen, Acc, _Comma, _Depth, _End) ->
    <<Acc/binary, $}>>;
pairs(_Rest, _Seen, Acc, Comma, _Depth, End) when byte_size(Acc) >= End ->
    <<Acc/binary, Comma/binary, ?REST ":" ?REST "}">>;
pairs({Key, Value, Rest}, all_differ, Acc, Comma, Depth, End) ->
    Begun = <<Acc/binary, Comma/binary>>,
    pairs(maps:next(Rest), all_differ, pair(Key, key_text(Key), Value, Begun, Depth, End), <<$,>>,
          Depth, End);
pairs({Key, Value, Rest}, Seen, Acc, Comma, Depth, End) ->
    Text = distinct(key_text(Key), Seen),
    pairs(maps:next(Rest), Seen#{Text => []},
          pair(Key, Text, Value, <<Acc/binary, Comma/binary>>, Depth, End), <<$,>>, Depth, End).

%% No key is left out for another one that reads alike.
-spec distinct(binary(), map()) -> binary().
distinct(Text, Seen) when is_map_key(Text, Seen) -> distinct(<<Text/binary, "'">>, Seen);
distinct(Text, _Seen) -> Text.

-spec pair(term(), binary(), term(), binary(), non_neg_integer(), non_neg_integer()) -> binary().
pair(Key, Text, Value, Acc, Depth, End) ->
    %% A key has a bound of its own: cut at the end it could be that of another.
    Named = string(Text, Acc, byte_size(Acc) + 6 * ?MAX_KEY_BYTES),
    case erlmcp_redaction:is_secret(Key) of
        true -> string(erlmcp_redaction:redacted(), <<Named/binary, $:>>, End);
        false -> value(Value, <<Named/binary, $:>>, Depth, End)
    end.

%% @doc A key as text of at most 256 bytes in UTF-8.
-spec key_text(term()) -> binary().
key_text(Key) when is_atom(Key) ->
    atom_to_binary(Key);
key_text(Key) when is_binary(Key) ->
    cut(valid(Key));
key_text(Key) when is_integer(Key), Key < 1 bsl 63, Key >= -(1 bsl 63) ->
    integer_to_binary(Key);
key_text([C | _] = Key) when is_integer(C) ->
    case characters(Key, ?MAX_KEY_BYTES, <<>>) of
        false -> cut(printed(Key, ?MAX_KEY_BYTES));
        Text -> cut(Text)
    end;
key_text(Key) ->
    cut(printed(Key, ?MAX_KEY_BYTES)).

-spec cut(binary()) -> binary().
cut(Text) when byte_size(Text) =< ?MAX_KEY_BYTES ->
    Text;
cut(Text) ->
    <<(binary:part(Text, 0, boundary(Text, ?MAX_KEY_BYTES)))/binary, "...">>.

%% Keys are compared as they are read.
-spec valid(binary()) -> binary().
valid(Bytes) ->
    Begin = binary:part(Bytes, 0, min(byte_size(Bytes), ?MAX_KEY_BYTES + 4)),
    case unicode:characters_to_binary(Begin) of
        Text when is_binary(Text) -> Text;
        _ -> << <<(replaced(C))/binary>> || <<C>> <= Begin >>
    end.

-spec replaced(byte()) -> binary().
replaced(C) when C < 128 -> <<C>>;
replaced(_C) -> <<16#FFFD/utf8>>.

%% A term as the shell prints it, without the values of secret keys.
-spec printed(term(), integer()) -> binary().
printed(Pid, _Room) when is_pid(Pid) ->
    list_to_binary(pid_to_list(Pid));
printed(Ref, _Room) when is_reference(Ref) ->
    list_to_binary(ref_to_list(Ref));
printed(Port, _Room) when is_port(Port) ->
    list_to_binary(erlang:port_to_list(Port));
printed(Term, Room) ->
    Text = io_lib:format("~0tp", [erlmcp_redaction:term(Term)], [{chars_limit, max(Room, 1)}]),
    case unicode:characters_to_binary(Text) of
        Binary when is_binary(Binary) -> Binary;
        _ -> <<"(not printable)">>
    end.

%% Strings

%% @doc Appends a string; cut where `Acc' would have `End' bytes.
-spec string(binary(), binary(), non_neg_integer()) -> binary().
string(Text, Acc, End) when byte_size(Text) > ?MAX_KEY_BYTES, byte_size(Text) > End ->
    %% More than so much is cut in any case.
    Room = max(End - byte_size(Acc), 0) + 4,
    Part = binary:part(Text, 0, min(Room, byte_size(Text))),
    <<(escaped(Part, plain(Part, 0), <<Acc/binary, $">>, End))/binary, $">>;
string(Text, Acc, End) ->
    case plain(Text, 0) of
        Plain when Plain =:= byte_size(Text), byte_size(Acc) + Plain < End ->
            <<Acc/binary, $", Text/binary, $">>;
        Plain ->
            <<(escaped(Text, Plain, <<Acc/binary, $">>, End))/binary, $">>
    end.

%% How many bytes can be taken as they are.
-spec plain(binary(), non_neg_integer()) -> non_neg_integer().
plain(<<A, B, C, D, Rest/binary>>, N)
  when ?IS_PLAIN(A), ?IS_PLAIN(B), ?IS_PLAIN(C), ?IS_PLAIN(D) ->
    plain(Rest, N + 4);
plain(<<C, Rest/binary>>, N) when ?IS_PLAIN(C) ->
    plain(Rest, N + 1);
plain(<<C/utf8, Rest/binary>>, N) when ?IS_PLAIN_BEYOND_ASCII(C) ->
    plain(Rest, N + size_of(C));
plain(_Rest, N) ->
    N.

-spec size_of(char()) -> 2..4.
size_of(C) when C < 16#800 -> 2;
size_of(C) when C < 16#10000 -> 3;
size_of(_C) -> 4.

%% `Plain' bytes as they are, then one that is not.
-spec escaped(binary(), non_neg_integer(), binary(), non_neg_integer()) -> binary().
escaped(Text, Plain, Acc, End) ->
    Room = End - byte_size(Acc),
    case Text of
        _ when Plain > Room, Room > 0 ->
            <<Acc/binary, (binary:part(Text, 0, boundary(Text, Room)))/binary, "...">>;
        <<>> ->
            Acc;
        _ when Room =< 0 ->
            <<Acc/binary, "...">>;
        <<Run:Plain/binary>> ->
            <<Acc/binary, Run/binary>>;
        <<Run:Plain/binary, Rest/binary>> ->
            {Escape, Next} = escape(Rest),
            escaped(Next, plain(Next, 0), <<Acc/binary, Run/binary, Escape/binary>>, End)
    end.

-spec escape(binary()) -> {binary(), binary()}.
escape(<<$", Rest/binary>>) -> {<<"\\\"">>, Rest};
escape(<<$\\, Rest/binary>>) -> {<<"\\\\">>, Rest};
escape(<<$\n, Rest/binary>>) -> {<<"\\n">>, Rest};
escape(<<$\r, Rest/binary>>) -> {<<"\\r">>, Rest};
escape(<<$\t, Rest/binary>>) -> {<<"\\t">>, Rest};
escape(<<C/utf8, Rest/binary>>) ->
    %% A control, U+2028 or U+2029: four digits hold it.
    <<A:4, B:4, D:4, E:4>> = <<C:16>>,
    {<<"\\u", (hex(A)), (hex(B)), (hex(D)), (hex(E))>>, Rest};
escape(<<_Bad, Rest/binary>>) ->
    {<<16#FFFD/utf8>>, Rest}.

-spec hex(0..15) -> byte().
hex(N) when N < 10 -> $0 + N;
hex(N) -> $a + N - 10.

%% The last place up to `At' where a character begins.
-spec boundary(binary(), non_neg_integer()) -> non_neg_integer().
boundary(Text, At) when At > 0, At < byte_size(Text) ->
    case binary:at(Text, At) band 16#C0 of
        16#80 -> boundary(Text, At - 1);
        _ -> At
    end;
boundary(Text, At) ->
    min(At, byte_size(Text)).
