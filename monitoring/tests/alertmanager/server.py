"""Runs the real Alertmanager on the shipped configuration.

What is under test is the shipped file. The test may put other values in their
place, and every place is listed here: one that is not found is an error.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shipped import CONFIG, SECRETS_SCRIPT, TEMPLATES, program
from sinks import PATIENCE, HttpSink, SmtpSink

EXTERNAL_URL = "http://alertmanager.example:9093"
ACCESS_KEY, SECRET_KEY = "AKIDEXAMPLE", "secret-of-the-test"
PHONES = {"platform": "+12025550111", "security": "+12025550122", "monitoring": "+12025550133"}
NOW = "[{times: [{start_time: '00:00', end_time: '24:00'}]}]"
NEVER = "[{years: ['1999']}]"


def replace(text: str, pattern: str, value: str) -> str:
    """Every occurrence of a pattern, of which there must be one."""
    text, count = re.subn(pattern, lambda _: value, text, flags=re.MULTILINE)
    assert count, f"{pattern!r} is not in the shipped file"
    return text


def places(text: str, folder: Path, http: HttpSink, smtp: SmtpSink) -> str:
    """Where files lie, and the three addresses that are not in secret files."""
    text = replace(text, r"/etc/alertmanager/", f"{folder}/")
    text = replace(text, r"^  smtp_smarthost: .*$", f"  smtp_smarthost: 127.0.0.1:{smtp.port}")
    text = replace(text, r"^  pagerduty_url: .*$", f"  pagerduty_url: {http.url}/pagerduty/v2/enqueue")
    return replace(text, r"https://sns\.us-east-1\.amazonaws\.com$", f"{http.url}/sns")


def waits(text: str, wait: str = "1s", interval: str = "1s", repeat: str = "1h") -> str:
    """Nobody waits four hours for a test."""
    text = replace(text, r"(?<=group_wait: )\S+$", wait)
    text = replace(text, r"(?<=group_interval: )\S+$", interval)
    return replace(text, r"(?<=repeat_interval: )\S+$", repeat)


def each_wait(text: str, shorter: Callable[[str], str]) -> str:
    """Every wait by a rule, so that their order stays."""
    for key in ("group_wait", "group_interval", "repeat_interval"):
        text, count = re.subn(rf"(?<={key}: )\S+$", lambda found: shorter(found[0]), text, flags=re.MULTILINE)
        assert count, key
    return text


def calendar(text: str, now: set[str]) -> str:
    """The time intervals of these names are now, the others never."""
    block = re.search(r"^time_intervals:\n(?:[ #].*\n|\n)+", text, re.MULTILINE)
    assert block, "no time_intervals in alertmanager.yml"
    names = re.findall(r"^  - name: (\S+)$", block[0], re.MULTILINE)
    assert now <= set(names), f"of {names}"
    lines = "".join(f"  - {{name: {n}, time_intervals: {NOW if n in now else NEVER}}}\n" for n in names)
    return text.replace(block[0], f"time_intervals:\n{lines}\n")


def write_secrets(folder: Path, http: HttpSink, smtp: SmtpSink) -> None:
    """By the shipped script: its files are what Alertmanager reads."""

    def script(*arguments: str, value: str) -> None:
        env = os.environ | {"ERLMCP_ALERTMANAGER_SECRETS": str(folder), "ERLMCP_SECRETS_GID": str(os.getgid())}
        subprocess.run([str(SECRETS_SCRIPT), *arguments], input=value, text=True, check=True, env=env)

    for team in PHONES:
        script("set", f"slack_url_{team}", value=f"{http.url}/slack/{team}\n")
        script("set", f"pagerduty_key_{team}", value=f"{team:x<32}\n")
    script("set", "dead_mans_switch_url", value=f"{http.url}/webhook/dead-mans-switch")
    script("set", "smtp_password", value=smtp.password)
    script(
        "set",
        "aws_credentials",
        value=f"[erlmcp-alerts]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n",
    )
    script("phones", value="".join(f"{team} {number}\n" for team, number in PHONES.items()))


@dataclass
class Alertmanager:
    """A running one, told by its HTTP API."""

    version: str
    folder: Path
    text: str
    certificate: Path

    def start(self) -> Alertmanager:
        binary = program("alertmanager", self.version)
        assert binary
        config = self.folder / "alertmanager.yml"
        config.write_text(self.text)
        self.log = self.folder / "alertmanager.log"
        # The proxies of this machine and its AWS account are none of the test's.
        env = {k: v for k, v in os.environ.items() if "proxy" not in k.lower() and not k.startswith("AWS_")}
        env |= {
            "AWS_SHARED_CREDENTIALS_FILE": str(self.folder / "secrets" / "aws_credentials"),
            "AWS_EC2_METADATA_DISABLED": "true",
            "SSL_CERT_FILE": str(self.certificate),
        }
        with self.log.open("w") as log:
            self._process = subprocess.Popen(
                [str(binary), f"--config.file={config}", f"--storage.path={self.folder / 'data'}",
                 "--web.listen-address=127.0.0.1:0", "--cluster.listen-address=",
                 f"--web.external-url={EXTERNAL_URL}", "--web.route-prefix=/", "--log.level=debug"],
                stdout=log, stderr=subprocess.STDOUT, env=env,
            )  # fmt: skip
        end = time.monotonic() + PATIENCE
        while not (port := re.search(r"address=127\.0\.0\.1:(\d+)", self.log.read_text())):
            assert self._process.poll() is None, self.log.read_text()
            assert time.monotonic() < end, "it does not listen"
            time.sleep(0.05)
        self.url = f"http://127.0.0.1:{port[1]}"
        while True:
            try:
                self.get("/-/ready", raw=True)
                return self
            except OSError:
                assert time.monotonic() < end, "it does not become ready"
                time.sleep(0.05)

    def get(self, path: str, raw: bool = False) -> Any:
        with urllib.request.urlopen(self.url + path, timeout=PATIENCE) as answer:
            body = answer.read()
        return body.decode() if raw else json.loads(body)

    def post(self, alerts: list[dict[str, Any]]) -> None:
        request = urllib.request.Request(
            self.url + "/api/v2/alerts", json.dumps(alerts).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            assert answer.status == 200

    def reload(self) -> None:
        request = urllib.request.Request(self.url + "/-/reload", method="POST")
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            assert answer.status == 200

    def alerts(self, **labels: str) -> list[dict[str, Any]]:
        filters = [("filter", f'{name}="{value}"') for name, value in labels.items()]
        found: list[dict[str, Any]] = self.get("/api/v2/alerts?" + urllib.parse.urlencode(filters))
        return found

    def groups(self, **labels: str) -> list[dict[str, Any]]:
        filters = [("filter", f'{name}="{value}"') for name, value in labels.items()]
        found: list[dict[str, Any]] = self.get("/api/v2/alerts/groups?" + urllib.parse.urlencode(filters))
        return found

    def failures(self) -> list[str]:
        """Lines of the log that tell of a failed or shortened notification."""
        words = ("Notify for alerts failed", "Notify attempt failed", "Truncated", "level=ERROR", "panic")
        return [line for line in self.log.read_text().splitlines() if any(word in line for word in words)]

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)


def prepare(folder: Path, http: HttpSink, smtp: SmtpSink) -> str:
    """The shipped files in a folder of their own; the configuration, with its places."""
    shutil.copytree(TEMPLATES, folder / "templates")
    write_secrets(folder / "secrets", http, smtp)
    return places(CONFIG.read_text(), folder, http, smtp)
