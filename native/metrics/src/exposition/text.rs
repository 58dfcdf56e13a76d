//! Prometheus' text format 0.0.4 and OpenMetrics 1.0.0.
//!
//! They differ in the names of counters and infos in `# HELP` and `# TYPE`,
//! in `# UNIT`, in escaping of help, and in the `# EOF` at the end. Bounds are
//! written alike in both (`le="1.0"`), so that a series keeps its identity
//! when a server changes the format.

use super::{Chunks, Exposition, NO_HELP, push_hex};
use crate::exemplar::{ByBucket, Exemplar};
use crate::family::{Family, FamilyKind, Number};
use crate::gauge::GaugeValue;
use crate::metric::{Kind, Metric};
use crate::reader::Reader;

#[derive(Debug)]
pub(super) struct TextWriter {
    chunks: Chunks,
    openmetrics: bool,
    counts: Vec<u64>,
    exemplars: ByBucket,
}

impl TextWriter {
    pub(super) fn new(openmetrics: bool) -> Self {
        Self { chunks: Chunks::default(), openmetrics, counts: Vec::new(), exemplars: Vec::new() }
    }

    pub(super) fn finish(mut self) -> Exposition {
        if self.openmetrics {
            self.chunks.current.extend_from_slice(b"# EOF\n");
        }
        self.chunks.finish()
    }

    pub(super) fn metric(&mut self, metric: &Metric, reader: &Reader<'_>) {
        if metric.rows.read().is_empty() {
            return;
        }
        let sample_name = metric.sample_name();
        // The family `jobs_created` would clash with what OpenMetrics reserves
        // for the counter `jobs`; as `unknown` it is `jobs_created_total`.
        let is_unknown = self.openmetrics && reader.is_created_of_another(metric);
        let family = if self.openmetrics && !is_unknown { &*metric.base } else { &sample_name };
        let type_name = match (metric.kind, self.openmetrics) {
            (Kind::Counter, _) if is_unknown => "unknown",
            (Kind::Counter, _) => "counter",
            (Kind::UpDownCounter | Kind::Gauge, _) | (Kind::Info, false) => "gauge",
            (Kind::Histogram | Kind::ExponentialHistogram, _) => "histogram",
            (Kind::Info, true) => "info",
        };
        let meta = metric.meta.read().clone();
        let unit = meta.unit.as_deref().filter(|unit| {
            metric.kind != Kind::Info
                && !is_unknown
                && !unit.is_empty()
                && metric.base.strip_suffix(*unit).is_some_and(|rest| rest.ends_with('_'))
        });
        let help = meta.help.as_deref().unwrap_or(NO_HELP);
        if self.openmetrics && metric.is_signed() {
            self.signed_histogram(metric, reader, help);
            return;
        }
        self.head(family, type_name, unit, help);
        match metric.kind {
            Kind::Counter | Kind::UpDownCounter => metric.visit(|labels, series| {
                if self.openmetrics && !is_unknown {
                    reader.exemplars(metric, series, &mut self.exemplars);
                }
                let exemplar = self.exemplars.pop().map(|(_, exemplar)| exemplar);
                self.line_with(exemplar.as_ref(), &sample_name, labels, |out| {
                    push_number(out, reader.sum(metric, series))
                });
            }),
            Kind::Gauge => metric.visit(|labels, series| {
                self.line(&sample_name, labels, |out| match reader.gauge(series) {
                    GaugeValue::Int(n) => push_int(out, n),
                    GaugeValue::Float(x) => push_float(out, x),
                });
            }),
            Kind::Histogram | Kind::ExponentialHistogram => {
                let lines = HistogramLines::new(metric);
                metric
                    .visit(|labels, series| self.histogram(&lines, metric, reader, labels, series));
            }
            Kind::Info => metric.visit(|labels, _| {
                self.line(&sample_name, labels, |out| out.push(b'1'));
            }),
        }
    }

    pub(super) fn family(&mut self, family: &Family) {
        let name = if self.openmetrics { super::base_name(family) } else { &family.name };
        let type_name = match (super::kind_of(family), self.openmetrics) {
            (FamilyKind::Counter, _) => "counter",
            (FamilyKind::Gauge, _) => "gauge",
            (FamilyKind::Untyped, false) => "untyped",
            (FamilyKind::Untyped, true) => "unknown",
        };
        let help = if family.help.is_empty() { NO_HELP } else { &family.help };
        self.head(name, type_name, None, help);
        for sample in family.distinct_samples() {
            self.line(&family.name, sample.labels.as_str(), |out| push_number(out, sample.value));
        }
    }

    fn head(&mut self, name: &str, type_name: &str, unit: Option<&str>, help: &str) {
        let out = &mut self.chunks.current;
        for part in ["# HELP ", name, " "] {
            out.extend_from_slice(part.as_bytes());
        }
        for b in help.bytes() {
            match b {
                b'\\' => out.extend_from_slice(b"\\\\"),
                b'\n' => out.extend_from_slice(b"\\n"),
                b'"' if self.openmetrics => out.extend_from_slice(b"\\\""),
                other => out.push(other),
            }
        }
        for part in ["\n# TYPE ", name, " ", type_name, "\n"] {
            out.extend_from_slice(part.as_bytes());
        }
        if let (true, Some(unit)) = (self.openmetrics, unit) {
            for part in ["# UNIT ", name, " ", unit, "\n"] {
                out.extend_from_slice(part.as_bytes());
            }
        }
    }

    #[inline]
    fn line(&mut self, name: &str, labels: &str, value: impl FnOnce(&mut Vec<u8>)) {
        self.line_with(None, name, labels, value);
    }

    #[inline]
    fn line_with(
        &mut self,
        exemplar: Option<&Exemplar>,
        name: &str,
        labels: &str,
        value: impl FnOnce(&mut Vec<u8>),
    ) {
        let out = &mut self.chunks.current;
        out.extend_from_slice(name.as_bytes());
        if !labels.is_empty() {
            out.push(b'{');
            out.extend_from_slice(labels.as_bytes());
            out.push(b'}');
        }
        out.push(b' ');
        value(out);
        if let Some(exemplar) = exemplar {
            push_exemplar(out, exemplar);
        }
        out.push(b'\n');
        self.chunks.samples += 1;
        self.chunks.cut();
    }

    fn histogram(
        &mut self,
        lines: &HistogramLines,
        metric: &Metric,
        reader: &Reader<'_>,
        labels: &str,
        series: u32,
    ) {
        if self.openmetrics {
            // Before the counts, which then have what the exemplars were counted in.
            reader.exemplars(metric, series, &mut self.exemplars);
        }
        let (total, sum) = self.buckets(lines, metric, reader, labels, series);
        self.line(&lines.count, labels, |out| push_int(out, total));
        self.line(&lines.sum, labels, |out| push_float(out, sum));
    }

    /// A histogram whose sum can go down is none to OpenMetrics, and a parser
    /// may refuse the whole body for it. Its parts are shown as families of
    /// unknown type: every sample keeps its name.
    fn signed_histogram(&mut self, metric: &Metric, reader: &Reader<'_>, help: &str) {
        let lines = HistogramLines::new(metric);
        let (mut counts, mut sums) = (Self::new(true), Self::new(true));
        self.head(&format!("{}_bucket", metric.base), "unknown", None, help);
        metric.visit(|labels, series| {
            let (total, sum) = self.buckets(&lines, metric, reader, labels, series);
            counts.line(&lines.count, labels, |out| push_int(out, total));
            sums.line(&lines.sum, labels, |out| push_float(out, sum));
        });
        for (name, part) in [(&lines.count, counts), (&lines.sum, sums)] {
            self.head(name, "unknown", None, help);
            self.chunks.append(part.chunks);
        }
    }

    /// Writes the buckets of one series and returns its count and sum.
    fn buckets(
        &mut self,
        lines: &HistogramLines,
        metric: &Metric,
        reader: &Reader<'_>,
        labels: &str,
        series: u32,
    ) -> (u64, f64) {
        let sum = reader.histogram(metric, series, &mut self.counts);
        let out = &mut self.chunks.current;
        let mut total = 0_u64;
        let mut exemplars = self.exemplars.drain(..).peekable();
        for (n, (count, bound)) in (0..).zip(self.counts.iter().zip(&lines.bounds)) {
            total = total.wrapping_add(*count);
            out.extend_from_slice(&lines.bucket);
            if !labels.is_empty() {
                out.extend_from_slice(labels.as_bytes());
                out.push(b',');
            }
            out.extend_from_slice(bound);
            push_int(out, total);
            if let Some((_, exemplar)) = exemplars.next_if(|(bucket, _)| *bucket == n) {
                push_exemplar(out, &exemplar);
            }
            out.push(b'\n');
        }
        drop(exemplars);
        self.chunks.samples += lines.bounds.len();
        self.chunks.cut();
        (total, sum)
    }
}

/// The parts of a histogram's lines that are the same for all its series.
#[derive(Debug)]
struct HistogramLines {
    /// `NAME_bucket{`.
    bucket: Vec<u8>,
    /// `le="BOUND"} ` for each bucket.
    bounds: Vec<Vec<u8>>,
    count: String,
    sum: String,
}

impl HistogramLines {
    fn new(metric: &Metric) -> Self {
        let name = &metric.base;
        let bounds = metric.buckets.bounds().iter().copied().chain([f64::INFINITY]);
        Self {
            bucket: format!("{name}_bucket{{").into_bytes(),
            bounds: bounds
                .map(|bound| {
                    let mut part = b"le=\"".to_vec();
                    push_bound(&mut part, bound);
                    part.extend_from_slice(b"\"} ");
                    part
                })
                .collect(),
            count: format!("{name}_count"),
            sum: format!("{name}_sum"),
        }
    }
}

/// An exemplar behind a value: 63 characters of labels of the 128 that may be.
fn push_exemplar(out: &mut Vec<u8>, exemplar: &Exemplar) {
    out.extend_from_slice(b" # {trace_id=\"");
    push_hex(out, &exemplar.trace_id);
    out.extend_from_slice(b"\",span_id=\"");
    push_hex(out, &exemplar.span_id);
    out.extend_from_slice(b"\"} ");
    push_float(out, exemplar.value);
    let (seconds, nanos) = super::seconds_and_nanos(exemplar.time_unix_nano);
    out.extend_from_slice(format!(" {seconds}.{:03}", nanos / 1_000_000).as_bytes());
}

#[inline]
fn push_int(out: &mut Vec<u8>, n: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(n).as_bytes());
}

/// The shortest text that reads back as the same float.
#[inline]
pub(super) fn push_float(out: &mut Vec<u8>, x: f64) {
    if x.is_finite() {
        out.extend_from_slice(zmij::Buffer::new().format_finite(x).as_bytes());
    } else if x.is_nan() {
        out.extend_from_slice(b"NaN");
    } else {
        out.extend_from_slice(if x > 0.0 { b"+Inf" } else { b"-Inf" });
    }
}

/// A bound as Prometheus itself spells it (Go's shortest `%g`, `.0` added to a
/// whole number): it does so for protobuf, and from version 3 on for every
/// format, and another text would be another series.
fn push_bound(out: &mut Vec<u8>, bound: f64) {
    let scientific = format!("{bound:e}");
    match scientific.split_once('e').map(|(digits, exponent)| (digits, exponent.parse::<i32>())) {
        Some((digits, Ok(exponent))) if !(-4..6).contains(&exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            out.extend_from_slice(format!("{digits}e{sign}{:02}", exponent.abs()).as_bytes());
        }
        _ => push_float(out, bound),
    }
}

#[inline]
fn push_number(out: &mut Vec<u8>, number: Number) {
    match number {
        Number::Int(n) => push_int(out, n),
        Number::Uint(n) => push_int(out, n),
        Number::Float(x) => push_float(out, x),
    }
}
