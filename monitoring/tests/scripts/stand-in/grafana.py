"""Answers as Grafana does to what verify asks, with two faults.

    grafana.py PASSWORD DEAD_SOURCE

Prints its port. The data source DEAD_SOURCE does not answer, nor is there a
dashboard erlmcp-sla.
"""

import base64
import http.server
import json
import sys

SOURCES = [{"uid": kind, "type": kind} for kind in ("prometheus", "loki", "jaeger", "alertmanager")]
BOARDS = [{"uid": uid} for uid in ("erlmcp-overview", "erlmcp-performance")]
EXPECTED = "Basic " + base64.b64encode(f"admin:{sys.argv[1]}".encode()).decode()


class Grafana(http.server.BaseHTTPRequestHandler):
    """Only what is asked."""

    def do_GET(self) -> None:  # noqa: N802 (http.server's name)
        """The health page is for everybody."""
        if self.path == "/api/health":
            self._say(200, {"database": "ok"})
        elif self.headers.get("Authorization") != EXPECTED:
            self._say(401, {})
        elif self.path == "/api/datasources":
            self._say(200, SOURCES)
        elif self.path.startswith("/api/search"):
            self._say(200, BOARDS)
        elif self.path.startswith(f"/api/datasources/proxy/uid/{sys.argv[2]}/"):
            self._say(502, {})
        elif self.path.startswith("/api/datasources/proxy/uid/"):
            self._say(200, {})
        else:
            self._say(404, {})

    def _say(self, status: int, body: object) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_: object) -> None:
        """Nothing of its own."""


server = http.server.HTTPServer(("127.0.0.1", 0), Grafana)
print(server.server_address[1], flush=True)
server.serve_forever()
