//! Contexts on their way from node to node: reading them from headers and
//! writing them into headers.
//!
//! Headers are pairs of a name, in any case, and a value. Bad headers are never
//! an error: what is not valid is left out, as the W3C texts ask.

pub mod b3;
mod baggage;
pub mod w3c;

use std::str::FromStr;

pub use baggage::{Baggage, BaggageEntry, BaggageError, MAX_BAGGAGE_BYTES, MAX_BAGGAGE_ENTRIES};

use crate::SpanContext;

/// One way to write a context into headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagator {
    /// `traceparent` and `tracestate`.
    TraceContext,
    /// `baggage`.
    Baggage,
    /// `b3`.
    B3,
    /// `X-B3-TraceId` and its companions.
    B3Multi,
}

impl Propagator {
    const ALL: [Self; 4] = [Self::TraceContext, Self::Baggage, Self::B3, Self::B3Multi];

    /// The name in `OTEL_PROPAGATORS`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TraceContext => "tracecontext",
            Self::Baggage => "baggage",
            Self::B3 => "b3",
            Self::B3Multi => "b3multi",
        }
    }
}

/// Which propagators are used, in which order; each at most once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Propagators([Option<Propagator>; 4]);

/// A word that names no propagator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a propagator; expected a list of tracecontext, baggage, b3, b3multi \
     separated by commas, or none"
)]
pub struct UnknownPropagator(pub String);

impl Default for Propagators {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl FromStr for Propagators {
    type Err = UnknownPropagator;

    /// Reads the value of `OTEL_PROPAGATORS`: names separated by commas, or
    /// `none` alone. Names may repeat and may be in any case.
    fn from_str(text: &str) -> Result<Self, UnknownPropagator> {
        if text.trim().eq_ignore_ascii_case("none") {
            return Ok(Self::NONE);
        }
        let mut propagators = Self::NONE;
        for name in text.split(',').map(str::trim) {
            let known = Propagator::ALL
                .into_iter()
                .find(|propagator| propagator.as_str().eq_ignore_ascii_case(name))
                .ok_or_else(|| UnknownPropagator(name.to_owned()))?;
            propagators.add(known);
        }
        Ok(propagators)
    }
}

/// What headers told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extracted {
    /// The sender's span, if a valid one was there.
    pub context: Option<SpanContext>,
    /// The sender's baggage.
    pub baggage: Baggage,
}

impl Propagators {
    /// No propagator: nothing is read and nothing is written.
    pub const NONE: Self = Self([None; 4]);
    /// OpenTelemetry's default: W3C Trace Context and W3C Baggage.
    pub const DEFAULT: Self =
        Self([Some(Propagator::TraceContext), Some(Propagator::Baggage), None, None]);

    fn add(&mut self, propagator: Propagator) {
        if !self.0.contains(&Some(propagator))
            && let Some(free) = self.0.iter_mut().find(|place| place.is_none())
        {
            *free = Some(propagator);
        }
    }

    /// The propagators, in their order.
    pub fn iter(&self) -> impl Iterator<Item = Propagator> + '_ {
        self.0.iter().flatten().copied()
    }

    /// Whether some propagator reads a header of this name. For callers to whom
    /// reading a value costs something.
    #[must_use]
    pub fn reads(name: &str) -> bool {
        Field::of(name).is_some()
    }

    /// Reads headers. The first propagator that finds a valid context decides.
    /// A header that can be there only once and is there twice is not read.
    #[must_use]
    pub fn extract<'a>(&self, headers: impl IntoIterator<Item = (&'a str, &'a str)>) -> Extracted {
        let fields = Fields::of(headers);
        let mut extracted = Extracted::default();
        for propagator in self.iter() {
            let context = match propagator {
                Propagator::Baggage => {
                    extracted.baggage = Baggage::parse(fields.baggage.iter().copied());
                    None
                }
                _ if extracted.context.is_some() => None,
                Propagator::TraceContext => fields.traceparent.value().and_then(|traceparent| {
                    w3c::parse(traceparent, fields.tracestate.iter().copied())
                }),
                Propagator::B3 => fields.b3.value().and_then(b3::parse),
                Propagator::B3Multi => fields.b3_multi(),
            };
            extracted.context = extracted.context.or(context);
        }
        extracted
    }

    /// Writes headers, names in lower case.
    pub fn inject(
        &self,
        context: Option<&SpanContext>,
        baggage: &Baggage,
        mut header: impl FnMut(&str, &str),
    ) {
        for propagator in self.iter() {
            match (propagator, context) {
                (Propagator::Baggage, _) => {
                    if !baggage.is_empty() {
                        header(baggage::BAGGAGE, &baggage.to_header());
                    }
                }
                (_, None) => {}
                (Propagator::TraceContext, Some(context)) => {
                    header(w3c::TRACEPARENT, ascii(&w3c::traceparent(context)));
                    if !context.trace_state.is_empty() {
                        header(w3c::TRACESTATE, context.trace_state.as_str());
                    }
                }
                (Propagator::B3, Some(context)) => header(b3::B3, ascii(&b3::single(context))),
                (Propagator::B3Multi, Some(context)) => {
                    header(b3::TRACE_ID, ascii(&context.trace_id.to_hex()));
                    header(b3::SPAN_ID, ascii(&context.span_id.to_hex()));
                    header(b3::SAMPLED, if context.sampled { "1" } else { "0" });
                }
            }
        }
    }
}

/// Digits and dashes are all that comes here.
fn ascii(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

/// A header that is known here.
#[derive(Clone, Copy)]
enum Field {
    Traceparent,
    Tracestate,
    Baggage,
    B3,
    B3TraceId,
    B3SpanId,
    B3Sampled,
    B3Flags,
}

impl Field {
    fn of(name: &str) -> Option<Self> {
        [
            (w3c::TRACEPARENT, Self::Traceparent),
            (w3c::TRACESTATE, Self::Tracestate),
            (baggage::BAGGAGE, Self::Baggage),
            (b3::B3, Self::B3),
            (b3::TRACE_ID, Self::B3TraceId),
            (b3::SPAN_ID, Self::B3SpanId),
            (b3::SAMPLED, Self::B3Sampled),
            (b3::FLAGS, Self::B3Flags),
        ]
        .into_iter()
        .find_map(|(known, field)| known.eq_ignore_ascii_case(name).then_some(field))
    }
}

/// The value of a header that can be there only once.
#[derive(Clone, Copy, Default)]
enum Single<'a> {
    #[default]
    Absent,
    Present(&'a str),
    Repeated,
}

impl<'a> Single<'a> {
    fn add(&mut self, value: &'a str) {
        *self = match self {
            Self::Absent => Self::Present(value),
            Self::Present(_) | Self::Repeated => Self::Repeated,
        };
    }

    fn value(self) -> Option<&'a str> {
        match self {
            Self::Present(value) => Some(value),
            Self::Absent | Self::Repeated => None,
        }
    }
}

/// The known ones among a request's headers.
#[derive(Default)]
struct Fields<'a> {
    traceparent: Single<'a>,
    tracestate: Vec<&'a str>,
    baggage: Vec<&'a str>,
    b3: Single<'a>,
    b3_trace_id: Single<'a>,
    b3_span_id: Single<'a>,
    b3_sampled: Single<'a>,
    b3_flags: Single<'a>,
}

impl<'a> Fields<'a> {
    fn of(headers: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut fields = Self::default();
        for (name, value) in headers {
            match Field::of(name) {
                None => {}
                Some(Field::Traceparent) => fields.traceparent.add(value),
                Some(Field::Tracestate) => fields.tracestate.push(value),
                Some(Field::Baggage) => fields.baggage.push(value),
                Some(Field::B3) => fields.b3.add(value),
                Some(Field::B3TraceId) => fields.b3_trace_id.add(value),
                Some(Field::B3SpanId) => fields.b3_span_id.add(value),
                Some(Field::B3Sampled) => fields.b3_sampled.add(value),
                Some(Field::B3Flags) => fields.b3_flags.add(value),
            }
        }
        fields
    }

    fn b3_multi(&self) -> Option<SpanContext> {
        b3::parse_multi(
            self.b3_trace_id.value()?,
            self.b3_span_id.value()?,
            self.b3_sampled.value(),
            self.b3_flags.value(),
        )
    }
}
