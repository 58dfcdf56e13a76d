"""What must be so in every scene: arrival, ways, loss, refusal.

A class that names its versions is a scene (guide_test.py, current_test.py).
"""

import gzip
import json
import os
import re
import signal
import time
import unittest
from pathlib import Path
from typing import Any, ClassVar

import names
import readers
import senders
import yaml
from namespace import MONITORING
from programs import NotHere
from scene import EXPORTED, LOG_FOLDER, SCRAPES, Scene, container, soon

SETTLE_SECONDS = 45
# What it adds by itself.
OF_LOKI_3 = {"service_name", "detected_level"}
# Of the library's own listener are figures in scrapes only.
OF_ERLMCP = re.compile(r"erlmcp_(?!http_|scrape)|erlang_vm_|process_")
TRACE_ID = re.compile(r"[0-9a-f]{32}")


def data_sources() -> dict[str, dict[str, Any]]:
    """Grafana's, by uid; $$ is a dollar there."""
    text = (MONITORING / "grafana/datasources/prometheus.yml").read_text(encoding="utf-8").replace("$$", "$")
    return {source["uid"]: source for source in yaml.safe_load(text)["datasources"]}


def written() -> list[str]:
    """The lines of the library's file and of those that it was, oldest first."""
    found: list[str] = []
    for path in sorted(LOG_FOLDER.glob("erlmcp.log*"), key=lambda one: len(one.name) * 1000 + _age(one), reverse=True):
        data = path.read_bytes()
        found += (gzip.decompress(data) if path.suffix == ".gz" else data).decode().splitlines()
    return found


def _age(path: Path) -> int:
    digits = re.findall(r"\d+", path.name)
    return int(digits[0]) if digits else 0


def whole(trace: str, count: int) -> list[dict[str, Any]]:
    """A trace in Jaeger, once so many spans are there: it shows them one after the other."""

    def found() -> list[dict[str, Any]] | None:
        spans = readers.trace(trace)
        return spans if len({span["spanID"] for span in spans}) >= count else None

    spans: list[dict[str, Any]] = soon(f"{count} spans of trace {trace}", found, SETTLE_SECONDS)
    return spans


class Cases(unittest.TestCase):
    """Run in the order of their names: later ones stop and kill what earlier ones need."""

    collector: ClassVar[str]
    loki: ClassVar[str]
    prometheus: ClassVar[str]
    scene: ClassVar[Scene]
    # Why there are no records by OTLP in Loki: of 2.9 a current Collector cannot make use.
    no_records: ClassVar[str] = ""

    @classmethod
    def setUpClass(cls) -> None:
        began = time.monotonic()
        try:
            cls.scene = Scene(collector=cls.collector, loki=cls.loki, prometheus=cls.prometheus)
        except NotHere as missing:
            raise unittest.SkipTest(str(missing)) from missing
        print(f"\nCollector {cls.collector}: started in {time.monotonic() - began:.0f} s", flush=True)

    @classmethod
    def tearDownClass(cls) -> None:
        cls.scene.stop()

    def with_records(self) -> None:
        """For a test of records by OTLP."""
        if self.no_records:
            self.skipTest(self.no_records)

    def tearDown(self) -> None:
        self.scene.look()

    # What arrives.

    def test_01_the_logs_of_containers(self) -> None:
        """Have the container's name and a level; those of others are not kept."""
        container("erlmcp-prometheus", "aaa", "ts=2026-01-01T00:00:00Z caller=main.go level=warn msg=slow")
        container("erlmcp-otel-collector", "bbb", '{"level":"error","ts":1.5,"msg":"Exporting failed"}')
        container("somebody-else", "ccc", "level=info msg=private")
        found = soon("two containers", lambda: (one := readers.lines('{job="containers"}')) and len(one) >= 2 and one)
        by_name = {line.labels["container"]: line for line in found}
        self.assertEqual(set(by_name), {"erlmcp-prometheus", "erlmcp-otel-collector"})
        labels = by_name["erlmcp-prometheus"].labels
        self.assertEqual(
            {name: value for name, value in labels.items() if name not in OF_LOKI_3},
            {"job": "containers", "container": "erlmcp-prometheus", "level": "warning", "stream": "stderr"},
        )
        self.assertEqual(by_name["erlmcp-otel-collector"].labels["level"], "error")
        self.assertIn("level=warn msg=slow", by_name["erlmcp-prometheus"].text)

    def test_02_a_span_by_otlp(self) -> None:
        """Of a sender in plain JSON."""
        trace = senders.new_id(16)
        self.assertEqual(senders.spans(trace, 3).status, 200)
        self.assertEqual(len(whole(trace, 3)), 3)

    def test_03_a_span_of_a_jaeger_client(self) -> None:
        """By the receiver for Jaeger's own protocol."""
        trace = senders.new_id(16)
        self.assertIn(senders.jaeger_span(trace).status, (200, 202))
        spans = soon("the trace in Jaeger", lambda: readers.trace(trace))
        self.assertEqual(spans[0]["operationName"], "legacy")

    def test_04_spans_of_the_demo(self) -> None:
        """With the conventions' attributes and the resource that the Collector completes."""
        found = soon("traces of erlmcp", lambda: readers.traces("erlmcp", limit=20))
        tags = [{tag["key"]: tag["value"] for tag in span["tags"]} for one in found for span in one["spans"]]
        self.assertTrue(any("mcp.method.name" in one for one in tags))
        processes = [process for one in found for process in one["processes"].values()]
        for process in processes:
            resource = {tag["key"]: tag["value"] for tag in process["tags"]}
            self.assertEqual(resource.get("deployment.environment"), "production")

    def test_05_lines_of_the_file(self) -> None:
        """With few labels, the event's time and the line as it was written."""
        found = soon("lines by Promtail", lambda: readers.lines('{job="erlmcp", filename!=""}', limit=500))
        for line in found:
            self.assertLessEqual(set(line.labels) - OF_LOKI_3, {"job", "app", "level", "filename"})
            self.assertEqual(line.labels["app"], "erlmcp")
            self.assertEqual(line.labels["level"], line.field("level"))
        self.assertLessEqual({line.text for line in found[:50]}, set(written()))

    def test_06_records_by_otlp(self) -> None:
        """Can be asked for as the lines of the file are."""
        self.with_records()
        trace = senders.new_id(16)
        self.assertEqual(senders.record("it broke", trace).status, 200)
        found = soon("the record", lambda: readers.lines(f'{{job="{senders.SERVICE}"}} |= "{trace}"'))
        fields = [found[0].field(key) for key in ("message", "level", "trace_id")]
        self.assertEqual(fields, ["it broke", "error", trace])
        query = f'{{job="{senders.SERVICE}"}} | json | level="error" | trace_id="{trace}"'
        self.assertEqual(len(readers.lines(query)), 1)
        demo = soon("records of the demo", lambda: readers.lines('{job="erlmcp", filename=""}', limit=500))
        self.assertTrue(all(line.field("trace_id") for line in demo))

    def test_07_targets(self) -> None:
        """Every job of prometheus.yml has a target that is up; Grafana is not among them (tests/grafana), long-term
        storage is not on (tests/storage)."""

        def all_up() -> list[tuple[str, str]] | None:
            active = self.scene.prometheus.get("targets")["activeTargets"]
            found = [(one["labels"]["job"], one["health"]) for one in active]
            return None if any(health == "unknown" for _, health in found) else found

        health = soon("the first scrape of every target", all_up, SETTLE_SECONDS)
        config = yaml.safe_load((MONITORING / "prometheus/prometheus.yml").read_text(encoding="utf-8"))
        jobs = {job["job_name"] for job in config["scrape_configs"]} - {"thanos", "victoria_metrics"}
        self.assertEqual({job for job, _ in health}, jobs)
        self.assertEqual([job for job, up in health if up != "up"], ["grafana"])

    def test_08_metrics_both_ways(self) -> None:
        """Scraped, and by OTLP through the Collector: the same names and labels, and no double count."""

        def both() -> tuple[float, float] | None:
            scraped = self.scene.prometheus.value('sum(erlmcp_requests_total{job="erlmcp"})')
            passed = self.scene.prometheus.value(
                'sum(erlmcp_requests_total{job="otel_collector_exported", exported_job="erlmcp"})'
            )
            return (scraped, passed) if scraped and passed else None

        scraped, passed = soon("the demo's requests", both, SETTLE_SECONDS)
        self.assertLess(abs(scraped - passed) / max(scraped, passed), 0.9)
        own = {name for name, _, _ in readers.samples("http://erlmcp:8080/metrics") if OF_ERLMCP.match(name)}
        soon("all names", lambda: not own - {name for name, _, _ in readers.samples(EXPORTED)})

    # The ways from one to the other, as Grafana goes them.

    def test_11_from_a_line_to_its_trace(self) -> None:
        """The derived field of Grafana's data source, on lines of both ways."""
        field = data_sources()["loki"]["jsonData"]["derivedFields"][0]
        self.assertEqual(field["datasourceUid"], "jaeger")
        ways = ['{job="erlmcp", filename!=""}', '{job="erlmcp", filename=""}']
        for query in ways[:1] if self.no_records else ways:
            with self.subTest(query):
                line = next(line for line in readers.lines(query, limit=500) if line.field("trace_id"))
                match = re.search(field["matcherRegex"], line.text)
                assert match is not None, line.text
                self.assertRegex(match[1], TRACE_ID)
                wanted = line.field("span_id")
                soon(
                    f"span {wanted} in its trace {match[1]}",
                    lambda one=match[1], wanted=wanted: wanted in [span["spanID"] for span in readers.trace(one)],
                )

    def test_12_from_an_exemplar_to_its_trace(self) -> None:
        """The dot on a panel of latencies: scraped exemplars, and those of the Collector."""
        destination = data_sources()["prometheus"]["jsonData"]["exemplarTraceIdDestinations"][0]
        now = time.time()
        for job in ("erlmcp", "otel_collector_exported"):
            with self.subTest(job):
                found = soon(
                    "an exemplar",
                    lambda job=job: self.scene.prometheus.exemplars(
                        f'erlmcp_request_duration_seconds_bucket{{job="{job}"}}', now - 600, now + 600
                    ),
                    SETTLE_SECONDS,
                )
                identifier = found[0]["exemplars"][-1]["labels"][destination["name"]]
                self.assertTrue(soon("its trace", lambda one=identifier: readers.trace(one)))

    def test_13_from_a_span_to_its_lines(self) -> None:
        """tracesToLogsV2."""
        query = data_sources()["jaeger"]["jsonData"]["tracesToLogsV2"]["query"]
        identifier = next(
            line.field("trace_id") for line in readers.lines('{job="erlmcp"}', limit=500) if line.field("trace_id")
        )
        found = readers.lines(query.replace("${__span.traceId}", identifier))
        self.assertTrue(found)
        self.assertEqual({line.field("trace_id") for line in found}, {identifier})

    def test_14_from_a_span_to_figures(self) -> None:
        """tracesToMetrics, with the tags that Grafana puts in."""
        settings = data_sources()["jaeger"]["jsonData"]["tracesToMetrics"]
        span = next(
            span
            for one in readers.traces("erlmcp", limit=50)
            for span in one["spans"]
            if any(tag["key"] == "mcp.method.name" for tag in span["tags"])
        )
        values = {tag["key"]: tag["value"] for tag in span["tags"]}
        # Without braces: https://grafana.com/docs/grafana/latest/datasources/jaeger/#trace-to-metrics
        tags = ", ".join(f'{tag["value"]}="{values[tag["key"]]}"' for tag in settings["tags"])
        for query in settings["queries"]:
            with self.subTest(query["name"]):
                text = query["query"].replace("$__tags", tags)
                soon(text, lambda text=text: self.scene.prometheus.get("query", query=text)["result"], SETTLE_SECONDS)

    def test_15_from_an_alert_to_lines_and_traces(self) -> None:
        """The queries that runbooks name find what the demo has logged."""
        soon("warnings", lambda: readers.lines('{job="erlmcp"} | json | level=~"warning|error|critical|alert|emerg"'))
        # Jaeger's search by tag, as on its page.
        soon("failed", lambda: readers.traces("erlmcp", tags=json.dumps({"error": "true"}), limit=5))

    # What must not be lost.

    def arrived(self) -> list[str]:
        """The lines that Promtail has brought."""
        return sorted(line.text for line in readers.lines('{job="erlmcp", filename!=""}'))

    def test_20_promtail_is_restarted(self) -> None:
        """It goes on where it was: each line once."""
        self.scene.services.again("promtail")
        time.sleep(2)
        demo = self.scene.demo
        assert demo is not None
        demo.stop()
        wanted = sorted(written())
        soon("the last line", lambda: len(self.arrived()) >= len(wanted))
        self.assertEqual(self.arrived(), wanted)

    def test_21_rotation(self) -> None:
        """The library's files are renamed under Promtail's hands: each line once."""
        demo = self.scene.demo
        assert demo is not None
        demo.change({"ERLMCP_LOG_FILE_MAX_BYTES": "65536", "ERLMCP_LOG_FILE_COUNT": "100", "DEMO_RATE": "120"})
        demo.start()
        soon("five rotations", lambda: (LOG_FOLDER / "erlmcp.log.5.gz").exists())
        demo.stop()
        self.scene.demo = None
        wanted = sorted(written())
        self.assertGreater(len(wanted), 1000)
        soon("the last line", lambda: len(self.arrived()) >= len(wanted))
        self.assertEqual(self.arrived(), wanted)

    def test_22_jaeger_is_away_and_the_collector_is_killed(self) -> None:
        """What was accepted is on the disk, and goes on when both are back."""
        self.scene.services.stop("jaeger")
        trace = senders.new_id(16)
        accepted = sum(50 for _ in range(20) if senders.spans(trace, 50).status == 200)
        self.assertEqual(accepted, 1000)
        collector = self.scene.services.running["otel-collector"]
        os.killpg(collector.process.pid, signal.SIGKILL)
        self.scene.services.again("otel-collector")
        accepted += sum(50 for _ in range(4) if senders.spans(trace, 50).status == 200)
        self.scene.services.again("jaeger")
        self.assertEqual(len({span["spanID"] for span in whole(trace, accepted)}), accepted)

    def test_23_a_kill_under_load(self) -> None:
        """Nothing is between the answer to the sender and the disk."""
        trace = senders.new_id(16)
        collector = self.scene.services.running["otel-collector"]
        accepted = sum(20 for _ in range(25) if senders.spans(trace, 20).status == 200)
        os.killpg(collector.process.pid, signal.SIGKILL)
        self.scene.services.again("otel-collector")
        self.assertEqual(len({span["spanID"] for span in whole(trace, accepted)}), accepted)

    def test_24_what_jaeger_has_outlives_it(self) -> None:
        """Badger's folder."""
        trace = senders.new_id(16)
        senders.spans(trace, 2)
        whole(trace, 2)
        self.scene.services.again("jaeger")
        self.assertEqual(len(whole(trace, 2)), 2)

    # What is refused is refused in sight.

    refusal: ClassVar[set[int]]

    def test_31_the_memory_limiter(self) -> None:
        """The sender is told, and the Collector counts."""
        low = Path("/tmp/low.yaml")
        low.write_text("processors: {memory_limiter: {limit_mib: 12, spike_limit_mib: 6}}\n", encoding="ascii")
        self.scene.instead(files=(low,))
        trace = senders.new_id(16)

        def refused() -> senders.Answer | None:
            answer = senders.spans(trace, 200, size=2000)
            return answer if answer.status != 200 else None

        answer = soon("a refusal", refused)
        self.assertIn(answer.status, self.refusal, answer)
        self.assertIn("memory", answer.body)
        soon("the count", lambda: self.scene.collected("otelcol_receiver_refused_spans"))

    def test_32_a_full_queue(self) -> None:
        """The sender is told, so that it keeps what it has; the queue's figures say so before."""
        small = Path("/tmp/small.yaml")
        small.write_text("exporters: {otlp/jaeger: {sending_queue: {queue_size: 4}}}\n", encoding="ascii")
        self.scene.services.stop("jaeger")
        self.scene.instead(files=(small,))
        trace = senders.new_id(16)
        answers = [senders.spans(trace, 10) for _ in range(20)]
        accepted = sum(10 for answer in answers if answer.status == 200)
        self.assertLess(accepted, 200)
        self.assertIn(answers[-1].status, self.refusal, answers[-1])
        self.assertEqual(self.scene.collected("otelcol_exporter_queue_capacity", exporter="otlp/jaeger"), 4)
        self.assertGreater(self.scene.collected("otelcol_exporter_enqueue_failed_spans", exporter="otlp/jaeger"), 0)
        self.scene.services.again("jaeger")
        self.assertEqual(len(whole(trace, accepted)), accepted)

    def test_33_what_loki_refuses(self) -> None:
        """A record of last month: both count it, and others go on."""
        self.with_records()
        exporter = {"0.87.0": "loki"}.get(self.collector, "otlphttp/loki")
        self.scene.as_shipped()
        self.assertEqual(senders.record("too late", senders.new_id(16), days=30).status, 200)
        soon("Loki's count", lambda: readers.total(SCRAPES["loki"], "loki_discarded_samples_total"))
        soon("the count", lambda: self.scene.collected("otelcol_exporter_send_failed_log_records", exporter=exporter))
        trace = senders.new_id(16)
        senders.record("in time", trace)
        soon("a later one", lambda: readers.lines(f'{{job="{senders.SERVICE}"}} |= "{trace}"'))

    # Options, in one run: they go together.

    def test_41_options(self) -> None:
        """span-metrics, tail-sampling and backend-otlp, whose backend is a second Collector."""
        from backend import Backend

        with Backend(self.collector) as backend:
            fast = Path("/tmp/fast.yaml")
            fast.write_text(
                "processors: {tail_sampling: {decision_wait: 1s}}\n"
                "connectors: {spanmetrics: {metrics_flush_interval: 1s}}\n"
                "exporters: {otlp/backend: {tls: {insecure: true}}}\n",
                encoding="ascii",
            )
            self.scene.instead(
                "span-metrics", "tail-sampling", "backend-otlp", files=(fast,), environment=backend.environment
            )
            failed, slow = senders.new_id(16), senders.new_id(16)
            senders.spans(failed, 1, error=True)
            senders.spans(slow, 1, milliseconds=900)
            others = [senders.new_id(16) for _ in range(100)]
            for one in others:
                self.assertEqual(senders.spans(one, 1).status, 200)
            senders.record("for the backend", failed)
            soon("the failed one", lambda: readers.trace(failed))
            soon("the slow one", lambda: readers.trace(slow))
            soon("the backend's spans", lambda: backend.accepted("spans") >= 102)
            soon("the backend's records", lambda: backend.accepted("log_records") >= 1)
            soon("some of the others", lambda: any(readers.trace(one) for one in others))
            time.sleep(2)
            kept = sum(1 for one in others if readers.trace(one))
            self.assertGreater(kept, 0)
            self.assertLess(kept, 40)
            mine = {"service_name": senders.SERVICE}
            soon("calls", lambda: readers.total(EXPORTED, "erlmcp_spans_calls", **mine) >= 102)
            self.assertEqual(readers.total(EXPORTED, "erlmcp_spans_calls", **mine), 102)
            errors = readers.total(EXPORTED, "erlmcp_spans_calls", status_code="STATUS_CODE_ERROR", **mine)
            self.assertEqual(errors, 1)
            self.assertGreater(
                readers.total(EXPORTED, "erlmcp_spans_duration_seconds_bucket", mcp_method_name="tools/call"), 0
            )

    def test_42_without_jaeger(self) -> None:
        """Traces end in the Collector, which says so; logs and metrics go on."""
        program = self.scene.instead("without-jaeger")
        self.assertEqual(senders.spans(senders.new_id(16), 7).status, 200)
        # "TracesExporter" and its count, or later "Traces" with the component debug.
        said = re.compile(r'"(?:name|otelcol\.component\.id)":"debug".*"spans":\s*7|"#spans":\s*7|"spans":\s*7')
        soon("the count in the log", lambda: said.search(program.tail(10_000_000)))
        self.assertGreaterEqual(self.scene.collected("otelcol_exporter_sent_spans", exporter="debug"), 7)
        self.scene.as_shipped()

    def test_51_names(self) -> None:
        """What tests/rules takes for emitted is in real scrapes."""
        for job in SCRAPES:
            # What Loki discards comes of records.
            if job == "loki" and self.no_records:
                continue
            with self.subTest(job):
                seen = self.scene.seen[job]
                listed = names.listed(job, self.collector)
                self.assertEqual({name for name in listed if name not in seen}, set())
                wrong = {name: labels - seen[name] for name, labels in listed.items() if labels - seen[name]}
                self.assertEqual(wrong, {})
