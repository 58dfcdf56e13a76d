%% @private What Elixir's terms are to a reader: modules, structs, exceptions and
%% frames of a stack as Elixir shows them.
%%
%% Nothing here needs Elixir. A module is an atom that begins with `Elixir.', a
%% struct a map that names its module, an exception a struct that says that it is
%% one; its text is what its own module makes of it.
-module(erlmcp_instrumentation_elixir).

-export([atom_text/1]).
-export([struct_name/1]).
-export([exception_message/1]).
-export([frame/3]).

%% @doc The text of an atom: `Elixir.MyApp.Repo' as `MyApp.Repo', any other as it
%% is. The native library writes names, labels and attributes alike.
-spec atom_text(atom()) -> binary().
atom_text(Atom) ->
    case atom_to_binary(Atom) of
        <<"Elixir.", First, _/binary>> = Text when First >= $A, First =< $Z ->
            binary:part(Text, 7, byte_size(Text) - 7);
        Text ->
            Text
    end.

%% @doc The module of a struct.
-spec struct_name(term()) -> {ok, binary()} | none.
struct_name(#{'__struct__' := Module}) when is_atom(Module) -> {ok, atom_text(Module)};
struct_name(_Term) -> none.

%% @doc The message of an exception, as `Exception.message/1' has it: asked of the
%% exception's own module, whose failure is no failure of the caller.
-spec exception_message(term()) -> {ok, binary()} | none.
exception_message(#{'__exception__' := true, '__struct__' := Module} = Exception)
  when is_atom(Module) ->
    try Module:message(Exception) of
        Message when is_binary(Message) -> {ok, Message};
        _ -> message_field(Exception)
    catch
        _:_ -> message_field(Exception)
    end;
exception_message(_Term) ->
    none.

-spec message_field(map()) -> {ok, binary()} | none.
message_field(#{message := Message}) when is_binary(Message) -> {ok, Message};
message_field(_Exception) -> none.

%% @doc A function of a module of Elixir, as `Exception.format_mfa/3' has it;
%% `none' where the module is not one.
-spec frame(module(), atom(), non_neg_integer()) -> {ok, unicode:chardata()} | none.
frame(Module, Function, Arity) ->
    case {atom_to_binary(Module), atom_text(Module)} of
        {Same, Same} -> none;
        {_, Name} -> {ok, call(Name, atom_to_binary(Function), integer_to_binary(Arity))}
    end.

%% The compiler calls a function inside of `handle/1' `-handle/1-fun-0-'.
-spec call(binary(), binary(), binary()) -> unicode:chardata().
call(Module, <<"-", Inner/binary>> = Function, Arity) ->
    case binary:split(Inner, <<"-fun-">>) of
        [Outer, _] -> ["anonymous fn/", Arity, " in ", Module, ".", Outer];
        [_] -> [Module, ".", Function, "/", Arity]
    end;
call(Module, Function, Arity) ->
    [Module, ".", Function, "/", Arity].
