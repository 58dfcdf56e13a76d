%% @doc Turns SIGTERM into a message, so that the demo ends in its own order.
-module(erlmcp_demo_signal).
-behaviour(gen_event).

-export([forward_to/1]).

-export([init/1]).
-export([handle_event/2]).
-export([handle_call/2]).

%% @doc Sends `{signal, sigterm}' to the process from now on, where OTP's own
%% handler would begin to stop the node.
-spec forward_to(pid()) -> ok.
forward_to(Pid) ->
    ok = gen_event:swap_handler(erl_signal_server, {erl_signal_handler, []}, {?MODULE, Pid}).

%% @private
-spec init({pid(), term()}) -> {ok, pid()}.
init({Pid, _FromOldHandler}) ->
    {ok, Pid}.

%% @private
-spec handle_event(atom(), pid()) -> {ok, pid()}.
handle_event(sigterm, Pid) ->
    Pid ! {signal, sigterm},
    {ok, Pid};
handle_event(_Signal, Pid) ->
    {ok, Pid}.

%% @private
-spec handle_call(term(), pid()) -> {ok, ok, pid()}.
handle_call(_Request, Pid) ->
    {ok, ok, Pid}.
