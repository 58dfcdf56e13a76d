"""Slack and a mail server for a test: each takes everything. Prints their two ports,
then a line for each message, until it is ended."""

import http.server
import threading
import time

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session


class Slack(http.server.BaseHTTPRequestHandler):
    """An incoming webhook."""

    def do_POST(self) -> None:  # noqa: N802 (http.server's name)
        """Says what Slack says."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"ok")
        print(f"slack {self.path}", flush=True)

    def log_message(self, *_: object) -> None:
        """Nothing of its own."""


class Mail:
    """A mail server's end."""

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Takes it."""
        print(f"mail {envelope.rcpt_tos[0]}", flush=True)
        return "250 taken"


slack = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Slack)
threading.Thread(target=slack.serve_forever, daemon=True).start()
mail = Controller(Mail(), hostname="127.0.0.1", port=2525)
mail.start()
print(slack.server_address[1], mail.port, flush=True)
time.sleep(900)
