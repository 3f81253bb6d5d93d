//! Reading of rows back from output files: shared by the formats.

use std::io;
use std::path::Path;

/// Row of an output file.
#[derive(Clone, Debug, PartialEq)]
pub struct ReadRow {
    /// Path as text; `base64:` and its bytes if it is not UTF-8.
    pub path: String,
    /// Model and compatibility; `None` for failures, and for formats that do not store them.
    pub made: Option<(String, String)>,
    /// Length of the track in seconds, if known.
    pub track_s: Option<f64>,
    /// Values of the track, or of one clip in formats with a row per clip.
    pub values: ReadValues,
}

/// Values of a row.
#[derive(Clone, Debug, PartialEq)]
pub enum ReadValues {
    /// Tags with their scores.
    Tags(Vec<(String, f64)>),
    /// Numbers without names.
    Features(Vec<f64>),
    /// Message of a failure.
    Failed(String),
}

/// Reads the rows of a file in order and returns the number of truncated or invalid rows, which are left out. Rows of one
/// path that follow each other belong together: they are its clips.
pub type Read = fn(&Path, &mut dyn FnMut(ReadRow)) -> io::Result<u64>;

/// Text of a path that is not UTF-8.
pub(super) fn encoded_path(base64: &str) -> String {
    format!("base64:{base64}")
}
