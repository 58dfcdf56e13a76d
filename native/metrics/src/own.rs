//! The registry's figures about itself.

use std::sync::atomic::Ordering::Relaxed;

use crate::family::{Family, FamilyKind, Number, Sample};
use crate::labels::LabelSet;
use crate::registry::Registry;
use crate::rejection::Rejection;

impl Registry {
    /// The registry's figures about itself, as families for a scrape.
    #[must_use]
    pub fn own_families(&self) -> Vec<Family> {
        let stats = self.stats();
        let one = |name: &str, kind, help: &str, value: u64| Family {
            name: name.into(),
            kind,
            help: help.into(),
            samples: vec![Sample { labels: LabelSet::empty(), value: Number::Uint(value) }],
        };
        let rejected =
            Rejection::ALL.iter().zip(&self.inner.rejected).filter_map(|(reason, count)| {
                let labels = LabelSet::from_pairs([("reason", reason.as_str())]).ok()?;
                Some(Sample { labels, value: Number::Uint(count.load(Relaxed)) })
            });
        vec![
            Family {
                name: "erlmcp_metrics_rejected_samples_total".into(),
                kind: FamilyKind::Counter,
                help: "Recordings that were refused, by reason.".into(),
                samples: rejected.collect(),
            },
            one(
                "erlmcp_metrics_overflowed_samples_total",
                FamilyKind::Counter,
                "Recordings counted in an overflow series because a series limit was reached.",
                stats.overflowed,
            ),
            one(
                "erlmcp_metrics_series",
                FamilyKind::Gauge,
                "Series held, overflow series not counted.",
                stats.series.into(),
            ),
            one(
                "erlmcp_metrics_series_limit",
                FamilyKind::Gauge,
                "Most series that the node may hold.",
                stats.series_limit.into(),
            ),
            one(
                "erlmcp_metrics_families",
                FamilyKind::Gauge,
                "Metrics registered.",
                stats.metrics.into(),
            ),
            one(
                "erlmcp_metrics_recording_threads",
                FamilyKind::Gauge,
                "Threads that have recorded and hold cells.",
                stats.threads.into(),
            ),
            one(
                "erlmcp_metrics_exemplars",
                FamilyKind::Gauge,
                "Exemplars held.",
                stats.exemplars.into(),
            ),
            one(
                "erlmcp_metrics_exemplars_refused_total",
                FamilyKind::Counter,
                "Exemplars that were not kept because as many as may be held were.",
                stats.exemplars_refused,
            ),
            one(
                "erlmcp_metrics_memory_bytes",
                FamilyKind::Gauge,
                "Memory held for series, cells, exemplars, label texts and look-up tables.",
                stats.bytes,
            ),
        ]
    }
}
