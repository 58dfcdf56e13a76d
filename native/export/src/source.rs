//! What the server renders: the registry, behind a trait.

use std::fmt;
use std::sync::Arc;

use erlmcp_metrics::exposition::{self, Exposition, Format, Scope};
use erlmcp_metrics::{
    BindError, Declaration, Family, Kind, LabelSet, MetricName, NameError, Origin, Recorder,
    Registry, SeriesId,
};
use parking_lot::Mutex;
use thiserror::Error;

use crate::otlp_metrics::FamilySource;

/// Whoever holds the metrics that a scrape shows.
pub trait MetricSource: Send + Sync + 'static {
    /// Renders the metrics and the gathered families. May take as long as it
    /// needs: it runs on a thread for blocking work, at most once at a time for
    /// each format and scope.
    fn render(&self, gathered: &[Family], format: Format, scope: Scope) -> Exposition;

    /// Records how long a scrape took, from the request's arrival until its
    /// response was ready to be sent.
    fn observe_scrape(&self, seconds: f64);

    /// Counts somebody who was not let in. Those who do not, as by default,
    /// show no count.
    fn auth_failure(&self, reason: &'static str) {
        let _ = reason;
    }
}

/// The histogram that [`MetricSource::observe_scrape`] of a [`RegistrySource`]
/// records into.
const SCRAPE_DURATION: &str = "erlmcp_scrape_duration_seconds";

/// The counter that [`MetricSource::auth_failure`] of a [`RegistrySource`] adds
/// to. Applications count refusals of their own in it, as other components.
const AUTH_FAILURES: &str = "erlmcp_auth_failures_total";
const COMPONENT: &str = "metrics_endpoint";

/// A [`Registry`] as the source of scrapes.
#[derive(Debug)]
pub struct RegistrySource {
    registry: Registry,
    duration_name: MetricName,
    duration: Mutex<Duration>,
    others: Others,
}

/// Those who have families of their own to be shown.
#[derive(Default)]
struct Others(Vec<Arc<dyn FamilySource>>);

impl fmt::Debug for Others {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} sources", self.0.len())
    }
}

/// The recorder belongs to nobody's thread but to whoever holds the lock.
#[derive(Debug)]
struct Duration {
    recorder: Recorder,
    series: SeriesId,
}

/// Why a registry cannot be the source of scrapes.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SourceError {
    /// The name of the server's own histogram is not a metric's name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The server's own histogram cannot be registered.
    #[error("cannot register {SCRAPE_DURATION}: {0}")]
    Register(#[from] BindError),
}

impl RegistrySource {
    /// Makes `registry` a source of scrapes; it registers
    /// `erlmcp_scrape_duration_seconds` there.
    ///
    /// # Errors
    ///
    /// [`SourceError`] when that histogram cannot be registered.
    pub fn new(registry: Registry) -> Result<Self, SourceError> {
        let name = MetricName::new(SCRAPE_DURATION)?;
        let declaration = Declaration {
            origin: Origin::Library,
            help: Some("Time from a scrape's request until its response was ready.".to_owned()),
            unit: Some("seconds".to_owned()),
            ..Declaration::new(Kind::Histogram, name.clone())
        };
        registry.declare(declaration).map_err(BindError::from)?;
        let series = registry.series(Kind::Histogram, &name, &LabelSet::empty())?.id;
        let duration = Mutex::new(Duration { recorder: registry.recorder(), series });
        Ok(Self { registry, duration_name: name, duration, others: Others::default() })
    }

    /// Shows the families of somebody else beside the registry's.
    #[must_use]
    pub fn with_families(mut self, source: Arc<dyn FamilySource>) -> Self {
        self.others.0.push(source);
        self
    }
}

impl MetricSource for RegistrySource {
    fn render(&self, gathered: &[Family], format: Format, scope: Scope) -> Exposition {
        if scope == Scope::Application || self.others.0.is_empty() {
            return exposition::render(&self.registry, gathered, format, scope);
        }
        let mut all = gathered.to_vec();
        self.others.0.iter().for_each(|source| all.extend(source.families()));
        exposition::render(&self.registry, &all, format, scope)
    }

    fn observe_scrape(&self, seconds: f64) {
        let mut duration = self.duration.lock();
        if duration.recorder.observe(duration.series, seconds).is_ok() {
            return;
        }
        // Somebody removed the series. It comes back; should that fail, the
        // registry is full and counts that itself.
        let labels = LabelSet::empty();
        if let Ok(bound) = self.registry.series(Kind::Histogram, &self.duration_name, &labels) {
            duration.series = bound.id;
            let _ = duration.recorder.observe(duration.series, seconds);
        }
    }

    fn auth_failure(&self, reason: &'static str) {
        let labels = LabelSet::from_pairs([("component", COMPONENT), ("reason", reason)]);
        let (Ok(name), Ok(labels)) = (MetricName::new(AUTH_FAILURES), labels) else { return };
        let series = match self.registry.find(&name, &labels) {
            Some(series) => series,
            None => {
                let help = "Attempts to authenticate that failed, by reason.";
                let declaration = Declaration {
                    help: Some(help.to_owned()),
                    ..Declaration::new(Kind::Counter, name.clone())
                };
                // A name that is another kind's has no series either.
                let _ = self.registry.declare(declaration);
                let Ok(bound) = self.registry.series(Kind::Counter, &name, &labels) else { return };
                bound.id
            }
        };
        // A series that was removed just now loses this one with the others.
        let _ = self.duration.lock().recorder.add_int(series, 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use erlmcp_metrics::{Options, Value};

    fn observations(registry: &Registry) -> u64 {
        let name = MetricName::new(SCRAPE_DURATION).unwrap();
        let id = registry.find(&name, &LabelSet::empty()).unwrap();
        match registry.value(id).unwrap() {
            Value::Histogram(histogram) => histogram.count(),
            other => unreachable!("{other:?}"),
        }
    }

    #[test]
    fn durations_are_recorded_also_after_the_series_was_removed() {
        let registry = Registry::new(Options::default());
        let source = RegistrySource::new(registry.clone()).unwrap();
        source.observe_scrape(0.1);
        source.observe_scrape(0.2);
        assert_eq!(observations(&registry), 2);
        registry.remove_all(&MetricName::new(SCRAPE_DURATION).unwrap());
        source.observe_scrape(0.3);
        assert_eq!(observations(&registry), 1);
        RegistrySource::new(registry).unwrap();
    }
}
