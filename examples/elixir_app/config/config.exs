import Config

# The library's settings: docs/configuration.md. Strings are fine.
config :erlmcp_instrumentation,
  http_ip: "127.0.0.1",
  http_port: 8080,
  custom_port: 8086,
  service_name: "tool_server"

# What a line of the log shows. The trace's ids are in the metadata of every
# process that handles a request.
metadata = [:method, :duration_ms, :trace_id, :span_id]
format = "$time [$level] $message $metadata\n"

# Elixir 1.14, and from 1.15 on.
config :logger, :console, format: format, metadata: metadata
config :logger, :default_formatter, format: format, metadata: metadata

import_config "#{config_env()}.exs"
