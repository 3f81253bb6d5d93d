//! Predictions: rows of an output file, or of files that are tagged now.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use crate::ModelArgs;
use crate::error::CliError;
use crate::progress::ProgressArgs;
use crate::results::{TrackScores, read_rows, tag_rows, tracks};
use tagwave::sinks::ReadRow;

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

/// Reads predictions from one output.
pub(super) fn read(path: &Path, options: ReadOptions) -> Result<ScoreTable, CliError> {
    let rows = read_rows(path)?;
    table(rows, options).map_err(|message| CliError::usage(format!("{}: {message}", path.display())))
}

/// Tags files and folders.
pub(super) fn tag(
    paths: &[PathBuf],
    model: &ModelArgs,
    progress: &ProgressArgs,
) -> Result<(ScoreTable, u8), CliError> {
    let (rows, code) = tag_rows(paths, model, progress)?;
    let options = ReadOptions { names: None, missing: None };
    Ok((table(rows, options).map_err(CliError::usage)?, code))
}

/// Makes a table of rows.
fn table(rows: Vec<ReadRow>, options: ReadOptions) -> Result<ScoreTable, String> {
    let tracks = tracks(rows, options.names)?;
    let mut made: BTreeSet<_> = tracks.iter().filter_map(|track| track.made.clone()).collect();
    if made.len() > 1 {
        let names: Vec<String> = made.iter().map(|(model, compat)| format!("{model} ({compat})")).collect();
        return Err(format!("has rows of several models: {}; evaluate each by itself", names.join(", ")));
    }
    let tags: BTreeSet<&String> =
        tracks.iter().flat_map(|track| &track.scores).flat_map(HashMap::keys).collect();
    let tags: Vec<String> = tags.into_iter().cloned().collect();
    let mut table = ScoreTable { made: made.pop_first(), ..ScoreTable::default() };
    for TrackScores { path, scores: found, .. } in &tracks {
        let Some(found) = found else {
            table.failed += 1;
            continue;
        };
        let score = |tag: &String| found.get(tag).copied().or(options.missing);
        let Some(scores) = tags.iter().map(score).collect::<Option<Vec<f64>>>() else {
            return Err(format!(
                "{path} has scores of {} of {} tags: write all of them, `tagwave tag --top {}`, or state a score for \
                 the others, --missing 0",
                found.len(),
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

#[cfg(test)]
mod tests {
    use super::*;
    use tagwave::sinks::ReadValues;

    const OPTIONS: ReadOptions = ReadOptions { names: None, missing: None };

    fn row(path: &str, tags: &[(&str, f64)]) -> ReadRow {
        let tags = tags.iter().map(|(tag, score)| (tag.to_string(), *score)).collect();
        ReadRow {
            path: path.into(),
            made: Some(("small".into(), "corrected".into())),
            track_s: None,
            values: ReadValues::Tags(tags),
        }
    }

    #[test]
    fn clips_are_averaged_and_later_rows_replace() {
        let rows = vec![
            row("a", &[("x", 0.2), ("y", 0.4)]),
            row("a", &[("y", 0.8), ("x", 0.4)]),
            row("b", &[("x", 0.1), ("y", 0.1)]),
            ReadRow {
                path: "c".into(),
                made: None,
                track_s: None,
                values: ReadValues::Failed("empty".into()),
            },
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
        let numbers =
            ReadRow { path: "a".into(), made: None, track_s: None, values: ReadValues::Features(vec![0.5]) };
        assert!(table(vec![numbers.clone()], OPTIONS).unwrap_err().contains("--names"));
        let names = ["x".to_string()];
        let found = table(vec![numbers], ReadOptions { names: Some(&names), missing: None }).unwrap();
        assert_eq!(found.scores, [[0.5]]);
    }
}
