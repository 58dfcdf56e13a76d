"""Review alerts, check system health, review logs."""

from __future__ import annotations

from report import FIGURE, LOOK, NOT_ASKED, OK, Report, age, duration, percent
from sources import Alertmanager, CannotAsk, Loki, Prometheus

DISK_LEFT = 0.2
ALWAYS = "ErlmcpWatchdog"
# A series ALERTS has a sample for each evaluation, and those of alerts come every 30 s.
HOURS = "* 30 / 3600"
# Filesystems that somebody can fill.
REAL = 'job="node", fstype!~"tmpfs|ramfs|overlay|squashfs|iso9660"'
LEVELS = "error|critical|alert|emergency"


def run(report: Report, prometheus: Prometheus) -> None:
    """All of it."""
    alerts(report, prometheus)
    notifications(report, prometheus)
    targets(report, prometheus)
    health(report, prometheus)
    disks(report, prometheus)
    logs(report, prometheus)


def alerts(report: Report, prometheus: Prometheus) -> None:
    """What fires and since when, and what fired and is over."""
    report.section("Alerts that fire now")
    found = prometheus.api("alerts")["alerts"]
    firing = [one for one in found if one["state"] == "firing"]
    lines = []
    for one in sorted(firing, key=lambda one: (one["labels"].get("priority", "P9"), one["activeAt"])):
        labels = one["labels"]
        if labels["alertname"] == ALWAYS:
            continue
        where = " ".join(labels[name] for name in ("environment", "job", "instance", "method", "tool") if name in labels)
        lines.append(f"{labels.get('priority', '--')} {labels['alertname']} {where}, for {duration(age(one['activeAt']))}")
    report.findings(lines, "none")
    if not any(one["labels"]["alertname"] == ALWAYS for one in firing):
        report.line(LOOK, f"{ALWAYS} does not fire: no alert would be heard")
    pending = len(found) - len(firing)
    report.line(FIGURE, f"{pending} more would fire if they last")

    report.section("Alerts of the last 24 hours, hours that they fired")
    query = f'sum by (alertname) (count_over_time(ALERTS{{alertstate="firing", alertname!="{ALWAYS}"}}[24h])) {HOURS}'
    report.figures([f"{one.value:6.1f} h  {one.name('alertname')}" for one in prometheus.query(query)[:10]], "none")


def notifications(report: Report, prometheus: Prometheus) -> None:
    """Whether alerts reach people."""
    report.section("Notifications of the last 24 hours")
    failed = prometheus.query("sum by (integration) (increase(alertmanager_notifications_failed_total[24h])) > 0")
    lines = [f"{one.value:.0f} by {one.name('integration')} failed" for one in failed]
    dropped = prometheus.query("sum by (instance) (increase(prometheus_notifications_dropped_total[24h])) > 0")
    lines += [f"{one.value:.0f} never left Prometheus {one.name('instance')}" for one in dropped]
    report.findings(lines, "none failed")
    try:
        silences = Alertmanager().get("/api/v2/silences")
    except CannotAsk as why:
        report.line(NOT_ASKED, f"silences: {why}")
        return
    active = [one for one in silences if one["status"]["state"] == "active"]
    report.figures([_silence(one) for one in active], "no silence")


def _silence(one: dict) -> str:  # type: ignore[type-arg]
    what = ", ".join(f"{matcher['name']}={matcher['value']}" for matcher in one["matchers"])
    return f"silence by {one['createdBy']}, {duration(-age(one['endsAt']))} more: {what} ({one['comment']})"


def targets(report: Report, prometheus: Prometheus) -> None:
    """What cannot be scraped or does not answer its probe."""
    report.section("Targets")
    down = [one for one in prometheus.api("targets", state="active")["activeTargets"] if one["health"] != "up"]
    lines = [f"{one['labels']['job']} {one['labels']['instance']}: {one['lastError'] or 'not scraped yet'}" for one in down]
    report.findings(lines, "all are up")
    failing = prometheus.query("probe_success == 0")
    report.findings([f"probe of {one.name('job', 'instance')} fails" for one in failing], "all probes succeed")
    flapping = prometheus.query("sum by (job, instance) (changes(up[24h])) > 3")
    report.figures([f"{one.name('job', 'instance')}: up or down {one.value:.0f} times in 24 h" for one in flapping], "none comes and goes")


def health(report: Report, prometheus: Prometheus) -> None:
    """The stack itself, and what is left of the objectives."""
    report.section("Health")
    wrong = {
        "prometheus_config_last_reload_successful == 0": "the configuration of Prometheus {} was refused",
        "alertmanager_config_last_reload_successful == 0": "the configuration of Alertmanager {} was refused",
        "sum by (instance) (increase(prometheus_rule_evaluation_failures_total[24h])) > 0": "rules of {} failed",
        "sum by (instance) (increase(prometheus_rule_group_iterations_missed_total[24h])) > 0": "{} missed evaluations",
        "sum by (instance) (increase(prometheus_remote_storage_samples_dropped_total[24h])) > 0": "{} dropped samples",
        'sum by (instance) (increase(erlmcp_otel_records_dropped_total{job="erlmcp"}[24h])) > 0': "{} dropped spans or logs",
        'sum by (instance) (increase(erlmcp_metrics_rejected_samples_total{job="erlmcp"}[24h])) > 0': "{} refused recordings",
    }
    lines = [text.format(one.name("instance")) for query, text in wrong.items() for one in prometheus.query(query)]
    report.findings(lines, "nothing refused, missed or dropped")
    for query, text in {
        "job:erlmcp_error_budget_remaining:ratio30d": "of the error budget are left",
        "environment:erlmcp_uptime:ratio1d": "uptime in 24 h",
    }.items():
        for one in prometheus.query(query):
            mark = LOOK if "budget" in text and one.value < 0.25 else FIGURE
            report.line(mark, f"{percent(one.value)} {text} ({one.name('environment')})")


def disks(report: Report, prometheus: Prometheus) -> None:
    """Room left, and where it goes."""
    report.section("Disks")
    left = f"min by (instance, mountpoint) (node_filesystem_avail_bytes{{{REAL}}} / (node_filesystem_size_bytes{{{REAL}}} > 0))"
    found = list(reversed(prometheus.query(left)))
    if not found:
        report.line(NOT_ASKED, "no node exporter")
        return
    lines = [f"{one.name('instance', 'mountpoint')}: {percent(one.value)} left" for one in found if one.value < DISK_LEFT]
    report.findings(lines, f"least room: {percent(found[0].value)} ({found[0].name('instance', 'mountpoint')})")
    # Half a day at least: of less there is no trend.
    filling = (
        f"min by (instance, mountpoint) (predict_linear(node_filesystem_avail_bytes{{{REAL}}}[1d], 7 * 86400)) < 0"
        f" and min by (instance, mountpoint) (node_filesystem_avail_bytes{{{REAL}}} offset 12h)"
    )
    lines = [f"{one.name('instance', 'mountpoint')} is full within 7 days if it goes on so" for one in prometheus.query(filling)]
    report.findings(lines, "none is full within 7 days")


def logs(report: Report, prometheus: Prometheus) -> None:
    """Errors, by the library's count and in Loki."""
    report.section("Logs of the last 24 hours")
    query = f'sum by (instance, level) (increase(erlmcp_log_messages_total{{job="erlmcp", level=~"{LEVELS}"}}[24h])) >= 1'
    report.findings(
        [f"{one.value:.0f} of level {one.name('level')} by {one.name('instance')}" for one in prometheus.query(query)],
        "no errors logged",
    )
    try:
        found = Loki().query(f'sum by (instance, level) (count_over_time({{job="erlmcp", level=~"{LEVELS}"}}[24h]))')
    except CannotAsk as why:
        report.line(NOT_ASKED, f"Loki: {why}")
        return
    report.line(OK if not found else FIGURE, f"{sum(one.value for one in found):.0f} error lines in Loki")
