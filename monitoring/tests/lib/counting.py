"""Runs unittest's tests for a part and ends with `PART: N passed, N failed, N skipped`."""

import signal
import sys
import unittest
from collections.abc import Iterable
from types import ModuleType


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


def run(part: str, modules: Iterable[ModuleType]) -> int:
    """The exit status. Ends when it is asked to: programs that run end with it."""
    # What programs.py raises for SIGTERM unittest takes for a failed test, and goes on.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    loader = unittest.defaultTestLoader
    suite = unittest.TestSuite(loader.loadTestsFromModule(module) for module in modules)
    result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2, resultclass=Counting).run(suite)  # type: ignore[arg-type]
    assert isinstance(result, Counting)
    for test, why in result.skipped:
        print(f"skipped  {test}: {why}")
    passed, failed, skipped = result.counts()
    print(f"{part}: {passed} passed, {failed} failed, {skipped} skipped", flush=True)
    return 1 if failed else 0
