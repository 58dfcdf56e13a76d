"""One Alertmanager of each version, with sinks, for all tests that deliver."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from server import Alertmanager, calendar, prepare, waits
from shipped import SUPPORTED, program
from sinks import HttpSink, SmtpSink


@dataclass
class Bench:
    """An Alertmanager and where its notifications arrive."""

    server: Alertmanager
    http: HttpSink
    smtp: SmtpSink


def wanted(name: str, version: str) -> Path:
    """The path of a program, or the test is skipped."""
    path = program(name, version)
    if not path:
        pytest.skip(f"{name} {version} is not in .tools (scripts/setup.sh stack)")
    return path


@pytest.fixture(scope="session", params=SUPPORTED)
def version(request: pytest.FixtureRequest) -> str:
    wanted("alertmanager", request.param)
    return str(request.param)


@pytest.fixture(scope="session")
def sinks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[HttpSink, SmtpSink]]:
    http = HttpSink()
    smtp = SmtpSink(tmp_path_factory.mktemp("smtp"), "alerts@example.com", "password-of-the-test")
    smtp.start()
    yield http, smtp
    smtp.stop()
    http.stop()


@pytest.fixture(scope="session")
def bench(
    version: str, sinks: tuple[HttpSink, SmtpSink], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Bench]:
    """The shipped configuration with short waits, in business hours."""
    http, smtp = sinks
    folder = tmp_path_factory.mktemp(f"alertmanager-{version}")
    text = calendar(waits(prepare(folder, http, smtp)), {"business-hours"})
    server = Alertmanager(version, folder, text, smtp.certificate).start()
    yield Bench(server, http, smtp)
    server.stop()


def pytest_configure() -> None:
    """Ended by run.sh: what was started is stopped first, as at an interrupt."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def pytest_unconfigure(config: pytest.Config) -> None:
    """The last line, as monitoring/tests/run.sh reads it."""
    reporter = config.pluginmanager.getplugin("terminalreporter")
    stats = reporter.stats
    passed, skipped = len(stats.get("passed", [])), len(stats.get("skipped", []))
    failed = len(stats.get("failed", [])) + len(stats.get("error", []))
    reporter.write_line(f"alertmanager: {passed} passed, {failed} failed, {skipped} skipped")
