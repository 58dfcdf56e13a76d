//! Cuts what the queue gives into requests.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use erlmcp_trace::Records;

use super::custody::{Custody, Fate, Ledger};
use super::frame::{ScopeBytes, record_len};
use super::stats::DropReason;

/// A whole request, ready to be sent as often as it takes.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// The frame and, at its end, the records.
    pub(crate) body: Bytes,
    /// Where the records begin.
    pub(crate) records_at: usize,
    /// How many there are.
    pub(crate) count: u32,
}

/// A request and the custody of its records.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) request: Request,
    pub(crate) custody: Custody,
}

impl Request {
    /// The records, without the frame.
    fn records(&self) -> Bytes {
        self.body.slice(self.records_at.min(self.body.len())..)
    }

    /// Two requests with half of the records each, and how many bytes of
    /// records the first has; nothing if there is only one record.
    pub(crate) fn halves(&self) -> Option<(Self, Self, usize)> {
        let scope = ScopeBytes::of_request(&self.body, self.records_at)?;
        let records = self.records();
        let half = self.count / 2;
        let mut at = 0;
        for _ in 0..half {
            at += record_len(records.get(at..)?)?;
        }
        if at == 0 || at >= records.len() {
            return None;
        }
        let first = Self::new(&scope, &[records.slice(..at)], half);
        let second = Self::new(&scope, &[records.slice(at..)], self.count - half);
        Some((first, second, at))
    }

    fn new(scope: &ScopeBytes, records: &[Bytes], count: u32) -> Self {
        let len = records.iter().map(Bytes::len).sum();
        let body = Bytes::from(scope.request(records.iter().map(AsRef::as_ref), len));
        let records_at = body.len() - len;
        Self { body, records_at, count }
    }
}

impl Batch {
    /// See [`Request::halves`].
    pub(crate) fn halves(mut self) -> Result<(Self, Self), Self> {
        let Some((first, second, bytes)) = self.request.halves() else {
            return Err(self);
        };
        let custody = self.custody.split_off(first.count, bytes);
        let first = Self { request: first, custody };
        Ok((first, Self { request: second, custody: self.custody }))
    }
}

/// How much a request may hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BatchLimits {
    pub(crate) records: u32,
    /// Of records, without the frame.
    pub(crate) bytes: usize,
}

/// Records that wait to be sent, in the order in which they came.
#[derive(Debug)]
pub(crate) struct Pending {
    ledger: Arc<Ledger>,
    scope: Arc<ScopeBytes>,
    limits: BatchLimits,
    chunks: VecDeque<Chunk>,
    /// How many records have come so far, and how many have been cut.
    came: u64,
    cut: u64,
    bytes: usize,
}

#[derive(Debug)]
struct Chunk {
    bytes: Bytes,
    custody: Custody,
}

impl Pending {
    pub(crate) fn new(ledger: Arc<Ledger>, scope: Arc<ScopeBytes>, limits: BatchLimits) -> Self {
        Self { ledger, scope, limits, chunks: VecDeque::new(), came: 0, cut: 0, bytes: 0 }
    }

    /// Takes records.
    pub(crate) fn push(&mut self, records: Records) {
        let custody = Custody::take(&self.ledger, records.count, records.bytes.len());
        self.came += u64::from(records.count);
        self.bytes += records.bytes.len();
        self.chunks.push_back(Chunk { bytes: records.bytes.into(), custody });
    }

    /// How many records have ever come.
    pub(crate) const fn came(&self) -> u64 {
        self.came
    }

    /// How many of them are no longer here.
    pub(crate) const fn cut(&self) -> u64 {
        self.cut
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.came == self.cut
    }

    /// Whether there is enough for a full request.
    pub(crate) const fn fills_a_batch(&self) -> bool {
        self.came - self.cut >= self.limits.records as u64 || self.bytes >= self.limits.bytes
    }

    /// The next request: as many records as may be in one.
    pub(crate) fn next(&mut self) -> Option<Batch> {
        let mut parts: Vec<Bytes> = Vec::new();
        let mut custody: Option<Custody> = None;
        let (mut count, mut len) = (0, 0);
        while let Some(chunk) = self.chunks.front_mut() {
            let (records, bytes) = chunk.fitting(self.limits, count, len);
            if records == 0 {
                if count > 0 && chunk.next_len().is_some_and(|next| next <= self.limits.bytes) {
                    break;
                }
                // Nothing of it fits although the request is empty, or would
                // not fit into an empty one either.
                let given_up = u64::from(chunk.give_up_first(&mut self.bytes));
                self.cut += given_up;
            } else {
                parts.push(chunk.bytes.split_to(bytes));
                let taken = chunk.custody.split_off(records, bytes);
                match &mut custody {
                    Some(custody) => custody.join(taken),
                    None => custody = Some(taken),
                }
                count += records;
                len += bytes;
                self.cut += u64::from(records);
                self.bytes -= bytes;
            }
            if chunk.bytes.is_empty() {
                self.cut += u64::from(chunk.custody.records());
                self.chunks.pop_front();
            } else if count >= self.limits.records {
                break;
            }
        }
        let request = Request::new(&self.scope, &parts, count);
        Some(Batch { request, custody: custody? })
    }
}

impl Chunk {
    /// How many of its records, and bytes of them, fit beside so many others.
    fn fitting(&self, limits: BatchLimits, count: u32, len: usize) -> (u32, usize) {
        let (mut records, mut bytes) = (0, 0);
        let room = (limits.records - count.min(limits.records)).min(self.custody.records());
        while records < room {
            let Some(next) = self.bytes.get(bytes..).and_then(record_len) else { break };
            if len + bytes + next > limits.bytes {
                break;
            }
            records += 1;
            bytes += next;
        }
        (records, bytes)
    }

    fn next_len(&self) -> Option<usize> {
        record_len(&self.bytes)
    }

    /// Gives up the first record, or all if they cannot be read. Returns how
    /// many.
    fn give_up_first(&mut self, pending: &mut usize) -> u32 {
        let (records, bytes, reason) = match self.next_len() {
            Some(bytes) => (1, bytes, DropReason::TooLarge),
            None => (self.custody.records(), self.bytes.len(), DropReason::Rejected),
        };
        drop(self.bytes.split_to(bytes));
        let given_up = self.custody.split_off(records, bytes);
        let records = given_up.records();
        given_up.settle(Fate::Dropped(reason));
        *pending -= bytes;
        records
    }
}

#[cfg(test)]
mod tests {
    use erlmcp_trace::{Queue, QueueLimits};

    use super::*;
    use crate::otlp::signal::Signal;
    use crate::otlp::stats::Counts;

    struct Bench {
        queue: Arc<Queue>,
        ledger: Arc<Ledger>,
        pending: Pending,
    }

    fn bench(records: u32, bytes: usize) -> Bench {
        let queue = Queue::new(QueueLimits::default());
        let counts = Counts::default();
        let ledger =
            Arc::new(Ledger { signal: Signal::Traces, counts, queue: Some(Arc::clone(&queue)) });
        let scope = Arc::new(ScopeBytes::new(&[], "scope", "1"));
        let limits = BatchLimits { records, bytes };
        Bench { queue, pending: Pending::new(Arc::clone(&ledger), scope, limits), ledger }
    }

    impl Bench {
        /// Queues records of these lengths, a buffer for each list.
        fn push(&mut self, buffers: &[&[usize]]) {
            for buffer in buffers {
                let producer = self.queue.producer();
                for len in *buffer {
                    producer.push(&vec![0; *len]).unwrap();
                }
            }
            for records in self.queue.drain() {
                self.pending.push(records);
            }
        }

        /// Cuts all there is: count and bytes of records of each request.
        fn cut(&mut self) -> Vec<(u32, usize)> {
            let mut batches = Vec::new();
            while !self.pending.is_empty() {
                let Some(batch) = self.pending.next() else { continue };
                assert_eq!(batch.custody.records(), batch.request.count);
                batches.push((batch.request.count, batch.request.records().len()));
                batch.custody.settle(Fate::Exported { rejected: 0 });
            }
            batches
        }
    }

    #[test]
    fn a_request_spans_buffers_up_to_the_count() {
        let mut bench = bench(4, 1_000);
        bench.push(&[&[8, 8, 8], &[8], &[8, 8, 8, 8, 8]]);
        assert_eq!(bench.cut(), [(4, 40), (4, 40), (1, 10)]);
        assert_eq!(bench.queue.stats().held, 0);
    }

    #[test]
    fn a_request_holds_no_more_bytes_than_it_may() {
        let mut bench = bench(100, 50);
        bench.push(&[&[18, 18, 18], &[28, 48]]);
        assert_eq!(bench.cut(), [(2, 40), (2, 50), (1, 50)]);
        assert_eq!(bench.queue.stats().held_bytes, 0);
    }

    #[test]
    fn a_record_that_fits_nowhere_is_dropped_alone() {
        let mut bench = bench(100, 50);
        bench.push(&[&[49], &[8, 60, 8], &[60]]);
        assert_eq!(bench.cut(), [(2, 20)]);
        let stats = bench.ledger.counts.stats(0);
        assert_eq!((stats.exported, stats.dropped.get(DropReason::TooLarge)), (2, 3));
        assert_eq!((stats.taken, stats.pending, bench.queue.stats().held), (5, 0, 0));
    }

    #[test]
    fn what_cannot_be_read_is_given_up_and_counted() {
        let mut bench = bench(100, 50);
        bench.push(&[&[8]]);
        bench.pending.push(Records { count: 3, bytes: vec![0xFF; 9] });
        assert_eq!(bench.cut(), [(1, 10)]);
        assert_eq!(bench.ledger.counts.stats(0).dropped.get(DropReason::Rejected), 3);
    }

    #[test]
    fn halves_hold_all_and_a_single_record_has_none() {
        let mut bench = bench(100, 1_000);
        bench.push(&[&[8, 20, 30]]);
        let batch = bench.pending.next().unwrap();
        let (first, second) = batch.halves().unwrap();
        assert_eq!((first.request.count, first.request.records().len()), (1, 10));
        assert_eq!((second.request.count, second.request.records().len()), (2, 54));
        assert_eq!(second.custody.records(), 2);
        let single = first.halves().unwrap_err();
        single.custody.settle(Fate::Dropped(DropReason::TooLarge));
        drop(second);
        let stats = bench.ledger.counts.stats(0);
        assert_eq!(stats.dropped.get(DropReason::Shutdown), 2, "dropped without a word");
        assert_eq!(bench.queue.stats().held_bytes, 0);
    }
}
