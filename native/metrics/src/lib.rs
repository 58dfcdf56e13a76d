//! Instruments, their cells, and the formats that a scrape reads.
//!
//! This crate knows no Erlang, does no I/O and starts no thread. A
//! [`Registry`] holds metric families and their series; each recording thread
//! takes a [`Recorder`] and writes to cells that no other thread writes to;
//! [`exposition::render`] sums those cells and writes them in one of the
//! formats that Prometheus asks for.
//!
//! ```
//! use erlmcp_metrics::{Kind, LabelSet, MetricName, Options, Registry};
//!
//! let registry = Registry::new(Options::default());
//! let name = MetricName::new("requests_total")?;
//! let labels = LabelSet::from_pairs([("method", "ping")])?;
//! let series = registry.series(Kind::Counter, &name, &labels)?.id;
//!
//! let recorder = registry.recorder();
//! recorder.add_int(series, 2)?;
//! recorder.add_float(series, 0.5)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod exemplar;
mod exponential;
pub mod exposition;
mod family;
mod gauge;
mod index;
mod labels;
mod lifetime;
mod log_limiter;
mod metric;
mod name;
mod own;
mod reader;
mod reading;
mod recent;
mod recorder;
mod registry;
mod rejection;
mod series;
mod slab;
mod slots;
mod store;
mod words;

pub use exemplar::Exemplar;
pub use exponential::{ExponentialBuckets, ExponentialValue};
pub use family::{Family, FamilyKind, Number, Sample};
pub use gauge::GaugeValue;
pub use labels::{LabelError, LabelSet, LabelSetBuilder};
pub use lifetime::{LifetimeSeries, Lifetimes, NotOpened};
pub use log_limiter::LogLimiter;
pub use metric::{Buckets, BucketsError, Kind, Origin};
pub use name::{MetricName, NameError};
pub use reading::{MetricReading, SeriesReading};
pub use recent::RecentOperations;
pub use recorder::{RecordError, Recorder};
pub use registry::{
    BindError, Bound, Declaration, DeclareError, HistogramValue, Options, Registry, Stats, Value,
};
pub use rejection::Rejection;
pub use series::SeriesId;
