//! A client's stream with deadlines.
//!
//! hyper ends a connection whose request head takes too long, but counts the
//! pause between two requests as part of the next head, and lets a client take
//! as long as it likes to read a response. Here the three have clocks of their
//! own: the head of a request, the pause, and the lack of any progress in
//! writing.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use crate::phase::{Numbered, Phase, PhaseCell};

/// The deadlines of one connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadlines {
    /// For the whole head of a request.
    pub(crate) header: Duration,
    /// For the first byte of the next request.
    pub(crate) idle: Duration,
    /// For any progress in writing.
    pub(crate) write: Duration,
}

/// The deadline that a client let pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missed {
    /// The head of a request took too long.
    Header,
    /// No further request came.
    Idle,
    /// The client took nothing of a response for too long.
    Write,
}

/// A stream whose reads and writes fail once the client misses a deadline.
#[derive(Debug)]
pub(crate) struct TimedStream<S> {
    inner: S,
    deadlines: Deadlines,
    phase: PhaseCell,
    read_clock: Clock,
    /// The phase that the clock for reading runs for.
    clocked: Numbered,
    write_clock: Clock,
    /// Whether bytes came in that belong to the request after the one that is
    /// being answered.
    read_ahead: bool,
    missed: Option<Missed>,
}

impl<S> TimedStream<S> {
    /// The clock for the first request's head starts now.
    pub(crate) fn new(inner: S, deadlines: Deadlines, phase: PhaseCell) -> Self {
        let mut read_clock = Clock::default();
        read_clock.start(deadlines.header);
        Self {
            inner,
            deadlines,
            clocked: phase.get(),
            phase,
            read_clock,
            write_clock: Clock::default(),
            read_ahead: false,
            missed: None,
        }
    }

    pub(crate) fn get_ref(&self) -> &S {
        &self.inner
    }

    pub(crate) fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The deadline that ended this connection.
    pub(crate) fn missed(&self) -> Option<Missed> {
        self.missed
    }

    fn note_read(&mut self) {
        match self.phase.get().phase {
            Phase::Response => self.read_ahead = true,
            Phase::Idle => self.phase.set(Phase::Head),
            Phase::Head => {}
        }
    }

    /// Whether the client has kept a read waiting for too long.
    fn poll_read_deadline(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        if self.phase.get().phase == Phase::Idle && self.read_ahead {
            self.phase.set(Phase::Head);
            self.read_ahead = false;
        }
        let current = self.phase.get();
        if current != self.clocked {
            self.clocked = current;
            match current.phase {
                Phase::Head => self.read_clock.start(self.deadlines.header),
                Phase::Idle => self.read_clock.start(self.deadlines.idle),
                Phase::Response => self.read_clock.stop(),
            }
        }
        // While the end of a response is still being written, the writes have
        // the only clock that counts.
        if self.write_clock.running || self.read_clock.poll(cx).is_pending() {
            return Poll::Pending;
        }
        Poll::Ready(self.miss(match current.phase {
            Phase::Idle => Missed::Idle,
            Phase::Head | Phase::Response => Missed::Header,
        }))
    }

    /// Passes on what a write came to, or ends a wait that took too long.
    fn with_write_deadline<T>(
        &mut self,
        cx: &mut Context<'_>,
        result: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if result.is_ready() {
            if self.write_clock.running {
                self.write_clock.stop();
                // Has the reading side look at its clock again.
                cx.waker().wake_by_ref();
            }
            return result;
        }
        if !self.write_clock.running {
            self.write_clock.start(self.deadlines.write);
        }
        match self.write_clock.poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(self.miss(Missed::Write))),
            Poll::Pending => Poll::Pending,
        }
    }

    fn miss(&mut self, missed: Missed) -> io::Error {
        self.missed = Some(missed);
        io::ErrorKind::TimedOut.into()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for TimedStream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let result = Pin::new(&mut this.inner).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            this.note_read();
        }
        // Asked also when bytes came: a head may trickle in without end.
        match this.poll_read_deadline(cx) {
            Poll::Ready(error) => Poll::Ready(Err(error)),
            Poll::Pending => result,
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for TimedStream<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.inner).poll_write(cx, bytes);
        this.with_write_deadline(cx, result)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.inner).poll_write_vectored(cx, slices);
        this.with_write_deadline(cx, result)
    }

    // Without this hyper would copy the whole response into a buffer of its own.
    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}

/// A timer that can be stopped and started again.
#[derive(Debug, Default)]
struct Clock {
    sleep: Option<Pin<Box<Sleep>>>,
    running: bool,
}

impl Clock {
    fn start(&mut self, time: Duration) {
        self.running = true;
        match &mut self.sleep {
            Some(sleep) => sleep.as_mut().reset(Instant::now() + time),
            None => self.sleep = Some(Box::pin(sleep(time))),
        }
    }

    fn stop(&mut self) {
        self.running = false;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.sleep {
            Some(sleep) if self.running => sleep.as_mut().poll(cx),
            _ => Poll::Pending,
        }
    }
}
