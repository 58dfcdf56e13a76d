%% @doc The application of the monitoring guide, "erlmcp Application Integration".
-module(erlmcp_app).
-behaviour(application).

-export([start/2]).
-export([stop/1]).

%% @doc Starts the application, as the guide does.
%%
%% The library's own supervisor may run `erlmcp_metrics' already (it does, where
%% `erlmcp_instrumentation' is among the applications): the call is then
%% answered with the process that runs, and nothing depends on the answer.
-spec start(application:start_type(), term()) -> {ok, pid()} | {error, term()}.
start(_Type, _Args) ->
    erlmcp_metrics:start_link(),
    erlmcp_sup:start_link().

%% @doc Nothing to do: the supervisor has stopped what it started.
-spec stop(term()) -> ok.
stop(_State) ->
    ok.
