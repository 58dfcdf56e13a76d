"""The dashboards as files: built, valid, in the house's style, and provisioned."""

import json
import os
import re
import subprocess
import sys
import tempfile
import unittest
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boards
import grafana
import promql_parser
import yaml
from boards import ROOT
from programs import TOOLS

HERE = Path(__file__).resolve().parent
GRAFANA = ROOT / "monitoring/grafana"
RULES = ROOT / "monitoring/prometheus/rules"
NODE = Path(os.environ.get("ERLMCP_STACK_NODE", TOOLS / "stack-node"))
SPAN = grafana.Span(0, 3600, 15)
# Values for a syntax check; the live test has the real ones.
ANY = {"environment": "production", "job": "erlmcp", "instance": "(a|b)", "loki": "loki", "datasource": "prometheus"}

UIDS = {"erlmcp-overview", "erlmcp-performance", "erlmcp-sla", "erlmcp-beam"}
SOURCES = {"prometheus", "loki", "jaeger", "alertmanager"}
VARIABLES = ["datasource", "loki", "environment", "job", "instance"]
COLUMNS = 24


def node(script: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """A script beside this one, with the packages of .tools/stack-node."""
    if not (NODE / "node_modules").is_dir():
        raise unittest.SkipTest(f"no npm packages in {NODE} (scripts/setup.sh stack)")
    command = ["node", str(HERE / script), str(NODE), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def alerts() -> list[dict[str, Any]]:
    """The project's alerts."""
    documents = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(RULES.glob("*.yml"))]
    rules = [rule for document in documents for group in document["groups"] for rule in group["rules"]]
    return [rule for rule in rules if "alert" in rule]


def selectors(expr: Any) -> Iterator[Any]:
    """Every selector of a parsed query."""
    if isinstance(expr, promql_parser.VectorSelector):
        yield expr
    for name in ("lhs", "rhs", "expr", "param", "vector_selector"):
        inner = getattr(expr, name, None)
        if inner is not None:
            yield from selectors(inner)
    for argument in getattr(expr, "args", None) or []:
        yield from selectors(argument)


class Built(unittest.TestCase):
    """The committed files are what the code writes."""

    def test_building_again_leaves_no_diff(self) -> None:
        """The same bytes."""
        command = [sys.executable, str(GRAFANA / "build"), "--check"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_the_schema_of_grafana_10_2(self) -> None:
        """Dashboard, panel options, field options and queries."""
        done = node("schema.mjs", *sorted(boards.FOLDER.glob("erlmcp-*.json")))
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_the_schema_test_finds_what_is_wrong(self) -> None:
        """A wrong type and an unknown option."""
        board = boards.boards()[0]
        board["graphTooltip"] = "both"
        boards.panels(board)[0]["options"]["no_such_option"] = 1
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "wrong.json"
            path.write_text(json.dumps(board), encoding="utf-8")
            done = node("schema.mjs", path)
        self.assertEqual(done.returncode, 1)
        self.assertIn("graphTooltip", done.stdout)
        self.assertIn("no_such_option", done.stdout)


class Syntax(unittest.TestCase):
    """Queries parse, with their variables replaced as Grafana does it."""

    def test_promql(self) -> None:
        """Of panels and annotations."""
        queries = {str(target): target.expr for target in boards.targets() if not target.is_log}
        for board in boards.boards():
            for annotation in board["annotations"]["list"]:
                queries[f"{board['uid']} / annotation {annotation['name']}"] = annotation["expr"]
        self.assertGreater(len(queries), 100)
        for where, expr in queries.items():
            with self.subTest(where):
                promql_parser.parse(grafana.replaced(expr, ANY, SPAN))

    def test_logql(self) -> None:
        """Of panels, and of the data sources' ways to the logs."""
        queries = [grafana.replaced(target.expr, ANY, SPAN) for target in boards.targets() if target.is_log]
        jaeger = next(source for source in sources() if source["uid"] == "jaeger")
        queries.append(jaeger["jsonData"]["tracesToLogsV2"]["query"].replace("$${__span.traceId}", "0" * 32))
        done = node("logql.mjs", *queries)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


class House(unittest.TestCase):
    """style.md, item 26, and what an operator relies on."""

    def each(self) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        """Each panel, as a test of its own."""
        for board in boards.boards():
            for panel in boards.panels(board):
                with self.subTest(board=board["uid"], panel=panel["title"]):
                    yield board, panel

    def test_the_dashboards(self) -> None:
        """Uids, no number of a server, variables, tags, a default time and a refresh."""
        self.assertEqual({board["uid"] for board in boards.boards()}, UIDS)
        for board in boards.boards():
            with self.subTest(board["uid"]):
                self.assertIsNone(board["id"])
                self.assertEqual([variable["name"] for variable in grafana.variables(board)], VARIABLES)
                self.assertIn("erlmcp", board["tags"])
                self.assertTrue(board["time"]["from"].startswith("now-"))
                self.assertIn(board["refresh"], ("30s", "1m"))
                self.assertTrue(board["description"])
                for variable in grafana.variables(board):
                    if variable["type"] == "query":
                        self.assertTrue(variable["multi"] and variable["includeAll"], variable["name"])

    def test_every_panel_says_what_it_shows(self) -> None:
        """A description and a unit."""
        for _, panel in self.each():
            self.assertGreater(len(panel["description"]), 10)
            self.assertTrue(panel["fieldConfig"]["defaults"]["unit"])
            self.assertTrue(panel["targets"])

    def test_data_sources_are_variables(self) -> None:
        """Of panels and of each query."""
        for _, panel in self.each():
            for reference in [panel["datasource"], *(target["datasource"] for target in panel["targets"])]:
                self.assertIn(reference["uid"], ("${datasource}", "${loki}"))

    def test_titles_and_numbers_are_unique(self) -> None:
        """Within a dashboard."""
        for board in boards.boards():
            with self.subTest(board["uid"]):
                for key in ("title", "id"):
                    counts = Counter(panel[key] for panel in boards.panels(board))
                    self.assertEqual([name for name, count in counts.items() if count > 1], [])
                refs = [[target["refId"] for target in panel["targets"]] for panel in boards.panels(board)]
                self.assertTrue(all(len(set(names)) == len(names) for names in refs))

    def test_panels_do_not_overlap(self) -> None:
        """Each cell of the grid is covered once, and no line is wider than the grid."""
        for board in boards.boards():
            with self.subTest(board["uid"]):
                taken: set[tuple[int, int]] = set()
                for panel in board["panels"]:
                    place = panel["gridPos"]
                    self.assertLessEqual(place["x"] + place["w"], COLUMNS)
                    cells = {
                        (x, y)
                        for x in range(place["x"], place["x"] + place["w"])
                        for y in range(place["y"], place["y"] + place["h"])
                    }
                    self.assertFalse(cells & taken, panel["title"])
                    taken |= cells

    def test_raw_rates_use_the_rate_interval(self) -> None:
        """A window that is written out is too short or too long for some time range."""
        for _, panel in self.each():
            for target in panel["targets"]:
                for window in re.findall(r"\b(?:rate|irate|changes|delta)\([^()]*?\[([^\]]+)\]", target["expr"]):
                    self.assertIn(window, ("$__rate_interval", "$__range"))

    def test_latency_has_exemplars(self) -> None:
        """Exemplars belong to raw series: on recorded ones they would show nothing."""
        with_exemplars = [target for target in boards.targets() if target.query.get("exemplar")]
        self.assertEqual({target.board for target in with_exemplars}, {"erlmcp-overview", "erlmcp-performance"})
        for target in with_exemplars:
            self.assertIn("erlmcp_request_duration_seconds_bucket", target.expr)

    def test_links_lead_somewhere(self) -> None:
        """To dashboards that exist, with time and variables; to pages of this repository."""
        for board in boards.boards():
            with self.subTest(board["uid"]):
                others = next(link for link in board["links"] if link["type"] == "dashboards")
                self.assertTrue(others["keepTime"] and others["includeVars"])
                self.assertEqual(others["tags"], ["erlmcp"])
                for url in re.findall(r'"url": "([^"]*)"', json.dumps(board)):
                    self._resolves(url)

    def _resolves(self, url: str) -> None:
        if url.startswith("/d/"):
            self.assertIn(url.removeprefix("/d/").split("?")[0], UIDS)
            self.assertIn("${__url_time_range}", url)
            self.assertIn("${__all_variables}", url)
        elif url.startswith("/explore?"):
            self.assertTrue("${__from}" in url and "${__to}" in url, url)
        elif "github.com" in url:
            path = url.split("/blob/main/")[1].split("/${")[0]
            self.assertEqual(path, "monitoring/runbooks")
        else:
            self.assertIn(url, ("", "/alerting/groups?alertmanager=Alertmanager"))


class Thresholds(unittest.TestCase):
    """What turns yellow and red in a panel is what warns and wakes."""

    def test_the_alert_table(self) -> None:
        """The guide's numbers, each as a threshold of the panel that shows it."""
        wanted = {
            "Error rate": [0.001, 0.01],
            "P99 latency": [0.1, 0.5],
            "CPU": [0.7, 0.9],
            "Memory": [0.7, 0.9],
        }
        overview = next(board for board in boards.boards() if board["uid"] == "erlmcp-overview")
        for panel in boards.panels(overview)[:8]:
            steps = [step["value"] for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]][1:]
            if panel["title"] in wanted:
                self.assertEqual(steps, wanted.pop(panel["title"]))
        self.assertFalse(wanted)

    def test_the_rules_have_the_same_numbers(self) -> None:
        """Each level is compared with by some alert on the figure that the panel shows."""
        exprs = [alert["expr"] for alert in alerts()]
        if not exprs:
            self.skipTest("there are no alerts in monitoring/prometheus/rules")
        levels = {
            r"erlmcp_request_errors_per_request:ratio_rate\w+": (0.001, 0.01),
            r"erlmcp_request_duration_seconds:p99_rate5m": (0.1, 0.5),
            r"(?:erlmcp|node)_cpu:ratio_rate5m": (0.7, 0.9),
            r"(?:erlmcp|node)_memory:ratio": (0.7, 0.9),
        }
        for figure, numbers in levels.items():
            said = {
                float(number)
                for expr in exprs
                if re.search(figure, expr)
                for number in re.findall(r"[<>]=?\s*\(?\s*([0-9.]+)\b", expr)
            }
            for number in numbers:
                self.assertIn(number, said, f"no alert on {figure} has {number}")


def sources() -> list[dict[str, Any]]:
    """The provisioned data sources."""
    text = (GRAFANA / "datasources/prometheus.yml").read_text(encoding="utf-8")
    return list(yaml.safe_load(text)["datasources"])


class Provisioning(unittest.TestCase):
    """Grafana's two formats."""

    def test_data_sources(self) -> None:
        """Uids, one default, and every reference between them."""
        found = {source["uid"]: source for source in sources()}
        self.assertEqual(set(found), SOURCES)
        self.assertEqual([uid for uid, source in found.items() if source.get("isDefault")], ["prometheus"])
        references = re.findall(r"(?:datasourceUid|alertmanagerUid): (\S+)", self._text())
        self.assertGreaterEqual(len(references), 5)
        self.assertLessEqual(set(references), SOURCES)

    def test_dollars_are_doubled(self) -> None:
        """Grafana puts the environment in for a single one."""
        self.assertFalse(re.findall(r"(?<!\$)\$(?!\$)(?=[\w{])", re.sub(r"#.*", "", self._text()).replace("$$", "")))

    def test_the_trace_id_of_a_log_line(self) -> None:
        """The expression finds it in a line of JSON."""
        loki = next(source for source in sources() if source["uid"] == "loki")
        expression = loki["jsonData"]["derivedFields"][0]["matcherRegex"]
        line = json.dumps({"msg": "x", "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736"}, separators=(",", ":"))
        found = re.search(expression, line)
        self.assertTrue(found and found.group(1) == "4bf92f3577b34da6a3ce929d0e0e4736")

    def test_variables_name_provisioned_sources(self) -> None:
        """What is chosen when a dashboard is opened."""
        names = {source["uid"]: source["name"] for source in sources()}
        for board in boards.boards():
            for variable in grafana.variables(board)[:2]:
                current = variable["current"]
                self.assertEqual(names[current["value"]], current["text"])

    def test_the_provider(self) -> None:
        """The folder that the guide names, with the drop-in folder inside."""
        document = yaml.safe_load((GRAFANA / "dashboards/providers.yml").read_text(encoding="utf-8"))
        self.assertEqual(document["apiVersion"], 1)
        (provider,) = document["providers"]
        self.assertEqual(provider["options"]["path"], "/etc/grafana/provisioning/dashboards")
        self.assertTrue(provider["options"]["foldersFromFilesStructure"])
        self.assertTrue((GRAFANA / "dashboards/custom").is_dir())

    def _text(self) -> str:
        return (GRAFANA / "datasources/prometheus.yml").read_text(encoding="utf-8")


class Import(unittest.TestCase):
    """import_dashboard.py: the guide's way to a dashboard of one's own."""

    def run_on(self, document: Any) -> tuple[int, str, dict[str, Any] | None]:
        """Exit status, what it said, what it wrote."""
        with tempfile.TemporaryDirectory() as folder:
            path, into = Path(folder) / "exported.json", Path(folder) / "custom"
            into.mkdir()
            path.write_text(json.dumps(document), encoding="utf-8")
            command = [sys.executable, str(GRAFANA / "import_dashboard.py"), str(path), "--into", str(into)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
            written = list(into.glob("*.json"))
            return done.returncode, done.stderr, json.loads(written[0].read_text()) if written else None

    def test_the_envelope_of_the_guide(self) -> None:
        """It is taken off, and so is the server's number."""
        board = {"title": "Custom Dashboard", "uid": "custom", "id": 7, "panels": [{"title": "x"}]}
        status, _, written = self.run_on({"dashboard": board, "meta": {}})
        self.assertEqual(status, 0)
        self.assertEqual(written, {**board, "id": None})

    def test_an_export_for_sharing(self) -> None:
        """Its questions for data sources are answered."""
        inputs = [{"name": "DS_PROM", "type": "datasource", "pluginId": "prometheus"}]
        board = {"title": "x", "uid": "x", "__inputs": inputs, "panels": [{"datasource": {"uid": "${DS_PROM}"}}]}
        status, _, written = self.run_on(board)
        self.assertEqual(status, 0)
        self.assertEqual(
            written, {"title": "x", "uid": "x", "id": None, "panels": [{"datasource": {"uid": "prometheus"}}]}
        )

    def test_what_cannot_be_used(self) -> None:
        """Each with its reason."""
        for document, reason in (
            ([1], "not a JSON object"),
            ({"title": "x", "uid": "x"}, "no list of panels"),
            ({"uid": "x", "panels": []}, "no title"),
            ({"title": "x", "panels": []}, "no uid"),
            ({"title": "x", "uid": "a/b", "panels": []}, "no uid"),
            ({"title": "x", "uid": "erlmcp-sla", "panels": []}, "another dashboard has the uid"),
        ):
            with self.subTest(reason):
                status, said, written = self.run_on(document)
                self.assertEqual((status, written), (1, None))
                self.assertIn(reason, said)
