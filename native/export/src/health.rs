//! Health probes: does the Erlang VM answer, and what does it say?

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::inquiry::{Inquiry, Outcome, Reply};
use crate::json::{push_member, push_string};
use crate::rfc3339;

/// Which probe was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// The whole picture: `/health`, `/healthz`.
    Health,
    /// Whether the node is worth keeping: `/live`, `/liveness`, `/health/live`.
    Live,
    /// Whether the node can take work: `/ready`, `/readiness`, `/health/ready`.
    Ready,
    /// Whether the node has finished starting: `/startup`, `/health/startup`.
    Startup,
}

impl Probe {
    /// The probe's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Health => "health",
            Self::Live => "live",
            Self::Ready => "ready",
            Self::Startup => "startup",
        }
    }
}

/// One thing that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// The check's name, distinct within a report.
    pub name: String,
    /// Whether it passed.
    pub healthy: bool,
    /// Whether the probe fails when it does.
    pub critical: bool,
    /// A sentence for people; may be empty.
    pub detail: String,
    /// How long it took, where that says something.
    pub duration: Option<Duration>,
    /// How old its result was when the report was made, where it is not of now.
    pub age: Option<Duration>,
}

/// What the Erlang VM answers to a probe. That it answers at all is a check of
/// its own, which the server adds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthReport {
    /// The node's name as of now.
    pub node: String,
    /// Time since the node's start.
    pub uptime: Duration,
    /// What else was checked; the probe passes when every critical check does.
    pub checks: Vec<Check>,
}

/// The way back for a [`HealthReport`].
pub type HealthReply = Reply<HealthReport>;

/// Whoever can have the Erlang VM answer health probes.
pub trait HealthSource: Send + Sync + 'static {
    /// Asks for a report and comes back at once; it comes by `reply`, from any
    /// thread. `false`: nobody is there to answer. A `reply` that is dropped
    /// says that this question will have no answer.
    ///
    /// Called from a thread of the server, for one question of each probe at a
    /// time. While nobody answers it is called again every few milliseconds,
    /// as long as the probe has patience.
    fn request(&self, probe: Probe, reply: HealthReply) -> bool;
}

/// Puts probes to the Erlang VM and tells what came of it.
pub(crate) struct Health {
    source: Arc<dyn HealthSource>,
    health: Inquiry<HealthReport>,
    live: Inquiry<HealthReport>,
    ready: Inquiry<HealthReport>,
    startup: Inquiry<HealthReport>,
    patience: Duration,
    started: Instant,
    version: String,
    node: String,
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Health").finish_non_exhaustive()
    }
}

/// The response to a probe.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) healthy: bool,
    pub(crate) json: String,
}

/// Name of the check that the server makes itself.
const BEAM: &str = "beam";
/// Time between two questions when nobody was there to answer the first: the
/// process that answers may be being restarted.
const RETRY_TIME: Duration = Duration::from_millis(20);

impl Health {
    pub(crate) fn new(
        source: Arc<dyn HealthSource>,
        patience: Duration,
        version: String,
        node: String,
    ) -> Self {
        Self {
            source,
            health: Inquiry::new(),
            live: Inquiry::new(),
            ready: Inquiry::new(),
            startup: Inquiry::new(),
            patience,
            started: Instant::now(),
            version,
            node,
        }
    }

    /// Waits for the VM's report, a bounded time, and judges it. `details`:
    /// whether the client may see more of the checks than their states.
    pub(crate) async fn probe(&self, probe: Probe, details: bool) -> Verdict {
        let asked_at = Instant::now();
        let (beam, last) = match self.ask(probe, asked_at).await {
            Outcome::Fresh(answer) => {
                let took = answer.at.saturating_duration_since(asked_at).as_secs_f64() * 1e3;
                (beam(true, format!("answered after {took:.3} ms")), Some(answer))
            }
            Outcome::Stale(last) => {
                let waited = asked_at.elapsed().as_millis();
                (beam(false, format!("no answer after {waited} ms")), last)
            }
        };
        let (node, uptime) = match &last {
            Some(answer) => (&answer.value.node, answer.value.uptime + answer.at.elapsed()),
            None => (&self.node, self.started.elapsed()),
        };
        // Checks of an earlier report would pass for today's.
        let reported = last.as_ref().filter(|_| beam.healthy).map(|a| a.value.checks.as_slice());
        let checks: Vec<&Check> =
            std::iter::once(&beam).chain(reported.unwrap_or_default()).collect();
        let healthy = checks.iter().all(|check| check.healthy || !check.critical);
        let status = match checks.iter().all(|check| check.healthy) {
            false if healthy => "degraded",
            _ => word(healthy),
        };
        let json = self.json(status, node, uptime, &checks, details);
        Verdict { healthy, json }
    }

    /// Puts the question until it is answered or the time is up.
    async fn ask(&self, probe: Probe, asked_at: Instant) -> Outcome<HealthReport> {
        let inquiry = match probe {
            Probe::Health => &self.health,
            Probe::Live => &self.live,
            Probe::Ready => &self.ready,
            Probe::Startup => &self.startup,
        };
        loop {
            let left = self.patience.saturating_sub(asked_at.elapsed());
            let outcome = inquiry.answer(left, |reply| self.source.request(probe, reply)).await;
            let is_late = self.patience.saturating_sub(asked_at.elapsed()) <= RETRY_TIME;
            if is_late || matches!(outcome, Outcome::Fresh(_)) {
                return outcome;
            }
            tokio::time::sleep(RETRY_TIME).await;
        }
    }

    fn json(
        &self,
        status: &str,
        node: &str,
        uptime: Duration,
        checks: &[&Check],
        details: bool,
    ) -> String {
        let mut out = String::from("{");
        push_member(&mut out, "status", status);
        out.push(',');
        push_member(&mut out, "version", &self.version);
        out.push_str(&format!(",\"uptime\":{:.3},", uptime.as_secs_f64()));
        push_member(&mut out, "node", node);
        out.push(',');
        push_member(&mut out, "timestamp", &rfc3339::format(SystemTime::now()));
        out.push_str(",\"checks\":{");
        for (index, check) in checks.iter().enumerate() {
            if index > 0 {
                out.push(',');
            }
            // Of the server's own check there is nothing to hide.
            push_check(&mut out, check, details || check.name == BEAM);
        }
        out.push_str("}}\n");
        out
    }
}

fn push_check(out: &mut String, check: &Check, details: bool) {
    push_string(out, &check.name);
    out.push_str(":{");
    push_member(out, "status", word(check.healthy));
    if details && !check.detail.is_empty() {
        out.push(',');
        push_member(out, "detail", &check.detail);
    }
    if !check.critical {
        out.push_str(",\"critical\":false");
    }
    for (name, time) in [("duration", check.duration), ("age", check.age)] {
        if let Some(time) = time {
            out.push_str(&format!(",\"{name}\":{:.6}", time.as_secs_f64()));
        }
    }
    out.push('}');
}

fn beam(healthy: bool, detail: String) -> Check {
    let name = BEAM.to_owned();
    Check { name, healthy, critical: true, detail, duration: None, age: None }
}

const fn word(healthy: bool) -> &'static str {
    if healthy { "healthy" } else { "unhealthy" }
}
