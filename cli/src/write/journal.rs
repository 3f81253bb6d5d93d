//! Journal of a run: for every file that is replaced, its earlier contents. A line is on disk before its file changes.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::pieces::{Piece, pieces};
use super::replace::{Original, digest, sync_folder};
use crate::entry::path_of;

/// Version of the form of journals.
const VERSION: u32 = 1;
/// Maximum length of a line in bytes.
const MAX_LINE: u64 = 2 << 30;

/// First line.
#[derive(Deserialize, Serialize)]
struct JournalHead {
    tagwave_write: u32,
}

/// Contents before a change.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct EarlierContents {
    pub(super) size: u64,
    pub(super) sha256: String,
    pub(super) modified_ns: i64,
    pub(super) pieces: Vec<Piece>,
}

/// Line of one file.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct JournalLine {
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    /// Path that is not UTF-8, in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    path_bytes: Option<String>,
    /// SHA-256 of the contents after the change.
    pub(super) sha256: String,
    /// `None` for a file that did not exist.
    pub(super) before: Option<EarlierContents>,
}

impl JournalLine {
    /// Line of a file that is replaced or created.
    pub(super) fn new(path: &Path, original: Option<&Original>, new: &[u8]) -> JournalLine {
        let text = path.to_str().map(String::from);
        let bytes = text.is_none().then(|| STANDARD.encode(path.as_os_str().as_encoded_bytes()));
        let before = original.map(|original| EarlierContents {
            size: original.bytes.len() as u64,
            sha256: digest(&original.bytes),
            modified_ns: original.modified_ns(),
            pieces: pieces(&original.bytes, new),
        });
        JournalLine { path: text, path_bytes: bytes, sha256: digest(new), before }
    }

    /// Path of the file, absolute.
    pub(super) fn path(&self) -> io::Result<PathBuf> {
        match (&self.path, &self.path_bytes) {
            (Some(path), _) => Ok(path.into()),
            (None, Some(bytes)) => path_of(STANDARD.decode(bytes).map_err(io::Error::other)?),
            (None, None) => Err(io::Error::other("expected path or path_bytes")),
        }
    }
}

/// Journal that is being written.
pub(super) struct WriteJournal {
    file: File,
    pub(super) path: PathBuf,
    lines: usize,
}

impl WriteJournal {
    /// Creates a journal at `path`, or with a new number in `folder`.
    ///
    /// # Errors
    /// A file that exists, or an I/O error.
    pub(super) fn create(path: Option<&Path>, folder: &Path) -> io::Result<WriteJournal> {
        let named = |path: &Path, error: io::Error| {
            io::Error::new(error.kind(), format!("{}: {error}", path.display()))
        };
        let open = |path: &Path| OpenOptions::new().append(true).create_new(true).open(path);
        let (mut file, path) = match path {
            Some(path) => (open(path).map_err(|error| named(path, error))?, path.to_path_buf()),
            None => {
                fs::create_dir_all(folder).map_err(|error| named(folder, error))?;
                let mut number = next_number(folder);
                loop {
                    let path = folder.join(format!("write-{number:05}.jsonl"));
                    match open(&path) {
                        Ok(file) => break (file, path),
                        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                        Err(error) => return Err(named(&path, error)),
                    }
                }
            }
        };
        let path = std::path::absolute(path)?;
        writeln!(file, "{}", serde_json::to_string(&JournalHead { tagwave_write: VERSION })?)?;
        file.sync_all()?;
        sync_folder(&path);
        Ok(WriteJournal { file, path, lines: 0 })
    }

    /// Adds a line and waits until it is on disk.
    ///
    /// # Errors
    /// An I/O error.
    pub(super) fn add(&mut self, line: &JournalLine) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        self.file.write_all(&text)?;
        self.file.sync_data()?;
        self.lines += 1;
        Ok(())
    }

    /// Number of files.
    pub(super) fn lines(&self) -> usize {
        self.lines
    }

    /// Removes a journal without files. One that cannot be removed does no harm.
    pub(super) fn remove_if_empty(&self) {
        if self.lines == 0 {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Number behind those of the journals in a folder.
fn next_number(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let number = |name: &str| name.strip_prefix("write-")?.strip_suffix(".jsonl")?.parse::<u64>().ok();
    entries
        .filter_map(|entry| number(entry.file_name().to_str()?))
        .max()
        .map_or(1, |last| last.saturating_add(1))
}

/// Calls `each` with every line of a journal; a damaged line is an error of its own. Returns true if a line at the end is
/// cut off, whose file was not changed.
///
/// # Errors
/// A file that is no journal, or an I/O error.
pub(super) fn read(path: &Path, mut each: impl FnMut(Result<JournalLine, String>)) -> io::Result<bool> {
    let mut reader = BufReader::new(File::open(path)?);
    let mut line = Vec::new();
    let mut number = 0;
    while io::Read::take(&mut reader, MAX_LINE).read_until(b'\n', &mut line)? > 0 {
        number += 1;
        let is_whole = line.last() == Some(&b'\n');
        let expected = |error: serde_json::Error| {
            format!("line {number}: expected a journal of `tagwave write`: {error}")
        };
        if number == 1 {
            let head: JournalHead =
                serde_json::from_slice(&line).map_err(|error| io::Error::other(expected(error)))?;
            if head.tagwave_write != VERSION {
                return Err(io::Error::other(format!("version {}: expected {VERSION}", head.tagwave_write)));
            }
        } else if is_whole {
            each(serde_json::from_slice(&line).map_err(expected));
        } else {
            return Ok(true);
        }
        line.clear();
    }
    if number == 0 {
        return Err(io::Error::other("empty, expected a journal of `tagwave write`"));
    }
    Ok(false)
}

/// Lock of all runs of a user that change songs; ends with the process.
pub(super) struct RunLock {
    _file: File,
}

impl RunLock {
    /// Locks by the file `write.lock` in `folder`.
    ///
    /// # Errors
    /// Another run holds the lock, or an I/O error.
    pub(super) fn acquire(folder: &Path) -> io::Result<RunLock> {
        fs::create_dir_all(folder)?;
        let path = folder.join("write.lock");
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => {
                let reason = "another `tagwave write` is changing songs: wait for its end";
                Err(io::Error::other(format!("{}: {reason}", path.display())))
            }
            _ => Ok(RunLock { _file: file }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn journals_have_numbers_and_may_be_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let first = WriteJournal::create(None, folder.path()).unwrap();
        let mut second = WriteJournal::create(None, folder.path()).unwrap();
        assert!(first.path.ends_with("write-00001.jsonl") && second.path.ends_with("write-00002.jsonl"));
        assert!(WriteJournal::create(Some(&first.path), folder.path()).is_err());
        let line = |name: &str| JournalLine::new(Path::new(name), None, b"new");
        second.add(&line("/a")).unwrap();
        second.add(&line("/b")).unwrap();
        assert_eq!(second.lines(), 2);
        let text = fs::read(&second.path).unwrap();
        fs::write(&second.path, &text[..text.len() - 5]).unwrap();
        let mut lines = Vec::new();
        assert!(read(&second.path, |line| lines.push(line.unwrap())).unwrap());
        assert!(lines.len() == 1 && lines[0].path().unwrap() == Path::new("/a"));
        for wrong in ["", "x\n", "{\"tagwave_write\": 9}\n"] {
            fs::write(&second.path, wrong).unwrap();
            assert!(read(&second.path, |_| {}).is_err(), "{wrong}");
        }
        // A damaged line does not hide the next one.
        let good = serde_json::to_string(&line("/a")).unwrap();
        fs::write(&second.path, format!("{{\"tagwave_write\": 1}}\n{{}}\n{good}\n")).unwrap();
        let mut found = Vec::new();
        assert!(!read(&second.path, |line| found.push(line.is_ok())).unwrap());
        assert_eq!(found, [false, true]);
    }

    #[test]
    fn one_run_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let first = RunLock::acquire(folder.path()).unwrap();
        assert!(RunLock::acquire(folder.path()).is_err());
        drop(first);
        RunLock::acquire(folder.path()).unwrap();
    }
}
