//! The formats that a scrape reads.
//!
//! [`render`] takes a reading of every series and writes it; recording goes on
//! meanwhile and no recording thread waits. The text is written to chunks, so
//! that a large exposition never needs one large allocation and can be shared
//! by several connections.

mod native;
mod protobuf;
mod text;

use std::collections::HashSet;

use crate::family::{Family, FamilyKind};
use crate::metric::{Metric, Origin};
use crate::name::is_exposable;
use crate::reader::Reader;
use crate::registry::Registry;

/// An exposition format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// Prometheus' text format 0.0.4.
    Text,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
    /// Length-delimited `io.prometheus.client.MetricFamily` messages.
    Protobuf,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 3] = [Self::Text, Self::OpenMetrics, Self::Protobuf];

    /// The exact content type: Prometheus 3 refuses any other.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Protobuf => {
                "application/vnd.google.protobuf; \
                 proto=io.prometheus.client.MetricFamily; encoding=delimited"
            }
        }
    }

    /// A short name, for labels and options.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::OpenMetrics => "openmetrics",
            Self::Protobuf => "protobuf",
        }
    }
}

/// Which metrics an exposition shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// All of them: `/metrics`.
    All,
    /// Those that the application registered: `/metrics/custom`.
    Application,
}

/// A rendered exposition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exposition {
    /// The body, in pieces of about 64 KiB.
    pub chunks: Vec<Vec<u8>>,
    /// How many samples it carries.
    pub samples: usize,
}

/// What is said of a metric that was never declared.
const NO_HELP: &str = "Not described: declare this metric to say what it means.";

/// Renders the registry's metrics and the gathered families, sorted by name.
///
/// A gathered family whose name the registry exposes already, or that comes
/// twice, is left out: a name that stands twice would cost the whole scrape.
/// `gathered` belongs to [`Scope::All`] only.
#[must_use]
pub fn render(
    registry: &Registry,
    gathered: &[Family],
    format: Format,
    scope: Scope,
) -> Exposition {
    let own;
    let mut families = Vec::new();
    if scope == Scope::All {
        own = registry.own_families();
        families = families_beside(registry, own.iter().chain(gathered));
        families.sort_unstable_by(|a, b| base_name(a).cmp(base_name(b)));
    }
    let mut families = families.into_iter().peekable();
    let metrics = registry.sorted_metrics();
    let metrics = metrics
        .into_iter()
        .filter(|metric| scope == Scope::All || metric.origin == Origin::Application);

    let mut writer = match format {
        Format::Text => Writer::Text(text::TextWriter::new(false)),
        Format::OpenMetrics => Writer::Text(text::TextWriter::new(true)),
        Format::Protobuf => Writer::Protobuf(protobuf::ProtobufWriter::default()),
    };
    let reader = registry.reader();
    for metric in metrics {
        while let Some(family) = families.next_if(|family| base_name(family) < &*metric.base) {
            writer.family(family);
        }
        writer.metric(metric, &reader);
    }
    families.for_each(|family| writer.family(family));
    writer.finish()
}

/// Of gathered families those that can be shown beside the registry's metrics:
/// the first of each name, unless the registry has that name itself or there
/// is nothing to show.
pub fn families_beside<'a>(
    registry: &Registry,
    families: impl Iterator<Item = &'a Family>,
) -> Vec<&'a Family> {
    let mut seen = HashSet::new();
    families
        .filter(|family| {
            let (base, name) = (base_name(family), &*family.name);
            let shown = !family.samples.is_empty()
                && is_exposable(base)
                && !registry.exposes(name)
                && !registry.exposes(base)
                && !seen.contains(base)
                && !seen.contains(name);
            if shown {
                seen.extend([base, name]);
            }
            shown
        })
        .collect()
}

enum Writer {
    Text(text::TextWriter),
    Protobuf(protobuf::ProtobufWriter),
}

impl Writer {
    fn metric(&mut self, metric: &Metric, reader: &Reader<'_>) {
        match self {
            Self::Text(writer) => writer.metric(metric, reader),
            Self::Protobuf(writer) => writer.metric(metric, reader),
        }
    }

    fn family(&mut self, family: &Family) {
        match self {
            Self::Text(writer) => writer.family(family),
            Self::Protobuf(writer) => writer.family(family),
        }
    }

    fn finish(self) -> Exposition {
        match self {
            Self::Text(writer) => writer.finish(),
            Self::Protobuf(writer) => writer.finish(),
        }
    }
}

/// The type that can be announced: OpenMetrics knows no counter whose name does
/// not end in `_total`.
fn kind_of(family: &Family) -> FamilyKind {
    match family.kind {
        FamilyKind::Counter if !family.name.ends_with("_total") => FamilyKind::Untyped,
        kind => kind,
    }
}

/// The name that OpenMetrics gives a family: a counter's without `_total`.
fn base_name(family: &Family) -> &str {
    match kind_of(family) {
        FamilyKind::Counter => family.name.strip_suffix("_total").unwrap_or(&family.name),
        FamilyKind::Gauge | FamilyKind::Untyped => &family.name,
    }
}

/// A time in nanoseconds since 1970 as seconds and what is left of them.
fn seconds_and_nanos(unix_nano: u64) -> (u64, u64) {
    (unix_nano / 1_000_000_000, unix_nano % 1_000_000_000)
}

fn push_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    for byte in bytes {
        out.extend([byte >> 4, byte & 0xF].map(|digit| match digit {
            0..=9 => b'0' + digit,
            _ => b'a' - 10 + digit,
        }));
    }
}

/// Collects output in chunks.
#[derive(Debug, Default)]
struct Chunks {
    full: Vec<Vec<u8>>,
    current: Vec<u8>,
    samples: usize,
}

const CHUNK_BYTES: usize = 64 * 1024;

impl Chunks {
    /// Ends the chunk if it has reached its size. To be called between lines.
    #[inline]
    fn cut(&mut self) {
        if self.current.len() >= CHUNK_BYTES {
            let next = Vec::with_capacity(CHUNK_BYTES + CHUNK_BYTES / 8);
            self.full.push(std::mem::replace(&mut self.current, next));
        }
    }

    fn append(&mut self, other: Self) {
        self.samples += other.samples;
        for part in other.full.into_iter().chain([other.current]) {
            self.current.extend_from_slice(&part);
            self.cut();
        }
    }

    fn finish(mut self) -> Exposition {
        if !self.current.is_empty() {
            self.full.push(self.current);
        }
        Exposition { chunks: self.full, samples: self.samples }
    }
}

#[cfg(test)]
mod tests;
