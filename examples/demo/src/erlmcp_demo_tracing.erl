%% @doc The simulated server's spans. Each is counted apart from the library, for
%% the demo's check; a server would call `erlmcp_otel_instrumentation' itself.
-module(erlmcp_demo_tracing).

-export([request/2]).
-export([registry/2]).
-export([span/3]).

%% @doc Handles a request in its span, which also counts and times it.
-spec request(map(), fun(() -> Result)) -> Result.
request(Request, Fun) ->
    erlmcp_demo_tally:span(),
    erlmcp_otel_instrumentation:trace_request(Request, Fun).

%% @doc Performs an operation of the registry in a span.
-spec registry(atom(), fun(() -> Result)) -> Result.
registry(Operation, Fun) ->
    erlmcp_demo_tally:span(),
    erlmcp_otel_instrumentation:trace_registry(Operation, Fun).

%% @doc Does any other work in a span.
-spec span(binary(), erlmcp_otel_instrumentation:options(), fun(() -> Result)) -> Result.
span(Name, Options, Fun) ->
    erlmcp_demo_tally:span(),
    erlmcp_otel_instrumentation:with_span(Name, Options, Fun).
