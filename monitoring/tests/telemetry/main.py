"""Runs the tests and ends with `telemetry: N passed, N failed, N skipped`."""

import importlib
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / folder) for folder in ("telemetry", "lib")]

import counting  # noqa: E402  (what it imports is on the path only now)

SCENES = ("guide_test", "current_test", "files_test")

if __name__ == "__main__":
    names = sys.argv[1:] or SCENES
    sys.exit(counting.run("telemetry", [importlib.import_module(name) for name in names]))
