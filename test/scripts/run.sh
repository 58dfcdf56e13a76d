#!/usr/bin/env bash
# What the shell scripts promise: usage on -h, exit 2 on a wrong word, and
# messages that say what to do.
set -euo pipefail

case ${1:-} in
  '') ;;
  -h | --help)
    echo "usage: test/scripts/run.sh"
    exit 0
    ;;
  *)
    echo "usage: test/scripts/run.sh" >&2
    exit 2
    ;;
esac

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0 failed=0

# Runs a command and compares its exit status, and what it prints, with what
# is expected.
expect() { # WHAT STATUS PATTERN COMMAND...
  local what=$1 wanted=$2 pattern=$3 status=0
  shift 3
  "$@" >"$work/output" 2>&1 </dev/null || status=$?
  if [ "$status" -eq "$wanted" ] && grep -qE "$pattern" "$work/output"; then
    passed=$((passed + 1))
    printf 'ok       %s\n' "$what"
  else
    failed=$((failed + 1))
    printf 'FAILED   %s: status %d (wanted %d), pattern %s\n' "$what" "$status" "$wanted" "$pattern"
    sed 's/^/         /' "$work/output"
  fi
}

for script in scripts/*.sh test/example/run.sh test/callers/run.sh test/elixir/run.sh test/page/run.sh test/scripts/run.sh examples/demo/run.sh; do
  expect "$script -h shows the usage" 0 '^usage: ' "$script" -h
  expect "$script refuses a wrong option" 2 "usage: " "$script" --no-such-option
done

# A machine with cargo and nothing else, a user without rights, no sudo.
mkdir "$work/bin"
for tool in bash env id awk sort head grep dirname; do
  ln -s "$(command -v "$tool")" "$work/bin/$tool"
done
printf '#!/bin/sh\necho "cargo 1.99.0 (0 2026-01-01)"\n' >"$work/bin/cargo"
printf '#!/bin/sh\nexit 0\n' >"$work/bin/apt-get"
# No package counts as installed.
printf "#!/bin/sh\nexit 1\n" >"$work/bin/dpkg-query"
cp scripts/setup.sh "$work/"
chmod -R a+rX "$work" && chmod a+x "$work/bin/cargo" "$work/bin/apt-get" "$work/bin/dpkg-query"
as_nobody() { setpriv --reuid=65534 --regid=65534 --clear-groups env -i PATH="$work/bin" HOME=/nonexistent "$@"; }
if [ "$(id -u)" -eq 0 ]; then
  expect 'setup without root rights says what to do' 1 'root rights are needed.*apt-get update' \
    as_nobody "$work/setup.sh" build
fi
printf '#!/bin/sh\necho "cargo 1.70.0 (0 2023-01-01)"\n' >"$work/bin/cargo"
expect 'setup with an old Rust says which is needed' 1 'too old: 1\.91' \
  env PATH="$work/bin" scripts/setup.sh build
rm "$work/bin/cargo"
expect 'setup without Rust says where to get it' 1 'rustup\.rs' \
  env PATH="$work/bin" HOME="$work" scripts/setup.sh build

expect 'the demo refuses a wrong setting' 2 'DEMO_SECONDS' \
  env DEMO_SECONDS=soon examples/demo/run.sh

# What each runner prints of a failure, among what is none.
cat >"$work/sample.log" <<'LOG'
== cargo
AssertionError: of a test that wants it
spool::is_read --- FAILED
thread 'spool::is_read' (7) panicked at spool.rs:94:55:
test result: FAILED. 37 passed; 1 failed; 0 ignored
== eunit
  erlmcp_tests: one_test...ok
  erlmcp_tests: two_test...*failed*
== ct
%%% erlmcp_a_SUITE: ....
%%% erlmcp_b_SUITE ==> one: SKIPPED
%%% erlmcp_b_SUITE ==> two: FAILED
%%% erlmcp_b_SUITE ==>
Failure/Error: ?assert(X > 1)
      line: 128
...
%%% erlmcp_c_SUITE: ...
== elixir
         1) test of a tool (ToolServerTest)
            ** (MatchError) no match
== telemetry (9 s)
test_01 (guide_test.GuideTest.test_01) ... ok
FAIL: test_02 (guide_test.GuideTest.test_02)
AssertionError: 1 != 3
FAILED (failures=1)
== scripts
ok 1 status
not ok 2 verify
#  in test file monitoring/tests/scripts/native.bats, line 55
FAILED   verify --native
stack-test: live broke before it could count (status 1)
what failed (logs in /tmp):
  FAIL: test_02 (guide_test.GuideTest.test_02)
LOG
cat >"$work/wanted" <<'LOG'
== cargo
  spool::is_read --- FAILED
  thread 'spool::is_read' (7) panicked at spool.rs:94:55:
== eunit
    erlmcp_tests: two_test...*failed*
== ct
  %%% erlmcp_b_SUITE ==> two: FAILED
  %%% erlmcp_b_SUITE ==>
  Failure/Error: ?assert(X > 1)
        line: 128
== elixir
           1) test of a tool (ToolServerTest)
              ** (MatchError) no match
== telemetry (9 s)
  FAIL: test_02 (guide_test.GuideTest.test_02)
  AssertionError: 1 != 3
== scripts
  not ok 2 verify
  #  in test file monitoring/tests/scripts/native.bats, line 55
  FAILED   verify --native
  stack-test: live broke before it could count (status 1)
LOG
failures() { scripts/failures.sh "$@" >"$work/found" && diff "$work/wanted" "$work/found" && echo same; }
expect 'what failed is found, whatever the runner' 0 '^same$' failures "$work/sample.log"
printf 'make: no rule\n' >"$work/plain.log"
expect 'of a log that does not say it, the end is shown' 0 '^  make: no rule$' scripts/failures.sh "$work/plain.log"
expect 'a log that is not there is told of' 2 'no such file: /nonexistent' scripts/failures.sh /nonexistent

# A precompiled native library, in a copy of what takes it, on a PATH without cargo.
mkdir -p "$work/library/native" "$work/library/scripts" "$work/built" "$work/plain"
cp native/Makefile "$work/library/native/"
cp scripts/fetch-precompiled.sh "$work/library/scripts/"
for tool in bash sh make uname dirname mkdir mktemp cp mv rm chmod cut tr awk sha256sum getconf cat; do
  ln -s "$(command -v "$tool")" "$work/plain/$tool"
done
name=$(scripts/fetch-precompiled.sh --name)
printf 'not a library, but bytes\n' >"$work/built/$name"
digest=$(sha256sum <"$work/built/$name" | cut -d ' ' -f 1)
(cd "$work/built" && sha256sum ./* | sed 's# \./# #' >"$work/SHA256SUMS")
placed=$work/library/priv/erlmcp_nif.so
precompiled() { # SOURCE SHA256
  env PATH="$work/plain" ERLMCP_NIF_PRECOMPILED="$1" ERLMCP_NIF_SHA256="$2" make -C "$work/library/native"
}
same() { cmp "$work/built/$name" "$placed" && echo same; }
what_is_there() { (cd "$work/library/priv" && printf '%s ' *); }
expect 'a precompiled library wants a checksum' 2 'ERLMCP_NIF_SHA256 is not set' precompiled "$work/built/$name" ''
expect 'one with another checksum is refused' 2 'is not what ERLMCP_NIF_SHA256 names' \
  precompiled "$work/built/$name" "$(printf '%064d' 0)"
expect 'and not put in its place' 2 'cannot access' ls "$placed"
expect 'an address without TLS is refused' 2 'https://' precompiled "http://127.0.0.1/$name" "$digest"
expect 'one that is not in the list is refused' 2 'has no line' precompiled "$work/SHA256SUMS" "$work/SHA256SUMS"
expect 'the right one is taken, without cargo' 0 'make' precompiled "$work/built/$name" "$digest"
expect 'as it is' 0 '^same$' same
printf 'bytes of another version\n' >"$work/built/$name"
expect 'the next one is refused by the old list' 2 'is not what' precompiled "$work/built/" "$(printf '%064d' 1)"
(cd "$work/built" && sha256sum "$name" >"$work/SHA256SUMS")
expect 'a folder and a list will do' 0 'make' precompiled "$work/built/" "$work/SHA256SUMS"
expect 'and replace the one before' 0 '^same$' same
expect 'with nothing left behind' 0 '^erlmcp_nif.so $' what_is_there

# The way of an application that has no Rust: compile, load, count.
built=priv/erlmcp_nif.so
if [ -f "$built" ] && command -v rebar3 >/dev/null; then
  mkdir -p "$work/application/native" "$work/application/scripts"
  cp -r erlang_src rebar.config rebar.lock "$work/application/"
  cp native/Makefile "$work/application/native/"
  cp scripts/fetch-precompiled.sh "$work/application/scripts/"
  digest=$(sha256sum <"$built" | cut -d ' ' -f 1)
  application() ( # FILE
    cd "$work/application"
    env CARGO=/nonexistent ERLMCP_NIF_PRECOMPILED="$1" ERLMCP_NIF_SHA256="$digest" rebar3 compile
    erl -noshell -pa _build/default/lib/*/ebin -erlmcp_instrumentation http_enabled false -eval '
      {ok, _} = application:ensure_all_started(erlmcp_instrumentation),
      ok = erlmcp_metrics:record_counter(precompiled, 1, #{}),
      io:format("counted ~p~n", [erlmcp_metrics:value(precompiled, #{})]), halt(0).'
  )
  expect 'an application compiles, loads it and counts, without cargo' 0 'counted 1' application "$PWD/$built"
fi

printf 'scripts: %d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
