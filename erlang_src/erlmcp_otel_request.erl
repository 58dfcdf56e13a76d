%% @private Requests, sessions and operations of the registry: what their spans
%% are called and say, and what is counted of them.
%%
%% Names and attributes are those of OpenTelemetry's semantic conventions for
%% MCP (status: development).
-module(erlmcp_otel_request).

-export([describe/2]).
-export([session/1]).
-export([registry/1]).
-export([registry/2]).
-export([ends/5]).
-export([failure/1]).

-export_type([failure/0]).

%% The options of a request's span; the note is for the native side, which
%% counts a request whose process is killed.
-type options() :: #{
    kind := server,
    attributes := [{binary(), term()}],
    '$note' := binary(),
    parent => binary(),
    links => [binary()]
}.
-type failure() :: none | {failed, Type :: binary(), Message :: binary()}.
-type label() :: erlmcp_instrumentation_label:label().

-define(NIF, erlmcp_instrumentation_nif).
%% What Erlang, Elixir and decoders of JSON write for a value that is not there.
-define(IS_ABSENT(Term), Term =:= undefined; Term =:= nil; Term =:= null).

%% What is read of a request.
-record(request, {
    method = undefined :: label() | undefined,
    named = undefined :: term(),
    target = undefined :: label() | undefined,
    component = server :: label(),
    meta = undefined :: map() | undefined,
    attributes = [] :: [{binary(), term()}]
}).

%% Name, method, component and options of a request's span. `Outer' is the
%% current span: with a parent of the request's own it becomes a link.
-spec describe(term(), binary() | undefined) ->
    {Name :: label(), Method :: label(), Component :: label(), options()}.
describe(Request, Outer) when is_map(Request) ->
    #request{method = Method0, target = Target, component = Component, meta = Meta,
             attributes = Attributes} = read(Request),
    Method = method(Method0),
    Options = #{kind => server, attributes => Attributes, '$note' => note(Method, Component)},
    {name(Method, Target), Method, Component, with_parent(Meta, Outer, Options)};
describe(Request, _Outer) ->
    Attributes = [{<<"erlmcp.request">>, erlmcp_otel_exception:reason_text(Request)}],
    Options = #{kind => server, attributes => Attributes,
                '$note' => note(unknown, server)},
    {<<"request">>, unknown, server, Options}.

%% The options of a session's span.
-spec session(term()) -> erlmcp_otel_instrumentation:options().
session(Session) when is_map(Session) ->
    #request{attributes = Attributes} = read(Session),
    #{kind => server, attributes => Attributes};
session(Session) ->
    #{kind => server, attributes => #{<<"mcp.session.id">> => id(Session)}}.

-spec registry(term()) -> {binary(), erlmcp_otel_instrumentation:options()}.
registry(Operation) ->
    Text = text(Operation),
    {<<"registry ", Text/binary>>, #{attributes => #{<<"erlmcp.registry.operation">> => Text}}}.

-spec registry(term(), term()) -> {binary(), erlmcp_otel_instrumentation:options()}.
registry(Operation, ResourceId) ->
    {Name, #{attributes := Attributes} = Options} = registry(Operation),
    Id = <<"erlmcp.registry.resource_id">>,
    {Name, Options#{attributes := Attributes#{Id => id(ResourceId)}}}.

%% Ends the span of a request that began at `Begin', and counts it. That it is in
%% flight is counted where the span starts and ends.
-spec ends(Span :: binary(), label(), label(), Begin :: integer(), failure()) -> ok.
ends(Span, Method, Component, Begin, Failure) ->
    Native = erlang:monotonic_time() - Begin,
    Seconds = erlang:convert_time_unit(Native, native, nanosecond) / 1.0e9,
    Labels = #{method => Method, status => status(Failure), component => Component},
    _ = ?NIF:request_end(Span, Seconds, Labels, error_labels(Failure, Component)),
    ok.

%% Whether a result says that the request failed, and how.
-spec failure(term()) -> failure().
failure({error, Reason}) ->
    {failed, erlmcp_otel_exception:type(error, Reason), erlmcp_otel_exception:reason_text(Reason)};
failure(#{<<"error">> := Error} = Result) -> json_rpc(<<"error">>, Error, Result);
failure(#{error := Error} = Result) -> json_rpc(error, Error, Result);
failure(#{<<"isError">> := true}) -> {failed, <<"tool_error">>, <<>>};
failure(#{isError := true}) -> {failed, <<"tool_error">>, <<>>};
failure(error) -> {failed, <<"error">>, <<>>};
failure(_Result) -> none.

%% Internals

-spec read(map()) -> #request{}.
read(Request) ->
    named(maps:fold(fun field/3, #request{}, Request)).

%% Whether `params.name' is that of a tool or of a prompt is known by the method,
%% which may come after it.
-spec named(#request{}) -> #request{}.
named(#request{named = undefined} = Request) ->
    Request;
named(#request{named = Name, method = Method} = Request) ->
    case text(Method) of
        <<"prompts/", _/binary>> -> with_target(<<"gen_ai.prompt.name">>, Name, Request);
        _ -> with_target(<<"gen_ai.tool.name">>, Name, Request)
    end.

-spec field(term(), term(), #request{}) -> #request{}.
field(_Key, Absent, Request) when ?IS_ABSENT(Absent) -> Request;
field(method, Method, Request) -> with_method(Method, Request);
field(<<"method">>, Method, Request) -> with_method(Method, Request);
field(request_id, Id, Request) -> add(<<"jsonrpc.request.id">>, id(Id), Request);
field(id, Id, Request) -> add(<<"jsonrpc.request.id">>, id(Id), Request);
field(<<"id">>, Id, Request) -> add(<<"jsonrpc.request.id">>, id(Id), Request);
field(endpoint, Endpoint, Request) -> add(<<"url.path">>, Endpoint, Request);
field(user_id, User, Request) -> add(<<"user.id">>, id(User), Request);
field(client_ip, Address, Request) -> add(<<"client.address">>, address(Address), Request);
field(session_id, Session, Request) -> add(<<"mcp.session.id">>, id(Session), Request);
field(protocol_version, Version, Request) -> add(<<"mcp.protocol.version">>, Version, Request);
field(transport, Transport, Request) -> add(<<"network.transport">>, transport(Transport), Request);
field(component, Component, Request) when is_atom(Component); is_binary(Component) ->
    Request#request{component = Component};
field(params, Params, Request) when is_map(Params) -> maps:fold(fun param/3, Request, Params);
field(<<"params">>, Params, Request) when is_map(Params) -> maps:fold(fun param/3, Request, Params);
field(tool, Tool, Request) -> with_target(<<"gen_ai.tool.name">>, Tool, Request);
field(prompt, Prompt, Request) -> with_target(<<"gen_ai.prompt.name">>, Prompt, Request);
field(uri, Uri, Request) -> add(<<"mcp.resource.uri">>, Uri, Request);
field(_Key, _Value, Request) -> Request.

%% Arguments are not looked at: they may be large, or secret.
-spec param(term(), term(), #request{}) -> #request{}.
param(_Key, Absent, Request) when ?IS_ABSENT(Absent) -> Request;
param(name, Name, Request) -> Request#request{named = Name};
param(<<"name">>, Name, Request) -> Request#request{named = Name};
param(uri, Uri, Request) -> add(<<"mcp.resource.uri">>, Uri, Request);
param(<<"uri">>, Uri, Request) -> add(<<"mcp.resource.uri">>, Uri, Request);
param('_meta', Meta, Request) when is_map(Meta) -> Request#request{meta = Meta};
param(<<"_meta">>, Meta, Request) when is_map(Meta) -> Request#request{meta = Meta};
param(_Key, _Value, Request) -> Request.

-spec add(binary(), term(), #request{}) -> #request{}.
add(Key, Value, #request{attributes = Attributes} = Request) ->
    Request#request{attributes = [{Key, Value} | Attributes]}.

-spec with_method(term(), #request{}) -> #request{}.
with_method(Method, Request) ->
    Label = label(Method),
    Key = case is_http(text(Label)) of
        true -> <<"http.request.method">>;
        false -> <<"mcp.method.name">>
    end,
    (add(Key, Method, Request))#request{method = Label}.

-spec is_http(binary()) -> boolean().
is_http(Method) ->
    lists:member(Method, [<<"GET">>, <<"POST">>, <<"PUT">>, <<"DELETE">>, <<"PATCH">>,
                          <<"HEAD">>, <<"OPTIONS">>]).

-spec with_target(binary(), term(), #request{}) -> #request{}.
with_target(Key, Name, Request) ->
    (add(Key, Name, Request))#request{target = label(Name)}.

-spec with_parent(map() | undefined, binary() | undefined, options()) -> options().
with_parent(undefined, _Outer, Options) ->
    Options;
with_parent(Meta, Outer, Options) ->
    case ?NIF:otel_extract(Meta) of
        {nil, _Baggage} -> Options;
        {Parent, _Baggage} when Outer =:= undefined -> Options#{parent => Parent};
        {Parent, _Baggage} -> Options#{parent => Parent, links => [Outer]}
    end.

-spec name(label(), label() | undefined) -> label().
name(unknown, undefined) -> <<"request">>;
name(Method, undefined) -> Method;
name(Method, Target) -> <<(text(Method))/binary, " ", (text(Target))/binary>>.

-spec method(label() | undefined) -> label().
method(undefined) -> unknown;
method(Method) -> Method.

-spec note(label(), label()) -> binary().
note(Method, Component) ->
    <<(text(Method))/binary, 0, (text(Component))/binary>>.

%% What names a series: bounded, and text.
-spec label(term()) -> label().
label(Term) ->
    erlmcp_instrumentation_label:value(Term).

-spec text(term()) -> binary().
text(Term) when is_binary(Term) -> Term;
text(Term) when is_atom(Term) -> erlmcp_instrumentation_elixir:atom_text(Term);
text(Term) ->
    case label(Term) of
        <<"other">> -> erlmcp_otel_exception:reason_text(Term);
        Text -> Text
    end.

%% Ids are strings by the conventions.
-spec id(term()) -> term().
id(Id) when is_integer(Id) -> integer_to_binary(Id);
id(Id) -> Id.

-spec address(term()) -> term().
address(Address) when is_tuple(Address) ->
    case inet:ntoa(Address) of
        Text when is_list(Text) -> Text;
        {error, _} -> Address
    end;
address(Address) ->
    Address.

-spec transport(term()) -> term().
transport(Transport) when Transport =:= stdio; Transport =:= <<"stdio">> -> <<"pipe">>;
transport(Transport) when Transport =:= http; Transport =:= websocket; Transport =:= sse;
                          Transport =:= <<"http">>; Transport =:= <<"websocket">>;
                          Transport =:= <<"sse">> -> <<"tcp">>;
transport(Transport) -> Transport.

%% A struct has the field whether there is an error or not.
-spec json_rpc(term(), term(), map()) -> failure().
json_rpc(Key, Absent, Result) when ?IS_ABSENT(Absent) -> failure(maps:remove(Key, Result));
json_rpc(_Key, Error, _Result) -> json_rpc(Error).

-spec json_rpc(term()) -> failure().
json_rpc(#{<<"code">> := Code} = Error) ->
    {failed, text(id(Code)), text(maps:get(<<"message">>, Error, <<>>))};
json_rpc(#{code := Code} = Error) ->
    {failed, text(id(Code)), text(maps:get(message, Error, <<>>))};
json_rpc(Error) ->
    failure({error, Error}).

-spec status(failure()) -> success | error.
status(none) -> success;
status({failed, _Type, _Message}) -> error.

-spec error_labels(failure(), label()) -> #{atom() => label()} | nil.
error_labels(none, _Component) -> nil;
error_labels({failed, Type, _Message}, Component) -> #{error_type => Type, component => Component}.
