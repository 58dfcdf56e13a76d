//! The server: its threads, its listeners, its end.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

use crate::accept::{Door, Room};
use crate::app::App;
use crate::config::ServerConfig;
use crate::connection::Limits;
use crate::door::{Gate, HASHERS, Watch};
use crate::error::StartError;
use crate::health::{Health, HealthSource};
use crate::lifecycle::Lifecycle;
use crate::listen::listen;
use crate::process::ProcessFigures;
use crate::scrape::{Gatherer, RENDERINGS, Scraper};
use crate::source::MetricSource;
use crate::stats::Stats;
use crate::timed_stream::Deadlines;
use crate::traces::{TraceEndpoint, Traces};
use crate::vm::{Vm, VmSource};

const WORKERS: usize = 2;
/// Threads for blocking work, so that none waits for another kind: expositions, a
/// page of traces and what refreshes it, passwords, and the files of the door.
const BLOCKING_THREADS: usize = RENDERINGS + 2 + HASHERS + 1;
const THREAD_NAME: &str = "erlmcp_http";
/// How long an idle thread for blocking work is kept.
const THREAD_KEEP_ALIVE: Duration = Duration::from_secs(30);
/// Longest wait for the listeners to close, which takes a worker's next breath.
const CLOSE_TIME: Duration = Duration::from_secs(1);
/// Longest wait for a rendering that is under way when all else has ended.
const THREADS_TIME: Duration = Duration::from_millis(500);

/// What the server shows.
#[derive(Clone)]
pub struct Sources {
    /// The metrics.
    pub metrics: Arc<dyn MetricSource>,
    /// The Erlang VM's figures; without, `/metrics` has none.
    pub vm: Option<Arc<dyn VmSource>>,
    /// The Erlang VM's health.
    pub health: Arc<dyn HealthSource>,
    /// The recent traces; without, `/debug/traces` says that there are none.
    pub traces: Option<Traces>,
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources").finish_non_exhaustive()
    }
}

/// A running HTTP server.
///
/// It has threads of its own and does nothing on the thread that starts, stops
/// or drops it. Dropped without [`Server::stop`], it closes its listeners and
/// cuts what is open.
#[derive(Debug)]
pub struct Server {
    /// There until the server is stopped or dropped.
    runtime: Option<Runtime>,
    lifecycle: Arc<Lifecycle>,
    addresses: Vec<SocketAddr>,
}

/// How a server ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopped {
    /// Connections that were still open at the deadline and were cut.
    pub cut: usize,
}

impl Server {
    /// Listens on every address of `config` and serves `sources` there. When
    /// this comes back the ports are open.
    ///
    /// # Errors
    ///
    /// [`StartError`] when a setting makes no sense, when one of the addresses
    /// cannot be listened on (then none is), or when no thread can be started.
    pub fn start(config: ServerConfig, sources: Sources) -> Result<Self, StartError> {
        config.check()?;
        let stats = Arc::new(Stats::default());
        let (gate, watch) = Gate::open(&config.door, &stats, &sources.metrics)?;
        let listeners = listen(&config.listen)?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(WORKERS)
            .max_blocking_threads(BLOCKING_THREADS)
            .thread_keep_alive(THREAD_KEEP_ALIVE)
            .thread_name(THREAD_NAME)
            .enable_io()
            .enable_time()
            .build()
            .map_err(StartError::Threads)?;
        // From here on an early return drops the server, which ends what runs.
        let mut server =
            Self { runtime: Some(runtime), lifecycle: Lifecycle::new(), addresses: Vec::new() };
        server
            .serve(listeners, config, sources, (gate, watch), stats)
            .map_err(StartError::Threads)?;
        Ok(server)
    }

    fn serve(
        &mut self,
        listeners: Vec<std::net::TcpListener>,
        config: ServerConfig,
        sources: Sources,
        (gate, watch): (Gate, Watch),
        stats: Arc<Stats>,
    ) -> io::Result<()> {
        let Some(runtime) = &self.runtime else {
            return Ok(());
        };
        let limits = Limits {
            deadlines: Deadlines {
                header: config.header_timeout,
                idle: config.idle_timeout,
                write: config.write_timeout,
                min_rate: config.min_send_rate.into(),
            },
            max_headers: config.max_headers,
            max_header_bytes: config.max_header_bytes,
            handshake: config.door.handshake_timeout,
        };
        let room = Room {
            connections: config.max_connections,
            a_peer: config.max_connections_per_peer,
            handshakes: config.door.max_handshakes,
        };
        let app = app(config, sources, gate, Arc::clone(&stats), &self.lifecycle);
        let door = Door::new(app, Arc::clone(&self.lifecycle), limits, room);
        let _context = runtime.enter();
        runtime.spawn(watch.keep(stats, Arc::clone(&self.lifecycle)));
        for listener in listeners {
            self.addresses.push(listener.local_addr()?);
            let listener = TcpListener::from_std(listener)?;
            let opened = self.lifecycle.open_listener();
            runtime.spawn(Arc::clone(&door).keep(listener, opened));
        }
        Ok(())
    }

    /// The addresses it listens on, with the ports that were taken for port 0,
    /// in the order of [`ServerConfig::listen`].
    #[must_use]
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Ends the server: takes no more connections, ends those on which nothing
    /// is being answered, gives the others up to `deadline` to finish, and
    /// ends its threads. Blocks for `deadline` and 1.5 seconds at the most, and
    /// usually for less than a millisecond. The ports are free afterwards.
    ///
    /// Not to be called from a task of an async runtime, where blocking panics.
    pub fn stop(mut self, deadline: Duration) -> Stopped {
        let Some(runtime) = self.runtime.take() else {
            return Stopped { cut: 0 };
        };
        let begin = Instant::now();
        self.lifecycle.stop();
        self.lifecycle.wait_for_listeners(begin + CLOSE_TIME);
        let cut = self.lifecycle.wait_for_all(begin + deadline);
        runtime.shutdown_timeout(THREADS_TIME);
        Stopped { cut }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            self.lifecycle.stop();
            runtime.shutdown_background();
        }
    }
}

fn app(
    config: ServerConfig,
    sources: Sources,
    gate: Gate,
    stats: Arc<Stats>,
    lifecycle: &Arc<Lifecycle>,
) -> Arc<App> {
    let gatherer = Gatherer {
        metrics: Arc::clone(&sources.metrics),
        vm: sources.vm.map(|vm| Vm::new(vm, config.vm_timeout)),
        process: config.process_metrics.then(ProcessFigures::default),
        stats: Arc::clone(&stats),
        lifecycle: Arc::clone(lifecycle),
    };
    let traces = TraceEndpoint::new(sources.traces, config.debug_traces);
    let health = Health::new(sources.health, config.health_timeout, config.version, config.node);
    let scraper = Scraper::new(gatherer);
    Arc::new(App {
        gate,
        scraper,
        metrics: sources.metrics,
        health,
        health_details: config.health_details,
        traces,
        stats,
    })
}
