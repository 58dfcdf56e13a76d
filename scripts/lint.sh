#!/usr/bin/env bash
# Formatters and linters of every language, and the rules of the house.
# Every finding is printed; exits with 1 if there was any.
set -euo pipefail

case ${1:-} in
  '') ;;
  -h | --help)
    echo "usage: scripts/lint.sh"
    exit 0
    ;;
  *)
    echo "usage: scripts/lint.sh" >&2
    exit 2
    ;;
esac

cd "$(dirname "${BASH_SOURCE[0]}")/.."
findings=0

check() { # TITLE COMMAND...
  local title=$1
  shift
  printf 'lint: %s\n' "$title"
  if ! "$@"; then
    printf 'lint: %s: findings above\n' "$title" >&2
    findings=$((findings + 1))
  fi
}

# Passes when a search finds nothing.
none() { ! "$@"; }

shell_files() { git ls-files -co --exclude-standard '*.sh' '.ci/run'; }

# Who may use whom (ARCHITECTURE.md).
crates_know_their_place() {
  local ok=0
  if grep -nE '^(rustler|tokio|hyper)' native/{metrics,trace}/Cargo.toml; then ok=1; fi
  if grep -nE '^rustler' native/export/Cargo.toml; then ok=1; fi
  if grep -nE '^erlmcp-' native/{metrics,trace}/Cargo.toml; then ok=1; fi
  if grep -nE '^erlmcp-nif' native/export/Cargo.toml; then ok=1; fi
  return $ok
}

# Where unsafe code may be, each file with its own reason (ARCHITECTURE.md).
unsafe_code_has_its_files() {
  local ok=0 crate
  for crate in metrics trace export; do
    grep -q '^#!\[forbid(unsafe_code)\]' "native/$crate/src/lib.rs" || {
      echo "native/$crate does not forbid unsafe code"
      ok=1
    }
  done
  if grep -rnE '\bunsafe\b *(\{|fn|impl|extern|trait)' native/nif/src |
    grep -vE '^native/nif/src/(raw|hot|guard|load|span_entry)\.rs:'; then ok=1; fi
  return $ok
}

one_module_names_the_library() {
  local files
  files=$(grep -lE 'load_nif|erlmcp_nif"' erlang_src/*.erl)
  [ "$files" = erlang_src/erlmcp_instrumentation_nif.erl ] || {
    echo "$files"
    return 1
  }
}

check 'Rust format' cargo fmt --all --check
check 'Rust lints' cargo clippy --workspace --all-targets --locked --quiet -- -D warnings
check 'Rust documentation' env RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --locked --quiet
check 'Erlang: compile without warnings' env ERLMCP_NIF_PROFILE=fast rebar3 compile
check 'Erlang: calls to functions that exist' env ERLMCP_NIF_PROFILE=fast rebar3 xref
check 'Erlang: types' env ERLMCP_NIF_PROFILE=fast rebar3 dialyzer
mapfile -t shells < <(shell_files)
check 'documentation: generated pages are up to date' scripts/generate-docs.sh --check
check 'shell: shellcheck' shellcheck -x "${shells[@]}"
check 'shell: format' shfmt -d -i 2 -ci "${shells[@]}"
check 'rule: crates use only whom they may' crates_know_their_place
check 'rule: unsafe code is where it may be' unsafe_code_has_its_files
check 'rule: one Erlang module names the library' one_module_names_the_library
check 'rule: nothing in the NIF crate can panic on its own' \
  none grep -rnE '\.(unwrap|expect)\(|\b(panic|todo|unimplemented|unreachable)!' native/nif/src

if [ "$findings" -gt 0 ]; then
  printf 'lint: %d checks with findings\n' "$findings" >&2
  exit 1
fi
echo 'lint: clean'
