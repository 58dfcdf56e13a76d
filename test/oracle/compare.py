#!/usr/bin/env python3
"""Compares expositions of the library with what was recorded.

Every sample has to agree, floats to the last bit, and there may be no further
ones; so have kinds, units and help.

The recorded series are JSON lines:

    {"name": "latency", "kind": "histogram", "labels": {"path": "/"},
     "value": {"count": 2, "sum": 0.75, "buckets": [[0.5, 1], [Infinity, 2]]}}

`kind` is counter, up_down_counter, gauge, histogram,
exponential_histogram or info; names and labels
are as they were given to the library; an info has the value 1. `help` and
`unit` are those of the declaration, if there was one. `exemplars` of a
histogram are objects of `le`, `trace_id`, `span_id` and `value`; `observations` of an
exponential_histogram are all that it has observed.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import re
import struct
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from readers import READERS, read_exposition, read_prometheus
from reading import Number, Reading, Unreadable, shown
from recorded import expected, read_recorded

SHOWN_DIFFERENCES = 20


def agree(wanted: Number, got: Number, form: str) -> bool:
    """Whether two values are the same. An integer has to be exactly that one,
    except where the format has doubles only."""
    if isinstance(wanted, int) and (isinstance(got, int) or form in ("text", "openmetrics")):
        return got == wanted
    return bits(wanted) == bits(got)


def bits(number: Number) -> bytes:
    x = float(number)
    return struct.pack(">d", math.nan if math.isnan(x) else x)


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
    for series in sorted(wanted.exemplars.keys() | got.exemplars.keys()):
        value, other = wanted.exemplars.get(series), got.exemplars.get(series)
        if value != other:
            yield f"exemplar {shown(series)} has {other}, recorded {value}"
    for series in sorted(wanted.natives.keys() | got.natives.keys()):
        native, decoded = wanted.natives.get(series), got.natives.get(series)
        if native != decoded:
            yield f"native   {shown(series)} is {decoded}, recorded {native}"
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
            if series in reading.exemplars:
                ours.exemplars[series] = reading.exemplars[series]
    ours.natives = {series: native for series, native in reading.natives.items() if not names.fullmatch(series[0])}
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
    for form in READERS:
        places = [(place, False) for place in getattr(options, form)]
        for url in options.url:
            places += [(url, False), (url, True)]
        for place, compressed in places:
            title = f"{form}{', gzip' if compressed else ''}"
            yield Source(title, form, functools.partial(read_exposition, place, form, compressed))
    if options.prometheus:
        read = functools.partial(read_prometheus, options.prometheus.rstrip("/"), options.job)
        yield Source(f"prometheus, job {options.job}", "prometheus", read)


def compare(options: argparse.Namespace) -> bool:
    """Compares all sources; prints a line for each, and what disagrees."""
    recorded = read_recorded(options.recorded) if options.recorded else []
    names = re.compile(options.others) if options.others else None
    verdicts: list[bool] = []
    known_others: dict[str, str] = {}
    for source in sources(options):
        summary = "no reading"
        found: list[str] = []
        try:
            reading = source.read()
            if not reading.samples:
                raise Unreadable("there is no sample in it")
            ours, others = without(reading, names)
            known_others = known_others or others
            found += differences(expected(recorded, source.form), ours, source.form)
            if source.form != "prometheus":
                odd = sorted(known_others.items() ^ others.items())
                found += [f"family   {name} is a {kind} in some formats only" for name, kind in odd]
            summary = f"{len(reading.samples)} samples, {len(ours.samples)} compared"
        except (Unreadable, OSError) as error:
            found.append(f"unreadable: {error}")
        print(f"{source.title}: {summary}")
        for line in found[:SHOWN_DIFFERENCES]:
            print(f"  {line}")
        if len(found) > SHOWN_DIFFERENCES:
            print(f"  and {len(found) - SHOWN_DIFFERENCES} more")
        verdicts.append(not found)
    if not verdicts:
        print("there is nothing to compare")
    return bool(verdicts) and all(verdicts)


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
    for stream in (sys.stdin, sys.stdout):
        stream.reconfigure(encoding="utf-8")
    parser = arguments()
    options = parser.parse_args()
    if options.serve:
        serve(parser)
        return 0
    return 0 if compare(options) else 1


if __name__ == "__main__":
    sys.exit(main())
