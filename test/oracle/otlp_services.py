"""The servers behind the receiver's ports: OTLP over gRPC and over HTTP."""

from __future__ import annotations

import gzip
import hmac
import http.server
import itertools
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Mapping
from concurrent import futures
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration

from otlp_faults import Fault, Script
from otlp_front import Front
from otlp_rules import REJECTED, RESPONSES, Limits, check
from otlp_store import Store
from otlp_terms import Atom

# A request that is bigger than this is a mistake, not a batch.
MOST_BYTES = 64 << 20
HTTP_PATHS = {"/v1/traces": "traces", "/v1/metrics": "metrics", "/v1/logs": "logs"}
GRPC_SERVICES = {
    f"opentelemetry.proto.collector.{package}.v1.{name}Service": signal
    for signal, package, name in (
        ("traces", "trace", "Trace"),
        ("metrics", "metrics", "Metrics"),
        ("logs", "logs", "Logs"),
    )
}
NOT_PROTOBUF = b"\xff\xfe not protobuf"


@dataclass
class Tls:
    certificate: Path
    key: Path
    # Wanted of clients, if given.
    client_ca: Path | None = None


@dataclass
class Receiver:
    """What both servers share: one request in, one verdict out."""

    store: Store
    script: Script
    limits: Limits
    required_headers: dict[str, str] = field(default_factory=dict)
    front: Front | None = None
    numbers: Any = field(default_factory=lambda: itertools.count(1))

    def authorized(self, headers: Mapping[str, str]) -> bool:
        return all(
            hmac.compare_digest(headers.get(name, "").encode(), value.encode())
            for name, value in self.required_headers.items()
        )

    def judge(self, signal: str, body: bytes, protocol: str, compressed: str, headers: Mapping[str, str]) -> Verdict:
        """What becomes of a request, before anything is answered."""
        agent = headers.get("user-agent", "")

        def verdict(outcome: str, *arguments: Any) -> Verdict:
            self.store.answered(signal, outcome, len(body), agent)
            return Verdict(outcome, *arguments)

        if not self.authorized(headers):
            return verdict("unauthenticated")
        fault = self.script.next(signal)
        after = fault.text("when") == "after"
        if fault.kind == "slow" and not after:
            time.sleep(fault.number("ms") / 1000)
        checked = check(signal, body, self.limits)
        if fault.kind in ("status", "grpc") or (fault.kind == "close" and not after):
            self.store.refuse(signal, checked.message)
            return verdict(fault.kind, fault)
        if fault.kind == "max_bytes" and len(body) > fault.number("n"):
            self.store.refuse(signal, checked.message)
            return verdict("too_large", fault)
        if checked.violations:
            self.store.violated(checked.violations)
            return verdict("invalid", fault, None, checked.violations)
        rejected = min(fault.number("n"), checked.records) if fault.kind == "partial" else 0
        source = {
            Atom("number"): next(self.numbers),
            Atom("protocol"): Atom(protocol),
            Atom("compression"): Atom(compressed),
            Atom("bytes"): len(body),
            Atom("canonical"): checked.canonical,
        }
        will_answer = not (after and fault.kind in ("close", "slow"))
        kept = checked.records - rejected
        self.store.accept(signal, checked.message, kept, source, will_answer)
        self.store.refuse(signal, checked.message, kept)
        if fault.kind == "slow" and after:
            time.sleep(fault.number("ms") / 1000)
        if fault.kind == "close":
            return verdict("close", fault)
        response = RESPONSES[signal]()
        if fault.kind == "partial":
            setattr(response.partial_success, REJECTED[signal], rejected_points(signal, checked.message, rejected))
            response.partial_success.error_message = fault.text("message", "as the test wanted")
        body_of_response = NOT_PROTOBUF if fault.kind == "bad_body" else response.SerializeToString()
        outcome = "accepted" if fault.kind in ("ok", "max_bytes", "slow") else fault.kind
        return verdict(outcome, fault, body_of_response)


def rejected_points(signal: str, message: Any, records: int) -> int:
    """What the last records are in the unit of a partial success: data points."""
    if signal != "metrics" or records == 0:
        return records
    metrics = [m for r in message.resource_metrics for s in r.scope_metrics for m in s.metrics]
    return sum(len(getattr(metric, metric.WhichOneof("data")).data_points) for metric in metrics[-records:])


@dataclass
class Verdict:
    outcome: str
    fault: Fault | None = None
    response: bytes | None = None
    violations: list[str] = field(default_factory=list)


def rpc_status(code: int, message: str, retry_delay_ms: int | None = None) -> bytes:
    """google.rpc.Status, whose Python package is not worth a dependency."""
    parts = [b"\x08" + _varint(code) if code else b"", _delimited(2, message.encode())]
    if retry_delay_ms is not None:
        delay = Duration(seconds=retry_delay_ms // 1000, nanos=retry_delay_ms % 1000 * 1_000_000)
        info = AnyMessage(
            type_url="type.googleapis.com/google.rpc.RetryInfo", value=_delimited(1, delay.SerializeToString())
        )
        parts.append(_delimited(3, info.SerializeToString()))
    return b"".join(parts)


def _delimited(number: int, body: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(body)) + body


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


# gRPC


class GrpcService(grpc.GenericRpcHandler):
    """Takes requests as bytes: what cannot be parsed is to be refused in words."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        service, _, method = details.method.lstrip("/").partition("/")
        signal = GRPC_SERVICES.get(service)
        if signal is None or method != "Export":
            return None
        return grpc.unary_unary_rpc_method_handler(
            lambda body, context: self._export(signal, body, context),
        )

    def _export(self, signal: str, body: bytes, context: grpc.ServicerContext) -> bytes:
        headers = {
            key: value if isinstance(value, str) else value.hex() for key, value in context.invocation_metadata()
        }
        verdict = self._receiver.judge(signal, body, "grpc", "unknown", headers)
        fault = verdict.fault
        if verdict.response is not None:
            return verdict.response
        if verdict.outcome == "unauthenticated":
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "a required header is missing or wrong")
        if verdict.outcome == "invalid":
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "; ".join(verdict.violations)[:1000])
        if verdict.outcome == "too_large":
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"{len(body)} bytes are too many")
        if verdict.outcome == "close":
            # ipv4:127.0.0.1:PORT, the front's end of the connection.
            self._receiver.front.reset_connection("grpc", int(context.peer().rpartition(":")[2]))
            context.abort(grpc.StatusCode.INTERNAL, "the connection is gone")
        code = _status_code(fault)
        delay = fault.text("retry_delay_ms") or _milliseconds(fault.text("retry_after"))
        if delay:
            details = rpc_status(code.value[0], "as the test wanted", int(delay))
            context.set_trailing_metadata((("grpc-status-details-bin", details),))
        context.abort(code, "as the test wanted")


def _status_code(fault: Fault) -> grpc.StatusCode:
    """An HTTP status is answered as the gRPC status that means the same."""
    if fault.kind == "grpc":
        return grpc.StatusCode[fault.text("code")]
    return {
        400: grpc.StatusCode.INVALID_ARGUMENT,
        401: grpc.StatusCode.UNAUTHENTICATED,
        403: grpc.StatusCode.PERMISSION_DENIED,
        404: grpc.StatusCode.UNIMPLEMENTED,
        429: grpc.StatusCode.RESOURCE_EXHAUSTED,
        502: grpc.StatusCode.UNAVAILABLE,
        503: grpc.StatusCode.UNAVAILABLE,
        504: grpc.StatusCode.UNAVAILABLE,
    }.get(fault.number("code"), grpc.StatusCode.UNKNOWN)


def _milliseconds(retry_after: str) -> str:
    return str(int(retry_after) * 1000) if retry_after.isdigit() else ""


def start_grpc(receiver: Receiver, tls: Tls | None, workers: int) -> tuple[grpc.Server, int]:
    server = grpc.server(
        futures.ThreadPoolExecutor(workers, thread_name_prefix="grpc"),
        handlers=[GrpcService(receiver)],
        options=[
            ("grpc.max_receive_message_length", MOST_BYTES),
            # Two on one port is a mistake.
            ("grpc.so_reuseport", 0),
        ],
    )
    if tls is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        credentials = grpc.ssl_server_credentials(
            [(tls.key.read_bytes(), tls.certificate.read_bytes())],
            root_certificates=tls.client_ca.read_bytes() if tls.client_ca else None,
            require_client_auth=tls.client_ca is not None,
        )
        port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    return server, port


# HTTP


class HttpServer(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256
    receiver: Receiver
    context: ssl.SSLContext | None = None

    def finish_request(self, request: Any, client_address: Any) -> None:
        # The handshake is in the connection's own thread.
        request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.context is not None:
            request.settimeout(30)
            request = self.context.wrap_socket(request, server_side=True)
            request.settimeout(None)
        super().finish_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Broken connections are what this receiver is for."""


class RefusedRequest(Exception):
    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class HttpHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: HttpServer

    def do_POST(self) -> None:
        try:
            signal = HTTP_PATHS.get(self.path)
            body, compressed = self._body()
            if signal is None:
                raise RefusedRequest(404, f"no {self.path}")
        except RefusedRequest as refused:
            self.server.receiver.store.violated([f"HTTP {refused.status}: {refused}"])
            self.close_connection = True
            return self._answer(refused.status, rpc_status(3, str(refused)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self._judged(self.server.receiver.judge(signal, body, "http", compressed, headers))

    def do_GET(self) -> None:
        self._answer(405, rpc_status(3, "POST only"), {"Allow": "POST"})

    def _judged(self, verdict: Verdict) -> None:
        fault = verdict.fault
        if verdict.response is not None:
            return self._answer(200, verdict.response)
        if verdict.outcome == "close":
            port = self.client_address[1]
            self.close_connection = True
            return self.server.receiver.front.reset_connection("http", port)
        if verdict.outcome == "unauthenticated":
            return self._answer(401, rpc_status(16, "a required header is missing or wrong"))
        if verdict.outcome == "invalid":
            return self._answer(400, rpc_status(3, "; ".join(verdict.violations)[:1000]))
        if verdict.outcome == "too_large":
            return self._answer(413, rpc_status(8, "too large"))
        headers = {}
        if fault.kind == "grpc":
            status = {"UNAVAILABLE": 503, "RESOURCE_EXHAUSTED": 429, "INVALID_ARGUMENT": 400}.get(
                fault.text("code"), 500
            )
            if fault.text("retry_delay_ms"):
                headers["Retry-After"] = str(-(-fault.number("retry_delay_ms") // 1000))
        else:
            status = fault.number("code")
            if fault.text("retry_after"):
                headers["Retry-After"] = fault.text("retry_after")
        self._answer(status, rpc_status(14, "as the test wanted"), headers)

    def _body(self) -> tuple[bytes, str]:
        body = self._raw_body()
        if self.headers.get("Content-Type") != "application/x-protobuf":
            raise RefusedRequest(415, f"content type {self.headers.get('Content-Type')}")
        encoding = self.headers.get("Content-Encoding")
        if encoding is None:
            return body, "none"
        if encoding != "gzip":
            raise RefusedRequest(415, f"content encoding {encoding}")
        try:
            return gzip.decompress(body), "gzip"
        except (OSError, EOFError, zlib.error) as error:
            raise RefusedRequest(400, f"not gzip: {error}") from None

    def _raw_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            return self._chunks()
        length = self.headers.get("Content-Length", "")
        if not length.isdigit():
            raise RefusedRequest(411, "no content length")
        if int(length) > MOST_BYTES:
            raise RefusedRequest(413, "too large")
        return self._exactly(int(length))

    def _chunks(self) -> bytes:
        parts, total = [], 0
        while size := int(self.rfile.readline(32).split(b";")[0], 16):
            total += size
            if total > MOST_BYTES:
                raise RefusedRequest(413, "too large")
            parts.append(self._exactly(size))
            self.rfile.readline(8)
        while self.rfile.readline(1024).strip():
            pass
        return b"".join(parts)

    def _exactly(self, size: int) -> bytes:
        body = self.rfile.read(size)
        if len(body) < size:
            raise ConnectionResetError("the body ends early")
        return body

    def _answer(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, *_: Any) -> None:
        pass


def start_http(receiver: Receiver, tls: Tls | None) -> tuple[HttpServer, int]:
    server = HttpServer(("127.0.0.1", 0), HttpHandler)
    server.receiver = receiver
    if tls is not None:
        server.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.context.load_cert_chain(tls.certificate, tls.key)
        server.context.set_alpn_protocols(["http/1.1"])
        if tls.client_ca is not None:
            server.context.verify_mode = ssl.CERT_REQUIRED
            server.context.load_verify_locations(tls.client_ca)
    threading.Thread(target=server.serve_forever, name="http", daemon=True).start()
    return server, server.server_address[1]
