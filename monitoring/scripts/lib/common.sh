# shellcheck shell=bash disable=SC2034,SC2154
# What the scripts of this folder share: messages, questions, the words of a
# command line. Each script sets `me` and has a function usage.

scripts=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
monitoring=$(cd "$scripts/.." && pwd)

say() { printf '%s: %s\n' "$me" "$*"; }
warn() { printf '%s: warning: %s\n' "$me" "$*" >&2; }

# A fault, and what to do about it on lines of its own.
die() { # WHAT [NEXT...]
  printf '%s: %s\n' "$me" "$1" >&2
  shift
  [ $# -eq 0 ] || printf '  %s\n' "$@" >&2
  exit 1
}

wrong() {
  printf '%s: %s\n' "$me" "$1" >&2
  usage >&2
  exit 2
}

have() { command -v "$1" >/dev/null 2>&1; }

need() { # PROGRAM...
  local program
  for program in "$@"; do
    have "$program" || die "$program is needed and not installed" "install it, for example: apt-get install $program"
  done
}

seconds() { # OPTION VALUE
  [[ $2 =~ ^[1-9][0-9]{0,4}$ ]] || wrong "$1 wants seconds, 1 to 99999: $2"
}

# The answer must be the whole word: a stray Enter destroys nothing.
ask() { # QUESTION
  local answer
  [ -n "${assume_yes-}" ] && return
  if [ ! -t 0 ]; then
    die "this wants an answer and there is no terminal to ask at" "say --yes if you mean it"
  fi
  printf '%s: %s Type yes: ' "$me" "$1" >&2
  read -r answer || answer=
  [ "$answer" = yes ] || die "nothing was changed"
}

# What an URL answers: its status, or 000 without an answer.
http_status() { # URL
  curl -s -o /dev/null -m 5 --noproxy '*' -w '%{http_code}' "$1" 2>/dev/null || true
}

# The body of an answer; fails unless its status is 2xx.
http() { # CURL-ARGUMENT...
  curl -fsS -m 15 --noproxy '*' "$@"
}

free_kib() { # FOLDER
  df -Pk "$1" | awk 'NR == 2 { print $4 }'
}

# At least one version of three numbers or fewer.
at_least() { # VERSION LEAST
  [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$2" ]
}
