"""Runs the tests and ends with `dashboards: N passed, N failed, N skipped`."""

import sys
import unittest
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1] / "lib")]

import files_test  # noqa: E402  (what it imports is on the path only now)
import live_test  # noqa: E402

PARTS = {"files": files_test, "live": live_test}


class Counting(unittest.TextTestResult):
    """Failures of one test's parts count as one, and so does a class that is skipped."""

    passed = 0

    def addSuccess(self, test: unittest.TestCase) -> None:  # noqa: N802 (unittest's name)
        """Not called for a test with a part that failed."""
        super().addSuccess(test)
        self.passed += 1

    def counts(self) -> tuple[int, int, int]:
        """Passed, failed, skipped."""
        bad = {getattr(test, "test_case", test).id() for test, _ in [*self.failures, *self.errors]}
        return self.passed, len(bad), len(self.skipped)


def main(parts: list[str]) -> int:
    """All parts, or those that are named."""
    loader = unittest.defaultTestLoader
    suite = unittest.TestSuite(loader.loadTestsFromModule(PARTS[part]) for part in parts or PARTS)
    result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2, resultclass=Counting).run(suite)  # type: ignore[arg-type]
    assert isinstance(result, Counting)
    for test, why in result.skipped:
        print(f"skipped  {test}: {why}")
    passed, failed, skipped = result.counts()
    print(f"dashboards: {passed} passed, {failed} failed, {skipped} skipped", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
