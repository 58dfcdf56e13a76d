#!/usr/bin/env bash
# The Elixir example: formatted, without warnings, its tests (the Elixir blocks
# of the guides among them), its demo, a release of it that runs from elsewhere,
# and the library as a git dependency.
set -euo pipefail

case ${1:-} in
  '') ;;
  -h | --help)
    echo "usage: test/elixir/run.sh"
    exit 0
    ;;
  *)
    echo "usage: test/elixir/run.sh" >&2
    exit 2
    ;;
esac

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0 failed=0

# Elixir wants names of files in UTF-8, and asks nothing of nobody here.
export LC_ALL=C.UTF-8
export ERLMCP_HTTP_PORT=0 ERLMCP_CUSTOM_PORT=0
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/target}
unset ERLMCP_INSTRUMENTATION_GIT MIX_ENV

if ! mix --version >"$work/output" 2>&1; then
  printf 'skipped  no Elixir that runs here: %s\n' "$(head -1 "$work/output")"
  echo 'elixir: 0 passed, 0 failed, 1 skipped'
  exit
fi

check() { # WHAT COMMAND...
  local what=$1
  shift
  if "$@" >"$work/output" 2>&1 </dev/null; then
    passed=$((passed + 1))
    printf 'ok       %s\n' "$what"
  else
    failed=$((failed + 1))
    printf 'FAILED   %s\n' "$what"
    sed 's/^/         /' "$work/output"
  fi
}

# Each test of ExUnit counts.
unit_tests() {
  local status=0 line
  timeout 600 mix test >"$work/output" 2>&1 </dev/null || status=$?
  line=$(sed -nE 's/^([0-9]+) tests?, ([0-9]+) failures?.*/\1 \2/p' "$work/output")
  if [ -z "$line" ] || { [ "$status" -ne 0 ] && [ "${line#* }" -eq 0 ]; }; then
    line='1 1'
  fi
  passed=$((passed + ${line% *} - ${line#* })) failed=$((failed + ${line#* }))
  if [ "$status" -eq 0 ]; then
    printf 'ok       mix test: %d tests\n' "${line% *}"
  else
    printf 'FAILED   mix test\n'
    sed 's/^/         /' "$work/output"
  fi
}

shows_what_it_counts() {
  timeout 120 mix demo >"$work/demo"
  cat "$work/demo"
  grep -qx 'documents_found_total 3' "$work/demo" &&
    grep -qF 'erlmcp_requests_total{component="server",method="tools/call",status="error"} 2' "$work/demo" &&
    grep -qF '{tool="ToolServer.Tools.Search"} 1' "$work/demo"
}

release_runs() {
  MIX_ENV=prod mix release --overwrite --path "$work/release" || return 1
  # Nothing of the checkout is needed.
  if [ -n "$(find "$work/release" -type l)" ]; then
    find "$work/release" -type l
    return 1
  fi
  (
    cd /
    timeout 60 "$work/release/bin/tool_server" eval '
      {:ok, _} = Application.ensure_all_started(:tool_server)
      %{"result" => %{}} = ToolServer.handle(%{"id" => 1, "method" => "ping"})
      1 = :erlmcp_metrics.value(:erlmcp_requests_total,
            %{method: "ping", status: :success, component: :server})'
  )
}

fetched_by_git() {
  git clone --quiet --no-local "$root" "$work/library"
  git -C "$work/library" checkout --quiet -B main
  git -C "$root" archive HEAD examples/elixir_app | tar -x -C "$work"
  cd "$work/examples/elixir_app"
  export ERLMCP_INSTRUMENTATION_GIT=file://$work/library
  mix deps.get && [ -f deps/erlmcp_instrumentation/rebar.config ] &&
    mix deps.loadpaths --no-compile --no-elixir-version-check
}

cd "$root/examples/elixir_app"
check 'the library builds as a path dependency, the example without warnings' \
  timeout 900 mix compile --force --warnings-as-errors
check 'mix format has nothing to do' mix format --check-formatted
unit_tests
check 'mix demo shows what it counts' shows_what_it_counts
check 'a release has the native library and runs from elsewhere' release_runs
check 'the library is fetched as a git dependency' fetched_by_git

printf 'elixir: %d passed, %d failed, 0 skipped\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
