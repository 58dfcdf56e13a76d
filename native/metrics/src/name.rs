//! Metric names.

use std::fmt;

use thiserror::Error;

/// Longest accepted metric name, in bytes.
pub(crate) const MAX_NAME_BYTES: usize = 255;

/// A metric name inside Prometheus' character set, `[a-zA-Z_:][a-zA-Z0-9_:]*`.
///
/// Two given names that are exposed alike, `mcp.requests` and `mcp_requests`,
/// are one name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MetricName(String);

/// Why a text cannot name a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NameError {
    /// The text is empty.
    #[error("the name is empty")]
    Empty,
    /// The text is longer than 255 bytes.
    #[error("the name has {bytes} bytes, more than {MAX_NAME_BYTES}")]
    TooLong {
        /// Length of the text that was given.
        bytes: usize,
    },
    /// Nothing would be left of the text but underscores.
    #[error("the name has no ASCII letter and no digit")]
    NoLetter,
}

impl MetricName {
    /// Takes a name as given. Characters outside the Prometheus set become
    /// `_`, and a leading digit is put behind one.
    ///
    /// # Errors
    ///
    /// [`NameError`] for a text that is empty, too long, or has no letter and
    /// no digit.
    pub fn new(given: &str) -> Result<Self, NameError> {
        let mut name = Self(String::new());
        name.assign(given)?;
        Ok(name)
    }

    /// As [`MetricName::new`], into the memory of this name.
    ///
    /// # Errors
    ///
    /// As [`MetricName::new`]; the name is then not to be used.
    pub fn assign(&mut self, given: &str) -> Result<(), NameError> {
        if given.is_empty() {
            return Err(NameError::Empty);
        }
        if given.len() > MAX_NAME_BYTES {
            return Err(NameError::TooLong { bytes: given.len() });
        }
        if !given.bytes().any(|b| b.is_ascii_alphanumeric()) {
            return Err(NameError::NoLetter);
        }
        self.0.clear();
        push_sanitised(&mut self.0, given, |c| c.is_ascii_alphanumeric() || c == '_' || c == ':');
        Ok(())
    }

    /// The name as it is exposed.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MetricName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Appends `given` with every character that `allowed` refuses turned to `_`.
pub(crate) fn push_sanitised(out: &mut String, given: &str, allowed: impl Fn(char) -> bool) {
    if given.starts_with(|c: char| c.is_ascii_digit()) {
        out.push('_');
    }
    out.extend(given.chars().map(|c| if allowed(c) { c } else { '_' }));
}

/// Whether a text can stand in an exposition as a metric's name.
pub(crate) fn is_exposable(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_a_legal_name() {
        assert_eq!(
            MetricName::new("erlmcp:requests_total").unwrap().as_str(),
            "erlmcp:requests_total"
        );
    }

    #[test]
    fn replaces_what_prometheus_refuses() {
        assert_eq!(MetricName::new("cli.tool.call").unwrap().as_str(), "cli_tool_call");
        assert_eq!(MetricName::new("2xx").unwrap().as_str(), "_2xx");
        assert_eq!(MetricName::new("größe").unwrap().as_str(), "gr__e");
    }

    #[test]
    fn refuses_what_cannot_be_a_name() {
        assert_eq!(MetricName::new(""), Err(NameError::Empty));
        assert_eq!(MetricName::new("…"), Err(NameError::NoLetter));
        assert_eq!(MetricName::new(&"x".repeat(256)), Err(NameError::TooLong { bytes: 256 }));
        assert!(MetricName::new(&"x".repeat(255)).is_ok());
    }
}
