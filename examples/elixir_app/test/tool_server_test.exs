defmodule ToolServerTest do
  use ExUnit.Case, async: true

  import ExUnit.CaptureLog

  alias :erlmcp_otel_test, as: OtelTest
  alias ToolServer.InvalidArguments

  defp call(tool, arguments) do
    params = %{"name" => tool, "arguments" => arguments}
    ToolServer.handle(%{"id" => 7, "method" => "tools/call", "params" => params})
  end

  # What a request does, and the spans of its trace.
  defp traced(function), do: OtelTest.capture(function)

  describe "a request" do
    test "has a span named by method and tool" do
      {response, spans} = traced(fn -> call("divide", %{"a" => 7, "b" => 2}) end)

      assert %{"id" => 7, "result" => %{"content" => [%{"text" => "3"}]}} = response

      OtelTest.assert_span(
        "tools/call divide",
        %{
          kind: :server,
          status: :unset,
          parent: nil,
          attributes: %{
            "mcp.method.name" => "tools/call",
            "gen_ai.tool.name" => "divide",
            "jsonrpc.request.id" => "7"
          }
        },
        spans
      )
    end

    test "is counted and timed by the library" do
      labels = %{method: "ping", status: :success, component: :server}
      ping = fn -> ToolServer.handle(%{"id" => 1, "method" => "ping"}) end

      for name <- [:erlmcp_requests_total, :erlmcp_request_duration_seconds] do
        assert {%{"result" => %{}}, 1} = OtelTest.value_change(name, labels, ping)
      end
    end

    test "for a method that is not there fails with the code of the protocol" do
      labels = %{error_type: -32_601, component: :server}
      request = %{"id" => 1, "method" => "no/such"}

      {response, spans} =
        traced(fn ->
          OtelTest.assert_counted(:erlmcp_errors_total, labels, 1, fn ->
            ToolServer.handle(request)
          end)
        end)

      assert %{"error" => %{"code" => -32_601}} = response
      OtelTest.assert_span("no/such", %{status: {:error, "no method no/such"}}, spans)
    end

    test "of no shape is answered and traced" do
      {response, spans} = traced(fn -> ToolServer.handle(%{"id" => nil, "method" => nil}) end)
      assert %{"error" => %{"code" => -32_601}} = response
      %{attributes: attributes} = OtelTest.assert_span("request", %{status: :error}, spans)
      refute Map.has_key?(attributes, "jsonrpc.request.id")
    end
  end

  describe "spans" do
    test "nest across tasks and a GenServer" do
      {response, spans} = traced(fn -> call("search", %{"words" => ["tree", "histogram"]}) end)

      assert %{"result" => %{"content" => [%{"text" => text}]}} = response
      assert length(String.split(text, "\n")) == 3

      OtelTest.assert_span(
        "search",
        %{parent: "tools/call search", attributes: %{words: ["tree", "histogram"]}},
        spans
      )

      for {word, found} <- [{"tree", 1}, {"histogram", 2}] do
        OtelTest.assert_span(
          "documents.find",
          %{parent: "search", attributes: [word: word, found: found]},
          spans
        )
      end

      assert length(spans) == 4
    end

    test "have the exception that was rescued, with its own message" do
      {response, spans} = traced(fn -> call("divide", %{"a" => "seven"}) end)

      message = Exception.message(%InvalidArguments{tool: "divide", expected: "two integers"})
      assert %{"error" => %{"message" => ^message}} = response

      expected = %{
        "exception.type" => inspect(InvalidArguments),
        "exception.message" => message,
        "exception.stacktrace" => :_
      }

      OtelTest.assert_span("tools/call divide", %{events: [exception: expected]}, spans)
    end

    test "have the exception that crashed the request" do
      {crash, spans} = traced(fn -> catch_error(call("divide", %{"a" => 1, "b" => 0})) end)

      # Erlang's own errors keep Erlang's names.
      assert crash == :badarith

      %{events: [%{attributes: exception}]} =
        OtelTest.assert_span(
          "tools/call divide",
          %{status: :error, attributes: %{"error.type" => "badarith"}},
          spans
        )

      assert exception["exception.stacktrace"] =~
               ~r"^lib/tool_server/tools/divide.ex:\d+: ToolServer.Tools.Divide.call/1$"m

      assert exception["exception.stacktrace"] =~ ~r"anonymous fn/\d in ToolServer.handle/1"
    end
  end

  describe "metrics" do
    test "show a module as Elixir does" do
      call("divide", %{"a" => 6, "b" => 3})

      assert :erlmcp_metrics.scrape() =~
               ~s(tool_duration_seconds_count{tool="ToolServer.Tools.Divide"})
    end

    test "count what was found" do
      search = fn -> call("search", %{"words" => ["quantiles"]}) end
      assert {_, found} = OtelTest.value_change(:documents_found_total, %{}, search)
      # Other tests search as well.
      assert found >= 1
    end

    test "say how many documents there are" do
      assert :erlmcp_metrics.value(:documents, %{}) == 4
    end
  end

  describe "the log" do
    test "has the trace's ids in the metadata of a request" do
      {log, spans} =
        traced(fn ->
          capture_log([metadata: [:trace_id, :span_id, :method]], fn ->
            ToolServer.handle(%{"id" => 1, "method" => "tools/list"})
          end)
        end)

      %{trace_id: trace_id, span_id: span_id} = OtelTest.assert_span("tools/list", spans)
      assert log =~ "trace_id=#{trace_id}"
      assert log =~ "span_id=#{span_id}"
      assert log =~ "method=tools/list"
    end

    test "loses the ids with the request" do
      ToolServer.handle(%{"id" => 1, "method" => "ping"})
      refute Keyword.has_key?(Logger.metadata(), :trace_id)
    end
  end

  test "the listener shows the server's metrics" do
    ToolServer.handle(%{"id" => 1, "method" => "ping"})
    [{ip, port} | _] = :erlmcp_instrumentation.http_addresses()
    {:ok, socket} = :gen_tcp.connect(ip, port, [:binary, active: false], 5_000)
    request = "GET /metrics/custom HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    :ok = :gen_tcp.send(socket, request)
    assert read(socket, "") =~ ~r/^documents 4$/m
  end

  defp read(socket, read) do
    case :gen_tcp.recv(socket, 0, 5_000) do
      {:ok, more} -> read(socket, read <> more)
      {:error, :closed} -> read
    end
  end
end
