//! Exponential histograms: buckets whose bounds are powers of a base, which
//! gets coarser as the observations spread.
//!
//! This is OpenTelemetry's data model
//! (<https://opentelemetry.io/docs/specs/otel/metrics/data-model/#exponentialhistogram>):
//! at scale `s` the base is 2^(2^-s), and bucket `i` counts what is above
//! base^i and at most base^(i+1). An index is always computed at the finest
//! scale and shifted to the one in use, so an observation is in the same
//! bucket whether it came before or after the scale was lowered.

use crate::reader::saturating_sum;
use crate::registry::HistogramValue;

/// The finest scale; an empty histogram begins with it.
pub(crate) const MAX_SCALE: i8 = 20;
/// The coarsest scale: two buckets take all floats of a sign.
pub(crate) const MIN_SCALE: i8 = -10;

/// Buckets of one sign.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExponentialBuckets {
    /// Index of the first count's bucket.
    pub offset: i32,
    /// Counts of the buckets from there on.
    pub counts: Vec<u64>,
}

/// What an exponential histogram has counted.
#[derive(Debug, Clone, PartialEq)]
pub struct ExponentialValue {
    /// The scale of the buckets, from -10 to 20.
    pub scale: i8,
    /// Observations of zero.
    pub zero_count: u64,
    /// Observations above zero.
    pub positive: ExponentialBuckets,
    /// Observations below zero, by their absolute value.
    pub negative: ExponentialBuckets,
    /// The smallest and the largest observation, unless there was none.
    pub range: Option<(f64, f64)>,
    /// The same observations by the explicit bounds, as the text formats show
    /// them.
    pub explicit: HistogramValue,
}

/// Index of a positive number's bucket at [`MAX_SCALE`]: the exponent's bits,
/// and the logarithm of the significand, which is exact to some 1e-10 of a
/// bucket. Numbers below the smallest normal one are taken for that, as the
/// data model allows.
fn finest_index(value: f64) -> i32 {
    const EXPONENT_BIAS: i32 = 1023;
    const SIGNIFICAND_BITS: u32 = f64::MANTISSA_DIGITS - 1;
    const SIGNIFICAND: u64 = (1 << SIGNIFICAND_BITS) - 1;

    let bits = value.max(f64::MIN_POSITIVE).to_bits();
    #[allow(clippy::cast_possible_truncation)]
    let exponent = (bits >> SIGNIFICAND_BITS) as i32 - EXPONENT_BIAS;
    let first = exponent << MAX_SCALE;
    if bits & SIGNIFICAND == 0 {
        // A power of two is the upper bound of the bucket below.
        return first - 1;
    }
    let significand = f64::from_bits(bits & SIGNIFICAND | 1_f64.to_bits());
    let buckets = f64::from(1 << MAX_SCALE);
    #[allow(clippy::cast_possible_truncation)]
    let within = (significand.log2() * buckets).ceil() as i32 - 1;
    first + within.clamp(0, (1 << MAX_SCALE) - 1)
}

impl ExponentialBuckets {
    /// How many buckets there would be with this one.
    fn width_with(&self, index: i32) -> i64 {
        match self.end() {
            None => 1,
            Some(end) => {
                let first = i64::from(self.offset.min(index));
                end.max(i64::from(index) + 1) - first
            }
        }
    }

    /// How many buckets there would be with those of another.
    fn width_of_both(&self, other: &Self) -> i64 {
        match (self.end(), other.end()) {
            (Some(a), Some(b)) => a.max(b) - i64::from(self.offset.min(other.offset)),
            (Some(end), None) => end - i64::from(self.offset),
            (None, Some(end)) => end - i64::from(other.offset),
            (None, None) => 0,
        }
    }

    /// One past the last bucket, unless there is none.
    fn end(&self) -> Option<i64> {
        let length = i64::try_from(self.counts.len()).ok().filter(|length| *length > 0)?;
        Some(i64::from(self.offset) + length)
    }

    fn add(&mut self, index: i32, count: u64) {
        if self.counts.is_empty() {
            self.offset = index;
        }
        if let Ok(missing @ 1..) = usize::try_from(i64::from(self.offset) - i64::from(index)) {
            self.counts.splice(..0, std::iter::repeat_n(0, missing));
            self.offset = index;
        }
        let Ok(at) = usize::try_from(i64::from(index) - i64::from(self.offset)) else { return };
        if at >= self.counts.len() {
            self.counts.resize(at + 1, 0);
        }
        if let Some(place) = self.counts.get_mut(at) {
            *place = place.wrapping_add(count);
        }
    }

    /// Takes away what was counted before; empty buckets at the ends go too.
    fn subtract(&mut self, before: &Self) {
        let now = std::mem::take(self);
        for (index, count) in now.iter() {
            let at = usize::try_from(i64::from(index) - i64::from(before.offset)).ok();
            let less = at.and_then(|at| before.counts.get(at)).copied().unwrap_or(0);
            match count.wrapping_sub(less) {
                0 => {}
                more => self.add(index, more),
            }
        }
    }

    /// Merges buckets so that `2^steps` become one.
    fn coarsen(&mut self, steps: u32) {
        if steps == 0 || self.counts.is_empty() {
            return;
        }
        let fine = std::mem::take(self);
        for (index, count) in fine.iter() {
            self.add(index >> steps, count);
        }
    }

    /// The buckets, each with its index.
    pub fn iter(&self) -> impl Iterator<Item = (i32, u64)> + '_ {
        (self.offset..).zip(self.counts.iter().copied())
    }

    /// Number of observations.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().fold(0, |sum, count| sum.wrapping_add(*count))
    }
}

impl ExponentialValue {
    pub(crate) fn new(explicit: HistogramValue) -> Self {
        Self {
            scale: MAX_SCALE,
            zero_count: 0,
            positive: ExponentialBuckets::default(),
            negative: ExponentialBuckets::default(),
            range: None,
            explicit,
        }
    }

    /// Number of observations.
    #[must_use]
    pub fn count(&self) -> u64 {
        let signed = self.positive.count().wrapping_add(self.negative.count());
        signed.wrapping_add(self.zero_count)
    }

    /// Counts an observation, which is finite.
    pub(crate) fn observe(&mut self, value: f64, max_buckets: u16) {
        self.range = Some(match self.range {
            Some((min, max)) => (min.min(value), max.max(value)),
            None => (value, value),
        });
        let explicit = &mut self.explicit;
        explicit.sum = saturating_sum(explicit.sum, value);
        if let Some(count) = explicit.counts.get_mut(explicit.buckets.index(value)) {
            *count = count.wrapping_add(1);
        }
        if value == 0.0 {
            self.zero_count = self.zero_count.wrapping_add(1);
            return;
        }
        let finest = finest_index(value.abs());
        let index = loop {
            let index = finest >> self.steps_below_finest();
            let width = self.of_sign(value).width_with(index);
            if width <= i64::from(max_buckets) || !self.lower_scale(self.scale - 1) {
                break index;
            }
        };
        self.of_sign(value).add(index, 1);
    }

    /// Adds what another histogram of the same metric has counted.
    pub(crate) fn merge(&mut self, other: &Self, max_buckets: u16) {
        let mut other = other.clone();
        self.lower_scale(other.scale);
        other.lower_scale(self.scale);
        while self.positive.width_of_both(&other.positive) > i64::from(max_buckets)
            || self.negative.width_of_both(&other.negative) > i64::from(max_buckets)
        {
            if !self.lower_scale(self.scale - 1) {
                break;
            }
            other.lower_scale(self.scale);
        }
        for (index, count) in other.positive.iter() {
            self.positive.add(index, count);
        }
        for (index, count) in other.negative.iter() {
            self.negative.add(index, count);
        }
        self.zero_count = self.zero_count.wrapping_add(other.zero_count);
        self.range = match (self.range, other.range) {
            (Some(a), Some(b)) => Some((a.0.min(b.0), a.1.max(b.1))),
            (one, None) | (None, one) => one,
        };
        self.explicit.sum = saturating_sum(self.explicit.sum, other.explicit.sum);
        for (count, more) in self.explicit.counts.iter_mut().zip(&other.explicit.counts) {
            *count = count.wrapping_add(*more);
        }
    }

    /// What was counted since an earlier reading of the same series. The range
    /// of these observations alone is not known.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let (mut now, mut before) = (self.clone(), earlier.clone());
        before.lower_scale(now.scale);
        now.lower_scale(before.scale);
        now.positive.subtract(&before.positive);
        now.negative.subtract(&before.negative);
        now.zero_count = now.zero_count.wrapping_sub(before.zero_count);
        now.explicit = now.explicit.since(&before.explicit);
        now.range = None;
        now
    }

    /// Merges buckets down to a scale, unless it is that coarse already.
    /// `false` if there is no such scale.
    pub fn lower_scale(&mut self, scale: i8) -> bool {
        if scale < MIN_SCALE {
            return false;
        }
        if let Ok(steps @ 1..) = u32::try_from(i32::from(self.scale) - i32::from(scale)) {
            self.positive.coarsen(steps);
            self.negative.coarsen(steps);
            self.scale = scale;
        }
        true
    }

    fn of_sign(&mut self, value: f64) -> &mut ExponentialBuckets {
        if value < 0.0 { &mut self.negative } else { &mut self.positive }
    }

    /// How often the finest buckets were merged in pairs.
    fn steps_below_finest(&self) -> u32 {
        u32::try_from(MAX_SCALE - self.scale).unwrap_or(0)
    }

    pub(crate) fn bytes(&self) -> usize {
        let counts = self.positive.counts.capacity()
            + self.negative.counts.capacity()
            + self.explicit.counts.capacity();
        size_of::<Self>() + counts * size_of::<u64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::Buckets;
    use proptest::prelude::*;

    fn empty() -> ExponentialValue {
        let buckets = Buckets::default();
        let counts = vec![0; buckets.bounds().len() + 1];
        ExponentialValue::new(HistogramValue { buckets, counts, sum: 0.0 })
    }

    fn of(values: &[f64], max_buckets: u16) -> ExponentialValue {
        let mut histogram = empty();
        for value in values {
            histogram.observe(*value, max_buckets);
        }
        histogram
    }

    fn index(value: f64, scale: i8) -> i32 {
        finest_index(value) >> (MAX_SCALE - scale)
    }

    #[test]
    fn powers_of_two_are_upper_bounds() {
        // The data model's examples of scale 0 and of negative scales.
        for (value, wanted) in
            [(0.25, -3), (0.3, -2), (0.5, -2), (0.75, -1), (1.0, -1), (1.5, 0), (2.0, 0), (4.0, 1)]
        {
            assert_eq!(index(value, 0), wanted, "{value}");
        }
        for (value, wanted) in [(1.0, -1), (1.1, 0), (4.0, 0), (4.1, 1), (16.0, 1), (16.1, 2)] {
            assert_eq!(index(value, -1), wanted, "{value}");
        }
        for exponent in -1022..=1023 {
            let power = 2_f64.powi(exponent);
            for scale in 0..=MAX_SCALE {
                let bound = exponent << scale;
                assert_eq!(index(power, scale), bound - 1, "2^{exponent} at {scale}");
                assert_eq!(index(power.next_up(), scale), bound, "above 2^{exponent} at {scale}");
            }
        }
        assert_eq!(index(f64::from_bits(1), -10), -1);
        assert_eq!(index(f64::MAX, -10), 0);
    }

    #[test]
    fn two_buckets_hold_every_float() {
        let values = [f64::from_bits(1), f64::MIN_POSITIVE, 1.0, 1.1, f64::MAX];
        let histogram = of(&values, 2);
        assert_eq!((histogram.scale, histogram.count()), (-10, 5));
        assert_eq!(histogram.positive, ExponentialBuckets { offset: -1, counts: vec![3, 2] });
    }

    #[test]
    fn one_value_keeps_the_finest_scale() {
        let histogram = of(&[0.3; 5], 160);
        assert_eq!((histogram.scale, &*histogram.positive.counts), (MAX_SCALE, &[5][..]));
        assert_eq!(histogram.range, Some((0.3, 0.3)));
    }

    fn observation() -> impl Strategy<Value = f64> {
        prop_oneof![
            4 => 1e-4..1e2,
            2 => any::<f64>().prop_filter("finite", |x| x.is_finite()),
            1 => -10.0..10.0,
            1 => Just(0.0),
        ]
    }

    proptest! {
        /// Each observation is between the bounds of its bucket, up to the
        /// rounding of the bounds themselves.
        #[test]
        fn an_index_is_that_of_its_bucket(value in f64::MIN_POSITIVE..f64::MAX, scale in MIN_SCALE..=MAX_SCALE) {
            let exact = value.log2() * f64::from(scale).exp2();
            let index = f64::from(index(value, scale));
            let slack = 1e-12 * exact.abs().max(1.0);
            prop_assert!(exact > index - slack && exact <= index + 1.0 + slack, "{} is not in {}", exact, index);
        }

        #[test]
        fn nothing_is_lost_and_the_bound_holds(
            values in prop::collection::vec(observation(), 0..300),
            max_buckets in 2..200_u16,
        ) {
            let histogram = of(&values, max_buckets);
            prop_assert_eq!(histogram.count(), values.len() as u64);
            prop_assert_eq!(histogram.explicit.count(), values.len() as u64);
            for (buckets, sign) in [(&histogram.positive, 1.0), (&histogram.negative, -1.0)] {
                prop_assert!(buckets.counts.len() <= usize::from(max_buckets));
                let mut wanted = std::collections::BTreeMap::new();
                for value in values.iter().filter(|value| **value * sign > 0.0) {
                    *wanted.entry(index(value.abs(), histogram.scale)).or_insert(0_u64) += 1;
                }
                let found: std::collections::BTreeMap<i32, u64> =
                    buckets.iter().filter(|(_, count)| *count > 0).collect();
                prop_assert_eq!(found, wanted);
            }
        }

        /// The scale is not coarser than it has to be.
        #[test]
        fn the_scale_is_the_finest_that_fits(values in prop::collection::vec(1e-300..1e300_f64, 1..100), max_buckets in 2..200_u16) {
            let histogram = of(&values, max_buckets);
            if histogram.scale < MAX_SCALE {
                let finer = values.iter().map(|value| index(*value, histogram.scale + 1));
                let width = finer.clone().max().unwrap() - finer.min().unwrap() + 1;
                prop_assert!(width > i32::from(max_buckets));
            }
        }

        #[test]
        fn what_is_since_then_adds_up(
            before in prop::collection::vec(observation(), 0..100),
            after in prop::collection::vec(observation(), 0..100),
            max_buckets in 2..200_u16,
        ) {
            let earlier = of(&before, max_buckets);
            let mut now = earlier.clone();
            after.iter().for_each(|value| now.observe(*value, max_buckets));
            let delta = now.since(&earlier);
            prop_assert_eq!(delta.count(), after.len() as u64);
            prop_assert_eq!(&delta.explicit.counts, &of(&after, max_buckets).explicit.counts);
            let mut sum = earlier;
            sum.merge(&delta, max_buckets);
            let set = |b: &ExponentialBuckets| b.iter().filter(|(_, n)| *n > 0).collect::<Vec<_>>();
            prop_assert_eq!(set(&sum.positive), set(&now.positive));
            prop_assert_eq!(set(&sum.negative), set(&now.negative));
        }

        /// It does not matter which thread has observed what.
        #[test]
        fn merging_is_as_observing(
            values in prop::collection::vec((observation(), 0..3_usize), 0..200),
            max_buckets in 2..200_u16,
        ) {
            let all: Vec<f64> = values.iter().map(|(value, _)| *value).collect();
            let mut merged = empty();
            for thread in 0..3 {
                let part: Vec<f64> =
                    values.iter().filter(|(_, n)| *n == thread).map(|(value, _)| *value).collect();
                merged.merge(&of(&part, max_buckets), max_buckets);
            }
            let wanted = of(&all, max_buckets);
            prop_assert_eq!(merged.scale, wanted.scale);
            let set = |b: &ExponentialBuckets| b.iter().filter(|(_, n)| *n > 0).collect::<Vec<_>>();
            prop_assert_eq!(set(&merged.positive), set(&wanted.positive));
            prop_assert_eq!(set(&merged.negative), set(&wanted.negative));
            prop_assert_eq!((merged.zero_count, merged.range), (wanted.zero_count, wanted.range));
            prop_assert_eq!(merged.explicit.counts, wanted.explicit.counts);
        }
    }
}
