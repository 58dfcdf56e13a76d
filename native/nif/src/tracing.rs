//! Tracing's functions that no hot path calls.

use rustler::{Binary, Env, NifMap, Term};

use erlmcp_trace::{
    DEFAULT_SECRET_NAMES, QueueLimits, Sampler, SecretKeys, SpanLimits, TailRule, TracerConfig,
};

use crate::cold::bad_option;
use crate::list::ProperList;
use crate::owner::{End, give_up_waiting, is_down_because, watcher_begins};
use crate::raw::{CallEnv, LocalPid, RawTerm};
use crate::state::tracer;

/// Tracing's settings, checked by the Erlang side.
#[derive(NifMap)]
#[rustler(decode)]
struct TracingOptions {
    disabled: bool,
    sampler: String,
    sampler_arg: Option<String>,
    max_open_spans: u32,
    queue_records: u32,
    queue_bytes: u64,
    queue_wake_at: u32,
    attribute_limit: u32,
    attribute_length_limit: u64,
    event_limit: u32,
    link_limit: u32,
    event_attribute_limit: u32,
    link_attribute_limit: u32,
    span_max_bytes: u64,
    log_attribute_limit: u32,
    log_attribute_length_limit: u64,
    secret_keys: ProperList<String>,
    tail_errors: bool,
    tail_slow_ms: Option<u64>,
    tail_max_bytes: u64,
}

/// The names of the setting, the built-in ones in the place of the word.
fn secret_names(names: &[String]) -> impl Iterator<Item = &str> {
    let named = names.iter().map(String::as_str).filter(|name| *name != DEFAULT);
    let has_default = names.iter().any(|name| name == DEFAULT);
    let built_in = DEFAULT_SECRET_NAMES.iter().copied().filter(move |_| has_default);
    // Those that were named come last: they win over a built-in one.
    built_in.chain(named)
}

const DEFAULT: &str = "default";

#[rustler::nif]
fn tracing_configure<'a>(env: Env<'a>, options: TracingOptions) -> Term<'a> {
    let size = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    let sampler = match Sampler::parse(&options.sampler, options.sampler_arg.as_deref()) {
        Ok(sampler) => sampler,
        Err(error) => return bad_option(env, error.to_string()),
    };
    let secrets = SecretKeys::interned(secret_names(&options.secret_keys));
    secrets.make_current();
    let limits = SpanLimits {
        attributes: options.attribute_limit,
        value_length: size(options.attribute_length_limit),
        events: options.event_limit,
        links: options.link_limit,
        event_attributes: options.event_attribute_limit,
        link_attributes: options.link_attribute_limit,
        bytes: size(options.span_max_bytes),
        secrets,
    };
    let has_tail = options.tail_errors || options.tail_slow_ms.is_some();
    let config = TracerConfig {
        sampler,
        tail: has_tail.then(|| TailRule {
            errors: options.tail_errors,
            slow_ns: options.tail_slow_ms.map(|ms| ms.saturating_mul(1_000_000)),
            max_bytes: options.tail_max_bytes,
        }),
        limits,
        log_limits: SpanLimits {
            attributes: options.log_attribute_limit,
            value_length: size(options.log_attribute_length_limit),
            ..limits
        },
        disabled: options.disabled,
    };
    let queue = QueueLimits {
        records: options.queue_records,
        bytes: options.queue_bytes,
        wake_at: options.queue_wake_at,
    };
    tracer().configure(config, queue, options.max_open_spans);
    rustler::types::atom::ok().to_term(env)
}

#[derive(NifMap)]
struct SpanCounts {
    recorded: u64,
    ended: u64,
    open: u64,
    sampled_out: u64,
    too_many_open: u64,
    tail_full: u64,
    owners: u64,
    queue_accepted: u64,
    queue_refused: u64,
    queue_held: u64,
    queue_held_bytes: u64,
    queue_capacity: u64,
}

#[rustler::nif]
fn span_stats() -> SpanCounts {
    let spans = tracer().stats();
    let queue = tracer().queue().stats();
    SpanCounts {
        recorded: spans.recorded,
        ended: spans.ended,
        open: spans.open,
        sampled_out: spans.sampled_out,
        too_many_open: spans.too_many_open,
        tail_full: spans.tail_full,
        owners: spans.owners,
        queue_accepted: queue.accepted,
        queue_refused: queue.refused,
        queue_held: queue.held,
        queue_held_bytes: queue.held_bytes,
        queue_capacity: queue.capacity,
    }
}

/// Most processes that one call of `span_watch` returns.
const WATCH_AT_ONCE: usize = 4_096;

/// Processes with a span that is open for longer than `age_ms`, each once: the
/// caller monitors them and tells `span_owner_down` why they ended. Walks all
/// processes that trace: a dirty scheduler's work.
#[rustler::nif(schedule = "DirtyCpu")]
fn span_watch<'a>(env: Env<'a>, age_ms: u64) -> Vec<Term<'a>> {
    give_up_waiting(false);
    let call = CallEnv::of(env);
    tracer()
        .watch_owners(age_ms.saturating_mul(1_000_000), WATCH_AT_ONCE)
        .into_iter()
        .map(|word| call.to_term(env, LocalPid::term_of_word(word)))
        .collect()
}

/// The calling process asks for reasons from now on: what the one before it
/// waited for is lost.
#[rustler::nif(schedule = "DirtyCpu")]
fn span_unwatch<'a>(env: Env<'a>) -> Term<'a> {
    let call = CallEnv::of(env);
    // One that is gone has told nothing, and another comes.
    let _ = call.self_pid().is_some_and(|watcher| watcher_begins(call, watcher));
    rustler::types::atom::ok().to_term(env)
}

/// A process has ended, and why. Returns how many spans it had left open.
#[rustler::nif(schedule = "DirtyCpu")]
fn span_owner_down(
    env: Env<'_>,
    pid: rustler::LocalPid,
    error_type: Binary<'_>,
    reason: Option<Binary<'_>>,
) -> usize {
    let term = rustler::Encoder::encode(&pid, env);
    let Some(pid) = CallEnv::of(env).get_pid(RawTerm::from_c(term.as_c_arg())) else { return 0 };
    let text = |bytes: Binary<'_>| String::from_utf8_lossy(&bytes).into_owned();
    let (error_type, reason) = (text(error_type), reason.map(text));
    is_down_because(pid.word(), End { error_type: &error_type, reason: reason.as_deref() })
}
