defmodule ToolServer.InvalidArguments do
  @moduledoc "The arguments of a tool are not what it takes."

  defexception [:tool, :expected]

  @impl true
  def message(%{tool: tool, expected: expected}), do: "#{tool} takes #{expected}"
end
