import Config

# Tests run beside each other and beside a running node.
config :erlmcp_instrumentation, http_port: 0, custom_port: 0

# What tests log is captured; the rest of it would only be in the way.
config :logger, level: :info
config :logger, :console, level: :error
config :logger, :default_handler, level: :error
