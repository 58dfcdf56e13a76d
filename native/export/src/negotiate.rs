//! Which form of a response a client prefers: `Accept` and `Accept-Encoding`.
//!
//! The rules are RFC 9110's: of all media ranges that fit one of our formats
//! the most specific one gives its weight, and the heaviest format wins. Among
//! equals the one that was named more closely wins, then the one named first,
//! and last the order text, OpenMetrics, protobuf. So `*/*` is text, as every
//! Prometheus client library answers it.

use erlmcp_metrics::exposition::Format;
use hyper::header::{ACCEPT, ACCEPT_ENCODING, HeaderMap, HeaderName};

/// A weight in thousandths, as exact as RFC 9110 lets it be written.
type Weight = u16;

const FULL_WEIGHT: Weight = 1_000;

/// In the order of preference among formats that a client likes equally.
const FORMATS: [Format; 3] = [Format::Text, Format::OpenMetrics, Format::Protobuf];

/// The exposition format for a request. Without a usable `Accept`, or with
/// one that fits none of the formats, it is text: a person who reads it beats
/// an empty 406.
pub(crate) fn format(headers: &HeaderMap) -> Format {
    let ranges: Vec<MediaRange> =
        elements(headers, &ACCEPT).filter_map(|element| MediaRange::parse(&element)).collect();
    let mut best: Option<(Format, Fit)> = None;
    for format in FORMATS {
        let fit = best_fit(format, &ranges).filter(|fit| fit.weight > 0);
        if let Some(fit) = fit
            && best.is_none_or(|(_, other)| fit.beats(other))
        {
            best = Some((format, fit));
        }
    }
    best.map_or(Format::Text, |(format, _)| format)
}

/// Whether the response is to be compressed with gzip.
pub(crate) fn gzip(headers: &HeaderMap) -> bool {
    let (mut gzip, mut identity, mut any) = (None, None, None);
    for element in elements(headers, &ACCEPT_ENCODING) {
        let mut parts = split(&element, ';');
        let coding = parts.next().unwrap_or_default().to_ascii_lowercase();
        let Some(weight) = weight(parts) else {
            continue;
        };
        match coding.as_str() {
            "gzip" | "x-gzip" => gzip = Some(weight),
            "identity" => identity = Some(weight),
            "*" => any = Some(weight),
            _ => {}
        }
    }
    let gzip = gzip.or(any).unwrap_or(0);
    gzip > 0 && gzip >= identity.unwrap_or(0)
}

/// Whether a client likes JSON better than HTML. Without a word about either,
/// it gets HTML.
pub(crate) fn prefers_json_to_html(headers: &HeaderMap) -> bool {
    let ranges: Vec<MediaRange> =
        elements(headers, &ACCEPT).filter_map(|element| MediaRange::parse(&element)).collect();
    let weight = |kind: &str, subtype: &str| {
        let fits = ranges.iter().filter_map(|range| Some((range.names(kind, subtype)?, range)));
        let closest = fits.max_by_key(|(specificity, range)| (*specificity, range.weight));
        closest.map_or(0, |(_, range)| range.weight)
    };
    weight("application", "json") > weight("text", "html")
}

/// How well a media range fits a format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fit {
    weight: Weight,
    specificity: u8,
    position: usize,
}

impl Fit {
    fn beats(self, other: Self) -> bool {
        let rank = |fit: Self| (fit.weight, fit.specificity, usize::MAX - fit.position);
        rank(self) > rank(other)
    }
}

fn best_fit(format: Format, ranges: &[MediaRange]) -> Option<Fit> {
    let fits = ranges.iter().enumerate().filter_map(|(position, range)| {
        Some(Fit { weight: range.weight, specificity: range.specificity(format)?, position })
    });
    fits.max_by_key(|fit| (fit.specificity, fit.weight, usize::MAX - fit.position))
}

/// One element of an `Accept` header. Names and types are in lower case.
#[derive(Debug)]
struct MediaRange {
    kind: String,
    subtype: String,
    parameters: Vec<(String, String)>,
    weight: Weight,
}

impl MediaRange {
    fn parse(element: &str) -> Option<Self> {
        let mut parts = split(element, ';');
        let essence = parts.next()?.to_ascii_lowercase();
        let (kind, subtype) = essence.split_once('/')?;
        let parameters: Vec<(String, String)> = parts.filter_map(parameter).collect();
        let weight = match parameters.iter().find(|(name, _)| name == "q") {
            Some((_, text)) => parse_weight(text)?,
            None => FULL_WEIGHT,
        };
        Some(Self {
            kind: kind.trim().to_owned(),
            subtype: subtype.trim().to_owned(),
            parameters,
            weight,
        })
    }

    /// How closely this range names a type, parameters aside; nothing when it
    /// does not fit.
    fn names(&self, kind: &str, subtype: &str) -> Option<u8> {
        match (self.kind.as_str(), self.subtype.as_str()) {
            ("*", "*") => Some(0),
            (k, "*") if k == kind => Some(1),
            (k, s) if k == kind && s == subtype => Some(2),
            _ => None,
        }
    }

    /// How closely this range names the format; nothing when it does not fit.
    /// Parameters that say nothing about the format, such as `escaping`, are
    /// passed over: the names that we expose need no escaping.
    fn specificity(&self, format: Format) -> Option<u8> {
        let (kind, subtype, distinctions) = distinctions(format);
        let mut specificity = self.names(kind, subtype)?;
        if specificity < 2 {
            return Some(specificity);
        }
        for (name, accepted) in distinctions {
            if let Some((_, value)) = self.parameters.iter().find(|(n, _)| n == name) {
                if !accepted.iter().any(|a| a.eq_ignore_ascii_case(value)) {
                    return None;
                }
                specificity += 1;
            }
        }
        Some(specificity)
    }
}

/// The parameters that tell a format from its relatives, with the values that
/// mean it.
type Distinctions = &'static [(&'static str, &'static [&'static str])];

fn distinctions(format: Format) -> (&'static str, &'static str, Distinctions) {
    match format {
        Format::Text => ("text", "plain", &[("version", &["0.0.4"])]),
        // 0.0.1 was the draft of 1.0.0: whoever reads the one reads the other.
        Format::OpenMetrics => {
            ("application", "openmetrics-text", &[("version", &["1.0.0", "0.0.1"])])
        }
        Format::Protobuf => (
            "application",
            "vnd.google.protobuf",
            &[("proto", &["io.prometheus.client.MetricFamily"]), ("encoding", &["delimited"])],
        ),
    }
}

/// The elements of all header lines of one name. Lines that are not text have none.
fn elements<'a>(
    headers: &'a HeaderMap,
    name: &'static HeaderName,
) -> impl Iterator<Item = String> + 'a {
    headers
        .get_all(name)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| split(line, ',').collect::<Vec<_>>())
        .filter(|element| !element.is_empty())
}

/// Splits at a separator outside of quotes and trims the parts.
fn split(text: &str, separator: char) -> impl Iterator<Item = String> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |c: char| {
        if escaped {
            escaped = false;
            return false;
        }
        match c {
            '"' => quoted = !quoted,
            '\\' => escaped = quoted,
            _ => {}
        }
        c == separator && !quoted
    })
    .map(|part| part.trim().to_owned())
    .collect::<Vec<_>>()
    .into_iter()
}

/// `name=value`, the value without its quotes.
fn parameter(text: String) -> Option<(String, String)> {
    let (name, value) = text.split_once('=')?;
    let value = value.trim();
    let value = match value.strip_prefix('"').and_then(|v| v.strip_suffix('"')) {
        Some(quoted) => quoted.replace('\\', ""),
        None => value.to_owned(),
    };
    Some((name.trim().to_ascii_lowercase(), value))
}

/// The weight among parameters; nothing when it is written wrongly.
fn weight(parameters: impl Iterator<Item = String>) -> Option<Weight> {
    let mut parameters = parameters.filter_map(parameter);
    match parameters.find(|(name, _)| name == "q") {
        Some((_, text)) => parse_weight(&text),
        None => Some(FULL_WEIGHT),
    }
}

/// `0`, `1`, `0.25`: at most three decimals count, further ones are cut off.
fn parse_weight(text: &str) -> Option<Weight> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let whole: Weight = match whole {
        "0" | "" => 0,
        "1" => FULL_WEIGHT,
        _ => return None,
    };
    if whole == 0 && decimals.is_empty() && text != "0" && text != "0." {
        return None;
    }
    let mut scale = FULL_WEIGHT;
    let mut part = 0;
    for c in decimals.chars() {
        let digit = Weight::try_from(c.to_digit(10)?).ok()?;
        scale /= 10;
        part += digit * scale;
    }
    Some((whole + part).min(FULL_WEIGHT))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    const OM: Format = Format::OpenMetrics;
    const TEXT: Format = Format::Text;
    const PROTO: Format = Format::Protobuf;

    fn headers(name: HeaderName, lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(&name, HeaderValue::from_str(line).unwrap());
        }
        headers
    }

    #[test]
    fn what_prometheus_sends() {
        let table = [
            // 2.42
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                OM,
            ),
            // 2.42 with native histograms
            (
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,application/openmetrics-text;version=1.0.0;q=0.8,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                PROTO,
            ),
            // 2.53
            (
                "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                OM,
            ),
            // 2.53 with native histograms
            (
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                PROTO,
            ),
            // 3.x
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                OM,
            ),
            // 3.x told to ask for protobuf, or for text only
            (
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;escaping=allow-utf-8;q=0.7,application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,*/*;q=0.2",
                PROTO,
            ),
            ("text/plain;version=0.0.4;q=0.3,*/*;q=0.2", TEXT),
            (
                "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.2",
                TEXT,
            ),
        ];
        for (accept, expected) in table {
            assert_eq!(format(&headers(ACCEPT, &[accept])), expected, "{accept}");
        }
    }

    #[test]
    fn what_others_send() {
        let table = [
            ("*/*", TEXT),
            ("text/html,application/xhtml+xml,*/*;q=0.8", TEXT),
            ("text/*", TEXT),
            ("application/*", OM),
            ("text/plain", TEXT),
            ("text/plain; charset=utf-8", TEXT),
            ("application/openmetrics-text", OM),
            ("APPLICATION/OpenMetrics-Text; VERSION=\"1.0.0\"", OM),
            ("application/openmetrics-text; version=0.0.1", OM),
            ("application/openmetrics-text; version=2.0.0", TEXT),
            ("application/vnd.google.protobuf", PROTO),
            (
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=text",
                TEXT,
            ),
            (
                "application/vnd.google.protobuf;proto=other;encoding=delimited,application/openmetrics-text;q=0.1",
                OM,
            ),
            // ties: the closer name, then the first, then text
            ("*/*, application/openmetrics-text", OM),
            ("application/openmetrics-text, text/plain", OM),
            ("text/plain, application/openmetrics-text", TEXT),
            ("application/*;q=0.5, text/*;q=0.5", OM),
            // the most specific range decides, however heavy the others are
            ("text/plain;q=0.1, */*;q=0.9", OM),
            ("text/plain;q=0, application/openmetrics-text;q=0, */*", PROTO),
            (
                "text/plain;version=0.0.4;q=0.2, text/plain;q=0.9, application/openmetrics-text;q=0.5",
                OM,
            ),
            // nothing that we have, and nonsense
            ("application/json", TEXT),
            ("*/*;q=0", TEXT),
            ("", TEXT),
            (",,;;=,/", TEXT),
            ("application/openmetrics-text;q=high", TEXT),
            ("application/openmetrics-text;q=2", TEXT),
            ("application/openmetrics-text;q=-1", TEXT),
            ("application/openmetrics-text;q=.", TEXT),
            ("text/plain;q=0.5, application/openmetrics-text;q=0.5001", TEXT),
            (
                "text/plain;a=\",application/openmetrics-text,\";q=0.4, application/openmetrics-text;q=\"0.5\"",
                OM,
            ),
        ];
        for (accept, expected) in table {
            assert_eq!(format(&headers(ACCEPT, &[accept])), expected, "{accept}");
        }
        assert_eq!(format(&HeaderMap::new()), TEXT);
        let lines = ["text/plain;q=0.5", "application/openmetrics-text"];
        assert_eq!(format(&headers(ACCEPT, &lines)), OM);
    }

    #[test]
    fn json_or_html() {
        let table = [
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", false),
            ("*/*", false),
            ("application/json", true),
            ("application/json, text/plain, */*", false),
            ("application/json, */*;q=0.5", true),
            ("text/html;q=0.5, application/*", true),
            ("application/json;q=0.5, text/html", false),
            ("text/plain", false),
            ("", false),
        ];
        for (accept, expected) in table {
            assert_eq!(prefers_json_to_html(&headers(ACCEPT, &[accept])), expected, "{accept}");
        }
        assert!(!prefers_json_to_html(&HeaderMap::new()));
    }

    #[test]
    fn bytes_that_are_no_text_are_passed_over() {
        let mut headers = headers(ACCEPT, &["application/openmetrics-text"]);
        headers.append(ACCEPT, HeaderValue::from_bytes(b"\xff\xfe").unwrap());
        assert_eq!(format(&headers), OM);
    }

    #[test]
    fn encodings() {
        let table = [
            ("gzip", true),
            ("GZIP", true),
            ("x-gzip", true),
            ("gzip, deflate, br", true),
            ("deflate, gzip;q=0.5", true),
            ("*", true),
            ("gzip;q=0", false),
            ("gzip;q=0.0, *", false),
            ("gzip;q=0.000", false),
            ("*;q=0", false),
            ("gzip;q=0.5, identity", false),
            ("gzip;q=0.5, identity;q=0.5", true),
            ("identity;q=0, gzip", true),
            ("identity", false),
            ("br", false),
            ("gzip;q=x", false),
            ("", false),
        ];
        for (accept, expected) in table {
            let headers = headers(ACCEPT_ENCODING, &[accept]);
            assert_eq!(gzip(&headers), expected, "{accept}");
        }
        assert!(!gzip(&HeaderMap::new()));
    }
}
