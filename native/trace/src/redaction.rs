//! Which keys name secrets, whose values are not shown.
//!
//! A key is secret when its last words, joined, are one of the names; words are
//! runs of letters, and a capital that follows a small letter, or that a small
//! one follows, begins another. Of the names that fit the longest counts, and it
//! may be an exception.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::LazyLock;

use parking_lot::{Mutex, RwLock};

/// What stands in the place of a secret.
pub const REDACTED: &str = "[REDACTED]";

/// Most letters of a name; what is beyond is not compared.
pub const MAX_SECRET_NAME: usize = 64;

/// The names that are secret unless told otherwise; with a minus, exceptions.
pub const DEFAULT_SECRET_NAMES: &[&str] = &[
    "access key",
    "api key",
    "authorization",
    "cookie",
    "cookies",
    "credential",
    "credentials",
    "encryption key",
    "jwt",
    "passphrase",
    "passwd",
    "password",
    "passwords",
    "private key",
    "pwd",
    "secret",
    "secret key",
    "secrets",
    "session key",
    "signing key",
    "token",
    // MCP's mark for messages about progress.
    "-progress token",
];

/// A set of names. Made once for each setting and never freed.
#[derive(PartialEq, Eq)]
pub struct SecretKeys {
    /// Letters of a name from its end, and whether it is secret.
    names: BTreeMap<Box<[u8]>, bool>,
    /// For the last letter of a name, the letters that are before it.
    ends: [u32; 26],
    longest: usize,
}

impl fmt::Debug for SecretKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretKeys").field("names", &self.names.len()).finish_non_exhaustive()
    }
}

static DEFAULT: LazyLock<&SecretKeys> =
    LazyLock::new(|| SecretKeys::interned(DEFAULT_SECRET_NAMES.iter().copied()));
static INTERNED: Mutex<Vec<&SecretKeys>> = Mutex::new(Vec::new());
static CURRENT: RwLock<Option<&SecretKeys>> = RwLock::new(None);

impl Default for &'static SecretKeys {
    fn default() -> Self {
        *DEFAULT
    }
}

impl SecretKeys {
    fn new<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let mut keys = Self { names: BTreeMap::new(), ends: [0; 26], longest: 0 };
        for name in names {
            let is_secret = !name.starts_with('-');
            let letters: Box<[u8]> = name
                .bytes()
                .rev()
                .filter(u8::is_ascii_alphabetic)
                .map(|c| c.to_ascii_lowercase())
                .take(MAX_SECRET_NAME)
                .collect();
            // A name of one letter would fit too much.
            let [last, before, ..] = *letters else { continue };
            keys.ends[usize::from(last - b'a')] |= 1 << (before - b'a');
            keys.longest = keys.longest.max(letters.len());
            keys.names.insert(letters, is_secret);
        }
        keys
    }

    /// The set of these names; the same one for the same names. With a minus
    /// before it a name is an exception. What is no letter is left out of names.
    pub fn interned<'a>(names: impl Iterator<Item = &'a str>) -> &'static Self {
        let new = Self::new(names);
        let mut known = INTERNED.lock();
        if let Some(same) = known.iter().find(|other| ***other == new) {
            return same;
        }
        let kept: &'static Self = Box::leak(Box::new(new));
        known.push(kept);
        kept
    }

    /// What holds in the process, for those who have no limits at hand.
    #[must_use]
    pub fn current() -> &'static Self {
        CURRENT.read().unwrap_or_default()
    }

    /// Has it hold in the process.
    pub fn make_current(&'static self) {
        *CURRENT.write() = Some(self);
    }

    /// Whether the value of a key is not to be shown.
    #[inline]
    #[must_use]
    pub fn is_secret(&self, key: &str) -> bool {
        // Most keys end on two letters that no name ends on.
        if let [.., before, last] = key.as_bytes()
            && before.is_ascii_alphabetic()
            && last.is_ascii_alphabetic()
            && !self.may_end_on(*before | 0x20, *last | 0x20)
        {
            return false;
        }
        self.fits(key.as_bytes())
    }

    /// Whether a name ends on these two small letters.
    #[inline]
    fn may_end_on(&self, before: u8, last: u8) -> bool {
        let befores = self.ends.get(usize::from(last.wrapping_sub(b'a'))).copied().unwrap_or(0);
        befores & 1_u32.checked_shl(u32::from(before.wrapping_sub(b'a'))).unwrap_or(0) != 0
    }

    fn fits(&self, key: &[u8]) -> bool {
        let mut letters = [0; MAX_SECRET_NAME];
        let mut len = 0;
        let mut verdict = false;
        for (at, c) in key.iter().enumerate().rev().filter(|(_, c)| is_letter(**c)) {
            if len == self.longest || !c.is_ascii() {
                break;
            }
            letters[len] = c.to_ascii_lowercase();
            len += 1;
            if len == 2 && !self.may_end_on(letters[1], letters[0]) {
                break;
            }
            if begins_word(key, at)
                && let Some(is_secret) = self.names.get(&letters[..len])
            {
                verdict = *is_secret;
            }
        }
        verdict
    }
}

/// Also the bytes of letters beyond ASCII.
fn is_letter(c: u8) -> bool {
    c.is_ascii_alphabetic() || !c.is_ascii()
}

fn begins_word(key: &[u8], at: usize) -> bool {
    let Some(before) = at.checked_sub(1).map(|at| key[at]).filter(|c| is_letter(*c)) else {
        return true;
    };
    key[at].is_ascii_uppercase()
        && (!before.is_ascii_uppercase() || key.get(at + 1).is_some_and(u8::is_ascii_lowercase))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECRET: &[&str] = &[
        "password",
        "PASSWORD",
        "db_password",
        "dbPassword",
        "passwd",
        "accessToken",
        "token",
        "access_token",
        "x-api-key",
        "X-API-Key",
        "APIKey",
        "apikey",
        "api.key",
        "api_key_2",
        "http.request.header.authorization",
        "Proxy-Authorization",
        "set-cookie",
        "cookie",
        "http.response.header.set_cookie",
        "client_secret",
        "clientSecret",
        "private_key",
        "PrivateKey",
        "aws_secret_access_key",
        "credentials",
        "IDToken",
        "accessTOKEN",
        "token2",
        "refresh_token",
        "mot_de_passé_token",
        "cléToken",
        "_token_",
    ];
    const NOT_SECRET: &[&str] = &[
        "max_tokens",
        "gen_ai.usage.input_tokens",
        "token_count",
        "tokenizer",
        "tokens",
        "erlmcp_prompt_tokens",
        "secretary",
        "passwordless",
        "key",
        "monkey",
        "api_key_id",
        "authorize",
        "authorized",
        "cookie_jar",
        "url.path",
        "http.request.method",
        "",
        "_",
        "n",
        "progressToken",
        "progress_token",
        "mcp.progress.token",
        "otp",
        "password_changed_at",
        "clétoken",
        "betoken",
        "apiKeyName",
        "token_type",
        "secret_count",
    ];

    #[test]
    fn keys_of_secrets_and_others() {
        let keys = <&SecretKeys>::default();
        for key in SECRET {
            assert!(keys.is_secret(key), "{key}");
        }
        for key in NOT_SECRET {
            assert!(!keys.is_secret(key), "{key}");
        }
    }

    #[test]
    fn names_can_be_others() {
        let keys = SecretKeys::interned(["ssn", "-public token", "token", "x"].into_iter());
        assert!(keys.is_secret("user.SSN") && keys.is_secret("token"));
        assert!(!keys.is_secret("password") && !keys.is_secret("publicToken"));
        assert!(!keys.is_secret("x"), "one letter is no name");
        let none = SecretKeys::interned(std::iter::empty());
        assert!(!none.is_secret("password") && !none.is_secret("token1"));
        let same = SecretKeys::interned(["token", "SSN", "-public_token"].into_iter());
        assert!(std::ptr::eq(same, keys), "the same set is kept once");
    }

    #[test]
    fn longest_names_are_compared() {
        let long = "a".repeat(MAX_SECRET_NAME + 10);
        let keys = SecretKeys::interned([long.as_str()].into_iter());
        assert!(keys.is_secret(&"a".repeat(MAX_SECRET_NAME)));
    }

    proptest! {
        /// However a name's words are written, and whatever is before them.
        #[test]
        fn every_way_of_writing(
            before in "([a-z0-9]{1,8}[._-]){0,3}",
            name in prop::sample::select(DEFAULT_SECRET_NAMES),
            way in 0..5_usize,
        ) {
            let secret = !name.starts_with('-');
            let words: Vec<&str> = name.trim_start_matches('-').split(' ').collect();
            let capital = |word: &&str| word[..1].to_uppercase() + &word[1..];
            let written = match way {
                0 => words.join("_"),
                1 => words.join("-").to_uppercase(),
                2 => words.iter().map(capital).collect(),
                3 => words.concat(),
                _ => words.join(" "),
            };
            let key = format!("{before}{written}");
            prop_assert_eq!(<&SecretKeys>::default().is_secret(&key), secret, "{}", key);
        }

        #[test]
        fn any_text_is_judged(key in "\\PC{0,80}") {
            let _ = <&SecretKeys>::default().is_secret(&key);
            let joined = format!("{key}_password");
            prop_assert!(<&SecretKeys>::default().is_secret(&joined));
        }
    }
}
