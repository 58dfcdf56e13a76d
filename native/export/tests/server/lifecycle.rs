//! Start, stop, start again.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{
    Synthetic, config, connect, eventually, get, is_closed, read_all, read_one, send, sources,
    start,
};
use crate::ports::nowhere;
use erlmcp_export::{Server, ServerConfig, StartError};

const SHORT: Duration = Duration::from_millis(200);
/// What must not be waited for.
const LONG: Duration = Duration::from_secs(30);
/// No machine needs so long if it does not wait.
const SOON: Duration = Duration::from_secs(15);

fn at(address: SocketAddr) -> ServerConfig {
    ServerConfig { listen: vec![address], ..config() }
}

#[test]
fn a_port_in_use_is_a_clear_error_and_leaves_nothing_open() {
    let free = nowhere();
    let other = TcpListener::bind(nowhere()).unwrap();
    let busy = other.local_addr().unwrap();
    let config = ServerConfig { listen: vec![free, busy], ..config() };
    let error = Server::start(config, sources()).unwrap_err();
    assert!(matches!(error, StartError::PortInUse { address } if address == busy));
    let message = error.to_string();
    assert!(message.contains(&busy.to_string()), "{message}");
    assert!(message.contains(&format!("port {} is in use", busy.port())), "{message}");
    assert!(message.contains("another port"), "{message}");
    TcpListener::bind(free).unwrap();
    drop(other);
    start(at(busy), sources());
}

#[test]
fn an_address_of_another_host_is_a_clear_error() {
    let error = Server::start(at("192.0.2.1:0".parse().unwrap()), sources()).unwrap_err();
    assert!(matches!(error, StartError::NoSuchAddress { .. }), "{error}");
}

#[test]
fn a_restart_takes_the_same_port_at_once() {
    let (server, address) = start(at(nowhere()), sources());
    let mut server = server;
    for _ in 0..5 {
        // Left in TIME_WAIT on the server's side, as the server closes first.
        let stream = connect(address);
        send(&stream, "GET /live HTTP/1.1\r\nHost: t\r\n\r\n");
        assert_eq!(read_one(&stream).status, 200);
        let begin = Instant::now();
        assert_eq!(server.stop(LONG).cut, 0);
        assert!(begin.elapsed() < SOON, "{:?}", begin.elapsed());
        (server, _) = start(at(address), sources());
        assert_eq!(get(address, "/live").status, 200);
    }
}

#[test]
fn a_response_under_way_may_finish() {
    let (source, sources) = Synthetic::sources(8 * 1024 * 1024, SHORT);
    let (server, address) = start(ServerConfig { header_timeout: LONG, ..at(nowhere()) }, sources);
    let idle = connect(address);
    send(&idle, "GET /live HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_eq!(read_one(&idle).status, 200);
    let silent = connect(address);
    let asking = connect(address);
    send(&asking, "GET /metr");
    let scrape = thread::spawn(move || get(address, "/metrics"));
    eventually("the rendering", || source.renders() == 1);
    let begin = Instant::now();
    assert_eq!(server.stop(LONG).cut, 0);
    // The one that is still asking, and has time for that, is not waited for.
    assert!(begin.elapsed() < SOON, "{:?}", begin.elapsed());
    let response = scrape.join().unwrap();
    assert_eq!(response.body.len(), 8 * 1024 * 1024);
    for stream in [idle, silent, asking] {
        assert!(is_closed(&stream));
    }
    assert!(TcpStream::connect(address).is_err(), "no new connections");
}

#[test]
fn the_deadline_ends_what_does_not() {
    let (source, sources) = Synthetic::sources(32 * 1024 * 1024, Duration::ZERO);
    let (server, address) = start(ServerConfig { write_timeout: LONG, ..at(nowhere()) }, sources);
    let stuck = connect(address);
    send(&stuck, "GET /metrics HTTP/1.1\r\nHost: t\r\n\r\n");
    eventually("the rendering", || source.renders() == 1);
    let begin = Instant::now();
    assert_eq!(server.stop(SHORT).cut, 1);
    let took = begin.elapsed();
    assert!(took >= SHORT && took < SOON, "{took:?}");
    start(at(address), crate::common::sources());
}

#[test]
fn a_rendering_that_does_not_end_does_not_hold_up_the_end() {
    let (source, sources) = Synthetic::sources(10, LONG);
    let (server, address) = start(config(), sources);
    let stream = connect(address);
    send(&stream, "GET /metrics HTTP/1.1\r\nHost: t\r\n\r\n");
    eventually("the rendering", || source.renders() == 1);
    let begin = Instant::now();
    assert_eq!(server.stop(SHORT).cut, 1);
    assert!(begin.elapsed() < SOON, "{:?}", begin.elapsed());
    assert!(is_closed(&stream));
}

#[test]
fn a_dropped_server_closes_without_blocking() {
    let (source, sources) = Synthetic::sources(10, LONG);
    let (server, address) = start(at(nowhere()), sources);
    let stream = connect(address);
    send(&stream, "GET /metrics HTTP/1.1\r\nHost: t\r\n\r\n");
    eventually("the rendering", || source.renders() == 1);
    let begin = Instant::now();
    drop(server);
    assert!(begin.elapsed() < SOON, "{:?}", begin.elapsed());
    eventually("the connection is cut", || is_closed(&stream));
    eventually("the port is free", || TcpListener::bind(address).is_ok());
}

#[test]
fn a_server_may_be_dropped_inside_of_a_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let (server, _) = start(config(), sources());
        drop(server);
    });
}

#[test]
fn two_servers_of_one_registry_live_side_by_side() {
    let sources = sources();
    let (_one, first) = start(config(), sources.clone());
    let (_two, second) = start(config(), sources);
    for address in [first, second] {
        let stream = connect(address);
        send(&stream, "GET /metrics HTTP/1.0\r\n\r\n");
        assert_eq!(read_all(&stream).sample("requests_total{method=\"ping\"}"), Some(3.0));
    }
}
