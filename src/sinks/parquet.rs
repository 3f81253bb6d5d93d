//! Apache Parquet: rows as a table with nested columns, whole when it is finished.
//!
//! One schema for all that can be asked for: what does not apply is null. Scores and features are the models' own
//! float32, not rounded to six decimals.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use arrow_array::builder::{
    BinaryBuilder, Float32Builder, Float64Builder, ListBuilder, StringBuilder, UInt32Builder,
};
use arrow_array::{ArrayRef, RecordBatch};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

use super::file::about;
use super::{AtomicFile, Failure, Prediction, Row, SCHEMA, Sink, Values, path_bytes};

/// Numbers and rows that are gathered before they are encoded.
const GATHERED_NUMBERS: usize = 1 << 20;
const GATHERED_ROWS: usize = 1024;
/// Encoded bytes of a row group, which stays in memory until it is whole.
const GROUP_BYTES: usize = 64 << 20;

/// A table that grows by batches of rows in a new file.
pub struct TableFile {
    file: AtomicFile,
    /// Made for the first batch, which says what the columns are.
    writer: Option<ArrowWriter<File>>,
}

impl TableFile {
    /// A table that will be at `path` when it is finished.
    ///
    /// # Errors
    /// As [`AtomicFile::create`].
    pub fn create(path: &Path) -> io::Result<TableFile> {
        Ok(TableFile { file: AtomicFile::create(path)?, writer: None })
    }

    /// Adds rows.
    ///
    /// # Errors
    /// For other columns than those of the first batch, or what the system says.
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
                none.insert(ArrowWriter::try_new(file, rows.schema(), Some(properties)).map_err(plain)?)
            }
        };
        writer.write(rows).map_err(plain)
    }

    /// Writes what is left and puts the file under its name.
    ///
    /// # Errors
    /// What the system says.
    pub fn finish(self) -> io::Result<()> {
        if let Some(writer) = self.writer {
            writer.close().map_err(plain)?;
        }
        self.file.finish()
    }
}

/// The rows of a table, batch by batch.
///
/// # Errors
/// What the system says, or that it is no table; the message names the path.
pub fn read_table(path: &Path) -> io::Result<ParquetRecordBatchReader> {
    let file = File::open(path).map_err(|error| about(path, &error))?;
    ParquetRecordBatchReaderBuilder::try_new(file)
        .and_then(|builder| builder.with_batch_size(GATHERED_ROWS).build())
        .map_err(|error| about(path, &plain(error)))
}

/// The system's own error where there is one: a full disk is to be told from a defect.
fn plain(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(inner) => match inner.downcast::<io::Error>() {
            Ok(error) => *error,
            Err(inner) => io::Error::other(inner),
        },
        error => io::Error::other(error),
    }
}

/// A row per file, or per clip where clips were asked for; a file that failed has one with its error.
pub struct Parquet {
    /// Taken when it is finished.
    table: Option<TableFile>,
    gathered: Columns,
}

impl Parquet {
    /// A table that will be at `path`.
    ///
    /// # Errors
    /// As [`AtomicFile::create`].
    pub fn create(path: &Path) -> io::Result<Parquet> {
        Ok(Parquet { table: Some(TableFile::create(path)?), gathered: Columns::default() })
    }

    fn encode(&mut self) -> io::Result<()> {
        let rows = self.gathered.take()?;
        self.table.as_mut().map_or(Ok(()), |table| table.write(&rows))
    }
}

impl Sink for Parquet {
    fn row(&mut self, row: &Row) -> io::Result<()> {
        self.gathered.push(row);
        if self.gathered.rows >= GATHERED_ROWS || self.gathered.numbers >= GATHERED_NUMBERS {
            self.encode()?;
        }
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        // Without a row too the columns are there.
        self.encode()?;
        self.table.take().map_or(Ok(()), TableFile::finish)
    }

    fn interrupt(&mut self) -> io::Result<bool> {
        Ok(false)
    }
}

/// Rows, column by column.
#[derive(Default)]
struct Columns {
    rows: usize,
    numbers: usize,
    path: StringBuilder,
    path_bytes: BinaryBuilder,
    model: StringBuilder,
    reading: StringBuilder,
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
            Ok(found) => found.parts().for_each(|(start_s, values)| {
                self.begin(row);
                self.found(found, start_s, values);
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

    fn found(&mut self, found: &Prediction, start_s: f64, values: &Values) {
        self.model.append_value(&found.model);
        self.reading.append_value(found.reading);
        self.device.append_value(&found.device);
        self.decoder.append_value(&found.decoder);
        self.clip_start_s.append_value(start_s);
        self.track_s.append_option(found.track_s);
        self.clip_count.append_value(u32::try_from(found.clip_count).unwrap_or(u32::MAX));
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
        self.numbers += features.map_or(tags.map_or(0, Vec::len), <[f32]>::len);
        self.features.append_option(features.map(|features| features.iter().copied().map(Some)));
        self.warnings.append_value(found.warnings.iter().map(Some));
        self.error_kind.append_null();
        self.error_message.append_null();
    }

    fn failed(&mut self, failure: &Failure) {
        for column in [&mut self.model, &mut self.reading, &mut self.device, &mut self.decoder, &mut self.tap]
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

    /// What was gathered, which leaves nothing.
    fn take(&mut self) -> io::Result<RecordBatch> {
        let mut all = std::mem::take(self);
        let columns: [(&str, ArrayRef); 17] = [
            ("path", Arc::new(all.path.finish())),
            ("path_bytes", Arc::new(all.path_bytes.finish())),
            ("model", Arc::new(all.model.finish())),
            ("reading", Arc::new(all.reading.finish())),
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
