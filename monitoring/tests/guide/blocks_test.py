"""One test for each block of the guide, in its order; they stand on each other."""

import json
import os
import pty
import re
import subprocess
import unittest
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import yaml
from blocks import Block, blocks
from namespace import ROOT
from place import Application, Place, deviations, emptied
from programs import NotHere, find, wait_for
from prometheus import Client

FOLDER = Path("/tmp/guide")
MONITORING = ROOT / "monitoring"
PROMETHEUS = "2.53.3"
GUIDE_PORTS = {"erlmcp-prometheus": "9090", "erlmcp-grafana": "3000", "erlmcp-loki": "3100"}


def read(path: str) -> Any:
    """A YAML file of monitoring/."""
    return yaml.safe_load((MONITORING / path).read_text(encoding="utf-8"))


class GuideTest(unittest.TestCase):
    """The blocks."""

    place: ClassVar[Place]
    application: ClassVar[Application]
    blocks: ClassVar[dict[int, Block]] = blocks()

    @classmethod
    def setUpClass(cls) -> None:
        """The application of blocks 15 to 17 runs from the start: it is what is watched."""
        emptied(FOLDER)
        try:
            cls.place = Place(FOLDER)
        except NotHere as missing:
            raise unittest.SkipTest(str(missing)) from missing
        code = [cls.blocks[number].text for number in (15, 16, 17)]
        cls.application = Application(FOLDER / "application", *code)
        cls.addClassCleanup(cls.application.stop)
        cls.addClassCleanup(lambda: cls.place.run("./scripts/deploy-monitoring.sh stop --native", 120))

    def departs(self, *rows: str) -> None:
        """docs/deviations.md says so."""
        listed = deviations()
        for row in rows:
            self.assertTrue(any(row in cell for cell in listed), f"docs/deviations.md has no row with: {row}")

    def checked(self, config: dict[str, Any]) -> subprocess.CompletedProcess[str]:
        """What promtool says of a configuration."""
        path = FOLDER / "config.yml"
        path.write_text(yaml.safe_dump(config), encoding="utf-8")
        return self._promtool("config", path)

    def rules(self, text: str) -> None:
        """What promtool says of rules."""
        path = FOLDER / "rules.yml"
        path.write_text(text, encoding="utf-8")
        done = self._promtool("rules", path)
        self.assertEqual(0, done.returncode, done.stdout + done.stderr)

    @staticmethod
    def _promtool(what: str, path: Path) -> subprocess.CompletedProcess[str]:
        command = [find("prometheus", PROMETHEUS, "promtool"), "check", what, path]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    # Quick start

    def block_01(self, block: Block) -> None:
        """Clone."""
        self.place.works(block.text)
        self.assertTrue((self.place.monitoring / "scripts/deploy-monitoring.sh").is_file())

    def block_02(self, block: Block) -> None:
        """It is executable already."""
        self.place.works(block.text)
        self.assertEqual("", self.place.works("git status --short"))

    def block_03(self, block: Block) -> None:
        """Deploy."""
        output = self.place.native(block.text.strip())
        self.assertIn("http://127.0.0.1:9090", output)

    def block_04(self, block: Block) -> None:
        """Verify."""
        output = self.place.native(block.text.strip())
        self.assertNotIn("FAILED", output)
        for found in ("prometheus", "trace", "log"):
            self.assertRegex(output, rf"(?i)ok\s.*{found}")

    def block_05(self, block: Block) -> None:
        """The verbs; here only that the script knows them, the last test runs them."""
        usage = self.place.works("./scripts/deploy-monitoring.sh --help")
        for command in block.commands():
            self.assertIn(command.split()[-1], usage)

    # Manual deployment

    def block_06(self, block: Block) -> None:
        """The folders."""
        self.place.works(block.text)
        self.assertEqual("", self.place.works("git status --short"))

    def block_07(self, block: Block) -> None:
        """Copies of files onto themselves: the folders are mounted as they are."""
        for command in block.commands():
            done = self.place.run(command)
            self.assertIn("are the same file", done.stderr, command)
        self.departs("cp alertmanager/templates/*.tmpl alertmanager/templates/")
        mounted = {mount.get("source", "") for service in self.place.stack().values() for mount in service["volumes"]}
        for source in {command.split()[-1] for command in block.commands()}:
            path = str((self.place.monitoring / source).resolve())
            self.assertTrue(any(path.startswith(mount) for mount in mounted if mount), source)

    def block_08(self, block: Block) -> None:
        """Up, by compose alone."""
        self.place.understood(block.text.strip())
        self.departs("`docker-compose`")

    def block_09(self, block: Block) -> None:
        """Wait."""
        self.place.native(block.text.strip())

    # Configuration

    def block_10(self, block: Block) -> None:
        """The job is there."""
        wanted = yaml.safe_load(block.text)["scrape_configs"][0]
        jobs = {job["job_name"]: job for job in read("prometheus/prometheus.yml")["scrape_configs"]}
        found = jobs[wanted["job_name"]]
        self.assertEqual(wanted["metrics_path"], found["metrics_path"])
        self.assertEqual(wanted["static_configs"][0]["targets"], found["static_configs"][0]["targets"])

    def block_11(self, block: Block) -> None:
        """A recording rule."""
        self.rules(block.text)
        self.departs("sum(erlmcp_custom_metric)")

    def block_12(self, block: Block) -> None:
        """An alert; in a group it is one."""
        indented = "".join(f"      {line}\n" for line in block.text.splitlines())
        self.rules(f"groups:\n  - name: guide\n    rules:\n{indented}")
        self.departs("alert `high_custom_metric`")
        self.assertTrue((MONITORING / "prometheus/examples/custom-metric/rules.yml").is_file())

    def block_13(self, block: Block) -> None:
        """A dashboard in the envelope of Grafana's HTTP API."""
        # The guide leaves out the panels, and the uid that every exported dashboard has.
        exported = json.loads(block.text.replace("[...]", "[]"))
        exported["dashboard"]["uid"] = "custom-dashboard"
        self.departs('exported JSON as `{"dashboard": {...}}`')
        source = FOLDER / "exported.json"
        source.write_text(json.dumps(exported), encoding="utf-8")
        self.place.works(f"grafana/import_dashboard.py {source}")
        (target,) = (self.place.monitoring / "grafana/dashboards/custom").glob("*.json")
        bare = json.loads(target.read_text(encoding="utf-8"))
        self.assertEqual("Custom Dashboard", bare["title"])
        self.assertNotIn("dashboard", bare)

    def block_14(self, block: Block) -> None:
        """Two formats in one file."""
        self.departs("data sources and dashboards in one provisioning file")
        wanted = yaml.safe_load(block.text)["datasources"][0]
        sources = {source["name"]: source for source in read("grafana/datasources/prometheus.yml")["datasources"]}
        self.assertEqual(wanted, {key: sources["Prometheus"][key] for key in wanted})
        folder = Path(yaml.safe_load(block.text)["dashboards"][0]["options"]["path"]).parent
        provider = read("grafana/dashboards/providers.yml")["providers"][0]
        self.assertEqual(str(folder), provider["options"]["path"])

    # Integration

    def block_15(self, _block: Block) -> None:
        """It is the application that runs."""
        self.place.works("curl -fsS http://erlmcp:8080/health")

    def block_16(self, _block: Block) -> None:
        """Its requests are counted, timed, and in Jaeger."""
        for name in ("requests_total", "erlmcp_requests_total"):
            self.assertRegex(self.place.works("curl -fsS http://erlmcp:8080/metrics"), rf"(?m)^{name}(\{{.*\}})? [1-9]")

        def traces() -> Any:
            return json.loads(self.place.works("curl -fsS 'http://jaeger:16686/api/traces?service=erlmcp&limit=1'"))[
                "data"
            ]

        self.assertEqual("ping", wait_for("a trace", lambda: traces() or None, 30)[0]["spans"][0]["operationName"])

    def block_17(self, block: Block) -> None:
        """Its log is in Loki, with the fields."""
        self.departs('logger:info("Request processed"')
        query = "curl -fsSG http://loki:3100/loki/api/v1/query_range --data-urlencode 'query={job=\"erlmcp\"}'"

        def lines() -> Any:
            streams = json.loads(self.place.works(query))["data"]["result"]
            return [line for stream in streams for _, line in stream["values"] if "Request processed" in line]

        line = json.loads(wait_for("a line", lambda: lines() or None, 30)[0])
        for field in re.findall(r"(\w+) =>", block.text):
            self.assertIn(field, line)

    def block_18(self, block: Block) -> None:
        """One pod with an image that there is not."""
        self.departs("one pod `erlmcp/monitoring:v3.0.0`")
        wanted = yaml.safe_load(block.text)["spec"]["template"]["spec"]["containers"][0]["ports"]
        rendered = self._kubernetes()
        ports = {
            port["containerPort"]
            for workload in rendered
            if workload["kind"] in ("Deployment", "StatefulSet")
            for container in workload["spec"]["template"]["spec"]["containers"]
            for port in container.get("ports", [])
        }
        self.assertLessEqual({port["containerPort"] for port in wanted}, ports)

    def block_19(self, block: Block) -> None:
        """The health page answers; the Deployment asks for liveness alone."""
        wanted = yaml.safe_load(block.text)["livenessProbe"]["httpGet"]
        self.place.works(f"curl -fsS http://erlmcp:{wanted['port']}{wanted['path']}")
        self.departs("`livenessProbe` on `/health`")
        example = self._kubernetes("components/erlmcp")
        containers = [
            container
            for workload in example
            if workload["kind"] == "Deployment" and workload["metadata"]["name"] == "erlmcp"
            for container in workload["spec"]["template"]["spec"]["containers"]
        ]
        self.assertIn("livenessProbe", containers[0])

    def _kubernetes(self, folder: str = "base") -> list[dict[str, Any]]:
        """What kustomize makes of the base, or of it with a component."""
        overlay = self.place.monitoring / "kubernetes/guide"
        emptied(overlay)
        lines = ["resources: [../base]"] + ([f"components: [../{folder}]"] if folder != "base" else [])
        (overlay / "kustomization.yaml").write_text("\n".join(lines), encoding="utf-8")
        found = sorted((find("kustomize", "5.8.1")).parent.glob("kustomize"))
        done = subprocess.run([found[0], "build", overlay], capture_output=True, text=True, check=False)
        self.assertEqual(0, done.returncode, done.stderr)
        return [document for document in yaml.safe_load_all(done.stdout) if document]

    def block_20(self, block: Block) -> None:
        """A deployment that ends with its job."""
        self.departs("a deployment on the workflow's own runner")
        wanted = yaml.safe_load(block.text)[True]["push"]["paths"]
        workflows = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in (ROOT / ".github/workflows").glob("*.yml")]
        deploys = [flow for flow in workflows if "deploy" in str(flow.get("name", "")).lower()]
        self.assertTrue(any(set(wanted) <= set((flow[True].get("push") or {}).get("paths", [])) for flow in deploys))

    # Troubleshooting

    def block_21(self, block: Block) -> None:
        """Targets."""
        targets = json.loads(self.place.works(block.text.replace("curl", "curl -sS")))["data"]["activeTargets"]
        health = {target["labels"]["job"]: target["health"] for target in targets}
        self.assertEqual("up", health["erlmcp"])
        self.departs("curl -f http://localhost:9090/api/v1/targets")

    def block_22(self, block: Block) -> None:
        """A scrape."""
        self.assertIn("requests_total", self.place.works(block.text))
        self.departs("curl -f http://erlmcp:8080/metrics")

    def block_23(self, block: Block) -> None:
        """The container has this name."""
        self.assertIn(block.text.split()[-1], self.place.stack())

    def block_24(self, block: Block) -> None:
        """Wants credentials, and answers with them."""
        self.departs("curl -f http://localhost:3000/api/datasources")
        self.assertIn("401", self._refused(block.text.strip()))
        sources = json.loads(self._grafana(block.text.strip()))
        self.assertLessEqual({"prometheus", "loki", "jaeger"}, {source["uid"] for source in sources})

    def block_25(self, block: Block) -> None:
        """There is no such GET; there are two others."""
        self.departs("curl -f http://localhost:3000/api/dashboards")
        self.assertIn("404", self._refused(self._with_password(block.text.strip())))
        search = "curl -f 'http://localhost:3000/api/search?type=dash-db'"
        self.assertIn("erlmcp-overview", {board["uid"] for board in json.loads(self._grafana(search))})
        self._grafana("curl -f http://localhost:3000/api/dashboards/uid/erlmcp-overview")

    def _refused(self, command: str) -> str:
        if not self.place.has_grafana():
            self.skipTest("no Grafana server here (scripts/setup.sh stack)")
        done = self.place.run(command)
        self.assertNotEqual(0, done.returncode, command)
        return done.stderr

    def _with_password(self, command: str) -> str:
        password = (FOLDER / "state/data/grafana/admin-password").read_text(encoding="ascii").strip()
        return command.replace("curl -f", f"curl -f -sS -u admin:{password}")

    def _grafana(self, command: str) -> str:
        return self.place.works(self._with_password(command))

    def block_26(self, block: Block) -> None:
        """The container has this name."""
        self.assertIn(block.text.split()[-1], self.place.stack())

    def block_27(self, block: Block) -> None:
        """The application's log is there."""
        self.assertIn("erlmcp.log", self.place.works(block.text))

    def block_28(self, block: Block) -> None:
        """What is there, and what answers."""
        published = {
            str(port["published"]) for service in self.place.stack().values() for port in service.get("ports", [])
        }
        for command in block.commands():
            if command.startswith("docker-compose"):
                self.place.understood(command)
            elif command.startswith("nc"):
                port = command.split()[-1]
                self.assertIn(port, published)
                if port != GUIDE_PORTS["erlmcp-grafana"] or self.place.has_grafana():
                    self.place.works(command)
            else:
                answer = json.loads(self.place.works(command.replace("curl", "curl -sS")))
                self.assertIn("1", {sample["value"][1] for sample in answer["data"]["result"]})

    # Tuning

    def block_29(self, block: Block) -> None:
        """Retention is a flag."""
        self.assertNotEqual(0, self.checked(yaml.safe_load(block.text)).returncode)
        self.departs("`storage.tsdb.retention.time` in `prometheus.yml`")
        self.assertIn("--storage.tsdb.retention.time=30d", self.place.stack()["erlmcp-prometheus"]["command"])

    def block_30(self, block: Block) -> None:
        """Another interval."""
        changed = read("prometheus/prometheus.yml")
        job = yaml.safe_load(block.text)["scrape_configs"][0]
        next(old for old in changed["scrape_configs"] if old["job_name"] == job["job_name"]).update(job)
        done = self.checked(changed)
        self.assertEqual(0, done.returncode, done.stdout + done.stderr)

    def block_31(self, block: Block) -> None:
        """That is throughput."""
        self.departs("`max_shards` as")
        wanted = yaml.safe_load(block.text)["remote_write"]["queue_config"]["max_shards"]
        shipped = read("prometheus/remote_write/victoria-metrics.yml")["remote_write"][0]
        self.assertEqual(wanted, shipped["queue_config"]["max_shards"])

    def block_32(self, _block: Block) -> None:
        """Grafana has another key for it."""
        self.departs("Grafana's `metrics: {max_data_points, time_interval}`")
        for source in read("grafana/datasources/prometheus.yml")["datasources"]:
            if source["type"] == "prometheus":
                self.assertIn("timeInterval", source["jsonData"])

    def block_33(self, block: Block) -> None:
        """A query. The application handles ten requests a second."""
        (query,) = block.commands()
        client = Client("prometheus:9090")

        def grown() -> float | None:
            """Over five minutes: it grows with each scrape of an application that began a short time ago."""
            value = client.value(query)
            return value if value and value > 1 else None

        self.assertGreater(wait_for("more than one request a second", grown, 120, pause=1), 1)

    # Maintenance

    def block_34(self, block: Block) -> None:
        """Copies out of containers: they have these files."""
        self._copies(block)

    def block_35(self, block: Block) -> None:
        """Of what is written meanwhile: a copy, and not a consistent one."""
        self._copies(block)
        self.departs("`docker cp` of")

    def _copies(self, block: Block) -> None:
        stack = self.place.stack()
        for command in block.commands():
            container, path = command.split()[2].split(":")
            mounts = [mount["target"] for mount in stack[container]["volumes"]]
            self.assertTrue(any(path.startswith(mount) for mount in mounts), command)

    def block_36(self, block: Block) -> None:
        """Newer images."""
        for command in block.commands():
            self.place.understood(command)

    def block_37(self, block: Block) -> None:
        """A backup, and another Erlang."""
        exported, backup, upgrade = block.commands()
        output = self.place.works(f"{exported}; {backup} --native", 240)
        archive = next(Path(word) for word in re.findall(r"\S+", output) if "3.0.0" in word and "/" in word)
        self.assertTrue(archive.exists(), output)
        # Nothing is built: tests/scripts does that with each installer.
        kerl = FOLDER / "bin/kerl"
        emptied(kerl.parent)
        kerl.write_text("#!/bin/sh\necho 28.3.1\n", encoding="ascii")
        kerl.chmod(0o755)
        self.assertIn("28.3.1", self.place.works(f"PATH={kerl.parent}:$PATH; {upgrade} --native --dry-run"))

    def test_z_verbs(self) -> None:
        """Block 5, run: all of it again, and at last nothing is left."""
        *commands, clean = self.blocks[5].commands()
        for command in commands:
            with self.subTest(command):
                self.place.native(command)
        with self.subTest(clean):
            refused = self.place.run(f"{clean} --native")
            self.assertNotEqual(0, refused.returncode)
            self.departs("`deploy-monitoring.sh clean`")
            self.assertEqual(0, self._at_a_terminal(f"{clean} --native", "yes\n"))
            self.assertFalse((FOLDER / "state/data").exists())

    def _at_a_terminal(self, command: str, answer: str) -> int:
        """With somebody who answers."""
        child, terminal = pty.fork()
        if child == 0:
            os.chdir(self.place.monitoring)
            os.execvpe("bash", ["bash", "-c", command], self.place.environment)
        os.write(terminal, answer.encode())
        try:
            while os.read(terminal, 4096):
                pass
        except OSError:
            pass  # How a terminal says that the other side has ended.
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _test(number: int) -> Callable[[GuideTest], None]:
    block = GuideTest.blocks[number]
    case: Callable[[GuideTest, Block], None] = getattr(GuideTest, f"block_{number:02}")

    def test(self: GuideTest) -> None:
        with self.subTest(block.name):
            case(self, block)

    test.__doc__ = case.__doc__
    return test


# A block without a case is an error here, before any test.
for each in GuideTest.blocks:
    setattr(GuideTest, f"test_{each:02}", _test(each))

