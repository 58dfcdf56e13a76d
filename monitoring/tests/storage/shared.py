"""What several tests of this part look at: one real node, and its template for simulated ones."""

import contextlib
import functools
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import place
from demo import Demo
from programs import ROOT, wait_for

GENERATOR = ROOT / "monitoring/tools/load-generator/load_generator.py"
FOLDER = Path("/tmp/erlmcp-shared")


@functools.cache
def demo() -> Demo:
    """It runs until the end."""
    FOLDER.mkdir(exist_ok=True)
    return Demo("demo", FOLDER)


@functools.cache
def template(seconds: float = 3) -> Path:
    """What the node says, twice."""
    node = demo()
    # Every kind of request and error has been seen by then.
    time.sleep(4)
    written = FOLDER / "template.json"
    urls = [f"http://{node.address}/metrics", f"http://{node.custom_address}/metrics/custom"]
    words = [sys.executable, str(GENERATOR), "record", *urls, "--seconds", str(seconds), "--into", str(written)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return written


def flags(readme: Path, service: str) -> list[str]:
    """As a README has them, in a block of their own."""
    blocks = readme.read_text().split("```")
    [found] = [block for block in blocks if block.startswith(f"flags {service}\n")]
    return found.splitlines()[1:]


def gone(path: Path) -> None:
    """Waits until a file was removed."""
    wait_for(f"the end of {path}", lambda: not path.exists(), 10)


@contextlib.contextmanager
def watched(name: str) -> Iterator[None]:
    """With the shipped targets of an option switched on."""
    target = place.CONFIG / f"targets/{name}-1.yml"
    shutil.copy(place.CONFIG / f"targets/available/{name}.yml", target)
    try:
        yield
    finally:
        target.unlink()


def metrics_of_alerts(job: str) -> set[str]:
    """What the shipped alerts of long-term storage read of a job, without `up`."""
    rules = (ROOT / "monitoring/prometheus/rules/storage.yml").read_text()
    return set(re.findall(rf'(\w+)\{{job="{job}"\}}', rules)) - {"up"}
