"""The servers of the stack, asked over HTTP."""

from __future__ import annotations

import base64
import json
import os
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TIMEOUT_SECONDS = 30


class CannotAsk(Exception):
    """No answer, and why."""


@dataclass(frozen=True)
class Sample:
    """One of an instant query."""

    labels: Mapping[str, str]
    value: float

    def name(self, *labels: str) -> str:
        """The values of those labels that it has."""
        return " ".join(self.labels[label] for label in labels if self.labels.get(label))


class Server:
    """A base address and what it takes to be let in."""

    def __init__(self, variable: str, default: str, credentials: str = "ERLMCP_CREDENTIALS_FILE") -> None:
        self.url = os.environ.get(variable, default).rstrip("/")
        self._headers = {"Accept": "application/json"}
        named = os.environ.get(credentials)
        if named:
            try:
                text = Path(named).read_text(encoding="utf-8").strip()
            except OSError as error:
                raise CannotAsk(f"{credentials}: {error}") from error
            basic = ":" in text
            word = base64.b64encode(text.encode()).decode() if basic else text
            self._headers["Authorization"] = f"{'Basic' if basic else 'Bearer'} {word}"
        authority = os.environ.get("ERLMCP_CA_FILE")
        self._tls = ssl.create_default_context(cafile=authority) if self.url.startswith("https:") else None

    def get(self, path: str, **parameters: str | float) -> Any:
        """What it answers, decoded."""
        url = f"{self.url}{path}"
        if parameters:
            url += "?" + urllib.parse.urlencode(parameters)
        try:
            request = urllib.request.Request(url, headers=self._headers)
            with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS, context=self._tls) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            text = error.read().decode(errors="replace")
            raise CannotAsk(f"{self.url}{path}: {error.code} {text[:200].strip()}") from error
        except (OSError, ValueError) as error:
            raise CannotAsk(f"{self.url}{path}: {error}") from error


class Prometheus(Server):
    """Its API, version 1."""

    def __init__(self) -> None:
        super().__init__("ERLMCP_PROMETHEUS_URL", "http://localhost:9090")

    def api(self, path: str, **parameters: str | float) -> Any:
        """The field data."""
        return self.get(f"/api/v1/{path}", **parameters)["data"]

    def query(self, expression: str) -> list[Sample]:
        """Now; the largest first."""
        result = self.api("query", query=expression)["result"]
        found = [Sample(one["metric"], float(one["value"][1])) for one in result]
        # A ratio of nothing is no figure.
        return sorted((one for one in found if one.value == one.value), key=lambda one: -one.value)

    def value(self, expression: str) -> float | None:
        """The one value, or the largest."""
        found = self.query(expression)
        return found[0].value if found else None


class Alertmanager(Server):
    """Its API, version 2."""

    def __init__(self) -> None:
        super().__init__("ERLMCP_ALERTMANAGER_URL", "http://localhost:9093")


class Loki(Server):
    """Log lines."""

    def __init__(self) -> None:
        super().__init__("ERLMCP_LOKI_URL", "http://localhost:3100")

    def query(self, expression: str) -> list[Sample]:
        """A metric of lines, now."""
        result = self.get("/loki/api/v1/query", query=expression)["data"]["result"]
        found = [Sample(one["metric"], float(one["value"][1])) for one in result]
        return sorted(found, key=lambda one: -one.value)


class Grafana(Server):
    """Dashboards, with a token."""

    def __init__(self) -> None:
        super().__init__("ERLMCP_GRAFANA_URL", "http://localhost:3000", "ERLMCP_GRAFANA_TOKEN_FILE")
