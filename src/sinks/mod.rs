//! Output formats: one row per file goes in, lines come out.
//!
//! A format is a [`Sink`] in a file of its own and a line in [`Format::sink`].

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::error::ErrorKind;
use crate::tags::Tag;

mod csv;
mod file;
mod journal;
mod jsonl;
mod npy;
#[cfg(feature = "parquet")]
mod parquet;
mod parts;
mod table;

pub use file::AtomicFile;
pub use journal::{CompletedSet, JournaledFile, Key, journal_file};
pub use npy::{ArrayFile, ArrayReader, Npy, paths_file, write_array};
#[cfg(feature = "parquet")]
pub use parquet::{Parquet, TableFile, read_table};
pub use parts::{PartKind, PartitionedDir, parts_of};

/// Version of the row schema; it grows when a field changes its meaning or goes away.
pub const SCHEMA: u32 = 1;

/// What is to be said of one file.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The file, as it was named.
    pub path: PathBuf,
    /// What a journal knows the file by; none where it cannot be read twice.
    pub key: Option<Key>,
    /// What was found, or why nothing was.
    pub outcome: Result<Prediction, Failure>,
}

impl Row {
    /// Whether trying again would end the same way: failures of the machine may pass.
    pub fn is_final(&self) -> bool {
        match &self.outcome {
            Ok(_) => true,
            Err(failure) => matches!(failure.kind, ErrorKind::Input | ErrorKind::Unsupported),
        }
    }
}

/// What a model found in a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// Name of the model.
    pub model: String,
    /// How its weights are understood.
    pub reading: &'static str,
    /// Name of the device it ran on.
    pub device: String,
    /// What decoded the file.
    pub decoder: String,
    /// Where the (first) clip begins, in seconds.
    pub clip_start_s: f64,
    /// Length of the track in seconds, where known.
    pub track_s: Option<f64>,
    /// Number of clips that were heard.
    pub clip_count: usize,
    /// Tags or features of the track.
    pub values: Values,
    /// Those of each clip, where they were asked for; else empty.
    pub clips: Vec<ClipPrediction>,
    /// What was odd about the file.
    pub warnings: Vec<String>,
}

/// What a model found in one clip of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct ClipPrediction {
    /// Where the clip begins, in seconds.
    pub start_s: f64,
    /// Tags or features.
    pub values: Values,
}

impl Prediction {
    /// The parts that formats of one row per vector write: each clip with its start where clips were asked
    /// for, else the track with the start of its first clip.
    fn parts(&self) -> impl Iterator<Item = (f64, &Values)> {
        let whole = self.clips.is_empty().then_some((self.clip_start_s, &self.values));
        whole.into_iter().chain(self.clips.iter().map(|clip| (clip.start_s, &clip.values)))
    }

    /// The vectors of features, one per clip where clips were asked for; none of tags.
    pub fn features(&self) -> impl Iterator<Item = &[f32]> {
        self.parts().filter_map(|(_, values)| values.features())
    }
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// The highest first.
    Tags(Vec<Tag>),
    /// The features before the last dense layer.
    Embedding(Vec<f32>),
    /// The output of a step, flattened in C order.
    Tap {
        /// Name of the step.
        name: String,
        /// Its numbers.
        features: Vec<f32>,
    },
}

impl Values {
    /// The numbers of features; tags have none.
    pub fn features(&self) -> Option<&[f32]> {
        match self {
            Values::Tags(_) => None,
            Values::Embedding(features) | Values::Tap { features, .. } => Some(features),
        }
    }
}

/// Why a file has no result.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// What kind of error it is.
    pub kind: ErrorKind,
    /// The error in words.
    pub message: String,
}

/// Writes rows.
pub trait Sink {
    /// Writes one row, whole.
    ///
    /// # Errors
    /// What the writer says.
    fn row(&mut self, row: &Row) -> io::Result<()>;

    /// Writes what is left and flushes. A file that is written whole appears only now: without this call it is as
    /// if nothing had been written.
    ///
    /// # Errors
    /// What the writer says.
    fn finish(&mut self) -> io::Result<()>;

    /// Ends before all rows were written, and says whether those that were are kept: a file that is written whole
    /// does not appear, and leaves an older one in its place.
    ///
    /// # Errors
    /// What the writer says.
    fn interrupt(&mut self) -> io::Result<bool> {
        self.finish().map(|()| true)
    }

    /// Whether failures and warnings have a place in what it writes; otherwise they are for the caller to say.
    fn has_messages(&self) -> bool {
        true
    }
}

/// The formats of lines there are; for those of whole files see [`PartKind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Table,
    /// One JSON object a line.
    Jsonl,
    /// One line per file and tag, or per file and feature.
    Csv,
}

impl Format {
    /// A sink of this format.
    pub fn sink<'a>(self, writer: impl Write + 'a) -> Box<dyn Sink + 'a> {
        match self {
            Format::Table => Box::new(table::Table::new(writer)),
            Format::Jsonl => Box::new(jsonl::Jsonl::new(writer)),
            Format::Csv => Box::new(csv::Csv::new(writer)),
        }
    }

    /// A sink of this format whose first row follows others: without what stands at the head of a file.
    pub fn continued<'a>(self, writer: impl Write + 'a) -> Box<dyn Sink + 'a> {
        match self {
            Format::Csv => Box::new(csv::Csv::continued(writer)),
            format => format.sink(writer),
        }
    }
}

/// Rounded to the six decimals that scores and features are written with.
fn six_decimals(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

/// Bytes of a path that is not UTF-8; on systems whose paths are not bytes, what comes closest.
fn path_bytes(path: &Path) -> Vec<u8> {
    path.as_os_str().as_encoded_bytes().to_vec()
}
