//! Recording by name and labels, and by handle.

use std::panic::{AssertUnwindSafe, catch_unwind};

use erlmcp_metrics::{
    Bound, GaugeValue, Kind, LabelSet, MetricName, RecordError, Recorder, Rejection, SeriesId,
};

use crate::exemplar::keep_exemplar;
use crate::raw::{CallEnv, RawTerm, TermStore};
use crate::refusal::Refusal;
use crate::state::{Thread, registry, thread};
use crate::text::{NotText, push_text, push_value};

/// What a call does to a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    /// Adds to a counter and to nothing else.
    Count,
    /// Adds to whatever can be added to.
    Add,
    /// Subtracts from whatever can go down.
    Subtract,
    /// Sets a gauge.
    Set,
    /// Counts an observation in a histogram.
    Observe,
}

impl Op {
    #[inline(always)]
    fn takes(self, kind: Kind) -> bool {
        match self {
            Self::Count => kind == Kind::Counter,
            Self::Add => matches!(kind, Kind::Counter | Kind::UpDownCounter | Kind::Gauge),
            Self::Subtract => matches!(kind, Kind::UpDownCounter | Kind::Gauge),
            Self::Set => kind == Kind::Gauge,
            Self::Observe => kind.is_histogram(),
        }
    }

    /// What an undeclared name becomes.
    fn default_kind(self) -> Kind {
        match self {
            Self::Count | Self::Add => Kind::Counter,
            Self::Subtract => Kind::UpDownCounter,
            Self::Set => Kind::Gauge,
            Self::Observe => Kind::Histogram,
        }
    }

    /// The kind to look for under a name: what it is, if this can be done to
    /// it, else what it would become; the registry then says what is wrong.
    fn kind_for(self, name: &MetricName) -> Kind {
        match self {
            Self::Add | Self::Subtract | Self::Observe => registry()
                .kind_of(name)
                .filter(|kind| self.takes(*kind))
                .unwrap_or(self.default_kind()),
            Self::Count | Self::Set => self.default_kind(),
        }
    }
}

/// A value as it came.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Amount {
    Int(i64),
    Float(f64),
}

impl Amount {
    #[allow(clippy::cast_precision_loss)]
    pub(crate) fn as_f64(self) -> f64 {
        match self {
            Self::Int(n) => n as f64,
            Self::Float(x) => x,
        }
    }

    fn negated(self) -> Self {
        match self {
            Self::Int(n) => n.checked_neg().map_or(Self::Float(-self.as_f64()), Self::Int),
            Self::Float(x) => Self::Float(-x),
        }
    }
}

fn amount(env: CallEnv<'_>, term: RawTerm) -> Option<Amount> {
    if let Some(x) = env.get_float(term) {
        return Some(Amount::Float(x));
    }
    if let Some(n) = env.get_int(term) {
        return Some(Amount::Int(n));
    }
    let mut name = String::new();
    if !env.push_atom_name(term, &mut name) {
        return None;
    }
    match name.as_str() {
        "infinity" => Some(Amount::Float(f64::INFINITY)),
        "-infinity" => Some(Amount::Float(f64::NEG_INFINITY)),
        "nan" => Some(Amount::Float(f64::NAN)),
        _ => None,
    }
}

#[inline(always)]
fn apply(recorder: &Recorder, id: SeriesId, op: Op, amount: Amount) -> Result<(), RecordError> {
    match (op, amount) {
        (Op::Count | Op::Add, Amount::Int(n)) => recorder.add_int(id, n),
        (Op::Count | Op::Add, Amount::Float(x)) => recorder.add_float(id, x),
        (Op::Subtract, amount) => match amount.negated() {
            Amount::Int(n) => recorder.add_int(id, n),
            Amount::Float(x) => recorder.add_float(id, x),
        },
        (Op::Set, Amount::Int(n)) => recorder.set(id, GaugeValue::Int(n)),
        (Op::Set, Amount::Float(x)) => recorder.set(id, GaugeValue::Float(x)),
        (Op::Observe, amount) => recorder.observe(id, amount.as_f64()),
    }
}

/// Adds a small integer to a counter given by its handle. What a hot path
/// does most has no branch to anything that needs a stack frame.
#[inline(always)]
pub(crate) fn count_by_handle(thread: &Thread, handle: RawTerm, value: RawTerm) -> Option<()> {
    let id = SeriesId::from_raw(handle.small()?.cast_unsigned());
    let n = u64::try_from(value.small()?).ok()?;
    thread.recorder.try_count(id, n).then_some(())
}

/// Records into a series given by its handle, if all is as it mostly is.
/// Tells the series where something was recorded.
#[inline(always)]
pub(crate) fn by_handle(
    env: CallEnv<'_>,
    thread: &Thread,
    handle: RawTerm,
    value: RawTerm,
    op: Op,
) -> Option<SeriesId> {
    let id = SeriesId::from_raw(handle.small()?.cast_unsigned());
    apply(&thread.recorder, id, op, common_amount(env, value)?).ok().map(|()| id)
}

/// A small integer or a float.
#[inline(always)]
pub(crate) fn common_amount(env: CallEnv<'_>, value: RawTerm) -> Option<Amount> {
    match value.small() {
        Some(n) => Some(Amount::Int(n)),
        None => env.get_float(value).map(Amount::Float),
    }
}

/// As [`by_handle`], whatever is given. `context` is the term of the span
/// context that may make an exemplar of it.
#[cold]
#[inline(never)]
pub(crate) fn by_handle_slowly(
    env: CallEnv<'_>,
    handle: RawTerm,
    value: RawTerm,
    op: Op,
    context: Option<RawTerm>,
) -> RawTerm {
    contained(env, || {
        let Some(raw) = env.get_int(handle) else {
            return Refusal::record(RecordError::UnknownSeries).rejected(env, HANDLE);
        };
        let Some(amount) = amount(env, value) else {
            return bad_value(env, value).rejected(env, HANDLE);
        };
        let id = SeriesId::from_raw(raw.cast_unsigned());
        match apply(&thread().recorder, id, op, amount) {
            Ok(()) => {
                if let Some(context) = context {
                    keep_exemplar(env, thread(), id, value, context);
                }
                env.atom("ok")
            }
            Err(error) => Refusal::record(error).rejected(env, HANDLE),
        }
    })
}

/// Stands for the name where only a handle is known.
const HANDLE: &str = "(series handle)";

fn bad_value(env: CallEnv<'_>, value: RawTerm) -> Refusal {
    let text = if env.is_number(value) {
        "the value is an integer beyond 64 bits"
    } else {
        "the value is not a number"
    };
    Refusal::new(Rejection::BadValue, text)
}

/// Records into the series of a name and labels, if this thread knows it and
/// all is as it mostly is. Tells the series where something was recorded.
#[inline(always)]
pub(crate) fn by_name(
    env: CallEnv<'_>,
    thread: &Thread,
    name: RawTerm,
    value: RawTerm,
    labels: RawTerm,
    op: Op,
) -> Option<SeriesId> {
    let cached = thread.cache.hinted(name, labels)?;
    if !op.takes(cached.kind) {
        return None;
    }
    if matches!(op, Op::Count | Op::Add)
        && let Some(n) = value.small().and_then(|n| u64::try_from(n).ok())
        && thread.recorder.try_count(cached.id, n)
    {
        return Some(cached.id);
    }
    apply(&thread.recorder, cached.id, op, common_amount(env, value)?).ok().map(|()| cached.id)
}

/// As [`by_name`], whatever is given. `context` is as in [`by_handle_slowly`].
#[cold]
#[inline(never)]
pub(crate) fn by_name_slowly(
    env: CallEnv<'_>,
    name: RawTerm,
    value: RawTerm,
    labels: RawTerm,
    op: Op,
    context: Option<RawTerm>,
) -> RawTerm {
    contained(env, || match record(env, thread(), name, value, labels, op) {
        Ok(id) => {
            if let Some(context) = context {
                keep_exemplar(env, thread(), id, value, context);
            }
            env.atom("ok")
        }
        Err(refusal) => refusal.rejected(env, &shown(env, name)),
    })
}

/// Runs what may allocate or look further; a panic ends as an Erlang error.
#[inline]
pub(crate) fn contained(env: CallEnv<'_>, body: impl FnOnce() -> RawTerm) -> RawTerm {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|_| {
        registry().reject(Rejection::Internal);
        env.raise(env.atom("nif_panicked"))
    })
}

/// Whether an amount can be recorded: asked before a series is registered for
/// it, so that a refused recording leaves nothing behind.
fn check(kind: Kind, op: Op, amount: Amount) -> Result<(), RecordError> {
    if op != Op::Set && !amount.as_f64().is_finite() {
        return Err(RecordError::NotFinite);
    }
    if kind == Kind::Counter && amount.as_f64() < 0.0 {
        return Err(RecordError::Negative);
    }
    Ok(())
}

/// Records, and tells the series.
fn record(
    env: CallEnv<'_>,
    thread: &Thread,
    name: RawTerm,
    value: RawTerm,
    labels: RawTerm,
    op: Op,
) -> Result<SeriesId, Refusal> {
    let amount = amount(env, value).ok_or_else(|| bad_value(env, value))?;
    if let Some(cached) = thread.cache.find(name, labels)
        && op.takes(cached.kind)
    {
        match apply(&thread.recorder, cached.id, op, amount) {
            Ok(()) => return Ok(cached.id),
            // Removed meanwhile: registered anew below.
            Err(RecordError::UnknownSeries) => {}
            Err(error) => return Err(Refusal::record(error)),
        }
    }
    let mut outcome = Err(RecordError::UnknownSeries);
    for _ in 0..ATTEMPTS {
        let (bound, kind) = resolve(env, thread, name, labels, |name| {
            let kind = op.kind_for(name);
            check(kind, op, amount).map(|()| kind).map_err(Refusal::record)
        })?;
        outcome = apply(&thread.recorder, bound.id, op, amount).map(|()| bound.id);
        // Another process may remove the series between the two steps.
        if outcome != Err(RecordError::UnknownSeries) {
            if !bound.overflowed {
                let copy = |store: &mut TermStore| copy_terms(env, store, name, labels);
                thread.cache.insert(name, labels, bound.id, kind, copy);
            }
            break;
        }
    }
    outcome.map_err(Refusal::record)
}

/// How often a recording by name starts anew because its series is removed
/// under its hands.
const ATTEMPTS: usize = 32;

/// Copies for the cache: binaries in full, so that none keeps a larger one,
/// of which it is a part, from being freed.
fn copy_terms(
    env: CallEnv<'_>,
    store: &mut TermStore,
    name: RawTerm,
    labels: RawTerm,
) -> Option<(RawTerm, RawTerm)> {
    let mut copy = |term| match env.get_binary(term) {
        Some(bytes) => store.env().binary(bytes),
        None => store.copy(term),
    };
    let name = copy(name);
    let mut keys = Vec::new();
    let mut values = Vec::new();
    env.each_pair(labels, |key, value| {
        keys.push(copy(key));
        values.push(copy(value));
        true
    });
    Some((name, store.env().map(&keys, &values)?))
}

/// Most characters of a name that a message shows.
const MAX_SHOWN: usize = 255;

/// Most pairs that are looked at before a label map is refused.
const MAX_PAIRS: usize = 256;

/// The series of a name and labels, registered if need be, and its kind.
pub(crate) fn resolve(
    env: CallEnv<'_>,
    thread: &Thread,
    name: RawTerm,
    labels: RawTerm,
    kind_for: impl FnOnce(&MetricName) -> Result<Kind, Refusal>,
) -> Result<(Bound, Kind), Refusal> {
    // A panic that is contained leaves the scratch memory borrowed to nobody.
    let scratch = &mut *thread.scratch.borrow_mut();
    let metric = decode_name(env, &mut scratch.text, scratch.name.take(), name)?;
    let metric = scratch.name.insert(metric);
    let labels =
        decode_labels(env, &mut scratch.text, &mut scratch.value, &mut scratch.labels, labels)?;
    let kind = kind_for(metric)?;
    let bound = registry().series(kind, metric, labels).map_err(|error| Refusal::bind(&error))?;
    Ok((bound, kind))
}

/// A name term as a metric's name, in the memory of `reused`.
pub(crate) fn decode_name(
    env: CallEnv<'_>,
    text: &mut String,
    reused: Option<MetricName>,
    term: RawTerm,
) -> Result<MetricName, Refusal> {
    text.clear();
    push_text(env, term, text).map_err(|why| {
        let hint = if why == NotText::WrongType && env.get_tuple::<2>(term).is_some() {
            ", but a tuple: was an error of bind/3 taken for a series?"
        } else {
            ""
        };
        let text = format!("the metric's name {}{hint}", why.as_str());
        Refusal::new(Rejection::BadName, text)
    })?;
    let bad =
        |error: erlmcp_metrics::NameError| Refusal::new(Rejection::BadName, error.to_string());
    match reused {
        Some(mut name) => name.assign(text).map(|()| name).map_err(bad),
        None => MetricName::new(text).map_err(bad),
    }
}

/// A label map as a label set.
pub(crate) fn decode_labels<'b>(
    env: CallEnv<'_>,
    name: &mut String,
    value: &mut String,
    builder: &'b mut erlmcp_metrics::LabelSetBuilder,
    term: RawTerm,
) -> Result<&'b LabelSet, Refusal> {
    let bad = |text: String| Refusal::new(Rejection::BadLabels, text);
    match env.map_size(term) {
        None => return Err(bad("the labels are not a map".into())),
        Some(size) if size > MAX_PAIRS => {
            return Err(bad(format!("{size} labels, more than any metric can have")));
        }
        Some(_) => {}
    }
    builder.clear();
    let mut refusal = None;
    env.each_pair(term, |key, label| {
        name.clear();
        value.clear();
        if let Err(why) = push_text(env, key, name) {
            refusal = Some(bad(format!("a label's name {}", why.as_str())));
        } else if let Err(why) = push_value(env, label, value) {
            let name: String = name.chars().take(MAX_SHOWN).collect();
            refusal = Some(bad(format!("the value of label {name} {}", why.as_str())));
        } else {
            builder.push(name, value);
        }
        refusal.is_none()
    });
    if let Some(refusal) = refusal {
        return Err(refusal);
    }
    builder.finish().map_err(|error| bad(error.to_string()))
}

/// A name for the log: its text, or a word for what has none.
pub(crate) fn shown(env: CallEnv<'_>, name: RawTerm) -> String {
    let mut text = String::new();
    match push_text(env, name, &mut text) {
        Ok(()) => text.chars().take(MAX_SHOWN).collect(),
        Err(_) => "(not a name)".into(),
    }
}
