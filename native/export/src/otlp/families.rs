//! The exporter's counts as metric families.

use erlmcp_metrics::{Family, FamilyKind, Number};
use erlmcp_trace::{QueueStats, SpanStats};

use super::signal::{PerSignal, Signal};
use super::stats::{DropReason, ExporterStats, RequestOutcome, SignalStats};
use crate::family::{labelled, single};

/// The reason of records that found no room in the queue, which counts them
/// itself.
const QUEUE_FULL: &str = "queue_full";

/// The families that show what an exporter has counted, and the queues of those
/// signals that have one.
#[must_use]
pub fn families(stats: &ExporterStats, queues: &PerSignal<Option<QueueStats>>) -> Vec<Family> {
    let mut families = records(stats, queues);
    families.extend(queue(queues));
    families.extend(requests(stats));
    if stats.spool_capacity_bytes > 0 {
        families.extend(spool(stats));
    }
    families
}

/// The families that show what a tracer has counted.
#[must_use]
pub fn span_families(stats: &SpanStats) -> Vec<Family> {
    let dropped = [("too_many_open", stats.too_many_open), ("tail_full", stats.tail_full)];
    vec![
        single(
            "erlmcp_otel_spans_recorded_total",
            FamilyKind::Counter,
            "Spans that were started and recorded.",
            Number::Uint(stats.recorded),
        ),
        single(
            "erlmcp_otel_spans_ended_total",
            FamilyKind::Counter,
            "Recorded spans that have ended.",
            Number::Uint(stats.ended),
        ),
        single(
            "erlmcp_otel_spans_open",
            FamilyKind::Gauge,
            "Recorded spans that are open.",
            Number::Uint(stats.open),
        ),
        single(
            "erlmcp_otel_spans_sampled_out_total",
            FamilyKind::Counter,
            "Spans that the sampler or, at their end, the tail rule left out.",
            Number::Uint(stats.sampled_out),
        ),
        labelled(
            "erlmcp_otel_spans_dropped_total",
            FamilyKind::Counter,
            "Spans that were dropped before the queue, by reason.",
            dropped.map(|(reason, spans)| ([("reason", reason)], spans)),
        ),
    ]
}

fn records(stats: &ExporterStats, queues: &PerSignal<Option<QueueStats>>) -> Vec<Family> {
    let dropped = Signal::ALL.into_iter().flat_map(|signal| {
        let refused = queues.get(signal).map(|queue| (QUEUE_FULL, queue.refused));
        let dropped = stats.signals.get(signal).dropped;
        let others = DropReason::ALL.map(|reason| (reason.as_str(), dropped.get(reason)));
        refused.into_iter().chain(others).map(move |(reason, records)| {
            ([("signal", signal.as_str()), ("reason", reason)], records)
        })
    });
    vec![
        labelled(
            "erlmcp_otel_records_exported_total",
            FamilyKind::Counter,
            "Records that an OTLP receiver has, by signal.",
            by_signal(stats, |of| of.exported),
        ),
        labelled(
            "erlmcp_otel_records_kept_total",
            FamilyKind::Counter,
            "Records of a signal without OTLP receiver that were kept inside, by signal.",
            by_signal(stats, |of| of.kept),
        ),
        labelled(
            "erlmcp_otel_records_dropped_total",
            FamilyKind::Counter,
            "Records that were given up, by signal and reason.",
            dropped,
        ),
        labelled(
            "erlmcp_otel_records_pending",
            FamilyKind::Gauge,
            "Records taken for export that are neither exported, spooled nor given up, by signal.",
            by_signal(stats, |of| of.pending),
        ),
        single(
            "erlmcp_otel_data_points_rejected_total",
            FamilyKind::Counter,
            "Data points that OTLP receivers refused in requests that they took.",
            Number::Uint(stats.signals.metrics.rejected_points),
        ),
        single(
            "erlmcp_otel_collections_skipped_total",
            FamilyKind::Counter,
            "Times that metrics were not collected for OTLP because those of the last time \
             were still under way.",
            Number::Uint(stats.collections_skipped),
        ),
    ]
}

fn queue(queues: &PerSignal<Option<QueueStats>>) -> Vec<Family> {
    let of = |value: fn(&QueueStats) -> u64| {
        Signal::ALL.into_iter().filter_map(move |signal| {
            let queue = queues.get(signal).as_ref()?;
            Some(([("signal", signal.as_str())], value(queue)))
        })
    };
    vec![
        labelled(
            "erlmcp_otel_queue_accepted_total",
            FamilyKind::Counter,
            "Records that found room in the queue, by signal.",
            of(|queue| queue.accepted),
        ),
        labelled(
            "erlmcp_otel_queue_records",
            FamilyKind::Gauge,
            "Records that take room in the queue, those being sent included, by signal.",
            of(|queue| queue.held),
        ),
        labelled(
            "erlmcp_otel_queue_capacity_records",
            FamilyKind::Gauge,
            "Most records that the queue holds, by signal.",
            of(|queue| queue.capacity),
        ),
        labelled(
            "erlmcp_otel_queue_bytes",
            FamilyKind::Gauge,
            "Bytes of the records that take room in the queue, by signal.",
            of(|queue| queue.held_bytes),
        ),
        labelled(
            "erlmcp_otel_queue_capacity_bytes",
            FamilyKind::Gauge,
            "Most bytes of records that the queue holds, by signal.",
            of(|queue| queue.capacity_bytes),
        ),
    ]
}

fn requests(stats: &ExporterStats) -> Vec<Family> {
    let outcomes = Signal::ALL.into_iter().flat_map(|signal| {
        let requests = stats.signals.get(signal).requests;
        RequestOutcome::ALL.map(|outcome| {
            let labels = [("signal", signal.as_str()), ("outcome", outcome.as_str())];
            (labels, requests.get(outcome))
        })
    });
    vec![
        labelled(
            "erlmcp_otel_export_requests_total",
            FamilyKind::Counter,
            "Requests to OTLP receivers, by signal and outcome.",
            outcomes,
        ),
        labelled(
            "erlmcp_otel_export_retries_total",
            FamilyKind::Counter,
            "Attempts after the first to send a request to an OTLP receiver, by signal.",
            by_signal(stats, |of| of.retries),
        ),
        labelled(
            "erlmcp_otel_export_requests_in_flight",
            FamilyKind::Gauge,
            "Requests that wait for an OTLP receiver's answer, by signal.",
            by_signal(stats, |of| of.in_flight),
        ),
        labelled(
            "erlmcp_otel_exported_bytes_total",
            FamilyKind::Counter,
            "Bytes of requests that OTLP receivers took, before compression, by signal.",
            by_signal(stats, |of| of.exported_bytes),
        ),
    ]
}

fn spool(stats: &ExporterStats) -> Vec<Family> {
    vec![
        labelled(
            "erlmcp_otel_spool_records",
            FamilyKind::Gauge,
            "Records on disk that wait for an OTLP receiver, by signal.",
            by_signal(stats, |of| of.spooled),
        ),
        labelled(
            "erlmcp_otel_spool_recovered_records_total",
            FamilyKind::Counter,
            "Records found on disk when the exporter started, by signal.",
            by_signal(stats, |of| of.recovered),
        ),
        single(
            "erlmcp_otel_spool_bytes",
            FamilyKind::Gauge,
            "Bytes of requests on disk that wait for an OTLP receiver.",
            Number::Uint(stats.spool_bytes),
        ),
        single(
            "erlmcp_otel_spool_capacity_bytes",
            FamilyKind::Gauge,
            "Most bytes of requests that may be on disk.",
            Number::Uint(stats.spool_capacity_bytes),
        ),
    ]
}

fn by_signal(
    stats: &ExporterStats,
    value: fn(&SignalStats) -> u64,
) -> impl Iterator<Item = ([(&'static str, &'static str); 1], u64)> {
    Signal::ALL
        .map(|signal| ([("signal", signal.as_str())], value(stats.signals.get(signal))))
        .into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(families: &[Family]) -> Vec<String> {
        let samples = families.iter().flat_map(|family| {
            family
                .samples
                .iter()
                .map(|sample| format!("{}{} {}", family.name, sample.labels, sample.value.as_f64()))
        });
        samples.collect()
    }

    #[test]
    fn what_the_queue_refused_is_a_drop_with_a_reason() {
        let logs = QueueStats { accepted: 5, refused: 3, held: 2, ..QueueStats::default() };
        let queues = PerSignal { logs: Some(logs), ..PerSignal::default() };
        let mut stats = ExporterStats::default();
        stats.signals.logs.exported = 3;
        let shown = shown(&families(&stats, &queues));
        for expected in [
            "erlmcp_otel_records_exported_total{signal=\"logs\"} 3",
            "erlmcp_otel_records_dropped_total{reason=\"queue_full\",signal=\"logs\"} 3",
            "erlmcp_otel_records_dropped_total{reason=\"shutdown\",signal=\"traces\"} 0",
            "erlmcp_otel_queue_records{signal=\"logs\"} 2",
            "erlmcp_otel_export_requests_total{outcome=\"success\",signal=\"metrics\"} 0",
        ] {
            assert!(shown.iter().any(|line| line == expected), "{expected} in {shown:#?}");
        }
        assert!(!shown.iter().any(|line| line.contains("spool_bytes")), "there is no spool");
    }

    #[test]
    fn a_spool_is_shown() {
        let stats = ExporterStats { spool_capacity_bytes: 10, ..ExporterStats::default() };
        let shown = shown(&families(&stats, &PerSignal::default()));
        assert!(shown.iter().any(|line| line == "erlmcp_otel_spool_capacity_bytes{} 10"));
    }
}
