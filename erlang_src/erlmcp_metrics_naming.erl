%% @private What becomes of a name with dots, such as `"cli.tool.call.success"'.
%%
%% The names of erlmcp's callers do not say what kind of metric they mean, and
%% their times are milliseconds. The rule, by the words of the name (what is
%% between characters other than letters and digits):
%%
%% <ul>
%% <li>One of the words is `latency' or `duration', or the last one is a unit of
%%     time: a histogram in seconds. The unit that the last word tells (`ms',
%%     `us', `ns', `seconds', ...) is taken, else milliseconds; it makes place for
%%     `seconds'. `cli.command.latency' is `cli_command_latency_seconds',
%%     `request_duration_us' is `request_duration_seconds'.</li>
%% <li>Any other is a counter: `cli.tool.call.success' is
%%     `cli_tool_call_success_total'.</li>
%% </ul>
-module(erlmcp_metrics_naming).

-export([instrument/1]).
-export([duration/1]).

-export_type([instrument/0]).

-type instrument() ::
    {counter, Name :: binary()} | {duration, Name :: binary(), PerSecond :: pos_integer()}.

%% No name of a metric is longer.
-define(MAX_BYTES, 255).

%% What a name records into; `error' if it is no name.
-spec instrument(term()) -> instrument() | error.
instrument(Name) ->
    case text(Name) of
        error ->
            error;
        Text ->
            Words = words(Text),
            case time_unit(last(Words)) of
                none ->
                    case lists:any(fun is_time/1, Words) of
                        true -> {duration, <<Text/binary, "_seconds">>, 1000};
                        false -> {counter, Text}
                    end;
                PerSecond ->
                    {duration, in_seconds(Text, last(Words)), PerSecond}
            end
    end.

%% As {@link instrument/1} for what is known to be a duration in milliseconds:
%% `tool_call' is `tool_call_duration_seconds'.
-spec duration(term()) -> {duration, Name :: binary(), PerSecond :: pos_integer()} | error.
duration(Name) ->
    case instrument(Name) of
        {counter, Text} -> {duration, <<Text/binary, "_duration_seconds">>, 1000};
        {duration, Seconds, _PerSecond} -> {duration, Seconds, 1000};
        error -> error
    end.

%% Internals

-spec text(term()) -> binary() | error.
text(Name) when is_binary(Name), byte_size(Name) > 0, byte_size(Name) =< ?MAX_BYTES ->
    Name;
text(Name) when is_atom(Name) ->
    text(atom_to_binary(Name));
text([_ | _] = Name) ->
    try unicode:characters_to_binary(Name) of
        Text when is_binary(Text) -> text(Text);
        _ -> error
    catch
        error:badarg -> error
    end;
text(_Name) ->
    error.

%% The words in lower case, the last one first. Lists, because a binary that is
%% appended to takes more room than all of a name.
-spec words(binary()) -> [string(), ...].
words(Text) ->
    words(Text, [], []).

-spec words(binary(), Reversed :: string(), [string()]) -> [string(), ...].
words(<<C, Rest/binary>>, Word, Words) when C >= $a, C =< $z; C >= $0, C =< $9; C > 127 ->
    words(Rest, [C | Word], Words);
words(<<C, Rest/binary>>, Word, Words) when C >= $A, C =< $Z ->
    words(Rest, [C + 32 | Word], Words);
words(<<_, Rest/binary>>, Word, Words) ->
    words(Rest, [], [lists:reverse(Word) | Words]);
words(<<>>, Word, Words) ->
    [lists:reverse(Word) | Words].

-spec last([string(), ...]) -> string().
last([Last | _]) -> Last.

-spec is_time(string()) -> boolean().
is_time("latency") -> true;
is_time("duration") -> true;
is_time(_Word) -> false.

%% How many of the unit make a second.
-spec time_unit(string()) -> pos_integer() | none.
time_unit("ms") -> 1000;
time_unit("millis") -> 1000;
time_unit("milliseconds") -> 1000;
time_unit("us") -> 1000000;
time_unit("micros") -> 1000000;
time_unit("microseconds") -> 1000000;
time_unit("ns") -> 1000000000;
time_unit("nanoseconds") -> 1000000000;
time_unit("seconds") -> 1;
time_unit(_Word) -> none.

%% `seconds' in the place of the last word. A name that is nothing but a unit
%% keeps it.
-spec in_seconds(binary(), string()) -> binary().
in_seconds(Text, Unit) when byte_size(Text) > length(Unit) ->
    Start = binary:part(Text, 0, byte_size(Text) - length(Unit) - 1),
    <<Start/binary, "_seconds">>;
in_seconds(Text, _Unit) ->
    <<Text/binary, "_seconds">>.
