%% A span is lost only when the library says how many and why: what arrives at a
%% receiver that misbehaves, against what the library counts.
%%
%% At the end of each case, ended = exported + dropped, by the library's counts,
%% and what the receiver has is what is said to be exported. Retries can deliver
%% a span twice; each counts once.
-module(erlmcp_trace_export_SUITE).

-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0, groups/0]).
-export([init_per_suite/1, end_per_suite/1, init_per_group/2, end_per_group/2]).
-export([init_per_testcase/2, end_per_testcase/2]).
-export([receiver_down/1, receiver_slow/1, slower_than_the_timeout/1]).
-export([told_to_wait/1, told_that_it_is_for_good/1, told_nonsense/1]).
-export([closed_before_accepting/1, closed_after_accepting/1]).
-export([partial_success/1, partial_success_with_a_warning/1]).
-export([requests_stay_small/1, too_large_for_the_receiver/1]).
-export([full_queue/1, memory_is_bounded/1]).
-export([flush_times_out/1]).
-export([process_killed/1]).
-export([stopped_with_a_full_queue/1, stopped_with_the_receiver_down/1]).
-export([counts_outlive_the_application/1]).
-export([spool_survives_a_restart/1, spool_survives_a_kill/1]).
-export([every_fault_in_turn/1]).

%% Called on the node.
-export([kill_in_request/0, resident_bytes/0]).

-define(OTEL, erlmcp_otel_instrumentation).
-define(TIMEOUT_MS, 1000).
-define(BATCH, 100).
-define(QUEUE, 5000).
%% What the node may take beside the queue: 64 MiB.
-define(ROOM_BYTES, (64 bsl 20)).

suite() ->
    [{timetrap, {seconds, 240 + down_seconds()}}].

all() ->
    [{group, grpc}, {group, http}].

groups() ->
    Waiting = [receiver_down, slower_than_the_timeout, told_to_wait, flush_times_out,
               stopped_with_the_receiver_down, counts_outlive_the_application,
               spool_survives_a_restart, spool_survives_a_kill,
               every_fault_in_turn],
    Cases = [receiver_slow, told_that_it_is_for_good, told_nonsense, closed_before_accepting,
             closed_after_accepting, partial_success, partial_success_with_a_warning,
             requests_stay_small, too_large_for_the_receiver, full_queue, memory_is_bounded,
             process_killed, stopped_with_a_full_queue],
    %% Each case has a node and a receiver of its own; those that mostly wait do it
    %% together.
    [{grpc, [], [{group, waiting} | Cases]},
     {http, [], [{group, waiting} | Cases]},
     {waiting, [parallel], Waiting}].

%% How long the receiver is down. ERLMCP_DOWN_SECONDS=60 for a minute.
down_seconds() ->
    list_to_integer(os:getenv("ERLMCP_DOWN_SECONDS", "2")).

init_per_suite(Config) ->
    Config.

end_per_suite(_Config) ->
    ok.

init_per_group(waiting, Config) ->
    Config;
init_per_group(Protocol, Config) ->
    [{protocol, Protocol} | Config].

end_per_group(_Protocol, _Config) ->
    ok.

%% A receiver and a folder for each case; a node where the case starts one.
init_per_testcase(Case, Config) ->
    Dir = filename:join(proplists:get_value(priv_dir, Config),
                        lists:concat([Case, "_", erlang:unique_integer([positive])])),
    ok = filelib:ensure_dir(filename:join(Dir, "file")),
    [{dir, Dir}, {receiver, erlmcp_ct_receiver:start(Dir)} | Config].

end_per_testcase(_Case, Config) ->
    erlmcp_ct_receiver:stop(proplists:get_value(receiver, Config)).

%% The test cases

receiver_down(Config) ->
    with_node(Config, fun(Node) ->
        Receiver = proplists:get_value(receiver, Config),
        First = finish(Node, 300),
        ok = flush(Node),
        ok = erlmcp_ct_receiver:fault(Receiver, down),
        Second = finish(Node, 1000),
        timer:sleep(down_seconds() * 1000),
        ?assertEqual(#{exported => First, dropped => #{}}, counts(Node)),
        ?assertMatch(#{ended := Ended, held := Second} when Ended =:= First + Second, accounted(Node)),
        ok = erlmcp_ct_receiver:fault(Receiver, ok),
        all_arrive(Config, Node, First + Second)
    end).

%% Each request takes longer than filling it; recording does not wait.
receiver_slow(Config) ->
    with_node(Config, fun(Node) ->
        fault(Config, slow, #{ms => 200}),
        {Micros, Ended} = timer:tc(fun() -> finish(Node, 2000) end),
        ?assert(Micros < 2000000),
        all_arrive(Config, Node, Ended)
    end).

%% The receiver accepts, and the sender has given up: it sends again.
slower_than_the_timeout(Config) ->
    with_node(Config, fun(Node) ->
        fault(Config, slow, #{ms => 2 * ?TIMEOUT_MS, 'when' => 'after', requests => 1}),
        Ended = finish(Node, ?BATCH),
        all_arrive(Config, Node, Ended),
        ?assertMatch(#{duplicate_spans := Twice} when Twice > 0, received(Config))
    end).

%% Retry-After and RetryInfo are minded; what asks for no wait is tried again too.
told_to_wait(Config) ->
    {Waits, Others} = case proplists:get_value(protocol, Config) of
        http -> {[{status, #{code => 429, retry_after => 2}}, {status, #{code => 503, retry_after => 1}}],
                 [{status, #{code => 502}}, {status, #{code => 504}}]};
        grpc -> {[{grpc, #{code => 'RESOURCE_EXHAUSTED', retry_delay_ms => 2000}},
                  {grpc, #{code => 'UNAVAILABLE', retry_delay_ms => 1000}}],
                 [{grpc, #{code => 'UNAVAILABLE'}}, {grpc, #{code => 'ABORTED'}}]}
    end,
    with_node(Config, fun(Node) ->
        script(Config, Waits),
        Begin = erlang:monotonic_time(millisecond),
        First = finish(Node, 10),
        all_arrive(Config, Node, First),
        ?assert(erlang:monotonic_time(millisecond) - Begin >= 3000),
        script(Config, Others),
        Second = finish(Node, 10),
        all_arrive(Config, Node, First + Second)
    end).

%% Statuses that are not to be retried: the batch is dropped, and said to be.
told_that_it_is_for_good(Config) ->
    Refusals = case proplists:get_value(protocol, Config) of
        http -> [{status, #{code => Code}} || Code <- [400, 401, 403, 404, 500]];
        grpc -> [{grpc, #{code => Code}}
                 || Code <- ['INVALID_ARGUMENT', 'UNAUTHENTICATED', 'PERMISSION_DENIED', 'UNIMPLEMENTED',
                             'INTERNAL', 'RESOURCE_EXHAUSTED']]
    end,
    with_node(Config, fun(Node) ->
        Dropped = lists:sum([begin
                                 script(Config, [Refusal]),
                                 Ended = finish(Node, 10),
                                 ok = flush(Node),
                                 Ended
                             end || Refusal <- Refusals]),
        ?assertEqual(#{exported => 0, dropped => #{rejected => Dropped}}, counts(Node)),
        ?assertEqual(0, arrived(Config)),
        %% One answer each, no second try.
        #{requests := #{traces := Requests}} = received(Config),
        ?assertEqual(length(Refusals), lists:sum(maps:values(Requests))),
        More = finish(Node, 10),
        ok = flush(Node),
        balanced(Config, Node, Dropped + More)
    end).

%% Success is success, whatever the body says.
told_nonsense(Config) ->
    with_node(Config, fun(Node) ->
        fault(Config, bad_body, #{requests => 1}),
        Ended = finish(Node, 10),
        ok = flush(Node),
        balanced(Config, Node, Ended)
    end).

closed_before_accepting(Config) ->
    with_node(Config, fun(Node) ->
        fault(Config, close, #{'when' => before, requests => 3}),
        all_arrive(Config, Node, finish(Node, 500))
    end).

closed_after_accepting(Config) ->
    with_node(Config, fun(Node) ->
        fault(Config, close, #{'when' => 'after', requests => 2}),
        all_arrive(Config, Node, finish(Node, 500))
    end).

partial_success(Config) ->
    with_node(Config, fun(Node) ->
        fault(Config, partial, #{n => 7, requests => 1, message => "seven"}),
        Ended = finish(Node, ?BATCH * 2),
        ok = flush(Node),
        ?assertEqual(#{exported => Ended - 7, dropped => #{partial_success => 7}}, counts(Node)),
        balanced(Config, Node, Ended)
    end).

%% None rejected: a warning.
partial_success_with_a_warning(Config) ->
    with_node(Config, fun(Node) ->
        fault(Config, partial, #{n => 0, requests => 1}),
        all_arrive(Config, Node, finish(Node, 10))
    end).

%% However many spans a request may have, it stays under what receivers take.
requests_stay_small(Config) ->
    Wide = [{"OTEL_BSP_MAX_EXPORT_BATCH_SIZE", integer_to_list(?QUEUE)},
            {"OTEL_BSP_SCHEDULE_DELAY", "2000"}],
    with_node(Config, #{}, Wide, fun(Node) ->
        fault(Config, max_bytes, #{n => 4 bsl 20}),
        Ended = finish(Node, ?QUEUE div 2, 4000),
        all_arrive(Config, Node, Ended),
        ?assertMatch(#{biggest_request := Biggest} when Biggest =< 4 bsl 20, received(Config))
    end).

%% One that takes less than the library thinks.
too_large_for_the_receiver(Config) ->
    with_node(Config, fun(Node) ->
        fault(Config, max_bytes, #{n => 1000}),
        Large = finish(Node, ?BATCH, 100),
        ok = flush(Node),
        fault(Config, ok, #{}),
        Small = finish(Node, 10),
        ok = flush(Node),
        balanced(Config, Node, Large + Small)
    end).

%% What does not fit is counted at the door.
full_queue(Config) ->
    with_node(Config, fun(Node) ->
        fault(Config, down, #{}),
        Ended = finish(Node, 4 * ?QUEUE),
        #{dropped := #{queue_full := Full}} = counts(Node),
        ?assertEqual(3 * ?QUEUE, Full),
        ?assertMatch(#{ended := Ended, held := ?QUEUE}, accounted(Node)),
        fault(Config, ok, #{}),
        ok = flush(Node, 20000),
        balanced(Config, Node, Ended),
        ?assertMatch(#{dropped := #{queue_full := Full}}, counts(Node))
    end).

memory_is_bounded(Config) ->
    with_node(Config, fun(Node) ->
        fault(Config, silent, #{}),
        _ = finish(Node, ?QUEUE, 1000),
        Before = erlmcp_ct_node:call(Node, ?MODULE, resident_bytes, []),
        _ = [finish(Node, 50000, 1000) || _ <- lists:seq(1, 4)],
        After = erlmcp_ct_node:call(Node, ?MODULE, resident_bytes, []),
        ct:log("~b bytes before, ~b after", [Before, After]),
        ?assert(After - Before < ?ROOM_BYTES)
    end).

resident_bytes() ->
    erlang:garbage_collect(),
    {ok, Status} = file:read_file("/proc/self/status"),
    {match, [Kib]} = re:run(Status, "VmRSS:\\s+([0-9]+)", [{capture, all_but_first, list}]),
    list_to_integer(Kib) * 1024.

%% A flush ends at its deadline, and what it did not send is sent later.
flush_times_out(Config) ->
    with_node(Config, fun(Node) ->
        fault(Config, silent, #{}),
        Ended = finish(Node, 10),
        {Micros, Answer} = timer:tc(fun() -> erlmcp_ct_node:call(Node, ?OTEL, force_flush, [500]) end),
        ?assertEqual({error, timeout}, Answer),
        ?assert(Micros < 2000000),
        fault(Config, ok, #{}),
        all_arrive(Config, Node, Ended)
    end).

%% Spans of a process that is killed arrive within seconds, without a flush.
process_killed(Config) ->
    with_node(Config, fun(Node) ->
        Receiver = proplists:get_value(receiver, Config),
        ok = erlmcp_ct_node:call(Node, ?MODULE, kill_in_request, []),
        ok = erlmcp_ct_receiver:await(Receiver, traces, 2, 5),
        Spans = erlmcp_ct_receiver:spans(Receiver),
        [?assertMatch(#{status := {error, _}}, Span) || Span <- Spans],
        ?assertEqual(2, length(Spans)),
        [#{span_id := Outer}] = [Span || #{parent_span_id := <<>>} = Span <- Spans],
        ?assertMatch([_], [Span || #{parent_span_id := Parent} = Span <- Spans, Parent =:= Outer]),
        balanced(Config, Node, 2)
    end).

%% A span in another, for long enough that the watcher knows the process.
kill_in_request() ->
    Caller = self(),
    Pid = spawn(fun() ->
        ?OTEL:trace_request(#{method => <<"tools/call">>}, fun() ->
            ?OTEL:with_span(<<"inner">>, #{}, fun() -> Caller ! inside, timer:sleep(infinity) end)
        end)
    end),
    receive inside -> ok end,
    timer:sleep(200),
    exit(Pid, kill),
    ok.

%% init:stop/0 sends what is there.
stopped_with_a_full_queue(Config) ->
    Late = [{"OTEL_BSP_SCHEDULE_DELAY", "60000"},
            {"OTEL_BSP_MAX_EXPORT_BATCH_SIZE", integer_to_list(?QUEUE)}],
    Node = start_node(Config, #{}, Late),
    Ended = finish(Node, ?QUEUE - 100),
    stop_vm(Node, 15000),
    ?assertMatch(#{spans := Ended, violations := []}, received(Config)).

%% ... and does not wait for ever where it cannot.
stopped_with_the_receiver_down(Config) ->
    Node = start_node(Config, #{}, []),
    fault(Config, silent, #{}),
    _ = finish(Node, 1000),
    stop_vm(Node, 15000).

%% What the end of the application drops is counted, and still so when it is
%% started again.
counts_outlive_the_application(Config) ->
    with_node(Config, fun(Node) ->
        First = finish(Node, 200),
        ok = flush(Node),
        fault(Config, silent, #{}),
        Second = finish(Node, 1000),
        ok = erlmcp_ct_node:call(Node, application, stop, [erlmcp_instrumentation]),
        ok = erlmcp_ct_node:call(Node, application, start, [erlmcp_instrumentation]),
        ?assertEqual(#{exported => First, dropped => #{shutdown => Second}}, counts(Node)),
        fault(Config, ok, #{}),
        Third = finish(Node, 10),
        ok = flush(Node),
        balanced(Config, Node, First + Second + Third)
    end).

%% Nothing is lost: not by the receiver, not by the restart.
spool_survives_a_restart(Config) ->
    Spool = filename:join(proplists:get_value(dir, Config), "spool"),
    Env = #{spool_dir => Spool},
    First = start_node(Config, Env, []),
    Before = finish(First, 500),
    ok = flush(First),
    fault(Config, down, #{}),
    Meanwhile = finish(First, 3000),
    timer:sleep(500),
    ?assertMatch(#{exported := Before, dropped := 0}, accounted(First)),
    stop_vm(First, 15000),
    Second = start_node(Config, Env, []),
    try
        After = finish(Second, 500),
        fault(Config, ok, #{}),
        All = Before + Meanwhile + After,
        ok = erlmcp_ct_receiver:await(proplists:get_value(receiver, Config), traces, All, 30),
        ?assertMatch(#{spans := All, violations := []}, received(Config)),
        ?assertMatch(#{dropped := Dropped} when Dropped =:= #{}, counts(Second))
    after
        erlmcp_ct_node:stop(Second)
    end.

%% What is in the spool outlives the node, whatever ends it.
spool_survives_a_kill(Config) ->
    Spool = filename:join(proplists:get_value(dir, Config), "spool"),
    Env = #{spool_dir => Spool},
    First = start_node(Config, Env, []),
    fault(Config, down, #{}),
    Count = finish(First, 3000),
    ok = erlmcp_ct_load:until(fun() -> maps:get(spooled, account(First)) =:= Count end),
    ?assertMatch(#{held := 0, dropped := 0}, accounted(First)),
    Monitor = monitor(process, First),
    "" = os:cmd("kill -9 " ++ erlmcp_ct_node:call(First, os, getpid, [])),
    receive {'DOWN', Monitor, process, First, _} -> ok after 30000 -> error(still_alive) end,
    fault(Config, ok, #{}),
    Second = start_node(Config, Env, []),
    try
        ok = erlmcp_ct_receiver:await(proplists:get_value(receiver, Config), traces, Count, 20),
        ok = flush(Second),
        ?assertMatch(#{recovered := Count, exported := Count, dropped := 0, spooled := 0}, accounted(Second)),
        ?assertMatch(#{spans := Count, violations := []}, received(Config))
    after
        erlmcp_ct_node:stop(Second)
    end.

%% All of it while spans keep coming.
every_fault_in_turn(Config) ->
    Refusals = case proplists:get_value(protocol, Config) of
        http -> [{status, #{code => 503, retry_after => 1}}, {status, #{code => 400}}];
        grpc -> [{grpc, #{code => 'UNAVAILABLE', retry_delay_ms => 300}},
                 {grpc, #{code => 'INVALID_ARGUMENT'}}]
    end,
    Faults = Refusals ++ [{close, #{'when' => before}}, {close, #{'when' => 'after'}}, {partial, #{n => 3}},
                          {slow, #{ms => 300}}, {bad_body, #{}}],
    with_node(Config, fun(Node) ->
        Ended = lists:sum([begin
                               script(Config, [Fault, Other]),
                               N = finish(Node, 250),
                               timer:sleep(200),
                               N
                           end || {Fault, Other} <- lists:zip(Faults, lists:reverse(Faults))]),
        ok = flush(Node, 30000),
        balanced(Config, Node, Ended)
    end).

%% The node

with_node(Config, Test) ->
    with_node(Config, #{}, [], Test).

with_node(Config, Env, Variables, Test) ->
    Node = start_node(Config, Env, Variables),
    try Test(Node) after erlmcp_ct_node:stop(Node) end.

start_node(Config, Env, Variables) ->
    Receiver = proplists:get_value(receiver, Config),
    Protocol = proplists:get_value(protocol, Config),
    Usual = [{"OTEL_EXPORTER_OTLP_ENDPOINT", erlmcp_ct_receiver:url(Receiver, Protocol)},
             {"OTEL_EXPORTER_OTLP_PROTOCOL", maps:get(Protocol, #{grpc => "grpc", http => "http/protobuf"})},
             {"OTEL_EXPORTER_OTLP_TIMEOUT", integer_to_list(?TIMEOUT_MS)},
             {"OTEL_SERVICE_NAME", "faults"},
             {"OTEL_METRICS_EXPORTER", "none"},
             {"OTEL_BSP_SCHEDULE_DELAY", "100"},
             {"OTEL_BSP_MAX_QUEUE_SIZE", integer_to_list(?QUEUE)},
             {"OTEL_BSP_MAX_EXPORT_BATCH_SIZE", integer_to_list(?BATCH)}],
    All = lists:foldl(fun({Name, _} = Variable, Acc) -> lists:keystore(Name, 1, Acc, Variable) end,
                      Usual, Variables),
    erlmcp_ct_node:start(Env, #{env => All}).

%% As an operator does it, and within a time.
stop_vm(Node, Ms) ->
    Monitor = monitor(process, Node),
    ok = erlmcp_ct_node:call(Node, init, stop, []),
    receive {'DOWN', Monitor, process, Node, _} -> ok
    after Ms ->
        erlmcp_ct_node:stop(Node),
        error({vm_does_not_stop, Ms})
    end.

finish(Node, Count) ->
    finish(Node, Count, 20).

finish(Node, Count, Bytes) ->
    Count = erlmcp_ct_node:call(Node, erlmcp_ct_spans, end_many, [Count, Bytes]).

flush(Node) ->
    flush(Node, 10000).

flush(Node, Ms) ->
    erlmcp_ct_node:call(Node, ?OTEL, force_flush, [Ms]).

counts(Node) ->
    erlmcp_ct_node:call(Node, erlmcp_ct_spans, counts, []).

account(Node) ->
    erlmcp_ct_node:call(Node, erlmcp_ct_spans, account, []).

%% Where every span is that has ended on the node, or was found in the spool; to
%% be asked while none is on its way from one place to the other.
accounted(Node) ->
    Account = account(Node),
    #{ended := Ended, recovered := Recovered, exported := Exported, kept := Kept, dropped := Dropped,
      held := Held, spooled := Spooled} = Account,
    ?assertEqual({Account, Ended + Recovered}, {Account, Exported + Kept + Dropped + Held + Spooled}),
    Account.

%% The receiver. Faults are for spans alone; the ports are one.

fault(Config, Kind, Parameters) ->
    script(Config, [{Kind, Parameters}], none).

%% Faults one after the other, a request each.
script(Config, Faults) ->
    script(Config, Faults, 1).

script(Config, [{Kind, Parameters} | Rest], Requests) ->
    Receiver = proplists:get_value(receiver, Config),
    ok = erlmcp_ct_receiver:fault(Receiver, Kind, limited(Kind, Parameters, Requests)),
    [ok = erlmcp_ct_receiver:then(Receiver, K, limited(K, P, Requests)) || {K, P} <- Rest],
    ok.

limited(Kind, Parameters, _Requests) when Kind =:= down; Kind =:= silent; Kind =:= ok -> Parameters;
limited(_Kind, Parameters, none) -> Parameters#{signal => traces};
limited(_Kind, Parameters, Requests) -> Parameters#{signal => traces, requests => Requests}.

received(Config) ->
    erlmcp_ct_receiver:received(proplists:get_value(receiver, Config)).

%% Each span once.
arrived(Config) ->
    maps:get(spans, received(Config)).

all_arrive(Config, Node, Ended) ->
    ok = flush(Node, 20000),
    ?assertEqual(#{exported => Ended, dropped => #{}}, counts(Node)),
    balanced(Config, Node, Ended).

balanced(Config, Node, Ended) ->
    #{exported := Exported, dropped := Dropped} = counts(Node),
    ct:log("~b ended, ~b exported, dropped: ~p", [Ended, Exported, Dropped]),
    ?assertEqual(Ended, Exported + lists:sum(maps:values(Dropped))),
    ?assertMatch(#{ended := Ended, held := 0}, accounted(Node)),
    ?assertMatch(#{violations := []}, received(Config)),
    #{spans := Arrived, unanswered_spans := Unanswered} = received(Config),
    %% A span whose request the receiver took without an answer is sent again; only
    %% when it is then refused or given up can it be here and not be exported.
    ?assertEqual(Exported, Arrived - Unanswered).
