#!/usr/bin/env bash
# Finds in the output of tests what failed: a run prints thousands of lines.
set -euo pipefail

usage() {
  cat <<'USAGE'
usage: scripts/failures.sh LOG ...

Prints the lines of the logs that say which test failed and why, each runner's under
its `== NAME` or the name of the log; of a log that does not say it, the last lines.
Knows the output of cargo test, EUnit, Common Test, ExUnit, unittest, pytest, TAP and
this project's own scripts. At most 200 lines a log.
USAGE
}

case ${1:-} in
  -h | --help)
    usage
    exit 0
    ;;
  '' | -*)
    usage >&2
    exit 2
    ;;
esac
for log in "$@"; do
  [ -r "$log" ] || {
    printf 'failures: no such file: %s\n' "$log" >&2
    exit 2
  }
done

# A heading is shown with the first line under it. A reason counts only after a failure:
# a test that wants an error may print one as well.
what_failed() { # LOG
  local name=${1##*/}
  awk -v heading="== ${name%.log}" '
    function show() {
      if (heading != "") { print heading; heading = "" }
      print "  " substr($0, 1, 300)
      if (++shown == 200) { print "  and more: see the log"; exit }
    }
    { sub(/\r$/, ""); gsub(/\033\[[0-9;]*m/, "") }
    /^== / { heading = $0; inside = 0; suite = 0 }
    # A run tells at its end what failed, which would be found twice.
    /^what failed/ { exit }
    /^FAILED \(/ { next }
    /^(stack-test|run-tests): .* (broke|executed)/ ||
    /^(FAILED|FAIL:|ERROR:|not ok) / ||
    / (---|\.\.\.) FAILED$/ ||
    /\*failed\*/ ||
    /^ +[0-9]+\) test / { show(); inside = 1; next }
    # The reason of Common Test has no mark of its own.
    /^%%% .*: FAILED$/ { show(); suite = 7; next }
    /^(\.+|%%% [^ ]+: .*)$/ { suite = 0 }
    suite > 0 { suite--; show() }
    inside && /^(E  |[A-Za-z_.]*(Error|Exception|Expired)(:|$)|thread .* panicked| +\*\*|#)/ { show() }
  ' "$1"
}

for log in "$@"; do
  found=$(what_failed "$log")
  if [ -z "$found" ]; then
    found=$(printf '== %s ends with\n' "$log" && tail -n 15 "$log" | sed 's/^/  /')
  fi
  printf '%s\n' "$found"
done
