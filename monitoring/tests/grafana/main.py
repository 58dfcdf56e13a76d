"""Runs the tests and ends with `grafana: N passed, N failed, N skipped`."""

import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
# `dashboards` has a module called grafana, and so is this folder: it is on no path.
sys.path[:0] = [str(TESTS / folder) for folder in ("grafana", "dashboards", "lib")]

import counting  # noqa: E402  (what they import is on the path only now)
import server_test  # noqa: E402

if __name__ == "__main__":
    sys.exit(counting.run("grafana", [server_test]))
