//! Apache Parquet output: a table with nested columns.
//!
//! All requests have the same schema; columns that do not apply are null. Scores and features are unrounded float32.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::builder::{
    BinaryBuilder, Float32Builder, Float64Builder, ListBuilder, StringBuilder, UInt32Builder,
};
use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type, UInt32Type};
use arrow_array::{Array, ArrayRef, BinaryArray, Float64Array, ListArray, RecordBatch, StringArray};
use arrow_select::filter::filter_record_batch;
use base64::Engine;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

use crate::sinks::file::with_path;
use crate::sinks::merge::{LatestRows, Merged, check_schema};
use crate::sinks::read::{ReadRow, ReadValues, encoded_path};
use crate::sinks::{AtomicFile, Failure, NOT_WRITTEN, Prediction, Row, SCHEMA, Sink, Values, path_bytes};

/// Maximum number of values that are buffered before they are encoded.
const BUFFERED_VALUES: usize = 1 << 20;
/// Maximum number of rows that are buffered before they are encoded.
const BUFFERED_ROWS: usize = 1024;
/// Size of a row group in encoded bytes; it is kept in memory until it is complete.
const GROUP_BYTES: usize = 64 << 20;

/// Writer of a table, batch by batch.
pub struct TableFile {
    file: AtomicFile,
    /// Created for the first batch, which defines the columns.
    writer: Option<ArrowWriter<File>>,
}

impl TableFile {
    /// Creates a table at `path`, visible when it is finished.
    ///
    /// # Errors
    /// As [`AtomicFile::create`].
    pub fn create(path: &Path) -> io::Result<TableFile> {
        Ok(TableFile { file: AtomicFile::create(path)?, writer: None })
    }

    /// Appends rows.
    ///
    /// # Errors
    /// Columns that differ from the first batch, or an I/O error.
    pub fn write(&mut self, rows: &RecordBatch) -> io::Result<()> {
        let writer = match &mut self.writer {
            Some(writer) => writer,
            none => {
                let properties = WriterProperties::builder()
                    .set_compression(Compression::SNAPPY)
                    .set_max_row_group_bytes(Some(GROUP_BYTES))
                    .set_created_by(concat!("tagwave ", env!("CARGO_PKG_VERSION")).into())
                    .build();
                let file = self.file.writer()?;
                none.insert(ArrowWriter::try_new(file, rows.schema(), Some(properties)).map_err(to_io_error)?)
            }
        };
        writer.write(rows).map_err(to_io_error)
    }

    /// Writes buffered rows and renames the file to its final name.
    ///
    /// # Errors
    /// An I/O error.
    pub fn finish(self) -> io::Result<()> {
        if let Some(writer) = self.writer {
            writer.close().map_err(to_io_error)?;
        }
        self.file.finish()
    }
}

/// Opens a table for reading, batch by batch.
///
/// # Errors
/// An I/O error, or an invalid table; the message names the path.
pub fn read_table(path: &Path) -> io::Result<ParquetRecordBatchReader> {
    let file = File::open(path).map_err(|error| with_path(path, &error))?;
    ParquetRecordBatchReaderBuilder::try_new(file)
        .and_then(|builder| builder.with_batch_size(BUFFERED_ROWS).build())
        .map_err(|error| with_path(path, &to_io_error(error)))
}

/// Extracts the I/O error, if there is one, so that a full disk is recognised.
fn to_io_error(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(inner) => match inner.downcast::<io::Error>() {
            Ok(error) => *error,
            Err(inner) => io::Error::other(inner),
        },
        error => io::Error::other(error),
    }
}

/// Sink with one row per file, or per clip if clips were requested; a file that failed has one row with its error.
pub struct Parquet {
    /// Taken when finished.
    table: Option<TableFile>,
    columns: Columns,
}

impl Parquet {
    /// Creates a table at `path`.
    ///
    /// # Errors
    /// As [`AtomicFile::create`].
    pub fn create(path: &Path) -> io::Result<Parquet> {
        Ok(Parquet { table: Some(TableFile::create(path)?), columns: Columns::default() })
    }

    fn encode(&mut self) -> io::Result<()> {
        let rows = self.columns.take()?;
        self.table.as_mut().map_or(Ok(()), |table| table.write(&rows))
    }
}

impl Sink for Parquet {
    fn row(&mut self, row: &Row) -> io::Result<()> {
        self.columns.push(row);
        if self.columns.rows >= BUFFERED_ROWS || self.columns.values_len >= BUFFERED_VALUES {
            self.encode()?;
        }
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        // Also without rows, so that the columns are written.
        self.encode()?;
        self.table.take().map_or(Ok(()), TableFile::finish)
    }

    fn interrupt(&mut self) -> io::Result<&'static str> {
        Ok(NOT_WRITTEN)
    }
}

/// Buffered rows by column.
#[derive(Default)]
struct Columns {
    rows: usize,
    values_len: usize,
    path: StringBuilder,
    path_bytes: BinaryBuilder,
    model: StringBuilder,
    compat: StringBuilder,
    device: StringBuilder,
    decoder: StringBuilder,
    clip_start_s: Float64Builder,
    track_s: Float64Builder,
    clip_count: UInt32Builder,
    tags: ListBuilder<StringBuilder>,
    scores: ListBuilder<Float32Builder>,
    tap: StringBuilder,
    features: ListBuilder<Float32Builder>,
    warnings: ListBuilder<StringBuilder>,
    error_kind: StringBuilder,
    error_message: StringBuilder,
    schema: UInt32Builder,
}

impl Columns {
    fn push(&mut self, row: &Row) {
        match &row.outcome {
            Ok(prediction) => prediction.parts().for_each(|(start_s, values)| {
                self.begin(row);
                self.prediction(prediction, start_s, values);
            }),
            Err(failure) => {
                self.begin(row);
                self.failed(failure);
            }
        }
    }

    fn begin(&mut self, row: &Row) {
        self.rows += 1;
        let text = row.path.to_str();
        self.path.append_option(text);
        self.path_bytes.append_option(text.is_none().then(|| path_bytes(&row.path)));
        self.schema.append_value(SCHEMA);
    }

    fn prediction(&mut self, prediction: &Prediction, start_s: f64, values: &Values) {
        self.model.append_value(&prediction.model);
        self.compat.append_value(prediction.compat);
        self.device.append_value(&prediction.device);
        self.decoder.append_value(&prediction.decoder);
        self.clip_start_s.append_value(start_s);
        self.track_s.append_option(prediction.track_s);
        self.clip_count.append_value(u32::try_from(prediction.clip_count).unwrap_or(u32::MAX));
        let tags = match values {
            Values::Tags(tags) => Some(tags),
            Values::Embedding(_) | Values::Tap { .. } => None,
        };
        self.tags.append_option(tags.map(|tags| tags.iter().map(|tag| Some(&*tag.label))));
        self.scores.append_option(tags.map(|tags| tags.iter().map(|tag| Some(tag.score))));
        self.tap.append_option(match values {
            Values::Tap { name, .. } => Some(name),
            Values::Tags(_) | Values::Embedding(_) => None,
        });
        let features = values.features();
        self.values_len += features.map_or(tags.map_or(0, Vec::len), <[f32]>::len);
        self.features.append_option(features.map(|features| features.iter().copied().map(Some)));
        self.warnings.append_value(prediction.warnings.iter().map(Some));
        self.error_kind.append_null();
        self.error_message.append_null();
    }

    fn failed(&mut self, failure: &Failure) {
        for column in [&mut self.model, &mut self.compat, &mut self.device, &mut self.decoder, &mut self.tap]
        {
            column.append_null();
        }
        self.clip_start_s.append_null();
        self.track_s.append_null();
        self.clip_count.append_null();
        self.tags.append_null();
        self.scores.append_null();
        self.features.append_null();
        self.warnings.append_null();
        self.error_kind.append_value(failure.kind.as_str());
        self.error_message.append_value(&failure.message);
    }

    /// Takes the buffered rows.
    fn take(&mut self) -> io::Result<RecordBatch> {
        let mut all = std::mem::take(self);
        let columns: [(&str, ArrayRef); 17] = [
            ("path", Arc::new(all.path.finish())),
            ("path_bytes", Arc::new(all.path_bytes.finish())),
            ("model", Arc::new(all.model.finish())),
            ("compat", Arc::new(all.compat.finish())),
            ("device", Arc::new(all.device.finish())),
            ("decoder", Arc::new(all.decoder.finish())),
            ("clip_start_s", Arc::new(all.clip_start_s.finish())),
            ("track_s", Arc::new(all.track_s.finish())),
            ("clip_count", Arc::new(all.clip_count.finish())),
            ("tags", Arc::new(all.tags.finish())),
            ("scores", Arc::new(all.scores.finish())),
            ("tap", Arc::new(all.tap.finish())),
            ("features", Arc::new(all.features.finish())),
            ("warnings", Arc::new(all.warnings.finish())),
            ("error_kind", Arc::new(all.error_kind.finish())),
            ("error_message", Arc::new(all.error_message.finish())),
            ("schema", Arc::new(all.schema.finish())),
        ];
        let columns = columns.map(|(name, column)| (name, column, true));
        RecordBatch::try_from_iter_with_nullable(columns).map_err(io::Error::other)
    }
}
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
            made: [text("model")?, text("compat")?, text("tap")?],
        })
    }

    fn get(&self, row: usize) -> RowSubject {
        let path = if self.path.is_valid(row) {
            [b"text ", self.path.value(row).as_bytes()].concat()
        } else {
            [b"bytes ", self.path_bytes.value(row)].concat()
        };
        let word = |column: &StringArray| column.is_valid(row).then(|| column.value(row).to_string());
        let [model, compat, tap] = self.made.map(word);
        let made =
            model.map(|model| format!("{model} {} {}", compat.unwrap_or_default(), tap.unwrap_or_default()));
        (path, made)
    }
}

/// Joins tables with the same columns.
pub(super) fn merge(files: &[PathBuf], output: &Path) -> io::Result<Merged> {
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
    Ok(Merged { kept, dropped: all - kept })
}

/// Checks the schema of rows, on which their columns depend.
fn check_batch(path: &Path, batch: &RecordBatch) -> io::Result<()> {
    if let Some(schema) = batch.column_by_name("schema").and_then(|c| c.as_primitive_opt::<UInt32Type>()) {
        let other = schema.iter().find(|&found| found != Some(SCHEMA));
        other.map_or(Ok(()), |found| check_schema(path, found.map(u64::from)))?;
    }
    Ok(())
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
            check_batch(path, &batch)?;
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

/// Reads rows: the values of a file, or of a clip.
pub(super) fn read(path: &Path, row: &mut dyn FnMut(ReadRow)) -> io::Result<u64> {
    let named = |error: io::Error| io::Error::other(format!("{}: {error}", path.display()));
    for batch in read_table(path)? {
        let batch = batch.map_err(|error| named(io::Error::other(error)))?;
        check_batch(path, &batch)?;
        let columns = ReadColumns::of(&batch).map_err(named)?;
        (0..batch.num_rows()).for_each(|index| row(columns.row(index)));
    }
    Ok(0)
}

/// Columns that are read back.
struct ReadColumns<'a> {
    subjects: RowSubjects<'a>,
    tags: &'a ListArray,
    scores: &'a ListArray,
    features: &'a ListArray,
    error_message: &'a StringArray,
    track_s: Option<&'a Float64Array>,
}

impl<'a> ReadColumns<'a> {
    fn of(rows: &'a RecordBatch) -> io::Result<ReadColumns<'a>> {
        let missing =
            |name| io::Error::other(format!("expected a column {name} written by tagwave, found none"));
        let list = |name| {
            rows.column_by_name(name).and_then(|column| column.as_list_opt()).ok_or_else(|| missing(name))
        };
        let track_s = rows.column_by_name("track_s");
        let error_message = rows.column_by_name("error_message").and_then(|column| column.as_string_opt());
        Ok(ReadColumns {
            subjects: RowSubjects::of(rows)?,
            tags: list("tags")?,
            scores: list("scores")?,
            features: list("features")?,
            error_message: error_message.ok_or_else(|| missing("error_message"))?,
            track_s: track_s.and_then(|column| column.as_primitive_opt::<Float64Type>()),
        })
    }

    fn row(&self, row: usize) -> ReadRow {
        let RowSubjects { path, path_bytes, made: [model, compat, _] } = &self.subjects;
        let path = if path.is_valid(row) {
            path.value(row).to_string()
        } else {
            encoded_path(&base64::engine::general_purpose::STANDARD.encode(path_bytes.value(row)))
        };
        let numbers = |list: &ListArray| -> Vec<f64> {
            let values = list.value(row);
            let values = values.as_primitive_opt::<Float32Type>();
            values.into_iter().flatten().map(|value| value.map_or(f64::NAN, f64::from)).collect()
        };
        let values = if self.error_message.is_valid(row) {
            ReadValues::Failed(self.error_message.value(row).to_string())
        } else if self.tags.is_valid(row) {
            let names = self.tags.value(row);
            let names = names.as_string_opt::<i32>().into_iter().flatten().map(Option::unwrap_or_default);
            ReadValues::Tags(names.map(String::from).zip(numbers(self.scores)).collect())
        } else {
            ReadValues::Features(if self.features.is_valid(row) { numbers(self.features) } else { vec![] })
        };
        let made = model.is_valid(row).then(|| (model.value(row).to_string(), compat.value(row).to_string()));
        let track_s = self.track_s.filter(|lengths| lengths.is_valid(row)).map(|lengths| lengths.value(row));
        ReadRow { path, made, track_s, values }
    }
}
