%% @private Learns why processes ended that had spans open.
%%
%% The native library sees every process end, but not the reason. This process
%% asks it, a few times a second, which processes have had a span open for a
%% while, monitors those, and tells the reason when one ends. Short spans of
%% processes that die are ended by the library alone, without a reason.
-module(erlmcp_instrumentation_span_watcher).

-behaviour(gen_server).

-export([start_link/0]).
-export([init/1]).
-export([handle_call/3]).
-export([handle_cast/2]).
-export([handle_info/2]).

%% How often it asks, and how long a span is open before it is asked about.
-define(INTERVAL_MS, 250).
-define(AGE_MS, 100).

-define(NIF, erlmcp_instrumentation_nif).

%% @private
-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() ->
    erlmcp_instrumentation_singleton:start_link(erlmcp_otel_instrumentation, ?MODULE).

%% @private
-spec init([]) -> {ok, []}.
init([]) ->
    ok = ?NIF:span_unwatch(),
    ask_again(),
    {ok, []}.

%% @private
-spec handle_call(term(), gen_server:from(), []) -> {reply, {error, unknown_call}, []}.
handle_call(_Request, _From, State) ->
    {reply, {error, unknown_call}, State}.

%% @private
-spec handle_cast(term(), []) -> {noreply, []}.
handle_cast(_Request, State) ->
    {noreply, State}.

%% @private
-spec handle_info(term(), []) -> {noreply, []}.
handle_info(ask, State) ->
    [erlang:monitor(process, Pid) || Pid <- ?NIF:span_watch(?AGE_MS)],
    ask_again(),
    {noreply, State};
handle_info({'DOWN', _Monitor, process, Pid, Reason}, State) ->
    {Type, Text} = describe(Reason),
    _ = ?NIF:span_owner_down(Pid, Type, Text),
    {noreply, State};
handle_info(_Message, State) ->
    {noreply, State}.

-spec ask_again() -> reference().
ask_again() ->
    erlang:send_after(?INTERVAL_MS, self(), ask).

%% The process was gone before it was monitored.
-spec describe(term()) -> {binary(), binary() | nil}.
describe(noproc) ->
    {<<"process_exit">>, nil};
describe({Reason, Stack}) when is_list(Stack), Stack =/= [], is_tuple(hd(Stack)) ->
    {erlmcp_otel_exception:type(error, Reason), erlmcp_otel_exception:reason_text(Reason)};
describe(Reason) ->
    {erlmcp_otel_exception:type(exit, Reason), erlmcp_otel_exception:reason_text(Reason)}.
