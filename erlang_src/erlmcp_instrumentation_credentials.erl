%% @doc Lines for the files of those who may scrape: `http_tokens_file' and
%% `http_passwords_file'.
%%
%% The files hold hashes only. Nothing here is stored or logged; no message is
%% sent. The application need not run.
-module(erlmcp_instrumentation_credentials).

-export([token/1]).
-export([token/2]).
-export([password/2]).

-type text() :: atom() | unicode:chardata().
-type error() :: {error, {bad_option, Text :: binary()}}.

%% @doc Makes a token of 256 random bits, and the line for the server's file.
%% The token is for the client, who keeps it in a file of its own.
-spec token(Name :: text()) -> {ok, #{token := binary(), line := binary()}} | error().
token(Name) ->
    token_of(Name, nil).

%% @doc The line for a token that there is already. One of less than 32
%% characters is refused: digests of tokens have no salt, so what could be
%% guessed would be.
-spec token(Name :: text(), Token :: text()) ->
    {ok, #{token := binary(), line := binary()}} | error().
token(Name, Token) ->
    token_of(Name, binary(Token)).

%% @doc The line for a name and a password of 12 to 72 bytes, hashed by bcrypt
%% with cost 10. Takes some tens of milliseconds, on a dirty scheduler.
-spec password(Name :: text(), Password :: text()) -> {ok, Line :: binary()} | error().
password(Name, Password) ->
    case {binary(Name), binary(Password)} of
        {Known, Secret} when is_binary(Known), is_binary(Secret) ->
            erlmcp_instrumentation_nif:credential_password(Known, Secret);
        _ ->
            not_text()
    end.

%% Internals

-spec token_of(text(), binary() | nil | error) ->
    {ok, #{token := binary(), line := binary()}} | error().
token_of(Name, Token) ->
    case binary(Name) of
        Known when is_binary(Known), Token =/= error ->
            case erlmcp_instrumentation_nif:credential_token(Known, Token) of
                {ok, {Made, Line}} -> {ok, #{token => Made, line => Line}};
                {error, _} = Error -> Error
            end;
        _ ->
            not_text()
    end.

-spec not_text() -> error().
not_text() ->
    {error, {bad_option, <<"a name, a token or a password is no text">>}}.

-spec binary(term()) -> binary() | error.
binary(Text) when is_atom(Text) ->
    atom_to_binary(Text);
binary(Text) ->
    try unicode:characters_to_binary(Text) of
        Binary when is_binary(Binary) -> Binary;
        _ -> error
    catch
        error:_ -> error
    end.
