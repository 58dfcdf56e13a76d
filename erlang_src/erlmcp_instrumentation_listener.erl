%% @doc Owns the native HTTP listener: starts it, stops it, knows its addresses.
%%
%% The server itself runs on native threads. When this process ends, by
%% whatever means, the ports are closed. What the server has to say about
%% certificates and about those whom it refuses is logged from here.
-module(erlmcp_instrumentation_listener).

-behaviour(gen_server).

%% API
-export([check/1]).
-export([start_link/1]).
-export([addresses/0]).

%% gen_server callbacks
-export([init/1]).
-export([handle_call/3]).
-export([handle_cast/2]).
-export([handle_info/2]).
-export([terminate/2]).

-type address() :: {inet:ip_address(), inet:port_number()}.
-export_type([address/0]).

%% API

%% @doc Whether the listener could start: it is started and stopped again. For
%% an error to be told before any process is supervised.
-spec check(erlmcp_instrumentation_config:config()) ->
    ok | {error, {cannot_listen | cannot_secure | bad_option, binary()}}.
check(#{http_enabled := false}) ->
    ok;
check(Config) ->
    case start(Config, false) of
        {ok, _} -> erlmcp_instrumentation_nif:listener_stop();
        {error, _} = Error -> Error
    end.

%% @doc Starts the listener. A port in use is an error
%% `{shutdown, {cannot_listen, Text}}'; a file of certificates, tokens or
%% passwords that cannot be used is `{shutdown, {cannot_secure, Text}}'.
-spec start_link(erlmcp_instrumentation_config:config()) ->
    {ok, pid()} | ignore | {error, term()}.
start_link(Config) ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, Config, []).

%% @doc The addresses that the listener is bound to; `[]' if it does not run.
-spec addresses() -> [address()].
addresses() ->
    try
        gen_server:call(?MODULE, addresses)
    catch
        exit:{noproc, _} -> []
    end.

%% gen_server callbacks

%% @private
-spec init(erlmcp_instrumentation_config:config()) ->
    {ok, [address()]} | {stop, {shutdown, {atom(), binary()}}}.
init(Config) ->
    process_flag(trap_exit, true),
    case start(Config, true) of
        {ok, Addresses} ->
            tell_if_open(Config, Addresses),
            {ok, Addresses};
        {error, Reason} ->
            %% A shutdown: no crash report for what is a wrong setting.
            {stop, {shutdown, Reason}}
    end.

%% @private
-spec handle_call(term(), gen_server:from(), [address()]) -> {reply, term(), [address()]}.
handle_call(addresses, _From, Addresses) ->
    {reply, Addresses, Addresses};
handle_call(_Request, _From, Addresses) ->
    {reply, {error, unknown_call}, Addresses}.

%% @private
-spec handle_cast(term(), [address()]) -> {noreply, [address()]}.
handle_cast(_Request, Addresses) ->
    {noreply, Addresses}.

%% @private
-spec handle_info(term(), [address()]) -> {noreply, [address()]}.
handle_info({erlmcp_http, Level, Text}, Addresses) when is_binary(Text) ->
    log(Level, Text),
    {noreply, Addresses};
handle_info(_Message, Addresses) ->
    {noreply, Addresses}.

%% @private
-spec terminate(term(), [address()]) -> ok.
terminate(_Reason, _Addresses) ->
    erlmcp_instrumentation_nif:listener_stop().

%% Internals

%% With or without reports to this process.
-spec start(erlmcp_instrumentation_config:config(), boolean()) ->
    {ok, [address()]} | {error, {cannot_listen | cannot_secure | bad_option, binary()}}.
start(Config, Report) ->
    case erlmcp_instrumentation_nif:listener_start(self(), options(Config, Report)) of
        {ok, Bound} -> {ok, [parse(Address) || Address <- Bound]};
        {error, {cannot_listen, Text}} -> {error, {cannot_listen, <<Text/binary, (hint())/binary>>}};
        {error, _} = Error -> Error
    end.

%% Once a start. No error: a network of containers may be closed by other means.
-spec tell_if_open(erlmcp_instrumentation_config:config(), [address()]) -> ok.
tell_if_open(Config, Addresses) ->
    Reachable = [Ip || {Ip, _Port} <- Addresses, not is_loopback(Ip)],
    case Reachable =:= [] orelse erlmcp_instrumentation_door_settings:is_closed(Config) of
        true ->
            ok;
        false ->
            log(notice,
                <<"The HTTP server can be reached from other hosts and has not both TLS "
                  "(http_tls_cert_file) and a way for clients to show who they are "
                  "(http_tokens_file, http_passwords_file or http_tls_client_ca_file). "
                  "docs/security.md says how to close it.">>)
    end.

-spec is_loopback(inet:ip_address()) -> boolean().
is_loopback({127, _, _, _}) -> true;
is_loopback({0, 0, 0, 0, 0, 0, 0, 1}) -> true;
is_loopback(_) -> false.

-spec log(logger:level(), binary()) -> ok.
log(Level, Text) ->
    logger:log(Level, "erlmcp_instrumentation: ~ts", [Text], #{domain => [erlmcp, http]}).

-spec hint() -> binary().
hint() ->
    <<". Settings of erlmcp_instrumentation: http_ip, http_port, custom_port "
      "(ERLMCP_HTTP_IP, ERLMCP_HTTP_PORT, ERLMCP_CUSTOM_PORT); port 0 takes any free port, "
      "http_enabled = false starts no listener">>.

-spec options(erlmcp_instrumentation_config:config(), boolean()) -> map().
options(#{http_ip := Ip, http_port := Port, custom_port := CustomPort} = Config, Report) ->
    #{
        ip => list_to_binary(Ip),
        ports => [Port | [CustomPort || CustomPort =/= off]],
        max_connections => maps:get(http_max_connections, Config),
        max_connections_per_peer => maps:get(http_max_connections_per_peer, Config),
        min_send_rate => maps:get(http_min_send_rate, Config),
        door => (erlmcp_instrumentation_door_settings:options(Config))#{report => Report},
        header_timeout_ms => maps:get(http_header_timeout_ms, Config),
        write_timeout_ms => maps:get(http_write_timeout_ms, Config),
        idle_timeout_ms => maps:get(http_idle_timeout_ms, Config),
        vm_timeout_ms => maps:get(vm_timeout_ms, Config),
        process_metrics => maps:get(process_metrics, Config),
        debug_traces => maps:get(debug_traces, Config),
        health_timeout_ms => maps:get(health_timeout_ms, Config),
        health_details => maps:get(health_details, Config),
        version => erlmcp_instrumentation_health_settings:version(Config),
        node => atom_to_binary(node())
    }.

-spec parse({binary(), inet:port_number()}) -> address().
parse({Text, Port}) ->
    {ok, Ip} = inet:parse_address(binary_to_list(Text)),
    {Ip, Port}.
