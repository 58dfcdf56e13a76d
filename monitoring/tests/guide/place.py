"""The clone that the guide begins with, and what its commands are run with."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from demo import build
from namespace import ROOT
from programs import TOOLS, NotHere, Program, find, wait_for

HERE = Path(__file__).resolve().parent
URL = "https://github.com/your-org/erlmcp.git"
COMPOSE_FILE = "docker/docker-compose.monitoring.yml"
# What compose says when it has understood the command and the file.
NO_ENGINE = "Cannot connect to the Docker daemon"


def deviations() -> list[str]:
    """What docs/deviations.md lists: the first cell of each row."""
    rows = (ROOT / "docs/deviations.md").read_text(encoding="utf-8").splitlines()
    return [row.split("|")[1].strip() for row in rows if row.startswith("| ")]


class Place:
    """A folder with the clone in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.monitoring = folder / "erlmcp/monitoring"
        self.environment = {
            **os.environ,
            "HOME": str(folder),
            "ERLMCP_TOOLS": str(TOOLS),
            "ERLMCP_BUILD": str(build()),
            "ERLMCP_MONITORING_STATE": str(folder / "state"),
            # The guide's address is this checkout.
            "GIT_CONFIG_COUNT": "2",
            "GIT_CONFIG_KEY_0": f"url.{ROOT}.insteadOf",
            "GIT_CONFIG_VALUE_0": URL,
            "GIT_CONFIG_KEY_1": "safe.directory",
            "GIT_CONFIG_VALUE_1": "*",
        }

    def run(self, command: str, seconds: float = 60) -> subprocess.CompletedProcess[str]:
        """As somebody would type it into a shell, in the guide's folder."""
        where = self.monitoring if self.monitoring.is_dir() else self.folder
        return subprocess.run(
            ["bash", "-c", command],
            cwd=where,
            env=self.environment,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=seconds,
            check=False,
        )

    def works(self, command: str, seconds: float = 60) -> str:
        """What it printed; it has to succeed."""
        done = self.run(command, seconds)
        if done.returncode != 0:
            raise AssertionError(f"$ {command}\nexit status {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout + done.stderr

    def native(self, command: str, seconds: float = 240) -> str:
        """A command of the scripts, on programs of this machine instead of containers."""
        return self.works(f"{command} --native", seconds)

    def compose(self, *words: str) -> subprocess.CompletedProcess[str]:
        """The real compose."""
        program = find("docker-compose", "2.40.3")
        return subprocess.run(
            [program, *words], cwd=self.monitoring, capture_output=True, text=True, timeout=60, check=False
        )

    def stack(self) -> dict[str, Any]:
        """The services of the compose file, by the names of their containers."""
        done = self.compose("-f", COMPOSE_FILE, "config", "--format", "json")
        if done.returncode != 0:
            raise AssertionError(done.stderr)
        services = json.loads(done.stdout)["services"]
        return {service["container_name"]: service for service in services.values() if "container_name" in service}

    @staticmethod
    def has_grafana() -> bool:
        """Whether there is a server for the stack to start."""
        try:
            return bool(find("grafana", "10.0.0"))
        except NotHere:
            return False

    def understood(self, command: str) -> None:
        """Compose takes the command; only the engine is missing."""
        words = re.fullmatch(r"docker-compose (.*)", command)
        assert words, command
        done = self.compose(*words[1].split())
        if NO_ENGINE not in done.stderr:
            raise AssertionError(f"$ {command}\n{done.stdout}{done.stderr}")


class Application:
    """The node that the guide's own blocks make up."""

    def __init__(self, folder: Path, application: str, request: str, log: str) -> None:
        folder.mkdir()
        for name, text in {"application": application, "request": request, "log": log}.items():
            (folder / f"{name}.erl").write_text(text, encoding="utf-8")
        example = ROOT / "examples/erlmcp_app/src"
        # The rest of the example: its supervisor, and what that supervises.
        sources = [HERE / "erlmcp_guide_node.erl", example / "erlmcp_sup.erl", example / "erlmcp_request_handler.erl"]
        library = build()
        subprocess.run(["erlc", "-o", folder, *sources], check=True)
        self.log = folder / "node.log"
        command = ["erl", "-noshell", "-pa", library / "ebin", folder, "-s", "erlmcp_guide_node", "main"]
        # Its standard input stays open as long as this program runs.
        shell = "tail -f /dev/null --pid=$$ | exec \"$@\""
        self.program = Program(
            "erlmcp",
            ["bash", "-c", shell, "node", *command],
            self.log,
            {
                "GUIDE_FOLDER": str(folder),
                "ERLMCP_LOG_FILE": "/var/log/erlmcp/erlmcp.log",
                "OTEL_SERVICE_NAME": "erlmcp",
                "OTEL_EXPORTER_OTLP_ENDPOINT": "http://otel-collector:4318",
            },
        )
        self.program.wait_until_answers("http://erlmcp:8080/metrics")
        wait_for("a request", lambda: "ready" in self.program.tail(100000), 30)

    def stop(self) -> None:
        """With all that it started."""
        self.program.stop()


def emptied(folder: Path) -> Path:
    """The folder, with nothing in it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
