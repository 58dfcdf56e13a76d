//! From which moment on a data point counts, and what was counted since then.

use std::collections::HashMap;

use erlmcp_metrics::{LabelSet, Number, SeriesId, Value};

/// What the points of sums and histograms tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Temporality {
    /// All that was counted since the series began.
    #[default]
    Cumulative,
    /// What was counted since the last collection. A series in which nothing
    /// was has no point. Up-down counters stay cumulative, as OpenTelemetry's
    /// preference of this name has it.
    Delta,
}

/// What has to be known of earlier collections.
///
/// A series that appears between two collections counts from the earlier one
/// on, those of the first collection from the start of the registry. One that
/// is removed is forgotten at the next collection, and what it counted since
/// the last is lost; when it comes back it starts anew.
#[derive(Debug)]
pub struct TemporalityState {
    temporality: Temporality,
    /// Start of what the first collection finds.
    start: u64,
    /// Time of the last collection.
    last_collection: Option<u64>,
    /// Number of the collection under way.
    round: u64,
    series: HashMap<SeriesId, Known>,
    gathered: HashMap<String, HashMap<LabelSet, Known>>,
}

/// A series that a collection has found.
#[derive(Debug)]
struct Known {
    /// The last collection that found it.
    round: u64,
    /// Since when it counts.
    start: u64,
    /// What was reported of it, for the next delta. Cumulative points need none
    /// of it, hence the box.
    reported: Option<Box<Value>>,
}

/// A value to report, and since when it counts.
#[derive(Debug, PartialEq)]
pub(super) struct Reported {
    pub(super) start: u64,
    pub(super) value: Value,
}

impl TemporalityState {
    /// A state before the first collection. `start_unix_nano` is when what
    /// is collected began to count, in nanoseconds since 1970.
    #[must_use]
    pub fn new(temporality: Temporality, start_unix_nano: u64) -> Self {
        Self {
            temporality,
            start: start_unix_nano,
            last_collection: None,
            round: 0,
            series: HashMap::new(),
            gathered: HashMap::new(),
        }
    }

    /// The temporality that it was made for.
    #[must_use]
    pub fn temporality(&self) -> Temporality {
        self.temporality
    }

    /// Time of the last collection, or the start.
    pub(super) fn since(&self) -> u64 {
        self.last_collection.unwrap_or(self.start)
    }

    pub(super) fn begin(&mut self) {
        self.round += 1;
    }

    /// Forgets what this collection has not found.
    pub(super) fn end(&mut self, now_unix_nano: u64) {
        let round = self.round;
        self.series.retain(|_, known| known.round == round);
        self.gathered.retain(|_, samples| {
            samples.retain(|_, known| known.round == round);
            !samples.is_empty()
        });
        self.last_collection = Some(now_unix_nano);
    }

    /// What to report of a series; nothing if there is nothing new.
    pub(super) fn series(&mut self, id: SeriesId, value: Value, delta: bool) -> Option<Reported> {
        let (round, since) = (self.round, self.since());
        let known = self.series.entry(id).or_insert(Known { round, start: since, reported: None });
        known.report(round, since, value, delta)
    }

    /// As [`Self::series`], of a sample of a gathered family.
    pub(super) fn gathered(
        &mut self,
        name: &str,
        labels: &LabelSet,
        number: Number,
        delta: bool,
    ) -> Option<Reported> {
        let (round, since) = (self.round, self.since());
        if !self.gathered.contains_key(name) {
            self.gathered.insert(name.to_owned(), HashMap::new());
        }
        let samples = self.gathered.get_mut(name)?;
        if !samples.contains_key(labels) {
            samples.insert(labels.clone(), Known { round, start: since, reported: None });
        }
        samples.get_mut(labels)?.report(round, since, Value::Sum(number), delta)
    }
}

impl Known {
    fn report(&mut self, round: u64, since: u64, value: Value, delta: bool) -> Option<Reported> {
        self.round = round;
        if !delta {
            return Some(Reported { start: self.start, value });
        }
        let change = match &self.reported {
            None => value.clone(),
            Some(earlier) => change(&value, earlier),
        };
        if is_nothing(&change) {
            return None;
        }
        self.reported = Some(Box::new(value));
        Some(Reported { start: since, value: change })
    }
}

/// What was added to a value that never goes down. One that did all the same
/// has begun anew.
fn change(now: &Value, earlier: &Value) -> Value {
    match (now, earlier) {
        (Value::Sum(now), Value::Sum(earlier)) => Value::Sum(added(*now, *earlier)),
        (Value::Histogram(now), Value::Histogram(earlier)) => Value::Histogram(now.since(earlier)),
        (Value::Exponential(now), Value::Exponential(earlier)) => {
            Value::Exponential(now.since(earlier))
        }
        (now, _) => now.clone(),
    }
}

fn added(now: Number, earlier: Number) -> Number {
    let integers = match (now, earlier) {
        (Number::Uint(now), Number::Uint(earlier)) => now.checked_sub(earlier).map(Number::Uint),
        (Number::Int(now), Number::Int(earlier)) if now >= earlier => {
            now.checked_sub(earlier).map(Number::Int)
        }
        _ => None,
    };
    integers.unwrap_or_else(|| {
        if now.as_f64() < earlier.as_f64() {
            return now;
        }
        Number::Float(now.as_f64() - earlier.as_f64())
    })
}

/// Whether there is nothing to report. A histogram whose sum alone has changed
/// is one that was read in the middle of an observation: the next collection
/// has it whole.
fn is_nothing(change: &Value) -> bool {
    match change {
        Value::Sum(number) => number.as_f64() == 0.0,
        Value::Histogram(histogram) => histogram.count() == 0,
        Value::Exponential(histogram) => histogram.count() == 0,
        Value::Gauge(_) | Value::Info => false,
    }
}
