//! Label sets in their canonical form.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use thiserror::Error;

use crate::name::push_sanitised;

/// Most labels in one label set.
const MAX_LABELS: usize = 64;
/// Longest accepted label name, in bytes.
const MAX_LABEL_NAME_BYTES: usize = 255;
/// Longest accepted label value, in bytes.
const MAX_LABEL_VALUE_BYTES: usize = 1_024;

/// A label set as the text formats write it: `a="x",b="y"`, sorted by name,
/// values escaped.
///
/// Escaping is injective and the order is fixed, so two label sets are equal
/// exactly when their texts are. The text is made once per series and copied
/// into every scrape.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct LabelSet(String);

/// Why a list of pairs cannot be a label set.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LabelError {
    /// A label's name is empty or longer than 255 bytes.
    #[error("a label name has {bytes} bytes; it takes 1 to {MAX_LABEL_NAME_BYTES}")]
    NameLength {
        /// Length of the name.
        bytes: usize,
    },
    /// Prometheus keeps names that begin with `__` for itself.
    #[error("the label name {name} is reserved: names that begin with __ are Prometheus' own")]
    Reserved {
        /// The name as it would be exposed.
        name: String,
    },
    /// Two labels are exposed under one name.
    #[error("the label {name} is given twice")]
    Duplicate {
        /// The name as it would be exposed.
        name: String,
    },
    /// A label's value is longer than 1 024 bytes.
    #[error("the value of label {name} has {bytes} bytes, more than {MAX_LABEL_VALUE_BYTES}")]
    ValueTooLong {
        /// The label's name.
        name: String,
        /// Length of the value.
        bytes: usize,
    },
    /// More than 64 labels.
    #[error("{count} labels, more than {MAX_LABELS}")]
    TooMany {
        /// How many were given.
        count: usize,
    },
}

impl LabelSet {
    /// The label set without labels.
    #[must_use]
    pub const fn empty() -> Self {
        Self(String::new())
    }

    /// A label set of the given names and values.
    ///
    /// # Errors
    ///
    /// [`LabelError`], as [`LabelSetBuilder::finish`].
    pub fn from_pairs<'a>(
        pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, LabelError> {
        let mut builder = LabelSetBuilder::default();
        for (name, value) in pairs {
            builder.push(name, value);
        }
        builder.finish().cloned()
    }

    /// The canonical text, without braces.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Names and values of the labels, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Cow<'_, str>)> {
        unescaped_pairs(&self.0)
    }

    /// Whether there is a label of this name.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        pairs(&self.0).any(|(n, _)| n == name)
    }
}

impl fmt::Display for LabelSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{}}}", self.0)
    }
}

/// The names and escaped values of a canonical text.
pub(crate) fn pairs(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (name, after) = rest.split_once("=\"")?;
        let mut escaped = false;
        let end = after.bytes().position(|b| {
            let closing = b == b'"' && !escaped;
            escaped = b == b'\\' && !escaped;
            closing
        })?;
        let value = after.get(..end)?;
        rest = after.get(end + 1..)?;
        rest = rest.strip_prefix(',').unwrap_or(rest);
        Some((name, value))
    })
}

/// The names and values of a canonical text.
pub(crate) fn unescaped_pairs(text: &str) -> impl Iterator<Item = (&str, Cow<'_, str>)> {
    pairs(text).map(|(name, value)| {
        if !value.contains('\\') {
            return (name, Cow::Borrowed(value));
        }
        let mut bytes = Vec::with_capacity(value.len());
        unescape(value, &mut bytes);
        (name, Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()))
    })
}

/// Undoes the escaping of one value.
pub(crate) fn unescape(value: &str, out: &mut Vec<u8>) {
    let mut bytes = value.bytes();
    while let Some(b) = bytes.next() {
        match b {
            b'\\' => match bytes.next() {
                Some(b'n') => out.push(b'\n'),
                Some(other) => out.push(other),
                None => out.push(b'\\'),
            },
            other => out.push(other),
        }
    }
}

/// Gathers labels and brings them into canonical form, reusing its memory.
///
/// A label with an empty value is left out: to Prometheus it is the same as
/// no label.
#[derive(Debug, Default)]
pub struct LabelSetBuilder {
    given: String,
    pairs: Vec<(Range<usize>, Range<usize>)>,
    error: Option<LabelError>,
    built: LabelSet,
}

impl LabelSetBuilder {
    /// Forgets all labels.
    pub fn clear(&mut self) {
        self.given.clear();
        self.pairs.clear();
        self.error = None;
    }

    /// Adds a label. Characters of the name outside `[a-zA-Z0-9_]` become `_`.
    pub fn push(&mut self, name: &str, value: &str) {
        if self.error.is_some() || value.is_empty() {
            return;
        }
        if name.is_empty() || name.len() > MAX_LABEL_NAME_BYTES {
            self.error = Some(LabelError::NameLength { bytes: name.len() });
            return;
        }
        let start = self.given.len();
        push_sanitised(&mut self.given, name, |c| c.is_ascii_alphanumeric() || c == '_');
        let middle = self.given.len();
        if value.len() > MAX_LABEL_VALUE_BYTES {
            let name = self.slice(&(start..middle)).to_owned();
            self.error = Some(LabelError::ValueTooLong { name, bytes: value.len() });
            return;
        }
        self.given.push_str(value);
        self.pairs.push((start..middle, middle..self.given.len()));
    }

    /// The label set of what was pushed since the last `clear`.
    ///
    /// # Errors
    ///
    /// [`LabelError`] for a name that is empty, too long, reserved or given
    /// twice, a value that is too long, and too many labels.
    pub fn finish(&mut self) -> Result<&LabelSet, LabelError> {
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        if self.pairs.len() > MAX_LABELS {
            return Err(LabelError::TooMany { count: self.pairs.len() });
        }
        let given = &self.given;
        let text = |range: &Range<usize>| given.get(range.clone()).unwrap_or_default();
        self.pairs.sort_unstable_by(|a, b| text(&a.0).cmp(text(&b.0)));
        let out = &mut self.built.0;
        out.clear();
        let mut previous = "";
        for (name, value) in &self.pairs {
            let name = text(name);
            if name == previous {
                return Err(LabelError::Duplicate { name: name.to_owned() });
            }
            if name.starts_with("__") {
                return Err(LabelError::Reserved { name: name.to_owned() });
            }
            if !previous.is_empty() {
                out.push(',');
            }
            previous = name;
            out.push_str(name);
            out.push_str("=\"");
            push_escaped(out, text(value));
            out.push('"');
        }
        Ok(&self.built)
    }

    fn slice(&self, range: &Range<usize>) -> &str {
        self.given.get(range.clone()).unwrap_or_default()
    }
}

fn push_escaped(out: &mut String, value: &str) {
    for c in value.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            other => out.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn is_sorted_escaped_and_sanitised() {
        let set = LabelSet::from_pairs([("b", "x\"y\\z\n"), ("a.b", "é")]).unwrap();
        assert_eq!(set.as_str(), "a_b=\"é\",b=\"x\\\"y\\\\z\\n\"");
        assert!(set.contains("a_b") && !set.contains("x"));
    }

    #[test]
    fn an_empty_value_is_no_label() {
        assert_eq!(LabelSet::from_pairs([("a", "")]).unwrap(), LabelSet::empty());
    }

    #[test]
    fn refuses_what_no_exposition_can_carry() {
        let of = |pairs: &[(&str, &str)]| LabelSet::from_pairs(pairs.iter().copied());
        assert_eq!(of(&[("", "x")]), Err(LabelError::NameLength { bytes: 0 }));
        assert_eq!(of(&[("__name__", "x")]), Err(LabelError::Reserved { name: "__name__".into() }));
        assert_eq!(
            of(&[("a.b", "x"), ("a_b", "y")]),
            Err(LabelError::Duplicate { name: "a_b".into() })
        );
        let long = "x".repeat(1_025);
        assert_eq!(
            of(&[("a", &long)]),
            Err(LabelError::ValueTooLong { name: "a".into(), bytes: 1_025 })
        );
        let names: Vec<String> = (0..65).map(|n| format!("l{n}")).collect();
        let many: Vec<(&str, &str)> = names.iter().map(|n| (n.as_str(), "v")).collect();
        assert_eq!(of(&many), Err(LabelError::TooMany { count: 65 }));
    }

    #[test]
    fn a_failed_build_leaves_nothing_behind() {
        let mut builder = LabelSetBuilder::default();
        builder.push("", "x");
        assert!(builder.finish().is_err());
        builder.clear();
        builder.push("a", "b");
        assert_eq!(builder.finish().unwrap().as_str(), "a=\"b\"");
    }

    proptest! {
        #[test]
        fn the_text_reads_back(values in prop::collection::btree_map("[a-z]{1,5}", any::<String>(), 0..6)) {
            let set = LabelSet::from_pairs(values.iter().map(|(n, v)| (n.as_str(), v.as_str()))).unwrap();
            let read: Vec<(String, String)> =
                set.iter().map(|(n, v)| (n.to_owned(), v.into_owned())).collect();
            let wanted: Vec<(String, String)> =
                values.into_iter().filter(|(_, v)| !v.is_empty()).collect();
            prop_assert_eq!(read, wanted);
        }
    }
}
