%% @doc Whether a scrape says what the clients counted: the demo's verdict.
-module(erlmcp_demo_check).

-export([differences/2]).
-export([expected/0]).

-export_type([expected/0, difference/0]).

-type expected() :: [{What :: string(), Name :: binary(), erlmcp_demo_exposition:labels(),
                      Value :: number()}].
-type difference() :: {What :: string(), Expected :: number(), Scraped :: number()}.

%% @doc What a scrape must say now that the load has stopped: for each method
%% and status the counter and the histogram's count, the sum over everything,
%% the sessions, and nothing in flight.
-spec expected() -> expected().
expected() ->
    #{requests := Requests, errors := Errors, sessions := Sessions} = erlmcp_demo_tally:totals(),
    [{"requests", <<"erlmcp_requests_total">>, #{}, Requests},
     {"requests timed", <<"erlmcp_request_duration_seconds_count">>, #{}, Requests},
     {"errors by status", <<"erlmcp_requests_total">>, #{<<"status">> => <<"error">>}, Errors},
     {"errors by type", <<"erlmcp_errors_total">>, #{}, Errors},
     {"sessions", <<"erlmcp_sessions_created_total">>, #{}, Sessions},
     {"requests in flight", <<"erlmcp_requests_in_flight">>, #{}, 0}]
        ++ lists:append([by_method(Method, Status, Count)
                         || {{Method, Status}, Count}
                                <- maps:to_list(erlmcp_demo_tally:requests())]).

%% @doc Where the samples differ from what is expected; `[]' is the pass.
-spec differences(expected(), [erlmcp_demo_exposition:sample()]) -> [difference()].
differences(Expected, Samples) ->
    [{What, Value, Scraped}
     || {What, Name, Labels, Value} <- Expected,
        Scraped <- [erlmcp_demo_query:sum(Name, Labels, Samples)],
        Scraped /= Value].

-spec by_method(binary(), erlmcp_demo_tally:status(), non_neg_integer()) -> expected().
by_method(Method, Status, Count) ->
    What = lists:flatten(io_lib:format("~ts, ~ts", [Method, Status])),
    Labels = #{<<"method">> => Method, <<"status">> => atom_to_binary(Status)},
    [{What, <<"erlmcp_requests_total">>, Labels, Count},
     {What ++ ", timed", <<"erlmcp_request_duration_seconds_count">>, Labels, Count},
     {What ++ ", up to +Inf", <<"erlmcp_request_duration_seconds_bucket">>,
      Labels#{<<"le">> => <<"+Inf">>}, Count}].
