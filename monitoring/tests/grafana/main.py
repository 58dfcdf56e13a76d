"""Runs the tests and ends with `grafana: N passed, N failed, N skipped`."""

import signal
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
# `dashboards` has a module called grafana, and so is this folder: it is on no path.
sys.path[:0] = [str(TESTS / folder) for folder in ("grafana", "dashboards", "lib")]

import counting  # noqa: E402  (what they import is on the path only now)
import server_test  # noqa: E402

if __name__ == "__main__":
    # unittest takes the end of a program for a failed test, and goes on.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(counting.run("grafana", [server_test]))
