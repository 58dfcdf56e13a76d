# shellcheck shell=bash
# What the run.sh of the parts share. Each has a function `usage`, and is in a folder
# of its part's name.

here=$(cd "$(dirname "${BASH_SOURCE[1]}")" && pwd)
part=${here##*/}
root=$(cd "$here/../../.." && pwd)
tools=${ERLMCP_TOOLS:-$root/.tools}
python=$tools/stack-venv/bin/python
# Runs a command where the stack's files are at the places that they name.
# shellcheck disable=SC2034  # for the parts
namespace=("$python" -B "$here/../lib/namespace.py")

wrong() { # WORD
  printf '%s: unknown word: %s\n' "$part" "$1" >&2
  usage >&2
  exit 2
}

# Nothing but words that are known, and -h.
words() { # KNOWN WORD...
  local known=" $1 " word
  shift
  for word in "$@"; do
    case $word in
      -h | --help)
        usage
        exit 0
        ;;
    esac
    [[ $known == *" $word "* ]] || wrong "$word"
  done
}

skip() { # REASON
  printf 'skipped  %s\n%s: 0 passed, 0 failed, 1 skipped\n' "$1" "$part"
  exit
}

need_python() { # MODULES
  "$python" -c "import $1" 2>/dev/null || skip "no Python packages in ${python%/bin/python} (scripts/setup.sh stack)"
}

need_namespace() {
  "${namespace[@]}" true || skip 'no namespaces: run as root, or allow user namespaces'
}

# Ends with what it runs, and in its time.
run() { # SECONDS COMMAND...
  exec timeout --kill-after=30 "$@"
}
