//! Who may come in: TLS, credentials, rules by path, and what is done about
//! those who try too often.
//!
//! Files are read when the server starts and again whenever they change.
//! [`Gate`](gate::Gate) decides each request; everything it compares a
//! credential with is a hash.

mod clients;
mod counts;
mod credentials;
mod error;
mod file;
mod gate;
mod passwords;
mod peers;
mod refusal;
mod reload;
mod remembered;
mod rules;
mod settings;
mod stream;
mod throttle;
mod tls;
mod tokens;
mod turnover;

pub use error::DoorError;
pub use passwords::{PasswordError, password_entry};
pub use rules::{Access, AccessRule, Method, RuleError, Who};
pub use settings::{DoorConfig, TlsFiles};
pub use tokens::{TokenError, token_entry};

pub(crate) use clients::ClientCertificate;
pub(crate) use counts::{Counts, HandshakeFailure};
pub(crate) use gate::{Asking, Gate, HASHERS};
pub(crate) use peers::{PeerKey, Shares};
pub(crate) use refusal::Failure;
pub(crate) use reload::Watch;
pub(crate) use stream::Stream;
pub(crate) use tls::Tls;
pub(crate) use turnover::{Place, Turnover, displaced};
