%% The strict OTLP receiver, test/oracle/otlp_receiver.py: starting it, having it
%% misbehave, and what it has got.
%%
%% Records are maps with their types kept: #{name => <<"tools/call">>,
%% kind => server, attributes => #{<<"n">> => {int, 1}}, ...}; see
%% test/oracle/otlp_terms.py.
-module(erlmcp_ct_receiver).

-export([start/1, start/2, stop/1]).
-export([url/2, host/2, python/0]).
-export([fault/2, fault/3, then/3]).
-export([received/1, count/2, violations/1, forget/1]).
-export([spans/1, records/2, records/4]).
-export([await/3, await/4, await_request/3]).

-define(PAGE, 20000).

%% Starts a receiver; its log goes to the folder.
start(Dir) ->
    start(Dir, #{}).

%% Options: tls => Files or mutual_tls => Files, as of erlmcp_ct_certificates;
%% headers => [{Name, Value}], wanted of each request; count_only => true;
%% arguments => further ones of the program.
start(Dir, Options) ->
    {ok, _} = application:ensure_all_started(inets),
    Script = filename:join([erlmcp_ct_oracle:root(), "test", "oracle", "otlp_receiver.py"]),
    Log = filename:join(Dir, "otlp_receiver-" ++ unique() ++ ".log"),
    Command = [python(), "-B", Script | arguments(maps:to_list(Options))],
    {Owner, Line} = erlmcp_ct_program:start_and_read_line(Command, Log),
    {match, Found} = re:run(Line, "\"([a-z]+)\": ([0-9]+)", [global, {capture, all_but_first, binary}]),
    Ports = maps:from_list([{binary_to_atom(Name), binary_to_integer(Port)} || [Name, Port] <- Found]),
    Ports#{owner => Owner, tls => maps:is_key(tls, Options) orelse maps:is_key(mutual_tls, Options)}.

arguments([]) ->
    [];
arguments([{tls, #{server_cert := Cert, server_key := Key}} | Rest]) ->
    ["--tls-certificate", Cert, "--tls-key", Key | arguments(Rest)];
arguments([{mutual_tls, #{client_ca := Ca} = Files} | Rest]) ->
    ["--tls-client-ca", Ca | arguments([{tls, Files} | Rest])];
arguments([{headers, Headers} | Rest]) ->
    lists:append([["--require-header", Name ++ "=" ++ Value] || {Name, Value} <- Headers]) ++ arguments(Rest);
arguments([{count_only, true} | Rest]) ->
    ["--count-only" | arguments(Rest)];
arguments([{arguments, Arguments} | Rest]) ->
    Arguments ++ arguments(Rest).

stop(#{owner := Owner}) ->
    erlmcp_ct_program:stop(Owner).

%% Where it takes grpc or http.
url(#{tls := false} = Receiver, Protocol) -> "http://" ++ host(Receiver, Protocol);
url(#{tls := true} = Receiver, Protocol) -> "https://" ++ host(Receiver, Protocol).

host(Receiver, Protocol) ->
    "127.0.0.1:" ++ integer_to_list(maps:get(Protocol, Receiver)).

python() ->
    Python = filename:join([erlmcp_ct_oracle:tools(), "venv", "bin", "python"]),
    filelib:is_regular(Python) orelse error({missing, Python, "run scripts/setup.sh test"}),
    Python.

%% Faults: test/oracle/otlp_faults.py names them.

fault(Receiver, Kind) ->
    fault(Receiver, Kind, #{}).

fault(Receiver, Kind, Parameters) ->
    post(Receiver, "/fault", Parameters#{kind => Kind}).

%% After those that it has been told before.
then(Receiver, Kind, Parameters) ->
    post(Receiver, "/fault", Parameters#{kind => Kind, then => 1}).

%% What it has got

%% Counts: records and requests by signal, spans (each id once),
%% duplicate_spans, unanswered_spans (of a fault `after', and never accepted in a
%% request that was answered), violations and more.
received(Receiver) ->
    get(Receiver, "/received", #{}).

count(Receiver, Signal) ->
    #{records := #{Signal := Count}} = received(Receiver),
    Count.

violations(Receiver) ->
    maps:get(violations, received(Receiver)).

forget(Receiver) ->
    post(Receiver, "/forget", #{}).

spans(Receiver) ->
    records(Receiver, traces).

%% All records of a signal, in the order of their arrival.
records(Receiver, Signal) ->
    records(Receiver, Signal, 0, []).

records(Receiver, Signal, Offset, Before) ->
    Page = get(Receiver, "/records", #{signal => Signal, offset => Offset, limit => ?PAGE}),
    case length(Page) < ?PAGE of
        true -> lists:append(lists:reverse([Page | Before]));
        false -> records(Receiver, Signal, Offset + ?PAGE, [Page | Before])
    end.

%% Waits until so many records of a signal are there.
await(Receiver, Signal, Count) ->
    await(Receiver, Signal, Count, 60).

await(Receiver, Signal, Count, Seconds) ->
    try erlmcp_ct_load:until(fun() -> count(Receiver, Signal) >= Count end, Seconds)
    catch error:condition_never_held -> error({not_received, Signal, Count, received(Receiver)})
    end.

%% Waits until so many requests of an outcome (accepted, status, close, ...) have
%% been answered for traces.
await_request(Receiver, Outcome, Count) ->
    erlmcp_ct_load:until(fun() ->
        #{requests := #{traces := Requests}} = received(Receiver),
        maps:get(Outcome, Requests, 0) >= Count
    end).

%% The control port

get(Receiver, Path, Parameters) ->
    answered(httpc:request(get, {target(Receiver, Path, Parameters), []}, [{timeout, 60000}],
                           [{body_format, binary}])).

post(Receiver, Path, Parameters) ->
    Request = {target(Receiver, Path, Parameters), [], "text/plain", <<>>},
    ok = answered(httpc:request(post, Request, [{timeout, 30000}], [{body_format, binary}])).

target(#{control := Port}, Path, Parameters) ->
    Query = [{to_string(Name), to_string(Value)} || {Name, Value} <- maps:to_list(Parameters)],
    lists:flatten(["http://127.0.0.1:", integer_to_list(Port), Path,
                   [["?", uri_string:compose_query(Query)] || Query =/= []]]).

answered({ok, {{_, 200, _}, _, Body}}) ->
    binary_to_term(Body);
answered({ok, {{_, Status, _}, _, Body}}) ->
    error({receiver_refuses, Status, binary_to_term(Body)});
answered({error, Reason}) ->
    error({no_receiver, Reason}).

to_string(Atom) when is_atom(Atom) -> atom_to_list(Atom);
to_string(Integer) when is_integer(Integer) -> integer_to_list(Integer);
to_string(Text) -> Text.

unique() ->
    integer_to_list(erlang:unique_integer([positive])).
