"""The lists of tests/rules/metrics that real servers here can be compared with."""

from namespace import MONITORING

LISTS = MONITORING / "tests/rules/metrics"
# Heads of sections in a list: of another version, and of what no run brings about.
VERSION = "# Collector "
ELSEWHERE = "# Not in that scrape"


def listed(job: str, collector: str) -> dict[str, frozenset[str]]:
    """Names and labels that a scrape of `job` must have, beside a Collector of that version."""
    found: dict[str, frozenset[str]] = {}
    counts = True
    for line in (LISTS / f"{job}.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith(VERSION):
            counts = line.startswith(f"{VERSION}{collector}")
        elif line.startswith(ELSEWHERE):
            counts = False
        elif line and not line.startswith("#") and counts:
            # What a target says of job and instance, Prometheus calls exported_.
            name, *labels = [word.removeprefix("exported_") for word in line.split()]
            found[name] = found.get(name, frozenset()) | frozenset(labels)
    return found
