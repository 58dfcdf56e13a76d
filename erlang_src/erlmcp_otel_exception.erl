%% @private Exceptions as OpenTelemetry's conventions describe them.
-module(erlmcp_otel_exception).

-export([attributes/3]).
-export([type/2]).
-export([reason_text/1]).

-define(MAX_MESSAGE_CHARS, 2048).
-define(MAX_TYPE_BYTES, 64).
-define(MAX_FRAMES, 64).
-define(ELIXIR, erlmcp_instrumentation_elixir).

%% The attributes of an event named `exception'.
-spec attributes(error | exit | throw, term(), list()) -> #{binary() => binary()}.
attributes(Class, Reason, Stack) ->
    #{
        <<"exception.type">> => type(Class, Reason),
        <<"exception.message">> => message(Class, Reason),
        <<"exception.stacktrace">> => stacktrace(Stack)
    }.

%% One of few words, for the attribute `error.type' and the label `error_type':
%% `badarg', `badmatch', an application's own atom, the module of an exception or
%% another struct of Elixir; else the class.
-spec type(error | exit | throw, term()) -> binary().
type(_Class, Reason) when is_atom(Reason), Reason =/= undefined, Reason =/= nil ->
    short(?ELIXIR:atom_text(Reason));
type(Class, Reason) when is_map(Reason) ->
    case ?ELIXIR:struct_name(Reason) of
        {ok, Name} -> short(Name);
        none -> type(Class, undefined)
    end;
type(Class, Reason) when is_tuple(Reason), tuple_size(Reason) > 0 ->
    type(Class, element(1, Reason));
type(Class, _Reason) when is_atom(Class) ->
    atom_to_binary(Class);
type(_Class, _Reason) ->
    <<"error">>.

-spec short(binary()) -> binary().
short(Text) when byte_size(Text) =< ?MAX_TYPE_BYTES -> Text;
short(Text) -> unicode:characters_to_binary(string:slice(Text, 0, ?MAX_TYPE_BYTES)).

%% A term as text of bounded length, without the values of secret keys; of an
%% exception of Elixir its message.
-spec reason_text(term()) -> binary().
reason_text(Reason) ->
    case ?ELIXIR:exception_message(Reason) of
        {ok, Message} -> cut(Message);
        none -> printed(Reason)
    end.

%% A message may be any binary.
-spec cut(binary()) -> binary().
cut(Message) ->
    try unicode:characters_to_binary(string:slice(Message, 0, ?MAX_MESSAGE_CHARS)) of
        Text when is_binary(Text) -> Text;
        _ -> printed(Message)
    catch
        error:_ -> printed(Message)
    end.

-spec printed(term()) -> binary().
printed(Reason) ->
    Text = io_lib:format("~0tp", [erlmcp_redaction:term(Reason)],
                         [{chars_limit, ?MAX_MESSAGE_CHARS}]),
    case unicode:characters_to_binary(Text) of
        Binary when is_binary(Binary) -> Binary;
        _ -> <<"(not printable)">>
    end.

-spec message(error | exit | throw, term()) -> binary().
message(Class, Reason) ->
    case ?ELIXIR:exception_message(Reason) of
        {ok, Message} -> cut(Message);
        none -> <<(printed(Class))/binary, ": ", (printed(Reason))/binary>>
    end.

%% Without the arguments of calls: they may be large, or secret.
-spec stacktrace(term()) -> binary().
stacktrace(Stack) when is_list(Stack) ->
    << <<(frame(Frame))/binary, $\n>> || Frame <- proper(Stack, ?MAX_FRAMES) >>;
stacktrace(_Stack) ->
    <<>>.

-spec proper(maybe_improper_list(), non_neg_integer()) -> list().
proper([Head | Tail], Most) when Most > 0 -> [Head | proper(Tail, Most - 1)];
proper(_, _Most) -> [].

%% Whoever records an exception by hand may give anything for a frame.
-spec frame(term()) -> binary().
frame(Frame) ->
    try unicode:characters_to_binary(call(Frame)) of
        Text when is_binary(Text) -> Text;
        _ -> <<"(not printable)">>
    catch
        error:_ -> <<"(not a frame)">>
    end.

-spec call(tuple()) -> iolist().
call({Module, Function, Args, Location}) when is_list(Args) ->
    call({Module, Function, length(Args), Location});
call({Module, Function, Arity, Location})
  when is_atom(Module), is_atom(Function), is_integer(Arity) ->
    case ?ELIXIR:frame(Module, Function, Arity) of
        {ok, Call} -> [elixir_location(Location), Call];
        none -> [io_lib:format("~0tp:~0tp/~0tp", [Module, Function, Arity]) | location(Location)]
    end;
call({Fun, Args, Location}) when is_function(Fun), is_list(Args) ->
    Arity = length(Args),
    [io_lib:format("~0tp/~0tp", [Fun, Arity]) | location(Location)].

-spec location(list()) -> iolist().
location(Location) ->
    case {lists:keyfind(file, 1, Location), lists:keyfind(line, 1, Location)} of
        {{file, File}, {line, Line}} -> io_lib:format(" (~ts:~0tp)", [File, Line]);
        {{file, File}, false} -> io_lib:format(" (~ts)", [File]);
        {false, _} -> []
    end.

%% Elixir has the place before the call.
-spec elixir_location(list()) -> iolist().
elixir_location(Location) ->
    case {lists:keyfind(file, 1, Location), lists:keyfind(line, 1, Location)} of
        {{file, File}, {line, Line}} -> io_lib:format("~ts:~0tp: ", [File, Line]);
        {{file, File}, false} -> io_lib:format("~ts: ", [File]);
        {false, _} -> []
    end.
