"""The alerts and labels that the configuration names exist in the rules."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from routing import leaves, matcher, matches
from shipped import CONFIG, RULES, SHIPPED
from test_inhibition import CASES


@pytest.fixture(scope="module")
def alerts() -> list[dict[str, Any]]:
    files = sorted(RULES.glob("*.yml"))
    if not files:
        pytest.skip("monitoring/prometheus/rules is not merged yet")
    groups = [group for path in files for group in yaml.safe_load(path.read_text())["groups"]]
    return [rule for group in groups for rule in group["rules"] if "alert" in rule]


def configured() -> list[list[str]]:
    """The matchers of every route and of every side of every inhibition."""
    config = yaml.safe_load(CONFIG.read_text())
    found = [route["matchers"] for route in leaves(config["route"]) if "matchers" in route]
    for rule in config["inhibit_rules"]:
        found += [rule["source_matchers"], rule["target_matchers"]]
    return found


def alternatives(pattern: str) -> list[str]:
    """The names that a pattern of this file stands for: A|B, A(B|C)D, and |A, which is also none."""
    if pattern.startswith("|"):
        return alternatives(pattern[1:])
    inner = re.search(r"\(([^()]*)\)", pattern)
    if inner:
        parts = inner[1].split("|")
        return [name for part in parts for name in alternatives(pattern.replace(inner[0], part, 1))]
    return pattern.split("|")


def test_alert_names(alerts: list[dict[str, Any]]) -> None:
    names = {rule["alert"] for rule in alerts}
    named = {
        name
        for matchers in configured()
        for label, _, value in map(matcher, matchers)
        if label in ("alertname", "original_alertname")
        for name in alternatives(value)
    }
    # Not a rule's: verify sends it.
    assert "ErlmcpTestAlert" in (SHIPPED.parent / "scripts/lib/verify-alertmanager.sh").read_text(encoding="utf-8")
    names.add("ErlmcpTestAlert")
    unknown = {name for name in named if not any(re.fullmatch(name, known) for known in names)}
    assert unknown == set()


@pytest.mark.parametrize("label", ["priority", "severity", "team", "scope", "topic", "escalated", "escalation"])
def test_values_of_labels(alerts: list[dict[str, Any]], label: str) -> None:
    known = {str(rule["labels"][label]) for rule in alerts if label in rule["labels"]}
    named = {
        value
        for matchers in configured()
        for name, _, pattern in map(matcher, matchers)
        if name == label
        for value in alternatives(pattern)
    }
    assert named - known == set()


def test_the_cases_of_inhibition_are_alerts_with_these_labels(alerts: list[dict[str, Any]]) -> None:
    by_name: dict[str, list[dict[str, Any]]] = {}
    for rule in alerts:
        by_name.setdefault(rule["alert"], []).append(rule["labels"])
    wrong = []
    for case in CASES:
        for labels in (case.source, *case.muted, *case.left):
            name = labels.get("original_alertname", labels["name"])
            stated = {k: v for k, v in labels.items() if k in ("scope", "topic", "severity", "escalation")}
            if not any(all(real.get(k) == v for k, v in stated.items()) for real in by_name.get(name, [])):
                wrong.append((name, stated, by_name.get(name)))
    assert wrong == []


def test_every_alert_has_a_route_of_its_own(alerts: list[dict[str, Any]]) -> None:
    """None falls through to the root, whose receiver is for mistakes."""
    routes = yaml.safe_load(CONFIG.read_text())["route"]["routes"]
    for rule in alerts:
        labels = {"alertname": rule["alert"]} | {k: str(v) for k, v in rule["labels"].items()}
        assert any(matches(route["matchers"], labels) for route in routes), labels
        if rule["alert"] != "ErlmcpEscalated":
            assert rule["labels"]["team"] in ("platform", "security", "monitoring"), labels


def test_amlint_with_the_rules(alerts: list[dict[str, Any]], tmp_path: Path) -> None:
    # What verify sends comes from no rule.
    sent = {"groups": [{"name": "sent", "rules": [{"alert": "ErlmcpTestAlert", "expr": "vector(1)"}]}]}
    (tmp_path / "sent.yml").write_text(yaml.safe_dump(sent), encoding="utf-8")
    answer = subprocess.run(
        [str(Path(sys.executable).parent / "amlint"), "check", "--strict", "--rules", f"{RULES}/*.yml",
         "--rules", f"{tmp_path}/sent.yml",
         "--only", "inhibit-unknown-alertname,route-unknown-alertname", str(CONFIG)],
        capture_output=True, text=True,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stdout + answer.stderr
