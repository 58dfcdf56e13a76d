defmodule ToolServer.Metrics do
  @moduledoc """
  What the server counts beside its requests, which the library counts itself.

  Recording takes tens of nanoseconds, sends no message and never raises.
  """

  alias :erlmcp_metrics, as: Metrics

  @doc "Says once what the metrics mean; recording works without it."
  @spec declare() :: :ok
  def declare do
    :ok =
      Metrics.declare(:histogram, :tool_duration_seconds, %{
        description: "Time that a tool took.",
        unit: :seconds,
        buckets: [0.0001, 0.001, 0.01, 0.1, 1, 10]
      })

    :ok =
      Metrics.declare(:counter, :documents_found_total, %{
        description: "Documents that searches have found."
      })

    :ok = Metrics.declare(:gauge, :documents, %{description: "Documents that can be found."})
  end

  @doc "Calls a function and observes how long it took, also when it raises."
  @spec time_tool(module(), (() -> result)) :: result when result: var
  def time_tool(tool, function) do
    # A module as a label is shown as in Elixir: tool="ToolServer.Tools.Search".
    Metrics.time(:tool_duration_seconds, %{tool: tool}, function)
  end

  @doc "Counts documents that were found."
  @spec found(non_neg_integer()) :: :ok
  def found(count) do
    _ = Metrics.record_counter(:documents_found_total, count, %{})
    :ok
  end

  @doc "Tells how many documents there are."
  @spec documents(non_neg_integer()) :: :ok
  def documents(count) do
    _ = Metrics.set(:documents, count)
    :ok
  end
end
