defmodule ToolServer.Tools do
  @moduledoc "The tools that a client may call, and how a call is traced and timed."

  alias ToolServer.Metrics
  alias ToolServer.Tools.{Divide, Search}

  @tools %{"divide" => Divide, "search" => Search}

  @type arguments :: %{String.t() => term()}
  @type result :: {:ok, map()} | {:error, integer(), String.t()}

  @doc "What the tool does with these arguments. Raises `ToolServer.InvalidArguments`."
  @callback call(arguments()) :: String.t()

  @doc "The names of the tools."
  @spec list() :: [%{String.t() => String.t()}]
  def list, do: for(name <- Map.keys(@tools), do: %{"name" => name})

  @doc "Calls a tool. What it raises goes to the caller."
  @spec call(String.t(), arguments()) :: result()
  def call(name, arguments) do
    case @tools do
      %{^name => tool} ->
        text = Metrics.time_tool(tool, fn -> tool.call(arguments) end)
        {:ok, %{"content" => [%{"type" => "text", "text" => text}]}}

      %{} ->
        {:error, -32602, "no tool #{name}"}
    end
  end
end
