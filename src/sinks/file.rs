//! Files that appear whole or not at all.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// A file under way. It has a name of its own beside the final one until [`AtomicFile::finish`]; dropped before,
/// it leaves nothing.
#[derive(Debug)]
pub struct AtomicFile {
    temp: NamedTempFile,
    path: PathBuf,
}

impl AtomicFile {
    /// A file that will be at `path`, in place of an older one.
    ///
    /// # Errors
    /// When `path` is a folder, or no file can be created beside it; the message names `path`.
    pub fn create(path: &Path) -> io::Result<AtomicFile> {
        if path.is_dir() {
            return Err(io::Error::other(format!("{} is a folder", path.display())));
        }
        let name =
            path.file_name().ok_or_else(|| io::Error::other(format!("{} is no file", path.display())))?;
        let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut builder = tempfile::Builder::new();
        let prefix = format!(".{}.", name.to_string_lossy());
        builder.prefix(&prefix).suffix(".part");
        // Without this only the owner could read the results. The umask applies.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let temp = builder.tempfile_in(folder).map_err(|error| about(path, &error))?;
        Ok(AtomicFile { temp, path: path.to_path_buf() })
    }

    /// A handle to write with.
    ///
    /// # Errors
    /// What the system says.
    pub fn writer(&self) -> io::Result<File> {
        self.temp.as_file().try_clone()
    }

    /// Makes the file visible under its name. Whoever writes must have flushed.
    ///
    /// # Errors
    /// What the system says; the message names the path.
    pub fn finish(self) -> io::Result<()> {
        self.temp.as_file().sync_all().map_err(|error| about(&self.path, &error))?;
        self.temp.persist(&self.path).map_err(|error| about(&self.path, &error.error))?;
        Ok(())
    }
}

/// The error with the path it is about.
pub(super) fn about(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
