defmodule ToolServer.Tools.Divide do
  @moduledoc "Divides integers, and crashes on zero as Elixir does."

  @behaviour ToolServer.Tools

  alias ToolServer.InvalidArguments

  @impl true
  def call(%{"a" => a, "b" => b}) when is_integer(a) and is_integer(b) do
    Integer.to_string(div(a, b))
  end

  def call(_arguments), do: raise(InvalidArguments, tool: "divide", expected: "two integers")
end
