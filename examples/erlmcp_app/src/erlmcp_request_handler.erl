%% @doc Handles requests, and traces, counts and logs each of them.
-module(erlmcp_request_handler).
-behaviour(gen_server).

-export([start_link/0]).
-export([handle/1]).

-export([init/1]).
-export([handle_call/3]).
-export([handle_cast/2]).

-export_type([request/0]).

-type request() :: #{request_id := term(), method := binary(), params => term()}.

%% @doc Starts the handler.
-spec start_link() -> {ok, pid()} | ignore | {error, term()}.
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%% @doc Handles a request and returns its answer.
-spec handle(request()) -> {ok, term()} | {error, method_not_found}.
handle(Request) ->
    gen_server:call(?MODULE, {request, Request}).

%% @private
-spec init([]) -> {ok, []}.
init([]) ->
    {ok, []}.

%% @private
-spec handle_call({request, request()}, gen_server:from(), []) -> {reply, term(), []}.
handle_call({request, Request}, _From, State) ->
    {reply, handle_request(Request), State}.

%% @private
-spec handle_cast(term(), []) -> {noreply, []}.
handle_cast(_Message, State) ->
    {noreply, State}.

-spec handle_request(request()) -> {ok, term()} | {error, method_not_found}.
handle_request(#{request_id := ReqId} = Req) ->
    erlmcp_otel_instrumentation:trace_request(Req, fun() ->
        Started = erlang:monotonic_time(millisecond),
        erlmcp_metrics:record_counter("requests_total", 1, #{}),
        Result = process_request(Req),
        Duration = erlang:monotonic_time(millisecond) - Started,
        Status = status(Result),
        logger:info("Request processed", #{
            request_id => ReqId,
            status => Status,
            duration_ms => Duration
        }),
        Result
    end).

-spec process_request(request()) -> {ok, term()} | {error, method_not_found}.
process_request(#{method := <<"ping">>}) -> {ok, #{}};
process_request(#{method := <<"tools/list">>}) -> {ok, #{tools => []}};
process_request(#{method := _}) -> {error, method_not_found}.

-spec status({ok, term()} | {error, term()}) -> success | error.
status({ok, _}) -> success;
status({error, _}) -> error.
