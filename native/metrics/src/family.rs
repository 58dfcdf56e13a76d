//! Metric families that are gathered elsewhere at scrape time.
//!
//! The figures of the Erlang VM and of the operating-system process are not
//! counted here: whoever knows them hands them over as [`Family`] values and
//! the exposition writes them between the registry's own.

use std::collections::HashSet;

use crate::labels::LabelSet;

/// The type that a scrape announces for a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FamilyKind {
    /// Never goes down; the name ends in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// No promise is made (`untyped` in the text format, `unknown` in OpenMetrics).
    Untyped,
}

/// A number as it was gathered: integers are not rounded through a float.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// An integer.
    Int(i64),
    /// An unsigned integer, possibly above `i64::MAX`.
    Uint(u64),
    /// A float.
    Float(f64),
}

impl Number {
    /// The nearest float.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn as_f64(self) -> f64 {
        match self {
            Self::Int(n) => n as f64,
            Self::Uint(n) => n as f64,
            Self::Float(n) => n,
        }
    }
}

/// One sample of a [`Family`].
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The sample's labels.
    pub labels: LabelSet,
    /// The sample's value.
    pub value: Number,
}

/// A metric family gathered outside the registry.
#[derive(Debug, Clone, PartialEq)]
pub struct Family {
    /// The family's name as it is exposed, counters with `_total`.
    pub name: String,
    /// The family's type.
    pub kind: FamilyKind,
    /// What the family means, for `# HELP`.
    pub help: String,
    /// The samples; a family without samples is left out.
    pub samples: Vec<Sample>,
}

impl Family {
    /// The samples, without those whose labels come a second time.
    pub fn distinct_samples(&self) -> impl Iterator<Item = &Sample> {
        let mut seen = HashSet::new();
        self.samples.iter().filter(move |sample| seen.insert(sample.labels.as_str()))
    }
}
