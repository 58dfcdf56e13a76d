%% @doc The MCP methods that the simulated server answers.
-module(erlmcp_demo_methods).

-export([all/0]).
-export([component/1]).
-export([handle/3]).

-export_type([params/0]).

-type params() :: #{name | uri | level | version => binary()}.

%% @doc Every method with the component that answers it.
-spec all() -> [{Method :: binary(), Component :: atom()}, ...].
all() ->
    [{<<"initialize">>, lifecycle},
     {<<"ping">>, lifecycle},
     {<<"tools/list">>, tools},
     {<<"tools/call">>, tools},
     {<<"resources/list">>, resources},
     {<<"resources/read">>, resources},
     {<<"resources/templates/list">>, resources},
     {<<"resources/subscribe">>, resources},
     {<<"resources/unsubscribe">>, resources},
     {<<"prompts/list">>, prompts},
     {<<"prompts/get">>, prompts},
     {<<"completion/complete">>, completion},
     {<<"logging/setLevel">>, logging}].

%% @doc The component that answers a method.
-spec component(Method :: binary()) -> atom().
component(Method) ->
    {_, Component} = lists:keyfind(Method, 1, all()),
    Component.

%% @doc Answers a request. Its errors are counted by who traces it.
-spec handle(Method :: binary(), params(), erlmcp_demo_tools:caller()) ->
    {ok, term()} | {error, atom()}.
handle(<<"initialize">>, #{version := Version}, _Caller) ->
    erlmcp_demo_work:cpu(10),
    case Version of
        <<"2025-11-25">> -> {ok, #{protocol_version => Version, capabilities => #{tools => #{}}}};
        _ -> {error, unsupported_version}
    end;
handle(<<"ping">>, _Params, _Caller) ->
    {ok, #{}};
handle(<<"tools/list">>, _Params, _Caller) ->
    erlmcp_demo_work:cpu(4),
    erlmcp_demo_registry:list(tool);
handle(<<"tools/call">>, #{name := Tool}, Caller) ->
    erlmcp_demo_tools:call(Tool, Caller);
handle(<<"resources/list">>, _Params, _Caller) ->
    erlmcp_demo_work:cpu(4),
    erlmcp_demo_registry:list(resource);
handle(<<"resources/read">>, #{uri := Uri}, _Caller) ->
    erlmcp_demo_resources:read(Uri);
handle(<<"resources/templates/list">>, _Params, _Caller) ->
    {ok, [<<"doc://{number}">>, <<"note://{number}">>]};
handle(<<"resources/subscribe">>, #{uri := Uri}, _Caller) ->
    subscription(erlmcp_demo_registry:subscribe(Uri));
handle(<<"resources/unsubscribe">>, #{uri := Uri}, _Caller) ->
    subscription(erlmcp_demo_registry:unsubscribe(Uri));
handle(<<"prompts/list">>, _Params, _Caller) ->
    erlmcp_demo_registry:list(prompt);
handle(<<"prompts/get">>, #{name := Prompt}, _Caller) ->
    erlmcp_demo_prompts:get(Prompt);
handle(<<"completion/complete">>, #{name := Start}, _Caller) ->
    erlmcp_demo_work:cpu(15),
    {ok, Tools} = erlmcp_demo_registry:list(tool),
    {ok, [Tool || Tool <- Tools, string:prefix(Tool, Start) =/= nomatch]};
handle(<<"logging/setLevel">>, #{level := Level}, _Caller) ->
    case lists:member(Level, [<<"debug">>, <<"info">>, <<"warning">>, <<"error">>]) of
        true -> {ok, #{}};
        false -> {error, invalid_params}
    end.

-spec subscription(ok | {error, atom()}) -> {ok, map()} | {error, atom()}.
subscription(ok) -> {ok, #{}};
subscription({error, unknown}) -> {error, unknown_resource}.
