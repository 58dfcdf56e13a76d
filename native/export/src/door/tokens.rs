//! Bearer tokens: names and digests, a client a line.
//!
//! ```text
//! # who          SHA-256 of the token
//! prometheus     sha256:1f0c…
//! ```
//!
//! A digest without salt suits tokens and nothing else: they are random and
//! long, so nobody can try them all. A name may have several lines, which is how
//! a token is replaced without a gap.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom, SystemRandom};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use thiserror::Error;

use super::credentials::{self, FileProblem, Line};
use super::file::{Digest, sha256};

const PREFIX: &str = "sha256:";

/// A token that is shorter was not made at random, or could be guessed.
const MIN_TOKEN_BYTES: usize = 16;

/// Longest token that is looked at.
const MAX_TOKEN_BYTES: usize = 1024;

/// The tokens of a file.
#[derive(Debug, Default)]
pub(crate) struct Tokens(Vec<(String, Digest)>);

impl Tokens {
    /// Reads a file. Never says what is in it, for it may be a token.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, FileProblem> {
        let nothing = sha256(b"");
        let mut tokens = Vec::new();
        for line in credentials::lines(bytes)? {
            let Line { number, text } = line;
            let wrong = |problem| FileProblem { line: number, problem };
            let mut words = text.split_ascii_whitespace();
            let (Some(name), Some(digest), None) = (words.next(), words.next(), words.next())
            else {
                return Err(wrong("a line has a name and the SHA-256 of a token, and no more"));
            };
            if !credentials::is_name(name) {
                return Err(wrong(credentials::NAMES));
            }
            let digest = digest.strip_prefix(PREFIX).unwrap_or(digest);
            let digest = from_hex(digest).ok_or_else(|| {
                wrong(
                    "the second word is not the SHA-256 of a token, in hexadecimal digits. \
                     `printf %s \"$TOKEN\" | sha256sum` gives it; tokens themselves do not belong \
                     here",
                )
            })?;
            if digest == nothing {
                return Err(wrong("this is the SHA-256 of nothing: the token was empty"));
            }
            tokens.push((name.to_owned(), digest));
        }
        Ok(Self(tokens))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whose token it is. Takes the same time whether and where there is one.
    pub(crate) fn find(&self, token: &[u8]) -> Option<&str> {
        if !(MIN_TOKEN_BYTES..=MAX_TOKEN_BYTES).contains(&token.len()) {
            return None;
        }
        let shown = sha256(token);
        let (mut found, mut at) = (Choice::from(0), 0_u64);
        for (index, (_, known)) in self.0.iter().enumerate() {
            let same = known.ct_eq(&shown);
            at.conditional_assign(&(index as u64), same);
            found |= same;
        }
        let index = usize::try_from(at).ok().filter(|_| bool::from(found))?;
        self.0.get(index).map(|(name, _)| name.as_str())
    }
}

/// Why no entry is made of a name and a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TokenError {
    /// The name cannot be written in the file.
    #[error("{NAMES}", NAMES = credentials::NAMES)]
    Name,
    /// The token could be guessed: its digest has no salt.
    #[error(
        "a token has at least {MIN_CHOSEN_BYTES} characters and is random; leave it out and one \
         is made"
    )]
    TooShort,
    /// No request could show it.
    #[error("a token has at most {MAX_TOKEN_BYTES} characters, visible ones of ASCII")]
    Unusable,
    /// The system has no random bytes.
    #[error("the system gives no random bytes")]
    NoRandom,
}

/// A token that somebody has chosen has as many characters as 24 random bytes.
const MIN_CHOSEN_BYTES: usize = 32;

/// What a token is made of, if it is made here.
const RANDOM_BYTES: usize = 32;

/// A token, 256 random bits unless one is given, and the line for a file of
/// tokens.
///
/// # Errors
///
/// [`TokenError`] for names and tokens that should not be used.
pub fn token_entry(name: &str, token: Option<&str>) -> Result<(String, String), TokenError> {
    if !credentials::is_name(name) {
        return Err(TokenError::Name);
    }
    let token = match token {
        None => {
            let mut bytes = [0; RANDOM_BYTES];
            SystemRandom::new().fill(&mut bytes).map_err(|_| TokenError::NoRandom)?;
            URL_SAFE_NO_PAD.encode(bytes)
        }
        Some(token) if token.len() < MIN_CHOSEN_BYTES => return Err(TokenError::TooShort),
        Some(token)
            if token.len() > MAX_TOKEN_BYTES || !token.bytes().all(|b| b.is_ascii_graphic()) =>
        {
            return Err(TokenError::Unusable);
        }
        Some(token) => token.to_owned(),
    };
    let digest: String =
        sha256(token.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    let line = format!("{name} {PREFIX}{digest}");
    Ok((token, line))
}

fn from_hex(text: &str) -> Option<Digest> {
    let mut digest = Digest::default();
    if text.len() != 2 * digest.len() {
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let pair = std::str::from_utf8(pair).ok().filter(|p| !p.starts_with('+'))?;
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    Some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hex(digest: &Digest) -> String {
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn entry(name: &str, token: &str) -> String {
        format!("{name} {PREFIX}{}\n", hex(&sha256(token.as_bytes())))
    }

    #[test]
    fn each_token_is_its_clients() {
        let file = format!(
            "# scrapers\n\n{}  {}{}\r\n",
            entry("prometheus", "a-token-of-prometheus"),
            entry("alice", "the-old-token-of-alice").to_uppercase().replace("SHA256:", PREFIX),
            entry("alice", "the-new-token-of-alice").replace(PREFIX, "").trim_end(),
        );
        let tokens = Tokens::parse(file.as_bytes()).unwrap();
        assert_eq!(tokens.find(b"a-token-of-prometheus"), Some("prometheus"));
        assert_eq!(tokens.find(b"the-old-token-of-alice"), Some("ALICE"));
        assert_eq!(tokens.find(b"the-new-token-of-alice"), Some("alice"));
        assert_eq!(tokens.find(b"the-new-token-of-alicf"), None);
        assert_eq!(tokens.find(b""), None);
        assert_eq!(Tokens::parse(b"").unwrap().find(b"a-token-of-prometheus"), None);
    }

    #[test]
    fn entries_that_are_made_here_are_read_here() {
        let (token, line) = token_entry("prometheus", None).unwrap();
        assert_eq!(token.len(), 43);
        assert_ne!(token_entry("prometheus", None).unwrap().0, token);
        assert!(!line.contains(&token));
        let tokens = Tokens::parse(line.as_bytes()).unwrap();
        assert_eq!(tokens.find(token.as_bytes()), Some("prometheus"));
        let (_, line) = token_entry("a", Some(&token)).unwrap();
        assert_eq!(Tokens::parse(line.as_bytes()).unwrap().find(token.as_bytes()), Some("a"));
        assert_eq!(token_entry("a", Some("short")), Err(TokenError::TooShort));
        assert_eq!(token_entry("a", Some(&" ".repeat(40))), Err(TokenError::Unusable));
        assert_eq!(token_entry("a b", None), Err(TokenError::Name));
    }

    #[test]
    fn what_is_short_opens_nothing() {
        let tokens = Tokens::parse(entry("bob", "hunter2").as_bytes()).unwrap();
        assert_eq!(tokens.find(b"hunter2"), None);
    }

    #[test]
    fn wrong_lines_are_told_by_number_and_without_what_is_in_them() {
        for (line, part) in [
            ("prometheus my-very-secret-token", "not the SHA-256"),
            ("prometheus", "a name and the SHA-256"),
            ("prometheus sha256:00 01", "a name and the SHA-256"),
            ("pro:metheus sha256:00", "a name"),
            (&format!("x sha256:{}", "+f".repeat(32)), "not the SHA-256"),
            (&format!("x sha256:{}", hex(&sha256(b""))), "empty"),
        ] {
            let file = format!("# first\n{line}\n");
            let problem = Tokens::parse(file.as_bytes()).unwrap_err();
            let text = problem.to_string();
            assert!(text.starts_with("line 2: ") && text.contains(part), "{text}");
            assert!(!text.contains("my-very-secret"), "{text}");
        }
        assert!(Tokens::parse(b"\xff\xfe").is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Tokens::parse(&bytes);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "([a-z# ]{0,5}[ \t:]{0,2}(sha256:)?[0-9a-fA-F+é]{0,66}\n){0,4}") {
            if let Ok(tokens) = Tokens::parse(text.as_bytes()) {
                prop_assert!(tokens.0.len() <= text.lines().count());
            }
        }

        #[test]
        fn only_the_token_itself_opens(token in ".{16,80}", other in ".{0,80}") {
            let tokens = Tokens::parse(entry("a", &token).as_bytes()).unwrap();
            let long_enough = token.len() >= MIN_TOKEN_BYTES;
            prop_assert_eq!(tokens.find(token.as_bytes()).is_some(), long_enough);
            prop_assert_eq!(tokens.find(other.as_bytes()).is_some(), other == token);
        }
    }
}
