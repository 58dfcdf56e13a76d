"""Priority × team × escalated against the table, by amtool of both versions."""

from __future__ import annotations

import csv
import itertools
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
import yaml
from conftest import wanted
from routing import resolve
from shipped import CONFIG, HERE, SUPPORTED

PRIORITIES = ("P0", "P1", "P2", "P3", "-", "P9")
TEAMS = ("platform", "security", "monitoring", "-", "unknown")
ESCALATED = ("true", "false", "-")


def table(name: str) -> list[dict[str, str]]:
    lines = [line for line in (HERE / name).read_text().splitlines() if not line.startswith("#")]
    return list(csv.DictReader(lines, delimiter="\t"))


def labels(row: dict[str, str]) -> dict[str, str]:
    present = {name: row[name] for name in ("priority", "team", "escalated") if row.get(name, "-") != "-"}
    return {"alertname": "ErlmcpAny", "environment": "production"} | present


def test_the_table_is_full() -> None:
    rows = [(row["priority"], row["team"], row["escalated"]) for row in table("routes.tsv")]
    assert rows == list(itertools.product(PRIORITIES, TEAMS, ESCALATED))


@pytest.mark.parametrize("amtool", SUPPORTED)
def test_receivers(amtool: str) -> None:
    path = wanted("amtool", amtool)

    def ask(row: dict[str, str]) -> tuple[dict[str, str], str]:
        command = [str(path), "config", "routes", "test", f"--config.file={CONFIG}"]
        answer = subprocess.run(
            command + [f"{name}={value}" for name, value in labels(row).items()], capture_output=True, text=True
        )
        return row, answer.stdout.strip() or answer.stderr

    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(ask, table("routes.tsv")))
    assert [(row, answer) for row, answer in answers if answer != row["receiver"]] == []
    assert len(answers) == 90


@pytest.mark.parametrize("amtool", SUPPORTED)
def test_the_watchdog_has_a_way_of_its_own(amtool: str) -> None:
    path = wanted("amtool", amtool)
    for priority in PRIORITIES:
        answer = subprocess.run(
            [str(path), "config", "routes", "test", f"--config.file={CONFIG}", "--verify.receivers=dead-mans-switch",
             "alertname=ErlmcpWatchdog", f"priority={priority}", "team=monitoring"],
            capture_output=True, text=True,
        )  # fmt: skip
        assert answer.returncode == 0, answer.stdout + answer.stderr


@pytest.mark.parametrize("amtool", SUPPORTED)
def test_a_test_alert_pages_nobody(amtool: str) -> None:
    path = wanted("amtool", amtool)
    for priority, team in itertools.product(PRIORITIES, TEAMS):
        answer = subprocess.run(
            [str(path), "config", "routes", "test", f"--config.file={CONFIG}", "--verify.receivers=monitoring-notify",
             "alertname=ErlmcpTestAlert", f"priority={priority}", f"team={team}", "escalated=true"],
            capture_output=True, text=True,
        )  # fmt: skip
        assert answer.returncode == 0, answer.stdout + answer.stderr


def test_a_test_alert_is_told_at_once_and_at_any_time() -> None:
    test = {"alertname": "ErlmcpTestAlert", "environment": "test", "priority": "P3", "team": "monitoring"}
    leaf = resolve(yaml.safe_load(CONFIG.read_text())["route"], test)
    assert (leaf.group_wait, leaf.active, leaf.muted) == ("0s", [], [])


def test_receivers_by_a_second_reading() -> None:
    """routing.py, which the timings rest on, agrees with amtool's answers."""
    root = yaml.safe_load(CONFIG.read_text())["route"]
    assert [row for row in table("routes.tsv") if resolve(root, labels(row)).receiver != row["receiver"]] == []


@pytest.mark.parametrize("team", TEAMS)
@pytest.mark.parametrize("row", table("timings.tsv"), ids=lambda row: f"{row['priority']}-{row['escalated']}")
def test_timings(row: dict[str, str], team: str) -> None:
    leaf = resolve(yaml.safe_load(CONFIG.read_text())["route"], labels(row | {"team": team}))
    assert {
        "group_by": ",".join(leaf.group_by),
        "group_wait": leaf.group_wait,
        "group_interval": leaf.group_interval,
        "repeat_interval": leaf.repeat_interval,
        "active": ",".join(leaf.active) or "-",
        "muted": ",".join(leaf.muted) or "-",
    } == {name: value for name, value in row.items() if name not in ("priority", "escalated")}
