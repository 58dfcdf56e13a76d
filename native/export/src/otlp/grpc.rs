//! Requests over gRPC.
//!
//! tonic frames, compresses and reads the status; the connection is the one that
//! HTTP has too, so that there is one way to set up TLS. A codec that does
//! nothing lets the ready bytes through.

use std::error::Error;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};
use http::uri::PathAndQuery;
use http::{HeaderMap, Uri};
use hyper_util::client::legacy;
use tonic::client::Grpc;
use tonic::codec::{
    BufferSettings, Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder,
};
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};

use super::answer::{Answer, accepted, causes, shown};
use super::config::{OtlpCompression, OtlpEndpoint};
use super::connect::Connector;
use super::signal::Signal;
use super::status::RpcStatus;

/// Longest message of a receiver that is read.
const LONGEST_RESPONSE: usize = 64 << 10;
/// A request is one message: tonic's buffer takes it whole.
const BUFFER_STEP: usize = 64 << 10;

/// Calls the method of one signal.
#[derive(Debug, Clone)]
pub(crate) struct GrpcSender {
    client: Grpc<legacy::Client<Connector, tonic::body::Body>>,
    path: PathAndQuery,
    metadata: MetadataMap,
    timeout: Duration,
}

impl GrpcSender {
    pub(crate) fn new(
        signal: Signal,
        client: legacy::Client<Connector, tonic::body::Body>,
        origin: Uri,
        headers: HeaderMap,
        endpoint: &OtlpEndpoint,
    ) -> Self {
        let mut client =
            Grpc::with_origin(client, origin).max_decoding_message_size(LONGEST_RESPONSE);
        if endpoint.compression == OtlpCompression::Gzip {
            client = client.send_compressed(CompressionEncoding::Gzip);
        }
        Self {
            client,
            path: PathAndQuery::from_static(signal.grpc_path()),
            metadata: MetadataMap::from_headers(headers),
            timeout: endpoint.timeout,
        }
    }

    /// Sends a request once. The caller bounds its time.
    pub(crate) async fn send(&self, body: Bytes) -> Answer {
        let mut client = self.client.clone();
        if let Err(error) = client.ready().await {
            return Answer::Later { after: None, why: causes(&error) };
        }
        let mut request = tonic::Request::new(body);
        *request.metadata_mut() = self.metadata.clone();
        request.set_timeout(self.timeout);
        match client.unary(request, self.path.clone(), RawCodec).await {
            Ok(response) => accepted(response.into_inner()),
            Err(status) => answer(&status),
        }
    }
}

/// What a status means. The codes are those of the OTLP specification.
fn answer(status: &Status) -> Answer {
    if let Some(error) = status.source() {
        // No status of the receiver: the connection failed.
        return Answer::Later { after: None, why: causes(error) };
    }
    let after = RpcStatus::read(status.details()).and_then(|status| status.retry_delay());
    let why = match status.message() {
        "" => format!("{:?}", status.code()),
        message => format!("{:?}: {}", status.code(), shown(message)),
    };
    match status.code() {
        Code::ResourceExhausted | Code::OutOfRange
            if after.is_none() && is_about_size(status.message()) =>
        {
            Answer::TooLarge { why }
        }
        Code::ResourceExhausted if after.is_none() => Answer::Refused { why },
        Code::ResourceExhausted
        | Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => Answer::Later { after, why },
        _ => Answer::Refused { why },
    }
}

/// Whether a receiver complains about a message's size. There is no code for it:
/// these are the words of grpc-go and the C core, grpc-java, and tonic.
fn is_about_size(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    ["larger than max", "exceeds maximum size", "message length too large", "message too large"]
        .iter()
        .any(|words| message.contains(words))
}

/// Lets bytes through.
#[derive(Debug, Clone, Copy)]
struct RawCodec;

impl Codec for RawCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.reserve(item.len());
        buffer.put(item);
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(BUFFER_STEP, BUFFER_STEP)
    }
}

impl Decoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_that_ask_for_another_attempt_are_those_of_the_specification() {
        let again: Vec<i32> = (1..=16)
            .filter(|code| {
                matches!(answer(&Status::new(Code::from(*code), "")), Answer::Later { .. })
            })
            .collect();
        assert_eq!(again, [1, 4, 10, 11, 14, 15]);
    }

    #[test]
    fn complaints_about_size_are_understood() {
        let complaints = [
            (Code::ResourceExhausted, "grpc: received message larger than max (5 vs. 4)"),
            (Code::ResourceExhausted, "gRPC message exceeds maximum size 4194304: 5000000"),
            (Code::ResourceExhausted, "CLIENT: Received message larger than max (5 vs. 4)"),
            (Code::OutOfRange, "Error, decoded message length too large: found 5 bytes"),
        ];
        for (code, message) in complaints {
            let answer = answer(&Status::new(code, message));
            assert!(matches!(answer, Answer::TooLarge { .. }), "{message}");
        }
        let full = answer(&Status::new(Code::ResourceExhausted, "quota"));
        assert!(matches!(full, Answer::Refused { .. }));
    }
}
