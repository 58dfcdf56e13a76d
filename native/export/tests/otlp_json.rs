//! The file exporter's lines, read by programs that others wrote: protobuf's
//! JSON parser with the messages of opentelemetry-proto for Python, through
//! `test/oracle/otlp_json.py`. Without its Python (`scripts/setup.sh test`, or
//! `ERLMCP_TEST_PYTHON`) only this side is checked.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use erlmcp_export::{FileExporter, FileExporterConfig, Origin, RequestKind};
use erlmcp_trace::{RECORD_TAG, Records};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram,
    HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, exemplar,
    metric, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;

const FLOATS: [f64; 8] =
    [0.1, -0.0, 1e300, f64::MIN_POSITIVE, 5.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY];

fn python() -> Option<PathBuf> {
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.tools/venv/bin/python");
    let python = env::var_os("ERLMCP_TEST_PYTHON").map_or(installed, PathBuf::from);
    let has_messages = Command::new(&python).args(["-c", "import opentelemetry.proto"]).output();
    has_messages.is_ok_and(|output| output.status.success()).then_some(python)
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.into(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

fn attributes() -> Vec<KeyValue> {
    let any = |value| AnyValue { value: Some(value) };
    let mut attributes = vec![
        attribute("text", Value::StringValue("é \"\\\u{1}\u{2028}\n𝄞</script>".into())),
        attribute("", Value::StringValue(String::new())),
        attribute("yes", Value::BoolValue(true)),
        attribute("no", Value::BoolValue(false)),
        attribute("zero", Value::IntValue(0)),
        attribute("min", Value::IntValue(i64::MIN)),
        attribute("max", Value::IntValue(i64::MAX)),
        attribute("bytes", Value::BytesValue(vec![0, 255, 62, 63])),
        attribute("no bytes", Value::BytesValue(Vec::new())),
        attribute("no array", Value::ArrayValue(ArrayValue::default())),
    ];
    let floats: Vec<_> = FLOATS.into_iter().map(|n| any(Value::DoubleValue(n))).collect();
    let nested = KeyValueList {
        values: vec![
            attribute("floats", Value::ArrayValue(ArrayValue { values: floats })),
            attribute("int", Value::IntValue(-1)),
        ],
    };
    attributes.push(attribute("map", Value::KvlistValue(nested)));
    attributes
}

fn resource() -> Option<Resource> {
    let attributes = vec![attribute("service.name", Value::StringValue("test".into()))];
    Some(Resource { attributes, ..Resource::default() })
}

fn scope() -> Option<InstrumentationScope> {
    let name = "erlmcp_instrumentation".into();
    Some(InstrumentationScope { name, version: "1".into(), ..InstrumentationScope::default() })
}

fn origin() -> Origin {
    let resource = ResourceSpans { resource: resource(), ..ResourceSpans::default() };
    let scope = ScopeSpans { scope: scope(), ..ScopeSpans::default() };
    Origin::new(&resource.encode_to_vec(), &scope.encode_to_vec())
}

fn records<M: Message>(messages: &[M]) -> Records {
    let mut records = Records::default();
    for message in messages {
        records.count += 1;
        records.bytes.push(RECORD_TAG);
        records.bytes.extend(message.encode_length_delimited_to_vec());
    }
    records
}

/// Writes the records and has the oracle compare them with the request.
fn agree<M: Message>(name: &str, kind: RequestKind, records: &Records, request: &M) {
    let lines = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.jsonl"));
    let encoded = lines.with_extension("pb");
    let _ = fs::remove_file(&lines);
    let config = FileExporterConfig::new(&lines);
    let exporter = FileExporter::open(config, Box::new(|error, _| panic!("{error}"))).unwrap();
    exporter.write(kind, &origin(), records);
    assert_eq!((exporter.stats().lines, exporter.stats().written), (1, records.count.into()));
    fs::write(&encoded, request.encode_length_delimited_to_vec()).unwrap();
    let Some(python) = python() else {
        eprintln!("no Python with opentelemetry-proto: {name} was not compared");
        return;
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../test/oracle/otlp_json.py");
    let output = Command::new(python)
        .arg("-B")
        .arg(script)
        .arg(name)
        .arg(&lines)
        .arg(&encoded)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.stdout, b"1\n");
}

#[test]
fn traces() {
    let full = Span {
        trace_id: (0xF0..=0xFF).collect(),
        span_id: (1..=8).collect(),
        parent_span_id: vec![0xAB; 8],
        trace_state: "a=1,b=2".into(),
        flags: 0x301,
        name: "tools/call".into(),
        kind: 2,
        start_time_unix_nano: u64::MAX - 1,
        end_time_unix_nano: u64::MAX,
        attributes: attributes(),
        dropped_attributes_count: 1,
        events: vec![Event {
            time_unix_nano: 1 << 53 | 1,
            name: "exception".into(),
            attributes: attributes(),
            dropped_attributes_count: 2,
        }],
        dropped_events_count: 3,
        links: vec![Link {
            trace_id: vec![1; 16],
            span_id: vec![2; 8],
            trace_state: "c=3".into(),
            attributes: attributes(),
            dropped_attributes_count: 4,
            flags: 1,
        }],
        dropped_links_count: 5,
        status: Some(Status { message: "gone".into(), code: 2 }),
    };
    let bare = Span { trace_id: vec![1; 16], span_id: vec![2; 8], ..Span::default() };
    let spans = vec![full, bare];
    let records = records(&spans);
    let scope_spans = vec![ScopeSpans { scope: scope(), spans, ..ScopeSpans::default() }];
    let resource = ResourceSpans { resource: resource(), scope_spans, ..ResourceSpans::default() };
    let request = ExportTraceServiceRequest { resource_spans: vec![resource] };
    agree("traces", RequestKind::Traces, &records, &request);
}

#[test]
fn logs() {
    let body = attributes().pop().and_then(|attribute| attribute.value);
    let full = LogRecord {
        time_unix_nano: u64::MAX,
        observed_time_unix_nano: 1,
        severity_number: 17,
        severity_text: "error".into(),
        body,
        attributes: attributes(),
        dropped_attributes_count: 1,
        flags: 1,
        trace_id: vec![0xAB; 16],
        span_id: vec![0xCD; 8],
        event_name: "crash".into(),
    };
    let log_records = vec![full, LogRecord::default()];
    let records = records(&log_records);
    let scope_logs = vec![ScopeLogs { scope: scope(), log_records, ..ScopeLogs::default() }];
    let resource = ResourceLogs { resource: resource(), scope_logs, ..ResourceLogs::default() };
    let request = ExportLogsServiceRequest { resource_logs: vec![resource] };
    agree("logs", RequestKind::Logs, &records, &request);
}

#[test]
fn metrics() {
    let exemplars = |value| {
        vec![Exemplar {
            filtered_attributes: attributes(),
            time_unix_nano: 9,
            span_id: vec![1; 8],
            trace_id: vec![2; 16],
            value: Some(value),
        }]
    };
    let mut numbers: Vec<_> = FLOATS.map(number_data_point::Value::AsDouble).to_vec();
    numbers.extend([0, i64::MIN, i64::MAX].map(number_data_point::Value::AsInt));
    let points: Vec<_> = numbers
        .into_iter()
        .map(|value| NumberDataPoint {
            attributes: attributes(),
            start_time_unix_nano: 1,
            time_unix_nano: u64::MAX,
            exemplars: exemplars(exemplar::Value::AsDouble(f64::NAN)),
            flags: 0,
            value: Some(value),
        })
        .collect();
    let histogram = HistogramDataPoint {
        attributes: attributes(),
        start_time_unix_nano: 1,
        time_unix_nano: 2,
        count: u64::MAX,
        sum: Some(f64::INFINITY),
        bucket_counts: vec![0, 1, u64::MAX],
        explicit_bounds: vec![0.5, 1e300],
        exemplars: exemplars(exemplar::Value::AsInt(i64::MAX)),
        flags: 1,
        min: Some(f64::NEG_INFINITY),
        max: Some(f64::NAN),
    };
    let bare = HistogramDataPoint { count: 1, ..HistogramDataPoint::default() };
    let exponential = ExponentialHistogramDataPoint {
        count: 7,
        sum: Some(0.25),
        scale: -3,
        zero_count: 2,
        positive: Some(Buckets { offset: -4, bucket_counts: vec![1, 0, 4] }),
        zero_threshold: 1e-9,
        ..ExponentialHistogramDataPoint::default()
    };
    let data = [
        metric::Data::Gauge(Gauge { data_points: points.clone() }),
        metric::Data::Sum(Sum {
            data_points: points,
            aggregation_temporality: 2,
            is_monotonic: true,
        }),
        metric::Data::Histogram(Histogram {
            data_points: vec![histogram, bare],
            aggregation_temporality: 1,
        }),
        metric::Data::ExponentialHistogram(ExponentialHistogram {
            data_points: vec![exponential],
            aggregation_temporality: 2,
        }),
    ];
    let metrics: Vec<_> = data
        .into_iter()
        .map(|data| Metric {
            name: "requests".into(),
            description: "Requests.".into(),
            unit: "1".into(),
            metadata: attributes(),
            data: Some(data),
        })
        .collect();
    let records = records(&metrics);
    let scope_metrics = vec![ScopeMetrics { scope: scope(), metrics, ..ScopeMetrics::default() }];
    let resource =
        ResourceMetrics { resource: resource(), scope_metrics, ..ResourceMetrics::default() };
    let request = ExportMetricsServiceRequest { resource_metrics: vec![resource] };
    agree("metrics", RequestKind::Metrics, &records, &request);
}
