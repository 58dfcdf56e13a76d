%% @doc Collector of the connections to other Erlang nodes.
%%
%% Families `erlang_vm_dist_*', all gauges, with the label `peer', the other
%% node's name. What can be told depends on the carrier: sockets and ports are
%% read where the connection is carried by a TCP port, also below TLS; processes
%% carry the label `type': `dist' (which runs the connection), and with TLS
%% `tls_sender' and `tls_connection'. Nothing is gathered on a node that is not
%% distributed.
-module(erlmcp_instrumentation_vm_distribution).

-behaviour(erlmcp_instrumentation_collector).

-include_lib("kernel/include/net_address.hrl").

-export([collect/1]).

-import(erlmcp_instrumentation_collector, [family/4, attempt/1]).

-type link() :: #{
    peer := node(),
    state := term(),
    queue := term(),
    socket := [{atom(), term()}],
    port := [{atom(), term()}],
    processes := [{Type :: atom(), [{atom(), term()}]}]
}.

%% @doc Gathers the families.
%%
%% For each peer one message to the process that runs its connection, and reads
%% of its socket, port and processes.
-spec collect(erlmcp_instrumentation_collector:opts()) ->
    [erlmcp_instrumentation_collector:family()].
collect(_Opts) ->
    case is_alive() of
        true -> families(links());
        false -> []
    end.

-spec families([link()]) -> [erlmcp_instrumentation_collector:family()].
families(Links) ->
    [family(Name, gauge, Help, peer_samples(Group, Key, Links))
     || {Name, Group, Key, Help} <- peer_items()] ++
        [family(Name, gauge, Help, process_samples(Key, Links))
         || {Name, Key, Help} <- process_items()].

-spec peer_samples(socket | port | link, atom(), [link()]) ->
    [{erlmcp_instrumentation_collector:labels(), term()}].
peer_samples(link, Key, Links) ->
    [{[{<<"peer">>, Peer}], Value} || #{peer := Peer, Key := Value} <- Links];
peer_samples(Group, Key, Links) ->
    [{[{<<"peer">>, Peer}], Value}
     || #{peer := Peer, Group := Figures} <- Links,
        {K, Value} <- Figures,
        K =:= Key].

-spec process_samples(atom(), [link()]) ->
    [{erlmcp_instrumentation_collector:labels(), term()}].
process_samples(Key, Links) ->
    [{[{<<"peer">>, Peer}, {<<"type">>, Type}], Value}
     || #{peer := Peer, processes := Processes} <- Links,
        {Type, Figures} <- Processes,
        {K, Value} <- Figures,
        K =:= Key].

-spec peer_items() ->
    [{Name :: binary(), socket | port | link, Key :: atom(), Help :: binary()}].
peer_items() ->
    [{<<"erlang_vm_dist_recv_bytes">>, socket, recv_oct,
      <<"Bytes received from the peer over the connection's socket.">>},
     {<<"erlang_vm_dist_recv_cnt">>, socket, recv_cnt,
      <<"Packets received from the peer over the connection's socket.">>},
     {<<"erlang_vm_dist_recv_max_bytes">>, socket, recv_max,
      <<"Bytes of the largest packet received from the peer.">>},
     {<<"erlang_vm_dist_recv_avg_bytes">>, socket, recv_avg,
      <<"Mean bytes of the packets received from the peer.">>},
     {<<"erlang_vm_dist_recv_dvi_bytes">>, socket, recv_dvi,
      <<"Mean deviation, in bytes, of the size of packets received from the peer.">>},
     {<<"erlang_vm_dist_send_bytes">>, socket, send_oct,
      <<"Bytes sent to the peer over the connection's socket.">>},
     {<<"erlang_vm_dist_send_cnt">>, socket, send_cnt,
      <<"Packets sent to the peer over the connection's socket.">>},
     {<<"erlang_vm_dist_send_max_bytes">>, socket, send_max,
      <<"Bytes of the largest packet sent to the peer.">>},
     {<<"erlang_vm_dist_send_avg_bytes">>, socket, send_avg,
      <<"Mean bytes of the packets sent to the peer.">>},
     {<<"erlang_vm_dist_send_pend_bytes">>, socket, send_pend,
      <<"Bytes that wait in the socket to be sent to the peer.">>},
     {<<"erlang_vm_dist_port_input_bytes">>, port, input,
      <<"Bytes read from the connection's port.">>},
     {<<"erlang_vm_dist_port_output_bytes">>, port, output,
      <<"Bytes written to the connection's port.">>},
     {<<"erlang_vm_dist_port_memory_bytes">>, port, memory,
      <<"Bytes that the VM has allocated for the connection's port, without its driver's.">>},
     {<<"erlang_vm_dist_port_queue_size_bytes">>, port, queue_size,
      <<"Bytes that wait in the queue of the connection's port driver.">>},
     {<<"erlang_vm_dist_node_state">>, link, state,
      <<"State of the connection: 1 pending, 2 up but not settled (up_pending), 3 up.">>},
     {<<"erlang_vm_dist_node_queue_size_bytes">>, link, queue,
      <<"Bytes that wait in the VM for the connection's port or process to take them; senders "
        "are held up when this passes the limit of emulator flag +zdbbl.">>}].

-spec process_items() -> [{Name :: binary(), Key :: atom(), Help :: binary()}].
process_items() ->
    [{<<"erlang_vm_dist_proc_memory_bytes">>, memory,
      <<"Bytes of memory of a process that serves the connection.">>},
     {<<"erlang_vm_dist_proc_message_queue_len">>, message_queue_len,
      <<"Messages that wait for a process that serves the connection.">>},
     {<<"erlang_vm_dist_proc_reductions">>, reductions,
      <<"Reductions (units of work) done by a process that serves the connection.">>},
     {<<"erlang_vm_dist_proc_status">>, status,
      <<"Status of a process that serves the connection: 1 exiting, 2 suspended, 3 runnable, "
        "4 collecting garbage, 5 running, 6 waiting.">>}].

%% A connection may go down at any moment of this: every read then answers
%% `undefined' or an error, and its sample is left out.
-spec links() -> [link()].
links() ->
    Controllers = maps:from_list(erlang:system_info(dist_ctrl)),
    {ok, Nodes} = net_kernel:nodes_info(),
    [link(Peer, maps:from_list(Info), maps:get(Peer, Controllers, undefined))
     || {Peer, Info} <- Nodes].

-spec link(node(), #{atom() => term()}, port() | pid() | undefined) -> link().
link(Peer, Info, Controller) ->
    {Port, TlsProcesses} = carrier(Controller, maps:get(address, Info, undefined)),
    Processes = [{dist, maps:get(owner, Info, undefined)} | TlsProcesses],
    #{peer => Peer,
      state => state(maps:get(state, Info, undefined)),
      queue => queue(Peer),
      socket => socket_figures(Port),
      port => port_figures(Port),
      processes => [{Type, process_figures(Pid)} || {Type, Pid} <- Processes, is_pid(Pid)]}.

-spec state(term()) -> 1..3 | undefined.
state(pending) -> 1;
state(up_pending) -> 2;
state(up) -> 3;
state(_) -> undefined.

%% net_kernel's table of connections holds the VM's handle of each in its third
%% field; the VM answers with the bytes in the connection's queue.
-spec queue(node()) -> term().
queue(Peer) ->
    case attempt(fun() -> erlang:dist_get_stat(ets:lookup_element(sys_dist, Peer, 3)) end) of
        {ok, _Received, _Sent, Bytes} -> Bytes;
        _ -> undefined
    end.

-spec socket_figures(port() | undefined) -> [{atom(), term()}].
socket_figures(undefined) ->
    [];
socket_figures(Port) ->
    case attempt(fun() -> inet:getstat(Port) end) of
        {ok, Figures} -> Figures;
        _ -> []
    end.

-spec port_figures(port() | undefined) -> [{atom(), term()}].
port_figures(undefined) ->
    [];
port_figures(Port) ->
    [Figure || Item <- [input, output, memory, queue_size],
               {_, _} = Figure <- [erlang:port_info(Port, Item)]].

-spec process_figures(pid()) -> [{atom(), term()}].
process_figures(Pid) ->
    case process_info(Pid, [memory, message_queue_len, reductions, status]) of
        undefined -> [];
        Figures -> lists:map(fun process_figure/1, Figures)
    end.

-spec process_figure({atom(), term()}) -> {atom(), term()}.
process_figure({status, exiting}) -> {status, 1};
process_figure({status, suspended}) -> {status, 2};
process_figure({status, runnable}) -> {status, 3};
process_figure({status, garbage_collecting}) -> {status, 4};
process_figure({status, running}) -> {status, 5};
process_figure({status, waiting}) -> {status, 6};
process_figure(Figure) -> Figure.

%% Over plain TCP (and kernel TLS) a port controls the connection. Over TLS the
%% sending process does; the socket belongs to the receiving one, which has the
%% same supervisor as the sender.
-spec carrier(port() | pid() | undefined, term()) ->
    {port() | undefined, [{Type :: atom(), pid()}]}.
carrier(Port, _Address) when is_port(Port) ->
    {Port, []};
carrier(Controller, #net_address{address = Address}) when is_pid(Controller) ->
    Dictionary = dictionary(Controller),
    Key = fun(Name) -> lists:keyfind(Name, 1, Dictionary) end,
    case {Key('$initial_call'), Key('$ancestors')} of
        {{_, {tls_sender, init, _}}, {_, [Supervisor | _]}} when is_pid(Supervisor) ->
            Siblings = [Pid || Pid <- linked(Supervisor), is_pid(Pid), Pid =/= Controller],
            case [{Port, Pid} || Pid <- Siblings,
                                 Port <- linked(Pid),
                                 is_socket_to(Address, Port)] of
                [{Port, Receiver} | _] ->
                    {Port, [{tls_sender, Controller}, {tls_connection, Receiver}]};
                [] ->
                    {undefined, [{tls_sender, Controller}]}
            end;
        _ ->
            {undefined, []}
    end;
carrier(_Controller, _Address) ->
    {undefined, []}.

-spec dictionary(pid()) -> [{term(), term()}].
dictionary(Pid) ->
    case process_info(Pid, dictionary) of
        {dictionary, Dictionary} -> Dictionary;
        undefined -> []
    end.

-spec linked(pid()) -> [term()].
linked(Pid) ->
    case process_info(Pid, links) of
        {links, Links} -> Links;
        undefined -> []
    end.

-spec is_socket_to(term(), term()) -> boolean().
is_socket_to(Address, Port) when is_port(Port) ->
    erlang:port_info(Port, name) =:= {name, "tcp_inet"} andalso
        inet:peername(Port) =:= {ok, Address};
is_socket_to(_Address, _) ->
    false.
