//! Spans gathered into traces, and those chosen that are asked for.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use erlmcp_trace::{SpanId, TraceId};

use crate::traces::origin::Origin;
use crate::traces::ring::StoredSpan;
use crate::traces::selection::{Selection, Sort};
use crate::traces::wire::Glance;

/// A trace, as a list shows it.
#[derive(Debug, Clone)]
pub(crate) struct TraceSummary {
    pub(crate) trace_id: TraceId,
    /// Of the root, or of the earliest of the spans nearest to it.
    pub(crate) name: String,
    pub(crate) origin: Arc<Origin>,
    /// Whether a span without parent is there.
    pub(crate) has_root: bool,
    pub(crate) spans: usize,
    pub(crate) errors: usize,
    /// What the status of the first span that failed says.
    pub(crate) error: String,
    /// The begin of the first span and the end of the last one, in nanoseconds
    /// since 1970.
    pub(crate) start: u64,
    pub(crate) end: u64,
}

/// The traces that were asked for.
#[derive(Debug)]
pub(crate) struct Selected {
    pub(crate) traces: Vec<TraceSummary>,
    /// How many there would be without a limit.
    pub(crate) matching: usize,
    /// How many there are at all.
    pub(crate) all: usize,
}

impl TraceSummary {
    pub(crate) fn duration(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }
}

/// A trace while its spans are being gathered.
struct Gathered<'a> {
    spans: Vec<(Glance<'a>, &'a Arc<Origin>)>,
}

/// Gathers spans into traces and chooses among them.
pub(crate) fn select(spans: &[StoredSpan], selection: &Selection) -> Selected {
    let mut gathered: HashMap<TraceId, Gathered<'_>> = HashMap::new();
    for span in spans {
        if let Some(glance) = Glance::of(&span.body) {
            let trace = gathered.entry(span.trace_id);
            let trace = trace.or_insert_with(|| Gathered { spans: Vec::new() });
            trace.spans.push((glance, &span.origin));
        }
    }
    let all = gathered.len();
    let wanted = selection.name.to_lowercase();
    let mut traces: Vec<TraceSummary> = gathered
        .into_iter()
        .filter(|(id, _)| selection.trace_id.is_none_or(|wanted| wanted == *id))
        .filter(|(_, trace)| wanted.is_empty() || trace.is_named(&wanted))
        .filter_map(|(id, trace)| trace.summary(id))
        .filter(|trace| !selection.errors || trace.errors > 0)
        .filter(|trace| trace.duration() as f64 >= selection.min_ms * 1e6)
        .collect();
    sort(&mut traces, selection.sort);
    let matching = traces.len();
    traces.truncate(selection.limit);
    Selected { traces, matching, all }
}

/// Among equals the newest is first, and at last the id decides: two looks at
/// the same traces show the same order.
fn sort(traces: &mut [TraceSummary], sort: Sort) {
    traces.sort_by_key(|trace| (Reverse(trace.start), trace.trace_id));
    match sort {
        Sort::Notable => traces.sort_by_key(|trace| match trace.errors {
            0 => (1, Reverse(trace.duration())),
            _ => (0, Reverse(trace.start)),
        }),
        Sort::Newest => {}
        Sort::Slowest => traces.sort_by_key(|trace| Reverse(trace.duration())),
        Sort::Spans => traces.sort_by_key(|trace| Reverse(trace.spans)),
        Sort::Name => traces.sort_by_cached_key(|trace| trace.name.to_lowercase()),
    }
}

impl Gathered<'_> {
    fn is_named(&self, wanted: &str) -> bool {
        self.spans.iter().any(|(glance, origin)| {
            String::from_utf8_lossy(glance.name).to_lowercase().contains(wanted)
                || origin.service().to_lowercase().contains(wanted)
        })
    }

    fn summary(&self, trace_id: TraceId) -> Option<TraceSummary> {
        let glances = || self.spans.iter().map(|(glance, _)| glance);
        let ids: std::collections::HashSet<SpanId> = glances().map(|g| g.span_id).collect();
        // The root, or else a span whose parent is not here, or else whatever
        // began first.
        let (root, origin) = self.spans.iter().min_by_key(|(glance, _)| {
            let distance = match glance.parent {
                None => 0,
                Some(parent) if !ids.contains(&parent) => 1,
                Some(_) => 2,
            };
            (distance, glance.start)
        })?;
        Some(TraceSummary {
            trace_id,
            name: String::from_utf8_lossy(root.name).into_owned(),
            origin: Arc::clone(origin),
            has_root: root.parent.is_none(),
            spans: self.spans.len(),
            errors: glances().filter(|glance| glance.error).count(),
            error: glances()
                .filter(|glance| glance.error)
                .min_by_key(|glance| glance.end)
                .map(|glance| String::from_utf8_lossy(glance.message).into_owned())
                .unwrap_or_default(),
            start: glances().map(|glance| glance.start).min()?,
            end: glances().map(|glance| glance.end).max()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traces::ring::{TraceRing, TraceRingLimits};
    use crate::traces::sample::{failed, records, span};

    fn names(query: &str) -> Vec<String> {
        let ring = TraceRing::new(TraceRingLimits::default());
        let spans = [
            span(1, 1, None, "quick", 50, 1),
            failed(span(2, 1, None, "old error", 10, 5)),
            span(3, 1, None, "slow", 20, 900),
            span(4, 2, Some(1), "inner", 31, 3),
            failed(span(4, 1, None, "New error", 30, 7)),
            span(5, 2, Some(1), "child", 41, 5),
            span(5, 3, Some(2), "grandchild", 42, 2),
        ];
        ring.add(b"", b"", &records(&spans));
        let selected = select(&ring.spans(), &Selection::parse(query).unwrap());
        assert_eq!(selected.all, 5);
        selected.traces.into_iter().map(|trace| trace.name).collect()
    }

    #[test]
    fn the_first_failure_is_the_cause() {
        let ring = TraceRing::new(TraceRingLimits::default());
        let mut inner = failed(span(1, 2, Some(1), "inner", 10, 5));
        inner.status.as_mut().unwrap().message = "the cause".into();
        let fine = span(2, 1, None, "fine", 20, 1);
        ring.add(b"", b"", &records(&[failed(span(1, 1, None, "outer", 9, 50)), inner, fine]));
        let selected = select(&ring.spans(), &Selection::default());
        let errors: Vec<&str> = selected.traces.iter().map(|trace| trace.error.as_str()).collect();
        assert_eq!(errors, ["the cause", ""]);
    }

    #[test]
    fn errors_first_then_the_slowest() {
        assert_eq!(names(""), ["New error", "old error", "slow", "child", "quick"]);
        assert_eq!(names("sort=newest"), ["quick", "child", "New error", "slow", "old error"]);
        assert_eq!(names("sort=slowest&limit=2"), ["slow", "New error"]);
        assert_eq!(names("sort=spans&limit=2"), ["child", "New error"]);
        assert_eq!(names("sort=name&limit=2"), ["child", "New error"]);
    }

    #[test]
    fn only_what_is_asked_for() {
        assert_eq!(names("errors=1"), ["New error", "old error"]);
        assert_eq!(names("min_ms=6"), ["New error", "slow"]);
        assert_eq!(names("name=INNER"), ["New error"], "by the name of any span");
        assert_eq!(names("name=nothing").len(), 0);
    }
}
