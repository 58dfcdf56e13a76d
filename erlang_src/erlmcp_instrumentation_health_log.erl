%% @private What the log says of health: changes, not states.
-module(erlmcp_instrumentation_health_log).

-include_lib("kernel/include/logger.hrl").

-export([changed/3]).
-export([marked/1]).
-export([format_report/1]).

-define(METADATA, #{domain => [erlmcp, health], report_cb => fun ?MODULE:format_report/1}).

%% @doc Tells that a check has failed or passes again. In a process of its own:
%% a handler may block, and those who answer probes must not.
-spec changed(erlmcp_instrumentation_health_registry:name(),
              erlmcp_instrumentation_health_check:result(),
              Suppressed :: non_neg_integer()) -> ok.
changed(Name, #{reason := Reason, detail := Detail}, Suppressed) ->
    Report = #{what => health_check_changed, check => Name, reason => Reason, detail => Detail,
               suppressed => Suppressed},
    _ = spawn(fun() -> report(Report) end),
    ok.

%% @doc Tells what the application has said of its state. In the caller.
-spec marked(draining | resumed) -> ok.
marked(Mark) ->
    ?LOG_NOTICE(#{what => health_mark, mark => Mark}, ?METADATA).

%% @doc The text of this module's log reports.
-spec format_report(logger:report()) -> {io:format(), [term()]}.
format_report(#{what := health_check_changed, check := Name, reason := passed} = Report) ->
    {"health check ~ts passes again~ts", [Name, suppressed(Report)]};
format_report(#{what := health_check_changed, check := Name, reason := Reason,
                detail := Detail} = Report) ->
    {"health check ~ts failed (~ts)~ts~ts",
     [Name, Reason, [[": ", Detail] || Detail =/= <<>>], suppressed(Report)]};
format_report(#{what := health_mark, mark := draining}) ->
    {"this node takes no more work: readiness probes are answered with 503", []};
format_report(#{what := health_mark, mark := resumed}) ->
    {"this node takes work again", []}.

-spec report(map()) -> ok.
report(#{reason := passed} = Report) ->
    ?LOG_NOTICE(Report, ?METADATA);
report(Report) ->
    ?LOG_WARNING(Report, ?METADATA).

-spec suppressed(#{suppressed := non_neg_integer(), _ => _}) -> iolist().
suppressed(#{suppressed := 0}) -> [];
suppressed(#{suppressed := Count}) -> io_lib:format(" (~b changes not logged)", [Count]).
