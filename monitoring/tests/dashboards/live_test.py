"""The dashboards on data: every query answered by real servers, every panel drawn.

The demo runs under load; then both nodes stand still (an outage); then one goes on
and the other is killed (an incident). The pictures are in _build/dashboards/.
"""

import json
import os
import shutil
import tempfile
import time
import unittest
from collections.abc import Collection
from pathlib import Path
from typing import Any, ClassVar

import answers
import boards
import files_test
import grafana
import promql_parser
from boards import ROOT
from programs import NotHere
from prometheus import Client
from stack import Stack

VERSIONS = ("3.5.3", "2.53.3")
DRAWN = VERSIONS[0]
PICTURES = ROOT / "_build/dashboards"

LOAD_SECONDS = 60
# Longer than the window of the quickened rules: what is recorded ends too.
STILL_SECONDS = 30
INCIDENT_SECONDS = 25
# The scrape interval of the data source: 15 s where targets are scraped each 15 s.
SCRAPE = 5.0

# Panels without data in this test, and why. A query of a panel is named by its letter.
EMPTY = {
    "erlmcp-overview / Warnings and errors": "there is no Loki here: tests/grafana asks one",
    "erlmcp-performance / Requests, before / B": "the data are some minutes old, not a day",
    "erlmcp-performance / Requests, before / C": "the data are some minutes old, not a week",
    "erlmcp-performance / P99, before / B": "the data are some minutes old, not a day",
    "erlmcp-performance / P99, before / C": "the data are some minutes old, not a week",
    "erlmcp-performance / Error rate, before / B": "the data are some minutes old, not a day",
    "erlmcp-performance / Error rate, before / C": "the data are some minutes old, not a week",
}
# Queries that have data in some runs only.
SOMETIMES = {
    "erlmcp-beam / Refused and overflowed samples / C": "only reasons that occur are shown",
    "erlmcp-beam / Dropped records / C": "only reasons that occur are shown",
    "erlmcp-performance / Connections opened and failed / B": "only errors that occur are shown",
}
OUTAGE = ("erlmcp-overview", "erlmcp-sla")


def reason(target: boards.Target) -> str | None:
    """Why a query may be without an answer."""
    name = str(target)
    return EMPTY.get(name) or SOMETIMES.get(name) or EMPTY.get(f"{target.board} / {target.panel}")


class Live(unittest.TestCase):
    """One run of everything for all tests below."""

    stack: ClassVar[Stack]
    started: ClassVar[float]
    answered: ClassVar[dict[tuple[str, str, str], tuple[boards.Target, str | int]]] = {}
    pages: ClassVar[list[str]] = []
    reports: ClassVar[dict[str, dict[str, Any]]] = {}
    names: ClassVar[dict[str, set[str]]] = {}
    not_drawn: ClassVar[str | None] = None

    @classmethod
    def setUpClass(cls) -> None:
        folder = tempfile.TemporaryDirectory(prefix="erlmcp-dashboards-")
        cls.addClassCleanup(folder.cleanup)
        try:
            cls.stack = Stack(Path(folder.name), VERSIONS)
            cls.stack.__enter__()
        except NotHere as missing:
            raise unittest.SkipTest(str(missing)) from missing
        cls.addClassCleanup(cls.stack.stop)
        shutil.rmtree(PICTURES, ignore_errors=True)
        PICTURES.mkdir(parents=True)
        cls.started = time.time()
        time.sleep(LOAD_SECONDS)
        cls._look("load")
        for demo in cls.stack.demos:
            demo.pause()
        time.sleep(STILL_SECONDS)
        cls._look("outage", OUTAGE)
        for demo in cls.stack.demos:
            demo.go_on()
        cls.stack.demos[1].kill()
        time.sleep(INCIDENT_SECONDS)
        cls._ask_everything()
        cls._look("incident")
        cls.stack.stop()
        cls._draw()

    @classmethod
    def _client(cls, version: str = DRAWN) -> Client:
        return cls.stack.prometheus[version].client

    @classmethod
    def _span(cls) -> grafana.Span:
        return grafana.Span(cls.started, time.time(), SCRAPE)

    @classmethod
    def _ask_everything(cls) -> None:
        for version in VERSIONS:
            client, span = cls._client(version), cls._span()
            cls.names[version] = set(client.get("label/__name__/values"))
            for state in (answers.OPENED, answers.CHOSEN):
                values = {board["uid"]: answers.variable_values(board, client, state) for board in boards.boards()}
                for target in boards.targets():
                    if target.is_log:
                        continue
                    try:
                        found: str | int = len(answers.ask(target, client, values[target.board], span)["result"])
                    except Exception as error:  # what is wrong belongs to the query
                        found = f"{error}"
                    cls.answered[version, state, str(target)] = (target, found)

    @classmethod
    def _look(cls, state: str, uids: Collection[str] = files_test.UIDS) -> None:
        for board in boards.boards():
            if board["uid"] not in uids:
                continue
            name = f"{board['uid']}-{state}"
            page = answers.page(board, cls._client(), cls._span())
            (PICTURES / f"{name}.json").write_text(json.dumps(page), encoding="utf-8")
            cls.pages.append(name)

    @classmethod
    def _draw(cls) -> None:
        chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
        if not chromium:
            cls.not_drawn = "no chromium on this machine (scripts/setup.sh test installs it)"
            return
        os.environ["CHROMIUM"] = shutil.which(chromium) or chromium
        try:
            done = files_test.node("page/draw.mjs", PICTURES, *cls.pages)
        except unittest.SkipTest as missing:
            cls.not_drawn = str(missing)
            return
        if done.returncode != 0:
            raise RuntimeError(done.stdout + done.stderr)
        for name in cls.pages:
            cls.reports[name] = json.loads((PICTURES / f"{name}.report.json").read_text(encoding="utf-8"))

    def test_every_query_is_answered(self) -> None:
        """By both versions, with all chosen and with some; what is empty says why."""
        self.assertGreater(len(self.answered), 400)
        for (version, state, name), (target, found) in self.answered.items():
            with self.subTest(prometheus=version, variables=state, query=name):
                if isinstance(found, str):
                    self.fail(found)
                if not reason(target) and ("ALERTS" not in target.expr or files_test.alerts()):
                    self.assertGreater(found, 0, "no data")

    def test_the_list_of_empty_panels_is_needed(self) -> None:
        """What has data is not on it, and what is on it exists."""
        known = {str(target) for target in boards.targets()} | {f"{t.board} / {t.panel}" for t in boards.targets()}
        self.assertLessEqual(set(EMPTY) | set(SOMETIMES), known)
        for (version, state, name), (target, found) in self.answered.items():
            if reason(target) and name not in SOMETIMES:
                self.assertEqual(found, 0, f"{name} has data on {version}, {state}")

    def test_every_metric_exists(self) -> None:
        """Of the queries that have no data too."""
        span = grafana.Span(0, 3600, 15)
        for version in VERSIONS:
            for target in boards.targets():
                if target.is_log:
                    continue
                expr = promql_parser.parse(grafana.replaced(target.expr, files_test.ANY, span))
                for selector in files_test.selectors(expr):
                    if selector.name.startswith("ALERTS") and not files_test.alerts():
                        continue
                    with self.subTest(prometheus=version, query=str(target)):
                        self.assertIn(selector.name, self.names[version])

    def test_every_panel_is_drawn(self) -> None:
        """Lines, cells or a number in each, and no error in the browser."""
        if self.not_drawn:
            self.skipTest(self.not_drawn)
        for name in self.pages:
            if name.endswith("-outage"):
                continue
            board = next(board for board in boards.boards() if name.startswith(board["uid"]))
            report = self.reports[name]
            shown = {panel["id"]: panel for panel in report["panels"]}
            with self.subTest(page=name):
                self.assertFalse(report["errors"])
                self.assertEqual(set(shown), {panel["id"] for panel in boards.panels(board)})
            for panel in boards.panels(board):
                with self.subTest(page=name, panel=panel["title"]):
                    self._has_marks(f"{board['uid']} / {panel['title']}", panel, shown[panel["id"]], name)

    def _has_marks(self, where: str, panel: dict[str, Any], shown: dict[str, Any], page: str) -> None:
        self.assertIsNone(shown["broken"])
        if where in EMPTY:
            self.assertIsNotNone(shown["empty"])
            return
        # Before the incident nothing need fire.
        if "ALERTS" in json.dumps(panel["targets"]) and (page.endswith("-load") or not files_test.alerts()):
            return
        self.assertIsNone(shown["empty"])
        if panel["type"] in ("timeseries", "heatmap"):
            self.assertGreater(shown["painted"], 50)
        elif panel["type"] == "table":
            self.assertGreater(shown["cells"], 0)
        else:
            self.assertRegex(shown["text"], r"\d|UP|DOWN")
            self.assertNotIn("n/a", shown["text"])

    def test_the_incident_is_seen_in_the_first_line(self) -> None:
        """An instance is down, an alert fires, errors are above their level."""
        if self.not_drawn:
            self.skipTest(self.not_drawn)
        texts = self._first_lines("erlmcp-overview-incident")
        self.assertEqual(texts["Service"], "UP")
        self.assertEqual(texts["Instances down"], "1")
        if files_test.alerts():
            self.assertGreaterEqual(int(texts["P0 and P1 alerts"]), 1)
            self.assertIn("Erlmcp", texts["Active alerts"])
            # The table draws only the rows that fit.
            page = json.loads((PICTURES / "erlmcp-overview-incident.json").read_text(encoding="utf-8"))
            overview = {panel["title"]: str(panel["id"]) for panel in boards.panels(page["dashboard"])}
            listed = page["answers"][overview["Active alerts"]][0]["result"]
            self.assertIn("ErlmcpInstanceDown", {row["metric"]["alertname"] for row in listed})

    def test_an_outage_is_not_shown_as_the_figures_before_it(self) -> None:
        """The service is down, and what has no samples says so."""
        if self.not_drawn:
            self.skipTest(self.not_drawn)
        texts = self._first_lines("erlmcp-overview-outage")
        self.assertEqual((texts["Service"], texts["Instances down"]), ("DOWN", "2"))
        self.assertIn("DOWN", texts["Instances of erlmcp"])
        for title in ("Error rate", "P99 latency", "Requests"):
            self.assertEqual(texts[title], "n/a")

    def _first_lines(self, page: str) -> dict[str, str]:
        panels = {panel["id"]: panel for panel in self.reports[page]["panels"]}
        overview = next(board for board in boards.boards() if board["uid"] == "erlmcp-overview")
        return {panel["title"]: panels[panel["id"]]["text"] for panel in boards.panels(overview)}


if __name__ == "__main__":
    unittest.main()
