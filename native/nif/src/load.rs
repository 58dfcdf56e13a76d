//! Loading, upgrading, and the table of functions.
//!
//! `rustler::init!` sets no `upgrade`, without which the VM refuses to load a
//! new version of the module; hence this entry of our own.
#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};
use std::panic::catch_unwind;
use std::ptr;
use std::sync::OnceLock;

use rustler::codegen_runtime::{ErlNifEntry, inventory};
use rustler::sys::{ErlNifEnv, ErlNifFunc, ErlNifTerm};

use crate::raw::CallEnv;
use crate::state::{registry, set_small_tag_holds};
use crate::{atoms, guard, hot, span_entry};

const MODULE: &std::ffi::CStr = c"erlmcp_instrumentation_nif";

/// The VM keeps pointers into the entry as long as the module is loaded.
struct Entry(ErlNifEntry);

// SAFETY: written once, read by the VM only.
unsafe impl Send for Entry {}
// SAFETY: as above.
unsafe impl Sync for Entry {}

static ENTRY: OnceLock<Entry> = OnceLock::new();

/// What the VM asks a NIF library for.
///
/// It may ask again when a new version of the module loads the library; the
/// entry is the same.
#[unsafe(no_mangle)]
#[allow(unreachable_pub)]
pub extern "C" fn nif_init() -> *const ErlNifEntry {
    catch_unwind(|| {
        let entry = ENTRY.get_or_init(|| {
            let mut functions = hot::functions();
            functions.extend(span_entry::functions());
            functions.extend(inventory::iter::<rustler::Nif>().map(rustler::Nif::get_def));
            let functions: &'static [ErlNifFunc] = Vec::leak(functions);
            let mut entry = ErlNifEntry::new(MODULE, functions, load);
            entry.upgrade = Some(upgrade);
            Entry(entry)
        });
        &raw const entry.0
    })
    .unwrap_or(ptr::null())
}

/// Its address tells this image of the library from another.
static IMAGE: u8 = 0;

unsafe extern "C" fn load(
    env: *mut ErlNifEnv,
    private: *mut *mut c_void,
    _info: ErlNifTerm,
) -> c_int {
    // SAFETY: the environment and the private data of this call.
    let env = unsafe {
        *private = (&raw const IMAGE).cast_mut().cast();
        CallEnv::new(env)
    };
    prepare(env)
}

/// A new version of the module takes over: all state is in statics of this
/// library and stays. Blocks every scheduler, so it only makes a few terms.
///
/// A library from another path is another image with statics of its own: it
/// would begin at zero beside a listener that it does not know. The VM is told
/// to stay with the module and the library that it has.
unsafe extern "C" fn upgrade(
    env: *mut ErlNifEnv,
    private: *mut *mut c_void,
    old_private: *mut *mut c_void,
    _info: ErlNifTerm,
) -> c_int {
    // SAFETY: the environment and the private data of this call; the old one
    // is what `load` or `upgrade` of some image has set.
    let (env, same_image) = unsafe {
        *private = *old_private;
        (CallEnv::new(env), (*old_private).cast_const().cast() == &raw const IMAGE)
    };
    if same_image { prepare(env) } else { OTHER_IMAGE }
}

/// What `upgrade` returns to refuse another image.
const OTHER_IMAGE: c_int = 2;

fn prepare(env: CallEnv<'_>) -> c_int {
    let prepared = catch_unwind(|| {
        hot::prepare(env);
        atoms::prepare(env);
        set_small_tag_holds(env.small_tag_holds());
        registry();
        guard::prepare(env)
    });
    c_int::from(!prepared.unwrap_or(false))
}
