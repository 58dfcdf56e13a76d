"""What was recorded, and how it ought to be exposed.

The rules for names and labels are worked out here a second time, from the
library's documentation and not from its code.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reading import Buckets, Family, Native, Number, Reading, spelled_bound


def sanitised(name: str, allowed: str) -> str:
    """A name in which each other character is an underscore; a digit cannot be the first."""
    return re.sub("^(?=[0-9])", "_", re.sub(f"[^{allowed}]", "_", name))


MAX_BUCKETS = 160
SMALLEST_NORMAL = 2.0**-1022


def native(observations: list[float]) -> Native:
    """The native histogram at the finest of Prometheus' schemas with few enough buckets."""
    for schema in range(8, -5, -1):
        positive, negative = (
            Counter(native_index(sign * x, schema) for x in observations if sign * x > 0) for sign in (1, -1)
        )
        if all(width(buckets) <= MAX_BUCKETS for buckets in (positive, negative)):
            return Native(schema, observations.count(0), dict(positive), dict(negative))
    raise ValueError("no schema is coarse enough")


def width(buckets: Buckets) -> int:
    return max(buckets) - min(buckets) + 1 if buckets else 0


def native_index(x: float, schema: int) -> int:
    """The bucket i whose upper bound, 2**(i * 2**-schema), is the first not below x."""
    half, exponent = math.frexp(max(x, SMALLEST_NORMAL))
    exponent -= 1
    exact = half == 0.5
    if schema < 0:
        return -(-exponent >> -schema) if exact else (exponent >> -schema) + 1
    within = 0 if exact else math.ceil(math.log2(2 * half) * 2**schema)
    return exponent * 2**schema + within


@dataclass(frozen=True)
class Recorded:
    """One line of the recorded series."""

    name: str
    kind: str
    labels: dict[str, str]
    value: Number | dict[str, Any]
    help: str | None
    unit: str | None
    exemplars: list[dict[str, Any]]
    observations: list[float]

    @property
    def base(self) -> str:
        """The exposed name without the suffix that the kind puts behind it."""
        name = sanitised(self.name, "a-zA-Z0-9_:")
        return name.removesuffix(self.suffix) or name

    @property
    def suffix(self) -> str:
        return {"counter": "_total", "info": "_info"}.get(self.kind, "")

    def exposed_labels(self) -> dict[str, str]:
        """The labels as exposed: one whose value is empty is none."""
        return {sanitised(name, "a-zA-Z0-9_"): value for name, value in self.labels.items() if value}

    def add_to(self, reading: Reading, form: str) -> None:
        labels = self.exposed_labels()
        if isinstance(self.value, dict):
            if self.kind == "exponential_histogram" and form == "protobuf":
                reading.natives[(self.base, tuple(sorted(labels.items())))] = native(self.observations)
            reading.add_sample(f"{self.base}_count", labels, self.value["count"])
            reading.add_sample(f"{self.base}_sum", labels, self.value["sum"])
            for bound, count in self.value["buckets"]:
                bucket_labels = {**labels, "le": spelled_bound(float(bound))}
                reading.add_sample(f"{self.base}_bucket", bucket_labels, count)
                if form in ("openmetrics", "protobuf"):
                    self.add_exemplar_to(reading, bucket_labels, float(bound))
        else:
            reading.add_sample(self.base + self.suffix, labels, self.value)
        reading.families[self.family_name(form)] = self.family(form)

    def add_exemplar_to(self, reading: Reading, labels: dict[str, str], bound: float) -> None:
        for exemplar in self.exemplars:
            if float(exemplar["le"]) == bound:
                ids = {name: exemplar[name] for name in ("trace_id", "span_id")}
                reading.add_exemplar(f"{self.base}_bucket", labels, ids, exemplar["value"], time.time())

    def family_name(self, form: str) -> str:
        """As the readers name it: a counter's without the suffix."""
        return self.base + (self.suffix if self.kind == "info" and form != "openmetrics" else "")

    def family(self, form: str) -> Family:
        kind = {"up_down_counter": "gauge", "exponential_histogram": "histogram"}.get(self.kind, self.kind)
        kind = "gauge" if kind == "info" and form != "openmetrics" else kind
        unit = self.unit
        if form == "text" or (form == "openmetrics" and not self.shows_unit()):
            unit = None
        return Family(kind, self.help, unit)

    def shows_unit(self) -> bool:
        """OpenMetrics wants a unit to be the end of the name, and none on an info."""
        return bool(self.unit) and self.kind != "info" and self.base.endswith(f"_{self.unit}")


def read_recorded(path: str) -> list[Recorded]:
    """Reads JSON lines. Only a newline ends a line: strings hold other ends."""
    lines = Path(path).read_bytes().decode("utf-8").split("\n")
    fields = [json.loads(line) for line in lines if line]
    return [
        Recorded(f["name"], f["kind"], f["labels"], f["value"], f.get("help"), f.get("unit"), f.get("exemplars", []), f.get("observations", []))
        for f in fields
    ]


def expected(recorded: Iterable[Recorded], form: str) -> Reading:
    reading = Reading()
    recorded = list(recorded)
    for series in recorded:
        series.add_to(reading, form)
    if form == "openmetrics":
        show_reserved_as_unknown(reading, recorded)
    return reading


def show_reserved_as_unknown(reading: Reading, recorded: list[Recorded]) -> None:
    """OpenMetrics keeps x_created for the counter or histogram x; a counter of that name is unknown there."""
    reserved = {f"{series.base}_created" for series in recorded if series.kind in ("counter", "histogram", "exponential_histogram")}
    for series in recorded:
        if series.kind == "counter" and series.base in reserved:
            family = reading.families.pop(series.base)
            reading.families[f"{series.base}_total"] = Family("unknown", family.help, None)
