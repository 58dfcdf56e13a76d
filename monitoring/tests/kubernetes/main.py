"""The tests of monitoring/kubernetes, all or some by name."""

import importlib
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "lib")]

import counting  # noqa: E402  (what it imports is on the path only now)

if __name__ == "__main__":
    names = sys.argv[1:] or sorted(path.stem.removesuffix("_test") for path in HERE.glob("*_test.py"))
    sys.exit(counting.run("kubernetes", [importlib.import_module(f"{name}_test") for name in names]))
