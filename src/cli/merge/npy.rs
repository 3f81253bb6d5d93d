//! Merging of NumPy arrays, each with its list of files; the rows of a file are consecutive and kept together.

use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::{Counts, LatestRows, open};
use crate::sinks::{ArrayFile, ArrayReader, AtomicFile, paths_file};

/// Joins arrays and their lists.
pub(super) fn merge(files: &[PathBuf], output: &Path) -> io::Result<Counts> {
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
    Ok((kept, place - kept))
}
