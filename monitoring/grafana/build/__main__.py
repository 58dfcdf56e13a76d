"""Writes the dashboards: python monitoring/grafana/build [--check].

With --check nothing is written; exits with 1 if a file is not what would be written.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import beam
import overview
import performance
import sla
from frame import ANNOTATION_TEXTS, Board
from grafana_foundation_sdk.cog.encoder import JSONEncoder

FOLDER = Path(__file__).resolve().parent.parent / "dashboards"
BOARDS = (overview, performance, sla, beam)
SCHEMA_VERSION = 38  # of Grafana 10.2
# The builders write these for every version; 10.2.0 does not have them.
LATER_OPTIONS = ("wideLayout", "sizing", "maxVizHeight")


def finished(board: Board) -> dict[str, Any]:
    """The dashboard as Grafana keeps it, with what the builders cannot say."""
    document: dict[str, Any] = json.loads(json.dumps(board.build(), cls=JSONEncoder))
    document["id"] = None  # taken from the server's own numbers
    document["schemaVersion"] = SCHEMA_VERSION
    for annotation in document["annotations"]["list"]:
        annotation.update(ANNOTATION_TEXTS[annotation["name"]])
    for variable in document["templating"]["list"]:
        # Defaults of the kind interval, which the builders give to every kind.
        for key in ("auto", "auto_min", "auto_count"):
            variable.pop(key, None)
    for number, panel in enumerate(document["panels"], start=1):
        panel["id"] = number
        for option in LATER_OPTIONS:
            panel.get("options", {}).pop(option, None)
    return document


def main() -> int:
    """Writes or checks."""
    parser = argparse.ArgumentParser(prog="monitoring/grafana/build", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, exit with 1 if a file would change")
    check = parser.parse_args().check
    stale = 0
    for module in BOARDS:
        document = finished(module.board())
        path = FOLDER / f"{document['uid']}.json"
        text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        if check:
            print(f"{path.name} is not what the code builds: run monitoring/grafana/build", file=sys.stderr)
            stale = 1
        else:
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path.name}")
    return stale


if __name__ == "__main__":
    sys.exit(main())
