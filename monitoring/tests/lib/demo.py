"""A node of the demo workload: the real library in a real VM."""

import os
import re
import signal
import socket
from collections.abc import Mapping
from pathlib import Path

from programs import ROOT, NotHere, Program, free_port, wait_for

START_SECONDS = 60
BUILDS = ("_build/default", "_build/test")


def build() -> Path:
    """The built library: this checkout's, or the one that ERLMCP_BUILD names."""
    named = os.environ.get("ERLMCP_BUILD")
    folders = [Path(named)] if named else [ROOT / folder / "lib/erlmcp_instrumentation" for folder in BUILDS]
    for folder in folders:
        if (folder / "ebin/erlmcp_metrics.beam").exists():
            return folder
    raise NotHere("the library is not built (make compile), or set ERLMCP_BUILD")


class Demo:
    """One node: where it listens, and how to hurt it."""

    def __init__(
        self,
        name: str,
        folder: Path,
        rate: int = 100,
        environment: Mapping[str, str] | None = None,
        ports: tuple[int, int] | None = None,
    ) -> None:
        """`ports` are for a network of the test's own (namespace.py); else two that are free."""
        self.port, self.custom_port = ports or (free_port(), free_port())
        self.address = f"127.0.0.1:{self.port}"
        self.custom_address = f"127.0.0.1:{self.custom_port}"
        self._name, self._folder = name, folder
        self._environment = {
            "ERLMCP_BUILD": str(build()),
            "ERLMCP_HTTP_PORT": str(self.port),
            "ERLMCP_CUSTOM_PORT": str(self.custom_port),
            "ERLMCP_VM_COLLECTORS": "all",
            "ERLMCP_TRACE_FILE": str(folder / f"{name}-traces.jsonl"),
            "DEMO_SECONDS": "0",
            "DEMO_RATE": str(rate),
            **(environment or {}),
        }
        self.start()

    def start(self) -> None:
        """Now, or again after it was killed, on the same ports."""
        self.program = Program(
            self._name, [ROOT / "examples/demo/run.sh"], self._folder / f"{self._name}.log", self._environment
        )
        # run.sh compiles into one folder: a node is up before the next one starts.
        self.program.wait_until_answers(f"http://{self.address}/metrics", START_SECONDS)

    def change(self, environment: Mapping[str, str]) -> None:
        """For the next start."""
        self._environment.update(environment)

    def _vm(self, number: signal.Signals) -> None:
        """To the VM alone: the shell around it would forward or wait."""
        children = Path(f"/proc/{self.program.process.pid}/task/{self.program.process.pid}/children").read_text()
        for child in children.split():
            if re.search(r"beam", Path(f"/proc/{child}/comm").read_text()):
                os.kill(int(child), number)

    def pause(self) -> None:
        """The VM stands still: connections are accepted and not answered."""
        self._vm(signal.SIGSTOP)

    def go_on(self) -> None:
        """After a pause."""
        self._vm(signal.SIGCONT)

    def kill(self) -> None:
        """The VM ends without a word."""
        self._vm(signal.SIGKILL)
        wait_for(f"the end of {self.program.name}", lambda: self.program.process.poll() is not None, 10)
        self.program.stop()

    def stop(self) -> None:
        """As a service manager would."""
        self.program.stop()


def distribution_flags(peers: list[str]) -> list[dict[str, str]]:
    """ERL_FLAGS for nodes that are to be connected, without epmd.

    Each has a loopback address of its own and all have one port: the last one
    connects to those before it, which must run by then.
    """
    port = _port_of_all(len(peers))
    found = []
    for index, name in enumerate(peers):
        address = f"127.0.0.{index + 1}"
        flags = [
            f"-name {name}@{address} -setcookie erlmcp_stack_test -start_epmd false -erl_epmd_port {port}",
            f"-kernel inet_dist_use_interface {{127,0,0,{index + 1}}}",
        ]
        if index == len(peers) - 1:
            for other, peer in enumerate(peers[:-1]):
                # As numbers: quotes do not survive in ERL_FLAGS.
                codes = ",".join(str(ord(letter)) for letter in f"{peer}@127.0.0.{other + 1}")
                flags.append(f"-eval net_kernel:connect_node(list_to_atom([{codes}])).")
        found.append({"ERL_FLAGS": " ".join(flags)})
    return found


def _port_of_all(count: int) -> int:
    while True:
        port = free_port()
        sockets = [socket.socket() for _ in range(count)]
        try:
            for index, listener in enumerate(sockets):
                listener.bind((f"127.0.0.{index + 1}", port))
            return port
        except OSError:
            continue
        finally:
            for listener in sockets:
                listener.close()
