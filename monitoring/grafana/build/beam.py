"""BEAM: the virtual machine of each node, and the library that measures it."""

import names
import shared
import thresholds as levels
from frame import Board
from names import INSTANCE
from panels import Column, Panel, bars, figure, graph, listing, to_dashboard
from queries import now, rows, series

RATE = "[$__rate_interval]"
NODE = "{{instance}}"


def _rate(metric: str, by: str = "instance", more: str = "") -> str:
    return f"sum by ({by}) (rate({metric}{{{INSTANCE}{more}}}{RATE}))"


def _limit(name: str, ratio: str) -> Panel:
    return graph(
        name,
        f"Of the limit of {name.lower()}; at 100 % the node cannot make another. Lines at 70 and 90 %.",
        [series(f"{ratio}{{{INSTANCE}}}", NODE)],
        "percentunit",
        steps=levels.above(levels.SATURATION),
        soft_maximum=1,
    )


def _nodes() -> Panel:
    return listing(
        "Nodes",
        "Each node: what it runs and how much of it there is.",
        [
            rows(f"max by (instance, otp, version) (erlmcp_build_info{{{INSTANCE}}})"),
            rows(f"max by (instance) (process_uptime_seconds{{{INSTANCE}}})"),
            rows(f"max by (instance) (erlang_vm_schedulers_online{{{INSTANCE}}})"),
            rows(f"max by (instance) (erlang_vm_processes{{{INSTANCE}}})"),
            rows(f"max by (instance) (erlang_vm_ports{{{INSTANCE}}})"),
            rows(f"max by (instance) (erlang_vm_memory_ets_tables{{{INSTANCE}}})"),
            rows(f"sum by (instance) (erlang_vm_memory_bytes{{{INSTANCE}}})"),
            rows(f"max by (instance) (process_resident_memory_bytes{{{INSTANCE}}})"),
        ],
        [
            Column("instance", "Instance"),
            Column("otp", "OTP", width=60),
            Column("version", "Library", width=75),
            Column("Value #B", "Running for", unit="s", decimals=0, width=105),
            Column("Value #C", "Schedulers", width=95, decimals=0),
            Column("Value #D", "Processes", unit="short", width=90),
            Column("Value #E", "Ports", width=60, decimals=0),
            Column("Value #F", "ETS", width=60, decimals=0),
            Column("Value #G", "VM memory", unit="bytes", decimals=0, width=100),
            Column("Value #H", "RSS", unit="bytes", decimals=0, width=90),
        ],
        hide=["Value #A"],
        sort=("Instance", False),
    )


def _memory(board: Board) -> None:
    board.row("Memory")
    board.line(
        8,
        graph(
            "Memory by kind",
            "What the VM has allocated, all chosen nodes together.",
            [
                series(
                    f'sum(erlang_vm_memory_processes_bytes{{{INSTANCE}, usage="used"}})',
                    "processes",
                ),
                series(f"sum by (usage) (erlang_vm_memory_system_bytes{{{INSTANCE}}})", "{{usage}}"),
            ],
            "bytes",
            stacked=True,
        ),
        graph(
            "Resident memory",
            "What each node has from the operating system, and what its VM has allocated (dashed). A gap that grows is "
            "fragmentation.",
            [
                series(f"sum by (instance) (process_resident_memory_bytes{{{INSTANCE}}})", NODE),
                series(f"sum by (instance) (erlang_vm_memory_bytes{{{INSTANCE}}})", "allocated {{instance}}"),
            ],
            "bytes",
            dashed="allocated.*",
        ),
        graph(
            "Allocators: used part of carriers",
            "Bytes in blocks as a part of the carriers that hold them, for each allocator; low and large is "
            "fragmentation. All chosen nodes together.",
            [
                series(
                    f'sum by (alloc) (erlang_vm_allocators{{{INSTANCE}, usage="blocks_size"}}) / '
                    f'(sum by (alloc) (erlang_vm_allocators{{{INSTANCE}, usage="carriers_size"}}) > 0)',
                    "{{alloc}}",
                )
            ],
            "percentunit",
            maximum=1,
            fill=0,
            table_legend=True,
        ),
    )
    board.line(
        7,
        graph(
            "Allocators: carriers",
            "Memory that allocators hold. All chosen nodes together.",
            [series(f'sum by (alloc) (erlang_vm_allocators{{{INSTANCE}, usage="carriers_size"}})', "{{alloc}}")],
            "bytes",
            stacked=True,
            table_legend=True,
        ),
        graph(
            "Garbage collection",
            "Collections a second (left) and bytes that they free a second (right).",
            [
                series(
                    _rate("erlang_vm_statistics_garbage_collection_number_of_gcs_total"), "collections {{instance}}"
                ),
                series(_rate("erlang_vm_statistics_garbage_collection_bytes_reclaimed_total"), "freed {{instance}}"),
            ],
            "cps",
            right="freed.*",
            right_unit="Bps",
            fill=0,
        ),
    )


def _schedulers(board: Board) -> None:
    board.row("Schedulers")
    board.line(
        7,
        graph(
            "CPU",
            "CPU time of each node, of the cores that its VM may use. Lines at 70 and 90 % are the levels of the alerts.",
            [series(f"instance:erlmcp_cpu:ratio_rate5m{{{INSTANCE}}}", NODE)],
            "percentunit",
            steps=levels.above(levels.CPU),
            maximum=1,
        ),
        graph(
            "Run queues",
            "Processes and ports that are ready and wait: for a scheduler, and for the dirty ones. All chosen nodes "
            "together.",
            [
                series(f"sum(erlang_vm_statistics_run_queues_length{{{INSTANCE}}})", "normal"),
                series(f"sum(erlang_vm_statistics_dirty_cpu_run_queue_length{{{INSTANCE}}})", "dirty CPU"),
                series(f"sum(erlang_vm_statistics_dirty_io_run_queue_length{{{INSTANCE}}})", "dirty I/O"),
            ],
            "short",
        ),
        graph(
            "Reductions and context switches",
            "Work done a second (left), processes switched a second (right).",
            [
                series(_rate("erlang_vm_statistics_reductions_total"), "reductions {{instance}}"),
                series(_rate("erlang_vm_statistics_context_switches_total"), "switches {{instance}}"),
            ],
            "cps",
            right="switches.*",
            right_unit="cps",
            fill=0,
        ),
        graph(
            "Microstate accounting",
            "What schedulers do, as a part of their time; empty unless the collector msacc is on. All chosen nodes "
            "together.",
            [
                series(
                    f'sum(rate(erlang_vm_msacc_{state}_seconds_total{{{INSTANCE}, type="scheduler"}}{RATE}))'
                    f" / sum(erlang_vm_schedulers_online{{{INSTANCE}}})",
                    state,
                )
                for state in ("emulator", "gc", "port", "check_io", "aux", "other", "sleep")
            ],
            "percentunit",
            stacked=True,
            maximum=1,
            no_value="The collector msacc is off.",
        ),
    )


def _io(board: Board) -> None:
    board.row("I/O and distribution")
    board.line(
        7,
        graph(
            "I/O",
            "Bytes a second through ports, in and out. All chosen nodes together.",
            [
                series(f"sum(rate(erlang_vm_statistics_bytes_received_total{{{INSTANCE}}}{RATE}))", "received"),
                series(f"sum(rate(erlang_vm_statistics_bytes_output_total{{{INSTANCE}}}{RATE}))", "sent"),
            ],
            "Bps",
        ),
        graph(
            "Distribution: connections",
            "State of each connection to another node: 3 is up, 2 and 1 are being set up.",
            [series(f"max by (instance, peer) (erlang_vm_dist_node_state{{{INSTANCE}}})", "{{instance}} to {{peer}}")],
            "none",
            maximum=3,
            decimals=0,
            no_value="No other node is connected.",
        ),
        graph(
            "Distribution: bytes",
            "Bytes a second to and from each other node.",
            [
                series(f"sum by (peer) (rate(erlang_vm_dist_recv_bytes{{{INSTANCE}}}{RATE}))", "from {{peer}}"),
                series(f"sum by (peer) (rate(erlang_vm_dist_send_bytes{{{INSTANCE}}}{RATE}))", "to {{peer}}"),
            ],
            "Bps",
            no_value="No other node is connected.",
        ),
        graph(
            "Distribution: queued",
            "Bytes that wait to be sent to each other node; senders are suspended above the busy limit (+zdbbl).",
            [series(f"max by (peer) (erlang_vm_dist_node_queue_size_bytes{{{INSTANCE}}})", "{{peer}}")],
            "bytes",
            no_value="No other node is connected.",
        ),
    )


def _library(board: Board) -> None:
    board.row("The library itself")
    board.line(
        7,
        graph(
            "Series",
            "Metric series held, of the limit of the node. Beyond it new series go into one overflow series.",
            [series(f"instance:erlmcp_metrics_series:ratio{{{INSTANCE}}}", NODE)],
            "percentunit",
            steps=levels.above(levels.SATURATION),
            soft_maximum=1,
        ),
        graph(
            "Refused and overflowed samples",
            "Samples a second that were refused, by reason, or went into an overflow series. Nought is right.",
            [
                series(f"sum(rate(erlmcp_metrics_rejected_samples_total{{{INSTANCE}}}{RATE}))", "refused"),
                series(f"sum(rate(erlmcp_metrics_overflowed_samples_total{{{INSTANCE}}}{RATE}))", "overflowed"),
                series(_rate("erlmcp_metrics_rejected_samples_total", "reason") + " > 0", "{{reason}}"),
            ],
            "cps",
            soft_maximum=1,
        ),
        graph(
            "Export queue",
            "Records that wait to be exported, of what the queue holds.",
            [series(f"instance_signal:erlmcp_otel_queue:ratio{{{INSTANCE}}}", "{{signal}} {{instance}}")],
            "percentunit",
            steps=levels.above(levels.SATURATION),
            soft_maximum=1,
        ),
        graph(
            "Dropped records",
            "Spans and log records given up, a second, by reason. Nought is right.",
            [
                series(f"sum(rate(erlmcp_otel_records_dropped_total{{{INSTANCE}}}{RATE}))", "from the queue"),
                series(f"sum(rate(erlmcp_otel_spans_dropped_total{{{INSTANCE}}}{RATE}))", "before the queue"),
                series(_rate("erlmcp_otel_records_dropped_total", "signal, reason") + " > 0", "{{signal}} {{reason}}"),
            ],
            "cps",
            soft_maximum=1,
        ),
    )
    board.line(
        7,
        graph(
            "Spans",
            "Spans recorded, sampled out and exported, a second.",
            [
                series(f"sum(rate(erlmcp_otel_spans_recorded_total{{{INSTANCE}}}{RATE}))", "recorded"),
                series(f"sum(rate(erlmcp_otel_spans_sampled_out_total{{{INSTANCE}}}{RATE}))", "sampled out"),
                series(
                    f'sum(rate(erlmcp_otel_records_exported_total{{{INSTANCE}, signal="traces"}}{RATE}))',
                    "exported",
                ),
            ],
            "cps",
        ),
        graph(
            "Export requests",
            "Requests a second to the OTLP endpoint, by outcome. None where no endpoint is set.",
            [
                series(
                    f"sum by (outcome) (rate(erlmcp_otel_export_requests_total{{{INSTANCE}}}{RATE}))",
                    "{{outcome}}",
                )
            ],
            "reqps",
        ),
        graph(
            "Scrapes",
            "How long the mean scrape takes (left), and how old the VM's figures in it are (right).",
            [
                series(
                    f"sum by (instance) (rate(erlmcp_scrape_duration_seconds_sum{{{INSTANCE}}}{RATE})) / "
                    f"(sum by (instance) (rate(erlmcp_scrape_duration_seconds_count{{{INSTANCE}}}{RATE})) > 0)",
                    "scrape {{instance}}",
                ),
                series(f"max by (instance) (erlmcp_vm_metrics_age_seconds{{{INSTANCE}}})", "age {{instance}}"),
            ],
            "s",
            right="age.*",
            right_unit="s",
        ),
        graph(
            "Memory of the library",
            "Memory for series and their cells.",
            [series(f"sum by (instance) (erlmcp_metrics_memory_bytes{{{INSTANCE}}})", NODE)],
            "bytes",
        ),
    )


def board() -> Board:
    """The dashboard."""
    board = Board(
        names.BEAM,
        "erlmcp / BEAM",
        "The Erlang virtual machine of each node: memory, limits, schedulers, I/O; and the library that measures it.",
        "now-1h",
        "30s",
    )
    overview = [to_dashboard("Overview", names.OVERVIEW)]
    board.line(
        7,
        (_nodes(), 14),
        (
            bars(
                "Limits",
                "How much of each limit of the VM is used, the fullest node.",
                [
                    *shared.limits_of_nodes(),
                ],
                "percentunit",
                levels.above(levels.SATURATION),
                maximum=1,
                decimals=1,
            ),
            6,
        ),
        (
            figure(
                "Stale VM figures",
                "Nodes whose VM did not answer in time: the figures below are its last ones.",
                now(f"sum(erlmcp_vm_metrics_stale{{{INSTANCE}}})"),
                "short",
                levels.any_is_bad(),
                decimals=0,
                links=overview,
            ),
            4,
        ),
    )
    _memory(board)
    board.row("Limits")
    board.line(
        6,
        _limit("Processes", "instance:erlang_vm_processes:ratio"),
        _limit("Ports", "instance:erlang_vm_ports:ratio"),
        _limit("Atoms", "instance:erlang_vm_atoms:ratio"),
        _limit("ETS tables", "instance:erlang_vm_ets_tables:ratio"),
    )
    _schedulers(board)
    _io(board)
    _library(board)
    return board
