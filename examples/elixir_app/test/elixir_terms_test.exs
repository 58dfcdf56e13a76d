defmodule ElixirTermsTest do
  @moduledoc "What Elixir's terms become in spans and labels."

  use ExUnit.Case, async: true

  alias :erlmcp_metrics, as: Metrics
  alias :erlmcp_otel_instrumentation, as: Otel
  alias :erlmcp_otel_test, as: OtelTest

  defmodule Order do
    defstruct [:id, state: :new]
  end

  defmodule BrokenMessage do
    defexception [:reason]

    @impl true
    def message(_exception), do: raise("no message")
  end

  # The attributes of a span, as they are sent.
  defp sent(attributes) do
    {:ok, [%{attributes: sent}]} =
      OtelTest.capture(fn -> Otel.with_span("terms", %{attributes: attributes}, fn -> :ok end) end)

    sent
  end

  # The event that `with_span` makes of what a function raises.
  defp recorded(function) do
    {_, [%{events: [%{attributes: event}]} = span]} =
      OtelTest.capture(fn -> catch_anything(fn -> Otel.with_span("raises", function) end) end)

    {event, span}
  end

  defp catch_anything(function) do
    function.()
  catch
    class, reason -> {class, reason}
  end

  test "attributes" do
    assert sent(
             string: "grüße",
             atom: :new,
             module: Order,
             charlist: 'text',
             bytes: <<255, 0>>,
             nothing: nil,
             undefined: :undefined,
             yes: true,
             list: [1, :two, "three"],
             map: %{"a" => 1, b: Order},
             struct: %Order{id: 7},
             range: 1..3,
             tuple: {:ok, Order}
           ) == %{
             "string" => "grüße",
             "atom" => "new",
             "module" => "ElixirTermsTest.Order",
             "charlist" => "text",
             "bytes" => {:bytes, <<255, 0>>},
             "nothing" => "nil",
             "undefined" => "undefined",
             "yes" => true,
             "list" => [1, "two", "three"],
             "map" => %{"a" => 1, "b" => "ElixirTermsTest.Order"},
             "struct" => %{
               "__struct__" => "ElixirTermsTest.Order",
               "id" => 7,
               "state" => "new"
             },
             "range" => %{"__struct__" => "Range", "first" => 1, "last" => 3, "step" => 1},
             "tuple" => "{ok,'Elixir.ElixirTermsTest.Order'}"
           }
  end

  test "labels" do
    for labels <- [%{worker: Order}, %{"worker" => "ElixirTermsTest.Order"}] do
      assert :ok = Metrics.inc("elixir_terms_total", labels)
    end

    assert Metrics.value("elixir_terms_total", %{worker: Order}) == 2
    # A keyword list is refused, and says so.
    assert {:error, {:bad_labels, _}} = Metrics.record_counter("elixir_terms_total", 1, worker: 1)
  end

  test "every exception has its module's name and its own message" do
    raises = [
      {fn -> raise "boom" end, "RuntimeError"},
      {fn -> raise ArgumentError end, "ArgumentError"},
      {fn -> Keyword.fetch!(Process.get(:none, []), :key) end, "KeyError"},
      {fn -> Map.fetch!(Process.get(:none, %{}), :key) end, nil},
      {fn -> String.to_existing_atom(Process.get(:none, "no such atom here")) end, nil},
      {fn -> raise Enum.EmptyError end, "Enum.EmptyError"},
      {fn -> File.read!("/no/such/file") end, "File.Error"},
      {fn -> raise ToolServer.InvalidArguments, tool: "t", expected: "e" end,
       "ToolServer.InvalidArguments"}
    ]

    for {function, type} <- raises do
      {:error, reason} = catch_anything(function)
      {event, span} = recorded(function)

      if is_exception(reason) do
        assert event["exception.type"] == type
        assert event["exception.message"] == Exception.message(reason)
        assert span.status == {:error, Exception.message(reason)}
      else
        # Raised by Erlang, which knows no exceptions: `badarg` and so on.
        assert event["exception.type"] == reason |> erlang_type() |> Atom.to_string()
      end

      assert span.attributes["error.type"] == event["exception.type"]
      assert event["exception.stacktrace"] =~ ~r"test/elixir_terms_test.exs:\d+: "
    end
  end

  defp erlang_type(reason) when is_tuple(reason), do: elem(reason, 0)
  defp erlang_type(reason), do: reason

  test "an exception without a message does no harm" do
    {event, _span} = recorded(fn -> raise BrokenMessage, reason: :x end)
    assert event["exception.type"] == inspect(BrokenMessage)
    assert event["exception.message"] =~ "reason => x"
  end

  test "throws and exits" do
    assert {%{"exception.type" => "stop"}, _} = recorded(fn -> throw(:stop) end)

    {event, _span} = recorded(fn -> exit({%ArgumentError{message: "m"}, []}) end)
    assert event["exception.type"] == "ArgumentError"
    assert {:ok, [%{status: :unset, events: []}]} = normal_exit()
  end

  defp normal_exit do
    {{:exit, :normal}, spans} =
      OtelTest.capture(fn ->
        catch_anything(fn -> Otel.with_span("s", fn -> exit(:normal) end) end)
      end)

    {:ok, spans}
  end

  test "a result that is an error makes a request fail, a nil error does not" do
    results = [
      {{:error, %ArgumentError{message: "m"}}, {:error, "m"}},
      {{:error, :enoent}, {:error, "enoent"}},
      {{:ok, 1}, :unset},
      {%{error: nil, result: 1}, :unset},
      {%{"error" => nil}, :unset}
    ]

    for {result, status} <- results do
      {^result, [span]} =
        OtelTest.capture(fn ->
          Otel.trace_request(%{method: "elixir/result"}, fn -> result end)
        end)

      assert span.status == status
    end
  end

  test "a process that is killed leaves its span with the reason's type" do
    capture = OtelTest.start()

    {pid, monitor} =
      Otel.spawn_monitor(fn -> Otel.with_span("killed", fn -> Process.sleep(:infinity) end) end)

    # Until it is in the span.
    wait_until(fn ->
      match?({:current_function, {Process, :sleep, 1}}, Process.info(pid, :current_function))
    end)

    Process.exit(pid, :kill)
    assert_receive {:DOWN, ^monitor, :process, ^pid, :killed}, 5_000
    assert %{status: {:error, _}} = OtelTest.wait_for("killed", %{}, capture, 5_000)
    OtelTest.stop(capture)
  end

  defp wait_until(condition, left \\ 500) do
    unless condition.() do
      assert left > 0
      Process.sleep(10)
      wait_until(condition, left - 1)
    end
  end
end
