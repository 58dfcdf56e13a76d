"""README.md: its commands are run, its example replaces SNS, its tables are so."""

from __future__ import annotations

import os
import re
import subprocess
import uuid
from pathlib import Path

import pytest
import yaml
from alerts import alert
from conftest import Bench, wanted
from server import Alertmanager, calendar, prepare, waits
from shipped import CONFIG, README, ROOT
from sinks import HttpSink, SmtpSink
from test_routes import labels, table


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)


def test_commands(bench: Bench, version: str) -> None:
    """Each line that calls amtool, against the running Alertmanager."""
    lines = [line for block in blocks("bash") for line in block.splitlines() if line.strip()]
    assert len(lines) == 9 and all(line.startswith("amtool") for line in lines)
    env = os.environ | {"PATH": f"{wanted('amtool', version).parent}:{os.environ['PATH']}", "USER": "test"}
    outputs = {}
    for line in sorted(lines, key=lambda line: "silence expire" in line):
        command = line.replace("http://localhost:9093", bench.server.url)
        answer = subprocess.run(["bash", "-c", command], cwd=ROOT, env=env, capture_output=True, text=True)
        assert answer.returncode == 0, f"{command}\n{answer.stdout}{answer.stderr}"
        outputs[line] = answer.stdout
    assert "platform-page" in outputs[next(line for line in lines if "priority=P1 team=platform" in line)]
    # The test alert arrives where the page says.
    [request] = bench.http.wait("/slack/monitoring", "ErlmcpTestAlert")
    assert "A test alert" in request.json()["attachments"][0]["text"]


def test_the_gateway_instead_of_sns(
    version: str, sinks: tuple[HttpSink, SmtpSink], tmp_path: Path
) -> None:
    http, smtp = sinks
    [block] = blocks("yaml")
    shipped = CONFIG.read_text()
    # The first block has the anchor's content, the others refer to it.
    changed, count = re.subn(r"^    sns_configs:.*\n(?: {6,}.*\n)+", lambda _: block, shipped, flags=re.MULTILINE)
    assert count == 3
    assert "sns" not in {key for receiver in yaml.safe_load(changed)["receivers"] for key in receiver}
    text = prepare(tmp_path, http, smtp)
    changed = changed.replace("/etc/alertmanager/", f"{tmp_path}/")
    changed = re.sub(r"^  (smtp_smarthost|pagerduty_url): .*$", "", changed, flags=re.MULTILINE)
    for name in ("smtp_smarthost", "pagerduty_url"):
        line = re.search(rf"^  {name}: .*$", text, re.MULTILINE)
        assert line
        changed = changed.replace("global:\n", f"global:\n{line[0]}\n", 1)
    (tmp_path / "secrets" / "sms_gateway_url").write_text(f"{http.url}/webhook/sms\n")
    (tmp_path / "secrets" / "sms_gateway_token").write_text("token-of-the-test\n")
    server = Alertmanager(version, tmp_path, calendar(waits(changed), {"business-hours"}), smtp.certificate).start()
    try:
        place = f"gateway-{uuid.uuid4().hex[:10]}"
        server.post([alert(environment=place, priority="P0", team="security")])
        [request] = http.wait("/webhook/sms", place)
        assert request.headers["Authorization"] == "Bearer token-of-the-test"
        body = request.json()
        assert body["receiver"] == "security-urgent"
        assert body["commonLabels"]["priority"] == "P0" and len(body["alerts"]) == 1
        assert server.failures() == []
    finally:
        server.stop()


@pytest.mark.parametrize("row", [r for r in table("timings.tsv") if r["priority"] != "-"], ids=lambda r: f"{r['priority']}-{r['escalated']}")
def test_the_table_of_times(row: dict[str, str]) -> None:
    """The README's table has the figures of timings.tsv, and the channels of the route."""
    lines = [line for line in README.read_text().splitlines() if line.startswith(f"| {row['priority']}")]
    escalated = row["escalated"] == "true" and row["priority"] != "P0"
    [line] = [line for line in lines if ("escalated" in line) == escalated]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    spelled = {"s": " s", "m": " min", "h": " h"}

    def words(duration: str) -> str:
        return duration[:-1] + spelled[duration[-1]]

    assert cells[6].startswith(words(row["group_wait"]))
    assert cells[7] == words(row["group_interval"])
    assert cells[8] == words(row["repeat_interval"])
    held = {"maintenance": "maintenance", "business-hours": "business hours", "holidays": "holidays"}
    for name, text in held.items():
        assert (name in (row["active"], row["muted"])) == (text in cells[9]), cells[9]
    receiver = next(
        r["receiver"] for r in table("routes.tsv")
        if labels(r) == labels({"priority": row["priority"], "team": "platform", "escalated": row["escalated"]})
    )  # fmt: skip
    tier = receiver.rsplit("-", 1)[1]
    assert [bool(cell) for cell in cells[2:6]] == {
        "urgent": [True, True, True, True],
        "page": [True, True, True, False],
        "notify": [True, True, False, False],
    }[tier]
