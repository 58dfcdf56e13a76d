"""Reads expositions with programs that others wrote: prometheus-client's parsers
for both text formats, protobuf's for the third, and Prometheus itself."""

from __future__ import annotations

import functools
import gzip
import io
import json
import tempfile
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import grpc_tools
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError, Message
from google.protobuf.proto import parse_length_prefixed
from google.protobuf.unknown_fields import UnknownFieldSet
from grpc_tools import protoc
from prometheus_client import Metric, parser
from prometheus_client.openmetrics import parser as openmetrics_parser

from reading import Buckets, Family, Native, Reading, Unreadable, spelled_bound

HERE = Path(__file__).resolve().parent
HTTP_TIMEOUT_S = 20

CONTENT_TYPES = {
    "text": "text/plain; version=0.0.4; charset=utf-8",
    "openmetrics": "application/openmetrics-text; version=1.0.0; charset=utf-8",
    "protobuf": "application/vnd.google.protobuf; "
    "proto=io.prometheus.client.MetricFamily; encoding=delimited",
}


# Whatever proxy the environment names: what is read here is on this machine.
direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def read_exposition(place: str, form: str, compressed: bool) -> Reading:
    return READERS[form](body_of(place, form, compressed))


def body_of(place: str, form: str, compressed: bool) -> bytes:
    """The bytes of a file or of a URL, which has to answer what was asked for."""
    if not place.startswith(("http://", "https://")):
        return Path(place).read_bytes()
    headers = {
        "Accept": CONTENT_TYPES[form],
        "Accept-Encoding": "gzip" if compressed else "identity",
    }
    request = urllib.request.Request(place, headers=headers)
    with direct.open(request, timeout=HTTP_TIMEOUT_S) as response:
        content_type = response.headers["Content-Type"]
        encoding = response.headers["Content-Encoding"]
        body = response.read()
    if content_type != CONTENT_TYPES[form]:
        raise Unreadable(f"the content type is {content_type}, not {CONTENT_TYPES[form]}")
    if encoding != ("gzip" if compressed else None):
        raise Unreadable(f"the content encoding is {encoding}")
    return gzip.decompress(body) if compressed else body


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
            reading.add_family(metric.name, Family(metric.type, metric.documentation, metric.unit or None))
            for sample in metric.samples:
                if sample.timestamp is not None:
                    raise Unreadable(f"{sample.name} has a timestamp")
                reading.add_sample(sample.name, sample.labels, sample.value)
                if found := sample.exemplar:
                    reading.add_exemplar(
                        sample.name, sample.labels, found.labels, found.value, float(found.timestamp or 0)
                    )
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
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("io.prometheus.client.MetricFamily"))


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
        reading.add_family(name, Family("unknown" if kind == "untyped" else kind, family.help, unit))
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
            bucket_labels = {**labels, "le": spelled_bound(bucket.upper_bound)}
            reading.add_sample(f"{name}_bucket", bucket_labels, bucket.cumulative_count)
            add_exemplar(reading, f"{name}_bucket", bucket_labels, bucket)
        if value.HasField("schema"):
            add_native(reading, name, labels, value)
    else:
        reading.add_sample(name, labels, value.value)
        if kind == "counter":
            add_exemplar(reading, name, labels, value)


def add_native(reading: Reading, name: str, labels: dict[str, str], histogram: Message) -> None:
    if not histogram.HasField("zero_threshold") or histogram.zero_threshold != 0:
        raise Unreadable(f"the bucket of zero of {name} has a width")
    native = Native(
        histogram.schema,
        histogram.zero_count,
        native_buckets(name, histogram.positive_span, histogram.positive_delta),
        native_buckets(name, histogram.negative_span, histogram.negative_delta),
    )
    if native.count() != histogram.sample_count:
        raise Unreadable(f"{name} counts {histogram.sample_count}, its native buckets {native.count()}")
    if not native.zero_count and not histogram.positive_span and not histogram.negative_span:
        raise Unreadable(f"nothing says that {name} is a native histogram")
    reading.natives[(name, tuple(sorted(labels.items())))] = native


def native_buckets(name: str, spans: Iterable[Message], deltas: Iterable[int]) -> Buckets:
    """The buckets that are not empty. A span's offset counts from the end of the one before."""
    buckets: Buckets = {}
    remaining = iter(deltas)
    index = count = 0
    for span in spans:
        index += span.offset
        for _ in range(span.length):
            try:
                count += next(remaining)
            except StopIteration:
                raise Unreadable(f"{name} has fewer deltas than its spans say") from None
            if count < 0:
                raise Unreadable(f"{name} has a bucket below zero")
            if count:
                buckets[index] = count
            index += 1
    if next(remaining, None) is not None:
        raise Unreadable(f"{name} has more deltas than its spans say")
    return buckets


def add_exemplar(reading: Reading, name: str, labels: dict[str, str], holder: Message) -> None:
    if holder.HasField("exemplar"):
        exemplar = holder.exemplar
        pairs = {pair.name: pair.value for pair in exemplar.label}
        unix = exemplar.timestamp.seconds + exemplar.timestamp.nanos / 1e9
        reading.add_exemplar(name, labels, pairs, exemplar.value, unix)


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
    query = f'{{__name__=~".+",job="{job}"}}'
    for result in api(url, "query", query=query)["result"]:
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


def api(url: str, path: str, **parameters: str) -> Any:
    query = urllib.parse.urlencode(parameters)
    with direct.open(f"{url}/api/v1/{path}?{query}", timeout=HTTP_TIMEOUT_S) as response:
        answer: dict[str, Any] = json.load(response)
    if answer["status"] != "success":
        raise Unreadable(f"Prometheus answers {answer}")
    return answer["data"]
