"""Where this part runs: the stack's names and paths (lib/namespace.py), and what only this part has."""

import atexit
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import namespace
from programs import ROOT

# All run on one host here: what has one port in two programs has two addresses.
OWN_HOSTS = {
    "prometheus-2": "127.0.0.2",
    "thanos-sidecar": "127.0.0.11",
    "thanos-store": "127.0.0.12",
    "thanos-query": "127.0.0.13",
    "thanos-compactor": "127.0.0.14",
    "thanos-sidecar-2": "127.0.0.21",
}
HOSTS = namespace.HOSTS | OWN_HOSTS
THANOS = Path("/thanos")
PROMETHEUS_DATA = Path("/prometheus")
SECOND_DATA = Path("/tmp/prometheus-2")
CONFIG = Path("/etc/prometheus")


def enter() -> Path:
    """Once, before anything else. The folder of this test; all of it ends with the namespace."""
    if os.environ.get(namespace.INSIDE) != "inside":
        raise SystemExit("storage: run this by run.sh")
    Path("/etc/hosts").write_text("".join(f"{address}\t{name}\n" for name, address in HOSTS.items()))
    folder = Path(tempfile.mkdtemp(prefix="erlmcp-storage-"))
    # A copy, for targets and for what the script writes beside the shipped file.
    config = folder / "etc-prometheus"
    shutil.copytree(ROOT / "monitoring/prometheus", config)
    script = ROOT / "monitoring/scripts/prometheus-config.sh"
    for name, words in {
        "prometheus-2": ["--replica", "prometheus-2"],
        "victoria-metrics": ["--remote-write", "victoria-metrics"],
        "victoria-metrics-2": ["--remote-write", "victoria-metrics", "--replica", "prometheus-2"],
    }.items():
        text = subprocess.run([script, *words], check=True, capture_output=True, text=True).stdout
        (config / f"{name}.yml").write_text(text)
    namespace.bind(config, CONFIG)
    # On disk: chunk files are allocated in full, and memory would have to be cleared.
    (ROOT / "_build").mkdir(exist_ok=True)
    disk = Path(tempfile.mkdtemp(prefix="test-storage-", dir=ROOT / "_build"))
    atexit.register(shutil.rmtree, disk, ignore_errors=True)
    for place in (PROMETHEUS_DATA, SECOND_DATA, THANOS):
        place.mkdir(exist_ok=True)
        kept = disk / place.name
        kept.mkdir()
        namespace.bind(kept, place)
    # Each node compiles the demo, and several may be starting in their namespaces.
    compiled = ROOT / "examples/demo/ebin"
    compiled.mkdir(exist_ok=True)
    namespace.mount("tmpfs", compiled, "tmpfs")
    return folder
