"""maintenance.sh against the real Prometheus and Alertmanager with a demo node, well and ill."""

import http.server
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import unittest
import urllib.parse
from pathlib import Path
from typing import Any, ClassVar

import place
from demo import Demo
from programs import ROOT, NotHere, wait_for
from prometheus import Client, rule_files
from services import Services, alertmanager, prometheus

SCRIPT = ROOT / "monitoring/scripts/maintenance.sh"
BOARDS = ROOT / "monitoring/grafana/dashboards"
ADDRESS = "prometheus:9090"


def run(task: str, **environment: str) -> tuple[int, str]:
    """Exit status and report."""
    done = subprocess.run([SCRIPT, *task.split()], capture_output=True, text=True, check=False, env={**os.environ, **environment})
    return done.returncode, done.stdout + done.stderr


class GrafanasApi(http.server.BaseHTTPRequestHandler):
    """Three answers of Grafana 10.2: what the script reads of them."""

    boards: ClassVar[dict[str, Any]] = {}

    def do_GET(self) -> None:  # noqa: N802 (the name that is called)
        """A search, or one dashboard; with a token only."""
        path = urllib.parse.urlsplit(self.path).path
        answer: Any = None
        if self.headers["Authorization"] == "Bearer glsa_of_the_test":
            if path == "/api/search":
                answer = [{"uid": uid, "title": board["title"]} for uid, board in self.boards.items()]
            elif path.startswith("/api/dashboards/uid/"):
                answer = {"dashboard": self.boards[path.rsplit("/", 1)[1]], "meta": {}}
        body = json.dumps(answer).encode()
        self.send_response(200 if answer is not None else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *words: object) -> None:  # noqa: A002 (the name that is called)
        """Nothing."""


class Maintenance(unittest.TestCase):
    """In order: well first."""

    services: ClassVar[Services]
    demo: ClassVar[Demo]
    folder: ClassVar[Path]

    @classmethod
    def setUpClass(cls) -> None:
        """The shipped files; rules that are evaluated each second."""
        cls.folder = Path(tempfile.mkdtemp(prefix="erlmcp-maintenance-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        quick = place.CONFIG / "quick"
        quick.mkdir(exist_ok=True)
        rule_files(ROOT, quick, "1s", "20s")
        text = (place.CONFIG / "prometheus.yml").read_text()
        text = re.sub(r"(scrape_interval|evaluation_interval): \S+", r"\1: 1s", text).replace("timeout: 10s", "timeout: 1s")
        text = re.sub(r"rule_files:\n(  - .*\n)+", "rule_files:\n  - quick/*.yml\n", text)
        (place.CONFIG / "quick.yml").write_text(text)
        cls.services = Services(cls.folder)
        cls.addClassCleanup(lambda: cls.services.stop(*list(cls.services.running)))
        try:
            cls.demo = Demo("node", cls.folder, 50, ports=(8080, 8086))
            cls.services.start(
                "node-exporter",
                prometheus=prometheus("2.53.3", config="/etc/prometheus/quick.yml"),
                alertmanager=alertmanager(),
            )
        except NotHere as missing:
            raise unittest.SkipTest(str(missing)) from missing
        cls.addClassCleanup(cls.demo.stop)
        client = Client(ADDRESS)
        wait_for("figures of the node", lambda: client.value("sum(job:erlmcp_requests:rate5m)"), 60)
        wait_for("the alert that always fires", lambda: client.value('ALERTS{alertname="ErlmcpWatchdog",alertstate="firing"}'), 30)

    def test_1_daily(self) -> None:
        """What is up is not named, what is down is, with its reason."""
        status, report = run("daily")
        self.assertEqual(status, 1, report)
        self.assertRegex(report, r"(?m)^look  grafana grafana:3000: .*refused")
        self.assertNotRegex(report, r"(?m)^look  erlmcp erlmcp:8080")
        self.assertNotIn("no alert would be heard", report)
        self.assertRegex(report, r"(?m)^(ok|look)\s+(least room: |\S+ \S+: )[\d.]+ %")
        self.assertRegex(report, r"(?m)^n/a   Loki: ")
        self.assertIn("silence", report)

    def test_2_a_node_that_dies(self) -> None:
        """Its target, and the alert with how long it fires."""
        self.demo.kill()
        query = 'ALERTS{alertname="ErlmcpInstanceDown",alertstate="firing",instance="erlmcp:8080"}'
        wait_for("the alert", lambda: Client(ADDRESS).value(query), 30)
        _, report = run("daily")
        self.assertRegex(report, r"(?m)^look  erlmcp erlmcp:8080: .*refused")
        self.assertRegex(report, r"(?m)^look  P\d ErlmcpInstanceDown production erlmcp erlmcp:8080, for \d+ (s|min)")
        self.assertGreater(int(re.findall(r"(?m)^(\d+) to look at$", report)[0]), 3)

    def test_3_weekly(self) -> None:
        """Noise, thresholds, slow rules, series; a silence that is too long; rules that nobody wrote down."""
        words = ["silence", "add", "alertname=ErlmcpInstanceDown", "--duration=30d", "--comment=forgotten", "--author=test"]
        amtool = Path(str(alertmanager().command()[0])).parent / "amtool"
        subprocess.run([amtool, "--alertmanager.url=http://alertmanager:9093", *words], check=True, capture_output=True)
        status, report = run("weekly")
        self.assertEqual(status, 1, report)
        self.assertRegex(report, r"(?m)^ok    2\d\d are loaded$")
        self.assertRegex(report, r"(?m)^look  by test for 29 d 23 h more \(forgotten\)")
        self.assertRegex(report, r"(?m)^-\s+[\d.]+ h +\d+ times  ErlmcpCollectorDown P2$")
        self.assertRegex(report, r"(?m)^(-|look) +Error rate: [\d.e-]+, [\d.e-]+; 0.001, 0.01")
        self.assertRegex(report, r"(?m)^- +\d+ +[\d.]+ % erlmcp_request_duration_seconds_bucket$")
        self.assertRegex(report, r"(?m)^- +[\d.]+ ms  \S+")
        (place.CONFIG / "quick/foreign.yml").write_text("groups: [{name: x, rules: [{record: 'foreign:x:y', expr: '1'}]}]\n")
        hidden = place.CONFIG / "quick/rules-security.yml"
        kept = hidden.read_text()
        hidden.unlink()
        try:
            self.services.running["prometheus"].signal(signal.SIGHUP)
            wait_for("the rules", lambda: Client(ADDRESS).value("foreign:x:y"), 20)
            _, report = run("weekly")
            self.assertRegex(report, r"(?m)^look  foreign:x:y is loaded and in no file here$")
            self.assertRegex(report, r"(?m)^look  ErlmcpAuthFailureSpike is not loaded$")
        finally:
            hidden.write_text(kept)

    def test_4_dashboards(self) -> None:
        """Unchanged, changed in the browser, and one that is nobody's."""
        boards = {board["uid"]: board for board in (json.loads(path.read_text()) for path in BOARDS.glob("*.json"))}
        # Grafana sets an id and counts versions.
        GrafanasApi.boards = {uid: {**board, "id": number, "version": 3} for number, (uid, board) in enumerate(boards.items())}
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 3000), GrafanasApi)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        token = self.folder / "token"
        token.write_text("glsa_of_the_test\n")
        try:
            _, report = run("weekly", ERLMCP_GRAFANA_TOKEN_FILE=str(token))
            self.assertRegex(report, rf"(?m)^ok    {len(boards)} are shown as they are here$")
            self.assertRegex(run("weekly")[1], r"(?m)^n/a   Grafana: .*401")
            uid = next(iter(boards))
            GrafanasApi.boards[uid]["title"] = "Changed"
            GrafanasApi.boards["foreign"] = {"title": "Somebody's", "uid": "foreign"}
            _, report = run("weekly", ERLMCP_GRAFANA_TOKEN_FILE=str(token))
            self.assertRegex(report, r"(?m)^look  \S+\.json differs from what is shown$")
            self.assertRegex(report, r"(?m)^- +Somebody's is in Grafana only$")
        finally:
            server.shutdown()
            server.server_close()

    def test_5_monthly(self) -> None:
        """Retention, capacity, policies, objectives, versions."""
        status, report = run("monthly")
        self.assertIn(status, (0, 1), report)
        self.assertRegex(report, r"(?m)^- +kept for 30 d$")
        self.assertRegex(report, r"(?m)^- +\d+ samples/s of [\d.]+ bytes")
        self.assertRegex(report, r"(?m)^n/a   less than two days of data: no trend$")
        self.assertRegex(report, r"(?m)^- +\d+ of 1\d\d alerts fired$")
        self.assertRegex(report, r"(?m)^- +prometheus 2\.53\.3")

    def test_6_words_and_nobody(self) -> None:
        """Usage, a wrong word, a Prometheus that is not there."""
        self.assertEqual(run("-h")[0], 0)
        for wrong in ("", "yearly", "daily now"):
            status, text = run(wrong)
            self.assertEqual(status, 2, wrong)
            self.assertIn("usage:", text)
        status, text = run("daily", ERLMCP_PROMETHEUS_URL="http://127.0.0.1:1")
        self.assertEqual(status, 3)
        self.assertIn("127.0.0.1:1", text)
