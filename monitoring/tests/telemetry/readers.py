"""Finds again what was sent: Jaeger's and Loki's APIs, and scrapes."""

import json
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import Any

JAEGER = "http://jaeger:16686"
LOKI = "http://loki:3100"
OPENMETRICS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
SAMPLE = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*?)\})? (\S+)")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')


def text(url: str, accept: str = "*/*") -> str:
    """The body of a GET."""
    with urllib.request.urlopen(urllib.request.Request(url, headers={"Accept": accept}), timeout=20) as response:
        return str(response.read().decode())


def _json(url: str, **parameters: str | int) -> Any:
    return json.loads(text(f"{url}?{urllib.parse.urlencode(parameters)}" if parameters else url))


def trace(identifier: str) -> list[dict[str, Any]]:
    """The spans of a trace; none where Jaeger does not know it."""
    try:
        found = _json(f"{JAEGER}/api/traces/{identifier}")["data"]
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return []
        raise
    return list(found[0]["spans"]) if found else []


def traces(service: str, **parameters: str | int) -> list[dict[str, Any]]:
    """Recent traces of a service."""
    return list(_json(f"{JAEGER}/api/traces", service=service, **parameters)["data"])


@dataclass(frozen=True)
class Line:
    """An entry of Loki."""

    labels: dict[str, str]
    time: int
    text: str

    def field(self, name: str) -> Any:
        """Of a line of JSON."""
        return json.loads(self.text).get(name)


def lines(query: str, *, since: float = 3600, limit: int = 5000) -> list[Line]:
    """What a query finds, oldest first; all of it, page by page."""
    found: list[Line] = []
    start = time.time_ns() - int(since * 1e9)
    end = time.time_ns() + 60 * 10**9
    while True:
        answer = _json(
            f"{LOKI}/loki/api/v1/query_range", query=query, start=start, end=end, limit=limit, direction="forward"
        )["data"]
        assert answer["resultType"] == "streams", answer["resultType"]
        page = [
            Line(stream["stream"], int(value[0]), value[1]) for stream in answer["result"] for value in stream["values"]
        ]
        page.sort(key=lambda line: line.time)
        if len(page) < limit:
            return found + page
        # What has the last time may be cut off: it comes again with the next page.
        last = page[-1].time
        found += [line for line in page if line.time < last]
        start = last


def streams(matcher: str) -> list[dict[str, str]]:
    """The label sets that Loki has."""
    return list(_json(f"{LOKI}/loki/api/v1/series", **{"match[]": matcher})["data"])


def samples(url: str) -> list[tuple[str, dict[str, str], float]]:
    """A scrape, in the format that Prometheus asks for."""
    found = []
    for line in text(url, OPENMETRICS).splitlines():
        if match := SAMPLE.match(line):
            found.append((match[1], dict(LABEL.findall(match[2] or "")), float(match[3])))
    return found


def total(url: str, name: str, **labels: str) -> float:
    """A metric's sum over the series that have these labels; its suffix `_total` may be missing."""
    return sum(
        value
        for found, of, value in samples(url)
        if found.removesuffix("_total") == name.removesuffix("_total")
        and all(of.get(label) == wanted for label, wanted in labels.items())
    )
