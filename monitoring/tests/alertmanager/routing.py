"""The routing tree, read a second time: what amtool does not tell of a route."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

Matcher = tuple[str, str, str]


def matcher(text: str) -> Matcher:
    """`name = "value"` and its like, as alertmanager.yml writes them."""
    found = re.fullmatch(r'\s*(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"\s*', text)
    assert found, f"not a matcher as this file writes them: {text!r}"
    return found[1], found[2], found[3]


def matches(matchers: list[str], labels: dict[str, str]) -> bool:
    """Whether all of them hold; a label that is missing is empty."""
    for name, operator, value in map(matcher, matchers):
        actual = labels.get(name, "")
        holds = re.fullmatch(value, actual) is not None if "~" in operator else actual == value
        if holds == operator.startswith("!"):
            return False
    return True


@dataclass(frozen=True)
class Leaf:
    """Where an alert ends up, with everything inherited."""

    receiver: str
    group_by: list[str]
    group_wait: str
    group_interval: str
    repeat_interval: str
    active: list[str] = field(default_factory=list)
    muted: list[str] = field(default_factory=list)


def resolve(route: dict[str, Any], labels: dict[str, str], inherited: dict[str, Any] | None = None) -> Leaf:
    """The first route that takes the labels; no route of ours has `continue`."""
    assert not route.get("continue"), "routes with continue are not read here"
    keys = ("receiver", "group_by", "group_wait", "group_interval", "repeat_interval")
    own = (inherited or {}) | {key: route[key] for key in keys if key in route}
    for child in route.get("routes", []):
        if matches(child.get("matchers", []), labels):
            return resolve(child, labels, own)
    # Time intervals are the only thing that a route does not inherit.
    return Leaf(
        **own, active=route.get("active_time_intervals", []), muted=route.get("mute_time_intervals", [])
    )


def leaves(route: dict[str, Any]) -> list[dict[str, Any]]:
    """Every route, the root included."""
    return [route, *(leaf for child in route.get("routes", []) for leaf in leaves(child))]
