//! A process that has run out of file descriptors: a test binary of its own,
//! for it takes them all.
#![cfg(target_os = "linux")]

#[allow(dead_code, reason = "shared with the other tests")]
#[path = "server/common.rs"]
mod common;

use std::fs::File;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use common::{PATIENCE, config, connect, get, read_one, send, sources, start};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};

#[test]
fn accepting_pauses_and_goes_on() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(256), ..limit }).unwrap();
    let (_server, address) = start(config(), sources());
    let held = connect(address);
    send(&held, "GET /live HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_eq!(read_one(&held).status, 200);

    let client = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let mut hoard = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        hoard.push(file);
    }
    // The kernel completes it; nobody can accept it.
    client.connect(&address.into()).unwrap();
    let client = TcpStream::from(client);
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    send(&client, "GET /live HTTP/1.1\r\nHost: t\r\n\r\n");
    thread::sleep(Duration::from_millis(300));
    // Those who are in are served meanwhile: a probe needs no descriptor.
    send(&held, "GET /live HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_eq!(read_one(&held).status, 200);

    drop(hoard);
    assert_eq!(read_one(&client).status, 200);
    let errors = get(address, "/metrics").sample("erlmcp_http_accept_errors_total").unwrap();
    // 5, 10, 20, 40, 80, 160 ms: without the pauses there would be thousands.
    assert!((1.0..20.0).contains(&errors), "{errors}");
}
