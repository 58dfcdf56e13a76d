defmodule Mix.Tasks.Demo do
  @shortdoc "Handles some requests and shows what was counted and traced"

  @moduledoc """
  Handles some requests and shows what was counted and traced.

      mix demo             # and ends
      mix demo --stay      # and keeps the pages up for a browser, until Ctrl-C
  """

  use Mix.Task

  @requests [
    %{"id" => 1, "method" => "initialize"},
    %{"id" => 2, "method" => "tools/list"},
    %{
      "id" => 3,
      "method" => "tools/call",
      "params" => %{"name" => "search", "arguments" => %{"words" => ["histogram", "tree"]}}
    },
    %{
      "id" => 4,
      "method" => "tools/call",
      "params" => %{"name" => "divide", "arguments" => %{"a" => 7}}
    },
    %{"id" => 5, "method" => "no/such"}
  ]

  @impl true
  def run(arguments) do
    {options, []} = OptionParser.parse!(arguments, strict: [stay: :boolean])
    Mix.Task.run("app.start")

    Enum.each(@requests, &ToolServer.handle/1)
    crash(%{"a" => 1, "b" => 0})
    :ok = :erlmcp_otel_instrumentation.force_flush()

    [{ip, port} | _] = :erlmcp_instrumentation.http_addresses()
    address = "http://#{:inet.ntoa(ip)}:#{port}"

    Mix.shell().info("\nWhat the application counts, of #{address}/metrics:\n")
    :erlmcp_metrics.scrape() |> lines() |> Enum.each(&Mix.shell().info/1)

    if options[:stay] do
      Mix.shell().info("\nThe traces: #{address}/debug/traces (Ctrl-C twice ends)")
      Process.sleep(:infinity)
    else
      Mix.shell().info("\nThe traces: `mix demo --stay`, then #{address}/debug/traces")
    end
  end

  # As a transport would: a request that crashes is not the end of the server.
  defp crash(arguments) do
    params = %{"name" => "divide", "arguments" => arguments}
    ToolServer.handle(%{"id" => 6, "method" => "tools/call", "params" => params})
  rescue
    error in ArithmeticError -> Mix.shell().info("request 6: #{Exception.message(error)}")
  end

  defp lines(text) do
    text
    |> IO.iodata_to_binary()
    |> String.split("\n")
    |> Enum.filter(
      &(&1 =~ ~r/^(erlmcp_(requests|errors)_total|documents|tool_duration\S*_(count|sum))/)
    )
  end
end
