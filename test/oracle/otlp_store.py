"""What the receiver has got: records, counts, violations. From any thread."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import otlp_terms
from otlp_rules import LEVELS, SIGNALS
from otlp_terms import Atom

VIOLATIONS_KEPT = 1000


def records_of(signal: str, message: Any) -> Iterator[tuple[Any, Any, Any]]:
    """Each record of a request with its resource and scope, in their order."""
    of_resource, of_scope, of_record = LEVELS[signal]
    for group in getattr(message, of_resource):
        for scope in getattr(group, of_scope):
            for record in getattr(scope, of_record):
                yield record, group.resource, scope.scope


class Store:
    """`keep` tells whether records are kept or only counted."""

    def __init__(self, keep: bool = True) -> None:
        self.keep = keep
        self._lock = threading.Lock()
        self.forget()

    def forget(self) -> None:
        with self._lock:
            # Record, resource, scope, and of which request it was.
            self._records: dict[str, list[tuple[Any, Any, Any, dict[Atom, Any]]]] = {s: [] for s in SIGNALS}
            self._accepted: Counter[str] = Counter()
            self._requests: dict[str, Counter[str]] = {signal: Counter() for signal in SIGNALS}
            self._spans: set[bytes] = set()
            # Those that are here and whose sender has had no answer: none was given, or
            # it was lost, since they were sent again.
            self._unanswered: set[bytes] = set()
            self._duplicates = 0
            self._violations: list[str] = []
            self._violation_count = 0
            self._bytes: Counter[str] = Counter()
            self._biggest = 0
            self._user_agents: set[str] = set()

    def accept(
        self, signal: str, message: Any, records: int, source: dict[Atom, Any], will_answer: bool = True
    ) -> None:
        """Keeps the first `records` records of a request."""
        taken = [(*record, source) for record in itertools.islice(records_of(signal, message), records)]
        with self._lock:
            self._accepted[signal] += len(taken)
            if signal == "traces":
                for record, *_ in taken:
                    span = record.trace_id + record.span_id
                    if span in self._spans:
                        self._duplicates += 1
                    if will_answer:
                        self._unanswered.discard(span)
                    else:
                        self._unanswered.add(span)
                    self._spans.add(span)
            if self.keep:
                self._records[signal] += taken

    def refuse(self, signal: str, message: Any, kept: int = 0) -> None:
        """Keeps none of the records from the one with the number `kept` on.

        Those that are here already were sent again: what was answered then did not
        arrive, as when another request had the connection reset.
        """
        if signal != "traces" or message is None:
            return
        with self._lock:
            for record, *_ in itertools.islice(records_of(signal, message), kept, None):
                span = record.trace_id + record.span_id
                if span in self._spans:
                    self._unanswered.add(span)

    def answered(self, signal: str, outcome: str, size: int, user_agent: str) -> None:
        with self._lock:
            self._requests[signal][outcome] += 1
            self._bytes[signal] += size
            self._biggest = max(self._biggest, size)
            self._user_agents.add(user_agent)

    def violated(self, violations: list[str]) -> None:
        with self._lock:
            self._violation_count += len(violations)
            self._violations += violations[: VIOLATIONS_KEPT - len(self._violations)]

    def counts(self) -> dict[Atom, Any]:
        with self._lock:
            return {
                Atom("records"): {Atom(s): self._accepted[s] for s in SIGNALS},
                Atom("requests"): {
                    Atom(s): {Atom(outcome): n for outcome, n in self._requests[s].items()} for s in SIGNALS
                },
                Atom("spans"): len(self._spans),
                Atom("duplicate_spans"): self._duplicates,
                Atom("unanswered_spans"): len(self._unanswered),
                Atom("violation_count"): self._violation_count,
                Atom("violations"): list(self._violations),
                # Before compression.
                Atom("payload_bytes"): {Atom(s): self._bytes[s] for s in SIGNALS},
                Atom("biggest_request"): self._biggest,
                Atom("user_agents"): sorted(self._user_agents),
            }

    def span_count(self) -> int:
        with self._lock:
            return len(self._spans)

    def records(self, signal: str, offset: int, limit: int) -> list[dict[Atom, Any]]:
        with self._lock:
            chosen = self._records[signal][offset : offset + limit]
        told = otlp_terms.RECORD[signal]
        # Few resources and scopes serve many records.
        ready: dict[int, Any] = {}
        terms = []
        for record, resource, scope, source in chosen:
            if id(resource) not in ready:
                ready[id(resource)] = otlp_terms.resource(resource)
            if id(scope) not in ready:
                ready[id(scope)] = otlp_terms.scope(scope)
            term = told(record)
            term[Atom("resource")] = ready[id(resource)]
            term[Atom("scope")] = ready[id(scope)]
            term[Atom("request")] = source
            terms.append(term)
        return terms
