%% @doc Health: what the node says when it is probed.
%%
%% The pages `/live', `/ready', `/startup' and `/health' are served by native
%% threads, which ask the Erlang VM. `/live' is passed by a VM that answers in
%% time, and by nothing else: a failing database must not have the node killed.
%% `/ready' is passed by a node that has started, is not draining, and whose
%% critical checks pass.
%%
%% A check is a function of the application:
%%
%% ```
%% ok = erlmcp_instrumentation_health:register(database, fun my_pool:ping/0).
%% '''
%%
%% It runs when somebody probes, in a process of its own beside the others, and
%% is killed after its time-out. It returns
%% <ul>
%% <li>`ok', `true' or `{ok, Detail}': passed</li>
%% <li>`false' or `{error, Reason}': failed</li>
%% </ul>
%% and has failed as well when it raises, is killed, takes too long, takes more
%% than 64 MiB of memory, or returns anything else. Details and reasons are shown
%% as texts of at most 512 characters.
%%
%% Registrations belong to the node and to no process: they stay when the process
%% that made them ends, when the library's processes or its application are
%% restarted, and they may be made before it is started. An application that is
%% stopped for good unregisters its checks. Prefer `fun module:function/0': it is
%% always that of the newest code, where any other function of a module fails
%% once its version has been replaced twice.
-module(erlmcp_instrumentation_health).

-compile({no_auto_import, [register/2, unregister/1]}).

%% Checks
-export([register/2]).
-export([register/3]).
-export([unregister/1]).
-export([checks/0]).
-export([run/0]).
-export([run/1]).

%% The node's own state
-export([drain/0]).
-export([resume/0]).
-export([starting/0]).
-export([started/0]).

-export_type([name/0]).
-export_type([check/0]).
-export_type([options/0]).
-export_type([probe/0]).
-export_type([report/0]).
-export_type([outcome/0]).
-export_type([error/0]).

-type name() :: atom() | binary() | string().
-type check() :: fun(() -> ok | true | {ok, Detail :: term()} | false | {error, Reason :: term()}).
-type options() :: #{
    timeout => pos_integer(),
    probes => [ready | startup],
    critical => boolean()
}.
%% Options of {@link register/3}:
%% <ul>
%% <li>`timeout': milliseconds that the check may take, 1 to 60000. Default: the
%%     setting `health_check_timeout_ms', 5000</li>
%% <li>`probes': which probes run it beside `/health'. Default: `[ready]'</li>
%% <li>`critical': whether a probe fails when the check does (true). Otherwise it
%%     is shown, and the status is `degraded' with code 200</li>
%% </ul>
-type probe() :: health | live | ready | startup.
-type outcome() :: #{
    status := healthy | unhealthy,
    critical := boolean(),
    detail := binary(),
    duration => float(),
    age => float()
}.
%% `duration' is how long it took and `age' how long ago that was, in seconds.
-type report() :: #{
    status := healthy | degraded | unhealthy,
    checks := #{binary() => outcome()}
}.
-type error() :: {error, {Tag :: atom(), Text :: binary()}}.

-define(REGISTRY, erlmcp_instrumentation_health_registry).
-define(RESPONDER, erlmcp_instrumentation_health_responder).
-define(METRICS, erlmcp_instrumentation_health_metrics).
-define(LOG, erlmcp_instrumentation_health_log).
-define(MAX_NAME_BYTES, 128).
-define(MAX_TIMEOUT_MS, 60000).
%% Each check is an entry of the answer, a series of each of its metrics, and
%% two processes while it runs.
-define(MAX_CHECKS, 100).
-define(RESERVED, [<<"beam">>, <<"startup">>, <<"accepting">>]).

%% Checks

%% @equiv register(Name, Fun, #{})
-spec register(name(), check()) -> ok | error().
register(Name, Fun) ->
    register(Name, Fun, #{}).

%% @doc Registers a check, in the place of one of the same name.
%%
%% Names are atoms, binaries or strings of 1 to 128 bytes of UTF-8, and `db',
%% `<<"db">>' and `"db"' are one; `beam', `startup' and `accepting' are the
%% library's. Registering the same again changes nothing. A node has at most 100
%% checks; registrations that are made at the very same time may pass that.
%%
%% Errors: `bad_name', `reserved_name', `bad_function', `bad_option',
%% `too_many_checks'. Sends a message to the process that answers probes, if it
%% runs; never raises. For the start of an application and not for every request:
%% replacing a check has the VM look through all processes.
-spec register(name(), check(), options()) -> ok | error().
register(Name, Fun, Options) ->
    case {checked_name(Name), checked_options(Options)} of
        {{error, _} = Error, _} -> Error;
        {{ok, _}, _} when not is_function(Fun, 0) ->
            refused(bad_function, "a check is a function without arguments");
        {{ok, _}, {error, _} = Error} -> Error;
        {{ok, Text}, {ok, Complete}} -> put_check(Text, Fun, Complete)
    end.

%% @doc Removes a check and its metrics; says whether there was one. A run that
%% is under way ends without a result. Sends a message as {@link register/3} does;
%% never raises.
-spec unregister(name()) -> boolean().
unregister(Name) ->
    case checked_name(Name) of
        {ok, Text} ->
            Existed = ?REGISTRY:erase(Text),
            ok = ?RESPONDER:refresh(),
            _ = [?METRICS:forget(Text) || Existed],
            Existed;
        {error, _} ->
            false
    end.

%% @doc The checks that are registered, with their options. Sends no message;
%% takes time in proportion to the node's persistent terms.
-spec checks() -> #{binary() => #{timeout := pos_integer() | default, probes := [ready | startup],
                                  critical := boolean()}}.
checks() ->
    maps:from_list([{Name, Options} || {Name, _Ref, Options} <- ?REGISTRY:all()]).

%% @equiv run(health)
-spec run() -> report() | {error, not_running}.
run() ->
    run(health).

%% @doc What a probe is told, from Erlang: checks run under the same rules, and
%% share runs and results with the probes that come by HTTP. Calls the process
%% that answers these and waits up to three fifths of `health_timeout_ms'.
-spec run(probe()) -> report() | {error, not_running}.
run(Probe) when Probe =:= health; Probe =:= live; Probe =:= ready; Probe =:= startup ->
    case ?RESPONDER:report(Probe) of
        {ok, Items} -> made_report([{<<"beam">>, true, true, <<>>, nil, nil} | Items]);
        {error, not_running} = Error -> Error
    end.

%% The node's own state

%% @doc Says that the node takes no more work: `/ready' and `/health' answer 503
%% from now on, `/live' is as before. For the time between a load balancer's
%% notice and the stop. Nothing else changes; it is kept as the checks are, until
%% {@link resume/0}. Sends no message, except to the log.
-spec drain() -> ok.
drain() ->
    mark_draining(true, draining).

%% @doc Says that the node takes work again.
-spec resume() -> ok.
resume() ->
    mark_draining(false, resumed).

%% @doc Says that the application is not ready until it calls {@link started/0}.
%% To be called while it is being started. Without it the node counts as started
%% as soon as all applications of the release are. Sends no message.
-spec starting() -> ok.
starting() ->
    mark_starting(true).

%% @doc Says that the application has started, after {@link starting/0}.
-spec started() -> ok.
started() ->
    mark_starting(false).

%% Internals

-spec mark_draining(boolean(), draining | resumed) -> ok.
mark_draining(Value, Said) ->
    _ = ?REGISTRY:mark(draining, Value) andalso ?LOG:marked(Said),
    show(<<"accepting">>, not Value).

-spec mark_starting(boolean()) -> ok.
mark_starting(Value) ->
    _ = ?REGISTRY:mark(starting, Value),
    show(<<"startup">>, not Value andalso ?REGISTRY:marked(booted)).

%% It may be the first that is recorded: the library need not have been started.
-spec show(binary(), boolean()) -> ok.
show(Name, Up) ->
    ok = erlmcp_metrics_catalogue:declare(health),
    ?METRICS:state(Name, Up).

-spec put_check(binary(), check(), erlmcp_instrumentation_health_registry:options()) ->
    ok | error().
put_check(Name, Fun, Options) ->
    Others = [Other || {Other, _Ref, _Options} <- ?REGISTRY:all(), Other =/= Name],
    case length(Others) < ?MAX_CHECKS of
        true ->
            _ = ?REGISTRY:put(Name, Fun, Options) andalso ?RESPONDER:refresh(),
            ok;
        false ->
            refused(too_many_checks, io_lib:format("the node has ~b checks", [?MAX_CHECKS]))
    end.

-spec checked_name(term()) -> {ok, binary()} | error().
checked_name(Name) when is_atom(Name) ->
    checked_text(atom_to_binary(Name));
checked_name(Name) when is_binary(Name) ->
    checked_text(Name);
checked_name(Name) when is_list(Name) ->
    try
        checked_text(unicode:characters_to_binary(Name))
    catch
        error:badarg -> checked_text(none)
    end;
checked_name(_Name) ->
    checked_text(none).

-spec checked_text(term()) -> {ok, binary()} | error().
checked_text(Text) when is_binary(Text), Text =/= <<>>, byte_size(Text) =< ?MAX_NAME_BYTES ->
    case {unicode:characters_to_binary(Text), lists:member(Text, ?RESERVED)} of
        %% Not the part of a larger one.
        {Text, false} -> {ok, binary:copy(Text)};
        {Text, true} -> refused(reserved_name, "beam, startup and accepting are the library's");
        {_NotUtf8, _} -> checked_text(none)
    end;
checked_text(_Other) ->
    refused(bad_name, "a name is an atom, a binary or a string of 1 to 128 bytes of UTF-8").

-spec checked_options(term()) ->
    {ok, erlmcp_instrumentation_health_registry:options()} | error().
checked_options(Options) when is_map(Options) ->
    Defaults = #{timeout => default, probes => [ready], critical => true},
    checked_options(maps:to_list(Options), Defaults);
checked_options(_Options) ->
    refused(bad_option, "the options are a map").

-spec checked_options([{term(), term()}], erlmcp_instrumentation_health_registry:options()) ->
    {ok, erlmcp_instrumentation_health_registry:options()} | error().
checked_options([], Options) ->
    {ok, Options};
checked_options([{timeout, Ms} | Rest], Options)
  when is_integer(Ms), Ms >= 1, Ms =< ?MAX_TIMEOUT_MS ->
    checked_options(Rest, Options#{timeout := Ms});
checked_options([{timeout, _} | _], _Options) ->
    refused(bad_option, "timeout is an integer from 1 to 60000, in milliseconds");
checked_options([{critical, Critical} | Rest], Options) when is_boolean(Critical) ->
    checked_options(Rest, Options#{critical := Critical});
checked_options([{critical, _} | _], _Options) ->
    refused(bad_option, "critical is a boolean");
checked_options([{probes, Probes} | Rest], Options) when length(Probes) > 0 ->
    Known = [Probe || Probe <- [ready, startup], lists:member(Probe, Probes)],
    case length(Known) =:= length(Probes) of
        true -> checked_options(Rest, Options#{probes := Known});
        false -> checked_options([{probes, none}], Options)
    end;
checked_options([{probes, _} | _], _Options) ->
    refused(bad_option, "probes is [ready], [startup] or [ready, startup]");
checked_options([{Key, _} | _], _Options) ->
    refused(bad_option, io_lib:format("there is no option ~0tp", [Key], [{chars_limit, 100}])).

-spec refused(atom(), unicode:chardata()) -> error().
refused(Tag, Text) ->
    {error, {Tag, unicode:characters_to_binary(Text)}}.

-spec made_report([erlmcp_instrumentation_health_responder:item()]) -> report().
made_report(Items) ->
    Status = case {[critical || {_, false, true, _, _, _} <- Items],
                   [shown || {_, false, _, _, _, _} <- Items]} of
        {[_ | _], _} -> unhealthy;
        {[], [_ | _]} -> degraded;
        {[], []} -> healthy
    end,
    #{status => Status, checks => maps:from_list([outcome(Item) || Item <- Items])}.

-spec outcome(erlmcp_instrumentation_health_responder:item()) -> {binary(), outcome()}.
outcome({Name, Healthy, Critical, Detail, DurationUs, AgeMs}) ->
    Times = [{duration, DurationUs / 1.0e6} || is_integer(DurationUs)]
        ++ [{age, AgeMs / 1.0e3} || is_integer(AgeMs)],
    Status = case Healthy of
        true -> healthy;
        false -> unhealthy
    end,
    {Name, maps:merge(#{status => Status, critical => Critical, detail => Detail},
                      maps:from_list(Times))}.
