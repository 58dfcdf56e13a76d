//! How those are answered who may not come in, and what is said about it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{RETRY_AFTER, WWW_AUTHENTICATE};

use super::rules::Method;
use crate::answer::Answer;
use crate::diagnostics::{DiagnosticLevel, Diagnostics, Reporter};

/// Why somebody may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// No credential was shown.
    Missing,
    /// What was shown cannot be read.
    Malformed,
    /// What was shown is of a kind that is not set up here.
    UnsupportedScheme,
    /// No such token.
    Token,
    /// No such user, or another password.
    Password,
    /// A certificate of no known authority, or one that is valid no longer.
    Certificate,
    /// A client that is known and may not see this.
    Forbidden,
    /// Too many wrong credentials of late.
    Throttled(Duration),
    /// Too many passwords are being verified.
    Busy,
}

const KINDS: usize = 9;

impl Failure {
    /// The value of the label `reason`.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::UnsupportedScheme => "unsupported_scheme",
            Self::Token => "invalid_token",
            Self::Password => "invalid_password",
            Self::Certificate => "client_certificate",
            Self::Forbidden => "forbidden",
            Self::Throttled(_) => "throttled",
            Self::Busy => "busy",
        }
    }

    const fn kind(self) -> usize {
        match self {
            Self::Missing => 0,
            Self::Malformed => 1,
            Self::UnsupportedScheme => 2,
            Self::Token => 3,
            Self::Password => 4,
            Self::Certificate => 5,
            Self::Forbidden => 6,
            Self::Throttled(_) => 7,
            Self::Busy => 8,
        }
    }

    /// The response, where these methods are set up.
    pub(crate) fn answer(self, methods: &[Method]) -> Answer {
        let certificates = methods.contains(&Method::Certificate);
        let (status, text) = match self {
            Self::Forbidden => (StatusCode::FORBIDDEN, "You are known, and may not see this.\n"),
            Self::Throttled(_) => (
                StatusCode::TOO_MANY_REQUESTS,
                "Too many wrong credentials came from your address: try again later.\n",
            ),
            Self::Busy => (
                StatusCode::SERVICE_UNAVAILABLE,
                "Too many passwords are being verified: try again later.\n",
            ),
            // There is no challenge that would ask for a certificate.
            _ if methods == [Method::Certificate] => {
                (StatusCode::FORBIDDEN, "Show a client certificate that is known here.\n")
            }
            Self::Missing if certificates => {
                (StatusCode::UNAUTHORIZED, "Show a credential or a client certificate.\n")
            }
            Self::Missing => (StatusCode::UNAUTHORIZED, "Show a credential.\n"),
            _ => (StatusCode::UNAUTHORIZED, "The credential is not one that is known here.\n"),
        };
        let mut answer = Answer::text(status, text.to_owned());
        if status == StatusCode::UNAUTHORIZED {
            if methods.contains(&Method::Bearer) {
                let challenge = match self {
                    Self::Token => "Bearer realm=\"erlmcp\", error=\"invalid_token\"",
                    _ => "Bearer realm=\"erlmcp\"",
                };
                answer.headers.push((WWW_AUTHENTICATE, challenge));
            }
            if methods.contains(&Method::Basic) {
                let challenge = "Basic realm=\"erlmcp\", charset=\"UTF-8\"";
                answer.headers.push((WWW_AUTHENTICATE, challenge));
            }
        }
        match self {
            Self::Throttled(wait) => answer.headers.push((RETRY_AFTER, seconds(wait))),
            Self::Busy => answer.headers.push((RETRY_AFTER, "1")),
            _ => {}
        }
        answer
    }
}

/// At least so many seconds, as a header's value.
fn seconds(wait: Duration) -> &'static str {
    match wait.as_secs_f64() {
        s if s <= 1.0 => "1",
        s if s <= 5.0 => "5",
        s if s <= 10.0 => "10",
        s if s <= 30.0 => "30",
        _ => "60",
    }
}

/// Says who was refused: each reason once a minute, with how many more there
/// were.
#[derive(Debug)]
pub(crate) struct Reports(Reporter<KINDS>);

impl Reports {
    pub(crate) fn new(to: Option<Arc<dyn Diagnostics>>) -> Self {
        Self(Reporter::new(to))
    }

    /// `what` is a path that the server knows, or another phrase of its own:
    /// nothing that a client has sent.
    pub(crate) fn refused(&self, failure: Failure, peer: IpAddr, what: &str, client: Option<&str>) {
        self.0.say(DiagnosticLevel::Warning, failure.kind(), || {
            let client = client.map(|name| format!(", client {name}")).unwrap_or_default();
            let peer = peer.to_canonical();
            format!("Refused {what} to {peer}{client}: {}.", failure.as_str())
        });
    }

    pub(crate) fn say(&self, level: DiagnosticLevel, message: String) {
        self.0.say_always(level, message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Method; 3] = Method::ALL;

    fn challenges(answer: &Answer) -> Vec<&'static str> {
        answer.headers.iter().filter(|(n, _)| n == WWW_AUTHENTICATE).map(|(_, v)| *v).collect()
    }

    #[test]
    fn challenges_are_those_that_can_be_met() {
        let answer = Failure::Missing.answer(&ALL);
        assert_eq!(answer.status, 401);
        assert_eq!(challenges(&answer).len(), 2);
        let answer = Failure::Token.answer(&[Method::Bearer]);
        assert_eq!(challenges(&answer), ["Bearer realm=\"erlmcp\", error=\"invalid_token\""]);
        let answer = Failure::Missing.answer(&[Method::Certificate]);
        assert_eq!((answer.status.as_u16(), challenges(&answer).len()), (403, 0));
        let answer = Failure::Forbidden.answer(&ALL);
        assert_eq!((answer.status.as_u16(), challenges(&answer).len()), (403, 0));
        let answer = Failure::Throttled(Duration::from_millis(5500)).answer(&ALL);
        assert_eq!(answer.status, 429);
        assert_eq!(answer.headers, [(RETRY_AFTER, "10")]);
        assert_eq!(Failure::Busy.answer(&ALL).status, 503);
    }

    #[test]
    fn every_reason_has_its_kind() {
        let all = [
            Failure::Missing,
            Failure::Malformed,
            Failure::UnsupportedScheme,
            Failure::Token,
            Failure::Password,
            Failure::Certificate,
            Failure::Forbidden,
            Failure::Throttled(Duration::ZERO),
            Failure::Busy,
        ];
        let mut kinds: Vec<_> = all.iter().map(|failure| failure.kind()).collect();
        kinds.sort_unstable();
        assert_eq!(kinds, (0..KINDS).collect::<Vec<_>>());
    }
}
