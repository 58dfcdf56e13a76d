"""SLA: what was promised, what was kept, what it cost, and what happened."""

import names
import shared
import thresholds as levels
from frame import Board
from names import ENVIRONMENT, SERVICE, STACK
from panels import Column, Panel, figure, graph, link, listing, to_dashboard
from queries import now, rows, series

DAYS = 30
UPTIME = f"min(environment:erlmcp_uptime:ratio%s{{{ENVIRONMENT}}})"
ERRORS = f"max(job:erlmcp_request_errors_per_request:ratio_rate%s{{{SERVICE}}})"
SLOW = f"max(job:erlmcp_slow_requests_per_request:ratio_rate%s{{{SERVICE}}})"
# Figures of 30 days are recorded each five minutes, as long as Prometheus looks back.
ERRORS_30D = f"max(last_over_time(job:erlmcp_request_errors_per_request:ratio_rate30d{{{SERVICE}}}[15m]))"
SLOW_30D = f"max(last_over_time(job:erlmcp_slow_requests_per_request:ratio_rate30d{{{SERVICE}}}[15m]))"
BUDGET = f"min(last_over_time(job:erlmcp_error_budget_remaining:ratio30d{{{SERVICE}}}[15m]))"

FIRED = f'ALERTS{{alertstate="firing", alertname!~"Watchdog|.*Watchdog|ErlmcpEscalated", {STACK}}}'


def _named(uptime: str, errors: str, latency: str) -> str:
    """One row for each promise."""
    named = (
        f'label_replace({expr}, "promise", "{name}", "", "")'
        for name, expr in (("Answers", uptime), ("Without error", errors), ("Within 100 ms", latency))
    )
    return " or ".join(named)


def _compliance() -> Panel:
    kept_uptime, kept_errors, kept_latency = UPTIME % "30d", f"(1 - {ERRORS_30D})", f"(1 - {SLOW_30D})"
    uptime, errors, latency = (
        "max(erlmcp:uptime:objective)",
        "(1 - max(erlmcp:request_errors:objective))",
        "(1 - max(erlmcp:request_latency:objective))",
    )

    def left(kept: str, promised: str) -> str:
        return f"(1 - (1 - {kept}) / (1 - {promised}))"

    return listing(
        "Promises",
        "Each promise of the SLA: what was promised, what was kept in the last hour and in the last 30 days, and how "
        "much of the 30 days' budget is left. For the whole service.",
        [
            rows(_named(uptime, errors, latency)),
            rows(_named(UPTIME % "1h", f"(1 - {ERRORS % '1h'})", f"(1 - {SLOW % '1h'})")),
            rows(_named(kept_uptime, kept_errors, kept_latency)),
            rows(
                _named(
                    f"({kept_uptime} >= bool {uptime})",
                    f"({kept_errors} >= bool {errors})",
                    f"({kept_latency} >= bool {latency})",
                )
            ),
            rows(_named(left(kept_uptime, uptime), left(kept_errors, errors), left(kept_latency, latency))),
        ],
        [
            Column("promise", "Promise"),
            Column("Value #A", "Promised", unit="percentunit", width=95),
            Column("Value #B", "Last hour", unit="percentunit", decimals=3, width=100),
            Column("Value #C", "30 days", unit="percentunit", decimals=3, width=100),
            Column(
                "Value #D",
                "Kept",
                width=90,
                mappings={"1": ("KEPT", levels.GREEN), "0": ("BROKEN", levels.RED)},
            ),
            Column("Value #E", "Budget left", unit="percentunit", decimals=0, width=110, steps=levels.budget()),
        ],
    )


def _uptime(window: str, shown: str) -> Panel:
    return figure(
        f"Uptime {shown}",
        f"The part of the last {shown} in which at least one instance answered its health probe. For the whole service.",
        now(UPTIME % window),
        "percentunit",
        levels.kept(levels.UPTIME_OBJECTIVE),
        decimals=2,
    )


def _incidents() -> Panel:
    bounded = "alertname, priority, team"
    moments = f"(max by ({bounded}) ({FIRED}))[$__range:30s]"
    return listing(
        "Incidents",
        "Alerts that fired in this time range: how long, counted in half minutes, and when last. The name opens the "
        "runbook.",
        [
            rows(f"30 * count_over_time({moments})"),
            rows(f"1000 * max_over_time(timestamp(max by ({bounded}) ({FIRED}))[$__range:30s])"),
        ],
        [
            *shared.alert_columns(),
            Column("team", "Team", width=100),
            Column("Value #A", "Fired for", unit="s", decimals=0, width=110),
            Column("Value #B", "Last seen", unit="dateTimeAsIso", width=170),
        ],
        sort=("Priority", False),
        no_value="No alert fired in this time range.",
        links=[link("Alertmanager", "/alerting/groups?alertmanager=Alertmanager")],
    )


def board() -> Board:
    """The dashboard."""
    board = Board(
        names.SLA,
        "erlmcp / SLA",
        "What was promised, what was kept, how much of the error budget is left, what outages cost.",
        "now-24h",
        "1m",
    )
    board.line(
        6,
        (_compliance(), 16),
        (
            figure(
                "Error budget left",
                "Of the errors that 30 days may have. Nought: all are used up; below: the promise is broken. For the "
                "whole service.",
                now(BUDGET),
                "percentunit",
                levels.budget(),
                decimals=0,
            ),
            4,
        ),
        (
            figure(
                "Cost of downtime",
                "What outages of the last 30 days have cost, at the rate of erlmcp:downtime_cost_per_hour:amount (US "
                "dollars; ../prometheus/recording_rules/erlmcp-objectives.yml). For the whole service.",
                now(f"sum(environment:erlmcp_downtime_cost:sum30d{{{ENVIRONMENT}}})"),
                "currencyUSD",
                levels.any_is_odd(),
                decimals=0,
            ),
            4,
        ),
    )

    board.row("Uptime")
    board.line(
        5,
        (_uptime("1d", "1 day"), 4),
        (_uptime("7d", "7 days"), 4),
        (_uptime("30d", "30 days"), 4),
        (
            graph(
                "Answering",
                "1 while at least one instance answers its health probe, 0 while none does. For the whole service.",
                [series(f"environment:erlmcp_up:max{{{ENVIRONMENT}}}", "{{environment}}")],
                "none",
                maximum=1,
                decimals=0,
                fill=30,
                step=True,
                colors={".*": "green"},
            ),
            12,
        ),
    )

    board.row("Response time")
    board.line(
        8,
        graph(
            "P99 against the promise",
            "99 of 100 requests must take less than 100 ms. For the whole service.",
            [
                series(f"max(job:erlmcp_request_duration_seconds:p99_rate5m{{{SERVICE}}})", "P99"),
                series(f"max(job:erlmcp_request_duration_seconds:p95_rate5m{{{SERVICE}}})", "P95"),
                series(f"max(job:erlmcp_request_duration_seconds:p50_rate5m{{{SERVICE}}})", "P50"),
            ],
            "s",
            steps=levels.above(levels.P99_LATENCY_SECONDS),
            colors={"P99": "red", "P95": "orange", "P50": "green"},
            fill=0,
            links=[to_dashboard("Performance", names.PERFORMANCE)],
        ),
        graph(
            "Requests above 100 ms",
            "As a part of all, over five minutes, an hour and 30 days; the dashed line is what is allowed. For the whole "
            "service.",
            [
                series(SLOW % "5m", "5 minutes"),
                series(SLOW % "1h", "1 hour"),
                series(SLOW_30D, "30 days"),
                series("max(erlmcp:request_latency:objective)", "allowed"),
            ],
            "percentunit",
            dashed="allowed",
            colors={"allowed": "red"},
            fill=0,
        ),
        graph(
            "Apdex",
            "1: all answers within 100 ms; answers within 400 ms count half. 0.94 and above is excellent, below 0.7 "
            "poor. For the whole service.",
            [series(f"min(job:erlmcp_request_apdex:ratio_rate5m{{{SERVICE}}})", "Apdex")],
            "short",
            steps=levels.apdex(),
            maximum=1,
            decimals=2,
            colors={"Apdex": "blue"},
            fill=0,
        ),
    )

    board.row("Error budget")
    board.line(
        8,
        graph(
            "Error budget over time",
            "Of the errors that 30 days may have. For the whole service.",
            [series(BUDGET, "left")],
            "percentunit",
            steps=[(None, levels.RED), (0, levels.GREEN)],
            minimum=None,
            soft_maximum=1,
            colors={"left": "blue"},
        ),
        graph(
            "Burn rate",
            "How fast the error budget is used: at 1 it lasts 30 days, at 6 five days, at 14.4 two. For the whole "
            "service.",
            [
                series(f"{ERRORS % window} / on () max(erlmcp:request_errors:objective)", shown)
                for window, shown in (("5m", "5 minutes"), ("1h", "1 hour"), ("6h", "6 hours"), ("3d", "3 days"))
            ],
            "short",
            steps=levels.burn_rate(),
            soft_maximum=15,
            fill=0,
        ),
        graph(
            "Error rate",
            "Requests that failed, as a part of all, over several windows; the dashed line is what is allowed. For the "
            "whole service.",
            [
                series(ERRORS % "5m", "5 minutes"),
                series(ERRORS % "1h", "1 hour"),
                series(ERRORS_30D, "30 days"),
                series("max(erlmcp:request_errors:objective)", "allowed"),
            ],
            "percentunit",
            dashed="allowed",
            colors={"allowed": "red"},
            fill=0,
        ),
    )

    board.row("Financial impact")
    board.line(
        6,
        (
            figure(
                "Downtime in 30 days",
                "Time in which no instance answered. 99.9 % allows 43 minutes. For the whole service.",
                now(f"sum(environment:erlmcp_downtime_seconds:sum30d{{{ENVIRONMENT}}})"),
                "s",
                [
                    (None, levels.GREEN),
                    (1, levels.YELLOW),
                    (round(DAYS * 86400 * (1 - levels.UPTIME_OBJECTIVE)), levels.RED),
                ],
            ),
            6,
        ),
        (
            figure(
                "An hour costs",
                "What an hour without the service costs, as it was entered; change it in "
                "../prometheus/recording_rules/erlmcp-objectives.yml.",
                now("max(erlmcp:downtime_cost_per_hour:amount)"),
                "currencyUSD",
                levels.neutral(),
                decimals=0,
                filled=False,
            ),
            6,
        ),
        (
            graph(
                "Cost of downtime, 30 days",
                "What outages of the 30 days before each moment have cost. For the whole service.",
                [series(f"sum(environment:erlmcp_downtime_cost:sum30d{{{ENVIRONMENT}}})", "cost")],
                "currencyUSD",
                colors={"cost": "orange"},
                fill=30,
            ),
            12,
        ),
    )

    board.row("Incidents")
    board.line(
        9,
        (
            graph(
                "Alerts that fire",
                "How many alerts fire at each moment, by priority.",
                [
                    series(
                        f'count by (priority) ({FIRED}) or on () label_replace(vector(0), "priority", "none", "", "")',
                        "{{priority}}",
                    )
                ],
                "short",
                stacked=True,
                bars=True,
                decimals=0,
                colors={"P0": "dark-red", "P1": "red", "P2": "orange", "P3": levels.YELLOW, "none": "green"},
            ),
            12,
        ),
        (_incidents(), 12),
    )
    return board
