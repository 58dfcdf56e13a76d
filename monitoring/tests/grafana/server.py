"""A Grafana as the compose file sets it up, and what it answers."""

import base64
import json
import re
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import yaml
from namespace import MONITORING
from programs import find
from services import Service

VERSION = "10.0.0"
URL = "http://grafana:3000"
DATA = Path("/var/lib/grafana")
PASSWORD = "of-the-test"


def settings() -> dict[str, str]:
    """The environment in the compose file, its variables not set."""
    compose = yaml.safe_load((MONITORING / "docker/docker-compose.monitoring.yml").read_text(encoding="utf-8"))
    given = compose["services"]["grafana"]["environment"]
    return {name: re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value).replace("$$", "$") for name, value in given.items()}


def grafana() -> Service:
    """With secrets as the compose file's grafana-init writes them."""
    program = find("grafana", VERSION)
    DATA.mkdir(parents=True, exist_ok=True)
    (DATA / "admin-password").write_text(PASSWORD, encoding="ascii")
    (DATA / "secret-key").write_text("k" * 32, encoding="ascii")
    return Service(
        "grafana",
        VERSION,
        ["server", "--homepath", str(program.parent / "home")],
        f"{URL}/api/health",
        {**settings(), "GF_PATHS_DATA": str(DATA), "GF_SERVER_HTTP_ADDR": "127.0.0.1"},
        # On a busy machine it may fail while it makes its database.
        restarted=True,
    )


def ask(
    path: str, *, user: str | None = "admin", body: Any = None, method: str | None = None, password: str = PASSWORD
) -> tuple[int, Any]:
    """The status, and what the JSON says."""
    request = urllib.request.Request(
        f"{URL}{path}", None if body is None else json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    if method:
        request.method = method
    if user:
        request.add_header("Authorization", "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode())
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        text = error.read()
        try:
            return error.code, json.loads(text)
        except ValueError:
            return error.code, text.decode(errors="replace")


def proxied(uid: str, path: str, **parameters: str) -> tuple[int, Any]:
    """A question to a data source, through Grafana."""
    query = f"?{urllib.parse.urlencode(parameters)}" if parameters else ""
    return ask(f"/api/datasources/proxy/uid/{uid}/{path}{query}")
