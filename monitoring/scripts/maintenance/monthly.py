"""Review retention, update alert policies, plan capacity."""

from __future__ import annotations

import time

from daily import ALWAYS, HOURS, REAL
from report import FIGURE, LOOK, NOT_ASKED, Report, duration, percent, size
from sources import Alertmanager, CannotAsk, Prometheus

MONTH, QUARTER = 30 * 86400, 90 * 86400
CERTIFICATE_DAYS = 30
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "y": 31536000}


def run(report: Report, prometheus: Prometheus) -> None:
    """All of it."""
    retention(report, prometheus)
    capacity(report, prometheus)
    policies(report, prometheus)
    certificates(report, prometheus)
    objectives(report, prometheus)
    versions(report, prometheus)


def _seconds(text: str) -> float:
    """A duration as Prometheus writes it: 30d, 1d12h."""
    total, number = 0.0, ""
    for letter in text.replace("ms", ""):
        if letter.isdigit():
            number += letter
        else:
            total += int(number or 0) * UNITS[letter]
            number = ""
    return total


def retention(report: Report, prometheus: Prometheus) -> None:
    """How long data is kept, how far back it goes, what it takes."""
    report.section("Retention")
    flags = prometheus.api("status/flags")
    kept = _seconds(flags["storage.tsdb.retention.time"]) or 15 * 86400
    limit = flags["storage.tsdb.retention.size"]
    report.line(FIGURE, f"kept for {duration(kept)}{'' if limit == '0B' else f', at most {limit}'}")
    status = prometheus.api("status/tsdb")["headStats"]
    oldest = prometheus.value("min(prometheus_tsdb_lowest_timestamp_seconds)")
    if oldest:
        report.line(FIGURE, f"goes back {duration(time.time() - oldest)}")
    # Half an hour at least: after a start there is nothing to divide by.
    rate = prometheus.value("sum(rate(prometheus_tsdb_head_samples_appended_total[1h]))")
    blocks = prometheus.value("sum(prometheus_tsdb_storage_blocks_bytes)") or 0
    wal = prometheus.value("sum(prometheus_tsdb_wal_storage_size_bytes)") or 0
    report.line(FIGURE, f"blocks {size(blocks)}, write-ahead log {size(wal)}, {status['numSeries']} series")
    if rate is None:
        report.line(NOT_ASKED, "Prometheus does not scrape itself: no rate of samples")
        return
    per_sample = prometheus.value(
        "sum(rate(prometheus_tsdb_compaction_chunk_size_bytes_sum[30d])) / sum(rate(prometheus_tsdb_compaction_chunk_samples_sum[30d]))"
    )
    measured = per_sample or 1.5
    wanted = rate * measured * kept
    report.line(
        FIGURE,
        f"{rate:.0f} samples/s of {measured:.2f} bytes{'' if per_sample else ' (assumed)'}: {size(rate * measured * 86400)} a day, {size(wanted)} when full",
    )
    room = prometheus.value(f"max(node_filesystem_avail_bytes{{{REAL}}})")
    if room is not None and wanted - blocks > room:
        report.line(LOOK, f"there is room for {size(room)} only: shorten the retention or grow the disk")


def capacity(report: Report, prometheus: Prometheus) -> None:
    """Where the month's trends lead."""
    report.section("Capacity, from the trend of 7 days")
    if not prometheus.query("up offset 2d"):
        report.line(NOT_ASKED, "less than two days of data: no trend")
    else:
        trends(report, prometheus)
    usual_load(report, prometheus)


def trends(report: Report, prometheus: Prometheus) -> None:
    """A line through the week, drawn on."""
    lines = []
    for days, ahead in ((30, MONTH), (90, QUARTER)):
        query = f"min by (instance, mountpoint) (predict_linear(node_filesystem_avail_bytes{{{REAL}}}[7d], {ahead})) < 0"
        lines += [f"{one.name('instance', 'mountpoint')} is full within {days} days" for one in prometheus.query(query)]
    report.findings(lines, "no disk is full within 90 days")
    for what, metric, show in (
        ("series", "prometheus_tsdb_head_series", "{:.0f}".format),
        ("memory of Prometheus", 'process_resident_memory_bytes{job="prometheus"}', size),
    ):
        for one in prometheus.query(f"predict_linear({metric}[7d], {QUARTER})"):
            now = prometheus.value(f'{metric.split("{")[0]}{{instance="{one.name("instance")}", job="prometheus"}}')
            if now is not None:
                report.line(FIGURE, f"{what} of {one.name('instance')}: {show(now)} now, {show(max(one.value, 0))} in 90 days")


def usual_load(report: Report, prometheus: Prometheus) -> None:
    """What the busy times take."""
    for what, metric in (("CPU of hosts", "instance:node_cpu:ratio_rate5m"), ("memory of hosts", "instance:node_memory:ratio"), ("CPU of erlmcp", "instance:erlmcp_cpu:ratio_rate5m")):
        usual = prometheus.value(f"max(quantile_over_time(0.95, {metric}[7d]))")
        if usual is None:
            report.line(NOT_ASKED, f"{what}: no figures")
        else:
            report.line(FIGURE, f"{what}: {percent(usual)} or more in the busiest 5 % of the week")
    requests = prometheus.query("sum by (environment) (max_over_time(job:erlmcp_requests:rate5m[7d]))")
    report.figures([f"{one.value:.0f} requests/s at the peak of the week ({one.name('environment')})" for one in requests], "no requests")


def policies(report: Report, prometheus: Prometheus) -> None:
    """Alerts that nobody acted on, and those that never spoke."""
    report.section("Alert policies, 30 days")
    fired = {one.name("alertname") for one in prometheus.query(f'count by (alertname) (count_over_time(ALERTS{{alertstate="firing", alertname!="{ALWAYS}"}}[30d]))')}
    known = {rule["name"] for group in prometheus.api("rules", type="alert")["groups"] for rule in group["rules"]}
    report.line(FIGURE, f"{len(fired & known)} of {len(known)} alerts fired")
    escalated = prometheus.query('sum by (original_alertname, escalated_from) (count_over_time(ALERTS{alertname="ErlmcpEscalated", alertstate="firing"}[30d]))')
    report.figures([f"escalated from {one.name('escalated_from')}: {one.name('original_alertname')}" for one in escalated], "none was escalated")
    priorities = prometheus.query(f'sum by (priority) (count_over_time(ALERTS{{alertstate="firing", alertname!="{ALWAYS}"}}[30d])) {HOURS}')
    report.figures([f"{one.name('priority')}: {one.value:.1f} hours" for one in sorted(priorities, key=lambda one: one.name("priority"))], "no hours of any priority")
    try:
        muted = [one for one in Alertmanager().get("/api/v2/alerts") if one["status"]["state"] == "suppressed"]
    except CannotAsk as why:
        report.line(NOT_ASKED, f"Alertmanager: {why}")
        return
    names = sorted({one["labels"]["alertname"] for one in muted})
    report.line(FIGURE, f"muted now: {', '.join(names) or 'none'}")


def certificates(report: Report, prometheus: Prometheus) -> None:
    """What ends soon."""
    report.section("Certificates")
    names = 'probe_ssl_earliest_cert_expiry or on (environment, instance) erlmcp_http_tls_certificate_expiry_timestamp_seconds{job="erlmcp"}'
    found = list(reversed(prometheus.query(f"({names}) - time()")))
    if not found:
        report.line(FIGURE, "none is seen: no endpoint with TLS is scraped or probed")
        return
    for one in found:
        mark = LOOK if one.value < CERTIFICATE_DAYS * 86400 else FIGURE
        state = f"ends in {duration(one.value)}" if one.value > 0 else f"ended {duration(-one.value)} ago"
        report.line(mark, f"{one.name('job', 'instance')} {state}")


def objectives(report: Report, prometheus: Prometheus) -> None:
    """What was promised."""
    report.section("Objectives, 30 days")
    for what, metric, good in (
        ("uptime", "environment:erlmcp_uptime:ratio30d", 0.999),
        ("error budget left", "job:erlmcp_error_budget_remaining:ratio30d", 0.0),
    ):
        found = prometheus.query(metric)
        for one in found:
            report.line(LOOK if one.value < good else FIGURE, f"{what}: {percent(one.value)} ({one.name('environment')})")
        if not found:
            report.line(NOT_ASKED, f"{what}: no figures yet")


def versions(report: Report, prometheus: Prometheus) -> None:
    """What runs, to be held against the advisories of each."""
    report.section("Versions")
    found = prometheus.query('count by (__name__, version) ({__name__=~".+_build_info", version!=""})')
    report.figures(sorted(f"{one.labels['__name__'].removesuffix('_build_info')} {one.name('version')}" for one in found), "none says")
