"""Runs the tests of .github."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "lib")]

import counting  # noqa: E402  (what it imports is on the path only now)
import deploy_test  # noqa: E402
import files_test  # noqa: E402
import steps_test  # noqa: E402

if __name__ == "__main__":
    sys.exit(counting.run("workflows", [files_test, steps_test, deploy_test]))
