"""Export requests that are right, and the changes that make them wrong: what the
strict receiver itself is checked with. As a program it writes a right one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as logs_service
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics_service
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as trace_service

NOW = 1_700_000_000_000_000_000


def traces(spans: int = 1) -> Any:
    request = trace_service.ExportTraceServiceRequest()
    scope = _scope(request.resource_spans.add(), "scope_spans")
    for number in range(1, spans + 1):
        span = scope.spans.add(
            trace_id=bytes([7] * 16),
            span_id=number.to_bytes(8, "big"),
            parent_span_id=bytes([9] * 8),
            trace_state="vendor=a,other@x=b c",
            flags=0x101,
            name=f"span {number}",
            kind=2,
            start_time_unix_nano=NOW,
            end_time_unix_nano=NOW + 5,
            dropped_attributes_count=3,
        )
        _attribute(span.attributes, "text", string_value="é\0")
        _attribute(span.attributes, "int", int_value=-(1 << 63))
        _attribute(span.attributes, "bool", bool_value=False)
        _attribute(span.attributes, "double", double_value=-0.0)
        _attribute(span.attributes, "bytes", bytes_value=b"\xff\0")
        span.attributes.add(key="null").value.SetInParent()
        nested = span.attributes.add(key="map").value.kvlist_value.values.add(key="list").value
        nested.array_value.values.add(string_value="x")
        nested.array_value.values.add(int_value=1)
        event = span.events.add(time_unix_nano=NOW + 1, name="event")
        _attribute(event.attributes, "k", string_value="v")
        link = span.links.add(trace_id=bytes([1] * 16), span_id=bytes([2] * 8), flags=0x301)
        _attribute(link.attributes, "k", string_value="v")
        span.status.code = 2
        span.status.message = "broken"
    return request


def metrics() -> Any:
    request = metrics_service.ExportMetricsServiceRequest()
    scope = _scope(request.resource_metrics.add(), "scope_metrics")
    times = {"start_time_unix_nano": NOW, "time_unix_nano": NOW + 5}
    total = scope.metrics.add(name="requests", unit="1").sum
    total.aggregation_temporality, total.is_monotonic = 2, True
    for method in ("a", "b"):
        _attribute(total.data_points.add(as_int=4, **times).attributes, "method", string_value=method)
    scope.metrics.add(name="level").gauge.data_points.add(as_double=-1.5, time_unix_nano=NOW)
    histogram = scope.metrics.add(name="seconds", unit="s").histogram
    histogram.aggregation_temporality = 2
    point = histogram.data_points.add(count=3, sum=2.5, bucket_counts=[1, 2], explicit_bounds=[0.5], **times)
    point.exemplars.add(time_unix_nano=NOW, as_double=1.0, trace_id=bytes([1] * 16), span_id=bytes([2] * 8))
    exponential = scope.metrics.add(name="sizes").exponential_histogram
    exponential.aggregation_temporality = 1
    point = exponential.data_points.add(count=3, sum=9, scale=3, zero_count=1, **times)
    point.positive.offset = -2
    point.positive.bucket_counts.extend([1, 0, 1])
    return request


def logs() -> Any:
    request = logs_service.ExportLogsServiceRequest()
    record = _scope(request.resource_logs.add(), "scope_logs").log_records.add(
        time_unix_nano=NOW,
        observed_time_unix_nano=NOW,
        severity_number=9,
        severity_text="info",
        trace_id=bytes([1] * 16),
        span_id=bytes([2] * 8),
        flags=1,
    )
    record.body.string_value = "text"
    return request


def _scope(group: Any, scopes: str) -> Any:
    _attribute(group.resource.attributes, "service.name", string_value="check")
    scope = getattr(group, scopes).add()
    scope.scope.name, scope.scope.version = "check", "1"
    return scope


def _attribute(attributes: Any, key: str, **value: Any) -> None:
    attribute = attributes.add(key=key)
    for name, given in value.items():
        setattr(attribute.value, name, given)


REQUEST = {"traces": traces, "metrics": metrics, "logs": logs}

# Wrong, each by one change. The text is part of what the violation says.


def span_of(request: Any) -> Any:
    return request.resource_spans[0].scope_spans[0].spans[0]


def _metric(request: Any, name: str) -> Any:
    found = [m for m in request.resource_metrics[0].scope_metrics[0].metrics if m.name == name]
    return found[0]


def _record(request: Any) -> Any:
    return request.resource_logs[0].scope_logs[0].log_records[0]


def _set(path: Callable[[Any], Any], **values: Any) -> Callable[[Any], None]:
    def change(request: Any) -> None:
        for name, value in values.items():
            setattr(path(request), name, value)

    return change


def _unknown(path: Callable[[Any], Any]) -> Callable[[Any], None]:
    # Field 100, varint 1.
    return lambda request: path(request).MergeFromString(b"\xa0\x06\x01")


WRONG: dict[str, list[tuple[str, str, Callable[[Any], Any]]]] = {
    "traces": [
        ("short trace id", "trace id", _set(span_of, trace_id=b"\1" * 15)),
        ("zero trace id", "trace id", _set(span_of, trace_id=bytes(16))),
        ("no trace id", "trace id", _set(span_of, trace_id=b"")),
        ("zero span id", "span id", _set(span_of, span_id=bytes(8))),
        ("long span id", "span id", _set(span_of, span_id=b"\1" * 9)),
        ("short parent", "parent span id", _set(span_of, parent_span_id=b"\1")),
        ("zero parent", "parent span id", _set(span_of, parent_span_id=bytes(8))),
        ("own parent", "parent span id", _set(span_of, parent_span_id=(1).to_bytes(8, "big"))),
        ("ends before start", "from", _set(span_of, end_time_unix_nano=NOW - 1)),
        ("no start", "from", _set(span_of, start_time_unix_nano=0)),
        ("no kind", "kind 0", _set(span_of, kind=0)),
        ("unknown kind", "kind 6", _set(span_of, kind=6)),
        ("no name", "without a name", _set(span_of, name="")),
        ("unknown flags", "flags", _set(span_of, flags=0x400)),
        ("remote, unknown whether", "flags", _set(span_of, flags=0x200)),
        ("bad trace state", "trace state", _set(span_of, trace_state="A=b")),
        ("trace state key twice", "twice", _set(span_of, trace_state="a=1,a=2")),
        ("unknown status", "status 3", lambda r: setattr(span_of(r).status, "code", 3)),
        ("message of no error", "status message", lambda r: setattr(span_of(r).status, "code", 1)),
        ("attribute twice", "twice", lambda r: _attribute(span_of(r).attributes, "text", string_value="again")),
        ("attribute without key", "without a key", lambda r: _attribute(span_of(r).attributes, "", int_value=1)),
        ("attribute without value", "value message", lambda r: span_of(r).attributes.add(key="bare")),
        ("key in a map twice", "twice", lambda r: [span_of(r).attributes[6].value.kvlist_value.values.add(key="list")]),
        ("profile's key", "strindex", lambda r: setattr(span_of(r).attributes[0], "key_strindex", 1)),
        ("profile's value", "strindex", lambda r: setattr(span_of(r).attributes[0].value, "string_value_strindex", 1)),
        (
            "too many attributes",
            "limit 128",
            lambda r: [_attribute(span_of(r).attributes, f"k{n}", int_value=n) for n in range(128)],
        ),
        ("too many events", "limit 128", lambda r: [span_of(r).events.add(time_unix_nano=1, name="e") for _ in range(128)]),
        ("too many links", "limit 128", lambda r: [span_of(r).links.add().CopyFrom(span_of(r).links[0]) for _ in range(128)]),
        ("event without name", "without a name", lambda r: setattr(span_of(r).events[0], "name", "")),
        ("event without time", "without a time", lambda r: setattr(span_of(r).events[0], "time_unix_nano", 0)),
        ("event attribute twice", "twice", lambda r: _attribute(span_of(r).events[0].attributes, "k", int_value=1)),
        ("link of no trace", "trace id", lambda r: setattr(span_of(r).links[0], "trace_id", bytes(16))),
        ("link of no span", "span id", lambda r: setattr(span_of(r).links[0], "span_id", b"")),
        ("unknown field in the request", "unknown field", _unknown(lambda r: r)),
        ("unknown field in a resource", "unknown field", _unknown(lambda r: r.resource_spans[0].resource)),
        ("unknown field in a span", "unknown field", _unknown(span_of)),
        ("unknown field in a value", "unknown field", _unknown(lambda r: span_of(r).attributes[0].value)),
        ("unknown field in a status", "unknown field", _unknown(lambda r: span_of(r).status)),
        ("unknown field in a link", "unknown field", _unknown(lambda r: span_of(r).links[0])),
        ("no service.name", "service.name", lambda r: r.resource_spans[0].resource.ClearField("attributes")),
        (
            "empty service.name",
            "service.name",
            lambda r: setattr(r.resource_spans[0].resource.attributes[0].value, "string_value", ""),
        ),
        ("no resource", "without a resource", lambda r: r.resource_spans[0].ClearField("resource")),
        ("scope without name", "scope without a name", lambda r: setattr(r.resource_spans[0].scope_spans[0].scope, "name", "")),
        ("scope without spans", "without a record", lambda r: r.resource_spans[0].scope_spans[0].ClearField("spans")),
        ("resource without scope", "without a scope", lambda r: r.resource_spans[0].ClearField("scope_spans")),
        ("empty request", "without a resource", lambda r: r.Clear()),
        ("bad schema url", "schema_url", lambda r: setattr(r.resource_spans[0], "schema_url", "1.2.3")),
    ],
    "metrics": [
        ("no name", "without a name", _set(lambda r: _metric(r, "level"), name="")),
        ("name twice", "twice", _set(lambda r: _metric(r, "level"), name="requests")),
        ("no data", "without data", lambda r: _metric(r, "level").ClearField("gauge")),
        ("no points", "without a point", lambda r: _metric(r, "level").gauge.ClearField("data_points")),
        ("no temporality", "temporality", lambda r: setattr(_metric(r, "requests").sum, "aggregation_temporality", 0)),
        (
            "series twice",
            "twice",
            lambda r: setattr(_metric(r, "requests").sum.data_points[0].attributes[0].value, "string_value", "b"),
        ),
        ("no time", "without a time", lambda r: setattr(_metric(r, "level").gauge.data_points[0], "time_unix_nano", 0)),
        (
            "starts after its time",
            "starts after",
            lambda r: setattr(_metric(r, "level").gauge.data_points[0], "start_time_unix_nano", NOW + 1),
        ),
        (
            "sum without start",
            "without a start",
            lambda r: setattr(_metric(r, "requests").sum.data_points[0], "start_time_unix_nano", 0),
        ),
        ("no value", "without a value", lambda r: _metric(r, "level").gauge.data_points[0].ClearField("as_double")),
        ("counter below zero", "monotonic", lambda r: setattr(_metric(r, "requests").sum.data_points[0], "as_int", -1)),
        ("bucket missing", "buckets for", lambda r: _metric(r, "seconds").histogram.data_points[0].bucket_counts.pop()),
        ("buckets that hold more", "buckets hold", lambda r: setattr(_metric(r, "seconds").histogram.data_points[0], "count", 2)),
        (
            "bounds that fall",
            "do not rise",
            lambda r: (
                _metric(r, "seconds").histogram.data_points[0].explicit_bounds.append(0.4),
                _metric(r, "seconds").histogram.data_points[0].bucket_counts.append(0),
            ),
        ),
        (
            "exponential count",
            "buckets hold",
            lambda r: setattr(_metric(r, "sizes").exponential_histogram.data_points[0], "zero_count", 2),
        ),
        (
            "exponential scale",
            "scale 21",
            lambda r: setattr(_metric(r, "sizes").exponential_histogram.data_points[0], "scale", 21),
        ),
        (
            "exemplar of no trace",
            "trace id",
            lambda r: setattr(_metric(r, "seconds").histogram.data_points[0].exemplars[0], "trace_id", bytes(16)),
        ),
        ("unknown field in a point", "unknown field", _unknown(lambda r: _metric(r, "level").gauge.data_points[0])),
    ],
    "logs": [
        ("no observed time", "observed", _set(_record, observed_time_unix_nano=0)),
        ("severity", "severity", _set(_record, severity_number=25)),
        ("half a context", "span id", _set(_record, span_id=b"")),
        ("flags", "flags", _set(_record, flags=0x100)),
        ("attribute twice", "twice", lambda r: [_attribute(_record(r).attributes, "k", int_value=n) for n in (1, 2)]),
        ("unknown field", "unknown field", _unknown(_record)),
    ],
}


if __name__ == "__main__":
    sys.stdout.buffer.write(traces().SerializeToString())
