"""Performance: how fast, how much, where it waits, what is slow, and how it was before."""

import names
import shared
import thresholds as levels
from frame import Board
from names import INSTANCE, SERVICE, STACK
from panels import Column, Panel, figure, graph, heat, listing, to_dashboard
from queries import buckets, now, rows, series

RATE = "[$__rate_interval]"
P99 = levels.above(levels.P99_LATENCY_SECONDS)


def _percentile(part: str, title: str, judged: bool) -> Panel:
    over = f"rate(erlmcp_request_duration_seconds_bucket{{{INSTANCE}}}{RATE})"
    return figure(
        title,
        "Of the requests to the chosen instances.",
        now(f"histogram_quantile({part}, sum by (le) ({over}))"),
        "s",
        P99 if judged else levels.neutral(),
        filled=judged,
    )


def _slowest(title: str, description: str, metric: str, label: str, shown: str) -> Panel:
    """Rate, mean and P99 by a label, what takes most time first."""

    def rate(part: str, by: str) -> str:
        return f"sum by ({by}) (rate({metric}_{part}{{{INSTANCE}}}[$__range]))"

    seconds, count = rate("sum", label), rate("count", label)
    return listing(
        title,
        description + " Busy: seconds spent in it each second, the sum over all. Over this time range.",
        [
            rows(count),
            rows(f"{seconds} / ({count} > 0)"),
            rows(f"histogram_quantile(0.99, {rate('bucket', label + ', le')})"),
            rows(seconds),
        ],
        [
            Column(label, shown),
            Column("Value #A", "Rate", unit="cps", decimals=1, width=90),
            Column("Value #B", "Mean", unit="s", width=85),
            Column("Value #C", "P99", unit="s", width=85, steps=P99),
            Column("Value #D", "Busy", unit="percentunit", decimals=0, width=80),
        ],
        sort=("P99", True),
    )


def _then(title: str, description: str, metric: str, aggregate: str, unit: str, **looks: object) -> Panel:
    """A recorded figure beside itself a day and a week ago."""
    now_ = f"{aggregate}({metric}{{{SERVICE}}})"
    return graph(
        title,
        description + " Now, a day ago, a week ago. For the whole service.",
        [
            series(now_, "now"),
            series(f"{aggregate}({metric}{{{SERVICE}}} offset 1d)", "a day ago"),
            series(f"{aggregate}({metric}{{{SERVICE}}} offset 1w)", "a week ago"),
        ],
        unit,
        dashed=".*ago",
        colors={"^now$": "green", "a day ago": "blue", "a week ago": "purple"},
        since="24h",
        **looks,  # type: ignore[arg-type]
    )


def board() -> Board:
    """The dashboard."""
    board = Board(
        names.PERFORMANCE,
        "erlmcp / Performance",
        "How fast erlmcp answers, how much it carries, where requests wait, and what is slow.",
        "now-1h",
        "30s",
    )
    board.line(
        4,
        _percentile("0.50", "P50", False),
        _percentile("0.95", "P95", False),
        _percentile("0.99", "P99", True),
        figure(
            "Requests",
            "Requests a second to the chosen instances.",
            now(f"sum(rate(erlmcp_requests_total{{{INSTANCE}}}{RATE}))"),
            "reqps",
            levels.neutral(),
            filled=False,
        ),
        figure(
            "Error rate",
            "Requests to the chosen instances that failed.",
            now(
                f'(sum(rate(erlmcp_requests_total{{{INSTANCE}, status="error"}}{RATE})) or vector(0))'
                f" / sum(rate(erlmcp_requests_total{{{INSTANCE}}}{RATE}))"
            ),
            "percentunit",
            levels.above(levels.ERROR_RATE),
            decimals=2,
        ),
        figure(
            "In flight",
            "Requests that are being answered.",
            now(f"sum(erlmcp_requests_in_flight{{{INSTANCE}}})"),
            "short",
            levels.neutral(),
            filled=False,
        ),
    )

    board.row("Latency")
    board.line(
        9,
        shared.latency("Latency"),
        heat(
            "Latency, every request",
            "Requests a second by how long they took. Two bands are two kinds of requests, which percentiles hide.",
            buckets(f"sum by (le) (rate(erlmcp_request_duration_seconds_bucket{{{INSTANCE}}}{RATE}))"),
            "s",
        ),
    )
    board.line(
        8,
        graph(
            "P99 by method",
            "99 of 100 requests of a method take no longer. For the whole service.",
            [
                series(
                    f"max by (method) (job_method:erlmcp_request_duration_seconds:p99_rate5m{{{SERVICE}}})",
                    "{{method}}",
                )
            ],
            "s",
            steps=P99,
            fill=0,
            table_legend=True,
        ),
        graph(
            "P99 by instance",
            "One line above the others is a node that is slow by itself.",
            [series(f"instance:erlmcp_request_duration_seconds:p99_rate5m{{{INSTANCE}}}", "{{instance}}")],
            "s",
            steps=P99,
            fill=0,
            table_legend=True,
        ),
    )

    board.row("Throughput")
    board.line(
        8,
        graph(
            "Requests by method",
            "Requests a second.",
            [series(f"sum by (method) (rate(erlmcp_requests_total{{{INSTANCE}}}{RATE}))", "{{method}}")],
            "reqps",
            stacked=True,
            table_legend=True,
        ),
        graph(
            "Tool executions",
            "Executions a second by tool.",
            [series(f"sum by (tool) (rate(erlmcp_tool_executions_total{{{INSTANCE}}}{RATE}))", "{{tool}}")],
            "ops",
            stacked=True,
            table_legend=True,
        ),
    )
    board.line(
        7,
        graph(
            "Messages by transport",
            "Messages a second, both directions.",
            [series(f"sum by (transport) (rate(erlmcp_messages_total{{{INSTANCE}}}{RATE}))", "{{transport}}")],
            "mps",
            stacked=True,
        ),
        graph(
            "Bytes",
            "Bytes a second that transports carry, in and out.",
            [
                series(f"sum by (direction) (rate(erlmcp_transport_bytes_total{{{INSTANCE}}}{RATE}))", "{{direction}}"),
            ],
            "Bps",
        ),
        graph(
            "Prompt tokens",
            "Tokens a second by model.",
            [series(f"sum by (model) (rate(erlmcp_prompt_tokens_total{{{INSTANCE}}}{RATE}))", "{{model}}")],
            "cps",
        ),
    )

    board.row("Queues and connections")
    board.line(
        7,
        graph(
            "Queue depth",
            "Requests that wait for a session, the deepest queue of each name, and requests in flight.",
            [
                series(f"max by (queue) (erlmcp_session_queue_depth{{{INSTANCE}}})", "queue {{queue}}"),
                series(f"sum(erlmcp_requests_in_flight{{{INSTANCE}}})", "in flight"),
            ],
            "short",
        ),
        graph(
            "Connections",
            "Open connections by transport.",
            [series(f"sum by (transport) (erlmcp_connections_active{{{INSTANCE}}})", "{{transport}}")],
            "short",
            stacked=True,
        ),
        graph(
            "Export queue",
            "How full the queue of spans and log records is; what does not fit is dropped and counted.",
            [series(f"instance_signal:erlmcp_otel_queue:ratio{{{INSTANCE}}}", "{{signal}} {{instance}}")],
            "percentunit",
            steps=levels.above(levels.SATURATION),
            soft_maximum=1,
        ),
    )

    board.row("Errors")
    board.line(
        8,
        graph(
            "Errors by type",
            "Errors a second.",
            [series(f"sum by (error_type) (rate(erlmcp_errors_total{{{INSTANCE}}}{RATE})) > 0", "{{error_type}}")],
            "cps",
            stacked=True,
            no_value="No error in this time range.",
        ),
        graph(
            "Error rate by method",
            "Requests of a method that failed, as a part of all; only methods with errors. For the whole service.",
            [
                series(
                    f"max by (method) (job_method:erlmcp_request_errors_per_request:ratio_rate5m{{{SERVICE}}}) > 0",
                    "{{method}}",
                )
            ],
            "percentunit",
            steps=levels.above(levels.ERROR_RATE),
            fill=0,
            no_value="No error in this time range.",
        ),
        graph(
            "Connections opened and failed",
            "Connections a second, and those that failed by transport and type.",
            [
                series(f"sum(rate(erlmcp_connections_total{{{INSTANCE}}}{RATE}))", "opened"),
                series(
                    f"sum by (transport, error_type) (rate(erlmcp_connection_errors_total{{{INSTANCE}}}{RATE})) > 0",
                    "{{transport}} {{error_type}}",
                ),
            ],
            "cps",
            fill=0,
        ),
    )

    board.row("Bottlenecks")
    board.line(
        9,
        _slowest("Slowest methods", "What clients wait for.", "erlmcp_request_duration_seconds", "method", "Method"),
        _slowest("Slowest tools", "What tools cost.", "erlmcp_tool_execution_duration_seconds", "tool", "Tool"),
        _slowest(
            "Slowest registry operations",
            "What the registry costs.",
            "erlmcp_registry_operation_duration_seconds",
            "operation",
            "Operation",
        ),
    )
    board.line(
        7,
        graph(
            "Run queue",
            "Processes that are ready and wait for a scheduler, for each scheduler. Above 1 for long: too little CPU.",
            [series(f"instance:erlang_vm_run_queue_per_scheduler:ratio{{{INSTANCE}}}", "{{instance}}")],
            "short",
            steps=[(None, levels.GREEN), (1, levels.YELLOW)],
            soft_maximum=1,
            links=[to_dashboard("BEAM", names.BEAM)],
        ),
        graph(
            "CPU",
            "CPU time of each instance, of the cores that its VM may use, and of its host.",
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
            "Garbage collection",
            "Collections a second (left) and bytes that they free a second (right). All chosen nodes together.",
            [
                series(
                    f"sum(rate(erlang_vm_statistics_garbage_collection_number_of_gcs_total{{{INSTANCE}}}{RATE}))",
                    "collections",
                ),
                series(
                    f"sum(rate(erlang_vm_statistics_garbage_collection_bytes_reclaimed_total{{{INSTANCE}}}{RATE}))",
                    "freed",
                ),
            ],
            "cps",
            right="freed.*",
            right_unit="Bps",
            fill=0,
        ),
        graph(
            "Registry cache",
            "Look-ups that the cache answered, as a part of all. For the whole service.",
            [series(f"min(job:erlmcp_registry_cache_hits:ratio_rate5m{{{SERVICE}}})", "hits")],
            "percentunit",
            maximum=1,
        ),
    )

    board.row("History")
    board.line(
        7,
        _then("Requests, before", "Requests a second.", "job:erlmcp_requests:rate5m", "sum", "reqps", fill=0),
        _then(
            "P99, before",
            "99 of 100 requests take no longer.",
            "job:erlmcp_request_duration_seconds:p99_rate5m",
            "max",
            "s",
            steps=P99,
            fill=0,
        ),
        _then(
            "Error rate, before",
            "Requests that failed.",
            "job:erlmcp_request_errors_per_request:ratio_rate5m",
            "max",
            "percentunit",
            steps=levels.above(levels.ERROR_RATE),
            fill=0,
        ),
    )
    board.line(
        7,
        graph(
            "Thirty days",
            "Requests a second (left) and P99 (right), of the last thirty days. For the whole service.",
            [
                series(f"sum(job:erlmcp_requests:rate5m{{{SERVICE}}})", "requests"),
                series(f"max(job:erlmcp_request_duration_seconds:p99_rate5m{{{SERVICE}}})", "P99"),
            ],
            "reqps",
            right="P99",
            right_unit="s",
            since="30d",
            colors={"requests": "blue", "P99": "red"},
        ),
    )
    return board
