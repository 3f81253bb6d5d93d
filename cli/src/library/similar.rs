//! `tagwave similar`: the tracks of the index that are nearest to a song.

#[cfg(feature = "serve")]
use std::path::Path;
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::index::info_of;
use super::listing::{ListArgs, ListFormat};
use super::{condition, m3u, name_of, name_of_duplicate, rounded, row_of, shown_path, text_of_duplicate};
use crate::{CliError, WeightsArgs};
use tagwave::models::{self, Compat};
use tagwave::search::{Duplicate, Hit, TrackIndex};
use tagwave::tagger::{Device, Tagger};
use tagwave::tags::Vocabulary;

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

    #[command(flatten)]
    list: ListArgs,

    /// Model file of the index, for a song that is not in it [default: the index's model by its name]
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,

    #[command(flatten)]
    weights: WeightsArgs,
}

/// Song that was asked for: its row, if it is in the index, and its length.
#[derive(Clone, Copy)]
struct SongPlace {
    row: Option<usize>,
    track_s: Option<f64>,
}

impl SongPlace {
    fn duplicate(self, index: &TrackIndex, hit: &Hit) -> Option<Duplicate> {
        let track = &index.tracks()[hit.row];
        let song = self.row.and_then(|row| index.tracks().get(row));
        let has_same_contents = song.is_some_and(|song| song.content == track.content);
        Duplicate::of(has_same_contents, hit.cosine, [track.track_s, self.track_s])
    }
}

/// Lists similar tracks.
pub(crate) fn similar(args: &SimilarArgs) -> Result<u8, CliError> {
    let index = args.list.load()?;
    let condition = condition(args.condition.as_deref(), &index)?;
    let known = row_of(&index, &args.song);
    let (query, track_s) = match known {
        Some(row) => (index.vectors().row(row).to_vec(), index.tracks()[row].track_s),
        None => embed(&index, args)?,
    };
    let qualifies = |row: usize| {
        Some(row) != known && condition.as_ref().is_none_or(|condition| condition.holds(index.scores(row)))
    };
    let hits = index.vectors().nearest(&query, args.count.into(), qualifies);
    let song = SongPlace { row: known, track_s };
    let duplicate = |hit: &Hit| song.duplicate(&index, hit);
    let text = match args.list.form() {
        ListFormat::Table => hits.iter().map(|hit| line(&index, hit, duplicate(hit))).collect(),
        ListFormat::Jsonl => {
            hits.iter().map(|hit| format!("{}\n", object(&index, hit, duplicate(hit)))).collect()
        }
        ListFormat::M3u8 => {
            m3u::playlist(hits.iter().map(|hit| &index.tracks()[hit.row]), args.list.output.as_deref())
                .map_err(CliError::usage)?
        }
    };
    args.list.put(&text)?;
    Ok(0)
}

/// Vector and length of a song that is not in the index.
fn embed(index: &TrackIndex, args: &SimilarArgs) -> Result<(Vec<f32>, Option<f64>), CliError> {
    let info = index.info();
    if args.model.is_none() && models::find(&info.model).is_err() {
        let message = format!("the index is of the model file {}: add --model FILE", info.model);
        return Err(CliError::usage(message));
    }
    let compat =
        [Compat::Corrected, Compat::Original].into_iter().find(|compat| compat.as_str() == info.compat);
    let labels = Vocabulary::new(info.labels.clone()).map_err(|error| CliError::usage(error.to_string()))?;
    let builder = match &args.model {
        // The list of labels may not be in the file.
        Some(path) => Tagger::builder().model_file(path).labels(labels),
        None => Tagger::builder().model(&info.model),
    };
    let tagger = builder
        .compat(compat.unwrap_or_default())
        .locator(args.weights.locator())
        // A device is not worth opening for one clip.
        .device(Device::Cpu)
        .build()?;
    if info_of(&tagger) != *info {
        let message = format!("the index is of other weights of the model {}: choose them", info.model);
        return Err(CliError::usage(message));
    }
    let track = tagger.tag_file(&args.song).map_err(|error| {
        let CliError { message, code } = error.into();
        CliError { message: format!("{}: {message}", args.song.display()), code }
    })?;
    Ok((index.whitening().apply(&track.embedding)?, track.track_s))
}

fn line(index: &TrackIndex, hit: &Hit, duplicate: Option<Duplicate>) -> String {
    let track = &index.tracks()[hit.row];
    let note = duplicate.map(|duplicate| format!("  ({})", text_of_duplicate(duplicate)));
    format!(
        "{:>6.3}  {}{}\n        {}\n",
        hit.cosine,
        name_of(track),
        note.unwrap_or_default(),
        shown_path(track)
    )
}

fn object(index: &TrackIndex, hit: &Hit, duplicate: Option<Duplicate>) -> Value {
    let track = &index.tracks()[hit.row];
    json!({
        "path": track.path, "similarity": rounded(hit.cosine), "artist": track.artist, "title": track.title,
        "track_s": track.track_s, "duplicate": duplicate.map(name_of_duplicate),
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
) -> Result<Vec<Value>, String> {
    let condition = condition(condition_text, index).map_err(|error| error.message)?;
    let known = row_of(index, song).ok_or("the song is not in the index")?;
    let qualifies = |row: usize| {
        row != known && condition.as_ref().is_none_or(|condition| condition.holds(index.scores(row)))
    };
    let hits = index.vectors().nearest(index.vectors().row(known), count, qualifies);
    let song =
        SongPlace { row: Some(known), track_s: index.tracks().get(known).and_then(|track| track.track_s) };
    Ok(hits.iter().map(|hit| object(index, hit, song.duplicate(index, hit))).collect())
}
