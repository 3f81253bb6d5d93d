//! Merging of Parquet tables; the rows of a file are consecutive and kept together.

use std::io;
use std::path::{Path, PathBuf};

use arrow_array::cast::AsArray;
use arrow_array::{Array, BinaryArray, RecordBatch, StringArray};
use arrow_select::filter::filter_record_batch;

use super::{Counts, LatestRows};
use crate::sinks::{TableFile, read_table};

/// A file, and its settings if it did not fail.
type RowSubject = (Vec<u8>, Option<String>);

/// Columns that identify the rows of a table.
struct RowSubjects<'a> {
    path: &'a StringArray,
    path_bytes: &'a BinaryArray,
    made: [&'a StringArray; 3],
}

impl<'a> RowSubjects<'a> {
    fn of(rows: &'a RecordBatch) -> io::Result<RowSubjects<'a>> {
        let missing = |name| io::Error::other(format!("expected a column {name} of text, found none"));
        let column = |name| rows.column_by_name(name).ok_or_else(|| missing(name));
        let text = |name| column(name)?.as_string_opt().ok_or_else(|| missing(name));
        Ok(RowSubjects {
            path: text("path")?,
            path_bytes: column("path_bytes")?.as_binary_opt().ok_or_else(|| missing("path_bytes"))?,
            made: [text("model")?, text("reading")?, text("tap")?],
        })
    }

    fn get(&self, row: usize) -> RowSubject {
        let path = if self.path.is_valid(row) {
            [b"text ", self.path.value(row).as_bytes()].concat()
        } else {
            [b"bytes ", self.path_bytes.value(row)].concat()
        };
        let word = |column: &StringArray| column.is_valid(row).then(|| column.value(row).to_string());
        let [model, reading, tap] = self.made.map(word);
        let made =
            model.map(|model| format!("{model} {} {}", reading.unwrap_or_default(), tap.unwrap_or_default()));
        (path, made)
    }
}

/// Joins tables with the same columns.
pub(super) fn merge(files: &[PathBuf], output: &Path) -> io::Result<Counts> {
    let mut last = LatestRows::default();
    each(files, |_, begins| {
        for (path, made) in begins.iter().flatten() {
            last.record(path, made.as_deref());
        }
        Ok(())
    })?;
    let mut table = TableFile::create(output)?;
    let (mut all, mut kept, mut is_latest) = (0u64, 0, false);
    each(files, |rows, begins| {
        let kept_rows = begins.iter().map(|begins| {
            if let Some((path, made)) = begins {
                is_latest = last.is_latest(all, path, made.as_deref());
                all += 1;
                kept += u64::from(is_latest);
            }
            Some(is_latest)
        });
        let kept_rows = filter_record_batch(rows, &kept_rows.collect()).map_err(io::Error::other)?;
        table.write(&kept_rows)
    })?;
    table.finish()?;
    Ok((kept, all - kept))
}

/// Calls `rows` with all rows in batches, and for each row its subject if it is the first row of a file.
fn each(
    files: &[PathBuf],
    mut rows: impl FnMut(&RecordBatch, &[Option<RowSubject>]) -> io::Result<()>,
) -> io::Result<()> {
    for path in files {
        let named = |error: io::Error| io::Error::other(format!("{}: {error}", path.display()));
        let mut before = None;
        for batch in read_table(path)? {
            let batch = batch.map_err(|error| named(io::Error::other(error)))?;
            let subjects = RowSubjects::of(&batch).map_err(named)?;
            let begins = (0..batch.num_rows()).map(|row| {
                let subject = Some(subjects.get(row));
                let begins = subject != before;
                before = subject;
                before.clone().filter(|_| begins)
            });
            rows(&batch, &begins.collect::<Vec<_>>()).map_err(named)?;
        }
    }
    Ok(())
}
