"""What Prometheus makes of the jobs: addresses, paths, intervals, labels."""

import json
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml

from model import MONITORING, PROMETHEUS

# job: of each target address, path, interval, instance
JOBS = {
    "erlmcp": [("erlmcp:8080", "/metrics", "15s", "erlmcp:8080")],
    "erlmcp_custom": [("erlmcp:8086", "/metrics/custom", "30s", "erlmcp:8086")],
    "erlmcp_health": [("blackbox-exporter:9115", "/probe", "15s", "erlmcp:8080")],
    "node": [("node-exporter:9100", "/metrics", "30s", "node-exporter:9100")],
    "blackbox": [("blackbox-exporter:9115", "/metrics", "30s", "blackbox-exporter:9115")],
    "prometheus": [("prometheus:9090", "/metrics", "30s", "prometheus:9090")],
    "alertmanager": [("alertmanager:9093", "/metrics", "30s", "alertmanager:9093")],
    "grafana": [("grafana:3000", "/metrics", "30s", "grafana:3000")],
    "loki": [("loki:3100", "/metrics", "30s", "loki:3100")],
    "promtail": [("promtail:9080", "/metrics", "30s", "promtail:9080")],
    "otel_collector": [("otel-collector:8888", "/metrics", "30s", "otel-collector:8888")],
    "otel_collector_exported": [("otel-collector:8889", "/metrics", "30s", "otel-collector:8889")],
    "jaeger": [("jaeger:14269", "/metrics", "30s", "jaeger:14269")],
    "thanos": [
        ("thanos-sidecar:10902", "/metrics", "30s", "thanos-sidecar:10902"),
        ("thanos-store:10902", "/metrics", "30s", "thanos-store:10902"),
        ("thanos-query:10902", "/metrics", "30s", "thanos-query:10902"),
        ("thanos-compactor:10902", "/metrics", "30s", "thanos-compactor:10902"),
    ],
    "victoria_metrics": [("victoria-metrics:8428", "/metrics", "30s", "victoria-metrics:8428")],
}
# Switched on by a file of targets/available.
OPTIONS = {"jaeger": "jaeger", "thanos": "thanos", "victoria_metrics": "victoria-metrics"}


def discovered(promtool: Path, config: Path, job: str, empty: bool = False) -> list[dict]:
    # On a busy machine promtool can end before it has read the files, and then
    # panics or has nothing to tell: it is given more time.
    for seconds in (1, 4, 16):
        done = subprocess.run(
            [promtool, "check", "service-discovery", f"--timeout={seconds}s", config, job],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        found = [target["labels"] for target in json.loads(done.stdout) or []] if done.returncode == 0 else []
        if found or done.returncode == 0 and empty:
            break
    return found


def check(promtool: Path, environment: str = "production") -> dict[str, list[str]]:
    """What is wrong, by job. What is optional and a second node are switched on by their files."""
    with tempfile.TemporaryDirectory(prefix="erlmcp-targets-") as folder:
        copy = Path(folder) / "prometheus"
        shutil.copytree(PROMETHEUS, copy)
        for name in OPTIONS.values():
            shutil.copy(copy / f"targets/available/{name}.yml", copy / f"targets/{name}-1.yml")
        with ThreadPoolExecutor(4) as pool:
            found = dict(zip(JOBS, pool.map(lambda job: discovered(promtool, copy / "prometheus.yml", job), JOBS)))
        # By its file alone: promtool panics ("send on closed channel") when a job has
        # targets of two kinds.
        (copy / "targets/erlmcp-second.yml").write_text("- targets: [erlmcp-2:8080]\n  labels: {environment: production}\n")
        whole = yaml.safe_load((copy / "prometheus.yml").read_text())
        for job in whole["scrape_configs"]:
            job.pop("static_configs", None)
        (copy / "files-only.yml").write_text(yaml.safe_dump(whole))
        second = [target["instance"] for target in discovered(promtool, copy / "files-only.yml", "erlmcp")]
        off = {job: discovered(promtool, PROMETHEUS / "prometheus.yml", job, empty=True) for job in OPTIONS}
    wrong = {}
    for job, targets in JOBS.items():
        got = sorted(
            (t["__address__"], t["__metrics_path__"], t["__scrape_interval__"], t.get("instance", t["__address__"]), t.get("environment"), t["job"])
            for t in found[job]
        )
        expected = sorted((*target, environment, job) for target in targets)
        wrong[job] = [] if got == expected else [f"{got}, not {expected}"]
    health = found["erlmcp_health"][0]
    if (health.get("__param_target"), health.get("__param_module")) != ("http://erlmcp:8080/health", "http_2xx"):
        wrong["erlmcp_health"].append(f"asks for {health}")
    if second != ["erlmcp-2:8080"]:
        wrong["erlmcp"].append(f"its file gives {second}")
    for job, targets in off.items():
        if targets:
            wrong[job].append(f"is scraped without its file: {targets}")
    return wrong


def script() -> dict[str, list[str]]:
    """prometheus-config.sh: what it changes, and how it refuses."""
    path = str(MONITORING / "scripts" / "prometheus-config.sh")

    def call(*words: str) -> tuple[int, str]:
        done = subprocess.run([path, *words], capture_output=True, text=True, check=False)
        return done.returncode, done.stdout

    plain = (PROMETHEUS / "prometheus.yml").read_text()
    status, text = call("--environment", "staging", "--remote-write", "victoria-metrics")
    wrong = {
        "prometheus-config.sh without words": [] if call() == (0, plain) else ["is not prometheus.yml"],
        "prometheus-config.sh changes": [],
        "prometheus-config.sh usage": [],
    }
    if status or "environment: &environment staging\n" not in text or text.count("\nremote_write:\n") != 1 or "victoria-metrics:8428" not in text:
        wrong["prometheus-config.sh changes"].append(text[-500:])
    for words, expected in ((("-h",), 0), (("--foo", "x"), 2), (("--remote-write", "nothing"), 2), (("--environment",), 2), (("--environment", "a b"), 2)):
        if call(*words)[0] != expected:
            wrong["prometheus-config.sh usage"].append(f"{words} gives {call(*words)[0]}, not {expected}")
    return wrong
