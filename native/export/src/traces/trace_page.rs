//! The page of one trace: its spans as a waterfall.

use std::fmt::Write;

use erlmcp_trace::TraceId;

use crate::traces::markup::{Count, Nanos, Plural, Text, per_mille, time, value};
use crate::traces::page;
use crate::traces::view::{self, EventView, LinkView, SpanKind, SpanView, StatusView, ValueView};
use crate::traces::waterfall::{Parentage, Row, Waterfall};

/// Most spans that the page shows.
const MAX_ROWS: usize = 2_000;

/// Names are indented by so many levels at most.
const MAX_INDENT: usize = 16;

/// The page of a trace that has at least one span.
pub(crate) fn html(trace_id: TraceId, waterfall: &Waterfall) -> String {
    let mut out = String::new();
    page::header(&mut out, "");
    // Writing to a string does not fail, here and below.
    let _ = writeln!(out, "<main class=\"trace\">");
    push_title(&mut out, trace_id, waterfall);
    push_ruler(&mut out, waterfall);
    let only = (waterfall.rows.len() == 1).then_some(0);
    let cause = first_cause(&waterfall.rows).or(only);
    for (place, row) in waterfall.rows.iter().take(MAX_ROWS).enumerate() {
        push_span(&mut out, row, waterfall, cause == Some(place));
    }
    let _ = writeln!(out, "</div>");
    if waterfall.rows.len() > MAX_ROWS {
        let _ = writeln!(
            out,
            "<p class=\"more\">Only the first {} of {} are drawn; \
             <a href=\"/debug/traces.json?trace_id={trace_id}\">all of them as OTLP JSON</a>.</p>",
            Count(MAX_ROWS as u64),
            Plural(waterfall.rows.len() as u64, "span"),
        );
    }
    push_resource(&mut out, waterfall);
    let _ = writeln!(out, "</main>");
    let title = waterfall.rows.first().map_or("Trace", |row| row.span.name.as_str());
    page::document(title, &out)
}

/// The first error that no error below it explains: where one wants to look.
fn first_cause(rows: &[Row]) -> Option<usize> {
    let mut errors = rows.iter().enumerate().filter(|(_, row)| row.span.is_error());
    let (mut place, mut cause) = errors.next()?;
    let is_above = |cause: &Row, place: usize, row: &Row, at: usize| {
        let between = rows.get(at + 1..place).unwrap_or_default();
        row.depth > cause.depth && between.iter().all(|row| row.depth > cause.depth)
    };
    while let Some((next, row)) = errors.next().filter(|(n, row)| is_above(cause, *n, row, place)) {
        (place, cause) = (next, row);
    }
    Some(place)
}

fn push_title(out: &mut String, trace_id: TraceId, waterfall: &Waterfall) {
    let Some(top) = waterfall.rows.first() else {
        return;
    };
    let errors = waterfall.errors();
    let _ = write!(
        out,
        "<div class=\"title\"><h1>{}</h1>\
         <p class=\"facts\"><b>{}</b> <span>{}</span> ",
        name(&top.span),
        Nanos(waterfall.duration()),
        Plural(waterfall.rows.len() as u64, "span"),
    );
    if errors > 0 {
        let _ = write!(out, "<span class=\"bad\">{}</span> ", Plural(errors as u64, "error"));
    }
    if waterfall.unreadable > 0 {
        let _ = write!(
            out,
            "<span class=\"bad\">{} not readable</span> ",
            Plural(waterfall.unreadable as u64, "span")
        );
    }
    if !top.origin.service().is_empty() {
        let _ = write!(out, "<span>{}</span> ", Text(top.origin.service()));
    }
    let begin = time(waterfall.start);
    let _ = writeln!(
        out,
        "<time datetime=\"{begin}\">{} UTC</time></p>\
         <p class=\"facts\"><code class=\"id\" id=\"trace-id\">{trace_id}</code>\
         <button type=\"button\" data-copy=\"trace-id\" hidden>Copy id</button>\
         <button type=\"button\" data-toggle=\"all\" hidden>Open all</button>\
         <button type=\"button\" data-toggle=\"error\" hidden>Next error</button>\
         <a href=\"/debug/traces.json?trace_id={trace_id}\">OTLP JSON</a></p></div>",
        begin.replace('T', " ").trim_end_matches('Z'),
    );
}

fn push_ruler(out: &mut String, waterfall: &Waterfall) {
    let _ = write!(
        out,
        "<div class=\"waterfall\"><div class=\"ruler row\"><span>Span</span><div class=\"scale\">"
    );
    for quarter in 0..=4 {
        let at = waterfall.duration() / 4 * quarter;
        let _ = match quarter {
            0 => write!(out, "<span>0</span>"),
            _ => write!(out, "<span>{}</span>", Nanos(at)),
        };
    }
    let _ = writeln!(out, "</div><span class=\"length\">Duration</span></div>");
}

fn push_span(out: &mut String, row: &Row, waterfall: &Waterfall, open: bool) {
    let Row { span, depth, .. } = row;
    let error = if span.is_error() { " error" } else { "" };
    let open = if open { " open" } else { "" };
    let _ = write!(
        out,
        "<details class=\"span{error}\"{open}><summary class=\"row\">\
         <span class=\"name d{}\"><span class=\"dot {}\"></span><span class=\"label\">{}</span>",
        (*depth).min(MAX_INDENT),
        span.kind.as_str(),
        name(span),
    );
    if span.is_error() {
        let _ = write!(out, "<span class=\"badge bad\">error</span>");
    }
    if let Some((text, title)) = parentage(row.parentage) {
        let _ = write!(out, "<span class=\"badge\" title=\"{title}\">{text}</span>");
    }
    let _ = write!(out, "</span>");
    push_bar(out, span, waterfall);
    let _ =
        writeln!(out, "<span class=\"length\">{}</span></summary>", Nanos(span.duration_nanos()));
    push_details(out, row, waterfall);
    let _ = writeln!(out, "</details>");
}

const fn parentage(parentage: Parentage) -> Option<(&'static str, &'static str)> {
    match parentage {
        Parentage::Root | Parentage::Here => None,
        Parentage::Remote => Some(("remote parent", "Its parent is a span of another process")),
        Parentage::Missing => Some((
            "parent missing",
            "Its parent is not here: not ended yet, not sampled, or displaced",
        )),
        Parentage::Circular => Some(("circular", "Its ancestors lead back to it")),
    }
}

/// The bar, to scale, with a tick for each event.
fn push_bar(out: &mut String, span: &SpanView, waterfall: &Waterfall) {
    let at = |nano: u64| per_mille(nano.saturating_sub(waterfall.start), waterfall.duration());
    let left = at(span.start_unix_nano);
    // What is too short to be seen is drawn two thousandths wide.
    let width = (at(span.end_unix_nano) - left).max(2.0);
    let left = left.min(1_000.0 - width);
    let _ = write!(
        out,
        "<svg class=\"bar {}\" viewBox=\"0 0 1000 20\" preserveAspectRatio=\"none\" \
         aria-hidden=\"true\"><path class=\"grid\" d=\"M250 0V20M500 0V20M750 0V20\"/>\
         <rect x=\"{left:.2}\" y=\"5\" width=\"{width:.2}\" height=\"10\"/>",
        span.kind.as_str(),
    );
    for event in &span.events {
        let class = if is_exception(event) { "tick bad" } else { "tick" };
        let x = at(event.unix_nano);
        let _ = write!(out, "<path class=\"{class}\" d=\"M{x:.2} 2V18\"/>");
    }
    let _ = write!(out, "</svg>");
}

fn push_details(out: &mut String, row: &Row, waterfall: &Waterfall) {
    let span = &row.span;
    let _ = write!(out, "<div class=\"details\">");
    if let StatusView::Error(message) = &span.status
        && !message.is_empty()
    {
        let _ = write!(out, "<p class=\"status bad\">{}</p>", Text(message));
    }
    push_attributes(out, "Attributes", &span.attributes, span.dropped_attributes);
    let _ = write!(
        out,
        "<section><h2>Span</h2><dl><dt>kind</dt><dd>{}</dd><dt>status</dt><dd>{}</dd>\
         <dt>starts at</dt><dd>+{} <span class=\"quiet\">{}</span></dd>\
         <dt>span id</dt><dd class=\"id\">{}</dd>",
        kind(span.kind),
        match span.status {
            StatusView::Unset => "unset",
            StatusView::Ok => "ok",
            StatusView::Error(_) => "error",
        },
        Nanos(span.start_unix_nano.saturating_sub(waterfall.start)),
        time(span.start_unix_nano),
        span.span_id,
    );
    if let Some(parent) = span.parent {
        let _ = write!(out, "<dt>parent id</dt><dd class=\"id\">{parent}</dd>");
    }
    if !span.trace_state.is_empty() {
        let _ = write!(out, "<dt>tracestate</dt><dd>{}</dd>", Text(&span.trace_state));
    }
    if let Some(scope) = row.origin.scope().filter(|scope| !scope.name.is_empty()) {
        let _ =
            write!(out, "<dt>scope</dt><dd>{} {}</dd>", Text(&scope.name), Text(&scope.version));
    }
    let _ = write!(out, "</dl></section>");
    for event in &span.events {
        push_event(out, event, span);
    }
    push_dropped(out, span.dropped_events, "event");
    for link in &span.links {
        push_link(out, link);
    }
    push_dropped(out, span.dropped_links, "link");
    let _ = write!(out, "</div>");
}

fn push_attributes(
    out: &mut String,
    title: &str,
    attributes: &[(String, ValueView)],
    dropped: u32,
) {
    if attributes.is_empty() && dropped == 0 {
        return;
    }
    let _ = write!(out, "<section><h2>{title}</h2>");
    push_pairs(out, attributes.iter());
    push_dropped(out, dropped, "attribute");
    let _ = write!(out, "</section>");
}

fn push_pairs<'a>(out: &mut String, pairs: impl Iterator<Item = &'a (String, ValueView)>) {
    let _ = write!(out, "<dl>");
    for (key, of) in pairs {
        let class = match of {
            ValueView::String(_) => "text",
            ValueView::Empty => "quiet",
            _ => "literal",
        };
        let _ =
            write!(out, "<dt>{}</dt><dd class=\"{class}\">{}</dd>", Text(key), Text(&value(of)));
    }
    let _ = write!(out, "</dl>");
}

fn push_dropped(out: &mut String, count: u32, what: &'static str) {
    if count > 0 {
        let _ = write!(
            out,
            "<p class=\"quiet\">{} more dropped by a limit</p>",
            Plural(u64::from(count), what)
        );
    }
}

/// The keys of the semantic conventions for exceptions.
const EXCEPTION: &str = "exception";
const EXCEPTION_TYPE: &str = "exception.type";
const EXCEPTION_MESSAGE: &str = "exception.message";
const EXCEPTION_STACKTRACE: &str = "exception.stacktrace";

fn is_exception(event: &EventView) -> bool {
    event.name == EXCEPTION
}

fn push_event(out: &mut String, event: &EventView, span: &SpanView) {
    let exception = is_exception(event);
    let text = |key: &str| match event.attributes.iter().find(|(k, _)| k == key) {
        Some((_, ValueView::String(text))) if exception => Some(text.as_str()),
        _ => None,
    };
    let shown = [EXCEPTION_TYPE, EXCEPTION_MESSAGE, EXCEPTION_STACKTRACE]
        .map(|key| (key, text(key).is_some()));
    let _ = write!(
        out,
        "<section class=\"event{}\"><h2><span class=\"quiet\">+{}</span> {}</h2>",
        if exception { " exception" } else { "" },
        Nanos(event.unix_nano.saturating_sub(span.start_unix_nano)),
        Text(&event.name),
    );
    if text(EXCEPTION_TYPE).is_some() || text(EXCEPTION_MESSAGE).is_some() {
        let _ = write!(
            out,
            "<p class=\"status\"><b class=\"bad\">{}</b> {}</p>",
            Text(text(EXCEPTION_TYPE).unwrap_or_default()),
            Text(text(EXCEPTION_MESSAGE).unwrap_or_default()),
        );
    }
    if let Some(stack) = text(EXCEPTION_STACKTRACE) {
        let _ = write!(out, "<pre>{}</pre>", Text(stack));
    }
    let others =
        || event.attributes.iter().filter(|(key, _)| !shown.iter().any(|(k, is)| *is && k == key));
    if others().next().is_some() {
        push_pairs(out, others());
    }
    push_dropped(out, event.dropped_attributes, "attribute");
    let _ = write!(out, "</section>");
}

fn push_link(out: &mut String, link: &LinkView) {
    let _ = write!(out, "<section><h2>Link</h2><dl><dt>trace</dt><dd class=\"id\">");
    let _ = match link.trace_id {
        Some(id) => write!(out, "<a href=\"/debug/traces?trace_id={id}\">{id}</a>"),
        None => write!(out, "(none)"),
    };
    if let Some(id) = link.span_id {
        let _ = write!(out, "</dd><dt>span</dt><dd class=\"id\">{id}");
    }
    if !link.trace_state.is_empty() {
        let _ = write!(out, "</dd><dt>tracestate</dt><dd>{}", Text(&link.trace_state));
    }
    let _ = write!(out, "</dd></dl>");
    if !link.attributes.is_empty() {
        push_pairs(out, link.attributes.iter());
    }
    push_dropped(out, link.dropped_attributes, "attribute");
    let _ = write!(out, "</section>");
}

fn push_resource(out: &mut String, waterfall: &Waterfall) {
    let resource = waterfall.rows.first().and_then(|row| row.origin.resource());
    let attributes = resource.map(|resource| view::attributes(resource.attributes));
    if let Some(attributes) = attributes.filter(|attributes| !attributes.is_empty()) {
        let _ = write!(out, "<details class=\"resource\"><summary>Resource</summary>");
        push_pairs(out, attributes.iter());
        let _ = writeln!(out, "</details>");
    }
}

fn name(span: &SpanView) -> Text<'_> {
    match span.name.as_str() {
        "" => Text("(no name)"),
        name => Text(name),
    }
}

const fn kind(kind: SpanKind) -> &'static str {
    match kind {
        SpanKind::Unspecified => "not said",
        kind => kind.as_str(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traces::ring::{TraceRing, TraceRingLimits};
    use crate::traces::sample::{attribute, failed, records, span};
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use opentelemetry_proto::tonic::trace::v1::{Span, span as proto};

    fn waterfall(spans: &[Span]) -> Waterfall {
        let ring = TraceRing::new(TraceRingLimits::default());
        ring.add(b"", b"", &records(spans));
        Waterfall::of(&ring.spans())
    }

    #[test]
    fn the_cause_is_the_first_error_without_one_below() {
        let spans = [
            failed(span(1, 1, None, "root", 0, 9)),
            span(1, 2, Some(1), "fine", 1, 1),
            failed(span(1, 3, Some(1), "outer", 2, 5)),
            failed(span(1, 4, Some(3), "inner", 3, 2)),
            failed(span(1, 5, Some(1), "later", 8, 1)),
        ];
        assert_eq!(first_cause(&waterfall(&spans).rows), Some(3));
        assert_eq!(first_cause(&waterfall(&spans[4..]).rows), Some(0));
        assert_eq!(first_cause(&waterfall(&spans[1..2]).rows), None);
    }

    /// Every text of a span is hostile; the page has no element of its making.
    #[test]
    fn no_text_becomes_markup() {
        let hostile = "</script></style></summary>\"'><script>alert(1)</script><x y='z' onload=a>";
        let pair = |value| attribute(hostile, value);
        let mut sample = failed(span(1, 1, None, hostile, 0, 1));
        if let Some(status) = &mut sample.status {
            status.message = hostile.into();
        }
        sample.trace_state = hostile.into();
        sample.attributes = vec![pair(Value::StringValue(hostile.into()))];
        let stack = |key| attribute(key, Value::StringValue(hostile.into()));
        let keys = [EXCEPTION_TYPE, EXCEPTION_MESSAGE, EXCEPTION_STACKTRACE, hostile];
        sample.events = [EXCEPTION, hostile]
            .map(|name| proto::Event {
                name: name.into(),
                attributes: keys.map(stack).to_vec(),
                ..proto::Event::default()
            })
            .to_vec();
        sample.links = vec![proto::Link {
            trace_state: hostile.into(),
            attributes: vec![pair(Value::BytesValue(vec![1]))],
            ..proto::Link::default()
        }];
        let page = html(TraceId::from_bytes([1; 16]).unwrap(), &waterfall(&[sample]));
        assert!(!page.contains("<x ") && !page.contains("alert(1)<"));
        assert_eq!(page.matches("<script>").count(), 1);
        assert_eq!(page.matches("</script>").count(), 1);
        assert_eq!(page.matches("</style>").count(), 1);
        assert_eq!(page.matches("<details").count(), page.matches("</details>").count());
        assert!(page.matches("&lt;script&gt;").count() >= 15);
    }
}
