"""Runs the tests and ends with `guide: N passed, N failed, N skipped`."""

import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / folder) for folder in ("guide", "lib")]

import blocks_test  # noqa: E402  (what they import is on the path only now)
import counting  # noqa: E402

if __name__ == "__main__":
    sys.exit(counting.run("guide", [blocks_test]))
