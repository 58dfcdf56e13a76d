"""Where this part runs: the stack's names and paths, in a namespace of its own."""

import atexit
import shutil
import subprocess
import tempfile
from pathlib import Path

import namespace
from programs import ROOT

HERE = "127.0.0.1"
# One host here: what has one port in two programs has two addresses.
HOSTS = {
    **{
        name: HERE
        for name in ("prometheus", "alertmanager", "grafana", "loki", "promtail", "otel-collector", "node-exporter")
    },
    "blackbox-exporter": HERE,
    "victoria-metrics": HERE,
    "elasticsearch": HERE,
    "erlmcp": "127.1.0.1",
    "jaeger": "127.0.0.2",
    "prometheus-2": "127.0.0.2",
    "thanos-sidecar": "127.0.0.11",
    "thanos-store": "127.0.0.12",
    "thanos-query": "127.0.0.13",
    "thanos-compactor": "127.0.0.14",
    "thanos-sidecar-2": "127.0.0.21",
}
THANOS = Path("/thanos")
PROMETHEUS_DATA = Path("/prometheus")
CONFIG = Path("/etc/prometheus")
SECOND_DATA: Path


def enter() -> Path:
    """Once, before anything else. A folder for the test; also what is bound is in it."""
    global SECOND_DATA  # noqa: PLW0603 (one namespace a process)
    folder = Path(tempfile.mkdtemp(prefix="erlmcp-storage-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    config = folder / "etc-prometheus"
    shutil.copytree(ROOT / "monitoring/prometheus", config)
    script = ROOT / "monitoring/scripts/prometheus-config.sh"
    text = subprocess.run([script, "--replica", "prometheus-2"], check=True, capture_output=True, text=True).stdout
    (config / "prometheus.generated.yml").write_text(text)
    folders = {"/etc/prometheus": config, "/etc/thanos": ROOT / "monitoring/thanos"}
    for name in ("thanos", "prometheus", "victoria-metrics-data"):
        folders[f"/{name}"] = folder / name
        folders[f"/{name}"].mkdir()
    SECOND_DATA = folder / "prometheus-2"
    SECOND_DATA.mkdir()
    namespace.enter(HOSTS, folders)
    return folder
