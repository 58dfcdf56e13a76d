//! Health questions to the process that answers them, and its answers.

use std::time::Duration;

use erlmcp_export::{Check, HealthReply, HealthReport, HealthSource, Probe};
use rustler::{Binary, Env, NifTuple, Term};

use crate::cold::{ok, raw};
use crate::party::Party;
use crate::raw::CallEnv;

static RESPONDER: Party<HealthReply> = Party::new();

/// Asks by `{erlmcp_health_request, Id, Probe}`.
#[derive(Debug)]
pub(crate) struct Responder;

impl HealthSource for Responder {
    fn request(&self, probe: Probe, reply: HealthReply) -> bool {
        RESPONDER.ask(reply, |env, id| {
            env.tuple(&[env.atom("erlmcp_health_request"), id, env.atom(probe.as_str())])
        })
    }
}

/// What the process says of one check.
#[derive(NifTuple)]
struct CheckTuple<'a> {
    name: Binary<'a>,
    healthy: bool,
    critical: bool,
    detail: Binary<'a>,
    duration_us: Option<u64>,
    age_ms: Option<u64>,
}

impl CheckTuple<'_> {
    fn check(&self) -> Check {
        let text = |bytes: &Binary<'_>| String::from_utf8_lossy(bytes).into_owned();
        Check {
            name: text(&self.name),
            healthy: self.healthy,
            critical: self.critical,
            detail: text(&self.detail),
            duration: self.duration_us.map(Duration::from_micros),
            age: self.age_ms.map(Duration::from_millis),
        }
    }
}

#[rustler::nif]
fn health_register(env: Env<'_>, pid: rustler::LocalPid) -> Term<'_> {
    if let Some(pid) = CallEnv::of(env).get_pid(raw(rustler::Encoder::encode(&pid, env))) {
        RESPONDER.register(pid);
    }
    ok(env)
}

/// `false` if nobody asked, or does not wait any more.
#[rustler::nif]
fn health_reply(id: u64, node: String, uptime_ms: u64, checks: Vec<CheckTuple<'_>>) -> bool {
    let Some(reply) = RESPONDER.take(id) else { return false };
    let uptime = Duration::from_millis(uptime_ms);
    let checks = checks.iter().map(CheckTuple::check).collect();
    reply.send(HealthReport { node, uptime, checks });
    true
}
