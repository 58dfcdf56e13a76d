%% Blocks schedulers of the node it is loaded on, with a NIF that the test
%% compiles (test/native/erlmcp_ct_block.c).
-module(erlmcp_ct_block).

-export([build/1, load/1]).
-export([block_all/2, record_meanwhile/4]).
-export([block/1, record/4]).

%% The path of the library, without its ending, for load/1.
build(Dir) ->
    Source = filename:join([erlmcp_ct_oracle:root(), "test", "native", "erlmcp_ct_block.c"]),
    Include = filename:join([code:root_dir(), "usr", "include"]),
    Library = filename:join(Dir, "erlmcp_ct_block"),
    Output = os:cmd(lists:flatten(lists:join(
        " ", ["cc -shared -fPIC -Wall -Wextra -Werror -O1", "-I" ++ Include,
              "-o", Library ++ ".so", Source, "-ldl 2>&1"]))),
    filelib:is_regular(Library ++ ".so") orelse error({cannot_build, Output}),
    Library.

load(Library) ->
    erlang:load_nif(Library, 0).

%% Comes back at once; some milliseconds later every normal scheduler is occupied.
block_all(AfterMs, Ms) ->
    [spawn_opt(fun() -> timer:sleep(AfterMs), ok = block(Ms) end, [{scheduler, Scheduler}])
     || Scheduler <- lists:seq(1, erlang:system_info(schedulers_online))],
    ok.

%% Comes back at once; a dirty scheduler counts meanwhile. The name of a process
%% that says how often when it is asked for it.
record_meanwhile(As, Name, Labels, Ms) ->
    Path = filename:join(code:priv_dir(erlmcp_instrumentation), "erlmcp_nif.so"),
    spawn(fun() ->
        Counted = record(Path, Name, Labels, Ms),
        true = register(As, self()),
        receive {ask, From} -> From ! {counted, Counted} end
    end),
    ok.

block(_Ms) -> erlang:nif_error(not_loaded).
record(_Path, _Name, _Labels, _Ms) -> erlang:nif_error(not_loaded).
