//! Errors of the search.

use std::io;
use std::path::{Path, PathBuf};

use crate::pca::PcaError;

/// Error of an index or its vectors.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SearchError {
    /// A folder without an index.
    #[error("{path}: no index: run `tagwave index FOLDER` first", path = path.display())]
    Missing {
        /// Folder of the index.
        path: PathBuf,
    },
    /// A file that cannot be read or written.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// Path of the file.
        path: PathBuf,
        /// The error.
        source: io::Error,
    },
    /// A file with other contents than an index has.
    #[error("{path}: expected {expected}", path = path.display())]
    Format {
        /// Path of the file.
        path: PathBuf,
        /// Expected contents.
        expected: String,
    },
    /// Another process writes the index.
    #[error("{path}: another process is writing this index: wait for its end", path = path.display())]
    Locked {
        /// Folder of the index.
        path: PathBuf,
    },
    /// An embedding of another model.
    #[error("expected an embedding of {expected} features, found {found}")]
    Embedding {
        /// Length in the index.
        expected: usize,
        /// Length of this embedding.
        found: usize,
    },
    /// Embeddings that cannot be whitened.
    #[error(transparent)]
    Pca(#[from] PcaError),
}

impl SearchError {
    pub(super) fn io(path: &Path, source: io::Error) -> SearchError {
        SearchError::Io { path: path.to_path_buf(), source }
    }

    pub(super) fn format(path: &Path, expected: impl Into<String>) -> SearchError {
        SearchError::Format { path: path.to_path_buf(), expected: expected.into() }
    }
}
