%% @doc Collector of the carriers and blocks of the VM's memory allocators.
%%
%% One family, `erlang_vm_allocators', a gauge with the labels `alloc',
%% `instance_no', `kind' (`mbcs' and `sbcs': carriers of many blocks or of one;
%% `mbcs_pool': carriers given up for adoption) and `usage' (`carriers' and
%% `blocks' are numbers of them, `carriers_size' and `blocks_size' are bytes).
%%
%% Every allocator has one instance for each scheduler and one beside, so this
%% is the group with the most series: about 100 for each scheduler thread.
-module(erlmcp_instrumentation_vm_allocators).

-behaviour(erlmcp_instrumentation_collector).

-export([collect/1]).

-import(erlmcp_instrumentation_collector, [family/4, attempt/1]).

%% @doc Gathers the family. One round trip to every scheduler.
%%
%% Reading an allocator also starts its "highest since the last call" figures
%% anew, which only debugging tools look at.
-spec collect(erlmcp_instrumentation_collector:opts()) ->
    [erlmcp_instrumentation_collector:family()].
collect(_Opts) ->
    [family(<<"erlang_vm_allocators">>, gauge,
            <<"Carriers and blocks of the VM's allocators: how many (usage carriers, blocks) "
              "and their bytes (usage carriers_size, blocks_size).">>,
            [Sample || {Allocator, Instances} <- allocators(),
                       %% `false' stands for an allocator that has been disabled.
                       is_list(Instances),
                       {instance, Instance, Properties} <- Instances,
                       {Kind, Figures} <- Properties,
                       Kind =:= mbcs orelse Kind =:= mbcs_pool orelse Kind =:= sbcs,
                       Sample <- samples(Allocator, Instance, Kind, Figures)])].

%% erlang:system_info({allocator, Name}) makes a round trip to every scheduler for
%% each name. The function that it is made of takes all names at once, in a third
%% to a fifth of the time, but is not documented: a release may drop it.
-spec allocators() -> [{Name :: atom(), Instances :: term()}].
allocators() ->
    Names = erlang:system_info(alloc_util_allocators),
    case attempt(fun() -> erlang:alloc_info(Names) end) of
        Infos when is_list(Infos) ->
            Infos;
        _ ->
            [{Name, attempt(fun() -> erlang:system_info({allocator, Name}) end)} || Name <- Names]
    end.

-spec samples(atom(), integer(), atom(), [tuple()]) ->
    [{erlmcp_instrumentation_collector:labels(), term()}].
samples(Allocator, Instance, Kind, Figures) ->
    Labels = fun(Usage) ->
        [{<<"alloc">>, Allocator}, {<<"instance_no">>, Instance},
         {<<"kind">>, Kind}, {<<"usage">>, Usage}]
    end,
    {Blocks, BlocksSize} = blocks(Figures),
    [{Labels(carriers), current(carriers, Figures)},
     {Labels(carriers_size), current(carriers_size, Figures)},
     {Labels(blocks), Blocks},
     {Labels(blocks_size), BlocksSize}].

%% Since OTP 23 an instance may hold blocks of several types, each with figures
%% of its own.
-spec blocks([tuple()]) -> {Count :: term(), Bytes :: term()}.
blocks(Figures) ->
    case lists:keyfind(blocks, 1, Figures) of
        {blocks, Types} when is_list(Types) ->
            {sum(count, Types), sum(size, Types)};
        _ ->
            {current(blocks, Figures), current(blocks_size, Figures)}
    end.

-spec sum(atom(), [{atom(), [tuple()]}]) -> non_neg_integer().
sum(Key, Types) ->
    lists:sum([Value || {_Type, Figures} <- Types,
                        Value <- [current(Key, Figures)],
                        is_integer(Value)]).

%% A figure is `{Key, Current}' or `{Key, Current, HighestSinceCall, Highest}'.
-spec current(atom(), [tuple()]) -> term().
current(Key, Figures) ->
    case lists:keyfind(Key, 1, Figures) of
        false -> undefined;
        Figure -> element(2, Figure)
    end.
