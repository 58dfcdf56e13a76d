defmodule ToolServer.Tools.Search do
  @moduledoc "Searches several words at once, each in a task."

  @behaviour ToolServer.Tools

  alias :erlmcp_otel_instrumentation, as: Otel
  alias ToolServer.{Documents, InvalidArguments, Metrics}

  @impl true
  def call(%{"words" => [_ | _] = words}) do
    Otel.with_span("search", %{attributes: %{words: words}}, fn ->
      found = words |> Enum.map(&start/1) |> Task.await_many() |> Enum.concat() |> Enum.uniq()
      Metrics.found(length(found))
      Enum.join(found, "\n")
    end)
  end

  def call(_arguments), do: raise(InvalidArguments, tool: "search", expected: "a list of words")

  # A task is another process: `carry/1` takes the current span along.
  defp start(word) do
    Task.Supervisor.async(ToolServer.Tasks, Otel.carry(fn -> Documents.find(word) end))
  end
end
