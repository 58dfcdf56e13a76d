defmodule ToolServer.Documents do
  @moduledoc """
  The documents that tools search, owned by a `GenServer`.

  Callers take their context along with `:erlmcp_otel_instrumentation.call/2`, so
  the server's spans are children of the caller's.
  """

  use GenServer

  alias :erlmcp_otel_instrumentation, as: Otel

  @documents [
    "The soft-realtime virtual machine",
    "A histogram of durations",
    "Supervision trees in practice",
    "Histograms and quantiles"
  ]

  @spec start_link(keyword()) :: GenServer.on_start()
  def start_link(_options), do: GenServer.start_link(__MODULE__, @documents, name: __MODULE__)

  @doc "The documents that contain a word, in whatever case."
  @spec find(String.t()) :: [String.t()]
  def find(word), do: Otel.call(__MODULE__, {:find, word})

  @impl true
  def init(documents) do
    ToolServer.Metrics.documents(length(documents))
    {:ok, documents}
  end

  @impl true
  def handle_call(message, from, state) do
    Otel.handle_traced(message, &handle_request(&1, from, state))
  end

  defp handle_request({:find, word}, _from, documents) do
    found =
      Otel.with_span("documents.find", %{attributes: [word: word]}, fn ->
        found =
          Enum.filter(documents, &String.contains?(String.downcase(&1), String.downcase(word)))

        Otel.set_attribute(:found, length(found))
        found
      end)

    {:reply, found, documents}
  end
end
