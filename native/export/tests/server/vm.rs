//! Figures of the Erlang VM: fresh, late, or never.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{PATIENCE, config, eventually, get, request, sources, start};
use erlmcp_export::{ServerConfig, Sources, VmReply, VmSource};
use erlmcp_metrics::{Family, FamilyKind, LabelSet, Number, Sample};

fn processes(count: i64) -> Vec<Family> {
    vec![Family {
        name: "erlang_vm_processes".to_owned(),
        kind: FamilyKind::Gauge,
        help: "Processes.".to_owned(),
        samples: vec![Sample { labels: LabelSet::empty(), value: Number::Int(count) }],
    }]
}

/// Hands the questions to the test.
#[derive(Default)]
struct Script {
    asked: AtomicUsize,
    kept: Mutex<Vec<VmReply>>,
    at_once: Mutex<Option<i64>>,
    gone: bool,
}

impl VmSource for Script {
    fn request(&self, reply: VmReply) -> bool {
        self.asked.fetch_add(1, SeqCst);
        match *self.at_once.lock().unwrap() {
            Some(count) => reply.send(processes(count)),
            None => self.kept.lock().unwrap().push(reply),
        }
        !self.gone
    }
}

fn with(vm: &Arc<Script>, patience: Duration) -> (ServerConfig, Sources) {
    let vm: Arc<dyn VmSource> = Arc::clone(vm) as _;
    (ServerConfig { vm_timeout: patience, ..config() }, Sources { vm: Some(vm), ..sources() })
}

const SHORT: Duration = Duration::from_millis(100);

#[test]
fn an_answer_at_once_is_fresh() {
    let script = Arc::new(Script::default());
    *script.at_once.lock().unwrap() = Some(42);
    let (config, sources) = with(&script, PATIENCE);
    let (_server, address) = start(config, sources);
    let response = get(address, "/metrics");
    assert_eq!(response.sample("erlang_vm_processes"), Some(42.0));
    assert_eq!(response.sample("erlmcp_vm_metrics_stale"), Some(0.0));
    assert!(response.sample("erlmcp_vm_metrics_age_seconds").unwrap() < 5.0);
    // The application's own metrics need no VM.
    get(address, "/metrics/custom");
    assert_eq!(script.asked.load(SeqCst), 1);
}

#[test]
fn a_vm_that_never_answers_costs_its_figures_and_a_bounded_wait() {
    let script = Arc::new(Script::default());
    let (config, sources) = with(&script, SHORT);
    let (_server, address) = start(config, sources);
    let begin = Instant::now();
    for _ in 0..2 {
        let response = get(address, "/metrics");
        assert_eq!(response.status, 200);
        assert_eq!(response.sample("requests_total{method=\"ping\"}"), Some(3.0));
        assert_eq!(response.sample("erlang_vm_processes"), None);
        assert_eq!(response.sample("erlmcp_vm_metrics_stale"), Some(1.0));
        assert!(response.sample("erlmcp_vm_metrics_age_seconds").unwrap() > 0.09);
    }
    let took = begin.elapsed();
    assert!(took >= 2 * SHORT && took < PATIENCE, "{took:?}");
    assert_eq!(script.asked.load(SeqCst), 1, "one question at a time");
}

#[test]
fn a_late_answer_serves_the_next_scrape() {
    let script = Arc::new(Script::default());
    let (config, sources) = with(&script, SHORT);
    let (_server, address) = start(config, sources);
    assert_eq!(get(address, "/metrics").sample("erlang_vm_processes"), None);
    script.kept.lock().unwrap().pop().unwrap().send(processes(7));
    thread::sleep(SHORT);
    let stale = get(address, "/metrics");
    assert_eq!(stale.sample("erlang_vm_processes"), Some(7.0));
    assert_eq!(stale.sample("erlmcp_vm_metrics_stale"), Some(1.0));
    assert!(stale.sample("erlmcp_vm_metrics_age_seconds").unwrap() >= 0.1);
    *script.at_once.lock().unwrap() = Some(8);
    // The question of the scrape before is still open: its loss ends the wait.
    script.kept.lock().unwrap().clear();
    let fresh = get(address, "/metrics");
    assert_eq!(fresh.sample("erlang_vm_processes"), Some(8.0));
    assert_eq!(fresh.sample("erlmcp_vm_metrics_stale"), Some(0.0));
}

#[test]
fn a_vm_that_is_gone_is_not_waited_for() {
    let script = Arc::new(Script { gone: true, ..Script::default() });
    let (config, sources) = with(&script, Duration::from_secs(60));
    let (_server, address) = start(config, sources);
    assert_eq!(get(address, "/metrics").sample("erlmcp_vm_metrics_stale"), Some(1.0));
}

#[test]
fn an_owner_that_dies_while_asked_is_not_waited_for() {
    let script = Arc::new(Script::default());
    let (config, sources) = with(&script, Duration::from_secs(60));
    let (_server, address) = start(config, sources);
    let scrape = thread::spawn(move || get(address, "/metrics"));
    eventually("the question", || !script.kept.lock().unwrap().is_empty());
    script.kept.lock().unwrap().clear();
    assert_eq!(scrape.join().unwrap().sample("erlmcp_vm_metrics_stale"), Some(1.0));
}

#[test]
fn scrapes_that_come_together_ask_once() {
    let script = Arc::new(Script::default());
    let (config, sources) = with(&script, PATIENCE);
    let (_server, address) = start(config, sources);
    let clients: Vec<_> = ["text/plain", "application/openmetrics-text", "text/plain"]
        .map(|accept| format!("Accept: {accept}"))
        .map(|accept| thread::spawn(move || request(address, "GET", "/metrics", &[&accept])))
        .into_iter()
        .collect();
    eventually("the question", || !script.kept.lock().unwrap().is_empty());
    // The others come as well.
    thread::sleep(20 * SHORT);
    script.kept.lock().unwrap().pop().unwrap().send(processes(5));
    for client in clients {
        assert_eq!(client.join().unwrap().sample("erlang_vm_processes"), Some(5.0));
    }
    assert_eq!(script.asked.load(SeqCst), 1);
}
