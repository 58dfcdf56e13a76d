//! The OTLP exporter: one for the node, owned by a process.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use erlmcp_export::otlp::{
    AttributeValue, DiagnosticLevel, Diagnostics, Exporter, ExporterConfig, ExporterSources,
    ExporterStats, MetricRecords, OtlpCompression, OtlpEndpoint, OtlpProtocol, PerSignal,
    ScopeBytes, Signal, SignalConfig, SpoolConfig, Tap, families, span_families,
};
use erlmcp_export::{
    FamilySource, FileExporter, FileExporterConfig, RegistryRecords, Temporality, TraceRing,
    TraceRingLimits, TraceSource,
};
use erlmcp_metrics::Family;
use erlmcp_trace::{Queue, QueueLimits, Records};
use parking_lot::Mutex;
use rustler::{Env, NifMap, NifUnitEnum, Term};

use crate::capture::{Seen, captures};
use crate::cold::{ok, raw};
use crate::guard;
use crate::raw::{CallEnv, LocalPid, TermStore};
use crate::state::{registry, tracer};
use crate::vm::Vm;

/// Held by whoever starts or ends the exporter, which takes its time. It never
/// waits for one that holds [`EXPORTER`].
static CHANGING: Mutex<()> = Mutex::new(());
/// The running exporter, and which start it came from. Held for a moment only: a
/// collection of metrics looks in here, and flushes and ends wait for that.
static EXPORTER: Mutex<Option<(u64, Arc<Exporter>)>> = Mutex::new(None);
/// What exporters before it have counted.
static ENDED: Mutex<Option<ExporterStats>> = Mutex::new(None);
static GENERATION: AtomicU64 = AtomicU64::new(0);
static LOGS: OnceLock<Arc<Queue>> = OnceLock::new();
/// What the ring is made with, once: it outlives exporters.
static RING_BYTES: AtomicU64 = AtomicU64::new(4 << 20);
static RING: OnceLock<Arc<TraceRing>> = OnceLock::new();

/// Longest wait of a collection of metrics for the VM's figures.
const VM_PATIENCE: Duration = Duration::from_millis(500);

/// The node's log records on their way out.
pub(crate) fn logs() -> &'static Arc<Queue> {
    LOGS.get_or_init(|| Queue::new(QueueLimits::default()))
}

/// The node's recent traces.
pub(crate) fn ring() -> &'static Arc<TraceRing> {
    RING.get_or_init(|| {
        let bytes = usize::try_from(RING_BYTES.load(Ordering::Relaxed)).unwrap_or(usize::MAX);
        Arc::new(TraceRing::new(TraceRingLimits { bytes, ..TraceRingLimits::default() }))
    })
}

/// What can be the value of an attribute of the resource.
#[derive(rustler::NifUntaggedEnum)]
enum ResourceValue {
    Bool(bool),
    Int(i64),
    Double(f64),
    String(String),
}

#[derive(NifUnitEnum)]
enum Protocol {
    Grpc,
    HttpProtobuf,
}

#[derive(NifUnitEnum)]
enum Compression {
    None,
    Gzip,
}

/// Where a signal goes, checked by the Erlang side.
#[derive(NifMap)]
struct SignalOptions {
    endpoint: Option<String>,
    protocol: Protocol,
    headers: Vec<(String, String)>,
    timeout_ms: u64,
    compression: Compression,
    insecure: bool,
    ca_file: Option<String>,
    client_cert_file: Option<String>,
    client_key_file: Option<String>,
    delay_ms: u64,
    batch_records: u32,
    max_elapsed_ms: u64,
}

/// The exporter's settings, checked by the Erlang side.
#[derive(NifMap)]
struct ExporterOptions {
    resource: Vec<(String, ResourceValue)>,
    version: String,
    traces: SignalOptions,
    metrics: SignalOptions,
    logs: SignalOptions,
    log_queue_records: u32,
    queue_bytes: u64,
    delta: bool,
    process_metrics: bool,
    spool_dir: Option<String>,
    spool_max_bytes: u64,
    trace_file: Option<String>,
    trace_file_max_bytes: u64,
    ring_bytes: u64,
}

impl SignalOptions {
    fn config(self) -> SignalConfig {
        let milliseconds = Duration::from_millis;
        let path = |text: Option<String>| text.map(PathBuf::from);
        let Self { protocol, headers, insecure, .. } = self;
        let endpoint = self.endpoint.map(|url| OtlpEndpoint {
            url,
            protocol: match protocol {
                Protocol::Grpc => OtlpProtocol::Grpc,
                Protocol::HttpProtobuf => OtlpProtocol::HttpProtobuf,
            },
            headers,
            timeout: milliseconds(self.timeout_ms),
            compression: match self.compression {
                Compression::None => OtlpCompression::None,
                Compression::Gzip => OtlpCompression::Gzip,
            },
            insecure,
            ca_file: path(self.ca_file),
            client_cert_file: path(self.client_cert_file),
            client_key_file: path(self.client_key_file),
        });
        SignalConfig {
            endpoint,
            scheduled_delay: Some(milliseconds(self.delay_ms)),
            max_batch_records: Some(self.batch_records),
            max_elapsed: Some(milliseconds(self.max_elapsed_ms)),
        }
    }
}

/// Sends `{Tag, Level, Text}` to a process, from a thread that is not the VM's.
/// The level is one of logger's.
pub(crate) fn tell(to: LocalPid, tag: &str, level: DiagnosticLevel, message: &str) {
    let level = match level {
        DiagnosticLevel::Info => "notice",
        DiagnosticLevel::Warning => "warning",
        DiagnosticLevel::Error => "error",
    };
    let mut store = TermStore::new();
    let env = store.env();
    let text = env.binary(message.as_bytes());
    let message = env.tuple(&[env.atom(tag), env.atom(level), text]);
    store.send_from_outside(to, message);
}

/// Sends what the exporter has to say to the process that owns it.
#[derive(Debug)]
struct ToOwner(LocalPid);

impl Diagnostics for ToOwner {
    fn report(&self, level: DiagnosticLevel, message: String) {
        tell(self.0, "erlmcp_export", level, &message);
    }
}

/// The exporter that runs.
fn running() -> Option<Arc<Exporter>> {
    EXPORTER.lock().as_ref().map(|(_, exporter)| Arc::clone(exporter))
}

/// What this exporter and those before it have counted.
fn stats() -> ExporterStats {
    // Both under one lock, so that no exporter counts twice or not at all.
    let running = EXPORTER.lock();
    let ended = ENDED.lock().unwrap_or_default();
    match &*running {
        Some((_, exporter)) => exporter.stats().after(&ended),
        None => ended,
    }
}

/// Most spans a second that the ring takes of those that are sent elsewhere: a
/// span in the ring costs as much as sending it does.
const SHOWN_BESIDE_EXPORT: u32 = 10_000;

/// Hands spans to the ring: all of them where it is all there is, else so many
/// a second, whole buffers at a time.
#[derive(Debug)]
struct Shown {
    most: Option<u32>,
    window: Mutex<(Instant, u32)>,
}

impl Tap for Shown {
    fn records(&self, signal: Signal, scope: &ScopeBytes, records: &Records) {
        if signal != Signal::Traces {
            return;
        }
        if let Some(most) = self.most {
            let mut window = self.window.lock();
            let (begin, count) = &mut *window;
            if begin.elapsed() >= Duration::from_secs(1) {
                (*begin, *count) = (Instant::now(), 0);
            }
            if *count >= most {
                return;
            }
            *count = count.saturating_add(records.count);
        }
        ring().records(signal, scope, records);
    }
}

/// Starts the exporter for the calling process, in the place of one that still
/// runs. Reads files and may wait for the one before to end.
#[rustler::nif(schedule = "DirtyIo")]
fn exporter_start<'a>(
    env: Env<'a>,
    owner: rustler::LocalPid,
    options: ExporterOptions,
) -> Term<'a> {
    let call = CallEnv::of(env);
    let owner = call.get_pid(raw(rustler::Encoder::encode(&owner, env)));
    let started = owner.ok_or_else(|| "the owner is no process".to_owned()).and_then(|owner| {
        let _changing = CHANGING.lock();
        if let Some(before) = running() {
            end(&before, Duration::ZERO);
        }
        let (generation, exporter) = start(call, owner, options)?;
        *EXPORTER.lock() = Some((generation, Arc::new(exporter)));
        Ok(())
    });
    match started {
        Ok(()) => ok(env),
        Err(text) => {
            let reason = [call.atom("cannot_export"), call.binary(text.as_bytes())];
            let error = [call.atom("error"), call.tuple(&reason)];
            call.to_term(env, call.tuple(&error))
        }
    }
}

fn start(
    call: CallEnv<'_>,
    owner: LocalPid,
    options: ExporterOptions,
) -> Result<(u64, Exporter), String> {
    logs().set_limits(QueueLimits {
        records: options.log_queue_records,
        bytes: options.queue_bytes,
        wake_at: options.logs.batch_records,
    });
    let diagnostics: Arc<dyn Diagnostics> = Arc::new(ToOwner(owner));
    let mut taps: Vec<Arc<dyn Tap>> = Vec::new();
    RING_BYTES.store(options.ring_bytes, Ordering::Relaxed);
    if options.ring_bytes > 0 {
        let most = options.traces.endpoint.is_some().then_some(SHOWN_BESIDE_EXPORT);
        taps.push(Arc::new(Shown { most, window: Mutex::new((Instant::now(), 0)) }));
    }
    if let Some(path) = options.trace_file {
        let told = Arc::clone(&diagnostics);
        let config = FileExporterConfig {
            max_bytes: options.trace_file_max_bytes,
            ..FileExporterConfig::new(path)
        };
        let file = FileExporter::open(
            config,
            Box::new(move |error, lost| {
                let message = format!("{error} ({lost} records were not written to the file)");
                told.report(DiagnosticLevel::Error, message);
            }),
        );
        taps.push(Arc::new(file.map_err(|error| error.to_string())?));
    }
    // Without anybody who looks, what goes nowhere counts as dropped.
    let metrics: Option<Arc<dyn MetricRecords>> = options
        .metrics
        .endpoint
        .is_some()
        .then(|| collector(options.delta, options.process_metrics));
    taps.push(Arc::new(Seen));
    let value = |value| match value {
        ResourceValue::Bool(value) => AttributeValue::Bool(value),
        ResourceValue::Int(n) => AttributeValue::Int(n),
        ResourceValue::Double(x) => AttributeValue::Double(x),
        ResourceValue::String(text) => AttributeValue::String(text),
    };
    let config = ExporterConfig {
        resource: options.resource.into_iter().map(|(key, of)| (key, value(of))).collect(),
        scope_version: options.version,
        metric_interval: Duration::from_millis(options.metrics.delay_ms),
        traces: options.traces.config(),
        metrics: options.metrics.config(),
        logs: options.logs.config(),
        spool: options
            .spool_dir
            .map(|dir| SpoolConfig { dir: PathBuf::from(dir), max_bytes: options.spool_max_bytes }),
        ..ExporterConfig::default()
    };
    let sources = ExporterSources {
        spans: Arc::clone(tracer().queue()),
        logs: Arc::clone(logs()),
        metrics,
        taps,
        diagnostics: Some(diagnostics),
    };
    let exporter = Exporter::start(config, sources).map_err(|error| error.to_string())?;
    let generation = GENERATION.fetch_add(1, Ordering::Relaxed) + 1;
    if !guard::watch_exporter(call, owner, generation) {
        exporter.stop(Duration::ZERO);
        keep_counts(&exporter);
        return Err("the process that was to own the exporter has ended".into());
    }
    Ok((generation, exporter))
}

fn collector(delta: bool, process_metrics: bool) -> Arc<dyn MetricRecords> {
    let temporality = if delta { Temporality::Delta } else { Temporality::Cumulative };
    let records = RegistryRecords::new(registry().clone(), temporality)
        .with_vm(Arc::new(Vm), VM_PATIENCE)
        .with_families(Arc::new(ExportFamilies));
    Arc::new(if process_metrics { records.with_process_figures() } else { records })
}

/// Ends the running exporter and keeps its counts. It stays in its place while it
/// ends: its counts are still asked for. The caller holds [`CHANGING`].
fn end(exporter: &Arc<Exporter>, timeout: Duration) -> bool {
    let complete = exporter.stop(timeout).complete;
    let mut running = EXPORTER.lock();
    if running.take_if(|(_, other)| Arc::ptr_eq(other, exporter)).is_some() {
        keep_counts(exporter);
    }
    complete
}

/// Keeps the counts of an exporter that has ended.
fn keep_counts(exporter: &Exporter) {
    let mut ended = ENDED.lock();
    let before = ended.take().unwrap_or_default();
    *ended = Some(exporter.stats().after(&before));
}

/// Stops the exporter: what is queued is sent, spooled or dropped within the
/// time.
#[rustler::nif(schedule = "DirtyIo")]
fn exporter_stop(timeout_ms: u64) -> bool {
    let _changing = CHANGING.lock();
    running().is_none_or(|exporter| end(&exporter, Duration::from_millis(timeout_ms)))
}

/// The owner of this start is gone. Called on a scheduler, which must not wait.
pub(crate) fn owner_is_down(generation: u64) {
    guard::close_apart(move || {
        let _changing = CHANGING.lock();
        let running = EXPORTER.lock().as_ref().map(|(of, exporter)| (*of, Arc::clone(exporter)));
        if let Some((_, exporter)) = running.filter(|(of, _)| *of == generation) {
            end(&exporter, Duration::ZERO);
        }
    });
}

/// Sends what is queued and waits for it. `true` if all of it has been exported,
/// spooled or dropped in time; also without an exporter.
#[rustler::nif(schedule = "DirtyIo")]
fn exporter_flush(timeout_ms: u64) -> bool {
    running().is_none_or(|exporter| exporter.flush(Duration::from_millis(timeout_ms)).complete)
}

/// Has the spans that have ended shown to the ring, to captures and to files, and
/// waits for it up to `wait`. Without an exporter they are taken from the queue
/// only if `take`: whoever captures then is all there is.
pub(crate) fn take_in(wait: Duration, take: bool) {
    let end = Instant::now() + wait;
    while !taken_in(end, take) && Instant::now() < end {
        std::thread::sleep(PAUSE);
    }
}

/// `false` if an exporter begins or ends at this moment, or it is too late.
fn taken_in(end: Instant, take: bool) -> bool {
    if let Some(exporter) = running() {
        return exporter.take_in_spans(end.saturating_duration_since(Instant::now()));
    }
    if !take {
        return true;
    }
    // Nothing is on its way through an exporter that begins or ends, or through
    // another one that takes over, while this is held.
    let Some(_changing) = CHANGING.try_lock_until(end) else { return false };
    if running().is_some() {
        return false;
    }
    captures().take_over(tracer().queue());
    true
}

/// Before an exporter that begins or ends is asked once more.
const PAUSE: Duration = Duration::from_millis(20);

/// The page of recent traces asks for those that have just ended.
#[derive(Debug)]
pub(crate) struct Refresh;

impl TraceSource for Refresh {
    fn refresh(&self, wait: Duration) {
        take_in(wait, false);
    }
}

/// What exporter, queues and tracer have counted, for scrapes.
#[derive(Debug)]
pub(crate) struct ExportFamilies;

impl FamilySource for ExportFamilies {
    fn families(&self) -> Vec<Family> {
        let stats = stats();
        let queues = PerSignal {
            traces: Some(tracer().queue().stats()),
            metrics: None,
            logs: Some(logs().stats()),
        };
        let mut all = families(&stats, &queues);
        all.extend(span_families(&tracer().stats()));
        all
    }
}
