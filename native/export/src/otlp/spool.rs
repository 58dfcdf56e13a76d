//! Requests on disk until a receiver takes them, also over a restart.
//!
//! One file holds one request. It is written under another name, synced and
//! renamed, so that a file with its final name is whole unless the disk lies;
//! a checksum tells. The directory is locked for the node that uses it.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bytes::{Buf, Bytes};
use parking_lot::Mutex;
use thiserror::Error;

use super::batch::Request;
use super::error::ExporterStartError;
use super::signal::{PerSignal, Signal};

/// First bytes of a file; the last one is the format's version.
const MAGIC: &[u8; 8] = b"erlmcps\x01";
/// Magic, count, begin of the records, length of the body, checksum.
const HEADER_LEN: usize = 8 + 4 + 4 + 4 + 4;
const SUFFIX: &str = "otlp";
/// Of files that are being written.
const UNFINISHED: &str = "tmp";
/// Of files that cannot be read.
const ASIDE: &str = "corrupt";
/// Most files that are kept aside for somebody to look at.
const MAX_ASIDE: usize = 16;
const LOCK_FILE: &str = "lock";

/// See the module.
#[derive(Debug)]
pub(crate) struct Spool {
    dir: PathBuf,
    max_bytes: u64,
    state: Mutex<State>,
    /// Locked as long as it is open.
    /// Held until the exporter has ended.
    lock: File,
}

#[derive(Debug, Default)]
struct State {
    entries: PerSignal<VecDeque<Entry>>,
    /// Whether a serial number is in use: the next is one more than the last.
    next: u64,
    /// Of all files, those that are being written included.
    bytes: u64,
    aside: VecDeque<(PathBuf, u64)>,
}

/// A file of the spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    serial: u64,
    pub(crate) count: u32,
    bytes: u64,
}

/// Why a request could not be stored.
#[derive(Debug, Error)]
pub(crate) enum StoreError {
    #[error("the spool is full")]
    Full,
    #[error("the spool cannot be written to: {0}")]
    Io(#[from] io::Error),
}

/// Why a request could not be read back.
#[derive(Debug, Error)]
pub(crate) enum LoadError {
    #[error("a file of the spool is damaged and was set aside")]
    Damaged,
    #[error("a file of the spool cannot be read: {0}")]
    Io(#[from] io::Error),
}

/// Records that were found in the directory: those that can be sent, and those
/// in files that a crash left unfinished.
pub(crate) type Found = PerSignal<(u64, u64)>;

impl Spool {
    /// Opens the directory and counts what is in it.
    pub(crate) fn open(dir: &Path, max_bytes: u64) -> Result<(Self, Found), ExporterStartError> {
        let failed = |error| ExporterStartError::Spool { dir: dir.to_owned(), error };
        make_dir(dir).map_err(failed)?;
        let lock = private_file(&dir.join(LOCK_FILE), false).map_err(failed)?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => ExporterStartError::SpoolInUse { dir: dir.to_owned() },
            TryLockError::Error(error) => failed(error),
        })?;
        let mut state = State::default();
        let mut found = Found::default();
        for file in fs::read_dir(dir).map_err(failed)? {
            let file = file.map_err(failed)?;
            let bytes = file.metadata().map_err(failed)?.len();
            state.found(&file.path(), bytes, &mut found);
        }
        for signal in Signal::ALL {
            let entries = state.entries.get_mut(signal);
            entries.make_contiguous().sort_by_key(|entry| entry.serial);
            found.get_mut(signal).0 = entries.iter().map(|entry| u64::from(entry.count)).sum();
        }
        state.bound_aside();
        let state = Mutex::new(state);
        Ok((Self { dir: dir.to_owned(), max_bytes, state, lock }, found))
    }

    /// Leaves the directory to the next exporter: nothing is written any more.
    pub(crate) fn close(&self) {
        // Without it the lock goes with the file.
        let _ = self.lock.unlock();
    }

    /// Bytes on disk, and how many there may be.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        (self.state.lock().bytes, self.max_bytes)
    }

    /// Records of a signal in it.
    pub(crate) fn records(&self, signal: Signal) -> u64 {
        self.state.lock().entries.get(signal).iter().map(|entry| u64::from(entry.count)).sum()
    }

    /// Whether it has nothing of a signal.
    pub(crate) fn is_empty(&self, signal: Signal) -> bool {
        self.state.lock().entries.get(signal).is_empty()
    }

    /// The file to send next.
    pub(crate) fn oldest(&self, signal: Signal) -> Option<Entry> {
        self.state.lock().entries.get(signal).front().copied()
    }

    /// Writes a request. When this comes back it is on the disk. With `anyway`
    /// the bound does not count.
    pub(crate) fn store(
        &self,
        signal: Signal,
        request: &Request,
        anyway: bool,
    ) -> Result<(), StoreError> {
        let header = header(request);
        let bytes = (header.len() + request.body.len()) as u64;
        let serial = {
            let mut state = self.state.lock();
            while state.bytes + bytes > self.max_bytes && state.delete_one_aside() {}
            if !anyway && state.bytes + bytes > self.max_bytes {
                return Err(StoreError::Full);
            }
            state.bytes += bytes;
            let serial = state.next;
            state.next += 1;
            serial
        };
        let entry = Entry { serial, count: request.count, bytes };
        if let Err(error) = self.write(signal, entry, &header, &request.body) {
            self.state.lock().bytes -= bytes;
            return Err(error.into());
        }
        let mut state = self.state.lock();
        let entries = state.entries.get_mut(signal);
        let at = entries.partition_point(|other| other.serial < serial);
        entries.insert(at, entry);
        Ok(())
    }

    fn write(&self, signal: Signal, entry: Entry, header: &[u8], body: &[u8]) -> io::Result<()> {
        let path = self.path(signal, entry);
        let unfinished = path.with_extension(UNFINISHED);
        let written = (|| {
            let mut file = private_file(&unfinished, true)?;
            file.write_all(header)?;
            file.write_all(body)?;
            file.sync_all()?;
            fs::rename(&unfinished, &path)?;
            // The new name is on the disk once the directory is.
            File::open(&self.dir)?.sync_all()
        })();
        if written.is_err() {
            // Whichever of them is there: it counts as dropped now.
            let _ = fs::remove_file(&unfinished);
            let _ = fs::remove_file(&path);
        }
        written
    }

    /// Reads a request back.
    pub(crate) fn load(&self, signal: Signal, entry: Entry) -> Result<Request, LoadError> {
        let path = self.path(signal, entry);
        if fs::metadata(&path)?.len() != entry.bytes {
            return Err(LoadError::Damaged);
        }
        let request = parse(fs::read(path)?.into()).ok_or(LoadError::Damaged)?;
        if request.count == entry.count { Ok(request) } else { Err(LoadError::Damaged) }
    }

    /// Deletes a file whose records have found their end.
    pub(crate) fn remove(&self, signal: Signal, entry: Entry) {
        let _ = fs::remove_file(self.path(signal, entry));
        let mut state = self.state.lock();
        state.forget(signal, entry);
        state.bytes = state.bytes.saturating_sub(entry.bytes);
    }

    /// Puts a file aside that cannot be read.
    pub(crate) fn set_aside(&self, signal: Signal, entry: Entry) {
        let path = self.path(signal, entry);
        let aside = path.with_extension(ASIDE);
        let kept = fs::rename(&path, &aside).and_then(|()| fs::metadata(&aside));
        let mut state = self.state.lock();
        state.forget(signal, entry);
        state.bytes = state.bytes.saturating_sub(entry.bytes);
        match kept {
            Ok(kept) => {
                state.bytes += kept.len();
                state.aside.push_back((aside, kept.len()));
                state.bound_aside();
            }
            Err(_) => {
                let _ = fs::remove_file(&path);
            }
        }
    }

    fn path(&self, signal: Signal, entry: Entry) -> PathBuf {
        self.dir.join(format!("{:020}-{signal}-{}.{SUFFIX}", entry.serial, entry.count))
    }
}

impl State {
    /// Takes note of a file of the directory.
    fn found(&mut self, path: &Path, bytes: u64, found: &mut Found) {
        let extension = path.extension().and_then(|extension| extension.to_str());
        let Some((serial, signal, count)) = name(path) else { return };
        self.next = self.next.max(serial.saturating_add(1));
        match extension {
            Some(SUFFIX) => {
                self.bytes += bytes;
                self.entries.get_mut(signal).push_back(Entry { serial, count, bytes });
            }
            Some(UNFINISHED) => {
                found.get_mut(signal).1 += u64::from(count);
                let _ = fs::remove_file(path);
            }
            Some(ASIDE) => {
                self.bytes += bytes;
                self.aside.push_back((path.to_owned(), bytes));
            }
            _ => {}
        }
    }

    fn forget(&mut self, signal: Signal, entry: Entry) {
        self.entries.get_mut(signal).retain(|other| other.serial != entry.serial);
    }

    fn bound_aside(&mut self) {
        while self.aside.len() > MAX_ASIDE && self.delete_one_aside() {}
    }

    fn delete_one_aside(&mut self) -> bool {
        let Some((path, bytes)) = self.aside.pop_front() else { return false };
        let _ = fs::remove_file(path);
        self.bytes = self.bytes.saturating_sub(bytes);
        true
    }
}

/// Serial number, signal and count of a file.
fn name(path: &Path) -> Option<(u64, Signal, u32)> {
    let mut parts = path.file_stem()?.to_str()?.split('-');
    let serial = parts.next()?.parse().ok()?;
    let signal = Signal::from_name(parts.next()?)?;
    let count = parts.next()?.parse().ok()?;
    parts.next().is_none().then_some((serial, signal, count))
}

fn header(request: &Request) -> Vec<u8> {
    let length = |n: usize| u32::try_from(n).unwrap_or(u32::MAX).to_be_bytes();
    let mut header = Vec::with_capacity(HEADER_LEN);
    header.extend_from_slice(MAGIC);
    header.extend_from_slice(&request.count.to_be_bytes());
    header.extend_from_slice(&length(request.records_at));
    header.extend_from_slice(&length(request.body.len()));
    let checksum = checksum(&header, &request.body);
    header.extend_from_slice(&checksum.to_be_bytes());
    header
}

fn parse(file: Bytes) -> Option<Request> {
    let mut head = file.get(..HEADER_LEN)?;
    let body = file.slice(HEADER_LEN..);
    let summed = head.get(..HEADER_LEN - 4)?;
    if !head.starts_with(MAGIC) {
        return None;
    }
    head.advance(MAGIC.len());
    let count = head.get_u32();
    let records_at = usize::try_from(head.get_u32()).ok()?;
    let len = usize::try_from(head.get_u32()).ok()?;
    let fits = len == body.len() && records_at <= len && count > 0;
    (fits && head.get_u32() == checksum(summed, &body)).then_some(Request {
        body,
        records_at,
        count,
    })
}

fn checksum(header: &[u8], body: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(header);
    crc.update(body);
    crc.sum()
}

fn make_dir(dir: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)
}

/// Opens a file that only this user may read: what is exported may be private.
fn private_file(path: &Path, anew: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(anew);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}
