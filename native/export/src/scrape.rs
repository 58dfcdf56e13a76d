//! Scrapes: gathering, rendering and compressing, each done once for all who
//! come while it is under way.

use std::sync::Arc;

use erlmcp_metrics::exposition::{Format, Scope};
use thiserror::Error;
use tokio::sync::Semaphore;

use crate::body::Payload;
use crate::flight::Flights;
use crate::gzip;
use crate::lifecycle::Lifecycle;
use crate::process::ProcessFigures;
use crate::source::MetricSource;
use crate::stats::Stats;
use crate::turn::in_turn;
use crate::vm::Vm;

type Shared = Option<Arc<Payload>>;

/// Expositions that are rendered or compressed side by side: one for each of the
/// common formats would be two; more only wait for the same cores.
pub(crate) const RENDERINGS: usize = 3;

/// Answers scrapes.
pub(crate) struct Scraper {
    gatherer: Arc<Gatherer>,
    plain: Arc<Flights<(Format, Scope), Shared>>,
    gzipped: Flights<(Format, Scope), Shared>,
    renderings: Arc<Semaphore>,
}

/// Everything that an exposition is made of.
pub(crate) struct Gatherer {
    pub(crate) metrics: Arc<dyn MetricSource>,
    pub(crate) vm: Option<Vm>,
    pub(crate) process: Option<ProcessFigures>,
    pub(crate) stats: Arc<Stats>,
    pub(crate) lifecycle: Arc<Lifecycle>,
}

/// A rendering that panicked, or that the end of the server interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the metrics could not be rendered")]
pub(crate) struct ScrapeFailed;

impl Scraper {
    pub(crate) fn new(gatherer: Gatherer) -> Self {
        Self {
            gatherer: Arc::new(gatherer),
            plain: Arc::default(),
            gzipped: Flights::default(),
            renderings: Arc::new(Semaphore::new(RENDERINGS)),
        }
    }

    /// The body of a scrape.
    pub(crate) async fn scrape(
        &self,
        format: Format,
        scope: Scope,
        gzip: bool,
    ) -> Result<Arc<Payload>, ScrapeFailed> {
        let key = (format, scope);
        let (plain, gatherer) = (Arc::clone(&self.plain), Arc::clone(&self.gatherer));
        let turns = Arc::clone(&self.renderings);
        let rendering = async move {
            plain.join(key, || gatherer.exposition(format, scope, turns)).await.flatten()
        };
        let payload = if gzip {
            let turns = Arc::clone(&self.renderings);
            self.gzipped.join(key, || compress(rendering, turns)).await.flatten()
        } else {
            rendering.await
        };
        payload.ok_or(ScrapeFailed)
    }
}

impl Gatherer {
    async fn exposition(
        self: Arc<Self>,
        format: Format,
        scope: Scope,
        turns: Arc<Semaphore>,
    ) -> Shared {
        let vm = match &self.vm {
            Some(vm) if scope == Scope::All => Some(vm.figures().await),
            _ => None,
        };
        let render = move || {
            let mut gathered = Vec::new();
            if scope == Scope::All {
                if let Some(vm) = vm {
                    vm.append_to(&mut gathered);
                }
                if let Some(process) = &self.process {
                    gathered.extend(process.families());
                }
                self.stats.append_to(&mut gathered, self.lifecycle.connections());
            }
            let payload = Payload::new(self.metrics.render(&gathered, format, scope).chunks);
            if scope == Scope::All {
                self.stats.scrape_size(format, payload.bytes());
            }
            Arc::new(payload)
        };
        in_turn(turns, render).await
    }
}

async fn compress(rendering: impl Future<Output = Shared>, turns: Arc<Semaphore>) -> Shared {
    let plain = rendering.await?;
    in_turn(turns, move || gzip::compress(&plain)).await?.ok().map(Arc::new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::RegistrySource;
    use erlmcp_metrics::{Options, Registry};

    fn scraper() -> Scraper {
        let registry = Registry::new(Options::default());
        Scraper::new(Gatherer {
            metrics: Arc::new(RegistrySource::new(registry).unwrap()),
            vm: None,
            process: None,
            stats: Arc::default(),
            lifecycle: Lifecycle::new(),
        })
    }

    #[tokio::test]
    async fn those_who_come_together_get_the_same_bytes() {
        let scraper = scraper();
        for gzip in [false, true] {
            let scrape = || scraper.scrape(Format::Text, Scope::All, gzip);
            let (first, second) = tokio::join!(scrape(), scrape());
            let (first, later) = (first.unwrap(), scrape().await.unwrap());
            assert!(Arc::ptr_eq(&first, &second.unwrap()), "gzip: {gzip}");
            assert!(!Arc::ptr_eq(&first, &later), "gzip: {gzip}");
        }
    }
}
