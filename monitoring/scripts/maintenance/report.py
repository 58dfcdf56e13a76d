"""What a report is made of: sections of marked lines, and how figures are written."""

from __future__ import annotations

from datetime import datetime, timezone

OK, LOOK, FIGURE, NOT_ASKED = "ok", "look", "-", "n/a"


class Report:
    """Printed as it grows; counts what wants a look."""

    def __init__(self) -> None:
        self.looks = 0

    def section(self, title: str) -> None:
        """A heading."""
        print(f"\n== {title}")

    def line(self, mark: str, text: str) -> None:
        """One finding."""
        self.looks += mark == LOOK
        print(f"{mark:5} {text}", flush=True)

    def findings(self, lines: list[str], fine: str) -> None:
        """Each is to be looked at; without any, what is fine."""
        for text in lines:
            self.line(LOOK, text)
        if not lines:
            self.line(OK, fine)

    def figures(self, lines: list[str], none: str) -> None:
        """For review."""
        for text in lines or [none]:
            self.line(FIGURE, text)


def age(text: str) -> float:
    """Seconds since a time of the API; less than nought for one to come."""
    # Nanoseconds are more than Python 3.9 reads.
    began = datetime.strptime(text.split(".")[0].rstrip("Z"), "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone.utc)
    return (datetime.now(timezone.utc) - began).total_seconds()


def duration(seconds: float) -> str:
    """In the two largest units that it has."""
    rest = int(seconds)
    if rest < 60:
        return f"{rest} s"
    parts = []
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])


def size(count: float) -> str:
    """Bytes, in a unit that leaves few digits."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1024:
            return f"{count:.4g} {unit}"
        count /= 1024
    return f"{count:.4g} TiB"


def percent(part: float) -> str:
    """A ratio."""
    return f"{part * 100:.3g} %"
