"""What a browser would ask of Grafana, asked of a real server on the shipped files."""

import json
import shutil
import time
import unittest
import urllib.request
from pathlib import Path
from typing import Any, ClassVar

import boards
import grafana as rules_of_grafana
import namespace
import services
import yaml
from demo import Demo
from namespace import MONITORING
from programs import NotHere, wait_for
from prometheus import Client
from server import ask, grafana, proxied
from services import Services

LOGS = Path("/tmp/logs")
DASHBOARDS = "/etc/grafana/provisioning/dashboards"
METRICS = MONITORING / "tests/rules/metrics/grafana.txt"

DEMO = {
    "OTEL_SERVICE_NAME": "erlmcp",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "http://otel-collector:4317",
    "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
    "ERLMCP_LOG_FILE": "/var/log/erlmcp/erlmcp.log",
    "DEMO_LOG": "true",
}
# Two scrapes of 15 s, and the rules that read them.
RATE_SECONDS = 90


def shipped(path: str) -> Any:
    """A YAML file of monitoring/grafana."""
    return yaml.safe_load((MONITORING / "grafana" / path).read_text(encoding="utf-8"))


class Server(unittest.TestCase):
    """One server for all."""

    running: ClassVar[Services]

    @classmethod
    def setUpClass(cls) -> None:
        LOGS.mkdir(exist_ok=True)
        cls._own_dashboards()
        cls.running = Services(LOGS)
        wanted = {
            "loki": services.loki(),
            "promtail": services.promtail(),
            "jaeger": services.jaeger(),
            "otel_collector": services.collector(),
            "alertmanager": services.alertmanager(),
        }
        try:
            wanted["grafana"] = grafana()
            for service in wanted.values():
                service.command()
            services.prometheus().command()
        except NotHere as missing:
            raise unittest.SkipTest(str(missing)) from missing
        cls.addClassCleanup(lambda: cls.running.stop(*reversed(list(cls.running.running))))
        cls.running.start(**wanted)
        demo = Demo("demo", LOGS, 30, DEMO, ports=(8080, 8086))
        cls.addClassCleanup(demo.stop)
        cls.running.start(prometheus=services.prometheus())

    @staticmethod
    def _own_dashboards() -> None:
        """The shipped folder as a copy, so that a file can be put into it."""
        copy = Path("/tmp/dashboards")
        if not copy.exists():
            shutil.copytree(DASHBOARDS, copy)
            namespace.bind(copy, DASHBOARDS, read_only=True)

    def fetched(self, path: str) -> Any:
        """It has to answer 200."""
        status, answer = ask(path)
        self.assertEqual(200, status, f"{path}: {answer}")
        return answer

    def test_health_wants_no_credentials(self) -> None:
        """For probes; data sources do want them (the guide's troubleshooting)."""
        status, answer = ask("/api/health", user=None)
        self.assertEqual((200, "ok"), (status, answer["database"]))
        self.assertEqual(401, ask("/api/datasources", user=None)[0])
        self.assertEqual(401, ask("/api/datasources", password="admin")[0])
        self.assertEqual(404, ask("/api/dashboards")[0])

    def test_data_sources_are_those_of_the_file(self) -> None:
        """Each key, with dollars as Grafana reads them, and nobody may change them."""
        found = {source["uid"]: source for source in self.fetched("/api/datasources")}
        for wanted in shipped("datasources/prometheus.yml")["datasources"]:
            with self.subTest(wanted["uid"]):
                source = self.fetched(f"/api/datasources/uid/{wanted['uid']}")
                text = json.dumps(wanted["jsonData"]).replace("$$", "$")
                self.assertEqual(json.loads(text), source["jsonData"])
                for key in ("name", "type", "url", "access"):
                    self.assertEqual(wanted[key], source[key])
                self.assertTrue(source["readOnly"])
        self.assertEqual(len(found), len(shipped("datasources/prometheus.yml")["datasources"]))

    def test_data_sources_answer(self) -> None:
        """Through Grafana, as a panel's questions go."""
        questions = {
            "prometheus": "api/v1/query?query=1",
            "loki": "loki/api/v1/labels",
            "jaeger": "api/services",
            "alertmanager": "api/v2/status",
        }
        for uid, path in questions.items():
            with self.subTest(uid):
                status, answer = ask(f"/api/datasources/proxy/uid/{uid}/{path}")
                self.assertEqual(200, status, answer)

    def test_dashboards_are_those_of_the_files(self) -> None:
        """Found, whole, and not to be overwritten in the browser."""
        found = {board["uid"] for board in self.fetched("/api/search?type=dash-db")}
        for wanted in boards.boards():
            with self.subTest(wanted["uid"]):
                self.assertIn(wanted["uid"], found)
                answer = self.fetched(f"/api/dashboards/uid/{wanted['uid']}")
                self.assertTrue(answer["meta"]["provisioned"])
                given = {key: value for key, value in wanted.items() if key not in ("id", "version")}
                self.assertEqual(given, {key: answer["dashboard"].get(key) for key in given})
                status, refused = ask("/api/dashboards/db", body={"dashboard": answer["dashboard"], "overwrite": True})
                self.assertEqual(400, status, refused)
                self.assertIn("provisioned", str(refused))

    def test_a_dashboard_of_ones_own_appears(self) -> None:
        """In custom/, within half a minute, in a folder of that name."""
        board = {"id": None, "uid": "of-the-test", "title": "Of the test", "panels": [], "schemaVersion": 38}
        Path("/tmp/dashboards/custom/test.json").write_text(json.dumps(board), encoding="utf-8")

        def found() -> Any:
            return next((b for b in self.fetched("/api/search?type=dash-db") if b["uid"] == "of-the-test"), None)

        self.assertEqual("custom", wait_for("the dashboard", found, 60, pause=1)["folderTitle"])

    def test_panels_have_data(self) -> None:
        """Each panel's queries, by Grafana's own plugins."""
        client = Client("prometheus:9090")
        wait_for(
            "a recorded rate",
            lambda: client.value("sum(job:erlmcp_requests:rate5m)") or None,
            RATE_SECONDS,
            pause=1,
        )
        now = time.time()
        span = rules_of_grafana.Span(now - 900, now, 15)
        values = {
            "datasource": "prometheus", "loki": "loki", "job": "erlmcp", "instance": ".*", "environment": "production",
        }  # fmt: skip
        asked = empty = 0
        for target in boards.targets():
            uid = "loki" if target.is_log else "prometheus"
            query = {
                **target.query,
                "refId": "A",
                "datasource": {"uid": uid},
                "expr": rules_of_grafana.replaced(target.expr, values, span),
                "intervalMs": 15000,
                "maxDataPoints": 600,
            }
            body = {"queries": [query], "from": str(int(span.start * 1000)), "to": str(int(now * 1000))}
            with self.subTest(str(target)):
                status, answer = ask("/api/ds/query", body=body)
                self.assertEqual(200, status, f"{answer}\n{query['expr']}")
                result = answer["results"]["A"]
                self.assertNotIn("error", result)
                found = any(column for frame in result.get("frames", []) for column in frame["data"]["values"])
                asked, empty = asked + 1, empty + (not found)
                # The demo refuses and fails some requests, and says so in its log.
                self.assertTrue(found or not target.is_log)
        # Which query may be empty is what tests/dashboards looks at, on two nodes with faults.
        self.assertGreater(asked, 150)
        self.assertLess(empty, asked / 2)

    def test_a_dot_a_line_and_a_span_lead_to_each_other(self) -> None:
        """Exemplar to trace, line to trace, trace to line: by what the data sources say."""
        found = {source["uid"]: source for source in shipped("datasources/prometheus.yml")["datasources"]}
        exemplar = found["prometheus"]["jsonData"]["exemplarTraceIdDestinations"][0]

        def dot() -> str | None:
            query = "erlmcp_request_duration_seconds_bucket"
            _, answer = proxied("prometheus", "api/v1/query_exemplars", query=query)
            dots = [e["labels"][exemplar["name"]] for series in answer["data"] for e in series["exemplars"]]
            return dots[-1] if dots else None

        trace = wait_for("an exemplar", dot, RATE_SECONDS, pause=1)
        wait_for(
            "its trace",
            lambda: proxied(exemplar["datasourceUid"], f"api/traces/{trace}")[0] == 200,
            30,
            pause=1,
        )
        custom = found["jaeger"]["jsonData"]["tracesToLogsV2"]["customQuery"]
        self.assertTrue(custom)
        query = found["jaeger"]["jsonData"]["tracesToLogsV2"]["query"].replace("$${__span.traceId}", trace)

        def lines() -> list[str]:
            _, answer = proxied("loki", "loki/api/v1/query_range", query=query)
            return [line for stream in answer["data"]["result"] for _, line in stream["values"]]

        line = wait_for("a line of the trace", lambda: lines() or None, 30, pause=1)[0]
        self.assertIn(trace, line)

    def test_a_viewer_looks_and_does_not_touch(self) -> None:
        """The role that docs/security.md gives to most people."""
        viewer = {"name": "V", "email": "v@example.com", "login": "viewer", "password": "of-the-test", "OrgId": 1}
        status, answer = ask("/api/admin/users", body=viewer)
        self.assertEqual(200, status, answer)
        self.assertEqual(200, ask("/api/dashboards/uid/erlmcp-overview", user="viewer")[0])
        source = {"name": "Mine", "type": "prometheus", "url": "http://elsewhere", "access": "proxy"}
        self.assertEqual(403, ask("/api/datasources", user="viewer", body=source)[0])
        self.assertEqual(403, ask("/api/datasources/uid/prometheus", user="viewer", method="DELETE")[0])
        new = {"dashboard": {"title": "Mine", "panels": []}}
        self.assertEqual(403, ask("/api/dashboards/db", user="viewer", body=new)[0])
        self.assertEqual(403, ask("/api/admin/users", user="viewer", body={**viewer, "login": "more"})[0])

    def test_what_rules_read_is_emitted(self) -> None:
        """Names and labels that alerts on Grafana use."""
        with urllib.request.urlopen("http://grafana:3000/metrics", timeout=10) as response:
            text = response.read().decode()
        for row in METRICS.read_text(encoding="utf-8").splitlines():
            if row and not row.startswith("#"):
                name, *labels = row.split()
                with self.subTest(name):
                    line = next((line for line in text.splitlines() if line.startswith((name + "{", name + " "))), "")
                    self.assertTrue(line, "not in the scrape")
                    for label in labels:
                        self.assertIn(f'{label}="', line)


if __name__ == "__main__":
    unittest.main()
