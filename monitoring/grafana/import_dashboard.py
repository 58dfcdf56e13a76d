#!/usr/bin/env python3
"""Takes a dashboard that was exported from Grafana into dashboards/custom/.

Exports come in three shapes: the dashboard itself, the HTTP API's envelope
{"dashboard": ...}, and "export for sharing", which asks for data sources when it
is imported. Provisioning wants the first, without the id of the server that it
comes from, and with data sources named.
"""

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent / "dashboards"
# The data sources of datasources/prometheus.yml, by the plugin that an export asks for.
SOURCES = {"prometheus": "prometheus", "loki": "loki", "jaeger": "jaeger", "alertmanager": "alertmanager"}
UID = re.compile(r"[A-Za-z0-9_-]{1,40}")


class Unusable(Exception):
    """Why a file cannot be provisioned."""


def unwrapped(document: Any) -> dict[str, Any]:
    """The dashboard, out of the envelope."""
    if isinstance(document, dict) and isinstance(document.get("dashboard"), dict):
        document = document["dashboard"]
    if not isinstance(document, dict):
        raise Unusable("not a JSON object")
    if not isinstance(document.get("panels"), list):
        raise Unusable("no list of panels: is this a dashboard?")
    return document


def with_sources(dashboard: dict[str, Any]) -> dict[str, Any]:
    """Names the data sources that an export for sharing asks for."""
    text = json.dumps(dashboard)
    for wanted in dashboard.get("__inputs", []):
        if wanted.get("type") != "datasource":
            raise Unusable(f'it asks for {wanted.get("name")}: export it without "for sharing externally"')
        plugin = wanted.get("pluginId", "")
        if plugin not in SOURCES:
            raise Unusable(f"there is no data source of the kind {plugin}")
        text = text.replace("${" + wanted["name"] + "}", SOURCES[plugin])
    found: dict[str, Any] = json.loads(text)
    for key in ("__inputs", "__requires", "__elements"):
        found.pop(key, None)
    return found


def checked(dashboard: dict[str, Any], taken: set[str]) -> dict[str, Any]:
    """With a uid of its own and without the server's id."""
    uid, title = dashboard.get("uid"), dashboard.get("title")
    if not isinstance(title, str) or not title.strip():
        raise Unusable("it has no title")
    if not isinstance(uid, str) or not UID.fullmatch(uid):
        raise Unusable('it has no uid: add "uid" with up to 40 letters, digits, - and _')
    if uid in taken:
        raise Unusable(f"another dashboard has the uid {uid}")
    return {**dashboard, "id": None}


def main() -> int:
    """Exits with 0, with 1 if the file cannot be used, with 2 for wrong arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="an exported dashboard")
    parser.add_argument("--into", type=Path, default=FOLDER / "custom", help="default: dashboards/custom")
    arguments = parser.parse_args()
    try:
        dashboard = with_sources(unwrapped(json.loads(arguments.file.read_text(encoding="utf-8"))))
        target: Path = arguments.into / f"{dashboard.get('uid')}.json"
        others = (path for path in FOLDER.rglob("*.json") if path.resolve() != target.resolve())
        dashboard = checked(
            dashboard, {str(json.loads(path.read_text(encoding="utf-8")).get("uid")) for path in others}
        )
    except (OSError, ValueError, Unusable) as error:
        print(f"{arguments.file}: {error}", file=sys.stderr)
        return 1
    target.write_text(json.dumps(dashboard, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"wrote {target}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
