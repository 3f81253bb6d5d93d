//! Folder of part files, for formats that cannot be appended to.
//!
//! A part is written atomically, after `_part-00000.keys` with the journal keys of its files, so that an interruption
//! loses only the current part.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::file::with_path;
use super::journal::{CompletedSet, JournalKey, other_schema};
use super::lock::OutputLock;
use super::{AtomicFile, Row, SCHEMA, Sink, WholeFormat};

/// Start of the first line of a list of keys, before the schema of the rows.
const SCHEMA_LINE: &str = "schema ";
/// File that is locked while parts are added. Readers of whole folders ignore its name too.
const LOCK: &str = "_lock";
/// Maximum age of a part.
const PART_TIME: Duration = Duration::from_secs(60);
/// Maximum number of files of a part.
const PART_FILES: usize = 10_000;

/// Sink that writes parts to a folder.
pub struct PartitionedDir {
    format: WholeFormat,
    folder: PathBuf,
    next: u32,
    part: Option<Part>,
    _lock: OutputLock,
}

struct Part {
    sink: Box<dyn Sink>,
    keys: Vec<JournalKey>,
    files: usize,
    start: Instant,
}

/// Lists the parts of a folder in order.
///
/// # Errors
/// An I/O error.
pub fn parts_of(folder: &Path, format: WholeFormat) -> io::Result<Vec<PathBuf>> {
    let mut parts = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if number(&path).is_some()
            && path.extension().is_some_and(|extension| extension == format.extension())
        {
            parts.push(path);
        }
    }
    parts.sort();
    Ok(parts)
}

/// Number of a part by its file name.
fn number(path: &Path) -> Option<u32> {
    path.file_stem()?.to_str()?.strip_prefix("part-")?.parse().ok()
}

/// Path of the list of journal keys of a part. Readers of whole folders ignore names that begin with `_`.
fn keys_file(part: &Path) -> PathBuf {
    let stem = part.file_stem().unwrap_or_default().to_string_lossy();
    part.with_file_name(format!("_{stem}.keys"))
}

/// Locks a folder, created if missing.
fn lock_folder(folder: &Path) -> io::Result<OutputLock> {
    fs::create_dir_all(folder).map_err(|error| with_path(folder, &error))?;
    OutputLock::acquire(folder.join(LOCK), folder)
}

impl PartitionedDir {
    /// Opens a folder, created if missing, to add parts; returns the completed files.
    ///
    /// # Errors
    /// An I/O error, parts with rows of another schema, or another process is writing to the folder.
    pub fn open(format: WholeFormat, folder: &Path) -> io::Result<(PartitionedDir, CompletedSet)> {
        let lock = lock_folder(folder)?;
        let (mut done, mut next) = (CompletedSet::default(), 0);
        for part in parts_of(folder, format)? {
            next = next.max(number(&part).map_or(0, |number| number + 1));
            let keys =
                fs::read_to_string(keys_file(&part)).map_err(|error| with_path(&keys_file(&part), &error))?;
            // Lists of schema 1 have no schema in their first line.
            let schema = keys.lines().next().and_then(|line| line.strip_prefix(SCHEMA_LINE)?.parse().ok());
            if schema != Some(SCHEMA) {
                let message = format!("{}: {}", part.display(), other_schema(schema.unwrap_or(1)));
                return Err(io::Error::new(io::ErrorKind::Unsupported, message));
            }
            keys.lines().filter_map(JournalKey::parse).for_each(|key| done.add(key));
        }
        Ok((PartitionedDir { format, folder: folder.to_path_buf(), next, part: None, _lock: lock }, done))
    }

    /// Opens a folder, created if missing, and removes its parts.
    ///
    /// # Errors
    /// An I/O error, or another process is writing to the folder.
    pub fn create(format: WholeFormat, folder: &Path) -> io::Result<PartitionedDir> {
        let lock = lock_folder(folder)?;
        for part in parts_of(folder, format)? {
            fs::remove_file(&part)?;
            for beside in [keys_file(&part), super::paths_file(&part)] {
                match fs::remove_file(beside) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
        }
        Ok(PartitionedDir { format, folder: folder.to_path_buf(), next: 0, part: None, _lock: lock })
    }

    fn path(&self) -> PathBuf {
        self.folder.join(format!("part-{:05}.{}", self.next, self.format.extension()))
    }

    fn finish_part(&mut self) -> io::Result<()> {
        let Some(mut part) = self.part.take() else { return Ok(()) };
        let path = self.path();
        let keys = AtomicFile::create(&keys_file(&path))?;
        let mut writer = io::BufWriter::new(keys.writer()?);
        writeln!(writer, "{SCHEMA_LINE}{SCHEMA}")?;
        part.keys.iter().try_for_each(|key| writeln!(writer, "{key}"))?;
        writer.flush()?;
        drop(writer);
        // The keys first, so that they exist when the part appears; without the part they are ignored.
        keys.finish()?;
        part.sink.finish()?;
        self.next += 1;
        Ok(())
    }
}

impl Sink for PartitionedDir {
    fn row(&mut self, row: &Row) -> io::Result<()> {
        let path = self.path();
        let part = match &mut self.part {
            Some(part) => part,
            none => none.insert(Part {
                sink: self.format.unlocked(&path)?,
                keys: Vec::new(),
                files: 0,
                start: Instant::now(),
            }),
        };
        part.sink.row(row)?;
        part.keys.extend(row.key.filter(|_| row.is_final()));
        part.files += 1;
        if part.files >= PART_FILES || part.start.elapsed() >= PART_TIME {
            self.finish_part()?;
        }
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.finish_part()
    }

    fn has_messages(&self) -> bool {
        self.format.has_messages
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sinks::npy::ARRAYS;
    use crate::sinks::{Prediction, Values};

    fn row(name: &str) -> Row {
        let found = Prediction {
            model: "crnn".into(),
            compat: "corrected",
            device: "cpu".into(),
            decoder: "symphonia".into(),
            clip_start_s: 0.0,
            track_s: None,
            clip_count: 1,
            values: Values::Embedding(vec![1.0, 2.0]),
            clips: vec![],
            warnings: vec![],
        };
        let key = JournalKey::new("", Path::new(name), 0, 0);
        Row { path: name.into(), key: Some(key), outcome: Ok(found) }
    }

    #[test]
    fn an_interruption_loses_only_the_current_part() {
        let folder = tempfile::tempdir().unwrap();
        let (mut parts, done) = PartitionedDir::open(ARRAYS, folder.path()).unwrap();
        assert!(done.is_empty());
        parts.row(&row("a")).unwrap();
        parts.finish().unwrap();
        parts.row(&row("b")).unwrap();
        drop(parts);
        let (mut parts, mut done) = PartitionedDir::open(ARRAYS, folder.path()).unwrap();
        // One process at a time: another would write parts of the same names.
        for error in [
            PartitionedDir::open(ARRAYS, folder.path()).err(),
            PartitionedDir::create(ARRAYS, folder.path()).err(),
        ] {
            assert!(error.unwrap().to_string().contains("another process"));
        }
        assert!(done.take(&row("a").key.unwrap()) && !done.take(&row("b").key.unwrap()));
        parts.row(&row("b")).unwrap();
        parts.finish().unwrap();
        assert_eq!(parts_of(folder.path(), ARRAYS).unwrap().len(), 2);
        drop(parts);
        drop(PartitionedDir::create(ARRAYS, folder.path()).unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
