"""Metrics that the documentation names: they exist, with the labels that it gives them."""

import re

from metrics import Catalogue
from model import MONITORING

ROOT = MONITORING.parent
# `name`, `name{label}`, `name{label="value",other!~"x"}`. Modules and settings have the
# same prefixes: what is not known counts as a metric by its ending or its braces.
NAME = re.compile(
    r"(?<![\w:./-])((?:erlmcp|erlang_vm|process|probe|node|prometheus|alertmanager|otelcol)_\w+|[a-z_]+:[a-z]\w+:\w+)"
    r"(\{[^}`]*\})?(?![\w:(/])"
)
ENDING = re.compile(r"_(total|seconds|bytes|bucket|sum|ratio|info|up)$")
HISTOGRAM = ("_bucket", "_count", "_sum")
# Names that are there to say that they are not.
NOT_THERE = {
    "docs/vm-metrics.md": {
        "erlang_vm_memory_bytes_total",
        "erlang_vm_statistics_garbage_collection_",
        "erlang_vm_statistics_run_queues_length_total",
    },
    "monitoring/prometheus/README.md": {"level:metric:operation"},
}
# The worked example, which only its own test has.
EXAMPLE = {"erlmcp_custom_metric": frozenset({"desk", "job"})}


def pages() -> list[str]:
    """The library's and the stack's; the runbooks are looked at closer, by runbooks.py."""
    found = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md")), *sorted(MONITORING.glob("**/README.md"))]
    return [str(path.relative_to(ROOT)) for path in found]


def check(catalogue: Catalogue) -> dict[str, list[str]]:
    """What is wrong, by page."""
    names = set(catalogue.recorded).union(*catalogue.jobs.values())
    known = {name: catalogue.metric(name, None) for name in names} | EXAMPLE
    return {page: wrong((ROOT / page).read_text(), known, NOT_THERE.get(page, set())) for page in pages()}


def wrong(text: str, known: dict[str, frozenset[str] | None], not_there: set[str]) -> list[str]:
    found = []
    for name, braces in NAME.findall(text):
        # A histogram is named by what its series have in common.
        series = [one for one in (name, *(name + end for end in HISTOGRAM)) if one in known]
        if not series:
            if name not in not_there and (braces or ":" in name or ENDING.search(name)):
                found.append(f"nothing emits {name}{braces}")
            continue
        labels = known[series[0]]
        # What is left of the braces without values and operators.
        used = set(re.findall(r"\w+", re.sub(r'"[^"]*"', "", braces)))
        if labels is not None and used - labels:
            found.append(f"{name} has no label {', '.join(sorted(used - labels))}")
    return found


# The checker itself: what it must find, and what it must let pass.
FOUND = (
    "`erlmcp_request_total`",
    '`erlmcp_requests_total{methode="ping"}`',
    "`erlmcp_http_requests_total{path,status}`",
    "`job:erlmcp_requests:rate6m`",
)
PASSED = (
    '`erlmcp_requests_total{method="a, b=c",status!~"x"}` of `erlmcp_metrics` and `erlmcp_request_duration_seconds`',
    "erlmcp_otel_test:with_spans/1, at 4:00:30",
)


def checker(catalogue: Catalogue) -> list[str]:
    names = set(catalogue.recorded).union(*catalogue.jobs.values())
    known = {name: catalogue.metric(name, None) for name in names}
    return [f"not found: {text}" for text in FOUND if not wrong(text, known, set())] + [
        f"found: {text}" for text in PASSED if wrong(text, known, set())
    ]
