"""One of the guide's regular tasks: asks the stack, prints a report. See ../maintenance.sh."""

from __future__ import annotations

import sys
from datetime import datetime, timezone

import daily
import monthly
import weekly
from report import Report
from sources import CannotAsk, Prometheus

TASKS = {"daily": daily.run, "weekly": weekly.run, "monthly": monthly.run}
LOOKED, NO_PROMETHEUS = 1, 3


def main(task: str) -> int:
    """The exit status."""
    try:
        prometheus = Prometheus()
        prometheus.query("vector(1)")
        print(f"maintenance: {task}, {datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC, {prometheus.url}")
        report = Report()
        TASKS[task](report, prometheus)
    except CannotAsk as why:
        print(f"maintenance: {why}", file=sys.stderr)
        return NO_PROMETHEUS
    print(f"\n{report.looks} to look at" if report.looks else "\nnothing to look at")
    return LOOKED if report.looks else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
