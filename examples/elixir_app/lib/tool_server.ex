defmodule ToolServer do
  @moduledoc """
  A server in the manner of MCP: JSON-RPC requests in, responses out.

  It has no transport; `handle/1` takes a request as it was decoded. What it is
  about is how requests are traced, counted and logged.
  """

  require Logger

  alias :erlmcp_otel_instrumentation, as: Otel
  alias ToolServer.{InvalidArguments, Tools}

  @type request :: %{String.t() => term()}
  @type response :: %{String.t() => term()}

  @doc """
  Handles a request in a span of its own, which is named by method and tool. The
  library counts and times it; a response with an `"error"` makes it a failure.
  """
  @spec handle(request()) :: response()
  def handle(request) do
    started = System.monotonic_time()

    Otel.trace_request(request, fn ->
      response = respond(request)

      Logger.info("Request handled",
        method: request["method"],
        duration_ms: milliseconds_since(started)
      )

      response
    end)
  end

  defp respond(%{"method" => method} = request) do
    result(request, dispatch(method, request["params"] || %{}))
  rescue
    exception in InvalidArguments ->
      # The request goes on, and its span says what went wrong.
      Otel.record_exception(:error, exception, __STACKTRACE__)
      error(request, -32602, Exception.message(exception))
  end

  defp respond(request), do: error(request, -32600, "no method")

  defp dispatch("initialize", _params) do
    {:ok, %{"protocolVersion" => "2025-11-25", "serverInfo" => %{"name" => "tool_server"}}}
  end

  defp dispatch("ping", _params), do: {:ok, %{}}
  defp dispatch("tools/list", _params), do: {:ok, %{"tools" => Tools.list()}}

  defp dispatch("tools/call", %{"name" => name} = params) do
    Tools.call(name, params["arguments"] || %{})
  end

  defp dispatch(method, _params), do: {:error, -32601, "no method #{method}"}

  defp result(request, {:ok, result}), do: reply(request, %{"result" => result})
  defp result(request, {:error, code, message}), do: error(request, code, message)

  defp error(request, code, message) do
    reply(request, %{"error" => %{"code" => code, "message" => message}})
  end

  defp reply(request, part), do: Map.merge(%{"jsonrpc" => "2.0", "id" => request["id"]}, part)

  defp milliseconds_since(started) do
    System.convert_time_unit(System.monotonic_time() - started, :native, :millisecond)
  end
end
