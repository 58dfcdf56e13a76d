"""What Grafana does with a query before it sends it: intervals and variables."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# Interpolation of many values into a regular expression doubles the backslash: it
# stands in a string of PromQL (prometheusSpecialRegexEscape).
_SPECIAL = re.compile(r"[$^*{}\[\]'+?.()|]")
_DURATION = re.compile(r"(\d+)(ms|[smhdwy])")
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "y": 31536000}

ALL = "$__all"


def seconds(duration: str) -> float:
    """15s, 1m30s."""
    return sum(int(count) * _SECONDS[unit] for count, unit in _DURATION.findall(duration))


def escaped(value: str) -> str:
    """A value inside of a regular expression of PromQL."""
    return _SPECIAL.sub(r"\\\\\g<0>", value.replace("\\", "\\\\\\\\"))


def interpolated(values: Sequence[str]) -> str:
    """What a variable with these values becomes in a matcher."""
    if len(values) == 1:
        return escaped(values[0])
    return "(" + "|".join(escaped(value) for value in values) + ")"


@dataclass(frozen=True)
class Span:
    """A dashboard's time range on a data source with this scrape interval."""

    start: float
    end: float
    scrape: float

    def step(self, width_points: int = 600) -> float:
        """$__interval: the range over the points, not below the scrape interval."""
        wanted = (self.end - self.start) / width_points
        for step in (1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 43200, 86400):
            if step >= wanted:
                return max(float(step), self.scrape)
        return 86400.0

    def rate_interval(self) -> float:
        """$__rate_interval: four scrapes at least."""
        return max(self.step() + self.scrape, 4 * self.scrape)


def variables(dashboard: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The dashboard's template variables."""
    return list(dashboard["templating"]["list"])


def replaced(text: str, values: Mapping[str, str], span: Span) -> str:
    """The query as it is sent."""
    built_in = {
        "__rate_interval": f"{span.rate_interval():.0f}s",
        "__interval": f"{span.step():.0f}s",
        "__range": f"{max(1, round(span.end - span.start))}s",
        "__range_s": f"{max(1, round(span.end - span.start))}",
    }
    known = {**values, **built_in}

    def value(match: re.Match[str]) -> str:
        name = match.group(1) or match.group(2)
        if name.isdigit():  # a group of label_replace
            return match.group(0)
        if name not in known:
            raise KeyError(f"unknown variable ${name} in {text}")
        return known[name]

    return re.sub(r"\$(?:(\w+)|\{(\w+)\})", value, text)
