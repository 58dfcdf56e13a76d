"""From the node that dies to the person who is told, and back.

Two watches look at the same three nodes: one on the shipped times, whose figures are
what an operator would see, and one that lives 240 times as fast, in which four hours
are a minute. Each test has a fast one of its own: what the last one's outage leaves
behind (an escalation that ends a second later than its cause, a group that has told
of an instance already) is not taken for its own.
"""

import re
import shlex
import subprocess
import tempfile
import time
import unittest
from pathlib import Path
from typing import Any, ClassVar

from arrivals import CHANNELS, arrivals, first, seen, told, wait
from demo import Demo
from programs import ROOT, NotHere, find, wait_for
from scene import ALERTMANAGER, PROMETHEUS, Watch, blackbox_exporter
from server import PHONES

PACE = 240
NODES = 3
RATE = 20
# A P2 is raised after four hours.
RESPONSE_SECONDS = 4 * 3600 / PACE
# What a busy machine may add.
SLACK_SECONDS = 20
README = ROOT / "monitoring/alertmanager/README.md"
ADDRESSES = {
    "Slack": "#erlmcp-platform",
    "PagerDuty": f"{'platform':x<32}",
    "SMS": PHONES["platform"],
    "e-mail": "platform-oncall@example.com",
}


def silence_of_the_readme(name: str) -> list[str]:
    """Its command, for another alert: what stands behind `amtool --alertmanager.url=...`."""
    (line,) = [line for line in README.read_text().splitlines() if line.startswith("amtool") and "--author=" in line]
    return shlex.split(line.replace("ErlmcpQueueDepthHigh", name))[2:]


class Chain(unittest.TestCase):
    """One run of everything; the tests follow each other by their numbers."""

    demos: ClassVar[list[Demo]] = []
    folder: ClassVar[Path]
    # Where the blackbox exporter listens.
    blackbox: ClassVar[str]
    shipped: ClassVar[Watch]
    # When a node answered again after all were gone.
    back: ClassVar[float]

    @classmethod
    def setUpClass(cls) -> None:
        folder = tempfile.TemporaryDirectory(prefix="erlmcp-live-")
        cls.addClassCleanup(folder.cleanup)
        cls.folder = Path(folder.name)
        try:
            find("prometheus", PROMETHEUS)
            find("alertmanager", ALERTMANAGER, "amtool")
            program, cls.blackbox = blackbox_exporter(cls.folder)
            cls.addClassCleanup(program.stop)
            for number in range(NODES):
                demo = Demo(f"erlmcp_{number}", cls.folder, RATE)
                cls.demos.append(demo)
                cls.addClassCleanup(demo.stop)
        except NotHere as missing:
            raise unittest.SkipTest(str(missing)) from missing
        cls.shipped = Watch("shipped", cls.folder, cls.demos, cls.blackbox, None)
        cls.addClassCleanup(cls.shipped.stop)
        cls._all_up(cls.shipped)

    def _fast(self) -> Watch:
        """A watch for this test, which has seen all nodes up and nothing else."""
        self._revive()
        watch = Watch(f"fast-{self._testMethodName}", self.folder, self.demos, self.blackbox, PACE)
        self.addCleanup(watch.stop)
        self.addCleanup(self._sound, watch)
        self._all_up(watch)
        return watch

    @classmethod
    def _all_up(cls, watch: Watch) -> None:
        """Scraped, probed, and no alert of a node that is gone."""
        query = (
            'count(up{job="erlmcp"} == 1) + count(probe_success{job="erlmcp_health"} == 1)'
            " + max(environment:erlmcp_up:max) + (absent(ALERTS{alertname=~'Erlmcp(Service|Instance)Down'}) or vector(0))"
        )
        wait_for(f"all nodes up ({watch.name})", lambda: watch.prometheus.client.value(query) == 2 * NODES + 2, 90)

    def _revive(self) -> None:
        for demo in self.demos:
            if demo.program.process.poll() is not None:
                demo.start()

    def _sound(self, watch: Watch) -> None:
        """The dead man's switch was called all the time, and no notification failed and no rule."""
        self.assertGreater(len(watch.http.matching("/webhook/dead-mans-switch", "ErlmcpWatchdog")), 1, watch.name)
        self.assertEqual(watch.alertmanager.failures(), [])
        self.assertEqual(watch.prometheus.client.value("sum(prometheus_rule_evaluation_failures_total)"), 0)
        self.assertEqual(watch.prometheus.client.value("sum(prometheus_notifications_dropped_total)"), 0)

    @staticmethod
    def _kill(*demos: Demo) -> float:
        """When it was done; they come back with the next watch at the latest."""
        since = time.monotonic()
        for demo in demos:
            demo.kill()
        return since

    def test_1_p0(self) -> None:
        """All nodes are killed: page, second page, nothing of what follows from it, and the end."""
        fast = self._fast()
        print()
        since = self._kill(*self.demos)
        for watch, seconds in ((fast, 30), (self.shipped, 240)):
            found = wait(watch, "P0 firing ErlmcpServiceDown", CHANNELS, since, seconds)
            told(watch, "ErlmcpServiceDown P0 after the kill", found, since)
            self.assertEqual({channel: one.to for channel, one in found.items()}, ADDRESSES)
            if watch is fast:
                again = wait(watch, "P0 again firing ErlmcpServiceDown", CHANNELS, since, 60)
                told(watch, "paged again, after the first page", again, found["PagerDuty"].at)
        time.sleep(max(0.0, since + RESPONSE_SECONDS + 10 - time.monotonic()))
        # In shipped times the cause fires before what follows from it; in the fast ones
        # at the same moment, and only what would be raised is surely later.
        follows = [one.what for one in arrivals(self.shipped) if re.search("InstanceDown|HealthProbe", one.what)]
        follows += [
            one.what
            for one in arrivals(fast)
            if re.search("escalated .*(InstanceDown|HealthProbe)", one.what) and one.at > since
        ]
        self.assertEqual(follows, [])
        self.demos[0].start()
        type(self).back = time.monotonic()
        self._revive()
        for what in ("P0 resolved ErlmcpServiceDown", "P0 again resolved ErlmcpServiceDown"):
            found = wait(fast, what, CHANNELS, since, 30)
            told(fast, f"{what}, after a node answered", found, self.back)

    def test_2_p2_escalates(self) -> None:
        """One node of three is killed: a P2, not paged; four hours later a P1 that is."""
        fast = self._fast()
        print()
        since = self._kill(self.demos[1])
        found = wait(fast, "P2 firing ErlmcpInstanceDown", ("Slack", "e-mail"), since, 30)
        told(fast, "ErlmcpInstanceDown P2 after the kill", found, since)
        raised = wait(
            fast, "P1 escalated firing ErlmcpInstanceDown", CHANNELS, since, RESPONSE_SECONDS + SLACK_SECONDS
        )
        told(fast, "escalated to P1, after its first message", raised, found["Slack"].at)
        self.assertEqual({channel: one.to for channel, one in raised.items()}, ADDRESSES)
        report = seen(fast, since)
        for one in raised.values():
            self.assertGreater(one.at - since, RESPONSE_SECONDS, report)
        # A P2 wakes nobody, and what follows from a node that is down is not raised.
        self.assertEqual(set(first(fast, "P2 firing ErlmcpInstanceDown", since)), {"Slack", "e-mail"})
        self.assertEqual(first(fast, "P1 escalated firing ErlmcpHealthProbeFailing", since), {}, report)
        self._revive()
        back = time.monotonic()
        for what, channels in (
            ("P2 resolved ErlmcpInstanceDown", ("Slack", "e-mail")),
            ("P1 escalated resolved ErlmcpInstanceDown", CHANNELS),
        ):
            told(fast, f"{what}, after it answered", wait(fast, what, channels, since, 30), back)

    @staticmethod
    def _amtool(watch: Watch, *words: str) -> str:
        command = [str(find("alertmanager", ALERTMANAGER, "amtool")), f"--alertmanager.url={watch.alertmanager.url}"]
        return subprocess.run([*command, *words], capture_output=True, text=True, check=True, timeout=30).stdout.strip()

    def test_3_silence(self) -> None:
        """The README's silence stops a P2 and its escalation, and only as long as it lasts."""
        fast = self._fast()
        print()
        identifier = self._amtool(fast, *silence_of_the_readme("ErlmcpInstanceDown"))
        since = self._kill(self.demos[2])

        def silenced() -> list[dict[str, Any]] | None:
            alerts = [
                alert
                for alert in fast.alertmanager.alerts(instance=self.demos[2].address)
                if "ErlmcpInstanceDown" in (alert["labels"]["alertname"], alert["labels"].get("original_alertname"))
            ]
            return alerts if len(alerts) == 2 else None

        both = wait_for("the alert and its escalation", silenced, RESPONSE_SECONDS + SLACK_SECONDS)
        for alert in both:
            self.assertEqual(alert["status"]["silencedBy"], [identifier], alert["labels"])
        time.sleep(5)
        after = [one.what for one in arrivals(fast) if one.at > since and "InstanceDown" in one.what]
        self.assertEqual(after, [])
        print(f"  silenced: both fire, nothing was sent for {time.monotonic() - since:.0f} s", flush=True)
        self._amtool(fast, "silence", "expire", identifier)
        ended = time.monotonic()
        found = wait(fast, "P1 escalated firing ErlmcpInstanceDown", CHANNELS, ended, SLACK_SECONDS)
        told(fast, "the silence is over", found, ended)

    def test_4_p0_ends_in_shipped_times(self) -> None:
        """What was over long ago has been said by now."""
        print()
        found = wait(self.shipped, "P0 resolved ErlmcpServiceDown", CHANNELS, self.back, 180)
        told(self.shipped, "P0 resolved ErlmcpServiceDown, after a node answered", found, self.back)

    def test_5_nothing_failed_in_shipped_times(self) -> None:
        """Nor was a call of the dead man's switch left out; for the fast watches each test says so at its end."""
        self._sound(self.shipped)

    def test_6_names(self) -> None:
        """What tests/rules takes for emitted by the demo is in Prometheus."""
        lines = (ROOT / "monitoring/tests/rules/metrics/erlmcp.txt").read_text().split("# Not in that scrape")[0]
        listed = {line.split()[0] for line in lines.splitlines() if line and not line.startswith("#")}
        there = set(self.shipped.prometheus.client.label_values('{job="erlmcp"}', "__name__"))
        # Counted from the first time that it happens, which at this rate takes long.
        self.assertLessEqual(listed - there, {"erlmcp_resources_unregistered_total"})
