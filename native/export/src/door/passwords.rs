//! Passwords: names and bcrypt hashes, as `htpasswd -B` writes them.

use std::collections::HashMap;
use std::str::FromStr;

use bcrypt::{HashParts, Version};
use ring::rand::{SecureRandom, SystemRandom};
use thiserror::Error;

use super::credentials::{self, FileProblem, Line};

/// A verification takes twice as long with each step: about 1 ms with 4, 1 s
/// with 14.
const MIN_COST: u32 = 4;
const MAX_COST: u32 = 14;

/// The cost that entries are made with here.
const DEFAULT_COST: u32 = 10;

/// bcrypt looks at no more of a password.
const MAX_PASSWORD_BYTES: usize = 72;
const MIN_PASSWORD_BYTES: usize = 12;

/// The passwords of a file.
#[derive(Debug)]
pub(crate) struct Passwords {
    hashes: HashMap<String, String>,
    /// What an unknown user's password is compared with: it takes as long as
    /// the slowest of the known ones.
    decoy: String,
}

impl Default for Passwords {
    fn default() -> Self {
        Self { hashes: HashMap::new(), decoy: decoy(DEFAULT_COST) }
    }
}

/// A hash of that cost that no password is known for.
fn decoy(cost: u32) -> String {
    format!("$2b${cost:02}$VVVVVVVVVVVVVVVVVVVVVOeoqhuFlLrw8uFxPjc9AD1zPYn0WhZ3q")
}

impl Passwords {
    /// Reads a file. Never says what is in it.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, FileProblem> {
        let mut hashes = HashMap::new();
        let mut highest = None;
        for Line { number, text } in credentials::lines(bytes)? {
            let wrong = |problem| FileProblem { line: number, problem };
            let Some((name, hash)) = text.split_once(':') else {
                return Err(wrong("a line has a name, a colon and a bcrypt hash"));
            };
            if !credentials::is_name(name) {
                return Err(wrong(credentials::NAMES));
            }
            let cost = cost_of(hash).ok_or_else(|| {
                wrong(
                    "what follows the colon is not a bcrypt hash ($2y$…). `htpasswd -nB NAME` \
                     makes the line",
                )
            })?;
            if !(MIN_COST..=MAX_COST).contains(&cost) {
                return Err(wrong("the cost of this hash is not from 4 to 14"));
            }
            highest = highest.max(Some(cost));
            if hashes.insert(name.to_owned(), hash.to_owned()).is_some() {
                return Err(wrong("this name had a line before"));
            }
        }
        Ok(Self { hashes, decoy: decoy(highest.unwrap_or(DEFAULT_COST)) })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// The hash to compare a user's password with, and whether there is such a
    /// user.
    pub(crate) fn hash_of(&self, user: &str) -> (&str, bool) {
        match self.hashes.get(user) {
            Some(hash) => (hash, true),
            None => (&self.decoy, false),
        }
    }
}

/// The cost of a bcrypt hash, if it is one.
fn cost_of(hash: &str) -> Option<u32> {
    let known = ["$2a$", "$2b$", "$2y$"].iter().any(|prefix| hash.starts_with(prefix));
    let parts = HashParts::from_str(hash).ok().filter(|_| known && hash.len() == 60)?;
    Some(parts.get_cost())
}

/// Whether a password is the one that a hash was made of. Takes milliseconds to
/// a second, by the hash's cost; compares in constant time.
pub(crate) fn verify(password: &[u8], hash: &str) -> bool {
    bcrypt::verify(password, hash).unwrap_or(false)
}

/// Why no entry is made of a name and a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PasswordError {
    /// The name cannot be written in the file.
    #[error("{NAMES}", NAMES = credentials::NAMES)]
    Name,
    /// The password could be guessed.
    #[error("a password has at least {MIN_PASSWORD_BYTES} bytes")]
    TooShort,
    /// bcrypt would ignore the end of it.
    #[error("a password has at most {MAX_PASSWORD_BYTES} bytes, for bcrypt looks at no more")]
    TooLong,
    /// There is a zero byte in it, where bcrypt would end.
    #[error("a password has no zero byte")]
    Zero,
    /// The system has no random bytes.
    #[error("the system gives no random bytes")]
    NoSalt,
}

/// A line for a file of passwords: `name:$2y$10$…`. Takes about 50 ms.
///
/// # Errors
///
/// [`PasswordError`] for names and passwords that should not be used.
pub fn password_entry(name: &str, password: &[u8]) -> Result<String, PasswordError> {
    if !credentials::is_name(name) {
        return Err(PasswordError::Name);
    }
    match password.len() {
        0..MIN_PASSWORD_BYTES => return Err(PasswordError::TooShort),
        MIN_PASSWORD_BYTES..=MAX_PASSWORD_BYTES => {}
        _ => return Err(PasswordError::TooLong),
    }
    if password.contains(&0) {
        return Err(PasswordError::Zero);
    }
    let mut salt = [0; 16];
    SystemRandom::new().fill(&mut salt).map_err(|_| PasswordError::NoSalt)?;
    let hash =
        bcrypt::hash_with_salt(password, DEFAULT_COST, salt).map_err(|_| PasswordError::NoSalt)?;
    Ok(format!("{name}:{}", hash.format_for_version(Version::TwoY)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Made by Apache's `htpasswd -nbB -C 4 alice correct-horse`.
    const ALICE: &str = "alice:$2y$04$I60NN2LeL/NbSdHUwCpSt..ejhTF/GVfoQPc9ZjLz8UGElBL6c/xu";

    #[test]
    fn what_htpasswd_writes_is_read() {
        let file = format!("# people\n{ALICE}\n\n");
        let passwords = Passwords::parse(file.as_bytes()).unwrap();
        let (hash, known) = passwords.hash_of("alice");
        assert!(known && verify(b"correct-horse", hash));
        assert!(!verify(b"correct-horsf", hash));
        assert!(!verify(b"", hash));
        assert!(!passwords.hash_of("mallory").1);
    }

    #[test]
    fn an_unknown_user_costs_what_the_slowest_does_and_has_no_password() {
        let passwords = Passwords::parse(ALICE.as_bytes()).unwrap();
        let (decoy, known) = passwords.hash_of("mallory");
        assert!(!known);
        assert_eq!(cost_of(decoy), Some(4));
        // It is a hash, so that verifying does the whole work.
        assert!(bcrypt::verify("x", decoy).is_ok());
        assert_eq!(cost_of(&Passwords::default().decoy), Some(DEFAULT_COST));
        assert_eq!(cost_of(&decoy_of(14)), Some(14));
    }

    fn decoy_of(cost: u32) -> String {
        super::decoy(cost)
    }

    #[test]
    fn entries_that_are_made_here_are_read_here() {
        let entry = password_entry("bob", b"a password for bob").unwrap();
        assert!(entry.starts_with("bob:$2y$10$"), "{entry}");
        let passwords = Passwords::parse(entry.as_bytes()).unwrap();
        assert!(verify(b"a password for bob", passwords.hash_of("bob").0));
        assert_eq!(password_entry("bob", b"short"), Err(PasswordError::TooShort));
        assert_eq!(password_entry("bob", &[b'x'; 73]), Err(PasswordError::TooLong));
        assert_eq!(password_entry("bob", b"twelve bytes\0"), Err(PasswordError::Zero));
        assert_eq!(password_entry("b:b", b"twelve bytes"), Err(PasswordError::Name));
    }

    #[test]
    fn wrong_lines_are_told_by_number_and_without_what_is_in_them() {
        let costly = ALICE.replace("$04$", "$31$");
        let cheap = ALICE.replace("$04$", "$03$");
        for (line, part) in [
            ("alice", "a colon"),
            ("alice:hunter2", "bcrypt"),
            ("alice:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "bcrypt"),
            ("alice:$apr1$abc$def", "bcrypt"),
            ("al ice:$2y$", "a name"),
            (&costly, "cost"),
            (&cheap, "cost"),
            (&format!("{ALICE}\n{ALICE}"), "before"),
        ] {
            let text = Passwords::parse(line.as_bytes()).unwrap_err().to_string();
            assert!(text.starts_with("line ") && text.contains(part), "{line}: {text}");
            assert!(!text.contains("hunter2"), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Passwords::parse(&bytes);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "([a-z]{0,3}:?\\$2[aby]?\\$(0[0-9]|é)\\$[./A-Za-z0-9]{51,54}\n){0,4}") {
            let _ = Passwords::parse(text.as_bytes());
        }
    }
}
