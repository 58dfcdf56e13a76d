//! What is open in a process: connections, sessions, subscriptions.

use std::sync::OnceLock;

use erlmcp_metrics::{LifetimeSeries, Lifetimes, NotOpened, Rejection, SeriesId};
use rustler::{Env, Term};

use crate::cold::raw;
use crate::guard::{self, Watch};
use crate::raw::CallEnv;
use crate::state::{registry, thread};

/// Most that are open at a time. Erlang's documentation has this number.
const MAX_OPEN: usize = 1_000_000;

static LIFETIMES: OnceLock<Lifetimes<Watch>> = OnceLock::new();

fn lifetimes() -> &'static Lifetimes<Watch> {
    LIFETIMES.get_or_init(|| Lifetimes::new(MAX_OPEN))
}

/// Opens something that belongs to a process, with the handles of its series;
/// its number, or 0 if it is not open.
#[rustler::nif]
fn lifetime_open<'a>(
    env: Env<'a>,
    owner: Term<'a>,
    opened: u64,
    active: u64,
    owner_ended: u64,
    duration: u64,
) -> u64 {
    let call = CallEnv::of(env);
    let [opened, active, owner_ended, duration] =
        [opened, active, owner_ended, duration].map(SeriesId::from_raw);
    let series = LifetimeSeries { opened, active, owner_ended, duration };
    let watch = |number| guard::watch_lifetime(call, call.get_pid(raw(owner))?, number);
    match lifetimes().open(&thread().recorder, series, watch) {
        Ok(number) => number,
        Err(NotOpened::OwnerHasEnded) => 0,
        Err(NotOpened::TooManyOpen) => {
            registry().reject(Rejection::TooManyOpen);
            0
        }
    }
}

/// `false` if it has ended before.
#[rustler::nif]
fn lifetime_close(number: u64, closed: u64) -> bool {
    lifetimes().close(&thread().recorder, number, SeriesId::from_raw(closed))
}

/// The VM says that the owner is gone. Called on a scheduler.
pub(crate) fn owner_is_down(number: u64) {
    lifetimes().owner_ended(&thread().recorder, number);
}
