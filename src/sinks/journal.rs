//! Journal of completed rows, for resuming interrupted runs.
//!
//! `FILE.journal` has a line for each row of `FILE`: the row's [`JournalKey`], its end offset and a digest of its bytes.
//! On resuming, both files are compared from the start; rows at the end that do not match (after a power failure, say)
//! are removed and computed again. The two files may therefore reach the disk in any order.

use std::collections::HashMap;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::file::with_path;
use super::lock::lock;
use super::{LineFormat, Row, SCHEMA, Sink};

/// Start of the first line of a journal, before the schema of the rows. Journals of schema 1 do not state it.
const HEAD: &str = "tagwave journal 1";
/// Interval of syncing to disk.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);
/// Placeholder for the key of a row whose file must be repeated.
const NOT_DONE: &str = "-";

/// Digest of everything that a row depends on: path, size, modification time, model and all other settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JournalKey([u8; 16]);

impl JournalKey {
    /// Computes the key of a file; `modified_ns` is in nanoseconds since 1970.
    pub fn new(settings: &str, path: &Path, size: u64, modified_ns: i128) -> JournalKey {
        let mut digest = Sha256::new();
        let path = path.as_os_str().as_encoded_bytes();
        for part in [settings.as_bytes(), path, &size.to_le_bytes(), &modified_ns.to_le_bytes()] {
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part);
        }
        JournalKey(first(&digest.finalize()))
    }

    /// Parses the hexadecimal form.
    pub(super) fn parse(word: &str) -> Option<JournalKey> {
        (word.len() == 32)
            .then(|| u128::from_str_radix(word, 16).ok())
            .flatten()
            .map(|n| JournalKey(n.to_be_bytes()))
    }
}

impl fmt::Display for JournalKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

fn first(digest: &[u8]) -> [u8; 16] {
    digest.first_chunk().copied().unwrap_or_default()
}

/// Multiset of completed files.
#[derive(Clone, Debug, Default)]
pub struct CompletedSet(HashMap<JournalKey, u32>);

impl CompletedSet {
    pub(super) fn add(&mut self, key: JournalKey) {
        *self.0.entry(key).or_default() += 1;
    }

    /// Consumes one completed entry of `key`; inputs that are listed twice need one entry each.
    pub fn take(&mut self, key: &JournalKey) -> bool {
        match self.0.get_mut(key) {
            Some(count) if *count > 0 => {
                *count -= 1;
                true
            }
            _ => false,
        }
    }

    /// Number of files.
    pub fn len(&self) -> usize {
        self.0.values().map(|&count| count as usize).sum()
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Path of the journal of an output file.
pub fn journal_file(output: &Path) -> PathBuf {
    let mut name = output.as_os_str().to_os_string();
    name.push(".journal");
    name.into()
}

/// Output file to which rows are appended, with a journal. After an interruption all written rows are kept; a failed
/// write leaves no partial row.
#[derive(Debug)]
pub struct JournaledFile {
    format: LineFormat,
    path: PathBuf,
    file: File,
    journal: File,
    /// Size of complete rows in bytes.
    length: u64,
    journal_length: u64,
    synced: Instant,
}

impl JournaledFile {
    /// Creates a new file, replacing an older one.
    ///
    /// # Errors
    /// An I/O error, or another process is writing the file; messages name the path.
    pub fn create(format: LineFormat, path: &Path) -> io::Result<JournaledFile> {
        let mut output = JournaledFile::open(format, path)?;
        output.journal.set_len(0)?;
        output.file.set_len(0)?;
        output.begin()?;
        Ok(output)
    }

    /// Continues a file and returns the completed files; creates the file if there is none.
    ///
    /// # Errors
    /// An I/O error, a missing journal, or a file that was changed since.
    pub fn resume(format: LineFormat, path: &Path) -> io::Result<(JournaledFile, CompletedSet)> {
        let mut output = JournaledFile::open(format, path)?;
        let refuse = |reason: &str| {
            let message = format!("{}: {reason}", path.display());
            Err(io::Error::new(io::ErrorKind::Unsupported, message))
        };
        if output.has_torn_head()? {
            if output.file.metadata()?.len() > 0 {
                return refuse("cannot resume without its journal");
            }
            output.begin()?;
            return Ok((output, CompletedSet::default()));
        }
        let mut journal = BufReader::new(&output.journal);
        let mut rows = BufReader::new(&output.file);
        let mut line = String::new();
        journal.read_line(&mut line)?;
        match schema_of(&line) {
            Some(SCHEMA) => {}
            Some(found) => return refuse(&other_schema(found)),
            None => return refuse("cannot resume: its journal has an unknown format"),
        }
        let mut journal_length = line.len() as u64;
        let (mut length, mut done) = (0, CompletedSet::default());
        let mut bytes = Vec::new();
        loop {
            line.clear();
            // A truncated line may be invalid UTF-8.
            match journal.read_line(&mut line) {
                Ok(0) => break,
                Err(error) if error.kind() == io::ErrorKind::InvalidData => break,
                read => read?,
            };
            let Some(entry) = Entry::parse(&line).filter(|entry| entry.end >= length) else { break };
            bytes.clear();
            (&mut rows).take(entry.end - length).read_to_end(&mut bytes)?;
            let whole = bytes.len() as u64 == entry.end - length;
            if !whole || digest(&bytes) != entry.digest {
                // After a crash the file is short, or has zeros. Any other difference was made by somebody else.
                if whole && !bytes.contains(&0) {
                    return refuse("cannot resume: the file was changed since its journal was written");
                }
                break;
            }
            length = entry.end;
            journal_length += line.len() as u64;
            if let Some(key) = entry.key {
                done.add(key);
            }
        }
        drop((journal, rows));
        output.file.set_len(length)?;
        output.journal.set_len(journal_length)?;
        output.file.seek(SeekFrom::End(0))?;
        output.journal.seek(SeekFrom::End(0))?;
        (output.length, output.journal_length) = (length, journal_length);
        Ok((output, done))
    }

    /// Returns true if the journal ends inside its first line.
    fn has_torn_head(&mut self) -> io::Result<bool> {
        let mut start = Vec::new();
        (&self.journal).take(head().len() as u64).read_to_end(&mut start)?;
        self.journal.rewind()?;
        Ok(start.len() < head().len() && head().as_bytes().starts_with(&start))
    }

    fn open(format: LineFormat, path: &Path) -> io::Result<JournaledFile> {
        let open = |path: &Path| {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false);
            options.open(path).map_err(|error| with_path(path, &error))
        };
        let file = open(path)?;
        let journal = open(&journal_file(path))?;
        // Locks exclude readers on Windows, and rows are read while they are written.
        lock(&journal, path)?;
        let path = path.to_path_buf();
        Ok(JournaledFile {
            format,
            path,
            file,
            journal,
            length: 0,
            journal_length: 0,
            synced: Instant::now(),
        })
    }

    fn begin(&mut self) -> io::Result<()> {
        let head = head();
        self.journal.set_len(0)?;
        self.journal.write_all(head.as_bytes())?;
        self.journal_length = head.len() as u64;
        Ok(())
    }

    fn write(&mut self, row: &Row) -> io::Result<()> {
        let mut bytes = Vec::new();
        {
            let mut sink = match self.length {
                0 => self.format.sink(&mut bytes),
                _ => self.format.continued(&mut bytes),
            };
            sink.row(row)?;
            sink.finish()?;
        }
        let end = self.length + bytes.len() as u64;
        let key = row.key.filter(|_| row.is_final());
        let key = key.map_or(NOT_DONE.to_string(), |key| key.to_string());
        let line = format!("{key} {end} {:016x}\n", digest(&bytes));
        self.file.write_all(&bytes)?;
        self.journal.write_all(line.as_bytes())?;
        self.length = end;
        self.journal_length += line.len() as u64;
        if self.synced.elapsed() >= SYNC_INTERVAL {
            self.sync()?;
        }
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        self.journal.sync_data()?;
        self.synced = Instant::now();
        Ok(())
    }
}

impl Sink for JournaledFile {
    fn row(&mut self, row: &Row) -> io::Result<()> {
        self.write(row).map_err(|error| {
            // Remove the partial row; if this fails too, resuming removes it.
            let _ = self.file.set_len(self.length);
            let _ = self.journal.set_len(self.journal_length);
            with_path(&self.path, &error)
        })
    }

    fn finish(&mut self) -> io::Result<()> {
        self.sync().map_err(|error| with_path(&self.path, &error))
    }

    fn has_messages(&self) -> bool {
        true
    }
}

/// First line of a journal.
fn head() -> String {
    format!("{HEAD} schema {SCHEMA}\n")
}

/// Schema of the rows of a journal, by its first line.
fn schema_of(head: &str) -> Option<u32> {
    let rest = head.strip_suffix('\n')?.strip_prefix(HEAD)?;
    if rest.is_empty() { Some(1) } else { rest.strip_prefix(" schema ")?.parse().ok() }
}

/// Message for an output with rows of another schema.
pub(super) fn other_schema(found: u32) -> String {
    format!("cannot resume: its rows have schema {found} and this version of tagwave writes schema {SCHEMA}")
}

fn digest(bytes: &[u8]) -> u64 {
    let digest = Sha256::digest(bytes);
    digest.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// Line of a journal.
struct Entry {
    key: Option<JournalKey>,
    end: u64,
    digest: u64,
}

impl Entry {
    fn parse(line: &str) -> Option<Entry> {
        let mut words = line.strip_suffix('\n')?.split(' ');
        let key = match words.next()? {
            NOT_DONE => None,
            word => Some(JournalKey::parse(word)?),
        };
        let end = words.next()?.parse().ok()?;
        let digest = words.next().filter(|word| word.len() == 16)?;
        let digest = u64::from_str_radix(digest, 16).ok()?;
        words.next().is_none().then_some(Entry { key, end, digest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error_kind::ErrorKind;
    use crate::sinks::{CSV, Failure, JSON_LINES};

    fn key(name: &str) -> JournalKey {
        JournalKey::new("settings", Path::new(name), 1, 2)
    }

    fn row(name: &str, kind: ErrorKind) -> Row {
        let failure = Failure { kind, message: "it is, \"so\"".into() };
        Row { path: name.into(), key: Some(key(name)), outcome: Err(failure) }
    }

    fn lines(path: &Path) -> usize {
        std::fs::read_to_string(path).unwrap().lines().count()
    }

    #[test]
    fn rows_can_be_read_while_they_are_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows");
        let mut output = JournaledFile::create(JSON_LINES, &path).unwrap();
        output.row(&row("a", ErrorKind::Input)).unwrap();
        File::open(&path).unwrap().try_lock_shared().unwrap();
        assert_eq!(lines(&path), 1);
        let error = JournaledFile::resume(JSON_LINES, &path).unwrap_err().to_string();
        assert!(error.contains("rows: another process is writing"), "{error}");
    }

    #[test]
    fn a_journal_whose_first_line_is_torn_is_begun_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows");
        for cut in 0..head().len() {
            std::fs::write(&path, "").unwrap();
            std::fs::write(journal_file(&path), &head()[..cut]).unwrap();
            let (mut output, done) = JournaledFile::resume(JSON_LINES, &path).unwrap();
            output.row(&row("a", ErrorKind::Input)).unwrap();
            drop(output);
            assert!(done.is_empty());
            assert_eq!(JournaledFile::resume(JSON_LINES, &path).unwrap().1.len(), 1, "cut at {cut}");
        }
    }

    #[test]
    fn keys_tell_everything_apart() {
        let keys = [
            key("a"),
            key("b"),
            JournalKey::new("settings", Path::new("a"), 2, 2),
            JournalKey::new("settings", Path::new("a"), 1, 3),
            JournalKey::new("settingsa", Path::new(""), 1, 2),
        ];
        for (i, a) in keys.iter().enumerate() {
            assert_eq!(JournalKey::parse(&a.to_string()), Some(*a));
            assert!(keys[..i].iter().all(|b| a != b));
        }
    }

    #[test]
    fn any_truncation_is_resumed() {
        let folder = tempfile::tempdir().unwrap();
        for format in [JSON_LINES, CSV] {
            let path = folder.path().join(format!("{format:?}"));
            let names = ["a", "b", "c", "d"];
            let mut clean = JournaledFile::create(format, &path).unwrap();
            names.iter().for_each(|name| clean.row(&row(name, ErrorKind::Input)).unwrap());
            drop(clean);
            let [rows, journal] = [&path, &journal_file(&path)].map(|path| std::fs::read(path).unwrap());
            for cut in 0..rows.len().max(journal.len()) {
                for (rows_end, journal_end) in [(cut, journal.len()), (rows.len(), cut), (cut, cut)] {
                    std::fs::write(&path, &rows[..rows_end.min(rows.len())]).unwrap();
                    let head = head().len();
                    let journal_end = journal_end.clamp(head, journal.len());
                    std::fs::write(journal_file(&path), &journal[..journal_end]).unwrap();
                    let (mut sink, mut done) = JournaledFile::resume(format, &path).unwrap();
                    for name in names {
                        if !done.take(&key(name)) {
                            sink.row(&row(name, ErrorKind::Input)).unwrap();
                        }
                    }
                    drop(sink);
                    assert!(std::fs::read(&path).unwrap() == rows, "{format:?} cut at {cut}");
                }
            }
        }
    }

    #[test]
    fn holes_are_cut_off_and_changes_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows");
        let mut sink = JournaledFile::create(JSON_LINES, &path).unwrap();
        ["a", "b"].iter().for_each(|name| sink.row(&row(name, ErrorKind::Input)).unwrap());
        assert!(
            JournaledFile::create(JSON_LINES, &path).unwrap_err().to_string().contains("another process")
        );
        drop(sink);
        let mut bytes = std::fs::read(&path).unwrap();
        let end = bytes.len();
        bytes[end - 9..].fill(0);
        std::fs::write(&path, &bytes).unwrap();
        let (sink, done) = JournaledFile::resume(JSON_LINES, &path).unwrap();
        drop(sink);
        assert_eq!((done.len(), lines(&path)), (1, 1));
        let edited = std::fs::read_to_string(&path).unwrap().replace("\"a\"", "\"A\"");
        std::fs::write(&path, edited).unwrap();
        let error = JournaledFile::resume(JSON_LINES, &path).unwrap_err().to_string();
        assert!(error.contains("the file was changed"), "{error}");
        std::fs::remove_file(journal_file(&path)).unwrap();
        let error = JournaledFile::resume(JSON_LINES, &path).unwrap_err().to_string();
        assert!(error.contains("cannot resume without its journal"), "{error}");
    }

    #[test]
    fn temporary_failures_are_repeated() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows");
        let mut sink = JournaledFile::create(JSON_LINES, &path).unwrap();
        sink.row(&row("a", ErrorKind::Resource)).unwrap();
        sink.row(&row("b", ErrorKind::Unsupported)).unwrap();
        drop(sink);
        let (_sink, mut done) = JournaledFile::resume(JSON_LINES, &path).unwrap();
        assert!(!done.take(&key("a")) && done.take(&key("b")) && !done.take(&key("b")));
        assert_eq!(lines(&path), 2);
    }
}
