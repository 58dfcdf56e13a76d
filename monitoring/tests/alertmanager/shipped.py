"""Where the programs and the shipped files are."""

from __future__ import annotations

import os
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
SHIPPED = ROOT / "monitoring" / "alertmanager"
CONFIG = SHIPPED / "alertmanager.yml"
TEMPLATES = SHIPPED / "templates"
README = SHIPPED / "README.md"
RULES = ROOT / "monitoring" / "prometheus" / "rules"
SECRETS_SCRIPT = ROOT / "monitoring" / "scripts" / "alertmanager-secrets.sh"
TOOLS = Path(os.environ.get("ERLMCP_TOOLS", ROOT / ".tools"))

# 0.26.0 is the guide's date. 0.28.1 is the oldest that Debian has with its keys.
SUPPORTED = ("0.28.1", "0.33.1")
UNSUPPORTED = {
    "0.25.0": "0.25 has neither url_file of webhooks nor proxy_from_environment: "
    "the configuration wants 0.26 or later"
}


def program(name: str, version: str) -> Path | None:
    """The path of alertmanager or amtool of a version, if it was fetched."""
    path = TOOLS / f"alertmanager-{version}" / name
    return path if os.access(path, os.X_OK) else None
