#!/usr/bin/env python3
"""Reads log lines as strictly as JSON is defined, and answers with what they say
as Erlang's external terms.

On its input come packets: four bytes of length, four bytes of the largest length
that a line may have, and the line. Each answer is a packet: `{ok, Fields}', with
texts as binaries, or `{error, Reason}'.
"""

from __future__ import annotations

import json
import struct
import sys
from typing import Any

from otlp_terms import FALSE, NULL, TRUE, Atom, to_external


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Of two values of one key readers take either."""
    keys = [key for key, _ in pairs]
    if len(set(keys)) != len(keys):
        raise ValueError(f"a key comes twice: {keys}")
    return dict(pairs)


def refused(text: str) -> None:
    raise ValueError(f"{text} is no JSON")


def plain(value: Any) -> Any:
    if value is None:
        return NULL
    if isinstance(value, bool):
        return TRUE if value else FALSE
    if isinstance(value, dict):
        return {key: plain(member) for key, member in value.items()}
    if isinstance(value, list):
        return [plain(member) for member in value]
    return value


def read_line(line: bytes, most: int) -> dict[str, Any]:
    if len(line) > most:
        raise ValueError(f"{len(line)} bytes, at most {most} are allowed")
    text = line.decode("utf-8", errors="strict")
    if not text.endswith("\n"):
        raise ValueError("no newline at the end")
    # Also at the ends of lines that only some readers know.
    if len(text.splitlines()) != 1:
        raise ValueError("more than one line")
    fields = json.loads(text, object_pairs_hook=unique, parse_constant=refused)
    if not isinstance(fields, dict):
        raise ValueError("no object")
    return fields


def answer(packet: bytes) -> Any:
    (most,) = struct.unpack(">I", packet[:4])
    try:
        return (Atom("ok"), plain(read_line(packet[4:], most)))
    except ValueError as error:
        return (Atom("error"), f"{error}: {packet[4:300]!r}")


def main() -> None:
    stdin, stdout = sys.stdin.buffer, sys.stdout.buffer
    while head := stdin.read(4):
        packet = stdin.read(struct.unpack(">I", head)[0])
        reply = to_external(answer(packet))
        stdout.write(struct.pack(">I", len(reply)) + reply)
        stdout.flush()


if __name__ == "__main__":
    main()
