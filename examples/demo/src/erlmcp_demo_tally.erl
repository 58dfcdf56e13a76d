%% @doc What the simulated clients saw and the server began to trace, counted apart
%% from the library.
%%
%% The demo's check compares these counts with what Prometheus would read. They
%% are kept in OTP's `counters', so that one is not the witness of itself.
-module(erlmcp_demo_tally).

-export([new/0]).
-export([request/2]).
-export([session/0]).
-export([span/0]).
-export([requests/0]).
-export([totals/0]).

-export_type([status/0]).

-type status() :: success | error.

%% @doc Starts the counts at 0. Call it once, before any client starts.
-spec new() -> ok.
new() ->
    Keys = [session, span | keys()],
    Index = maps:from_list(lists:zip(Keys, lists:seq(1, length(Keys)))),
    persistent_term:put(?MODULE, {counters:new(length(Keys), [write_concurrency]), Index}).

%% @doc A client got the answer to a request.
-spec request(Method :: binary(), status()) -> ok.
request(Method, Status) ->
    add({Method, Status}).

%% @doc A client opened a session.
-spec session() -> ok.
session() ->
    add(session).

%% @doc A span is about to be started.
-spec span() -> ok.
span() ->
    add(span).

%% @doc The counts by method and status, zeros included.
-spec requests() -> #{{Method :: binary(), status()} => non_neg_integer()}.
requests() ->
    {Counts, Index} = persistent_term:get(?MODULE),
    maps:from_list([{Key, counters:get(Counts, maps:get(Key, Index))} || Key <- keys()]).

%% @doc The sums over all methods.
-spec totals() -> #{requests | errors | sessions | spans => non_neg_integer()}.
totals() ->
    {Counts, Index} = persistent_term:get(?MODULE),
    Requests = requests(),
    #{requests => lists:sum(maps:values(Requests)),
      errors => lists:sum([N || {{_Method, error}, N} <- maps:to_list(Requests)]),
      sessions => counters:get(Counts, maps:get(session, Index)),
      spans => counters:get(Counts, maps:get(span, Index))}.

-spec add(session | span | {binary(), status()}) -> ok.
add(Key) ->
    {Counts, Index} = persistent_term:get(?MODULE),
    counters:add(Counts, maps:get(Key, Index), 1).

-spec keys() -> [{binary(), status()}].
keys() ->
    [{Method, Status} || {Method, _Component} <- erlmcp_demo_methods:all(),
                         Status <- [success, error]].
