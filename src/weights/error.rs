//! Errors of weights.

use std::io;
use std::path::{Path, PathBuf};

use crate::error_kind::ErrorKind;
use crate::tensor::Shape;

/// Error of [`crate::weights`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// The operating system refused an action on a file.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// Failed action: `read`, `write`, `create`, ...
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Error of the system.
        source: io::Error,
    },
    /// The contents of a file are invalid.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Error of the contents.
        source: Box<WeightsError>,
    },
    /// An invalid file has a published name but not the published content: it was damaged or modified.
    #[error("{source}; this is not the published \"{file}\": expected sha256 {expected}, found {found}")]
    Altered {
        /// The published name.
        file: String,
        /// Published digest.
        expected: String,
        /// Digest of this file.
        found: String,
        /// Error of reading it.
        source: Box<WeightsError>,
    },
    /// A directory, pipe or device where a regular file was expected.
    #[error("expected a regular file")]
    NotAFile,
    /// The file is too large.
    #[error("expected at most {limit} bytes, found {found}")]
    TooLarge {
        /// Maximum size.
        limit: u64,
        /// Size of the file.
        found: u64,
    },
    /// Unknown file format.
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
    /// HDF5 that was not written by Keras 1.
    #[error("expected weights saved by Keras 1, found {found}")]
    NotKeras {
        /// Difference to a Keras 1 file.
        found: String,
    },
    /// HDF5 in a build that does not read it.
    #[error(
        "this build of tagwave reads no Keras files: build it with the feature `keras`, or convert them to safetensors"
    )]
    NoKeras,
    /// Too many arrays.
    #[error("expected at most {limit} arrays, found more")]
    TooManyTensors {
        /// Maximum number.
        limit: usize,
    },
    /// Duplicate name.
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
        /// Supported element type or storage.
        expected: &'static str,
        /// Element type or storage in the file.
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
        /// Name of the array.
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
    /// There is no array of the requested name.
    #[error("weight \"{name}\": not among the {count} weights of {origin}")]
    Absent {
        /// Name of the array.
        name: String,
        /// Origin of the weights.
        origin: String,
        /// Number of arrays.
        count: usize,
    },
    /// A safetensors file that was not written by this program, or by another version.
    #[error("metadata \"{key}\": expected {expected}, found {found}")]
    Metadata {
        /// Metadata key.
        key: &'static str,
        /// Supported value.
        expected: String,
        /// Value in the file, or "nothing".
        found: String,
    },
    /// A number too large for f16.
    #[error("weight \"{name}\": {value} at index {index} does not fit f16, whose largest number is 65504")]
    HalfRange {
        /// Name of the array.
        name: String,
        /// Row-major index of the first such element.
        index: usize,
        /// The element.
        value: f32,
    },
    /// Invalid manifest.
    #[error("manifest: {reason}")]
    Manifest {
        /// Message.
        reason: String,
    },
    /// No weight file was found.
    #[error(
        "no weights for {model}: looked for {} in {}; {}",
        wanted.join(", "), paths(searched),
        if *is_built_in { "the built-in ones are used where no path is given".into() }
        else { format!("download them from {repository}") }
    )]
    NotFound {
        /// The model.
        model: String,
        /// Accepted file names, best first.
        wanted: Vec<String>,
        /// Directories that were searched, in order.
        searched: Vec<PathBuf>,
        /// Address of the project that publishes them.
        repository: String,
        /// True if the program has weights of the model built in, which are used where no path is given.
        is_built_in: bool,
    },
    /// A download is needed but not allowed.
    #[error(
        "offline: \"{file}\" is not in {}; download {url} ({size} bytes) by other means and put it there",
        dir.display()
    )]
    Offline {
        /// File name.
        file: String,
        /// Target folder.
        dir: PathBuf,
        /// URL of the file.
        url: String,
        /// Its size in bytes.
        size: u64,
    },
    /// A download failed.
    #[error("{url}: {source}")]
    Fetch {
        /// URL of the file.
        url: String,
        /// Error of the download.
        source: FetchError,
    },
    /// Cancelled by the caller.
    #[error("cancelled")]
    Cancelled,
}

/// Error of a download.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum FetchError {
    /// A scheme that is not allowed.
    #[error("expected an https:// URL (http:// is allowed for localhost only)")]
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
        /// Maximum number of redirects.
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
        /// Target folder.
        dir: String,
    },
    /// The transfer stalled.
    #[error("stalled: {received} of {size} bytes, then fewer than {minimum} bytes in {millis} ms")]
    Stalled {
        /// Bytes received.
        received: u64,
        /// Bytes expected.
        size: u64,
        /// Minimum number of bytes per window.
        minimum: u64,
        /// Length of the window in milliseconds.
        millis: u64,
    },
    /// The transfer timed out.
    #[error("timed out after {millis} ms: {received} of {size} bytes")]
    TimedOut {
        /// Bytes received.
        received: u64,
        /// Bytes expected.
        size: u64,
        /// Timeout in milliseconds.
        millis: u64,
    },
    /// The announced or received size is wrong.
    #[error("expected {expected} bytes, found {}{found}", if *more { "at least " } else { "" })]
    Size {
        /// Published size.
        expected: u64,
        /// Announced or received size.
        found: u64,
        /// True if the transfer was stopped before its end.
        more: bool,
    },
    /// The content differs from the published file.
    #[error("expected sha256 {expected}, found {found}")]
    Digest {
        /// Published digest.
        expected: String,
        /// Digest of the received content.
        found: String,
    },
}

impl WeightsError {
    /// Category of the error. Without weights no file can be tagged, so callers usually stop.
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
            | WeightsError::NoKeras
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

/// Maximum number of missing weights in a message.
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
        [] => "no directory".to_string(),
        _ => searched.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", "),
    }
}
