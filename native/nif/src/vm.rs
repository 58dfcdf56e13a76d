//! Questions to the VM from threads that are not its own, and the answers.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use erlmcp_export::{HealthReply, HealthReport, HealthSource, Probe, VmReply, VmSource};
use erlmcp_metrics::{Family, FamilyKind, LabelSetBuilder, Number, Sample};
use parking_lot::Mutex;

use crate::raw::{CallEnv, LocalPid, RawTerm, TermStore};
use crate::text::{push_text, push_value};

/// The process that answers.
static COLLECTOR: Mutex<Option<LocalPid>> = Mutex::new(None);
static NEXT_ID: AtomicU64 = AtomicU64::new(1);
static FIGURES: Mutex<Option<HashMap<u64, VmReply>>> = Mutex::new(None);
static PINGS: Mutex<Option<HashMap<u64, HealthReply>>> = Mutex::new(None);
/// Answers that were never given are forgotten once there are this many.
const MAX_PENDING: usize = 64;

/// Names the process that is asked from now on. What its predecessor was
/// asked will have no answer: dropped, so that nobody waits for it.
pub(crate) fn register(collector: LocalPid) {
    *COLLECTOR.lock() = Some(collector);
    drop(FIGURES.lock().take());
    drop(PINGS.lock().take());
}

/// Asks the VM by messages to the collector process.
#[derive(Debug)]
pub(crate) struct Vm;

impl VmSource for Vm {
    fn request(&self, reply: VmReply) -> bool {
        ask(&FIGURES, reply, "erlmcp_vm_request")
    }
}

impl HealthSource for Vm {
    fn request(&self, _probe: Probe, reply: HealthReply) -> bool {
        ask(&PINGS, reply, "erlmcp_ping")
    }
}

/// Sends `{Tag, Id}` and keeps the way back. `false` if nobody is there; the
/// way back is dropped then, which tells those who wait.
fn ask<T>(pending: &Mutex<Option<HashMap<u64, T>>>, reply: T, tag: &str) -> bool {
    let Some(collector) = *COLLECTOR.lock() else { return false };
    let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
    {
        let mut pending = pending.lock();
        let pending = pending.get_or_insert_default();
        if pending.len() >= MAX_PENDING {
            pending.clear();
        }
        pending.insert(id, reply);
    }
    let mut store = TermStore::new();
    let env = store.env();
    let message = env.tuple(&[env.atom(tag), env.uint(id)]);
    let sent = store.send_from_outside(collector, message);
    if !sent {
        take(pending, id);
    }
    sent
}

fn take<T>(pending: &Mutex<Option<HashMap<u64, T>>>, id: u64) -> Option<T> {
    pending.lock().as_mut()?.remove(&id)
}

/// Takes the VM's figures. What cannot be read is left out: one bad sample
/// must not cost the others.
pub(crate) fn reply(env: CallEnv<'_>, id: u64, families: RawTerm) -> bool {
    let Some(reply) = take(&FIGURES, id) else { return false };
    reply.send(decode_families(env, families));
    true
}

/// Takes the VM's sign of life.
pub(crate) fn pong(id: u64, node: String, uptime: Duration) -> bool {
    let Some(reply) = take(&PINGS, id) else { return false };
    reply.send(HealthReport { node, uptime, checks: Vec::new() });
    true
}

/// Reads `[{Name, Kind, Help, [{Labels, Value}]}]`.
pub(crate) fn decode_families(env: CallEnv<'_>, families: RawTerm) -> Vec<Family> {
    let mut text = String::new();
    let mut value = String::new();
    let mut labels = LabelSetBuilder::default();
    list(env, families)
        .filter_map(|family| {
            let [name, kind, help, samples] = env.get_tuple(family)?;
            let name = text_of(env, name)?;
            let kind = match text_of(env, kind)?.as_str() {
                "counter" => FamilyKind::Counter,
                "gauge" => FamilyKind::Gauge,
                _ => FamilyKind::Untyped,
            };
            let help = text_of(env, help)?;
            let samples = list(env, samples)
                .filter_map(|sample| {
                    let [pairs, number] = env.get_tuple(sample)?;
                    let number = number_of(env, number)?;
                    labels.clear();
                    for pair in list(env, pairs) {
                        let [key, label] = env.get_tuple(pair)?;
                        text.clear();
                        value.clear();
                        push_text(env, key, &mut text).ok()?;
                        push_value(env, label, &mut value).ok()?;
                        labels.push(&text, &value);
                    }
                    Some(Sample { labels: labels.finish().ok()?.clone(), value: number })
                })
                .collect();
            Some(Family { name, kind, help, samples })
        })
        .collect()
}

fn list<'a>(env: CallEnv<'a>, term: RawTerm) -> impl Iterator<Item = RawTerm> + 'a {
    let mut rest = term;
    std::iter::from_fn(move || {
        let (head, tail) = env.get_cell(rest)?;
        rest = tail;
        Some(head)
    })
}

fn text_of(env: CallEnv<'_>, term: RawTerm) -> Option<String> {
    let mut text = String::new();
    push_text(env, term, &mut text).ok()?;
    Some(text)
}

fn number_of(env: CallEnv<'_>, term: RawTerm) -> Option<Number> {
    if let Some(n) = env.get_int(term) {
        return Some(Number::Int(n));
    }
    if let Some(n) = env.get_uint(term) {
        return Some(Number::Uint(n));
    }
    env.get_float(term).map(Number::Float)
}
