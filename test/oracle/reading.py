"""What is in an exposition, or ought to be."""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass, field
from decimal import Decimal

Number = int | float
Labels = tuple[tuple[str, str], ...]
Series = tuple[str, Labels]
# Its labels and its value.
Exemplar = tuple[Labels, float]
# Counts by the number of the bucket, as Prometheus numbers them.
Buckets = dict[int, int]

# How far an exemplar's time may be from now.
EXEMPLAR_AGE_S = 3600


class Unreadable(Exception):
    """A body that its reader refuses, or that nobody should accept."""


@dataclass(frozen=True)
class Family:
    """What an exposition says of a metric, apart from its values."""

    kind: str
    help: str | None = None
    unit: str | None = None


@dataclass(frozen=True)
class Native:
    """The native buckets of a histogram."""

    schema: int
    zero_count: int
    positive: Buckets
    negative: Buckets

    def count(self) -> int:
        return self.zero_count + sum(self.positive.values()) + sum(self.negative.values())


@dataclass
class Reading:
    """The samples and families of an exposition, each at most once."""

    samples: dict[Series, Number] = field(default_factory=dict)
    families: dict[str, Family] = field(default_factory=dict)
    exemplars: dict[Series, Exemplar] = field(default_factory=dict)
    natives: dict[Series, Native] = field(default_factory=dict)

    def add_family(self, name: str, family: Family) -> None:
        if name in self.families:
            raise Unreadable(f"the family {name} stands twice")
        self.families[name] = family

    def add_sample(self, name: str, labels: dict[str, str], value: Number) -> None:
        series = (name, tuple(sorted(labels.items())))
        if series in self.samples:
            raise Unreadable(f"the series {shown(series)} stands twice")
        self.samples[series] = value

    def add_exemplar(
        self, name: str, labels: dict[str, str], exemplar: dict[str, str], value: float, unix: float
    ) -> None:
        """The exemplar of a sample, which may have one and was made lately."""
        if abs(time.time() - unix) > EXEMPLAR_AGE_S:
            raise Unreadable(f"an exemplar of {name} is of the time {unix}")
        series = (name, tuple(sorted(labels.items())))
        self.exemplars[series] = (tuple(sorted(exemplar.items())), value)


def shown(series: Series) -> str:
    name, labels = series
    inner = ", ".join(f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in labels)
    return f"{name}{{{inner}}}"


def spelled_bound(bound: float) -> str:
    """A bucket's bound as Prometheus spells it where the format has no text for
    it, and since version 3 everywhere. With another spelling, the series would
    end when a server changes the format or is upgraded."""
    if math.isinf(bound):
        return "+Inf"
    shortest = Decimal(repr(bound)).normalize()
    if -4 <= shortest.adjusted() < 6 or bound == 0:
        return repr(bound)
    return f"{bound:.{len(shortest.as_tuple().digits) - 1}e}"
