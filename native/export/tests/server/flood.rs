//! Clients that want it all.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use erlmcp_export::{DoorConfig, ServerConfig};
use socket2::{Domain, Socket, Type};

use crate::common::{
    PATIENCE, Synthetic, config, connect, eventually, get, is_closed, narrow, read_all, read_one,
    send, sources, start,
};
use crate::door::{Authority, Folder, tls_over};

#[test]
fn probes_are_answered_while_a_crowd_has_every_place() {
    let config = ServerConfig { max_connections: 8, ..config() };
    let (_server, address) = start(config, sources());
    let mut crowd: Vec<TcpStream> = (0..200).map(|_| connect(address)).collect();
    for _ in 0..20 {
        for path in ["/health", "/live", "/ready"] {
            assert_eq!(get(address, path).status, 200, "{path}");
        }
        assert_eq!(get(address, "/metrics").status, 503);
        // It goes on coming.
        crowd.extend((0..20).map(|_| connect(address)));
    }
    drop(crowd);
    eventually("room", || get(address, "/metrics").status == 200);
}

#[test]
fn one_peer_leaves_room_for_others() {
    let config = ServerConfig { max_connections: 8, max_connections_per_peer: 4, ..config() };
    let (_server, address) = start(config, sources());
    let crowd: Vec<TcpStream> = (0..50).map(|_| connect(address)).collect();
    eventually("the others are closed", || {
        crowd.iter().filter(|stream| is_closed(stream)).count() == 46
    });
    assert_eq!(get(address, "/metrics").status, 503);
    // 127.0.0.2 is another one, where the system lets it be.
    let other = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    if other.bind(&std::net::SocketAddr::from(([127, 0, 0, 2], 0)).into()).is_err() {
        return;
    }
    other.connect(&address.into()).unwrap();
    let other = TcpStream::from(other);
    other.set_read_timeout(Some(PATIENCE)).unwrap();
    send(&other, "GET /metrics HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_eq!(read_one(&other).status, 200);
}

#[test]
fn handshakes_that_stand_still_keep_nobody_out() {
    let (folder, authority) = (Folder::new(), Authority::new());
    let door = DoorConfig {
        tls: Some(authority.serve(&folder)),
        max_handshakes: 4,
        ..DoorConfig::default()
    };
    let (_server, address) = start(ServerConfig { door, ..config() }, sources());
    let crowd: Vec<TcpStream> = (0..20)
        .map(|_| {
            let stream = connect(address);
            (&stream).write_all(&[22, 3, 1]).unwrap();
            stream
        })
        .collect();
    // The last ones have displaced the first ones, and are displaced in turn.
    eventually("the oldest go", || crowd.iter().filter(|stream| is_closed(stream)).count() >= 16);
    assert_eq!(get(address, "/metrics").status, 400, "it is answered, in the clear");
}

#[test]
fn handshakes_in_the_reserve_displace_nobody() {
    let (folder, authority) = (Folder::new(), Authority::new());
    let door = DoorConfig {
        tls: Some(authority.serve(&folder)),
        max_handshakes: 2,
        handshake_timeout: PATIENCE,
        ..DoorConfig::default()
    };
    let config = ServerConfig { door, max_connections: 2, ..config() };
    let (_server, address) = start(config, sources());
    let half = |_| {
        let stream = connect(address);
        (&stream).write_all(&[22, 3, 1]).unwrap();
        stream
    };
    let regular: Vec<TcpStream> = (0..2).map(half).collect();
    let crowd: Vec<TcpStream> = (0..100).map(half).collect();
    eventually("the reserve turns over", || {
        crowd.iter().filter(|stream| is_closed(stream)).count() >= 30
    });
    assert!(!regular.iter().any(is_closed));
}

/// TLS has a buffer of its own: what it takes is not what the client takes.
#[test]
fn over_tls_a_reader_that_makes_progress_is_not_cut() {
    let (folder, authority) = (Folder::new(), Authority::new());
    let door = DoorConfig { tls: Some(authority.serve(&folder)), ..DoorConfig::default() };
    let bytes = 2 << 20;
    let (_, sources) = Synthetic::sources(bytes, Duration::ZERO);
    // 1.5 s without progress, and 256 KiB a second; it reads twice as fast.
    let write_timeout = Duration::from_millis(1_500);
    let config = ServerConfig { door, write_timeout, min_send_rate: 256 << 10, ..config() };
    let (_server, address) = start(config, sources);
    let mut slow = tls_over(narrow(address), &authority.client(None));
    slow.write_all(b"GET /metrics HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n").unwrap();
    let begin = Instant::now();
    let (mut buffer, mut read) = (vec![0; 16 * 1024], 0);
    loop {
        match slow.read(&mut buffer) {
            Ok(0) => break,
            Ok(bytes) => read += bytes,
            Err(error) => panic!("{error} after {read} bytes, {:?}", begin.elapsed()),
        }
        let due = Duration::from_secs_f64(read as f64 / f64::from(512 << 10));
        thread::sleep(due.saturating_sub(begin.elapsed()));
    }
    assert!(read > bytes, "{read}");
    assert!(begin.elapsed() > write_timeout * 2, "slow enough: {:?}", begin.elapsed());
}

#[test]
fn who_takes_a_little_now_and_then_is_cut() {
    let (_, sources) = Synthetic::sources(8 << 20, Duration::ZERO);
    // 700 ms, and a second for each 10 MB.
    let write_timeout = Duration::from_millis(700);
    let config = ServerConfig { write_timeout, min_send_rate: 10 << 20, ..config() };
    let (_server, address) = start(config, sources);
    let slow = narrow(address);
    send(&slow, "GET /metrics HTTP/1.1\r\nHost: t\r\n\r\n");
    let begin = Instant::now();
    // A quarter of a megabyte each 100 ms: progress, but four times too slow.
    let mut buffer = vec![0; 256 * 1024];
    let mut read = 0;
    let cut = loop {
        match (&slow).read(&mut buffer) {
            Ok(0) | Err(_) => break begin.elapsed(),
            Ok(bytes) => read += bytes,
        }
        thread::sleep(
            Duration::from_millis(read as u64 * 100 / buffer.len() as u64)
                .saturating_sub(begin.elapsed()),
        );
        assert!(begin.elapsed() < PATIENCE * 4, "{read}");
    };
    assert!(read < 8 << 20, "{read} bytes in {cut:?}");
    // Others are served.
    assert_eq!(get(address, "/health").status, 200);
}

#[test]
fn the_refused_are_told_also_if_they_say_nothing_for_a_while() {
    let config = ServerConfig { max_connections: 1, ..config() };
    let (_server, address) = start(config, sources());
    let held = connect(address);
    send(&held, "GET /live HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_eq!(read_one(&held).status, 200);
    let refused = connect(address);
    thread::sleep(Duration::from_millis(200));
    send(&refused, "GET /metrics HTTP/1.1\r\nHost: t\r\n\r\n");
    let response = read_all(&refused);
    assert_eq!((response.status, response.header("retry-after")), (503, Some("1")));
    // One probe a connection there.
    let probe = connect(address);
    send(&probe, "GET /live HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_eq!(read_all(&probe).status, 200);
}
