"""The script that writes the secret files, and what happens without them."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import uuid
from pathlib import Path

import pytest
from alerts import alert
from server import Alertmanager, calendar, prepare, waits, write_secrets
from shipped import README, SECRETS_SCRIPT, SHIPPED
from sinks import PATIENCE, HttpSink, SmtpSink, wait_for


def script(folder: Path, *arguments: str, value: str = "") -> subprocess.CompletedProcess[str]:
    env = os.environ | {"ERLMCP_ALERTMANAGER_SECRETS": str(folder), "ERLMCP_SECRETS_GID": str(os.getgid())}
    return subprocess.run([str(SECRETS_SCRIPT), *arguments], input=value, text=True, capture_output=True, env=env)


def test_usage(tmp_path: Path) -> None:
    assert script(tmp_path, "-h").returncode == 0
    for wrong in ((), ("write",), ("set",), ("set", "no_such_secret"), ("set", "../evil"), ("list", "more")):
        answer = script(tmp_path, *wrong)
        assert answer.returncode == 2 and "usage:" in answer.stderr, wrong
    assert list(tmp_path.iterdir()) == []


def test_missing_files_are_named(tmp_path: Path) -> None:
    answer = script(tmp_path / "secrets", "check")
    assert answer.returncode == 1
    names = {"slack_url_platform", "pagerduty_key_security", "smtp_password", "aws_credentials", "phones.tmpl",
             "dead_mans_switch_url"}  # fmt: skip
    for name in names:
        assert f"/{name} is missing" in answer.stderr
    assert 'write it with "set NAME"' in answer.stderr
    listed = script(tmp_path / "secrets", "list")
    assert listed.returncode == 0 and {line.split()[0] for line in listed.stdout.splitlines()} >= names


def test_every_file_of_the_configuration_and_of_the_page(tmp_path: Path) -> None:
    listed = {line.split()[0] for line in script(tmp_path, "list").stdout.splitlines()}
    page = (SHIPPED / "secrets" / "README.md").read_text()
    assert len(listed) == 10
    for name in listed:
        assert f"`{name}`" in page, name
    assert README.is_file() and "secrets/README.md" in README.read_text()


def test_written_files(tmp_path: Path, sinks: tuple[HttpSink, SmtpSink]) -> None:
    folder = tmp_path / "secrets"
    write_secrets(folder, *sinks)
    answer = script(folder, "check")
    assert answer.returncode == 0, answer.stderr
    assert stat.S_IMODE(folder.stat().st_mode) == 0o750
    for path in folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o640, path
    assert not list(folder.glob(".new*"))


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        ("slack_url_platform", "", "is empty"),
        ("slack_url_platform", "xoxb-token", "holds no URL"),
        ("pagerduty_key_platform", "short", "holds no key"),
        ("dead_mans_switch_url", "hc-ping.com/x", "holds no URL"),
        ("aws_credentials", "[default]\naws_access_key_id = x\n", "has no profile"),
        ("phones.tmpl", '{{ define "erlmcp.sms.phone.platform" }}+12025550123{{ end }}', "has no number for team"),
    ],
)
def test_malformed(
    tmp_path: Path, sinks: tuple[HttpSink, SmtpSink], name: str, value: str, fault: str
) -> None:
    folder = tmp_path / "secrets"
    write_secrets(folder, *sinks)
    assert script(folder, "set", name, value=value).returncode == 0
    answer = script(folder, "check")
    assert answer.returncode == 1 and f"{name} {fault}" in answer.stderr
    if value:
        assert value not in answer.stderr, "a secret is in a message"


def test_readable_by_everybody(tmp_path: Path, sinks: tuple[HttpSink, SmtpSink]) -> None:
    write_secrets(tmp_path / "s", *sinks)
    (tmp_path / "s" / "smtp_password").chmod(0o644)
    assert "can be read by everybody" in script(tmp_path / "s", "check").stderr


@pytest.mark.parametrize("value", ["", "platform 5550123", "platform +1202555012x", "Plat{form +12025550123"])
def test_numbers_are_checked(tmp_path: Path, value: str) -> None:
    assert script(tmp_path, "phones", value=value).returncode == 2
    assert not (tmp_path / "phones.tmpl").exists()


def test_nothing_secret_is_in_git() -> None:
    ignored = subprocess.run(
        ["git", "check-ignore", "--no-index", "alertmanager/secrets/smtp_password", "alertmanager/secrets/phones.tmpl"],
        cwd=SHIPPED.parent, capture_output=True, text=True,
    )  # fmt: skip
    assert len(ignored.stdout.split()) == 2
    tracked = subprocess.run(["git", "ls-files", "secrets"], cwd=SHIPPED, capture_output=True, text=True)
    assert set(tracked.stdout.split()) <= {"secrets/.gitignore", "secrets/README.md"}


def test_without_any_secret_it_starts_and_says_what_is_missing(
    version: str, sinks: tuple[HttpSink, SmtpSink], tmp_path: Path
) -> None:
    """What an operator who forgot them sees: the log names each file."""
    http, smtp = sinks
    text = prepare(tmp_path, http, smtp)
    for path in (tmp_path / "secrets").iterdir():
        path.unlink()
    server = Alertmanager(version, tmp_path, calendar(waits(text), {"business-hours"}), smtp.certificate).start()
    try:
        place = f"bare-{uuid.uuid4().hex[:10]}"
        server.post([alert(environment=place, priority="P0")])
        for name in ("slack_url_platform", "pagerduty_key_platform", "smtp_password"):
            wait_for(lambda: [n for n in [name] if f"secrets/{n}" in server.log.read_text()], 1, PATIENCE, name)
        # SNS: one version looks for the profile first, the other for the number.
        sns = re.compile(r"config profile, erlmcp-alerts|erlmcp\.sms\.phone\.platform")
        wait_for(lambda: sns.findall(server.log.read_text()), 1, PATIENCE, "sns")
        metrics = server.get("/metrics", raw=True)
        failed = [line for line in metrics.splitlines() if line.startswith("alertmanager_notifications_failed_total{")]
        assert sum(float(line.rsplit(" ", 1)[1]) for line in failed) > 0, "what ErlmcpAlertmanagerNotificationsFailing sees"
        assert http.matching("/", place) == []
        # Written now, they are read without a restart; only phones.tmpl wants a reload.
        write_secrets(tmp_path / "secrets", http, smtp)
        server.reload()
        http.wait("/slack/", place)
        http.wait("/sns", place[:12])
    finally:
        server.stop()


