//! Atomically written files.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

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
    /// If `path` is a folder, or no file can be created next to it; the message names `path`.
    pub fn create(path: &Path) -> io::Result<AtomicFile> {
        if path.is_dir() {
            return Err(io::Error::other(format!("{} is a folder", path.display())));
        }
        let name = path
            .file_name()
            .ok_or_else(|| io::Error::other(format!("{} is not a file path", path.display())))?;
        let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut builder = tempfile::Builder::new();
        let prefix = format!(".{}.", name.to_string_lossy());
        builder.prefix(&prefix).suffix(".part");
        // Temporary files are readable by the owner only by default. The umask applies.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let temp = builder.tempfile_in(folder).map_err(|error| with_path(path, &error))?;
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
        self.temp.as_file().sync_all().map_err(|error| with_path(&self.path, &error))?;
        self.temp.persist(&self.path).map_err(|error| with_path(&self.path, &error.error))?;
        Ok(())
    }
}

/// Adds the path to an error message.
pub(super) fn with_path(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
