//! Results of earlier runs, read back: rows of an output file, or of files that are tagged now.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::clips::ClipArgs;
use super::entry::path_of;
use super::inputs::FileArgs;
use super::job::{Job, Requested};
use super::merge::parts_in;
use super::progress::ProgressArgs;
use super::{CliError, ModelArgs, SOME_FAILED, counted};
use tagwave::sinks::{
    CompletedSet, DEFAULT_FORMAT, Format, Layout, ReadRow, ReadValues, Row, Sink, Values, format_of,
};
use tagwave::tagger::{Outputs, TaggerBuilder};
use tagwave::tags::TagSelection;

/// Scores of one track.
#[derive(Clone, Debug)]
pub(super) struct TrackScores {
    /// Path as text; `base64:` and its bytes if it is not UTF-8.
    pub(super) path: String,
    /// Model and compatibility, if known.
    pub(super) made: Option<(String, String)>,
    /// Length in seconds, if known.
    pub(super) track_s: Option<f64>,
    /// Scores by tag, those of several clips averaged; `None` if the track failed.
    pub(super) scores: Option<HashMap<String, f64>>,
}

/// Files of predictions, of one format; `None` if the path is audio or a folder of audio.
fn files_of(path: &Path) -> Option<(&'static Format, Vec<PathBuf>)> {
    if path.is_dir() {
        return parts_in(path);
    }
    if let Some(format) = format_of(path) {
        return Some((format, vec![path.to_path_buf()]));
    }
    // Lines by another name, as written with -o.
    let mut first = [0];
    let is_lines =
        File::open(path).and_then(|mut file| file.read_exact(&mut first)).is_ok() && first == *b"{";
    is_lines.then(|| (DEFAULT_FORMAT, vec![path.to_path_buf()]))
}

/// Path of a track from its text in an output.
///
/// # Errors
/// Bytes that are no base64 or no path.
pub(super) fn path_of_text(text: &str) -> io::Result<PathBuf> {
    match text.strip_prefix("base64:") {
        None => Ok(text.into()),
        Some(bytes) => path_of(STANDARD.decode(bytes).map_err(io::Error::other)?),
    }
}

/// True if a path is not a file of predictions.
pub(super) fn is_audio(path: &Path) -> bool {
    files_of(path).is_none()
}

/// Reads the rows of one output.
pub(super) fn read_rows(path: &Path) -> Result<Vec<ReadRow>, CliError> {
    let Some((format, files)) = files_of(path) else {
        let message = format!("{}: expected predictions (jsonl, csv, npy, parquet)", path.display());
        return Err(CliError::usage(message));
    };
    if let Layout::Whole(whole) = format.layout {
        whole.check_built().map_err(|error| CliError::usage(error.to_string()))?;
    }
    let Some(read) = format.read else {
        return Err(CliError::usage(format!("files of the format {} cannot be read", format.name())));
    };
    let mut rows = Vec::new();
    let mut invalid = 0;
    for file in &files {
        let failed = |error: io::Error| CliError { message: error.to_string(), code: SOME_FAILED };
        invalid += read(file, &mut |row| rows.push(row)).map_err(failed)?;
    }
    if invalid > 0 {
        say!("tagwave: {}: {} left out", path.display(), counted(invalid, "truncated or invalid row"));
    }
    Ok(rows)
}

/// Tags files and folders, one clip from the middle of each track, and returns the rows and the exit code.
pub(super) fn tag_rows(
    paths: &[PathBuf],
    model: &ModelArgs,
    progress: &ProgressArgs,
) -> Result<(Vec<ReadRow>, u8), CliError> {
    rows_of(paths, model, progress, &Requested::Tags(TagSelection::Top(usize::MAX)), |builder| builder)
}

/// As [`tag_rows`], for the features before the last dense layer.
pub(super) fn feature_rows(
    paths: &[PathBuf],
    model: &ModelArgs,
    progress: &ProgressArgs,
) -> Result<(Vec<ReadRow>, u8), CliError> {
    rows_of(paths, model, progress, &Requested::Embedding, |builder| builder.outputs(Outputs::Embedding))
}

fn rows_of(
    paths: &[PathBuf],
    model: &ModelArgs,
    progress: &ProgressArgs,
    requested: &Requested,
    configure: impl Fn(TaggerBuilder) -> TaggerBuilder,
) -> Result<(Vec<ReadRow>, u8), CliError> {
    let (files, clips) = (FileArgs::of_paths(paths), ClipArgs::default());
    let job = Job::new(&files, progress, model, &clips, configure)?.summarize_warnings();
    let mut sink = CollectedRows::default();
    let code = job.run(&mut sink, CompletedSet::default(), requested)?;
    Ok((sink.0, code))
}

/// Sink that keeps rows in memory.
#[derive(Default)]
struct CollectedRows(Vec<ReadRow>);

impl Sink for CollectedRows {
    fn row(&mut self, row: &Row) -> io::Result<()> {
        let path = row.path.to_string_lossy().into_owned();
        self.0.push(match &row.outcome {
            Ok(found) => ReadRow {
                path,
                made: Some((found.model.clone(), found.compat.to_string())),
                track_s: found.track_s,
                values: match &found.values {
                    Values::Tags(tags) => ReadValues::Tags(
                        tags.iter().map(|tag| (tag.label.clone(), tag.score.into())).collect(),
                    ),
                    Values::Embedding(features) | Values::Tap { features, .. } => {
                        ReadValues::Features(features.iter().copied().map(f64::from).collect())
                    }
                },
            },
            Err(failure) => {
                let values = ReadValues::Failed(failure.message.clone());
                ReadRow { path, made: None, track_s: None, values }
            }
        });
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn interrupt(&mut self) -> io::Result<&'static str> {
        Ok("nothing is kept")
    }

    /// Failures are reported on standard error.
    fn has_messages(&self) -> bool {
        false
    }
}

/// Sums of the scores of a track's clips, by tag, with their number.
type ScoreSums = HashMap<String, (f64, u32)>;

/// Track whose rows are being joined.
#[derive(Default)]
struct TrackSums {
    path: String,
    made: Option<(String, String)>,
    track_s: Option<f64>,
    sums: Option<ScoreSums>,
}

/// Joins rows to tracks. Rows of one path that follow each other are its clips, whose scores are averaged; a later row of
/// the path replaces an earlier one. `names` are the names of the numbers in rows without tags.
///
/// # Errors
/// A score that is not finite, or numbers without names.
pub(super) fn tracks(rows: Vec<ReadRow>, names: Option<&[String]>) -> Result<Vec<TrackScores>, String> {
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut sums: Vec<TrackSums> = Vec::new();
    let mut before = None;
    for row in rows {
        let place = *places.entry(row.path.clone()).or_insert(sums.len());
        if place == sums.len() {
            sums.push(TrackSums { path: row.path.clone(), ..TrackSums::default() });
        }
        let tags = match row.values {
            ReadValues::Failed(_) => None,
            ReadValues::Tags(tags) => Some(tags),
            ReadValues::Features(features) => Some(named(features, names)?),
        };
        let track = &mut sums[place];
        if before != Some(place) {
            *track = TrackSums { path: row.path, ..TrackSums::default() };
        }
        before = Some(place);
        track.made = row.made.or(track.made.take());
        track.track_s = row.track_s.or(track.track_s);
        let Some(tags) = tags else { continue };
        let known = track.sums.get_or_insert_default();
        for (tag, score) in tags {
            if !score.is_finite() {
                return Err(format!("{}: the score of {tag:?} is not a finite number", track.path));
            }
            let (sum, count) = known.entry(tag).or_default();
            *sum += score;
            *count += 1;
        }
    }
    let mean = |(tag, (sum, count)): (String, (f64, u32))| (tag, sum / f64::from(count));
    let track = |TrackSums { path, made, track_s, sums }| TrackScores {
        path,
        made,
        track_s,
        scores: sums.map(|sums: ScoreSums| sums.into_iter().map(mean).collect()),
    };
    Ok(sums.into_iter().map(track).collect())
}

/// Names numbers.
fn named(features: Vec<f64>, names: Option<&[String]>) -> Result<Vec<(String, f64)>, String> {
    let Some(names) = names else {
        return Err(
            "holds numbers without tags: write scores with `tagwave tag`, or name them with --names".into()
        );
    };
    if names.len() != features.len() {
        return Err(format!("has {} numbers per row, and --names has {} names", features.len(), names.len()));
    }
    Ok(names.iter().cloned().zip(features).collect())
}
