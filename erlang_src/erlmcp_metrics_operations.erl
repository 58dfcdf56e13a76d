%% @private Operations of transports, servers and the registry, and functions
%% that are timed: recorded as metrics in seconds, and listed as they were given.
%%
%% The last 1 000 operations are kept, and how many there were of each name.
%% Both are in the native library, so that no process is asked and none needs to
%% run: an operation is encoded and copied into a slot of a ring. What is
%% too large for it is bounded first: the values of labels that take more than
%% 1 KiB become <code>'$too_large'</code>, and so do all labels of an operation
%% that would still take more than 4 KiB. Up to 1 000 names are counted, further
%% ones together as `other'.
-module(erlmcp_metrics_operations).

-export([transport/4]).
-export([server/4]).
-export([registry/3]).
-export([timed/3]).
-export([counted/2]).
-export([list/0]).
-export([list/1]).
-export([forget/0]).
-export([summary/0]).

-export_type([operation/0]).

-type operation() :: #{
    name := term(),
    value := number(),
    labels := term(),
    %% Milliseconds since 1970.
    timestamp := integer()
}.
-type error() :: erlmcp_instrumentation_nif:error().

-define(NIF, erlmcp_instrumentation_nif).
-define(TOO_LARGE, '$too_large').
%% In words of about 8 bytes, or bytes of binaries.
-define(MAX_VALUE_SIZE, 1024).
-define(MAX_NAME_BYTES, 255).

-spec transport(term(), term(), term(), term()) -> ok | error().
transport(Id, Type, Operation, Ms) ->
    Recorded = ?NIF:observe(erlmcp_transport_operation_duration_seconds, seconds(Ms),
                            #{transport => label(Type), operation => label(Operation)}),
    add(Recorded, <<"transport_operation_duration_ms">>, Ms,
        #{<<"transport_id">> => Id, <<"transport_type">> => Type, <<"operation">> => Operation}).

-spec server(term(), term(), term(), term()) -> ok | error().
server(Id, Operation, Ms, Labels) ->
    Recorded = ?NIF:observe(erlmcp_server_operation_duration_seconds, seconds(Ms),
                            #{operation => label(Operation)}),
    add(Recorded, <<"server_operation_duration_ms">>, Ms,
        (map(Labels))#{<<"server_id">> => Id, <<"operation">> => Operation}).

-spec registry(term(), term(), term()) -> ok | error().
registry(Operation, Ms, Labels) ->
    Recorded = ?NIF:observe(erlmcp_registry_operation_duration_seconds, seconds(Ms),
                            #{operation => label(Operation)}),
    add(Recorded, <<"registry_operation_duration_ms">>, Ms,
        (map(Labels))#{<<"component">> => <<"registry">>, <<"operation">> => Operation}).

%% Whatever name and labels are, `Fun' is called, and its result or exception
%% goes to the caller as it is.
-spec timed(term(), term(), fun(() -> Result)) -> Result.
timed(Name, Labels, Fun) ->
    Begin = erlang:monotonic_time(),
    try
        Fun()
    after
        Native = erlang:monotonic_time() - Begin,
        Recorded = record_duration(Name, native_to_seconds(Native), Labels),
        _ = add(Recorded, Name, erlang:convert_time_unit(Native, native, millisecond), Labels)
    end.

%% A name and a value without labels and kind. Never an error because the name
%% is another kind of metric: then that is recorded.
-spec counted(term(), term()) -> ok | error().
counted(Name, Value) ->
    case erlmcp_metrics_naming:instrument(Name) of
        {counter, Metric} -> count(?NIF:kind(Metric), Metric, Value);
        {duration, Metric, PerSecond} ->
            observe(?NIF:kind(Metric), Metric, in_seconds(Value, PerSecond), #{});
        error -> ?NIF:count(Name, Value, #{})
    end.

%% The latest first.
-spec list() -> [operation()].
list() ->
    [operation(binary_to_term(Encoded)) || Encoded <- ?NIF:operations()].

%% Those of a name, in any of its spellings.
-spec list(term()) -> [operation()].
list(Name) ->
    Text = text(Name),
    [Operation || #{name := Listed} = Operation <- list(), text(Listed) =:= Text].

-spec forget() -> ok.
forget() ->
    ?NIF:operations_forget().

%% Counts are of all operations since the beginning, the rest of those listed.
-spec summary() -> #{binary() => term()}.
summary() ->
    Uptime = max(1, ?NIF:operations_age()),
    Counters = maps:from_list(?NIF:operation_counts()),
    %% The first of a name is its latest.
    Values = maps:groups_from_list(fun(#{name := Name}) -> text(Name) end,
                                   fun(#{value := Value}) -> Value end, list()),
    #{<<"uptime_ms">> => Uptime,
      <<"total_metrics_recorded">> => lists:sum(maps:values(Counters)),
      <<"counters">> => Counters,
      <<"histograms">> => maps:map(fun(_Name, Of) -> histogram(Of) end, Values),
      <<"gauges">> => maps:map(fun(_Name, [Latest | _]) -> Latest end, Values),
      <<"rates">> => suffixed(<<"_per_second">>, fun(N) -> N * 1000 / Uptime end, Counters),
      <<"percentiles">> => suffixed(<<"_percentiles">>, fun percentiles/1, Values),
      <<"system_info">> => system_info()}.

%% Internals

-spec record_duration(term(), float(), term()) -> ok | error().
record_duration(Name, Seconds, Labels) ->
    Safe = erlmcp_instrumentation_label:labels(Labels),
    case erlmcp_metrics_naming:duration(Name) of
        {duration, Metric, _PerSecond} -> observe(?NIF:kind(Metric), Metric, Seconds, Safe);
        error -> ?NIF:observe(Name, Seconds, Safe)
    end.

-type known() :: erlmcp_instrumentation_nif:kind() | undefined | error().

-spec count(known(), binary(), term()) -> ok | error().
count(gauge, Name, Value) -> ?NIF:set(Name, Value, #{});
count(up_down_counter, Name, Value) -> ?NIF:add(Name, Value, #{});
count(histogram, Name, Value) -> ?NIF:observe(Name, Value, #{});
count(exponential_histogram, Name, Value) -> ?NIF:observe(Name, Value, #{});
count(_Known, Name, Value) -> no_conflict(?NIF:count(Name, Value, #{})).

-spec observe(known(), binary(), term(), map()) -> ok | error().
observe(gauge, Name, Seconds, Labels) -> ?NIF:set(Name, Seconds, Labels);
observe(counter, Name, Seconds, Labels) -> ?NIF:count(Name, Seconds, Labels);
observe(up_down_counter, Name, Seconds, Labels) -> ?NIF:add(Name, Seconds, Labels);
observe(_Known, Name, Seconds, Labels) -> no_conflict(?NIF:observe(Name, Seconds, Labels)).

%% Refused, counted and logged as such; the caller cannot help it.
-spec no_conflict(ok | error()) -> ok | error().
no_conflict({error, {kind_conflict, _Text}}) -> ok;
no_conflict({error, {name_taken, _Text}}) -> ok;
no_conflict(Recorded) -> Recorded.

%% Lists what was recorded. What is no number, or too large a one, was refused by
%% the metric and counted there.
-spec add(ok | error(), term(), term(), term()) -> ok | error().
add(Recorded, Name, Value, Labels) when is_float(Value); is_integer(Value), abs(Value) < 1 bsl 63 ->
    Timestamp = erlang:system_time(millisecond),
    Text = text(Name),
    Listed = case fits(Name, ?MAX_NAME_BYTES) of true -> Name; false -> Text end,
    Bounded = bounded(Labels),
    case ?NIF:operation_add(Text, encoded({Listed, Value, Bounded, Timestamp})) of
        true ->
            Recorded;
        false ->
            %% Few bytes now.
            _ = ?NIF:operation_add(Text, encoded({Listed, Value, ?TOO_LARGE, Timestamp})),
            Recorded
    end;
add(Recorded, _Name, _Value, _Labels) ->
    Recorded.

-spec encoded(tuple()) -> binary().
encoded(Operation) ->
    term_to_binary(Operation, [{minor_version, 2}]).

-spec operation({term(), number(), term(), integer()}) -> operation().
operation({Name, Value, Labels, Timestamp}) ->
    #{name => Name, value => Value, labels => Labels, timestamp => Timestamp}.

%% A negative time is that of a clock that was set back; a histogram with such
%% observations would not be one that can be summed.
-spec seconds(term()) -> term().
seconds(Ms) when is_number(Ms), Ms < 0 -> 0.0;
seconds(Ms) -> in_seconds(Ms, 1000).

-spec in_seconds(term(), pos_integer()) -> term().
in_seconds(Value, PerSecond) when is_float(Value) -> Value / PerSecond;
in_seconds(Value, PerSecond) when is_integer(Value), abs(Value) < 1 bsl 63 -> Value / PerSecond;
%% To be refused by the metric.
in_seconds(Value, _PerSecond) -> Value.

-spec native_to_seconds(integer()) -> float().
native_to_seconds(Native) ->
    Native / erlang:convert_time_unit(1, second, native).

-spec label(term()) -> erlmcp_instrumentation_label:label().
label(Term) ->
    erlmcp_instrumentation_label:value_or_unknown(Term).

-spec map(term()) -> map().
map(Labels) when is_map(Labels) -> Labels;
map(_Labels) -> #{}.

%% A name as the summary has it.
-spec text(term()) -> binary().
text(Name) when is_binary(Name), byte_size(Name) =< ?MAX_NAME_BYTES -> Name;
text(Name) when is_atom(Name) -> atom_to_binary(Name);
text(Name) ->
    case is_list(Name) andalso fits(Name, ?MAX_NAME_BYTES) of
        true -> chars(Name);
        false -> <<"other">>
    end.

-spec chars(list()) -> binary().
chars(Name) ->
    try unicode:characters_to_binary(Name) of
        Text when is_binary(Text) -> Text;
        _ -> <<"other">>
    catch
        error:badarg -> <<"other">>
    end.

%% Bounded terms

-spec bounded(term()) -> term().
bounded(Labels) ->
    case fits(Labels, ?MAX_VALUE_SIZE) of
        true -> Labels;
        false when is_map(Labels), map_size(Labels) =< ?MAX_VALUE_SIZE -> bounded_map(Labels);
        false -> ?TOO_LARGE
    end.

-spec bounded_map(map()) -> term().
bounded_map(Labels) ->
    case fits(maps:keys(Labels), ?MAX_VALUE_SIZE) of
        true -> maps:map(fun(_Name, Value) -> bounded_value(Value) end, Labels);
        false -> ?TOO_LARGE
    end.

-spec bounded_value(term()) -> term().
bounded_value(Value) ->
    case fits(Value, ?MAX_VALUE_SIZE) of
        true -> Value;
        false -> ?TOO_LARGE
    end.

-spec fits(term(), non_neg_integer()) -> boolean().
fits(Term, Most) ->
    size_left(Term, Most) =/= too_large.

%% What is left of a size when a term has taken its part. No more of the term is
%% looked at than that.
-spec size_left(term(), integer()) -> integer() | too_large.
size_left(_Term, Left) when Left < 0 ->
    too_large;
size_left(Term, Left) when is_atom(Term); is_float(Term); is_pid(Term); is_reference(Term);
                           is_port(Term) ->
    Left - 1;
size_left(Term, Left) when is_integer(Term) ->
    case abs(Term) < 1 bsl 64 of
        true -> Left - 1;
        false -> too_large
    end;
size_left(Term, Left) when is_bitstring(Term) ->
    enough(Left - 1 - byte_size(Term));
size_left([Head | Tail], Left) ->
    case size_left(Head, Left - 1) of
        too_large -> too_large;
        Rest -> size_left(Tail, Rest)
    end;
size_left([], Left) ->
    Left - 1;
size_left(Term, Left) when is_tuple(Term), tuple_size(Term) =< Left ->
    size_left(tuple_to_list(Term), Left);
size_left(Term, Left) when is_map(Term), map_size(Term) =< Left ->
    size_left(maps:to_list(Term), Left);
size_left(Term, Left) when is_function(Term) ->
    {env, Env} = erlang:fun_info(Term, env),
    size_left(Env, Left - 1);
size_left(_Term, _Left) ->
    too_large.

-spec enough(integer()) -> integer() | too_large.
enough(Left) when Left < 0 -> too_large;
enough(Left) -> Left.

%% Figures

-spec histogram([number(), ...]) -> #{binary() => number()}.
histogram(Values) ->
    Count = length(Values),
    #{<<"count">> => Count, <<"min">> => lists:min(Values), <<"max">> => lists:max(Values),
      <<"avg">> => average(Values, Count)}.

%% A sum of floats can be more than a float can be.
-spec average([number(), ...], pos_integer()) -> float().
average(Values, Count) ->
    try
        lists:sum(Values) / Count
    catch
        error:badarith -> lists:sum([Value / Count || Value <- Values])
    end.

%% The nearest rank: one of the values, as it was recorded.
-spec percentiles([number(), ...]) -> #{binary() => number()}.
percentiles(Values) ->
    Sorted = list_to_tuple(lists:sort(Values)),
    Count = tuple_size(Sorted),
    maps:from_list([{Name, element(max(1, (Count * Percent + 99) div 100), Sorted)}
                    || {Name, Percent} <- [{<<"p50">>, 50}, {<<"p90">>, 90},
                                           {<<"p95">>, 95}, {<<"p99">>, 99}]]).

-spec suffixed(binary(), fun((term()) -> term()), #{binary() => term()}) -> #{binary() => term()}.
suffixed(Suffix, Fun, Map) ->
    maps:from_list([{<<Name/binary, Suffix/binary>>, Fun(Value)} || {Name, Value} <- maps:to_list(Map)]).

-spec system_info() -> #{binary() => term()}.
system_info() ->
    #{<<"memory_total">> => erlang:memory(total),
      <<"memory_processes">> => erlang:memory(processes),
      <<"memory_system">> => erlang:memory(system),
      <<"process_count">> => erlang:system_info(process_count),
      <<"run_queue">> => erlang:statistics(run_queue),
      <<"scheduler_utilization">> => scheduler_utilization()}.

%% Empty unless the node measures it.
-spec scheduler_utilization() -> #{binary() => float()}.
scheduler_utilization() ->
    case erlang:statistics(scheduler_wall_time) of
        undefined ->
            #{};
        Times ->
            Active = lists:sum([A || {_Id, A, _Total} <- Times]),
            Total = lists:sum([T || {_Id, _Active, T} <- Times]),
            #{<<"utilization_percent">> => 100 * Active / max(1, Total)}
    end.
