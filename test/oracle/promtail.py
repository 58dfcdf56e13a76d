#!/usr/bin/env python3
"""Runs the lines of log files through monitoring/promtail/erlmcp-pipeline.yml as
Promtail would, and prints a summary as JSON: entries by label set, and the first
and last time in nanoseconds.

What Promtail would let pass with an error is an error here: a line that is no
JSON object, a time that does not parse, a label without a value. The stages that
it knows are those that the file uses, with Go's rules: RE2 has no look-around
and no back references, RFC3339Nano wants a zone and at most nine digits.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

PIPELINE = Path(__file__).parents[2] / "monitoring" / "promtail" / "erlmcp-pipeline.yml"
RFC3339_NANO = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)", re.ASCII
)
NOT_RE2 = re.compile(r"\(\?(?:[=!]|<[=!]|P=|>|\()|\\[1-9]|\(\?P<[^>]*[^A-Za-z0-9_>]|[*+?}]\+")


class Refused(Exception):
    """What Promtail would report."""


class Entry:
    def __init__(self, line: str, filename: str) -> None:
        self.line = line
        self.labels = {"filename": filename}
        self.extracted: dict[str, Any] = {"filename": filename}
        self.time_ns: int | None = None


def re2(expression: str) -> re.Pattern[str]:
    if NOT_RE2.search(expression):
        raise Refused(f"RE2 does not know {expression}")
    return re.compile(expression, re.ASCII)


def regex_stage(entry: Entry, options: dict[str, Any]) -> None:
    source = options.get("source")
    text = entry.extracted.get(source) if source else entry.line
    if (match := re2(options["expression"]).search(str(text))) is None:
        raise Refused(f"{options['expression']} does not match {text!r}")
    entry.extracted |= match.groupdict()


def json_stage(entry: Entry, options: dict[str, Any]) -> None:
    try:
        fields = json.loads(entry.line)
    except ValueError as error:
        raise Refused(f"{error}: {entry.line[:200]!r}") from error
    if not isinstance(fields, dict):
        raise Refused(f"no object: {entry.line[:200]!r}")
    for name, expression in options["expressions"].items():
        # Of JMESPath only what is the same as a look-up.
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", expression):
            raise Refused(f"no plain name: {expression}")
        if fields.get(expression) is not None:
            entry.extracted[name] = fields[expression]


def timestamp_stage(entry: Entry, options: dict[str, Any]) -> None:
    if options["format"] != "RFC3339Nano":
        raise Refused(f"unknown format {options['format']}")
    text = entry.extracted.get(options["source"])
    if not isinstance(text, str) or not (parts := RFC3339_NANO.fullmatch(text)):
        raise Refused(f"no time: {text!r}")
    if parts[8] != "Z":
        raise Refused(f"not in UTC: {text}")
    seconds = datetime(*(int(part) for part in parts.groups()[:6]), tzinfo=UTC).timestamp()
    entry.time_ns = int(seconds) * 1_000_000_000 + int((parts[7] or "").ljust(9, "0"))


def labels_stage(entry: Entry, options: dict[str, Any]) -> None:
    for label, source in options.items():
        value = entry.extracted.get(source or label)
        if not isinstance(value, str) or not value:
            raise Refused(f"no value of the label {label}: {value!r}")
        entry.labels[label] = value


STAGES = {
    "regex": regex_stage,
    "json": json_stage,
    "timestamp": timestamp_stage,
    "labels": labels_stage,
}


def entries(path: Path, stages: list[dict[str, Any]]) -> Any:
    """The lines of a file, as Promtail splits them: at newlines only."""
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    name = re.sub(r"\.log(\.\d+)?(\.gz)?$", ".log", str(path))
    lines = data.decode("utf-8", errors="strict").split("\n")
    if lines.pop():
        raise Refused(f"{path} ends in the midst of a line")
    for line in lines:
        entry = Entry(line, name)
        for stage in stages:
            ((kind, options),) = stage.items()
            STAGES[kind](entry, options)
        yield entry


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", nargs="+", type=Path)
    arguments = parser.parse_args()
    stages = yaml.safe_load(PIPELINE.read_text())["pipeline_stages"]
    streams: Counter[str] = Counter()
    times = []
    traces = set()
    try:
        for path in arguments.file:
            for entry in entries(path, stages):
                streams[",".join(f"{entry.labels[key]}" for key in ("app", "level"))] += 1
                times.append(entry.time_ns)
                traces.add(entry.extracted.get("trace_id"))
    except (Refused, UnicodeDecodeError) as error:
        print(error, file=sys.stderr)
        return 1
    summary = {"streams": dict(streams), "first": min(times, default=0), "last": max(times, default=0)}
    print(json.dumps(summary | {"traces": len(traces - {None})}, sort_keys=True))
    return 0


if __name__ == "__main__":
    sys.exit(main())
