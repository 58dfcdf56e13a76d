//! Telemetry into a file: a line of OTLP JSON for each request.
//!
//! As OpenTelemetry's file exporter specification has it: each line is a whole
//! `ExportTraceServiceRequest`, `ExportMetricsServiceRequest` or
//! `ExportLogsServiceRequest`. Files are rotated by size.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use erlmcp_trace::Records;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::logs::v1::{ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{ResourceMetrics, ScopeMetrics};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans};
use parking_lot::Mutex;
use prost::Message;
use thiserror::Error;

use crate::otlp_json;
use crate::traces::{Bodies, Origin};

/// Where to write, and how much is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileExporterConfig {
    /// The file that is written. Older ones are beside it, with `.1`, `.2` and
    /// so on behind their names; the higher, the older.
    pub path: PathBuf,
    /// A file that would grow beyond this is rotated. A longer line has a file
    /// of its own. Default: 64 MiB.
    pub max_bytes: u64,
    /// Most files, the one that is written included. Default: 5.
    pub max_files: u32,
}

impl FileExporterConfig {
    /// The defaults, for a path.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), max_bytes: 64 << 20, max_files: 5 }
    }
}

/// Which request a buffer of records becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestKind {
    /// Spans.
    Traces,
    /// Metrics.
    Metrics,
    /// Log records.
    Logs,
}

/// What a file exporter has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FileExporterStats {
    /// Records in lines that were written whole.
    pub written: u64,
    /// Records that could not be written, or not be read before that.
    pub lost: u64,
    /// Lines.
    pub lines: u64,
    /// Bytes of lines.
    pub bytes: u64,
    /// Times that a file was begun because the one before was full.
    pub rotations: u64,
}

/// What went wrong with the file.
#[derive(Debug, Error)]
pub enum FileExportError {
    /// A setting is zero that has to let something through.
    #[error("{setting} of the file exporter must not be 0")]
    Zero {
        /// The setting's name.
        setting: &'static str,
    },
    /// The file cannot be opened or read.
    #[error("cannot open {path}: {error}")]
    Open {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        error: io::Error,
    },
    /// A line cannot be written.
    #[error("cannot write to {path}: {error}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        error: io::Error,
    },
    /// A full file cannot make room for the next.
    #[error("cannot rotate {path}: {error}")]
    Rotate {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        error: io::Error,
    },
    /// Records that are not what their signal says.
    #[error("{records} records cannot be read as {kind:?}")]
    Unreadable {
        /// What they should have been.
        kind: RequestKind,
        /// How many.
        records: u32,
    },
}

/// Is told of an error, with the number of records that have been lost so far:
/// of the first, and then at most once a minute.
pub type OnFileError = Box<dyn Fn(&FileExportError, u64) + Send + Sync>;

/// Appends requests to a file. It writes on the thread that calls, which is the
/// exporter's; an error costs the records that it met, and they are counted.
pub struct FileExporter {
    config: FileExporterConfig,
    on_error: OnFileError,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// None when it could not be opened again.
    file: Option<File>,
    length: u64,
    stats: FileExporterStats,
    reported: Option<Instant>,
}

/// Longest line: more records or more of their bytes become several.
const LINE_RECORDS: u32 = 512;
const LINE_BYTES: usize = 1 << 20;

/// Least time between two calls of [`OnFileError`].
const REPORT_EVERY: Duration = Duration::from_secs(60);

impl fmt::Debug for FileExporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileExporter")
            .field("config", &self.config)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

impl FileExporter {
    /// Opens the file, and goes on behind what is in it.
    ///
    /// # Errors
    ///
    /// [`FileExportError`] when a setting is zero or the file cannot be opened.
    pub fn open(
        config: FileExporterConfig,
        on_error: OnFileError,
    ) -> Result<Self, FileExportError> {
        let zero = [("max_bytes", config.max_bytes == 0), ("max_files", config.max_files == 0)];
        if let Some((setting, _)) = zero.into_iter().find(|(_, zero)| *zero) {
            return Err(FileExportError::Zero { setting });
        }
        let mut state =
            State { file: None, length: 0, stats: FileExporterStats::default(), reported: None };
        state.open(&config.path)?;
        Ok(Self { config, on_error, state: Mutex::new(state) })
    }

    /// Writes the records as one or more requests.
    pub fn write(&self, kind: RequestKind, origin: &Origin, records: &Records) {
        let mut state = self.state.lock();
        let mut left = records.count;
        for (count, bytes) in pieces(&records.bytes) {
            left = left.saturating_sub(count);
            let result = match line(kind, origin, bytes) {
                Some(line) => state.append(&line, &self.config),
                None => Err(FileExportError::Unreadable { kind, records: count }),
            };
            self.account(&mut state, count, result);
        }
        // What the framing hides.
        if left > 0 {
            let unreadable = FileExportError::Unreadable { kind, records: left };
            self.account(&mut state, left, Err(unreadable));
        }
    }

    fn account(&self, state: &mut State, records: u32, result: Result<(), FileExportError>) {
        let Err(error) = result else {
            state.stats.written += u64::from(records);
            return;
        };
        state.stats.lost += u64::from(records);
        if state.reported.is_none_or(|at| at.elapsed() >= REPORT_EVERY) {
            state.reported = Some(Instant::now());
            (self.on_error)(&error, state.stats.lost);
        }
    }

    /// What it has done.
    #[must_use]
    pub fn stats(&self) -> FileExporterStats {
        self.state.lock().stats
    }
}

impl State {
    fn open(&mut self, path: &Path) -> Result<(), FileExportError> {
        let open = || {
            let mut file = OpenOptions::new().create(true).append(true).read(true).open(path)?;
            let mut length = file.metadata()?.len();
            // A line that was cut off must not spoil the next one.
            if length > 0 {
                let mut last = [0];
                file.seek(SeekFrom::End(-1))?;
                file.read_exact(&mut last)?;
                if last != *b"\n" {
                    file.write_all(b"\n")?;
                    length += 1;
                }
            }
            Ok((file, length))
        };
        let (file, length) =
            open().map_err(|error| FileExportError::Open { path: path.to_owned(), error })?;
        self.file = Some(file);
        self.length = length;
        Ok(())
    }

    fn append(&mut self, line: &[u8], config: &FileExporterConfig) -> Result<(), FileExportError> {
        if self.file.is_none() {
            self.open(&config.path)?;
        }
        let length = line.len() as u64;
        if self.length > 0 && self.length + length > config.max_bytes {
            self.rotate(config)?;
        }
        let Some(file) = &mut self.file else {
            return Ok(());
        };
        if let Err(error) = file.write_all(line) {
            // Half a line would spoil the next: it goes, or a new file begins.
            if file.set_len(self.length).is_err() {
                self.file = None;
            }
            return Err(FileExportError::Write { path: config.path.clone(), error });
        }
        self.length += length;
        self.stats.lines += 1;
        self.stats.bytes += length;
        Ok(())
    }

    fn rotate(&mut self, config: &FileExporterConfig) -> Result<(), FileExportError> {
        let failed = |error| FileExportError::Rotate { path: config.path.clone(), error };
        if config.max_files == 1 {
            if let Some(file) = &self.file {
                file.set_len(0).map_err(failed)?;
                self.length = 0;
            }
        } else {
            for age in (1..config.max_files).rev() {
                let older = rotated(&config.path, age);
                let newer = match age {
                    1 => config.path.clone(),
                    _ => rotated(&config.path, age - 1),
                };
                match fs::rename(newer, older) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        return Err(failed(error));
                    }
                    _ => {}
                }
            }
            self.file = None;
            self.open(&config.path)?;
        }
        self.stats.rotations += 1;
        Ok(())
    }
}

fn rotated(path: &Path, age: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{age}"));
    PathBuf::from(name)
}

/// Cuts records into pieces for a line each. What cannot be told apart is left.
fn pieces(bytes: &[u8]) -> Vec<(u32, &[u8])> {
    let mut pieces = Vec::new();
    let mut bodies = Bodies::of(bytes);
    let (mut begin, mut count) = (0, 0);
    let mut end = 0;
    while let Some(Ok(_)) = bodies.next() {
        let next = bytes.len() - bodies.left();
        if count > 0 && (count == LINE_RECORDS || next - begin > LINE_BYTES) {
            pieces.extend(bytes.get(begin..end).map(|piece| (count, piece)));
            (begin, count) = (end, 0);
        }
        (end, count) = (next, count + 1);
    }
    if count > 0 {
        pieces.extend(bytes.get(begin..end).map(|piece| (count, piece)));
    }
    pieces
}

/// The request with its line end; nothing when the records are not of the kind.
/// Records are a field of the message of their scope, which is thereby decoded.
fn line(kind: RequestKind, origin: &Origin, records: &[u8]) -> Option<Vec<u8>> {
    let (resource, scope) = (origin.resource(), origin.scope());
    let line = match kind {
        RequestKind::Traces => {
            let scope = ScopeSpans { scope, ..ScopeSpans::decode(records).ok()? };
            let scope_spans = vec![scope];
            let spans = ResourceSpans { resource, scope_spans, ..ResourceSpans::default() };
            otlp_json::traces(ExportTraceServiceRequest { resource_spans: vec![spans] })
        }
        RequestKind::Metrics => {
            let scope = ScopeMetrics { scope, ..ScopeMetrics::decode(records).ok()? };
            let scope_metrics = vec![scope];
            let metrics = ResourceMetrics { resource, scope_metrics, ..ResourceMetrics::default() };
            otlp_json::metrics(ExportMetricsServiceRequest { resource_metrics: vec![metrics] })
        }
        RequestKind::Logs => {
            let scope = ScopeLogs { scope, ..ScopeLogs::decode(records).ok()? };
            let scope_logs = vec![scope];
            let logs = ResourceLogs { resource, scope_logs, ..ResourceLogs::default() };
            otlp_json::logs(ExportLogsServiceRequest { resource_logs: vec![logs] })
        }
    };
    let mut line = line.ok()?;
    line.push(b'\n');
    Some(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traces::sample::{records, span};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    fn directory(name: &str) -> PathBuf {
        let directory = std::env::temp_dir().join(format!("erlmcp-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory).unwrap();
        directory
    }

    fn silent() -> OnFileError {
        Box::new(|_, _| {})
    }

    fn spans(path: &Path) -> usize {
        let text = fs::read_to_string(path).unwrap();
        assert!(text.ends_with('\n'));
        text.lines()
            .map(|line| {
                let request: ExportTraceServiceRequest = serde_json::from_str(line).unwrap();
                request.resource_spans[0].scope_spans[0].spans.len()
            })
            .sum()
    }

    fn many(count: u64) -> Records {
        let spans: Vec<_> = (0..count).map(|n| span(1, n, None, "s", n, 1)).collect();
        records(&spans)
    }

    #[test]
    fn lines_are_whole_requests_of_bounded_size() {
        let path = directory("lines").join("out.jsonl");
        let exporter = FileExporter::open(FileExporterConfig::new(&path), silent()).unwrap();
        exporter.write(RequestKind::Traces, &Origin::default(), &many(1_200));
        let stats = exporter.stats();
        assert_eq!((stats.written, stats.lost, stats.lines), (1_200, 0, 3));
        assert_eq!(stats.bytes, fs::metadata(&path).unwrap().len());
        assert_eq!(spans(&path), 1_200);
    }

    #[test]
    fn files_are_rotated_and_the_oldest_goes() {
        let path = directory("rotate").join("out.jsonl");
        let config = FileExporterConfig { max_bytes: 4_096, max_files: 3, path: path.clone() };
        let exporter = FileExporter::open(config, silent()).unwrap();
        for _ in 0..100 {
            exporter.write(RequestKind::Traces, &Origin::default(), &many(5));
        }
        let mut names: Vec<_> = fs::read_dir(path.parent().unwrap())
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| {
                (entry.file_name().into_string().unwrap(), entry.metadata().unwrap().len())
            })
            .collect();
        names.sort();
        assert!(names.iter().all(|(_, length)| *length <= 4_096), "{names:?}");
        let names: Vec<_> = names.into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["out.jsonl", "out.jsonl.1", "out.jsonl.2"]);
        assert!(spans(&path) > 0 && spans(&rotated(&path, 2)) > 0);
        assert_eq!(exporter.stats().written, 500);
    }

    #[test]
    fn one_file_begins_anew() {
        let path = directory("one").join("out.jsonl");
        let config = FileExporterConfig { max_bytes: 4_096, max_files: 1, path: path.clone() };
        let exporter = FileExporter::open(config, silent()).unwrap();
        for _ in 0..20 {
            exporter.write(RequestKind::Traces, &Origin::default(), &many(5));
        }
        assert!(fs::metadata(&path).unwrap().len() <= 4_096);
        assert!(spans(&path) > 0);
    }

    #[test]
    fn a_line_that_was_cut_off_spoils_no_other() {
        let path = directory("cut").join("out.jsonl");
        fs::write(&path, "{\"resourceSp").unwrap();
        let exporter = FileExporter::open(FileExporterConfig::new(&path), silent()).unwrap();
        exporter.write(RequestKind::Traces, &Origin::default(), &many(1));
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 2);
        serde_json::from_str::<ExportTraceServiceRequest>(text.lines().nth(1).unwrap()).unwrap();
    }

    #[test]
    fn losses_are_counted_and_reported_once() {
        let directory = directory("lost");
        let reports = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&reports);
        let on_error: OnFileError = Box::new(move |error, lost| {
            assert!(error.to_string().contains("cannot be read as Traces"), "{error}");
            count.fetch_add(lost, Relaxed);
        });
        let config = FileExporterConfig::new(directory.join("out.jsonl"));
        let exporter = FileExporter::open(config, on_error).unwrap();
        let bad = Records { count: 1, bytes: vec![0x12, 2, 0xFF, 0xFF] };
        let cut = Records { count: 7, bytes: vec![0x12, 200] };
        exporter.write(RequestKind::Traces, &Origin::default(), &bad);
        exporter.write(RequestKind::Traces, &Origin::default(), &cut);
        assert_eq!((exporter.stats().lost, exporter.stats().written), (8, 0));
        assert_eq!(reports.load(Relaxed), 1, "the second falls into the same minute");
    }

    #[test]
    fn a_full_disk_costs_the_records_and_leaves_no_half_line() {
        if !Path::new("/dev/full").exists() {
            return;
        }
        let config = FileExporterConfig::new("/dev/full");
        let exporter = FileExporter::open(config, silent()).unwrap();
        exporter.write(RequestKind::Traces, &Origin::default(), &many(3));
        assert_eq!((exporter.stats().lost, exporter.stats().lines), (3, 0));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let config = FileExporterConfig { max_files: 0, ..FileExporterConfig::new("/tmp/x") };
        let error = FileExporter::open(config, silent()).unwrap_err();
        assert_eq!(error.to_string(), "max_files of the file exporter must not be 0");
        let error =
            FileExporter::open(FileExporterConfig::new("/nowhere/x"), silent()).unwrap_err();
        assert!(error.to_string().starts_with("cannot open /nowhere/x: "), "{error}");
    }
}
