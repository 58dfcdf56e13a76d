//! A client's stream with deadlines.
//!
//! hyper ends a connection whose request head takes too long, but counts the
//! pause between two requests as part of the next head, and lets a client take
//! as long as it likes to read a response. Here the three have clocks of their
//! own: the head of a request, the pause, and the lack of progress in writing.
//! Any progress is not enough for long: a response has to be taken at some rate
//! on average, or a client could hold its connection with a byte now and then.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use crate::phase::{Numbered, Phase, PhaseCell};

/// Most that TLS holds of what was written and not sent (rustls' default).
const BUFFERED_BYTES: f64 = 65_536.0;

/// The deadlines of one connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadlines {
    /// For the whole head of a request; the first one's from the beginning.
    pub(crate) header: Duration,
    /// For the first byte of a further request.
    pub(crate) idle: Duration,
    /// For any progress in writing.
    pub(crate) write: Duration,
    /// Bytes a second of a response, on average, once `write` has passed.
    pub(crate) min_rate: f64,
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
    /// The client took too little of a response.
    Rate,
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
    /// Whether the clock for writing runs for the rate's sake.
    rate_counts: bool,
    /// For what was written and is not sent: TLS has a buffer of its own.
    flush_clock: Clock,
    /// The response that is being written, since when, and how much of it.
    writing: (Numbered, Instant, u64),
    /// Whether bytes came in that belong to the request after the one that is
    /// being answered.
    read_ahead: bool,
    /// Whether nothing was ever read.
    fresh: bool,
    missed: Option<Missed>,
    /// What was under way when the client ended its side.
    left_in: Option<Phase>,
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
            writing: (phase.get(), Instant::now(), 0),
            phase,
            read_clock,
            write_clock: Clock::default(),
            rate_counts: false,
            flush_clock: Clock::default(),
            read_ahead: false,
            fresh: true,
            missed: None,
            left_in: None,
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

    /// Whether the client left while a request or a response was under way.
    pub(crate) fn interrupted(&self) -> bool {
        self.left_in.is_some_and(|phase| phase != Phase::Idle)
    }

    fn note_read(&mut self) {
        match self.phase.get().phase {
            Phase::Response => self.read_ahead = true,
            Phase::Idle => {
                self.phase.set(Phase::Head);
                // The first head's clock runs already.
                if self.fresh {
                    self.clocked = self.phase.get();
                }
            }
            Phase::Head => {}
        }
        self.fresh = false;
    }

    fn note_left(&mut self, writing: bool) {
        let phase = match writing || self.is_sending() {
            true => Phase::Response,
            false => self.phase.get().phase,
        };
        self.left_in.get_or_insert(phase);
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
        if self.is_sending() || self.read_clock.poll(cx).is_pending() {
            return Poll::Pending;
        }
        Poll::Ready(self.miss(match current.phase {
            Phase::Idle if !self.fresh => Missed::Idle,
            Phase::Idle | Phase::Head | Phase::Response => Missed::Header,
        }))
    }

    /// Passes on what a write came to, or ends a wait that took too long.
    fn with_write_deadline<T>(
        &mut self,
        cx: &mut Context<'_>,
        result: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if matches!(result, Poll::Ready(Err(_))) {
            self.note_left(true);
        }
        if result.is_ready() {
            if self.write_clock.running {
                self.write_clock.stop();
                // Has the reading side look at its clock again.
                cx.waker().wake_by_ref();
            }
            return result;
        }
        if !self.write_clock.running {
            let left = self.time_left_by_rate();
            self.rate_counts = left < self.deadlines.write;
            self.write_clock.start(left.min(self.deadlines.write));
        }
        match self.write_clock.poll(cx) {
            Poll::Ready(()) if self.rate_counts => Poll::Ready(Err(self.miss(Missed::Rate))),
            Poll::Ready(()) => Poll::Ready(Err(self.miss(Missed::Write))),
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_sending(&self) -> bool {
        self.write_clock.running || self.flush_clock.running
    }

    /// Notes that a response is written, or goes on being written.
    fn note_writing(&mut self) {
        let current = self.phase.get();
        // What follows a response's end is the rest of it.
        if current.phase == Phase::Response && current != self.writing.0 {
            self.writing = (current, Instant::now(), 0);
        }
    }

    fn note_written(&mut self, result: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(bytes)) = result {
            self.writing.2 = self.writing.2.saturating_add(*bytes as u64);
            // A buffer that takes more has been emptied to that extent.
            if self.flush_clock.running {
                self.flush_clock.start(self.flush_time());
            }
        }
    }

    /// How long sending what is buffered may take.
    fn flush_time(&self) -> Duration {
        let by_rate = Duration::try_from_secs_f64(BUFFERED_BYTES / self.deadlines.min_rate);
        self.deadlines.write.max(by_rate.unwrap_or(Duration::MAX))
    }

    /// Ends a wait for what is buffered that took too long.
    fn with_flush_deadline(
        &mut self,
        cx: &mut Context<'_>,
        result: Poll<io::Result<()>>,
    ) -> Poll<io::Result<()>> {
        if result.is_ready() {
            if self.flush_clock.running {
                self.flush_clock.stop();
                cx.waker().wake_by_ref();
            }
            return result;
        }
        if !self.flush_clock.running {
            self.flush_clock.start(self.flush_time());
        }
        match self.flush_clock.poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(self.miss(Missed::Write))),
            Poll::Pending => Poll::Pending,
        }
    }

    /// How long the response may still take, by what was taken of it.
    fn time_left_by_rate(&self) -> Duration {
        let (_, begin, written) = self.writing;
        let earned = written as f64 / self.deadlines.min_rate;
        let earned = Duration::try_from_secs_f64(earned).unwrap_or(Duration::MAX);
        let allowed = self.deadlines.write.saturating_add(earned);
        allowed.saturating_sub(begin.elapsed())
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
        } else if result.is_ready() {
            this.note_left(false);
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
        this.note_writing();
        let result = Pin::new(&mut this.inner).poll_write(cx, bytes);
        this.note_written(&result);
        this.with_write_deadline(cx, result)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.note_writing();
        let result = Pin::new(&mut this.inner).poll_write_vectored(cx, slices);
        this.note_written(&result);
        this.with_write_deadline(cx, result)
    }

    // Without this hyper would copy the whole response into a buffer of its own.
    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.inner).poll_flush(cx);
        this.with_flush_deadline(cx, result)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // TLS says goodbye, for which there may be no room.
        let result = Pin::new(&mut this.inner).poll_shutdown(cx);
        this.with_flush_deadline(cx, result)
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::task::{Wake, Waker};

    use crate::phase::Responding;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::time::advance;

    const HEADER: Duration = Duration::from_secs(5);
    const IDLE: Duration = Duration::from_secs(120);
    const WRITE: Duration = Duration::from_secs(30);
    const MOMENT: Duration = Duration::from_millis(1);

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    /// A stream, its client, and a task that polls it.
    struct Bench {
        stream: TimedStream<DuplexStream>,
        client: DuplexStream,
        phase: PhaseCell,
        wakes: Arc<Wakes>,
    }

    impl Bench {
        fn new() -> Self {
            Self::with_rate(0.01)
        }

        fn with_rate(min_rate: f64) -> Self {
            let (server, client) = duplex(16);
            let phase = PhaseCell::new();
            let deadlines = Deadlines { header: HEADER, idle: IDLE, write: WRITE, min_rate };
            let stream = TimedStream::new(server, deadlines, phase.clone());
            Self { stream, client, phase, wakes: Arc::default() }
        }

        /// The number of bytes read, if any were there.
        fn read(&mut self) -> Poll<io::Result<usize>> {
            let waker = Waker::from(Arc::clone(&self.wakes));
            let mut bytes = [0; 8];
            let mut buffer = ReadBuf::new(&mut bytes);
            let stream = Pin::new(&mut self.stream);
            let result = stream.poll_read(&mut Context::from_waker(&waker), &mut buffer);
            result.map_ok(|()| buffer.filled().len())
        }

        fn write(&mut self, bytes: &[u8]) -> Poll<io::Result<usize>> {
            let waker = Waker::from(Arc::clone(&self.wakes));
            Pin::new(&mut self.stream).poll_write(&mut Context::from_waker(&waker), bytes)
        }

        /// A request comes in, and its response begins.
        async fn ask(&mut self) -> Responding {
            self.client.write_all(b"x").await.unwrap();
            assert!(matches!(self.read(), Poll::Ready(Ok(1))));
            self.phase.respond()
        }

        fn misses(&mut self, missed: Missed) {
            assert!(matches!(self.read(), Poll::Ready(Err(_))));
            assert_eq!(self.stream.missed(), Some(missed));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_do_not_put_off_the_deadline_of_a_head() {
        let mut bench = Bench::new();
        for _ in 0..4 {
            assert!(bench.read().is_pending());
            advance(HEADER / 4 - MOMENT).await;
            bench.client.write_all(b"x").await.unwrap();
            assert!(matches!(bench.read(), Poll::Ready(Ok(1))));
        }
        advance(MOMENT * 4).await;
        bench.misses(Missed::Header);
    }

    #[tokio::test(start_paused = true)]
    async fn a_response_has_no_deadline_for_reading_and_a_pause_its_own() {
        let mut bench = Bench::new();
        let responding = bench.ask().await;
        assert!(bench.read().is_pending());
        advance(IDLE * 2).await;
        assert!(bench.read().is_pending());
        drop(responding);
        assert!(bench.read().is_pending());
        advance(IDLE - MOMENT).await;
        assert!(bench.read().is_pending());
        advance(MOMENT).await;
        bench.misses(Missed::Idle);
    }

    #[tokio::test(start_paused = true)]
    async fn requests_that_follow_at_once_have_a_clock_each() {
        let mut bench = Bench::new();
        for _ in 0..10 {
            drop(bench.ask().await);
            advance(HEADER / 2).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_began_during_the_last_response_has_the_deadline_of_a_head() {
        let mut bench = Bench::new();
        let responding = bench.ask().await;
        bench.client.write_all(b"x").await.unwrap();
        assert!(matches!(bench.read(), Poll::Ready(Ok(1))));
        drop(responding);
        assert!(bench.read().is_pending());
        advance(HEADER).await;
        bench.misses(Missed::Header);
    }

    #[tokio::test(start_paused = true)]
    async fn any_progress_puts_off_the_deadline_for_writing() {
        let mut bench = Bench::new();
        let _responding = bench.ask().await;
        for _ in 0..4 {
            while bench.write(b"xxxx").is_ready() {}
            advance(WRITE - MOMENT).await;
            assert!(bench.write(b"xxxx").is_pending());
            bench.client.read_exact(&mut [0]).await.unwrap();
        }
        while bench.write(b"xxxx").is_ready() {}
        advance(WRITE).await;
        assert!(matches!(bench.write(b"x"), Poll::Ready(Err(_))));
        assert_eq!(bench.stream.missed(), Some(Missed::Write));
    }

    #[tokio::test(start_paused = true)]
    async fn a_byte_now_and_then_is_too_little_in_the_end() {
        let mut bench = Bench::with_rate(1.0);
        let _responding = bench.ask().await;
        let begin = Instant::now();
        let missed = loop {
            while bench.write(b"xxxx").is_ready() {}
            if let Some(missed) = bench.stream.missed() {
                break missed;
            }
            advance(Duration::from_secs(2)).await;
            bench.client.read_exact(&mut [0]).await.unwrap();
        };
        assert_eq!(missed, Missed::Rate);
        // 30 s, and one for each of 16 bytes at first and half a byte a second.
        let took = begin.elapsed().as_secs();
        assert!((90..=94).contains(&took), "{took}");
    }

    #[tokio::test(start_paused = true)]
    async fn each_response_has_its_own_time() {
        let mut bench = Bench::with_rate(1.0);
        for _ in 0..10 {
            let responding = bench.ask().await;
            while bench.write(b"xxxx").is_ready() {}
            advance(WRITE - MOMENT).await;
            assert!(bench.write(b"x").is_pending());
            bench.client.read_exact(&mut [0; 16]).await.unwrap();
            assert!(matches!(bench.write(b"x"), Poll::Ready(Ok(1))));
            bench.client.read_exact(&mut [0]).await.unwrap();
            drop(responding);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_pause_does_not_end_a_response_that_is_still_written() {
        let mut bench = Bench::new();
        drop(bench.ask().await);
        for _ in 0..10 {
            while bench.write(b"xxxx").is_ready() {}
            assert!(bench.read().is_pending());
            advance(WRITE - MOMENT).await;
            assert!(bench.read().is_pending());
            bench.client.read_exact(&mut [0]).await.unwrap();
        }
        // The last write goes through: somebody has to look at the pause's
        // clock again, for nothing else will wake the task.
        bench.client.read_exact(&mut [0; 15]).await.unwrap();
        let before = bench.wakes.0.load(SeqCst);
        assert!(matches!(bench.write(b"x"), Poll::Ready(Ok(1))));
        assert_eq!(bench.wakes.0.load(SeqCst), before + 1);
        bench.misses(Missed::Idle);
    }
}
