"""The example application's image: its Dockerfiles, and what their steps make.

There is no registry to build from. The steps of the Dockerfile are run in the Debian
(trixie, Erlang 27) that scripts/test-other-otp.sh unpacks, the same Debian that
erlang:28.3.1 comes from. The native library is the one that was built here; building
it takes minutes, and scripts/run-tests.sh has done it.
"""

import fnmatch
import json
import os
import re
import shlex
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path
from typing import ClassVar

import dockerfile
import rendered
from container import UNSHARE, Container, Mount
from demo import build
from programs import ROOT, TOOLS, NotHere, wait_for

FOLDER = ROOT / "monitoring/docker"
FILES = ("Dockerfile", "Dockerfile.alpine")
SYSTEM = TOOLS / "otp-trixie"
# What debian:trixie-slim has of libraries, of all that could be asked for.
SLIM = {
    "libc.so.6",
    "libm.so.6",
    "libgcc_s.so.1",
    "libstdc++.so.6",
    "libtinfo.so.6",
    "libz.so.1",
    "ld-linux-x86-64.so.2",
}
LARGEST = 64 << 20
# Debian's is linked with systemd, that of erlang:28.3.1 is not. Without distribution
# nobody starts it.
OF_DEBIAN = {"epmd"}


class Dockerfiles(unittest.TestCase):
    """As they are written."""

    def test_hadolint(self) -> None:
        """Clean; what is ignored says why."""
        program = TOOLS / "stack-venv/bin/hadolint"
        if not program.exists():
            raise unittest.SkipTest("no hadolint in .tools/stack-venv (scripts/setup.sh stack)")
        for name in FILES:
            with self.subTest(file=name):
                result = subprocess.run([str(program), str(FOLDER / name)], capture_output=True, text=True, check=False)
                self.assertEqual((result.returncode, result.stdout), (0, ""))

    def test_base_images(self) -> None:
        """The guide's Erlang; nothing called latest."""
        expected = {"Dockerfile": "erlang:28.3.1", "Dockerfile.alpine": "erlang:28.3.1-alpine"}
        for name in FILES:
            with self.subTest(file=name):
                _, stages = dockerfile.read(FOLDER / name)
                self.assertEqual([stage.name for stage in stages], ["rust", "release", ""])
                self.assertEqual(stages[1].image, expected[name])
                for stage in stages:
                    self.assertRegex(stage.image, r"^[a-z]+:[a-z0-9.-]*[a-z0-9]$")
                    self.assertNotIn("latest", stage.image)

    def test_both_do_the_same(self) -> None:
        """Save for packages of the system and the question after health."""
        different = ("apk add", "HEALTHCHECK")
        seen = []
        for name in FILES:
            _, stages = dockerfile.read(FOLDER / name)
            seen.append([
                (word, arguments) for stage in stages for word, arguments in stage.instructions
                if word != "HEALTHCHECK" and not arguments.startswith(different) and "RUSTFLAGS" not in arguments
                and "RUSTUP_HOME" not in arguments
            ])  # fmt: skip
        self.assertEqual(*seen)

    def test_confined(self) -> None:
        """Not root by a number, a health check on the library's path, nothing of the build left."""
        for name in FILES:
            with self.subTest(file=name):
                _, stages = dockerfile.read(FOLDER / name)
                last = stages[-1]
                self.assertEqual(last.all("USER"), ["65534:65534"])
                self.assertIn("/health", " ".join(dockerfile.command(last, "HEALTHCHECK")))
                copied = [line.split()[-1] for line in last.all("COPY")]
                self.assertEqual(copied, ["/etc/ssl/certs/ca-certificates.crt", "/opt/erlmcp"])

    def test_context(self) -> None:
        """.dockerignore lets in what is copied, and no secret."""
        lines = [
            line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")
        ]
        self.assertEqual(lines[0], "*")
        allowed = [line[1:] for line in lines if line.startswith("!")]
        for name in FILES:
            _, stages = dockerfile.read(FOLDER / name)
            for line in stages[1].all("COPY"):
                for source in line.split()[:-1]:
                    if line.startswith("--from"):
                        continue
                    with self.subTest(file=name, source=source):
                        self.assertTrue(
                            any(one == source or one.startswith(f"{source}/") for one in allowed),
                            f"{source} is not let in",
                        )
        self.assertFalse(any(fnmatch.fnmatch("monitoring/alertmanager/secrets/x", f"{one}*") for one in allowed))


class Build(unittest.TestCase):
    """The steps of the Dockerfile, and what comes out of them."""

    folder: ClassVar[Path]
    root: ClassVar[Path]
    container: ClassVar[Container]

    @classmethod
    def setUpClass(cls) -> None:
        """Runs the steps of the stage `release`."""
        if os.getuid() != 0:
            raise unittest.SkipTest("root rights are needed for chroot")
        if not (SYSTEM / "usr/bin/rebar3").exists():
            raise unittest.SkipTest(f"{SYSTEM} is not there (scripts/test-other-otp.sh unpacks it)")
        try:
            cls.library = build() / "priv/erlmcp_nif.so"
        except NotHere as missing:
            raise unittest.SkipTest(str(missing)) from missing
        cls.folder = Path(cls.enterClassContext(tempfile.TemporaryDirectory(prefix="erlmcp-image-")))
        cls.folder.chmod(0o755)
        cls.out = cls.folder / "out"
        cls.out.mkdir()
        cls._context()
        arguments, stages = dockerfile.read(FOLDER / "Dockerfile")
        result = subprocess.run(
            [*UNSHARE, "--kill-child", "bash", "-c", cls._steps(arguments, stages[1])],
            capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
        if result.returncode != 0:
            raise AssertionError(f"the Dockerfile's steps: {result.stdout[-3000:]}{result.stderr[-3000:]}")
        cls.container = cls._start(stages[2])

    library: ClassVar[Path]
    out: ClassVar[Path]

    @classmethod
    def _context(cls) -> None:
        """What Git has of the folders that are let in, as `docker build` would send it."""
        lines = (ROOT / ".dockerignore").read_text().splitlines()
        allowed = [line[1:] for line in lines if line.startswith("!")]
        git = ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-co", "--exclude-standard", "--", *allowed]
        names = subprocess.run(git, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
        for name in names:
            target = cls.folder / "context" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target)

    @classmethod
    def _steps(cls, arguments: dict[str, str], stage: dockerfile.Stage) -> str:
        """As a script: each RUN in the system's root, each COPY from the context."""
        root = cls.folder / "root"
        values = stage.environment({**arguments, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
        environment = [f"{name}={value}" for name, value in values.items()]
        lines = [
            "set -eu",
            f"mkdir -p {root} && mount -t tmpfs none {root} && cd {root} && mkdir up work root",
            f"mount -t overlay -o lowerdir={SYSTEM.resolve()},upperdir={root}/up,workdir={root}/work overlay root",
            "cd root && mount -t proc proc proc && mount --rbind /dev dev",
            # Cargo has built it: what `make -C native` copies is in its folder.
            f"mkdir -p src/target/release usr/local/cargo/bin && cp {cls.library} src/target/release/liberlmcp_nif.so",
            "printf '#!/bin/sh\\n' >usr/local/cargo/bin/cargo && chmod 755 usr/local/cargo/bin/cargo",
        ]
        here = "/"
        for word, rest in stage.instructions:
            # What a shell is given, it expands itself.
            text = dockerfile.expand(rest, values) if word in ("WORKDIR", "COPY") else rest
            if word == "WORKDIR":
                here = text
                lines.append(f"mkdir -p .{here}")
            elif word == "COPY" and not text.startswith("--from"):
                *sources, target = text.split()
                into = os.path.normpath(os.path.join(here, target))
                for source in sources:
                    path = cls.folder / "context" / source
                    # A folder's content is copied, a file as it is.
                    what = f"{path}/." if path.is_dir() else str(path)
                    made = into if path.is_dir() or target.endswith("/") else os.path.dirname(into)
                    lines.append(f"mkdir -p .{made}; cp -r {what} .{into}")
            elif word == "RUN":
                inside = shlex.join(["env", "-i", "HOME=/root", *environment, "/bin/sh", "-c", f"cd {here} && {text}"])
                lines.append(f"chroot . {inside}")
        lines.append(f"cp -r opt/erlmcp {cls.out}/erlmcp && chmod -R a+rX {cls.out}")
        return "\n".join(lines)

    @classmethod
    def _start(cls, stage: dockerfile.Stage) -> Container:
        """The last stage, as the service `erlmcp` runs it, with Debian's libraries."""
        service = dict(rendered.services()["erlmcp"])
        values = stage.environment({})
        service["environment"] = values | service["environment"] | {"DEMO_RATE": "20"}
        tools = {f"/usr/bin/{name}": SYSTEM / "usr/bin" / name for name in ("bash", "dirname", "readlink", "env", "sh")}
        mounts = [
            Mount("/opt/erlmcp", cls.out / "erlmcp", read_only=True),
            Mount("/var/log/erlmcp", owner=service["user"]),
            Mount("/tmp", options="mode=1777,size=16m"),
        ]
        [entrypoint] = dockerfile.command(stage, "ENTRYPOINT")
        return Container("erlmcp", service, cls.folder, entrypoint, tools, mounts, libraries=SYSTEM)

    @classmethod
    def tearDownClass(cls) -> None:
        if hasattr(cls, "container"):
            cls.container.kill()

    def test_answers(self) -> None:
        """The image's health check succeeds, and the metrics show the demo's load."""
        _, stages = dockerfile.read(FOLDER / "Dockerfile")
        self.container.wait(dockerfile.command(stages[-1], "HEALTHCHECK"))
        # Alpine's asks by busybox.
        _, stages = dockerfile.read(FOLDER / "Dockerfile.alpine")
        words = [str(TOOLS / "busybox-1.37.0/busybox"), *dockerfile.command(stages[-1], "HEALTHCHECK")]
        self.assertEqual(self.container.execute(words, outside=True).returncode, 0)
        health = json.loads(self.container.get("http://127.0.0.1:8080/health"))
        self.assertEqual(health["status"], "healthy")

        def requests() -> bool:
            metrics = self.container.get("http://127.0.0.1:8080/metrics")
            return sum(map(float, re.findall(r"(?m)^erlmcp_requests_total\{[^}]*\} (\S+)$", metrics))) > 20

        wait_for("requests", requests, 30)
        self.assertIn("erlmcp_", self.container.get("http://127.0.0.1:8086/metrics/custom"))

    def test_confined(self) -> None:
        """As nobody, without a capability, on a root that is read-only."""
        self.assertEqual(self.container.status("Uid").split(), ["65534"] * 4)
        self.assertEqual(int(self.container.status("CapBnd"), 16), 0)
        memory, threads = self.container.needs()
        self.assertLess(memory, int(self.container.service["mem_limit"]) * 0.8)
        self.assertLess(threads, int(self.container.service["pids_limit"]) * 0.8)

    def test_small(self) -> None:
        """The release brings little, and needs only what a slim Debian has."""
        files = [path for path in (self.out / "erlmcp").rglob("*") if path.is_file()]
        self.assertLess(sum(path.stat().st_size for path in files), LARGEST)
        self.assertEqual([str(path) for path in files if path.suffix in (".erl", ".rs")], [])
        needed = set()
        for path in files:
            if path.name not in OF_DEBIAN and (path.suffix == ".so" or os.access(path, os.X_OK)):
                said = subprocess.run(["readelf", "-d", str(path)], capture_output=True, text=True, check=False).stdout
                needed |= set(re.findall(r"NEEDED.*\[(.+)\]", said))
        self.assertTrue(needed)
        self.assertLessEqual(needed, SLIM)

    def test_stops(self) -> None:
        """By SIGTERM, within its grace period; the last test of the class."""
        self.assertEqual(self.container.stop(), 0)
