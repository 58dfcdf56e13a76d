//! The functions that no hot path calls: rustler decodes and contains panics.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use erlmcp_export::{Audience, DoorError, FamilySource, ProcessFigures, ServerConfig};
use erlmcp_metrics::exposition::{Format, Scope, render};
use erlmcp_metrics::{
    Buckets, Declaration, ExponentialBuckets, GaugeValue, HistogramValue, Kind, Number, Options,
    Origin, Rejection, SeriesId, Value,
};
use rustler::{Binary, Env, NifMap, OwnedBinary, Term};

use crate::door::DoorOptions;
use crate::exporter::ExportFamilies;
use crate::list::ProperList;
use crate::listener;
use crate::raw::{CallEnv, RawTerm};
use crate::record::{decode_labels, decode_name, resolve, shown};
use crate::refusal::Refusal;
use crate::state::{registry, thread};
use crate::vm;

pub(crate) fn raw(term: Term<'_>) -> RawTerm {
    RawTerm::from_c(term.as_c_arg())
}

pub(crate) fn ok<'a>(env: Env<'a>) -> Term<'a> {
    rustler::types::atom::ok().to_term(env)
}

/// `{error, {Tag, Text}}` without a count: not a recording.
fn refused<'a>(env: Env<'a>, refusal: &Refusal) -> Term<'a> {
    let call = CallEnv::of(env);
    call.to_term(env, refusal.to_term(call))
}

pub(crate) fn bad_option<'a>(env: Env<'a>, text: impl Into<String>) -> Term<'a> {
    let refusal = Refusal { reason: Rejection::BadValue, tag: "bad_option", text: text.into() };
    refused(env, &refusal)
}

fn kind_of(text: &str) -> Option<Kind> {
    Kind::ALL.into_iter().find(|kind| kind.as_str() == text)
}

const NO_SUCH_KIND: &str = "the kind is none of counter, up_down_counter, gauge, histogram, \
     exponential_histogram, info";

/// Whether `scrape` shows the `process_*` families.
static PROCESS_METRICS: AtomicBool = AtomicBool::new(true);

/// Limits and defaults, checked by the Erlang side.
#[derive(NifMap)]
#[rustler(decode)]
struct Limits {
    process_metrics: bool,
    series_limit: u32,
    node_series_limit: u32,
    metrics_limit: u32,
    default_buckets: ProperList<f64>,
}

#[rustler::nif]
fn configure<'a>(env: Env<'a>, limits: Limits) -> Term<'a> {
    match Buckets::new(&limits.default_buckets) {
        Ok(default_buckets) => {
            PROCESS_METRICS.store(limits.process_metrics, Ordering::Relaxed);
            registry().set_options(Options {
                series_limit: limits.series_limit,
                node_series_limit: limits.node_series_limit,
                metrics_limit: limits.metrics_limit,
                default_buckets,
            });
            ok(env)
        }
        Err(error) => bad_option(env, error.to_string()),
    }
}

/// A declaration, its options brought into this shape by the Erlang side.
#[derive(NifMap)]
#[rustler(decode)]
struct DeclareOptions<'a> {
    library: bool,
    description: Option<Binary<'a>>,
    unit: Option<Binary<'a>>,
    buckets: Option<ProperList<f64>>,
    max_buckets: Option<u16>,
    limit: Option<u32>,
}

#[rustler::nif]
fn declare<'a>(
    env: Env<'a>,
    kind: rustler::Atom,
    name: Term<'a>,
    options: DeclareOptions<'a>,
) -> Term<'a> {
    let call = CallEnv::of(env);
    let Some(kind) = kind_of(&shown(call, raw(kind.to_term(env)))) else {
        return bad_option(env, NO_SUCH_KIND);
    };
    let name = match decode_name(call, &mut String::new(), None, raw(name)) {
        Ok(name) => name,
        Err(refusal) => return refused(env, &refusal),
    };
    let buckets = match options.buckets.as_deref().map(Buckets::new).transpose() {
        Ok(buckets) => buckets,
        Err(error) => return bad_option(env, error.to_string()),
    };
    let text = |bytes: Option<Binary<'_>>| bytes.map(|b| String::from_utf8_lossy(&b).into_owned());
    let declaration = Declaration {
        name,
        kind,
        origin: if options.library { Origin::Library } else { Origin::Application },
        help: text(options.description),
        unit: text(options.unit),
        buckets,
        max_buckets: options.max_buckets,
        limit: options.limit,
    };
    match registry().declare(declaration) {
        Ok(()) => ok(env),
        Err(error) => refused(env, &Refusal::declare(&error)),
    }
}

#[rustler::nif]
fn bind<'a>(env: Env<'a>, kind: rustler::Atom, name: Term<'a>, labels: Term<'a>) -> Term<'a> {
    let call = CallEnv::of(env);
    let Some(kind) = kind_of(&shown(call, raw(kind.to_term(env)))) else {
        return bad_option(env, NO_SUCH_KIND);
    };
    let term = match resolve(call, thread(), raw(name), raw(labels), |_| Ok(kind)) {
        Ok((bound, _)) => call.uint(bound.id.to_raw()),
        Err(refusal) => refusal.rejected(call, &shown(call, raw(name))),
    };
    call.to_term(env, term)
}

/// The series of a name and labels, if there is one.
fn find(call: CallEnv<'_>, name: Term<'_>, labels: Term<'_>) -> Result<Option<SeriesId>, Refusal> {
    let scratch = &mut *thread().scratch.borrow_mut();
    let metric = decode_name(call, &mut scratch.text, None, raw(name))?;
    let labels = decode_labels(
        call,
        &mut scratch.text,
        &mut scratch.value,
        &mut scratch.labels,
        raw(labels),
    )?;
    Ok(registry().find(&metric, labels))
}

#[rustler::nif]
fn value<'a>(env: Env<'a>, name: Term<'a>, labels: Term<'a>) -> Term<'a> {
    let call = CallEnv::of(env);
    let term = match find(call, name, labels) {
        Ok(id) => id
            .and_then(|id| registry().value(id))
            .map_or_else(|| call.atom("undefined"), |value| value_term(call, &value)),
        Err(refusal) => refusal.to_term(call),
    };
    call.to_term(env, term)
}

/// What a name is, without making it anything.
#[rustler::nif]
fn kind<'a>(env: Env<'a>, name: Term<'a>) -> Term<'a> {
    let call = CallEnv::of(env);
    let term = match decode_name(call, &mut String::new(), None, raw(name)) {
        Ok(name) => call.atom(registry().kind_of(&name).map_or("undefined", Kind::as_str)),
        Err(refusal) => refusal.to_term(call),
    };
    call.to_term(env, term)
}

/// Every series of the application: `[{Name, Kind, Labels, Value}]`.
#[rustler::nif(schedule = "DirtyCpu")]
fn collect(env: Env<'_>) -> Term<'_> {
    let call = CallEnv::of(env);
    let mut collected = Vec::new();
    registry().read(|metric| {
        if metric.origin() != Origin::Application {
            return;
        }
        let (name, kind) = (call.binary(metric.name().as_bytes()), metric.kind().as_str());
        metric.series(|series| {
            let (names, values): (Vec<RawTerm>, Vec<RawTerm>) = series
                .labels()
                .map(|(name, value)| (call.binary(name.as_bytes()), call.binary(value.as_bytes())))
                .unzip();
            if let Some(labels) = call.map(&names, &values) {
                let value = value_term(call, &series.value());
                collected.push(call.tuple(&[name, call.atom(kind), labels, value]));
            }
        });
    });
    call.to_term(env, call.list(&collected))
}

fn value_term(call: CallEnv<'_>, value: &Value) -> RawTerm {
    match value {
        Value::Sum(Number::Int(n)) | Value::Gauge(GaugeValue::Int(n)) => call.int(*n),
        Value::Sum(Number::Uint(n)) => call.uint(*n),
        Value::Sum(Number::Float(x)) | Value::Gauge(GaugeValue::Float(x)) => call.float(*x),
        Value::Info => call.int(1),
        Value::Histogram(histogram) => histogram_term(call, histogram, &[]),
        Value::Exponential(value) => {
            let side = |buckets: &ExponentialBuckets| {
                let counts: Vec<RawTerm> =
                    buckets.counts.iter().map(|count| call.uint(*count)).collect();
                call.tuple(&[call.int(buckets.offset.into()), call.list(&counts)])
            };
            let more = [
                ("scale", call.int(value.scale.into())),
                ("zero_count", call.uint(value.zero_count)),
                ("positive", side(&value.positive)),
                ("negative", side(&value.negative)),
            ];
            histogram_term(call, &value.explicit, &more)
        }
    }
}

fn histogram_term(
    call: CallEnv<'_>,
    histogram: &HistogramValue,
    more: &[(&str, RawTerm)],
) -> RawTerm {
    let bounds = histogram.buckets.bounds().iter().copied().chain([f64::INFINITY]);
    let mut cumulative = 0_u64;
    let buckets: Vec<RawTerm> = bounds
        .zip(&histogram.counts)
        .map(|(bound, count)| {
            cumulative = cumulative.wrapping_add(*count);
            call.tuple(&[call.float(bound), call.uint(cumulative)])
        })
        .collect();
    let pairs = [
        ("count", call.uint(histogram.count())),
        ("sum", call.float(histogram.sum)),
        ("buckets", call.list(&buckets)),
    ];
    let (keys, values): (Vec<RawTerm>, Vec<RawTerm>) =
        pairs.iter().chain(more).map(|(key, value)| (call.atom(key), *value)).unzip();
    call.map(&keys, &values).unwrap_or_else(|| call.atom("undefined"))
}

/// Now and then it compacts the rows of the metric, which grows with them.
#[rustler::nif(schedule = "DirtyCpu")]
fn remove<'a>(env: Env<'a>, name: Term<'a>, labels: Term<'a>) -> Term<'a> {
    let call = CallEnv::of(env);
    match find(call, name, labels) {
        Ok(id) => {
            let removed = id.is_some_and(|id| registry().remove(id));
            call.to_term(env, call.atom(if removed { "true" } else { "false" }))
        }
        Err(refusal) => refused(env, &refusal),
    }
}

#[rustler::nif(schedule = "DirtyCpu")]
fn remove_all<'a>(env: Env<'a>, name: Term<'a>) -> Term<'a> {
    let call = CallEnv::of(env);
    match decode_name(call, &mut String::new(), None, raw(name)) {
        Ok(name) => call.to_term(env, call.uint(registry().remove_all(&name) as u64)),
        Err(refusal) => refused(env, &refusal),
    }
}

#[rustler::nif(schedule = "DirtyCpu")]
fn scrape<'a>(
    env: Env<'a>,
    format: rustler::Atom,
    scope: rustler::Atom,
    families: Term<'a>,
) -> Term<'a> {
    let call = CallEnv::of(env);
    let text = |atom: rustler::Atom| shown(call, raw(atom.to_term(env)));
    let format = text(format);
    let Some(format) = Format::ALL.into_iter().find(|known| known.as_str() == format) else {
        return bad_option(env, "the format is none of text, openmetrics, protobuf");
    };
    let scope = if text(scope) == "application" { Scope::Application } else { Scope::All };
    let mut gathered = vm::decode_families(call, raw(families));
    if scope == Scope::All && PROCESS_METRICS.load(Ordering::Relaxed) {
        gathered.extend(ProcessFigures::default().families());
    }
    if scope == Scope::All {
        gathered.extend(ExportFamilies.families());
    }
    let exposition = render(registry(), &gathered, format, scope);
    let bytes: usize = exposition.chunks.iter().map(Vec::len).sum();
    let mut binary = OwnedBinary::new(bytes);
    let mut filled = 0;
    for chunk in &exposition.chunks {
        if let Some(room) = binary.as_mut_slice().get_mut(filled..filled + chunk.len()) {
            room.copy_from_slice(chunk);
        }
        filled += chunk.len();
    }
    binary.release(env).to_term(env)
}

#[derive(NifMap)]
struct StatsMap {
    metrics: u32,
    series: u32,
    series_limit: u32,
    threads: u32,
    memory_bytes: u64,
    overflowed: u64,
    rejected: u64,
    version: String,
}

#[rustler::nif(schedule = "DirtyCpu")]
fn stats() -> StatsMap {
    let stats = registry().stats();
    StatsMap {
        metrics: stats.metrics,
        series: stats.series,
        series_limit: stats.series_limit,
        threads: stats.threads,
        memory_bytes: stats.bytes,
        overflowed: stats.overflowed,
        rejected: stats.rejected,
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

#[rustler::nif]
fn vm_register(env: Env<'_>, pid: rustler::LocalPid) -> Term<'_> {
    if let Some(pid) = CallEnv::of(env).get_pid(raw(rustler::Encoder::encode(&pid, env))) {
        vm::register(pid);
    }
    ok(env)
}

/// Grows with the number of allocator instances: a dirty scheduler's work.
#[rustler::nif(schedule = "DirtyCpu")]
fn vm_reply(env: Env<'_>, id: u64, families: Term<'_>) -> bool {
    vm::reply(CallEnv::of(env), id, raw(families))
}

/// The listener's settings, checked by the Erlang side.
#[derive(NifMap)]
#[rustler(decode)]
struct ListenerOptions {
    ip: String,
    ports: ProperList<u16>,
    max_connections: u32,
    max_connections_per_peer: u32,
    min_send_rate: u32,
    door: DoorOptions,
    header_timeout_ms: u64,
    write_timeout_ms: u64,
    idle_timeout_ms: u64,
    vm_timeout_ms: u64,
    health_timeout_ms: u64,
    health_details: rustler::Atom,
    process_metrics: bool,
    debug_traces: rustler::Atom,
    version: String,
    node: String,
}

#[rustler::nif(schedule = "DirtyIo")]
fn listener_start<'a>(
    env: Env<'a>,
    owner: rustler::LocalPid,
    options: ListenerOptions,
) -> Term<'a> {
    let call = CallEnv::of(env);
    let listen = options.ports.iter().map(|port| listener::address(&options.ip, *port)).collect();
    let (Some(listen), Some(owner)) =
        (listen, call.get_pid(raw(rustler::Encoder::encode(&owner, env))))
    else {
        return bad_option(env, format!("{} is not an IP address", options.ip));
    };
    let door = match options.door.config(owner) {
        Ok(door) => door,
        Err(error) => return bad_option(env, DoorError::from(error).to_string()),
    };
    let audience = |name: rustler::Atom| {
        Audience::from_name(&shown(call, raw(name.to_term(env)))).unwrap_or_default()
    };
    let config = ServerConfig {
        listen,
        max_connections: options.max_connections as usize,
        max_connections_per_peer: options.max_connections_per_peer as usize,
        min_send_rate: options.min_send_rate,
        door,
        header_timeout: Duration::from_millis(options.header_timeout_ms),
        write_timeout: Duration::from_millis(options.write_timeout_ms),
        idle_timeout: Duration::from_millis(options.idle_timeout_ms),
        vm_timeout: Duration::from_millis(options.vm_timeout_ms),
        health_timeout: Duration::from_millis(options.health_timeout_ms),
        health_details: audience(options.health_details),
        process_metrics: options.process_metrics,
        debug_traces: audience(options.debug_traces),
        version: options.version,
        node: options.node,
        ..ServerConfig::default()
    };
    match listener::start(call, owner, config) {
        Ok(addresses) => {
            let addresses: Vec<(String, u16)> = addresses
                .iter()
                .map(|address| (address.ip().to_string(), address.port()))
                .collect();
            rustler::Encoder::encode(&(rustler::types::atom::ok(), addresses), env)
        }
        Err((tag, text)) => {
            let refusal = Refusal { reason: Rejection::Internal, tag, text };
            refused(env, &refusal)
        }
    }
}

#[rustler::nif(schedule = "DirtyIo")]
fn listener_stop(env: Env<'_>) -> Term<'_> {
    listener::stop();
    ok(env)
}

/// Panics on purpose: proves on a running node that a panic in the library
/// becomes an Erlang error and leaves the node alone. It unwinds as any other does,
/// but says nothing on stderr.
#[rustler::nif]
fn panic_probe() -> bool {
    std::panic::resume_unwind(Box::new("panic_probe was called"))
}
