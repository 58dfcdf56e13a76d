//! Contexts from headers and into headers.
//!
//! What is malformed is skipped, never an error. Work is bounded: so many
//! headers are looked at, and so many bytes of those that matter are read.

use erlmcp_trace::propagation::{Baggage, BaggageEntry, MAX_BAGGAGE_BYTES, Propagators};
use erlmcp_trace::{REDACTED, SecretKeys, SpanContext};
use parking_lot::RwLock;
use rustler::{Env, Term};

use crate::cold::{bad_option, ok, raw};
use crate::raw::{CallEnv, RawTerm};
use crate::text::{push_bounded_text, push_value};

/// Headers, or entries of baggage, that are looked at; the rest is ignored.
const MAX_HEADERS: usize = 1_024;
/// With more bytes of context headers than this, none is read.
const MAX_BYTES: usize = 64 << 10;
/// Longer names are those of other headers.
const MAX_NAME: usize = 32;

static PROPAGATORS: RwLock<Propagators> = RwLock::new(Propagators::DEFAULT);

/// Sets the propagators from the text of `OTEL_PROPAGATORS`.
#[rustler::nif]
fn otel_propagators<'a>(env: Env<'a>, names: String) -> Term<'a> {
    match names.parse() {
        Ok(propagators) => {
            *PROPAGATORS.write() = propagators;
            ok(env)
        }
        Err(error) => bad_option(env, error.to_string()),
    }
}

/// `{SpanContext | nil, [{Key, Value, Metadata}]}` from headers.
#[rustler::nif]
fn otel_extract<'a>(env: Env<'a>, headers: Term<'a>) -> Term<'a> {
    let call = CallEnv::of(env);
    let propagators = *PROPAGATORS.read();
    let found = propagators.extract(Headers::read(call, raw(headers)).pairs());
    let context = match &found.context {
        Some(context) => call.binary(&context.to_bytes()),
        None => call.atom("nil"),
    };
    let text = |text: &str| call.binary(text.as_bytes());
    let entry =
        |entry: &BaggageEntry| [text(entry.key()), text(entry.value()), text(entry.metadata())];
    let baggage: Vec<RawTerm> =
        found.baggage.iter().map(|known| call.tuple(&entry(known))).collect();
    call.to_term(env, call.tuple(&[context, call.list(&baggage)]))
}

/// `[{Name, Value}]` from a span context, or none, and baggage.
#[rustler::nif]
fn otel_inject<'a>(env: Env<'a>, context: Term<'a>, baggage: Term<'a>) -> Term<'a> {
    let call = CallEnv::of(env);
    let context = call.get_binary(raw(context)).and_then(SpanContext::from_bytes);
    let baggage = read_baggage(call, raw(baggage));
    let propagators = *PROPAGATORS.read();
    let mut headers = Vec::new();
    propagators.inject(context.as_ref(), &baggage, |name, value| {
        headers.push(call.tuple(&[call.binary(name.as_bytes()), call.binary(value.as_bytes())]));
    });
    call.to_term(env, call.list(&headers))
}

/// The headers that matter to propagators: text, and where names and values
/// end in it.
#[derive(Default)]
struct Headers {
    text: String,
    ends: Vec<(usize, usize)>,
    /// Bytes of values, those that turned out to be no text included.
    bytes: usize,
}

impl Headers {
    fn read(env: CallEnv<'_>, headers: RawTerm) -> Self {
        let mut read = Self::default();
        let mut fits = true;
        each_entry(env, headers, |name, value, _| {
            fits = read.add(env, name, value).is_some();
            fits
        });
        if fits { read } else { Self::default() }
    }

    /// Nothing when there is too much to read.
    fn add(&mut self, env: CallEnv<'_>, name: RawTerm, value: RawTerm) -> Option<()> {
        let start = self.text.len();
        let is_known = env.get_binary(name).is_none_or(|name| name.len() <= MAX_NAME)
            && push_bounded_text(env, name, MAX_NAME, &mut self.text).is_ok()
            && self.text.get(start..).is_some_and(Propagators::reads);
        if !is_known {
            self.text.truncate(start);
            return Some(());
        }
        let name_end = self.text.len();
        let binary = env.get_binary(value);
        self.bytes += binary.map_or(0, <[u8]>::len);
        if self.bytes > MAX_BYTES {
            return None;
        }
        let is_text = push_bounded_text(env, value, MAX_BYTES, &mut self.text).is_ok();
        if binary.is_none() {
            self.bytes += self.text.len() - name_end;
        }
        if is_text {
            self.ends.push((name_end, self.text.len()));
        } else {
            self.text.truncate(start);
        }
        (self.bytes <= MAX_BYTES).then_some(())
    }

    fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut start = 0;
        self.ends.iter().filter_map(move |(name_end, end)| {
            let pair = (self.text.get(start..*name_end)?, self.text.get(*name_end..*end)?);
            start = *end;
            Some(pair)
        })
    }
}

/// Baggage of a map or of a list of `{Key, Value}` and `{Key, Value, Metadata}`.
/// Other services see it: what is secret stays here.
fn read_baggage(env: CallEnv<'_>, entries: RawTerm) -> Baggage {
    let mut baggage = Baggage::default();
    let secrets = SecretKeys::current();
    let [mut key, mut value, mut metadata] = [const { String::new() }; 3];
    each_entry(env, entries, |key_term, value_term, metadata_term| {
        for text in [&mut key, &mut value, &mut metadata] {
            text.clear();
        }
        let read = |term: RawTerm, text: &mut String| {
            let fits = env.get_binary(term).is_none_or(|bytes| bytes.len() <= MAX_BAGGAGE_BYTES);
            fits && push_value(env, term, text).is_ok()
        };
        let is_text = read(key_term, &mut key)
            && read(value_term, &mut value)
            && metadata_term.is_none_or(|term| read(term, &mut metadata));
        if is_text && secrets.is_secret(&key) {
            let _ = baggage.insert(&key, REDACTED, "");
        } else if is_text {
            // What cannot be sent is left out, as what cannot be read is.
            let _ = baggage.insert(&key, &value, &metadata);
        }
        true
    });
    baggage
}

/// Calls `visit` with the parts of each pair of a map, or of each tuple of two
/// or three in a list, until it says stop. What is neither is skipped.
fn each_entry(
    env: CallEnv<'_>,
    entries: RawTerm,
    mut visit: impl FnMut(RawTerm, RawTerm, Option<RawTerm>) -> bool,
) {
    let mut left = MAX_HEADERS;
    let is_map = env.each_pair(entries, |key, value| {
        left -= 1;
        visit(key, value, None) && left > 0
    });
    if is_map {
        return;
    }
    let mut rest = entries;
    while let (true, Some((head, tail))) = (left > 0, env.get_cell(rest)) {
        let goes_on = if let Some([key, value]) = env.get_tuple(head) {
            visit(key, value, None)
        } else if let Some([key, value, metadata]) = env.get_tuple(head) {
            visit(key, value, Some(metadata))
        } else {
            true
        };
        if !goes_on {
            return;
        }
        left -= 1;
        rest = tail;
    }
}
