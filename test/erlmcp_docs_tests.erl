%% The Erlang in the documentation: every block marked as such is run.
%%
%% A block of functions is compiled as a module, and its tests are run; any other
%% is evaluated. Functions without a module stand for the reader's own and return
%% `{ok, #{}}'. Blocks do not know each other's variables.
-module(erlmcp_docs_tests).

-include_lib("eunit/include/eunit.hrl").

%% Each with the number of blocks that it has at least.
-define(PAGES, [{"README.md", 5}, {"docs/tracing.md", 5}, {"docs/testing.md", 3},
                {"docs/metrics.md", 2}, {"docs/security.md", 4}]).
-define(TIMEOUT_S, 20).

docs_test_() ->
    {setup,
     fun() -> erlmcp_ct_app:quiet(), erlmcp_ct_app:start() end,
     fun(_) -> erlmcp_ct_app:forget(), erlmcp_ct_app:stop(), erlmcp_ct_app:loud() end,
     [fun what_the_empty_list_of_traces_says/0
      | [page(Name, Least) || {Name, Least} <- ?PAGES]]}.

%% Where it has no trace to show, /debug/traces tells how to make one.
what_the_empty_list_of_traces_says() ->
    Page = filename:join([erlmcp_ct_oracle:root(), "native", "export", "src", "traces", "list_page.rs"]),
    {ok, Source} = file:read_file(Page),
    {match, [Shown]} = re:run(Source, "<pre><code>(.*)</code></pre>", [{capture, all_but_first, list}]),
    Code = lists:foldl(fun({Entity, Char}, Text) -> string:replace(Text, Entity, Char, all) end,
                       Shown, [{"&lt;", "<"}, {"&gt;", ">"}, {"\\\"", "\""}]),
    {ok, Spans} = erlmcp_otel_test:capture(fun() -> run(lists:flatten(Code), 1) end),
    erlmcp_otel_test:assert_span(hello, Spans).

page(Name, Least) ->
    {ok, Text} = file:read_file(filename:join(erlmcp_ct_oracle:root(), Name)),
    Blocks = blocks(Text),
    [{Name ++ ": blocks", ?_assert(length(Blocks) >= Least)}
     | [{lists:concat([Name, ":", Line]), {timeout, ?TIMEOUT_S, fun() -> run(Code, Line) end}}
        || {Line, Code} <- Blocks]].

%% What is broken is found.
broken_blocks_are_found_test_() ->
    Page = <<"text\n```erlang\n1 = 2.\n```\nmore\n```sh\nls\n```\n```erlang\nf( .\n```\n"
             "```erlang\n-module(x).\n-export([f/0]).\n```\n">>,
    [{3, _} = A, {10, _} = B, {13, _} = C] = blocks(Page),
    [?_assertError({badmatch, 2}, run_block(A)),
     ?_assertError({cannot_parse, _, _}, run_block(B)),
     ?_assertError({cannot_compile, _}, run_block(C)),
     ?_assertError({cannot_parse, _, no_dot}, run("erlmcp_metrics:inc(a)", 1))].

run_block({Line, Code}) ->
    run(Code, Line).

%% Blocks with the lines they begin on.
blocks(Text) ->
    blocks(binary:split(Text, <<"\n">>, [global]), 1, none, []).

blocks([], _Line, none, Done) ->
    lists:reverse(Done);
blocks([<<"```erlang">> | Lines], Line, none, Done) ->
    blocks(Lines, Line + 1, {Line + 1, []}, Done);
blocks([<<"```">> | Lines], Line, {Begin, Code}, Done) ->
    Joined = unicode:characters_to_list(lists:join($\n, lists:reverse(Code))),
    blocks(Lines, Line + 1, none, [{Begin, Joined} | Done]);
blocks([Text | Lines], Line, {Begin, Code}, Done) ->
    blocks(Lines, Line + 1, {Begin, [Text | Code]}, Done);
blocks([_ | Lines], Line, none, Done) ->
    blocks(Lines, Line + 1, none, Done).

run("-module(" ++ _ = Code, _Line) ->
    test(compiled(Code));
run(Code, Line) ->
    evaluate(forms(Code, Line), erl_eval:new_bindings()).

%% Every group of expressions up to a dot.
forms(Code, Line) ->
    case erl_scan:string(Code, {Line, 1}) of
        {ok, Tokens, _End} -> forms(Tokens);
        {error, Reason, _} -> error({cannot_parse, Line, Reason})
    end.

forms([]) ->
    [];
forms([First | _] = Tokens) ->
    {Form, Rest} = lists:splitwith(fun(Token) -> element(1, Token) =/= dot end, Tokens),
    case {Rest, element(2, First)} of
        {[Dot | Next], Where} ->
            case erl_parse:parse_exprs(Form ++ [Dot]) of
                {ok, Expressions} -> [Expressions | forms(Next)];
                {error, Reason} -> error({cannot_parse, Where, Reason})
            end;
        {[], Where} ->
            error({cannot_parse, Where, no_dot})
    end.

evaluate([], _Bindings) ->
    ok;
evaluate([Expressions | Forms], Bindings) ->
    Stand = {value, fun(_Function, _Arguments) -> {ok, #{}} end},
    {value, _Value, Next} = erl_eval:exprs(Expressions, Bindings, Stand),
    evaluate(Forms, Next).

compiled(Code) ->
    Dir = "/tmp/" ++ binary_to_list(erlmcp_ct_app:name("erlmcp_docs_" ++ os:getpid())),
    [Name, _] = string:split(lists:nthtail(length("-module("), Code), ")"),
    File = filename:join(Dir, Name ++ ".erl"),
    ok = filelib:ensure_dir(File),
    try
        ok = file:write_file(File, unicode:characters_to_binary(Code)),
        case compile:file(File, [binary, return_errors, warnings_as_errors, report]) of
            {ok, Module, Beam} ->
                {module, Module} = code:load_binary(Module, File, Beam),
                Module;
            {error, Errors, _Warnings} ->
                error({cannot_compile, Errors});
            error ->
                error({cannot_compile, Name})
        end
    after
        file:del_dir_r(Dir)
    end.

test(Module) ->
    try
        ok = case erlang:function_exported(Module, test, 0) of
            true -> eunit:test(Module);
            false -> ok
        end
    after
        code:purge(Module),
        code:delete(Module)
    end.
