//! What the encoder writes is what opentelemetry-proto reads.

use std::collections::BTreeMap;

use erlmcp_trace::{
    Link, OpenSpan, Parent, QueueLimits, SpanId, SpanKind, SpanLimits, Start, StatusCode, TraceId,
    Tracer, TracerConfig, ValueWriter,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::{ScopeSpans, Span, status};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use prost::Message;

/// A value as it is set.
#[derive(Debug, Clone)]
enum Given {
    String(String),
    Bool(bool),
    Int(i64),
    Double(f64),
    Bytes(Vec<u8>),
    Array(Vec<Given>),
    Map(BTreeMap<String, Given>),
}

impl Given {
    fn write(&self, to: ValueWriter<'_>) {
        match self {
            Self::String(text) => to.string(text),
            Self::Bool(value) => to.bool(*value),
            Self::Int(value) => to.int(*value),
            Self::Double(value) => to.double(*value),
            Self::Bytes(bytes) => to.bytes(bytes),
            Self::Array(elements) => to.array(|array| {
                for element in elements {
                    assert!(array.push(|to| element.write(to)));
                }
            }),
            Self::Map(pairs) => to.map(|map| {
                for (key, value) in pairs {
                    assert!(map.insert(key, |to| value.write(to)));
                }
            }),
        }
    }

    fn expected(&self) -> AnyValue {
        let value = match self {
            Self::String(text) => Value::StringValue(text.clone()),
            Self::Bool(value) => Value::BoolValue(*value),
            Self::Int(value) => Value::IntValue(*value),
            Self::Double(value) => Value::DoubleValue(*value),
            Self::Bytes(bytes) => Value::BytesValue(bytes.clone()),
            Self::Array(elements) => {
                Value::ArrayValue(opentelemetry_proto::tonic::common::v1::ArrayValue {
                    values: elements.iter().map(Self::expected).collect(),
                })
            }
            Self::Map(pairs) => {
                Value::KvlistValue(opentelemetry_proto::tonic::common::v1::KeyValueList {
                    values: pairs.iter().map(|(key, value)| pair(key, value.expected())).collect(),
                })
            }
        };
        AnyValue { value: Some(value) }
    }
}

fn pair(key: &str, value: AnyValue) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(value), ..KeyValue::default() }
}

fn given() -> impl Strategy<Value = Given> {
    let leaf = prop_oneof![
        ".{0,200}".prop_map(Given::String),
        any::<bool>().prop_map(Given::Bool),
        any::<i64>().prop_map(Given::Int),
        proptest::num::f64::NORMAL.prop_map(Given::Double),
        vec(any::<u8>(), 0..200).prop_map(Given::Bytes),
    ];
    leaf.prop_recursive(4, 24, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Given::Array),
            btree_map("[a-z]{0,40}", inner, 0..6).prop_map(Given::Map),
        ]
    })
}

#[derive(Debug, Clone)]
enum Step {
    Attribute(String, Given),
    Event(String, u64, Vec<(String, Given)>),
    Link([u8; 16], [u8; 8], bool, String, Vec<(String, Given)>),
    Status(StatusCode, String),
    Name(String),
}

fn step() -> impl Strategy<Value = Step> {
    let attributes = || vec(("[a-f]{1,2}", given()), 0..6);
    prop_oneof![
        6 => ("[a-f]{1,2}|.{1,300}", given()).prop_map(|(key, value)| Step::Attribute(key, value)),
        2 => (".{0,40}", any::<u64>(), attributes()).prop_map(|(n, t, a)| Step::Event(n, t, a)),
        1 => (any::<[u8; 16]>(), any::<[u8; 8]>(), any::<bool>(), "[a-z=,]{0,20}", attributes())
            .prop_map(|(t, s, sampled, state, a)| Step::Link(t, s, sampled, state, a)),
        1 => (prop_oneof![Just(StatusCode::Unset), Just(StatusCode::Error), Just(StatusCode::Ok)], ".{0,40}")
            .prop_map(|(code, message)| Step::Status(code, message)),
        1 => ".{0,40}".prop_map(Step::Name),
    ]
}

/// The last value of each key.
fn last_of(attributes: &[(String, Given)]) -> BTreeMap<String, AnyValue> {
    attributes.iter().map(|(key, value)| (key.clone(), value.expected())).collect()
}

fn as_map(attributes: &[KeyValue]) -> BTreeMap<String, AnyValue> {
    let map: BTreeMap<_, _> =
        attributes.iter().map(|pair| (pair.key.clone(), pair.value.clone().unwrap())).collect();
    assert_eq!(map.len(), attributes.len(), "no key twice");
    map
}

fn only_span(tracer: &Tracer) -> Span {
    let drained = tracer.queue().drain();
    assert_eq!(drained.len(), 1);
    let mut spans = ScopeSpans::decode(&*drained[0].bytes).unwrap().spans;
    assert_eq!(spans.len(), 1);
    spans.remove(0)
}

fn tracer(limits: SpanLimits) -> Tracer {
    let config = TracerConfig { limits, ..TracerConfig::default() };
    let queue = QueueLimits { bytes: 64 << 20, ..QueueLimits::default() };
    Tracer::new(config, queue, 100)
}

fn wide() -> SpanLimits {
    SpanLimits { bytes: 16 << 20, value_length: 1 << 20, ..SpanLimits::default() }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn what_is_set_is_read(
        name in ".{0,60}",
        parent in proptest::option::of((any::<[u8; 16]>(), any::<[u8; 8]>(), any::<bool>(), "[a-z=]{0,30}")),
        steps in vec(step(), 0..24),
        start in any::<u32>(),
        duration in any::<u32>(),
    ) {
        let tracer = tracer(wide());
        let mut local = tracer.local();
        let parent = parent.and_then(|(trace, span, remote, state)| {
            Some((TraceId::from_bytes(trace)?, SpanId::from_bytes(span)?, remote, state))
        });
        let begin = u64::from(start);
        let end = begin + u64::from(duration);
        let started = local.start(&Start {
            parent: parent.as_ref().map(|(trace_id, span_id, remote, state)| Parent {
                trace_id: *trace_id, span_id: *span_id, sampled: true, remote: *remote,
                handle: 0, trace_state: state,
            }),
            name: &name, kind: SpanKind::Client, start_ns: Some(begin), owner: 7, note: None,
        }, |_| ()).unwrap();

        let mut attributes = Vec::new();
        let mut events = Vec::new();
        let mut links = Vec::new();
        let mut last_name = name.clone();
        let (mut code, mut message) = (StatusCode::Unset, String::new());
        for step in &steps {
            let found = local.with(started.id, |span| apply(span, step));
            prop_assert!(found.is_some());
            match step.clone() {
                Step::Attribute(key, value) => attributes.push((key, value)),
                Step::Event(name, time, attributes) => events.push((name, time, attributes)),
                Step::Link(trace, span, sampled, state, attributes) => {
                    if TraceId::from_bytes(trace).is_some() && SpanId::from_bytes(span).is_some() {
                        links.push((trace, span, sampled, state, attributes));
                    }
                }
                Step::Status(next, text) => {
                    if next != StatusCode::Unset && code != StatusCode::Ok {
                        code = next;
                        message = if next == StatusCode::Error { text } else { String::new() };
                    }
                }
                Step::Name(name) => last_name = name,
            }
        }
        prop_assert!(local.end(started.id, Some(end), |_| ()));
        prop_assert!(!local.end(started.id, Some(end), |_| ()), "it ends once");

        let span = only_span(&tracer);
        prop_assert_eq!(&span.trace_id[..], &started.trace_id.to_bytes()[..]);
        prop_assert_eq!(&span.span_id[..], &started.id.span_id.to_bytes()[..]);
        prop_assert_eq!(&span.name, &last_name);
        prop_assert_eq!(span.kind, 3);
        prop_assert_eq!((span.start_time_unix_nano, span.end_time_unix_nano), (begin, end));
        match &parent {
            Some((trace_id, span_id, remote, state)) => {
                prop_assert_eq!(&span.trace_id[..], &trace_id.to_bytes()[..]);
                prop_assert_eq!(&span.parent_span_id[..], &span_id.to_bytes()[..]);
                prop_assert_eq!(&span.trace_state, state);
                prop_assert_eq!(span.flags, 0x101 | if *remote { 0x200 } else { 0 });
            }
            None => {
                prop_assert!(span.parent_span_id.is_empty());
                prop_assert_eq!(span.flags, 0x101);
            }
        }
        prop_assert_eq!(as_map(&span.attributes), last_of(&attributes));
        prop_assert_eq!(span.events.len(), events.len());
        for (event, (name, time, attributes)) in span.events.iter().zip(&events) {
            prop_assert_eq!(&event.name, name);
            prop_assert_eq!(event.time_unix_nano, *time);
            prop_assert_eq!(as_map(&event.attributes), last_of(attributes));
        }
        prop_assert_eq!(span.links.len(), links.len());
        for (link, (trace, id, sampled, state, attributes)) in span.links.iter().zip(&links) {
            prop_assert_eq!(&link.trace_id[..], &trace[..]);
            prop_assert_eq!(&link.span_id[..], &id[..]);
            prop_assert_eq!(&link.trace_state, state);
            prop_assert_eq!(link.flags & 1 == 1, *sampled);
            prop_assert_eq!(as_map(&link.attributes), last_of(attributes));
        }
        let status = span.status.unwrap_or_default();
        let expected = match code {
            StatusCode::Unset => status::StatusCode::Unset,
            StatusCode::Ok => status::StatusCode::Ok,
            StatusCode::Error => status::StatusCode::Error,
        };
        prop_assert_eq!(status.code, expected as i32);
        prop_assert_eq!(status.message, message);
        prop_assert_eq!(span.dropped_attributes_count, 0);
    }

    #[test]
    fn a_span_stays_within_its_limits(
        steps in vec(step(), 0..40),
        limits in (0_u32..6, 0_usize..20, 0_u32..3, 0_u32..3, 0_u32..3, 200_usize..2_000),
    ) {
        let limits = SpanLimits {
            attributes: limits.0, value_length: limits.1, events: limits.2, links: limits.3,
            event_attributes: limits.4, link_attributes: limits.4, bytes: limits.5,
            ..SpanLimits::default()
        };
        let tracer = tracer(limits);
        let mut local = tracer.local();
        let started = local.start(&Start { name: "x", owner: 7, ..Start::default() }, |_| ()).unwrap();
        for step in &steps {
            local.with(started.id, |span| lenient(span, step));
        }
        local.end(started.id, None, |_| ());
        let drained = tracer.queue().drain();
        // The head, a name or a status beyond the limit, and the closing fields.
        let spans = ScopeSpans::decode(&*drained[0].bytes).unwrap().spans;
        let span = &spans[0];
        prop_assert!(span.attributes.len() <= limits.attributes as usize);
        prop_assert!(span.events.len() <= limits.events as usize);
        prop_assert!(span.links.len() <= limits.links as usize);
        let given = |wanted: fn(&Step) -> bool| steps.iter().filter(|step| wanted(step)).count();
        prop_assert_eq!(
            span.events.len() + span.dropped_events_count as usize,
            given(|step| matches!(step, Step::Event(..)))
        );
        for event in &span.events {
            prop_assert!(event.attributes.len() <= limits.event_attributes as usize);
        }
        let encoded: usize = span.attributes.iter().map(Message::encoded_len).sum::<usize>()
            + span.events.iter().map(Message::encoded_len).sum::<usize>()
            + span.links.iter().map(Message::encoded_len).sum::<usize>();
        prop_assert!(encoded <= limits.bytes);
        for attribute in &span.attributes {
            if let Some(AnyValue { value: Some(Value::StringValue(text)) }) = &attribute.value {
                prop_assert!(text.chars().count() <= limits.value_length);
            }
        }
    }
}

fn apply(span: &mut OpenSpan, step: &Step) {
    match step {
        Step::Attribute(key, value) => span.set_attribute(key, |to| value.write(to)),
        Step::Event(name, time, attributes) => span.add_event(name, *time, |writer| {
            for (key, value) in attributes {
                writer.set_attribute(key, |to| value.write(to));
            }
        }),
        Step::Link(trace, id, sampled, trace_state, attributes) => {
            let (Some(trace_id), Some(span_id)) =
                (TraceId::from_bytes(*trace), SpanId::from_bytes(*id))
            else {
                return;
            };
            let link = Link { trace_id, span_id, sampled: *sampled, remote: false, trace_state };
            span.add_link(&link, |writer| {
                for (key, value) in attributes {
                    writer.set_attribute(key, |to| value.write(to));
                }
            });
        }
        Step::Status(code, message) => span.set_status(*code, message),
        Step::Name(name) => span.set_name(name),
    }
}

/// As `apply`, for values that may not fit.
fn lenient(span: &mut OpenSpan, step: &Step) {
    fn write(value: &Given, to: ValueWriter<'_>) {
        match value {
            Given::Array(elements) => to.array(|array| {
                for element in elements {
                    array.push(|to| write(element, to));
                }
            }),
            Given::Map(pairs) => to.map(|map| {
                for (key, value) in pairs {
                    map.insert(key, |to| write(value, to));
                }
            }),
            leaf => leaf.write(to),
        }
    }
    match step {
        Step::Attribute(key, value) => span.set_attribute(key, |to| write(value, to)),
        Step::Event(name, time, attributes) => span.add_event(name, *time, |writer| {
            for (key, value) in attributes {
                writer.set_attribute(key, |to| write(value, to));
            }
        }),
        other => apply(
            span,
            &match other {
                Step::Link(trace, id, sampled, state, _) => {
                    Step::Link(*trace, *id, *sampled, state.clone(), Vec::new())
                }
                step => step.clone(),
            },
        ),
    }
}
