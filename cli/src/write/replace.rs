//! Replacing of a song as a whole: its new contents are written beside it, synced and renamed.

use std::fs::{self, File, FileTimes, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};

use crate::inputs::modified_ns;

/// Maximum size of a song in bytes: old and new contents are held in memory.
pub(super) const MAX_BYTES: u64 = 1 << 30;

/// Contents of a file, and what is kept when it is replaced.
pub(super) struct Original {
    pub(super) bytes: Vec<u8>,
    metadata: Metadata,
}

/// True if several names lead to the contents of a file.
#[cfg(unix)]
fn has_links(metadata: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    metadata.nlink() > 1
}

/// Links are not counted on other platforms.
#[cfg(not(unix))]
fn has_links(_metadata: &Metadata) -> bool {
    false
}

impl Original {
    /// Reads a file that is to be replaced. `breaks_links` allows a file with several hard links.
    ///
    /// # Errors
    /// A file that must not or cannot be replaced.
    pub(super) fn read(path: &Path, breaks_links: bool) -> Result<Original, String> {
        let metadata = fs::metadata(path).map_err(|error| format!("cannot open: {error}"))?;
        check(&metadata, breaks_links)?;
        // Renaming needs no permission to write the file itself: this asks for it.
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .map_err(|error| format!("cannot open for writing: {error}"))?;
        let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0));
        let failed = |error: io::Error| format!("cannot read: {error}");
        (&mut file).take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 != metadata.len() {
            return Err("changed while it was read".into());
        }
        Ok(Original { bytes, metadata })
    }

    /// Modification time in nanoseconds since 1970.
    pub(super) fn modified_ns(&self) -> i64 {
        modified_ns(&self.metadata)
    }
}

/// Checks that a file may be replaced.
pub(super) fn check(metadata: &Metadata, breaks_links: bool) -> Result<(), String> {
    if !metadata.is_file() {
        return Err("not a regular file".into());
    }
    if metadata.permissions().readonly() {
        return Err("read-only: make it writable first".into());
    }
    if has_links(metadata) && !breaks_links {
        return Err("has several hard links: with --break-hard-links this name gets a file of its own".into());
    }
    if metadata.len() > MAX_BYTES {
        return Err(format!("{} bytes: expected at most {MAX_BYTES}", metadata.len()));
    }
    Ok(())
}

/// Replaces a file. Permissions are kept, and the owner where the system allows it; `modified_ns` sets its modification
/// time.
///
/// # Errors
/// An I/O error, or a file that has changed since it was read; the file is then as it was.
pub(super) fn replace(
    path: &Path,
    original: &Original,
    new: &[u8],
    modified_ns: Option<i64>,
) -> Result<(), String> {
    let part = part_of(path);
    let result = write_part(&part, Some(&original.metadata), new, modified_ns).and_then(|()| {
        let now = fs::metadata(path)?;
        let state = |found: &Metadata| (found.len(), found.modified().ok());
        if state(&now) != state(&original.metadata) {
            return Err(io::Error::other("changed while it was processed"));
        }
        rename(&part, path)
    });
    ended(result, &part)
}

/// Creates a file, or replaces one that the program made.
///
/// # Errors
/// An I/O error.
pub(super) fn create(path: &Path, contents: &[u8]) -> Result<(), String> {
    let part = part_of(path);
    let result = write_part(&part, None, contents, None).and_then(|()| rename(&part, path));
    ended(result, &part)
}

fn ended(result: io::Result<()>, part: &Path) -> Result<(), String> {
    result.map_err(|error| {
        // It may not exist.
        let _ = fs::remove_file(part);
        format!("cannot write: {error}")
    })
}

/// Path of the unfinished contents of a file; always the same, so that what a killed process left is found.
pub(super) fn part_of(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default();
    // A name of its own would be too long for the longest names.
    let digest = Sha256::digest(name.as_encoded_bytes());
    path.with_file_name(format!(".tagwave-{}.part", &hex(&digest)[..16]))
}

fn write_part(
    part: &Path,
    like: Option<&Metadata>,
    contents: &[u8],
    modified_ns: Option<i64>,
) -> io::Result<()> {
    match fs::remove_file(part) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).open(part)?;
    file.write_all(contents)?;
    if let Some(like) = like {
        keep_owner(&file, like)?;
        file.set_permissions(like.permissions())?;
    }
    if let Some(time) = modified_ns {
        file.set_times(FileTimes::new().set_modified(time_of(time)))?;
    }
    file.sync_all()
}

/// Gives a new file the owner of the old one. Only the superuser may give files away; the group is kept if possible.
#[cfg(unix)]
fn keep_owner(file: &File, like: &Metadata) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, fchown};
    let new = file.metadata()?;
    if new.uid() != like.uid() && fchown(file, Some(like.uid()), None).is_err() {
        return Err(io::Error::other("it belongs to another user, and its owner could not be kept"));
    }
    if new.gid() != like.gid() {
        // Not being a member of the group is no reason to fail.
        let _ = fchown(file, None, Some(like.gid()));
    }
    Ok(())
}

/// Owners follow from the folder.
#[cfg(not(unix))]
fn keep_owner(_file: &File, _like: &Metadata) -> io::Result<()> {
    Ok(())
}

fn rename(part: &Path, path: &Path) -> io::Result<()> {
    fs::rename(part, path)?;
    sync_folder(path);
    Ok(())
}

/// Makes a new name durable. Some file systems do not support it, and errors are ignored.
pub(super) fn sync_folder(path: &Path) {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if cfg!(unix)
        && let Ok(folder) = File::open(folder)
    {
        let _ = folder.sync_all();
    }
}

fn time_of(nanoseconds: i64) -> SystemTime {
    let distance = Duration::from_nanos(nanoseconds.unsigned_abs());
    if nanoseconds < 0 { SystemTime::UNIX_EPOCH - distance } else { SystemTime::UNIX_EPOCH + distance }
}

/// Bytes as text of two digits each.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// SHA-256 of contents, as text.
pub(super) fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_changes_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("song");
        fs::write(&path, "old").unwrap();
        let original = Original::read(&path, false).unwrap();
        fs::write(&path, "other").unwrap();
        // The unfinished file of a killed process.
        fs::write(part_of(&path), "half").unwrap();
        let error = replace(&path, &original, b"new", None).unwrap_err();
        assert!(error.contains("changed"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"other");
        let original = Original::read(&path, false).unwrap();
        replace(&path, &original, b"new", Some(-1_500_000_000)).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(Original::read(&path, false).unwrap().modified_ns(), -1_500_000_000);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
