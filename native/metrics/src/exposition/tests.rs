use super::*;
use crate::family::Number;
use crate::metric::{Buckets, Kind};
use crate::{Declaration, Exemplar, GaugeValue, LabelSet, MetricName, Options};

fn name(text: &str) -> MetricName {
    MetricName::new(text).unwrap()
}

fn text_of(registry: &Registry, gathered: &[Family], format: Format, scope: Scope) -> String {
    let body = render(registry, gathered, format, scope).chunks.concat();
    let text = String::from_utf8(body).unwrap();
    // The registry's figures about itself are not what these tests look at.
    text.split_inclusive('\n').filter(|line| !line.contains("erlmcp_metrics_")).collect()
}

fn filled() -> Registry {
    let registry = Registry::new(Options::default());
    let declare = |kind, text, help: &str, unit: Option<&str>, buckets: Option<&[f64]>| {
        registry
            .declare(Declaration {
                help: Some(help.into()),
                unit: unit.map(Into::into),
                buckets: buckets.map(|b| Buckets::new(b).unwrap()),
                ..Declaration::new(kind, name(text))
            })
            .unwrap();
    };
    declare(Kind::Counter, "requests_total", "Requests \"seen\"\\\nso far.", None, None);
    declare(Kind::Histogram, "latency_seconds", "Latency.", Some("seconds"), Some(&[0.1, 1.0]));
    declare(Kind::Gauge, "temperature", "Now.", None, None);
    declare(Kind::Info, "build", "Build.", None, None);
    declare(Kind::UpDownCounter, "open", "Open.", None, None);
    let recorder = registry.recorder();
    let series = |kind, text, labels: &[(&str, &str)]| {
        let labels = LabelSet::from_pairs(labels.iter().copied()).unwrap();
        registry.series(kind, &name(text), &labels).unwrap().id
    };
    let counter = series(Kind::Counter, "requests", &[("path", "a\"b\\c\nd")]);
    recorder.add_int(counter, 3).unwrap();
    let counter = series(Kind::Counter, "requests_total", &[]);
    recorder.add_int(counter, 1).unwrap();
    recorder.add_float(counter, 0.5).unwrap();
    let histogram = series(Kind::Histogram, "latency_seconds", &[("m", "get")]);
    for x in [0.05, 0.1, 0.5, 7.0] {
        recorder.observe(histogram, x).unwrap();
    }
    recorder.set(series(Kind::Gauge, "temperature", &[]), GaugeValue::Float(-1e-12)).unwrap();
    series(Kind::Info, "build_info", &[("version", "1.2")]);
    recorder.add_int(series(Kind::UpDownCounter, "open", &[]), -2).unwrap();
    registry
}

fn gathered() -> Vec<Family> {
    let sample = |labels: &[(&str, &str)], value| crate::Sample {
        labels: LabelSet::from_pairs(labels.iter().copied()).unwrap(),
        value,
    };
    let family = |text: &str, kind, samples| Family {
        name: text.into(),
        kind,
        help: "Given.".into(),
        samples,
    };
    vec![
        family("vm_total", FamilyKind::Counter, vec![sample(&[], Number::Int(5))]),
        family(
            "old",
            FamilyKind::Untyped,
            vec![sample(&[], Number::Float(2.5)), sample(&[], Number::Int(9))],
        ),
        family("requests", FamilyKind::Gauge, vec![sample(&[], Number::Int(9))]),
        family("old", FamilyKind::Gauge, vec![sample(&[], Number::Int(9))]),
        family("no samples", FamilyKind::Gauge, vec![]),
        family("no\nname", FamilyKind::Gauge, vec![sample(&[], Number::Int(9))]),
    ]
}

#[test]
fn text_is_as_prometheus_wants_it() {
    let expected = r#"# HELP build_info Build.
# TYPE build_info gauge
build_info{version="1.2"} 1
# HELP latency_seconds Latency.
# TYPE latency_seconds histogram
latency_seconds_bucket{m="get",le="0.1"} 2
latency_seconds_bucket{m="get",le="1.0"} 3
latency_seconds_bucket{m="get",le="+Inf"} 4
latency_seconds_count{m="get"} 4
latency_seconds_sum{m="get"} 7.65
# HELP old Given.
# TYPE old untyped
old 2.5
# HELP open Open.
# TYPE open gauge
open -2
# HELP requests_total Requests "seen"\\\nso far.
# TYPE requests_total counter
requests_total{path="a\"b\\c\nd"} 3
requests_total 1.5
# HELP temperature Now.
# TYPE temperature gauge
temperature -1e-12
# HELP vm_total Given.
# TYPE vm_total counter
vm_total 5
"#;
    assert_eq!(text_of(&filled(), &gathered(), Format::Text, Scope::All), expected);
}

#[test]
fn openmetrics_is_as_its_specification_wants_it() {
    let expected = r#"# HELP build Build.
# TYPE build info
build_info{version="1.2"} 1
# HELP latency_seconds Latency.
# TYPE latency_seconds histogram
# UNIT latency_seconds seconds
latency_seconds_bucket{m="get",le="0.1"} 2
latency_seconds_bucket{m="get",le="1.0"} 3
latency_seconds_bucket{m="get",le="+Inf"} 4
latency_seconds_count{m="get"} 4
latency_seconds_sum{m="get"} 7.65
# HELP open Open.
# TYPE open gauge
open -2
# HELP requests Requests \"seen\"\\\nso far.
# TYPE requests counter
requests_total{path="a\"b\\c\nd"} 3
requests_total 1.5
# HELP temperature Now.
# TYPE temperature gauge
temperature -1e-12
# EOF
"#;
    assert_eq!(text_of(&filled(), &gathered(), Format::OpenMetrics, Scope::Application), expected);
}

#[test]
fn an_empty_registry_renders() {
    let registry = Registry::new(Options::default());
    assert_eq!(
        render(&registry, &[], Format::Text, Scope::Application).chunks,
        Vec::<Vec<u8>>::new()
    );
    let openmetrics = render(&registry, &[], Format::OpenMetrics, Scope::Application);
    assert_eq!(openmetrics.chunks.concat(), b"# EOF\n");
}

#[test]
fn special_floats_have_their_spelling() {
    let registry = Registry::new(Options::default());
    let recorder = registry.recorder();
    for (text, value) in
        [("a", f64::NAN), ("b", f64::INFINITY), ("c", f64::NEG_INFINITY), ("d", -0.0)]
    {
        let id = registry.series(Kind::Gauge, &name(text), &LabelSet::empty()).unwrap().id;
        recorder.set(id, GaugeValue::Float(value)).unwrap();
    }
    let text = text_of(&registry, &[], Format::Text, Scope::Application);
    let values: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(values, ["a NaN", "b +Inf", "c -Inf", "d -0.0"]);
}

#[test]
fn a_large_exposition_comes_in_chunks() {
    let registry = Registry::new(Options { series_limit: 50_000, ..Options::default() });
    for n in 0..20_000 {
        let n = n.to_string();
        let labels = LabelSet::from_pairs([("n", n.as_str())]).unwrap();
        registry.series(Kind::Counter, &name("many"), &labels).unwrap();
    }
    let exposition = render(&registry, &[], Format::Text, Scope::Application);
    assert_eq!(exposition.samples, 20_000);
    assert!(exposition.chunks.len() > 4);
    assert!(exposition.chunks.iter().all(|chunk| chunk.len() < 2 * CHUNK_BYTES));
    assert!(exposition.chunks.iter().all(|chunk| chunk.ends_with(b"\n")));
}

#[test]
fn what_openmetrics_reserves_is_shown_another_way() {
    let registry = Registry::new(Options::default());
    for text in ["jobs_created", "jobs"] {
        registry.series(Kind::Counter, &name(text), &LabelSet::empty()).unwrap();
    }
    // Nothing else can have the name: there is no other way to show it.
    assert!(registry.declare(Declaration::new(Kind::Gauge, name("jobs_created"))).is_err());
    assert!(registry.declare(Declaration::new(Kind::Histogram, name("jobs_created"))).is_err());
    let lines = |format| -> Vec<String> {
        let text = text_of(&registry, &[], format, Scope::Application);
        text.lines().filter(|line| !line.starts_with("# HELP")).map(str::to_owned).collect()
    };
    assert_eq!(
        lines(Format::OpenMetrics),
        [
            "# TYPE jobs counter",
            "jobs_total 0",
            "# TYPE jobs_created_total unknown",
            "jobs_created_total 0",
            "# EOF"
        ]
    );
    assert_eq!(
        lines(Format::Text),
        [
            "# TYPE jobs_total counter",
            "jobs_total 0",
            "# TYPE jobs_created_total counter",
            "jobs_created_total 0"
        ]
    );
}

#[test]
fn a_gauge_keeps_its_name_from_the_counter_that_would_reserve_it() {
    let registry = Registry::new(Options::default());
    registry.declare(Declaration::new(Kind::Gauge, name("jobs_created"))).unwrap();
    assert!(registry.declare(Declaration::new(Kind::Histogram, name("jobs"))).is_err());
}

#[test]
fn a_histogram_whose_sum_can_go_down_is_unknown_to_openmetrics() {
    let registry = Registry::new(Options::default());
    let recorder = registry.recorder();
    let declare = |text, bounds: &[f64]| {
        registry
            .declare(Declaration {
                buckets: Some(Buckets::new(bounds).unwrap()),
                ..Declaration::new(Kind::Histogram, name(text))
            })
            .unwrap();
        registry.series(Kind::Histogram, &name(text), &LabelSet::empty()).unwrap().id
    };
    recorder.observe(declare("celsius", &[-5.0]), 3.0).unwrap();
    recorder.observe(declare("delta", &[1.0]), -3.0).unwrap();
    recorder.observe(declare("usual", &[1.0]), 3.0).unwrap();
    let openmetrics = text_of(&registry, &[], Format::OpenMetrics, Scope::Application);
    let lines: Vec<&str> = openmetrics.lines().filter(|line| !line.starts_with("# HELP")).collect();
    assert_eq!(
        lines,
        [
            "# TYPE celsius_bucket unknown",
            "celsius_bucket{le=\"-5.0\"} 0",
            "celsius_bucket{le=\"+Inf\"} 1",
            "# TYPE celsius_count unknown",
            "celsius_count 1",
            "# TYPE celsius_sum unknown",
            "celsius_sum 3.0",
            "# TYPE delta_bucket unknown",
            "delta_bucket{le=\"1.0\"} 1",
            "delta_bucket{le=\"+Inf\"} 1",
            "# TYPE delta_count unknown",
            "delta_count 1",
            "# TYPE delta_sum unknown",
            "delta_sum -3.0",
            "# TYPE usual histogram",
            "usual_bucket{le=\"1.0\"} 0",
            "usual_bucket{le=\"+Inf\"} 1",
            "usual_count 1",
            "usual_sum 3.0",
            "# EOF"
        ]
    );
    let text = text_of(&registry, &[], Format::Text, Scope::Application);
    assert!(text.contains("# TYPE delta histogram\n") && text.contains("delta_sum -3.0\n"));
}

#[test]
fn bounds_are_spelled_as_prometheus_spells_them() {
    let registry = Registry::new(Options::default());
    registry
        .declare(Declaration {
            buckets: Some(Buckets::new(&[1e-7, 0.0001, 1.0, 123_456.0, 1e6, 2.5e9]).unwrap()),
            ..Declaration::new(Kind::Histogram, name("h"))
        })
        .unwrap();
    registry.series(Kind::Histogram, &name("h"), &LabelSet::empty()).unwrap();
    let text = text_of(&registry, &[], Format::Text, Scope::Application);
    let bounds: Vec<&str> = text
        .lines()
        .filter_map(|line| Some(line.split_once("le=\"")?.1.split_once('"')?.0))
        .collect();
    assert_eq!(bounds, ["1e-07", "0.0001", "1.0", "123456.0", "1e+06", "2.5e+09", "+Inf"]);
}

fn with_exemplars() -> Registry {
    let registry = Registry::new(Options::default());
    registry
        .declare(Declaration {
            buckets: Some(Buckets::new(&[0.1, 1.0]).unwrap()),
            ..Declaration::new(Kind::Histogram, name("latency_seconds"))
        })
        .unwrap();
    let recorder = registry.recorder();
    let series = |kind, text| registry.series(kind, &name(text), &LabelSet::empty()).unwrap().id;
    let histogram = series(Kind::Histogram, "latency_seconds");
    let exemplar = |value, millis: u64| Exemplar {
        value,
        time_unix_nano: 1_700_000_000_000_000_000 + millis * 1_000_000,
        trace_id: *b"0123456789abcdef",
        span_id: [0, 1, 0xAB, 3, 4, 5, 6, 0xFF],
    };
    for (value, millis) in [(0.05, 1), (0.5, 2), (7.0, 3), (0.75, 500)] {
        recorder.observe_with_exemplar(histogram, exemplar(value, millis)).unwrap();
    }
    recorder.observe(histogram, 0.25).unwrap();
    let counter = series(Kind::Counter, "requests");
    recorder.add_int(counter, 3).unwrap();
    recorder.keep_exemplar(counter, exemplar(3.0, 45));
    let gauge = series(Kind::Gauge, "level");
    recorder.keep_exemplar(gauge, exemplar(3.0, 45));
    registry
}

#[test]
fn openmetrics_shows_exemplars() {
    const SPAN: &str = r#"trace_id="30313233343536373839616263646566",span_id="0001ab03040506ff""#;
    let shown = text_of(&with_exemplars(), &[], Format::OpenMetrics, Scope::Application);
    let lines: Vec<String> = shown
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.replace(SPAN, "SPAN"))
        .collect();
    assert_eq!(
        lines,
        [
            r#"latency_seconds_bucket{le="0.1"} 1 # {SPAN} 0.05 1700000000.001"#,
            r#"latency_seconds_bucket{le="1.0"} 4 # {SPAN} 0.75 1700000000.500"#,
            r#"latency_seconds_bucket{le="+Inf"} 5 # {SPAN} 7.0 1700000000.003"#,
            "latency_seconds_count 5",
            "latency_seconds_sum 8.55",
            "level 0",
            "requests_total 3 # {SPAN} 3.0 1700000000.045",
        ]
    );
    let text = text_of(&with_exemplars(), &[], Format::Text, Scope::Application);
    assert!(!text.contains("trace_id"));
}

#[test]
fn protobuf_shows_exemplars() {
    let body = render(&with_exemplars(), &[], Format::Protobuf, Scope::Application).chunks.concat();
    // What protobuf's own reader finds in it is tested from Erlang.
    let trace_id = b"30313233343536373839616263646566";
    let found = body.windows(trace_id.len()).filter(|window| window == trace_id).count();
    assert_eq!(found, 4);
}

#[test]
fn exemplars_end_with_their_series() {
    let registry = with_exemplars();
    assert_eq!(registry.stats().exemplars, 4);
    for text in ["latency_seconds", "requests"] {
        assert_eq!(registry.remove_all(&name(text)), 1);
    }
    assert_eq!(registry.stats().exemplars, 0);
    registry.series(Kind::Histogram, &name("latency_seconds"), &LabelSet::empty()).unwrap();
    let shown = text_of(&registry, &[], Format::OpenMetrics, Scope::Application);
    assert!(shown.contains("latency_seconds_count 0") && !shown.contains("trace_id"));
}

#[test]
fn an_exponential_histogram_is_shown_by_its_explicit_bounds_in_text() {
    let registry = Registry::new(Options::default());
    registry
        .declare(Declaration {
            buckets: Some(Buckets::new(&[0.5, 2.0]).unwrap()),
            ..Declaration::new(Kind::ExponentialHistogram, name("size"))
        })
        .unwrap();
    let series = registry.series(Kind::ExponentialHistogram, &name("size"), &LabelSet::empty());
    let id = series.unwrap().id;
    let recorder = registry.recorder();
    for value in [0.0, 0.5, 0.6, 3.0] {
        recorder.observe(id, value).unwrap();
    }
    let shown = text_of(&registry, &[], Format::OpenMetrics, Scope::Application);
    let lines: Vec<&str> = shown.lines().filter(|line| !line.starts_with("# HELP")).collect();
    assert_eq!(
        lines,
        [
            "# TYPE size histogram",
            "size_bucket{le=\"0.5\"} 2",
            "size_bucket{le=\"2.0\"} 3",
            "size_bucket{le=\"+Inf\"} 4",
            "size_count 4",
            "size_sum 4.1",
            "# EOF"
        ]
    );
}
