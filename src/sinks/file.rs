//! Atomically written files.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::atomic_file::{create_beside, publish};

/// Atomically written file: a temporary file in the same folder that is renamed by [`AtomicFile::finish`], or removed on
/// drop.
#[derive(Debug)]
pub struct AtomicFile {
    temp: NamedTempFile,
    path: PathBuf,
}

impl AtomicFile {
    /// Creates a file that replaces `path` when it is finished.
    ///
    /// # Errors
    /// If `path` is a folder, a device or a pipe, or no file can be created next to it; the message names `path`.
    pub fn create(path: &Path) -> io::Result<AtomicFile> {
        if let Ok(existing) = path.metadata() {
            if existing.is_dir() {
                return Err(io::Error::other(format!("{} is a folder", path.display())));
            }
            // Renaming would replace a device or pipe, `/dev/null` for example.
            if !existing.is_file() {
                return Err(io::Error::other(format!("{} is not a regular file", path.display())));
            }
        }
        if path.file_name().is_none() {
            return Err(io::Error::other(format!("{} is not a file path", path.display())));
        }
        let temp = create_beside(path).map_err(|error| with_path(path, &error))?;
        Ok(AtomicFile { temp, path: path.to_path_buf() })
    }

    /// Returns a handle for writing.
    ///
    /// # Errors
    /// An I/O error.
    pub fn writer(&self) -> io::Result<File> {
        self.temp.as_file().try_clone()
    }

    /// Renames the file to its final name. All writers must be flushed.
    ///
    /// # Errors
    /// An I/O error; the message names the path.
    pub fn finish(self) -> io::Result<()> {
        publish(self.temp, &self.path).map(drop).map_err(|error| with_path(&self.path, &error))
    }
}

/// Writes a whole file atomically.
///
/// # Errors
/// As [`AtomicFile::create`].
pub fn write_file(path: &Path, contents: &[u8]) -> io::Result<()> {
    let file = AtomicFile::create(path)?;
    file.writer()?.write_all(contents).map_err(|error| with_path(path, &error))?;
    file.finish()
}

/// Adds the path to an error message.
pub(super) fn with_path(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(all(test, unix))]
mod tests {
    use std::path::Path;

    use super::write_file;

    #[test]
    fn devices_are_not_replaced() {
        let error = write_file(Path::new("/dev/null"), b"text").unwrap_err();
        assert_eq!(error.to_string(), "/dev/null is not a regular file");
        assert!(std::fs::read("/dev/null").unwrap().is_empty());
    }
}
