//! What can be wrong with the door's settings and files.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::rules::RuleError;

/// Why a setting of the door, or the file that it names, cannot be used.
#[derive(Debug, Error)]
pub enum DoorError {
    /// A setting that needs another one.
    #[error("{given} is set and {missing} is not: set both, or neither")]
    Incomplete {
        /// The setting that is there.
        given: &'static str,
        /// The one that is not.
        missing: &'static str,
    },
    /// A file cannot be read.
    #[error(
        "{setting}: cannot read {}: {error}. Give a file that exists and that the user of \
         this process may read",
        file.display()
    )]
    Read {
        /// The setting that names it.
        setting: &'static str,
        /// The file.
        file: PathBuf,
        /// What the operating system said.
        #[source]
        error: io::Error,
    },
    /// A file is larger than any that makes sense.
    #[error("{setting}: {} is larger than {limit} bytes: is it the right file?", file.display())]
    TooLarge {
        /// The setting that names it.
        setting: &'static str,
        /// The file.
        file: PathBuf,
        /// The largest size, in bytes.
        limit: u64,
    },
    /// A file has something in it that cannot be used.
    #[error("{setting}: {}: {problem}", file.display())]
    Content {
        /// The setting that names it.
        setting: &'static str,
        /// The file.
        file: PathBuf,
        /// What is wrong, and what to do; nothing that is in the file.
        problem: String,
    },
    /// A rule cannot be used.
    #[error("http_access_rules: {0}")]
    Rule(#[from] RuleError),
}
