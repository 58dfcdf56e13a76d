"""What a request costs beside its metrics: the log line and the spans, on the wire and on disk.

    python bytes.py SECONDS RATE     run by run.sh, in a namespace of its own

The demo under load, its file read by Promtail, its spans sent to the Collector and
on to Jaeger, all on the shipped files. Disk is measured when the programs have
written everything and ended.
"""

import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "lib")]

from demo import Demo  # noqa: E402
from programs import wait_for  # noqa: E402
from scale import machine  # noqa: E402
from services import Services  # noqa: E402

LOG = Path("/var/log/erlmcp/demo.log")
SETTLE_SECONDS = 8


def figure(url: str, metric: str) -> float:
    """A sum over series."""
    with urllib.request.urlopen(f"http://{url}/metrics", timeout=10) as response:
        text = response.read().decode()
    return sum(float(value) for value in re.findall(rf"(?m)^{metric}(?:\{{.*\}})? (\S+)$", text))


def on_disk(folder: str) -> int:
    """Bytes that are really taken: some files are mapped larger."""
    done = subprocess.run(["du", "-s", "--block-size=1", folder], check=True, capture_output=True, text=True)
    return int(done.stdout.split()[0])


def main(words: list[str]) -> int:
    """Prints the figures."""
    seconds, rate = int(words[0]), int(words[1])
    folder = Path(tempfile.mkdtemp(prefix="erlmcp-bytes-"))
    services = Services(folder)
    try:
        services.start("loki", "promtail", "jaeger", "otel-collector")
        node = Demo(
            "node",
            folder,
            rate,
            {
                "DEMO_LOG": "true",
                "ERLMCP_LOG_FILE": str(LOG),
                "OTEL_EXPORTER_OTLP_ENDPOINT": "http://otel-collector:4318",
                "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
                "OTEL_LOGS_EXPORTER": "none",
                "OTEL_METRICS_EXPORTER": "none",
            },
        )
        time.sleep(seconds)
        sent = {name: figure(node.address, f'erlmcp_otel_{name}\\{{[^}}]*signal="traces"[^}}]*\\}}') for name in ("records_exported_total", "exported_bytes_total")}
        requests = figure(node.address, "erlmcp_requests_total")
        node.stop()
        lines, size = len(LOG.read_bytes().splitlines()), LOG.stat().st_size
        wait_for("the lines in Loki", lambda: figure("loki:3100", "loki_distributor_lines_received_total") >= lines, 60)
        time.sleep(SETTLE_SECONDS)
        collector = {
            "spans": figure("otel-collector:8888", "otelcol_exporter_sent_spans(?:_total)?"),
            "cpu": figure("otel-collector:8888", "otelcol_process_cpu_seconds(?:_total)?"),
            "memory": figure("otel-collector:8888", "otelcol_process_memory_rss(?:_bytes)?"),
        }
        received = figure("loki:3100", "loki_distributor_bytes_received_total")
        urllib.request.urlopen(urllib.request.Request("http://loki:3100/flush", b""), timeout=30).close()
        time.sleep(SETTLE_SECONDS)
        stored = sum(path.stat().st_size for path in Path("/loki/chunks").rglob("*") if path.is_file())
        services.stop("promtail", "loki", "otel-collector", "jaeger")
        badger = on_disk("/badger")
    finally:
        services.stop(*list(services.running))
    print(f"{machine()}; {seconds} s at {rate} requests/s: {requests:.0f} requests")
    print(f"log      {lines} lines, {size / lines:.0f} bytes a line in the file")
    print(f"Loki     {received / lines:.0f} bytes a line received, {stored / lines:.1f} stored")
    print(f"spans    {sent['records_exported_total']:.0f}, {sent['records_exported_total'] / max(requests, 1):.2f} a request")
    print(f"OTLP     {sent['exported_bytes_total'] / max(sent['records_exported_total'], 1):.0f} bytes a span")
    print(f"Collector {collector['cpu'] / max(collector['spans'], 1) * 1e6:.0f} us of CPU a span, {collector['memory'] / 2**20:.0f} MiB")
    print(f"Jaeger   {badger / max(collector['spans'], 1):.0f} bytes a span on disk (Badger)")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
