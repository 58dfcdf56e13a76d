"""Starts and ends the programs of a test: free ports, bounded waits, nothing left behind."""

import atexit
import contextlib
import ctypes
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Self, TypeVar

ROOT = Path(__file__).resolve().parents[3]
TOOLS = Path(os.environ.get("ERLMCP_TOOLS", ROOT / ".tools"))
STOP_SECONDS = 10
PR_SET_PDEATHSIG = 1

T = TypeVar("T")
_running: list["Program"] = []
_given_ports: set[int] = set()
_libc = ctypes.CDLL(None)


class NotHere(Exception):
    """A program that this machine does not have: what needs it is skipped."""


class TooLate(Exception):
    """Something did not happen in its time."""


def find(program: str, version: str, name: str | None = None) -> Path:
    """A program that scripts/fetch-debian.sh has unpacked; `name` is another one of its package."""
    path = TOOLS / f"{program}-{version}" / (name or program)
    if not os.access(path, os.X_OK):
        raise NotHere(f"{program} {version} is not in {TOOLS} (scripts/setup.sh stack)")
    return path


def free_port() -> int:
    """A loopback port that nobody listens on, not given out before.

    Below the ports that the system gives to connections: one of those could be taken
    before the program listens.
    """
    while True:
        port = random.randrange(20_000, 30_000)
        if port in _given_ports:
            continue
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given_ports.add(port)
        return port


def wait_for(what: str, check: Callable[[], T | None], seconds: float, pause: float = 0.2) -> T:
    """Asks until the answer is neither None nor False."""
    end = time.monotonic() + seconds
    while True:
        answer = check()
        if answer is not None and answer is not False:
            return answer
        if time.monotonic() > end:
            raise TooLate(f"{what}: not within {seconds:.0f} s")
        time.sleep(pause)


def answers(url: str) -> bool:
    """Whether a GET is answered with 200."""
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return bool(response.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def _end_with_parent() -> None:
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class Program:
    """A process with a group of its own, whose output goes to a file."""

    def __init__(
        self, name: str, command: Sequence[str | Path], log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.log = log
        self._output: IO[bytes] = log.open("wb")
        self.process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
            preexec_fn=_end_with_parent,
        )
        _running.append(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def tail(self, size: int = 2000) -> str:
        """The end of what it printed."""
        return self.log.read_bytes()[-size:].decode(errors="replace")

    def wait_until_answers(self, url: str, seconds: float = 30) -> None:
        """Waits for a 200 and complains with the log if it does not come."""

        def ready() -> bool:
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.name} ended with {self.process.returncode}:\n{self.tail()}")
            return answers(url)

        try:
            wait_for(f"{self.name} at {url}", ready, seconds)
        except TooLate as late:
            raise RuntimeError(f"{late}\n{self.tail()}") from late

    def signal(self, number: signal.Signals) -> None:
        """To the whole group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def stop(self) -> None:
        """Asks it to end, and ends it when it does not. Once: its number may be another's later."""
        if self not in _running:
            return
        _running.remove(self)
        if self.process.poll() is None:
            self.signal(signal.SIGCONT)
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_SECONDS)
        self.signal(signal.SIGKILL)
        self.process.wait(STOP_SECONDS)
        self._output.close()


def _stop_all() -> None:
    # `timeout` asks twice; the second time would end this.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    # At once, so that the slow ones are waited for together.
    for program in _running:
        program.signal(signal.SIGCONT)
        program.signal(signal.SIGTERM)
    for program in reversed(list(_running)):
        program.stop()


def _ended(number: int, _frame: object) -> None:
    sys.exit(128 + number)


# However the test ends, so do its programs.
atexit.register(_stop_all)
signal.signal(signal.SIGTERM, _ended)
signal.signal(signal.SIGHUP, _ended)
