"""Panels that more than one dashboard shows."""

import names
import thresholds as levels
from frame import explore
from grafana_foundation_sdk.builders import prometheus
from names import FIRING, INSTANCE, by_own_name
from panels import Column, Panel, figure, graph, link, listing, to_dashboard
from queries import now, rows, series


def latency(title: str) -> Panel:
    """Percentiles with exemplars: raw, because recorded series have none."""
    buckets = f"sum by (le) (rate(erlmcp_request_duration_seconds_bucket{{{INSTANCE}}}[$__rate_interval]))"
    return graph(
        title,
        "How long requests take. A dot is one request: it opens the trace. Lines at 100 and 500 ms are the levels of "
        "the alerts on P99.",
        [
            series(f"histogram_quantile(0.99, {buckets})", "P99", exemplars=True),
            series(f"histogram_quantile(0.95, {buckets})", "P95"),
            series(f"histogram_quantile(0.50, {buckets})", "P50"),
        ],
        "s",
        steps=levels.above(levels.P99_LATENCY_SECONDS),
        colors={"P99": "red", "P95": "orange", "P50": "green"},
        fill=0,
        links=[to_dashboard("Performance", names.PERFORMANCE)],
    )


def alert_columns() -> list[Column]:
    """How an alert begins in a table: how urgent it is, and its name, which opens the runbook."""
    return [
        Column(
            "priority",
            "Priority",
            width=80,
            mappings={
                "P0": ("P0", "dark-red"),
                "P1": ("P1", "red"),
                "P2": ("P2", "orange"),
                "P3": ("P3", levels.YELLOW),
            },
        ),
        Column("alertname", "Alert", links=[("Runbook", names.RUNBOOKS + "/${__value.raw}.md")]),
    ]


def limits_of_nodes() -> list[prometheus.Dataquery]:
    """How full the fullest chosen node is, of each limit that every node has."""
    ratios = {
        "Processes": "erlang_vm_processes",
        "Ports": "erlang_vm_ports",
        "Atoms": "erlang_vm_atoms",
        "ETS tables": "erlang_vm_ets_tables",
        "File descriptors": "erlmcp_open_fds",
        "Metric series": "erlmcp_metrics_series",
    }
    return [now(f"max(instance:{name}:ratio{{{INSTANCE}}})", shown) for shown, name in ratios.items()]


def error_ratio(title: str) -> Panel:
    """The part of requests that failed, per instance."""
    rate = "sum by (instance) (rate(erlmcp_requests_total{%s}[$__rate_interval]))"
    failed, all_ = rate % f'{INSTANCE}, status="error"', rate % INSTANCE
    return graph(
        title,
        "Requests that failed, as a part of all. Lines at 0.1 and 1 % are the levels of the alerts.",
        [series(f"({failed} or 0 * {all_}) / {all_}", "{{instance}}")],
        "percentunit",
        steps=levels.above(levels.ERROR_RATE),
        soft_maximum=0.012,
    )


def uptime_now() -> Panel:
    """The one word that is looked for first."""
    return figure(
        "Service",
        "UP while at least one instance answers its health probe. For the whole service.",
        now(f"min(environment:erlmcp_up:max{{{names.ENVIRONMENT}}})"),
        "none",
        [(None, levels.RED), (1, levels.GREEN)],
        mappings={"1": ("UP", levels.GREEN), "0": ("DOWN", levels.RED)},
        links=[to_dashboard("SLA", names.SLA)],
    )


def alerts_firing() -> Panel:
    """What fires now, the worst first."""
    bounded = "alertname, priority, severity, team, environment, instance, escalated_from"
    firing = f"(time() - ALERTS_FOR_STATE) * ignoring (alertstate) {FIRING}"
    return listing(
        "Active alerts",
        "Alerts that fire now, the most urgent first; the name opens the runbook. Was: the "
        "priority before it was raised. P0 at once, P1 within an hour, P2 "
        "within four, P3 within a day.",
        [rows(f"max by ({bounded}) ({by_own_name(firing)})")],
        [
            *alert_columns(),
            Column("escalated_from", "Was", width=50),
            Column("instance", "Instance", width=140),
            Column("team", "Team", width=80),
            Column("Value", "Since", unit="s", decimals=0, width=75),
        ],
        hide=["severity", "environment"],
        sort=("Priority", False),
        no_value="No alert is firing.",
        links=[link("Alertmanager", "/alerting/groups?alertmanager=Alertmanager")],
    )


def top_errors() -> Panel:
    """What fails most, by type."""
    return listing(
        "Top errors",
        "What failed most in this time range; the type opens its log lines.",
        [
            rows(
                f"topk(10, sum by (error_type, component) (increase(erlmcp_errors_total{{{INSTANCE}}}[$__range]))) >= 0.5"
            )
        ],
        [
            Column("error_type", "Error", links=[("Log lines", _log_lines_of_error())]),
            Column("component", "Component", width=110),
            Column("Value", "Count", unit="short", decimals=0, width=80),
        ],
        sort=("Count", True),
        no_value="No error in this time range.",
    )


def _log_lines_of_error() -> str:
    url = explore(names.LOGS, names.LOG_STREAM + " |= `VALUE`")
    return url.replace("VALUE", "${__value.raw}")
