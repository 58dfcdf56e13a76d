"""How the receiver misbehaves, and for how many requests.

A script of faults is worked off in order: each applies to its number of
requests, one without a number until it is replaced. When the script is done the
receiver behaves. What a fault does is in otlp_services.py and otlp_front.py;
what it may say is here.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass

# Kind and what it does. `when=after` accepts the request first: the sender
# cannot know.
KINDS = {
    "ok": "behaves",
    "slow": "waits MS milliseconds; when=before|after accepting",
    "status": "answers the HTTP status CODE, retry_after=TEXT",
    "grpc": "answers the gRPC status CODE by name, retry_delay_ms=N in a RetryInfo",
    "partial": "accepts all but the last N records; message=TEXT, also with N = 0 (a warning)",
    "max_bytes": "refuses requests of more than N bytes: 413, RESOURCE_EXHAUSTED",
    "bad_body": "answers success with a body that is no protobuf",
    "close": "closes the connection; when=before|after accepting",
    "down": "has closed its ports; requests=K cannot be counted and is refused",
    "silent": "takes connections and never answers; as down",
}
OF_THE_FRONT = ("down", "silent")
PARAMETERS = {
    "slow": ("ms",),
    "status": ("code",),
    "grpc": ("code",),
    "partial": ("n",),
    "max_bytes": ("n",),
}
OPTIONAL = {
    "slow": ("when",),
    "close": ("when",),
    "status": ("retry_after",),
    "grpc": ("retry_delay_ms",),
    "partial": ("message",),
}


class BadFault(ValueError):
    """What the control endpoint answers 400 with."""


@dataclass
class Fault:
    kind: str
    parameters: Mapping[str, str]
    # None: until replaced.
    requests: int | None = None
    # None: every signal.
    signal: str | None = None

    def number(self, name: str) -> int:
        return int(self.parameters[name])

    def text(self, name: str, default: str = "") -> str:
        return self.parameters.get(name, default)


OK = Fault("ok", {})


def read_fault(query: Mapping[str, str]) -> Fault:
    """From the parameters of a request to the control endpoint."""
    given = dict(query)
    kind = given.pop("kind", "")
    if kind not in KINDS:
        raise BadFault(f"kind has to be one of {', '.join(KINDS)}")
    requests = given.pop("requests", None)
    signal = given.pop("signal", None)
    if requests is not None and (not requests.isdigit() or kind in OF_THE_FRONT):
        raise BadFault("requests has to be a number, and what the ports do is not counted in requests")
    if signal not in (None, "traces", "metrics", "logs"):
        raise BadFault("signal has to be traces, metrics or logs")
    wanted = PARAMETERS.get(kind, ())
    for name in wanted:
        if name not in given:
            raise BadFault(f"{kind} wants {name}")
    for name in given:
        if name not in wanted and name not in OPTIONAL.get(kind, ()):
            raise BadFault(f"{kind} has no {name}")
    for name in ("ms", "n", "retry_delay_ms"):
        if name in given and not given[name].isdigit():
            raise BadFault(f"{name} has to be a number")
    if kind == "status" and not given["code"].isdigit():
        raise BadFault("code has to be a number")
    if given.get("when", "before") not in ("before", "after"):
        raise BadFault("when has to be before or after")
    return Fault(kind, given, None if requests is None else int(requests), signal)


class Script:
    """The faults that are still to come, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []

    def replace(self, faults: list[Fault]) -> None:
        with self._lock:
            self._faults = list(faults)

    def append(self, fault: Fault) -> None:
        with self._lock:
            self._faults.append(fault)

    def next(self, signal: str) -> Fault:
        """The fault of a request that has just come."""
        with self._lock:
            for position, fault in enumerate(self._faults):
                if fault.signal not in (None, signal):
                    continue
                if fault.requests is not None:
                    if fault.requests <= 1:
                        del self._faults[position]
                    fault.requests -= 1
                return fault
        return OK

    def left(self) -> list[tuple[str, int | None]]:
        with self._lock:
            return [(fault.kind, fault.requests) for fault in self._faults]
