//! Short forms for the families that the server gathers.

use erlmcp_metrics::{Family, FamilyKind, LabelSet, Number, Sample};

/// A family of one sample without labels.
pub(crate) fn single(name: &str, kind: FamilyKind, help: &str, value: Number) -> Family {
    family(name, kind, help, vec![Sample { labels: LabelSet::empty(), value }])
}

/// A family of samples that differ by the given labels.
pub(crate) fn labelled<'a, const N: usize>(
    name: &str,
    kind: FamilyKind,
    help: &str,
    samples: impl IntoIterator<Item = ([(&'a str, &'a str); N], u64)>,
) -> Family {
    let samples = samples.into_iter().filter_map(|(labels, value)| {
        let labels = LabelSet::from_pairs(labels).ok()?;
        Some(Sample { labels, value: Number::Uint(value) })
    });
    family(name, kind, help, samples.collect())
}

fn family(name: &str, kind: FamilyKind, help: &str, samples: Vec<Sample>) -> Family {
    Family { name: name.to_owned(), kind, help: help.to_owned(), samples }
}
