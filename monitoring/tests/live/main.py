"""Runs the tests and ends with `live: N passed, N failed, N skipped`."""

import logging
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / folder) for folder in ("live", "lib", "alertmanager")]

import chain_test  # noqa: E402  (what it imports is on the path only now)
import counting  # noqa: E402

if __name__ == "__main__":
    # aiosmtpd says of its own code that it is deprecated, at each login.
    logging.getLogger("mail.log").setLevel(logging.ERROR)
    sys.exit(counting.run("live", [chain_test]))
