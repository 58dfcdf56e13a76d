//! Response bodies: shared bytes, handed out without a copy.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use crate::phase::Responding;

/// The finished bytes of a response, in pieces. Any number of connections send
/// the same ones.
#[derive(Debug, Default)]
pub(crate) struct Payload {
    chunks: Vec<Bytes>,
    bytes: u64,
}

impl Payload {
    pub(crate) fn new(chunks: Vec<Vec<u8>>) -> Self {
        let chunks: Vec<Bytes> =
            chunks.into_iter().filter(|chunk| !chunk.is_empty()).map(Bytes::from).collect();
        let bytes = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        Self { chunks, bytes }
    }

    pub(crate) fn chunks(&self) -> &[Bytes] {
        &self.chunks
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl From<String> for Payload {
    fn from(text: String) -> Self {
        Self::new(vec![text.into_bytes()])
    }
}

/// A payload on its way to one client.
#[derive(Debug)]
pub(crate) struct PayloadBody {
    payload: Arc<Payload>,
    next: usize,
    sent: u64,
    /// Tells the connection that the response is over when the body is dropped.
    _responding: Responding,
}

impl PayloadBody {
    pub(crate) fn new(payload: Arc<Payload>, responding: Responding) -> Self {
        Self { payload, next: 0, sent: 0, _responding: responding }
    }
}

impl Body for PayloadBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(chunk) = self.payload.chunks.get(self.next).cloned() else {
            return Poll::Ready(None);
        };
        self.next += 1;
        self.sent += chunk.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.next == self.payload.chunks.len()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.payload.bytes - self.sent)
    }
}
