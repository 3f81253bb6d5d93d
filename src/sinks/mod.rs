//! Output formats: one row per file goes in, lines come out.
//!
//! A format is a [`Sink`] in a file of its own and a line in [`Format::sink`].

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::error::ErrorKind;
use crate::tags::Tag;

mod csv;
mod jsonl;
mod table;

/// Version of the row schema; it grows when a field changes its meaning or goes away.
pub const SCHEMA: u32 = 1;

/// What is to be said of one file.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The file, as it was named.
    pub path: PathBuf,
    /// What was found, or why nothing was.
    pub outcome: Result<Found, Failure>,
}

/// What a model found in a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Name of the model.
    pub model: String,
    /// How its weights are understood.
    pub reading: &'static str,
    /// Name of the device it ran on.
    pub device: String,
    /// Where the (first) clip begins, in seconds.
    pub clip_start_s: f64,
    /// Length of the track in seconds, where known.
    pub track_s: Option<f64>,
    /// Tags or features.
    pub values: Values,
    /// What was odd about the file.
    pub warnings: Vec<String>,
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// The highest first.
    Tags(Vec<Tag>),
    /// Features of a layer.
    Embedding(Vec<f32>),
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

    /// Writes what is left and flushes.
    ///
    /// # Errors
    /// What the writer says.
    fn finish(&mut self) -> io::Result<()>;
}

/// The formats there are.
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
}

/// Rounded to the six decimals that scores and features are written with.
fn six_decimals(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

/// Bytes of a path that is not UTF-8; on systems whose paths are not bytes, what comes closest.
fn path_bytes(path: &Path) -> Vec<u8> {
    path.as_os_str().as_encoded_bytes().to_vec()
}
