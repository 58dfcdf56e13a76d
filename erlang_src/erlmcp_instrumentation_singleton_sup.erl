%% @private Supervises the processes that applications also start by the guide's
%% calls, and stop.
%%
%% A test suite stops and starts them with every case. That is no fault: it must
%% not use up the restarts of the library's supervisor, which would take the
%% application down. They have a supervisor of their own, with as many restarts
%% as only a process that cannot be started comes to.
-module(erlmcp_instrumentation_singleton_sup).

-behaviour(supervisor).

-export([start_link/0]).
-export([init/1]).

-define(RESTARTS_A_SECOND, 10000).

-spec start_link() -> supervisor:startlink_ret().
start_link() ->
    supervisor:start_link({local, ?MODULE}, ?MODULE, []).

-spec init([]) -> {ok, {supervisor:sup_flags(), [supervisor:child_spec()]}}.
init([]) ->
    Flags = #{strategy => one_for_one, intensity => ?RESTARTS_A_SECOND, period => 1},
    {ok, {Flags, [worker(Module) || Module <- [erlmcp_otel_instrumentation, erlmcp_metrics]]}}.

-spec worker(module()) -> supervisor:child_spec().
worker(Module) ->
    #{id => Module, start => {Module, start_link, []}, type => worker}.
