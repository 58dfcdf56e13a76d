%% @doc The table of the settings of logs and of redaction, and what they come to.
%%
%% Part of {@link erlmcp_instrumentation_config:spec/0}.
-module(erlmcp_instrumentation_log_settings).

-export([spec/0]).
-export([record_limits/1]).
-export([file/1]).

-import(erlmcp_instrumentation_config, [entry/5, entry/6]).

-type config() :: erlmcp_instrumentation_config:config().

-define(MAX_COUNT, 16777216).
-define(MAX_BYTES, 1099511627776).

%% @doc The entries of the table.
-spec spec() -> [erlmcp_instrumentation_config:entry()].
spec() ->
    [entry(redact_keys, names, [<<"default">>], none,
           <<"Keys whose values are not shown in spans, baggage and logs: names that the last words "
             "of a key are compared with. The word default stands for the built-in ones (password, "
             "secret, token, authorization, cookie, api key and more), a name with a minus before "
             "it is an exception.">>),
     entry(log_context, boolean, true, none,
           <<"Whether a primary filter of logger adds trace_id, span_id and trace_flags to what is "
             "logged inside of a span, and counts messages by level.">>),
     entry(log_file, {optional, off, path}, off, none,
           <<"A file to which logs are written as lines of JSON, such as "
             "/var/log/erlmcp/erlmcp.log. While it cannot be written, they go to standard "
             "output.">>),
     entry(log_file_level, level(), debug, none,
           <<"Messages of this level and above are written to log_file, of those that logger's own "
             "level lets through.">>),
     entry(log_file_max_bytes, {integer, 65536, ?MAX_BYTES}, 16777216, bytes,
           <<"Bytes after which a new log_file is begun.">>),
     entry(log_file_count, {integer, 0, 1000}, 5, none,
           <<"How many older log files are kept beside it, as log_file.1 and so on.">>),
     entry(log_file_compress, boolean, true, none,
           <<"Whether older log files but the newest of them are compressed.">>),
     entry(log_file_queue_bytes, {integer, 65536, ?MAX_BYTES}, 8388608, bytes,
           <<"Bytes of lines that wait to be written; further ones are dropped and counted.">>),
     entry(otlp_log_level, level(), debug, none,
           <<"Messages of this level and above are sent by OTLP, where log records are sent at all "
             "(logs_exporter), of those that logger's own level lets through.">>),
     entry(logrecord_attribute_count_limit, "OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT", inherited(),
           inherit, attributes,
           <<"Attributes of a log record. Inherit takes attribute_count_limit.">>),
     entry(logrecord_attribute_value_length_limit, "OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT",
           inherited(), inherit, characters,
           <<"Length of the value of a log record's attribute, and of its body. Inherit takes "
             "attribute_value_length_limit.">>)].

%% @doc The limits of a log record, the general ones filled in.
-spec record_limits(config()) -> #{attributes := non_neg_integer(), value_bytes := non_neg_integer()}.
record_limits(Config) ->
    #{attributes => own_or(logrecord_attribute_count_limit, attribute_count_limit, Config),
      value_bytes => own_or(logrecord_attribute_value_length_limit, attribute_value_length_limit,
                            Config)}.

%% @doc The options of {@link erlmcp_log_file:start_link/1}.
-spec file(config()) -> erlmcp_log_file:options().
file(#{log_file := File, log_file_level := Level, log_file_max_bytes := MaxBytes,
       log_file_count := Count, log_file_compress := Compress,
       log_file_queue_bytes := QueueBytes}) ->
    #{file => File, level => Level, max_bytes => MaxBytes, count => Count, compress => Compress,
      queue_bytes => QueueBytes}.

-spec own_or(atom(), atom(), config()) -> non_neg_integer().
own_or(Key, General, Config) ->
    case maps:get(Key, Config) of
        inherit -> maps:get(General, Config);
        Own -> Own
    end.

-spec inherited() -> erlmcp_instrumentation_setting_type:type().
inherited() ->
    {optional, inherit, {integer, 0, ?MAX_COUNT}}.

-spec level() -> erlmcp_instrumentation_setting_type:type().
level() ->
    Levels = [debug, info, notice, warning, error, critical, alert, emergency],
    {choice, [{Level, atom_to_list(Level)} || Level <- Levels]}.
