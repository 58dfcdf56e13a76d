%% @doc The simulated server's registry of tools, resources and prompts.
%%
%% Reads go to an ETS table from the caller; changes and subscriptions go
%% through this process, which forgets a session's subscriptions when it ends.
-module(erlmcp_demo_registry).
-behaviour(gen_server).

-export([start_link/0]).
-export([lookup/2]).
-export([list/1]).
-export([add_note/1]).
-export([subscribe/1]).
-export([unsubscribe/1]).

-export([init/1]).
-export([handle_call/3]).
-export([handle_cast/2]).
-export([handle_info/2]).

-export_type([kind/0]).

-type kind() :: tool | resource | prompt.
-type state() :: #{
    notes := queue:queue(binary()),
    subscribers := #{pid() => {reference(), #{Uri :: binary() => true}}}
}.

-define(DOCUMENTS, 200).
-define(MAX_NOTES, 100).

%% @doc Starts the registry with its fixed tools, prompts and documents.
-spec start_link() -> gen_server:start_ret().
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%% @doc Finds an item by kind and name. Runs in the caller.
-spec lookup(kind(), Name :: binary()) -> {ok, term()} | {error, unknown}.
lookup(Kind, Name) ->
    operation(lookup, fun() ->
        case ets:lookup(?MODULE, {Kind, Name}) of
            [{_Key, Item}] ->
                accessed(Kind, lookup),
                {ok, Item};
            [] ->
                {error, unknown}
        end
    end).

%% @doc The names of all items of a kind, in no order. Runs in the caller.
-spec list(kind()) -> {ok, [binary()]}.
list(Kind) ->
    operation(list, fun() ->
        accessed(Kind, list),
        {ok, ets:select(?MODULE, [{{{Kind, '$1'}, '_'}, [], ['$1']}])}
    end).

%% @doc Adds a note as a resource; the oldest goes when there are too many.
-spec add_note(Text :: binary()) -> {ok, Uri :: binary()}.
add_note(Text) ->
    operation(register, fun() -> erlmcp_otel_instrumentation:call(?MODULE, {add_note, Text}) end).

%% @doc Subscribes the calling process to a resource, until it ends.
-spec subscribe(Uri :: binary()) -> ok | {error, unknown}.
subscribe(Uri) ->
    operation(subscribe, fun() -> gen_server:call(?MODULE, {subscribe, Uri}) end).

%% @doc Takes a subscription of the calling process back, if it has one.
-spec unsubscribe(Uri :: binary()) -> ok.
unsubscribe(Uri) ->
    operation(unsubscribe, fun() -> gen_server:call(?MODULE, {unsubscribe, Uri}) end).

%% @private
-spec init([]) -> {ok, state()}.
init([]) ->
    ?MODULE = ets:new(?MODULE, [named_table, protected, {read_concurrency, true}]),
    _ = [insert(tool, Name, Name) || Name <- erlmcp_demo_tools:names()],
    _ = [insert(prompt, Name, Text) || {Name, Text} <- erlmcp_demo_prompts:templates()],
    _ = [insert(resource, erlmcp_demo_resources:document(N), N)
         || N <- lists:seq(1, ?DOCUMENTS)],
    {ok, #{notes => queue:new(), subscribers => #{}}}.

%% @private
%% What is done here for a request is part of its trace.
-spec handle_call(term(), gen_server:from(), state()) -> {reply, term(), state()}.
handle_call(Message, From, State) ->
    erlmcp_otel_instrumentation:handle_traced(Message, fun(Request) ->
        handle_request(Request, From, State)
    end).

-spec handle_request(term(), gen_server:from(), state()) -> {reply, term(), state()}.
handle_request({add_note, Text}, _From, #{notes := Notes} = State) ->
    Uri = <<"note://", (integer_to_binary(erlang:unique_integer([positive])))/binary>>,
    erlmcp_demo_tracing:span(<<"insert note">>, #{attributes => #{'mcp.resource.uri' => Uri}},
                             fun() -> insert(resource, Uri, Text) end),
    {reply, {ok, Uri}, State#{notes := drop_oldest(queue:in(Uri, Notes))}};
handle_request({subscribe, Uri}, {Pid, _Tag}, #{subscribers := Subscribers} = State) ->
    case ets:member(?MODULE, {resource, Uri}) of
        true -> {reply, ok, State#{subscribers := subscribe(Uri, Pid, Subscribers)}};
        false -> {reply, {error, unknown}, State}
    end;
handle_request({unsubscribe, Uri}, {Pid, _Tag}, #{subscribers := Subscribers} = State) ->
    case Subscribers of
        #{Pid := {Monitor, #{Uri := true} = Uris}} ->
            subscription_ended(unsubscribed, 1),
            Left = Subscribers#{Pid := {Monitor, maps:remove(Uri, Uris)}},
            {reply, ok, State#{subscribers := Left}};
        _ ->
            {reply, ok, State}
    end.

%% @private
-spec handle_cast(term(), state()) -> {noreply, state()}.
handle_cast(_Message, State) ->
    {noreply, State}.

%% @private
-spec handle_info(term(), state()) -> {noreply, state()}.
handle_info({'DOWN', _Monitor, process, Pid, _Reason}, #{subscribers := Subscribers} = State) ->
    {{_, Uris}, Left} = maps:take(Pid, Subscribers),
    subscription_ended(session_ended, map_size(Uris)),
    {noreply, State#{subscribers := Left}};
handle_info(_Message, State) ->
    {noreply, State}.

-spec subscribe(binary(), pid(), Subscribers) -> Subscribers when
    Subscribers :: #{pid() => {reference(), #{binary() => true}}}.
subscribe(Uri, Pid, Subscribers) ->
    case Subscribers of
        #{Pid := {_Monitor, #{Uri := true}}} ->
            Subscribers;
        #{Pid := {Monitor, Uris}} ->
            subscription_started(),
            Subscribers#{Pid := {Monitor, Uris#{Uri => true}}};
        #{} ->
            subscription_started(),
            Subscribers#{Pid => {monitor(process, Pid), #{Uri => true}}}
    end.

-spec subscription_started() -> ok.
subscription_started() ->
    _ = erlmcp_metrics:inc(erlmcp_subscriptions_active, #{subscription_type => resource}),
    _ = erlmcp_metrics:inc(erlmcp_subscription_events_total, #{event_type => subscribed}),
    ok.

-spec subscription_ended(atom(), non_neg_integer()) -> ok.
subscription_ended(Event, Count) ->
    _ = erlmcp_metrics:dec(erlmcp_subscriptions_active, Count, #{subscription_type => resource}),
    _ = erlmcp_metrics:inc(erlmcp_subscription_events_total, Count, #{event_type => Event}),
    ok.

-spec drop_oldest(queue:queue(binary())) -> queue:queue(binary()).
drop_oldest(Notes) ->
    case queue:len(Notes) > ?MAX_NOTES of
        true ->
            {{value, Uri}, Left} = queue:out(Notes),
            true = ets:delete(?MODULE, {resource, Uri}),
            _ = erlmcp_metrics:inc(erlmcp_resources_unregistered_total),
            Left;
        false ->
            Notes
    end.

-spec insert(kind(), binary(), term()) -> ok.
insert(Kind, Name, Item) ->
    true = ets:insert(?MODULE, {{Kind, Name}, Item}),
    _ = erlmcp_metrics:inc(erlmcp_resources_registered_total, #{resource_type => Kind}),
    ok.

-spec accessed(kind(), atom()) -> ok.
accessed(Kind, Access) ->
    _ = erlmcp_metrics:inc(erlmcp_resources_accessed_total,
                           #{resource_type => Kind, access_type => Access}),
    ok.

-spec operation(atom(), fun(() -> Result)) -> Result when
    Result :: ok | {ok, term()} | {error, atom()}.
operation(Operation, Fun) ->
    Traced = fun() -> erlmcp_demo_tracing:registry(Operation, Fun) end,
    Result = erlmcp_metrics:time(erlmcp_registry_operation_duration_seconds,
                                 #{operation => Operation}, Traced),
    Status = case Result of
        {error, _} -> error;
        _ -> success
    end,
    _ = erlmcp_metrics:inc(erlmcp_registry_operations_total,
                           #{operation => Operation, status => Status}),
    Result.
