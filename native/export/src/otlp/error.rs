//! What can go wrong when the exporter starts.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::signal::Signal;

/// Why the exporter did not start. Nothing is left open or running then.
#[derive(Debug, Error)]
pub enum ExporterStartError {
    /// A limit is zero that has to let something through.
    #[error("{setting} must not be 0")]
    Zero {
        /// The setting's name.
        setting: &'static str,
    },
    /// Waits would shrink from one attempt to the next.
    #[error("retry.multiplier is {multiplier}, it has to be a number of at least 1")]
    Multiplier {
        /// The number given.
        multiplier: f64,
    },
    /// Resource and scope leave no room for records in a request.
    #[error(
        "max_batch_bytes is {max_batch_bytes}, but resource and scope alone take {taken} bytes \
         of each request: raise the one or give the resource fewer attributes"
    )]
    NoRoom {
        /// The limit.
        max_batch_bytes: usize,
        /// What is taken.
        taken: usize,
    },
    /// The URL cannot be used.
    #[error("the endpoint of {signal}, {url:?}, {problem}")]
    Url {
        /// The signal.
        signal: Signal,
        /// The URL given.
        url: String,
        /// What is wrong with it and what to do.
        problem: &'static str,
    },
    /// A header field cannot be sent.
    #[error("the header {name:?} for {signal} {problem}")]
    Header {
        /// The signal.
        signal: Signal,
        /// The field's name.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A file cannot be read.
    #[error("cannot read the {role} {}: {error}. Check the path and who may read it", file.display())]
    File {
        /// What the file is for.
        role: &'static str,
        /// The file.
        file: PathBuf,
        /// What the operating system said.
        #[source]
        error: io::Error,
    },
    /// A file holds something else than it should.
    #[error("the {role} {} cannot be used: {problem}", file.display())]
    Pem {
        /// What the file is for.
        role: &'static str,
        /// The file.
        file: PathBuf,
        /// What is wrong with it and what to do.
        problem: String,
    },
    /// A certificate without key, or a key without certificate.
    #[error(
        "the {given} {} is given, but no {missing}: a client certificate needs both",
        file.display()
    )]
    HalfIdentity {
        /// The setting that is there.
        given: &'static str,
        /// The setting that is not.
        missing: &'static str,
        /// The file that is given.
        file: PathBuf,
    },
    /// The system trusts nobody.
    #[error(
        "no certificate authorities were found on this system: install its CA certificates \
         (package ca-certificates) or give a CA file"
    )]
    NoRoots,
    /// The TLS library refused.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[source] rustls::Error),
    /// Another node uses this spool.
    #[error(
        "the spool directory {} is in use by another node: give each node a directory of its own",
        dir.display()
    )]
    SpoolInUse {
        /// The directory.
        dir: PathBuf,
    },
    /// The spool cannot be used.
    #[error(
        "the spool directory {} cannot be used: {error}. Check that it can be written to",
        dir.display()
    )]
    Spool {
        /// The directory.
        dir: PathBuf,
        /// What the operating system said.
        #[source]
        error: io::Error,
    },
    /// The exporter's thread could not be started.
    #[error("cannot start the thread of the exporter: {0}")]
    Threads(#[source] io::Error),
}
