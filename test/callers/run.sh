#!/usr/bin/env bash
# Modules written as erlmcp's callers are, in a project of their own that takes
# the library as a dependency: run in every order of starts, and compared value
# by value.
set -euo pipefail

case ${1:-} in
  '') ;;
  -h | --help)
    echo "usage: test/callers/run.sh"
    exit 0
    ;;
  *)
    echo "usage: test/callers/run.sh" >&2
    exit 2
    ;;
esac

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0 failed=0

cp -r "$root/test/callers/rebar.config" "$root/test/callers/src" "$work"
mkdir "$work/_checkouts"
ln -s "$root" "$work/_checkouts/erlmcp_instrumentation"
cd "$work"
export ERLMCP_HTTP_PORT=0 ERLMCP_CUSTOM_PORT=0
# The library's own folder is where its native part was built.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/target}

if ! rebar3 compile >"$work/output" 2>&1; then
  cat "$work/output"
  echo 'callers: 0 passed, 1 failed'
  exit 1
fi

for order in otel_first metrics_first application_first no_application; do
  status=0
  timeout 120 erl -noshell -kernel logger_level critical -pa _build/default/lib/*/ebin \
    -pa _build/default/checkouts/*/ebin \
    -eval "callers_check:main($order)" >"$work/output" 2>&1 || status=$?
  ok=$(grep -c '^ok$' "$work/output" || true)
  bad=$(grep -c '^FAILED' "$work/output" || true)
  # One that ended in the midst has failed as well.
  if [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; then bad=1; fi
  passed=$((passed + ok)) failed=$((failed + bad))
  printf '%-20s %d passed, %d failed\n' "$order" "$ok" "$bad"
  grep -v '^ok$' "$work/output" | sed 's/^/    /' || true
done

printf 'callers: %d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
