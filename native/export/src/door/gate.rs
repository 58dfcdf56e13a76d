//! The decision about each request.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use hyper::header::HeaderMap;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use super::clients::ClientCertificate;
use super::credentials::{FileProblem, Shown};
use super::error::DoorError;
use super::file::NamedFile;
use super::passwords::{self, Passwords};
use super::peers::PeerKey;
use super::refusal::{Failure, Reports};
use super::reload::{Made, Reloaded, Watch, Watched};
use super::remembered::Remembered;
use super::rules::{Access, Method, Rules, Who};
use super::settings::DoorConfig;
use super::throttle::Throttle;
use super::tls::Tls;
use super::tokens::Tokens;
use crate::answer::Answer;
use crate::source::MetricSource;
use crate::stats::Stats;
use crate::turn::in_turn;

/// Passwords that are verified side by side, each on a thread for blocking work.
pub(crate) const HASHERS: usize = 2;

/// Most passwords that wait for one of them.
const MAX_WAITING: usize = 16;

/// Decides who may ask for what.
pub(crate) struct Gate {
    rules: Rules,
    methods: Vec<Method>,
    tokens: Option<Arc<Reloaded<Tokens>>>,
    passwords: Option<Arc<Reloaded<Passwords>>>,
    tls: Option<Arc<Tls>>,
    throttle: Arc<Throttle>,
    remembered: Arc<Remembered>,
    hashers: Arc<Semaphore>,
    hashing: Arc<AtomicUsize>,
    stats: Arc<Stats>,
    metrics: Arc<dyn MetricSource>,
    reports: Arc<Reports>,
}

/// A request, as far as the decision needs it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asking<'a> {
    pub(crate) path: &'a str,
    /// The path if it is one that the server has: what may be logged.
    pub(crate) known: Option<&'static str>,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) peer: IpAddr,
    pub(crate) certificate: Option<&'a ClientCertificate>,
}

/// A client that has shown who it is, in one way.
struct Client {
    method: Method,
    names: Vec<String>,
}

/// Why a client may not, and which one it is if it is known.
type Refused = (Failure, Option<String>);

impl Gate {
    /// Reads the files that the settings name, and says what is to be watched.
    pub(crate) fn open(
        config: &DoorConfig,
        stats: &Arc<Stats>,
        metrics: &Arc<dyn MetricSource>,
    ) -> Result<(Self, Watch), DoorError> {
        let tls = config.tls.as_ref().map(Tls::open).transpose()?.map(Arc::new);
        let file = |setting, path: &Option<PathBuf>| {
            path.as_deref().map(|path| NamedFile::secret(setting, path))
        };
        let tokens = file("http_tokens_file", &config.tokens_file)
            .map(|file| clients("tokens", file, Tokens::parse, Tokens::is_empty))
            .transpose()?;
        let passwords = file("http_passwords_file", &config.passwords_file)
            .map(|file| clients("passwords", file, Passwords::parse, Passwords::is_empty))
            .transpose()?;
        let knows_clients = config.tls.as_ref().is_some_and(|tls| tls.client_ca_file.is_some());
        let methods: Vec<Method> = [
            (Method::Bearer, tokens.is_some()),
            (Method::Basic, passwords.is_some()),
            (Method::Certificate, knows_clients),
        ]
        .into_iter()
        .filter_map(|(method, is_there)| is_there.then_some(method))
        .collect();
        for method in &methods {
            stats.door.method(method.as_str());
        }
        if let Some(tls) = &tls {
            stats.door.tls(tls);
        }
        let reports = Arc::new(Reports::new(config.diagnostics.clone()));
        let watched = [
            tls.as_ref().map(|tls| tls.watched() as Arc<dyn Watched>),
            tokens.clone().map(|tokens| tokens as Arc<dyn Watched>),
            passwords.clone().map(|passwords| passwords as Arc<dyn Watched>),
        ];
        let watch = Watch {
            watched: watched.into_iter().flatten().collect(),
            interval: config.reload_interval,
            reports: Arc::clone(&reports),
        };
        let gate = Self {
            rules: Rules::new(&config.rules, &methods)?,
            methods,
            tokens,
            passwords,
            tls,
            throttle: Arc::new(Throttle::new(config.failures_per_minute)),
            remembered: Arc::new(Remembered::new()),
            hashers: Arc::new(Semaphore::new(HASHERS)),
            hashing: Arc::default(),
            stats: Arc::clone(stats),
            metrics: Arc::clone(metrics),
            reports,
        };
        Ok((gate, watch))
    }

    /// TLS, if it is spoken.
    pub(crate) fn tls(&self) -> Option<&Arc<Tls>> {
        self.tls.as_ref()
    }

    /// Lets a request in, or says what it is answered with.
    pub(crate) async fn admit(&self, asking: Asking<'_>) -> Result<(), Answer> {
        let access = self.rules.access(asking.path);
        if *access == Access::Open {
            return Ok(());
        }
        let decided = match self.identify(asking).await {
            Ok(clients) => permitted(access, clients),
            Err(failure) => Err((failure, None)),
        };
        match decided {
            Ok(method) => {
                self.stats.door.authenticated(method.as_str());
                Ok(())
            }
            Err((failure, client)) => {
                let what = asking.known.unwrap_or("a path that is not known");
                self.refused(failure, asking.peer, what, client.as_deref());
                Err(failure.answer(&self.methods))
            }
        }
    }

    /// Counts and reports somebody who may not come in.
    pub(crate) fn refused(&self, failure: Failure, peer: IpAddr, what: &str, client: Option<&str>) {
        self.metrics.auth_failure(failure.as_str());
        self.reports.refused(failure, peer, what, client);
    }

    /// All that a request shows. What it shows wrongly counts, whatever else
    /// there is.
    async fn identify(&self, asking: Asking<'_>) -> Result<Vec<Client>, Failure> {
        let mut clients = Vec::new();
        match Shown::read(asking.headers) {
            Shown::Nothing => {}
            Shown::Malformed => return Err(Failure::Malformed),
            Shown::OtherScheme => return Err(Failure::UnsupportedScheme),
            Shown::Token(token) => clients.push(self.by_token(&token, asking.peer)?),
            Shown::Password { user, password } => {
                clients.push(self.by_password(user, password, asking.peer).await?);
            }
        }
        if let (Some(certificate), Some(tls)) = (asking.certificate, &self.tls) {
            if certificate.is_valid(tls) {
                let names = certificate.names().to_vec();
                clients.push(Client { method: Method::Certificate, names });
            } else if clients.is_empty() {
                return Err(Failure::Certificate);
            }
        }
        if clients.is_empty() { Err(Failure::Missing) } else { Ok(clients) }
    }

    /// The right token is always let in: it cannot be guessed, so its owner need
    /// not suffer for the mistakes of others at the same address.
    fn by_token(&self, token: &[u8], peer: IpAddr) -> Result<Client, Failure> {
        let tokens = self.tokens.as_ref().ok_or(Failure::UnsupportedScheme)?.get();
        if let Some(name) = tokens.find(token) {
            return Ok(Client { method: Method::Bearer, names: vec![name.to_owned()] });
        }
        match self.throttle.take(PeerKey::of(peer), Instant::now()) {
            Ok(()) => Err(Failure::Token),
            Err(wait) => Err(Failure::Throttled(wait)),
        }
    }

    /// A password may be a weak one: beyond the budget for mistakes none is
    /// looked at, be it right or wrong.
    async fn by_password(
        &self,
        user: String,
        password: Zeroizing<Vec<u8>>,
        peer: IpAddr,
    ) -> Result<Client, Failure> {
        let passwords = self.passwords.as_ref().ok_or(Failure::UnsupportedScheme)?.get();
        let (peer, now) = (PeerKey::of(peer), Instant::now());
        self.throttle.take(peer, now).map_err(Failure::Throttled)?;
        let (hash, is_known) = passwords.hash_of(&user);
        let key = self.remembered.key(&user, hash, &password);
        if self.remembered.knows(key, now) {
            self.throttle.give_back(peer, now);
        } else {
            let (throttle, remembered) = (Arc::clone(&self.throttle), Arc::clone(&self.remembered));
            // Where the password is verified: a client that leaves before it knows
            // has not been wrong, and need not wait again.
            let judge = move |right: bool| {
                let right = right && is_known;
                if right {
                    let now = Instant::now();
                    remembered.remember(key, now);
                    throttle.give_back(peer, now);
                }
                right
            };
            match self.verify(password, hash.to_owned(), judge).await {
                Ok(true) => {}
                Ok(false) => return Err(Failure::Password),
                Err(failure) => {
                    self.throttle.give_back(peer, Instant::now());
                    return Err(failure);
                }
            }
        }
        Ok(Client { method: Method::Basic, names: vec![user] })
    }

    async fn verify(
        &self,
        password: Zeroizing<Vec<u8>>,
        hash: String,
        judge: impl FnOnce(bool) -> bool + Send + 'static,
    ) -> Result<bool, Failure> {
        let turn = Turn::take(&self.hashing).ok_or(Failure::Busy)?;
        // Its place in line as well is held until the work is done.
        let work = move || {
            let right = judge(passwords::verify(&password, &hash));
            drop(turn);
            right
        };
        in_turn(Arc::clone(&self.hashers), work).await.ok_or(Failure::Busy)
    }
}

/// One of those whose password is verified or waits for it.
struct Turn(Arc<AtomicUsize>);

impl Turn {
    fn take(hashing: &Arc<AtomicUsize>) -> Option<Self> {
        let turn = Self(Arc::clone(hashing));
        // A number of them and nothing that it would have to be in order with.
        (hashing.fetch_add(1, Relaxed) < HASHERS + MAX_WAITING).then_some(turn)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// How a client that may has shown itself.
fn permitted(access: &Access, clients: Vec<Client>) -> Result<Method, Refused> {
    let may = |client: &Client| match access {
        Access::Open | Access::Authenticated => true,
        Access::Only(who) => who.iter().any(|who| match who {
            Who::By(method) => *method == client.method,
            Who::Named(name) => client.names.contains(name),
        }),
    };
    if let Some(client) = clients.iter().find(|client| may(client)) {
        return Ok(client.method);
    }
    // What certificates say of themselves is not shown.
    let of_a_file = |client: Client| (client.method != Method::Certificate).then_some(client.names);
    let name = clients.into_iter().find_map(of_a_file).and_then(|names| names.into_iter().next());
    Err((Failure::Forbidden, name))
}

/// A file of clients, read again when it changes.
fn clients<T: Send + Sync + 'static>(
    what: &'static str,
    file: NamedFile,
    parse: fn(&[u8]) -> Result<T, FileProblem>,
    is_empty: fn(&T) -> bool,
) -> Result<Arc<Reloaded<T>>, DoorError> {
    let named = file.clone();
    Reloaded::open(what, vec![file], move |_, contents| {
        let bytes = contents.first().map_or(&[][..], |bytes| bytes);
        let value = parse(bytes).map_err(|problem| named.problem(problem.to_string()))?;
        let warning = is_empty(&value)
            .then(|| format!("{}: there is no client in {}.", named.setting, named.path.display()));
        Ok(Made { value, warning })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(method: Method, names: &[&str]) -> Client {
        Client { method, names: names.iter().map(|name| (*name).to_owned()).collect() }
    }

    #[test]
    fn one_way_that_may_is_enough() {
        let access = Access::Only(vec![Who::By(Method::Certificate), Who::Named("ops".into())]);
        let may = |clients| permitted(&access, clients).map_err(|(_, name)| name);
        assert_eq!(may(vec![client(Method::Certificate, &["x"])]), Ok(Method::Certificate));
        assert_eq!(may(vec![client(Method::Basic, &["ops"])]), Ok(Method::Basic));
        assert_eq!(
            may(vec![client(Method::Bearer, &["prometheus"])]),
            Err(Some("prometheus".to_owned()))
        );
        let only_ops = Access::Only(vec![Who::Named("ops".into())]);
        assert_eq!(
            permitted(&only_ops, vec![client(Method::Certificate, &["CN\nforged"])]),
            Err((Failure::Forbidden, None))
        );
        let both = vec![client(Method::Bearer, &["a"]), client(Method::Certificate, &["x", "ops"])];
        assert_eq!(may(both), Ok(Method::Certificate));
        let any = permitted(&Access::Authenticated, vec![client(Method::Bearer, &["a"])]);
        assert_eq!(any, Ok(Method::Bearer));
    }

    #[test]
    fn so_many_wait_and_no_more() {
        let hashing = Arc::default();
        let turns: Vec<_> = (0..HASHERS + MAX_WAITING + 5).map(|_| Turn::take(&hashing)).collect();
        assert_eq!(turns.iter().flatten().count(), HASHERS + MAX_WAITING);
        drop(turns);
        assert_eq!(hashing.load(Relaxed), 0);
    }
}
