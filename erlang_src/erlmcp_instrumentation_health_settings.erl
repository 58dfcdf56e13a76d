%% @doc The table of the settings of the health probes.
%%
%% Part of {@link erlmcp_instrumentation_config:spec/0}.
-module(erlmcp_instrumentation_health_settings).

-export([spec/0]).
-export([version/1]).

-import(erlmcp_instrumentation_config, [entry/5]).

-define(MAX_MS, 60000).
-define(DAY_MS, 86400000).

%% @doc The entries of the table.
-spec spec() -> [erlmcp_instrumentation_config:entry()].
spec() ->
    Details = [{Word, atom_to_list(Word)} || Word <- [off, loopback, open]],
    [entry(health_timeout_ms, {integer, 1, ?MAX_MS}, 500, milliseconds,
           <<"How long a health probe waits for the Erlang VM; after it the answer is 503. "
             "Checks have three fifths of it to give new results. Keep it below the time-out of "
             "whoever probes, which is 1 s in Kubernetes unless timeoutSeconds says otherwise.">>),
     entry(health_check_timeout_ms, {integer, 1, ?MAX_MS}, 5000, milliseconds,
           <<"How long a check may take that was registered without a timeout of its own; then "
             "it is killed and has failed.">>),
     entry(health_cache_ms, {integer, 0, ?MAX_MS}, 1000, milliseconds,
           <<"How long the result of a check is given to further probes before the check is run "
             "again.">>),
     entry(health_max_age_ms, {integer, 1000, ?DAY_MS}, 60000, milliseconds,
           <<"How old the last result of a check may be that is shown while a new one is awaited; "
             "an older one counts as failed. Longer than the time between two probes.">>),
     entry(health_details, {choice, Details}, loopback, none,
           <<"Who is shown the details of the checks, such as the reason of a failure: nobody, "
             "those on this machine, or everybody who reaches the HTTP server. Others see which "
             "checks there are and whether they pass.">>),
     entry(health_version, {optional, off, text}, off, none,
           <<"The version that the health pages show. Off takes service.version (of "
             "resource_attributes or of the release), and without one that of this "
             "library.">>)].

%% @doc The version that the health pages show.
-spec version(erlmcp_instrumentation_config:config()) -> binary().
version(#{health_version := off} = Config) ->
    Resource = erlmcp_instrumentation_otel_config:resource(Config),
    case lists:keyfind(<<"service.version">>, 1, Resource) of
        {_, Version} when is_binary(Version) ->
            Version;
        _ ->
            {ok, Own} = application:get_key(erlmcp_instrumentation, vsn),
            list_to_binary(Own)
    end;
version(#{health_version := Version}) ->
    Version.
