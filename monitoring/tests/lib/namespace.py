"""A network and mount namespace for the tests of one part: fixed ports are free, names and paths are the stack's."""

import atexit
import contextlib
import ctypes
import fcntl
import os
import shutil
import socket
import struct
import tempfile
from collections.abc import Mapping
from pathlib import Path

from programs import NotHere

CLONE_NEWNS, CLONE_NEWNET, CLONE_NEWUSER = 0x00020000, 0x40000000, 0x10000000
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
MNT_DETACH = 2
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1

_libc = ctypes.CDLL(None, use_errno=True)


def _call(what: str, answer: int) -> None:
    if answer != 0:
        raise NotHere(f"no namespace of its own: {what}: {os.strerror(ctypes.get_errno())}")


def _mount(source: Path | str, target: Path | str, flags: int) -> None:
    _call(f"mount {target}", _libc.mount(str(source).encode(), str(target).encode(), None, flags, None))


def enter(hosts: Mapping[str, str], folders: Mapping[str, Path]) -> None:
    """This process and all it starts. `hosts` are names and their addresses, `folders` what is seen where.

    Before any thread starts: a namespace is a thread's.
    """
    uid, gid = os.getuid(), os.getgid()
    _call("unshare", _libc.unshare(CLONE_NEWNS | CLONE_NEWNET | (CLONE_NEWUSER if uid else 0)))
    if uid:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
        Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
    _mount("none", "/", MS_REC | MS_PRIVATE)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        request = struct.pack("16sH14x", b"lo", 0)
        _, flags = struct.unpack("16sH14x", fcntl.ioctl(asked, SIOCGIFFLAGS, request))
        fcntl.ioctl(asked, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags | IFF_UP))
    own = Path(tempfile.mkdtemp(prefix="erlmcp-namespace-"))
    atexit.register(shutil.rmtree, own, ignore_errors=True)
    lines = [f"{address}\t{name}\n" for name, address in {"localhost": "127.0.0.1", **hosts}.items()]
    (own / "hosts").write_text("".join(lines))
    _mount(own / "hosts", "/etc/hosts", MS_BIND)
    for place, folder in folders.items():
        _bind(folder, Path(place))


def _bind(folder: Path, place: Path) -> None:
    missing = []
    at = place
    while not at.exists():
        missing.append(at)
        at = at.parent
    # An empty folder outside is all that it takes, and it is gone in the end.
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NotHere(f"no namespace of its own: {error}") from error

    def undo() -> None:
        _libc.umount2(str(place).encode(), MNT_DETACH)
        for made in missing:
            with contextlib.suppress(OSError):
                made.rmdir()

    atexit.register(undo)
    _mount(folder, place, MS_BIND | MS_REC)
