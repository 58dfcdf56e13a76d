//! Contexts from headers and into headers. The cases on `traceparent` and
//! `tracestate` are those of the test suite of w3c/trace-context (test/test.py).

use erlmcp_trace::propagation::{Baggage, Extracted, Propagators, b3};
use erlmcp_trace::{SpanContext, SpanId, TraceId, TraceState};
use proptest::prelude::*;

const TRACE: &str = "12345678901234567890123456789012";
const SPAN: &str = "1234567890123456";
const PARENT: &str = "00-12345678901234567890123456789012-1234567890123456-01";

fn extract(names: &str, headers: &[(&str, &str)]) -> Extracted {
    names.parse::<Propagators>().unwrap().extract(headers.iter().copied())
}

fn context(headers: &[(&str, &str)]) -> Option<SpanContext> {
    extract("tracecontext", headers).context
}

fn inject(names: &str, context: Option<&SpanContext>, baggage: &Baggage) -> Vec<(String, String)> {
    let mut headers = Vec::new();
    let propagators: Propagators = names.parse().unwrap();
    propagators.inject(context, baggage, |name, value| {
        headers.push((name.to_owned(), value.to_owned()));
    });
    headers
}

fn example(sampled: bool) -> SpanContext {
    SpanContext {
        trace_id: TraceId::from_hex(TRACE.as_bytes()).unwrap(),
        span_id: SpanId::from_hex(SPAN.as_bytes()).unwrap(),
        sampled,
        remote: true,
        trace_state: TraceState::default(),
    }
}

/// The trace state that is passed on beside a valid `traceparent`.
fn state(lines: &[&str]) -> String {
    let mut headers = vec![("traceparent", PARENT)];
    headers.extend(lines.iter().map(|line| ("tracestate", *line)));
    context(&headers).unwrap().trace_state.as_str().to_owned()
}

#[test]
fn traceparent_accepted() {
    for value in [
        PARENT,
        "cc-12345678901234567890123456789012-1234567890123456-01",
        "cc-12345678901234567890123456789012-1234567890123456-01-what-the-future-will-be-like",
        "00-12345678901234567890123456789012-1234567890123456-09",
        "00-12345678901234567890123456789012-1234567890123456-03",
        " 00-12345678901234567890123456789012-1234567890123456-01",
        "\t00-12345678901234567890123456789012-1234567890123456-01",
        "00-12345678901234567890123456789012-1234567890123456-01 ",
        "00-12345678901234567890123456789012-1234567890123456-01\t",
        "\t 00-12345678901234567890123456789012-1234567890123456-01 \t",
    ] {
        assert_eq!(context(&[("traceparent", value)]), Some(example(true)), "{value:?}");
    }
    let not_sampled = "00-12345678901234567890123456789012-1234567890123456-02";
    assert_eq!(context(&[("traceparent", not_sampled)]), Some(example(false)));
    for name in ["TraceParent", "TrAcEpArEnT", "TRACEPARENT"] {
        assert_eq!(context(&[(name, PARENT)]), Some(example(true)), "{name}");
    }
}

#[test]
fn traceparent_refused() {
    for value in [
        "",
        "00-12345678901234567890123456789012-1234567890123456-01.",
        "00-12345678901234567890123456789012-1234567890123456-01-what-the-future-will-be-like",
        "cc-12345678901234567890123456789012-1234567890123456-01.what-the-future-will-be-like",
        "cc-12345678901234567890123456789012-1234567890123456-0",
        "ff-12345678901234567890123456789012-1234567890123456-01",
        ".0-12345678901234567890123456789012-1234567890123456-01",
        "0.-12345678901234567890123456789012-1234567890123456-01",
        "000-12345678901234567890123456789012-1234567890123456-01",
        "0000-12345678901234567890123456789012-1234567890123456-01",
        "0-12345678901234567890123456789012-1234567890123456-01",
        "00-00000000000000000000000000000000-1234567890123456-01",
        "00-.2345678901234567890123456789012-1234567890123456-01",
        "00-1234567890123456789012345678901.-1234567890123456-01",
        "00-1234567890123456789012345678901A-1234567890123456-01",
        "00-123456789012345678901234567890123-1234567890123456-01",
        "00-1234567890123456789012345678901-1234567890123456-01",
        "00-12345678901234567890123456789012-0000000000000000-01",
        "00-12345678901234567890123456789012-.234567890123456-01",
        "00-12345678901234567890123456789012-123456789012345.-01",
        "00-12345678901234567890123456789012-123456789012345B-01",
        "00-12345678901234567890123456789012-12345678901234567-01",
        "00-12345678901234567890123456789012-123456789012345-01",
        "00-12345678901234567890123456789012-1234567890123456-.0",
        "00-12345678901234567890123456789012-1234567890123456-0.",
        "00-12345678901234567890123456789012-1234567890123456-001",
        "00-12345678901234567890123456789012-1234567890123456-1",
        "00-12345678901234567890123456789012-1234567890123456-0A",
        "0A-12345678901234567890123456789012-1234567890123456-01",
        "00_12345678901234567890123456789012-1234567890123456-01",
    ] {
        assert_eq!(context(&[("traceparent", value)]), None, "{value:?}");
    }
    for name in ["trace-parent", "trace.parent", "traceparent ", ""] {
        assert_eq!(context(&[(name, PARENT)]), None, "{name:?}");
    }
    assert_eq!(context(&[("tracestate", "foo=1")]), None);
    assert_eq!(context(&[("traceparent", PARENT), ("TraceParent", PARENT)]), None, "two of them");
}

#[test]
fn tracestate_accepted() {
    let keys = "abcdefghijklmnopqrstuvwxyz0123456789_-*/";
    let value: String = (0x20..=0x7E_u8).map(char::from).filter(|c| !",=".contains(*c)).collect();
    let all = format!("{keys}={value}");
    let vendor = format!("{keys}@a-z0-9_-*/={value}");
    let long_key = format!("{}=1", "z".repeat(256));
    let long_vendor = format!("{}@{}=1", "t".repeat(241), "v".repeat(14));
    for (lines, expected) in [
        (&["foo=1,bar=2"][..], "foo=1,bar=2"),
        (&[""], ""),
        (&["foo=1", ""], "foo=1"),
        (&["", "foo=1"], "foo=1"),
        (&["foo=1,bar=2", "rojo=1,congo=2", "baz=3"], "foo=1,bar=2,rojo=1,congo=2,baz=3"),
        (&[all.as_str()], all.as_str()),
        (&[vendor.as_str()], vendor.as_str()),
        (&["foo=1 \t , \t bar=2, \t baz=3"], "foo=1,bar=2,baz=3"),
        (&["foo=1\t \t,\t \tbar=2,\t \tbaz=3"], "foo=1,bar=2,baz=3"),
        (&[" foo=1"], "foo=1"),
        (&["\tfoo=1"], "foo=1"),
        (&["foo=1 "], "foo=1"),
        (&["foo=1\t"], "foo=1"),
        (&["\t foo=1 \t"], "foo=1"),
        (&["foo=1", long_key.as_str()], &format!("foo=1,{long_key}")),
        (&["foo=1", long_vendor.as_str()], &format!("foo=1,{long_vendor}")),
        // Level 2: an at sign is a character as any other.
        (&["foo@=1,bar=2"], "foo@=1,bar=2"),
        (&["foo@bar@baz=1,bar=2"], "foo@bar@baz=1,bar=2"),
        (&["1special=x"], "1special=x"),
    ] {
        assert_eq!(state(lines), expected, "{lines:?}");
    }
    for name in ["TraceState", "TrAcEsTaTe", "TRACESTATE"] {
        let found = context(&[("traceparent", PARENT), (name, "foo=1")]).unwrap();
        assert_eq!(found.trace_state.get("foo"), Some("1"), "{name}");
    }
}

#[test]
fn tracestate_refused_as_a_whole() {
    let long_key = format!("{}=1", "z".repeat(257));
    let long_value = format!("z={}", "1".repeat(257));
    for lines in [
        &["foo=1,foo=1"][..],
        &["foo=1,foo=2"],
        &["foo=1", "foo=1"],
        &["foo=1", "foo=2"],
        &["foo =1"],
        &["FOO=1"],
        &["foo.bar=1"],
        &["@foo=1,bar=2"],
        &["foo=1", long_key.as_str()],
        &["foo=1", long_value.as_str()],
        &["foo=bar=baz"],
        &["foo=,bar=3"],
        &["foo,bar=3"],
        &["foo=\u{7f}"],
        &["foo=ü,bar=1"],
        &["foo=1\r\nx: y"],
    ] {
        assert_eq!(state(lines), "", "{lines:?}");
    }
    let line = |from: u32, to: u32| {
        (from..=to).map(|n| format!("bar{n:02}={n:02}")).collect::<Vec<_>>().join(",")
    };
    let lines = [line(1, 10), line(11, 20), line(21, 30), line(31, 32)];
    let kept = state(&lines.each_ref().map(String::as_str));
    assert_eq!(kept, lines.join(","));
    assert_eq!(state(&[&lines[0], &lines[1], &lines[2], &line(31, 33)]), "");
    for name in ["trace-state", "trace.state"] {
        let found = context(&[("traceparent", PARENT), (name, "foo=1")]).unwrap();
        assert!(found.trace_state.is_empty(), "{name}");
    }
}

#[test]
fn b3_in_one_header() {
    let b3 = |value: &str| extract("b3", &[("B3", value)]).context;
    let sampled = format!("{TRACE}-{SPAN}-1");
    assert_eq!(b3(&sampled), Some(example(true)));
    assert_eq!(b3(&format!("{TRACE}-{SPAN}-d")), Some(example(true)));
    assert_eq!(b3(&format!("{TRACE}-{SPAN}-1-00000000000000ab")), Some(example(true)));
    assert_eq!(b3(&format!("{TRACE}-{SPAN}-0")), Some(example(false)));
    assert_eq!(b3(&format!("{TRACE}-{SPAN}")), Some(example(false)), "no decision");
    let padded = b3(&format!("{SPAN}-{SPAN}-1")).unwrap();
    assert_eq!(padded.trace_id.to_string(), format!("0000000000000000{SPAN}"));
    for value in [
        "0",
        "1",
        "d",
        "",
        "-",
        TRACE,
        &format!("{TRACE}-{SPAN}-2"),
        &format!("{TRACE}-{SPAN}-1-"),
        &format!("{TRACE}-{SPAN}-1-00000000000000ab-"),
        &format!("{TRACE}-0000000000000000-1"),
        &format!("0000000000000000-{SPAN}-1"),
        &format!("{}-{SPAN}-1", TRACE.replace('1', "A")),
        &format!("{}-{SPAN}-1", "ü".repeat(8)),
    ] {
        assert_eq!(b3(value), None, "{value:?}");
    }
    assert_eq!(extract("b3", &[("b3", &sampled), ("b3", &sampled)]).context, None);
}

#[test]
fn b3_in_several_headers() {
    let multi = |more: &[(&str, &str)]| {
        let mut headers = vec![("X-B3-TraceId", TRACE), ("X-B3-SpanId", SPAN)];
        headers.extend(more);
        extract("b3multi", &headers).context
    };
    assert_eq!(multi(&[]), Some(example(false)));
    assert_eq!(multi(&[("x-b3-sampled", "1")]), Some(example(true)));
    assert_eq!(multi(&[("x-b3-sampled", "True")]), Some(example(true)));
    assert_eq!(multi(&[("x-b3-sampled", "0")]), Some(example(false)));
    assert_eq!(multi(&[("x-b3-flags", "1")]), Some(example(true)));
    assert_eq!(multi(&[("x-b3-sampled", "0"), ("x-b3-flags", "1")]), Some(example(true)));
    assert_eq!(multi(&[("x-b3-sampled", "d")]), None);
    assert_eq!(extract("b3multi", &[("x-b3-traceid", TRACE)]).context, None);
    assert_eq!(extract("b3multi", &[("x-b3-sampled", "0")]).context, None);
}

#[test]
fn the_first_valid_context_wins() {
    let other = format!("{}-{SPAN}-0", TRACE.replace('1', "a"));
    let headers = [("traceparent", PARENT), ("b3", other.as_str()), ("baggage", "k=v")];
    let first = extract("tracecontext,b3,baggage", &headers);
    assert_eq!(first.context, Some(example(true)));
    assert_eq!(first.baggage.get("k"), Some("v"));
    assert_eq!(extract("b3,tracecontext", &headers).context, b3::parse(&other));
    let broken = [("traceparent", "broken"), ("b3", other.as_str())];
    assert_eq!(extract("tracecontext,b3", &broken).context, b3::parse(&other));
    assert_eq!(extract("none", &headers), Extracted::default());
}

#[test]
fn what_is_written() {
    let mut baggage = Baggage::default();
    baggage.insert("k", "a b", "p").unwrap();
    let context = SpanContext { trace_state: TraceState::parse(["x=1"]), ..example(true) };
    let pairs = |names, context, baggage: &Baggage| -> Vec<String> {
        inject(names, context, baggage)
            .iter()
            .map(|(name, value)| format!("{name}: {value}"))
            .collect()
    };
    assert_eq!(
        pairs("tracecontext,baggage,b3,b3multi", Some(&context), &baggage),
        [
            &format!("traceparent: {PARENT}"),
            "tracestate: x=1",
            "baggage: k=a%20b;p",
            &format!("b3: {TRACE}-{SPAN}-1"),
            &format!("x-b3-traceid: {TRACE}"),
            &format!("x-b3-spanid: {SPAN}"),
            "x-b3-sampled: 1",
        ]
    );
    assert_eq!(pairs("tracecontext,baggage,b3", None, &Baggage::default()), [""; 0]);
    assert_eq!(pairs("none", Some(&context), &baggage), [""; 0]);
}

#[test]
fn names_of_propagators() {
    let names = |text: &str| -> Vec<&str> {
        text.parse::<Propagators>().unwrap().iter().map(|propagator| propagator.as_str()).collect()
    };
    assert_eq!(names("baggage , B3,baggage"), ["baggage", "b3"]);
    assert_eq!(names(" none "), [""; 0]);
    assert_eq!(Propagators::default(), "tracecontext,baggage".parse().unwrap());
    let error = "tracecontext,jaeger".parse::<Propagators>().unwrap_err();
    assert_eq!(
        error.to_string(),
        "\"jaeger\" is not a propagator; expected a list of tracecontext, baggage, b3, b3multi \
         separated by commas, or none"
    );
    assert!("none,b3".parse::<Propagators>().is_err());
}

fn contexts() -> impl Strategy<Value = SpanContext> {
    let ids = (any::<[u8; 16]>(), any::<[u8; 8]>(), any::<bool>());
    (ids, "([a-z]{1,5}=[!-+]{1,9})?").prop_filter_map("an id of zeros", |(ids, line)| {
        Some(SpanContext {
            trace_id: TraceId::from_bytes(ids.0)?,
            span_id: SpanId::from_bytes(ids.1)?,
            sampled: ids.2,
            remote: true,
            trace_state: TraceState::parse([line.as_str()]),
        })
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read(context in contexts(), names in "(tracecontext|b3|b3multi)") {
        let headers = inject(&names, Some(&context), &Baggage::default());
        let pairs: Vec<_> = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let mut expected = context;
        if names != "tracecontext" {
            expected.trace_state = TraceState::default();
        }
        prop_assert_eq!(extract(&names, &pairs).context, Some(expected));
    }

    #[test]
    fn random_headers_do_no_harm(
        headers in prop::collection::vec(
            ("(traceparent|tracestate|baggage|b3|x-b3-[a-z]{4,7})", "(\\PC{0,80}|[0-9a-f=,;%@ -]{0,80})"), 0..12)
    ) {
        let pairs: Vec<_> = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let all = "tracecontext,baggage,b3,b3multi";
        let found = extract(all, &pairs);
        let written = inject(all, found.context.as_ref(), &found.baggage);
        let pairs: Vec<_> = written.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        prop_assert_eq!(extract(all, &pairs), found);
    }

    #[test]
    fn damaged_traceparents_do_no_harm(at in 0..55_usize, with: char) {
        let mut damaged: Vec<char> = PARENT.chars().collect();
        damaged[at] = with;
        let damaged: String = damaged.into_iter().collect();
        let _ = context(&[("traceparent", &damaged)]);
    }
}
