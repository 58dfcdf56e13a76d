%% A node of its own with the application on it: its registry holds what one
%% suite has recorded and nothing else.
-module(erlmcp_ct_node).

-export([start/1, start/2, stop/1]).
-export([call/4]).
-export([url/2]).

-define(CALL_TIMEOUT_MS, 120000).

%% Starts a node that runs the application with these settings beside those of
%% erlmcp_ct_app.
start(Env) ->
    start(Env, #{}).

%% Options as of peer:start/1; with a name the node is distributed. The node is
%% not linked: init_per_suite runs in a process that ends before the tests. It
%% ends with this one at the latest.
start(Env, Options) ->
    Paths = lists:append([["-pa", Path] || Path <- code:get_path(), Path =/= "."]),
    {ok, Node, _} = peer:start(Options#{connection => standard_io, args => Paths}),
    ok = call(Node, erlmcp_ct_app, start, [Env]),
    Node.

%% One that has ended already is none to stop.
stop(Node) ->
    try peer:stop(Node) catch exit:_ -> ok end.

call(Node, Module, Function, Arguments) ->
    peer:call(Node, Module, Function, Arguments, ?CALL_TIMEOUT_MS).

url(Node, Path) ->
    Port = call(Node, erlmcp_ct_app, port, []),
    "http://127.0.0.1:" ++ integer_to_list(Port) ++ Path.
