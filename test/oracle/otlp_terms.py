"""OTLP messages as plain values that keep their types, and those values as
Erlang's external term format and as JSON.

A value is a dict, a list, a tuple, an int, a float, bytes, a str or an Atom. In
Erlang, texts and bytes are both binaries, so an attribute says which it is:
{string, <<"a">>}, {bytes, <<0>>}, {int, 1}, {double, 1.0}, {bool, true},
{array, [...]}, {map, #{...}}, or null. In JSON that is {"int": "1"}.
"""

from __future__ import annotations

import base64
import json
import math
import struct
from collections.abc import Callable
from typing import Any


class Atom(str):
    """A text that is an atom in Erlang."""

    __slots__ = ()


NULL = Atom("null")
TRUE, FALSE = Atom("true"), Atom("false")
NAN, INFINITY, MINUS_INFINITY = Atom("nan"), Atom("infinity"), Atom("-infinity")
STRING, BOOL, INT, DOUBLE = Atom("string"), Atom("bool"), Atom("int"), Atom("double")
BYTES, ARRAY, MAP = Atom("bytes"), Atom("array"), Atom("map")

KINDS = [Atom(kind) for kind in ("unspecified", "internal", "server", "client", "producer", "consumer")]
STATUS = [Atom(code) for code in ("unset", "ok", "error")]
TEMPORALITIES = [Atom(name) for name in ("unspecified", "delta", "cumulative")]


def double(value: float) -> Any:
    """Erlang has no floats for these three."""
    if math.isnan(value):
        return NAN
    if math.isinf(value):
        return INFINITY if value > 0 else MINUS_INFINITY
    return value


def any_value(value: Any) -> Any:
    which = value.WhichOneof("value")
    if which == "string_value":
        return (STRING, value.string_value)
    if which == "int_value":
        return (INT, value.int_value)
    if which == "bool_value":
        return (BOOL, TRUE if value.bool_value else FALSE)
    if which == "double_value":
        return (DOUBLE, double(value.double_value))
    if which == "bytes_value":
        return (BYTES, value.bytes_value)
    if which == "array_value":
        return (ARRAY, [any_value(item) for item in value.array_value.values])
    if which == "kvlist_value":
        return (MAP, attributes(value.kvlist_value.values))
    return NULL


def attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: any_value(pair.value) for pair in pairs}


def resource(message: Any) -> dict[Atom, Any]:
    return {
        Atom("attributes"): attributes(message.attributes),
        Atom("dropped_attributes"): message.dropped_attributes_count,
    }


def scope(message: Any) -> dict[Atom, Any]:
    return {
        Atom("name"): message.name,
        Atom("version"): message.version,
        Atom("attributes"): attributes(message.attributes),
    }


def span(message: Any) -> dict[Atom, Any]:
    return {
        Atom("trace_id"): message.trace_id,
        Atom("span_id"): message.span_id,
        Atom("parent_span_id"): message.parent_span_id,
        Atom("trace_state"): message.trace_state,
        Atom("flags"): message.flags,
        Atom("name"): message.name,
        Atom("kind"): KINDS[message.kind],
        Atom("start_time"): message.start_time_unix_nano,
        Atom("end_time"): message.end_time_unix_nano,
        Atom("attributes"): attributes(message.attributes),
        Atom("dropped_attributes"): message.dropped_attributes_count,
        Atom("events"): [event(item) for item in message.events],
        Atom("dropped_events"): message.dropped_events_count,
        Atom("links"): [link(item) for item in message.links],
        Atom("dropped_links"): message.dropped_links_count,
        Atom("status"): (STATUS[message.status.code], message.status.message),
    }


def event(message: Any) -> dict[Atom, Any]:
    return {
        Atom("time"): message.time_unix_nano,
        Atom("name"): message.name,
        Atom("attributes"): attributes(message.attributes),
        Atom("dropped_attributes"): message.dropped_attributes_count,
    }


def link(message: Any) -> dict[Atom, Any]:
    return {
        Atom("trace_id"): message.trace_id,
        Atom("span_id"): message.span_id,
        Atom("trace_state"): message.trace_state,
        Atom("flags"): message.flags,
        Atom("attributes"): attributes(message.attributes),
        Atom("dropped_attributes"): message.dropped_attributes_count,
    }


def log_record(message: Any) -> dict[Atom, Any]:
    return {
        Atom("time"): message.time_unix_nano,
        Atom("observed_time"): message.observed_time_unix_nano,
        Atom("severity"): message.severity_number,
        Atom("severity_text"): message.severity_text,
        Atom("body"): any_value(message.body) if message.HasField("body") else NULL,
        Atom("attributes"): attributes(message.attributes),
        Atom("dropped_attributes"): message.dropped_attributes_count,
        Atom("flags"): message.flags,
        Atom("trace_id"): message.trace_id,
        Atom("span_id"): message.span_id,
        Atom("event_name"): message.event_name,
    }


def metric(message: Any) -> dict[Atom, Any]:
    kind = message.WhichOneof("data")
    data = getattr(message, kind)
    told = {
        Atom("name"): message.name,
        Atom("description"): message.description,
        Atom("unit"): message.unit,
        Atom("kind"): Atom(kind),
        Atom("points"): [point(kind, item) for item in data.data_points],
    }
    if kind in ("sum", "histogram", "exponential_histogram"):
        told[Atom("temporality")] = TEMPORALITIES[data.aggregation_temporality]
    if kind == "sum":
        told[Atom("monotonic")] = TRUE if data.is_monotonic else FALSE
    return told


def point(kind: str, message: Any) -> dict[Atom, Any]:
    told: dict[Atom, Any] = {
        Atom("attributes"): attributes(message.attributes),
        Atom("start_time"): message.start_time_unix_nano,
        Atom("time"): message.time_unix_nano,
        Atom("flags"): message.flags,
    }
    if kind in ("gauge", "sum"):
        told[Atom("value")] = number(message)
    else:
        told[Atom("count")] = message.count
        told[Atom("sum")] = double(message.sum)
    if kind == "histogram":
        told[Atom("bounds")] = [double(bound) for bound in message.explicit_bounds]
        told[Atom("buckets")] = list(message.bucket_counts)
    elif kind == "exponential_histogram":
        told[Atom("scale")] = message.scale
        told[Atom("zero_count")] = message.zero_count
        for side in ("positive", "negative"):
            buckets = getattr(message, side)
            told[Atom(side)] = (buckets.offset, list(buckets.bucket_counts))
    elif kind == "summary":
        told[Atom("quantiles")] = [(double(q.quantile), double(q.value)) for q in message.quantile_values]
    if kind != "summary":
        told[Atom("exemplars")] = [exemplar(item) for item in message.exemplars]
    return told


def exemplar(message: Any) -> dict[Atom, Any]:
    return {
        Atom("attributes"): attributes(message.filtered_attributes),
        Atom("time"): message.time_unix_nano,
        Atom("value"): number(message),
        Atom("trace_id"): message.trace_id,
        Atom("span_id"): message.span_id,
    }


def number(message: Any) -> Any:
    if message.WhichOneof("value") == "as_int":
        return (INT, message.as_int)
    return (DOUBLE, double(message.as_double))


RECORD: dict[str, Callable[[Any], dict[Atom, Any]]] = {"traces": span, "metrics": metric, "logs": log_record}


# Erlang's external term format


def to_external(term: Any) -> bytes:
    parts: list[bytes] = [b"\x83"]
    _external(term, parts.append)
    return b"".join(parts)


def _external(term: Any, out: Callable[[bytes], None]) -> None:
    if isinstance(term, Atom):
        text = term.encode()
        out(struct.pack(">BB", 119, len(text)) + text)
    elif isinstance(term, str):
        text = term.encode()
        out(struct.pack(">BI", 109, len(text)) + text)
    elif isinstance(term, bool):
        _external(TRUE if term else FALSE, out)
    elif isinstance(term, int):
        _external_int(term, out)
    elif isinstance(term, float):
        out(struct.pack(">Bd", 70, term))
    elif isinstance(term, bytes):
        out(struct.pack(">BI", 109, len(term)) + term)
    elif isinstance(term, dict):
        out(struct.pack(">BI", 116, len(term)))
        for key, value in term.items():
            _external(key, out)
            _external(value, out)
    elif isinstance(term, tuple):
        out(struct.pack(">BB", 104, len(term)))
        for item in term:
            _external(item, out)
    elif isinstance(term, list):
        if term:
            out(struct.pack(">BI", 108, len(term)))
            for item in term:
                _external(item, out)
        out(b"\x6a")
    elif term is None:
        _external(Atom("undefined"), out)
    else:
        raise TypeError(f"no term for {type(term)}")


def _external_int(value: int, out: Callable[[bytes], None]) -> None:
    if 0 <= value < 256:
        out(struct.pack(">BB", 97, value))
    elif -(1 << 31) <= value < 1 << 31:
        out(struct.pack(">Bi", 98, value))
    else:
        digits = abs(value).to_bytes((abs(value).bit_length() + 7) // 8, "little")
        out(struct.pack(">BBB", 110, len(digits), value < 0) + digits)


# JSON


def to_json(term: Any) -> str:
    return json.dumps(_plain(term), ensure_ascii=False)


def _plain(term: Any) -> Any:
    """64-bit integers of attributes are texts, as in OTLP's JSON; ids are hex."""
    if isinstance(term, dict):
        return {str(key): _plain_member(key, value) for key, value in term.items()}
    if isinstance(term, tuple) and len(term) == 2 and isinstance(term[0], Atom):
        tag, value = term
        return {str(tag): str(value) if tag == INT else value == "true" if tag == BOOL else _plain(value)}
    if isinstance(term, (list, tuple)):
        return [_plain(item) for item in term]
    if isinstance(term, bytes):
        return base64.b64encode(term).decode()
    if term == NULL and isinstance(term, Atom):
        return None
    return term


def _plain_member(key: Any, value: Any) -> Any:
    if isinstance(key, Atom) and key.endswith("_id") and isinstance(value, bytes):
        return value.hex()
    return _plain(value)
