%% @doc Work that looks like a server's: CPU that is really used, and waiting.
-module(erlmcp_demo_work).

-export([cpu/1]).
-export([wait/2]).
-export([chance/1]).
-export([set_faults/1]).
-export([fault/1]).
-export([faults/0]).
-export([pick/1]).

-define(MAX_WAIT_MS, 500).

%% @doc Hashes 1 KiB `Units' times: a few microseconds each.
-spec cpu(Units :: non_neg_integer()) -> ok.
cpu(Units) ->
    hash(Units, <<0:8192>>).

%% @doc Sleeps for a log-normal time, as waits for disks and networks are spread.
%%
%% `Spread' is the standard deviation of the time's logarithm. The time is cut
%% at 500 ms, so that the demo ends soon after it is told to.
-spec wait(MedianMs :: number(), Spread :: number()) -> ok.
wait(MedianMs, Spread) ->
    Ms = MedianMs * math:exp(min(5.0, Spread * rand:normal())),
    timer:sleep(min(?MAX_WAIT_MS, round(Ms))).

%% @doc Is true with the probability given, from 0 to 1.
-spec chance(float()) -> boolean().
chance(Probability) ->
    rand:uniform() < Probability.

%% @doc Sets how many percent of the faults happen, before any can.
-spec set_faults(0..100) -> ok.
set_faults(Percent) ->
    persistent_term:put(?MODULE, Percent / 100).

%% @doc The share of faults that happen, from 0 to 1.
-spec faults() -> float().
faults() ->
    persistent_term:get(?MODULE, 1.0).

%% @doc Whether something goes wrong that does with the probability given.
-spec fault(float()) -> boolean().
fault(Probability) ->
    chance(Probability * faults()).

%% @doc One of the items, each as often as its weight says.
-spec pick([{Weight :: pos_integer(), Item}, ...]) -> Item.
pick(Weighted) ->
    Total = lists:sum([Weight || {Weight, _Item} <- Weighted]),
    pick(rand:uniform(Total), Weighted).

-spec pick(pos_integer(), [{pos_integer(), Item}, ...]) -> Item.
pick(Point, [{Weight, Item} | _]) when Point =< Weight ->
    Item;
pick(Point, [{Weight, _Item} | Rest]) ->
    pick(Point - Weight, Rest).

-spec hash(non_neg_integer(), binary()) -> ok.
hash(0, _Block) ->
    ok;
hash(Units, <<_:16/binary, Rest/binary>> = Block) ->
    hash(Units - 1, <<(erlang:md5(Block))/binary, Rest/binary>>).
