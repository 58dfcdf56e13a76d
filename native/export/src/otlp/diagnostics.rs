//! What the exporter has to say to those who run the system.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Shortest time between two messages of one kind.
const QUIET_TIME: Duration = Duration::from_secs(60);

/// How serious a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiagnosticLevel {
    /// All is well again.
    Info,
    /// Something is late or was refused.
    Warning,
    /// Records were lost.
    Error,
}

/// Takes the exporter's messages. It is called on the exporter's threads and
/// must not block.
pub trait Diagnostics: Send + Sync + Debug {
    /// Takes a message: whole sentences without a secret.
    fn report(&self, level: DiagnosticLevel, message: String);
}

/// What a message is about. Each kind is said at most once a minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Failing,
    Recovered,
    PartialSuccess,
    Rejected,
    TooLarge,
    GivenUp,
    Spool,
}

const KINDS: usize = 7;

/// Says each kind of message once a minute and counts the others.
#[derive(Debug)]
pub(crate) struct Reporter {
    to: Option<Arc<dyn Diagnostics>>,
    said: Mutex<[Said; KINDS]>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Said {
    last: Option<Instant>,
    unsaid: u64,
}

impl Reporter {
    pub(crate) fn new(to: Option<Arc<dyn Diagnostics>>) -> Self {
        Self { to, said: Mutex::default() }
    }

    /// Says it, unless the same kind was said a short time ago.
    pub(crate) fn say(&self, level: DiagnosticLevel, kind: Kind, message: impl FnOnce() -> String) {
        let Some(to) = &self.to else { return };
        let now = Instant::now();
        let unsaid = {
            let mut said = self.said.lock();
            let Some(said) = said.get_mut(kind as usize) else { return };
            if said.last.is_some_and(|last| now.duration_since(last) < QUIET_TIME) {
                said.unsaid += 1;
                return;
            }
            said.last = Some(now);
            std::mem::take(&mut said.unsaid)
        };
        let message = match unsaid {
            0 => message(),
            _ => format!("{} ({unsaid} more like it since the last message)", message()),
        };
        to.report(level, message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default)]
    struct Heard(Mutex<Vec<String>>);

    impl Diagnostics for Heard {
        fn report(&self, _level: DiagnosticLevel, message: String) {
            self.0.lock().push(message);
        }
    }

    #[test]
    fn each_kind_is_said_once_a_minute() {
        let heard = Arc::new(Heard::default());
        let reporter = Reporter::new(Some(Arc::clone(&heard) as Arc<dyn Diagnostics>));
        for n in 0..3 {
            reporter.say(DiagnosticLevel::Warning, Kind::Rejected, || format!("refused {n}."));
        }
        reporter.say(DiagnosticLevel::Error, Kind::Spool, || "full.".to_owned());
        assert_eq!(*heard.0.lock(), ["refused 0.", "full."]);
    }
}
