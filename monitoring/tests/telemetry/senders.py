"""Sends spans and records of a test's own, so that it knows what was accepted."""

import http.client
import json
import os
import struct
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

OTLP = "http://otel-collector:4318"
JAEGER = "http://otel-collector:14268/api/traces"
SERVICE = "sender"


def new_id(size: int) -> str:
    """Of a trace (16) or a span (8)."""
    return os.urandom(size).hex()


@dataclass(frozen=True)
class Answer:
    """What came back; 0 where nobody did."""

    status: int
    body: str = ""


def post(url: str, body: bytes, kind: str) -> Answer:
    """One attempt."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=20)
    try:
        connection.request("POST", parts.path, body, {"Content-Type": kind})
        answer = connection.getresponse()
        return Answer(answer.status, answer.read().decode(errors="replace"))
    except OSError as error:
        return Answer(0, str(error))
    finally:
        connection.close()


def _resource() -> dict[str, object]:
    return {"attributes": [{"key": "service.name", "value": {"stringValue": SERVICE}}]}


def spans(trace: str, count: int, *, milliseconds: int = 1, error: bool = False, size: int = 0) -> Answer:
    """So many spans of one trace in one request; `size` is that of an attribute."""
    now = time.time_ns()
    body = {
        "resourceSpans": [
            {
                "resource": _resource(),
                "scopeSpans": [
                    {
                        "spans": [
                            {
                                "traceId": trace,
                                "spanId": new_id(8),
                                "name": "tools/call",
                                "kind": 2,
                                "startTimeUnixNano": str(now - milliseconds * 1_000_000),
                                "endTimeUnixNano": str(now),
                                "status": {"code": 2} if error else {},
                                "attributes": [
                                    {"key": "mcp.method.name", "value": {"stringValue": "tools/call"}},
                                    {"key": "filling", "value": {"stringValue": "x" * size}},
                                ],
                            }
                            for _ in range(count)
                        ]
                    }
                ],
            }
        ]
    }
    return post(f"{OTLP}/v1/traces", json.dumps(body).encode(), "application/json")


def record(text: str, trace: str, *, days: int = 0) -> Answer:
    """A log record, of so many days ago."""
    body = {
        "resourceLogs": [
            {
                "resource": _resource(),
                "scopeLogs": [
                    {
                        "logRecords": [
                            {
                                "timeUnixNano": str(time.time_ns() - days * 86400 * 10**9),
                                "severityNumber": 17,
                                "severityText": "error",
                                "body": {"stringValue": text},
                                "traceId": trace,
                                "spanId": new_id(8),
                            }
                        ]
                    }
                ],
            }
        ]
    }
    return post(f"{OTLP}/v1/logs", json.dumps(body).encode(), "application/json")


def jaeger_span(trace: str) -> Answer:
    """One span as clients of Jaeger send it: Thrift's binary protocol over HTTP.

    Batch {1: Process {1: string serviceName}, 2: list<Span>}, and of Span the
    required fields of jaeger.thrift.
    """

    def text(number: int, value: str) -> bytes:
        return struct.pack(">bhi", 11, number, len(value)) + value.encode()

    def long(number: int, value: int) -> bytes:
        return struct.pack(">bhq", 10, number, value)

    def signed(digits: str) -> int:
        return int.from_bytes(bytes.fromhex(digits), "big", signed=True)

    span = (
        long(1, signed(trace[16:]))
        + long(2, signed(trace[:16]))
        + long(3, signed(new_id(8)))
        + long(4, 0)
        + text(5, "legacy")
        + struct.pack(">bhi", 8, 7, 1)
        + long(8, time.time_ns() // 1000)
        + long(9, 1000)
        + b"\0"
    )
    process = struct.pack(">bh", 12, 1) + text(1, SERVICE) + b"\0"
    batch = process + struct.pack(">bhbi", 15, 2, 12, 1) + span + b"\0"
    return post(JAEGER, batch, "application/vnd.apache.thrift.binary")
