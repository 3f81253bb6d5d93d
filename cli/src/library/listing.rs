//! Lists of tracks: their forms, and where they are written.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::IndexArgs;
use crate::{CliError, SOME_FAILED, write_failed};
use tagwave::search::TrackIndex;
use tagwave::sinks::write_file;

/// Arguments of a list of tracks of the index.
#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Output format [default: by the extension of -o, else table]
    #[arg(long, value_enum)]
    format: Option<ListFormat>,

    /// Output file [default: standard output]; in a playlist, paths are relative to it
    #[arg(long, short, value_name = "FILE")]
    pub(super) output: Option<PathBuf>,

    #[command(flatten)]
    index: IndexArgs,
}

impl ListArgs {
    /// Reads the index.
    pub(super) fn load(&self) -> Result<TrackIndex, CliError> {
        self.index.load()
    }

    /// Form of the list: as requested, else by the extension of the output.
    pub(super) fn form(&self) -> ListFormat {
        let extension =
            self.output.as_deref().and_then(Path::extension).and_then(|extension| extension.to_str());
        self.format.unwrap_or(match extension.map(str::to_ascii_lowercase).as_deref() {
            Some("m3u8" | "m3u") => ListFormat::M3u8,
            Some("jsonl") => ListFormat::Jsonl,
            _ => ListFormat::Table,
        })
    }

    /// Writes the list to its file, or to standard output.
    pub(super) fn put(&self, text: &str) -> Result<(), CliError> {
        match &self.output {
            None => io::stdout().lock().write_all(text.as_bytes()).map_err(|error| write_failed(&error)),
            Some(path) => {
                check_extension(path, LIST_EXTENSIONS)?;
                write_file(path, text.as_bytes())
                    .map_err(|error| CliError { message: format!("cannot write {error}"), code: SOME_FAILED })
            }
        }
    }
}

/// Form of a list of tracks.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub(super) enum ListFormat {
    /// Similarity and name
    Table,
    /// Playlist
    M3u8,
    /// One JSON object per track
    Jsonl,
}

/// Extensions of lists.
const LIST_EXTENSIONS: &[&str] = &["m3u8", "m3u", "jsonl", "txt"];

/// Checks that the name of an output says what it is, so that no song is replaced by mistake.
pub(crate) fn check_extension(path: &Path, extensions: &[&str]) -> Result<(), CliError> {
    let extension = path.extension().unwrap_or_default();
    if extensions.iter().any(|known| extension.eq_ignore_ascii_case(known)) {
        return Ok(());
    }
    let expected = extensions.join(", .");
    Err(CliError::usage(format!("{}: expected a name that ends with .{expected}", path.display())))
}
