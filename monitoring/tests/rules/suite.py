"""Runs the tests of rules, alerts and runbooks; called by run.sh."""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "lib"))

import check
import docs
import example
import runbooks
import targets
from cases import Test, of_alerts, of_recorded, written
from metrics import Catalogue
from model import ALERTS, EXAMPLE, HERE, MONITORING, PROMETHEUS, RECORDING, RUNBOOKS, read_all

TOOLS = Path(os.environ.get("ERLMCP_TOOLS", MONITORING.parent / ".tools"))
VERSIONS = ("2.42.0", "2.53.3", "3.5.*")


class Count:
    """Passed, failed, skipped, and the lines that say which."""

    def __init__(self) -> None:
        self.passed = self.failed = self.skipped = 0

    def result(self, name: str, wrong: list[str]) -> None:
        if wrong:
            self.failed += 1
            for line in wrong:
                print(f"FAILED {name}: {line}", flush=True)
        else:
            self.passed += 1

    def skip(self, name: str, why: str) -> None:
        self.skipped += 1
        print(f"skipped {name}: {why}", flush=True)


def promtool(version: str) -> Path | None:
    found = sorted(TOOLS.glob(f"prometheus-{version}/promtool"))
    return found[-1] if found else None


def run(command: list[str], seconds: int = 600) -> tuple[int, str]:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=seconds, check=False)
    return done.returncode, done.stdout


def logql(count: Count) -> None:
    """The runbooks' queries of logs, by Grafana's own parser."""
    name = "runbooks: LogQL"
    modules = TOOLS / "stack-node" / "node_modules"
    if not (modules / "@grafana" / "lezer-logql").exists() or not shutil.which("node"):
        return count.skip(name, "no node or no @grafana/lezer-logql (scripts/setup.sh stack)")
    queries = runbooks.queries("logql")
    done = subprocess.run(
        ["node", str(HERE / "logql.mjs"), str(modules)], input=json.dumps(queries), capture_output=True, text=True, check=False
    )
    count.result(name, [f"does not parse: {query}" for query in json.loads(done.stdout)] if done.returncode == 0 else [done.stderr])


def shell(count: Count) -> None:
    """The runbooks' commands: bash parses them. What they do needs a stack that is ill."""
    wrong = []
    for commands in runbooks.queries("sh"):
        done = subprocess.run(["bash", "-n"], input=commands, capture_output=True, text=True, check=False)
        if done.returncode:
            wrong.append(f"{commands}: {done.stderr}")
    count.result("runbooks: commands", wrong)


def configuration(count: Count, tool: Path, version: str) -> None:
    """prometheus.yml as it is, with long-term storage, and with other names."""
    script = str(MONITORING / "scripts" / "prometheus-config.sh")
    count.result(f"{version} check config", verdict(run([str(tool), "check", "config", str(PROMETHEUS / "prometheus.yml")])))
    for options in (["--remote-write", "victoria-metrics"], ["--environment", "staging", "--cluster", "c", "--replica", "r"]):
        text = subprocess.run([script, *options], capture_output=True, text=True, check=True).stdout
        # Beside prometheus.yml, since its paths are relative.
        with tempfile.NamedTemporaryFile("w", suffix=".yml", dir=PROMETHEUS) as file:
            file.write(text)
            file.flush()
            count.result(f"{version} check config {' '.join(options)}", verdict(run([str(tool), "check", "config", file.name])))
    for job, wrong in targets.check(tool).items():
        count.result(f"{version} targets of {job}", wrong)
    for path in [*sorted(ALERTS.glob("*.yml")), *sorted(RECORDING.glob("*.yml")), *sorted(EXAMPLE.glob("rules.yml"))]:
        count.result(f"{version} check rules {path.name}", verdict(run([str(tool), "check", "rules", "--lint=all", "--lint-fatal", str(path)])))


def verdict(done: tuple[int, str]) -> list[str]:
    status, output = done
    return [] if status == 0 else [line for line in output.splitlines() if line.strip()][:20]


def cases(count: Count, tool: Path, version: str, files: dict[Path, list[Test]]) -> None:
    for path, tests in files.items():
        status, output = run([str(tool), "test", "rules", str(path)])
        if status == 0:
            count.passed += len(tests)
            continue
        failed = [test for test in tests if re.search(rf"name: {re.escape(test.name)}[,\n]", output)]
        count.passed += len(tests) - max(1, len(failed))
        count.failed += max(1, len(failed))
        print(f"FAILED {version} {path.stem}: {', '.join(test.name for test in failed)}\n{output}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--only", choices=("static", "cases", "example"))
    arguments = parser.parse_args()

    alerts, records = read_all(ALERTS), read_all(RECORDING)
    recorded = {rule.name: (rule.expr, rule.labels) for rule in records}
    catalogue = Catalogue(recorded)
    if arguments.write:
        (RUNBOOKS / "README.md").write_text(runbooks.index(alerts))
        return 0

    count = Count()
    tests = [test for path in sorted((HERE / "cases").glob("*.yml")) for test in of_alerts(path, alerts)]
    tests += [test for path in sorted((HERE / "recorded").glob("*.yml")) for test in of_recorded(path)]
    if arguments.only in (None, "static"):
        for rule in alerts:
            count.result(f"{rule.name}, labels and annotations", check.contract(rule))
            count.result(f"{rule.name}, names", check.names(rule, catalogue))
        for rule in records:
            count.result(f"{rule.name}, names", check.record(rule, catalogue))
        for name, wrong in sorted(runbooks.check(alerts, catalogue).items()):
            count.result(f"runbooks/{name}.md", wrong)
        for page, wrong in docs.check(catalogue).items():
            count.result(f"{page}, names of metrics", wrong)
        count.result("the checker of pages", docs.checker(catalogue))
        logql(count)
        shell(count)
        for name, wrong in targets.script().items():
            count.result(name, wrong)
        current = (RUNBOOKS / "README.md").read_text() if (RUNBOOKS / "README.md").exists() else ""
        count.result("runbooks/README.md", [] if current == runbooks.index(alerts) else ["is not as the rules are: run.sh --write"])
        count.result("the checkers", check.checkers(catalogue))
        count.result("threshold table", check.table(alerts))
        count.result("coverage", check.coverage(alerts, records, tests))
        print(f"{len({r.name for r in alerts})} alerts and {len(records)} recorded metrics, {len(tests)} cases, {check.fired(tests)} of them firing")
    with tempfile.TemporaryDirectory(prefix="erlmcp-rules-") as folder:
        files = written(tests, Path(folder))
        if arguments.only in (None, "cases"):
            for version in VERSIONS:
                tool = promtool(version)
                if tool is None:
                    count.skip(f"Prometheus {version}", "not in .tools (scripts/setup.sh stack)")
                    continue
                configuration(count, tool, version)
                cases(count, tool, version, files)
                print(f"Prometheus {version}: {count.passed} passed so far", flush=True)
    if arguments.only in (None, "example"):
        example.run(count, TOOLS, VERSIONS, recorded)
    print(f"rules: {count.passed} passed, {count.failed} failed, {count.skipped} skipped")
    return 1 if count.failed else 0


if __name__ == "__main__":
    sys.exit(main())
