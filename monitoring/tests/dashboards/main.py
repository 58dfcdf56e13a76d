"""Runs the tests and ends with `dashboards: N passed, N failed, N skipped`."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1] / "lib")]

import counting  # noqa: E402  (what it imports is on the path only now)
import files_test  # noqa: E402
import live_test  # noqa: E402

PARTS = {"files": files_test, "live": live_test}

if __name__ == "__main__":
    sys.exit(counting.run("dashboards", [PARTS[part] for part in sys.argv[1:] or PARTS]))
