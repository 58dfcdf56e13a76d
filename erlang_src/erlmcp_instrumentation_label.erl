%% @private What may be the value of a label: text of bounded length.
%%
%% Label values come from outside, such as the name of a method that a client
%% has made up. The number of a metric's series is bounded by its limit; this
%% bounds what each of them takes.
-module(erlmcp_instrumentation_label).

-export([value/1]).
-export([value_or_unknown/1]).
-export([labels/1]).

-export_type([label/0]).

-type label() :: atom() | binary().

-define(MAX_BYTES, 128).
%% As many as a series may have.
-define(MAX_LABELS, 64).

%% A term as the value of a label: atoms and text of up to 128 bytes as they
%% are, anything else is `other'.
-spec value(term()) -> label().
value(Term) when is_atom(Term) -> Term;
value(Term) when is_binary(Term), byte_size(Term) =< ?MAX_BYTES -> utf8(Term);
value(Term) when is_list(Term) -> utf8(bounded(Term, ?MAX_BYTES));
value(_Term) -> <<"other">>.

%% As {@link value/1}; a label that has to be there is `unknown' in the place of
%% an empty text, which would be no label.
-spec value_or_unknown(term()) -> label().
value_or_unknown(Term) ->
    case value(Term) of
        <<>> -> unknown;
        '' -> unknown;
        Label -> Label
    end.

%% Any term as labels that can be recorded. Numbers stay numbers. What is no
%% name of a label becomes `other'; what is no map has no labels.
-spec labels(term()) -> erlmcp_instrumentation_nif:labels().
labels(Labels) when is_map(Labels), map_size(Labels) =< ?MAX_LABELS ->
    maps:fold(fun(Name, Value, Safe) -> Safe#{name(Name) => number_or_value(Value)} end,
              #{}, Labels);
labels(_Labels) ->
    #{}.

%% Internals

-spec number_or_value(term()) -> label() | number().
number_or_value(Number) when is_float(Number) -> Number;
number_or_value(Number) when is_integer(Number), Number < 1 bsl 63, Number >= -(1 bsl 63) -> Number;
number_or_value(Term) -> value(Term).

%% `le' is the bucket's, and what begins with two underscores is Prometheus' own.
-spec name(term()) -> label().
name(Term) ->
    case value(Term) of
        Name when Name =:= le; Name =:= <<"le">>; Name =:= <<>>; Name =:= '' -> <<"other">>;
        <<"__", _/binary>> -> <<"other">>;
        Name when is_binary(Name) -> Name;
        Name -> atom_name(Name)
    end.

-spec atom_name(atom()) -> label().
atom_name(Name) ->
    case atom_to_binary(Name) of
        <<"__", _/binary>> -> <<"other">>;
        _ -> Name
    end.

%% Not more of a list than could be a label, and the end of an improper one.
-spec bounded(maybe_improper_list(), non_neg_integer()) -> maybe_improper_list().
bounded([Head | Tail], Most) when Most > 0 -> [Head | bounded(Tail, Most - 1)];
bounded([], _Most) -> [];
bounded(_Rest, _Most) -> [not_text].

-spec utf8(binary() | maybe_improper_list()) -> binary().
utf8(Term) ->
    try unicode:characters_to_binary(Term) of
        Text when is_binary(Text), byte_size(Text) =< ?MAX_BYTES -> Text;
        _ -> <<"other">>
    catch
        %% A list of other things than characters.
        error:badarg -> <<"other">>
    end.
