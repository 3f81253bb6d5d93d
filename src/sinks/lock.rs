//! Locks of outputs: one process at a time writes to a file or a folder of parts.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::file::with_path;
use super::{Row, Sink};

/// Locks an open file until it is closed. File systems without locks are not guarded.
///
/// # Errors
/// Another process holds the lock; the message names `output`.
pub(super) fn lock(file: &File, output: &Path) -> io::Result<()> {
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => {
            let reason = "another process is writing to this output: wait for it, or choose another output";
            Err(io::Error::other(format!("{}: {reason}", output.display())))
        }
        _ => Ok(()),
    }
}

/// Locked file of an output that is itself replaced or a folder; removed on drop. The lock ends with the process, so that
/// a file that a killed process left is no obstacle.
#[derive(Debug)]
pub(super) struct OutputLock {
    path: PathBuf,
    _file: File,
}

impl OutputLock {
    /// Locks `output` by the file `path`.
    ///
    /// # Errors
    /// As [`lock`], or the file cannot be created; messages name `output`.
    pub(super) fn acquire(path: PathBuf, output: &Path) -> io::Result<OutputLock> {
        loop {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false);
            let file = options.open(&path).map_err(|error| with_path(output, &error))?;
            lock(&file, output)?;
            // The previous owner may have removed the file between opening and locking.
            if is_at(&file, &path) {
                return Ok(OutputLock { path, _file: file });
            }
        }
    }

    /// Locks a file that is written at the end, by a hidden file beside it.
    ///
    /// # Errors
    /// As [`OutputLock::acquire`].
    pub(super) fn beside(output: &Path) -> io::Result<OutputLock> {
        let name = output.file_name().unwrap_or_default().to_string_lossy();
        OutputLock::acquire(output.with_file_name(format!(".{name}.lock")), output)
    }
}

impl Drop for OutputLock {
    fn drop(&mut self) {
        // Fails on systems that keep open files; the file has no contents and is locked anew.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Returns true if `path` still names the open file.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let place = |found: std::fs::Metadata| (found.dev(), found.ino());
    file.metadata().ok().map(place) == path.metadata().ok().map(place)
}

/// The name of an open file is not given to another one.
#[cfg(not(unix))]
fn is_at(_file: &File, _path: &Path) -> bool {
    true
}

/// Sink with the lock of its output, which ends after it.
pub(super) struct Locked {
    pub(super) sink: Box<dyn Sink>,
    pub(super) _lock: OutputLock,
}

impl Sink for Locked {
    fn row(&mut self, row: &Row) -> io::Result<()> {
        self.sink.row(row)
    }

    fn finish(&mut self) -> io::Result<()> {
        self.sink.finish()
    }

    fn interrupt(&mut self) -> io::Result<&'static str> {
        self.sink.interrupt()
    }

    fn has_messages(&self) -> bool {
        self.sink.has_messages()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_has_one_owner() {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("out.npy");
        let first = OutputLock::beside(&output).unwrap();
        let error = OutputLock::beside(&output).unwrap_err().to_string();
        assert!(error.contains("out.npy") && error.contains("another process is writing"), "{error}");
        drop(first);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        // Left by a killed process.
        std::fs::write(folder.path().join(".out.npy.lock"), "").unwrap();
        drop(OutputLock::beside(&output).unwrap());
        let missing = folder.path().join("none/out.npy");
        assert!(OutputLock::beside(&missing).unwrap_err().to_string().contains("out.npy"));
    }
}
