//! The page with the list of traces.

use std::fmt::Write;

use crate::traces::markup::{Count, Nanos, Plural, Text, per_mille, time};
use crate::traces::page;
use crate::traces::ring::TraceRingStats;
use crate::traces::selection::{Selection, Sort};
use crate::traces::summary::{Selected, TraceSummary};

/// What of the ring the page tells.
pub(crate) struct List<'a> {
    pub(crate) selection: &'a Selection,
    pub(crate) selected: &'a Selected,
    pub(crate) stats: TraceRingStats,
}

/// Most of an error's text that a list shows; the page's width may show less.
const ERROR_CHARS: usize = 200;

const EMPTY: &str = "<div class=\"empty\"><h2>No traces yet</h2>\
     <p>A trace appears here as soon as its first span has ended. To see one, run in the shell \
     of this node:</p>\
     <pre><code>erlmcp_otel_instrumentation:with_span(&lt;&lt;\"hello\"&gt;&gt;, fun() -&gt; timer:sleep(20) end).</code></pre>\
     <p><a href=\"/debug/traces\">Look again</a></p></div>";

impl List<'_> {
    pub(crate) fn html(&self) -> String {
        let mut out = String::new();
        page::header(&mut out, &self.aside());
        // Writing to a string does not fail, here and below.
        let _ = writeln!(out, "<main class=\"list\"><h1 class=\"sr\">Recent traces</h1>");
        if self.selected.all > 0 {
            self.push_filters(&mut out);
        }
        if self.selected.all == 0 {
            out.push_str(EMPTY);
        } else if self.selected.traces.is_empty() {
            let _ = write!(
                out,
                "<div class=\"empty\"><h2>No trace is like that</h2><p>{} held here, and none \
                 matches. <a href=\"/debug/traces\">Show all</a></p></div>",
                Plural(self.selected.all as u64, "trace")
            );
        } else {
            self.push_table(&mut out);
        }
        let _ = writeln!(out, "</main>");
        self.push_footer(&mut out);
        page::document("Traces", &out)
    }

    fn aside(&self) -> String {
        format!(
            "<p class=\"held\">{} <span class=\"wide\">· {}</span></p>",
            Plural(self.selected.all as u64, "trace"),
            Plural(self.stats.spans, "span"),
        )
    }

    fn push_filters(&self, out: &mut String) {
        let Selection { name, errors, min_ms, limit, sort, .. } = self.selection;
        let min_ms = if *min_ms > 0.0 { min_ms.to_string() } else { String::new() };
        let _ = write!(
            out,
            "<form class=\"filters\" action=\"/debug/traces\" method=\"get\" role=\"search\">\
             <label class=\"grow\"><span>Name or service</span><input type=\"search\" name=\"name\" \
             value=\"{}\" placeholder=\"tools/call\" autocomplete=\"off\" spellcheck=\"false\" \
             data-focus=\"/\"></label>\
             <label><span>Slower than</span><span class=\"unit\"><input type=\"number\" \
             name=\"min_ms\" min=\"0\" step=\"any\" value=\"{}\" placeholder=\"0\"><i>ms</i></span></label>\
             <label><span>Order</span><select name=\"sort\">",
            Text(name),
            Text(&min_ms),
        );
        for choice in Sort::ALL {
            let selected = if choice == *sort { " selected" } else { "" };
            let _ = write!(
                out,
                "<option value=\"{}\"{selected}>{}</option>",
                choice.as_str(),
                label(choice)
            );
        }
        let checked = if *errors { " checked" } else { "" };
        let _ = write!(
            out,
            "</select></label>\
             <label class=\"check\"><input type=\"checkbox\" name=\"errors\" value=\"1\"{checked}>\
             <span>Errors only</span></label>\
             <input type=\"hidden\" name=\"limit\" value=\"{limit}\"><button>Show</button>"
        );
        if self.selection.is_filter() {
            let _ = write!(out, "<a class=\"clear\" href=\"/debug/traces\">Clear</a>");
        }
        let _ = writeln!(out, "</form>");
    }

    fn push_table(&self, out: &mut String) {
        let _ = write!(out, "<table class=\"traces\"><thead><tr>");
        self.push_heading(out, "time", "Started (UTC)", Some(Sort::Newest));
        self.push_heading(out, "name", "Trace", Some(Sort::Name));
        self.push_heading(out, "service wide", "Service", None);
        self.push_heading(out, "count", "Spans", Some(Sort::Spans));
        self.push_heading(out, "length", "Duration", Some(Sort::Slowest));
        let _ = writeln!(out, "</tr></thead><tbody>");
        let longest = self.selected.traces.iter().map(TraceSummary::duration).max().unwrap_or(0);
        for trace in &self.selected.traces {
            push_row(out, trace, longest);
        }
        let _ = writeln!(out, "</tbody></table>");
    }

    fn push_heading(&self, out: &mut String, class: &str, text: &str, sort: Option<Sort>) {
        let Some(sort) = sort else {
            let _ = write!(out, "<th class=\"{class}\" scope=\"col\">{text}</th>");
            return;
        };
        let order = match (sort == self.selection.sort, sort) {
            (false, _) => "none",
            (true, Sort::Name) => "ascending",
            (true, _) => "descending",
        };
        let sorted = Selection { sort, ..self.selection.clone() };
        let _ = write!(
            out,
            "<th class=\"{class}\" scope=\"col\" aria-sort=\"{order}\">\
             <a href=\"/debug/traces{}\">{text}</a></th>",
            Text(&sorted.query())
        );
    }

    fn push_footer(&self, out: &mut String) {
        let (shown, matching) = (self.selected.traces.len(), self.selected.matching);
        let _ = write!(out, "<footer><p>");
        if shown < matching {
            let _ = write!(
                out,
                "{} of {} are shown. ",
                Count(shown as u64),
                Plural(matching as u64, "trace")
            );
        }
        let _ = write!(
            out,
            "Errors and the slowest traces are held longer than others. {} since the start, {} \
             displaced by newer ones",
            Plural(self.stats.added, "span"),
            Count(self.stats.displaced)
        );
        if self.stats.unreadable > 0 {
            let _ = write!(out, ", {} not readable", Count(self.stats.unreadable));
        }
        let query = self.selection.query();
        let _ = write!(
            out,
            ".</p><p class=\"links\"><a href=\"/debug/traces/summary.json{0}\">This list as JSON</a> \
             <a href=\"/debug/traces.json{0}\">Spans as OTLP JSON</a></p></footer>",
            Text(&query)
        );
    }
}

const fn label(sort: Sort) -> &'static str {
    match sort {
        Sort::Notable => "Errors, then slowest",
        Sort::Newest => "Newest",
        Sort::Slowest => "Slowest",
        Sort::Spans => "Most spans",
        Sort::Name => "Name",
    }
}

fn push_row(out: &mut String, trace: &TraceSummary, longest: u64) {
    let begin = time(trace.start);
    // `2026-01-31T12:00:00.123Z`: the date is small, the time is what is read.
    let (date, clock) = begin.split_once('T').unwrap_or(("", &begin));
    let class = if trace.errors > 0 { " class=\"error\"" } else { "" };
    let name = match trace.name.as_str() {
        "" => "(no name)",
        name => name,
    };
    let service = match trace.origin.service() {
        "" => "–",
        service => service,
    };
    let _ = write!(
        out,
        "<tr{class}><td class=\"time\"><time datetime=\"{begin}\"><span class=\"date\">{date}</span> \
         {}</time></td><td class=\"name\"><div><a href=\"/debug/traces?trace_id={}\" data-row>{}</a>",
        clock.trim_end_matches('Z'),
        trace.trace_id,
        Text(name)
    );
    if trace.errors > 0 {
        let _ = write!(
            out,
            "<span class=\"badge bad\">{}</span>",
            Plural(trace.errors as u64, "error")
        );
        if !trace.error.is_empty() {
            let shown: String = trace.error.chars().take(ERROR_CHARS).collect();
            let _ = write!(out, "<span class=\"why\">{}</span>", Text(&shown));
        }
    }
    if !trace.has_root {
        let _ = write!(
            out,
            "<span class=\"badge\" title=\"The span that all others belong to is not here: not \
             ended yet, recorded elsewhere, or displaced\">part</span>"
        );
    }
    let _ = writeln!(
        out,
        "</div></td><td class=\"service wide\"><div>{}</div></td><td class=\"count\">{}</td>\
         <td class=\"length\"><span>{}</span><svg class=\"meter\" viewBox=\"0 0 1000 1\" \
         preserveAspectRatio=\"none\" aria-hidden=\"true\"><rect width=\"{:.1}\" height=\"1\"/></svg>\
         </td></tr>",
        Text(service),
        Count(trace.spans as u64),
        Nanos(trace.duration()),
        per_mille(trace.duration(), longest).max(4.0),
    );
}
