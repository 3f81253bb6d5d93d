//! Files beside songs that hold the tags instead of the songs.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use clap::ValueEnum;

use super::mapping::FieldRules;
use super::plan::{OwnWork, TaggedTrack};

/// Comment that tells a file of the program from others.
const MARK: &str = "<!-- written by tagwave -->";

/// Kind of file beside a song.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub(super) enum Sidecar {
    /// SONG.mp3.json: values, model and scores
    Json,
    /// SONG.nfo: XML with elements `genre` and `mood`, as in the files of Kodi and Jellyfin
    Nfo,
}

impl Sidecar {
    /// Path of the file of a song.
    pub(super) fn path_of(self, song: &Path) -> PathBuf {
        match self {
            Sidecar::Json => {
                let mut name = song.file_name().unwrap_or_default().to_os_string();
                name.push(".json");
                song.with_file_name(name)
            }
            Sidecar::Nfo => song.with_extension("nfo"),
        }
    }

    /// Contents for a track; `None` if no tag passes.
    pub(super) fn contents(self, rules: &FieldRules, track: &TaggedTrack) -> Option<String> {
        let values: BTreeMap<String, Vec<String>> = rules
            .0
            .iter()
            .map(|rule| (rule.field.to_string(), rule.select(&track.scores)))
            .filter(|(_, values)| !values.is_empty())
            .collect();
        if values.is_empty() {
            return None;
        }
        Some(match self {
            Sidecar::Json => {
                let work = OwnWork::of(track, values, true);
                format!("{}\n", serde_json::to_string_pretty(&work).unwrap_or_default())
            }
            Sidecar::Nfo => nfo(&values),
        })
    }

    /// True if a file is the program's, or does not exist.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub(super) fn is_ours(self, path: &Path) -> Result<bool, String> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => return Ok(false),
            Err(error) => return Err(format!("cannot read: {error}")),
        };
        Ok(match self {
            Sidecar::Json => serde_json::from_str::<OwnWork>(&text).is_ok(),
            Sidecar::Nfo => text.contains(MARK),
        })
    }
}

fn nfo(values: &BTreeMap<String, Vec<String>>) -> String {
    let mut text = format!("<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\n{MARK}\n<song>\n");
    for (field, values) in values {
        let element = field.to_ascii_lowercase().replace(' ', "_");
        // Names of elements begin with a letter or an underscore.
        let start = if element.starts_with(|c: char| c.is_ascii_alphabetic()) { "" } else { "_" };
        for value in values {
            let value = value.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
            text += &format!("  <{start}{element}>{value}</{start}{element}>\n");
        }
    }
    text + "</song>\n"
}
