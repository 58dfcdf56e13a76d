"""Reads a Dockerfile: its stages, and the instructions of each."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Stage:
    """From one FROM to the next."""

    image: str
    name: str
    instructions: list[tuple[str, str]] = field(default_factory=list)

    def all(self, word: str) -> list[str]:
        """The arguments of every such instruction."""
        return [arguments for one, arguments in self.instructions if one == word]

    def environment(self, before: Mapping[str, str]) -> dict[str, str]:
        """What its ENV and ARG lines say, over `before`."""
        found = dict(before)
        for word, arguments in self.instructions:
            if word in ("ENV", "ARG"):
                for name, quoted, bare in re.findall(r'(\w+)=(?:"([^"]*)"|(\S*))', arguments):
                    found[name] = expand(quoted or bare, found)
        return found


def expand(text: str, values: Mapping[str, str]) -> str:
    """$NAME and ${NAME}."""
    return re.sub(r"\$(?:\{(\w+)\}|(\w+))", lambda found: values[found[1] or found[2]], text)


def read(path: Path) -> tuple[dict[str, str], list[Stage]]:
    """The arguments before the first stage, and the stages."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not re.match(r"\s*#", line)]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    arguments: dict[str, str] = {}
    stages: list[Stage] = []
    for line in filter(None, joined.splitlines()):
        word, _, rest = line.partition(" ")
        if word == "FROM":
            image, _, name = expand(rest, arguments).partition(" AS ")
            stages.append(Stage(image, name))
        elif stages:
            stages[-1].instructions.append((word, rest.strip()))
        else:
            name, _, value = rest.partition("=")
            arguments[name] = value
    return arguments, stages


def command(stage: Stage, word: str) -> list[str]:
    """The JSON list at the end of an instruction that has one."""
    [arguments] = stage.all(word)
    return list(json.loads(arguments[arguments.index("[") :]))
