//! What the exporter is given: queues, a collector of metrics, and taps.

use std::fmt::Debug;
use std::sync::Arc;

use erlmcp_trace::{Queue, Records};

use super::diagnostics::Diagnostics;
use super::frame::ScopeBytes;
use super::signal::Signal;
use crate::file_exporter::{FileExporter, RequestKind};
use crate::otlp_metrics::RegistryRecords;
use crate::traces::{Origin, TraceRing};

/// Where the exporter takes records from, and who else sees them.
#[derive(Debug, Clone)]
pub struct ExporterSources {
    /// Ended spans.
    pub spans: Arc<Queue>,
    /// Log records.
    pub logs: Arc<Queue>,
    /// Metrics; without, there are none to export.
    pub metrics: Option<Arc<dyn MetricRecords>>,
    /// Those who see every record.
    pub taps: Vec<Arc<dyn Tap>>,
    /// Who is told when something is wrong.
    pub diagnostics: Option<Arc<dyn Diagnostics>>,
}

/// Gives the metrics as they are now.
pub trait MetricRecords: Send + Sync + Debug {
    /// Encodes them. It may block, for less than a second.
    fn collect(&self) -> Records;
}

/// Sees every buffer of records as it leaves the queue or the collector, before
/// it is sent: a ring of recent traces, a file, a test. It is called on the
/// exporter's thread and must not block.
pub trait Tap: Send + Sync + Debug {
    /// Sees records of a signal.
    fn records(&self, signal: Signal, resource_and_scope: &ScopeBytes, records: &Records);
}

impl MetricRecords for RegistryRecords {
    fn collect(&self) -> Records {
        Self::collect(self)
    }
}

impl Tap for TraceRing {
    fn records(&self, signal: Signal, resource_and_scope: &ScopeBytes, records: &Records) {
        if signal == Signal::Traces {
            self.add(resource_and_scope.resource(), resource_and_scope.scope(), records);
        }
    }
}

impl Tap for FileExporter {
    fn records(&self, signal: Signal, resource_and_scope: &ScopeBytes, records: &Records) {
        let kind = match signal {
            Signal::Traces => RequestKind::Traces,
            Signal::Metrics => RequestKind::Metrics,
            Signal::Logs => RequestKind::Logs,
        };
        let origin = Origin::new(resource_and_scope.resource(), resource_and_scope.scope());
        self.write(kind, &origin, records);
    }
}
