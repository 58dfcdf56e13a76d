"""Runs a program the way its container would: user, rights, root file system, mounts.

There is no Docker here. A folder of memory becomes the root: in it are the system's
libraries, what the image has for tools, and what the service mounts. It is made
read-only if the service's is, the capabilities are taken away, and the program gets
namespaces of its own for mounts, processes and the network. Limits of memory are not
enforced; what the program needs is compared with them.
"""

import os
import shlex
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from programs import Program, TooLate, wait_for
from rendered import Service

LIBRARIES = ("/usr/lib", "/usr/lib64", "/usr/share/prometheus", "/etc/ssl/certs")
DEVICES = ("null", "zero", "full", "random", "urandom")
# unshare waits for its child and does not hear SIGTERM; with it ends the child.
UNSHARE = ["setpriv", "--pdeathsig=KILL", "unshare", "--mount", "--propagation=private", "--fork"]
# What confines the program is not in its path.
OURS = "/.confine"


@dataclass(frozen=True)
class Mount:
    """A place in the container: a bind of `source`, or a new file system."""

    target: str
    source: Path | None = None
    options: str = "mode=755"
    owner: str = "0:0"
    read_only: bool = False

    def commands(self) -> str:
        """Relative to the root."""
        at = shlex.quote(f".{self.target}")
        if self.source is None:
            made = f"mkdir -p {at}; mount -t tmpfs -o {self.options} none {at}; chown {self.owner} {at}"
        else:
            make = (
                "mkdir -p"
                if self.source.is_dir()
                else f"mkdir -p {shlex.quote('.' + os.path.dirname(self.target))}; touch"
            )
            made = f"{make} {at}; mount --rbind {shlex.quote(str(self.source))} {at}"
        return f"{made}; mount -o remount,bind,ro {at}" if self.read_only else made


def _bind(target: str, source: str | Path) -> Mount:
    return Mount(target, Path(source), read_only=True)


def _script(
    root: Path, cache: Path, hosts: Sequence[str], mounts: Sequence[Mount], read_only: bool, command: Sequence[str]
) -> str:
    lines = [
        "set -eu",
        "ip link set lo up",
        f"mount -t tmpfs -o mode=755 none {root}",
        f"cd {root}",
        "mkdir -p usr/bin usr/lib usr/lib64 etc dev proc tmp",
        "ln -s usr/bin bin; ln -s usr/lib lib; ln -s usr/lib64 lib64",
        "echo 'nobody:x:65534:65534:nobody:/:/bin/false' >etc/passwd",
        f"printf '%s\\n' {shlex.join(hosts)} >etc/hosts",
        f"cp {cache} etc/ld.so.cache",
        "mount -t proc proc proc",
        "ln -s /proc/self/fd dev/fd",
        *(mount.commands() for mount in mounts),
    ]
    if read_only:
        lines.append("mount -o remount,ro .")
    lines.append(f"exec chroot {root} {shlex.join(command)}")
    return "\n".join(lines) + "\n"


class Container:
    """A program that runs as its service says."""

    def __init__(
        self, name: str, service: Service, folder: Path, entrypoint: str, tools: Mapping[str, Path],
        mounts: Sequence[Mount], command: Sequence[str] | None = None, libraries: Path = Path("/"),
    ) -> None:  # fmt: skip
        """`tools` are the image's programs, the entry point among them, by their paths;
        `libraries` is the system whose libraries it gets."""
        root = folder / f"{name}.root"
        root.mkdir()
        self.name = name
        self.service = service
        user, group = service["user"].split(":")
        groups = ",".join([group, *map(str, service.get("group_add", []))])
        kept = "".join(f",+{one.lower()}" for one in service.get("cap_add", []))
        values = {"PATH": "/usr/bin:/bin", "HOSTNAME": name, **(service.get("environment") or {})}
        self._confined = [
            f"{OURS}/env", "-i", *(f"{key}={value}" for key, value in values.items() if value is not None),
            f"{OURS}/setpriv", f"--reuid={user}", f"--regid={group}", f"--groups={groups}", "--no-new-privs",
            f"--bounding-set=-all{kept}", f"--inh-caps=-all{kept}", f"--ambient-caps=-all{kept}",
        ]  # fmt: skip
        words = [entrypoint, *(service.get("command") or [] if command is None else command)]
        inside = [
            *(_bind(path, libraries / path[1:]) for path in LIBRARIES if (libraries / path[1:]).is_dir()),
            *(_bind(f"/dev/{device}", f"/dev/{device}") for device in DEVICES),
            *(_bind(f"{OURS}/{one}", libraries / "usr/bin" / one) for one in ("env", "setpriv")),
            *(_bind(path, source) for path, source in tools.items()),
            *mounts,
        ]
        script = folder / f"{name}.sh"
        cache = libraries / "etc/ld.so.cache"
        # The machine is at the other end of the loopback.
        names = [one.replace("host-gateway", "127.0.0.1").split("=") for one in service.get("extra_hosts", [])]
        hosts = ["127.0.0.1 localhost", *(f"{address} {name}" for name, address in names)]
        script.write_text(
            _script(root, cache, hosts, inside, bool(service.get("read_only")), [*self._confined, *words]),
            encoding="utf-8",
        )
        self.program = Program(
            name,
            [*UNSHARE, "--net", "--pid", "--kill-child", "bash", script],
            folder / f"{name}.log",
        )

    def _pid(self) -> int:
        """Of its first process, as the machine counts."""
        if self.program.process.poll() is not None:
            raise AssertionError(f"{self.name} ended with {self.program.process.returncode}:\n{self.program.tail()}")
        parent = self.program.process.pid
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        if not children:
            raise ProcessLookupError(parent)
        return int(children[0])

    def enter(self) -> list[str]:
        """The command that runs another one in its network."""
        return ["nsenter", f"--target={self._pid()}", "--net"]

    def execute(self, words: Sequence[str], *, outside: bool = False) -> subprocess.CompletedProcess[str]:
        """As `docker exec` would; `outside`: with the machine's programs, in its network only."""
        enter = self.enter()
        if not outside:
            enter += ["--mount", "--pid", "--root", "--wd", *self._confined]
        return subprocess.run([*enter, *words], capture_output=True, text=True, check=False, timeout=30)

    def get(self, url: str, *words: str) -> str:
        """What it answers, asked by curl from outside."""
        result = self.execute(["curl", "-fsS", "--max-time", "10", *words, url], outside=True)
        if result.returncode != 0:
            raise AssertionError(f"{self.name}: {url}: {result.stderr.strip()}\n{self.program.tail()}")
        return result.stdout

    def wait(self, test: Sequence[str], *, outside: bool = False, seconds: float = 60) -> None:
        """Until a command succeeds: the health check."""
        last: list[subprocess.CompletedProcess[str]] = []

        def healthy() -> bool:
            try:
                last.append(self.execute(test, outside=outside))
            except ProcessLookupError:
                return False
            return last[-1].returncode == 0

        try:
            wait_for(f"health of {self.name}", healthy, seconds, pause=0.5)
        except TooLate as late:
            said = f"{last[-1].stdout}{last[-1].stderr}" if last else ""
            raise AssertionError(f"{late}: {said}\n{self.program.tail()}") from late

    def needs(self) -> tuple[int, int]:
        """Bytes of memory and threads, of all its processes."""
        memory = threads = 0
        todo = [self._pid()]
        while todo:
            pid = todo.pop()
            todo += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                key, _, value = line.partition(":")
                if key == "VmRSS":
                    memory += int(value.split()[0]) * 1024
                elif key == "Threads":
                    threads += int(value)
        return memory, threads

    def status(self, key: str) -> str:
        """A line of /proc/PID/status."""
        lines = Path(f"/proc/{self._pid()}/status").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith(f"{key}:"))

    def kill(self) -> None:
        """Whatever it is doing."""
        self.program.signal(signal.SIGKILL)
        self.program.stop()

    def stop(self) -> int:
        """By SIGTERM and within its grace period, as Docker does: the exit status."""
        os.kill(self._pid(), signal.SIGTERM)
        minutes, _, seconds = self.service["stop_grace_period"].rpartition("m")
        return self.program.process.wait(60 * int(minutes or 0) + int(seconds.removesuffix("s")))
