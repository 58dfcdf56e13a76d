%% The draft API: atoms as names, binaries as labels, seconds.
-module(callers_draft).

-export([declare/0, run/0, read/0]).

declare() ->
    ok = erlmcp_metrics:counter(draft_requests_total, #{
        description => "Total number of requests",
        unit => "{request}"
    }),
    ok = erlmcp_metrics:histogram(draft_request_duration_seconds, #{
        description => "Request duration in seconds",
        unit => "s",
        buckets => [0.005, 0.01, 0.1, 1, 10]
    }),
    ok = erlmcp_metrics:counter(draft_registry_operations_total, #{
        description => "Total number of registry operations",
        labels => [<<"operation">>]
    }),
    %% Catalogue metrics that erlmcp declares itself.
    ok = erlmcp_metrics:counter(erlmcp_sessions_created_total, #{
        description => "Total number of sessions created", unit => "{session}"}),
    ok = erlmcp_metrics:histogram(erlmcp_session_duration_seconds, #{
        description => "Session duration in seconds", unit => "s",
        buckets => [1, 5, 10, 30, 60, 300, 600, 1800]}),
    ok = erlmcp_metrics:create_counter(<<"my_custom_metric">>, "Custom metric description"),
    ok = erlmcp_metrics:create_counter(draft_events_total, "Events", [<<"kind">>]),
    ok = erlmcp_metrics:create_gauge(<<"my_custom_gauge">>, "Custom gauge description"),
    ok = erlmcp_metrics:create_gauge(draft_depth, <<"Depth">>, #{labels => [queue]}),
    ok = erlmcp_metrics:create_histogram(<<"my_custom_histogram">>, "Custom histogram description"),
    ok = erlmcp_metrics:create_histogram(draft_size_bytes, "Sizes", [10, 50, 100]),
    ok.

run() ->
    ok = erlmcp_metrics:inc(draft_requests_total, 1, #{<<"status">> => <<"success">>}),
    ok = erlmcp_metrics:inc(draft_requests_total, #{<<"status">> => <<"error">>}, 2),
    ok = erlmcp_metrics:inc(draft_requests_total, #{<<"status">> => <<"error">>}),
    ok = erlmcp_metrics:observe(draft_request_duration_seconds, 0.25, #{}),
    ok = erlmcp_metrics:observe(draft_request_duration_seconds, #{}, 0.75),
    ok = erlmcp_metrics:inc(draft_registry_operations_total, 1, #{<<"operation">> => <<"lookup">>}),
    ok = erlmcp_metrics:inc(erlmcp_sessions_created_total, 1, #{}),
    ok = erlmcp_metrics:observe(erlmcp_session_duration_seconds, 2.0, #{}),
    ok = erlmcp_metrics:inc(<<"my_custom_metric">>, 1),
    ok = erlmcp_metrics:inc(<<"my_custom_metric">>),
    ok = erlmcp_metrics:counter(<<"my_custom_metric">>, 3),
    ok = erlmcp_metrics:counter(draft_events_total, #{<<"kind">> => <<"seen">>}),
    ok = erlmcp_metrics:gauge(<<"my_custom_gauge">>, 100),
    ok = erlmcp_metrics:gauge(draft_depth, 7, #{<<"queue">> => <<"tools">>}),
    ok = erlmcp_metrics:dec(draft_depth, 2, #{<<"queue">> => <<"tools">>}),
    ok = erlmcp_metrics:dec(draft_depth, #{<<"queue">> => <<"tools">>}, 1),
    ok = erlmcp_metrics:dec(<<"my_custom_gauge">>, 10),
    ok = erlmcp_metrics:dec(<<"my_custom_gauge">>),
    ok = erlmcp_metrics:observe(<<"my_custom_histogram">>, 42.5),
    ok = erlmcp_metrics:histogram(<<"my_custom_histogram">>, 0.5),
    ok = erlmcp_metrics:histogram(draft_size_bytes, 60),
    ok = erlmcp_metrics:record_counter(draft_recorded_total, 4, #{<<"a">> => <<"b">>}),
    ok = erlmcp_metrics:record_gauge(draft_recorded_gauge, 1.5, #{}),
    ok = erlmcp_metrics:record_histogram(draft_recorded_seconds, 0.5, #{}),
    ok.

read() ->
    {erlmcp_metrics:collect_metrics(), erlmcp_metrics:get_metrics_summary()}.
