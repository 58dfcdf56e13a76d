"""Every inhibition: what it mutes and what it must not, as the API tells it."""

from __future__ import annotations

import json
import re
import subprocess
import time
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import yaml
from alerts import alert, ended
from conftest import Bench, wanted
from shipped import CONFIG
from sinks import PATIENCE, wait_for

Labels = dict[str, Any]


def service(name: str, topic: str, severity: str, **more: Any) -> Labels:
    """Of a job as a whole: no instance."""
    return {"name": name, "instance": None, "scope": "service", "topic": topic, "severity": severity} | more


def instance(name: str, topic: str, severity: str, at: str = "erlmcp:8080", **more: Any) -> Labels:
    return {"name": name, "instance": at, "scope": "instance", "topic": topic, "severity": severity} | more


def stack(name: str, topic: str, severity: str, job: str, at: str | None, **more: Any) -> Labels:
    return {
        "name": name, "instance": at, "job": job, "scope": "stack", "topic": topic, "severity": severity,
        "team": "monitoring",
    } | more  # fmt: skip


def host(name: str, topic: str, severity: str, at: str = "node-1:9100", **more: Any) -> Labels:
    return {"name": name, "instance": at, "job": "node", "scope": "host", "topic": topic, "severity": severity} | more


def escalated(labels: Labels, priority: str, before: str) -> Labels:
    """What Prometheus raises of an alert: its labels, and another name."""
    return labels | {
        "name": "ErlmcpEscalated", "original_alertname": labels["name"], "priority": priority,
        "escalated": "true", "escalated_from": before,
    }  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A rule of inhibit_rules by its place, a source, and what it mutes or leaves."""

    rule: int
    source: Labels
    muted: tuple[Labels, ...]
    left: tuple[Labels, ...]


ERRORS_CRITICAL = service("ErlmcpErrorRateCritical", "errors", "critical")
ERRORS_HIGH = service("ErlmcpErrorRateHigh", "errors", "warning", priority="P2")
DOWN = service("ErlmcpServiceDown", "availability", "critical", priority="P0", job=None)
INSTANCE_DOWN = instance("ErlmcpInstanceDown", "availability", "warning", priority="P2")
CUSTOM_DOWN = instance("ErlmcpCustomMetricsDown", "monitoring", "warning", at="erlmcp:8086", job="erlmcp_custom")
BURN_FAST = service("ErlmcpErrorBudgetBurnFast", "errors", "critical")
LOKI_DOWN = stack("ErlmcpLokiDown", "logs", "warning", "loki", "loki:3100")
COLLECTOR_DOWN = stack("ErlmcpCollectorDown", "telemetry", "warning", "otel_collector", "otel-collector:8888")

CASES = [
    Case(
        0,
        ERRORS_CRITICAL,
        (ERRORS_HIGH, escalated(ERRORS_HIGH, "P1", "P2")),
        (
            service("ErlmcpLatencyHigh", "latency", "warning"),
            ERRORS_HIGH | {"job": "other"},
            ERRORS_HIGH | {"cluster": "other"},
            escalated(ERRORS_CRITICAL, "P0", "P1"),
        ),
    ),
    Case(
        0,
        instance("ErlmcpCpuCritical", "cpu", "critical"),
        (instance("ErlmcpCpuHigh", "cpu", "warning"), instance("ErlmcpDirtyRunQueueLong", "cpu", "warning")),
        (
            instance("ErlmcpCpuHigh", "cpu", "warning", at="erlmcp-2:8080"),
            instance("ErlmcpFileDescriptorsNear", "fds", "warning"),
            host("ErlmcpHostCpuHigh", "cpu", "warning"),
        ),
    ),
    Case(
        0,
        service("ErlmcpQuotaCritical", "quota", "critical", quota_type="tokens"),
        (service("ErlmcpQuotaHigh", "quota", "warning", quota_type="tokens"),),
        (service("ErlmcpQuotaHigh", "quota", "warning", quota_type="calls"),),
    ),
    Case(
        0,
        service("ErlmcpQueueDepthCritical", "saturation", "critical", queue="main"),
        (service("ErlmcpQueueDepthHigh", "saturation", "warning", queue="main"),),
        (service("ErlmcpQueueDepthHigh", "saturation", "warning", queue="slow"),),
    ),
    Case(
        0,
        host("ErlmcpHostDiskFull", "disk", "critical", job=None, mountpoint="/"),
        (host("ErlmcpHostDiskFilling", "disk", "warning", job=None, mountpoint="/"),),
        (host("ErlmcpHostDiskFilling", "disk", "warning", job=None, mountpoint="/var"),),
    ),
    Case(
        0,
        service("ErlmcpLatencyCritical", "latency", "critical"),
        (
            service("ErlmcpLatencyBudgetBurn", "latency", "warning"),
            escalated(service("ErlmcpApdexLow", "latency", "warning"), "P2", "P3"),
        ),
        (service("ErlmcpApdexLow", "latency", "warning", job="other"),),
    ),
    Case(
        0,
        instance("ErlmcpRestartLoop", "restart", "critical"),
        (instance("ErlmcpInstanceRestarted", "restart", "info"),),
        (instance("ErlmcpInstanceRestarted", "restart", "info", at="erlmcp-2:8080"),),
    ),
    Case(
        0,
        service("ErlmcpErrorBudgetExhausted", "errors", "critical", priority="P2", escalation="none"),
        (),
        (ERRORS_HIGH,),
    ),
    Case(
        0,
        service("ErlmcpSecurityEventCritical", "security", "critical", team="security", event_type="intrusion"),
        (),
        (
            service("ErlmcpUnauthorizedAttempts", "security", "warning", team="security"),
            service("ErlmcpAuthFailureRateHigh", "security", "warning", team="security"),
        ),
    ),
    Case(
        1,
        service("ErlmcpAuthFailureSpike", "security", "critical", team="security"),
        (service("ErlmcpAuthFailureRateHigh", "security", "warning", team="security"),),
        (
            service("ErlmcpUnauthorizedAttempts", "security", "warning", team="security"),
            service("ErlmcpAuthFailureRateHigh", "security", "warning", team="security", cluster="other"),
        ),
    ),
    Case(
        2,
        service("ErlmcpServiceFailing", "errors", "critical", priority="P0"),
        (
            ERRORS_CRITICAL,
            service("ErlmcpErrorBudgetBurnFast", "errors", "critical"),
            escalated(ERRORS_CRITICAL, "P0", "P1"),
        ),
        (
            service("ErlmcpLatencyCritical", "latency", "critical"),
            escalated(service("ErlmcpServiceFailing", "errors", "critical"), "P0", "P0"),
        ),
    ),
    Case(
        3,
        DOWN,
        (
            INSTANCE_DOWN,
            instance("ErlmcpHealthProbeFailing", "availability", "warning", job="erlmcp_health"),
            service("ErlmcpNoRequests", "traffic", "critical"),
            escalated(service("ErlmcpUptimeBurn", "availability", "critical"), "P0", "P1"),
        ),
        (
            escalated(DOWN, "P0", "P0"),
            service("ErlmcpAuthFailureSpike", "security", "critical", team="security"),
            service("ErlmcpCertificateExpiring", "certificates", "warning", team="security"),
            host("ErlmcpHostCpuCritical", "cpu", "critical"),
            INSTANCE_DOWN | {"cluster": "other"},
        ),
    ),
    Case(
        4,
        INSTANCE_DOWN,
        (
            instance("ErlmcpDistributionPeerLost", "distribution", "warning"),
            instance("ErlmcpHealthProbeFailing", "availability", "warning", job="erlmcp_health"),
            escalated(instance("ErlmcpRestartLoop", "restart", "critical"), "P0", "P1"),
        ),
        (
            instance("ErlmcpDistributionPeerLost", "distribution", "warning", at="erlmcp-2:8080"),
            escalated(INSTANCE_DOWN, "P1", "P2"),
            ERRORS_HIGH,
        ),
    ),
    Case(
        5,
        host("ErlmcpNodeExporterDown", "monitoring", "warning", team="monitoring"),
        (host("ErlmcpHostDiskFilling", "disk", "warning", job=None, mountpoint="/"),),
        (host("ErlmcpHostDiskFilling", "disk", "warning", at="node-2:9100", mountpoint="/"),),
    ),
    Case(
        6,
        stack("ErlmcpPrometheusDown", "monitoring", "critical", "prometheus", "prometheus-2:9090"),
        (
            stack("ErlmcpPrometheusRuleFailures", "monitoring", "critical", "prometheus", "prometheus-2:9090"),
            escalated(stack("ErlmcpPrometheusTsdbFailing", "storage", "critical", "prometheus", "prometheus-2:9090"), "P1", "P2"),
        ),
        (
            stack("ErlmcpPrometheusRuleFailures", "monitoring", "critical", "prometheus", "prometheus-1:9090"),
            escalated(stack("ErlmcpPrometheusDown", "monitoring", "critical", "prometheus", "prometheus-2:9090"), "P0", "P1"),
            stack("ErlmcpWatchdog", "watchdog", "info", "prometheus", "prometheus-2:9090"),
        ),
    ),
    Case(
        6,
        LOKI_DOWN,
        (stack("ErlmcpLokiRequestErrors", "logs", "warning", "loki", "loki:3100", route="push"),),
        (stack("ErlmcpGrafanaDown", "monitoring", "warning", "grafana", "grafana:3000"),),
    ),
    Case(
        6,
        stack("ErlmcpThanosDown", "storage", "warning", "thanos", "thanos-sidecar:10902"),
        (stack("ErlmcpThanosUploadFailing", "storage", "warning", "thanos", "thanos-sidecar:10902"),),
        (stack("ErlmcpThanosCompactorHalted", "storage", "warning", "thanos", "thanos-compactor:10902"),),
    ),
    Case(
        6,
        stack("ErlmcpVictoriaMetricsDown", "storage", "warning", "victoria_metrics", "victoria-metrics:8428"),
        (stack("ErlmcpVictoriaMetricsDiskLow", "storage", "warning", "victoria_metrics", "victoria-metrics:8428"),),
        (stack("ErlmcpPrometheusRemoteWriteFailing", "storage", "warning", "prometheus", "prometheus:9090"),),
    ),
    Case(
        7,
        stack("ErlmcpAlertmanagerDown", "notifications", "critical", "alertmanager", "alertmanager-2:9093"),
        (
            stack("ErlmcpPrometheusNotificationsFailing", "notifications", "critical", "prometheus", "prometheus:9090"),
            stack("ErlmcpPrometheusNoAlertmanager", "notifications", "critical", "prometheus", "prometheus:9090"),
        ),
        (
            stack("ErlmcpPrometheusRuleFailures", "monitoring", "critical", "prometheus", "prometheus:9090"),
            stack("ErlmcpAlertmanagerNotificationsFailing", "notifications", "critical", "alertmanager", "alertmanager-1:9093"),
        ),
    ),
    Case(
        8,
        stack("ErlmcpBlackboxDown", "monitoring", "warning", "blackbox", "blackbox-exporter:9115"),
        # Of an absent(): it has no environment, or that of the external labels.
        (stack("ErlmcpHealthProbeAbsent", "monitoring", "warning", "erlmcp_health", None, environment=None),),
        (
            instance("ErlmcpHealthProbeFailing", "availability", "warning", job="erlmcp_health"),
            stack("ErlmcpHealthProbeAbsent", "monitoring", "warning", "erlmcp_health", None, environment=None, cluster="other"),
        ),
    ),
    Case(
        9,
        LOKI_DOWN,
        (
            stack("ErlmcpPromtailRequestErrors", "logs", "warning", "promtail", "promtail:9080"),
            escalated(stack("ErlmcpPromtailDropping", "logs", "warning", "promtail", "promtail:9080"), "P1", "P2"),
        ),
        (
            stack("ErlmcpPromtailDown", "logs", "warning", "promtail", "promtail:9080"),
            instance("ErlmcpSpansDropped", "telemetry", "warning", team="monitoring"),
        ),
    ),
    Case(
        10,
        COLLECTOR_DOWN,
        (instance("ErlmcpTelemetryExportFailing", "telemetry", "warning", team="monitoring"),),
        (instance("ErlmcpSeriesLimitNear", "series", "warning", team="monitoring"),),
    ),
    Case(
        11,
        stack("ErlmcpJaegerDown", "telemetry", "warning", "jaeger", "jaeger:14269"),
        (
            stack("ErlmcpCollectorExportFailing", "telemetry", "warning", "otel_collector", "otel-collector:8888",
                  exporter="otlp/jaeger"),
        ),
        (
            stack("ErlmcpCollectorExportFailing", "telemetry", "warning", "otel_collector", "otel-collector:8888",
                  exporter="loki"),
        ),
    ),
    Case(
        12,
        service("ErlmcpHalfOfInstancesDown", "availability", "critical"),
        (
            INSTANCE_DOWN,
            escalated(INSTANCE_DOWN, "P1", "P2"),
            instance("ErlmcpHealthProbeFailing", "availability", "warning", job="erlmcp_health"),
            instance("ErlmcpDistributionPeerLost", "distribution", "warning"),
            CUSTOM_DOWN,
            escalated(CUSTOM_DOWN, "P2", "P3"),
        ),
        (
            escalated(service("ErlmcpHalfOfInstancesDown", "availability", "critical"), "P0", "P1"),
            service("ErlmcpUptimeBurn", "availability", "critical"),
            instance("ErlmcpCpuHigh", "cpu", "warning"),
            INSTANCE_DOWN | {"cluster": "other"},
        ),
    ),
    Case(
        13,
        ERRORS_CRITICAL,
        (
            BURN_FAST,
            escalated(BURN_FAST, "P0", "P1"),
            service("ErlmcpErrorBudgetBurn", "errors", "critical"),
        ),
        (
            escalated(ERRORS_CRITICAL, "P0", "P1"),
            service("ErlmcpLatencyBudgetBurnFast", "latency", "critical"),
            BURN_FAST | {"job": "other"},
        ),
    ),
    Case(
        14,
        service("ErlmcpLatencyCritical", "latency", "critical"),
        (
            service("ErlmcpLatencyBudgetBurnFast", "latency", "critical"),
            escalated(service("ErlmcpLatencyBudgetBurnFast", "latency", "critical"), "P0", "P1"),
        ),
        (
            escalated(service("ErlmcpLatencyCritical", "latency", "critical"), "P0", "P1"),
            BURN_FAST,
        ),
    ),
    Case(
        15,
        # Recorded by host: its figure has no job, the kernel's counter has.
        host("ErlmcpHostMemoryCritical", "memory", "critical", job=None),
        (
            host("ErlmcpHostOomKill", "memory", "critical", priority="P2"),
            escalated(host("ErlmcpHostOomKill", "memory", "critical"), "P1", "P2"),
        ),
        (
            host("ErlmcpHostOomKill", "memory", "critical", at="node-2:9100"),
            host("ErlmcpHostCpuCritical", "cpu", "critical", job=None),
            escalated(host("ErlmcpHostMemoryCritical", "memory", "critical", job=None), "P0", "P1"),
        ),
    ),
    Case(
        16,
        instance("ErlmcpVmMetricsStale", "monitoring", "warning"),
        (
            instance("ErlmcpVmCollectorFailing", "monitoring", "warning", team="monitoring", collector="memory"),
            escalated(instance("ErlmcpVmCollectorFailing", "monitoring", "warning", collector="memory"), "P2", "P3"),
        ),
        (
            instance("ErlmcpVmCollectorFailing", "monitoring", "warning", at="erlmcp-2:8080", collector="memory"),
            instance("ErlmcpScrapeSlow", "monitoring", "warning"),
        ),
    ),
    Case(
        17,
        LOKI_DOWN,
        (
            stack("ErlmcpGrafanaErrors", "monitoring", "warning", "grafana", "grafana:3000"),
            escalated(stack("ErlmcpGrafanaErrors", "monitoring", "warning", "grafana", "grafana:3000"), "P2", "P3"),
        ),
        (
            stack("ErlmcpGrafanaDown", "monitoring", "warning", "grafana", "grafana:3000"),
            escalated(LOKI_DOWN, "P1", "P2"),
        ),
    ),
]  # fmt: skip


def built(labels: Labels, place: dict[str, str]) -> dict[str, Any]:
    """An alert of this test's environment and cluster, unless the case says another."""
    mine = dict(labels)
    if "environment" not in mine:
        mine["environment"] = place["environment"]
    mine["cluster"] = f"{place['cluster']}-{mine['cluster']}" if mine.get("cluster") else place["cluster"]
    return alert(mine.pop("name"), **mine)


def state(
    bench: Bench, wanted_alert: dict[str, Any], fits: Callable[[dict[str, Any]], bool] = lambda _: True
) -> dict[str, Any]:
    """What the API says of an alert, as soon as it fits."""
    labels = wanted_alert["labels"]

    def look() -> list[dict[str, Any]]:
        # What its labels do not have must be empty: an escalation differs by that.
        found = [a for a in bench.server.alerts(cluster=labels["cluster"]) if a["labels"] == labels]
        states = [dict(a["status"]) | {"fingerprint": a["fingerprint"]} for a in found]
        return [status for status in states if fits(status)]

    return wait_for(look, 1, PATIENCE, f"the alert {labels} as it should be")[0]


def suppressed(status: dict[str, Any]) -> bool:
    return bool(status["state"] == "suppressed")


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c.rule}-{c.source['name']}")
def test_inhibition(bench: Bench, case: Case) -> None:
    pairs = []
    left = [(case.source, labels, False) for labels in case.left]
    muted_by_it = [(case.source, labels, True) for labels in case.muted]
    # Sources are taken in while the API answers, one after the other: when the last one
    # mutes, the others would.
    for source, target, muted in [*left, *muted_by_it, (DOWN, INSTANCE_DOWN, True)]:
        # Each with a source of its own: some targets are sources of other rules.
        mark = uuid.uuid4().hex[:10]
        place = {"environment": f"inhibit-{mark}", "cluster": f"cluster-{mark}"}
        pairs.append((built(source, place), built(target, place), muted))
    bench.server.post([source for source, _, _ in pairs])
    bench.server.post([target for _, target, _ in pairs])
    state(bench, pairs[-1][1], suppressed)
    for source, target, muted in pairs:
        source_state, status = state(bench, source), state(bench, target)
        assert source_state["inhibitedBy"] == [], "the source is muted by its target"
        if muted:
            assert status["state"] == "suppressed", target["labels"]
            assert status["inhibitedBy"] == [source_state["fingerprint"]], target["labels"]
        else:
            assert status["inhibitedBy"] == [], target["labels"]
    # When the source is over, its targets are heard again.
    bench.server.post(ended([source for source, _, _ in pairs]))
    for _, target, _ in pairs:
        state(bench, target, lambda status: not status["inhibitedBy"])


def test_every_rule_has_cases() -> None:
    rules = yaml.safe_load(CONFIG.read_text())["inhibit_rules"]
    for number in range(len(rules)):
        cases = [case for case in CASES if case.rule == number]
        assert any(case.muted for case in cases), f"rule {number}: nothing that it mutes"
        assert any(case.left for case in cases), f"rule {number}: nothing that it must not"
    assert {case.rule for case in CASES} == set(range(len(rules)))


def test_every_rule_has_its_labels_on_one_side_at_least() -> None:
    """A rule whose `equal` labels are all missing on both sides would match anything."""
    for rule in yaml.safe_load(CONFIG.read_text())["inhibit_rules"]:
        assert "cluster" in rule["equal"]
        sides = rule["source_matchers"], rule["target_matchers"]
        for side in sides:
            assert any(re.match(r"(alertname|scope|severity|job) ", matcher) for matcher in side), rule


def test_nothing_that_is_muted_is_sent(bench: Bench) -> None:
    mark = uuid.uuid4().hex[:10]
    place = {"environment": f"inhibit-{mark}", "cluster": f"cluster-{mark}"}
    bench.server.post([built(DOWN, place)])
    bench.server.post([built(INSTANCE_DOWN | {"instance": f"erlmcp-{n}:8080"}, place) for n in range(20)])
    bench.http.wait("/slack/", place["environment"])
    time.sleep(3)
    titles = [r.json()["attachments"][0]["title"] for r in bench.http.matching("/slack/", place["environment"])]
    assert titles == [f"[P0 · firing] ErlmcpServiceDown · {place['environment']}"]


def test_one_silence_covers_an_alert_and_its_escalation(bench: Bench, version: str) -> None:
    """By the link in the message: its matchers are given to amtool."""
    place = f"silence-{uuid.uuid4().hex[:10]}"
    original = alert("ErlmcpQueueDepthHigh", environment=place, priority="P2", queue='ma"in, {x}', topic="saturation")
    bench.server.post([original])
    [request] = bench.http.wait("/slack/", place)
    [query] = re.findall(r"/#/silences/new\?filter=([^|]+)\|Silence>", request.json()["attachments"][0]["text"])
    matchers = urllib.parse.unquote(query)
    added = subprocess.run(
        [str(wanted("amtool", version)), "silence", "add", f"--alertmanager.url={bench.server.url}", "--duration=1h",
         "--author=test", "--comment=by the link", *re.findall(r'[a-z_]+=~?"(?:[^"\\]|\\.)*"', matchers)],
        capture_output=True, text=True,
    )  # fmt: skip
    assert added.returncode == 0, added.stderr
    raised = alert(
        "ErlmcpEscalated", environment=place, priority="P1", escalated="true", escalated_from="P2",
        original_alertname="ErlmcpQueueDepthHigh", queue='ma"in, {x}', topic="saturation",
    )  # fmt: skip
    other = alert("ErlmcpErrorRateHigh", environment=place, queue='ma"in, {x}', topic="saturation")
    bench.server.post([raised, other])
    cluster = original["labels"]["cluster"]
    found = wait_for(lambda: bench.server.alerts(environment=place, cluster=cluster), 3, PATIENCE, "three alerts")
    states = {a["labels"]["alertname"]: (a["status"]["state"], a["status"]["silencedBy"]) for a in found}
    identifier = [added.stdout.strip()]
    assert states["ErlmcpQueueDepthHigh"] == ("suppressed", identifier)
    assert states["ErlmcpEscalated"] == ("suppressed", identifier)
    assert states["ErlmcpErrorRateHigh"][1] == []
    silence = json.loads(urllib.request.urlopen(f"{bench.server.url}/api/v2/silence/{identifier[0]}").read())
    assert len(silence["matchers"]) == 8, silence["matchers"]
