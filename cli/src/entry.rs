//! Files to tag, found in folders and lists.

use std::io;
use std::path::{Path, PathBuf};

/// A file, or an error of finding it.
#[derive(Debug)]
pub(super) struct FileEntry {
    pub(super) path: PathBuf,
    /// Error of the path.
    pub(super) error: Option<io::Error>,
}

/// Path from its bytes in a list.
#[cfg(unix)]
pub(super) fn path_of(bytes: Vec<u8>) -> io::Result<PathBuf> {
    use std::os::unix::ffi::OsStringExt;
    Ok(std::ffi::OsString::from_vec(bytes).into())
}

/// Paths are UTF-8 on platforms where they are not bytes.
#[cfg(not(unix))]
pub(super) fn path_of(bytes: Vec<u8>) -> io::Result<PathBuf> {
    let message = "a line is not UTF-8: save the list as UTF-8";
    String::from_utf8(bytes).map(PathBuf::from).map_err(|_| io::Error::other(message))
}

/// True if a path has one of these extensions, which are in lower case.
pub(super) fn has_ending(path: &Path, endings: &[&str]) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase);
    extension.is_some_and(|extension| endings.contains(&&*extension))
}
