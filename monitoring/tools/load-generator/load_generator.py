#!/usr/bin/env python3
"""Many simulated nodes of erlmcp for a real Prometheus, from what a real node said.

`record` asks a node twice; `serve` answers as N nodes would: the same series, with
counters that grow as fast as they did between the two answers. Each node has a
loopback address of its own (Linux has a whole network of them), so the jobs of
prometheus.yml scrape and probe them as they are. Standard library only.
"""

from __future__ import annotations

import argparse
import asyncio
import ipaddress
import json
import random
import re
import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

SAMPLE = re.compile(r"(?P<series>[^\s{]+(?:\{.*\})?) (?P<value>\S+)")
TEXT = "text/plain; version=0.0.4; charset=utf-8"
# Nodes are not equally busy.
SLOWEST, FASTEST = 0.5, 1.5
HEALTH = "/health"
IDLE_SECONDS = 120


class Wrong(Exception):
    """What cannot be done, for the one who asked."""


@dataclass(frozen=True)
class Line:
    """A series of the template. Comments are series without a value."""

    text: str
    value: float = 0.0
    change: float = 0.0
    counts: bool = False
    comment: bool = False


class Page:
    """One path of a node, as text that depends on the node and the time."""

    def __init__(self, first: str, second: str, seconds: float) -> None:
        before = {text: value for text, value in map(_sample, first.splitlines()) if value is not None}
        kinds: dict[str, str] = {}
        self._lines: list[Line] = []
        for line in second.splitlines():
            if line.startswith("# TYPE "):
                _, _, name, kind = line.split(" ", 3)
                kinds[name] = kind
            series, value = _sample(line)
            if value is None:
                self._lines.append(Line(line, comment=True))
                continue
            name = re.split(r"[{ ]", series, maxsplit=1)[0]
            family = re.sub(r"_(bucket|sum|count)$", "", name)
            counts = kinds.get(name) == "counter" or (name != family and kinds.get(family) in ("histogram", "summary"))
            change = value - before.get(series, value)
            # A counter that fell is one of a node that was restarted.
            self._lines.append(Line(series, value, max(change, 0.0) / seconds if counts else change, counts))
        self.series = sum(not line.comment for line in self._lines)

    def text(self, node: int, elapsed: float) -> str:
        """What the node says so many seconds after the start."""
        pace = random.Random(node).uniform(SLOWEST, FASTEST)
        noise = random.Random(f"{node} {elapsed}")
        written = []
        for line in self._lines:
            if line.comment:
                written.append(line.text)
                continue
            value = line.value
            if line.counts:
                value += line.change * pace * elapsed
            elif line.change:
                value = max(0.0, value + line.change * noise.uniform(-1, 1)) if value >= 0 else value
            # A count of the template is one here: fractions would cost a TSDB more.
            if line.value.is_integer() and (line.counts or abs(line.change) >= 1):
                value = float(int(value))
            written.append(f"{line.text} {int(value) if value.is_integer() else round(value, 9)}")
        return "\n".join(written) + "\n"


def _sample(line: str) -> tuple[str, float | None]:
    found = None if line.startswith("#") else SAMPLE.fullmatch(line)
    if not found:
        return line, None
    value = float(found["value"])
    # NaN and infinities stay as they are: a comment is written unchanged.
    return (found["series"], value) if abs(value) < float("inf") else (line, None)


def _fetch(url: str) -> str:
    request = urllib.request.Request(url, headers={"Accept": "text/plain;version=0.0.4"})
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return str(response.read().decode())
    except (OSError, urllib.error.URLError) as error:
        raise Wrong(f"{url}: {error}") from error


def record(urls: Sequence[str], seconds: float, into: Path) -> None:
    """Asks a node twice and writes a template."""
    first = [_fetch(url) for url in urls]
    began = time.monotonic()
    time.sleep(seconds)
    second = [_fetch(url) for url in urls]
    pages = {urlsplit(url).path: [one, other] for url, one, other in zip(urls, first, second, strict=True)}
    into.write_text(json.dumps({"seconds": time.monotonic() - began, "pages": pages}), encoding="utf-8")
    for path, (_, text) in pages.items():
        series = sum(value is not None for _, value in map(_sample, text.splitlines()))
        print(f"{path}: {series} series, {len(text)} bytes")


def load(template: Path) -> dict[str, Page]:
    """The pages of a template."""
    try:
        read = json.loads(template.read_text(encoding="utf-8"))
        return {path: Page(first, second, read["seconds"]) for path, (first, second) in read["pages"].items()}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Wrong(f"{template} is no template (record one): {error}") from error


class Nodes:
    """The simulated nodes: one listener with an address for each."""

    def __init__(self, pages: dict[str, Page], addresses: Sequence[str]) -> None:
        self._pages = pages
        self._numbers = {address: number for number, address in enumerate(addresses)}
        self._began = time.monotonic()
        self.answered = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of HTTP/1.1, kept open."""
        node = self._numbers[writer.get_extra_info("sockname")[0]]
        try:
            while True:
                async with asyncio.timeout(IDLE_SECONDS):
                    head = await reader.readuntil(b"\r\n\r\n")
                path = head.split(b" ", 2)[1].split(b"?")[0].decode()
                status, body = self._body(node, path)
                writer.write(
                    f"HTTP/1.1 {status}\r\nContent-Type: {TEXT}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
                )
                await writer.drain()
                self.answered += 1
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError, OSError, IndexError):
            pass
        except asyncio.CancelledError:
            # The end of all: asyncio would complain of each connection that is cut.
            pass
        finally:
            writer.close()

    def _body(self, node: int, path: str) -> tuple[str, bytes]:
        if path == HEALTH:
            return "200 OK", b'{"status":"healthy"}\n'
        page = self._pages.get(path)
        if page is None:
            return "404 Not Found", b"no such page\n"
        return "200 OK", page.text(node, round(time.monotonic() - self._began, 3)).encode()


def addresses_of(network: str, nodes: int) -> list[str]:
    """One address a node, from the network's first on."""
    try:
        found = ipaddress.IPv4Network(network)
    except ValueError as error:
        raise Wrong(f"not a network: {network}") from error
    if not found.is_loopback:
        raise Wrong(f"{network} is not within 127.0.0.0/8")
    if nodes > found.num_addresses - 2:
        raise Wrong(f"{network} has no {nodes} addresses")
    return [str(found[number + 1]) for number in range(nodes)]


def targets(folder: Path, addresses: Sequence[str], port: int, paths: Sequence[str]) -> list[Path]:
    """Files for the jobs of prometheus.yml. JSON is YAML."""
    hosts = [f"{address}:{port}" for address in addresses]
    jobs = {"erlmcp_health": [f"http://{host}{HEALTH}" for host in hosts]}
    if "/metrics" in paths:
        jobs["erlmcp"] = hosts
    if "/metrics/custom" in paths:
        jobs["erlmcp_custom"] = hosts
    written = []
    for job, values in jobs.items():
        path = folder / f"{job}-load.yml"
        path.write_text(json.dumps([{"targets": values, "labels": {"environment": "production"}}]), encoding="utf-8")
        written.append(path)
    return written


async def serve(template: Path, nodes: int, network: str, port: int, folder: Path | None) -> None:
    """Until SIGTERM or Ctrl-C."""
    pages = load(template)
    addresses = addresses_of(network, nodes)
    simulated = Nodes(pages, addresses)
    done = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, done.set)
    try:
        server = await asyncio.start_server(simulated.answer, addresses, port, backlog=64)
    except OSError as error:
        raise Wrong(f"cannot listen: {error}") from error
    written = targets(folder, addresses, port, list(pages)) if folder else []
    try:
        size = " + ".join(f"{page.series} ({path})" for path, page in pages.items())
        print(f"{nodes} nodes at {addresses[0]}:{port} to {addresses[-1]}:{port}, {size} series each", flush=True)
        await done.wait()
    finally:
        # A target that is gone must not be waited for.
        for path in written:
            path.unlink(missing_ok=True)
        server.close()
    print(f"answered {simulated.answered} requests")


def main(words: Sequence[str]) -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(description="Many simulated nodes of erlmcp, from what a real one said.")
    commands = parser.add_subparsers(dest="command", required=True)
    asked = commands.add_parser("record", help="ask a running node twice and write a template")
    asked.add_argument("urls", nargs="+", metavar="URL", help="of /metrics, and of /metrics/custom")
    asked.add_argument("--seconds", type=float, default=15, help="between the two answers (15)")
    asked.add_argument("--into", type=Path, required=True, metavar="FILE")
    served = commands.add_parser("serve", help="answer as many nodes would, until Ctrl-C")
    served.add_argument("template", type=Path)
    served.add_argument("--nodes", type=int, default=20, help="how many (20)")
    served.add_argument("--network", default="127.1.0.0/16", help="whose addresses they have (127.1.0.0/16)")
    served.add_argument("--port", type=int, default=8080, help="of each (8080)")
    served.add_argument("--targets", type=Path, metavar="FOLDER", help="where Prometheus looks for targets; removed at the end")
    given = parser.parse_args(words)
    try:
        if given.command == "record":
            record(given.urls, given.seconds, given.into)
        else:
            asyncio.run(serve(given.template, given.nodes, given.network, given.port, given.targets))
    except Wrong as wrong:
        print(f"load_generator: {wrong}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
