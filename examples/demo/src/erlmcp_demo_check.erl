%% @doc Whether a scrape says what the clients counted: the demo's verdict.
-module(erlmcp_demo_check).

-export([differences/2]).
-export([expected/0]).
-export([span_differences/2]).

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

%% @doc Where the library's counts of spans differ from how many were begun, or from
%% each other: each that was begun was recorded, each of those has ended, and each
%% of those is exported, kept or dropped. What a sampler left out is not known by
%% the one who began it.
-spec span_differences(non_neg_integer(), [erlmcp_demo_exposition:sample()]) -> [difference()].
span_differences(Begun, Samples) ->
    Of = fun(Name, Labels) ->
        erlmcp_demo_query:sum(<<"erlmcp_otel_", Name/binary>>, Labels, Samples)
    end,
    Traces = #{<<"signal">> => <<"traces">>},
    Refused = Of(<<"spans_dropped_total">>, #{<<"reason">> => <<"too_many_open">>}),
    Recorded = Of(<<"spans_recorded_total">>, #{}),
    Ended = Of(<<"spans_ended_total">>, #{}),
    Fates = lists:sum([Of(Name, Traces) || Name <- [<<"records_exported_total">>,
                                                     <<"records_kept_total">>,
                                                     <<"records_dropped_total">>,
                                                     <<"records_pending">>,
                                                     <<"spool_records">>]]),
    case Of(<<"spans_sampled_out_total">>, #{}) of
        SampledOut when SampledOut > 0 ->
            [];
        _ ->
            [Difference || {_, Wanted, Is} = Difference
                               <- [{"spans recorded", Begun, Recorded + Refused},
                                   {"spans ended", Recorded, Ended},
                                   {"spans kept, exported or dropped", Ended, Fates}],
                           Wanted /= Is]
    end.

-spec by_method(binary(), erlmcp_demo_tally:status(), non_neg_integer()) -> expected().
by_method(Method, Status, Count) ->
    What = lists:flatten(io_lib:format("~ts, ~ts", [Method, Status])),
    Labels = #{<<"method">> => Method, <<"status">> => atom_to_binary(Status)},
    [{What, <<"erlmcp_requests_total">>, Labels, Count},
     {What ++ ", timed", <<"erlmcp_request_duration_seconds_count">>, Labels, Count},
     {What ++ ", up to +Inf", <<"erlmcp_request_duration_seconds_bucket">>,
      Labels#{<<"le">> => <<"+Inf">>}, Count}].
