//! Scrapes: gathering, rendering and compressing, each done once for all who
//! come while it is under way.

use std::sync::Arc;

use erlmcp_metrics::exposition::{Format, Scope};
use thiserror::Error;
use tokio::task::spawn_blocking;

use crate::body::Payload;
use crate::flight::Flights;
use crate::gzip;
use crate::lifecycle::Lifecycle;
use crate::process::ProcessFigures;
use crate::source::MetricSource;
use crate::stats::Stats;
use crate::vm::Vm;

type Shared = Option<Arc<Payload>>;

/// Answers scrapes.
pub(crate) struct Scraper {
    gatherer: Arc<Gatherer>,
    plain: Arc<Flights<(Format, Scope), Shared>>,
    gzipped: Flights<(Format, Scope), Shared>,
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
        Self { gatherer: Arc::new(gatherer), plain: Arc::default(), gzipped: Flights::default() }
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
        let rendering =
            async move { plain.join(key, || gatherer.exposition(format, scope)).await.flatten() };
        let payload = if gzip {
            self.gzipped.join(key, || compress(rendering)).await.flatten()
        } else {
            rendering.await
        };
        payload.ok_or(ScrapeFailed)
    }
}

impl Gatherer {
    async fn exposition(self: Arc<Self>, format: Format, scope: Scope) -> Shared {
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
        spawn_blocking(render).await.ok()
    }
}

async fn compress(rendering: impl Future<Output = Shared>) -> Shared {
    let plain = rendering.await?;
    let gzipped = spawn_blocking(move || gzip::compress(&plain)).await;
    gzipped.ok()?.ok().map(Arc::new)
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
