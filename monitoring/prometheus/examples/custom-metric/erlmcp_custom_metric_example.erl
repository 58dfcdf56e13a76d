%% The guide's custom metric: how many orders wait, by desk.
-module(erlmcp_custom_metric_example).

-export([declare/0, record/2]).

%% Once, when the application starts. Without it the first record/2 makes a gauge
%% that has no description.
-spec declare() -> ok | {error, term()}.
declare() ->
    erlmcp_metrics:declare(gauge, "erlmcp_custom_metric",
                           #{description => "Orders that wait, by desk.", labels => [desk]}).

%% Wherever the number changes. The desks are few and known: each is a series.
-spec record(atom(), number()) -> ok | {error, term()}.
record(Desk, Waiting) ->
    erlmcp_metrics:record_gauge("erlmcp_custom_metric", Waiting, #{desk => Desk}).
