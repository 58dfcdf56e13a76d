//! What the library's native threads have to say to those who run the system.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Shortest time between two messages of one kind.
const QUIET_TIME: Duration = Duration::from_secs(60);

/// How serious a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiagnosticLevel {
    /// All is well again, or something to know.
    Info,
    /// Something is late, was refused, or needs attention soon.
    Warning,
    /// Records were lost, or something does not work.
    Error,
}

/// Takes messages. It is called on threads of the library's own and must not
/// block.
pub trait Diagnostics: Send + Sync + Debug {
    /// Takes a message: whole sentences without a secret.
    fn report(&self, level: DiagnosticLevel, message: String);
}

/// Says each of `KINDS` kinds of message once a minute and counts the others.
#[derive(Debug)]
pub(crate) struct Reporter<const KINDS: usize> {
    to: Option<Arc<dyn Diagnostics>>,
    said: Mutex<[Said; KINDS]>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Said {
    last: Option<Instant>,
    unsaid: u64,
}

impl<const KINDS: usize> Reporter<KINDS> {
    pub(crate) fn new(to: Option<Arc<dyn Diagnostics>>) -> Self {
        Self { to, said: Mutex::new([Said::default(); KINDS]) }
    }

    /// Says it, whatever was said before.
    pub(crate) fn say_always(&self, level: DiagnosticLevel, message: String) {
        if let Some(to) = &self.to {
            to.report(level, message);
        }
    }

    /// Says it, unless the same kind was said a short time ago.
    pub(crate) fn say(
        &self,
        level: DiagnosticLevel,
        kind: impl Into<usize>,
        message: impl FnOnce() -> String,
    ) {
        let Some(to) = &self.to else { return };
        let now = Instant::now();
        let unsaid = {
            let mut said = self.said.lock();
            let Some(said) = said.get_mut(kind.into()) else { return };
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
        let reporter = Reporter::<2>::new(Some(Arc::clone(&heard) as Arc<dyn Diagnostics>));
        for n in 0..3 {
            reporter.say(DiagnosticLevel::Warning, 0_usize, || format!("refused {n}."));
        }
        reporter.say(DiagnosticLevel::Error, 1_usize, || "full.".to_owned());
        assert_eq!(*heard.0.lock(), ["refused 0.", "full."]);
    }
}
