"""The workflows, read: jobs, steps, what they run."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from programs import ROOT

FOLDER = ROOT / ".github/workflows"
FILES = sorted(FOLDER.glob("*.yml"))


class Step(NamedTuple):
    """A step and where it stands."""

    workflow: Path
    job: str
    step: dict[str, Any]

    def __str__(self) -> str:
        named = [self.step[key] for key in ("name", "uses", "run") if key in self.step]
        return f"{self.workflow.name}: {self.job}: {named[0]}"


def load(path: Path) -> dict[str, Any]:
    """A workflow. YAML 1.1 takes `on` for true."""
    found: dict[str, Any] = yaml.safe_load(path.read_text())
    return found


def triggers(path: Path) -> dict[str, Any]:
    """What starts it."""
    found: Any = load(path)
    events: dict[str, Any] = found[True]
    return events


def steps() -> Iterator[Step]:
    """All of them."""
    for path in FILES:
        for name, job in load(path)["jobs"].items():
            for step in job["steps"]:
                yield Step(path, name, step)


def step(workflow: str, job: str, name: str) -> str:
    """What the step with this name runs."""
    [found] = [
        each for each in steps() if each.workflow.name == workflow and each.job == job and each.step.get("name") == name
    ]
    text: str = found.step["run"]
    return text
