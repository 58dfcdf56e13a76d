//! Health probes: what is told of checks, and how the VM's answer is waited for.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{PATIENCE, config, connect, eventually, get, read_all, send, sources, start};
use erlmcp_export::{
    Audience, Check, HealthReply, HealthReport, HealthSource, Probe, Server, ServerConfig, Sources,
};

fn report(checks: Vec<Check>) -> HealthReport {
    HealthReport { node: "a@test".to_owned(), uptime: Duration::from_secs(1), checks }
}

fn check(name: &str, healthy: bool, critical: bool) -> Check {
    let detail = "db.internal:5432".to_owned();
    Check { name: name.to_owned(), healthy, critical, detail, duration: None, age: None }
}

/// What a question meets.
enum Way {
    /// Nobody is there.
    Gone,
    /// The question is taken and its way back dropped.
    Lost,
    /// The question is kept for the test to answer.
    Kept,
    /// The answer comes at once.
    Answered(Vec<Check>),
}

/// Meets one question after the other in one way after the other.
struct Script {
    ways: Mutex<Vec<Way>>,
    asked: AtomicUsize,
    kept: Mutex<Vec<HealthReply>>,
}

impl Script {
    fn new(ways: Vec<Way>) -> Arc<Self> {
        let ways = Mutex::new(ways.into_iter().rev().collect());
        Arc::new(Self { ways, asked: AtomicUsize::new(0), kept: Mutex::default() })
    }
}

impl HealthSource for Script {
    fn request(&self, _: Probe, reply: HealthReply) -> bool {
        self.asked.fetch_add(1, SeqCst);
        match self.ways.lock().unwrap().pop() {
            Some(Way::Answered(checks)) => reply.send(report(checks)),
            Some(Way::Lost) => drop(reply),
            Some(Way::Kept) => self.kept.lock().unwrap().push(reply),
            Some(Way::Gone) | None => return false,
        }
        true
    }
}

fn serve(script: &Arc<Script>, config: ServerConfig) -> (Server, std::net::SocketAddr) {
    let health: Arc<dyn HealthSource> = Arc::clone(script) as _;
    start(config, Sources { health, ..sources() })
}

fn patient() -> ServerConfig {
    ServerConfig { health_timeout: PATIENCE, ..config() }
}

#[test]
fn what_is_not_critical_degrades() {
    let worse = vec![check("cache", false, false), check("db", false, true)];
    let script = Script::new(vec![
        Way::Answered(vec![check("cache", false, false), check("db", true, true)]),
        Way::Answered(worse),
        Way::Answered(vec![check("cache", true, false), check("db", true, true)]),
    ]);
    let (_server, address) = serve(&script, patient());
    for (status, word) in [(200, "degraded"), (503, "unhealthy"), (200, "healthy")] {
        let response = get(address, "/ready");
        assert_eq!(response.status, status);
        let begin = format!("{{\"status\":\"{word}\",");
        assert!(response.text().starts_with(&begin), "{}", response.text());
        let cache = response.text().split_once("\"cache\":").unwrap().1;
        assert!(cache.starts_with("{\"status\":\""), "{cache}");
        assert!(cache.contains(",\"critical\":false},\"db\":{"), "{cache}");
    }
}

#[test]
fn times_are_told_in_seconds() {
    let timed = Check {
        duration: Some(Duration::from_micros(1_234)),
        age: Some(Duration::from_millis(2_500)),
        ..check("db", true, true)
    };
    let script = Script::new(vec![Way::Answered(vec![timed])]);
    let (_server, address) = serve(&script, patient());
    let response = get(address, "/health");
    let times = ",\"duration\":0.001234,\"age\":2.500000}}}\n";
    assert!(response.text().ends_with(times), "{}", response.text());
}

#[test]
fn whoever_is_being_restarted_is_asked_again() {
    let ways = vec![Way::Gone, Way::Lost, Way::Gone, Way::Answered(Vec::new())];
    let script = Script::new(ways);
    let (_server, address) = serve(&script, patient());
    assert_eq!(get(address, "/live").status, 200);
    assert_eq!(script.asked.load(SeqCst), 4);
}

#[test]
fn whoever_does_not_come_back_costs_the_whole_patience_and_no_more() {
    let script = Script::new(Vec::new());
    let patience = Duration::from_millis(150);
    let (_server, address) = serve(&script, ServerConfig { health_timeout: patience, ..config() });
    let begin = Instant::now();
    let response = get(address, "/live");
    assert_eq!(response.status, 503);
    let (_, waited) = response.text().split_once("\"detail\":\"no answer after ").unwrap();
    let (waited, _) = waited.split_once(" ms").unwrap();
    // Given up when there is no time for one more question.
    assert!(waited.parse::<u128>().unwrap() > patience.as_millis() / 2, "{}", response.text());
    assert!(begin.elapsed() < PATIENCE);
    assert!(script.asked.load(SeqCst) > 1);
}

#[test]
fn probes_that_come_together_ask_once_and_one_that_is_lost_is_put_again() {
    let script = Script::new(vec![Way::Kept, Way::Kept]);
    let (_server, address) = serve(&script, patient());
    let clients: Vec<_> =
        (0..20).map(|_| thread::spawn(move || get(address, "/ready").status)).collect();
    eventually("the question", || script.kept.lock().unwrap().len() == 1);
    // Until all of them wait.
    let all_wait = || thread::sleep(Duration::from_secs(2));
    all_wait();
    // The process dies with the question.
    script.kept.lock().unwrap().clear();
    eventually("the next question", || script.kept.lock().unwrap().len() == 1);
    all_wait();
    script.kept.lock().unwrap().pop().unwrap().send(report(Vec::new()));
    for client in clients {
        assert_eq!(client.join().unwrap(), 200);
    }
    assert_eq!(script.asked.load(SeqCst), 2);
}

#[test]
fn details_are_for_their_audience() {
    // A client on this host, one that asks by another name, one behind a proxy.
    let clients = [
        "Host: localhost\r\n",
        "Host: mcp.example\r\n",
        "Host: localhost\r\nX-Forwarded-For: 10.0.0.1\r\n",
    ];
    for (audience, shown) in [
        (Audience::Off, [false; 3]),
        (Audience::Loopback, [true, false, false]),
        (Audience::Open, [true; 3]),
    ] {
        let ways = clients.map(|_| Way::Answered(vec![check("db", false, true)]));
        let script = Script::new(ways.into());
        let config = ServerConfig { health_details: audience, ..patient() };
        let (_server, address) = serve(&script, config);
        for (headers, shown) in clients.iter().zip(shown) {
            let stream = connect(address);
            send(&stream, &format!("GET /health HTTP/1.1\r\nConnection: close\r\n{headers}\r\n"));
            let response = read_all(&stream);
            assert_eq!(response.status, 503);
            assert_eq!(response.text().contains("db.internal"), shown, "{audience:?} {headers}");
            assert!(response.text().contains("\"db\":{\"status\":\"unhealthy\""));
        }
    }
}
