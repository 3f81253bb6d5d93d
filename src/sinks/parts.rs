//! A folder of finished part files, for formats that cannot grow by a row.
//!
//! A part is written beside its name and renamed when it is whole; just before, `_part-00000.keys` says which
//! files it is of. So an interruption costs the part under way and nothing else.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

#[cfg(feature = "parquet")]
use super::Parquet;
use super::journal::{CompletedSet, Key};
use super::{AtomicFile, Npy, Row, Sink};

/// A part is finished when it is so old, or has so many files.
const PART_TIME: Duration = Duration::from_secs(60);
const PART_FILES: usize = 10_000;

/// The formats that are written whole: one file that appears at the end, or finished parts in a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartKind {
    /// Arrays of NumPy, each with its list of files.
    Npy,
    /// Tables of Apache Parquet.
    Parquet,
}

impl PartKind {
    /// The ending of such files.
    pub const fn ending(self) -> &'static str {
        match self {
            PartKind::Npy => "npy",
            PartKind::Parquet => "parquet",
        }
    }

    /// One file that will be at `path`.
    ///
    /// # Errors
    /// As [`AtomicFile::create`]; `Unsupported` for a format that was left out of the program.
    pub fn create(self, path: &Path) -> io::Result<Box<dyn Sink>> {
        match self {
            PartKind::Npy => Ok(Box::new(Npy::create(path)?)),
            #[cfg(feature = "parquet")]
            PartKind::Parquet => Ok(Box::new(Parquet::create(path)?)),
            #[cfg(not(feature = "parquet"))]
            PartKind::Parquet => self.supported().and_then(|()| Err(io::ErrorKind::Unsupported.into())),
        }
    }

    /// Whether the program can write it.
    ///
    /// # Errors
    /// `Unsupported` for a format that was left out of the program.
    pub fn supported(self) -> io::Result<()> {
        if self != PartKind::Parquet || cfg!(feature = "parquet") {
            return Ok(());
        }
        let name = self.ending();
        let message = format!("this program was built without {name}: build it with --features {name}");
        Err(io::Error::new(io::ErrorKind::Unsupported, message))
    }
}

/// Rows in a folder of parts.
pub struct PartitionedDir {
    kind: PartKind,
    folder: PathBuf,
    next: u32,
    part: Option<Part>,
}

struct Part {
    sink: Box<dyn Sink>,
    keys: Vec<Key>,
    files: usize,
    begun: Instant,
}

/// The finished parts of a folder, in their order.
///
/// # Errors
/// What the system says.
pub fn parts_of(folder: &Path, kind: PartKind) -> io::Result<Vec<PathBuf>> {
    let mut parts = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if number(&path).is_some() && path.extension().is_some_and(|ending| ending == kind.ending()) {
            parts.push(path);
        }
    }
    parts.sort();
    Ok(parts)
}

/// The number of a part by its name.
fn number(path: &Path) -> Option<u32> {
    path.file_stem()?.to_str()?.strip_prefix("part-")?.parse().ok()
}

/// The list of the files that a part is of. Readers of whole folders pass over what begins with a line.
fn keys_file(part: &Path) -> PathBuf {
    let stem = part.file_stem().unwrap_or_default().to_string_lossy();
    part.with_file_name(format!("_{stem}.keys"))
}

impl PartitionedDir {
    /// Adds parts to those in `folder`, which is made where it is missing, and says which files are done.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(kind: PartKind, folder: &Path) -> io::Result<(PartitionedDir, CompletedSet)> {
        fs::create_dir_all(folder)?;
        let (mut done, mut next) = (CompletedSet::default(), 0);
        for part in parts_of(folder, kind)? {
            next = next.max(number(&part).map_or(0, |number| number + 1));
            let keys = fs::read_to_string(keys_file(&part))
                .map_err(|error| super::file::about(&keys_file(&part), &error))?;
            keys.lines().filter_map(Key::parse).for_each(|key| done.add(key));
        }
        Ok((PartitionedDir { kind, folder: folder.to_path_buf(), next, part: None }, done))
    }

    /// Takes away the parts in `folder`.
    ///
    /// # Errors
    /// What the system says.
    pub fn clear(kind: PartKind, folder: &Path) -> io::Result<()> {
        for part in parts_of(folder, kind)? {
            fs::remove_file(&part)?;
            for beside in [keys_file(&part), super::paths_file(&part)] {
                match fs::remove_file(beside) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn path(&self) -> PathBuf {
        self.folder.join(format!("part-{:05}.{}", self.next, self.kind.ending()))
    }

    fn finish_part(&mut self) -> io::Result<()> {
        let Some(mut part) = self.part.take() else { return Ok(()) };
        let path = self.path();
        let keys = AtomicFile::create(&keys_file(&path))?;
        let mut writer = io::BufWriter::new(keys.writer()?);
        part.keys.iter().try_for_each(|key| writeln!(writer, "{key}"))?;
        writer.flush()?;
        drop(writer);
        // The keys first: who finds the part finds them too, and without the part they mean nothing.
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
                sink: self.kind.create(&path)?,
                keys: Vec::new(),
                files: 0,
                begun: Instant::now(),
            }),
        };
        part.sink.row(row)?;
        part.keys.extend(row.key.filter(|_| row.is_final()));
        part.files += 1;
        if part.files >= PART_FILES || part.begun.elapsed() >= PART_TIME {
            self.finish_part()?;
        }
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.finish_part()
    }

    fn has_messages(&self) -> bool {
        match self.kind {
            PartKind::Npy => false,
            PartKind::Parquet => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sinks::{Prediction, Values};

    fn row(name: &str) -> Row {
        let found = Prediction {
            model: "crnn".into(),
            reading: "restored",
            device: "cpu".into(),
            decoder: "symphonia".into(),
            clip_start_s: 0.0,
            track_s: None,
            clip_count: 1,
            values: Values::Embedding(vec![1.0, 2.0]),
            clips: vec![],
            warnings: vec![],
        };
        let key = Key::new("", Path::new(name), 0, 0);
        Row { path: name.into(), key: Some(key), outcome: Ok(found) }
    }

    #[test]
    fn an_interruption_costs_the_part_under_way() {
        let folder = tempfile::tempdir().unwrap();
        let (mut parts, done) = PartitionedDir::open(PartKind::Npy, folder.path()).unwrap();
        assert!(done.is_empty());
        parts.row(&row("a")).unwrap();
        parts.finish().unwrap();
        parts.row(&row("b")).unwrap();
        drop(parts);
        let (mut parts, mut done) = PartitionedDir::open(PartKind::Npy, folder.path()).unwrap();
        assert!(done.take(&row("a").key.unwrap()) && !done.take(&row("b").key.unwrap()));
        parts.row(&row("b")).unwrap();
        parts.finish().unwrap();
        assert_eq!(parts_of(folder.path(), PartKind::Npy).unwrap().len(), 2);
        PartitionedDir::clear(PartKind::Npy, folder.path()).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
