//! Metrics as OTLP records: what a [`Registry`](erlmcp_metrics::Registry)
//! holds and what is gathered beside it, as `Metric` messages.
//!
//! | kind | message |
//! |---|---|
//! | counter | `Sum`, monotonic |
//! | up-down counter | `Sum`, not monotonic, always cumulative |
//! | gauge, and a gathered family of no type | `Gauge` |
//! | histogram | `Histogram` with explicit bounds |
//! | exponential histogram | `ExponentialHistogram` |
//! | info | `Gauge` of 1 |
//!
//! A name is the one that the application gave first, in Prometheus'
//! characters, without any suffix added or taken away; a unit is UCUM's where
//! it is known (`unit.rs`). Integers stay integers.

mod encode;
mod records;
mod temporality;
mod unit;

#[cfg(test)]
mod tests;

pub use encode::encode_metrics;
pub use records::{FamilySource, RegistryRecords};
pub use temporality::{Temporality, TemporalityState};
