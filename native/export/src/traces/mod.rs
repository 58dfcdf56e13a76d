//! The recent traces of this node: kept in a ring, shown on a page.

mod access;
mod endpoint;
mod json;
mod kept;
mod list_page;
mod markup;
mod origin;
mod page;
mod ring;
#[cfg(test)]
pub(crate) mod sample;
mod selection;
mod summary;
mod trace_page;
mod view;
mod waterfall;
mod wire;

pub use access::Audience;
pub(crate) use access::admits;
pub(crate) use endpoint::{Asked, TraceEndpoint, TraceView};
pub use endpoint::{TraceSource, Traces};
pub use origin::Origin;
pub use ring::{TraceRing, TraceRingLimits, TraceRingStats};
pub use view::{
    DecodedSpans, EventView, LinkView, SpanKind, SpanView, StatusView, ValueView, decode_spans,
};
pub(crate) use wire::Bodies;
