//! NumPy output: features as one `[rows, D]` array of float32, and a list of the files of the rows.
//!
//! Format: NumPy Enhancement Proposal 1 (`numpy.lib.format`), version 1.0. The header has a fixed size, so that rows are
//! written as they come and the count is filled in at the end. (Writers of crates need the shape at the beginning.)

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use base64::Engine;

use super::file::with_path;
use super::merge::{LatestRows, Merged, open};
use super::read::{ReadRow, ReadValues};
use super::{AtomicFile, Format, Layout, NOT_WRITTEN, Row, Sink, WholeFormat, path_bytes, six_decimals};

/// NumPy arrays.
pub(super) const ARRAYS: WholeFormat = WholeFormat {
    name: "npy",
    create: |path| Ok(Box::new(Npy::create(path)?)),
    has_messages: false,
    is_built: true,
};

pub(super) static FORMAT: Format = Format {
    title: "NumPy: one float32 array [files, D] and a list of the files; needs -o: FILE.npy, or a folder of parts",
    holds_tags: false,
    holds_features: true,
    layout: Layout::Whole(ARRAYS),
    merge: Some(merge),
    read: Some(read),
};

/// Size of the header in bytes: a multiple of 64, large enough for any two extents.
const HEADER_BYTES: usize = 128;

/// Header of a C-ordered float32 array.
fn header(shape: &[u64]) -> Vec<u8> {
    let extents: String = shape.iter().map(|extent| format!("{extent}, ")).collect();
    let dict = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}), }}", extents.trim_end());
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((HEADER_BYTES as u16 - 10).to_le_bytes());
    bytes.extend(dict.as_bytes());
    bytes.resize(HEADER_BYTES - 1, b' ');
    bytes.push(b'\n');
    bytes
}

/// Writer of a `[rows, D]` array, row by row, without keeping rows in memory.
#[derive(Debug)]
pub struct ArrayFile {
    file: AtomicFile,
    writer: BufWriter<File>,
    rows: u64,
    columns: Option<usize>,
}

impl ArrayFile {
    /// Creates an array at `path`, visible when it is finished.
    ///
    /// # Errors
    /// As [`AtomicFile::create`].
    pub fn create(path: &Path) -> io::Result<ArrayFile> {
        let file = AtomicFile::create(path)?;
        let mut writer = BufWriter::new(file.writer()?);
        writer.write_all(&header(&[0, 0]))?;
        Ok(ArrayFile { file, writer, rows: 0, columns: None })
    }

    /// Appends a row.
    ///
    /// # Errors
    /// A row of another length than the first, or an I/O error.
    pub fn push(&mut self, row: &[f32]) -> io::Result<()> {
        let columns = *self.columns.get_or_insert(row.len());
        if row.len() != columns {
            let message = format!("row {}: expected {columns} numbers, found {}", self.rows, row.len());
            return Err(io::Error::other(message));
        }
        for value in row {
            self.writer.write_all(&value.to_le_bytes())?;
        }
        self.rows += 1;
        Ok(())
    }

    /// Writes the shape to the header and renames the file to its final name.
    ///
    /// # Errors
    /// An I/O error.
    pub fn finish(self) -> io::Result<()> {
        let mut file = self.writer.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&header(&[self.rows, self.columns.unwrap_or(0) as u64]))?;
        drop(file);
        self.file.finish()
    }
}

/// Reader of an array written by [`ArrayFile`].
#[derive(Debug)]
pub struct ArrayReader {
    reader: BufReader<File>,
    rows: u64,
    columns: usize,
}

impl ArrayReader {
    /// Opens `[rows, D]` float32 in C order.
    ///
    /// # Errors
    /// An I/O error, or an array of another kind; the message names the path.
    pub fn open(path: &Path) -> io::Result<ArrayReader> {
        let file = File::open(path).map_err(|error| with_path(path, &error))?;
        let mut reader = BufReader::new(file);
        let mut found = [0; HEADER_BYTES];
        reader.read_exact(&mut found).map_err(|error| with_path(path, &error))?;
        let text = String::from_utf8_lossy(&found[10..]);
        let shape = text.split("'shape': (").nth(1).and_then(|rest| rest.split(')').next()).unwrap_or("");
        let extents: Vec<u64> = shape.split(',').filter_map(|word| word.trim().parse().ok()).collect();
        match extents[..] {
            [rows, columns] if found[..] == header(&extents) => {
                Ok(ArrayReader { reader, rows, columns: columns as usize })
            }
            _ => {
                let expected = "expected an array [rows, D] written by tagwave";
                Err(io::Error::other(format!("{}: {expected}", path.display())))
            }
        }
    }

    /// Number of remaining rows.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Reads the next row; `None` after the last one.
    ///
    /// # Errors
    /// An I/O error.
    pub fn next_row(&mut self) -> io::Result<Option<Vec<f32>>> {
        if self.rows == 0 {
            return Ok(None);
        }
        self.rows -= 1;
        let mut bytes = vec![0; self.columns * size_of::<f32>()];
        self.reader.read_exact(&mut bytes)?;
        Ok(Some(bytes.as_chunks::<4>().0.iter().map(|&word| f32::from_le_bytes(word)).collect()))
    }
}

/// Writes a whole array.
///
/// # Errors
/// If the number of `values` differs from `shape`, or an I/O error.
pub fn write_array(path: &Path, shape: &[u64], values: &[f32]) -> io::Result<()> {
    if shape.iter().product::<u64>() != values.len() as u64 {
        return Err(io::Error::other(format!("{shape:?}: found {} numbers", values.len())));
    }
    let file = AtomicFile::create(path)?;
    let mut writer = BufWriter::new(file.writer()?);
    writer.write_all(&header(shape))?;
    for value in values {
        writer.write_all(&value.to_le_bytes())?;
    }
    writer.flush()?;
    drop(writer);
    file.finish()
}

/// Sink of features as an array, with a list of the file of each row ([`paths_file`]).
///
/// Line `i` of the list is the path of row `i`: plain if unambiguous, as a JSON string if it has control characters or
/// begins like one of the other forms, or as `base64:` and its bytes if it is not UTF-8. With clips, each row is a clip,
/// and its line ends with a tab and the start of the clip in seconds. Files that failed have no row.
#[derive(Debug)]
pub struct Npy {
    /// Taken when finished.
    parts: Option<(ArrayFile, AtomicFile)>,
    paths: BufWriter<File>,
}

/// Path of the list of files of an array: `features.paths.txt` for `features.npy`.
pub fn paths_file(array: &Path) -> PathBuf {
    array.with_extension("paths.txt")
}

impl Npy {
    /// Creates an array at `path` and its list.
    ///
    /// # Errors
    /// As [`AtomicFile::create`].
    pub fn create(path: &Path) -> io::Result<Npy> {
        let array = ArrayFile::create(path)?;
        let list = AtomicFile::create(&paths_file(path))?;
        let paths = BufWriter::new(list.writer()?);
        Ok(Npy { parts: Some((array, list)), paths })
    }
}

impl Sink for Npy {
    fn row(&mut self, row: &Row) -> io::Result<()> {
        let (Some((array, _)), Ok(found)) = (&mut self.parts, &row.outcome) else { return Ok(()) };
        let name = listed(&row.path);
        for (start_s, values) in found.parts() {
            let features = values.features().ok_or_else(|| io::Error::other("npy cannot store tags"))?;
            array.push(features)?;
            if found.clips.is_empty() {
                writeln!(self.paths, "{name}")?
            } else {
                writeln!(self.paths, "{name}\t{}", six_decimals(start_s))?
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        let Some((array, list)) = self.parts.take() else { return Ok(()) };
        self.paths.flush()?;
        // The list first, so that it exists when the array appears.
        list.finish()?;
        array.finish()
    }

    fn interrupt(&mut self) -> io::Result<&'static str> {
        Ok(NOT_WRITTEN)
    }

    fn has_messages(&self) -> bool {
        false
    }
}

/// Encodes a path as one line.
fn listed(path: &Path) -> String {
    const BYTES: &str = "base64:";
    match path.to_str() {
        Some(text)
            if text.starts_with('"') || text.starts_with(BYTES) || text.chars().any(char::is_control) =>
        {
            serde_json::Value::from(text).to_string()
        }
        Some(text) => text.to_string(),
        None => BYTES.to_string() + &base64::engine::general_purpose::STANDARD.encode(path_bytes(path)),
    }
}

/// The rows of a file are consecutive and kept together.
///
/// Joins arrays and their lists.
fn merge(files: &[PathBuf], output: &Path) -> io::Result<Merged> {
    let mut last = LatestRows::default();
    // The list has one line per row; the line of a clip ends with its start, so that two runs of a file match.
    let lists = |file: &PathBuf| -> io::Result<Vec<String>> {
        BufReader::new(open(&paths_file(file))?).lines().collect()
    };
    for file in files {
        for line in lists(file)? {
            last.record(line.as_bytes(), Some(""));
        }
    }
    let mut array = ArrayFile::create(output)?;
    let list = AtomicFile::create(&paths_file(output))?;
    let mut names = BufWriter::new(list.writer()?);
    let (mut place, mut kept) = (0, 0);
    for file in files {
        let mut rows = ArrayReader::open(file)?;
        for line in lists(file)? {
            let row = rows.next_row()?.ok_or_else(|| {
                io::Error::other(format!("{}: fewer rows than lines in its list of files", file.display()))
            })?;
            if last.is_latest(place, line.as_bytes(), Some("")) {
                array.push(&row)?;
                writeln!(names, "{line}")?;
                kept += 1;
            }
            place += 1;
        }
        if rows.rows() > 0 {
            return Err(io::Error::other(format!(
                "{}: more rows than lines in its list of files",
                file.display()
            )));
        }
    }
    names.flush()?;
    drop(names);
    list.finish()?;
    array.finish()?;
    Ok(Merged { kept, dropped: place - kept })
}

/// Reads rows: the features of a file, or of a clip.
fn read(path: &Path, row: &mut dyn FnMut(ReadRow)) -> io::Result<u64> {
    let mut array = ArrayReader::open(path)?;
    let lines = BufReader::new(open(&paths_file(path))?).lines().collect::<io::Result<Vec<String>>>()?;
    if array.rows() != lines.len() as u64 {
        let message = format!("expected as many rows as lines in its list of files, {}", lines.len());
        return Err(with_path(path, &io::Error::other(format!("{message}, found {}", array.rows()))));
    }
    for line in lines {
        let Some(values) = array.next_row()? else { break };
        // A tab is a control character: a path that has one is a JSON string.
        let name = line.rsplit_once('\t').map_or(&*line, |(name, _)| name);
        let name = if name.starts_with('"') {
            serde_json::from_str(name).map_err(|error| with_path(&paths_file(path), &error.into()))?
        } else {
            name.to_string()
        };
        let values = ReadValues::Features(values.into_iter().map(f64::from).collect());
        row(ReadRow { path: name, made: None, track_s: None, values });
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_path_is_one_line() {
        for (path, line) in [
            ("a b.mp3", "a b.mp3"),
            ("a\n\t.mp3", "\"a\\n\\t.mp3\""),
            ("\"a\".mp3", "\"\\\"a\\\".mp3\""),
            ("base64:a", "\"base64:a\""),
            ("\u{7f}\u{85}", "\"\u{7f}\u{85}\""),
        ] {
            assert_eq!(listed(Path::new(path)), line);
        }
    }

    #[test]
    fn headers_are_aligned_and_of_one_size() {
        for shape in [&[][..], &[0], &[5], &[3, 4], &[u64::MAX, u64::MAX]] {
            let header = header(shape);
            assert_eq!(header.len(), HEADER_BYTES);
            assert_eq!(header[HEADER_BYTES - 1], b'\n');
        }
        assert!(String::from_utf8_lossy(&header(&[5])).contains("'shape': (5,), }"));
    }
}
