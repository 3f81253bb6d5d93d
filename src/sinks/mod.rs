//! Output formats: writers of one row per file.
//!
//! A format is a file of its own, with a [`Sink`], a [`Format`] and its merging, and a line of [`FORMATS`].

use std::io;
use std::path::{Path, PathBuf};

use crate::error_kind::ErrorKind;
use crate::tags::Tag;

mod csv;
mod file;
mod format;
mod journal;
mod jsonl;
mod line;
mod lock;
mod merge;
mod npy;
mod parquet;
mod parts;
mod read;
mod registry;
mod table;

pub use csv::CSV;
pub use file::{AtomicFile, write_file};
pub use format::{Format, Layout, LineFormat, Merge, WholeFormat};
pub use journal::{CompletedSet, JournalKey, JournaledFile, journal_file};
pub use jsonl::JSON_LINES;
pub use line::compact_line;
pub use merge::Merged;
pub use npy::{ArrayFile, ArrayReader, Npy, paths_file, write_array};
#[cfg(feature = "parquet")]
pub use parquet::{Parquet, TableFile, read_table};
pub use parts::{PartitionedDir, parts_of};
pub use read::{Read, ReadRow, ReadValues};
pub use registry::{DEFAULT_FORMAT, FORMATS, format_of};

/// Version of the row schema; incremented when a field changes its meaning or is removed.
pub const SCHEMA: u32 = 2;

/// Result of one file.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Path as given by the user.
    pub path: PathBuf,
    /// Journal key; `None` for input that cannot be read again.
    pub key: Option<JournalKey>,
    /// Prediction, or failure.
    pub outcome: Result<Prediction, Failure>,
}

impl Row {
    /// True if a repetition would give the same outcome; failures of the machine may not recur.
    pub fn is_final(&self) -> bool {
        match &self.outcome {
            Ok(_) => true,
            Err(failure) => matches!(failure.kind, ErrorKind::Input | ErrorKind::Unsupported),
        }
    }
}

/// Prediction of a model for one file.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// Name of the model.
    pub model: String,
    /// Compatibility with the original.
    pub compat: &'static str,
    /// Name of the device.
    pub device: String,
    /// Name of the decoder.
    pub decoder: String,
    /// Start of the (first) clip in seconds.
    pub clip_start_s: f64,
    /// Length of the track in seconds, if known.
    pub track_s: Option<f64>,
    /// Number of clips.
    pub clip_count: usize,
    /// Tags or features of the track.
    pub values: Values,
    /// Predictions of each clip, if requested; else empty.
    pub clips: Vec<ClipPrediction>,
    /// Warnings about the file.
    pub warnings: Vec<String>,
}

/// Prediction of a model for one clip of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct ClipPrediction {
    /// Start of the clip in seconds.
    pub start_s: f64,
    /// Tags or features.
    pub values: Values,
}

impl Prediction {
    /// Rows for formats with one row per vector: each clip with its start if clips were requested, else the track with
    /// the start of its first clip.
    fn parts(&self) -> impl Iterator<Item = (f64, &Values)> {
        let whole = self.clips.is_empty().then_some((self.clip_start_s, &self.values));
        whole.into_iter().chain(self.clips.iter().map(|clip| (clip.start_s, &clip.values)))
    }

    /// Feature vectors, one per clip if clips were requested; none for tags.
    pub fn features(&self) -> impl Iterator<Item = &[f32]> {
        self.parts().filter_map(|(_, values)| values.features())
    }
}

/// Requested values.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Tags, highest score first.
    Tags(Vec<Tag>),
    /// The features before the last dense layer.
    Embedding(Vec<f32>),
    /// The output of a step, flattened in C order.
    Tap {
        /// Name of the step.
        name: String,
        /// Values.
        features: Vec<f32>,
    },
}

impl Values {
    /// Features; `None` for tags.
    pub fn features(&self) -> Option<&[f32]> {
        match self {
            Values::Tags(_) => None,
            Values::Embedding(features) | Values::Tap { features, .. } => Some(features),
        }
    }
}

/// Failure of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// Category of the error.
    pub kind: ErrorKind,
    /// Error message.
    pub message: String,
}

/// Writes rows.
pub trait Sink {
    /// Writes one complete row.
    ///
    /// # Errors
    /// An error of the writer.
    fn row(&mut self, row: &Row) -> io::Result<()>;

    /// Writes buffered rows and flushes. Atomically written files appear only now; without this call nothing is written.
    ///
    /// # Errors
    /// An error of the writer.
    fn finish(&mut self) -> io::Result<()>;

    /// Ends after an interruption, and says what is kept. Atomically written files do not appear, and an older file is kept.
    ///
    /// # Errors
    /// An error of the writer.
    fn interrupt(&mut self) -> io::Result<&'static str> {
        self.finish().map(|()| "finished rows are kept")
    }

    /// True if the format can store failures and warnings; otherwise the caller reports them.
    fn has_messages(&self) -> bool {
        true
    }
}

/// Words for a file that appears only when it is complete.
const NOT_WRITTEN: &str = "the file was not written: with -o FOLDER finished parts are kept";

/// Rounds to six decimals, as scores and features are written.
pub fn six_decimals(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

/// Bytes of a path that is not UTF-8, in the platform's encoding.
fn path_bytes(path: &Path) -> Vec<u8> {
    path.as_os_str().as_encoded_bytes().to_vec()
}
