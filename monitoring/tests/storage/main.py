"""The tests of this part, all or some: each module in a namespace of its own, three at a time.

They wait most of the time, for scrapes and for rules.
"""

import contextlib
import importlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "lib")]

import counting  # noqa: E402
import namespace  # noqa: E402
import place  # noqa: E402
from programs import Program  # noqa: E402

SIDE_BY_SIDE = 3
LIMIT_SECONDS = 300
CLEAN_UP_SECONDS = 15
LINE = re.compile(rb"(?m)^storage: (\d+) passed, (\d+) failed, (\d+) skipped$")
# The longest first.
TESTS = ("docs", "load", "thanos", "victoria_metrics", "elasticsearch", "maintenance", "options")


def inside(name: str) -> int:
    """One module, here. Whoever waits for it may have been killed: then it ends by itself."""
    signal.signal(signal.SIGALRM, lambda *_: sys.exit("not within its time"))
    signal.alarm(LIMIT_SECONDS + CLEAN_UP_SECONDS)
    place.enter()
    return counting.run("storage", [importlib.import_module(f"{name}_test")])


def together(names: list[str]) -> int:
    """All of them; what each says when it has ended."""
    assert set(TESTS) == {path.stem.removesuffix("_test") for path in HERE.glob("*_test.py")}
    waiting, running, sums = list(names), dict[str, tuple[Program, float]](), [0, 0, 0]
    with tempfile.TemporaryDirectory(prefix="erlmcp-storage-") as folder, contextlib.ExitStack() as at_the_end:
        at_the_end.callback(cut_short, running)
        while waiting or running:
            while waiting and len(running) < SIDE_BY_SIDE:
                name = waiting.pop(0)
                words = [sys.executable, "-B", namespace.__file__, sys.executable, "-B", __file__, name]
                running[name] = Program(name, words, Path(folder) / name), time.monotonic()
            time.sleep(0.2)
            for name, (program, began) in list(running.items()):
                late = time.monotonic() - began > LIMIT_SECONDS
                if program.process.poll() is None and not late:
                    continue
                if late:
                    cut_short({name: running[name]})
                del running[name]
                program.stop()
                for index, count in enumerate(ended(name, program, late)):
                    sums[index] += count
    passed, failed, skipped = sums
    print(f"storage: {passed} passed, {failed} failed, {skipped} skipped", flush=True)
    return 1 if failed else 0


def cut_short(running: dict[str, tuple[Program, float]]) -> None:
    """Asks them to end and clean up: unshare takes no signal, what it has started does."""
    for program, _ in running.values():
        program.signal(signal.SIGTERM)
    for program, _ in running.values():
        with contextlib.suppress(subprocess.TimeoutExpired):
            program.process.wait(CLEAN_UP_SECONDS)


def ended(name: str, program: Program, late: bool) -> tuple[int, int, int]:
    """Shows what a module said; its counts."""
    status, text = program.process.returncode, program.log.read_bytes()
    found = LINE.findall(text)
    print(f"-- {name}", flush=True)
    sys.stdout.buffer.write(LINE.sub(b"", text))
    sys.stdout.flush()
    if status == namespace.CANNOT:
        print(f"skipped  {name}: no namespace of its own (root, or user namespaces)")
        return 0, 0, 1
    if late or not found:
        print(f"{name}: {'not within its time' if late else f'ended with {status}'}")
        return 0, 1, 0
    passed, failed, skipped = map(int, found[-1])
    return passed, max(failed, int(status != 0)), skipped


def main(words: list[str]) -> int:
    """The exit status."""
    if os.environ.get(namespace.INSIDE) == "inside":
        [name] = words
        return inside(name)
    return together(words or list(TESTS))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
