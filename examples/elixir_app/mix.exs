defmodule ToolServer.MixProject do
  use Mix.Project

  def project do
    use_rebar3_on_path()

    [
      app: :tool_server,
      version: "0.1.0",
      elixir: "~> 1.14",
      start_permanent: Mix.env() == :prod,
      deps: [{:erlmcp_instrumentation, library()}],
      releases: [tool_server: [include_executables_for: [:unix]]]
    ]
  end

  def application do
    [extra_applications: [:logger], mod: {ToolServer.Application, []}]
  end

  # The example lies in the library's own checkout. A project of its own has
  #
  #     {:erlmcp_instrumentation,
  #      git: "https://github.com/your-org/erlmcp-instrumentation.git",
  #      branch: "main",
  #      manager: :rebar3}
  #
  # which the variable makes of this one.
  defp library do
    case System.get_env("ERLMCP_INSTRUMENTATION_GIT") do
      nil -> [path: "../..", manager: :rebar3]
      url -> [git: url, branch: "main", manager: :rebar3]
    end
  end

  # Mix wants a rebar3 of its own and offers to download it. Where there is one
  # already, it will do, and no network is needed.
  defp use_rebar3_on_path do
    with nil <- System.get_env("MIX_REBAR3"),
         path when path != nil <- System.find_executable("rebar3") do
      System.put_env("MIX_REBAR3", path)
    end
  end
end
