"""Update dashboards, review alert thresholds, optimize queries."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from daily import ALWAYS, HOURS
from report import FIGURE, LOOK, NOT_ASKED, Report, age, duration, percent
from sources import Alertmanager, CannotAsk, Grafana, Prometheus

MONITORING = Path(__file__).resolve().parents[2]
# Grafana sets these by itself.
ITS_OWN = ("id", "version", "iteration")
# The guide's alert table, by what is recorded: warning and critical.
THRESHOLDS = {
    "Error rate": ("job:erlmcp_request_errors_per_request:ratio_rate5m", 0.001, 0.01),
    "P99 latency (s)": ("job:erlmcp_request_duration_seconds:p99_rate5m", 0.1, 0.5),
    "CPU of erlmcp": ("instance:erlmcp_cpu:ratio_rate5m", 0.7, 0.9),
    "CPU of hosts": ("instance:node_cpu:ratio_rate5m", 0.7, 0.9),
    "Memory of hosts": ("instance:node_memory:ratio", 0.7, 0.9),
}
GROUP_PART = 0.5
SILENCE_DAYS = 7


def run(report: Report, prometheus: Prometheus) -> None:
    """All of it."""
    rules(report, prometheus)
    dashboards(report)
    noise(report, prometheus)
    thresholds(report, prometheus)
    silences(report)
    slow(report, prometheus)
    cardinality(report, prometheus)


def rules(report: Report, prometheus: Prometheus) -> None:
    """What runs is what is in the repository."""
    report.section("Rules against the repository")
    pattern = re.compile(r"^\s*- (?:alert|record): (\S+)", re.MULTILINE)
    files = [path for folder in ("rules", "rules/custom", "recording_rules") for path in (MONITORING / "prometheus" / folder).glob("*.yml")]
    wanted = {name for path in files for name in pattern.findall(path.read_text(encoding="utf-8"))}
    loaded = {rule["name"] for group in prometheus.api("rules")["groups"] for rule in group["rules"]}
    lines = [f"{name} is not loaded" for name in sorted(wanted - loaded)]
    lines += [f"{name} is loaded and in no file here" for name in sorted(loaded - wanted)]
    report.findings(lines, f"{len(wanted)} are loaded")


def _stripped(board: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in board.items() if key not in ITS_OWN}


def dashboards(report: Report) -> None:
    """What Grafana shows is what is in the repository."""
    report.section("Dashboards against the repository")
    try:
        grafana = Grafana()
        shown = {one["uid"]: one["title"] for one in grafana.get("/api/search", type="dash-db", limit=5000)}
        lines = []
        ours = set()
        for path in sorted((MONITORING / "grafana/dashboards").glob("**/*.json")):
            board = json.loads(path.read_text(encoding="utf-8"))
            ours.add(board["uid"])
            if board["uid"] not in shown:
                lines.append(f"{path.name} is not shown")
            elif _stripped(grafana.get(f"/api/dashboards/uid/{board['uid']}")["dashboard"]) != _stripped(board):
                lines.append(f"{path.name} differs from what is shown")
    except CannotAsk as why:
        report.line(NOT_ASKED, f"Grafana: {why}")
        return
    report.findings(lines, f"{len(ours)} are shown as they are here")
    others = [f"{title} is in Grafana only" for uid, title in sorted(shown.items()) if uid not in ours]
    report.figures(others, "no others")


def noise(report: Report, prometheus: Prometheus) -> None:
    """Which alerts people heard most of."""
    report.section("Alerts of 7 days: hours that they fired, and times")
    hours = f'sum by (alertname, priority) (count_over_time(ALERTS{{alertstate="firing", alertname!="{ALWAYS}"}}[7d])) {HOURS}'
    times = f'sum by (alertname) (1 + changes(ALERTS_FOR_STATE{{alertname!="{ALWAYS}"}}[7d]))'
    began = {one.name("alertname"): one.value for one in prometheus.query(times)}
    found = prometheus.query(hours)
    report.figures(
        [f"{one.value:7.1f} h {began.get(one.name('alertname'), 0):6.0f} times  {one.name('alertname', 'priority')}" for one in found[:10]],
        "none fired",
    )
    if len(found) > 10:
        report.line(FIGURE, f"and {len(found) - 10} others")


def thresholds(report: Report, prometheus: Prometheus) -> None:
    """How near a usual week comes to the limits of the guide's table."""
    report.section("Thresholds: 95 % of the week were below, the worst was; warning, critical")
    for what, (metric, warning, critical) in THRESHOLDS.items():
        usual = prometheus.value(f"max(quantile_over_time(0.95, {metric}[7d]))")
        worst = prometheus.value(f"max(max_over_time({metric}[7d]))")
        if usual is None or worst is None:
            report.line(NOT_ASKED, f"{what}: no figures")
            continue
        mark, word = (LOOK, "; usual load is above the warning") if usual > warning else (FIGURE, "")
        report.line(mark, f"{what}: {usual:.4g}, {worst:.4g}; {warning:g}, {critical:g}{word}")


def silences(report: Report) -> None:
    """Those that nobody will notice ending."""
    report.section("Silences")
    try:
        found = Alertmanager().get("/api/v2/silences")
    except CannotAsk as why:
        report.line(NOT_ASKED, f"Alertmanager: {why}")
        return
    long = [one for one in found if one["status"]["state"] == "active" and -age(one["endsAt"]) > SILENCE_DAYS * 86400]
    lines = [
        f"by {one['createdBy']} for {duration(-age(one['endsAt']))} more ({one['comment']}): amtool silence expire {one['id']}"
        for one in long
    ]
    report.findings(lines, f"none lasts longer than {SILENCE_DAYS} days")


def slow(report: Report, prometheus: Prometheus) -> None:
    """Rules and queries that take long."""
    report.section("Rules and queries by time")
    groups = prometheus.api("rules")["groups"]
    full = [one for one in groups if one["evaluationTime"] > GROUP_PART * one["interval"]]
    lines = [f"{one['name']} takes {one['evaluationTime']:.1f} s of its {one['interval']:.0f} s" for one in full]
    report.findings(lines, f"no group takes more than {percent(GROUP_PART)} of its interval")
    slowest = sorted(((rule["evaluationTime"], rule["name"]) for one in groups for rule in one["rules"]), reverse=True)
    report.figures([f"{took * 1000:8.1f} ms  {name}" for took, name in slowest[:5]], "no rules")
    queries = prometheus.query('prometheus_engine_query_duration_seconds{slice="inner_eval", quantile="0.99"} > 1')
    report.findings([f"1 % of the queries of {one.name('instance')} take over {one.value:.1f} s" for one in queries], "99 % of queries take less than 1 s")


def cardinality(report: Report, prometheus: Prometheus) -> None:
    """Which metrics and labels have the most series."""
    report.section("Series")
    status = prometheus.api("status/tsdb")
    total = status["headStats"]["numSeries"]
    before = prometheus.value("sum(prometheus_tsdb_head_series offset 7d)")
    report.line(FIGURE, f"{total} in memory{f', {total - before:+.0f} in 7 days' if before else ''}")
    for one in status["seriesCountByMetricName"][:8]:
        report.line(FIGURE, f"{one['value']:8d} {percent(one['value'] / max(total, 1)):>7} {one['name']}")
    values = ", ".join(f"{one['name']} {one['value']}" for one in status["labelValueCountByLabelName"][:6])
    report.line(FIGURE, f"values by label: {values}")
    overflowed = prometheus.query('sum by (instance) (increase(erlmcp_metrics_overflowed_samples_total{job="erlmcp"}[7d])) > 0')
    report.findings([f"a metric of {one.name('instance')} has more series than it may" for one in overflowed], "no metric overflows")
