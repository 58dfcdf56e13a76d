"""What stands in for Slack, PagerDuty, SNS, webhooks and the mail server."""

from __future__ import annotations

import asyncio
import email.message
import email.policy
import json
import ssl
import subprocess
import threading
import time
import urllib.parse
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Callable, TypeVar

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

T = TypeVar("T")

# Ends a test that hangs; what is waited for comes within seconds.
PATIENCE = 60.0


@dataclass(frozen=True)
class Request:
    """A request as it came over the wire."""

    path: str
    headers: dict[str, str]
    body: bytes
    at: float

    def json(self) -> Any:
        return json.loads(self.body)

    def form(self) -> dict[str, str]:
        return dict(urllib.parse.parse_qsl(self.body.decode(), keep_blank_values=True))


PUBLISHED = b"""<PublishResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/">
<PublishResult><MessageId>00000000-0000-0000-0000-000000000000</MessageId></PublishResult>
<ResponseMetadata><RequestId>00000000-0000-0000-0000-000000000001</RequestId></ResponseMetadata>
</PublishResponse>"""

# How each service answers what it has taken.
ANSWERS: dict[str, tuple[int, str, bytes]] = {
    "slack": (200, "text/plain", b"ok"),
    "pagerduty": (202, "application/json", b'{"status":"success","message":"Event processed"}'),
    "sns": (200, "text/xml", PUBLISHED),
    "webhook": (200, "text/plain", b""),
}


class HttpSink:
    """Takes requests under /slack, /pagerduty, /sns and /webhook, and keeps them."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self._arrived = threading.Condition()
        sink = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                with sink._arrived:
                    sink.requests.append(Request(self.path, dict(self.headers), body, time.monotonic()))
                    sink._arrived.notify_all()
                status, kind, answer = ANSWERS[self.path.split("/")[1]]
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def matching(self, path: str, text: str) -> list[Request]:
        with self._arrived:
            found = list(self.requests)
        return [r for r in found if r.path.startswith(path) and text.encode() in r.body]

    def wait(self, path: str, text: str, count: int = 1, timeout: float = PATIENCE) -> list[Request]:
        """Waits until so many requests to the path have the text in their body."""
        return wait_for(lambda: self.matching(path, text), count, timeout, f"{path} with {text!r}")

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def wait_for(look: Callable[[], list[T]], count: int, timeout: float, what: str) -> list[T]:
    """What `look` finds, as soon as that is so much."""
    end = time.monotonic() + timeout
    while True:
        found = look()
        if len(found) >= count:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"{what}: {len(found)} of {count} within {timeout} s")
        time.sleep(0.05)


@dataclass
class Mail:
    """A delivered message, and how its sender came in."""

    sender: str
    recipients: list[str]
    tls: bool
    login: str
    message: email.message.EmailMessage
    at: float

    @property
    def subject(self) -> str:
        return str(self.message["Subject"])

    def part(self, kind: str) -> str:
        part = self.message.get_body((kind,))
        assert part is not None, f"no {kind} part"
        return str(part.get_content())


@dataclass
class SmtpSink:
    """A mail server that wants STARTTLS and a password."""

    folder: Path
    user: str
    password: str
    mails: list[Mail] = field(default_factory=list)

    def start(self) -> None:
        key, self.certificate = self.folder / "smtp.key", self.folder / "smtp.crt"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
             "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1",
             "-keyout", str(key), "-out", str(self.certificate)],
            check=True, capture_output=True,
        )  # fmt: skip
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, key)
        sink = self

        class Handler:
            async def handle_DATA(self, _server: SMTP, session: Session, envelope: Envelope) -> str:
                message = email.message_from_bytes(envelope.content or b"", policy=email.policy.default)
                assert isinstance(message, email.message.EmailMessage)
                login = session.auth_data.decode() if session.auth_data else ""
                sink.mails.append(
                    Mail(
                        envelope.mail_from or "", list(envelope.rcpt_tos), session.ssl is not None, login, message,
                        time.monotonic(),
                    )
                )
                return "250 OK"

        def authenticate(_server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, data: Any) -> AuthResult:
            good = isinstance(data, LoginPassword) and (data.login, data.password) == (
                sink.user.encode(),
                sink.password.encode(),
            )
            return AuthResult(success=good, handled=False, auth_data=data.login if good else None)

        class StartTls(Controller):
            def factory(self) -> SMTP:
                return SMTP(
                    self.handler,
                    tls_context=context,
                    require_starttls=True,
                    auth_required=True,
                    authenticator=authenticate,
                    # Its prompts for LOGIN are not those that Alertmanager knows.
                    auth_exclude_mechanism=["LOGIN"],
                    enable_SMTPUTF8=True,
                    loop=self.loop,
                )

            def _trigger_server(self) -> None:
                # Controller wants to connect to the port; 0 becomes one only now.
                assert isinstance(self.server, asyncio.Server)
                self.port = self.server.sockets[0].getsockname()[1]
                super()._trigger_server()

        self._controller = StartTls(Handler(), hostname="127.0.0.1", port=0, loop=asyncio.new_event_loop())
        self._controller.start()
        self.port: int = self._controller.port

    def wait(self, text: str, count: int = 1, timeout: float = PATIENCE) -> list[Mail]:
        """Waits until so many mails have the text in their HTML or subject."""
        return wait_for(
            lambda: [m for m in list(self.mails) if text in m.subject or text in m.part("html")],
            count,
            timeout,
            f"mail with {text!r}",
        )

    def stop(self) -> None:
        self._controller.stop()
