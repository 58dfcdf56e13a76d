"""The files themselves: each program's own check, and what must be the same in two of them."""

import json
import os
import subprocess
import unittest
from pathlib import Path
from typing import Any

import yaml
from namespace import MONITORING
from programs import NotHere, find
from services import COLLECTOR, COLLECTOR_CURRENT

OTEL = MONITORING / "otel"
OPTIONS = sorted(path.stem for path in (OTEL / "options").glob("*.yaml"))
ENVIRONMENT = {"ERLMCP_COLLECTOR_LISTEN": "127.0.0.1", "ERLMCP_BACKEND_ENDPOINT": "backend:4317"}
# Of which one is enough.
PIPELINE = MONITORING / "promtail/erlmcp-pipeline.yml"
SECRET = "${file:/etc/otelcol/secrets/backend_authorization}"


def load(path: Path) -> Any:
    """YAML."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


class CollectorFiles(unittest.TestCase):
    """otel/."""

    def _validate(self, version: str, *names: str) -> None:
        base = COLLECTOR if version == "0.87.0" else COLLECTOR_CURRENT
        self._run(version, base, *(self._option(name) for name in names))

    def _run(self, version: str, *files: str) -> None:
        try:
            program = find("otelcol", version)
        except NotHere as missing:
            raise unittest.SkipTest(str(missing)) from missing
        done = subprocess.run(
            [str(program), "validate", *(f"--config={path}" for path in files)],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env={**os.environ, **ENVIRONMENT},
        )
        self.assertEqual(done.returncode, 0, f"{files}: {done.stderr}")

    @staticmethod
    def _option(name: str) -> str:
        """With a secret's text in place of its file, which only a deployment has."""
        text = (OTEL / f"options/{name}.yaml").read_text(encoding="utf-8")
        copy = Path(f"/tmp/option-{name}.yaml")
        copy.write_text(text.replace(SECRET, "Bearer of-the-test"), encoding="utf-8")
        return str(copy)

    def test_validate_on_the_guides_version(self) -> None:
        """`otelcol validate`, without options, with each and with all."""
        self._all("0.87.0")

    def test_validate_on_a_current_version(self) -> None:
        """The same."""
        self._all("0.152.1")

    def test_the_readmes_filelog(self) -> None:
        """What is said to come after Promtail is valid."""
        text = (MONITORING / "loki/README.md").read_text(encoding="utf-8")
        block = next(part for part in text.split("```") if part.startswith("yaml\nreceivers:"))
        copy = Path("/tmp/option-filelog.yaml")
        copy.write_text(block.removeprefix("yaml"), encoding="utf-8")
        self._run("0.152.1", COLLECTOR_CURRENT, str(copy))

    def _all(self, version: str) -> None:
        self.assertEqual(
            set(OPTIONS), {"without-jaeger", "backend-otlp", "elasticsearch", "span-metrics", "tail-sampling"}
        )
        self._validate(version)
        for name in OPTIONS:
            with self.subTest(option=name):
                self._validate(version, name)
        self._validate(version, *OPTIONS)

    def test_both_versions_say_the_same(self) -> None:
        """Save for what later versions do not have."""
        old, new = load(OTEL / "collector-config.yaml"), load(OTEL / "collector-config-current.yaml")
        sent = (old["exporters"].pop("loki"), new["exporters"].pop("otlphttp/loki"))
        for key in ("retry_on_failure", "sending_queue"):
            self.assertEqual(sent[0][key], sent[1][key])
        self.assertEqual(new["processors"].pop("resource/loki")["attributes"][0]["key"], "job")
        lines = old["processors"]["transform/line"]["log_statements"][0]["statements"]
        hints = [statement for statement in lines if "loki." in statement]
        self.assertEqual(len(hints), 2)
        for hint in hints:
            lines.remove(hint)
        self.assertEqual(old["service"]["pipelines"]["logs"].pop("exporters"), ["loki"])
        self.assertEqual(new["service"]["pipelines"]["logs"].pop("exporters"), ["otlphttp/loki"])
        new["service"]["pipelines"]["logs"]["processors"].remove("resource/loki")
        address = old["service"]["telemetry"]["metrics"].pop("address")
        pull = new["service"]["telemetry"]["metrics"].pop("readers")[0]["pull"]["exporter"]["prometheus"]
        self.assertEqual(address, f"{pull['host']}:{pull['port']}")
        self.assertEqual(json.dumps(old, sort_keys=True), json.dumps(new, sort_keys=True))

    def test_pipelines(self) -> None:
        """The memory limiter is first in each, and nothing on a way to a queue is kept in memory."""
        files = [OTEL / "collector-config.yaml", *(OTEL / f"options/{name}.yaml" for name in OPTIONS)]
        for path in files:
            for name, pipeline in load(path)["service"]["pipelines"].items():
                processors = pipeline.get("processors")
                if processors is None:
                    continue
                with self.subTest(file=path.name, pipeline=name):
                    self.assertEqual(processors[0], "memory_limiter")
                    if not name.startswith("metrics") and path.stem != "tail-sampling":
                        self.assertNotIn("batch", processors)

    def test_queues(self) -> None:
        """Each exporter that sends has one, on disk, of a size that is written, and tries without end."""
        for path in [OTEL / "collector-config.yaml", *(OTEL / "options").glob("*.yaml")]:
            for name, exporter in load(path).get("exporters", {}).items():
                if name in ("prometheus", "debug"):
                    continue
                with self.subTest(file=path.name, exporter=name):
                    self.assertEqual(exporter["sending_queue"]["storage"], "file_storage")
                    self.assertGreater(exporter["sending_queue"]["queue_size"], 0)
                    if "retry_on_failure" in exporter:
                        self.assertEqual(exporter["retry_on_failure"]["max_elapsed_time"], 0)


class LogFiles(unittest.TestCase):
    """loki/ and promtail/."""

    def _check(self, program: str, version: str, *words: str) -> None:
        try:
            path = find(program, version)
        except NotHere as missing:
            raise unittest.SkipTest(str(missing)) from missing
        done = subprocess.run([str(path), *words], capture_output=True, text=True, check=False, timeout=60)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_loki_2(self) -> None:
        """`-verify-config`."""
        self._check("loki", "2.9.3", "-config.file=/etc/loki/loki-config.yml", "-verify-config")

    def test_loki_3(self) -> None:
        """The same file."""
        self._check("loki", "3.7.8", "-config.file=/etc/loki/loki-config.yml", "-verify-config")

    def test_promtail(self) -> None:
        """`-check-syntax`."""
        self._check("promtail", "2.9.3", "-config.file=/etc/promtail/promtail-config.yml", "-check-syntax")

    def test_one_pipeline(self) -> None:
        """Promtail cannot include erlmcp-pipeline.yml, which the library's tests run: it is in it word for word."""
        shipped = load(PIPELINE)["pipeline_stages"]
        jobs = {job["job_name"]: job for job in load(MONITORING / "promtail/promtail-config.yml")["scrape_configs"]}
        self.assertEqual(jobs["erlmcp"]["pipeline_stages"], shipped)
