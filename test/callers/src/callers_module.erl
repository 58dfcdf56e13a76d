%% The module in use: operations with ids and milliseconds, lists of them, and a
%% summary.
-module(callers_module).

-export([run/0, raises/0, read/0]).

run() ->
    [ok = erlmcp_metrics:record_transport_operation(<<"tcp_conn_1">>, tcp, send, N)
     || N <- [10, 20, 30, 40, 50]],
    ok = erlmcp_metrics:record_server_operation(<<"server_1">>, initialize, 50,
                                                #{<<"result">> => ok}),
    ok = erlmcp_metrics:record_server_operation(srv2, <<"call">>, 12.5, #{request => {id, 7}}),
    ok = erlmcp_metrics:record_registry_operation(register, 5, #{}),
    ok = erlmcp_metrics:record_registry_operation(lookup, 15, #{}),
    erlmcp_metrics:with_metrics(<<"test_operation">>, #{<<"test">> => true}, fun() ->
        timer:sleep(10),
        success
    end).

raises() ->
    erlmcp_metrics:with_metrics(<<"error_op">>, #{}, fun() -> here(throw, test_error) end).

here(Class, Reason) ->
    erlang:raise(Class, Reason, [{callers_module, here, 2, [{file, "x"}, {line, 1}]}]).

read() ->
    {erlmcp_metrics:get_metrics(), erlmcp_metrics:get_performance_summary()}.
