defmodule ToolServer.Application do
  @moduledoc false

  use Application

  # The library is an application of its own and runs already.
  @impl true
  def start(_type, _args) do
    ToolServer.Metrics.declare()

    children = [
      ToolServer.Documents,
      {Task.Supervisor, name: ToolServer.Tasks}
    ]

    Supervisor.start_link(children, strategy: :one_for_one, name: ToolServer.Supervisor)
  end
end
