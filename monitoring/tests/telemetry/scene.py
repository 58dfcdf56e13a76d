"""The stack with one node of the demo, all of it started for a class of tests.

Inside of lib/namespace.py: shipped files, fixed names and ports. What is added, as
an operator would: the target of Jaeger (targets/README.md), and a secret.
"""

import contextlib
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import namespace
import readers
import services
from demo import Demo
from programs import Program, wait_for
from prometheus import Client
from services import Services

LOGS = Path("/tmp/logs")
LOG_FOLDER = Path("/var/log/erlmcp")
CONTAINERS = Path("/var/lib/docker/containers")
SCRAPES = {
    "loki": "http://loki:3100/metrics",
    "promtail": "http://promtail:9080/metrics",
    "jaeger": "http://jaeger:14269/metrics",
    "otel_collector": "http://otel-collector:8888/metrics",
    "otel_collector_exported": "http://otel-collector:8889/metrics",
}
OWN, EXPORTED = SCRAPES["otel_collector"], SCRAPES["otel_collector_exported"]

DEMO = {
    "OTEL_SERVICE_NAME": "erlmcp",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "http://otel-collector:4317",
    "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
    "OTEL_METRIC_EXPORT_INTERVAL": "5000",
    "OTEL_BSP_SCHEDULE_DELAY": "500",
    "OTEL_BLRP_SCHEDULE_DELAY": "500",
    "ERLMCP_LOG_FILE": str(LOG_FOLDER / "erlmcp.log"),
    "DEMO_LOG": "true",
}


def container(name: str, identifier: str, *texts: str) -> None:
    """Lines of a container, as Docker's json-file driver writes them with the option tag."""
    folder = CONTAINERS / identifier
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{identifier}-json.log").open("a", encoding="utf-8") as log:
        for text in texts:
            now = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()) + f".{time.time_ns() % 10**9:09d}Z"
            line = {"log": f"{text}\n", "stream": "stderr", "attrs": {"tag": name}, "time": now}
            log.write(json.dumps(line) + "\n")


def soon(what: str, check: Callable[[], Any], seconds: float = 30) -> Any:
    """Waits until there is something, without asking too often."""
    return wait_for(what, lambda: check() or None, seconds, pause=0.5)


class Scene:
    """What runs."""

    def __init__(self, *, collector: str, loki: str, prometheus: str) -> None:
        self.version = collector
        # By scrape job: names and their labels, of all that was ever in a scrape.
        self.seen: dict[str, dict[str, set[str]]] = {job: {} for job in SCRAPES}
        LOGS.mkdir(exist_ok=True)
        self._targets()
        self.services = Services(LOGS)
        self.prometheus = Client("prometheus:9090")
        # As loki/README.md has it for Loki 3.
        of_loki_3 = ["-distributor.otlp.default_resource_attributes_as_index_labels=job"]
        loki_more = [] if loki.startswith("2.") else of_loki_3
        self.collector = services.collector(collector)
        wanted = {
            "loki": services.loki(loki, *loki_more),
            "jaeger": services.jaeger(),
            "promtail": services.promtail(),
            "otel_collector": self.collector,
            "node_exporter": services.node_exporter(),
            "blackbox_exporter": services.blackbox_exporter(),
            "alertmanager": services.alertmanager(),
        }
        for service in wanted.values():
            service.command()
        services.prometheus(prometheus).command()
        try:
            self.services.start(**wanted)
            self.demo: Demo | None = Demo("demo", LOGS, 30, DEMO, ports=(8080, 8086))
            # Last, so that its first scrapes find everybody.
            self.services.start(prometheus=services.prometheus(prometheus))
        except BaseException:
            self.stop()
            raise

    @staticmethod
    def _targets() -> None:
        folder, secrets = Path("/tmp/targets"), Path("/tmp/secrets")
        if not folder.exists():
            shutil.copytree("/etc/prometheus/targets", folder)
            shutil.copy(folder / "available/jaeger.yml", folder / "jaeger-1.yml")
            namespace.bind(folder, "/etc/prometheus/targets", read_only=True)
            secrets.mkdir()
            (secrets / "backend_authorization").write_text("Bearer of-the-test", encoding="ascii")
            namespace.bind(secrets, "/etc/otelcol/secrets", read_only=True)

    def instead(
        self, *options: str, files: tuple[Path, ...] = (), environment: dict[str, str] | None = None
    ) -> Program:
        """The Collector anew with options, and with files of the test merged over them."""
        service = services.collector(self.version, *options)
        arguments = [*service.arguments, *(f"--config={path}" for path in files)]
        changed = services.Service(
            service.program, service.version, arguments, service.ready, {**service.environment, **(environment or {})}
        )
        self.services.stop("otel-collector")
        self.services.start(otel_collector=changed)
        return self.services.running["otel-collector"]

    def as_shipped(self) -> None:
        """The Collector without options again."""
        self.services.stop("otel-collector")
        self.services.start(otel_collector=self.collector)

    def look(self) -> None:
        """Remembers what is in the scrapes now: some of it comes with a fault, or goes with a restart."""
        for job, url in SCRAPES.items():
            with contextlib.suppress(OSError):
                for name, labels, _ in readers.samples(url):
                    self.seen[job].setdefault(name, set()).update(labels)

    def collected(self, name: str, **labels: str) -> float:
        """A figure of the Collector itself."""
        return readers.total(OWN, name, **labels)

    def stop(self) -> None:
        """Ends all of it and takes its data away."""
        if demo := getattr(self, "demo", None):
            demo.stop()
        self.services.stop(*reversed(list(self.services.running)))
        for place in namespace.DATA:
            for entry in Path(place).iterdir():
                if entry.is_dir():
                    shutil.rmtree(entry)
                else:
                    entry.unlink()
