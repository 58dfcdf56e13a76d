"""The tests of this part, all or some. Run by run.sh, in a namespace of their own."""

import importlib
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "lib")]

import counting  # noqa: E402
import place  # noqa: E402

TESTS = sorted(path.stem for path in HERE.glob("*_test.py"))


def main(words: list[str]) -> int:
    """The exit status."""
    names = [f"{word}_test" for word in words] or TESTS
    if wrong := sorted(set(names) - set(TESTS)):
        print(f"storage: unknown: {', '.join(wrong)}", file=sys.stderr)
        return 2
    place.enter()
    return counting.run("storage", [importlib.import_module(name) for name in names])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
