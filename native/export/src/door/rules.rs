//! Who may ask for which paths.

use thiserror::Error;

use super::credentials;

/// How a client has shown who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// A bearer token.
    Bearer,
    /// A name and a password.
    Basic,
    /// A certificate, in the TLS handshake.
    Certificate,
}

impl Method {
    /// Every method.
    pub const ALL: [Self; 3] = [Self::Bearer, Self::Basic, Self::Certificate];

    /// The method's name, as settings give it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bearer => "bearer",
            Self::Basic => "basic",
            Self::Certificate => "certificate",
        }
    }
}

/// Some of the clients that are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// All that show themselves in this way.
    By(Method),
    /// The one with this name: of a token, a password or a certificate.
    Named(String),
}

/// Who may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// Everybody.
    Open,
    /// Every client that is known.
    Authenticated,
    /// These.
    Only(Vec<Who>),
}

/// Who may ask for paths that begin in one way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessRule {
    prefix: String,
    access: Access,
}

/// Why a rule cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RuleError {
    /// A path that no request can have.
    #[error("{prefix:?} is not the beginning of a path: it begins with / and has no space")]
    Prefix {
        /// What was given.
        prefix: String,
    },
    /// Nobody, or a word that says nothing.
    #[error(
        "for {prefix} {word:?} is none of open, authenticated, bearer, basic, certificate, or a \
         client's name after an @"
    )]
    Word {
        /// The rule's path.
        prefix: String,
        /// What was given.
        word: String,
    },
    /// `open` or `authenticated` beside other words.
    #[error("for {prefix} {word} stands alone")]
    Alone {
        /// The rule's path.
        prefix: String,
        /// The word.
        word: &'static str,
    },
    /// Two rules of one path.
    #[error("{prefix} has two rules")]
    Twice {
        /// The rules' path.
        prefix: String,
    },
    /// A rule that nobody can pass, for want of a file.
    #[error("nobody could pass the rule for {prefix}: set {missing}, or open it")]
    Nobody {
        /// The rule's path.
        prefix: String,
        /// The setting that is missing.
        missing: &'static str,
    },
}

const OPEN: &str = "open";
const AUTHENTICATED: &str = "authenticated";

impl AccessRule {
    /// A rule of its words: `open`, `authenticated`, or any of `bearer`,
    /// `basic`, `certificate` and `@name`.
    ///
    /// # Errors
    ///
    /// [`RuleError`] where path or words make no sense.
    pub fn new<S: AsRef<str>>(prefix: &str, words: &[S]) -> Result<Self, RuleError> {
        let prefix = prefix.to_owned();
        if !prefix.starts_with('/') || prefix.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(RuleError::Prefix { prefix });
        }
        let mut who = Vec::new();
        for word in words.iter().map(AsRef::as_ref) {
            let alone = match word {
                OPEN => Some((OPEN, Access::Open)),
                AUTHENTICATED => Some((AUTHENTICATED, Access::Authenticated)),
                _ => None,
            };
            match alone {
                Some((_, access)) if words.len() == 1 => return Ok(Self { prefix, access }),
                Some((word, _)) => return Err(RuleError::Alone { prefix, word }),
                None => {}
            }
            let method = Method::ALL.into_iter().find(|method| method.as_str() == word);
            let name = word.strip_prefix('@').filter(|name| is_client(name));
            who.push(match (method, name) {
                (Some(method), _) => Who::By(method),
                (None, Some(name)) => Who::Named(name.to_owned()),
                (None, None) => return Err(RuleError::Word { prefix, word: word.to_owned() }),
            });
        }
        match who.is_empty() {
            true => Err(RuleError::Word { prefix, word: String::new() }),
            false => Ok(Self { prefix, access: Access::Only(who) }),
        }
    }
}

/// Names in certificates may be URIs.
fn is_client(name: &str) -> bool {
    credentials::is_name(&name.replace("://", "/"))
}

/// The rules of a server, the longest path first.
#[derive(Debug)]
pub(crate) struct Rules(Vec<AccessRule>);

/// What holds unless a rule says otherwise: probes come without a credential.
const OPEN_PATHS: [&str; 5] = ["/health", "/live", "/readiness", "/ready", "/startup"];

/// The settings that make each method possible.
const SETTINGS: [(Method, &str); 3] = [
    (Method::Bearer, "http_tokens_file"),
    (Method::Basic, "http_passwords_file"),
    (Method::Certificate, "http_tls_client_ca_file"),
];

impl Rules {
    /// The given rules before those that hold anyway. Without any method to
    /// show who one is, everything is open.
    pub(crate) fn new(given: &[AccessRule], methods: &[Method]) -> Result<Self, RuleError> {
        let mut rules: Vec<AccessRule> = Vec::new();
        for rule in given {
            if rules.iter().any(|other| other.prefix == rule.prefix) {
                return Err(RuleError::Twice { prefix: rule.prefix.clone() });
            }
            let missing = match &rule.access {
                Access::Open => None,
                _ if methods.is_empty() => {
                    Some("http_tokens_file, http_passwords_file or http_tls_client_ca_file")
                }
                Access::Authenticated => None,
                Access::Only(who) => {
                    let possible = |who: &Who| match who {
                        Who::By(method) => methods.contains(method),
                        Who::Named(_) => true,
                    };
                    let first = who.iter().find(|who| !possible(who));
                    SETTINGS
                        .into_iter()
                        .find(|(method, _)| first == Some(&Who::By(*method)))
                        .map(|(_, setting)| setting)
                }
            };
            if let Some(missing) = missing {
                return Err(RuleError::Nobody { prefix: rule.prefix.clone(), missing });
            }
            rules.push(rule.clone());
        }
        let elsewhere = match methods.is_empty() {
            true => Access::Open,
            false => Access::Authenticated,
        };
        let standing = OPEN_PATHS.map(|path| (path, Access::Open)).into_iter();
        for (prefix, access) in standing.chain([("/", elsewhere)]) {
            if !rules.iter().any(|rule| rule.prefix == prefix) {
                rules.push(AccessRule { prefix: prefix.to_owned(), access });
            }
        }
        rules.sort_by_key(|rule| std::cmp::Reverse(rule.prefix.len()));
        Ok(Self(rules))
    }

    /// Who may ask for a path. What no rule is for (`*`, an authority) is as
    /// closed as anything.
    pub(crate) fn access(&self, path: &str) -> &Access {
        let rule = self.0.iter().find(|rule| path.starts_with(&rule.prefix));
        rule.or(self.0.last()).map_or(&Access::Authenticated, |rule| &rule.access)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rule(prefix: &str, words: &[&str]) -> AccessRule {
        AccessRule::new(prefix, words).unwrap()
    }

    fn only(who: &[Who]) -> Access {
        Access::Only(who.to_vec())
    }

    #[test]
    fn without_a_method_all_is_open_and_with_one_only_the_probes() {
        let rules = Rules::new(&[], &[]).unwrap();
        for path in ["/", "/metrics", "/debug/traces", "/nowhere", "/health"] {
            assert_eq!(*rules.access(path), Access::Open, "{path}");
        }
        let rules = Rules::new(&[], &[Method::Bearer]).unwrap();
        for path in [
            "/health",
            "/healthz",
            "/health/live",
            "/live",
            "/liveness",
            "/ready",
            "/readiness",
            "/startup",
        ] {
            assert_eq!(*rules.access(path), Access::Open, "{path}");
        }
        for path in [
            "/",
            "/metrics",
            "/metrics/custom",
            "/debug/traces",
            "/nowhere",
            "*",
            "",
            "/Health",
            "//health",
            "/%68ealth",
            "x:1",
        ] {
            assert_eq!(*rules.access(path), Access::Authenticated, "{path}");
        }
    }

    #[test]
    fn the_longest_beginning_counts() {
        let given = [
            rule("/metrics", &["bearer", "@alice"]),
            rule("/metrics/custom", &["open"]),
            rule("/health", &["authenticated"]),
        ];
        let rules = Rules::new(&given, &[Method::Bearer]).unwrap();
        let both = only(&[Who::By(Method::Bearer), Who::Named("alice".into())]);
        assert_eq!(*rules.access("/metrics"), both);
        assert_eq!(*rules.access("/metrics/custom"), Access::Open);
        assert_eq!(*rules.access("/health/live"), Access::Authenticated);
        assert_eq!(*rules.access("/debug/traces"), Access::Authenticated);
        assert_eq!(*rules.access("/live"), Access::Open);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (prefix, words) in [
            ("metrics", vec!["open"]),
            ("", vec!["open"]),
            ("/a b", vec!["open"]),
            ("/", vec![]),
            ("/", vec!["closed"]),
            ("/", vec!["@"]),
            ("/", vec!["@a b"]),
            ("/", vec!["open", "bearer"]),
            ("/", vec!["basic", "authenticated"]),
        ] {
            assert!(AccessRule::new(prefix, &words).is_err(), "{prefix} {words:?}");
        }
        assert!(AccessRule::new("/", &["@spiffe://cluster.local/ns/monitoring"]).is_ok());
        let refused = |given: &[AccessRule], methods: &[Method]| {
            Rules::new(given, methods).unwrap_err().to_string()
        };
        let closed = rule("/metrics", &["authenticated"]);
        assert!(refused(std::slice::from_ref(&closed), &[]).contains("http_tokens_file"));
        let basic = rule("/metrics", &["bearer", "basic"]);
        assert!(refused(&[basic], &[Method::Bearer]).contains("http_passwords_file"));
        assert_eq!(refused(&[closed.clone(), closed], &[Method::Bearer]), "/metrics has two rules");
    }

    proptest! {
        #[test]
        fn any_words_make_a_rule_or_an_error(prefix in ".{0,9}", words in prop::collection::vec("(open|bearer|@?.{0,5})", 0..4)) {
            let _ = AccessRule::new(&prefix, &words);
        }
    }
}
