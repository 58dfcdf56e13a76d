%% @doc The simulated server's prompts.
-module(erlmcp_demo_prompts).

-export([templates/0]).
-export([get/1]).

-define(BYTES_PER_TOKEN, 4).

%% @doc The prompts by name, with their texts.
-spec templates() -> [{Name :: binary(), Text :: binary()}, ...].
templates() ->
    [{<<"code_review">>, binary:copy(<<"Look at this change as a reviewer would. ">>, 12)},
     {<<"explain">>, binary:copy(<<"Explain this to a newcomer. ">>, 6)},
     {<<"release_notes">>, binary:copy(<<"Write what a user will notice. ">>, 9)}].

%% @doc Renders a prompt and counts its tokens.
-spec get(Name :: binary()) -> {ok, Text :: binary()} | {error, unknown_prompt}.
get(Name) ->
    case erlmcp_demo_registry:lookup(prompt, Name) of
        {ok, Template} ->
            Text = erlmcp_metrics:time(erlmcp_prompt_execution_duration_seconds,
                                       #{prompt => Name}, fun() -> render(Template) end),
            _ = erlmcp_metrics:inc(erlmcp_prompt_executions_total,
                                   #{prompt => Name, status => success}),
            _ = erlmcp_metrics:inc(erlmcp_prompt_tokens_total, byte_size(Text) div ?BYTES_PER_TOKEN,
                                   #{model => <<"demo-small">>}),
            {ok, Text};
        {error, unknown} ->
            %% The name is the client's invention: as a label it would make a
            %% series for every typing error.
            _ = erlmcp_metrics:inc(erlmcp_prompt_executions_total,
                                   #{prompt => <<"(unknown)">>, status => error}),
            {error, unknown_prompt}
    end.

-spec render(binary()) -> binary().
render(Template) ->
    erlmcp_demo_work:cpu(8),
    <<Template/binary, "Date: 2025-11-25">>.
