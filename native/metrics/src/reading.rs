//! Reading all that a registry holds, for those who write it elsewhere than in
//! an exposition.

use std::borrow::Cow;

use crate::exemplar::Exemplar;
use crate::labels::unescaped_pairs;
use crate::metric::{Kind, Meta, Metric, Origin};
use crate::reader::Reader;
use crate::registry::{Registry, Value};
use crate::series::SeriesId;
use crate::store::OVERFLOW;

/// One metric of a registry, as it is read.
#[derive(Debug)]
pub struct MetricReading<'a> {
    metric: &'a Metric,
    reader: &'a Reader<'a>,
    meta: Meta,
}

/// One series of a [`MetricReading`].
#[derive(Debug)]
pub struct SeriesReading<'a> {
    metric: &'a MetricReading<'a>,
    id: SeriesId,
    number: u32,
    labels: &'a str,
}

impl Registry {
    /// Shows each metric, in the order of their families' names. Recording
    /// goes on meanwhile, and no recording thread waits.
    pub fn read(&self, mut each: impl FnMut(&MetricReading<'_>)) {
        let reader = self.reader();
        for metric in self.sorted_metrics() {
            let meta = metric.meta.read().clone();
            each(&MetricReading { metric, reader: &reader, meta });
        }
    }
}

impl MetricReading<'_> {
    /// The name under which the metric was first used or declared: a counter's
    /// may end in `_total` or not.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.metric.given
    }

    /// What kind of instrument it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.metric.kind
    }

    /// Who registered it.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.metric.origin
    }

    /// What it means, if that was declared.
    #[must_use]
    pub fn help(&self) -> Option<&str> {
        self.meta.help.as_deref()
    }

    /// Its unit, if one was declared.
    #[must_use]
    pub fn unit(&self) -> Option<&str> {
        self.meta.unit.as_deref()
    }

    /// Whether this is a histogram whose sum can go down.
    #[must_use]
    pub fn is_signed(&self) -> bool {
        self.metric.is_signed()
    }

    /// Shows each series that there is now. A registration in this metric may
    /// have to wait for up to 128 calls of `each`.
    pub fn series(&self, mut each: impl FnMut(&SeriesReading<'_>)) {
        self.metric.visit(|labels, number| {
            // Between its registration and now it may have been removed.
            if let Some(id) = self.reader.handle(number) {
                each(&SeriesReading { metric: self, id, number, labels });
            }
        });
    }
}

impl SeriesReading<'_> {
    /// Its handle: no other series ever has it, nor one of the same labels
    /// that comes after this one was removed.
    #[must_use]
    pub fn id(&self) -> SeriesId {
        self.id
    }

    /// Names and values of its labels, sorted by name.
    pub fn labels(&self) -> impl Iterator<Item = (&str, Cow<'_, str>)> {
        unescaped_pairs(self.labels)
    }

    /// Whether it is the metric's overflow series.
    #[must_use]
    pub fn is_overflow(&self) -> bool {
        let (name, value) = OVERFLOW;
        let mut labels = self.labels();
        labels.next().is_some_and(|(n, v)| n == name && v == value) && labels.next().is_none()
    }

    /// Its exemplars, with the number of the bucket that each belongs to.
    /// Those of a [`Value`] that is read afterwards are counted in it.
    #[must_use]
    pub fn exemplars(&self) -> Vec<(usize, Exemplar)> {
        let mut found = Vec::new();
        self.metric.reader.exemplars(self.metric.metric, self.number, &mut found);
        found.into_iter().map(|(bucket, exemplar)| (usize::from(bucket), exemplar)).collect()
    }

    /// Its value as of now.
    #[must_use]
    pub fn value(&self) -> Value {
        self.metric.reader.value(self.metric.metric, self.number)
    }
}
