//! Paths, methods, formats, encodings.

use std::io::Read;
use std::net::SocketAddr;
use std::time::Duration;

use crate::common::{config, connect, get, read_all, read_one, request, send, sources, start};
use erlmcp_export::{Check, HealthReply, HealthReport, HealthSource, Probe, Sources};
use flate2::read::GzDecoder;

const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PROTOBUF: &str = "application/vnd.google.protobuf; \
                        proto=io.prometheus.client.MetricFamily; encoding=delimited";

#[test]
fn every_format_has_its_exact_content_type() {
    let (_server, address) = start(config(), sources());
    let table = [
        (None, TEXT),
        (Some("*/*"), TEXT),
        (Some("text/plain;version=0.0.4;q=0.3,*/*;q=0.2"), TEXT),
        (Some("application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.3"), OPENMETRICS),
        (
            Some(
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;\
                 encoding=delimited;q=0.6,application/openmetrics-text;version=1.0.0;q=0.5",
            ),
            PROTOBUF,
        ),
        (Some("%%%"), TEXT),
    ];
    for (accept, content_type) in table {
        let headers: Vec<String> = accept.iter().map(|a| format!("Accept: {a}")).collect();
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        for path in ["/metrics", "/metrics/custom"] {
            let response = request(address, "GET", path, &headers);
            assert_eq!(response.status, 200);
            assert_eq!(response.header("content-type"), Some(content_type));
            assert_eq!(response.header("vary"), Some("Accept, Accept-Encoding"));
            assert_eq!(response.header("cache-control"), Some("no-store"));
            assert_eq!(response.header("content-encoding"), None);
            assert_eq!(response.header("transfer-encoding"), None);
            let length: usize = response.header("content-length").unwrap().parse().unwrap();
            assert_eq!(response.body.len(), length);
            match content_type {
                PROTOBUF => assert!(messages(&response.body).contains(&&b"requests_total"[..])),
                OPENMETRICS => assert!(response.text().ends_with("# EOF\n")),
                _ => assert_eq!(response.sample("requests_total{method=\"ping\"}"), Some(3.0)),
            }
        }
    }
}

/// The names in length-delimited MetricFamily messages.
fn messages(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut names = Vec::new();
    while !bytes.is_empty() {
        let length = varint(&mut bytes);
        let (message, rest) = bytes.split_at(length);
        bytes = rest;
        assert_eq!(message[0], 0x0a, "the first field is the name");
        names.push(&message[2..2 + usize::from(message[1])]);
    }
    names
}

fn varint(bytes: &mut &[u8]) -> usize {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let byte = bytes[0];
        *bytes = &bytes[1..];
        value |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    value
}

#[test]
fn custom_shows_only_what_the_application_registered() {
    let (_server, address) = start(config(), sources());
    let all = get(address, "/metrics");
    let custom = get(address, "/metrics/custom");
    for name in ["process_cpu_seconds_total", "erlmcp_http_connections", "erlmcp_scrapes_total"] {
        assert!(all.text().contains(&format!("\n# TYPE {name} ")), "{name}");
    }
    let families = custom.text().lines().filter(|line| line.starts_with("# TYPE"));
    assert_eq!(families.collect::<Vec<_>>(), ["# TYPE requests_total counter"]);
}

#[test]
fn process_metrics_can_be_left_out() {
    let config = erlmcp_export::ServerConfig { process_metrics: false, ..config() };
    let (_server, address) = start(config, sources());
    assert!(!get(address, "/metrics").text().contains("process_"));
}

#[test]
fn a_head_is_a_get_without_the_body() {
    let (_server, address) = start(config(), sources());
    for (path, headers) in [
        ("/metrics/custom", &["Accept: application/openmetrics-text"][..]),
        ("/metrics/custom", &["Accept-Encoding: gzip"][..]),
        ("/", &[][..]),
        ("/nowhere", &[][..]),
    ] {
        let get = request(address, "GET", path, headers);
        let head = request(address, "HEAD", path, headers);
        assert!(!get.body.is_empty());
        assert!(head.body.is_empty(), "{path}");
        assert_eq!(get.status, head.status);
        for name in ["content-type", "content-length", "content-encoding", "vary", "cache-control"]
        {
            assert_eq!(get.header(name), head.header(name), "{name} of {path}");
        }
    }
}

#[test]
fn gzip_unpacks_to_the_plain_body() {
    let (_server, address) = start(config(), sources());
    let plain = request(address, "GET", "/metrics/custom", &["Accept-Encoding: gzip;q=0"]);
    assert_eq!(plain.header("content-encoding"), None);
    let packed = request(address, "GET", "/metrics/custom", &["Accept-Encoding: gzip"]);
    assert_eq!(packed.header("content-encoding"), Some("gzip"));
    assert_eq!(packed.header("content-type"), Some(TEXT));
    let mut unpacked = Vec::new();
    GzDecoder::new(packed.body.as_slice()).read_to_end(&mut unpacked).unwrap();
    assert_eq!(unpacked, plain.body);
}

#[test]
fn a_wrong_path_or_method_is_told_what_there_is() {
    let (_server, address) = start(config(), sources());
    let nowhere = get(address, "/metric");
    assert_eq!(nowhere.status, 404);
    for path in ["/metrics", "/metrics/custom", "/health", "/ready"] {
        assert!(nowhere.text().contains(path), "{}", nowhere.text());
    }
    let index = get(address, "/?x=1");
    assert_eq!(index.status, 200);
    assert!(index.text().contains("/metrics/custom"));
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"] {
        let refused = request(address, method, "/metrics", &["Content-Length: 0"]);
        assert_eq!(refused.status, 405, "{method}");
        assert_eq!(refused.header("allow"), Some("GET, HEAD"));
        assert!(refused.text().contains("GET, HEAD"));
    }
    let metrics = get(address, "/metrics");
    let requests =
        |labels: &str| metrics.sample(&format!("erlmcp_http_requests_total{{{labels}}}"));
    assert_eq!(requests("code=\"404\",path=\"other\""), Some(1.0));
    assert_eq!(requests("code=\"405\",path=\"/metrics\""), Some(7.0));
    assert_eq!(requests("code=\"200\",path=\"/\""), Some(1.0));
}

#[test]
fn a_requests_body_is_not_waited_for() {
    let (_server, address) = start(config(), sources());
    for (method, status) in [("POST", 405), ("GET", 200)] {
        let stream = connect(address);
        send(&stream, &format!("{method} / HTTP/1.1\r\nHost: t\r\nContent-Length: 200000\r\n\r\n"));
        send(&stream, "only the beginning");
        assert_eq!(read_one(&stream).status, status, "{method}");
    }
    for method in ["POST", "GET"] {
        let stream = connect(address);
        send(
            &stream,
            &format!("{method} / HTTP/1.1\r\nHost: t\r\nContent-Length: 1000000\r\n\r\n"),
        );
        send(&stream, "only the beginning");
        let response = read_all(&stream);
        assert_eq!(response.status, 413, "{method}");
        assert_eq!(response.header("connection"), Some("close"));
        // One who looks only when all is sent can send it, and gets the answer.
        let stream = connect(address);
        let body = "x".repeat(6_000_000);
        let head = format!("{method} / HTTP/1.1\r\nHost: t\r\nContent-Length: {}", body.len());
        send(&stream, &format!("{head}\r\n\r\n{body}"));
        assert_eq!(read_one(&stream).status, 413, "{method}");
    }
    let stream = connect(address);
    send(
        &stream,
        "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n",
    );
    assert_eq!(read_one(&stream).status, 405, "not 100");
}

#[test]
fn a_connection_serves_many_requests() {
    let (_server, address) = start(config(), sources());
    let stream = connect(address);
    for _ in 0..3 {
        send(&stream, "GET /metrics HTTP/1.1\r\nHost: t\r\n\r\n");
        assert_eq!(read_one(&stream).status, 200);
    }
    // Two at once.
    let one = "GET /live HTTP/1.1\r\nHost: t\r\n\r\n";
    send(&stream, &format!("{one}{one}"));
    assert_eq!(read_one(&stream).status, 200);
    assert_eq!(read_one(&stream).status, 200);
}

#[test]
fn old_and_terse_clients_are_served() {
    let (_server, address) = start(config(), sources());
    let stream = connect(address);
    send(&stream, "GET /metrics HTTP/1.0\r\n\r\n");
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(read_all(&stream).status, 200);
    let stream = connect(address);
    send(
        &stream,
        "GET http://elsewhere:9/metrics HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n",
    );
    assert_eq!(read_all(&stream).status, 200);
    let stream = connect(address);
    send(&stream, "\x16\x03\x01 that was TLS\r\n\r\n");
    assert_eq!(read_all(&stream).status, 400);
}

#[test]
fn all_addresses_serve_the_same() {
    let mut config = config();
    config.listen.push(SocketAddr::from(([127, 0, 0, 1], 0)));
    let has_ipv6 = std::net::TcpListener::bind("[::1]:0").is_ok();
    if has_ipv6 {
        config.listen.push("[::1]:0".parse().unwrap());
    }
    let count = config.listen.len();
    let (server, _) = start(config, sources());
    assert_eq!(server.local_addrs().len(), count);
    for address in server.local_addrs() {
        assert_eq!(get(*address, "/metrics").sample("requests_total{method=\"ping\"}"), Some(3.0));
    }
}

#[test]
fn scrapes_are_counted_and_timed() {
    let (_server, address) = start(config(), sources());
    let first = get(address, "/metrics");
    assert_eq!(first.sample("erlmcp_scrapes_total{format=\"text\"}"), Some(1.0));
    assert_eq!(first.sample("erlmcp_http_connections"), Some(1.0));
    assert_eq!(first.sample("erlmcp_scrape_duration_seconds_count"), Some(0.0));
    let second = get(address, "/metrics");
    assert_eq!(second.sample("erlmcp_scrapes_total{format=\"text\"}"), Some(2.0));
    assert_eq!(second.sample("erlmcp_scrape_duration_seconds_count"), Some(1.0));
    let size = second.sample("erlmcp_scrape_size_bytes{format=\"text\"}");
    assert_eq!(size, Some(first.body.len() as f64));
    assert_eq!(
        second.sample("erlmcp_http_requests_total{code=\"200\",path=\"/metrics\"}"),
        Some(1.0)
    );
}

#[test]
fn health_is_json_and_has_many_names() {
    let (_server, address) = start(config(), sources());
    for (path, probe) in [
        ("/health", "health"),
        ("/healthz", "health"),
        ("/live", "live"),
        ("/liveness", "live"),
        ("/health/live", "live"),
        ("/ready", "ready"),
        ("/readiness", "ready"),
        ("/health/ready", "ready"),
        ("/startup", "startup"),
        ("/health/startup", "startup"),
    ] {
        let response = get(address, path);
        assert_eq!(response.status, 200, "{path}");
        assert_eq!(response.header("content-type"), Some("application/json"));
        assert_eq!(response.header("cache-control"), Some("no-store"));
        let text = response.text();
        let begin = format!(
            "{{\"status\":\"healthy\",\"version\":\"{}\",\"uptime\":90.",
            env!("CARGO_PKG_VERSION")
        );
        assert!(text.starts_with(&begin), "{text}");
        assert!(text.contains(&format!("\"node\":\"{probe}@test\",\"timestamp\":\"20")), "{text}");
        assert!(
            text.contains("\"checks\":{\"beam\":{\"status\":\"healthy\",\"detail\":"),
            "{text}"
        );
    }
}

struct Ailing;

impl HealthSource for Ailing {
    fn request(&self, probe: Probe, reply: HealthReply) -> bool {
        match probe {
            Probe::Health => {
                let check = |name: &str, healthy| Check {
                    name: name.to_owned(),
                    healthy,
                    critical: true,
                    detail: String::new(),
                    duration: None,
                    age: None,
                };
                reply.send(HealthReport {
                    node: "a\"b@test".to_owned(),
                    uptime: Duration::ZERO,
                    checks: vec![check("disk", false), check("queue", true)],
                });
                true
            }
            // Takes the question and never answers.
            Probe::Live => {
                std::mem::forget(reply);
                true
            }
            Probe::Ready | Probe::Startup => false,
        }
    }
}

#[test]
fn what_is_not_well_gives_503_and_says_what() {
    let health = std::sync::Arc::new(Ailing);
    let config = erlmcp_export::ServerConfig {
        health_timeout: Duration::from_millis(50),
        node: "before@start".to_owned(),
        ..config()
    };
    let (_server, address) = start(config, Sources { health, ..sources() });
    let response = get(address, "/health");
    assert_eq!(response.status, 503);
    let text = response.text();
    assert!(text.starts_with("{\"status\":\"unhealthy\""), "{text}");
    assert!(text.contains("\"node\":\"a\\\"b@test\""), "{text}");
    assert!(text.contains("\"beam\":{\"status\":\"healthy\""), "{text}");
    let checks = "\"disk\":{\"status\":\"unhealthy\"},\"queue\":{\"status\":\"healthy\"}}}\n";
    assert!(text.ends_with(checks), "{text}");
    for path in ["/live", "/ready"] {
        let response = get(address, path);
        assert_eq!(response.status, 503, "{path}");
        assert!(response.text().contains("\"node\":\"before@start\""));
        assert!(
            response.text().contains("\"beam\":{\"status\":\"unhealthy\",\"detail\":\"no answer")
        );
    }
}
