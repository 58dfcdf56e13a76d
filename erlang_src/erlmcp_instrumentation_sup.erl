%% @private Supervises the library's processes.
%%
%% None of them holds a count: each can be restarted at any time.
-module(erlmcp_instrumentation_sup).

-behaviour(supervisor).

-export([start_link/1]).
-export([init/1]).

-spec start_link(erlmcp_instrumentation_config:config()) -> supervisor:startlink_ret().
start_link(Config) ->
    supervisor:start_link({local, ?MODULE}, ?MODULE, Config).

-spec init(erlmcp_instrumentation_config:config()) ->
    {ok, {supervisor:sup_flags(), [supervisor:child_spec()]}}.
init(Config) ->
    Flags = #{strategy => one_for_one, intensity => 5, period => 10},
    {ok, {Flags, [
        %% Before those who record, so that it ends after them.
        worker(erlmcp_instrumentation_exporter, [Config]),
        worker(erlmcp_otel_instrumentation, []),
        worker(erlmcp_metrics, []),
        worker(erlmcp_instrumentation_vm, [Config]),
        worker(erlmcp_instrumentation_health_responder, [Config])
        | listener(Config)
    ]}}.

-spec listener(erlmcp_instrumentation_config:config()) -> [supervisor:child_spec()].
listener(#{http_enabled := false}) -> [];
listener(#{http_enabled := true} = Config) -> [worker(erlmcp_instrumentation_listener, [Config])].

-spec worker(module(), [term()]) -> supervisor:child_spec().
worker(Module, Args) ->
    #{id => Module, start => {Module, start_link, Args}, type => worker}.
