"""The compose file as compose itself reads it."""

import functools
import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from programs import ROOT, TOOLS, NotHere

FILE = ROOT / "monitoring/docker/docker-compose.monitoring.yml"
IMAGES = ROOT / "monitoring/docker/images.yml"
VERSIONS = ("2.26.1", "2.40.3")
NEWEST = VERSIONS[-1]
PROFILES = ("jaeger", "elasticsearch", "thanos", "victoria-metrics", "demo")
SETS = ("guide", "tested")

Service = Mapping[str, Any]


def _environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Nothing of the caller's that compose or the file would read."""
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "TMPDIR")}
    return {**kept, **settings}


def compose(version: str, *words: str, file: Path = FILE, settings: Mapping[str, str] | None = None) -> str:
    """What `docker compose WORDS` prints; raises with what it complains of."""
    program = TOOLS / f"docker-compose-{version}/docker-compose"
    if not os.access(program, os.X_OK):
        raise NotHere(f"docker-compose {version} is not in {TOOLS} (scripts/setup.sh stack)")
    result = subprocess.run(
        [str(program), "-f", str(file), *words],
        capture_output=True, text=True, check=False, env=_environment(settings or {}), timeout=60,
    )  # fmt: skip
    if result.returncode != 0:
        raise AssertionError(f"compose {version} {' '.join(words)}: {result.stderr.strip()}")
    if result.stderr.strip():
        raise AssertionError(f"compose {version} {' '.join(words)} warns: {result.stderr.strip()}")
    return result.stdout


@functools.cache
def _config(version: str, profiles: str, images: str, more: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    settings = {"COMPOSE_PROFILES": profiles, "ERLMCP_IMAGES": images} | dict(more)
    printed = compose(version, "config", "--format", "json", settings=settings)
    # It prints a file that compose could read again: a dollar is written as two.
    return json.loads(printed.replace("$$", "$"))  # type: ignore[no-any-return]


def config(
    *, version: str = NEWEST, profiles: tuple[str, ...] = PROFILES, images: str = "guide", **more: str
) -> dict[str, Any]:
    """The whole file, with every profile unless told otherwise."""
    return _config(version, ",".join(profiles), images, tuple(sorted(more.items())))


def services(**how: Any) -> dict[str, Service]:
    """By name."""
    return dict(config(**how)["services"])


def once(name: str, service: Service) -> bool:
    """Whether it does its work and ends."""
    return service.get("restart") == "no" and name.endswith(("-volume", "-init"))
