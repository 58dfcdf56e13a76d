"""Thanos by the flags of its README: two Prometheus, their blocks, the three retentions."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import unittest
import urllib.error
import urllib.parse
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import history
import place
import shared
from programs import ROOT, NotHere, Program, find, wait_for
from prometheus import Client

THANOS = "0.32.5"
PROMETHEUS = "2.53.3"
README = ROOT / "monitoring/thanos/README.md"
PORT = 10902
# Not waited for in a test: deleted at once instead of after two days, and blocks
# that are a minute old count.
AT_ONCE = ["--delete-delay=0s", "--consistency-delay=0s"]


def flags(service: str) -> list[str]:
    """As the README has them."""
    return shared.flags(README, service)


def yaml_blocks() -> list[str]:
    """Of the README."""
    return re.findall(r"(?ms)^```yaml\n(.*?)^```$", README.read_text())


def listening(words: list[str], address: str) -> list[str]:
    """On an address of its own: here all share one host."""
    changed = [word.replace("0.0.0.0", address) for word in words]
    assert changed != words
    return changed


class Setting:
    """Prometheus twice, with a sidecar each, store and query."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.programs: dict[str, Program] = {}
        self.now = history.now()
        self.windows = history.windows(self.now)
        self.blocks = 0

    def start(self) -> None:
        """Until all are ready."""
        folders = {1: place.PROMETHEUS_DATA, 2: place.SECOND_DATA}
        with ThreadPoolExecutor() as pool:
            late = {number: 7 * (number - 1) for number in folders}
            made = [pool.submit(history.write, data, self.windows, late[number]) for number, data in folders.items()]
            [self.blocks] = {one.result() for one in made}
        for number, data in folders.items():
            self.prometheus(number, data)
        for number in (1, 2):
            self.ready(f"prometheus-{number}", f"127.0.0.{number}:9090")
        self.sidecar(1, place.PROMETHEUS_DATA)
        self.sidecar(2, place.SECOND_DATA)
        self.store()
        words = listening(flags("thanos-query"), place.HOSTS["thanos-query"])
        # The second of the pair, as the README has it.
        self.thanos("thanos-query", [*words, "--endpoint=thanos-sidecar-2:10901"])

    def prometheus(self, number: int, data: Path) -> None:
        """The shipped file, and for the second one what the script makes of it."""
        words: list[str | Path] = [find("prometheus", PROMETHEUS), *flags("prometheus")]
        words += [
            f"--config.file=/etc/prometheus/{'prometheus' if number == 1 else 'prometheus-2'}.yml",
            f"--storage.tsdb.path={data}",
            # Not 30d: it would delete what is older before a sidecar has seen it.
            "--storage.tsdb.retention.time=500d",
            f"--web.listen-address=127.0.0.{number}:9090",
            "--log.level=warn",
        ]
        name = f"prometheus-{number}"
        self.programs[name] = Program(name, words, self.folder / f"{name}.log")

    def thanos(self, name: str, words: list[str]) -> None:
        """One of its programs."""
        self.programs[name] = Program(name, [find("thanos", THANOS), *words], self.folder / f"{name}.log")

    def ready(self, name: str, address: str) -> None:
        """Waits for it."""
        self.programs[name].wait_until_answers(f"http://{address}/-/ready", 60)

    def sidecar(self, number: int, data: Path) -> None:
        """The second one has its own Prometheus and data."""
        name = "thanos-sidecar" if number == 1 else "thanos-sidecar-2"
        words = listening(flags("thanos-sidecar"), place.HOSTS[name])
        if number == 2:
            words = [word.replace("//prometheus:", "//prometheus-2:").replace("=/prometheus", f"={data}") for word in words]
        self.thanos(name, words)

    def store(self) -> None:
        """It reads the bucket at its start, and then every three minutes."""
        self.thanos("thanos-store", listening(flags("thanos-store"), place.HOSTS["thanos-store"]))
        self.ready("thanos-store", f"{place.HOSTS['thanos-store']}:{PORT}")

    def compact(self) -> None:
        """Once, in place of --wait."""
        words = [word for word in flags("thanos-compactor") if word != "--wait"]
        words = listening(words, place.HOSTS["thanos-compactor"])
        self.thanos("thanos-compactor", [*words, *AT_ONCE])
        status = self.programs["thanos-compactor"].process.wait(180)
        if status:
            raise AssertionError(self.programs["thanos-compactor"].tail())

    def stop(self) -> None:
        """All of it."""
        for program in reversed(self.programs.values()):
            program.stop()


def metas() -> list[dict[str, Any]]:
    """Of the blocks in the bucket that are not to be deleted."""
    files = (place.THANOS / "bucket").glob("*/meta.json")
    return [json.loads(file.read_text()) for file in files if not (file.parent / "deletion-mark.json").exists()]


def ask(query: str, at: float | None = None, **more: str) -> Any:
    """Thanos' answer to an instant query: its result, and no warnings."""
    words = {"query": query, **({"time": str(at)} if at else {}), **more}
    url = f"http://{place.HOSTS['thanos-query']}:{PORT}/api/v1/query?{urllib.parse.urlencode(words)}"
    with urllib.request.urlopen(url, timeout=30) as response:
        answer = json.load(response)
    assert answer["status"] == "success" and not answer.get("warnings"), answer
    return answer["data"]["result"]


def value(query: str, at: float | None = None, **more: str) -> float | None:
    """The one value of it."""
    result = ask(query, at, **more)
    assert len(result) <= 1, result
    return float(result[0]["value"][1]) if result else None


class Thanos(unittest.TestCase):
    """In the order of their numbers: each goes on from what the one before has left."""

    setting: ClassVar[Setting]
    folder: ClassVar[Path]

    @classmethod
    def setUpClass(cls) -> None:
        """Everything runs, and what is old is in the bucket."""
        try:
            find("thanos", THANOS)
            find("prometheus", PROMETHEUS, "promtool")
        except NotHere as missing:
            raise unittest.SkipTest(str(missing)) from missing
        cls.folder = Path(tempfile.mkdtemp(prefix="erlmcp-thanos-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.setting = Setting(cls.folder)
        cls.addClassCleanup(cls.setting.stop)
        cls.setting.start()
        names = ("thanos-sidecar", "thanos-sidecar-2", "thanos-query")
        for name in names:
            cls.setting.ready(name, f"{place.HOSTS[name]}:{PORT}")
        wanted = 2 * cls.setting.blocks
        wait_for(f"{wanted} blocks in the bucket", lambda: len(metas()) >= wanted, 60)
        cls.read_bucket_again()

    @classmethod
    def read_bucket_again(cls) -> None:
        """What the store does every three minutes by itself; until the query program knows."""
        cls.setting.programs["thanos-store"].stop()
        wait_for("the end of the store", lambda: len(cls.endpoints()) == 2, 30)
        cls.setting.store()
        oldest = min(meta["minTime"] for meta in metas())
        wait_for("the store's times", lambda: oldest in cls.endpoints().values(), 30)

    @staticmethod
    def endpoints() -> dict[str, int]:
        """That the query program has found, and from when on they answer."""
        client = Client(f"{place.HOSTS['thanos-query']}:{PORT}")
        found = [one for kind in client.get("stores").values() for one in kind]
        return {one["name"]: one["minTime"] for one in found if not one["lastError"]}

    def test_1_blocks_have_the_labels_of_their_replica(self) -> None:
        """Uploaded by both sidecars."""
        found = [meta["thanos"]["labels"] for meta in metas()]
        self.assertEqual({label["replica"] for label in found}, {"prometheus-1", "prometheus-2"})
        self.assertEqual({label["cluster"] for label in found}, {"erlmcp"})

    def test_2_one_answer_from_the_pair(self) -> None:
        """Old data by the store, new by the sidecars; each once."""
        for name in ("of yesterday", "of last week", "of last year"):
            at = self.setting.windows[name].seen
            rate = f"sum(rate({history.COUNTER}[1h]))"
            with self.subTest(name):
                raw = {"max_source_resolution": "0s"}
                self.assertAlmostEqual(value(rate, at, **raw) or 0, history.RATE, delta=0.01)
                self.assertEqual(value(f"count({history.COUNTER})", at, **raw), 1)
                self.assertEqual(value(f"count({history.COUNTER})", at, **raw, dedup="false"), 2)

    def test_3_one_query_over_store_and_sidecar(self) -> None:
        """A range from before what the sidecars serve up to now."""
        seconds = self.setting.now - self.setting.windows["of last week"].blocks[0] + history.HOUR
        found = ask(f"count_over_time({history.GAUGE}[{seconds}s])", max_source_resolution="0s")
        [one] = found
        wanted = sum(
            len(self.setting.windows[name].blocks) * history.BLOCK // history.STEP for name in ("of yesterday", "of last week")
        )
        # Deduplication stays with one replica, and may lose a sample where it starts.
        self.assertLessEqual(abs(float(one["value"][1]) - wanted), 4)
        self.assertNotIn("replica", one["metric"])

    def test_4_retention_by_resolution(self) -> None:
        """After one run of the compactor each age is there in its resolution, and in no other."""
        self.setting.compact()
        self.read_bucket_again()
        expected = {
            "of yesterday": {"0s"},
            "of last week": {"5m"},
            "of last month": {"1h"},
            "of last year": {"1h"},
            "older than a year": set(),
            "cut short": set(),
            "begun late": set(),
        }
        for name, resolutions in expected.items():
            with self.subTest(name):
                self.assertEqual(self.resolutions(self.setting.windows[name]), resolutions)

    @staticmethod
    def resolutions(window: history.Window) -> set[str]:
        """Of the blocks that have an instant of a window."""
        names = {0: "0s", 300_000: "5m", 3_600_000: "1h"}
        at = window.seen * 1000
        return {
            names[meta["thanos"]["downsample"]["resolution"]] for meta in metas() if meta["minTime"] <= at < meta["maxTime"]
        }

    def test_5_what_is_left_answers_right(self) -> None:
        """Mean, greatest and rate survive; a query that wants finer data finds none."""
        for name, finer, coarse, window in (
            ("of last week", "0s", "5m", "2h"),
            ("of last month", "5m", "1h", "5h"),
            ("of last year", "5m", "1h", "5h"),
        ):
            at = self.setting.windows[name].seen + history.HOUR
            with self.subTest(name):
                self.assertIsNone(value(f"max_over_time({history.GAUGE}[{window}])", at, max_source_resolution=finer))
                for words in ({"max_source_resolution": coarse}, {}):
                    self.assertEqual(value(f"max_over_time({history.GAUGE}[{window}])", at, **words), history.PEAK)
                    self.assertEqual(value(f"min_over_time({history.GAUGE}[{window}])", at, **words), history.BASE)
                    mean = value(f"avg_over_time({history.GAUGE}[{window}])", at, **words)
                    self.assertAlmostEqual(mean or 0, history.MEAN, delta=0.5)
                    rate = value(f"sum(rate({history.COUNTER}[{window}]))", at, **words)
                    self.assertAlmostEqual(rate or 0, history.RATE, delta=0.1)
        for name in ("older than a year", "cut short", "begun late"):
            with self.subTest(name):
                self.assertIsNone(value(f"max_over_time({history.GAUGE}[5h])", self.setting.windows[name].seen))

    def test_6_a_graph_over_the_year(self) -> None:
        """The resolution follows the step, as a panel asks."""
        window = self.setting.windows["of last year"]
        words = {
            "query": f"max_over_time({history.GAUGE}[6h])",
            "start": str(window.blocks[0]),
            "end": str(self.setting.now),
            "step": str(8 * history.HOUR),
        }
        url = f"http://{place.HOSTS['thanos-query']}:{PORT}/api/v1/query_range?{urllib.parse.urlencode(words)}"
        with urllib.request.urlopen(url, timeout=30) as response:
            [one] = json.load(response)["data"]["result"]
        times = [float(at) for at, _ in one["values"]]
        for name in ("of last year", "of last month", "of last week", "of yesterday"):
            blocks = self.setting.windows[name].blocks
            with self.subTest(name):
                self.assertTrue(any(blocks[0] <= at <= blocks[-1] + history.BLOCK + 6 * history.HOUR for at in times))

    def test_7_retentions_that_thanos_refuses(self) -> None:
        """Raw must outlive the 40 h that 5 min needs, 5 min the 10 days that 1 h needs."""
        shipped = flags("thanos-compactor")
        for wrong, message in (("raw=39h", "40 hours"), ("5m=9d", "10 days")):
            resolution = wrong.split("=")[0]
            words = [re.sub(rf"(--retention.resolution-){resolution}=.*", rf"\g<1>{wrong}", word) for word in shipped]
            self.assertNotEqual(words, shipped)
            program = Program(
                "compactor",
                [str(find("thanos", THANOS)), *listening(words, place.HOSTS["thanos-compactor"])],
                self.folder / "wrong.log",
            )
            with self.subTest(wrong), program:
                self.assertNotEqual(program.process.wait(20), 0)
                self.assertIn(message, program.tail())

    def test_8_a_sidecar_wants_equal_blocks(self) -> None:
        """With Prometheus' own compaction it does not start."""
        data = self.folder / "unequal"
        data.mkdir()
        words: list[str | Path] = [find("prometheus", PROMETHEUS), "--config.file=/etc/prometheus/prometheus.yml"]
        words += [f"--storage.tsdb.path={data}", "--web.listen-address=127.0.0.3:9090", "--storage.tsdb.max-block-duration=0s"]
        with Program("unequal", words, self.folder / "unequal.log") as server:
            server.wait_until_answers("http://127.0.0.3:9090/-/ready")
            asked = [word.replace("//prometheus:", "//127.0.0.3:") for word in flags("thanos-sidecar")]
            sidecar = Program(
                "sidecar", [str(find("thanos", THANOS)), *listening(asked, "127.0.0.31")], self.folder / "refused.log"
            )
            with sidecar:
                self.assertNotEqual(sidecar.process.wait(30), 0)
                self.assertIn("Compaction needs to be disabled", sidecar.tail())

    def test_8_the_other_bucket(self) -> None:
        """The README's S3 is understood; it cannot be reached from here."""
        [text] = [block for block in yaml_blocks() if block.startswith("type: S3")]
        environment = {**os.environ, "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
        for wrong in (False, True):
            config = text.replace("sse_config", "sse_conf") if wrong else text
            words = [str(find("thanos", THANOS)), "tools", "bucket", "ls", f"--objstore.config={config}"]
            with Program("thanos-tools", words, self.folder / "tools.log", environment) as program:
                # It tries again and again to find the host, or says at once what it does not know.
                with contextlib.suppress(subprocess.TimeoutExpired):
                    program.process.wait(10 if wrong else 3)
                said = program.tail()
            self.assertEqual("sse_conf not found" in said, wrong, said)
            self.assertEqual("unmarshal errors" in said, wrong, said)

    def test_8_watch_it(self) -> None:
        """The shipped targets are scraped as soon as their file is there, and give what the alerts read."""
        self.setting.thanos("thanos-compactor", listening(flags("thanos-compactor"), place.HOSTS["thanos-compactor"]))
        self.setting.ready("thanos-compactor", f"{place.HOSTS['thanos-compactor']}:{PORT}")
        with shared.watched("thanos"):
            client = Client("127.0.0.1:9090")
            wait_for("four targets", lambda: client.value('count(up{job="thanos"} == 1)') == 4, 90)
            metrics = shared.metrics_of_alerts("thanos")
            self.assertGreaterEqual(len(metrics), 2)
            for metric in metrics:
                self.assertIsNotNone(client.value(f'{metric}{{job="thanos"}}'), metric)

    def test_9_what_is_measured_now(self) -> None:
        """By the sidecars, at once: no block has it yet."""
        live = 'count(up{job="prometheus"})'
        wait_for("a live sample of both", lambda: value(live, dedup="false") == 2, 60)
        self.assertEqual(value(live), 1)
