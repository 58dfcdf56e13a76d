//! What the server counts about itself.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use erlmcp_metrics::exposition::Format;
use erlmcp_metrics::{Family, FamilyKind, Number};
use parking_lot::Mutex;

use crate::door::Counts;
use crate::family::{labelled, single};

/// The label value of requests whose path the server does not know: clients
/// cannot make series.
pub(crate) const OTHER_PATH: &str = "other";

/// Counts of the server, and the families that show them.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    text: PerFormat,
    openmetrics: PerFormat,
    protobuf: PerFormat,
    rejected: AtomicU64,
    accept_errors: AtomicU64,
    header_timeouts: AtomicU64,
    write_timeouts: AtomicU64,
    slow_readers: AtomicU64,
    clients_gone: AtomicU64,
    /// What the door counts.
    pub(crate) door: Counts,
    /// By path and status code. Both come from fixed sets.
    requests: Mutex<BTreeMap<(&'static str, u16), u64>>,
}

#[derive(Debug, Default)]
struct PerFormat {
    scrapes: AtomicU64,
    bytes: AtomicU64,
}

/// Why a connection ended before its time.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Cut {
    /// The head of a request took too long.
    HeaderTimeout,
    /// The client took nothing of a response for too long.
    WriteTimeout,
    /// The client took a response, but too slowly.
    SlowReader,
    /// The client went away in the middle of a request or a response.
    ClientGone,
}

impl Stats {
    pub(crate) fn scrape(&self, format: Format) {
        self.of(format).scrapes.fetch_add(1, Relaxed);
    }

    /// Notes the size of a whole exposition, uncompressed.
    pub(crate) fn scrape_size(&self, format: Format, bytes: u64) {
        self.of(format).bytes.store(bytes, Relaxed);
    }

    pub(crate) fn request(&self, path: &'static str, code: u16) {
        *self.requests.lock().entry((path, code)).or_default() += 1;
    }

    pub(crate) fn rejected(&self) {
        self.rejected.fetch_add(1, Relaxed);
    }

    pub(crate) fn accept_error(&self) {
        self.accept_errors.fetch_add(1, Relaxed);
    }

    pub(crate) fn cut(&self, reason: Cut) {
        let count = match reason {
            Cut::HeaderTimeout => &self.header_timeouts,
            Cut::WriteTimeout => &self.write_timeouts,
            Cut::SlowReader => &self.slow_readers,
            Cut::ClientGone => &self.clients_gone,
        };
        count.fetch_add(1, Relaxed);
    }

    /// Appends the families, with the number of connections open now.
    pub(crate) fn append_to(&self, families: &mut Vec<Family>, connections: usize) {
        let formats = Format::ALL.map(|format| (format.as_str(), self.of(format)));
        families.push(labelled(
            "erlmcp_scrapes_total",
            FamilyKind::Counter,
            "Scrapes, by exposition format.",
            formats.map(|(name, of)| ([("format", name)], of.scrapes.load(Relaxed))),
        ));
        // A gauge: the size moves with the number of series and hardly from one
        // scrape to the next, so the last one says all that buckets could.
        families.push(labelled(
            "erlmcp_scrape_size_bytes",
            FamilyKind::Gauge,
            "Size of the last rendering of /metrics before compression, by exposition format.",
            formats
                .map(|(name, of)| ([("format", name)], of.bytes.load(Relaxed)))
                .into_iter()
                .filter(|(_, bytes)| *bytes > 0),
        ));
        families.push(single(
            "erlmcp_http_connections",
            FamilyKind::Gauge,
            "Connections open to the HTTP server.",
            Number::Uint(connections as u64),
        ));
        families.push(single(
            "erlmcp_http_connections_rejected_total",
            FamilyKind::Counter,
            "Connections refused because as many as may be open were.",
            Number::Uint(self.rejected.load(Relaxed)),
        ));
        families.push(labelled(
            "erlmcp_http_connections_cut_total",
            FamilyKind::Counter,
            "Connections that ended in the middle of a request or a response, by reason.",
            [
                ([("reason", "header_timeout")], self.header_timeouts.load(Relaxed)),
                ([("reason", "write_timeout")], self.write_timeouts.load(Relaxed)),
                ([("reason", "slow_reader")], self.slow_readers.load(Relaxed)),
                ([("reason", "client_gone")], self.clients_gone.load(Relaxed)),
            ],
        ));
        families.push(single(
            "erlmcp_http_accept_errors_total",
            FamilyKind::Counter,
            "Connections that could not be accepted, mostly for want of file descriptors.",
            Number::Uint(self.accept_errors.load(Relaxed)),
        ));
        let requests = self.requests.lock().clone();
        let requests: Vec<_> = requests
            .iter()
            .map(|((path, code), count)| (*path, code.to_string(), *count))
            .collect();
        families.push(labelled(
            "erlmcp_http_requests_total",
            FamilyKind::Counter,
            "HTTP requests answered, by path and status code.",
            requests.iter().map(|(path, code, n)| ([("path", *path), ("code", code)], *n)),
        ));
        self.door.append_to(families);
    }

    fn of(&self, format: Format) -> &PerFormat {
        match format {
            Format::Text => &self.text,
            Format::OpenMetrics => &self.openmetrics,
            Format::Protobuf => &self.protobuf,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_count_is_shown() {
        let stats = Stats::default();
        stats.scrape(Format::Text);
        stats.scrape_size(Format::Text, 10);
        stats.request("/metrics", 200);
        stats.request("/metrics", 200);
        stats.request(OTHER_PATH, 404);
        stats.cut(Cut::ClientGone);
        let mut families = Vec::new();
        stats.append_to(&mut families, 3);
        let shown: Vec<String> = families
            .iter()
            .flat_map(|f| {
                f.samples.iter().map(|s| format!("{}{} {}", f.name, s.labels, s.value.as_f64()))
            })
            .collect();
        assert_eq!(
            shown,
            [
                "erlmcp_scrapes_total{format=\"text\"} 1",
                "erlmcp_scrapes_total{format=\"openmetrics\"} 0",
                "erlmcp_scrapes_total{format=\"protobuf\"} 0",
                "erlmcp_scrape_size_bytes{format=\"text\"} 10",
                "erlmcp_http_connections{} 3",
                "erlmcp_http_connections_rejected_total{} 0",
                "erlmcp_http_connections_cut_total{reason=\"header_timeout\"} 0",
                "erlmcp_http_connections_cut_total{reason=\"write_timeout\"} 0",
                "erlmcp_http_connections_cut_total{reason=\"slow_reader\"} 0",
                "erlmcp_http_connections_cut_total{reason=\"client_gone\"} 1",
                "erlmcp_http_accept_errors_total{} 0",
                "erlmcp_http_requests_total{code=\"200\",path=\"/metrics\"} 2",
                "erlmcp_http_requests_total{code=\"404\",path=\"other\"} 1",
            ]
        );
    }
}
