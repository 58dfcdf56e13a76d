//! Files that are read again when they change.
//!
//! Content is compared, not times: Kubernetes swaps links, and a file may be
//! written twice within the resolution of its time. What cannot be used leaves
//! everything as it was; it is said and counted once, and tried again when any
//! of the files changes. So a certificate and its key may be replaced one after
//! the other.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval_at};
use zeroize::Zeroizing;

use super::counts::Counts;
use super::error::DoorError;
use super::file::{Digest, NamedFile, sha256};
use super::refusal::Reports;
use crate::diagnostics::DiagnosticLevel;
use crate::lifecycle::Lifecycle;
use crate::stats::Stats;

/// What files hold.
pub(crate) type Contents = [Zeroizing<Vec<u8>>];

/// Something made of files, and what is worth a warning about it.
pub(crate) struct Made<T> {
    pub(crate) value: T,
    pub(crate) warning: Option<String>,
}

type Make<T> = dyn Fn(&[NamedFile], &Contents) -> Result<Made<T>, DoorError> + Send + Sync;

/// Something made of files, as they were when they could last be used.
pub(crate) struct Reloaded<T> {
    what: &'static str,
    files: Vec<NamedFile>,
    make: Box<Make<T>>,
    current: ArcSwap<T>,
    /// What was tried last: the digests of the files, or why they could not be
    /// read.
    tried: Mutex<Result<Vec<Digest>, String>>,
    warnings: Mutex<Vec<String>>,
}

impl<T> fmt::Debug for Reloaded<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloaded").field("what", &self.what).finish_non_exhaustive()
    }
}

fn read_all(files: &[NamedFile]) -> Result<Vec<Zeroizing<Vec<u8>>>, DoorError> {
    files.iter().map(NamedFile::read).collect()
}

fn digests(contents: &Contents) -> Vec<Digest> {
    contents.iter().map(|bytes| sha256(bytes)).collect()
}

impl<T: Send + Sync + 'static> Reloaded<T> {
    /// Reads the files for the first time.
    pub(crate) fn open(
        what: &'static str,
        files: Vec<NamedFile>,
        make: impl Fn(&[NamedFile], &Contents) -> Result<Made<T>, DoorError> + Send + Sync + 'static,
    ) -> Result<Arc<Self>, DoorError> {
        let contents = read_all(&files)?;
        let made = make(&files, &contents)?;
        let warnings = warnings(&files, made.warning);
        Ok(Arc::new(Self {
            what,
            tried: Mutex::new(Ok(digests(&contents))),
            files,
            make: Box::new(make),
            current: ArcSwap::from_pointee(made.value),
            warnings: Mutex::new(warnings),
        }))
    }

    fn paths(&self) -> String {
        let paths: Vec<_> = self.files.iter().map(|file| file.path.display().to_string()).collect();
        paths.join(", ")
    }

    pub(crate) fn get(&self) -> Arc<T> {
        self.current.load_full()
    }
}

/// Something that is looked at again and again.
pub(crate) trait Watched: Send + Sync {
    /// Reads the files and takes what has changed. Blocks.
    fn refresh(&self, counts: &Counts, reports: &Reports);

    /// What is worth a warning since the last time this was asked.
    fn warnings(&self) -> Vec<String>;

    /// The kind of files, for counts.
    fn what(&self) -> &'static str;
}

impl<T: Send + Sync + 'static> Watched for Reloaded<T> {
    fn refresh(&self, counts: &Counts, reports: &Reports) {
        let read = read_all(&self.files);
        let now = match &read {
            Ok(contents) => Ok(digests(contents)),
            Err(error) => Err(error.to_string()),
        };
        {
            let mut tried = self.tried.lock();
            if *tried == now {
                return;
            }
            *tried = now;
        }
        match read.and_then(|contents| (self.make)(&self.files, &contents)) {
            Ok(made) => {
                self.current.store(Arc::new(made.value));
                counts.reloaded(self.what, true);
                let message = format!("New {} from {} from now on.", self.what, self.paths());
                reports.say(DiagnosticLevel::Info, message);
                for warning in warnings(&self.files, made.warning) {
                    reports.say(DiagnosticLevel::Warning, warning);
                }
            }
            Err(error) => {
                counts.reloaded(self.what, false);
                let message = format!(
                    "{error} (Changed files are not taken: what was read before stays, until they \
                     change again.)"
                );
                reports.say(DiagnosticLevel::Error, message);
            }
        }
    }

    fn warnings(&self) -> Vec<String> {
        std::mem::take(&mut *self.warnings.lock())
    }

    fn what(&self) -> &'static str {
        self.what
    }
}

fn warnings(files: &[NamedFile], made: Option<String>) -> Vec<String> {
    files.iter().filter_map(NamedFile::exposed).chain(made).collect()
}

/// Everything that is looked at.
pub(crate) struct Watch {
    pub(crate) watched: Vec<Arc<dyn Watched>>,
    pub(crate) interval: Duration,
    pub(crate) reports: Arc<Reports>,
}

impl Watch {
    /// Says what there is to warn of, and looks at the files until the server
    /// stops. A file system that hangs costs one thread for blocking work.
    pub(crate) async fn keep(self, stats: Arc<Stats>, lifecycle: Arc<Lifecycle>) {
        for watched in &self.watched {
            stats.door.watched(watched.what());
            for warning in watched.warnings() {
                self.reports.say(DiagnosticLevel::Warning, warning);
            }
        }
        if self.watched.is_empty() {
            return;
        }
        tokio::select! {
            () = lifecycle.stopped() => {}
            () = self.look(&stats) => {}
        }
    }

    async fn look(&self, stats: &Arc<Stats>) {
        let begin = tokio::time::Instant::now() + self.interval;
        let mut ticks = interval_at(begin, self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let (watched, reports) = (self.watched.clone(), Arc::clone(&self.reports));
            let stats = Arc::clone(stats);
            // One that panics has changed nothing; the next look is another one.
            let _ = spawn_blocking(move || {
                for watched in &watched {
                    watched.refresh(&stats.door, &reports);
                }
            })
            .await;
        }
    }
}
