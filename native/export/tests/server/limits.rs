//! Clients that ask for too much or take too long.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{
    PATIENCE, Synthetic, config, connect, eventually, get, is_closed, narrow, read_all, read_one,
    request, send, sources, start,
};
use erlmcp_export::ServerConfig;

const SHORT: Duration = Duration::from_millis(300);

fn cut(address: SocketAddr, reason: &str) -> f64 {
    let series = format!("erlmcp_http_connections_cut_total{{reason=\"{reason}\"}}");
    get(address, "/metrics").sample(&series).unwrap()
}

#[test]
fn too_many_or_too_large_headers_are_a_431() {
    let config = ServerConfig { max_headers: 10, max_header_bytes: 2_000, ..config() };
    let (_server, address) = start(config, sources());
    let many: Vec<String> = (0..9).map(|n| format!("X-{n}: y")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(request(address, "GET", "/", &many).status, 431);
    assert_eq!(request(address, "GET", "/", &many[1..]).status, 200);
    let large = |bytes| format!("X: {}", "y".repeat(bytes));
    assert_eq!(request(address, "GET", "/", &[&large(1_800)]).status, 200);
    for bytes in [2_000, 20_000, 200_000] {
        assert_eq!(request(address, "GET", "/", &[&large(bytes)]).status, 431, "{bytes}");
    }
    assert_eq!(request(address, "GET", &format!("/{}", "y".repeat(3_000)), &[]).status, 431);
    // Nor is the answer lost to a client that looks for it later.
    let late = connect(address);
    send(&late, &format!("GET / HTTP/1.1\r\n{}\r\n\r\n", large(200_000)));
    thread::sleep(SHORT);
    assert_eq!(read_all(&late).status, 431);
    let metrics = get(address, "/metrics");
    let refused = metrics.sample("erlmcp_http_requests_total{code=\"431\",path=\"other\"}");
    assert_eq!(refused, Some(6.0));
}

#[test]
fn whoever_sends_the_head_too_slowly_is_cut() {
    let config = ServerConfig { header_timeout: SHORT, ..config() };
    let (_server, address) = start(config, sources());
    let silent = connect(address);
    let trickling = connect(address);
    let begin = Instant::now();
    let mut trickle = &trickling;
    while !is_closed(&trickling) && begin.elapsed() < PATIENCE {
        // Fails once the server has cut the connection.
        let _ = trickle.write_all(b"X");
        thread::sleep(Duration::from_millis(10));
    }
    let took = begin.elapsed();
    assert!(took >= SHORT / 2 && took < ServerConfig::default().header_timeout, "{took:?}");
    eventually("the silent one is cut", || is_closed(&silent));
    eventually("both are counted", || cut(address, "header_timeout") == 2.0);
}

#[test]
fn the_head_of_a_later_request_has_the_same_deadline_and_the_pause_another() {
    let idle_timeout = 10 * SHORT;
    let config = ServerConfig { header_timeout: SHORT, idle_timeout, ..config() };
    let (_server, address) = start(config, sources());
    let [idle, halting] = [connect(address), connect(address)];
    for stream in [&idle, &halting] {
        send(stream, "GET /live HTTP/1.1\r\nHost: t\r\n\r\n");
        assert_eq!(read_one(stream).status, 200);
    }
    thread::sleep(SHORT * 2);
    assert!(!is_closed(&idle), "a pause may be longer than a head");
    let begin = Instant::now();
    send(&halting, "GET /live HT");
    eventually("half a head is cut", || is_closed(&halting));
    assert!(begin.elapsed() < idle_timeout, "{:?}", begin.elapsed());
    eventually("the idle one is closed", || is_closed(&idle));
    assert_eq!(cut(address, "header_timeout"), 1.0);
}

#[test]
fn requests_without_a_pause_have_a_deadline_each() {
    let each = SHORT * 5;
    let config = ServerConfig { header_timeout: each, idle_timeout: each, ..config() };
    let (_server, address) = start(config, sources());
    let stream = connect(address);
    let begin = Instant::now();
    while begin.elapsed() < each * 2 {
        send(&stream, "GET /live HTTP/1.1\r\nHost: t\r\n\r\n");
        assert_eq!(read_one(&stream).status, 200);
    }
}

const LARGE: usize = 32 * 1024 * 1024;

#[test]
fn a_slow_reader_is_cut_and_disturbs_nobody() {
    let (source, sources) = Synthetic::sources(LARGE, Duration::ZERO);
    let config = ServerConfig { write_timeout: SHORT * 2, ..config() };
    let (_server, address) = start(config, sources);
    let slow = narrow(address);
    send(&slow, "GET /metrics HTTP/1.1\r\nHost: t\r\n\r\n");
    eventually("the rendering", || source.renders() == 1);
    // While it is stuck, others are served.
    let begin = Instant::now();
    assert_eq!(get(address, "/metrics").body.len(), LARGE);
    assert_eq!(get(address, "/health").status, 200);
    assert!(begin.elapsed() < PATIENCE, "{:?}", begin.elapsed());
    thread::sleep(SHORT * 4);
    let mut received = Vec::new();
    let result = (&slow).read_to_end(&mut received);
    assert!(received.len() < LARGE, "it was cut");
    assert!(result.is_err(), "and told so by a reset");
}

#[test]
fn a_reader_that_makes_progress_is_not_cut() {
    let (_, sources) = Synthetic::sources(LARGE, Duration::ZERO);
    let each = SHORT * 5;
    let config = ServerConfig { write_timeout: each, idle_timeout: each, ..config() };
    let (_server, address) = start(config, sources);
    let stream = connect(address);
    send(&stream, "GET /metrics HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
    // For longer than the deadlines, but never pausing for as long as one.
    let begin = Instant::now();
    let (mut received, mut buffer) = (0, vec![0; 64 * 1024]);
    while begin.elapsed() < each * 2 {
        thread::sleep(Duration::from_millis(10));
        received += (&stream).read(&mut buffer).unwrap();
    }
    assert!(received < LARGE, "slow enough");
    received +=
        usize::try_from(std::io::copy(&mut &stream, &mut std::io::sink()).unwrap()).unwrap();
    assert!(received > LARGE, "{received}");
}

#[test]
fn a_write_time_out_is_counted() {
    let metrics = std::sync::Arc::new(
        erlmcp_export::RegistrySource::new({
            let registry = crate::common::registry();
            let name = erlmcp_metrics::MetricName::new("wide").unwrap();
            for n in 0..2_000 {
                let value = format!("{n:01000}");
                let labels = erlmcp_metrics::LabelSet::from_pairs([("l", value.as_str())]).unwrap();
                registry.series(erlmcp_metrics::Kind::Counter, &name, &labels).unwrap();
            }
            registry
        })
        .unwrap(),
    );
    let sources = erlmcp_export::Sources { metrics, ..sources() };
    let quick = ServerConfig { write_timeout: SHORT, ..config() };
    let (_server, address) = start(quick, sources.clone());
    let slow = narrow(address);
    let many = "GET /metrics HTTP/1.1\r\nHost: t\r\n\r\n".repeat(20);
    send(&slow, &many);
    eventually("the cut", || cut(address, "write_timeout") == 1.0);
    let patient = ServerConfig { write_timeout: PATIENCE, ..config() };
    let (_server, address) = start(patient, sources);
    let gone = narrow(address);
    send(&gone, &many);
    thread::sleep(SHORT);
    drop(gone);
    eventually("the other's leave", || cut(address, "client_gone") == 1.0);
}

#[test]
fn only_those_who_leave_in_the_middle_are_counted() {
    let (_server, address) = start(config(), sources());
    let reset = |stream: TcpStream| {
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    };
    let idle = connect(address);
    send(&idle, "GET /live HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_eq!(read_one(&idle).status, 200);
    reset(idle);
    // As load balancers probe a port.
    reset(connect(address));
    let connections = || get(address, "/metrics").sample("erlmcp_http_connections");
    eventually("both have left", || connections() == Some(1.0));
    assert_eq!(cut(address, "client_gone"), 0.0);
    let asking = connect(address);
    send(&asking, "GET /li");
    eventually("it has come", || connections() == Some(2.0));
    reset(asking);
    eventually("it has left", || cut(address, "client_gone") == 1.0);
}

#[test]
fn one_connection_too_many_is_told_so() {
    let config = ServerConfig { max_connections: 2, ..config() };
    let (_server, address) = start(config, sources());
    let held = [connect(address), connect(address)];
    for stream in &held {
        send(stream, "GET /live HTTP/1.1\r\nHost: t\r\n\r\n");
        assert_eq!(read_one(stream).status, 200);
    }
    let begin = Instant::now();
    for _ in 0..3 {
        let refused = get(address, "/metrics");
        assert_eq!(refused.status, 503);
        assert_eq!(refused.header("connection"), Some("close"));
        assert!(refused.text().starts_with("too many connections"));
    }
    // They are told at once, not when their time for a head is over.
    assert!(begin.elapsed() < ServerConfig::default().header_timeout);
    let [first, second] = held;
    drop(first);
    eventually("room", || get(address, "/live").status == 200);
    send(&second, "GET /metrics HTTP/1.1\r\nHost: t\r\n\r\n");
    let metrics = read_one(&second);
    assert!(metrics.sample("erlmcp_http_connections_rejected_total").unwrap() >= 3.0);
}

#[test]
fn a_crowd_of_refused_connections_does_not_stop_the_accepted_ones() {
    let config = ServerConfig { max_connections: 1, ..config() };
    let (_server, address) = start(config, sources());
    let held = connect(address);
    send(&held, "GET /live HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_eq!(read_one(&held).status, 200);
    let crowd: Vec<TcpStream> = (0..100).map(|_| connect(address)).collect();
    send(&held, "GET /metrics HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_eq!(read_one(&held).status, 200);
    eventually("all are refused", || crowd.iter().all(is_closed));
    drop(held);
    // Some of the first are still refused, and that without a word.
    eventually("room", || {
        let stream = connect(address);
        send(&stream, "GET /live HTTP/1.0\r\n\r\n");
        let mut response = Vec::new();
        (&stream).read_to_end(&mut response).is_ok() && response.starts_with(b"HTTP/1.0 200")
    });
}
