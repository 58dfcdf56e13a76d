%% @doc Questions about the running library.
-module(erlmcp_instrumentation).

-export([http_addresses/0]).
-export([version/0]).

%% @doc The addresses that the HTTP listener is bound to, the main one first;
%% `[]' when it is switched off or the application does not run. One message to
%% the listener's process.
-spec http_addresses() -> [erlmcp_instrumentation_listener:address()].
http_addresses() ->
    erlmcp_instrumentation_listener:addresses().

%% @doc The version of the native library that is loaded.
-spec version() -> binary().
version() ->
    #{version := Version} = erlmcp_instrumentation_nif:stats(),
    Version.
