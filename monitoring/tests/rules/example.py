"""The guide's custom metric from the Erlang module to the alert, by real programs."""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

import cases
import check
from metrics import Catalogue
from model import EXAMPLE, HERE, MONITORING, PROMETHEUS, read
from programs import free_port

if TYPE_CHECKING:
    from suite import Count

SECONDS = 120
MODULE = "erlmcp_custom_metric_example"


def run(count: "Count", tools: Path, versions: tuple[str, ...], recorded: dict[str, tuple[str, dict]]) -> None:
    rules = read(EXAMPLE / "rules.yml")
    alerts = [rule for rule in rules if rule.alert]
    mine = recorded | {rule.name: (rule.expr, rule.labels) for rule in rules if not rule.alert}
    catalogue = Catalogue(mine, {"erlmcp_custom_metric": frozenset({"desk"})})
    for rule in alerts:
        wrong = [line for line in check.contract(rule) if not line.startswith("runbook_url")]
        count.result(f"example: {rule.name}", wrong + check.names(rule, catalogue))
    tests = cases.of_alerts(HERE / "example" / "rules.yml", rules)
    with tempfile.TemporaryDirectory(prefix="erlmcp-example-") as folder:
        files = cases.written(tests, Path(folder))
        for version in versions:
            for tool in sorted(tools.glob(f"prometheus-{version}/promtool"))[-1:]:
                for path in files:
                    done = subprocess.run([tool, "test", "rules", path], capture_output=True, text=True, check=False)
                    count.result(f"example: cases with {version}", [] if done.returncode == 0 else [done.stdout + done.stderr])
    live(count, tools)


def live(count: "Count", tools: Path) -> None:
    name = "example: module, /metrics/custom, recorded sum, alert"
    build = Path(os.environ.get("ERLMCP_BUILD", MONITORING.parent / "_build/default/lib/erlmcp_instrumentation"))
    found = sorted(tools.glob("prometheus-2.53.3/prometheus")) or sorted(tools.glob("prometheus-*/prometheus"))
    if not (build / "ebin" / "erlmcp_metrics.beam").exists():
        return count.skip(name, "the library is not built (make compile, or ERLMCP_BUILD)")
    if not found or not shutil.which("erl"):
        return count.skip(name, "no Prometheus or no Erlang (scripts/setup.sh stack)")
    with tempfile.TemporaryDirectory(prefix="erlmcp-example-") as folder:
        count.result(name, chain(Path(folder), build, found[-1]))


def chain(folder: Path, build: Path, prometheus: Path) -> list[str]:
    http, custom, port = free_port(), free_port(), free_port()
    subprocess.run(["erlc", "-o", folder, EXAMPLE / f"{MODULE}.erl"], check=True)
    call = f"{{ok,_}}=application:ensure_all_started(erlmcp_instrumentation),ok={MODULE}:declare(),ok={MODULE}:record(north,120),ok={MODULE}:record(south,30)."
    environment = os.environ | {"ERLMCP_HTTP_PORT": str(http), "ERLMCP_CUSTOM_PORT": str(custom), "ERL_CRASH_DUMP_BYTES": "0"}
    configure(folder, http, custom)
    processes = []
    try:
        with (folder / "log").open("w") as log:
            for command in (
                ["erl", "-noinput", "-pa", str(build / "ebin"), str(folder), "-eval", call],
                [str(prometheus), f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address=127.0.0.1:{port}"],
            ):
                processes.append(subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=folder, start_new_session=True))
        wrong = ["it did not come so far"]
        until = time.monotonic() + SECONDS
        while wrong and time.monotonic() < until:
            time.sleep(0.5)
            if any(process.poll() is not None for process in processes):
                wrong = ["a program ended by itself"]
                break
            wrong = state(f"http://127.0.0.1:{port}", f"http://127.0.0.1:{custom}")
        return wrong + ((folder / "log").read_text().splitlines()[-10:] if wrong else [])
    finally:
        for process in processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def state(prometheus: str, node: str) -> list[str]:
    """What is not yet as it should be."""
    try:
        page = urllib.request.urlopen(f"{node}/metrics/custom", timeout=2).read().decode()
        if 'erlmcp_custom_metric{desk="north"} 120' not in page:
            return [f"/metrics/custom lacks the metric: {page[:300]}"]
        if value(prometheus, "erlmcp_custom_metric:sum") != 150:
            return [f"erlmcp_custom_metric:sum is {value(prometheus, 'erlmcp_custom_metric:sum')}, not 150"]
        if value(prometheus, "sum(erlmcp_custom_metric)") != 300:
            return ["the guide's sum is not twice the truth any more: say so in the example"]
        alerts = get(f"{prometheus}/api/v1/alerts")["alerts"]
        if [(a["labels"]["alertname"], a["state"]) for a in alerts] != [("ErlmcpCustomMetricHigh", "firing")]:
            return [f"alerts: {alerts}"]
    except (OSError, IndexError) as error:
        return [f"no answer: {error!r}"]
    return []


def configure(folder: Path, http: int, custom: int) -> None:
    """The jobs of prometheus.yml on these ports, and the example's rules, made quick."""
    whole = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    jobs = []
    for job in whole["scrape_configs"]:
        if job["job_name"] in ("erlmcp", "erlmcp_custom"):
            (static,) = job["static_configs"]
            (target,) = static["targets"]
            assert target == {"erlmcp": "erlmcp:8080", "erlmcp_custom": "erlmcp:8086"}[job["job_name"]], target
            static["targets"] = [f"127.0.0.1:{http if job['job_name'] == 'erlmcp' else custom}"]
            jobs.append(job | {"scrape_interval": "1s", "scrape_timeout": "1s", "file_sd_configs": []})
    rules = yaml.safe_load((EXAMPLE / "rules.yml").read_text())
    for rule in rules["groups"][0]["rules"]:
        if "for" in rule:
            rule["for"] = "2s"
    (folder / "rules.yml").write_text(yaml.safe_dump(rules))
    (folder / "prometheus.yml").write_text(
        yaml.safe_dump({"global": {"evaluation_interval": "1s"}, "rule_files": ["rules.yml"], "scrape_configs": jobs})
    )


def get(url: str) -> dict:
    return json.load(urllib.request.urlopen(url, timeout=2))["data"]


def value(prometheus: str, query: str) -> float:
    found = get(f"{prometheus}/api/v1/query?{urllib.parse.urlencode({'query': query})}")["result"]
    return float(found[0]["value"][1])
