//! What the library keeps for the life of the VM, and what each thread keeps.
//!
//! A hot upgrade of the Erlang module finds this as it was: the shared
//! library stays mapped, so its statics stay.

use std::cell::{Cell, RefCell, RefMut};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use erlmcp_metrics::{LabelSetBuilder, MetricName, Options, Recorder, Registry};

use erlmcp_trace::{LocalTracer, Tracer};

use crate::attribute::Texts;
use crate::cache::SeriesCache;
use crate::log::Logging;

static REGISTRY: OnceLock<Registry> = OnceLock::new();
static SMALL_TAG_HOLDS: AtomicBool = AtomicBool::new(false);

/// The node's registry.
pub(crate) fn registry() -> &'static Registry {
    REGISTRY.get_or_init(|| Registry::new(Options::default()))
}

static TRACER: OnceLock<Tracer> = OnceLock::new();

/// The node's tracer.
pub(crate) fn tracer() -> &'static Tracer {
    TRACER.get_or_init(Tracer::default)
}

/// Remembers whether small integers can be read from their tag.
pub(crate) fn set_small_tag_holds(holds: bool) {
    SMALL_TAG_HOLDS.store(holds, Ordering::Relaxed);
}

/// What a scheduler thread keeps between calls.
///
/// Shared, not exclusive: the hot path only reads, and what the slow path
/// changes is in cells.
#[derive(Debug)]
pub(crate) struct Thread {
    pub(crate) recorder: Recorder,
    pub(crate) cache: SeriesCache,
    pub(crate) scratch: RefCell<Scratch>,
    tracing: RefCell<Tracing>,
}

/// What a thread traces with.
#[derive(Debug)]
pub(crate) struct Tracing {
    pub(crate) tracer: LocalTracer,
    pub(crate) texts: Texts,
    pub(crate) logging: Logging,
}

impl Thread {
    /// What this thread traces with. A panic that was contained may have left
    /// it borrowed to nobody; then there is nothing, and nothing is traced.
    #[inline]
    pub(crate) fn tracing(&self) -> Option<RefMut<'_, Tracing>> {
        self.tracing.try_borrow_mut().ok()
    }
}

/// Memory that is used again from call to call.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    pub(crate) text: String,
    pub(crate) value: String,
    pub(crate) name: Option<MetricName>,
    pub(crate) labels: LabelSetBuilder,
}

thread_local! {
    /// Never dropped: schedulers end with the VM, and a destructor that ran
    /// in the VM's exit would run beside threads that still record.
    static THREAD: Cell<Option<&'static Thread>> = const { Cell::new(None) };

    /// The same, where small integers can be read from their tag.
    static FAST: Cell<Option<&'static Thread>> = const { Cell::new(None) };
}

/// This thread's state, if it has recorded before and small integers can be
/// read from their tag: what the hot path needs.
#[inline(always)]
pub(crate) fn fast_thread() -> Option<&'static Thread> {
    FAST.with(Cell::get)
}

/// This thread's state.
pub(crate) fn thread() -> &'static Thread {
    THREAD.get().unwrap_or_else(|| {
        let thread: &'static Thread = Box::leak(Box::new(Thread {
            recorder: registry().recorder(),
            cache: SeriesCache::new(),
            scratch: RefCell::default(),
            tracing: RefCell::new(Tracing {
                tracer: tracer().local(),
                texts: Texts::default(),
                logging: Logging::default(),
            }),
        }));
        THREAD.set(Some(thread));
        if SMALL_TAG_HOLDS.load(Ordering::Relaxed) {
            FAST.set(Some(thread));
        }
        thread
    })
}
