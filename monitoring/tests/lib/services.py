"""The stack's servers inside of namespace.py: the shipped files at their places, the
fixed names and ports, flags as in the compose file save that they listen on loopback.

    with Services(Path("/tmp/logs")) as services:
        services.start("loki", "promtail", "otel-collector")

They start side by side; start() returns when all of them answer.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from namespace import INSIDE, MONITORING
from programs import Program, TooLate, answers, find, wait_for

READY_SECONDS = 120
COLLECTOR = "/etc/otelcol/collector-config.yaml"
COLLECTOR_CURRENT = "/etc/otelcol/collector-config-current.yaml"


class NotInside(Exception):
    """Started without namespace.py: the ports and places are the machine's own."""


@dataclass(frozen=True)
class Service:
    """A server: which program, of which version, how it is called, and when it is ready."""

    program: str
    version: str
    arguments: Sequence[str]
    ready: str
    environment: Mapping[str, str] = field(default_factory=dict)
    # Started once more if it ends before it is ready, as compose does.
    restarted: bool = False

    def command(self) -> list[str | Path]:
        """Raises NotHere where the program is missing."""
        return [find(self.program, self.version), *self.arguments]


def _environment(path: str) -> dict[str, str]:
    lines = (MONITORING / path).read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def prometheus(version: str = "2.53.3", *more: str, config: str = "/etc/prometheus/prometheus.yml") -> Service:
    """With what exemplars and backups want."""
    flags = [
        f"--config.file={config}",
        "--storage.tsdb.path=/prometheus",
        "--storage.tsdb.retention.time=30d",
        "--enable-feature=exemplar-storage",
        "--web.enable-lifecycle",
        "--web.listen-address=127.0.0.1:9090",
    ]
    return Service("prometheus", version, [*flags, *more], "http://prometheus:9090/-/ready")


def alertmanager(version: str = "0.28.1", *more: str) -> Service:
    """A single one."""
    flags = [
        "--config.file=/etc/alertmanager/alertmanager.yml",
        "--storage.path=/alertmanager",
        "--web.listen-address=127.0.0.1:9093",
        "--cluster.listen-address=",
    ]
    return Service("alertmanager", version, [*flags, *more], "http://alertmanager:9093/-/ready")


def node_exporter(version: str = "1.5.0", *more: str) -> Service:
    """Of this machine."""
    return Service(
        "node_exporter", version, ["--web.listen-address=127.0.0.1:9100", *more], "http://node-exporter:9100/"
    )


def blackbox_exporter(version: str = "0.23.0", *more: str) -> Service:
    """What probes the health pages."""
    flags = ["--config.file=/etc/blackbox_exporter/blackbox.yml", "--web.listen-address=127.0.0.1:9115"]
    return Service("blackbox_exporter", version, [*flags, *more], "http://blackbox-exporter:9115/-/healthy")


def loki(version: str = "2.9.3", *more: str) -> Service:
    """Loki is ready a quarter of a minute after it has started, by design."""
    flags = [
        "-config.file=/etc/loki/loki-config.yml",
        "-server.http-listen-address=127.0.0.1",
        "-server.grpc-listen-address=127.0.0.1",
    ]
    return Service("loki", version, [*flags, *more], "http://loki:3100/ready")


def promtail(version: str = "2.9.3", *more: str) -> Service:
    """It is ready when it reads a file."""
    flags = ["-config.file=/etc/promtail/promtail-config.yml", "-server.http-listen-address=127.0.0.1"]
    return Service("promtail", version, [*flags, *more], "http://promtail:9080/metrics")


def jaeger(version: str = "1.50.0", *more: str) -> Service:
    """At an address of its own."""
    ports = {
        "collector.otlp.grpc": 4317,
        "collector.otlp.http": 4318,
        "collector.grpc-server": 14250,
        "collector.http-server": 14268,
        "query.http-server": 16686,
        "query.grpc-server": 16685,
        "admin.http": 14269,
    }
    flags = [f"--{name}.host-port=127.0.0.2:{port}" for name, port in ports.items()]
    return Service(
        "jaeger", version, [*flags, *more], "http://jaeger:14269/", environment=_environment("jaeger/jaeger.env")
    )


def collector(version: str = "0.87.0", *options: str) -> Service:
    """`options` are files of otel/options, by name."""
    base = COLLECTOR if version == "0.87.0" else COLLECTOR_CURRENT
    files = [base, *(f"/etc/otelcol/options/{name}.yaml" for name in options)]
    return Service(
        "otelcol",
        version,
        [f"--config={path}" for path in files],
        "http://otel-collector:13133/",
        environment={"ERLMCP_COLLECTOR_LISTEN": "127.0.0.1"},
    )


SERVICES: dict[str, Callable[[], Service]] = {
    "prometheus": prometheus,
    "alertmanager": alertmanager,
    "node-exporter": node_exporter,
    "blackbox-exporter": blackbox_exporter,
    "loki": loki,
    "promtail": promtail,
    "jaeger": jaeger,
    "otel-collector": collector,
}


class Services:
    """What runs; each by its name in the compose file."""

    def __init__(self, folder: Path) -> None:
        """`folder` takes what they print."""
        if os.environ.get(INSIDE) != "inside":
            raise NotInside("run this by monitoring/tests/lib/namespace.py")
        self.folder = folder
        self.running: dict[str, Program] = {}
        self._services: dict[str, Service] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop(*reversed(list(self.running)))

    def start(self, *names: str, **others: Service) -> None:
        """Those of SERVICES by name, and others as `name=service` (an underscore for the hyphen)."""
        wanted = {name: SERVICES[name]() for name in names}
        wanted |= {name.replace("_", "-"): service for name, service in others.items()}
        commands = {name: service.command() for name, service in wanted.items()}
        for name, service in wanted.items():
            self._services[name] = service
            log = self.folder / f"{name}.log"
            self.running[name] = Program(name, commands[name], log, service.environment)
        for name, service in wanted.items():
            try:
                self.running[name].wait_until_answers(service.ready, READY_SECONDS)
            except RuntimeError as error:
                if not service.restarted or self.running[name].process.poll() is None:
                    raise
                print(f"{error}\n{name} is started once more", flush=True)
                self._services[name] = replace(service, restarted=False)
                self.again(name)

    def again(self, name: str) -> None:
        """Starts it anew on its data, after it was stopped or killed."""
        self.stop(name)
        self.start(**{name.replace("-", "_"): self._services[name]})

    def stop(self, *names: str) -> None:
        """Asks them to end, one after the other."""
        for name in names:
            if name in self.running:
                self.running.pop(name).stop()

    def gone(self, name: str) -> None:
        """Waits for the end of one that was killed."""
        ready = self._services[name].ready
        try:
            wait_for(f"the end of {name}", lambda: not answers(ready), 10)
        except TooLate as late:
            raise RuntimeError(str(late)) from late
