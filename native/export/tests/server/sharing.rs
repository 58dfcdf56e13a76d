//! Scrapes that come together share one rendering.

use std::io::Read;
use std::thread;
use std::time::Duration;

use crate::common::{Synthetic, config, get, request, start};
use flate2::read::GzDecoder;

/// Enough for all of them to come.
const TIME: Duration = Duration::from_secs(2);

#[test]
fn scrapes_that_come_together_are_rendered_once() {
    let (source, sources) = Synthetic::sources(1_000_000, TIME);
    let (_server, address) = start(config(), sources);
    let clients: Vec<_> = (0..10)
        .map(|n| {
            thread::spawn(move || {
                let encoding = if n % 2 == 0 { "identity" } else { "gzip" };
                let accept = format!("Accept-Encoding: {encoding}");
                let response = request(address, "GET", "/metrics", &[&accept]);
                if encoding == "identity" {
                    return response.body;
                }
                let mut body = Vec::new();
                GzDecoder::new(response.body.as_slice()).read_to_end(&mut body).unwrap();
                body
            })
        })
        .collect();
    for client in clients {
        let body = client.join().unwrap();
        assert_eq!(body.len(), 1_000_000);
        assert!(body.starts_with(b"rendering 1\n"));
    }
    assert_eq!(source.renders(), 1);
    // Who comes later gets newer figures.
    assert!(get(address, "/metrics").text().starts_with("rendering 2\n"));
}

#[test]
fn formats_and_scopes_are_apart() {
    let (source, sources) = Synthetic::sources(100, TIME);
    let (_server, address) = start(config(), sources);
    let clients: Vec<_> = [
        ("/metrics", "text/plain"),
        ("/metrics", "application/openmetrics-text"),
        ("/metrics/custom", "text/plain"),
    ]
    .map(|(path, accept)| {
        let accept = format!("Accept: {accept}");
        thread::spawn(move || request(address, "GET", path, &[&accept]).status)
    })
    .into_iter()
    .collect();
    for client in clients {
        assert_eq!(client.join().unwrap(), 200);
    }
    assert_eq!(source.renders(), 3);
}

struct Faulty;

impl erlmcp_export::MetricSource for Faulty {
    fn render(
        &self,
        _: &[erlmcp_metrics::Family],
        _: erlmcp_metrics::exposition::Format,
        _: erlmcp_metrics::exposition::Scope,
    ) -> erlmcp_metrics::exposition::Exposition {
        panic!("as the test wants it")
    }

    fn observe_scrape(&self, _: f64) {}
}

#[test]
fn a_rendering_that_panics_is_a_500_and_the_server_goes_on() {
    let sources =
        erlmcp_export::Sources { metrics: std::sync::Arc::new(Faulty), ..crate::common::sources() };
    let (_server, address) = start(config(), sources);
    for encoding in ["identity", "gzip"] {
        let accept = format!("Accept-Encoding: {encoding}");
        let response = request(address, "GET", "/metrics", &[&accept]);
        assert_eq!(response.status, 500);
        assert_eq!(response.text(), "the metrics could not be rendered\n");
        assert_eq!(response.header("content-encoding"), None);
    }
    assert_eq!(get(address, "/health").status, 200);
}
