%% Runs test/oracle/compare.py, which compares expositions with what was
%% recorded, and writes what was recorded in its terms.
%%
%% One Python process answers any number of comparisons: its start costs more
%% than a comparison does.
-module(erlmcp_ct_oracle).

-export([open/0, close/1]).
-export([compare/2]).
-export([recorded/3, write_recorded/2]).
-export([root/0, tools/0]).

-define(TIMEOUT_MS, 60000).

%% A compare.py that waits for comparisons. It belongs to the calling process
%% and ends with it.
open() ->
    Python = filename:join([tools(), "venv", "bin", "python"]),
    filelib:is_regular(Python) orelse error({missing, Python, "run scripts/setup.sh test"}),
    Script = filename:join([root(), "test", "oracle", "compare.py"]),
    %% -B: no __pycache__ in the tree; -u: nothing is held back.
    open_port({spawn_executable, Python},
              [{args, ["-B", "-u", Script, "--serve"]}, {line, 65536}, binary, exit_status]).

close(Oracle) ->
    try port_close(Oracle) catch error:badarg -> true end.

%% The arguments are those of compare.py. The report has a line for each format
%% and each difference.
-spec compare(port(), [iodata()]) -> {agree | disagree, Report :: binary()}.
compare(Oracle, Arguments) ->
    port_command(Oracle, [$[, lists:join($,, [string(Argument) || Argument <- Arguments]), "]\n"]),
    answer(Oracle, []).

answer(Oracle, Lines) ->
    receive
        {Oracle, {data, {eol, <<"== agree">>}}} -> {agree, report(Lines)};
        {Oracle, {data, {eol, <<"== disagree">>}}} -> {disagree, report(Lines)};
        {Oracle, {data, {eol, Line}}} -> answer(Oracle, [$\n, Line | Lines]);
        {Oracle, {data, {noeol, Part}}} -> answer(Oracle, [Part | Lines]);
        {Oracle, {exit_status, Status}} -> error({oracle_ended, Status, report(Lines)})
    after ?TIMEOUT_MS ->
        error({oracle_is_silent, report(Lines)})
    end.

report(Lines) ->
    iolist_to_binary(lists:reverse(Lines)).

%% A series with the value that the library tells. Labels are pairs of texts.
recorded(Kind, Name, Labels) ->
    Value = erlmcp_metrics:value(Name, maps:from_list(Labels)),
    #{kind => Kind, name => Name, labels => Labels, value => Value}.

%% Writes recorded series as JSON lines, with help and unit where these keys are.
write_recorded(File, Recorded) ->
    ok = file:write_file(File, [[object(maps:to_list(Series)), $\n] || Series <- Recorded]).

object(Pairs) ->
    [${, lists:join($,, [[string(atom_to_binary(Key)), $:, member(Key, Value)]
                         || {Key, Value} <- Pairs]), $}].

member(labels, Labels) ->
    [${, lists:join($,, [[string(Name), $:, string(Value)] || {Name, Value} <- Labels]), $}];
member(value, #{count := Count, sum := Sum, buckets := Buckets}) ->
    object([{count, Count}, {sum, Sum}, {buckets, Buckets}]);
member(buckets, Buckets) ->
    [$[, lists:join($,, [[$[, number(Bound), $,, number(Count), $]]
                         || {Bound, Count} <- Buckets]), $]];
member(observations, Observations) ->
    [$[, lists:join($,, [number(Observation) || Observation <- Observations]), $]];
member(exemplars, Exemplars) ->
    [$[, lists:join($,, [object(maps:to_list(Exemplar)) || Exemplar <- Exemplars]), $]];
member(kind, Kind) ->
    string(atom_to_binary(Kind));
member(_Key, Number) when is_number(Number); is_atom(Number) ->
    number(Number);
member(_Key, Text) ->
    string(Text).

%% Python's JSON also knows the three that are no numbers. The shortest text of a
%% float reads back as the same float.
number(Integer) when is_integer(Integer) -> integer_to_binary(Integer);
number(Float) when is_float(Float) -> float_to_binary(Float, [short]);
number(infinity) -> <<"Infinity">>;
number('-infinity') -> <<"-Infinity">>;
number(nan) -> <<"NaN">>.

string(Text) ->
    Escaped = [escaped(Character) || Character <- unicode:characters_to_list(Text)],
    [$", unicode:characters_to_binary(Escaped), $"].

escaped($") -> "\\\"";
escaped($\\) -> "\\\\";
escaped(Control) when Control < 32 -> io_lib:format("\\u~4.16.0b", [Control]);
escaped(Character) -> Character.

%% The checkout that the application under test was built in.
root() ->
    root(code:lib_dir(erlmcp_instrumentation)).

root("/") ->
    error(no_checkout);
root(Dir) ->
    case filelib:is_regular(filename:join(Dir, "scripts/setup.sh")) of
        true -> Dir;
        false -> root(filename:dirname(Dir))
    end.

%% Where scripts/setup.sh puts what it downloads.
tools() ->
    case os:getenv("ERLMCP_TOOLS", "") of
        "" -> filename:join(root(), ".tools");
        Dir -> Dir
    end.
