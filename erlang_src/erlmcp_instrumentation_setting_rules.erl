%% @doc Rules in settings: who may ask for which paths of the HTTP server, as
%% terms or as `/path=who|who,/path=who'.
-module(erlmcp_instrumentation_setting_rules).

-export([from_term/1]).
-export([from_text/1]).

-define(TEXT, erlmcp_instrumentation_setting_text).
-define(WORDS, ["open", "authenticated", "bearer", "basic", "certificate"]).

-export_type([rules/0]).

-type rules() :: [{Path :: binary(), Words :: [binary(), ...]}].

%% @doc Rules from a map or a list of pairs of a path and `open',
%% `authenticated', or one or a list of `bearer', `basic', `certificate' and
%% `{client, Name}'; or from the text of a variable.
-spec from_term(term()) -> {ok, rules()} | error.
from_term(Rules) when is_map(Rules) ->
    from_term(lists:sort(maps:to_list(Rules)));
from_term([First | _] = Text) when is_integer(First) ->
    from_text(Text);
from_term(Text) when is_binary(Text) ->
    from_text(unicode:characters_to_list(Text));
from_term(Rules) ->
    try
        {ok, [rule(Path, Who) || {Path, Who} <- pairs(Rules)]}
    catch
        error:_ -> error
    end.

%% @doc Rules from the text of a variable.
-spec from_text(string()) -> {ok, rules()} | error.
from_text(Text) ->
    try
        from_term([begin
                       [Path, Who] = string:split(Part, "="),
                       {string:trim(Path), string:split(string:trim(Who), "|", all)}
                   end
                   || Part <- ?TEXT:parts(Text), Part =/= ""])
    catch
        error:_ -> error
    end.

%% Internals

%% A comprehension would pass over what is no pair.
-spec pairs([term()]) -> [{term(), term()}].
pairs(Rules) ->
    [{_, _} = Rule || Rule <- Rules].

-spec rule(term(), term()) -> {binary(), [binary(), ...]}.
rule(Path, Who) ->
    {ok, [$/ | _] = Text} = ?TEXT:characters(Path),
    {ok, Printable} = ?TEXT:printable(Text),
    {Printable, [_ | _] = words(Who)}.

-spec words(term()) -> [binary()].
words([First | _] = Who) when not is_integer(First) -> [word(Word) || Word <- Who];
words(Who) -> [word(Who)].

-spec word(term()) -> binary().
word({client, Name}) ->
    {ok, Text} = ?TEXT:characters(Name),
    word([$@ | Text]);
word(Word) ->
    {ok, Characters} = ?TEXT:characters(Word),
    case string:trim(Characters) of
        [$@, _ | _] = Client -> {ok, Text} = ?TEXT:printable(Client), Text;
        Known -> true = lists:member(Known, ?WORDS), list_to_binary(Known)
    end.
