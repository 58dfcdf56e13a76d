//! The files of the door, as they are read.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use ring::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use zeroize::Zeroizing;

use super::error::DoorError;

/// No file of certificates, tokens or passwords is larger.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// A SHA-256 digest.
pub(crate) type Digest = [u8; SHA256_OUTPUT_LEN];

/// The SHA-256 digest of some bytes.
pub(crate) fn sha256(bytes: &[u8]) -> Digest {
    let mut result = Digest::default();
    for (to, from) in result.iter_mut().zip(digest(&SHA256, bytes).as_ref()) {
        *to = *from;
    }
    result
}

/// A file that a setting names.
#[derive(Debug, Clone)]
pub(crate) struct NamedFile {
    pub(crate) setting: &'static str,
    pub(crate) path: PathBuf,
    /// Whether others than this process's user and group should not read it.
    pub(crate) secret: bool,
}

impl NamedFile {
    pub(crate) fn public(setting: &'static str, path: &Path) -> Self {
        Self { setting, path: path.to_owned(), secret: false }
    }

    pub(crate) fn secret(setting: &'static str, path: &Path) -> Self {
        Self { setting, path: path.to_owned(), secret: true }
    }

    /// What is in it now; wiped when it is dropped.
    pub(crate) fn read(&self) -> Result<Zeroizing<Vec<u8>>, DoorError> {
        let failed =
            |error| DoorError::Read { setting: self.setting, file: self.path.clone(), error };
        // Opening a pipe would wait for its writer.
        let metadata = fs::metadata(&self.path).map_err(failed)?;
        if !metadata.is_file() {
            return Err(failed(io::Error::other("it is not a regular file")));
        }
        // Grown on the way it would leave a part of itself behind.
        let room = metadata.len().min(MAX_FILE_BYTES) as usize + 32;
        let mut bytes = Zeroizing::new(Vec::with_capacity(room));
        let file = File::open(&self.path).map_err(failed)?;
        file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > MAX_FILE_BYTES {
            let (setting, file) = (self.setting, self.path.clone());
            return Err(DoorError::TooLarge { setting, file, limit: MAX_FILE_BYTES });
        }
        Ok(bytes)
    }

    pub(crate) fn problem(&self, problem: impl Into<String>) -> DoorError {
        let (setting, file) = (self.setting, self.path.clone());
        DoorError::Content { setting, file, problem: problem.into() }
    }

    /// What to tell about a secret that everybody on this host may read.
    pub(crate) fn exposed(&self) -> Option<String> {
        (self.secret && readable_by_everybody(&self.path)).then(|| {
            format!(
                "{}: every user of this host may read {}. Run `chmod o-rwx` on it; of a \
                 Kubernetes secret set defaultMode 0440.",
                self.setting,
                self.path.display()
            )
        })
    }
}

#[cfg(unix)]
fn readable_by_everybody(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    const OTHERS_READ: u32 = 0o004;
    fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & OTHERS_READ != 0)
}

#[cfg(not(unix))]
fn readable_by_everybody(_path: &Path) -> bool {
    false
}
