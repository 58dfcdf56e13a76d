//! What files of tokens and of passwords have in common, and what a request
//! shows.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::header::{AUTHORIZATION, HeaderMap};
use zeroize::Zeroizing;

/// Most clients in one file: each is compared with what a request shows.
const MAX_CLIENTS: usize = 1000;

const MAX_NAME_BYTES: usize = 128;

/// Longest credential that is looked at, in bytes.
const MAX_CREDENTIAL_BYTES: usize = 4096;

/// What names may look like, as an error says it.
pub(crate) const NAMES: &str =
    "a name has 1 to 128 letters, digits and any of . _ - / @ + and no others";

/// What is wrong with a file, without what is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileProblem {
    pub(crate) line: usize,
    pub(crate) problem: &'static str,
}

impl fmt::Display for FileProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.problem)
    }
}

/// A line that says something.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line<'a> {
    pub(crate) number: usize,
    pub(crate) text: &'a str,
}

/// The lines of a file that are neither empty nor a comment.
pub(crate) fn lines(bytes: &[u8]) -> Result<Vec<Line<'_>>, FileProblem> {
    let text = std::str::from_utf8(bytes)
        .map_err(|_| FileProblem { line: 1, problem: "the file is not text in UTF-8" })?;
    let mut lines = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let (number, text) = (index + 1, line.trim());
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        if lines.len() == MAX_CLIENTS {
            return Err(FileProblem { line: number, problem: "a file has at most 1000 clients" });
        }
        lines.push(Line { number, text });
    }
    Ok(lines)
}

/// Whether a client may be called so.
pub(crate) fn is_name(name: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || "._-/@+".contains(c);
    !name.is_empty() && name.len() <= MAX_NAME_BYTES && name.chars().all(legal)
}

/// What the `Authorization` header of a request shows.
#[derive(Debug)]
pub(crate) enum Shown {
    Nothing,
    Token(Zeroizing<Vec<u8>>),
    Password {
        user: String,
        password: Zeroizing<Vec<u8>>,
    },
    /// Another scheme than Bearer and Basic.
    OtherScheme,
    /// None that can be read.
    Malformed,
}

impl Shown {
    pub(crate) fn read(headers: &HeaderMap) -> Self {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let Some(value) = values.next() else { return Self::Nothing };
        // Two of them could mean different things to a proxy and to us.
        if values.next().is_some() || value.len() > MAX_CREDENTIAL_BYTES {
            return Self::Malformed;
        }
        let Ok(value) = value.to_str() else { return Self::Malformed };
        let Some((scheme, credential)) = value.trim().split_once(' ') else {
            return Self::Malformed;
        };
        let credential = credential.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            Self::Token(Zeroizing::new(credential.as_bytes().to_vec()))
        } else if scheme.eq_ignore_ascii_case("basic") {
            Self::basic(credential).unwrap_or(Self::Malformed)
        } else {
            Self::OtherScheme
        }
    }

    fn basic(credential: &str) -> Option<Self> {
        let decoded = Zeroizing::new(STANDARD.decode(credential).ok()?);
        let colon = decoded.iter().position(|byte| *byte == b':')?;
        let (user, password) = (decoded.get(..colon)?, decoded.get(colon + 1..)?);
        let user = std::str::from_utf8(user).ok()?.to_owned();
        Some(Self::Password { user, password: Zeroizing::new(password.to_vec()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;
    use proptest::prelude::*;

    fn read(values: &[&[u8]]) -> Shown {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_bytes(value).unwrap());
        }
        Shown::read(&headers)
    }

    #[test]
    fn schemes_are_told_apart() {
        assert!(matches!(read(&[]), Shown::Nothing));
        assert!(matches!(read(&[b"bEARER  abc "]), Shown::Token(t) if *t == b"abc"));
        assert!(matches!(read(&[b"Basic YTpiOmM="]),
            Shown::Password { user, password } if user == "a" && *password == b"b:c"));
        assert!(matches!(read(&[b"Digest x=y"]), Shown::OtherScheme));
        for wrong in
            [&b"Bearer"[..], b"", b"Basic", b"Basic YQ==", b"Basic ?", b"Basic //86", b"\xff x"]
        {
            assert!(matches!(read(&[wrong]), Shown::Malformed), "{wrong:?}");
        }
        assert!(matches!(read(&[b"Bearer a", b"Bearer a"]), Shown::Malformed));
    }

    proptest! {
        #[test]
        fn any_header_is_read(value in prop::collection::vec(32_u8..=126, 0..80)) {
            let _ = read(&[&value]);
            let _ = read(&[&[b"Basic ", &value[..]].concat()]);
        }
    }
}
