%% @doc The application of the monitoring guide, "erlmcp Application Integration".
-module(erlmcp_app).
-behaviour(application).

-export([start/2]).
-export([stop/1]).

%% @doc Starts the application, as the guide does.
%%
%% The library's own supervisor may run both processes already (it does, where
%% `erlmcp_instrumentation' is among the applications): the calls are then
%% answered with the processes that run, and nothing depends on the answers.
-spec start(application:start_type(), term()) -> {ok, pid()} | {error, term()}.
start(_Type, _Args) ->
    erlmcp_otel_instrumentation:start_link(),
    erlmcp_metrics:start_link(),
    erlmcp_sup:start_link().

%% @doc Nothing to do: the supervisor has stopped what it started.
-spec stop(term()) -> ok.
stop(_State) ->
    ok.
