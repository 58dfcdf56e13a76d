//! OTLP in its JSON encoding: ids in lowercase hexadecimal, enums as integers,
//! 64-bit integers as strings, floats that are not finite by their names.
//!
//! The messages and their names are opentelemetry-proto's. It writes every
//! float that JSON has no number for as `null`, which readers take for "no
//! value". Those are exchanged for three finite numbers before and written by
//! their names here.

use std::io;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::{Exemplar, NumberDataPoint, exemplar, metric};
use opentelemetry_proto::tonic::metrics::v1::{Metric, number_data_point};
use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::{CompactFormatter, Formatter};

/// The request as one line without its end.
pub(crate) fn traces(mut request: ExportTraceServiceRequest) -> serde_json::Result<Vec<u8>> {
    for resource in &mut request.resource_spans {
        in_attributes(resource.resource.iter_mut().flat_map(|r| &mut r.attributes));
        for scope in &mut resource.scope_spans {
            in_attributes(scope.scope.iter_mut().flat_map(|s| &mut s.attributes));
            for span in &mut scope.spans {
                in_attributes(&mut span.attributes);
                in_attributes(span.events.iter_mut().flat_map(|event| &mut event.attributes));
                in_attributes(span.links.iter_mut().flat_map(|link| &mut link.attributes));
            }
        }
    }
    line(&request)
}

/// The request as one line without its end.
pub(crate) fn logs(mut request: ExportLogsServiceRequest) -> serde_json::Result<Vec<u8>> {
    for resource in &mut request.resource_logs {
        in_attributes(resource.resource.iter_mut().flat_map(|r| &mut r.attributes));
        for scope in &mut resource.scope_logs {
            in_attributes(scope.scope.iter_mut().flat_map(|s| &mut s.attributes));
            for record in &mut scope.log_records {
                in_attributes(&mut record.attributes);
                record.body.iter_mut().for_each(in_value);
            }
        }
    }
    line(&request)
}

/// The request as one line without its end.
pub(crate) fn metrics(mut request: ExportMetricsServiceRequest) -> serde_json::Result<Vec<u8>> {
    for resource in &mut request.resource_metrics {
        in_attributes(resource.resource.iter_mut().flat_map(|r| &mut r.attributes));
        for scope in &mut resource.scope_metrics {
            in_attributes(scope.scope.iter_mut().flat_map(|s| &mut s.attributes));
            scope.metrics.iter_mut().for_each(in_metric);
        }
    }
    line(&request)
}

fn line<T: Serialize>(request: &T) -> serde_json::Result<Vec<u8>> {
    let mut out = Vec::new();
    request.serialize(&mut Serializer::with_formatter(&mut out, Names))?;
    Ok(out)
}

/// Each of these is one in 2^64 floats, smaller than anything that is measured.
const STANDS_FOR: [(u64, &str); 3] = [
    (0x0003_4E61_4E4E_614E, "\"NaN\""),
    (0x0003_496E_6649_6E66, "\"Infinity\""),
    (0x0003_2D49_6E66_2D49, "\"-Infinity\""),
];

fn in_float(number: &mut f64) {
    let [nan, infinity, minus_infinity] = STANDS_FOR.map(|(bits, _)| f64::from_bits(bits));
    if number.is_nan() {
        *number = nan;
    } else if number.is_infinite() {
        *number = if *number > 0.0 { infinity } else { minus_infinity };
    }
}

struct Names;

impl Formatter for Names {
    fn write_f64<W: ?Sized + io::Write>(&mut self, out: &mut W, number: f64) -> io::Result<()> {
        match STANDS_FOR.iter().find(|(bits, _)| *bits == number.to_bits()) {
            Some((_, name)) => out.write_all(name.as_bytes()),
            None => CompactFormatter.write_f64(out, number),
        }
    }
}

fn in_attributes<'a>(attributes: impl IntoIterator<Item = &'a mut KeyValue>) {
    attributes.into_iter().filter_map(|a| a.value.as_mut()).for_each(in_value);
}

/// Values are nested no deeper than prost decodes, which is a hundred levels.
fn in_value(value: &mut AnyValue) {
    match &mut value.value {
        Some(any_value::Value::DoubleValue(number)) => in_float(number),
        Some(any_value::Value::ArrayValue(array)) => array.values.iter_mut().for_each(in_value),
        Some(any_value::Value::KvlistValue(list)) => in_attributes(&mut list.values),
        _ => {}
    }
}

fn in_metric(metric: &mut Metric) {
    in_attributes(&mut metric.metadata);
    match &mut metric.data {
        Some(metric::Data::Gauge(gauge)) => gauge.data_points.iter_mut().for_each(in_number),
        Some(metric::Data::Sum(sum)) => sum.data_points.iter_mut().for_each(in_number),
        Some(metric::Data::Histogram(histogram)) => {
            for point in &mut histogram.data_points {
                in_attributes(&mut point.attributes);
                let range = [&mut point.sum, &mut point.min, &mut point.max];
                range.into_iter().flatten().for_each(in_float);
                point.explicit_bounds.iter_mut().for_each(in_float);
                point.exemplars.iter_mut().for_each(in_exemplar);
            }
        }
        Some(metric::Data::ExponentialHistogram(histogram)) => {
            for point in &mut histogram.data_points {
                in_attributes(&mut point.attributes);
                let range = [&mut point.sum, &mut point.min, &mut point.max];
                range.into_iter().flatten().for_each(in_float);
                point.exemplars.iter_mut().for_each(in_exemplar);
            }
        }
        // opentelemetry-proto names the floats of its quantiles itself.
        Some(metric::Data::Summary(summary)) => {
            for point in &mut summary.data_points {
                in_attributes(&mut point.attributes);
                in_float(&mut point.sum);
            }
        }
        None => {}
    }
}

fn in_number(point: &mut NumberDataPoint) {
    in_attributes(&mut point.attributes);
    point.exemplars.iter_mut().for_each(in_exemplar);
    if let Some(number_data_point::Value::AsDouble(number)) = &mut point.value {
        in_float(number);
    }
}

fn in_exemplar(exemplar: &mut Exemplar) {
    in_attributes(&mut exemplar.filtered_attributes);
    if let Some(exemplar::Value::AsDouble(number)) = &mut exemplar.value {
        in_float(number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traces::sample::{attribute, failed, span};
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans};

    #[test]
    fn the_rules_of_otlp_json_hold() {
        let mut sample = failed(span(0xCD, 1, Some(2), "a \"name\"", 0, 1));
        sample.attributes = vec![
            attribute("int", Value::IntValue(i64::MAX)),
            attribute("nan", Value::DoubleValue(f64::NAN)),
            attribute("down", Value::DoubleValue(f64::NEG_INFINITY)),
            attribute("half", Value::DoubleValue(0.5)),
        ];
        let scope_spans = vec![ScopeSpans { spans: vec![sample], ..ScopeSpans::default() }];
        let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
        let line = traces(ExportTraceServiceRequest { resource_spans }).unwrap();
        assert!(!line.contains(&b'\n'));
        let json: serde_json::Value = serde_json::from_slice(&line).unwrap();
        let span = &json["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
        assert_eq!(span["traceId"], format!("{}cd", "ab".repeat(15)));
        assert_eq!(span["spanId"], "0000000000000002");
        assert_eq!(span["startTimeUnixNano"], "1769860800000000000");
        assert_eq!((&span["kind"], &span["status"]["code"]), (&2.into(), &2.into()));
        let value = |n: usize| &span["attributes"][n]["value"];
        assert_eq!(value(0)["intValue"], "9223372036854775807");
        assert_eq!(value(1)["doubleValue"], "NaN");
        assert_eq!(value(2)["doubleValue"], "-Infinity");
        assert_eq!(value(3)["doubleValue"], 0.5);
    }
}
