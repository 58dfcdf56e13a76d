%% @private Lets the library's own log messages through OTP's default handler.
%%
%% They have a domain, so that they can be routed. As OTP sets it up, the default
%% handler shows only what has none and what is OTP's: warnings that a setting
%% does not exist, or that a receiver cannot be reached, would be seen by nobody.
%% A handler that was set up otherwise is left as it is.
-module(erlmcp_instrumentation_log_filter).

-export([install/0]).
-export([remove/0]).

-define(HANDLER, default).

%% @doc Adds the filters, where the handler is as OTP sets it up. Again changes
%% nothing.
-spec install() -> ok.
install() ->
    case logger:get_handler_config(?HANDLER) of
        {ok, #{filter_default := stop, filters := Filters}} ->
            case lists:keymember(no_domain, 1, Filters) of
                true -> each(fun add/2);
                false -> ok
            end;
        _ ->
            ok
    end.

%% @doc Takes the filters away.
-spec remove() -> ok.
remove() ->
    each(fun(Id, _Domain) -> logger:remove_handler_filter(?HANDLER, Id) end).

-spec add(atom(), [atom()]) -> term().
add(Id, Domain) ->
    logger:add_handler_filter(?HANDLER, Id, {fun logger_filters:domain/2, {log, sub, Domain}}).

-spec each(fun((atom(), [atom()]) -> term())) -> ok.
each(Fun) ->
    lists:foreach(fun({Id, Domain}) -> Fun(Id, Domain) end,
                  [{erlmcp_instrumentation, [erlmcp, instrumentation]},
                   {erlmcp_metrics, [erlmcp, metrics]},
                   {erlmcp_http, [erlmcp, http]},
                   {erlmcp_health, [erlmcp, health]}]).
