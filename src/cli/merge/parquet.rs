//! Tables of Parquet; the rows of a file follow one another and go together.

use std::io;
use std::path::{Path, PathBuf};

use arrow_array::cast::AsArray;
use arrow_array::{Array, BinaryArray, RecordBatch, StringArray};
use arrow_select::filter::filter_record_batch;

use super::{Counts, Last};
use crate::sinks::{TableFile, read_table};

/// A file, and what made its rows where it did not fail.
type Subject = (Vec<u8>, Option<String>);

/// What the rows of a table are of.
struct Subjects<'a> {
    path: &'a StringArray,
    path_bytes: &'a BinaryArray,
    made: [&'a StringArray; 3],
}

impl<'a> Subjects<'a> {
    fn of(rows: &'a RecordBatch) -> io::Result<Subjects<'a>> {
        let missing = |name| io::Error::other(format!("expected a column {name} of text, found none"));
        let column = |name| rows.column_by_name(name).ok_or_else(|| missing(name));
        let text = |name| column(name)?.as_string_opt().ok_or_else(|| missing(name));
        Ok(Subjects {
            path: text("path")?,
            path_bytes: column("path_bytes")?.as_binary_opt().ok_or_else(|| missing("path_bytes"))?,
            made: [text("model")?, text("reading")?, text("tap")?],
        })
    }

    fn get(&self, row: usize) -> Subject {
        let path = match self.path.is_valid(row) {
            true => [b"text ", self.path.value(row).as_bytes()].concat(),
            false => [b"bytes ", self.path_bytes.value(row)].concat(),
        };
        let word = |column: &StringArray| column.is_valid(row).then(|| column.value(row).to_string());
        let [model, reading, tap] = self.made.map(word);
        let made =
            model.map(|model| format!("{model} {} {}", reading.unwrap_or_default(), tap.unwrap_or_default()));
        (path, made)
    }
}

/// Joins tables of the same columns.
pub(super) fn merge(files: &[PathBuf], output: &Path) -> io::Result<Counts> {
    let mut last = Last::default();
    each(files, |_, begins| {
        for (path, made) in begins.iter().flatten() {
            last.note(path, made.as_deref());
        }
        Ok(())
    })?;
    let mut table = TableFile::create(output)?;
    let (mut all, mut kept, mut keeps) = (0u64, 0, false);
    each(files, |rows, begins| {
        let kept_rows = begins.iter().map(|begins| {
            if let Some((path, made)) = begins {
                keeps = last.keeps(all, path, made.as_deref());
                all += 1;
                kept += u64::from(keeps);
            }
            Some(keeps)
        });
        let kept_rows = filter_record_batch(rows, &kept_rows.collect()).map_err(io::Error::other)?;
        table.write(&kept_rows)
    })?;
    table.finish()?;
    Ok((kept, all - kept))
}

/// Calls `rows` with all rows, a batch at a time, and for each row what it is of where it begins a file.
fn each(
    files: &[PathBuf],
    mut rows: impl FnMut(&RecordBatch, &[Option<Subject>]) -> io::Result<()>,
) -> io::Result<()> {
    for path in files {
        let named = |error: io::Error| io::Error::other(format!("{}: {error}", path.display()));
        let mut before = None;
        for batch in read_table(path)? {
            let batch = batch.map_err(|error| named(io::Error::other(error)))?;
            let subjects = Subjects::of(&batch).map_err(named)?;
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
