"""A Prometheus of a test, and what it answers."""

import json
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from programs import Program, find, free_port

RECORDING_RULES = "monitoring/prometheus/recording_rules"
RULES = "monitoring/prometheus/rules"


class QueryError(Exception):
    """What Prometheus has against a query."""


class Client:
    """The HTTP API."""

    def __init__(self, address: str) -> None:
        self.address = address

    def get(self, path: str, **parameters: str | float) -> Any:
        """The field data of an answer."""
        url = f"http://{self.address}/api/v1/{path}"
        body = urllib.parse.urlencode(parameters).encode() if parameters else None
        try:
            with urllib.request.urlopen(urllib.request.Request(url, body), timeout=60) as response:
                return json.load(response)["data"]
        except urllib.error.HTTPError as error:
            raise QueryError(error.read().decode(errors="replace")) from error

    def instant(self, query: str, time: float) -> Any:
        """One point for each series."""
        return self.get("query", query=query, time=time)

    def range(self, query: str, start: float, end: float, step: float) -> Any:
        """Points from start to end."""
        return self.get("query_range", query=query, start=start, end=end, step=step)

    def exemplars(self, query: str, start: float, end: float) -> Any:
        """Exemplars of the series that a query reads."""
        return self.get("query_exemplars", query=query, start=start, end=end)

    def label_values(self, series: str, label: str) -> list[str]:
        """As the variables of a dashboard ask."""
        url = f"http://{self.address}/api/v1/label/{label}/values?" + urllib.parse.urlencode({"match[]": series})
        with urllib.request.urlopen(url, timeout=30) as response:
            return list(json.load(response)["data"])

    def value(self, query: str) -> float | None:
        """The one value of an instant query."""
        result = self.get("query", query=query)["result"]
        return float(result[0]["value"][1]) if result else None


def divided(duration: str, pace: float | None, least: float = 0) -> str:
    """A duration of Prometheus by `pace`, at least so many seconds; nought without a pace."""
    number, unit = re.fullmatch(r"(\d+)(s|m|h|d)", duration).groups()  # type: ignore[union-attr]
    seconds = int(number) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[unit]
    return f"{round(max(seconds / pace if pace else 0, least) * 1000)}ms"


def quickened(text: str, interval: str, window: str, pace: float | None = None) -> str:
    """Rules that live faster: evaluated each `interval`, five minutes become `window`.

    Only intervals, five-minute windows and the seconds that a sample stands for
    are changed; names, labels and the long windows stay, which average over what
    there is. `for:` is divided by `pace`; without, it becomes nought.
    """
    seconds = interval.removesuffix("s")
    text = re.sub(r"(?m)^(\s+interval:) \S+", rf"\1 {interval}", text)
    text = re.sub(r"(?m)^(\s+for:) (\S+)", lambda found: f"{found[1]} {divided(found[2], pace)}", text)
    text = text.replace("[5m]", f"[{window}]")
    # environment:erlmcp_downtime_seconds:sum30d counts evaluations.
    return re.sub(r"(?m)^(\s+)60\n(\s+\*)", rf"\g<1>{seconds}\n\2", text)


def rule_files(root: Path, into: Path, interval: str, window: str) -> list[Path]:
    """The project's recording rules and alerts, quickened."""
    written = []
    for folder in (RECORDING_RULES, RULES):
        for source in sorted((root / folder).glob("*.yml")):
            target = into / f"{Path(folder).name}-{source.name}"
            target.write_text(quickened(source.read_text(encoding="utf-8"), interval, window), encoding="utf-8")
            written.append(target)
    return written


class Server:
    """Prometheus on a configuration."""

    def __init__(self, version: str, folder: Path, config: Path, port: int | None = None) -> None:
        self.port = port or free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.program = Program(
            f"prometheus-{version}",
            [
                find("prometheus", version),
                f"--config.file={config}",
                f"--storage.tsdb.path={folder / f'prometheus-{version}-data'}",
                f"--web.listen-address={self.address}",
                "--enable-feature=exemplar-storage",
                "--log.level=warn",
            ],
            folder / f"prometheus-{version}.log",
        )
        self.client = Client(self.address)

    def wait(self) -> None:
        """Until it answers."""
        self.program.wait_until_answers(f"http://{self.address}/-/ready")

    def stop(self) -> None:
        """Ends it."""
        self.program.stop()


class Prometheus(Server):
    """With jobs and rules that a test names."""

    def __init__(
        self,
        version: str,
        folder: Path,
        scrapes: Sequence[Mapping[str, Any]],
        rules: Sequence[Path],
        *,
        interval: str = "1s",
        alertmanager: str | None = None,
        port: int | None = None,
    ) -> None:
        config: dict[str, Any] = {
            "global": {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval},
            "rule_files": [str(path) for path in rules],
            "scrape_configs": list(scrapes),
        }
        if alertmanager:
            config["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]}
        path = folder / f"prometheus-{version}.yml"
        path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
        super().__init__(version, folder, path, port)


def target(job: str, addresses: Sequence[str], *, path: str = "/metrics", **more: Any) -> dict[str, Any]:
    """A scrape job with the labels that the stack's targets have."""
    labels = {"environment": "production"}
    return {
        "job_name": job,
        "metrics_path": path,
        "static_configs": [{"targets": list(addresses), "labels": labels}],
        **more,
    }


def probe(job: str, exporter: str, urls: Sequence[str], names: Sequence[str]) -> dict[str, Any]:
    """A job that has the blackbox exporter look; an instance is named after what is looked at."""
    configs = [
        {"targets": [url], "labels": {"environment": "production", "instance": name}}
        for url, name in zip(urls, names, strict=True)
    ]
    return {
        "job_name": job,
        "metrics_path": "/probe",
        "params": {"module": ["http_2xx"]},
        "static_configs": configs,
        "relabel_configs": [
            {"source_labels": ["__address__"], "target_label": "__param_target"},
            {"target_label": "__address__", "replacement": exporter},
        ],
    }
