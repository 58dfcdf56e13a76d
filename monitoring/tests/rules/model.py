"""The rules as they are in the files, and where things are."""

from dataclasses import dataclass, field
from pathlib import Path

import yaml

HERE = Path(__file__).resolve().parent
MONITORING = HERE.parent.parent
PROMETHEUS = MONITORING / "prometheus"
ALERTS = PROMETHEUS / "rules"
RECORDING = PROMETHEUS / "recording_rules"
RUNBOOKS = MONITORING / "runbooks"
EXAMPLE = PROMETHEUS / "examples" / "custom-metric"


@dataclass(frozen=True)
class Rule:
    """An alert or a recorded metric."""

    name: str
    expr: str
    file: Path
    alert: bool
    duration: str | None = None
    labels: dict[str, str] = field(default_factory=dict, hash=False)
    annotations: dict[str, str] = field(default_factory=dict, hash=False)


def read(path: Path) -> list[Rule]:
    found = []
    for group in yaml.safe_load(path.read_text())["groups"]:
        for rule in group["rules"]:
            alert = "alert" in rule
            found.append(
                Rule(
                    name=rule["alert" if alert else "record"],
                    expr=rule["expr"],
                    file=path,
                    alert=alert,
                    duration=rule.get("for"),
                    labels=rule.get("labels", {}),
                    annotations=rule.get("annotations", {}),
                )
            )
    return found


def read_all(folder: Path) -> list[Rule]:
    return [rule for path in sorted(folder.glob("*.yml")) for rule in read(path)]
