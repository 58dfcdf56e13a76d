%% @doc Starts and stops the library, on its usual ports where they are free.
-module(erlmcp_demo_node).

-export([start/0]).
-export([stop/0]).

-export_type([urls/0]).

-type urls() :: #{all := string(), application := string(), traces := string(),
                  root := string(), usual_port := boolean()}.

-define(APPLICATION, erlmcp_instrumentation).
-define(USUAL_PORT, 8080).
-define(SECOND_PORT, 8086).

%% @doc Starts the library and tells where it can be scraped.
%%
%% `Moved' are the usual ports that somebody else holds.
-spec start() ->
    {ok, urls(), Moved :: [inet:port_number()]} | {error, Text :: string()}.
start() ->
    case application:load(?APPLICATION) of
        ok -> configured();
        {error, {already_loaded, _}} -> configured();
        {error, Reason} -> failed("cannot load the library", Reason)
    end.

%% @doc Stops the library.
-spec stop() -> ok.
stop() ->
    _ = application:stop(?APPLICATION),
    ok.

-spec configured() -> {ok, urls(), [inet:port_number()]} | {error, string()}.
configured() ->
    ok = application:set_env(?APPLICATION, service_name, "erlmcp-demo"),
    Moved = free_port(http_port, ?USUAL_PORT) ++ free_port(custom_port, ?SECOND_PORT),
    case {application:ensure_all_started(inets), application:ensure_all_started(?APPLICATION)} of
        {{ok, _}, {ok, _}} -> started(erlmcp_instrumentation:http_addresses(), Moved);
        {{error, Reason}, _} -> failed("cannot start inets", Reason);
        {_, {error, Reason}} -> failed("cannot start the library", Reason)
    end.

-spec started([{inet:ip_address(), inet:port_number()}], [inet:port_number()]) ->
    {ok, urls(), [inet:port_number()]} | {error, string()}.
started([], _Moved) ->
    {error, "the library's HTTP server is switched off (http_enabled): nothing to scrape"};
started(Addresses, Moved) ->
    {ok, urls(Addresses), Moved}.

-spec urls([{inet:ip_address(), inet:port_number()}, ...]) -> urls().
urls([{_, Port} = Main | _] = Addresses) ->
    #{all => root(Main) ++ "/metrics",
      application => root(lists:last(Addresses)) ++ "/metrics/custom",
      traces => root(Main) ++ "/debug/traces",
      root => root(Main),
      usual_port => Port =:= ?USUAL_PORT}.

-spec root({inet:ip_address(), inet:port_number()}) -> string().
root({Ip, Port}) ->
    lists:flatten(io_lib:format("http://~ts:~b", [host(Ip), Port])).

%% A listener on every address is reached at this one.
-spec host(inet:ip_address()) -> string().
host({0, 0, 0, 0}) -> "127.0.0.1";
host({0, 0, 0, 0, 0, 0, 0, 0}) -> "[::1]";
host(Ip) when tuple_size(Ip) =:= 8 -> "[" ++ inet:ntoa(Ip) ++ "]";
host(Ip) -> inet:ntoa(Ip).

%% Port 0 asks the library for one that is free. A port that a variable names is
%% the user's word and stays; one that is taken between this look and the
%% library's start gives the library's error.
-spec free_port(http_port | custom_port, inet:port_number()) -> [Taken :: inet:port_number()].
free_port(Key, Usual) ->
    Port = application:get_env(?APPLICATION, Key, Usual),
    Variable = "ERLMCP_" ++ string:uppercase(atom_to_list(Key)),
    case os:getenv(Variable, "") =:= "" andalso is_taken(Port) of
        true ->
            ok = application:set_env(?APPLICATION, Key, 0),
            [Port];
        false ->
            []
    end.

-spec is_taken(inet:port_number() | off) -> boolean().
is_taken(Port) when is_integer(Port), Port > 0 ->
    case gen_tcp:listen(Port, [{ip, {127, 0, 0, 1}}, {reuseaddr, true}]) of
        {ok, Socket} ->
            ok = gen_tcp:close(Socket),
            false;
        {error, _} ->
            true
    end;
is_taken(_) ->
    false.

%% A reason with a text of its own, such as a port in use, is told by that text.
-spec failed(string(), term()) -> {error, string()}.
failed(What, {_Application, {{Tag, Text}, _Start}}) when is_atom(Tag), is_binary(Text) ->
    {error, lists:flatten(io_lib:format("~ts: ~ts", [What, Text]))};
failed(What, Reason) ->
    {error, lists:flatten(io_lib:format("~ts: ~tp", [What, Reason]))}.
