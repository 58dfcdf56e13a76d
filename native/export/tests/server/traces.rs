//! The recent traces, over HTTP.

use std::io::Read;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{Response, config, connect, read_all, send, sources, start};
use erlmcp_export::{
    Audience, Server, ServerConfig, Sources, TraceRing, TraceRingLimits, TraceSource, Traces,
};
use erlmcp_trace::{RECORD_TAG, Records};
use flate2::read::GzDecoder;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{Span, Status, status::StatusCode};
use prost::Message;

/// Puts a span into the ring when it is asked to refresh it.
struct Late {
    ring: Arc<TraceRing>,
    refreshes: AtomicUsize,
    time: Duration,
}

impl TraceSource for Late {
    fn refresh(&self, wait: Duration) {
        assert_eq!(wait, Duration::from_secs(1));
        thread::sleep(self.time);
        if self.refreshes.fetch_add(1, SeqCst) == 0 {
            self.ring.add(b"", b"", &records(&[span(1, "just ended", 5, false)]));
        }
    }
}

fn span(trace: u8, name: &str, ms: u64, error: bool) -> Span {
    let code = if error { StatusCode::Error } else { StatusCode::Unset };
    let start = 1_769_860_800_000_000_000 + u64::from(trace);
    Span {
        trace_id: vec![trace; 16],
        span_id: vec![trace; 8],
        name: name.to_owned(),
        start_time_unix_nano: start,
        end_time_unix_nano: start + ms * 1_000_000,
        status: Some(Status { message: String::new(), code: code as i32 }),
        ..Span::default()
    }
}

fn records(spans: &[Span]) -> Records {
    let mut records = Records::default();
    for span in spans {
        records.count += 1;
        records.bytes.push(RECORD_TAG);
        records.bytes.extend(span.encode_length_delimited_to_vec());
    }
    records
}

fn with_traces(config: ServerConfig, time: Duration) -> (Server, SocketAddr, Arc<Late>) {
    let ring = Arc::new(TraceRing::new(TraceRingLimits::default()));
    let source = Arc::new(Late { ring: Arc::clone(&ring), refreshes: AtomicUsize::new(0), time });
    let traces = Traces { ring, source: source.clone() };
    let (server, address) = start(config, Sources { traces: Some(traces), ..sources() });
    (server, address, source)
}

fn ask(address: SocketAddr, method: &str, path: &str, headers: &[&str]) -> Response {
    let stream = connect(address);
    let headers: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    send(&stream, &format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n{headers}\r\n"));
    read_all(&stream)
}

fn get(address: SocketAddr, path: &str) -> Response {
    ask(address, "GET", path, &[&format!("Host: {address}")])
}

fn get_json(address: SocketAddr, path: &str) -> serde_json::Value {
    let response = get(address, path);
    assert_eq!(response.status, 200, "{path}: {:?}", response.text());
    assert_eq!(response.header("content-type"), Some("application/json"));
    serde_json::from_slice(&response.body).unwrap()
}

#[test]
fn a_span_that_just_ended_is_shown() {
    let (_server, address, _) = with_traces(config(), Duration::ZERO);
    let page = get(address, "/debug/traces");
    assert_eq!(page.status, 200);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(page.text().contains("just ended"));
    let one = get(address, &format!("/debug/traces?trace_id={}", "01".repeat(16)));
    assert!(one.text().contains("<svg") && one.text().contains("just ended"));
    for page in [page, one] {
        let policy = page.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(page.header("cache-control"), Some("no-store"));
        assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
        assert!(!page.text().contains("http://") && !page.text().contains("https://"));
    }
}

#[test]
fn a_source_that_hangs_costs_a_second() {
    let (_server, address, source) = with_traces(config(), Duration::from_secs(30));
    source.ring.add(b"", b"", &records(&[span(2, "older", 5, false)]));
    let begin = Instant::now();
    let page = get(address, "/debug/traces");
    assert!(begin.elapsed() < Duration::from_secs(15), "{:?}", begin.elapsed());
    assert!(page.text().contains("older") && !page.text().contains("just ended"));
    // While it hangs, scrapes go on.
    assert_eq!(get(address, "/metrics").status, 200);
}

#[test]
fn json_is_otlp() {
    let (_server, address, source) = with_traces(config(), Duration::ZERO);
    let spans = [span(2, "failed", 7, true), span(3, "slow", 900, false)];
    source.ring.add(b"", b"", &records(&spans));
    let json = get(address, "/debug/traces.json");
    let request: ExportTraceServiceRequest = serde_json::from_slice(&json.body).unwrap();
    assert_eq!(request.resource_spans[0].scope_spans[0].spans.len(), 3);
    let slow = format!("/debug/traces.json?trace_id={}", "03".repeat(16));
    let request: ExportTraceServiceRequest =
        serde_json::from_slice(&get(address, &slow).body).unwrap();
    assert_eq!(request.resource_spans[0].scope_spans[0].spans, [spans[1].clone()]);

    let host = format!("Host: {address}");
    let accepted = ask(address, "GET", "/debug/traces", &[&host, "Accept: application/json"]);
    assert_eq!(accepted.body, json.body);
    assert_eq!(accepted.header("vary"), Some("Accept, Accept-Encoding"));
}

#[test]
fn the_list_as_json_is_filtered_and_bounded() {
    let (_server, address, source) = with_traces(config(), Duration::ZERO);
    let spans = [span(2, "failed", 7, true), span(3, "slow", 900, false)];
    source.ring.add(b"", b"", &records(&spans));
    let names = |query: &str| -> Vec<String> {
        let json = get_json(address, &format!("/debug/traces/summary.json{query}"));
        let traces = json["traces"].as_array().unwrap();
        traces.iter().map(|trace| trace["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(""), ["failed", "slow", "just ended"]);
    assert_eq!(names("?errors=1"), ["failed"]);
    assert_eq!(names("?min_ms=6.5&limit=1"), ["failed"]);
    assert_eq!(names("?name=ENDED"), ["just ended"]);
    assert_eq!(names("?sort=newest"), ["slow", "failed", "just ended"]);
    let json = get_json(address, "/debug/traces/summary.json?limit=1");
    assert_eq!((&json["matching"], &json["held"]["spans"]), (&3.into(), &3.into()));
    assert_eq!(json["traces"][0]["durationNano"], "7000000");
}

#[test]
fn parameters_that_make_no_sense_are_refused() {
    let (_server, address, _) = with_traces(config(), Duration::ZERO);
    for (query, says) in [
        ("trace_id=xyz", "trace_id must be 32 hexadecimal digits"),
        ("limit=0", "limit must be a whole number from 1 to 1000"),
        ("min_ms=-1", "min_ms must be a number of milliseconds"),
        ("errors=2", "errors must be 1 or 0"),
        ("page=2", "there is no such parameter"),
    ] {
        for path in ["/debug/traces", "/debug/traces.json", "/debug/traces/summary.json"] {
            let response = get(address, &format!("{path}?{query}"));
            assert_eq!(response.status, 400, "{path}?{query}");
            assert!(response.text().starts_with(says), "{}", response.text());
        }
    }
    let gone = format!("trace_id={}", "ab".repeat(16));
    assert_eq!(get(address, &format!("/debug/traces.json?{gone}")).status, 404);
    let page = get(address, &format!("/debug/traces?{gone}"));
    assert_eq!((page.status, page.text().contains("This trace is not here")), (404, true));
}

#[test]
fn a_head_is_a_get_without_the_body_and_gzip_is_gzip() {
    let (_server, address, source) = with_traces(config(), Duration::ZERO);
    source.refresh(Duration::from_secs(1));
    let host = format!("Host: {address}");
    for path in ["/debug/traces", "/debug/traces.json", "/debug/traces/summary.json"] {
        let plain = get(address, path);
        let head = ask(address, "HEAD", path, &[&host]);
        assert!(head.body.is_empty() && !plain.body.is_empty());
        for name in ["content-type", "content-length", "vary", "content-security-policy"] {
            assert_eq!(plain.header(name), head.header(name), "{name} of {path}");
        }
        let packed = ask(address, "GET", path, &[&host, "Accept-Encoding: gzip"]);
        assert_eq!(packed.header("content-encoding"), Some("gzip"));
        let mut unpacked = Vec::new();
        GzDecoder::new(packed.body.as_slice()).read_to_end(&mut unpacked).unwrap();
        assert_eq!(unpacked, plain.body);
        assert_eq!(ask(address, "POST", path, &[&host]).status, 405);
    }
}

#[test]
fn only_loopback_names_are_answered() {
    let (_server, address, _) = with_traces(config(), Duration::ZERO);
    let port = address.port();
    let named = |host: &str| ask(address, "GET", "/debug/traces", &[&format!("Host: {host}")]);
    for host in [format!("localhost:{port}"), format!("127.0.0.1:{port}"), "[::1]".into()] {
        assert_eq!(named(&host).status, 200, "{host}");
    }
    for host in ["evil.example", "localhost.evil.example:80", "10.0.0.1"] {
        let refused = named(host);
        assert_eq!(refused.status, 403, "{host}");
        assert!(refused.text().contains("debug_traces") && !refused.text().contains("just ended"));
    }
    let host = format!("Host: {address}");
    let proxied = ask(address, "GET", "/debug/traces", &[&host, "X-Forwarded-For: 10.0.0.1"]);
    assert_eq!(proxied.status, 403);
    // What others may see of the listener is not affected.
    let metrics = ask(address, "GET", "/metrics", &["Host: evil.example"]);
    assert_eq!(metrics.status, 200);
}

/// An address of this host that is not loopback, if it has one.
fn outer_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // Nothing is sent: the system only picks the address it would send from.
    socket.connect("192.0.2.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}

#[test]
fn peers_from_elsewhere_are_refused_unless_it_is_open() {
    let Some(outer) = outer_address() else {
        return; // a host without a network
    };
    for (setting, status) in
        [(Audience::Loopback, 403), (Audience::Off, 403), (Audience::Open, 200)]
    {
        let listen = vec![SocketAddr::from(([0, 0, 0, 0], 0))];
        let config = ServerConfig { listen, debug_traces: setting, ..config() };
        let (_server, address, _) = with_traces(config, Duration::ZERO);
        let address = SocketAddr::new(outer, address.port());
        // Connected to from the same address: the peer is not loopback.
        let response = ask(address, "GET", "/debug/traces", &["Host: localhost"]);
        assert_eq!(response.status, status, "{setting:?}");
        assert_eq!(response.text().contains("debug_traces"), status == 403);
    }
}

#[test]
fn off_is_off_on_this_host_too() {
    let config = ServerConfig { debug_traces: Audience::Off, ..config() };
    let (_server, address, source) = with_traces(config, Duration::ZERO);
    let refused = get(address, "/debug/traces");
    assert_eq!((refused.status, refused.text().contains("debug_traces is off")), (403, true));
    assert_eq!(source.refreshes.load(SeqCst), 0, "nothing is done for who is refused");
}

#[test]
fn without_tracing_the_page_says_so() {
    let (_server, address) = start(config(), sources());
    let page = get(address, "/debug/traces");
    assert_eq!((page.status, page.text().contains("No tracing in this node")), (200, true));
    assert_eq!(get(address, "/debug/traces.json").status, 404);
    let index = get(address, "/");
    assert!(index.text().contains("  /debug/traces      recent traces"), "{}", index.text());
}
