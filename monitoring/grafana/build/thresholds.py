"""The guide's alert table, as colours: where a panel turns yellow and red.

The alerts in ../../prometheus/rules have the same numbers; monitoring/tests/dashboards
compares the two.
"""

from typing import NamedTuple


class Levels(NamedTuple):
    """Where a figure is worth a warning and where it is critical."""

    warning: float
    critical: float


ERROR_RATE = Levels(0.001, 0.01)
P99_LATENCY_SECONDS = Levels(0.1, 0.5)
CPU = Levels(0.7, 0.9)
MEMORY = Levels(0.7, 0.9)
# How full a limit is (processes, ports, queues): as the guide has it for CPU and memory.
SATURATION = Levels(0.7, 0.9)

UPTIME_OBJECTIVE = 0.999
# Burn rates at which a budget of 30 days is used up in 30, 5 and 2 days
# (https://sre.google/workbook/alerting-on-slos/).
BURN_RATE_STEPS = (1.0, 6.0, 14.4)
# What https://en.wikipedia.org/wiki/Apdex calls poor, fair and good.
APDEX_STEPS = (0.7, 0.85, 0.94)

GREEN = "green"
YELLOW = "#EAB839"
RED = "red"

Steps = list[tuple[float | None, str]]


def above(levels: Levels) -> Steps:
    """Bad when high."""
    return [(None, GREEN), (levels.warning, YELLOW), (levels.critical, RED)]


def any_is_bad() -> Steps:
    """Nought is good, anything else is not."""
    return [(None, GREEN), (0.5, RED)]


def any_is_odd() -> Steps:
    """Nought is good, anything else is worth a look."""
    return [(None, GREEN), (0.000001, YELLOW)]


def kept(objective: float) -> Steps:
    """A promise: red below it."""
    return [(None, RED), (objective, GREEN)]


def budget() -> Steps:
    """What is left of an error budget: red when it is used up."""
    return [(None, RED), (0.0, YELLOW), (0.25, GREEN)]


def burn_rate() -> Steps:
    """1 uses the budget up exactly at the end of its window."""
    slow, fast, now = BURN_RATE_STEPS
    return [(None, GREEN), (slow, YELLOW), (fast, "orange"), (now, RED)]


def apdex() -> Steps:
    """Poor, fair, good, excellent."""
    poor, fair, good = APDEX_STEPS
    return [(None, RED), (poor, "orange"), (fair, YELLOW), (good, GREEN)]


def neutral() -> Steps:
    """No judgement: a figure that is neither good nor bad."""
    return [(None, "blue")]


def plain() -> Steps:
    """No colour at all: cells of a table."""
    return [(None, "text")]
