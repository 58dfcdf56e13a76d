"""What can be said of the rules without running them."""

import re

import yaml

import runbooks
from cases import Test
from metrics import TARGET, Catalogue, Unknown
from model import HERE, Rule

PRIORITIES = {"P0", "P1", "P2", "P3"}
SEVERITIES = {"critical", "warning", "info"}
TEAMS = {"platform", "security", "monitoring"}
SCOPES = {"service", "instance", "host", "stack"}
DASHBOARDS = {"erlmcp-overview", "erlmcp-performance", "erlmcp-sla", "erlmcp-beam"}
PAGES = "https://github.com/your-org/erlmcp/blob/main/monitoring/runbooks/"
GRAFANA = "http://localhost:3000/d/"
# What the meta-alerts take over from the alert that they raise.
TAKEN_OVER = {"severity", "team", "scope", "topic"}

# The guide's table "Alert Thresholds", cell by cell: alert, limit in its expression.
TABLE = [
    ("ErlmcpErrorRateHigh", "warning", "> 0.001"),
    ("ErlmcpErrorRateCritical", "critical", "> 0.01"),
    ("ErlmcpLatencyHigh", "warning", "> 0.1"),
    ("ErlmcpLatencyCritical", "critical", "> 0.5"),
    ("ErlmcpCpuHigh", "warning", "> 0.7"),
    ("ErlmcpCpuCritical", "critical", "> 0.9"),
    ("ErlmcpHostCpuHigh", "warning", "> 0.7"),
    ("ErlmcpHostCpuCritical", "critical", "> 0.9"),
    ("ErlmcpHostMemoryHigh", "warning", "> 0.7"),
    ("ErlmcpHostMemoryCritical", "critical", "> 0.9"),
    ("ErlmcpUptimeBelowObjective", "critical", "< 0.999"),
]


def contract(rule: Rule) -> list[str]:
    """Labels and annotations of an alert."""
    wrong = []
    escalated = rule.name == "ErlmcpEscalated"
    if not re.fullmatch(r"Erlmcp([A-Z][a-z0-9]*)+", rule.name):
        wrong.append("its name is not ErlmcpCamelCase")
    if rule.duration is None:
        wrong.append("no for")
    for label, allowed in (("priority", PRIORITIES), ("severity", SEVERITIES), ("team", TEAMS), ("scope", SCOPES), ("topic", None)):
        value = rule.labels.get(label)
        if escalated and label in TAKEN_OVER:
            continue
        if value is None or (allowed and value not in allowed):
            wrong.append(f"label {label}: {value}")
    if rule.labels.get("priority") in ("P0", "P1") and not escalated and rule.labels.get("severity") != "critical":
        wrong.append("P0 and P1 are critical")
    if "escalation" in rule.labels and rule.labels["escalation"] != "none":
        wrong.append("escalation is none or not there")
    for name in ("summary", "description", "runbook_url", "dashboard_url"):
        if not rule.annotations.get(name):
            wrong.append(f"no {name}")
    if "{{" in rule.annotations.get("summary", ""):
        wrong.append("the summary is not static")
    if rule.annotations.get("runbook_url") != f"{PAGES}{rule.name}.md":
        wrong.append("runbook_url does not lead to its page")
    url = rule.annotations.get("dashboard_url", "")
    if not url.startswith(GRAFANA) or url.removeprefix(GRAFANA) not in DASHBOARDS:
        wrong.append(f"no such dashboard: {url}")
    return wrong


def names(rule: Rule, catalogue: Catalogue) -> list[str]:
    """Metrics and labels that the expression uses, and labels that the texts read."""
    try:
        labels = catalogue.expression(rule.expr)
    except Unknown as unknown:
        return [str(unknown)]
    except ValueError as error:
        return [f"promql-parser: {error}"]
    if labels is None:
        return []
    wrong = []
    for name, text in rule.annotations.items():
        for label in re.findall(r"\$labels\.(\w+)", text):
            if label not in labels:
                wrong.append(f"{name} reads the label {label}, which the expression does not have")
    for label in set(rule.labels) & (labels - TARGET):
        # It would hide the series' own: two series could become one alert.
        if label not in ("severity",):
            wrong.append(f"its label {label} hides that of the series")
    return wrong


def record(rule: Rule, catalogue: Catalogue) -> list[str]:
    wrong = [] if re.fullmatch(r"[a-z_]+:[a-zA-Z0-9_]+:[a-z0-9_]+", rule.name) else ["its name is not level:metric:operation"]
    return wrong + names(rule, catalogue)


def table(alerts: list[Rule]) -> list[str]:
    """The guide's thresholds, word for word in the expressions."""
    wrong = []
    for name, severity, limit in TABLE:
        rule = next((rule for rule in alerts if rule.name == name), None)
        if rule is None or rule.labels["severity"] != severity or not re.search(re.escape(limit) + r"(?![\d.])", rule.expr):
            wrong.append(f"{name} is not {severity} at {limit}")
    return wrong


def coverage(alerts: list[Rule], records: list[Rule], tests: list[Test]) -> list[str]:
    """Rules that lack a case."""
    wrong = []
    written = {}
    for path in sorted((HERE / "cases").glob("*.yml")):
        for entry in yaml.safe_load(path.read_text()):
            written.setdefault(entry["alert"], []).append((path.stem, entry))
    for rule in alerts:
        mine = [entry for stem, entry in written.get(rule.name, []) if stem == rule.file.stem and entry.get("rule", {}).items() <= rule.labels.items()]
        if not any(entry.get("fires") for entry in mine):
            wrong.append(f"{rule.name} has no case in which it fires")
        if rule.expr.strip() == "vector(1)":
            continue
        if not any(entry.get("silent") for entry in mine):
            wrong.append(f"{rule.name} has no case in which it does not fire")
    for name in written.keys() - {rule.name for rule in alerts}:
        wrong.append(f"there are cases of {name}, which is no alert")
    valued, empty = set(), set()
    for test in tests:
        for one in test.body.get("promql_expr_test", []):
            name = re.match(r"round\((.*), [\d.]+\)$", one["expr"])[1]
            (valued if one["exp_samples"] else empty).add(name)
    for rule in records:
        if rule.name not in valued:
            wrong.append(f"{rule.name} has no case with a known value")
        if "> 0)" in rule.expr and rule.name not in empty and "signal" not in rule.name and rule.name.startswith("job"):
            wrong.append(f"{rule.name} divides, and has no case in which there is nothing to divide by")
    for name in (valued | empty) - {rule.name for rule in records}:
        wrong.append(f"there are cases of {name}, which is not recorded")
    return wrong


def fired(tests: list[Test]) -> int:
    return sum(1 for test in tests if " fires " in test.name)


# The checkers themselves: what they must find, and what they must let pass.
FOUND = [
    "erlmcp_request_total",
    'erlmcp_requests_total{methode="ping"}',
    "sum by (methode) (erlmcp_requests_total)",
    'node_cpu_seconds_total{job="erlmcp"}',
    "sum by (method) (job:erlmcp_requests:rate5m)",
    "erlmcp_sessions_active / on (method) erlmcp_requests_in_flight",
    "histogram_quantile(0.99, sum by (job) (erlmcp_request_duration_seconds_bucket))",
    "up{job=\"erlmcp\"} == 0 unless on (environment) environment:erlmcp_up:maximum == 0",
]
PASSED = [
    'sum by (method) (rate(erlmcp_requests_total{job="erlmcp", status="error"}[5m]))',
    'label_replace(up, "host", "$1", "instance", "(.+)") * on (instance) group_left (version) erlmcp_build_info',
    "absent(up{job=\"erlmcp\"})",
    "count by (alertname) (ALERTS)",
]


def checkers(catalogue: Catalogue) -> list[str]:
    wrong = []
    for expression in FOUND + PASSED:
        try:
            catalogue.expression(expression)
            unknown = False
        except Unknown:
            unknown = True
        if unknown != (expression in FOUND):
            wrong.append(f"{'not found' if expression in FOUND else 'found'}: {expression}")
    return wrong
