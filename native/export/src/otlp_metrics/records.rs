//! The metrics of a node, collected when the exporter asks for them.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use erlmcp_metrics::{Family, Registry};
use erlmcp_trace::Records;
use parking_lot::Mutex;

use super::encode::encode_metrics;
use super::temporality::{Temporality, TemporalityState};
use crate::process::ProcessFigures;
use crate::vm::{Vm, VmSource};

/// Whoever has families to be collected with the others, and has them at once.
pub trait FamilySource: Send + Sync + 'static {
    /// The families as of now.
    fn families(&self) -> Vec<Family>;
}

/// A registry, and what is gathered beside it, as OTLP records.
pub struct RegistryRecords {
    registry: Registry,
    vm: Option<Vm>,
    process: Option<ProcessFigures>,
    others: Vec<Arc<dyn FamilySource>>,
    /// Also keeps two collections from mixing.
    state: Mutex<TemporalityState>,
}

impl fmt::Debug for RegistryRecords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryRecords")
            .field("vm", &self.vm)
            .field("others", &self.others.len())
            .finish_non_exhaustive()
    }
}

impl RegistryRecords {
    /// The metrics of a registry, and its figures about itself.
    #[must_use]
    pub fn new(registry: Registry, temporality: Temporality) -> Self {
        let state = Mutex::new(TemporalityState::new(temporality, registry.created_unix_nano()));
        Self { registry, vm: None, process: None, others: Vec::new(), state }
    }

    /// With the figures of the Erlang VM, for which a collection waits up to
    /// `patience`. Without an answer in time it has the last ones.
    #[must_use]
    pub fn with_vm(mut self, source: Arc<dyn VmSource>, patience: Duration) -> Self {
        self.vm = Some(Vm::new(source, patience));
        self
    }

    /// With the figures of this process, where the system tells them.
    #[must_use]
    pub fn with_process_figures(mut self) -> Self {
        self.process = Some(ProcessFigures::default());
        self
    }

    /// With the families of somebody else.
    #[must_use]
    pub fn with_families(mut self, source: Arc<dyn FamilySource>) -> Self {
        self.others.push(source);
        self
    }

    /// Encodes all metrics as of now. Blocks while it waits for the VM, and
    /// for another collection; not for a thread that must not wait.
    #[must_use]
    pub fn collect(&self) -> Records {
        let mut state = self.state.lock();
        let mut gathered = Vec::new();
        if let Some(vm) = &self.vm {
            vm.figures_blocking().append_to(&mut gathered);
        }
        if let Some(process) = &self.process {
            gathered.extend(process.families());
        }
        for other in &self.others {
            gathered.extend(other.families());
        }
        encode_metrics(&self.registry, &gathered, &mut state, now_unix_nano())
    }
}

fn now_unix_nano() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}
