"""Which metrics and labels exist, and whether an expression uses only those.

A file metrics/JOB.txt has what the target of a scrape job emits: `name label ...`,
one metric a line. What it is from stands at its head. A recorded metric has the
labels that its rule leaves; what an alert's template reads is checked against
the same inference.

`python3 metrics.py <EXPOSITION` prints such lines for a scrape.
"""

import re
import sys
from pathlib import Path

LISTS = Path(__file__).parent / "metrics"
TARGET = frozenset({"job", "instance", "environment"})
# Prometheus makes these for each target.
SCRAPE = ("up", "scrape_duration_seconds", "scrape_samples_scraped", "scrape_samples_post_metric_relabeling", "scrape_series_added")
# Libraries that are in every Go program.
COMMON = re.compile(r"^(go_|promhttp_|process_(?!cpu|start|resident|open|max|uptime|virtual))")
AGGREGATES_KEEPING = {"topk", "bottomk", "limitk", "limit_ratio"}


class Unknown(Exception):
    """An expression names a metric or a label that nothing emits."""


def labels_by_job() -> dict[str, dict[str, frozenset[str]]]:
    jobs: dict[str, dict[str, frozenset[str]]] = {}
    for path in sorted(LISTS.glob("*.txt")):
        names = {name: frozenset() for name in SCRAPE}
        for line in path.read_text().splitlines():
            if line and not line.startswith("#"):
                name, *labels = line.split()
                names[name] = names.get(name, frozenset()) | frozenset(labels)
        jobs[path.stem] = names
    return jobs


class Catalogue:
    """Resolves the labels of metrics: emitted ones by their lists, recorded ones by their rules."""

    def __init__(self, recorded: dict[str, tuple[str, dict]], extra: dict[str, frozenset[str]] | None = None) -> None:
        self.jobs = labels_by_job()
        self.recorded = recorded
        self.extra = extra or {}
        self.memo: dict[str, frozenset[str] | None] = {}

    def metric(self, name: str, job: tuple[str, str] | None) -> frozenset[str] | None:
        """Labels of a metric, None where any may be there."""
        if name in ("ALERTS", "ALERTS_FOR_STATE"):
            return None
        if name in self.recorded:
            if name not in self.memo:
                expression, static = self.recorded[name]
                # While it is looked at: a rule that reads its own past adds no label.
                self.memo[name] = None
                found = self.expression(expression)
                self.memo[name] = None if found is None else found | frozenset(static)
            return self.memo[name]
        if name in self.extra:
            return self.extra[name] | TARGET
        wanted = [j for j in self.jobs if job is None or fits(job, j)]
        found = [self.jobs[j][name] for j in wanted if name in self.jobs[j]]
        if not found:
            where = f" of job {job[0]}{job[1]}" if job else ""
            raise Unknown(f"nothing{where} emits {name}")
        return frozenset().union(*found) | TARGET

    def expression(self, text: str) -> frozenset[str] | None:
        import promql_parser

        return self.labels(promql_parser.parse(text))

    def labels(self, node) -> frozenset[str] | None:
        kind = type(node).__name__
        if kind == "VectorSelector":
            return self.selector(node)
        if kind == "MatrixSelector":
            return self.selector(node.vector_selector)
        if kind in ("SubqueryExpr", "ParenExpr", "UnaryExpr"):
            return self.labels(node.expr)
        if kind in ("NumberLiteral", "StringLiteral"):
            return frozenset()
        if kind == "AggregateExpr":
            return self.aggregate(node)
        if kind == "BinaryExpr":
            return self.binary(node)
        if kind == "Call":
            return self.call(node)
        raise Unknown(f"cannot follow {kind}")

    def selector(self, node) -> frozenset[str] | None:
        matchers = {m.name: (operator(m), m.value) for m in node.matchers.matchers}
        matchers.pop("__name__", None)
        if node.name is None:
            return None
        found = self.metric(node.name, matchers.get("job"))
        if found is not None:
            absent = set(matchers) - found
            if absent:
                raise Unknown(f"{node.name} has no label {', '.join(sorted(absent))}")
        return found

    def aggregate(self, node) -> frozenset[str] | None:
        inner = self.labels(node.expr)
        if str(node.op) in AGGREGATES_KEEPING:
            return inner
        if node.modifier is None:
            return frozenset()
        named = frozenset(node.modifier.labels)
        if inner is not None and named - inner:
            raise Unknown(f"{' '.join(sorted(named - inner))}: no such label in {node.expr.prettify()}")
        if "By" in str(node.modifier.type):
            return named
        return None if inner is None else inner - named

    def binary(self, node) -> frozenset[str] | None:
        left, right = self.labels(node.lhs), self.labels(node.rhs)
        modifier = node.modifier
        matching = getattr(modifier, "matching", None) if modifier else None
        on = None
        if matching is not None:
            named = frozenset(matching.labels)
            if "Exclude" not in str(matching.type) and "Ignoring" not in str(matching.type):
                on = named
                for side in (left, right):
                    if side is not None and on - side:
                        raise Unknown(f"on ({' '.join(sorted(on - side))}): no such label in {node.prettify()}")
        operation = str(node.op)
        if operation in ("and", "unless"):
            return left
        if operation == "or":
            return None if left is None or right is None else left | right
        if left is None or right is None:
            return None
        scalars = ("NumberLiteral",)
        if type(strip(node.rhs)).__name__ in scalars or not right and on is None:
            return left
        if type(strip(node.lhs)).__name__ in scalars:
            return right
        card = str(modifier.card) if modifier else ""
        if "ManyToOne" in card:
            return left
        if "OneToMany" in card:
            return right
        return left & right if on is None else on

    def call(self, node) -> frozenset[str] | None:
        name = node.func.name
        if name == "absent":
            self.labels(node.args[0])
            selector = strip(node.args[0])
            equal = {m.name for m in selector.matchers.matchers if operator(m) == "="} if type(selector).__name__ == "VectorSelector" else set()
            return frozenset(equal - {"__name__"})
        found: frozenset[str] | None = frozenset()
        for argument in node.args:
            if type(argument).__name__ not in ("NumberLiteral", "StringLiteral"):
                found = self.labels(argument)
        if name == "label_replace" and found is not None:
            return found | {node.args[1].val}
        if name == "histogram_quantile" and found is not None:
            if "le" not in found:
                raise Unknown("histogram_quantile without le")
            return found - {"le"}
        return found


def strip(node):
    while type(node).__name__ == "ParenExpr":
        node = node.expr
    return node


def operator(matcher) -> str:
    return {"Equal": "=", "NotEqual": "!=", "Re": "=~", "NotRe": "!~"}[str(matcher.op).rsplit(".", 1)[-1]]


def fits(job: tuple[str, str], name: str) -> bool:
    how, value = job
    matched = re.fullmatch(value, name) is not None if "~" in how else value == name
    return matched != how.startswith("!")


def listed(exposition: str) -> list[str]:
    """The lines of a list for a scrape in the text format."""
    names: dict[str, set[str]] = {}
    for line in exposition.splitlines():
        found = re.match(r"([a-zA-Z_:][\w:]*)(?:\{(.*?)\})? [^ ]+", line)
        if found and not COMMON.match(found[1]):
            labels = re.findall(r'(?:^|,)(\w+)="', found[2] or "")
            names.setdefault(found[1], set()).update(labels)
    return [" ".join([name, *sorted(names[name])]) for name in sorted(names)]


if __name__ == "__main__":
    print("\n".join(listed(sys.stdin.read())))
