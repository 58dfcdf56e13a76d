#!/usr/bin/env python3
"""Runs a command where the stack's files are at the places that they name.

    namespace.py COMMAND [ARGUMENT ...]

Network: of its own, with a loopback only, so that every fixed port is free. Hosts:
the names of the compose file (HOSTS). Files: monitoring/<folder> read-only where the
programs see it (FOLDERS). Their data folders and /tmp are memory and empty at
first. With the command ends everything that it has started. Wants root or user
namespaces, and exits with 77 where it has neither.
"""

import ctypes
import fcntl
import os
import socket
import struct
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
MONITORING = ROOT / "monitoring"
INSIDE = "ERLMCP_NAMESPACE"
CANNOT = 77

LOOPBACK = (
    "prometheus", "grafana", "alertmanager", "loki", "promtail", "otel-collector", "node-exporter",
    "blackbox-exporter", "elasticsearch", "kibana", "thanos-sidecar", "thanos-store", "thanos-query",
    "thanos-compactor", "victoria-metrics", "erlmcp",
)  # fmt: skip
# The Collector has 4317 of 127.0.0.1.
HOSTS = dict.fromkeys(LOOPBACK, "127.0.0.1") | {"localhost": "127.0.0.1", "jaeger": "127.0.0.2"}

# Service: where its files are for the program, and in monitoring/.
MOUNTED = {
    "prometheus": {"/etc/prometheus": "prometheus"},
    "alertmanager": {"/etc/alertmanager": "alertmanager"},
    "grafana": {
        "/etc/grafana/provisioning/datasources": "grafana/datasources",
        "/etc/grafana/provisioning/dashboards": "grafana/dashboards",
    },
    "loki": {"/etc/loki": "loki"},
    "promtail": {"/etc/promtail": "promtail"},
    "otel-collector": {"/etc/otelcol": "otel"},
    "blackbox-exporter": {"/etc/blackbox_exporter": "blackbox"},
}
FOLDERS = {folder: place for places in MOUNTED.values() for place, folder in places.items()} | {"thanos": "/etc/thanos"}
# Where they write; empty at first.
DATA = (
    "/prometheus", "/alertmanager", "/loki", "/badger", "/thanos", "/victoria-metrics-data", "/var/lib/grafana",
    "/var/lib/promtail", "/var/lib/otelcol", "/var/log/erlmcp", "/var/lib/docker/containers",
)  # fmt: skip

LAYERS = (Path("/media"), Path("/srv"), Path("/mnt"))

MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC = 1, 32, 4096, 16384
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1

_libc = ctypes.CDLL(None, use_errno=True)


def mount(source: str | Path, target: str | Path, kind: str = "", flags: int = 0, options: str = "") -> None:
    """mount(2)."""
    arguments = [os.fsencode(source), os.fsencode(target), kind.encode() or None, flags, options.encode() or None]
    if _libc.mount(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(target))


def bind(source: str | Path, target: str | Path, *, read_only: bool = False) -> None:
    """Shows a file or folder at another place, too."""
    mount(source, target, flags=MS_BIND | MS_REC)
    if read_only:
        mount("", target, flags=MS_REMOUNT | MS_BIND | MS_RDONLY)


def _loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(any_socket, SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | IFF_UP))


def _mirror(folder: Path, root: Path, changed: set[Path], made: set[Path]) -> None:
    """A folder of memory with what the machine's has, save what is changed."""
    target = root / folder.relative_to("/")
    target.mkdir(parents=True, exist_ok=True)
    try:
        entries = sorted(folder.iterdir()) if folder.is_dir() else []
    except PermissionError:
        entries = []
    for entry in entries:
        place = target / entry.name
        if entry in changed:
            _mirror(entry, root, changed, made)
        elif entry in made:
            continue
        elif entry.is_symlink():
            place.symlink_to(entry.readlink())
        elif entry.is_dir():
            place.mkdir()
            bind(entry, place)
        elif entry.is_file():
            place.touch()
            bind(entry, place)


def _new_root() -> None:
    """The machine's files, with folders of memory where something is added.

    Not an overlay over all of it: the kernel refuses that in a user namespace.
    """
    # A folder that is there on any system, so that none is made and left behind.
    root = next(place for place in LAYERS if place.is_dir() and place not in ROOT.parents)
    added = {Path(place) for place in [*FOLDERS.values(), *DATA, "/tmp", "/proc", "/etc/hosts", "/etc/resolv.conf"]}
    changed = {parent for place in added for parent in place.parents} - {Path("/")}
    mount("tmpfs", root, "tmpfs")
    _mirror(Path("/"), root, changed, added | {root})
    tools = Path(os.environ.get("ERLMCP_TOOLS", ROOT / ".tools"))
    build = Path(os.environ.get("ERLMCP_BUILD", ROOT))
    for kept in (ROOT, tools.resolve(), build.resolve()):
        target = root / kept.relative_to("/")
        if kept.is_dir() and not target.exists():
            target.mkdir(parents=True)
            bind(kept, target)
    for empty in ("tmp", "proc"):
        (root / empty).mkdir(exist_ok=True)
    (root / "tmp").chmod(0o1777)
    mount("proc", root / "proc", "proc")
    os.chroot(root)


def _names() -> None:
    text = "".join(f"{address}\t{name}\n" for name, address in HOSTS.items())
    Path("/etc/hosts").write_text(text, encoding="ascii")
    # There is nobody to ask, and the answer is to come at once.
    Path("/etc/resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n", encoding="ascii")


def _files() -> None:
    for folder, place in FOLDERS.items():
        if (MONITORING / folder).is_dir():
            Path(place).mkdir(parents=True, exist_ok=True)
            bind(MONITORING / folder, place, read_only=True)
    for place in DATA:
        Path(place).mkdir(parents=True, exist_ok=True)
    # The demo's run.sh compiles into this; two namespaces at a time are not to meet in it.
    compiled = ROOT / "examples/demo/ebin"
    compiled.mkdir(exist_ok=True)
    mount("tmpfs", compiled, "tmpfs")


def enter() -> None:
    """Sets all of it up, in namespaces that are new."""
    _loopback_up()
    folder = Path.cwd()
    _new_root()
    _names()
    _files()
    os.chdir(folder if folder.exists() else ROOT)


def _unshare() -> list[str]:
    command = ["unshare", "--net", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child"]
    return command if os.getuid() == 0 else [*command, "--user", "--map-root-user"]


def main(words: list[str]) -> int:
    """The exit status."""
    if not words or words[0] in ("-h", "--help"):
        print(__doc__, file=sys.stdout if words else sys.stderr)
        return 0 if words else 2
    if os.environ.get(INSIDE) != "entering":
        try:
            possible = subprocess.run([*_unshare(), "true"], capture_output=True, text=True, check=False)
        except FileNotFoundError:
            print("namespace: there is no unshare (package util-linux)", file=sys.stderr)
            return CANNOT
        if possible.returncode != 0:
            print(f"namespace: {possible.stderr.strip()}", file=sys.stderr)
            return CANNOT
        os.environ[INSIDE] = "entering"
        again = [*_unshare(), sys.executable, "-B", __file__, *words]
        os.execvp(again[0], again)
    try:
        enter()
    except OSError as error:
        print(f"namespace: {error}", file=sys.stderr)
        return CANNOT
    os.environ[INSIDE] = "inside"
    os.execvp(words[0], words)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
