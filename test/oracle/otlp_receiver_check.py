#!/usr/bin/env python3
"""Checks the strict receiver: that it takes what is right, refuses what is
wrong, and misbehaves as told. A receiver that accepts everything proves nothing.

Prints `ok NAME` or `FAILED NAME: WHY` for each check, and exits with 1 if any
failed.
"""

from __future__ import annotations

import argparse
import gzip
import http.client
import json
import os
import ssl
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics_service
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as trace_service
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc

import otlp_receiver
from otlp_requests import REQUEST, WRONG, metrics, span_of, traces
from otlp_rules import Limits, check
from otlp_services import Tls

Check = Callable[[], None]
CHECKS: dict[str, list[tuple[str, Check]]] = {}


def group(name: str) -> Callable[[Check], Check]:
    def add(run: Check) -> Check:
        CHECKS.setdefault(name, []).append((run.__name__, run))
        return run

    return add


@group("rules")
def takes_what_is_right() -> None:
    for signal, request in REQUEST.items():
        checked = check(signal, request().SerializeToString(), Limits())
        assert checked.violations == [], (signal, checked.violations)
        assert checked.canonical
    assert check("traces", traces(3).SerializeToString(), Limits()).records == 3


@group("rules")
def refuses_each_mistake() -> None:
    for signal, mistakes in WRONG.items():
        for name, said, change in mistakes:
            request = REQUEST[signal]()
            change(request)
            violations = check(signal, request.SerializeToString(), Limits()).violations
            assert any(said in violation for violation in violations), (signal, name, violations)


@group("rules")
def refuses_what_is_no_protobuf() -> None:
    body = traces().SerializeToString()
    for broken in (b"\xff", body[:-1], body + b"\x0a", body.replace("é\0".encode(), b"\xff\xfe\xfd")):
        assert broken != body
        assert check("traces", broken, Limits()).violations, broken
    # What says nothing is refused too: a request of another signal.
    assert check("traces", metrics().SerializeToString(), Limits()).violations


@group("rules")
def tells_a_longer_encoding() -> None:
    request = traces()
    assert check("traces", request.SerializeToString(), Limits()).canonical
    # Field 12, dropped_events_count, with its default written out.
    span = span_of(request).SerializeToString() + b"\x60\x00"
    group = request.resource_spans[0]
    group.scope_spans[0].ClearField("spans")
    scope = group.scope_spans[0].SerializeToString() + b"\x12" + _delimited(span)
    group.ClearField("scope_spans")
    body = b"\x0a" + _delimited(group.SerializeToString() + b"\x12" + _delimited(scope))
    checked = check("traces", body, Limits())
    assert checked.records == 1 and not checked.violations and not checked.canonical


def _delimited(body: bytes) -> bytes:
    size, out = len(body), bytearray()
    while size > 0x7F:
        out.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes(out) + bytes([size]) + body


@group("rules")
def keeps_to_the_limits_that_it_is_given() -> None:
    body = traces().SerializeToString()
    for limits in (
        Limits(attributes=6),
        Limits(events=0),
        Limits(links=0),
        Limits(event_attributes=0),
        Limits(link_attributes=0),
        Limits(value_length=1),
    ):
        assert check("traces", body, limits).violations, limits


# The servers


class Running:
    """A receiver in this process, and what one does with it."""

    def __init__(self, **options: Any) -> None:
        self.receiver, self.ports = otlp_receiver.start(**options)

    def control(self, path: str, post: bool = False) -> Any:
        separator = "&" if "?" in path else "?"
        url = f"http://127.0.0.1:{self.ports['control']}{path}{separator}format=json"
        with urllib.request.urlopen(urllib.request.Request(url, b"" if post else None), timeout=10) as answer:
            return json.loads(answer.read())

    def fault(self, query: str) -> None:
        assert self.control(f"/fault?{query}", post=True) == "ok"

    def received(self) -> Any:
        return self.control("/received")

    def grpc(self, request: Any, timeout: float = 10, **options: Any) -> Any:
        with grpc.insecure_channel(f"127.0.0.1:{self.ports['grpc']}") as channel:
            stub = trace_service_pb2_grpc.TraceServiceStub(channel)
            return stub.Export(request, timeout=timeout, **options)

    def http(
        self, body: bytes, path: str = "/v1/traces", headers: dict[str, str] | None = None, timeout: float = 10
    ) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.ports["http"], timeout=timeout)
        try:
            given = {"Content-Type": "application/x-protobuf", **(headers or {})}
            connection.request("POST", path, body, given)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()


def fails(code: grpc.StatusCode, call: Callable[[], Any]) -> grpc.RpcError:
    try:
        call()
    except grpc.RpcError as error:
        assert error.code() == code, error
        return error
    raise AssertionError(f"wanted {code}")


def breaks(call: Callable[[], Any]) -> None:
    try:
        call()
    except (OSError, http.client.HTTPException):
        return
    raise AssertionError("wanted a broken connection")


@group("servers")
def takes_every_signal_over_http() -> None:
    running = Running()
    for signal, request in REQUEST.items():
        status, headers, body = running.http(request().SerializeToString(), f"/v1/{signal}")
        assert (status, headers["Content-Type"], body) == (200, "application/x-protobuf", b"")
    received = running.received()
    assert received["records"] == {"traces": 1, "metrics": 4, "logs": 1}, received
    assert received["violations"] == []


@group("servers")
def takes_gzip() -> None:
    running = Running()
    body = traces(50).SerializeToString()
    packed = gzip.compress(body)
    assert running.http(packed, headers={"Content-Encoding": "gzip"})[0] == 200
    before = running.received()["ports"]["grpc"]["bytes_in"]
    running.grpc(traces(60), compression=grpc.Compression.Gzip)
    received = running.received()
    assert received["records"]["traces"] == 110
    assert received["spans"] == 60 and received["duplicate_spans"] == 50
    assert received["biggest_request"] == len(traces(60).SerializeToString())
    assert received["ports"]["grpc"]["bytes_in"] - before < received["biggest_request"] / 4
    records = running.control("/records?signal=traces&offset=49&limit=2")
    assert [r["request"]["compression"] for r in records] == ["gzip", "unknown"]


@group("servers")
def keeps_types() -> None:
    running = Running()
    running.grpc(traces())
    [record] = running.control("/records?signal=traces")
    assert record["attributes"] == {
        "text": {"string": "é\0"},
        "int": {"int": "-9223372036854775808"},
        "bool": {"bool": False},
        "double": {"double": -0.0},
        "bytes": {"bytes": "/wA="},
        "null": None,
        "map": {"map": {"list": {"array": [{"string": "x"}, {"int": "1"}]}}},
    }, record["attributes"]
    assert record["kind"] == "server" and record["status"] == {"error": "broken"}
    assert record["trace_id"] == "07" * 16 and record["parent_span_id"] == "09" * 8
    assert record["events"][0]["attributes"] == {"k": {"string": "v"}}
    assert record["links"][0]["flags"] == 0x301
    assert record["resource"]["attributes"] == {"service.name": {"string": "check"}}
    assert record["scope"]["name"] == "check"


@group("servers")
def refuses_in_words() -> None:
    running = Running()
    request = traces()
    span_of(request).span_id = bytes(8)
    error = fails(grpc.StatusCode.INVALID_ARGUMENT, lambda: running.grpc(request))
    assert "span id" in error.details()
    status, _, body = running.http(request.SerializeToString())
    assert status == 400 and b"span id" in body
    received = running.received()
    assert received["violation_count"] == 2 and received["records"]["traces"] == 0, received


@group("servers")
def is_strict_about_http() -> None:
    running = Running()
    body = traces().SerializeToString()
    assert running.http(body, headers={"Content-Type": "application/json"})[0] == 415
    assert running.http(body, headers={"Content-Encoding": "br"})[0] == 415
    assert running.http(body, headers={"Content-Encoding": "gzip"})[0] == 400
    assert running.http(body, "/v1/trace")[0] == 404
    assert running.http(body, "/v1/metrics")[0] == 400
    assert running.received()["records"] == {"traces": 0, "metrics": 0, "logs": 0}


@group("servers")
def wants_its_headers() -> None:
    running = Running(required_headers={"x-key": "s"})
    body = traces().SerializeToString()
    assert running.http(body)[0] == 401
    assert running.http(body, headers={"X-Key": "t"})[0] == 401
    assert running.http(body, headers={"X-Key": "s"})[0] == 200
    fails(grpc.StatusCode.UNAUTHENTICATED, lambda: running.grpc(traces()))
    running.grpc(traces(), metadata=[("x-key", "s")])
    assert running.received()["requests"]["traces"] == {"unauthenticated": 3, "accepted": 2}


@contextmanager
def certificates() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        at = Path(name)

        def openssl(*arguments: str) -> None:
            subprocess.run(["openssl", *arguments], cwd=at, check=True, capture_output=True)

        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=ca", "-days", "2")
        for who in ("server", "client"):
            (at / "ext").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
            openssl("req", *key, "-keyout", f"{who}.key", "-out", f"{who}.csr", "-subj", f"/CN={who}")
            sign = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "ext"]
            openssl("x509", "-req", "-in", f"{who}.csr", *sign, "-out", f"{who}.pem")
        yield at


@group("servers")
def speaks_tls_and_mutual_tls() -> None:
    with certificates() as at:
        server = (at / "server.pem", at / "server.key")
        for mutual in (False, True):
            running = Running(tls=Tls(*server, at / "ca.pem" if mutual else None))
            for with_certificate in (False, True):
                allowed = with_certificate or not mutual
                pair = (at / "client.key", at / "client.pem") if with_certificate else None
                assert _over_tls(running, at / "ca.pem", pair) == (allowed, allowed), (mutual, pair)
            expected = 2 if mutual else 4
            assert running.received()["records"]["traces"] == expected
            breaks(lambda: running.http(traces().SerializeToString()))


def _over_tls(running: Running, ca: Path, pair: tuple[Path, Path] | None) -> tuple[bool, bool]:
    body = traces().SerializeToString()
    key, certificate = (path.read_bytes() for path in pair) if pair else (None, None)
    credentials = grpc.ssl_channel_credentials(ca.read_bytes(), key, certificate)
    with grpc.secure_channel(f"localhost:{running.ports['grpc']}", credentials) as channel:
        try:
            trace_service_pb2_grpc.TraceServiceStub(channel).Export(traces(), timeout=5)
            over_grpc = True
        except grpc.RpcError:
            over_grpc = False
    context = ssl.create_default_context(cafile=str(ca))
    if pair:
        context.load_cert_chain(pair[1], pair[0])
    connection = http.client.HTTPSConnection("localhost", running.ports["http"], timeout=5, context=context)
    try:
        connection.request("POST", "/v1/traces", body, {"Content-Type": "application/x-protobuf"})
        over_http = connection.getresponse().status == 200
    except OSError:
        over_http = False
    finally:
        connection.close()
    return over_grpc, over_http


# Faults


@group("faults")
def answers_a_status_for_some_requests() -> None:
    running = Running()
    body = traces().SerializeToString()
    running.fault("kind=status&code=503&retry_after=2&requests=2")
    for _ in range(2):
        status, headers, _ = running.http(body)
        assert (status, headers["Retry-After"]) == (503, "2")
    assert running.http(body)[0] == 200
    assert running.received()["requests"]["traces"] == {"status": 2, "accepted": 1}


@group("faults")
def answers_a_grpc_status_with_retry_info() -> None:
    running = Running()
    running.fault("kind=grpc&code=RESOURCE_EXHAUSTED&retry_delay_ms=1500&requests=1")
    error = fails(grpc.StatusCode.RESOURCE_EXHAUSTED, lambda: running.grpc(traces()))
    details = dict(error.trailing_metadata())["grpc-status-details-bin"]
    # RetryInfo with a Duration of 1 s and 500 000 000 ns.
    assert b"google.rpc.RetryInfo" in details
    assert details.endswith(b"\x0a\x08\x08\x01\x10\x80\xca\xb5\xee\x01"), details
    running.grpc(traces())
    running.fault("kind=grpc&code=UNAVAILABLE&requests=1")
    error = fails(grpc.StatusCode.UNAVAILABLE, lambda: running.grpc(traces()))
    assert "grpc-status-details-bin" not in dict(error.trailing_metadata())


@group("faults")
def closes_and_opens_its_ports() -> None:
    running = Running()
    body = traces().SerializeToString()
    running.grpc(traces())
    running.fault("kind=down")
    breaks(lambda: running.http(body))
    fails(grpc.StatusCode.UNAVAILABLE, lambda: running.grpc(traces(), timeout=2))
    running.fault("kind=ok")
    assert running.http(body)[0] == 200
    running.grpc(traces())


@group("faults")
def is_silent() -> None:
    running = Running()
    running.fault("kind=silent")
    breaks(lambda: running.http(traces().SerializeToString(), timeout=0.5))
    fails(grpc.StatusCode.DEADLINE_EXCEEDED, lambda: running.grpc(traces(), timeout=0.5))
    running.fault("kind=ok")
    running.grpc(traces())
    assert running.received()["records"]["traces"] == 1


@group("faults")
def closes_in_the_middle() -> None:
    running = Running()
    for when, kept in (("before", 0), ("after", 2)):
        running.fault(f"kind=close&when={when}&requests=2")
        breaks(lambda: running.http(traces().SerializeToString()))
        fails(grpc.StatusCode.UNAVAILABLE, lambda: running.grpc(traces()))
        received = running.received()
        assert received["records"]["traces"] == kept
        assert received["unanswered_spans"] == min(kept, 1), received
    assert running.http(traces().SerializeToString())[0] == 200
    assert running.received()["unanswered_spans"] == 0


@group("faults")
def is_asked_again() -> None:
    """Whoever sends a span a second time has had no answer to the first."""
    running = Running()
    for fault in ("kind=grpc&code=INVALID_ARGUMENT", "kind=status&code=503", "kind=close&when=before", "kind=max_bytes&n=1"):
        running.grpc(traces())
        assert running.received()["unanswered_spans"] == 0
        running.fault(f"{fault}&requests=1")
        try:
            running.grpc(traces())
        except grpc.RpcError:
            pass
        else:
            raise AssertionError(f"{fault}: not refused")
        assert running.received()["unanswered_spans"] == 1, fault
    running.grpc(traces())
    running.fault("kind=partial&n=1&requests=1")
    running.grpc(traces())
    assert running.received()["unanswered_spans"] == 1
    assert running.received()["spans"] == 1


@group("faults")
def is_slow() -> None:
    running = Running()
    running.fault("kind=slow&ms=300&requests=2")
    begin = time.monotonic()
    running.grpc(traces())
    running.http(traces().SerializeToString())
    assert 0.6 <= time.monotonic() - begin < 5
    begin = time.monotonic()
    running.grpc(traces())
    assert time.monotonic() - begin < 0.3


@group("faults")
def accepts_a_part() -> None:
    running = Running()
    running.fault("kind=partial&n=3&message=three")
    response = running.grpc(traces(5))
    assert response.partial_success.rejected_spans == 3
    assert response.partial_success.error_message == "three"
    status, _, body = running.http(traces(5).SerializeToString())
    parsed = trace_service.ExportTraceServiceResponse.FromString(body)
    assert status == 200 and parsed == response
    assert running.received()["records"]["traces"] == 4
    running.fault("kind=partial&n=0&message=beware")
    assert running.grpc(traces(1)).partial_success.error_message == "beware"
    assert running.received()["records"]["traces"] == 5
    running.fault("kind=partial&n=2")
    body = running.http(metrics().SerializeToString(), "/v1/metrics")[2]
    parsed = metrics_service.ExportMetricsServiceResponse.FromString(body)
    assert parsed.partial_success.rejected_data_points == 2


@group("faults")
def refuses_large_requests() -> None:
    running = Running()
    running.fault(f"kind=max_bytes&n={len(traces(2).SerializeToString())}")
    running.grpc(traces(2))
    fails(grpc.StatusCode.RESOURCE_EXHAUSTED, lambda: running.grpc(traces(3)))
    assert running.http(traces(3).SerializeToString())[0] == 413
    assert running.http(traces(1).SerializeToString())[0] == 200


@group("faults")
def answers_nonsense() -> None:
    running = Running()
    running.fault("kind=bad_body")
    status, _, body = running.http(traces().SerializeToString())
    assert status == 200
    try:
        trace_service.ExportTraceServiceResponse.FromString(body)
    except DecodeError:
        return
    raise AssertionError("that is protobuf")


@group("faults")
def works_a_script_off() -> None:
    running = Running()
    running.fault("kind=status&code=429&requests=1")
    running.fault("kind=status&code=502&requests=1&then=1")
    running.fault("kind=status&code=400&requests=1&signal=metrics&then=1")
    body = traces().SerializeToString()
    assert [running.http(body)[0] for _ in range(3)] == [429, 502, 200]
    assert running.http(metrics().SerializeToString(), "/v1/metrics")[0] == 400


@group("faults")
def knows_what_a_fault_is() -> None:
    running = Running()
    for query in ("kind=slow", "kind=tired", "kind=slow&ms=x", "kind=down&requests=1", "kind=close&n=1", ""):
        try:
            running.fault(query)
        except urllib.error.HTTPError as error:
            assert error.code == 400
        else:
            raise AssertionError(query)


# How fast


@group("speed")
def is_fast_enough() -> None:
    running = Running()
    request = traces(500)
    batches = 40
    for number in range(batches):
        for position, span in enumerate(request.resource_spans[0].scope_spans[0].spans):
            span.span_id = (number * 500 + position + 1).to_bytes(8, "big")
    begin = time.monotonic()
    with grpc.insecure_channel(f"127.0.0.1:{running.ports['grpc']}") as channel:
        export = trace_service_pb2_grpc.TraceServiceStub(channel).Export.future
        for answer in [export(request) for _ in range(batches)]:
            answer.result(60)
    seconds = time.monotonic() - begin
    print(f"   {batches * 500 / seconds:.0f} spans a second, sender and receiver in one process")
    assert running.received()["records"]["traces"] == batches * 500
    # Far below what it does: a machine can be busy.
    assert batches * 500 / seconds > 1000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"of {', '.join(CHECKS)}; default: all")
    given = parser.parse_args()
    unknown = set(given.groups) - set(CHECKS)
    if unknown:
        parser.error(f"no group {', '.join(unknown)}")
    failed = 0
    for name in given.groups or CHECKS:
        for title, run in CHECKS[name]:
            try:
                run()
                print(f"ok {title}", flush=True)
            except Exception:
                failed += 1
                print(f"FAILED {title}: {traceback.format_exc()}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    # Ended by hand: the servers' threads still wait.
    status = main()
    sys.stdout.flush()
    os._exit(status)
