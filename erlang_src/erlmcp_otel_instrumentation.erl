%% @doc Spans: what a request did, for how long, and in which trace.
%%
%% A span is started and ended in the caller; nothing is sent to a process and
%% nothing is locked that another process waits for. It is encoded as it is
%% filled, and exported by threads of its own. Nothing here raises: what is no
%% span does nothing, and a term that OTLP does not know is written as the shell
%% prints it.
%%
%% == The current span ==
%%
%% {@link with_span/3}, {@link trace_request/2} and the like make their span the
%% current one of the process while the function runs: spans that it starts
%% become children, and functions without a span argument mean it. A new process
%% has no current span; {@link spawn_link/1} and its siblings, {@link carry/1} and
%% {@link call/2} take it along.
%%
%% == Attributes ==
%%
%% A map, or a list of pairs; keys are binaries, atoms or strings. Binaries in
%% UTF-8, atoms, and lists of printable characters become strings, other binaries
%% bytes, `true' and `false' booleans, integers and floats numbers, other lists
%% arrays, maps maps. `{bytes, Binary}' and `{array, List}' say what is meant.
%% The last value of a key counts. What exceeds the limits (settings
%% `span_attribute_count_limit' and its neighbours) is left out and counted in
%% the span.
%%
%% == When a process ends ==
%%
%% A span belongs to the process that started it ({@link give_away/2} changes
%% that). If the process ends first, whatever way, the span is ended for it, with
%% the status error and, where it was open for a while, the reason.
%%
%% == Cost ==
%%
%% About 0.1 microseconds for {@link with_span/2} that is not sampled, half a
%% microsecond for one that is, with four attributes. `make bench ROWS=span'
%% measures it on the machine at hand.
-module(erlmcp_otel_instrumentation).

-compile({no_auto_import, [spawn/1, spawn_link/1, spawn_monitor/1, spawn_opt/2]}).

%% API: process
-export([start_link/0]).
-export([force_flush/0]).
-export([force_flush/1]).

%% API: requests
-export([trace_request/2]).
-export([trace_session/2]).
-export([trace_registry/2]).

%% API: spans around a function
-export([with_span/2]).
-export([with_span/3]).
-export([measure/2]).
-export([measure/3]).

%% API: spans by hand
-export([span/2]).
-export([span/3]).
-export([span/4]).
-export([start_span/1]).
-export([start_span/2]).
-export([start_span/3]).
-export([end_span/1]).
-export([end_span/2]).
-export([give_away/2]).

%% API: what a span says
-export([set_attribute/2]).
-export([set_attribute/3]).
-export([set_attributes/1]).
-export([set_attributes/2]).
-export([add_event/2]).
-export([add_event/3]).
-export([add_event/4]).
-export([add_link/1]).
-export([add_link/2]).
-export([set_status/1]).
-export([set_status/2]).
-export([set_status/3]).
-export([record_exception/3]).
-export([record_exception/4]).
-export([update_name/1]).
-export([update_name/2]).

%% API: context
-export([current_span/0]).
-export([set_current_span/1]).
-export([current_context/0]).
-export([attach/1]).
-export([detach/1]).
-export([with_context/2]).
-export([trace_id/0]).
-export([trace_id/1]).
-export([span_id/0]).
-export([span_id/1]).
-export([is_sampled/0]).
-export([is_sampled/1]).
-export([is_recording/0]).
-export([is_recording/1]).

%% API: context to other processes
-export([carry/1]).
-export([spawn/1]).
-export([spawn_link/1]).
-export([spawn_monitor/1]).
-export([spawn_opt/2]).
-export([call/2]).
-export([call/3]).
-export([cast/2]).
-export([handle_traced/2]).

%% API: context to other systems
-export([inject/0]).
-export([inject/1]).
-export([extract/1]).
-export([baggage/0]).
-export([set_baggage/2]).
-export([remove_baggage/1]).

-type span() :: binary().
%% A span's context. Opaque: it may be kept, compared, sent to other processes
%% and nodes. On another node it is a parent like any remote one.
-type name() :: binary() | atom() | string().
-type kind() :: internal | server | client | producer | consumer.
-type attributes() :: #{name() => term()} | [{name(), term()}].
-type link() :: span() | {span(), attributes()}.
-type options() :: #{
    kind => kind(),
    attributes => attributes(),
    links => [link()],
    parent => span() | none,
    start_time => non_neg_integer()
}.
%% Options of a new span:
%% <ul>
%% <li>`kind': `internal' by default</li>
%% <li>`attributes', `links'</li>
%% <li>`parent': in the place of the current span; `none' begins a new trace</li>
%% <li>`start_time': in nanoseconds since 1970, as
%%     `erlang:system_time(nanosecond)' has it</li>
%% </ul>
-type baggage() :: [{Key :: binary(), Value :: binary(), Metadata :: binary()}].
-opaque context() :: {span() | undefined, baggage()}.
-opaque token() :: {token, span() | undefined, baggage()}.
-type carrier() :: [{name(), name()}] | #{name() => term()}.

-export_type([span/0]).
-export_type([name/0]).
-export_type([kind/0]).
-export_type([attributes/0]).
-export_type([link/0]).
-export_type([options/0]).
-export_type([baggage/0]).
-export_type([context/0]).
-export_type([token/0]).
-export_type([carrier/0]).

-define(NIF, erlmcp_instrumentation_nif).
%% Keys of the process dictionary.
-define(SPAN, '$erlmcp_span').
-define(BAGGAGE, '$erlmcp_baggage').
-define(TRACED, '$erlmcp_traced').

%% A span that is recorded: the second bit of its flags.
-define(RECORDED, <<_:24/binary, _:6, 1:1, _/bitstring>>).

%% API: process

%% @doc Starts the process registered as `erlmcp_otel_instrumentation', or links
%% to the one that runs. It learns why processes with open spans have ended;
%% spans are recorded and exported without it. The application starts it by
%% itself.
-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() ->
    erlmcp_instrumentation_span_watcher:start_link().

%% @doc `force_flush(5000)'.
-spec force_flush() -> ok | {error, timeout}.
force_flush() ->
    force_flush(5000).

%% @doc Exports what has ended before the call; waits at most so many
%% milliseconds. Runs on a dirty scheduler.
-spec force_flush(timeout()) -> ok | {error, timeout}.
force_flush(Timeout) ->
    erlmcp_instrumentation_exporter:force_flush(Timeout).

%% API: requests

%% @doc Calls `Fun' in the span of a request, and counts and times it.
%%
%% `Request' is a map with any of the keys `method', `request_id', `endpoint',
%% `user_id', `client_ip', `session_id', `transport', `protocol_version',
%% `component', `params' (atoms or binaries), a JSON-RPC request as it was
%% decoded, or any other term. The span is named and attributed by OpenTelemetry's
%% conventions for MCP; a trace context in `params' under `_meta' is its parent.
%%
%% The request failed if `Fun' raises (but for an exit with `normal' or
%% `shutdown'), returns `{error, Reason}', or returns a map with an `error', or
%% with an `isError' that is true. Result and exception go to the caller as they
%% are.
%%
%% Every request, sampled or not, counts in `erlmcp_requests_total',
%% `erlmcp_request_duration_seconds', `erlmcp_requests_in_flight' and, if it
%% failed, in `erlmcp_errors_total'; also one whose process is killed. The
%% logger's metadata of the process has `trace_id', `span_id' and, if the request has
%% one, `request_id' meanwhile.
-spec trace_request(Request :: term(), fun(() -> Result)) -> Result.
trace_request(Request, Fun) ->
    Outer = get(?SPAN),
    {Name, Method, Component, Options} = erlmcp_otel_request:describe(Request, Outer),
    Span = ?NIF:span_start(Name, Outer, Options),
    put(?SPAN, Span),
    Metadata = set_log_metadata(Span, Request),
    Begin = erlang:monotonic_time(),
    try Fun() of
        Result ->
            Failure = erlmcp_otel_request:failure(Result),
            note_failure(Span, Failure),
            erlmcp_otel_request:ends(Span, Method, Component, Begin, Failure),
            leave_request(Outer, Metadata),
            Result
    catch
        Class:Reason:Stack ->
            Failure = note_exception(Span, Class, Reason, Stack),
            erlmcp_otel_request:ends(Span, Method, Component, Begin, Failure),
            leave_request(Outer, Metadata),
            erlang:raise(Class, Reason, Stack)
    end.

%% @doc Calls `Fun' in the span of a session. `Session' is its id, or a map as
%% that of {@link trace_request/2} with a `session_id'.
-spec trace_session(Session :: term(), fun(() -> Result)) -> Result.
trace_session(Session, Fun) ->
    with_span(<<"mcp.session">>, erlmcp_otel_request:session(Session), Fun).

%% @doc Starts the span of an operation of the registry, to be ended by
%% {@link end_span/1}; or, with a function, calls it in such a span.
-spec trace_registry(Operation :: name(), ResourceId :: term() | fun(() -> Result)) ->
    span() | Result.
trace_registry(Operation, Fun) when is_function(Fun, 0) ->
    {Name, Options} = erlmcp_otel_request:registry(Operation),
    with_span(Name, Options, Fun);
trace_registry(Operation, ResourceId) ->
    {Name, Options} = erlmcp_otel_request:registry(Operation, ResourceId),
    start_span(Name, Options).

%% API: spans around a function

%% @doc `with_span(Name, #{}, Fun)'.
-spec with_span(name(), fun(() -> Result)) -> Result.
with_span(Name, Fun) ->
    with_span(Name, #{}, Fun).

%% @doc Calls `Fun' in a span. If it raises, the exception is recorded, the
%% status is error, and class, reason and stack go to the caller as they are.
%% Exits with `normal', `shutdown' and `{shutdown, _}' are no errors.
-spec with_span(name(), options(), fun(() -> Result)) -> Result.
with_span(Name, Options, Fun) ->
    Outer = get(?SPAN),
    Span = ?NIF:span_start(Name, Outer, Options),
    put(?SPAN, Span),
    try Fun() of
        Result ->
            leave(Span, Outer),
            Result
    catch
        Class:Reason:Stack ->
            _ = note_exception(Span, Class, Reason, Stack),
            leave(Span, Outer),
            erlang:raise(Class, Reason, Stack)
    end.

%% @doc `with_span(Name, Fun)'.
-spec measure(name(), fun(() -> Result)) -> Result.
measure(Name, Fun) ->
    with_span(Name, #{}, Fun).

%% @doc `with_span(Name, #{attributes => Attributes}, Fun)'. The order of
%% attributes and function is free.
-spec measure(name(), attributes(), fun(() -> Result)) -> Result;
             (name(), fun(() -> Result), attributes()) -> Result.
measure(Name, Fun, Attributes) when is_function(Fun, 0) ->
    with_span(Name, #{attributes => Attributes}, Fun);
measure(Name, Attributes, Fun) ->
    with_span(Name, #{attributes => Attributes}, Fun).

%% API: spans by hand

%% @doc Starts a span of a kind, as {@link start_span/2} does.
-spec span(name(), kind()) -> span().
span(Name, Kind) ->
    start_span(Name, #{kind => Kind}).

%% @doc As {@link span/2}, with attributes.
-spec span(name(), kind(), attributes()) -> span().
span(Name, Kind, Attributes) ->
    start_span(Name, #{kind => Kind, attributes => Attributes}).

%% @doc As {@link span/3}, with links.
-spec span(name(), kind(), attributes(), [link()]) -> span().
span(Name, Kind, Attributes, Links) ->
    start_span(Name, #{kind => Kind, attributes => Attributes, links => Links}).

%% @doc `start_span(Name, #{})'.
-spec start_span(name()) -> span().
start_span(Name) ->
    start_span(Name, #{}).

%% @doc Starts a span as a child of the current one, without making it the
%% current one. It is open until {@link end_span/1}, or until the process ends.
-spec start_span(name(), options()) -> span().
start_span(Name, Options) ->
    ?NIF:span_start(Name, get(?SPAN), Options).

%% @doc As {@link start_span/2}, as a child of `Parent': a span or a context.
-spec start_span(Parent :: span() | context(), name(), options()) -> span().
start_span({Span, _Baggage}, Name, Options) ->
    ?NIF:span_start(Name, Span, Options);
start_span(Parent, Name, Options) ->
    ?NIF:span_start(Name, Parent, Options).

%% @doc Ends a span, from any process. `false' if it has ended before, or was
%% not recorded.
-spec end_span(span()) -> boolean().
end_span(Span) ->
    ?NIF:span_end(Span).

%% @doc As {@link end_span/1}, at a time in nanoseconds since 1970.
-spec end_span(span(), EndTime :: non_neg_integer()) -> boolean().
end_span(Span, EndTime) ->
    ?NIF:span_end(Span, EndTime).

%% @doc Makes a process of this node the owner of an open span: it is then ended
%% when that process ends. `false' if the span is not open.
-spec give_away(span(), pid()) -> boolean().
give_away(Span, Pid) ->
    ?NIF:span_give_away(Span, Pid).

%% API: what a span says

%% @doc Sets an attribute of the current span. As all functions that change a
%% span, it returns whether the span is open and recorded.
-spec set_attribute(name(), term()) -> boolean().
set_attribute(Key, Value) ->
    ?NIF:span_set_attribute(get(?SPAN), Key, Value).

%% @doc Sets an attribute of a span.
-spec set_attribute(span(), name(), term()) -> boolean().
set_attribute(Span, Key, Value) ->
    ?NIF:span_set_attribute(Span, Key, Value).

%% @doc Sets attributes of the current span.
-spec set_attributes(attributes()) -> boolean().
set_attributes(Attributes) ->
    ?NIF:span_set_attributes(get(?SPAN), Attributes).

%% @doc Sets attributes of a span.
-spec set_attributes(span(), attributes()) -> boolean().
set_attributes(Span, Attributes) ->
    ?NIF:span_set_attributes(Span, Attributes).

%% @doc Adds an event to the current span.
-spec add_event(name(), attributes()) -> boolean().
add_event(Name, Attributes) ->
    ?NIF:span_add_event(get(?SPAN), Name, Attributes, now).

%% @doc Adds an event to a span.
-spec add_event(span(), name(), attributes()) -> boolean().
add_event(Span, Name, Attributes) ->
    ?NIF:span_add_event(Span, Name, Attributes, now).

%% @doc As {@link add_event/3}, at a time in nanoseconds since 1970.
-spec add_event(span(), name(), attributes(), non_neg_integer()) -> boolean().
add_event(Span, Name, Attributes, Time) ->
    ?NIF:span_add_event(Span, Name, Attributes, Time).

%% @doc Adds a link to the current span.
-spec add_link(link()) -> boolean().
add_link(Link) ->
    ?NIF:span_add_link(get(?SPAN), Link).

%% @doc Adds a link to a span.
-spec add_link(span(), link()) -> boolean().
add_link(Span, Link) ->
    ?NIF:span_add_link(Span, Link).

%% @doc Sets the status of the current span.
-spec set_status(ok | error) -> boolean().
set_status(Code) ->
    set_status(get(?SPAN), Code, <<>>).

%% @doc Sets the status of the current span with a message, which only an error
%% has, or that of a span without one.
-spec set_status(ok | error, Message :: name()) -> boolean();
                (span(), ok | error) -> boolean().
set_status(Code, Message) when is_atom(Code) ->
    set_status(get(?SPAN), Code, Message);
set_status(Span, Code) ->
    set_status(Span, Code, <<>>).

%% @doc Sets the status of a span. `ok' is final.
-spec set_status(span(), ok | error, Message :: name()) -> boolean().
set_status(Span, Code, Message) ->
    ?NIF:span_set_status(Span, Code, Message).

%% @doc Records an exception in the current span.
-spec record_exception(error | exit | throw, Reason :: term(), Stack :: list()) -> boolean().
record_exception(Class, Reason, Stack) ->
    record_exception(get(?SPAN), Class, Reason, Stack).

%% @doc Records an exception as an event of a span, as OpenTelemetry's conventions
%% have it. The status stays as it is. The stack is written without the arguments
%% of calls.
-spec record_exception(span(), error | exit | throw, Reason :: term(), Stack :: list()) ->
    boolean().
record_exception(Span, Class, Reason, Stack) ->
    Attributes = erlmcp_otel_exception:attributes(Class, Reason, Stack),
    ?NIF:span_add_event(Span, <<"exception">>, Attributes, now).

%% @doc Gives the current span another name.
-spec update_name(name()) -> boolean().
update_name(Name) ->
    ?NIF:span_set_name(get(?SPAN), Name).

%% @doc Gives a span another name.
-spec update_name(span(), name()) -> boolean().
update_name(Span, Name) ->
    ?NIF:span_set_name(Span, Name).

%% API: context

%% @doc The process' current span.
-spec current_span() -> span() | undefined.
current_span() ->
    get(?SPAN).

%% @doc Makes a span the current one; returns the one before.
-spec set_current_span(span() | undefined) -> span() | undefined.
set_current_span(undefined) ->
    erase(?SPAN);
set_current_span(Span) ->
    put(?SPAN, Span).

%% @doc The current span and baggage, to be attached elsewhere.
-spec current_context() -> context().
current_context() ->
    {get(?SPAN), baggage()}.

%% @doc Makes a context, or a span, the current one; {@link detach/1} undoes it.
-spec attach(context() | span() | undefined) -> token().
attach({Span, Baggage}) ->
    Token = {token, get(?SPAN), baggage()},
    restore(Span, Baggage),
    Token;
attach(Span) ->
    {token, set_current_span(Span), baggage()}.

%% @doc Makes what was current before {@link attach/1} current again.
-spec detach(token()) -> ok.
detach({token, Span, Baggage}) ->
    restore(Span, Baggage).

%% @doc Calls `Fun' with a context as the current one.
-spec with_context(context() | span() | undefined, fun(() -> Result)) -> Result.
with_context(Context, Fun) ->
    Token = attach(Context),
    try
        Fun()
    after
        detach(Token)
    end.

%% @doc The current trace's id: 32 hexadecimal digits.
-spec trace_id() -> binary() | undefined.
trace_id() ->
    trace_id(get(?SPAN)).

%% @doc A span's trace id: 32 hexadecimal digits.
-spec trace_id(span() | undefined) -> binary() | undefined.
trace_id(Span) ->
    case ?NIF:span_ids(Span) of
        {TraceId, _SpanId} -> TraceId;
        undefined -> undefined
    end.

%% @doc The current span's id: 16 hexadecimal digits.
-spec span_id() -> binary() | undefined.
span_id() ->
    span_id(get(?SPAN)).

%% @doc A span's id: 16 hexadecimal digits.
-spec span_id(span() | undefined) -> binary() | undefined.
span_id(Span) ->
    case ?NIF:span_ids(Span) of
        {_TraceId, SpanId} -> SpanId;
        undefined -> undefined
    end.

%% @doc Whether the current span is sampled.
-spec is_sampled() -> boolean().
is_sampled() ->
    is_sampled(get(?SPAN)).

%% @doc Whether a span is sampled.
-spec is_sampled(span() | undefined) -> boolean().
is_sampled(<<_:24/binary, _:7, Sampled:1, _/binary>>) -> Sampled =:= 1;
is_sampled(_) -> false.

%% @doc Whether the current span is open and recorded.
-spec is_recording() -> boolean().
is_recording() ->
    is_recording(get(?SPAN)).

%% @doc Whether a span is open and recorded: whether it pays to gather
%% attributes for it.
-spec is_recording(span() | undefined) -> boolean().
is_recording(Span) ->
    ?NIF:span_is_open(Span).

%% API: context to other processes

%% @doc A function that calls `Fun' in the context of the process that called
%% `carry/1', for processes that are started by other means, such as
%% `proc_lib:spawn_link(carry(Fun))'.
-spec carry(fun(() -> Result)) -> fun(() -> Result).
carry(Fun) when is_function(Fun, 0) ->
    Context = current_context(),
    fun() -> with_context(Context, Fun) end.

%% @doc `erlang:spawn/1' that carries the context.
-spec spawn(fun(() -> term())) -> pid().
spawn(Fun) ->
    erlang:spawn(carry(Fun)).

%% @doc `erlang:spawn_link/1' that carries the context.
-spec spawn_link(fun(() -> term())) -> pid().
spawn_link(Fun) ->
    erlang:spawn_link(carry(Fun)).

%% @doc `erlang:spawn_monitor/1' that carries the context.
-spec spawn_monitor(fun(() -> term())) -> {pid(), reference()}.
spawn_monitor(Fun) ->
    erlang:spawn_monitor(carry(Fun)).

%% @doc `erlang:spawn_opt/2' that carries the context.
-spec spawn_opt(fun(() -> term()), [term()]) -> pid() | {pid(), reference()}.
spawn_opt(Fun, Options) ->
    erlang:spawn_opt(carry(Fun), Options).

%% @doc `gen_server:call/2' that carries the context; the server takes it with
%% {@link handle_traced/2}.
-spec call(gen_server:server_ref(), Request :: term()) -> term().
call(Server, Request) ->
    gen_server:call(Server, {?TRACED, current_context(), Request}).

%% @doc `gen_server:call/3' that carries the context.
-spec call(gen_server:server_ref(), Request :: term(), timeout()) -> term().
call(Server, Request, Timeout) ->
    gen_server:call(Server, {?TRACED, current_context(), Request}, Timeout).

%% @doc `gen_server:cast/2' that carries the context.
-spec cast(gen_server:server_ref(), Request :: term()) -> ok.
cast(Server, Request) ->
    gen_server:cast(Server, {?TRACED, current_context(), Request}).

%% @doc Calls `Fun' with the request that {@link call/2} or {@link cast/2} has
%% sent, in the context that it brought; with any other request as it is.
%% ```
%% handle_call(Message, From, State) ->
%%     erlmcp_otel_instrumentation:handle_traced(Message, fun(Request) ->
%%         handle_request(Request, From, State)
%%     end).
%% '''
-spec handle_traced(Message :: term(), fun((Request :: term()) -> Result)) -> Result.
handle_traced({?TRACED, Context, Request}, Fun) ->
    with_context(Context, fun() -> Fun(Request) end);
handle_traced(Request, Fun) ->
    Fun(Request).

%% API: context to other systems

%% @doc The headers that carry the current context: `traceparent' and so on, by
%% the setting `propagators'. Empty without a current span and baggage.
-spec inject() -> [{binary(), binary()}].
inject() ->
    ?NIF:otel_inject(get(?SPAN), baggage()).

%% @doc Adds the current context to a list of headers, or to a map such as MCP's
%% `params._meta'; headers of these names that are there already are replaced.
-spec inject(carrier()) -> carrier().
inject(Carrier) when is_map(Carrier) ->
    maps:merge(Carrier, maps:from_list(inject()));
inject(Carrier) when is_list(Carrier) ->
    Headers = inject(),
    Headers ++ [Header || Header <- Carrier, not is_replaced(Header, Headers)].

%% @doc The context in headers, or in a map such as MCP's `params._meta'. Names
%% are compared without regard to case; what is malformed is ignored.
-spec extract(carrier()) -> context().
extract(Carrier) ->
    case ?NIF:otel_extract(Carrier) of
        {nil, Baggage} -> {undefined, Baggage};
        {Span, Baggage} -> {Span, Baggage}
    end.

%% @doc The current baggage.
-spec baggage() -> baggage().
baggage() ->
    case get(?BAGGAGE) of
        undefined -> [];
        Baggage -> Baggage
    end.

%% @doc Sets an entry of the process' baggage, which {@link inject/0} passes on:
%% other services see it, so it must hold no secret.
-spec set_baggage(Key :: binary(), Value :: binary()) -> ok.
set_baggage(Key, Value) when is_binary(Key), is_binary(Value) ->
    restore_baggage(lists:keystore(Key, 1, baggage(), {Key, Value, <<>>})).

%% @doc Removes an entry of the process' baggage.
-spec remove_baggage(Key :: binary()) -> ok.
remove_baggage(Key) ->
    restore_baggage(lists:keydelete(Key, 1, baggage())).

%% Internals

-spec leave(span(), span() | undefined) -> ok.
leave(?RECORDED = Span, Outer) ->
    ?NIF:span_end(Span),
    restore_span(Outer);
leave(_Span, Outer) ->
    restore_span(Outer).

-spec restore_span(span() | undefined) -> ok.
restore_span(undefined) ->
    erase(?SPAN),
    ok;
restore_span(Span) ->
    put(?SPAN, Span),
    ok.

-spec restore(span() | undefined, baggage()) -> ok.
restore(Span, Baggage) ->
    restore_span(Span),
    restore_baggage(Baggage).

-spec restore_baggage(baggage()) -> ok.
restore_baggage([]) ->
    erase(?BAGGAGE),
    ok;
restore_baggage(Baggage) ->
    put(?BAGGAGE, Baggage),
    ok.

%% What a failure is to a span and to the metrics: its type.
-spec note_exception(span(), error | exit | throw, term(), list()) ->
    erlmcp_otel_request:failure().
note_exception(_Span, exit, normal, _Stack) -> none;
note_exception(_Span, exit, shutdown, _Stack) -> none;
note_exception(_Span, exit, {shutdown, _}, _Stack) -> none;
note_exception(?RECORDED = Span, Class, Reason, Stack) ->
    #{<<"exception.type">> := Type, <<"exception.message">> := Message} = Attributes =
        erlmcp_otel_exception:attributes(Class, Reason, Stack),
    ?NIF:span_add_event(Span, <<"exception">>, Attributes, now),
    ?NIF:span_set_attribute(Span, <<"error.type">>, Type),
    ?NIF:span_set_status(Span, error, Message),
    {failed, Type, Message};
note_exception(_Span, Class, Reason, _Stack) ->
    {failed, erlmcp_otel_exception:type(Class, Reason), <<>>}.

-spec note_failure(span(), erlmcp_otel_request:failure()) -> ok.
note_failure(Span, {failed, Type, Message}) ->
    ?NIF:span_set_attribute(Span, <<"error.type">>, Type),
    ?NIF:span_set_status(Span, error, Message),
    ok;
note_failure(_Span, none) ->
    ok.

-spec leave_request(span() | undefined, logger:metadata() | undefined) -> ok.
leave_request(Outer, Metadata) ->
    case Metadata of
        undefined -> logger:unset_process_metadata();
        _ -> logger:set_process_metadata(Metadata)
    end,
    restore_span(Outer).

-spec set_log_metadata(span(), term()) -> logger:metadata() | undefined.
set_log_metadata(Span, Request) ->
    Before = logger:get_process_metadata(),
    case {?NIF:span_ids(Span), Request} of
        {{TraceId, SpanId}, #{request_id := Id}} when Id =/= undefined ->
            logger:update_process_metadata(#{trace_id => TraceId, span_id => SpanId,
                                             request_id => Id});
        {{TraceId, SpanId}, _} ->
            logger:update_process_metadata(#{trace_id => TraceId, span_id => SpanId});
        {undefined, #{request_id := Id}} when Id =/= undefined ->
            logger:update_process_metadata(#{request_id => Id});
        {undefined, _} ->
            ok
    end,
    Before.

-spec is_replaced({name(), name()}, [{binary(), binary()}]) -> boolean().
is_replaced({Name, _Value}, Headers) ->
    Text = string:lowercase(unicode:characters_to_binary(to_chars(Name))),
    lists:keymember(Text, 1, Headers).

-spec to_chars(name()) -> unicode:chardata().
to_chars(Name) when is_atom(Name) -> atom_to_binary(Name);
to_chars(Name) -> Name.
