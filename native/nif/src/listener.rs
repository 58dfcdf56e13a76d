//! The HTTP listener: one for the node, owned by a process.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use erlmcp_export::{RegistrySource, Server, ServerConfig, Sources, StartError, Traces};
use parking_lot::Mutex;

use crate::exporter::{ExportFamilies, Refresh, ring};
use crate::guard;
use crate::health::Responder;
use crate::raw::{CallEnv, LocalPid};
use crate::state::registry;
use crate::vm::Vm;

/// The running server, and which start it came from.
static SERVER: Mutex<Option<(u64, Server)>> = Mutex::new(None);
static GENERATION: AtomicU64 = AtomicU64::new(0);
/// How long responses that are being sent may take when the server stops.
const STOP_TIME: Duration = Duration::from_secs(2);

/// Starts the server for `owner`, in the place of one that still runs, and
/// returns the addresses it listens on. Blocks: for dirty schedulers.
pub(crate) fn start(
    env: CallEnv<'_>,
    owner: LocalPid,
    config: ServerConfig,
) -> Result<Vec<SocketAddr>, (&'static str, String)> {
    let cannot_listen = |text: String| ("cannot_listen", text);
    let mut running = SERVER.lock();
    if let Some((_, server)) = running.take() {
        server.stop(Duration::ZERO);
    }
    let metrics = RegistrySource::new(registry().clone())
        .map_err(|error| cannot_listen(error.to_string()))?
        .with_families(Arc::new(ExportFamilies));
    let traces = Traces { ring: Arc::clone(ring()), source: Arc::new(Refresh) };
    let metrics = Arc::new(metrics);
    let sources = Sources {
        metrics,
        vm: Some(Arc::new(Vm)),
        health: Arc::new(Responder),
        traces: Some(traces),
    };
    let server = Server::start(config, sources).map_err(|error| match error {
        StartError::Door(error) => ("cannot_secure", error.to_string()),
        error => cannot_listen(error.to_string()),
    })?;
    let generation = GENERATION.fetch_add(1, Ordering::Relaxed) + 1;
    if !guard::watch(env, owner, generation) {
        server.stop(Duration::ZERO);
        return Err(cannot_listen("the process that was to own the listener has ended".into()));
    }
    let addresses = server.local_addrs().to_vec();
    *running = Some((generation, server));
    Ok(addresses)
}

/// Stops the server, if one runs. Blocks: for dirty schedulers.
pub(crate) fn stop() {
    let running = SERVER.lock().take();
    if let Some((_, server)) = running {
        server.stop(STOP_TIME);
    }
}

/// The owner of this start is gone. Called on a scheduler, which must not
/// wait: a thread of its own ends the server. It holds the lock until the
/// ports are closed, so that a start in between waits for them.
pub(crate) fn owner_is_down(generation: u64) {
    guard::close_apart(move || {
        let mut running = SERVER.lock();
        if running.as_ref().is_some_and(|(started, _)| *started == generation)
            && let Some((_, server)) = running.take()
        {
            server.stop(Duration::ZERO);
        }
    });
}

/// An address for an IP and a port, for `ServerConfig::listen`.
pub(crate) fn address(ip: &str, port: u16) -> Option<SocketAddr> {
    ip.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, port))
}
