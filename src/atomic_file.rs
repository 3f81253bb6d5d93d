//! Files that are replaced as a whole: written beside their place and renamed, so that a reader never sees half of one.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::path::Path;

use tempfile::NamedTempFile;

/// Creates a temporary file in the folder of `path`, removed on drop. Its name starts with a dot and ends in `.part`.
///
/// # Errors
/// An I/O error.
pub(crate) fn create_beside(path: &Path) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    let prefix = format!(".{}.", path.file_name().unwrap_or(OsStr::new("file")).to_string_lossy());
    builder.prefix(&prefix).suffix(".part");
    // Temporary files are readable by the owner only by default. The umask applies.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder_of(path))
}

/// Renames a finished temporary file to `path`, durably; returns its size in bytes.
///
/// # Errors
/// An I/O error.
pub(crate) fn publish(mut temp: NamedTempFile, path: &Path) -> io::Result<u64> {
    temp.flush()?;
    temp.as_file().sync_all()?;
    let size = temp.as_file().metadata()?.len();
    temp.persist(path)?;
    // On Unix the new name is durable only after its folder is synced. Errors are ignored: some file systems do not
    // support it.
    #[cfg(unix)]
    if let Ok(folder) = std::fs::File::open(folder_of(path)) {
        let _ = folder.sync_all();
    }
    Ok(size)
}

/// Replaces the contents of `path`, whose folder is created if it does not exist.
///
/// # Errors
/// An I/O error.
pub(crate) fn replace(path: &Path, contents: &[u8]) -> io::Result<()> {
    std::fs::create_dir_all(folder_of(path))?;
    let mut temp = create_beside(path)?;
    temp.write_all(contents)?;
    publish(temp, path).map(drop)
}

/// Folder of a file.
pub(crate) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_as_a_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new").join("file");
        replace(&path, b"first").unwrap();
        let mut temp = create_beside(&path).unwrap();
        temp.write_all(b"second").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"first");
        assert_eq!(publish(temp, &path).unwrap(), 6);
        drop(create_beside(&path).unwrap());
        assert_eq!(std::fs::read(&path).unwrap(), b"second");
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        assert!(replace(folder.path(), b"a folder").is_err());
    }
}
