%% What a refused call answers, and what the library counts of it.
-module(erlmcp_ct_refusal).

-include_lib("stdlib/include/assert.hrl").

-export([refused/3]).
-export([counts/0, count/1, risen/1]).

%% Checks that an answer is a refusal with this tag, in words that hold Text.
refused(Tag, Text, Answer) ->
    ?assertMatch({error, {Tag, _}}, Answer),
    {error, {Tag, Said}} = Answer,
    ?assert(is_binary(Said)),
    ?assertEqual(Said, unicode:characters_to_binary(Said)),
    ?assertNotEqual({Text, Said, nomatch}, {Text, Said, string:find(Said, Text)}).

%% Refused recordings by reason, as a scrape tells them.
counts() ->
    Scrape = erlmcp_instrumentation_nif:scrape(text, all, []),
    Line = "^erlmcp_metrics_rejected_samples_total{reason=\"(.*)\"} ([0-9]+)$",
    {match, Found} = re:run(Scrape, Line, [global, multiline, {capture, all_but_first, binary}]),
    maps:from_list([{binary_to_atom(Reason), binary_to_integer(Count)} || [Reason, Count] <- Found]).

count(Reason) ->
    maps:get(Reason, counts()).

%% How much each count has risen since, without those that have not.
risen(Before) ->
    maps:filter(fun(_, N) -> N =/= 0 end,
                maps:map(fun(Reason, N) -> N - maps:get(Reason, Before) end, counts())).
