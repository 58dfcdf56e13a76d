"""Reads OTLP JSON lines with protobuf's own JSON parser and the messages of
opentelemetry-proto, and holds them against the encoded requests they stand for.

usage: otlp_json.py KIND FILE.jsonl [FILE.pb]

KIND is traces, metrics or logs. FILE.pb has the same requests in protobuf, each
behind its length as a varint. What OTLP says differently from protobuf's JSON
is checked here: ids in lowercase hexadecimal, enums as integers; and what it
says alike but parsers do not insist on: 64-bit integers as strings.
Prints the number of requests; exits with 1 and the first difference otherwise.
"""

from __future__ import annotations

import base64
import io
import json
import re
import sys
from pathlib import Path
from typing import Any

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.proto import parse_length_prefixed
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

KINDS = {
    "traces": ExportTraceServiceRequest,
    "metrics": ExportMetricsServiceRequest,
    "logs": ExportLogsServiceRequest,
}
IDS = {"traceId": 16, "spanId": 8, "parentSpanId": 8}
SIXTY_FOUR_BITS = {
    getattr(FieldDescriptor, f"CPPTYPE_{name}") for name in ("INT64", "UINT64")
}


class Broken(Exception):
    """A rule of OTLP's JSON that does not hold."""


def checked(value: Any, field: FieldDescriptor, path: str) -> Any:
    """The value of a field as protobuf's JSON parser wants it."""
    if field.json_name in IDS:
        if not re.fullmatch("([0-9a-f]{2})*", value) or len(value) not in (
            0,
            2 * IDS[field.json_name],
        ):
            raise Broken(f"{path}: no lowercase hexadecimal id: {value!r}")
        return base64.b64encode(bytes.fromhex(value)).decode()
    if field.cpp_type == FieldDescriptor.CPPTYPE_ENUM and not isinstance(value, int):
        raise Broken(f"{path}: an enum that is no integer: {value!r}")
    if field.cpp_type in SIXTY_FOUR_BITS and not isinstance(value, str):
        raise Broken(f"{path}: 64 bits that are no string: {value!r}")
    if field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
        return None if value is None else message(value, field.message_type, path)
    return value


def message(value: dict[str, Any], descriptor: Descriptor, path: str) -> dict[str, Any]:
    """The same for a message. Only names in lowerCamelCase are let through."""
    fields = {field.json_name: field for field in descriptor.fields}
    result = {}
    for name, inner in value.items():
        if name not in fields:
            raise Broken(f"{path}.{name}: {descriptor.full_name} has no such field")
        field = fields[name]
        if isinstance(inner, list):
            each = [checked(v, field, f"{path}.{name}[{i}]") for i, v in enumerate(inner)]
            result[name] = each
        else:
            result[name] = checked(inner, field, f"{path}.{name}")
    return result


def requests(kind: str, text: str) -> list[Message]:
    if not text.endswith("\n"):
        raise Broken("the last line has no end")
    found = []
    for number, line in enumerate(text[:-1].split("\n"), 1):
        value = message(json.loads(line), KINDS[kind].DESCRIPTOR, f"line {number}")
        found.append(json_format.ParseDict(value, KINDS[kind](), ignore_unknown_fields=False))
    return found


def encoded_requests(kind: str, data: bytes) -> list[Message]:
    stream, found = io.BytesIO(data), []
    while (request := parse_length_prefixed(KINDS[kind], stream)) is not None:
        found.append(request)
    return found


def bytes_of(request: Message) -> bytes:
    """Equal also where floats are NaN, which no message is to itself."""
    return request.SerializeToString(deterministic=True)


def main(arguments: list[str]) -> int:
    if len(arguments) not in (2, 3) or arguments[0] not in KINDS:
        print(__doc__, file=sys.stderr)
        return 2
    kind, lines, *encoded = arguments
    try:
        found = requests(kind, Path(lines).read_text(encoding="utf-8"))
        if encoded:
            expected = encoded_requests(kind, Path(encoded[0]).read_bytes())
            if len(found) != len(expected):
                raise Broken(f"{len(found)} requests instead of {len(expected)}")
            for number, (one, other) in enumerate(zip(found, expected), 1):
                if bytes_of(one) != bytes_of(other):
                    raise Broken(f"line {number} says\n{one}\ninstead of\n{other}")
    except (Broken, json_format.ParseError, ValueError) as error:
        print(f"{lines}: {error}", file=sys.stderr)
        return 1
    print(len(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
