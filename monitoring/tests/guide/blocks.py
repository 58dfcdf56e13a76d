"""The fenced blocks of the guide, in its words and order."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

GUIDE = Path(__file__).with_name("enterprise-monitoring-guide.md")


@dataclass(frozen=True)
class Block:
    """What stands between two fences."""

    number: int
    line: int
    language: str
    section: str
    text: str

    @property
    def name(self) -> str:
        """For a failed test: where to look."""
        return f"block {self.number} (line {self.line}, {self.section})"

    def commands(self) -> list[str]:
        """The lines of a shell that do something."""
        return [line for line in self.text.splitlines() if line.strip() and not line.lstrip().startswith("#")]


def _read(lines: list[str]) -> Iterator[Block]:
    number, start, language, section = 0, 0, "", ""
    inside: list[str] | None = None
    for position, line in enumerate(lines, 1):
        fence = re.match(r"\s*```(\w*)$", line)
        if fence and inside is None:
            number, start, language, inside = number + 1, position, fence[1], []
        elif fence:
            yield Block(number, start, language, section, "\n".join(inside or []) + "\n")
            inside = None
        elif inside is not None:
            inside.append(line)
        elif heading := re.match(r"#+ (.*)", line):
            section = heading[1]
    if inside is not None:
        raise ValueError(f"the block of line {start} has no end")


def blocks() -> dict[int, Block]:
    """By number, from 1."""
    return {block.number: block for block in _read(GUIDE.read_text(encoding="utf-8").splitlines())}
