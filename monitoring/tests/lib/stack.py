"""The demo and what watches it, started together for a test.

    with tempfile.TemporaryDirectory() as folder, Stack(Path(folder), ["3.5.3"]) as stack:
        stack.prometheus["3.5.3"].client.value("sum(up)")

Two connected nodes of the demo, the node and blackbox exporters, Alertmanager,
and each version of Prometheus that is asked for, all on free loopback ports. The
project's rules are loaded with shorter intervals (prometheus.quickened).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

from demo import Demo, distribution_flags
from programs import ROOT, Program, find, free_port
from prometheus import Prometheus, probe, rule_files, target

INTERVAL = "1s"
WINDOW = "20s"
NODE_EXPORTER = "1.5.0"
BLACKBOX_EXPORTER = "0.23.0"
ALERTMANAGER = "0.28.1"

DEBIAN_TEMPLATES = Path("/usr/share/prometheus/alertmanager/default.tmpl")

BLACKBOX = """\
modules:
  http_2xx:
    prober: http
    timeout: 1s
    http: {preferred_ip_protocol: ip4}
"""
NO_CHANNEL = """\
route: {receiver: nobody}
receivers: [{name: nobody}]
"""


class Stack:
    """Everything that a dashboard or an alert looks at."""

    def __init__(
        self, folder: Path, versions: Sequence[str], *, extra_rules: Sequence[Path] = (), rate: int = 100
    ) -> None:
        """`extra_rules` are loaded beside the project's, `rate` is each node's requests a second."""
        self.folder = folder
        self.versions = list(versions)
        self.extra_rules = list(extra_rules)
        self.rate = rate
        self.demos: list[Demo] = []
        self.prometheus: dict[str, Prometheus] = {}
        self._programs: list[Program] = []

    def _exporter(self, name: str, command: Sequence[str | Path], port: int, path: str = "/metrics") -> str:
        program = Program(name, command, self.folder / f"{name}.log")
        self._programs.append(program)
        program.wait_until_answers(f"http://127.0.0.1:{port}{path}")
        return f"127.0.0.1:{port}"

    def _node_exporter(self) -> str:
        port = free_port()
        command: list[str | Path] = [find("node_exporter", NODE_EXPORTER), f"--web.listen-address=127.0.0.1:{port}"]
        return self._exporter("node_exporter", command, port)

    def _blackbox_exporter(self) -> str:
        port = free_port()
        config = self.folder / "blackbox.yml"
        config.write_text(BLACKBOX, encoding="utf-8")
        program = find("blackbox_exporter", BLACKBOX_EXPORTER)
        command: list[str | Path] = [program, f"--config.file={config}", f"--web.listen-address=127.0.0.1:{port}"]
        return self._exporter("blackbox_exporter", command, port)

    def _alertmanager(self) -> str | None:
        # Debian's build does not start without (scripts/setup.sh stack puts them there).
        if not DEBIAN_TEMPLATES.exists():
            return None
        port = free_port()
        config = self.folder / "alertmanager.yml"
        config.write_text(NO_CHANNEL, encoding="utf-8")
        command: list[str | Path] = [
            find("alertmanager", ALERTMANAGER),
            f"--config.file={config}",
            f"--storage.path={self.folder / 'alertmanager'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--cluster.listen-address=",
        ]
        return self._exporter("alertmanager", command, port, "/-/ready")

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _start(self) -> None:
        # What is missing is known before anything runs.
        for version in self.versions:
            find("prometheus", version)
        names = ["erlmcp_a", "erlmcp_b"]
        for name, flags in zip(names, distribution_flags(names), strict=True):
            self.demos.append(Demo(name, self.folder, self.rate, flags))
        node, blackbox, alertmanager = self._node_exporter(), self._blackbox_exporter(), self._alertmanager()
        rules = rule_files(ROOT, self.folder, INTERVAL, WINDOW) + self.extra_rules
        nodes = [demo.address for demo in self.demos]
        for version in self.versions:
            port = free_port()
            scrapes = [
                target("erlmcp", nodes),
                target("erlmcp_custom", [demo.custom_address for demo in self.demos], path="/metrics/custom"),
                probe("erlmcp_health", blackbox, [f"http://{address}/health" for address in nodes], nodes),
                target("node", [node]),
                target("blackbox", [blackbox]),
                target("prometheus", [f"127.0.0.1:{port}"]),
            ]
            if alertmanager:
                scrapes.append(target("alertmanager", [alertmanager]))
            server = Prometheus(
                version, self.folder, scrapes, rules, interval=INTERVAL, alertmanager=alertmanager, port=port
            )
            self.prometheus[version] = server
            server.wait()

    def stop(self) -> None:
        """Ends all of it."""
        for server in self.prometheus.values():
            server.stop()
        for program in reversed(self._programs):
            program.stop()
        for demo in self.demos:
            demo.stop()
