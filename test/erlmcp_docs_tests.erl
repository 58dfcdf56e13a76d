%% The Erlang in the documentation: every block marked as such is run.
%%
%% A block of functions is compiled as a module, and its tests are run; any other
%% is evaluated. Functions without a module stand for the reader's own and return
%% `{ok, #{}}'. Blocks do not know each other's variables.
-module(erlmcp_docs_tests).

-include_lib("eunit/include/eunit.hrl").

%% Pages that have so many blocks at least; all pages are looked at.
-define(LEAST, #{"README.md" => 5, "docs/tracing.md" => 5, "docs/testing.md" => 3,
                 "docs/metrics.md" => 4, "docs/getting-started.md" => 5,
                 "docs/logging.md" => 2, "docs/health.md" => 5,
                 "docs/security.md" => 4}).
-define(TIMEOUT_S, 20).

docs_test_() ->
    {setup,
     fun() -> erlmcp_ct_app:quiet(), erlmcp_ct_app:start() end,
     fun(_) -> forget_checks(), erlmcp_ct_app:forget(), erlmcp_ct_app:stop(), erlmcp_ct_app:loud() end,
     [fun what_the_empty_list_of_traces_says/0
      | [page(Name, maps:get(Name, ?LEAST, 0)) || Name <- pages()]]}.

%% Every page that is read, from the root of the checkout.
pages() ->
    Root = erlmcp_ct_oracle:root(),
    Names = lists:append([filelib:wildcard(Pattern, Root)
                          || Pattern <- ["*.md", "docs/*.md", "docs/decisions/*.md",
                                         "examples/*/*.md"]]),
    ?assert(length(Names) > 15),
    Names.

%% Links between the pages lead to files, and to headings that are there.
links_test_() ->
    Pages = pages(),
    [{"links of " ++ Page, {timeout, ?TIMEOUT_S, fun() -> ?assertEqual([], broken_links(Page)) end}} || Page <- Pages]
        ++ [{"every guide is reachable from README.md", {timeout, ?TIMEOUT_S, fun() ->
                Reached = reachable(["README.md"], []),
                ?assertEqual([], [Page || "docs/" ++ Name = Page <- Pages,
                                          filename:dirname(Name) =:= ".",
                                          not lists:member(Page, Reached)])
            end}}].

broken_links_are_found_test() ->
    Text = <<"# One Title: `a/1`\n[a](#one-title-a1) [b](#two) [c](nowhere.md) [d](README.md#nowhere)\n"
             "```\n[e](in-code.md)\n```\n[f](https://example.com/x#y) `[g](code.md)`\n">>,
    ?assertEqual(["#two", "nowhere.md", "README.md#nowhere"], broken_links("X.md", Text)).

%% The pages register health checks, which stay with the node.
forget_checks() ->
    [true = erlmcp_instrumentation_health:unregister(Name)
     || Name <- maps:keys(erlmcp_instrumentation_health:checks())].

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
    Blocks = blocks(read(Name)),
    [{Name ++ ": blocks", ?_assert(length(Blocks) >= Least)}
     | [{lists:concat([Name, ":", Line]), {timeout, ?TIMEOUT_S, fun() -> run(Code, Line) end}}
        || {Line, Code} <- Blocks]].

broken_links(Page) ->
    broken_links(Page, read(Page)).

broken_links(Page, Text) ->
    [Link || Link <- links(Text), is_broken(Page, Text, string:split(Link, "#"))].

is_broken(_Page, Text, ["", Anchor]) ->
    not lists:member(Anchor, anchors(Text));
is_broken(Page, _Text, [Target | Anchor]) ->
    Path = target(Page, Target),
    case {filelib:is_file(filename:join(erlmcp_ct_oracle:root(), Path)), Anchor} of
        {false, _} -> true;
        {true, []} -> false;
        {true, [Heading]} -> not lists:member(Heading, anchors(read(Path)))
    end.

%% Targets that are not elsewhere.
links(Text) ->
    case re:run(prose(Text), "\\]\\(([^)\\s]+)\\)", [global, {capture, all_but_first, list}]) of
        {match, Found} -> [Link || [Link] <- Found, re:run(Link, "^[a-z]+:") =:= nomatch];
        nomatch -> []
    end.

%% Without code, in which brackets are no links.
prose(Text) ->
    WithoutBlocks = re:replace(Text, "^```.*?^```", "", [global, multiline, dotall]),
    re:replace(WithoutBlocks, "`[^`\n]*`", "", [global]).

%% As GitHub makes them: lower case, spaces to hyphens, no other signs.
anchors(Text) ->
    WithoutBlocks = re:replace(Text, "^```.*?^```", "", [global, multiline, dotall, {return, binary}]),
    case re:run(WithoutBlocks, "^#+ (.*)$", [global, multiline, {capture, all_but_first, binary}]) of
        {match, Headings} -> [anchor(Heading) || [Heading] <- Headings];
        nomatch -> []
    end.

anchor(Heading) ->
    Lower = string:lowercase(unicode:characters_to_list(Heading)),
    [case Char of $\s -> $-; _ -> Char end || Char <- Lower, is_of_anchor(Char)].

is_of_anchor(Char) ->
    lists:member(Char, " -_") orelse re:run([Char], "^[\\p{L}\\p{N}]$", [unicode, ucp]) =/= nomatch.

target(Page, Target) ->
    resolved(filename:split(filename:join(filename:dirname(Page), Target)), []).

resolved([], Parts) -> filename:join(lists:reverse(Parts));
resolved(["." | Rest], Parts) -> resolved(Rest, Parts);
resolved([".." | Rest], [_ | Parts]) -> resolved(Rest, Parts);
resolved([Part | Rest], Parts) -> resolved(Rest, [Part | Parts]).

reachable([], Seen) ->
    Seen;
reachable([Page | Rest], Seen) ->
    case lists:member(Page, Seen) of
        true -> reachable(Rest, Seen);
        false -> reachable([Next || Next <- linked_pages(Page)] ++ Rest, [Page | Seen])
    end.

linked_pages(Page) ->
    Root = erlmcp_ct_oracle:root(),
    Linked = [target(Page, hd(string:split(Link, "#"))) || Link <- links(read(Page)), hd(Link) =/= $#],
    [Next || Next <- lists:usort(Linked), filename:extension(Next) =:= ".md",
             filelib:is_regular(filename:join(Root, Next))].

read(Page) ->
    {ok, Text} = file:read_file(filename:join(erlmcp_ct_oracle:root(), Page)),
    Text.

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
