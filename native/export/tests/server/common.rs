//! A server under test, its sources, and a client that is nothing but a socket.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use erlmcp_export::{
    HealthReply, HealthReport, HealthSource, MetricSource, Probe, RegistrySource, Server,
    ServerConfig, Sources,
};
use erlmcp_metrics::exposition::{Exposition, Format, Scope};
use erlmcp_metrics::{Family, Kind, LabelSet, MetricName, Options, Registry};
use socket2::{Domain, Socket, Type};

/// Ends what hangs; nothing that is well takes so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Answers every probe at once, and passes it.
pub(crate) struct Healthy;

impl HealthSource for Healthy {
    fn request(&self, probe: Probe, reply: HealthReply) -> bool {
        reply.send(HealthReport {
            node: format!("{}@test", probe.as_str()),
            uptime: Duration::from_secs(90),
            checks: Vec::new(),
        });
        true
    }
}

/// A registry with one counter of the application's, `requests_total` = 3.
pub(crate) fn registry() -> Registry {
    let registry = Registry::new(Options::default());
    let name = MetricName::new("requests_total").unwrap();
    let labels = LabelSet::from_pairs([("method", "ping")]).unwrap();
    let series = registry.series(Kind::Counter, &name, &labels).unwrap().id;
    registry.recorder().add_int(series, 3).unwrap();
    registry
}

/// Loopback, any port, without waits that are not under test.
pub(crate) fn config() -> ServerConfig {
    ServerConfig { listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))], ..ServerConfig::default() }
}

pub(crate) fn sources() -> Sources {
    let metrics = Arc::new(RegistrySource::new(registry()).unwrap());
    Sources { metrics, vm: None, health: Arc::new(Healthy), traces: None }
}

pub(crate) fn start(config: ServerConfig, sources: Sources) -> (Server, SocketAddr) {
    let server = Server::start(config, sources).unwrap();
    let address = *server.local_addrs().first().unwrap();
    (server, address)
}

/// Renders a body of a given size after a given time, and counts.
pub(crate) struct Synthetic {
    pub(crate) bytes: usize,
    pub(crate) time: Duration,
    pub(crate) renders: AtomicUsize,
}

impl Synthetic {
    pub(crate) fn sources(bytes: usize, time: Duration) -> (Arc<Self>, Sources) {
        let source = Arc::new(Self { bytes, time, renders: AtomicUsize::new(0) });
        (Arc::clone(&source), Sources { metrics: source, ..sources() })
    }

    pub(crate) fn renders(&self) -> usize {
        self.renders.load(SeqCst)
    }
}

impl MetricSource for Synthetic {
    fn render(&self, _: &[Family], _: Format, _: Scope) -> Exposition {
        let n = self.renders.fetch_add(1, SeqCst);
        thread::sleep(self.time);
        let line = format!("rendering {}\n", n + 1);
        let mut body = line.repeat(self.bytes / line.len() + 1).into_bytes();
        body.truncate(self.bytes);
        Exposition { chunks: body.chunks(65_536).map(<[u8]>::to_vec).collect(), samples: 0 }
    }

    fn observe_scrape(&self, _: f64) {}
}

#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str());
        let value = values.next();
        assert_eq!(values.next(), None, "{name} twice");
        value
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The value of a sample of the text format.
    pub(crate) fn sample(&self, series: &str) -> Option<f64> {
        self.text()
            .lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
    }

    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|w| w == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("no head: {:?}", String::from_utf8_lossy(bytes)));
        let head = std::str::from_utf8(&bytes[..end]).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines
            .map(|line| line.split_once(": ").unwrap())
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect();
        Self { status, headers, body: bytes[end + 4..].to_vec() }
    }
}

pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// A connection whose kernel takes little ahead of its reader.
pub(crate) fn narrow(address: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    socket.connect(&address.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// What comes until the server closes.
pub(crate) fn read_all(mut stream: &TcpStream) -> Response {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    Response::parse(&bytes)
}

/// One response on a connection that stays open.
pub(crate) fn read_one(mut stream: &TcpStream) -> Response {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        bytes.push(byte[0]);
    }
    let mut response = Response::parse(&bytes);
    let length = response.header("content-length").unwrap().parse().unwrap();
    response.body = vec![0; length];
    stream.read_exact(&mut response.body).unwrap();
    response
}

pub(crate) fn send(mut stream: &TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).unwrap();
}

pub(crate) fn request(address: SocketAddr, method: &str, path: &str, headers: &[&str]) -> Response {
    let stream = connect(address);
    let headers: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{headers}");
    send(&stream, &format!("{head}\r\n"));
    read_all(&stream)
}

pub(crate) fn get(address: SocketAddr, path: &str) -> Response {
    request(address, "GET", path, &[])
}

/// Waits until something holds.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Whether the server has closed the connection.
pub(crate) fn is_closed(mut stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let read = stream.read(&mut [0; 1024]);
    stream.set_nonblocking(false).unwrap();
    match read {
        Ok(n) => n == 0,
        Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
    }
}
