//! `tagwave similar`: the tracks of the index that are nearest to a song.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde_json::json;

use super::{IndexArgs, condition, m3u, name_of, path_of_track, row_of};
use crate::{CliError, SOME_FAILED, WeightsArgs, write_failed};
use tagwave::models::Compat;
use tagwave::search::{Hit, TrackIndex};
use tagwave::sinks::write_file;
use tagwave::tagger::{Device, Tagger};

/// Cosine above which two tracks of about the same length are probably the same recording.
const SAME_COSINE: f32 = 0.98;
/// Difference in length of the same recording in seconds, at most.
const SAME_SECONDS: f64 = 2.0;

/// Arguments of `tagwave similar`.
#[derive(Debug, Args)]
pub(crate) struct SimilarArgs {
    /// A song, in the index or not
    #[arg(value_name = "SONG")]
    song: PathBuf,

    /// Number of tracks
    #[arg(short = 'n', long = "count", value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..))]
    count: u16,

    /// Only tracks that satisfy a condition: "jazz > 0.3 and not metal"; a tag alone stands for at least 0.2
    #[arg(long = "where", value_name = "CONDITION")]
    condition: Option<String>,

    /// Output format [default: by the extension of -o, else table]
    #[arg(long, value_enum)]
    format: Option<ListFormat>,

    /// Output file [default: standard output]; in a playlist, paths are relative to it
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,

    #[command(flatten)]
    index: IndexArgs,

    #[command(flatten)]
    weights: WeightsArgs,
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

impl ListFormat {
    /// Form of an output: as requested, else by its extension.
    pub(super) fn of(requested: Option<ListFormat>, output: Option<&Path>) -> ListFormat {
        let extension = output.and_then(Path::extension).and_then(|extension| extension.to_str());
        requested.unwrap_or(match extension.map(str::to_ascii_lowercase).as_deref() {
            Some("m3u8" | "m3u") => ListFormat::M3u8,
            Some("jsonl") => ListFormat::Jsonl,
            _ => ListFormat::Table,
        })
    }
}

/// Relation of a track to the song that was asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Relation {
    Similar,
    /// Another recording of the same, or the same in another format.
    SameRecording,
    /// The same contents.
    SameFile,
}

/// Song that was asked for: its row, if it is in the index, and its length.
#[derive(Clone, Copy)]
struct SongPlace {
    row: Option<usize>,
    track_s: Option<f64>,
}

impl SongPlace {
    fn relation(self, index: &TrackIndex, hit: &Hit) -> Relation {
        let track = &index.tracks()[hit.row];
        let is_as_long = match (track.track_s, self.track_s) {
            (Some(a), Some(b)) => (a - b).abs() <= SAME_SECONDS,
            _ => false,
        };
        match self.row.and_then(|row| index.tracks().get(row)) {
            Some(song) if track.content == song.content => Relation::SameFile,
            _ if hit.cosine >= SAME_COSINE && is_as_long => Relation::SameRecording,
            _ => Relation::Similar,
        }
    }
}

/// Lists similar tracks.
pub(crate) fn similar(args: &SimilarArgs) -> Result<u8, CliError> {
    let index = args.index.load()?;
    let condition = condition(args.condition.as_deref(), &index)?;
    let known = row_of(&index, &args.song);
    let (query, track_s) = match known {
        Some(row) => (index.vectors().row(row).to_vec(), index.tracks()[row].track_s),
        None => embed(&index, &args.song, &args.weights)?,
    };
    let qualifies = |row: usize| {
        Some(row) != known && condition.as_ref().is_none_or(|condition| condition.holds(index.scores(row)))
    };
    let hits = index.vectors().nearest(&query, args.count.into(), qualifies);
    let song = SongPlace { row: known, track_s };
    let relation = |hit: &Hit| song.relation(&index, hit);
    let text = match ListFormat::of(args.format, args.output.as_deref()) {
        ListFormat::Table => hits.iter().map(|hit| line(&index, hit, relation(hit))).collect(),
        ListFormat::Jsonl => {
            hits.iter().map(|hit| format!("{}\n", object(&index, hit, relation(hit)))).collect()
        }
        ListFormat::M3u8 => {
            m3u::playlist(hits.iter().map(|hit| &index.tracks()[hit.row]), args.output.as_deref())
                .map_err(CliError::usage)?
        }
    };
    put(&text, args.output.as_deref())?;
    Ok(0)
}

/// Vector and length of a song that is not in the index.
fn embed(
    index: &TrackIndex,
    song: &Path,
    weights: &WeightsArgs,
) -> Result<(Vec<f32>, Option<f64>), CliError> {
    let info = index.info();
    let compat =
        [Compat::Corrected, Compat::Original].into_iter().find(|compat| compat.as_str() == info.compat);
    let tagger = Tagger::builder()
        .model(&info.model)
        .compat(compat.unwrap_or_default())
        .locator(weights.locator())
        // A device is not worth opening for one clip.
        .device(Device::Cpu)
        .build()?;
    let track = tagger.tag_file(song).map_err(|error| {
        let CliError { message, code } = error.into();
        CliError { message: format!("{}: {message}", song.display()), code }
    })?;
    Ok((index.whitening().apply(&track.embedding)?, track.track_s))
}

fn line(index: &TrackIndex, hit: &Hit, relation: Relation) -> String {
    let track = &index.tracks()[hit.row];
    let note = match relation {
        Relation::Similar => "",
        Relation::SameRecording => "  (probably the same recording)",
        Relation::SameFile => "  (the same file)",
    };
    let path = path_of_track(track).to_string_lossy().replace(char::is_control, "\u{fffd}");
    format!("{:>6.3}  {}{note}\n        {path}\n", hit.cosine, name_of(track))
}

fn object(index: &TrackIndex, hit: &Hit, relation: Relation) -> serde_json::Value {
    let track = &index.tracks()[hit.row];
    let duplicate = match relation {
        Relation::Similar => None,
        Relation::SameRecording => Some("recording"),
        Relation::SameFile => Some("file"),
    };
    let cosine = (f64::from(hit.cosine) * 1e6).round() / 1e6;
    json!({
        "path": track.path, "similarity": cosine, "artist": track.artist, "title": track.title,
        "track_s": track.track_s, "duplicate": duplicate,
    })
}

/// Tracks similar to one of the index, as objects.
///
/// # Errors
/// A song that is not in the index, or a wrong condition.
#[cfg(feature = "serve")]
pub(crate) fn similar_objects(
    index: &TrackIndex,
    song: &Path,
    count: usize,
    condition_text: Option<&str>,
) -> Result<Vec<serde_json::Value>, String> {
    let condition = condition(condition_text, index).map_err(|error| error.message)?;
    let known = row_of(index, song).ok_or("the song is not in the index")?;
    let qualifies = |row: usize| {
        row != known && condition.as_ref().is_none_or(|condition| condition.holds(index.scores(row)))
    };
    let hits = index.vectors().nearest(index.vectors().row(known), count, qualifies);
    let song =
        SongPlace { row: Some(known), track_s: index.tracks().get(known).and_then(|track| track.track_s) };
    Ok(hits.iter().map(|hit| object(index, hit, song.relation(index, hit))).collect())
}

/// Extensions of lists.
const LIST_EXTENSIONS: &[&str] = &["m3u8", "m3u", "jsonl", "txt"];

/// Refuses to replace a file that is no output of its kind, such as a song.
pub(crate) fn check_replaced(path: &Path, extensions: &[&str]) -> Result<(), CliError> {
    let extension = path.extension().unwrap_or_default();
    if path.exists() && !extensions.iter().any(|known| extension.eq_ignore_ascii_case(known)) {
        let expected = extensions.join(", .");
        let message = format!(
            "{} exists and is no file of this kind: choose another name, or one that ends with .{expected}",
            path.display()
        );
        return Err(CliError::usage(message));
    }
    Ok(())
}

/// Writes text to a file, or to standard output.
pub(super) fn put(text: &str, output: Option<&Path>) -> Result<(), CliError> {
    match output {
        None => io::stdout().lock().write_all(text.as_bytes()).map_err(|error| write_failed(&error)),
        Some(path) => {
            check_replaced(path, LIST_EXTENSIONS)?;
            write_file(path, text.as_bytes())
                .map_err(|error| CliError { message: format!("cannot write {error}"), code: SOME_FAILED })
        }
    }
}
