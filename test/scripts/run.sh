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

printf 'scripts: %d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
