//! Traces as JSON: their spans in OTLP's encoding, and the list.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use erlmcp_trace::TraceId;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use serde_json::json;

use crate::otlp_json;
use crate::traces::origin::Origin;
use crate::traces::ring::{StoredSpan, TraceRingStats};
use crate::traces::summary::Selected;

/// The spans of the traces chosen, as an `ExportTraceServiceRequest`, which is
/// also what `TracesData` looks like.
pub(crate) fn otlp(stored: &[StoredSpan], selected: &Selected) -> serde_json::Result<String> {
    let chosen: HashSet<TraceId> = selected.traces.iter().map(|trace| trace.trace_id).collect();
    let mut by_origin: Vec<(&Arc<Origin>, Vec<Span>)> = Vec::new();
    let mut places: HashMap<*const Origin, usize> = HashMap::new();
    for span in stored.iter().filter(|span| chosen.contains(&span.trace_id)) {
        let Ok(decoded) = Span::decode(&*span.body) else { continue };
        let place = *places.entry(Arc::as_ptr(&span.origin)).or_insert_with(|| {
            by_origin.push((&span.origin, Vec::new()));
            by_origin.len() - 1
        });
        if let Some((_, spans)) = by_origin.get_mut(place) {
            spans.push(decoded);
        }
    }
    let resource_spans = by_origin.into_iter().map(|(origin, spans)| ResourceSpans {
        resource: origin.resource(),
        scope_spans: vec![ScopeSpans { scope: origin.scope(), spans, ..ScopeSpans::default() }],
        ..ResourceSpans::default()
    });
    let request = ExportTraceServiceRequest { resource_spans: resource_spans.collect() };
    Ok(String::from_utf8_lossy(&otlp_json::traces(request)?).into_owned())
}

/// The list of traces. Integers of 64 bits are strings, as in OTLP's encoding.
pub(crate) fn summary(selected: &Selected, stats: TraceRingStats) -> String {
    let traces: Vec<_> = selected
        .traces
        .iter()
        .map(|trace| {
            json!({
                "traceId": trace.trace_id.to_string(),
                "name": trace.name,
                "service": trace.origin.service(),
                "startTimeUnixNano": trace.start.to_string(),
                "durationNano": trace.duration().to_string(),
                "spans": trace.spans,
                "errors": trace.errors,
                "error": trace.error,
                "hasRoot": trace.has_root,
            })
        })
        .collect();
    json!({
        "traces": traces,
        "matching": selected.matching,
        "held": {
            "traces": selected.all,
            "spans": stats.spans,
            "bytes": stats.bytes,
            "added": stats.added.to_string(),
            "displaced": stats.displaced.to_string(),
            "unreadable": stats.unreadable.to_string(),
        },
    })
    .to_string()
}
