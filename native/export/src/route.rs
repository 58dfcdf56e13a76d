//! The paths that the server knows.

use erlmcp_metrics::exposition::Scope;

use crate::health::Probe;
use crate::traces::TraceView;

/// What a path stands for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Route {
    /// The list of paths.
    Index,
    /// A scrape.
    Metrics(Scope),
    /// A health probe.
    Health(Probe),
    /// Recent traces.
    Traces(TraceView),
}

/// A path, what it stands for, and what the index says about it.
#[derive(Debug)]
pub(crate) struct Path {
    pub(crate) path: &'static str,
    pub(crate) route: Route,
    about: &'static str,
}

/// The paths that are advertised, and behind them the other spellings that
/// manifests in the wild use.
static PATHS: [Path; 16] = [
    path("/", Route::Index, "this list"),
    path("/metrics", Route::Metrics(Scope::All), "every metric of this node"),
    path(
        "/metrics/custom",
        Route::Metrics(Scope::Application),
        "the application's own metrics only",
    ),
    path("/health", Route::Health(Probe::Health), "the node's health, as JSON"),
    path("/live", Route::Health(Probe::Live), "liveness probe"),
    path("/ready", Route::Health(Probe::Ready), "readiness probe"),
    path("/startup", Route::Health(Probe::Startup), "startup probe"),
    path("/debug/traces", Route::Traces(TraceView::Page), "recent traces, for people"),
    path("/debug/traces.json", Route::Traces(TraceView::Otlp), "the same as OTLP JSON"),
    path("/healthz", Route::Health(Probe::Health), ""),
    path("/liveness", Route::Health(Probe::Live), ""),
    path("/health/live", Route::Health(Probe::Live), ""),
    path("/readiness", Route::Health(Probe::Ready), ""),
    path("/health/ready", Route::Health(Probe::Ready), ""),
    path("/health/startup", Route::Health(Probe::Startup), ""),
    path("/debug/traces/summary.json", Route::Traces(TraceView::Summary), ""),
];

const fn path(path: &'static str, route: Route, about: &'static str) -> Path {
    Path { path, route, about }
}

/// The entry of exactly this path.
pub(crate) fn find(path: &str) -> Option<&'static Path> {
    PATHS.iter().find(|known| known.path == path)
}

/// A line for each advertised path, and one with the other spellings.
pub(crate) fn list() -> String {
    let mut text = String::new();
    let mut others = Vec::new();
    for Path { path, about, .. } in &PATHS {
        if about.is_empty() {
            others.push(*path);
        } else {
            text.push_str(&format!("  {path:<18} {about}\n"));
        }
    }
    text.push_str(&format!("also: {}\n", others.join(" ")));
    text
}
