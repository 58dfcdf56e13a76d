"""The shipped Prometheus and Alertmanager on real nodes of the demo.

What differs from the shipped files is listed here, and a place that is not found is
an error: addresses, the jobs of programs that are not here, and in a watch with a
pace its intervals and durations. alertmanager/server.py has the places of
Alertmanager's file.
"""

import atexit
import contextlib
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import yaml
from demo import Demo
from programs import ROOT, Program, find, free_port
from prometheus import RECORDING_RULES, RULES, Server, divided, quickened
from server import Alertmanager, calendar, each_wait, prepare, replace
from sinks import HttpSink, SmtpSink
from stack import BLACKBOX, BLACKBOX_EXPORTER

PROMETHEUS = "3.5.3"
ALERTMANAGER = "0.33.1"
INTERVAL = "1s"
WINDOW = "20s"

# Not to be had here, or (the host) not what this is about: no target, so no alert.
ABSENT = (
    "node-exporter:9100", "grafana:3000", "loki:3100", "promtail:9080", "otel-collector:8888", "otel-collector:8889",
)  # fmt: skip


def blackbox_exporter(folder: Path) -> tuple[Program, str]:
    """What probes the health pages, and where it listens."""
    port = free_port()
    config = folder / "blackbox.yml"
    config.write_text(BLACKBOX, encoding="utf-8")
    program = Program(
        "blackbox_exporter",
        [
            find("blackbox_exporter", BLACKBOX_EXPORTER),
            f"--config.file={config}",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        folder / "blackbox.log",
    )
    program.wait_until_answers(f"http://127.0.0.1:{port}/metrics")
    return program, f"127.0.0.1:{port}"


class Watch:
    """A Prometheus, its Alertmanager and the channels' sinks.

    With a pace every wait, `for:` and interval is divided by it, down to a second
    where one is the least that makes sense; without, all are as shipped.
    """

    def __init__(self, name: str, folder: Path, demos: Sequence[Demo], blackbox: str, pace: float | None) -> None:
        self.name = name
        self.pace = pace
        self.folder = folder / name
        self.folder.mkdir()
        self._started = contextlib.ExitStack()
        # Alertmanager would outlive a test that is ended from outside.
        atexit.register(self.stop)
        try:
            self._start(demos, blackbox)
        except BaseException:
            self.stop()
            raise

    def _start(self, demos: Sequence[Demo], blackbox: str) -> None:
        self.http = HttpSink()
        self._started.callback(self.http.stop)
        self.smtp = SmtpSink(self.folder, "alerts@example.com", "password-of-the-test")
        self.smtp.start()
        self._started.callback(self.smtp.stop)
        text = calendar(prepare(self.folder, self.http, self.smtp), {"business-hours"})
        pace = self.pace
        if pace:
            text = each_wait(text, lambda wait: divided(wait, pace, 0 if wait == "0s" else 1))
        self.alertmanager = Alertmanager(ALERTMANAGER, self.folder, text, self.smtp.certificate).start()
        self._started.callback(self.alertmanager.stop)
        port = free_port()
        config = self._prometheus(demos, blackbox, f"127.0.0.1:{port}")
        self.prometheus = Server(PROMETHEUS, self.folder, config, port)
        self._started.callback(self.prometheus.stop)
        self.prometheus.wait()

    def _prometheus(self, demos: Sequence[Demo], blackbox: str, own: str) -> Path:
        """The shipped folder with these addresses. The first node is the shipped target, others come by targets/."""
        folder = self.folder / "prometheus"
        shutil.copytree(ROOT / "monitoring/prometheus", folder)
        text = (folder / "prometheus.yml").read_text(encoding="utf-8")
        for shipped, here in {
            "erlmcp:8080": demos[0].address,
            "erlmcp:8086": demos[0].custom_address,
            "blackbox-exporter:9115": blackbox,
            "prometheus:9090": own,
            "alertmanager:9093": self.alertmanager.url.removeprefix("http://"),
        }.items():
            text = replace(text, rf"(?<![\w-]){re.escape(shipped)}", here)
        for shipped in ABSENT:
            text = replace(text, rf"targets: \[{shipped}\]$", "targets: []")
        if self.pace:
            text = replace(text, r"(?<=scrape_interval: )\S+$", INTERVAL)
            text = replace(text, r"(?<=scrape_timeout: )\S+$", INTERVAL)
            text = replace(text, r"(?<=evaluation_interval: )\S+$", INTERVAL)
            for rules in (RECORDING_RULES, RULES):
                for path in (folder / Path(rules).name).glob("*.yml"):
                    shipped_rules = path.read_text(encoding="utf-8")
                    path.write_text(quickened(shipped_rules, INTERVAL, WINDOW, self.pace), encoding="utf-8")
        (folder / "prometheus.yml").write_text(text, encoding="utf-8")
        labels = {"environment": "production"}
        for job, targets in {
            "erlmcp": [demo.address for demo in demos[1:]],
            "erlmcp_custom": [demo.custom_address for demo in demos[1:]],
            "erlmcp_health": [f"http://{demo.address}/health" for demo in demos[1:]],
        }.items():
            more = [{"targets": targets, "labels": labels}]
            (folder / f"targets/{job}-others.yml").write_text(yaml.safe_dump(more), encoding="utf-8")
        return folder / "prometheus.yml"

    def stop(self) -> None:
        """Ends all of it."""
        self._started.close()
