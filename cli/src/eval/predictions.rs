//! Predictions: rows of an output file, or of files that are tagged now.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use crate::clips::ClipArgs;
use crate::error::CliError;
use crate::inputs::FileArgs;
use crate::job::{Job, Requested};
use crate::merge::parts_in;
use crate::progress::ProgressArgs;
use crate::{ModelArgs, SOME_FAILED};
use tagwave::sinks::{
    CompletedSet, DEFAULT_FORMAT, Format, Layout, ReadRow, ReadValues, Row, Sink, Values, format_of,
};
use tagwave::tags::TagSelection;

/// Scores of files.
#[derive(Clone, Debug, Default)]
pub(super) struct ScoreTable {
    /// Tags, sorted.
    pub(super) tags: Vec<String>,
    /// Path of each file.
    pub(super) paths: Vec<String>,
    /// Scores of each file, in the order of the tags.
    pub(super) scores: Vec<Vec<f64>>,
    /// Model and compatibility, if known.
    pub(super) made: Option<(String, String)>,
    /// Number of files that failed.
    pub(super) failed: usize,
}

/// Settings of reading predictions.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReadOptions<'a> {
    /// Names of the scores in files without names.
    pub(super) names: Option<&'a [String]>,
    /// Score of tags that a row does not list.
    pub(super) missing: Option<f64>,
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

/// True if a path is not a file of predictions.
pub(super) fn is_audio(path: &Path) -> bool {
    files_of(path).is_none()
}

/// Reads predictions from one output.
pub(super) fn read(path: &Path, options: ReadOptions) -> Result<ScoreTable, CliError> {
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
        eprintln!("tagwave: {}: {invalid} truncated or invalid rows left out", path.display());
    }
    table(rows, options).map_err(|message| CliError::usage(format!("{}: {message}", path.display())))
}

/// Tags files and folders.
pub(super) fn tag(
    paths: &[PathBuf],
    model: &ModelArgs,
    progress: &ProgressArgs,
) -> Result<(ScoreTable, u8), CliError> {
    let (files, clips) = (FileArgs::of_paths(paths), ClipArgs::default());
    let job = Job::new(&files, progress, model, &clips, |builder| builder)?;
    let mut sink = CollectedRows::default();
    let code =
        job.run(&mut sink, CompletedSet::default(), &Requested::Tags(TagSelection::Top(usize::MAX)))?;
    let options = ReadOptions { names: None, missing: None };
    Ok((table(sink.0, options).map_err(CliError::usage)?, code))
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
                values: match &found.values {
                    Values::Tags(tags) => ReadValues::Tags(
                        tags.iter().map(|tag| (tag.label.clone(), tag.score.into())).collect(),
                    ),
                    Values::Embedding(features) | Values::Tap { features, .. } => {
                        ReadValues::Features(features.iter().copied().map(f64::from).collect())
                    }
                },
            },
            Err(failure) => ReadRow { path, made: None, values: ReadValues::Failed(failure.message.clone()) },
        });
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Failures are reported on standard error.
    fn has_messages(&self) -> bool {
        false
    }
}

/// Scores of one path by tag; those of several clips are summed.
type ScoreSums = HashMap<String, (f64, u32)>;

/// Makes a table of rows. Rows of one path that follow each other are its clips, whose scores are averaged; a later row
/// of the path replaces an earlier one.
fn table(rows: Vec<ReadRow>, options: ReadOptions) -> Result<ScoreTable, String> {
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut sums: Vec<(String, Option<ScoreSums>)> = Vec::new();
    let mut made = BTreeSet::new();
    let mut before = None;
    for row in rows {
        let place = *places.entry(row.path.clone()).or_insert(sums.len());
        if place == sums.len() {
            sums.push((row.path.clone(), None));
        }
        let tags = match row.values {
            ReadValues::Failed(_) => None,
            ReadValues::Tags(tags) => Some(tags),
            ReadValues::Features(features) => Some(named(features, options.names)?),
        };
        if let Some(found) = row.made {
            made.insert(found);
        }
        if before != Some(place) {
            sums[place].1 = None;
        }
        before = Some(place);
        let Some(tags) = tags else { continue };
        let known = sums[place].1.get_or_insert_default();
        for (tag, score) in tags {
            if !score.is_finite() {
                return Err(format!("{}: the score of {tag:?} is not a finite number", row.path));
            }
            let (sum, count) = known.entry(tag).or_default();
            *sum += score;
            *count += 1;
        }
    }
    if made.len() > 1 {
        let names: Vec<String> = made.iter().map(|(model, compat)| format!("{model} ({compat})")).collect();
        return Err(format!("has rows of several models: {}; evaluate each by itself", names.join(", ")));
    }
    let tags: BTreeSet<&String> = sums.iter().flat_map(|(_, sums)| sums).flat_map(HashMap::keys).collect();
    let tags: Vec<String> = tags.into_iter().cloned().collect();
    let mut table = ScoreTable { made: made.pop_first(), ..ScoreTable::default() };
    for (path, sums) in &sums {
        let Some(sums) = sums else {
            table.failed += 1;
            continue;
        };
        let score =
            |tag: &String| sums.get(tag).map(|(sum, count)| sum / f64::from(*count)).or(options.missing);
        let Some(scores) = tags.iter().map(score).collect::<Option<Vec<f64>>>() else {
            return Err(format!(
                "{path} has scores of {} of {} tags: write all of them, `tagwave tag --top {}`, or state a score for \
                 the others, --missing 0",
                sums.len(),
                tags.len(),
                tags.len()
            ));
        };
        table.paths.push(path.clone());
        table.scores.push(scores);
    }
    table.tags = tags;
    Ok(table)
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

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: ReadOptions = ReadOptions { names: None, missing: None };

    fn row(path: &str, tags: &[(&str, f64)]) -> ReadRow {
        let tags = tags.iter().map(|(tag, score)| (tag.to_string(), *score)).collect();
        ReadRow {
            path: path.into(),
            made: Some(("small".into(), "corrected".into())),
            values: ReadValues::Tags(tags),
        }
    }

    #[test]
    fn clips_are_averaged_and_later_rows_replace() {
        let rows = vec![
            row("a", &[("x", 0.2), ("y", 0.4)]),
            row("a", &[("y", 0.8), ("x", 0.4)]),
            row("b", &[("x", 0.1), ("y", 0.1)]),
            ReadRow { path: "c".into(), made: None, values: ReadValues::Failed("empty".into()) },
            row("b", &[("x", 0.9), ("y", 0.9)]),
            row("b", &[("x", 0.7), ("y", 0.9)]),
            row("a", &[("x", 0.5), ("y", 0.5)]),
        ];
        let found = table(rows, OPTIONS).unwrap();
        assert_eq!(found.tags, ["x", "y"]);
        assert_eq!((found.paths, found.failed), (vec!["a".to_string(), "b".into()], 1));
        assert_eq!(found.scores[0], [0.5, 0.5]);
        assert!((found.scores[1][0] - 0.8).abs() < 1e-12, "{:?}", found.scores);
    }

    #[test]
    fn incomplete_rows_are_refused_or_filled() {
        let rows = || vec![row("a", &[("x", 0.2)]), row("b", &[("y", 0.3)])];
        let error = table(rows(), OPTIONS).unwrap_err();
        assert!(error.contains("a has scores of 1 of 2 tags") && error.contains("--top 2"), "{error}");
        let found = table(rows(), ReadOptions { missing: Some(0.0), ..OPTIONS }).unwrap();
        assert_eq!(found.scores, [[0.2, 0.0], [0.0, 0.3]]);
        let mut other = row("c", &[("x", 0.2)]);
        other.made = Some(("crnn".into(), "corrected".into()));
        assert!(table(vec![row("a", &[("x", 0.2)]), other], OPTIONS).unwrap_err().contains("several models"));
        assert!(table(vec![row("a", &[("x", f64::NAN)])], OPTIONS).unwrap_err().contains("finite"));
        let numbers = ReadRow { path: "a".into(), made: None, values: ReadValues::Features(vec![0.5]) };
        assert!(table(vec![numbers.clone()], OPTIONS).unwrap_err().contains("--names"));
        let names = ["x".to_string()];
        let found = table(vec![numbers], ReadOptions { names: Some(&names), missing: None }).unwrap();
        assert_eq!(found.scores, [[0.5]]);
    }
}
