"""What Prometheus would have measured for more than a year: windows of it, as blocks by promtool.

Blocks of six hours, and of a window only its ends: compaction joins what lies in
one range of 2 or of 14 days, whatever is missing between. Times are aligned as
Thanos aligns them.
"""

import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from programs import find

HOUR, DAY = 3600, 86400
STEP = 60
BLOCK, SHORT, LONG = 6 * HOUR, 2 * DAY, 14 * DAY
COUNTER, GAUGE = "storage_test_requests_total", "storage_test_sessions"
# Each hour has one sample at the peak, the others are at the base.
BASE, PEAK, MEAN = 10, 70, 11
RATE = 2
LABELS = '{job="erlmcp",instance="a:8080",environment="production"}'


@dataclass(frozen=True)
class Window:
    """Blocks that begin at these times; `seen` is an hour in the midst of the last one."""

    blocks: tuple[int, ...]

    @property
    def seen(self) -> int:
        """An instant whose last hour is in the window."""
        return self.blocks[-1] + 4 * HOUR


def _ended(now: int, length: int, age: int) -> int:
    """The begin of the last range of this length that ended so long ago."""
    return (now - age) // length * length - length


def windows(now: int) -> dict[str, Window]:
    """By what is to become of them."""
    week = _ended(now, SHORT, 10 * DAY)
    month = _ended(now, LONG, 31 * DAY)
    year = _ended(now, LONG, 366 * DAY)
    # The newest block of all is left alone, and the ranges before it count as ended.
    young = now // BLOCK * BLOCK - 2 * BLOCK

    def ends(start: int) -> tuple[int, ...]:
        """Both ends of a range of two days."""
        return start, start + SHORT - BLOCK

    def long(start: int) -> tuple[int, ...]:
        return (*ends(start), *ends(start + LONG - SHORT))

    return {
        "of yesterday": Window((young, young + BLOCK)),
        "of last week": Window(ends(week)),
        "of last month": Window(long(month)),
        "of last year": Window(long(month - 19 * LONG)),
        "older than a year": Window(long(year)),
        # 18 hours of two days: too short for 5 min. Alone in its 14 days, as it is
        # while those have not ended.
        "cut short": Window(tuple(month - 2 * LONG + BLOCK * number for number in range(3))),
        # 2 days of 14: too short for 1 h.
        "begun late": Window(ends(month - LONG + LONG - SHORT)),
    }


def write(data: Path, found: dict[str, Window], late: int) -> int:
    """Blocks into a data folder of Prometheus. `late` shifts the scrapes; the number of blocks."""
    promtool = find("prometheus", "2.53.3", "promtool")
    starts = sorted({start for window in found.values() for start in window.blocks})
    for start in starts:
        lines = [f"# TYPE {COUNTER.removesuffix('_total')} counter"]
        times = range(start, start + BLOCK, STEP)
        lines += [f"{COUNTER}{LABELS} {RATE * (at + late - starts[0])} {at + late}" for at in times]
        lines.append(f"# TYPE {GAUGE} gauge")
        lines += [f"{GAUGE}{LABELS} {PEAK if at % HOUR == 30 * 60 else BASE} {at + late}" for at in times]
        text = data / "history.om"
        text.write_text("\n".join([*lines, "# EOF", ""]))
        words: list[str | Path] = [promtool, "tsdb", "create-blocks-from", "--max-block-duration=6h", "-q", "openmetrics"]
        words += [text, data]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
        text.unlink()
    return len(starts)


def now() -> int:
    """The time, in seconds."""
    return int(time.time())
