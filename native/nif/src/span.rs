//! Spans: what the entry points of `span_entry.rs` do.
//!
//! Nothing here refuses: a term that cannot be what it should be is printed,
//! left out and counted in the span, or, where it is no span, does nothing.

use erlmcp_trace::{Link, OpenSpan, SpanKind, Start, StatusCode};

use crate::atoms::atoms;
use crate::attribute::{Texts, set_all, set_one, shown};
use crate::context::{self, Context};
use crate::owner;
use crate::raw::{CallEnv, RawTerm};
use crate::request;
use crate::state::{Thread, Tracing, thread};
use crate::work;

/// Options beyond which each is looked up: whatever else the map has.
const MAX_OPTIONS: usize = 16;
/// Most links that are looked at.
const MAX_LINKS: usize = 65_536;
/// What one link costs, in steps.
const LINK_STEPS: usize = 4;

/// What the options of a start say.
#[derive(Debug, Clone, Copy, Default)]
struct Options {
    parent: Option<RawTerm>,
    kind: SpanKind,
    attributes: Option<RawTerm>,
    links: Option<RawTerm>,
    start_ns: Option<u64>,
    note: Option<RawTerm>,
}

impl Options {
    #[inline]
    fn read(env: CallEnv<'_>, options: RawTerm) -> Self {
        let mut read = Self::default();
        if env.map_size(options).is_some_and(|size| size > MAX_OPTIONS) {
            let atoms = atoms();
            let keys = [atoms.attributes, atoms.kind, atoms.links, atoms.parent];
            for key in keys.into_iter().chain([atoms.start_time, atoms.note]) {
                if let Some(value) = env.get_value(options, key) {
                    read.set(env, key, value);
                }
            }
            return read;
        }
        env.each_pair(options, |key, value| {
            read.set(env, key, value);
            true
        });
        read
    }

    #[inline]
    fn set(&mut self, env: CallEnv<'_>, key: RawTerm, value: RawTerm) {
        let atoms = atoms();
        if key == atoms.attributes {
            self.attributes = Some(value);
        } else if key == atoms.kind {
            self.kind = kind(value);
        } else if key == atoms.links {
            self.links = Some(value);
        } else if key == atoms.parent {
            self.parent = Some(value);
        } else if key == atoms.start_time {
            self.start_ns = env.get_uint(value);
        } else if key == atoms.note {
            self.note = Some(value);
        }
    }
}

fn kind(term: RawTerm) -> SpanKind {
    let atoms = atoms();
    match term {
        _ if term == atoms.server => SpanKind::Server,
        _ if term == atoms.client => SpanKind::Client,
        _ if term == atoms.producer => SpanKind::Producer,
        _ if term == atoms.consumer => SpanKind::Consumer,
        _ => SpanKind::Internal,
    }
}

/// `span_start(Name, Current, Options) -> Context`.
#[inline]
pub(crate) fn start(env: CallEnv<'_>, [name, current, options]: [RawTerm; 3]) -> RawTerm {
    work::begin();
    let thread = thread();
    let options = Options::read(env, options);
    if options.note.is_some() {
        request::in_flight(thread, 1);
    }
    let Some(mut tracing) = thread.tracing() else { return context::invalid(env) };
    let Tracing { tracer, texts, .. } = &mut *tracing;
    let parent_term = options.parent.unwrap_or(current);
    let parent = Context::read(env, parent_term);
    let Some(pid) = env.self_pid() else { return context::invalid(env) };
    let mut name_text = std::mem::take(&mut texts.key);
    let mut note_text = String::new();
    let start = Start {
        parent: parent.as_ref().map(Context::as_parent),
        name: shown(env, name, &mut name_text),
        kind: options.kind,
        start_ns: options.start_ns,
        owner: pid.word(),
        note: options.note.map(|note| shown(env, note, &mut note_text)),
    };
    let mut fill_texts = Texts { key: String::new(), value: std::mem::take(&mut texts.value) };
    let started = tracer.start(&start, |span| fill(env, &options, span, &mut fill_texts));
    texts.value = fill_texts.value;
    texts.key = name_text;
    drop(tracing);
    let Some(started) = started else {
        return match parent {
            // What is done to the span that is not there is not done to its parent.
            Some(parent) if parent.handle != 0 => context::passed_on(env, &parent),
            Some(_) => parent_term,
            None => context::invalid(env),
        };
    };
    if started.owner_is_new && !owner::watch(env, pid) {
        // The process is being ended at this moment: so is the span.
        owner::is_down(thread, pid.word());
    }
    context::make(env, &started, parent.map_or("", |parent| parent.trace_state))
}

#[inline]
fn fill(env: CallEnv<'_>, options: &Options, span: &mut OpenSpan, texts: &mut Texts) {
    if let Some(attributes) = options.attributes
        && !set_all(env, attributes, span, texts)
    {
        span.drop_attributes(1);
    }
    let mut rest = options.links;
    let mut has_steps = true;
    for _ in 0..MAX_LINKS {
        let Some((link, tail)) = rest.and_then(|list| env.get_cell(list)) else { break };
        if has_steps {
            add_one_link(env, link, span, texts);
        } else {
            span.drop_links(1);
        }
        has_steps &= work::take(LINK_STEPS);
        rest = Some(tail);
    }
}

/// A link is a context, or a context and attributes.
fn add_one_link(env: CallEnv<'_>, link: RawTerm, span: &mut OpenSpan, texts: &mut Texts) {
    let (context, attributes) = match env.get_tuple::<2>(link) {
        Some([context, attributes]) => (context, Some(attributes)),
        None => (link, None),
    };
    let Some(context) = Context::read(env, context) else { return span.drop_links(1) };
    let link = Link {
        trace_id: context.trace_id,
        span_id: context.span_id,
        sampled: context.is_sampled(),
        remote: context.is_remote(),
        trace_state: context.trace_state,
    };
    span.add_link(&link, |writer| {
        if let Some(attributes) = attributes
            && !set_all(env, attributes, writer, texts)
        {
            writer.drop_attributes(1);
        }
    });
}

/// Does something with the open span of a context. `true` or `false`: whether
/// it is open.
fn change(
    env: CallEnv<'_>,
    span: RawTerm,
    change: impl FnOnce(&mut OpenSpan, &mut Texts),
) -> RawTerm {
    work::begin();
    let found =
        Context::read(env, span).filter(|context| context.handle != 0).and_then(|context| {
            let mut tracing = thread().tracing()?;
            let Tracing { tracer, texts, .. } = &mut *tracing;
            tracer.with(context.open_id(), |span| change(span, texts))
        });
    let atoms = atoms();
    if found.is_some() { atoms.true_ } else { atoms.false_ }
}

/// `span_set_attribute(Context, Key, Value) -> boolean()`.
pub(crate) fn set_attribute(env: CallEnv<'_>, [span, key, value]: [RawTerm; 3]) -> RawTerm {
    change(env, span, |span, texts| set_one(env, key, value, span, texts))
}

/// `span_set_attributes(Context, Attributes) -> boolean()`.
pub(crate) fn set_attributes(env: CallEnv<'_>, [span, attributes]: [RawTerm; 2]) -> RawTerm {
    change(env, span, |span, texts| {
        if !set_all(env, attributes, span, texts) {
            span.drop_attributes(1);
        }
    })
}

/// `span_add_event(Context, Name, Attributes, Time) -> boolean()`.
pub(crate) fn add_event(env: CallEnv<'_>, [span, name, attributes, time]: [RawTerm; 4]) -> RawTerm {
    let now_ns = match env.get_uint(time) {
        Some(time_ns) => time_ns,
        None => thread().tracing().map_or(0, |mut tracing| tracing.tracer.now_ns()),
    };
    change(env, span, |span, texts| {
        let mut text = String::new();
        let name = shown(env, name, &mut text);
        span.add_event(name, now_ns, |writer| {
            if !set_all(env, attributes, writer, texts) {
                writer.drop_attributes(1);
            }
        });
    })
}

/// `span_add_link(Context, Link) -> boolean()`.
pub(crate) fn add_link(env: CallEnv<'_>, [span, link]: [RawTerm; 2]) -> RawTerm {
    change(env, span, |span, texts| add_one_link(env, link, span, texts))
}

/// `span_set_status(Context, ok | error | unset, Message) -> boolean()`.
pub(crate) fn set_status(env: CallEnv<'_>, [span, code, message]: [RawTerm; 3]) -> RawTerm {
    let atoms = atoms();
    let code = match code {
        _ if code == atoms.ok => StatusCode::Ok,
        _ if code == atoms.error => StatusCode::Error,
        _ => StatusCode::Unset,
    };
    change(env, span, |span, texts| {
        span.set_status(code, shown(env, message, &mut texts.value));
    })
}

/// `span_set_name(Context, Name) -> boolean()`.
pub(crate) fn set_name(env: CallEnv<'_>, [span, name]: [RawTerm; 2]) -> RawTerm {
    change(env, span, |span, texts| span.set_name(shown(env, name, &mut texts.value)))
}

/// `span_is_open(Context) -> boolean()`.
pub(crate) fn is_open(env: CallEnv<'_>, [span]: [RawTerm; 1]) -> RawTerm {
    change(env, span, |_, _| ())
}

/// `span_end(Context) -> boolean()`.
#[inline]
pub(crate) fn end(env: CallEnv<'_>, [span]: [RawTerm; 1]) -> RawTerm {
    end_at(env, span, None)
}

/// `span_end(Context, EndTime) -> boolean()`.
pub(crate) fn end_with_time(env: CallEnv<'_>, [span, time]: [RawTerm; 2]) -> RawTerm {
    end_at(env, span, env.get_uint(time))
}

#[inline]
fn end_at(env: CallEnv<'_>, span: RawTerm, end_ns: Option<u64>) -> RawTerm {
    let atoms = atoms();
    if end_open(env, span, end_ns) { atoms.true_ } else { atoms.false_ }
}

/// Ends a span; a request is then no longer in flight. `false` if it is not
/// open.
#[inline]
pub(crate) fn end_open(env: CallEnv<'_>, span: RawTerm, end_ns: Option<u64>) -> bool {
    let Some(context) = Context::read(env, span).filter(|context| context.handle != 0) else {
        return false;
    };
    let thread = thread();
    let Some(mut tracing) = thread.tracing() else { return false };
    let mut is_request = false;
    let ended =
        tracing.tracer.end(context.open_id(), end_ns, |span| is_request = !span.note().is_empty());
    if is_request {
        request::in_flight(thread, -1);
    }
    ended
}

/// `span_give_away(Context, Pid) -> boolean()`.
pub(crate) fn give_away(env: CallEnv<'_>, [span, pid]: [RawTerm; 2]) -> RawTerm {
    let atoms = atoms();
    let (Some(context), Some(pid)) = (Context::read(env, span), env.get_pid(pid)) else {
        return atoms.false_;
    };
    let thread: &Thread = thread();
    let given = thread
        .tracing()
        .and_then(|mut tracing| tracing.tracer.give_away(context.open_id(), pid.word()));
    if given == Some(true) && !owner::watch(env, pid) {
        owner::is_down(thread, pid.word());
    }
    if given.is_some() { atoms.true_ } else { atoms.false_ }
}
