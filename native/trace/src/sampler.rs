//! Which traces are recorded: the decision at a span's start.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::TraceId;

/// Decides for each new span whether it is sampled. All decisions are a few
/// instructions, without a lock and without an allocation.
#[derive(Debug)]
pub enum Sampler {
    /// Every span.
    AlwaysOn,
    /// No span.
    AlwaysOff,
    /// A part of all traces, the same part on every node: see
    /// [`TraceIdRatio`].
    TraceIdRatio(TraceIdRatio),
    /// So many spans a second: see [`RateLimited`].
    RateLimited(RateLimited),
    /// As the parent, and by another sampler where there is none.
    ParentBased(Box<ParentBased>),
}

/// Why there is no such sampler. The texts say what is expected.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SamplerError {
    /// No sampler has this name.
    #[error(
        "{0:?} is not a sampler; expected always_on, always_off, traceidratio, rate_limited, \
         or one of these with parentbased_ before it"
    )]
    UnknownName(String),
    /// The ratio is not one.
    #[error("{0:?} is not a ratio; expected a number from 0 to 1, such as 0.25")]
    BadRatio(String),
    /// The rate is not one.
    #[error("{0:?} is not a rate; expected spans a second, a number from 0.001 to 1000000")]
    BadRate(String),
}

impl Sampler {
    /// The sampler of `OTEL_TRACES_SAMPLER` and `OTEL_TRACES_SAMPLER_ARG`.
    ///
    /// Beside the names of OpenTelemetry there are `rate_limited` and
    /// `parentbased_rate_limited`, whose argument is spans a second. A ratio
    /// that is not given is 1. Where no argument is taken, one that is given
    /// is ignored.
    ///
    /// # Errors
    ///
    /// [`SamplerError`] says what is expected.
    pub fn parse(name: &str, argument: Option<&str>) -> Result<Self, SamplerError> {
        let lowercase = name.trim().to_ascii_lowercase();
        let (root, parent_based) = match lowercase.strip_prefix("parentbased_") {
            Some(root) => (root, true),
            None => (lowercase.as_str(), false),
        };
        let argument = argument.map(str::trim).filter(|argument| !argument.is_empty());
        let number = |text: &str| text.parse::<f64>().ok();
        let root = match root {
            "always_on" => Self::AlwaysOn,
            "always_off" => Self::AlwaysOff,
            "traceidratio" => {
                let text = argument.unwrap_or("1");
                let bad = || SamplerError::BadRatio(text.to_owned());
                let ratio = number(text).ok_or_else(bad)?;
                Self::TraceIdRatio(TraceIdRatio::new(ratio).ok_or_else(bad)?)
            }
            "rate_limited" => {
                let text = argument.unwrap_or_default();
                let bad = || SamplerError::BadRate(text.to_owned());
                let per_second = number(text).ok_or_else(bad)?;
                Self::RateLimited(RateLimited::new(per_second).ok_or_else(bad)?)
            }
            _ => return Err(SamplerError::UnknownName(name.to_owned())),
        };
        Ok(if parent_based { Self::parent_based(root) } else { root })
    }

    /// As the parent, and by `root` where there is none.
    #[must_use]
    pub fn parent_based(root: Self) -> Self {
        Self::ParentBased(Box::new(ParentBased {
            root,
            remote_parent_sampled: Self::AlwaysOn,
            remote_parent_not_sampled: Self::AlwaysOff,
            local_parent_sampled: Self::AlwaysOn,
            local_parent_not_sampled: Self::AlwaysOff,
        }))
    }

    /// Whether a new span is sampled. `parent` tells whether the parent is
    /// sampled and whether it is remote; `now_ns` comes from a monotonic clock.
    #[inline]
    #[must_use]
    pub fn should_sample(
        &self,
        parent: Option<(bool, bool)>,
        trace_id: &TraceId,
        now_ns: u64,
    ) -> bool {
        match self {
            Self::AlwaysOn => true,
            Self::AlwaysOff => false,
            Self::TraceIdRatio(ratio) => ratio.admits(trace_id),
            Self::RateLimited(rate) => rate.admits(now_ns),
            Self::ParentBased(samplers) => {
                samplers.for_parent(parent).should_sample(parent, trace_id, now_ns)
            }
        }
    }
}

impl Default for Sampler {
    /// OpenTelemetry's default: `parentbased_always_on`.
    fn default() -> Self {
        Self::parent_based(Self::AlwaysOn)
    }
}

/// A sampler for each kind of parent.
#[derive(Debug)]
pub struct ParentBased {
    /// Where there is no parent.
    pub root: Sampler,
    /// Where the parent is of another node and sampled.
    pub remote_parent_sampled: Sampler,
    /// Where the parent is of another node and not sampled.
    pub remote_parent_not_sampled: Sampler,
    /// Where the parent is of this node and sampled.
    pub local_parent_sampled: Sampler,
    /// Where the parent is of this node and not sampled.
    pub local_parent_not_sampled: Sampler,
}

impl ParentBased {
    #[inline]
    fn for_parent(&self, parent: Option<(bool, bool)>) -> &Sampler {
        match parent {
            None => &self.root,
            Some((true, true)) => &self.remote_parent_sampled,
            Some((false, true)) => &self.remote_parent_not_sampled,
            Some((true, false)) => &self.local_parent_sampled,
            Some((false, false)) => &self.local_parent_not_sampled,
        }
    }
}

/// The bits of a trace id that are random by W3C Trace Context Level 2.
const RANDOM_BITS: u32 = 56;
/// One more than the highest random value.
const RANDOM_VALUES: u64 = 1 << RANDOM_BITS;
/// Hexadecimal digits of a threshold, as OpenTelemetry recommends, not counting
/// those `f` at its start that a small ratio brings.
const THRESHOLD_DIGITS: i32 = 4;
/// Most digits of a threshold that come from a float.
const MAX_THRESHOLD_DIGITS: i32 = 12;

/// Samples a part of all traces by their ids, as OpenTelemetry's consistent
/// probability sampling has it (specification/trace/tracestate-probability-sampling.md):
/// the last 56 bits of the id are compared with a rejection threshold. So all
/// nodes with one ratio take the same traces, and those with a higher ratio
/// take all of them and more.
///
/// An explicit randomness (`rv`) in the trace state is not looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceIdRatio {
    threshold: u64,
}

impl TraceIdRatio {
    /// A ratio from 0 to 1; nothing for any other number.
    #[must_use]
    pub fn new(ratio: f64) -> Option<Self> {
        (0.0..=1.0).contains(&ratio).then(|| Self { threshold: threshold(ratio) })
    }

    /// Whether a trace is among those sampled.
    #[inline]
    #[must_use]
    pub fn admits(self, trace_id: &TraceId) -> bool {
        let [_, _, _, _, _, _, _, _, _, random @ ..] = trace_id.to_bytes();
        let [a, b, c, d, e, f, g] = random;
        u64::from_be_bytes([0, a, b, c, d, e, f, g]) >= self.threshold
    }

    /// Of 2^56 traces so many are rejected.
    #[must_use]
    pub const fn threshold(self) -> u64 {
        self.threshold
    }
}

/// The rejection threshold, rounded as the specification's own program does.
fn threshold(ratio: f64) -> u64 {
    // Scaling by a power of two is exact.
    let accepted = (ratio * RANDOM_VALUES as f64).round() as u64;
    if accepted == 0 || accepted == RANDOM_VALUES {
        return RANDOM_VALUES - accepted;
    }
    // For each factor of 16 below 1 the threshold starts with one more `f`.
    let halvings = -(ratio.log2().floor() as i32 + 1);
    let digits = (THRESHOLD_DIGITS + halvings / 4).clamp(1, MAX_THRESHOLD_DIGITS);
    let unit = 1_u64 << (RANDOM_BITS - 4 * digits.unsigned_abs());
    let rounded = (RANDOM_VALUES - accepted + unit / 2) / unit * unit;
    rounded.min(RANDOM_VALUES - unit)
}

/// Samples so many spans a second and no more: the first of each second, or so.
///
/// A token bucket that holds one second's worth, kept as the one time at which
/// it will be full again (the generic cell rate algorithm). When it is empty, a
/// decision only reads that time, so a crowd of refused spans shares the cache
/// line.
#[derive(Debug)]
pub struct RateLimited {
    interval_ns: u64,
    burst_ns: u64,
    full_at_ns: AtomicU64,
}

const SECOND_NS: u64 = 1_000_000_000;
const MIN_RATE: f64 = 0.001;
const MAX_RATE: f64 = 1e6;

impl RateLimited {
    /// A rate from one span in 1 000 seconds to a million a second; nothing
    /// for any other number.
    #[must_use]
    pub fn new(per_second: f64) -> Option<Self> {
        (MIN_RATE..=MAX_RATE).contains(&per_second).then(|| {
            let interval_ns = (SECOND_NS as f64 / per_second).round() as u64;
            Self {
                interval_ns,
                burst_ns: SECOND_NS.max(interval_ns),
                full_at_ns: AtomicU64::new(0),
            }
        })
    }

    /// Takes a token if there is one.
    #[inline]
    pub fn admits(&self, now_ns: u64) -> bool {
        let mut full_at = self.full_at_ns.load(Ordering::Relaxed);
        loop {
            let then = full_at.max(now_ns).saturating_add(self.interval_ns);
            if then > now_ns.saturating_add(self.burst_ns) {
                return false;
            }
            match self.full_at_ns.compare_exchange_weak(
                full_at,
                then,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(found) => full_at = found,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::IdGenerator;

    const ID: &[u8] = b"4bf92f3577b34da6a3ce929d0e0e4736";

    fn sampler(name: &str, argument: &str) -> Sampler {
        Sampler::parse(name, Some(argument)).unwrap()
    }

    fn sampled(sampler: &Sampler, parent: Option<(bool, bool)>) -> bool {
        sampler.should_sample(parent, &TraceId::from_hex(ID).unwrap(), 0)
    }

    // The table of the specification, its column for precision 4.
    #[test]
    fn thresholds_are_those_of_the_specification() {
        for (n, th) in [
            (1, ""),
            (2, "8"),
            (3, "aaab"),
            (4, "c"),
            (5, "cccd"),
            (8, "e"),
            (10, "e666"),
            (16, "f"),
            (100, "fd70a"),
            (1_000, "ffbe77"),
            (10_000, "fff9724"),
            (100_000, "ffff583a"),
            (1_000_000, "ffffef39"),
        ] {
            let ratio = TraceIdRatio::new(1.0 / f64::from(n)).unwrap();
            assert_eq!(format!("{:014x}", ratio.threshold()).trim_end_matches('0'), th, "1 in {n}");
        }
        let threshold = |ratio| TraceIdRatio::new(ratio).unwrap().threshold();
        assert_eq!(threshold(0.0), RANDOM_VALUES, "no random value reaches it");
        assert_eq!(threshold(f64::MIN_POSITIVE), RANDOM_VALUES);
        assert!(threshold(2.0_f64.powi(-56)) < RANDOM_VALUES);
        assert!(threshold(1.0 - f64::EPSILON) < 1 << 40);
    }

    #[test]
    fn the_ratio_looks_at_the_last_seven_bytes_only() {
        let half = TraceIdRatio::new(0.5).unwrap();
        let id = |text: &[u8]| TraceId::from_hex(text).unwrap();
        assert!(!half.admits(&id(b"ffffffffffffffffff7fffffffffffff")));
        assert!(half.admits(&id(b"00000000000000000080000000000000")));
    }

    #[test]
    fn ratios_are_met_and_nest() {
        const IDS: u32 = 200_000;
        let ratios = [0.0001, 0.001, 0.01, 0.1, 0.25, 0.5, 0.9];
        let samplers = ratios.map(|ratio| TraceIdRatio::new(ratio).unwrap());
        let mut counts = [0_u32; 7];
        let mut ids = IdGenerator::default();
        for _ in 0..IDS {
            let id = ids.trace_id();
            let admitted = samplers.map(|sampler| sampler.admits(&id));
            assert!(admitted.is_sorted(), "what a low ratio takes, a higher one takes");
            for (count, admitted) in counts.iter_mut().zip(admitted) {
                *count += u32::from(admitted);
            }
        }
        for (ratio, count) in ratios.into_iter().zip(counts) {
            let expected = ratio * f64::from(IDS);
            let deviation = (expected * (1.0 - ratio)).sqrt();
            let off = (f64::from(count) - expected).abs();
            // Six standard deviations: once in hundreds of millions of runs.
            assert!(off < 6.0 * deviation + 1.0, "{ratio}: {count} of {IDS}");
        }
    }

    #[test]
    fn the_rate_is_kept() {
        let rate = RateLimited::new(100.0).unwrap();
        let second = |from: u64| {
            (0..10_000_u64).filter(|n| rate.admits(from + n * SECOND_NS / 10_000)).count()
        };
        assert!((199..=200).contains(&second(0)), "the bucket is full at first");
        assert!((99..=101).contains(&second(SECOND_NS)));
        assert!((99..=101).contains(&second(2 * SECOND_NS)));
        assert!((199..=201).contains(&second(100 * SECOND_NS)), "not more after a long rest");
        assert!(!rate.admits(0), "a clock that goes back gives nothing away");

        let slow = RateLimited::new(0.1).unwrap();
        let hits = (0..100).filter(|second| slow.admits(second * SECOND_NS)).count();
        assert_eq!(hits, 10);
    }

    #[test]
    fn threads_share_the_rate() {
        let rate = RateLimited::new(1_000.0).unwrap();
        let admitted: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..5_000).filter(|_| rate.admits(7)).count()))
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(admitted, 1_000);
    }

    #[test]
    fn names_of_samplers() {
        assert!(sampled(&sampler("always_on", ""), Some((false, true))));
        assert!(!sampled(&sampler(" Always_Off ", "ignored"), Some((true, true))));
        for root in ["always_on", "always_off"] {
            let parent_based = sampler(&format!("parentbased_{root}"), "");
            assert_eq!(sampled(&parent_based, None), root == "always_on");
            for remote in [true, false] {
                assert!(sampled(&parent_based, Some((true, remote))));
                assert!(!sampled(&parent_based, Some((false, remote))));
            }
        }
        assert!(sampled(&Sampler::parse("parentbased_traceidratio", None).unwrap(), None));
        assert!(!sampled(&sampler("parentbased_traceidratio", "0"), None));
        assert!(sampled(&sampler("traceidratio", "1"), Some((false, true))), "no parent asked");
        let limited = sampler("parentbased_rate_limited", "1");
        assert!(sampled(&limited, None) && !sampled(&limited, None));
        assert!(sampled(&limited, Some((true, true))));
        assert!(
            sampled(&Sampler::default(), None)
                && !sampled(&Sampler::default(), Some((false, true)))
        );
    }

    #[test]
    fn errors_say_what_is_expected() {
        let text = |name, argument| Sampler::parse(name, Some(argument)).unwrap_err().to_string();
        assert_eq!(
            text("jaeger_remote", ""),
            "\"jaeger_remote\" is not a sampler; expected always_on, always_off, traceidratio, \
             rate_limited, or one of these with parentbased_ before it"
        );
        for ratio in ["1.1", "-0.1", "NaN", "inf", "half"] {
            assert!(text("traceidratio", ratio).contains("from 0 to 1"), "{ratio}");
        }
        for rate in ["", "0", "-1", "NaN", "1e9", "many"] {
            assert!(text("rate_limited", rate).contains("spans a second"), "{rate}");
        }
    }
}
