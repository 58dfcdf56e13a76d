//! `google.rpc.Status`, as far as OTLP uses it.

use std::time::Duration;

use prost::Message;

use super::retry::asked_by_status;

/// An error of a receiver.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct RpcStatus {
    #[prost(int32, tag = "1")]
    pub(crate) code: i32,
    #[prost(string, tag = "2")]
    pub(crate) message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<ProtoDuration>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, Copy, PartialEq, Message)]
struct ProtoDuration {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

const RETRY_INFO: &str = "/google.rpc.RetryInfo";

impl RpcStatus {
    /// Reads one.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        Self::decode(bytes).ok()
    }

    /// The wait that it asks for.
    pub(crate) fn retry_delay(&self) -> Option<Duration> {
        let info = self.details.iter().find(|detail| detail.type_url.ends_with(RETRY_INFO))?;
        let delay = RetryInfo::decode(info.value.as_slice()).ok()?.retry_delay.unwrap_or_default();
        Some(asked_by_status(delay.seconds, delay.nanos))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_info_is_found() {
        let info =
            RetryInfo { retry_delay: Some(ProtoDuration { seconds: 1, nanos: 500_000_000 }) };
        let status = RpcStatus {
            code: 14,
            message: "no".to_owned(),
            details: vec![
                Any { type_url: "type.googleapis.com/google.rpc.Help".to_owned(), value: vec![] },
                Any {
                    type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(),
                    value: info.encode_to_vec(),
                },
            ],
        };
        let read = RpcStatus::read(&status.encode_to_vec()).unwrap();
        assert_eq!(read.retry_delay(), Some(Duration::from_millis(1500)));
    }
    #[test]
    fn a_status_without_retry_info_asks_for_nothing() {
        let status = RpcStatus { code: 8, message: String::new(), details: Vec::new() };
        assert_eq!(RpcStatus::read(&status.encode_to_vec()).unwrap().retry_delay(), None);
        assert_eq!(RpcStatus::read(b"\xff"), None);
    }
}
