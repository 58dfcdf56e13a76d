"""The tests of monitoring/kubernetes, all or some by name."""

import importlib
import signal
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "lib")]

import counting  # noqa: E402  (what it imports is on the path only now)
import programs  # noqa: E402, F401  (its handler is replaced below)

if __name__ == "__main__":
    # unittest takes the end of a program for a failed test, and goes on.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    names = sys.argv[1:] or sorted(path.stem.removesuffix("_test") for path in HERE.glob("*_test.py"))
    sys.exit(counting.run("kubernetes", [importlib.import_module(f"{name}_test") for name in names]))
