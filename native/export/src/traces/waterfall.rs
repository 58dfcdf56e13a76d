//! The spans of a trace as a tree, in the order in which they are read.

use std::collections::HashMap;
use std::sync::Arc;

use erlmcp_trace::SpanId;

use crate::traces::origin::Origin;
use crate::traces::ring::StoredSpan;
use crate::traces::view::{SpanView, decode_span};

/// A trace with its spans, parents before their children.
#[derive(Debug)]
pub(crate) struct Waterfall {
    pub(crate) rows: Vec<Row>,
    /// Begin of the first and end of the last span, in nanoseconds since 1970.
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// Spans that are there and cannot be decoded.
    pub(crate) unreadable: usize,
}

/// A span in its place.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) span: SpanView,
    pub(crate) origin: Arc<Origin>,
    /// How many of its ancestors are here.
    pub(crate) depth: usize,
    pub(crate) parentage: Parentage,
}

/// What is known of a span's parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parentage {
    /// It has none.
    Root,
    /// It is above.
    Here,
    /// It is a span of another process.
    Remote,
    /// It is not here: not ended yet, not sampled, or displaced.
    Missing,
    /// Its ancestors form a ring.
    Circular,
}

impl Waterfall {
    pub(crate) fn of(stored: &[StoredSpan]) -> Self {
        let mut spans: Vec<Option<(SpanView, Arc<Origin>)>> = stored
            .iter()
            .filter_map(|span| Some(Some((decode_span(&span.body)?, Arc::clone(&span.origin)))))
            .collect();
        spans.sort_by_key(|span| span.as_ref().map(|(span, _)| span.start_unix_nano));
        let views = || spans.iter().flatten().map(|(span, _)| span);
        let start = views().map(|span| span.start_unix_nano).min().unwrap_or(0);
        let end = views().map(|span| span.end_unix_nano).max().unwrap_or(0);
        let unreadable = stored.len() - spans.len();

        // Of two spans with one id, the earlier has the children.
        let mut places: HashMap<SpanId, usize> = HashMap::new();
        for (place, span) in views().enumerate() {
            places.entry(span.span_id).or_insert(place);
        }
        let mut children: HashMap<usize, Vec<usize>> = HashMap::new();
        let mut tops = Vec::new();
        for (place, span) in views().enumerate() {
            match span.parent.and_then(|parent| places.get(&parent)) {
                Some(parent) => children.entry(*parent).or_default().push(place),
                None => tops.push((place, top(span))),
            }
        }
        let mut rows = Vec::with_capacity(spans.len());
        let mut walk = |spans: &mut Vec<_>, top, parentage| {
            let mut open = vec![(top, 0, parentage)];
            while let Some((place, depth, parentage)) = open.pop() {
                let taken: Option<(SpanView, Arc<Origin>)> =
                    spans.get_mut(place).and_then(Option::take);
                let Some((span, origin)) = taken else { continue };
                let inner = children.get(&place).map_or(&[][..], Vec::as_slice);
                open.extend(inner.iter().rev().map(|child| (*child, depth + 1, Parentage::Here)));
                rows.push(Row { span, origin, depth, parentage });
            }
        };
        for (place, parentage) in tops {
            walk(&mut spans, place, parentage);
        }
        // Whatever is left has no top: its ancestors lead back to it.
        for place in 0..spans.len() {
            walk(&mut spans, place, Parentage::Circular);
        }
        Self { rows, start, end, unreadable }
    }

    pub(crate) fn duration(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    pub(crate) fn errors(&self) -> usize {
        self.rows.iter().filter(|row| row.span.is_error()).count()
    }
}

fn top(span: &SpanView) -> Parentage {
    match span.parent {
        None => Parentage::Root,
        Some(_) if span.has_remote_parent() => Parentage::Remote,
        Some(_) => Parentage::Missing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traces::ring::{TraceRing, TraceRingLimits};
    use crate::traces::sample::{records, span};
    use opentelemetry_proto::tonic::trace::v1::Span;

    fn tree(spans: &[Span]) -> Vec<(String, usize, Parentage)> {
        let ring = TraceRing::new(TraceRingLimits::default());
        ring.add(b"", b"", &records(spans));
        let waterfall = Waterfall::of(&ring.spans());
        assert_eq!(waterfall.rows.len(), spans.len());
        let row = |row: Row| (row.span.name, row.depth, row.parentage);
        waterfall.rows.into_iter().map(row).collect()
    }

    #[test]
    fn children_follow_their_parents_in_time() {
        let mut remote = span(1, 9, Some(99), "called", 5, 1);
        remote.flags = 0x301;
        let spans = [
            span(1, 4, Some(3), "leaf", 3, 1),
            span(1, 3, Some(1), "second", 3, 2),
            span(1, 2, Some(1), "first", 1, 1),
            span(1, 1, None, "root", 0, 10),
            span(1, 8, Some(77), "lost", 4, 1),
            remote,
        ];
        let expected = [
            ("root", 0, Parentage::Root),
            ("first", 1, Parentage::Here),
            ("second", 1, Parentage::Here),
            ("leaf", 2, Parentage::Here),
            ("lost", 0, Parentage::Missing),
            ("called", 0, Parentage::Remote),
        ];
        assert_eq!(tree(&spans), expected.map(|(name, d, p)| (name.to_owned(), d, p)));
    }

    #[test]
    fn rings_and_doubles_lose_nothing() {
        let spans = [
            span(1, 1, Some(2), "a", 0, 1),
            span(1, 2, Some(1), "b", 1, 1),
            span(1, 3, Some(3), "own parent", 2, 1),
            span(1, 4, None, "twice", 3, 1),
            span(1, 4, None, "twice", 4, 1),
        ];
        let circular = tree(&spans).iter().filter(|row| row.2 == Parentage::Circular).count();
        assert_eq!(circular, 2);
    }

    #[test]
    fn a_chain_of_any_depth_needs_no_stack() {
        let spans: Vec<_> =
            (0..9_000).map(|n| span(1, n + 1, (n > 0).then_some(n), "deep", n, 1)).collect();
        assert_eq!(tree(&spans).last().unwrap().1, 8_999);
    }
}
