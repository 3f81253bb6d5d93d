//! What can be wrong with weights, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use crate::error::ErrorKind;
use crate::tensor::Shape;

/// Any failure of [`crate::weights`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// The operating system refused an action on a file.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried: `read`, `write`, `create`, ...
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Something is wrong with the contents of this file.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<WeightsError>,
    },
    /// A file that cannot be read has a published name but not the published bytes: it was damaged or changed.
    #[error("{source}; this is not the published \"{file}\": expected sha256 {expected}, found {found}")]
    Altered {
        /// The published name.
        file: String,
        /// Published digest.
        expected: String,
        /// Digest of this file.
        found: String,
        /// Why it cannot be read.
        source: Box<WeightsError>,
    },
    /// A directory, pipe or device where a regular file was expected.
    #[error("expected a regular file")]
    NotAFile,
    /// More bytes than any weight file has.
    #[error("expected at most {limit} bytes, found {found}")]
    TooLarge {
        /// Largest size that is read.
        limit: u64,
        /// Size of the file.
        found: u64,
    },
    /// Neither of the two formats.
    #[error("expected Keras 1 HDF5 or safetensors, found a file that begins with {first:02x?}")]
    UnknownFormat {
        /// Its first bytes, at most eight.
        first: Vec<u8>,
    },
    /// The HDF5 structure cannot be followed.
    #[error("damaged or unsupported HDF5: {reason}")]
    Hdf5 {
        /// As the HDF5 reader puts it.
        reason: String,
    },
    /// The safetensors header cannot be followed.
    #[error("damaged safetensors: {reason}")]
    Safetensors {
        /// As the safetensors reader puts it.
        reason: String,
    },
    /// HDF5, but not what Keras 1 writes.
    #[error("expected weights saved by Keras 1, found {found}")]
    NotKeras {
        /// What is different.
        found: String,
    },
    /// More arrays than any model has.
    #[error("expected at most {limit} arrays, found more")]
    TooManyTensors {
        /// Largest number that is read.
        limit: usize,
    },
    /// A name stands in the file twice.
    #[error("weight \"{name}\": expected one array of this name, found two")]
    Duplicate {
        /// The name in the file.
        name: String,
    },
    /// A header claims more data than the file holds.
    #[error("weight \"{name}\": claims {claimed} bytes, {available} are left in the file")]
    Oversized {
        /// The name in the file.
        name: String,
        /// Bytes its header claims.
        claimed: u64,
        /// Bytes that the file can still hold.
        available: u64,
    },
    /// An element type or storage that is not read.
    #[error("weight \"{name}\": expected {expected}, found {found}")]
    Element {
        /// The name in the file.
        name: String,
        /// What can be read.
        expected: &'static str,
        /// What the file has.
        found: String,
    },
    /// More axes than a [`Shape`] has.
    #[error("weight \"{name}\": expected at most {} axes, found {found}", crate::tensor::MAX_RANK)]
    Rank {
        /// The name in the file.
        name: String,
        /// Number of axes.
        found: usize,
    },
    /// An array of another shape than the model's.
    #[error("weight \"{name}\": expected {expected}, found {found}")]
    Shape {
        /// Our name.
        name: String,
        /// The model's shape.
        expected: Shape,
        /// The file's shape.
        found: Shape,
    },
    /// NaN or infinity.
    #[error("weight \"{name}\": expected finite numbers, found {value} at index {index}")]
    NotFinite {
        /// The name.
        name: String,
        /// Row-major index of the first such element.
        index: usize,
        /// The element.
        value: f32,
    },
    /// Arrays the model needs and the file lacks.
    #[error("missing weights: {}", names(missing))]
    Missing {
        /// Our name and the name looked for in the file, for each.
        missing: Vec<(String, String)>,
    },
    /// A weight asked for by name that these weights do not have.
    #[error("weight \"{name}\": not among the {count} weights of {origin}")]
    Absent {
        /// Our name.
        name: String,
        /// Where the weights are from.
        origin: String,
        /// How many there are.
        count: usize,
    },
    /// A safetensors file that this project did not write, or another version did.
    #[error("metadata \"{key}\": expected {expected}, found {found}")]
    Metadata {
        /// Metadata key.
        key: &'static str,
        /// What is read.
        expected: String,
        /// What the file says, or "nothing".
        found: String,
    },
    /// A number too large for f16.
    #[error("weight \"{name}\": {value} at index {index} does not fit f16, whose largest number is 65504")]
    HalfRange {
        /// Our name.
        name: String,
        /// Row-major index of the first such element.
        index: usize,
        /// The element.
        value: f32,
    },
    /// A manifest that cannot be used.
    #[error("manifest: {reason}")]
    Manifest {
        /// What is wrong with it.
        reason: String,
    },
    /// No weight file where one was looked for.
    #[error(
        "no weights for {model}: looked for {} in {}; {advice}",
        wanted.join(", "), paths(searched)
    )]
    NotFound {
        /// The model.
        model: String,
        /// File names that would do, best first.
        wanted: Vec<String>,
        /// Directories that were searched, in order.
        searched: Vec<PathBuf>,
        /// How to get them.
        advice: String,
    },
    /// A file is needed from the network, which the caller forbade.
    #[error(
        "offline: \"{file}\" is not in {}; download {url} ({size} bytes) by other means and put it there",
        dir.display()
    )]
    Offline {
        /// File name.
        file: String,
        /// Where it belongs.
        dir: PathBuf,
        /// Where it is published.
        url: String,
        /// Its size in bytes.
        size: u64,
    },
    /// A download failed.
    #[error("{url}: {source}")]
    Fetch {
        /// What was being downloaded.
        url: String,
        /// Why it failed.
        source: FetchError,
    },
    /// The caller asked to stop.
    #[error("cancelled")]
    Cancelled,
}

/// Why a download failed. Nothing of it is kept.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum FetchError {
    /// A scheme that is not allowed.
    #[error("expected an https:// address (http:// only for this machine itself)")]
    Scheme,
    /// A redirect that cannot be followed.
    #[error("cannot follow a redirect to \"{location}\"")]
    Redirect {
        /// The `Location` header.
        location: String,
    },
    /// Redirected too often.
    #[error("expected at most {limit} redirects, found more")]
    Redirects {
        /// How many are followed.
        limit: u32,
    },
    /// The server answered with something other than the file.
    #[error("expected status 200, found {status}")]
    Status {
        /// HTTP status.
        status: u16,
    },
    /// No connection, or a broken one.
    #[error(
        "the connection failed: {reason}; check the network, or download the file by hand and put it into {dir}"
    )]
    Network {
        /// As the HTTP client puts it.
        reason: String,
        /// Where the file belongs.
        dir: String,
    },
    /// Too little came for too long.
    #[error("stalled: {received} of {size} bytes, then fewer than {minimum} bytes in {millis} ms")]
    Stalled {
        /// Bytes received.
        received: u64,
        /// Bytes expected.
        size: u64,
        /// Least number of bytes per window.
        minimum: u64,
        /// Length of the window in milliseconds.
        millis: u64,
    },
    /// The whole transfer took too long.
    #[error("not finished in {millis} ms: {received} of {size} bytes")]
    TimedOut {
        /// Bytes received.
        received: u64,
        /// Bytes expected.
        size: u64,
        /// Longest duration in milliseconds.
        millis: u64,
    },
    /// The server announced or sent another number of bytes.
    #[error("expected {expected} bytes, found {}{found}", if *more { "at least " } else { "" })]
    Size {
        /// Published size.
        expected: u64,
        /// Announced or received size.
        found: u64,
        /// Whether the transfer was stopped with more to come.
        more: bool,
    },
    /// Other bytes than the published ones.
    #[error("expected sha256 {expected}, found {found}")]
    Digest {
        /// Published digest.
        expected: String,
        /// Digest of what came.
        found: String,
    },
}

impl WeightsError {
    /// What the caller should do: nearly always stop, since no file of a batch can be tagged without weights.
    pub fn kind(&self) -> ErrorKind {
        match self {
            WeightsError::File { source, .. } | WeightsError::Altered { source, .. } => source.kind(),
            WeightsError::NotAFile
            | WeightsError::TooLarge { .. }
            | WeightsError::Hdf5 { .. }
            | WeightsError::Safetensors { .. }
            | WeightsError::TooManyTensors { .. }
            | WeightsError::Duplicate { .. }
            | WeightsError::Oversized { .. }
            | WeightsError::Rank { .. }
            | WeightsError::Shape { .. }
            | WeightsError::NotFinite { .. }
            | WeightsError::Missing { .. }
            | WeightsError::HalfRange { .. } => ErrorKind::Input,
            WeightsError::UnknownFormat { .. }
            | WeightsError::NotKeras { .. }
            | WeightsError::Element { .. }
            | WeightsError::Metadata { .. } => ErrorKind::Unsupported,
            WeightsError::Io { .. }
            | WeightsError::Absent { .. }
            | WeightsError::NotFound { .. }
            | WeightsError::Offline { .. }
            | WeightsError::Fetch { .. } => ErrorKind::Resource,
            WeightsError::Manifest { .. } => ErrorKind::Internal,
            WeightsError::Cancelled => ErrorKind::Cancelled,
        }
    }

    /// The same error, saying which file it is about.
    pub(crate) fn in_file(self, path: &Path) -> WeightsError {
        match self {
            named @ (WeightsError::Io { .. } | WeightsError::File { .. }) => named,
            source => WeightsError::File { path: path.to_path_buf(), source: Box::new(source) },
        }
    }

    /// For `map_err`: an [`WeightsError::Io`] about `path`.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> WeightsError {
        let path = path.to_path_buf();
        move |source| WeightsError::Io { action, path, source }
    }
}

/// How many missing weights a message names before it only counts.
const NAMED: usize = 6;

fn names(missing: &[(String, String)]) -> String {
    let mut text = missing
        .iter()
        .take(NAMED)
        .map(|(name, checkpoint)| format!("\"{name}\" (\"{checkpoint}\" in the file)"))
        .collect::<Vec<_>>()
        .join(", ");
    if missing.len() > NAMED {
        text += &format!(" and {} more", missing.len() - NAMED);
    }
    text
}

fn paths(searched: &[PathBuf]) -> String {
    match searched {
        [] => "no directory at all".to_string(),
        _ => searched.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", "),
    }
}
