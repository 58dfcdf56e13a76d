"""Mute times: which priorities wait, and that they are sent afterwards."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Iterator
from datetime import datetime, timezone

import pytest
import yaml
from alerts import alert
from conftest import Bench
from server import Alertmanager, calendar, prepare, waits
from shipped import CONFIG
from sinks import PATIENCE, HttpSink, SmtpSink, wait_for

# Which time interval holds which alerts back: of priority and escalated.
OUT_OF_HOURS: set[str] = set()
SITUATIONS = {
    "out of hours": (OUT_OF_HOURS, {("P3", False), ("P2", True)}),
    "holiday": ({"business-hours", "holidays"}, {("P3", False), ("P2", True)}),
    "maintenance": ({"business-hours", "maintenance"}, {("P2", False)}),
    "maintenance at night": ({"maintenance"}, {("P2", False), ("P3", False), ("P2", True)}),
}
ALL = [("P0", False), ("P0", True), ("P1", False), ("P1", True), ("P2", False), ("P2", True), ("P3", False)]


@pytest.fixture
def muting(
    version: str, sinks: tuple[HttpSink, SmtpSink], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Bench]:
    http, smtp = sinks
    folder = tmp_path_factory.mktemp(f"muting-{version}")
    server = Alertmanager(version, folder, prepare(folder, http, smtp), smtp.certificate)
    server.text = waits(server.text)
    yield Bench(server, http, smtp)
    server.stop()


def muted_by(server: Alertmanager, place: str, **labels: str) -> list[str]:
    """The mute times that hold an alert back: decided when its group is due."""
    groups = server.groups(environment=place, **labels)
    return [name for group in groups for found in group["alerts"] for name in found["status"]["mutedBy"]]


def held_back(server: Alertmanager, place: str) -> None:
    wait_for(lambda: muted_by(server, place), 1, PATIENCE, f"a mute time that holds {place} back")


@pytest.mark.parametrize("situation", SITUATIONS)
def test_muting(muting: Bench, situation: str) -> None:
    now, held = SITUATIONS[situation]
    server = muting.server
    server.text = calendar(server.text, now)
    server.start()
    cases = {f"mute-{uuid.uuid4().hex[:10]}": key for key in ALL}
    teams = dict(zip(cases, ["platform", "security", "monitoring"] * 3))
    for place, (priority, escalated) in cases.items():
        more = {"escalated": "true"} if escalated else {}
        server.post([alert(environment=place, priority=priority, team=teams[place], **more)])
    for place, key in cases.items():
        if key in held:
            held_back(server, place)
        else:
            muting.http.wait("/slack/", place)
    # More than a group_interval.
    time.sleep(1.5)
    for place, key in cases.items():
        [group] = server.groups(environment=place)
        [found] = group["alerts"]
        muted_by = found["status"]["mutedBy"]
        if key in held:
            assert found["status"]["state"] == "suppressed", (key, found["status"])
            assert set(muted_by) <= {"business-hours", "holidays", "maintenance"} and muted_by
            assert muting.http.matching("/", place) == []
        else:
            assert muted_by == [] and found["status"]["state"] == "active", key


def test_what_was_held_back_is_sent_when_the_time_comes(muting: Bench) -> None:
    server = muting.server
    without = server.text
    server.text = calendar(without, set())
    server.start()
    place = f"mute-{uuid.uuid4().hex[:10]}"
    server.post([alert(environment=place, priority="P3")])
    held_back(server, place)
    time.sleep(1.5)
    assert muting.http.matching("/slack/", place) == []
    # In the morning: another calendar, read by the running server.
    (server.folder / "alertmanager.yml").write_text(calendar(without, {"business-hours"}))
    server.reload()
    [request] = muting.http.wait("/slack/", place)
    assert "[P3 · firing]" in request.json()["attachments"][0]["title"]


def within(interval: dict[str, object], moment: datetime) -> bool:
    """Whether a time interval as this file writes them holds at a moment in UTC."""
    days = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
    months = ["january", "february", "march", "april", "may", "june", "july", "august", "september",
              "october", "november", "december"]  # fmt: skip

    def ranges(key: str, names: list[str]) -> list[range]:
        found = []
        for text in interval.get(key, []):  # type: ignore[attr-defined]
            first, _, last = str(text).partition(":")
            ends = [names.index(part) if part in names else int(part) for part in (first, last or first)]
            found.append(range(ends[0], ends[1] + 1))
        return found

    assert interval["location"] == "UTC"
    checks = [
        (ranges("weekdays", days), moment.weekday()),
        (ranges("months", months), moment.month - 1),
        (ranges("days_of_month", []), moment.day),
    ]
    if not all(any(value in r for r in found) for found, value in checks if found):
        return False
    times = interval.get("times")
    clock = moment.strftime("%H:%M")
    return not times or any(t["start_time"] <= clock < t["end_time"] for t in times)  # type: ignore[attr-defined]


MOMENTS = [
    # Tuesday to Sunday around the edges; a moment, and the intervals that hold then.
    ("2026-11-24 07:59", set()),
    ("2026-11-24 08:00", {"business-hours"}),
    ("2026-11-27 17:59", {"business-hours"}),
    ("2026-11-27 18:00", set()),
    ("2026-11-28 12:00", set()),
    ("2026-11-29 01:59", set()),
    ("2026-11-29 02:00", {"maintenance"}),
    ("2026-11-29 03:59", {"maintenance"}),
    ("2026-11-29 04:00", set()),
    ("2026-12-25 12:00", {"business-hours", "holidays"}),
    ("2027-01-01 12:00", {"business-hours", "holidays"}),
    ("2027-01-02 12:00", set()),
]


def holding(moment: datetime) -> set[str]:
    intervals = yaml.safe_load(CONFIG.read_text())["time_intervals"]
    return {i["name"] for i in intervals if any(within(part, moment) for part in i["time_intervals"])}


@pytest.mark.parametrize(("moment", "names"), MOMENTS, ids=[m for m, _ in MOMENTS])
def test_the_shipped_calendar(moment: str, names: set[str]) -> None:
    assert holding(datetime.strptime(moment, "%Y-%m-%d %H:%M")) == names


def test_the_shipped_calendar_now(muting: Bench) -> None:
    """Alertmanager's own opinion of the shipped calendar at this moment."""
    muting.server.start()
    place = f"mute-{uuid.uuid4().hex[:10]}"
    muting.server.post([alert(environment=place, priority=p) for p in ("P2", "P3")])
    before = holding(datetime.now(timezone.utc))
    held = {"P2": "maintenance" in before, "P3": "business-hours" not in before or "holidays" in before}
    states = {}
    for priority in held:

        def decided(priority: str = priority) -> list[object]:
            sent = [r for r in muting.http.matching("/slack/", place) if f"[{priority} " in r.body.decode()]
            return [*muted_by(muting.server, place, priority=priority), *sent]

        wait_for(decided, 1, PATIENCE, f"{priority} held back or sent")
        states[priority] = bool(muted_by(muting.server, place, priority=priority))
    if before != holding(datetime.now(timezone.utc)):
        pytest.skip("an interval began or ended during the test")
    assert states == held
    assert not re.search("error", " ".join(muting.server.failures()), re.IGNORECASE)
