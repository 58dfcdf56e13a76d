"""Overview: is erlmcp well, and if not, where to look."""

import names
import shared
import thresholds as levels
from frame import Board, explore
from names import INSTANCE, SERVICE, STACK, URGENT, by_own_name
from panels import UP_OR_DOWN, Column, Panel, bars, figure, graph, link, listing, log_lines, to_dashboard
from queries import lines, now, rows, series


def _strip() -> list[Panel]:
    """Eight figures that an operator reads in five seconds."""
    performance = to_dashboard("Performance", names.PERFORMANCE)
    beam = to_dashboard("BEAM", names.BEAM)
    return [
        shared.uptime_now(),
        figure(
            "Instances down",
            "Targets of erlmcp that Prometheus cannot scrape.",
            now(f"sum(1 - up{{{INSTANCE}}})"),
            "short",
            levels.any_is_bad(),
            decimals=0,
        ),
        figure(
            "P0 and P1 alerts",
            "Alerts that fire now and want somebody within an hour; one that was raised counts once.",
            now(f"count(count by (alertname, environment, instance) ({by_own_name(URGENT)})) or vector(0)"),
            "short",
            levels.any_is_bad(),
            decimals=0,
        ),
        figure(
            "Error rate",
            "Requests that failed, of the last five minutes. For the whole service.",
            now(f"max(job:erlmcp_request_errors_per_request:ratio_rate5m{{{SERVICE}}})"),
            "percentunit",
            levels.above(levels.ERROR_RATE),
            decimals=2,
            links=[performance],
        ),
        figure(
            "P99 latency",
            "99 of 100 requests take no longer, of the last five minutes. For the whole service.",
            now(f"max(job:erlmcp_request_duration_seconds:p99_rate5m{{{SERVICE}}})"),
            "s",
            levels.above(levels.P99_LATENCY_SECONDS),
            links=[performance],
        ),
        figure(
            "Requests",
            "Requests a second, of the last five minutes. For the whole service.",
            now(f"sum(job:erlmcp_requests:rate5m{{{SERVICE}}})"),
            "reqps",
            levels.neutral(),
            filled=False,
            links=[performance],
        ),
        figure(
            "CPU",
            "CPU in use: the busiest instance, of the cores that its VM may use, or the busiest host.",
            now(f"max(instance:erlmcp_cpu:ratio_rate5m{{{INSTANCE}}} or instance:node_cpu:ratio_rate5m{{{STACK}}})"),
            "percentunit",
            levels.above(levels.CPU),
            decimals=0,
            links=[beam],
        ),
        figure(
            "Memory",
            "Memory in use on the fullest host.",
            now(f"max(instance:node_memory:ratio{{{STACK}}})"),
            "percentunit",
            levels.above(levels.MEMORY),
            decimals=0,
            links=[beam],
        ),
    ]


def _methods() -> Panel:
    return listing(
        "Methods",
        "Each method of the last five minutes, the one that fails most first. For the whole service.",
        [
            rows(f"sum by (method) (job_method:erlmcp_requests:rate5m{{{SERVICE}}})"),
            rows(f"max by (method) (job_method:erlmcp_request_errors_per_request:ratio_rate5m{{{SERVICE}}})"),
            rows(f"max by (method) (job_method:erlmcp_request_duration_seconds:p99_rate5m{{{SERVICE}}})"),
        ],
        [
            Column("method", "Method"),
            Column("Value #A", "Requests", unit="reqps", decimals=1, width=95),
            Column(
                "Value #B", "Errors", unit="percentunit", decimals=2, width=85, steps=levels.above(levels.ERROR_RATE)
            ),
            Column("Value #C", "P99", unit="s", width=85, steps=levels.above(levels.P99_LATENCY_SECONDS)),
        ],
        sort=("Errors", True),
        links=[to_dashboard("Performance", names.PERFORMANCE)],
    )


def _instances() -> Panel:
    return listing(
        "Instances of erlmcp",
        "Each node: whether it is scraped, what it runs, since when, and how loaded it is.",
        [
            rows(f"sum by (instance) (up{{{INSTANCE}}})"),
            rows(f"max by (instance, version, otp) (erlmcp_build_info{{{INSTANCE}}})"),
            rows(f"max by (instance) (time() - process_start_time_seconds{{{INSTANCE}}})"),
            rows(f"max by (instance) (instance:erlmcp_requests:rate5m{{{INSTANCE}}})"),
            rows(f"max by (instance) (instance:erlmcp_cpu:ratio_rate5m{{{INSTANCE}}})"),
            rows(f"max by (instance) (process_resident_memory_bytes{{{INSTANCE}}})"),
        ],
        [
            Column("instance", "Instance"),
            Column("Value #A", "State", mappings=UP_OR_DOWN, width=75),
            Column("version", "Version", width=80),
            Column("otp", "OTP", width=60),
            Column("Value #C", "Running for", unit="s", decimals=0, width=110),
            Column("Value #D", "Requests", unit="reqps", decimals=1, width=100),
            Column("Value #E", "CPU", unit="percentunit", decimals=0, width=75),
            Column("Value #F", "Memory", unit="bytes", decimals=0, width=95),
        ],
        hide=["Value #B"],
        sort=("State", False),
    )


def _stack() -> Panel:
    return listing(
        "Monitoring stack",
        "What watches erlmcp: each target of Prometheus, what is down first. An alert that cannot be sent looks like no "
        "alert.",
        [rows(f'min by (job, instance) (up{{job!~"erlmcp|erlmcp_custom", {STACK}}})')],
        [
            Column("job", "Job"),
            Column("instance", "Instance"),
            Column("Value", "State", mappings=UP_OR_DOWN, width=75),
        ],
        sort=("State", False),
    )


def _limits() -> Panel:
    return bars(
        "How full things are",
        "Of each limit, the fullest instance: at 100 % nothing more fits.",
        [
            *shared.limits_of_nodes(),
            now(f"max(instance_signal:erlmcp_otel_queue:ratio{{{INSTANCE}}})", "Export queue"),
            now(f"max(instance:node_filesystem:ratio{{{STACK}}})", "Fullest disk"),
        ],
        "percentunit",
        levels.above(levels.SATURATION),
        maximum=1,
        decimals=1,
    )


def board() -> Board:
    """The dashboard."""
    board = Board(
        names.OVERVIEW,
        "erlmcp / Overview",
        "Is erlmcp well, and if not, where to look: health, requests, resources, services.",
        "now-1h",
        "30s",
    )
    board.line(4, *_strip())
    board.line(10, (shared.alerts_firing(), 10), (shared.top_errors(), 6), (_methods(), 8))

    board.row("Requests")
    board.line(
        8,
        graph(
            "Requests by outcome",
            "Requests a second.",
            [
                series(
                    f"sum by (status) (rate(erlmcp_requests_total{{{INSTANCE}}}[$__rate_interval]))",
                    "{{status}}",
                )
            ],
            "reqps",
            stacked=True,
            colors={"success": "green", "error": "red"},
            links=[to_dashboard("Performance", names.PERFORMANCE)],
        ),
        shared.error_ratio("Error rate by instance"),
        shared.latency("Latency"),
    )

    board.row("Resources")
    board.line(
        7,
        graph(
            "CPU by instance",
            "CPU time of each instance, of the cores that its VM may use, and of its host. Lines at 70 and 90 % are the "
            "levels of the alerts.",
            [
                series(f"instance:erlmcp_cpu:ratio_rate5m{{{INSTANCE}}}", "{{instance}}"),
                series(f"instance:node_cpu:ratio_rate5m{{{STACK}}}", "host {{instance}}"),
            ],
            "percentunit",
            steps=levels.above(levels.CPU),
            maximum=1,
            dashed="host.*",
        ),
        graph(
            "Memory by host",
            "Memory in use on each host. Lines at 70 and 90 % are the levels of the alerts.",
            [series(f"instance:node_memory:ratio{{{STACK}}}", "host {{instance}}")],
            "percentunit",
            steps=levels.above(levels.MEMORY),
            maximum=1,
            links=[to_dashboard("BEAM: what holds it", names.BEAM)],
        ),
        graph(
            "Disk and network",
            "How busy the busiest disk of each host is (left), and bytes that its network cards carry (right).",
            [
                series(f"instance:node_disk_io_time:ratio_rate5m{{{STACK}}}", "disk busy {{instance}}"),
                series(f"instance:node_network_receive_bytes:rate5m{{{STACK}}}", "received {{instance}}"),
                series(f"instance:node_network_transmit_bytes:rate5m{{{STACK}}}", "sent {{instance}}"),
            ],
            "percentunit",
            soft_maximum=1,
            right="(received|sent).*",
            right_unit="Bps",
        ),
        _limits(),
    )

    board.row("Services")
    board.line(7, (_instances(), 14), (_stack(), 10))

    board.row("Business")
    board.line(
        7,
        graph(
            "Sessions",
            "Open sessions by type. For the whole service.",
            [
                series(
                    f"sum by (session_type) (job_session_type:erlmcp_sessions_active:sum{{{SERVICE}}})",
                    "{{session_type}}",
                )
            ],
            "short",
            stacked=True,
        ),
        graph(
            "Authentication",
            "Attempts to log in that succeeded, as a part of all, and failures a second by reason (right). For the "
            "whole service.",
            [
                series(f"min(job:erlmcp_auth_success:ratio_rate5m{{{SERVICE}}})", "succeeded"),
                series(
                    f"sum by (reason) (job_reason:erlmcp_auth_failures:rate5m{{{SERVICE}}})",
                    "{{reason}}",
                ),
            ],
            "percentunit",
            maximum=1,
            right="^(?!succeeded).*",
            right_unit="cps",
            colors={"succeeded": "green"},
        ),
        graph(
            "API quota used",
            "Of each quota; at 100 % calls are refused. For the whole service.",
            [
                series(
                    f"max by (quota_type) (job_quota_type:erlmcp_api_quota_used:ratio{{{SERVICE}}})", "{{quota_type}}"
                )
            ],
            "percentunit",
            steps=levels.above(levels.SATURATION),
            soft_maximum=1,
        ),
        graph(
            "Registry",
            "Operations a second. For the whole service.",
            [
                series(
                    f"sum by (operation) (job_operation:erlmcp_registry_operations:rate5m{{{SERVICE}}})",
                    "{{operation}}",
                )
            ],
            "ops",
            stacked=True,
        ),
    )

    board.row("Logs")
    board.line(
        9,
        log_lines(
            "Warnings and errors",
            "Log lines of this time range with level warning or worse; trace_id opens the trace.",
            lines(names.LOG_STREAM + ' | json | level=~"warning|error|critical|alert|emergency"'),
        ).links([link("All lines", explore(names.LOGS, names.LOG_STREAM))]),
    )
    return board
