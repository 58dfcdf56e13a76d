//! Questions to the VM for its figures, from threads that are not its own, and
//! the answers.

use erlmcp_export::{VmReply, VmSource};
use erlmcp_metrics::{Family, FamilyKind, LabelSetBuilder, Number, Sample};

use crate::party::Party;
use crate::raw::{CallEnv, LocalPid, RawTerm};
use crate::text::{push_text, push_value};

static COLLECTOR: Party<VmReply> = Party::new();

/// Names the process that is asked from now on.
pub(crate) fn register(collector: LocalPid) {
    COLLECTOR.register(collector);
}

/// Asks by `{erlmcp_vm_request, Id}`.
#[derive(Debug)]
pub(crate) struct Vm;

impl VmSource for Vm {
    fn request(&self, reply: VmReply) -> bool {
        COLLECTOR.ask(reply, |env, id| env.tuple(&[env.atom("erlmcp_vm_request"), id]))
    }
}

/// Takes the VM's figures. What cannot be read is left out: one bad sample
/// must not cost the others.
pub(crate) fn reply(env: CallEnv<'_>, id: u64, families: RawTerm) -> bool {
    let Some(reply) = COLLECTOR.take(id) else { return false };
    reply.send(decode_families(env, families));
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
