//! Watches processes: those that own the listener and the exporter, those with
//! spans, the one that learns why these ended, and the owners of what is open.
//!
//! A process that is killed runs no `terminate`; the VM still tells a
//! monitoring resource that it is gone. Then the ports are closed, and its
//! open spans are ended.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_int, c_void};
use std::panic::catch_unwind;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicPtr, Ordering};

use rustler::sys::{
    ErlNifEnv, ErlNifMonitor, ErlNifPid, ErlNifResourceDown, ErlNifResourceFlags,
    ErlNifResourceType, ErlNifResourceTypeInit, enif_alloc_resource, enif_init_resource_type,
    enif_monitor_process, enif_release_resource,
};

use crate::raw::{CallEnv, LocalPid};
use crate::state::thread;
use crate::{exporter, lifetime, listener, owner};

/// The resource types: made at load, taken over at upgrade.
static TYPE: AtomicPtr<ErlNifResourceType> = AtomicPtr::new(ptr::null_mut());
static EXPORTER_OWNER: AtomicPtr<ErlNifResourceType> = AtomicPtr::new(ptr::null_mut());
static SPAN_WATCHER: AtomicPtr<ErlNifResourceType> = AtomicPtr::new(ptr::null_mut());
static SPAN_OWNER: AtomicPtr<ErlNifResourceType> = AtomicPtr::new(ptr::null_mut());
static LIFETIME_OWNER: AtomicPtr<ErlNifResourceType> = AtomicPtr::new(ptr::null_mut());

/// The objects that monitor the current owners. A monitor does not hold its
/// object: without this reference both would be gone at once.
static WATCHING: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());
static WATCHING_EXPORTER: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());
static WATCHING_WATCHER: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());

/// Makes the resource types or takes them over. To be called in `load` and in
/// `upgrade` only. `false` if the VM refuses.
pub(crate) fn prepare(env: CallEnv<'_>) -> bool {
    open_type(env, c"erlmcp_listener_owner", owner_down as *const ErlNifResourceDown, &TYPE)
        && open_type(
            env,
            c"erlmcp_exporter_owner",
            exporter_owner_down as *const ErlNifResourceDown,
            &EXPORTER_OWNER,
        )
        && open_type(
            env,
            c"erlmcp_span_watcher",
            span_watcher_down as *const ErlNifResourceDown,
            &SPAN_WATCHER,
        )
        && open_type(
            env,
            c"erlmcp_span_owner",
            span_owner_down as *const ErlNifResourceDown,
            &SPAN_OWNER,
        )
        && open_type(
            env,
            c"erlmcp_lifetime_owner",
            lifetime_owner_down as *const ErlNifResourceDown,
            &LIFETIME_OWNER,
        )
}

fn open_type(
    env: CallEnv<'_>,
    name: &CStr,
    down: *const ErlNifResourceDown,
    opened: &AtomicPtr<ErlNifResourceType>,
) -> bool {
    let init = ErlNifResourceTypeInit {
        dtor: ptr::null(),
        stop: ptr::null(),
        down,
        members: 3,
        dyncall: ptr::null(),
    };
    let flags = [ErlNifResourceFlags::ERL_NIF_RT_TAKEOVER, ErlNifResourceFlags::ERL_NIF_RT_CREATE];
    flags.into_iter().any(|flag| {
        let mut tried = flag;
        // SAFETY: name and structure live through the call; `init` says how
        // many of its members are meant.
        let made = unsafe {
            enif_init_resource_type(
                env.as_c(),
                name.as_ptr(),
                &raw const init,
                flag,
                &raw mut tried,
            )
        };
        if !made.is_null() {
            opened.store(made.cast_mut(), Ordering::Release);
        }
        !made.is_null()
    })
}

/// Closes the listener of this generation when the process ends. `false` if
/// the process is gone already.
pub(crate) fn watch(env: CallEnv<'_>, owner: LocalPid, generation: u64) -> bool {
    watch_as(&TYPE, &WATCHING, env, owner, generation)
}

/// Ends the exporter of this generation when the process ends. `false` if the
/// process is gone already.
pub(crate) fn watch_exporter(env: CallEnv<'_>, owner: LocalPid, generation: u64) -> bool {
    watch_as(&EXPORTER_OWNER, &WATCHING_EXPORTER, env, owner, generation)
}

/// Has `owner::watcher_is_down` called when the process that tells why others
/// ended ends itself. `false` if it is gone already.
pub(crate) fn watch_span_watcher(env: CallEnv<'_>, watcher: LocalPid, generation: u64) -> bool {
    watch_as(&SPAN_WATCHER, &WATCHING_WATCHER, env, watcher, generation)
}

fn watch_as(
    kind: &AtomicPtr<ErlNifResourceType>,
    watching: &AtomicPtr<c_void>,
    env: CallEnv<'_>,
    owner: LocalPid,
    generation: u64,
) -> bool {
    let kind = kind.load(Ordering::Acquire);
    if kind.is_null() {
        return false;
    }
    // SAFETY: the type is alive; the object has room for the generation and
    // is aligned for it, as every allocation of the VM is. Our reference is
    // given up when the next object takes its place, and with it the monitor.
    unsafe {
        let object = enif_alloc_resource(kind, size_of::<u64>());
        if object.is_null() {
            return false;
        }
        object.cast::<u64>().write(generation);
        let refused: c_int =
            enif_monitor_process(env.as_c(), object, owner.as_c(), ptr::null_mut());
        let before = watching.swap(object, Ordering::AcqRel);
        if !before.is_null() {
            enif_release_resource(before);
        }
        refused == 0
    }
}

/// Callbacks of the objects that `watch_as` and `watch_lifetime` make: each
/// tells the number it was made for to those whom it concerns.
macro_rules! down_callbacks {
    ($($name:ident => $tell:path;)*) => {
        $(
            unsafe extern "C" fn $name(
                _env: *mut ErlNifEnv,
                object: *mut c_void,
                _pid: *const ErlNifPid,
                _monitor: *const ErlNifMonitor,
            ) {
                // SAFETY: the object is one of those, and begins with its number.
                let generation = unsafe { object.cast::<u64>().read() };
                // A panic must not leave a C function.
                let _ = catch_unwind(|| $tell(generation));
            }
        )*
    };
}

down_callbacks! {
    owner_down => listener::owner_is_down;
    exporter_owner_down => exporter::owner_is_down;
    span_watcher_down => owner::watcher_is_down;
    lifetime_owner_down => lifetime::owner_is_down;
}

/// A process that is watched as long as this lives.
#[derive(Debug)]
pub(crate) struct Watch(NonNull<c_void>);

// SAFETY: objects of the VM may be released from any thread; nothing else is
// done with it.
unsafe impl Send for Watch {}
// SAFETY: as above.
unsafe impl Sync for Watch {}

impl Drop for Watch {
    fn drop(&mut self) {
        // SAFETY: the one reference that `watch_lifetime` kept. The monitor
        // ends with its object; while the callback runs the VM holds another.
        unsafe { enif_release_resource(self.0.as_ptr()) };
    }
}

/// Has `lifetime::owner_is_down` called with a number when the process ends,
/// unless the watch is dropped before. `None` if the process is gone.
pub(crate) fn watch_lifetime(env: CallEnv<'_>, owner: LocalPid, number: u64) -> Option<Watch> {
    let kind = LIFETIME_OWNER.load(Ordering::Acquire);
    if kind.is_null() {
        return None;
    }
    // SAFETY: as in `watch_as`. Our reference is the watch's, which is dropped
    // at once if the process is gone.
    unsafe {
        let watch = Watch(NonNull::new(enif_alloc_resource(kind, size_of::<u64>()))?);
        watch.0.as_ptr().cast::<u64>().write(number);
        let refused: c_int =
            enif_monitor_process(env.as_c(), watch.0.as_ptr(), owner.as_c(), ptr::null_mut());
        (refused == 0).then_some(watch)
    }
}

/// Closes on a thread of its own what an owner has left: schedulers must not
/// wait. Without a thread it goes on until the next start or stop.
pub(crate) fn close_apart(close: impl FnOnce() + Send + 'static) {
    let _ = std::thread::Builder::new().name("erlmcp_close".into()).spawn(close);
}

/// Has `owner::is_down` called when a process with spans ends. `false` if it
/// is gone already.
pub(crate) fn watch_span_owner(env: CallEnv<'_>, pid: LocalPid) -> bool {
    let kind = SPAN_OWNER.load(Ordering::Acquire);
    if kind.is_null() {
        return false;
    }
    // SAFETY: as in `watch`. Our reference is given up when the process is
    // down, or at once if it is.
    unsafe {
        let object = enif_alloc_resource(kind, size_of::<u64>());
        if object.is_null() {
            return false;
        }
        object.cast::<u64>().write(pid.word());
        let refused: c_int = enif_monitor_process(env.as_c(), object, pid.as_c(), ptr::null_mut());
        if refused != 0 {
            enif_release_resource(object);
        }
        refused == 0
    }
}

unsafe extern "C" fn span_owner_down(
    _env: *mut ErlNifEnv,
    object: *mut c_void,
    _pid: *const ErlNifPid,
    _monitor: *const ErlNifMonitor,
) {
    // SAFETY: the object is one that `watch_span_owner` made, and this is the
    // one end of the reference that it kept; the VM holds another until this
    // returns.
    let pid = unsafe {
        let pid = object.cast::<u64>().read();
        enif_release_resource(object);
        pid
    };
    // A panic must not leave a C function.
    let _ = catch_unwind(|| owner::is_down(thread(), pid));
}
