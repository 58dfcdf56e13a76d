//! A gauge's value in one word.
//!
//! A gauge is set by one atomic store, so the word has to tell integers from
//! floats by itself. Finite floats and the infinities stand as they are; an
//! integer of up to 51 bits stands in the payload of a negative quiet NaN,
//! which no arithmetic produces here: the one NaN that can be set is the
//! positive one.

/// What a gauge holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum GaugeValue {
    /// An integer, set as one.
    Int(i64),
    /// A float; also an integer beyond 51 bits, as the nearest float.
    Float(f64),
}

const BOX: u64 = 0xFFF8_0000_0000_0000;
const PAYLOAD_BITS: u32 = 51;
const LIMIT: i64 = 1 << (PAYLOAD_BITS - 1);

impl GaugeValue {
    #[inline]
    #[allow(clippy::cast_precision_loss, clippy::cast_sign_loss)]
    pub(crate) fn to_bits(self) -> u64 {
        match self {
            Self::Int(n) if (-LIMIT..LIMIT).contains(&n) => BOX | (n as u64 & !BOX),
            Self::Int(n) => (n as f64).to_bits(),
            Self::Float(x) if x.is_nan() => f64::NAN.to_bits() & !(1 << 63),
            Self::Float(x) => x.to_bits(),
        }
    }

    #[inline]
    #[allow(clippy::cast_possible_wrap)]
    pub(crate) fn from_bits(bits: u64) -> Self {
        if bits & BOX == BOX {
            let unused = 64 - PAYLOAD_BITS;
            Self::Int(((bits << unused) as i64) >> unused)
        } else {
            Self::Float(f64::from_bits(bits))
        }
    }

    /// The nearest float.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn as_f64(self) -> f64 {
        match self {
            Self::Int(n) => n as f64,
            Self::Float(x) => x,
        }
    }

    /// The sum: of two integers an integer, as long as it is one.
    pub(crate) fn plus(self, other: Self) -> Self {
        if let (Self::Int(a), Self::Int(b)) = (self, other)
            && let Some(sum) = a.checked_add(b)
        {
            return Self::Int(sum);
        }
        Self::Float(self.as_f64() + other.as_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn zeroed_memory_is_zero() {
        assert_eq!(GaugeValue::from_bits(0), GaugeValue::Float(0.0));
    }

    #[test]
    fn special_floats_survive() {
        for x in [f64::INFINITY, f64::NEG_INFINITY, -0.0, f64::MIN_POSITIVE, f64::MAX] {
            assert_eq!(GaugeValue::from_bits(GaugeValue::Float(x).to_bits()), GaugeValue::Float(x));
        }
        for nan in [f64::NAN, -f64::NAN, f64::from_bits(u64::MAX)] {
            let GaugeValue::Float(x) = GaugeValue::from_bits(GaugeValue::Float(nan).to_bits())
            else {
                panic!("a NaN came back as an integer");
            };
            assert!(x.is_nan());
        }
    }

    proptest! {
        #[test]
        fn integers_stay_integers(n in -LIMIT..LIMIT) {
            prop_assert_eq!(GaugeValue::from_bits(GaugeValue::Int(n).to_bits()), GaugeValue::Int(n));
        }

        #[test]
        #[allow(clippy::cast_precision_loss)]
        fn large_integers_become_the_nearest_float(n in LIMIT..=i64::MAX) {
            prop_assert_eq!(GaugeValue::from_bits(GaugeValue::Int(n).to_bits()).as_f64(), n as f64);
        }

        #[test]
        fn floats_stay_floats(x in any::<f64>().prop_filter("a number", |x| !x.is_nan())) {
            prop_assert_eq!(GaugeValue::from_bits(GaugeValue::Float(x).to_bits()), GaugeValue::Float(x));
        }
    }
}
