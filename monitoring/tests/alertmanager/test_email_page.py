"""The mail as a browser lays it out at a phone's width. Pictures are kept in
_build/test-logs/email-*.png for those who want to look."""

from __future__ import annotations

import html
import os
import re
import shutil
import subprocess
import uuid
from pathlib import Path

import pytest
from alerts import Alert, alert, ended, hostile, twenty
from conftest import Bench
from shipped import ROOT

WIDTH = 390
PICTURES = ROOT / "_build" / "test-logs"


def chromium() -> str:
    path = shutil.which(os.environ.get("CHROMIUM", "chromium"))
    if not path:
        pytest.skip("there is no chromium (scripts/setup.sh test)")
    return path


def browse(page: Path, *arguments: str) -> str:
    """What Chromium says of a page; it has a profile of its own beside it."""
    answer = subprocess.run(
        [chromium(), "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=2000",
         f"--user-data-dir={page.parent / 'profile'}", *arguments, page.as_uri()],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


def framed(mail: str, height: int) -> str:
    """The mail in a frame of a phone's width: a window cannot be that narrow."""
    return (
        f'<!DOCTYPE html><meta charset="utf-8"><body style="margin:0"><iframe style="border:0" width="{WIDTH}"'
        f' height="{height}" srcdoc="{html.escape(mail)}"></iframe><script>onload=()=>{{const d='
        "document.querySelector('iframe').contentDocument.documentElement;"
        "document.body.dataset.size=d.scrollWidth+'x'+Math.ceil(d.getBoundingClientRect().height)}</script>"
    )


def cases() -> dict[str, list[list[Alert]]]:
    """Each is a list of what is posted, one after the other."""
    place = {name: f"{name}-{uuid.uuid4().hex[:6]}" for name in ("one", "twenty", "resolved", "hostile", "escalated")}
    fired = twenty(environment=place["resolved"])[:3]
    return {
        "one": [[alert(environment=place["one"], priority="P0")]],
        "twenty": [twenty(environment=place["twenty"])],
        "resolved": [fired, ended(fired)],
        "hostile": [[hostile(environment=place["hostile"], priority="P2")]],
        "escalated": [
            [
                alert("ErlmcpEscalated", environment=place["escalated"], priority="P1", escalated="true",
                      escalated_from="P2", original_alertname="ErlmcpQueueDepthHigh", instance=None,
                      summary="An alert has lasted longer than its response time",
                      description="ErlmcpQueueDepthHigh (P2) has fired for 4h; it is now P1.")
            ]
        ],
    }  # fmt: skip


@pytest.mark.parametrize("version", ["0.33.1"], indirect=True, scope="session")
@pytest.mark.parametrize("name", ["one", "twenty", "resolved", "hostile", "escalated"])
def test_it_fits_a_phone(bench: Bench, name: str, tmp_path: Path) -> None:
    chromium()
    steps = cases()[name]
    place = steps[0][0]["labels"]["environment"]
    for count, step in enumerate(steps, 1):
        bench.server.post(step)
        mail = bench.smtp.wait(place, count)[-1].part("html")
    page = tmp_path / "mail.html"
    page.write_text(framed(mail, 800))
    size = re.search(r'data-size="(\d+)x(\d+)"', browse(page, "--dump-dom"))
    assert size, "the page says no size"
    assert int(size[1]) <= WIDTH, f"it is {size[1]} wide"
    page.write_text(framed(mail, int(size[2])))
    PICTURES.mkdir(parents=True, exist_ok=True)
    picture = PICTURES / f"email-{name}.png"
    browse(page, f"--screenshot={picture}", f"--window-size={WIDTH + 110},{min(int(size[2]), 2400)}")
    assert picture.stat().st_size > 5000
