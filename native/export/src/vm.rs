//! Fresh figures of the Erlang VM at scrape time.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use erlmcp_metrics::{Family, FamilyKind, Number};

use crate::family::single;
use crate::inquiry::{Inquiry, Outcome, Reply};

/// The way back for the figures of the Erlang VM.
pub type VmReply = Reply<Vec<Family>>;

/// Whoever can have the Erlang VM gather its figures.
pub trait VmSource: Send + Sync + 'static {
    /// Asks for the figures and comes back at once; they come by `reply`, from
    /// any thread. `false`: nobody is there to gather them. A `reply` that is
    /// dropped says that this question will have no answer.
    ///
    /// Called from a thread of the server, for one question at a time.
    fn request(&self, reply: VmReply) -> bool;
}

/// Asks the Erlang VM, and remembers what it said last.
pub(crate) struct Vm {
    source: Arc<dyn VmSource>,
    inquiry: Inquiry<Vec<Family>>,
    patience: Duration,
    started: Instant,
}

/// What is known of the Erlang VM at one scrape.
#[derive(Debug)]
pub(crate) struct VmFigures {
    families: Option<Arc<Vec<Family>>>,
    stale: bool,
    age: Duration,
}

impl fmt::Debug for Vm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vm").field("inquiry", &self.inquiry).finish_non_exhaustive()
    }
}

impl Vm {
    pub(crate) fn new(source: Arc<dyn VmSource>, patience: Duration) -> Self {
        Self { source, inquiry: Inquiry::new(), patience, started: Instant::now() }
    }

    /// The VM's figures: fresh ones, or the last there are once the VM has let
    /// the time pass.
    pub(crate) async fn figures(&self) -> VmFigures {
        let ask = |reply| self.source.request(reply);
        self.known(self.inquiry.answer(self.patience, ask).await)
    }

    /// As [`Self::figures`], for a thread that may wait.
    pub(crate) fn figures_blocking(&self) -> VmFigures {
        let ask = |reply| self.source.request(reply);
        self.known(self.inquiry.answer_blocking(self.patience, ask))
    }

    fn known(&self, outcome: Outcome<Vec<Family>>) -> VmFigures {
        let (stale, answer) = match outcome {
            Outcome::Fresh(answer) => (false, Some(answer)),
            Outcome::Stale(answer) => (true, answer),
        };
        let since = answer.as_ref().map_or(self.started, |answer| answer.at);
        VmFigures { families: answer.map(|answer| answer.value), stale, age: since.elapsed() }
    }
}

impl VmFigures {
    /// Appends the VM's families, and two that say how old they are.
    pub(crate) fn append_to(&self, families: &mut Vec<Family>) {
        families.extend(self.families.iter().flat_map(|known| known.iter().cloned()));
        families.push(single(
            "erlmcp_vm_metrics_stale",
            FamilyKind::Gauge,
            "Whether the Erlang VM gave no figures in time for this scrape: 1 if those shown are older.",
            Number::Uint(u64::from(self.stale)),
        ));
        families.push(single(
            "erlmcp_vm_metrics_age_seconds",
            FamilyKind::Gauge,
            "Time since the Erlang VM last gave its figures, or since the start if it never did.",
            Number::Float(self.age.as_secs_f64()),
        ));
    }
}
