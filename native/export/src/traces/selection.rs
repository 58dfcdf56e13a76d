//! Which traces are asked for: the parameters of a request.

use std::fmt::Write;

use erlmcp_trace::TraceId;
use thiserror::Error;

/// The parameters, or what holds without them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Selection {
    /// This trace only.
    pub(crate) trace_id: Option<TraceId>,
    /// Only traces that have a span or a service with this in its name, in
    /// whatever case.
    pub(crate) name: String,
    /// Only traces with an error.
    pub(crate) errors: bool,
    /// Only traces that took at least this many milliseconds.
    pub(crate) min_ms: f64,
    /// At most so many traces.
    pub(crate) limit: usize,
    pub(crate) sort: Sort,
}

/// In which order traces are shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Sort {
    /// Those with an error first, the newest of them before others; then the
    /// slowest.
    #[default]
    Notable,
    /// By their begin, the newest first.
    Newest,
    /// By their duration, the longest first.
    Slowest,
    /// By their number of spans, the largest first.
    Spans,
    /// By the name of their root.
    Name,
}

impl Sort {
    pub(crate) const ALL: [Self; 5] =
        [Self::Notable, Self::Newest, Self::Slowest, Self::Spans, Self::Name];

    /// The parameter's value.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Notable => "notable",
            Self::Newest => "newest",
            Self::Slowest => "slowest",
            Self::Spans => "spans",
            Self::Name => "name",
        }
    }
}

const DEFAULT_LIMIT: usize = 100;
/// Most traces in one response.
const MAX_LIMIT: usize = 1_000;

impl Default for Selection {
    fn default() -> Self {
        Self {
            trace_id: None,
            name: String::new(),
            errors: false,
            min_ms: 0.0,
            limit: DEFAULT_LIMIT,
            sort: Sort::default(),
        }
    }
}

/// A parameter that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum BadParameter {
    #[error("trace_id must be 32 hexadecimal digits, not all of them 0")]
    TraceId,
    #[error("errors must be 1 or 0")]
    Errors,
    #[error("min_ms must be a number of milliseconds that is not negative, such as 12.5")]
    MinMs,
    #[error("limit must be a whole number from 1 to {MAX_LIMIT}")]
    Limit,
    #[error("sort must be one of {}", Sort::ALL.map(Sort::as_str).join(", "))]
    Sort,
    #[error("the query is not text in UTF-8, percent-encoded")]
    Encoding,
    #[error("there is no such parameter; there are trace_id, name, errors, min_ms, limit, sort")]
    Unknown,
}

impl Selection {
    /// From the part of a URI behind the question mark. A parameter without a
    /// value is none, as forms send it.
    pub(crate) fn parse(query: &str) -> Result<Self, BadParameter> {
        let mut selection = Self::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decode(name)?, decode(value)?);
            selection.set(&name, &value)?;
        }
        Ok(selection)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), BadParameter> {
        let given = !value.is_empty();
        match name {
            "trace_id" if given => {
                let digits = value.to_ascii_lowercase();
                let id = TraceId::from_hex(digits.as_bytes()).ok_or(BadParameter::TraceId)?;
                self.trace_id = Some(id);
            }
            "name" => self.name = value.to_owned(),
            "errors" => {
                self.errors = match value {
                    "1" | "true" | "on" => true,
                    "0" | "false" | "off" | "" => false,
                    _ => return Err(BadParameter::Errors),
                }
            }
            "min_ms" if given => {
                let ms = value.parse().ok().filter(|ms: &f64| ms.is_finite() && *ms >= 0.0);
                self.min_ms = ms.ok_or(BadParameter::MinMs)?;
            }
            "limit" if given => {
                let limit = value.parse().ok().filter(|n| (1..=MAX_LIMIT).contains(n));
                self.limit = limit.ok_or(BadParameter::Limit)?;
            }
            "sort" if given => {
                let sort = Sort::ALL.into_iter().find(|sort| sort.as_str() == value);
                self.sort = sort.ok_or(BadParameter::Sort)?;
            }
            "trace_id" | "min_ms" | "limit" | "sort" => {}
            _ => return Err(BadParameter::Unknown),
        }
        Ok(())
    }

    /// Whether some traces are left out for what they are.
    pub(crate) fn is_filter(&self) -> bool {
        !self.name.is_empty() || self.errors || self.min_ms > 0.0
    }

    /// The query that gives this selection, with its question mark; empty if
    /// there is nothing to say.
    pub(crate) fn query(&self) -> String {
        let mut query = String::new();
        let mut add = |name: &str, value: &str| {
            query.push(if query.is_empty() { '?' } else { '&' });
            query.push_str(name);
            query.push('=');
            encode(&mut query, value);
        };
        if let Some(id) = self.trace_id {
            add("trace_id", &id.to_string());
        }
        if !self.name.is_empty() {
            add("name", &self.name);
        }
        if self.errors {
            add("errors", "1");
        }
        if self.min_ms > 0.0 {
            add("min_ms", &self.min_ms.to_string());
        }
        if self.limit != DEFAULT_LIMIT {
            add("limit", &self.limit.to_string());
        }
        if self.sort != Sort::default() {
            add("sort", self.sort.as_str());
        }
        query
    }
}

/// Undoes the encoding of forms.
fn decode(text: &str) -> Result<String, BadParameter> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                let (high, low) = (digit(), digit());
                let value =
                    high.zip(low).and_then(|(high, low)| u8::try_from(high << 4 | low).ok());
                value.ok_or(BadParameter::Encoding)?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).map_err(|_| BadParameter::Encoding)
}

/// Percent-encodes all but letters, digits and `-._~`.
fn encode(out: &mut String, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            byte if byte.is_ascii_alphanumeric() => out.push(char::from(byte)),
            byte => {
                // Writing to a string does not fail.
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_parsed_can_be_written_again() {
        let query = "trace_id=ABababababababababababababababab&name=caf%C3%A9+%26%3Cb%3E&errors=1\
                     &min_ms=2.5&limit=7&sort=newest";
        let selection = Selection::parse(query).unwrap();
        assert_eq!(selection.name, "café &<b>");
        assert_eq!((selection.errors, selection.min_ms, selection.limit), (true, 2.5, 7));
        assert_eq!(selection.trace_id.unwrap().to_string(), "ab".repeat(16));
        assert_eq!(Selection::parse(&selection.query()[1..]), Ok(selection));
        assert_eq!(Selection::default().query(), "");
    }

    #[test]
    fn an_empty_form_says_nothing() {
        let empty = "trace_id=&name=&min_ms=&limit=&sort=&errors=&&";
        assert_eq!(Selection::parse(empty), Ok(Selection::default()));
        assert_eq!(Selection::parse(""), Ok(Selection::default()));
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        let table = [
            ("trace_id=abc", BadParameter::TraceId),
            ("trace_id=00000000000000000000000000000000", BadParameter::TraceId),
            ("errors=maybe", BadParameter::Errors),
            ("min_ms=-1", BadParameter::MinMs),
            ("min_ms=NaN", BadParameter::MinMs),
            ("min_ms=inf", BadParameter::MinMs),
            ("min_ms=10ms", BadParameter::MinMs),
            ("limit=0", BadParameter::Limit),
            ("limit=1001", BadParameter::Limit),
            ("limit=-3", BadParameter::Limit),
            ("sort=random", BadParameter::Sort),
            ("name=%ff", BadParameter::Encoding),
            ("name=%4", BadParameter::Encoding),
            ("name=%zz", BadParameter::Encoding),
            ("min-ms=1", BadParameter::Unknown),
        ];
        for (query, error) in table {
            assert_eq!(Selection::parse(query), Err(error), "{query}");
        }
    }
}
