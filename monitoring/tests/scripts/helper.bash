# What the bats files share. Each test has a copy of the stack's folder, since the
# scripts write beside themselves, and a PATH with nothing but what it names.

common_setup() {
  here=$BATS_TEST_DIRNAME
  export STAND_IN=$BATS_TEST_TMPDIR/stand-in monitoring=$BATS_TEST_TMPDIR/monitoring
  scripts=$monitoring/scripts
  mkdir -p "$STAND_IN"/{containers,volumes,after-up} "$BATS_TEST_TMPDIR/home" "$monitoring"
  copy_stack "$monitoring"
  export HOME=$BATS_TEST_TMPDIR/home
  unset XDG_STATE_HOME ERLMCP_LOG_DIR COMPOSE_PROFILES ERLMCP_VERSION ERLMCP_BACKUP_DIR ERLMCP_MONITORING_STATE ERLMCP_IMAGES
  only_tools
}

copy_stack() { # INTO
  (cd "$here/../.." && tar -c --exclude=__pycache__ --exclude=./tests --exclude=./kubernetes --exclude=./runbooks .) | tar -x -C "$1"
}

# Programs of this machine by name, so that its own docker, kerl or asdf are not found.
# What stands in for a program goes into $bin, a folder of its own: written over a
# link, it would replace the machine's.
only_tools() {
  local name found tools=$BATS_TEST_TMPDIR/tools
  bin=$BATS_TEST_TMPDIR/bin
  mkdir -p "$bin" "$tools"
  for name in awk base64 basename bash cat chgrp chmod chroot cmp cp curl cut date dd df dirname du env find flock \
    grep gzip head id jq ln ls mkdir mktemp mv od paste ps readlink rm rmdir sed setsid sh sha256sum sleep sort ss \
    stat sync tail tar tee timeout touch tr truncate uname unshare wc xargs; do
    found=$(command -v "$name") && ln -s "$found" "$tools/$name"
  done
  export PATH=$bin:$tools
}

# An engine, with the plugin at a version, or without it.
with_docker() { # [VERSION]
  cp "$here/stand-in/docker" "$bin/docker"
  rm -f "$STAND_IN/compose"
  if [ -n "${1-2.29.1}" ]; then echo "${1-2.29.1}" >"$STAND_IN/compose"; fi
  printf 'services: {}\n' >"$STAND_IN/config"
}

# A program of this name comes first on PATH; its text is standard input.
stand_in() { # NAME
  cat >"$bin/$1"
  chmod +x "$bin/$1"
}

calls() { cat "$STAND_IN/calls"; }

# The call is among those that were made.
called() { # WORDS
  grep -qF -- "$1" "$STAND_IN/calls" || {
    echo "not called: $1; calls:" && calls
    return 1
  }
}
not_called() { # WORDS
  if grep -F -- "$1" "$STAND_IN/calls"; then return 1; fi
}

# Waits, for a minute at most, until a command succeeds.
eventually() { # COMMAND...
  for _ in {1..600}; do
    if "$@"; then return; fi
    sleep 0.1
  done
  echo "not within a minute: $*"
  return 1
}

says() { # TEXT
  [[ $output == *"$1"* ]] || {
    printf 'not said: %s\noutput (status %s):\n%s\n' "$1" "$status" "$output"
    return 1
  }
}
says_not() { # TEXT
  [[ $output != *"$1"* ]] || {
    printf 'said: %s\n%s\n' "$1" "$output"
    return 1
  }
}
ends_with() { # STATUS
  [ "$status" -eq "$1" ] || {
    printf 'status %s, wanted %s:\n%s\n' "$status" "$1" "$output"
    return 1
  }
}

# With a terminal, at which somebody types a line.
at_terminal() { # LINE COMMAND...
  local line=$1
  shift
  run /usr/bin/script -qec "$(printf '%q ' "$@")" /dev/null <<<"$line"
}
