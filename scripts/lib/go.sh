# shellcheck shell=bash
# What the scripts share that build something with Go into .tools. Each has functions
# usage and present.

me=$(basename "$0" .sh)
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
tools=${ERLMCP_TOOLS:-$here/.tools}
# Debian's golang is older than what is built.
PATH=$PATH:/usr/local/go/bin

say() { printf '%s: %s\n' "$me" "$*"; }
die() {
  printf '%s: %s\n' "$me" "$*" >&2
  exit 1
}

# No words but -h.
no_words() {
  case ${1:-} in
    '') ;;
    -h | --help)
      usage
      exit 0
      ;;
    *)
      printf '%s: unknown word: %s\n' "$me" "$1" >&2
      usage >&2
      exit 2
      ;;
  esac
}

# Ends the script where nothing is to be built; else makes the folder $work. Of two
# that build at once, the second finds the work done.
begin() { # NAME SECONDS GO-VERSION
  if present; then exit; fi
  command -v go >/dev/null 2>&1 || die "no Go on this machine (https://go.dev/dl, $3 or later)"
  mkdir -p "$tools"
  exec 9>"$tools/$1.lock"
  flock -w "$2" 9 || die "another build has held $tools/$1.lock for $(($2 / 60)) minutes"
  if present; then exit; fi
  work=$(mktemp -d "$tools/$1.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  export GOMAXPROCS=${GOMAXPROCS:-2} CGO_ENABLED=0 GO111MODULE=on GOWORK=off
}
