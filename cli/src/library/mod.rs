//! Commands of a music library: `tagwave index`, `similar`, `duplicates` and `playlist`. docs/library.md describes them.

use std::path::{Path, PathBuf};

use clap::Args;

use super::results::path_of_text;
use super::{CliError, SOME_FAILED, data_dir};
use tagwave::search::{Condition, Duplicate, IndexedTrack, SearchError, TrackIndex};

pub(super) mod duplicates;
pub(super) mod index;
mod listing;
mod m3u;
pub(super) mod playlist;
pub(super) mod similar;

pub(super) use listing::check_extension;
pub(super) use m3u::relative_to;
#[cfg(feature = "serve")]
pub(super) use similar::similar_objects;

/// Folder of the index.
#[derive(Debug, Args)]
pub(super) struct IndexArgs {
    /// Folder of the index [default: in the per-user data folder]
    #[arg(long, value_name = "FOLDER", env = "TAGWAVE_INDEX")]
    index: Option<PathBuf>,
}

impl IndexArgs {
    pub(super) fn folder(&self) -> Result<PathBuf, CliError> {
        // Weights and the index are siblings.
        let default = || data_dir().map(|weights| weights.with_file_name("index"));
        self.index
            .clone()
            .or_else(default)
            .ok_or_else(|| CliError::usage("no per-user data folder: add --index FOLDER"))
    }

    fn load(&self) -> Result<TrackIndex, CliError> {
        Ok(TrackIndex::load(&self.folder()?)?)
    }
}

impl From<SearchError> for CliError {
    fn from(error: SearchError) -> CliError {
        let code = match &error {
            SearchError::Missing { .. } | SearchError::Locked { .. } | SearchError::Embedding { .. } => {
                super::USAGE
            }
            _ => SOME_FAILED,
        };
        CliError { message: error.to_string(), code }
    }
}

/// Reads the index in a folder.
#[cfg(feature = "serve")]
pub(super) fn load_index(folder: &Path) -> Result<TrackIndex, String> {
    TrackIndex::load(folder).map_err(|error| error.to_string())
}

/// Parses a condition on the tags of an index.
fn condition(text: Option<&str>, index: &TrackIndex) -> Result<Option<Condition>, CliError> {
    text.map(|text| {
        Condition::parse(text, &index.info().labels)
            .map_err(|error| CliError::usage(format!("condition {text:?}: {error}")))
    })
    .transpose()
}

/// Absolute path of a file in its real folder: without `..` and links of folders, so that a file has one path. The file
/// itself may be a link.
fn located(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let Some(name) = absolute.file_name() else {
        return std::fs::canonicalize(&absolute).unwrap_or(absolute);
    };
    let folder = absolute.parent().and_then(|folder| std::fs::canonicalize(folder).ok());
    folder.map_or_else(|| absolute.clone(), |folder| folder.join(name))
}

/// Row of a file in the index, by its path, or by what its links lead to.
fn row_of(index: &TrackIndex, path: &Path) -> Option<usize> {
    let real = std::fs::canonicalize(path).ok();
    let wanted: Vec<String> = [located(path)].iter().chain(&real).map(|path| text_of(path)).collect();
    index.tracks().iter().position(|track| wanted.contains(&track.path))
}

/// Path as text, as in results: `base64:` and its bytes if it is not UTF-8.
fn text_of(path: &Path) -> String {
    use base64::Engine;
    let encode = || base64::engine::general_purpose::STANDARD.encode(path.as_os_str().as_encoded_bytes());
    path.to_str().map_or_else(|| format!("base64:{}", encode()), String::from)
}

/// Path of a track.
pub(super) fn path_of_track(track: &IndexedTrack) -> PathBuf {
    path_of_text(&track.path).unwrap_or_else(|_| PathBuf::from(&track.path))
}

/// Path of a track for people.
fn shown_path(track: &IndexedTrack) -> String {
    path_of_track(track).to_string_lossy().replace(char::is_control, "\u{fffd}")
}

/// Name of a track: artist and title if both are known, else the name of its file.
pub(super) fn name_of(track: &IndexedTrack) -> String {
    let text = match (&track.artist, &track.title) {
        (Some(artist), Some(title)) => format!("{artist} - {title}"),
        _ => {
            let path = path_of_track(track);
            path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
        }
    };
    text.replace(char::is_control, "\u{fffd}")
}

/// Relation in lists for people.
fn text_of_duplicate(duplicate: Duplicate) -> &'static str {
    match duplicate {
        Duplicate::File => "the same file",
        Duplicate::Recording => "probably the same recording",
    }
}

/// Relation in objects.
fn name_of_duplicate(duplicate: Duplicate) -> &'static str {
    match duplicate {
        Duplicate::File => "file",
        Duplicate::Recording => "recording",
    }
}

/// Similarity in objects, with six digits.
fn rounded(cosine: f32) -> f64 {
    (f64::from(cosine.clamp(-1.0, 1.0)) * 1e6).round() / 1e6
}
