#!/usr/bin/env bash
# Runs the test runners one after the other and ends with one line over all:
# `N passed, N failed, N skipped`. Exits with 1 if anything failed.
set -euo pipefail

usage() {
  cat <<'USAGE'
usage: scripts/run-tests.sh [RUNNER ...]

runners:
  cargo     unit, property and stress tests of the native crates
  eunit     Erlang unit tests
  ct        Erlang suites: API, concurrency, hostile input, upgrade, HTTP,
            exposition against Python, a real Prometheus, the closed door
            (curl, openssl, Prometheus), OTLP export
            against a strict receiver, the Collector and rotel
  example   the example project, with the library as a git dependency
  callers   modules written as erlmcp's callers are, in every order of starts
  elixir    the Elixir example: its tests, the Elixir of the guides, its release
  page      /debug/traces in headless Chromium
  scripts   the shell scripts' usage and exit codes

Without a runner: all of them. `make test` sets up what they need first.

environment:
  ERLMCP_NIF_PROFILE   cargo profile of the NIF under test (default: fast)
USAGE
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$here"
export ERLMCP_NIF_PROFILE=${ERLMCP_NIF_PROFILE:-fast}
# Colours would have to be parsed around.
export TERM=dumb CARGO_TERM_COLOR=never

logs=$here/_build/test-logs
mkdir -p "$logs"
passed=0 failed=0 skipped=0 broken=()

count() { # PASSED FAILED SKIPPED
  passed=$((passed + $1)) failed=$((failed + $2)) skipped=$((skipped + $3))
}

# The sum of the numbers that a group of an expression finds in a log.
sum() { # LOG EXPRESSION [GROUP]
  sed -nE "s/$2/\\${3:-1}/p" "$1" | awk '{ n += $1 } END { print n + 0 }'
}

run() { # NAME COMMAND...
  local name=$1
  shift
  printf '\n== %s\n' "$name"
  if ! "$@" 2>&1 | tee "$logs/$name.log"; then
    broken+=("$name")
  fi
}

runner_cargo() {
  run cargo cargo test --workspace --locked --quiet --no-fail-fast
  local log=$logs/cargo.log
  count "$(sum "$log" '^test result: .* ([0-9]+) passed;.*')" \
    "$(sum "$log" '^test result: .* ([0-9]+) failed;.*')" \
    "$(sum "$log" '^test result: .* ([0-9]+) ignored;.*')"
}

runner_eunit() {
  run eunit rebar3 eunit
  local log=$logs/eunit.log
  count "$(($(sum "$log" '.*All ([0-9]+) tests passed.*') + $(sum "$log" '.*Passed: ([0-9]+)\..*')))" \
    "$(sum "$log" '.*Failed: ([0-9]+)\..*')" "$(sum "$log" '.*Skipped: ([0-9]+)\..*')"
}

runner_ct() {
  run ct rebar3 ct --sys_config config/test.config
  local log=$logs/ct.log
  count "$(($(sum "$log" '.*All ([0-9]+) tests passed.*') + $(sum "$log" '^(.* )?Passed ([0-9]+) tests.*' 2)))" \
    "$(sum "$log" '.*Failed ([0-9]+) tests.*')" "$(sum "$log" '.*Skipped ([0-9]+)[ .].*')"
}

runner_example() {
  run example test/example/run.sh
  local log=$logs/example.log
  count "$(sum "$log" '^example: ([0-9]+) passed.*')" "$(sum "$log" '^example: .* ([0-9]+) failed.*')" 0
}

runner_callers() {
  run callers test/callers/run.sh
  local log=$logs/callers.log
  count "$(sum "$log" '^callers: ([0-9]+) passed.*')" "$(sum "$log" '^callers: .* ([0-9]+) failed.*')" 0
}

runner_elixir() {
  run elixir test/elixir/run.sh
  local log=$logs/elixir.log
  count "$(sum "$log" '^elixir: ([0-9]+) passed.*')" "$(sum "$log" '^elixir: .* ([0-9]+) failed.*')" \
    "$(sum "$log" '^elixir: .* ([0-9]+) skipped.*')"
}

runner_page() {
  run page test/page/run.sh
  local log=$logs/page.log
  count "$(sum "$log" '^page: ([0-9]+) passed.*')" "$(sum "$log" '^page: .* ([0-9]+) failed.*')" \
    "$(sum "$log" '^page: .* ([0-9]+) skipped.*')"
}

runner_scripts() {
  run scripts test/scripts/run.sh
  local log=$logs/scripts.log
  count "$(sum "$log" '^scripts: ([0-9]+) passed.*')" "$(sum "$log" '^scripts: .* ([0-9]+) failed.*')" 0
}

all=(cargo eunit ct example callers elixir page scripts)
[ $# -gt 0 ] || set -- "${all[@]}"
for runner in "$@"; do
  case $runner in
    -h | --help)
      usage
      exit 0
      ;;
    cargo | eunit | ct | example | callers | elixir | page | scripts) ;;
    *)
      printf 'run-tests: unknown runner: %s\n' "$runner" >&2
      usage >&2
      exit 2
      ;;
  esac
done

for runner in "$@"; do
  before=$((passed + failed + skipped))
  "runner_$runner"
  # A runner that broke before it could count is a failure of its own.
  if [ ${#broken[@]} -gt 0 ] && [ "${broken[-1]}" = "$runner" ] && [ "$failed" -eq 0 ]; then
    count 0 1 0
  elif [ $((passed + failed + skipped)) -eq "$before" ]; then
    printf 'run-tests: %s executed no test\n' "$runner" >&2
    broken+=("$runner")
    count 0 1 0
  fi
done

if [ ${#broken[@]} -gt 0 ]; then
  printf '\nwhat failed (logs in %s):\n' "$logs"
  broken=("${broken[@]/#/$logs/}")
  scripts/failures.sh "${broken[@]/%/.log}"
fi
printf '\n'
printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
[ "$failed" -eq 0 ] && [ ${#broken[@]} -eq 0 ]
