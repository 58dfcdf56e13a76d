#!/usr/bin/env python3
"""A strict OTLP receiver for traces, metrics and logs, over gRPC and over HTTP
with protobuf, on opentelemetry-proto and grpcio.

It refuses what the protocol does not allow (see otlp_rules.py), keeps what it
accepts, and misbehaves when told to (see otlp_faults.py).

Writes one line of JSON with its ports, {"grpc": N, "http": N, "control": N}, and
runs until its standard input ends. On the control port:

    GET  /received                  counts and violations
    GET  /records?signal=traces     records from `offset`, at most `limit`
    POST /fault?kind=KIND&...       replaces the faults; `then=1` adds one
    POST /forget                    as if it had just started

Answers are in Erlang's external term format, in JSON with `format=json`.
"""

from __future__ import annotations

import argparse
import http.server
import json
import os
import sys
import threading
import urllib.parse
from pathlib import Path
from typing import Any

import otlp_faults
import otlp_terms
from otlp_faults import OK, BadFault
from otlp_front import Front
from otlp_rules import SIGNALS, Limits
from otlp_services import Receiver, Tls, start_grpc, start_http
from otlp_store import Store
from otlp_terms import Atom

MOST_RECORDS = 1_000_000


class Control(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body in one write: two on a kept connection wait 40 ms for each other.
    wbufsize = -1
    receiver: Receiver

    def do_GET(self) -> None:
        path, query = self._target()
        if path == "/received":
            self._answer(200, self._counts(), query)
        elif path == "/records" and query.get("signal") in SIGNALS:
            offset, limit = int(query.get("offset", 0)), int(query.get("limit", MOST_RECORDS))
            self._answer(200, self.receiver.store.records(query["signal"], offset, limit), query)
        else:
            self._answer(404, f"no {self.path}", query)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path, query = self._target()
        if path == "/forget":
            self._set([])
            self.receiver.store.forget()
            self._answer(200, Atom("ok"), query)
        elif path == "/fault":
            given = {name: value for name, value in query.items() if name not in ("format", "then")}
            try:
                fault = otlp_faults.read_fault(given)
            except BadFault as error:
                return self._answer(400, str(error), query)
            if "then" in query:
                if fault.kind in otlp_faults.OF_THE_FRONT:
                    return self._answer(400, f"{fault.kind} is not counted in requests", query)
                self.receiver.script.append(fault)
            else:
                self._set([] if fault.kind == "ok" else [fault])
            self._answer(200, Atom("ok"), query)
        else:
            self._answer(404, f"no {self.path}", query)

    def _set(self, faults: list[otlp_faults.Fault]) -> None:
        kind = faults[0].kind if faults else OK.kind
        self.receiver.script.replace([fault for fault in faults if kind not in otlp_faults.OF_THE_FRONT])
        front = self.receiver.front
        if kind == "down":
            front.down()
        elif kind == "silent":
            front.silence()
        else:
            front.up()

    def _counts(self) -> dict[Atom, Any]:
        counts = self.receiver.store.counts()
        counts[Atom("faults")] = [(Atom(kind), n) for kind, n in self.receiver.script.left()]
        counts[Atom("ports")] = {
            Atom(door.name): {
                Atom("connections"): door.connections,
                Atom("open"): len(door.open),
                # As they came over the wire: compressed, encrypted.
                Atom("bytes_in"): door.bytes_in,
                Atom("bytes_out"): door.bytes_out,
            }
            for door in list(self.receiver.front.doors.values())
        }
        return counts

    def _target(self) -> tuple[str, dict[str, str]]:
        url = urllib.parse.urlsplit(self.path)
        return url.path, dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))

    def _answer(self, status: int, term: Any, query: dict[str, str]) -> None:
        as_json = query.get("format") == "json"
        body = otlp_terms.to_json(term).encode() if as_json else otlp_terms.to_external(term)
        self.send_response(status)
        self.send_header("Content-Type", "application/json" if as_json else "application/vnd.erlang.external")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


class ControlServer(http.server.ThreadingHTTPServer):
    daemon_threads = True


def start(
    *,
    tls: Tls | None = None,
    required_headers: dict[str, str] | None = None,
    limits: Limits | None = None,
    keep: bool = True,
    workers: int = 16,
    grpc_port: int = 0,
    http_port: int = 0,
    control_port: int = 0,
) -> tuple[Receiver, dict[str, int]]:
    """A running receiver and its ports."""
    receiver = Receiver(Store(keep), otlp_faults.Script(), limits or Limits(), required_headers or {})
    grpc_server, behind_grpc = start_grpc(receiver, tls, workers)
    _, behind_http = start_http(receiver, tls)
    receiver.front = Front(
        {"grpc": behind_grpc, "http": behind_http}, {"grpc": grpc_port, "http": http_port}
    )
    # A server that nobody refers to any more stops.
    receiver.grpc_server = grpc_server  # type: ignore[attr-defined]
    handler = type("Control", (Control,), {"receiver": receiver})
    control = ControlServer(("127.0.0.1", control_port), handler)
    threading.Thread(target=control.serve_forever, name="control", daemon=True).start()
    ports = {name: door.port for name, door in receiver.front.doors.items()}
    return receiver, {**ports, "control": control.server_address[1]}


def header(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is no NAME=VALUE")
    return name.lower(), value


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("grpc", "http", "control"):
        parser.add_argument(f"--{name}-port", type=int, default=0, help="default: a free one")
    parser.add_argument("--tls-certificate", type=Path, help="PEM; TLS on both ports")
    parser.add_argument("--tls-key", type=Path)
    parser.add_argument("--tls-client-ca", type=Path, help="clients need a certificate of this CA")
    parser.add_argument("--require-header", type=header, action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--count-only", action="store_true", help="keep no records")
    parser.add_argument("--workers", type=int, default=16, help="gRPC requests at once")
    for limit in ("attributes", "events", "links", "event-attributes", "link-attributes", "value-length"):
        parser.add_argument(f"--max-{limit}", type=int, help="as the exporter is configured")
    given = parser.parse_args()
    if (given.tls_certificate is None) != (given.tls_key is None):
        parser.error("a certificate and its key go together")
    limits = Limits()
    for name in vars(limits):
        if (value := getattr(given, f"max_{name}")) is not None:
            setattr(limits, name, value)
    _, ports = start(
        tls=Tls(given.tls_certificate, given.tls_key, given.tls_client_ca) if given.tls_certificate else None,
        required_headers=dict(given.require_header),
        limits=limits,
        keep=not given.count_only,
        workers=given.workers,
        grpc_port=given.grpc_port,
        http_port=given.http_port,
        control_port=given.control_port,
    )
    print(json.dumps(ports), flush=True)
    # Ends with whoever started it.
    while sys.stdin.buffer.read(4096):
        pass
    return 0


if __name__ == "__main__":
    # Threads that wait for a client would hold the exit up.
    status = main()
    sys.stdout.flush()
    import os

    os._exit(status)
