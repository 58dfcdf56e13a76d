//! What a receiver answers, whatever the protocol.

use std::time::Duration;

use bytes::Bytes;
use prost::Message;

/// Longest text of a receiver that is shown.
const LONGEST_TEXT: usize = 300;

/// The end of one attempt to send a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Taken, but for so many records or data points.
    Accepted { rejected: u64, message: String },
    /// Not this time; another attempt may be made, not before so long.
    Later { after: Option<Duration>, why: String },
    /// The request is larger than the receiver takes.
    TooLarge { why: String },
    /// Never.
    Refused { why: String },
}

/// `ExportTraceServiceResponse`, `ExportMetricsServiceResponse` and
/// `ExportLogsServiceResponse`, which have one shape.
#[derive(Clone, PartialEq, Message)]
struct ExportResponse {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<PartialSuccess>,
}

#[derive(Clone, PartialEq, Message)]
struct PartialSuccess {
    /// `rejected_spans`, `rejected_data_points`, `rejected_log_records`.
    #[prost(int64, tag = "1")]
    rejected: i64,
    #[prost(string, tag = "2")]
    error_message: String,
}

/// The answer that a response to a request that was taken means. What cannot be
/// read is a plain success: the receiver has said that it has the request.
pub(crate) fn accepted(response: Bytes) -> Answer {
    let partial = ExportResponse::decode(response).unwrap_or_default().partial_success;
    let partial = partial.unwrap_or_default();
    Answer::Accepted {
        rejected: u64::try_from(partial.rejected).unwrap_or(0),
        message: shown(&partial.error_message),
    }
}

/// A receiver's text on one line of bounded length.
pub(crate) fn shown(text: &str) -> String {
    let mut shown: String =
        text.chars().take(LONGEST_TEXT).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(LONGEST_TEXT).is_some() {
        shown.push('…');
    }
    shown
}

/// An error and what caused it, on one line.
pub(crate) fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    shown(&text)
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::logs::v1 as logs;
    use opentelemetry_proto::tonic::collector::metrics::v1 as metrics;
    use opentelemetry_proto::tonic::collector::trace::v1 as trace;

    use super::*;

    #[test]
    fn the_responses_of_every_signal_are_read() {
        let responses = [
            trace::ExportTraceServiceResponse {
                partial_success: Some(trace::ExportTracePartialSuccess {
                    rejected_spans: 3,
                    error_message: "no".to_owned(),
                }),
            }
            .encode_to_vec(),
            metrics::ExportMetricsServiceResponse {
                partial_success: Some(metrics::ExportMetricsPartialSuccess {
                    rejected_data_points: 3,
                    error_message: "no".to_owned(),
                }),
            }
            .encode_to_vec(),
            logs::ExportLogsServiceResponse {
                partial_success: Some(logs::ExportLogsPartialSuccess {
                    rejected_log_records: 3,
                    error_message: "no".to_owned(),
                }),
            }
            .encode_to_vec(),
        ];
        for response in responses {
            let expected = Answer::Accepted { rejected: 3, message: "no".to_owned() };
            assert_eq!(accepted(response.into()), expected);
        }
    }

    #[test]
    fn a_response_without_partial_success_is_a_success() {
        let success = Answer::Accepted { rejected: 0, message: String::new() };
        assert_eq!(accepted(Bytes::new()), success);
        assert_eq!(accepted(Bytes::from_static(b"<html>")), success);
    }

    #[test]
    fn a_text_is_one_bounded_line() {
        assert_eq!(shown("a\nb\u{1b}"), "a b ");
        assert_eq!(shown(&"é".repeat(400)).chars().count(), LONGEST_TEXT + 1);
    }
}
