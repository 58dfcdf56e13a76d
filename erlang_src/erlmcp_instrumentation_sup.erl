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
        #{id => erlmcp_instrumentation_singleton_sup,
          start => {erlmcp_instrumentation_singleton_sup, start_link, []},
          type => supervisor},
        worker(erlmcp_instrumentation_vm, [Config]),
        worker(erlmcp_instrumentation_health_responder, [Config])
        | listener(Config) ++ log_file(Config)
    ]}}.

-spec listener(erlmcp_instrumentation_config:config()) -> [supervisor:child_spec()].
listener(#{http_enabled := false}) -> [];
listener(#{http_enabled := true} = Config) -> [worker(erlmcp_instrumentation_listener, [Config])].

-spec log_file(erlmcp_instrumentation_config:config()) -> [supervisor:child_spec()].
log_file(#{log_file := off}) -> [];
log_file(Config) -> [worker(erlmcp_log_file, [erlmcp_instrumentation_log_settings:file(Config)])].

-spec worker(module(), [term()]) -> supervisor:child_spec().
worker(Module, Args) ->
    #{id => Module, start => {Module, start_link, Args}, type => worker}.
