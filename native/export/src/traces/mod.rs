//! The recent traces of this node: kept in a ring, shown on a page.

mod access;
mod kept;
mod origin;
mod ring;
#[cfg(test)]
pub(crate) mod sample;
mod selection;
mod summary;
mod view;
mod waterfall;
mod wire;

pub use access::DebugTraces;
pub use origin::Origin;
pub use ring::{TraceRing, TraceRingLimits, TraceRingStats};
pub use view::{
    DecodedSpans, EventView, LinkView, SpanKind, SpanView, StatusView, ValueView, decode_spans,
};
pub(crate) use wire::Bodies;
