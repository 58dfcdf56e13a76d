%% @private The checks that are registered on the node, and what the application
%% has said of its state.
%%
%% Kept in persistent terms, one for each check: they belong to no process, so
%% that they outlive those who register, the library's processes and its
%% application, and can be made before it is started. A new name costs nobody
%% anything; replacing or erasing one has the VM look through all processes,
%% once.
-module(erlmcp_instrumentation_health_registry).

-export([put/3]).
-export([erase/1]).
-export([all/0]).
-export([function/2]).
-export([mark/2]).
-export([marked/1]).

-export_type([options/0]).
-export_type([name/0]).
-export_type([mark/0]).

-type name() :: binary().
-type options() :: #{
    timeout := pos_integer() | default,
    probes := [ready | startup],
    critical := boolean()
}.
-type mark() :: draining | starting | booted.

-define(CHECK(Name), {?MODULE, check, Name}).
-define(MARK(Mark), {?MODULE, mark, Mark}).

%% @doc Registers a check in the place of one of that name. `false' if exactly
%% this one is registered.
-spec put(name(), fun(() -> term()), options()) -> boolean().
put(Name, Fun, Options) ->
    case persistent_term:get(?CHECK(Name), none) of
        {_Ref, Options, Fun} ->
            false;
        _ ->
            persistent_term:put(?CHECK(Name), {make_ref(), Options, Fun}),
            true
    end.

%% @doc Whether there was such a check.
-spec erase(name()) -> boolean().
erase(Name) ->
    persistent_term:erase(?CHECK(Name)).

%% @doc The checks in the order of their names. The reference is that of the
%% registration. Looks at every persistent term of the node.
-spec all() -> [{name(), reference(), options()}].
all() ->
    lists:sort([{Name, Ref, Options}
                || {?CHECK(Name), {Ref, Options, _Fun}} <- persistent_term:get()]).

%% @doc The function of a registration, if it is still the one of that name.
%% Only the process that calls it asks: whoever holds a function of a module
%% ends when its code is purged.
-spec function(name(), reference()) -> {ok, fun(() -> term())} | gone.
function(Name, Ref) ->
    case persistent_term:get(?CHECK(Name), none) of
        {Ref, _Options, Fun} -> {ok, Fun};
        _ -> gone
    end.

%% @doc Notes a state; says whether it is another one than before.
-spec mark(mark(), boolean()) -> boolean().
mark(Mark, Value) ->
    Before = marked(Mark),
    persistent_term:put(?MARK(Mark), Value),
    Before =/= Value.

%% @doc Whether a state was noted.
-spec marked(mark()) -> boolean().
marked(Mark) ->
    persistent_term:get(?MARK(Mark), false).
