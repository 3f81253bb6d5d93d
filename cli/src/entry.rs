//! Files to tag, found in folders and lists.

use std::io;
use std::path::PathBuf;

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
    String::from_utf8(bytes).map(PathBuf::from).map_err(io::Error::other)
}
