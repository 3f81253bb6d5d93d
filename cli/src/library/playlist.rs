//! `tagwave playlist`: tracks of the index that satisfy a condition, or a path between two songs.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde_json::json;

use super::listing::{ListArgs, ListFormat};
use super::{condition, m3u, name_of, row_of};
use crate::{CliError, counted};
use tagwave::search::{Condition, TrackIndex, path_between, smooth_order};

/// Length that is assumed of tracks whose length is unknown, in seconds.
const USUAL_TRACK_S: f64 = 240.0;
/// Number of tracks without --count and --minutes.
const USUAL_COUNT: usize = 20;

/// Arguments of `tagwave playlist`.
#[derive(Debug, Args)]
pub(crate) struct PlaylistArgs {
    /// Condition on tags: "jazz > 0.4 and chillout > 0.2"; a tag alone stands for at least 0.2
    #[arg(value_name = "CONDITION", required_unless_present = "from")]
    condition: Option<String>,

    /// Length of the playlist in minutes, at most
    #[arg(long, value_name = "MINUTES", value_parser = minutes)]
    minutes: Option<f64>,

    /// Number of tracks, at most [default: 20, or as --minutes allows]
    #[arg(short = 'n', long = "count", value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    count: Option<u32>,

    /// Order of the tracks
    #[arg(long, value_enum, default_value_t)]
    order: TrackOrder,

    /// First song of a path from one song to another; the condition holds for the tracks between them
    #[arg(long, value_name = "SONG", requires = "to", conflicts_with_all = ["order", "minutes"])]
    from: Option<PathBuf>,

    /// Last song of a path
    #[arg(long, value_name = "SONG", requires = "from")]
    to: Option<PathBuf>,

    #[command(flatten)]
    list: ListArgs,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, ValueEnum)]
enum TrackOrder {
    /// Each track is followed by the most similar of the others
    #[default]
    Smooth,
    /// Highest scores of the tags of the condition first
    Score,
}

fn minutes(word: &str) -> Result<f64, String> {
    match word.parse::<f64>() {
        Ok(value) if value > 0.0 && value.is_finite() => Ok(value),
        _ => Err("expected a number of minutes above 0".into()),
    }
}

/// Makes a playlist.
pub(crate) fn playlist(args: &PlaylistArgs) -> Result<u8, CliError> {
    let index = args.list.load()?;
    let condition = condition(args.condition.as_deref(), &index)?;
    let rows = match (&args.from, &args.to) {
        (Some(from), Some(to)) => {
            let (from, to) = (indexed(&index, from)?, indexed(&index, to)?);
            let count = args.count.map_or(USUAL_COUNT, |count| count as usize);
            if count < 2 || from == to {
                return Err(CliError::usage(
                    "a path has at least two tracks: two songs, and -n of 2 or more",
                ));
            }
            let content = |row: usize| &*index.tracks()[row].content;
            // The same contents are taken once.
            let mut first_rows = std::collections::HashMap::new();
            (0..index.tracks().len()).for_each(|row| _ = first_rows.entry(content(row)).or_insert(row));
            let holds = |row: usize| {
                let is_new =
                    first_rows[content(row)] == row && ![content(from), content(to)].contains(&content(row));
                is_new && condition.as_ref().is_none_or(|condition| condition.holds(index.scores(row)))
            };
            path_between(index.vectors(), from, to, count, holds)
        }
        _ => chosen(args, &index, condition.as_ref()),
    };
    if rows.is_empty() {
        let or_minutes = if args.minutes.is_some() { ", or allow more minutes" } else { "" };
        let message =
            format!("no track satisfies the condition: lower its numbers (scores are 0 to 1){or_minutes}");
        return Err(CliError::usage(message));
    }
    let tracks = || rows.iter().map(|&row| &index.tracks()[row]);
    let text = match args.list.form() {
        ListFormat::M3u8 => m3u::playlist(tracks(), args.list.output.as_deref()).map_err(CliError::usage)?,
        ListFormat::Jsonl => {
            let object = |track: &tagwave::search::IndexedTrack| json!({ "path": track.path, "artist": track.artist, "title": track.title, "track_s": track.track_s });
            tracks().map(|track| format!("{}\n", object(track))).collect()
        }
        ListFormat::Table => tracks()
            .map(|track| {
                let seconds = track.track_s.unwrap_or(0.0).round() as u64;
                format!("{:>4}:{:02}  {}\n", seconds / 60, seconds % 60, name_of(track))
            })
            .collect(),
    };
    args.list.put(&text)?;
    let seconds: f64 = tracks().filter_map(|track| track.track_s).sum();
    let minutes = (seconds / 60.0).round() as usize;
    say!("tagwave: {}, {}", counted(rows.len(), "track"), counted(minutes, "minute"));
    Ok(0)
}

/// Row of a song that must be in the index.
fn indexed(index: &TrackIndex, song: &Path) -> Result<usize, CliError> {
    let missing = || {
        CliError::usage(format!("{}: not in the index: run `tagwave index` for its folder", song.display()))
    };
    row_of(index, song).ok_or_else(missing)
}

/// Tracks with the highest scores that satisfy a condition, as many as fit, in the requested order. The same contents are
/// taken once.
fn chosen(args: &PlaylistArgs, index: &TrackIndex, condition: Option<&Condition>) -> Vec<usize> {
    let Some(condition) = condition else { return Vec::new() };
    let wanted = condition.wanted();
    let score = |row: usize| -> f32 {
        let scores = index.scores(row);
        wanted.iter().filter_map(|&label| scores.get(label)).sum()
    };
    let mut rows: Vec<usize> =
        (0..index.tracks().len()).filter(|&row| condition.holds(index.scores(row))).collect();
    rows.sort_by(|&a, &b| score(b).total_cmp(&score(a)).then(a.cmp(&b)));
    let mut contents = std::collections::HashSet::new();
    rows.retain(|&row| contents.insert(&*index.tracks()[row].content));
    let most = match (args.count, args.minutes) {
        (Some(count), _) => count as usize,
        (None, Some(_)) => usize::MAX,
        (None, None) => USUAL_COUNT,
    };
    let mut left_s = args.minutes.map_or(f64::INFINITY, |minutes| minutes * 60.0);
    rows.retain(|&row| {
        let length_s = index.tracks()[row].track_s.unwrap_or(USUAL_TRACK_S);
        let fits = length_s <= left_s;
        if fits {
            left_s -= length_s;
        }
        fits
    });
    rows.truncate(most);
    match args.order {
        TrackOrder::Score => rows,
        TrackOrder::Smooth => smooth_order(index.vectors(), &rows),
    }
}
