"""What an OTLP export request has to be, beyond what protobuf can say.

check() parses a request's bytes and gives it with the violations that it
found. A field that the published protocol does not have, a zero id, an
attribute twice: each is one. The rules are those of opentelemetry-proto's
comments and of OpenTelemetry's specification; where these say SHOULD, this
receiver says must.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

SIGNALS = ("traces", "metrics", "logs")

REQUESTS = {
    "traces": trace_service_pb2.ExportTraceServiceRequest,
    "metrics": metrics_service_pb2.ExportMetricsServiceRequest,
    "logs": logs_service_pb2.ExportLogsServiceRequest,
}
RESPONSES = {
    "traces": trace_service_pb2.ExportTraceServiceResponse,
    "metrics": metrics_service_pb2.ExportMetricsServiceResponse,
    "logs": logs_service_pb2.ExportLogsServiceResponse,
}
REJECTED = {"traces": "rejected_spans", "metrics": "rejected_data_points", "logs": "rejected_log_records"}
# The three levels are called otherwise in each signal.
LEVELS = {
    "traces": ("resource_spans", "scope_spans", "spans"),
    "metrics": ("resource_metrics", "scope_metrics", "metrics"),
    "logs": ("resource_logs", "scope_logs", "log_records"),
}

NO_TRACE, NO_SPAN = bytes(16), bytes(8)
# W3C flags, and whether the parent is remote: two bits, the first says that
# the second is known.
HAS_IS_REMOTE, IS_REMOTE, FLAGS = 0x100, 0x200, 0x3FF
MOST_NESTED = 32
SHOWN = 20

_KEY = r"[a-z0-9][a-z0-9_\-*/]{0,240}(?:@[a-z][a-z0-9_\-*/]{0,13})?"
_MEMBER = rf"{_KEY}=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{{0,255}}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
TRACE_STATE = re.compile(rf"{_MEMBER}(?:,{_MEMBER}){{0,31}}")


@dataclass
class Limits:
    """OpenTelemetry's defaults, as the environment variables OTEL_SPAN_* have them."""

    attributes: int = 128
    events: int = 128
    links: int = 128
    event_attributes: int = 128
    link_attributes: int = 128
    value_length: int | None = None


@dataclass
class Checked:
    message: Message | None
    violations: list[str] = field(default_factory=list)
    records: int = 0
    # As opentelemetry-proto itself would have written it, to the byte count.
    canonical: bool = True


def check(signal: str, body: bytes, limits: Limits) -> Checked:
    message = REQUESTS[signal]()
    try:
        message.ParseFromString(body)
    except DecodeError as error:
        return Checked(None, [f"not a {signal} request: {error}"])
    size = message.ByteSize()
    checked = Checked(message, canonical=size == len(body))
    # Both of these are done in C; looking field by field is for failures.
    bare = REQUESTS[signal]()
    bare.CopyFrom(message)
    bare.DiscardUnknownFields()
    if bare.ByteSize() != size:
        checked.violations += [f"unknown field {path}" for path in unknown_fields(message)][:SHOWN]
    for violation in _request(signal, message, checked, limits):
        checked.violations.append(violation)
        if len(checked.violations) >= SHOWN:
            break
    return checked


def unknown_fields(message: Message, path: str = "") -> Iterator[str]:
    for unknown in UnknownFieldSet(message):
        yield f"{path}#{unknown.field_number} of {message.DESCRIPTOR.full_name}"
    for descriptor, value in message.ListFields():
        if descriptor.message_type is None:
            continue
        # Repeated fields have a length, messages have none.
        values = value if hasattr(value, "__len__") else [value]
        for number, item in enumerate(values):
            yield from unknown_fields(item, f"{path}{descriptor.name}[{number}].")


def _request(signal: str, message: Any, checked: Checked, limits: Limits) -> Iterator[str]:
    of_resource, of_scope, of_record = LEVELS[signal]
    record_rules = RULES[signal]
    groups = getattr(message, of_resource)
    if not groups:
        yield "a request without a resource"
    for group in groups:
        if not group.HasField("resource"):
            yield "records without a resource"
        yield from _resource(group.resource)
        yield from _schema_url(group.schema_url)
        scopes = getattr(group, of_scope)
        if not scopes:
            yield "a resource without a scope"
        for scope in scopes:
            if not scope.scope.name:
                yield "a scope without a name"
            yield from _attributes("scope", scope.scope.attributes, limits)
            yield from _schema_url(scope.schema_url)
            records = getattr(scope, of_record)
            if not records:
                yield "a scope without a record"
            checked.records += len(records)
            for record in records:
                yield from record_rules(record, limits)
            if signal == "metrics":
                yield from _twice("metric", (record.name for record in records))


def _resource(resource: Any) -> Iterator[str]:
    yield from _attributes("resource", resource.attributes, Limits())
    for attribute in resource.attributes:
        if attribute.key == "service.name":
            if not attribute.value.string_value:
                yield "resource: service.name is empty or no text"
            break
    else:
        yield "resource without service.name"


def _schema_url(url: str) -> Iterator[str]:
    if url and not re.fullmatch(r"https?://[^\s]+", url):
        yield f"schema_url {url!r}"


def _twice(what: str, keys: Iterator[Any]) -> Iterator[str]:
    seen = set()
    for key in keys:
        if key in seen:
            yield f"{what} {key!r} twice"
        seen.add(key)


def _attributes(where: str, attributes: Any, limits: Limits) -> Iterator[str]:
    seen = set()
    for attribute in attributes:
        key = attribute.key
        if key in seen:
            yield f"{where}: attribute {key!r} twice"
        seen.add(key)
        if not key:
            yield f"{where}: attribute without a key"
        if attribute.key_strindex:
            yield f"{where}: key_strindex outside of a profile"
        if not attribute.HasField("value"):
            yield f"{where}: attribute {key!r} without a value message"
        yield from _value(where, key, attribute.value, limits, 0)


def _value(where: str, key: str, value: Any, limits: Limits, depth: int) -> Iterator[str]:
    which = value.WhichOneof("value")
    if which == "string_value":
        if limits.value_length is not None and len(value.string_value) > limits.value_length:
            yield f"{where}: {key!r} is longer than {limits.value_length} characters"
    elif which == "bytes_value":
        if limits.value_length is not None and len(value.bytes_value) > limits.value_length:
            yield f"{where}: {key!r} is longer than {limits.value_length} bytes"
    elif which == "array_value":
        if depth >= MOST_NESTED:
            yield f"{where}: {key!r} is nested too deep"
            return
        for item in value.array_value.values:
            yield from _value(where, key, item, limits, depth + 1)
    elif which == "kvlist_value":
        if depth >= MOST_NESTED:
            yield f"{where}: {key!r} is nested too deep"
            return
        pairs = value.kvlist_value.values
        yield from _twice(f"{where}: {key!r} has the key", (pair.key for pair in pairs))
        for pair in pairs:
            yield from _value(where, key, pair.value, limits, depth + 1)
    elif which == "string_value_strindex":
        yield f"{where}: {key!r} is a string_value_strindex outside of a profile"


def _ids(what: str, trace_id: bytes, span_id: bytes) -> Iterator[str]:
    if len(trace_id) != 16 or trace_id == NO_TRACE:
        yield f"{what}: trace id {trace_id.hex()!r}"
    if len(span_id) != 8 or span_id == NO_SPAN:
        yield f"{what}: span id {span_id.hex()!r}"


def _flags_and_state(what: str, flags: int, state: str) -> Iterator[str]:
    if flags & ~FLAGS or (flags & IS_REMOTE and not flags & HAS_IS_REMOTE):
        yield f"{what}: flags {flags:#x}"
    if state:
        if not TRACE_STATE.fullmatch(state):
            yield f"{what}: trace state {state!r}"
        yield from _twice(f"{what}: trace state key", (m.partition("=")[0] for m in state.split(",")))


def _span(span: Any, limits: Limits) -> Iterator[str]:
    name = span.name
    what = f"span {name!r}"
    if not name:
        yield "a span without a name"
    yield from _ids(what, span.trace_id, span.span_id)
    parent = span.parent_span_id
    if parent and (len(parent) != 8 or parent == NO_SPAN or parent == span.span_id):
        yield f"{what}: parent span id {parent.hex()!r}"
    yield from _flags_and_state(what, span.flags, span.trace_state)
    if not 1 <= span.kind <= 5:
        yield f"{what}: kind {span.kind}"
    start, end = span.start_time_unix_nano, span.end_time_unix_nano
    if not 0 < start <= end:
        yield f"{what}: from {start} to {end}"
    status = span.status
    if not 0 <= status.code <= 2:
        yield f"{what}: status {status.code}"
    if status.message and status.code != 2:
        yield f"{what}: a status message without an error"
    for kind, count, limit in (
        ("attributes", len(span.attributes), limits.attributes),
        ("events", len(span.events), limits.events),
        ("links", len(span.links), limits.links),
    ):
        if count > limit:
            yield f"{what}: {count} {kind}, limit {limit}"
    yield from _attributes(what, span.attributes, limits)
    for event in span.events:
        if not event.name:
            yield f"{what}: an event without a name"
        if not event.time_unix_nano:
            yield f"{what}: event {event.name!r} without a time"
        if len(event.attributes) > limits.event_attributes:
            yield f"{what}: event {event.name!r} has {len(event.attributes)} attributes"
        yield from _attributes(f"{what}: event {event.name!r}", event.attributes, limits)
    for link in span.links:
        yield from _ids(f"{what}: link", link.trace_id, link.span_id)
        yield from _flags_and_state(f"{what}: link", link.flags, link.trace_state)
        if len(link.attributes) > limits.link_attributes:
            yield f"{what}: a link has {len(link.attributes)} attributes"
        yield from _attributes(f"{what}: link", link.attributes, limits)


def _log_record(record: Any, limits: Limits) -> Iterator[str]:
    what = "log record"
    if not record.observed_time_unix_nano:
        yield f"{what} without an observed time"
    if not 0 <= record.severity_number <= 24:
        yield f"{what}: severity {record.severity_number}"
    if record.trace_id or record.span_id:
        yield from _ids(what, record.trace_id, record.span_id)
    if record.flags & ~0xFF:
        yield f"{what}: flags {record.flags:#x}"
    if len(record.attributes) > limits.attributes:
        yield f"{what}: {len(record.attributes)} attributes, limit {limits.attributes}"
    yield from _attributes(what, record.attributes, limits)
    yield from _value(what, "body", record.body, limits, 0)


def _metric(metric: Any, limits: Limits) -> Iterator[str]:
    what = f"metric {metric.name!r}"
    if not metric.name:
        yield "a metric without a name"
    kind = metric.WhichOneof("data")
    if kind is None:
        yield f"{what} without data"
        return
    yield from _attributes(what, metric.metadata, limits)
    data = getattr(metric, kind)
    if not data.data_points:
        yield f"{what} without a point"
    if kind in ("sum", "histogram", "exponential_histogram") and data.aggregation_temporality not in (1, 2):
        yield f"{what}: temporality {data.aggregation_temporality}"
    # One series is written once in a request.
    yield from _twice(f"{what}: series", (_series(point) for point in data.data_points))
    for point in data.data_points:
        yield from _attributes(what, point.attributes, limits)
        if not point.time_unix_nano:
            yield f"{what}: a point without a time"
        if point.start_time_unix_nano > point.time_unix_nano:
            yield f"{what}: a point that starts after its time"
        if kind != "gauge" and not point.start_time_unix_nano:
            yield f"{what}: a point without a start time"
        if point.flags & ~1:
            yield f"{what}: flags {point.flags:#x}"
        for rule in POINT_RULES[kind]:
            yield from rule(what, metric, point)
        if kind != "summary":
            for exemplar in point.exemplars:
                yield from _exemplar(what, exemplar, limits)


def _series(point: Any) -> bytes:
    return b"".join(sorted(attribute.SerializeToString(deterministic=True) for attribute in point.attributes))


def _number(what: str, metric: Any, point: Any) -> Iterator[str]:
    which = point.WhichOneof("value")
    if which is None and not point.flags & 1:
        yield f"{what}: a point without a value"
    if metric.WhichOneof("data") == "sum" and metric.sum.is_monotonic and which is not None:
        value = getattr(point, which)
        if value < 0:
            yield f"{what}: a monotonic sum of {value}"


def _histogram(what: str, _metric: Any, point: Any) -> Iterator[str]:
    bounds, counts = point.explicit_bounds, point.bucket_counts
    if (counts or bounds) and len(counts) != len(bounds) + 1:
        yield f"{what}: {len(counts)} buckets for {len(bounds)} bounds"
    if counts and sum(counts) != point.count:
        yield f"{what}: buckets hold {sum(counts)} of {point.count}"
    if any(not low < high for low, high in zip(bounds, bounds[1:])):
        yield f"{what}: bounds do not rise"


def _exponential(what: str, _metric: Any, point: Any) -> Iterator[str]:
    held = point.zero_count + sum(point.positive.bucket_counts) + sum(point.negative.bucket_counts)
    if held != point.count:
        yield f"{what}: buckets hold {held} of {point.count}"
    if not -10 <= point.scale <= 20:
        yield f"{what}: scale {point.scale}"


def _extremes(what: str, _metric: Any, point: Any) -> Iterator[str]:
    if point.HasField("min") and point.HasField("max") and not point.min <= point.max:
        yield f"{what}: min {point.min}, max {point.max}"


def _exemplar(what: str, exemplar: Any, limits: Limits) -> Iterator[str]:
    if not exemplar.time_unix_nano:
        yield f"{what}: an exemplar without a time"
    if exemplar.WhichOneof("value") is None:
        yield f"{what}: an exemplar without a value"
    if exemplar.trace_id or exemplar.span_id:
        yield from _ids(f"{what}: exemplar", exemplar.trace_id, exemplar.span_id)
    yield from _attributes(f"{what}: exemplar", exemplar.filtered_attributes, limits)


RULES: dict[str, Callable[[Any, Limits], Iterator[str]]] = {
    "traces": _span,
    "metrics": _metric,
    "logs": _log_record,
}
POINT_RULES: dict[str, tuple[Callable[[str, Any, Any], Iterator[str]], ...]] = {
    "gauge": (_number,),
    "sum": (_number,),
    "histogram": (_histogram, _extremes),
    "exponential_histogram": (_exponential, _extremes),
    "summary": (),
}
