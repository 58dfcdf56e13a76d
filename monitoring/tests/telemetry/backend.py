"""A backend that takes OTLP: a second Collector, which counts what comes."""

from pathlib import Path
from typing import Self

import readers
from programs import Program, find

ADDRESS = "127.0.0.3"
SECRETS = Path("/etc/otelcol/secrets")
OWN = f"http://{ADDRESS}:8888/metrics"
RECEIVE = f"""\
receivers:
  otlp:
    protocols:
      grpc: {{endpoint: "{ADDRESS}:4317"}}
exporters:
  debug: {{}}
service:
  telemetry:
    metrics: METRICS
  pipelines:
    traces: {{receivers: [otlp], exporters: [debug]}}
    metrics: {{receivers: [otlp], exporters: [debug]}}
    logs: {{receivers: [otlp], exporters: [debug]}}
"""
METRICS = {
    True: f'{{address: "{ADDRESS}:8888"}}',
    False: f'{{readers: [{{pull: {{exporter: {{prometheus: {{host: "{ADDRESS}", port: 8888}}}}}}}}]}}',
}


class Backend:
    """What it has got."""

    def __init__(self, version: str) -> None:
        config = Path("/tmp/backend.yaml")
        config.write_text(RECEIVE.replace("METRICS", METRICS[version == "0.87.0"]), encoding="ascii")
        self.environment = {"ERLMCP_BACKEND_ENDPOINT": f"{ADDRESS}:4317"}
        command = [find("otelcol", version), f"--config={config}"]
        self._program = Program("backend", command, Path("/tmp/logs/backend.log"))

    def __enter__(self) -> Self:
        self._program.wait_until_answers(OWN)
        return self

    def __exit__(self, *_: object) -> None:
        self._program.stop()

    def accepted(self, what: str) -> float:
        """Of spans, metric_points or log_records."""
        return readers.total(OWN, f"otelcol_receiver_accepted_{what}")
