"""The dashboards, and their panels and queries one by one."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "monitoring/grafana/dashboards"


def boards() -> list[dict[str, Any]]:
    """All that are committed."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("erlmcp-*.json"))]


def panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    """Without the headings; what is folded into one too."""
    found: list[dict[str, Any]] = []
    for panel in board["panels"]:
        found += panel.get("panels", []) if panel["type"] == "row" else [panel]
    return found


@dataclass(frozen=True)
class Target:
    """A query of a panel."""

    board: str
    panel: str
    ref: str
    query: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.board} / {self.panel} / {self.ref}"

    @property
    def expr(self) -> str:
        """The query's text."""
        return str(self.query["expr"])

    @property
    def is_log(self) -> bool:
        """Whether it is LogQL."""
        return bool(self.query["datasource"]["type"] == "loki")


def targets() -> Iterator[Target]:
    """Every query of every panel."""
    for board in boards():
        for panel in panels(board):
            for query in panel["targets"]:
                yield Target(board["uid"], panel["title"], query["refId"], query)
