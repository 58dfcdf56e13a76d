//! Serves `/debug/traces` with made-up traces, for a look at the page without an
//! Erlang node: `cargo run -p erlmcp-export --example trace_page`. With `empty`
//! as its argument there are none, with `none` there is no tracing.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use erlmcp_export::{
    HealthReply, HealthSource, Probe, RegistrySource, Server, ServerConfig, Sources, TraceRing,
    TraceRingLimits, TraceSource, Traces,
};
use erlmcp_metrics::{Options, Registry};
use erlmcp_trace::{RECORD_TAG, Records};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;

struct Nobody;

impl HealthSource for Nobody {
    fn request(&self, _: Probe, _: HealthReply) -> bool {
        false
    }
}

impl TraceSource for Nobody {
    fn refresh(&self, _: Duration) {}
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let what = std::env::args().nth(1).unwrap_or_default();
    let ring = Arc::new(TraceRing::new(TraceRingLimits::default()));
    if what.is_empty() {
        fill(&ring)?;
    }
    let traces = (what != "none").then(|| Traces { ring, source: Arc::new(Nobody) });
    let metrics = Arc::new(RegistrySource::new(Registry::new(Options::default()))?);
    let sources = Sources { metrics, vm: None, health: Arc::new(Nobody), traces };
    let config = ServerConfig { listen: vec!["127.0.0.1:0".parse()?], ..ServerConfig::default() };
    let server = Server::start(config, sources)?;
    for address in server.local_addrs() {
        println!("http://{address}/debug/traces");
    }
    loop {
        std::thread::park();
    }
}

fn fill(ring: &TraceRing) -> Result<(), Box<dyn std::error::Error>> {
    let resource = Resource {
        attributes: vec![
            text("service.name", "erlmcp-demo"),
            text("service.version", "0.1.0"),
            text("service.instance.id", "mcp@demo-1"),
            text("telemetry.sdk.language", "erlang"),
        ],
        ..Resource::default()
    };
    let scope = InstrumentationScope {
        name: "erlmcp_instrumentation".into(),
        version: "0.1.0".into(),
        ..InstrumentationScope::default()
    };
    let resource = ResourceSpans { resource: Some(resource), ..ResourceSpans::default() };
    let scope = ScopeSpans { scope: Some(scope), ..ScopeSpans::default() };
    let now = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros())?;
    let mut spans = failing_call(now - 2_000_000);
    for n in 0..40 {
        spans.extend(plain_call(n, now - 600_000_000 + n * 14_300_000));
    }
    spans.extend(oddities(now - 30_000_000));
    let mut records = Records::default();
    for span in spans {
        records.count += 1;
        records.bytes.push(RECORD_TAG);
        records.bytes.extend(span.encode_length_delimited_to_vec());
    }
    ring.add(&resource.encode_to_vec(), &scope.encode_to_vec(), &records);
    Ok(())
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.to_owned()))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    let value = Some(AnyValue { value: Some(value) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

/// A span of trace `trace`; `at` and `length` in microseconds.
fn span(trace: u64, id: u64, parent: u64, name: &str, at: u64, length: u64) -> Span {
    let mut trace_id = 0x4BF9_2F35_77B3_4DA6_u64.to_be_bytes().to_vec();
    trace_id.extend((trace.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1).to_be_bytes());
    let span_id = |id: u64| (trace << 16 | id).wrapping_mul(0xD6E8_FEB8_6659_FD93).to_be_bytes();
    let kind = match name.split_once(' ').map_or(name, |(first, _)| first) {
        "tools/call" | "resources/read" | "initialize" | "POST" | "prompts/get" => SpanKind::Server,
        "SELECT" | "GET" | "INSERT" => SpanKind::Client,
        "publish" => SpanKind::Producer,
        _ => SpanKind::Internal,
    };
    Span {
        trace_id,
        span_id: span_id(id).to_vec(),
        parent_span_id: if parent == 0 { Vec::new() } else { span_id(parent).to_vec() },
        name: name.to_owned(),
        kind: kind as i32,
        start_time_unix_nano: at * 1_000,
        end_time_unix_nano: (at + length) * 1_000,
        flags: 0x101,
        ..Span::default()
    }
}

fn fail(span: &mut Span, message: &str) {
    span.status = Some(Status { message: message.into(), code: StatusCode::Error as i32 });
}

/// Thirty spans, nested, one of which fails.
fn failing_call(at: u64) -> Vec<Span> {
    let mut root = span(1, 1, 0, "tools/call search_documents", at, 412_300);
    root.attributes = vec![
        text("mcp.method.name", "tools/call"),
        text("gen_ai.tool.name", "search_documents"),
        text("mcp.session.id", "6f1d2c9e-41aa-4a0e-9f0a-2d9a6f0f5b11"),
        text("jsonrpc.request.id", "17"),
        text("network.transport", "tcp"),
        attribute("mcp.request.size", Value::IntValue(1_842)),
        text("error.type", "timeout"),
    ];
    fail(&mut root, "tool failed: timeout");
    let mut spans = vec![
        root,
        span(1, 2, 1, "authorize", at + 800, 6_200),
        span(1, 3, 2, "GET /oauth/introspect", at + 1_400, 5_100),
        span(1, 4, 1, "validate arguments", at + 7_300, 900),
        span(1, 5, 1, "session lookup", at + 8_400, 2_600),
        span(1, 6, 1, "run tool", at + 11_400, 396_000),
        span(1, 7, 6, "plan query", at + 12_000, 31_000),
        span(1, 8, 7, "SELECT collections", at + 13_000, 12_400),
        span(1, 9, 7, "SELECT permissions", at + 26_100, 14_900),
        span(1, 10, 6, "embed", at + 44_000, 88_000),
        span(1, 11, 10, "GET /v1/embeddings", at + 45_200, 85_900),
        span(1, 12, 6, "search shards", at + 133_000, 268_000),
    ];
    for shard in 0..8 {
        let length = if shard == 5 { 250_000 } else { 41_000 + shard * 7_700 };
        let begin = at + 134_000 + shard * 900;
        let own = 13 + 2 * shard;
        spans.push(span(1, own, 12, &format!("shard {shard}"), begin, length));
        let name = "SELECT documents WHERE embedding <-> $1 < $2 ORDER BY distance LIMIT 50";
        let mut query = span(1, own + 1, own, name, begin + 700, length - 1_500);
        query.attributes = vec![
            text("db.system.name", "postgresql"),
            text(
                "db.query.text",
                "SELECT id, title\n  FROM documents\n WHERE embedding <-> $1 < $2",
            ),
            attribute("db.response.returned_rows", Value::IntValue(50)),
            attribute("db.cache_hit_ratio", Value::DoubleValue(0.973)),
            attribute("db.is_replica", Value::BoolValue(shard % 2 == 0)),
        ];
        if shard == 5 {
            query.attributes.push(text("error.type", "timeout"));
            fail(&mut query, "timeout after 250 ms");
            query.events = vec![
                Event {
                    time_unix_nano: (begin + 60_000) * 1_000,
                    name: "retry".into(),
                    attributes: vec![attribute("attempt", Value::IntValue(2))],
                    ..Event::default()
                },
                Event {
                    time_unix_nano: (begin + 247_000) * 1_000,
                    name: "exception".into(),
                    attributes: vec![
                        text("exception.type", "exit:timeout"),
                        text("exception.message", "gen_server call to shard_5 timed out"),
                        text(
                            "exception.stacktrace",
                            "gen_server:call/3 (gen_server.erl, line 419)\n\
                             search_shard:query/2 (search_shard.erl, line 88)\n\
                             search:'-shards/2-fun-0-'/3 (search.erl, line 41)\n\
                             proc_lib:init_p/3 (proc_lib.erl, line 225)",
                        ),
                    ],
                    ..Event::default()
                },
            ];
        }
        spans.push(query);
    }
    spans.push(span(1, 40, 6, "rank", at + 402_000, 3_400));
    let mut publish = span(1, 41, 1, "publish audit", at + 408_500, 2_900);
    publish.links = vec![Link {
        trace_id: span(3, 1, 0, "", 0, 0).trace_id,
        span_id: vec![1; 8],
        ..Link::default()
    }];
    spans.push(publish);
    spans
}

fn plain_call(n: u64, at: u64) -> Vec<Span> {
    const NAMES: [&str; 6] = [
        "tools/call add",
        "resources/read",
        "tools/call fetch_weather",
        "prompts/get summarize",
        "initialize",
        "tools/call search_documents",
    ];
    let length = 180 + n.pow(3) * 13 % 90_000;
    let name = NAMES.into_iter().cycle().nth(usize::try_from(n).unwrap_or(0)).unwrap_or_default();
    let trace = n + 2;
    let mut root = span(trace, 1, 0, name, at, length);
    if n % 13 == 5 {
        fail(&mut root, "invalid params");
    }
    let mut spans = vec![root];
    for child in 0..n % 5 {
        let begin = at + length / 6 * child;
        spans.push(span(trace, child + 2, 1, "authorize", begin, length / 7));
    }
    spans
}

/// What a page must bear: no root, names that attack, a name without end.
fn oddities(at: u64) -> Vec<Span> {
    let hostile = "<script>alert(1)</script><img src=x onerror=alert(2)> \u{202E}txet";
    let mut attack = span(90, 1, 0, hostile, at, 700);
    attack.attributes = vec![text("\"><svg onload=alert(3)>", hostile)];
    let mut remote = span(93, 2, 7, "tools/call echo", at - 400_000, 1_900);
    remote.flags = 0x301;
    vec![
        attack,
        span(91, 2, 9, "SELECT orphans", at + 9_000, 4_000),
        span(92, 1, 0, &"a name without end ".repeat(20), at - 90_000, 1_200_000),
        remote,
    ]
}
