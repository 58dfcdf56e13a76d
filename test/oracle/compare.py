#!/usr/bin/env python3
"""Compares expositions of the library with what was recorded.

The readers are ones that others wrote: prometheus-client's parsers for both
text formats, protobuf's for the third, and Prometheus itself. Every sample has
to agree, floats to the last bit, and there may be no further ones. What a name
or a label looks like in an exposition is worked out here a second time.

The recorded series are JSON lines:

    {"name": "latency", "kind": "histogram", "labels": {"path": "/"},
     "value": {"count": 2, "sum": 0.75, "buckets": [[0.5, 1], [Infinity, 2]]}}

`kind` is counter, up_down_counter, gauge, histogram or info; names and labels
are as they were given to the library; an info has the value 1. `help` and
`unit` are those of the declaration, if there was one.
"""

from __future__ import annotations

import argparse
import functools
import gzip
import io
import json
import math
import re
import struct
import sys
import tempfile
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import grpc_tools
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError, Message
from google.protobuf.proto import parse_length_prefixed
from google.protobuf.unknown_fields import UnknownFieldSet
from grpc_tools import protoc
from prometheus_client import Metric, parser
from prometheus_client.openmetrics import parser as openmetrics_parser

HERE = Path(__file__).resolve().parent
SHOWN_DIFFERENCES = 20
HTTP_TIMEOUT_S = 20

CONTENT_TYPES = {
    "text": "text/plain; version=0.0.4; charset=utf-8",
    "openmetrics": "application/openmetrics-text; version=1.0.0; charset=utf-8",
    "protobuf": "application/vnd.google.protobuf; "
    "proto=io.prometheus.client.MetricFamily; encoding=delimited",
}

Number = int | float
Labels = tuple[tuple[str, str], ...]
Series = tuple[str, Labels]


class Unreadable(Exception):
    """A body that its reader refuses, or that nobody should accept."""


@dataclass(frozen=True)
class Family:
    """What an exposition says of a metric, apart from its values."""

    kind: str
    help: str | None = None
    unit: str | None = None


@dataclass
class Reading:
    """What is in an exposition, or ought to be."""

    samples: dict[Series, Number] = field(default_factory=dict)
    families: dict[str, Family] = field(default_factory=dict)

    def add_family(self, name: str, family: Family) -> None:
        if name in self.families:
            raise Unreadable(f"the family {name} stands twice")
        self.families[name] = family

    def add_sample(self, name: str, labels: dict[str, str], value: Number) -> None:
        series = (name, canonical(labels))
        if series in self.samples:
            raise Unreadable(f"the series {shown(series)} stands twice")
        self.samples[series] = value


def canonical(labels: dict[str, str]) -> Labels:
    """Labels in one order; a bucket's bound by its number, whatever its text."""
    bound = {"le": repr(float(labels["le"]))} if "le" in labels else {}
    return tuple(sorted({**labels, **bound}.items()))


# What was recorded.


@dataclass(frozen=True)
class Recorded:
    """One line of the recorded series."""

    name: str
    kind: str
    labels: dict[str, str]
    value: Number | dict
    help: str | None
    unit: str | None

    @property
    def base(self) -> str:
        """The exposed name without the suffix that the kind puts behind it."""
        name = re.sub("[^a-zA-Z0-9_:]", "_", self.name)
        name = "_" + name if name[:1].isdigit() else name
        return name.removesuffix(self.suffix) or name

    @property
    def suffix(self) -> str:
        return {"counter": "_total", "info": "_info"}.get(self.kind, "")

    def exposed_labels(self) -> dict[str, str]:
        """The labels as exposed: one whose value is empty is none."""
        names = {name: re.sub("[^a-zA-Z0-9_]", "_", name) for name in self.labels}
        return {
            ("_" + names[name] if name[:1].isdigit() else names[name]): value
            for name, value in self.labels.items()
            if value
        }

    def add_to(self, reading: Reading, form: str) -> None:
        labels = self.exposed_labels()
        if isinstance(self.value, dict):
            reading.add_sample(f"{self.base}_count", labels, self.value["count"])
            reading.add_sample(f"{self.base}_sum", labels, self.value["sum"])
            for bound, count in self.value["buckets"]:
                reading.add_sample(f"{self.base}_bucket", {**labels, "le": repr(float(bound))}, count)
        else:
            reading.add_sample(self.base + self.suffix, labels, self.value)
        reading.families[self.family_name(form)] = self.family(form)

    def family_name(self, form: str) -> str:
        """As the readers name it: a counter's without the suffix."""
        return self.base + (self.suffix if self.kind == "info" and form != "openmetrics" else "")

    def family(self, form: str) -> Family:
        kind = "gauge" if self.kind == "up_down_counter" else self.kind
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
        Recorded(f["name"], f["kind"], f["labels"], f["value"], f.get("help"), f.get("unit"))
        for f in fields
    ]


def expected(recorded: Iterable[Recorded], form: str) -> Reading:
    reading = Reading()
    for series in recorded:
        series.add_to(reading, form)
    return reading


# What is exposed.


def read_text(body: bytes) -> Reading:
    return of_families(parser.text_string_to_metric_families, body)


def read_openmetrics(body: bytes) -> Reading:
    return of_families(openmetrics_parser.text_string_to_metric_families, body)


def of_families(parse: Callable[[str], Iterable[Metric]], body: bytes) -> Reading:
    reading = Reading()
    try:
        for metric in parse(body.decode("utf-8")):
            if not metric.samples:
                raise Unreadable(f"the family {metric.name} has no sample")
            reading.add_family(
                metric.name, Family(metric.type, metric.documentation, metric.unit or None)
            )
            for sample in metric.samples:
                if sample.timestamp is not None:
                    raise Unreadable(f"{sample.name} has a timestamp")
                reading.add_sample(sample.name, sample.labels, sample.value)
    except (ValueError, KeyError, IndexError) as error:
        raise Unreadable(f"the reader refuses it: {error!r}") from error
    # A reader may drop a line in silence: a series that stands twice, for one.
    lines = sum(1 for line in body.split(b"\n") if line and not line.startswith(b"#"))
    if lines != len(reading.samples):
        raise Unreadable(f"{lines} lines are read as {len(reading.samples)} samples")
    return reading


@functools.cache
def metric_family_class() -> type[Message]:
    """The reader that protoc generates from metrics.proto, held in memory."""
    well_known = Path(grpc_tools.__file__).parent / "_proto"
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "metrics.binpb"
        options = [f"-I{HERE}", f"-I{well_known}", "--include_imports"]
        code = protoc.main(["protoc", *options, f"--descriptor_set_out={out}", "metrics.proto"])
        if code != 0:
            raise RuntimeError("protoc refuses metrics.proto")
        files = descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes())
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    return message_factory.GetMessageClass(
        pool.FindMessageTypeByName("io.prometheus.client.MetricFamily")
    )


def read_protobuf(body: bytes) -> Reading:
    reading = Reading()
    for family in messages(body):
        refuse_unknown_fields(family)
        kind = family.DESCRIPTOR.fields_by_name["type"].enum_type.values_by_number[family.type]
        kind = kind.name.lower()
        if not family.metric:
            raise Unreadable(f"the family {family.name} has no sample")
        unit = family.unit if family.HasField("unit") else None
        name = family.name
        if kind == "counter":
            if not name.endswith("_total"):
                raise Unreadable(f"the counter {name} does not end in _total")
            name = name.removesuffix("_total")
        reading.add_family(
            name, Family("unknown" if kind == "untyped" else kind, family.help, unit)
        )
        for metric in family.metric:
            add_metric(reading, family.name, kind, metric)
    return reading


def messages(body: bytes) -> Iterator[Message]:
    stream = io.BytesIO(body)
    try:
        while (family := parse_length_prefixed(metric_family_class(), stream)) is not None:
            yield family
    except (DecodeError, ValueError) as error:
        raise Unreadable(f"the reader refuses it: {error!r}") from error


def refuse_unknown_fields(message: Message) -> None:
    unknown = UnknownFieldSet(message)
    if len(unknown) > 0:
        raise Unreadable(f"{message.DESCRIPTOR.name} has an unknown field {unknown[0].field_number}")
    for descriptor, value in message.ListFields():
        if descriptor.message_type is not None:
            for inner in [value] if isinstance(value, Message) else value:
                refuse_unknown_fields(inner)


def add_metric(reading: Reading, name: str, kind: str, metric: Message) -> None:
    labels = {pair.name: pair.value for pair in metric.label}
    if len(labels) != len(metric.label):
        raise Unreadable(f"a series of {name} has a label twice")
    present = [descriptor.name for descriptor, _ in metric.ListFields() if descriptor.name != "label"]
    if present != [kind]:
        raise Unreadable(f"a series of the {kind} {name} has the fields {present}")
    value = getattr(metric, kind)
    if kind == "histogram":
        reading.add_sample(f"{name}_count", labels, value.sample_count)
        reading.add_sample(f"{name}_sum", labels, value.sample_sum)
        for bucket in value.bucket:
            bucket_labels = {**labels, "le": repr(bucket.upper_bound)}
            reading.add_sample(f"{name}_bucket", bucket_labels, bucket.cumulative_count)
    else:
        reading.add_sample(name, labels, value.value)


READERS: dict[str, Callable[[bytes], Reading]] = {
    "text": read_text,
    "openmetrics": read_openmetrics,
    "protobuf": read_protobuf,
}


def read_prometheus(url: str, job: str) -> Reading:
    """The latest sample of each series of a job, once its target is healthy."""
    targets = [
        target
        for target in api(url, "targets", state="active")["activeTargets"]
        if target["labels"]["job"] == job
    ]
    if not targets:
        raise Unreadable(f"no target of the job {job}")
    for target in targets:
        if target["health"] != "up" or target["lastError"]:
            raise Unreadable(f"{target['scrapeUrl']} is {target['health']}: {target['lastError']}")
    reading = Reading()
    for result in api(url, "query", query=f'{{__name__=~".+",job="{job}"}}')["result"]:
        labels = result["metric"]
        name = labels.pop("__name__")
        if name == "up" and result["value"][1] != "1":
            raise Unreadable(f"up of the job {job} is {result['value'][1]}")
        # What Prometheus itself adds to each target: up and four or more scrape_*.
        if name == "up" or name.startswith("scrape_"):
            continue
        for own in ("job", "instance"):
            labels.pop(own)
        reading.add_sample(name, labels, float(result["value"][1]))
    return reading


def api(url: str, path: str, **parameters: str) -> dict:
    query = urllib.parse.urlencode(parameters)
    with urllib.request.urlopen(f"{url}/api/v1/{path}?{query}", timeout=HTTP_TIMEOUT_S) as response:
        answer = json.load(response)
    if answer["status"] != "success":
        raise Unreadable(f"Prometheus answers {answer}")
    return answer["data"]


def body_of(place: str, form: str, compressed: bool) -> bytes:
    """The bytes of a file or of a URL, which has to answer what was asked for."""
    if not place.startswith(("http://", "https://")):
        return Path(place).read_bytes()
    headers = {
        "Accept": CONTENT_TYPES[form],
        "Accept-Encoding": "gzip" if compressed else "identity",
    }
    request = urllib.request.Request(place, headers=headers)
    with urllib.request.urlopen(request, timeout=HTTP_TIMEOUT_S) as response:
        content_type = response.headers["Content-Type"]
        encoding = response.headers["Content-Encoding"]
        body = response.read()
    if content_type != CONTENT_TYPES[form]:
        raise Unreadable(f"the content type is {content_type}, not {CONTENT_TYPES[form]}")
    if encoding != ("gzip" if compressed else None):
        raise Unreadable(f"the content encoding is {encoding}")
    return gzip.decompress(body) if compressed else body


# The comparison.


def agree(wanted: Number, got: Number, form: str) -> bool:
    """Whether two values are the same. The text formats can carry any integer,
    the others have doubles."""
    if isinstance(wanted, int) and form in ("text", "openmetrics"):
        return got == wanted
    return bits(wanted) == bits(got)


def bits(number: Number) -> bytes:
    x = float(number)
    return struct.pack(">d", math.nan if math.isnan(x) else x)


def shown(series: Series) -> str:
    name, labels = series
    inner = ", ".join(f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in labels)
    return f"{name}{{{inner}}}"


def differences(wanted: Reading, got: Reading, form: str) -> Iterator[str]:
    for series in sorted(wanted.samples.keys() - got.samples.keys()):
        yield f"missing  {shown(series)} = {wanted.samples[series]!r}"
    for series in sorted(got.samples.keys() - wanted.samples.keys()):
        yield f"extra    {shown(series)} = {got.samples[series]!r}"
    for series in sorted(wanted.samples.keys() & got.samples.keys()):
        value, other = wanted.samples[series], got.samples[series]
        if not agree(value, other, form):
            yield f"value    {shown(series)} is {other!r}, recorded {value!r}"
    if form == "prometheus":
        return
    for name in sorted(wanted.families.keys() | got.families.keys()):
        ours, theirs = wanted.families.get(name), got.families.get(name)
        if ours is None or theirs is None:
            yield f"family   {name} is {theirs}, declared {ours}"
            continue
        if (ours.kind, ours.unit) != (theirs.kind, theirs.unit):
            yield f"family   {name} is {theirs.kind} in {theirs.unit}, declared {ours}"
        # The text reader strips the end of a line.
        if ours.help is not None and (ours.help.strip() != (theirs.help or "").strip()):
            yield f"help     {name} is {theirs.help!r}, declared {ours.help!r}"


def without(reading: Reading, names: re.Pattern[str] | None) -> tuple[Reading, dict[str, str]]:
    """The reading without what belongs to others, and the kinds of that."""
    if names is None:
        return reading, {}
    ours, others = Reading(), {}
    for series, value in reading.samples.items():
        if not names.fullmatch(series[0]):
            ours.samples[series] = value
    for name, family in reading.families.items():
        if names.fullmatch(name):
            # An info is a gauge to the formats that have no infos.
            info = family.kind == "info"
            others[f"{name}_info" if info else name] = "gauge" if info else family.kind
        else:
            ours.families[name] = family
    return ours, others


@dataclass(frozen=True)
class Source:
    """Something to be read, and what it is read as."""

    title: str
    form: str
    read: Callable[[], Reading]


def sources(options: argparse.Namespace) -> Iterator[Source]:
    for form, reader in READERS.items():
        places = [(place, False) for place in getattr(options, form)]
        for url in options.url:
            places += [(url, False), (url, True)]
        for place, compressed in places:
            title = f"{form}{', gzip' if compressed else ''}"
            yield Source(title, form, lambda p=place, f=form, c=compressed, r=reader: r(body_of(p, f, c)))
    if options.prometheus:
        read = functools.partial(read_prometheus, options.prometheus.rstrip("/"), options.job)
        yield Source(f"prometheus, job {options.job}", "prometheus", read)


def compare(options: argparse.Namespace) -> bool:
    """Compares all sources, prints a line for each and what disagrees."""
    recorded = read_recorded(options.recorded) if options.recorded else []
    names = re.compile(options.others) if options.others else None
    good, first_others, compared = True, None, 0
    for source in sources(options):
        compared += 1
        others: dict[str, str] = {}
        try:
            reading = source.read()
            ours, others = without(reading, names)
            if not reading.samples:
                raise Unreadable("there is no sample in it")
            found = list(differences(expected(recorded, source.form), ours, source.form))
            count = f"{len(reading.samples)} samples, {len(ours.samples)} compared"
        except (Unreadable, OSError) as error:
            found, count = [f"unreadable: {error}"], "no reading"
        if others and first_others is None:
            first_others = others
        for name in sorted((first_others or {}).keys() | others.keys()) if others else []:
            kinds = (first_others or {}).get(name), others.get(name)
            if kinds[0] != kinds[1]:
                found.append(f"family   {name} is {kinds[1]}, in the first format {kinds[0]}")
        good = good and not found
        print(f"{source.title}: {count}{f', {len(others)} other families' if others else ''}")
        for line in found[:SHOWN_DIFFERENCES]:
            print(f"  {line}")
        if len(found) > SHOWN_DIFFERENCES:
            print(f"  and {len(found) - SHOWN_DIFFERENCES} more")
    if compared == 0:
        print("nothing was given to compare")
    return good and compared > 0


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Compares expositions with what was recorded. Exit code 0: all agree.",
        epilog="FILE is a path or a URL; a URL is asked for the format in question.",
    )
    parser.add_argument("--recorded", metavar="FILE", help="the recorded series, as JSON lines")
    for form in READERS:
        parser.add_argument(
            f"--{form}", metavar="FILE", action="append", default=[], help=f"an exposition in {form}"
        )
    parser.add_argument(
        "--url", action="append", default=[], help="compare all formats of a URL, plain and gzip"
    )
    parser.add_argument("--prometheus", metavar="URL", help="a Prometheus that scrapes the library")
    parser.add_argument("--job", default="erlmcp", help="its job (default: %(default)s)")
    parser.add_argument(
        "--others",
        metavar="REGEX",
        help="names of samples and families that have to be readable and of one kind in all "
        "formats, and are not compared otherwise",
    )
    parser.add_argument(
        "--serve",
        action="store_true",
        help="read the arguments of one comparison after the other from standard input, a JSON "
        "array a line; end each report with a line `== agree' or `== disagree'",
    )
    return parser


def serve(parser: argparse.ArgumentParser) -> None:
    for line in sys.stdin:
        good = compare(parser.parse_args(json.loads(line)))
        print("== agree" if good else "== disagree", flush=True)


def main() -> int:
    sys.stdout.reconfigure(encoding="utf-8")
    parser = arguments()
    options = parser.parse_args()
    if options.serve:
        serve(parser)
        return 0
    return 0 if compare(options) else 1


if __name__ == "__main__":
    sys.exit(main())
