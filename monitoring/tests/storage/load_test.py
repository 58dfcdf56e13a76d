"""The load generator: nodes as a real one is, and a real Prometheus on the shipped files that scrapes them."""

import json
import re
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.error
import urllib.request
from pathlib import Path
from typing import ClassVar

import scale
import shared
from programs import NotHere, Program, find, wait_for

NODES = 5
# What a Prometheus of the smallest plan must do with ease.
RULES_SECONDS = 10
COUNTER = "erlmcp_requests_total"


def values(text: str, metric: str) -> dict[str, float]:
    """Series of a metric."""
    return {series: float(value) for series, value in re.findall(rf"(?m)^({metric}\{{.*\}}) (\S+)$", text)}


def page(address: str, path: str = "/metrics") -> str:
    """What a node says."""
    with urllib.request.urlopen(f"http://{address}:8080{path}", timeout=10) as response:
        return str(response.read().decode())


class LoadGenerator(unittest.TestCase):
    """One template for all."""

    template: ClassVar[Path]
    folder: ClassVar[Path]

    @classmethod
    def setUpClass(cls) -> None:
        """From the demo."""
        cls.folder = Path(tempfile.mkdtemp(prefix="erlmcp-load-"))
        try:
            cls.template = shared.template()
        except NotHere as missing:
            raise unittest.SkipTest(str(missing)) from missing

    def serve(self, *words: str) -> Program:
        """Until it answers."""
        command = [sys.executable, str(shared.GENERATOR), "serve", str(self.template), *words]
        program = Program("nodes", command, self.folder / "nodes.log")
        program.wait_until_answers("http://127.1.0.1:8080/health", 15)
        return program

    def test_1_nodes_are_as_the_recorded_one(self) -> None:
        """The same series; counters grow, each node at its pace; the text is legal."""
        recorded = json.loads(self.template.read_text())["pages"]["/metrics"][1]
        with self.serve("--nodes", "2", "--targets", str(self.folder)):
            files = sorted(path.name for path in self.folder.glob("*.yml"))
            self.assertEqual(files, ["erlmcp-load.yml", "erlmcp_custom-load.yml", "erlmcp_health-load.yml"])
            first = page("127.1.0.1")
            time.sleep(2)
            second, other = page("127.1.0.1"), page("127.1.0.2")
            with self.assertRaises(urllib.error.HTTPError):
                page("127.1.0.1", "/other")
        shared.gone(self.folder / "erlmcp-load.yml")
        before, after = values(first, COUNTER), values(second, COUNTER)
        self.assertEqual(set(before), set(values(recorded, COUNTER)))
        self.assertTrue(all(after[series] >= value for series, value in before.items()))
        self.assertGreater(sum(after.values()), sum(before.values()))
        self.assertNotEqual(values(other, COUNTER), after)
        self.assertEqual(len(first.splitlines()), len(recorded.splitlines()))
        promtool = find("prometheus", "2.53.3", "promtool")
        checked = subprocess.run([promtool, "check", "metrics"], input=second, capture_output=True, text=True, check=False)
        self.assertNotIn("error while linting", checked.stdout + checked.stderr)
        for series, value in values(second, "erlmcp_request_duration_seconds_bucket").items():
            if 'le="+Inf"' in series:
                count = series.replace("_bucket", "_count").replace(',le="+Inf"', "")
                self.assertEqual(values(second, "erlmcp_request_duration_seconds_count")[count], value)

    def test_2_prometheus_scrapes_them(self) -> None:
        """All jobs of the shipped file, its rules in time."""
        text = self.template.read_text()
        series = len([line for line in json.loads(text)["pages"]["/metrics"][1].splitlines() if not line.startswith("#")])
        scene = scale.Scene(self.folder, self.template, NODES)
        try:
            scene.wait()
            # It says of itself each half minute.
            own = f"{scale.QUERIES['series']} > {NODES * series}"
            wait_for("Prometheus' own figures", lambda: scene.client.value(own), 75)
            wait_for("rates", lambda: scene.client.value("sum(job:erlmcp_requests:rate5m)"), 60)
            row = scale.figures(scene, 60)
        finally:
            scene.stop()
        self.assertEqual(row["series_of_erlmcp"], series)
        self.assertEqual(row["missed_evaluations"], 0)
        self.assertLess(row["rules_seconds"], RULES_SECONDS)

    def test_3_what_it_refuses(self) -> None:
        """Without a trace of Python."""
        for words, reason in (
            (["serve", "/nowhere"], "is no template"),
            (["serve", str(self.template), "--network", "10.0.0.0/8"], "not within 127.0.0.0/8"),
            (["serve", str(self.template), "--network", "127.9.9.0/30", "--nodes", "9"], "has no 9 addresses"),
            (["record", "http://127.0.0.1:1/metrics", "--into", "/tmp/none"], "refused"),
        ):
            done = subprocess.run([sys.executable, str(shared.GENERATOR), *words], capture_output=True, text=True, check=False)
            with self.subTest(words):
                self.assertEqual(done.returncode, 1)
                self.assertIn(reason, done.stderr)
                self.assertNotIn("Traceback", done.stderr)
