defmodule GuideTest do
  @moduledoc """
  The Elixir in the library's guides: every block marked as such is run.

  A block that begins with `import Config` is read as a file of configuration,
  any other is evaluated as a script. Blocks do not know each other's variables.
  """

  use ExUnit.Case, async: true

  # Each with the number of blocks that it has at least.
  @guides [{"elixir.md", 8}, {"getting-started.md", 0}, {"migration-opentelemetry.md", 0}]
  @docs Path.expand("../../../docs", __DIR__)

  for {guide, least} <- @guides, path = Path.join(@docs, guide), File.exists?(path) do
    @external_resource path
    blocks =
      path
      |> File.read!()
      |> String.split("\n")
      |> Enum.with_index(1)
      |> Enum.reduce({nil, []}, fn
        {"```elixir", line}, {nil, blocks} -> {{line + 1, []}, blocks}
        {"```", _}, {{line, lines}, blocks} -> {nil, [{line, Enum.reverse(lines)} | blocks]}
        {text, _}, {{line, lines}, blocks} -> {{line, [text | lines]}, blocks}
        {_, _}, {nil, blocks} -> {nil, blocks}
      end)
      |> elem(1)
      |> Enum.reverse()

    test "#{guide} has its blocks" do
      assert unquote(length(blocks)) >= unquote(least)
    end

    for {line, lines} <- blocks do
      code = Enum.join(lines, "\n")

      test "#{guide}:#{line}" do
        run(unquote(code), unquote(path), unquote(line))
      end
    end
  end

  defp run("import Config" <> _ = code, path, _line) do
    assert [_ | _] = Config.Reader.eval!(path, code, env: :prod, target: :host)
  end

  defp run(code, path, line) do
    ExUnit.CaptureIO.capture_io(:stderr, fn ->
      Code.eval_string(code, [], file: path, line: line)
    end)
  end
end
