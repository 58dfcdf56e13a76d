"""VictoriaMetrics by the shipped remote_write: every sample arrives, also after it was away."""

import json
import re
import shutil
import tempfile
import time
import unittest
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import ClassVar

import place
import shared
from programs import ROOT, NotHere, Program, find, wait_for
from prometheus import Client

PROMETHEUS, VICTORIA_METRICS = "2.53.3", "1.112.0"
README = ROOT / "monitoring/victoria-metrics/README.md"
ADDRESS = "victoria-metrics:8428"
# The shipped 15 and 30 s would take minutes; a sample an interval it remains.
QUICK = "1s"
JOB = "storage_test"
DAY = 86400
HOST = {"prometheus-1": "127.0.0.1:9090", "prometheus-2": "127.0.0.2:9090"}
# Its answers leave out the last 30 s.
FRESH = {"latency_offset": "1ms", "nocache": "1"}


def samples(selector: str) -> dict[str, list[tuple[int, float]]]:
    """All that is stored, by series without the labels that a storage adds."""
    url = f"http://{ADDRESS}/api/v1/export?{urllib.parse.urlencode({'match[]': selector, 'reduce_mem_usage': '1'})}"
    with urllib.request.urlopen(url, timeout=30) as response:
        lines = [json.loads(line) for line in response.read().splitlines()]
    found: dict[str, list[tuple[int, float]]] = {}
    for line in lines:
        points = zip(line["timestamps"], line["values"], strict=True)
        found.setdefault(named(line["metric"]), []).extend((at, value) for at, value in points if value is not None)
    return {name: sorted(points) for name, points in found.items()}


def named(labels: dict[str, str]) -> str:
    """A series as text."""
    outer = ("cluster", "replica")
    return json.dumps({key: value for key, value in sorted(labels.items()) if key not in outer})


def count(metric: str) -> float:
    """One of its own figures, summed."""
    with urllib.request.urlopen(f"http://{ADDRESS}/metrics", timeout=10) as response:
        text = response.read().decode()
    return sum(float(value) for value in re.findall(rf"(?m)^{metric} (\S+)$", text))


class VictoriaMetrics(unittest.TestCase):
    """Two Prometheus with the same targets."""

    programs: ClassVar[dict[str, Program]]
    folder: ClassVar[Path]

    @classmethod
    def setUpClass(cls) -> None:
        """All of it."""
        cls.folder = Path(tempfile.mkdtemp(prefix="erlmcp-victoria-metrics-"))
        cls.programs = {}
        cls.addClassCleanup(cls.stop)
        try:
            find("victoria-metrics", VICTORIA_METRICS)
            cls.storage()
            for number in (1, 2):
                cls.prometheus(number)
        except NotHere as missing:
            raise unittest.SkipTest(str(missing)) from missing
        for number in (1, 2):
            cls.programs[f"prometheus-{number}"].wait_until_answers(f"http://127.0.0.{number}:9090/-/ready")

    @classmethod
    def stop(cls) -> None:
        """All of it."""
        for program in cls.programs.values():
            program.stop()

    @classmethod
    def storage(cls) -> None:
        """By the README's flags, now or again."""
        words = [word.replace("=15s", f"={QUICK}") for word in shared.flags(README, "victoria-metrics")]
        program = Program("storage", [find("victoria-metrics", VICTORIA_METRICS), *words], cls.folder / "storage.log")
        cls.programs["storage"] = program
        program.wait_until_answers(f"http://{ADDRESS}/health")

    @classmethod
    def prometheus(cls, number: int) -> None:
        """On what the script has made, and one target more."""
        name = "victoria-metrics" if number == 1 else "victoria-metrics-2"
        target = {"targets": ["prometheus:9090"], "labels": {"environment": "production", "job": JOB}}
        (place.CONFIG / "targets/erlmcp-storage.yml").write_text(json.dumps([target]))
        config = place.CONFIG / f"quick-{name}.yml"
        text = (place.CONFIG / f"{name}.yml").read_text()
        config.write_text(re.sub(r"(scrape_interval|evaluation_interval): \S+", rf"\1: {QUICK}", text).replace("timeout: 10s", "timeout: 1s"))
        words: list[str | Path] = [find("prometheus", PROMETHEUS), f"--config.file={config}", "--log.level=warn"]
        words += [f"--storage.tsdb.path={cls.folder / name}", f"--web.listen-address=127.0.0.{number}:9090"]
        cls.programs[f"prometheus-{number}"] = Program(name, words, cls.folder / f"{name}.log")

    def test_1_samples_are_found_again(self) -> None:
        """The same answer from both, to the digit."""
        query = f'sum by (job, handler) (prometheus_http_requests_total{{job="{JOB}"}})'
        at = wait_for("samples", self.first, 30) + 2
        wait_for("the time", lambda: time.time() > at + 1, 10)

        def answer(address: str, **more: str) -> list[tuple[str, str]]:
            found = Client(address).get("query", query=query, time=at, **more)
            return sorted((json.dumps(one["metric"], sort_keys=True), one["value"][1]) for one in found["result"])

        # One of the pair: which of the two samples of a second stays is not said.
        for name in ("prometheus-1", "prometheus-2"):
            self.assertTrue(answer(HOST[name]), name)

        def same() -> bool:
            stored = answer(ADDRESS, **FRESH)
            return all(one in (*answer(HOST["prometheus-1"]), *answer(HOST["prometheus-2"])) for one in stored) and bool(stored)

        wait_for("the same answer", same, 15)

    @staticmethod
    def first() -> float | None:
        """The time at which both have a sample."""
        found = [Client(address).value(f'timestamp(up{{job="{JOB}"}} == 1)') for address in HOST.values()]
        return max(at for at in found if at) if all(found) else None

    def test_2_a_pair_is_stored_once(self) -> None:
        """No label of the replica, and one series for both."""
        query = f'count by (replica) (up{{job="{JOB}"}})'
        found = Client(ADDRESS).get("query", query=query, **FRESH)["result"]
        self.assertEqual([(one["metric"], one["value"][1]) for one in found], [({}, "1")])

    def test_3_away_for_a_while(self) -> None:
        """Stopped, and back: no sample of a series is missing, in Prometheus' own words."""
        self.programs["storage"].stop()
        time.sleep(6)
        self.storage()
        selector = f'process_cpu_seconds_total{{job="{JOB}"}}'
        began = time.time() - 20

        def missing() -> list[int]:
            # One of the pair: of the other's samples one an interval stays.
            wanted: dict[str, list[tuple[int, float]]] = {}
            for number in (1, 2):
                result = Client(f"127.0.0.{number}:9090").get("query", query=f"{selector}[20s]", time=began + 20)["result"]
                for one in result:
                    wanted.setdefault(named(one["metric"]), []).extend(
                        (round(float(at) * 1000), float(value)) for at, value in one["values"]
                    )
            stored = samples(selector)
            seconds = {name: {at // 1000 for at, _ in points} for name, points in stored.items()}
            assert wanted
            return [at for name, points in wanted.items() for at, _ in points if not {at // 1000, at // 1000 + 1} & seconds.get(name, set())]

        wait_for("the samples of the pause", lambda: not missing(), 40, 1)
        for number in (1, 2):
            client = Client(f"127.0.0.{number}:9090")
            for metric in ("dropped", "failed"):
                self.assertFalse(client.value(f"sum(prometheus_remote_storage_samples_{metric}_total) > 0"))

    def test_4_retention(self) -> None:
        """A sample of 300 days stays, one of 400 is refused and counted."""
        with urllib.request.urlopen(f"http://{ADDRESS}/metrics", timeout=10) as response:
            self.assertIn('flag{name="retentionPeriod", value="365d"', response.read().decode())
        before = count(r'vm_rows_ignored_total\{reason="small_timestamp"\}')
        now = int(time.time())
        for days in (300, 400):
            body = f"storage_test_old{{days=\"{days}\"}} {days} {(now - days * DAY) * 1000}\n".encode()
            request = urllib.request.Request(f"http://{ADDRESS}/api/v1/import/prometheus", body)
            urllib.request.urlopen(request, timeout=10).close()
        found = wait_for("the old sample", lambda: samples("storage_test_old") or None, 15, 1)
        self.assertEqual([[value for _, value in points] for points in found.values()], [[300]])
        self.assertEqual(count(r'vm_rows_ignored_total\{reason="small_timestamp"\}') - before, 1)

    def test_5_watch_it(self) -> None:
        """The shipped target is scraped as soon as its file is there, and gives what the alerts read."""
        client = Client(HOST["prometheus-1"])
        with shared.watched("victoria-metrics"):
            wait_for("the target", lambda: client.value('up{job="victoria_metrics"}') == 1, 30)
            metrics = shared.metrics_of_alerts("victoria_metrics")
            self.assertGreaterEqual(len(metrics), 3)
            for metric in metrics:
                self.assertIsNotNone(client.value(f'{metric}{{job="victoria_metrics"}}'), metric)

    @classmethod
    def tearDownClass(cls) -> None:
        """Its target is nobody else's."""
        (place.CONFIG / "targets/erlmcp-storage.yml").unlink(missing_ok=True)
        shutil.rmtree(cls.folder, ignore_errors=True)
