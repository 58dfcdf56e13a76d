"""What N nodes cost a real Prometheus: series, memory, scrapes, rules, on the shipped files.

    python scale.py SECONDS NODES ...     one table row for each number of nodes

Run by run.sh, in a namespace of its own. Figures over five minutes are evaluated in full only
after five minutes: rule times of a shorter run are too small.
"""

import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "lib")]

from programs import ROOT, Program, find, wait_for  # noqa: E402
from prometheus import Client  # noqa: E402
from shared import GENERATOR, demo, template  # noqa: E402

PROMETHEUS = "2.53.3"
BLACKBOX_EXPORTER = "0.23.0"
ADDRESS = "127.0.0.1:9090"
BLACKBOX = "modules: {http_2xx: {prober: http, timeout: 5s, http: {preferred_ip_protocol: ip4}}}\n"


class Scene:
    """Simulated nodes, and Prometheus on the shipped configuration."""

    def __init__(self, folder: Path, recorded: Path, nodes: int) -> None:
        self.folder, self.nodes = folder, nodes
        # In memory there: the namespace's.
        self.config = folder / "prometheus"
        shutil.copytree(ROOT / "monitoring/prometheus", self.config)
        blackbox = folder / "blackbox.yml"
        blackbox.write_text(BLACKBOX)
        self._programs = [
            Program(
                "nodes",
                [sys.executable, GENERATOR, "serve", recorded, "--nodes", str(nodes), "--targets", self.config / "targets"],
                folder / "nodes.log",
            ),
            Program(
                "blackbox_exporter",
                [find("blackbox_exporter", BLACKBOX_EXPORTER), f"--config.file={blackbox}"],
                folder / "blackbox.log",
            ),
        ]
        wait_for("targets", lambda: (self.config / "targets/erlmcp-load.yml").exists(), 30)
        self.data = folder / "data"
        self.prometheus = Program(
            "prometheus",
            [
                find("prometheus", PROMETHEUS),
                f"--config.file={self.config / 'prometheus.yml'}",
                f"--storage.tsdb.path={self.data}",
                "--storage.tsdb.retention.time=30d",
                f"--web.listen-address={ADDRESS}",
                "--enable-feature=exemplar-storage",
                "--log.level=warn",
            ],
            folder / "prometheus.log",
        )
        self._programs.append(self.prometheus)
        self.prometheus.wait_until_answers(f"http://{ADDRESS}/-/ready")
        self.client = Client(ADDRESS)

    def wait(self) -> None:
        """Until each node was scraped by each of its jobs."""
        for job in ("erlmcp", "erlmcp_custom", "erlmcp_health"):
            query = f'sum(up{{job="{job}"}} == 1) >= {self.nodes}'
            wait_for(f"{self.nodes} nodes in {job}", lambda query=query: self.client.value(query), 90)  # type: ignore[misc]

    def stop(self) -> None:
        """All of it."""
        for program in reversed(self._programs):
            program.stop()


def rules(client: Client) -> list[tuple[float, str, str]]:
    """Seconds, group and name of each rule, the slowest first."""
    groups = client.get("rules")["groups"]
    found = [(rule["evaluationTime"], group["name"], rule["name"]) for group in groups for rule in group["rules"]]
    return sorted(found, reverse=True)


def groups(client: Client) -> list[tuple[float, float, str]]:
    """Part of its interval, seconds and name of each group, the fullest first."""
    found = [(one["evaluationTime"] / one["interval"], one["evaluationTime"], one["name"]) for one in client.get("rules")["groups"]]
    return sorted(found, reverse=True)


QUERIES = {
    "series": "prometheus_tsdb_head_series",
    "samples_per_second": "rate(prometheus_tsdb_head_samples_appended_total[{window}s])",
    "memory_bytes": 'process_resident_memory_bytes{{job="prometheus"}}',
    "heap_bytes": 'go_memstats_heap_inuse_bytes{{job="prometheus"}}',
    "cpu_cores": 'rate(process_cpu_seconds_total{{job="prometheus"}}[{window}s])',
    "wal_bytes": "prometheus_tsdb_wal_storage_size_bytes",
    "scrape_seconds_max": 'max(scrape_duration_seconds{{job="erlmcp"}})',
    "scrape_seconds_mean": 'avg(scrape_duration_seconds{{job="erlmcp"}})',
    "series_of_erlmcp": 'max(scrape_samples_scraped{{job="erlmcp"}})',
    "series_of_custom": 'max(scrape_samples_scraped{{job="erlmcp_custom"}})',
    "missed_evaluations": "sum(prometheus_rule_group_iterations_missed_total)",
    "recorded_series": 'count({{__name__=~".+:.+"}})',
    "alerts": "count(ALERTS)",
}


def figures(scene: Scene, window: int) -> dict[str, Any]:
    """What Prometheus says of itself, and of its rules."""
    found: dict[str, Any] = {"nodes": scene.nodes}
    for name, query in QUERIES.items():
        found[name] = scene.client.value(query.format(window=window))
    found["rules_seconds"] = sum(seconds for seconds, _, _ in rules(scene.client))
    found["groups"] = groups(scene.client)[:5]
    found["rules"] = rules(scene.client)[:8]
    return found


def measure(folder: Path, recorded: Path, nodes: int, seconds: int) -> dict[str, Any]:
    """One row."""
    scene = Scene(folder, recorded, nodes)
    try:
        scene.wait()
        time.sleep(seconds)
        return figures(scene, max(60, min(seconds, 300)))
    finally:
        scene.stop()


def show(row: dict[str, Any]) -> None:
    """For a person."""
    for name in QUERIES:
        print(f"  {name:22} {row[name] if row[name] is not None else 0:,.4g}")
    print(f"  all rules once         {row['rules_seconds']:.3f} s")
    for part, took, name in row["groups"]:
        print(f"  group  {took:8.4f} s  {part:7.2%} of its interval  {name}")
    for took, group, name in row["rules"]:
        print(f"  rule   {took:8.4f} s  {name} ({group})")


def machine() -> str:
    """What the figures were taken on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "")
    memory = int(Path("/proc/meminfo").read_text().split()[1]) / 2**20
    return f"{os.cpu_count()} cores ({model}), {memory:.0f} GiB, load {os.getloadavg()[0]:.1f}"


def main(words: list[str]) -> int:
    """Rows for the numbers of nodes that are asked for, each as JSON too."""
    seconds, *numbers = map(int, words)
    with tempfile.TemporaryDirectory(prefix="erlmcp-scale-") as name:
        recorded = template(15)
        demo().stop()
        print(f"Prometheus {PROMETHEUS}, {machine()}", flush=True)
        for nodes in numbers:
            folder = Path(name) / str(nodes)
            folder.mkdir()
            row = measure(folder, recorded, nodes, seconds)
            print(f"\n{nodes} nodes, {seconds} s")
            show(row)
            print(json.dumps(row), flush=True)
            shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
