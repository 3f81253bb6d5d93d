//! `tagwave eval`: predictions against labels. docs/evaluation.md describes inputs, numbers and formulas.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::labels::{LabelArgs, LabelTable, some};
use super::progress::ProgressArgs;
use super::results::is_audio;
use super::tag::{check_model, read_rules};
use super::{CliError, INTERRUPTED, ModelArgs, SOME_FAILED, write_failed};
use tagwave::evaluation::{
    CalibrationMethod, EvaluationError, EvaluationOptions, FitOptions, Goal, LabelledScores, Mapping,
    TagRules, compare, evaluate, fit,
};
use tagwave::sinks::write_file;

mod fitted;
mod html;
mod join;
mod json;
mod predictions;
mod report;
mod text;

pub(super) use report::EvalReport;

use join::{CommonTracks, Joined, join};
use predictions::{ReadOptions, ScoreTable};
use report::Unmatched;

/// Number of folds of the cross-validation of thresholds.
const FOLDS: usize = 5;

/// Arguments of `tagwave eval`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct EvalArgs {
    /// Predictions: a file or folder of parts written by `tagwave tag --top 50 -o`, or audio files and folders, which are
    /// tagged first
    #[arg(required = true, value_name = "PREDICTIONS")]
    predictions: Vec<PathBuf>,

    #[command(flatten)]
    labels: LabelArgs,

    /// File that makes the tags of the labels from those of the predictions: a line `disco = max(dance, funk)` per tag
    #[arg(long, value_name = "FILE")]
    mapping: Option<PathBuf>,

    /// Other predictions for the same tracks: differences with their intervals
    #[arg(long, value_name = "PREDICTIONS")]
    compare: Option<PathBuf>,

    /// Tags with at least this score count as predicted, for precision, recall and F1
    #[arg(long, value_name = "SCORE", default_value_t = 0.2, conflicts_with = "thresholds")]
    threshold: f64,

    /// File with a threshold per tag, of an earlier --fit-thresholds
    #[arg(long, value_name = "FILE")]
    thresholds: Option<PathBuf>,

    /// Numbers of tags for hits among the highest scores
    #[arg(long, value_name = "K", default_value = "1,5", value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..))]
    top: Vec<u16>,

    /// Number of bootstrap replicates for intervals of 95 %; 0 for none
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    bootstrap: u32,

    /// Seed of the bootstrap and of cross-validation
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,

    /// Number of bins of the reliability diagram
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1000))]
    bins: u16,

    /// Score of tags that a row does not list; without this option, all rows must list the same tags
    #[arg(long, value_name = "SCORE")]
    missing: Option<f64>,

    /// File with a tag per line: names of the numbers in predictions that have none (npy)
    #[arg(long, value_name = "FILE")]
    names: Option<PathBuf>,

    /// Fit a threshold and a calibration per tag, and write them for `tagwave tag --thresholds`
    #[arg(long, value_name = "FILE")]
    fit_thresholds: Option<PathBuf>,

    /// Fit thresholds for the largest recall with at least this precision [default: for the best F1]
    #[arg(long, value_name = "PRECISION", requires = "fit_thresholds", value_parser = share)]
    at_precision: Option<f64>,

    /// Calibration to fit
    #[arg(long, value_enum, default_value_t, requires = "fit_thresholds")]
    calibration: CalibrationArg,

    /// Form of the report
    #[arg(long, value_enum, default_value_t)]
    format: ReportArg,

    /// File of the report [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,

    #[command(flatten)]
    model: ModelArgs,

    #[command(flatten)]
    progress: ProgressArgs,
}

const AFTER_HELP: &str = "\
Paths of labels and predictions match if they are equal, or if one is the end of the other and there is only one such \
pair. Tracks on one side only are counted and named. Model and device options apply to audio that is tagged first, one \
clip from the middle of each track; for other clips run `tagwave tag --top 50 -o scores.jsonl` first. docs/evaluation.md \
explains every number.";

/// Form of a report.
#[derive(Clone, Copy, Debug, Default, PartialEq, ValueEnum)]
pub(super) enum ReportArg {
    /// Tables
    #[default]
    Text,
    /// One JSON object
    Json,
    /// A page with diagrams, without external files
    Html,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum CalibrationArg {
    /// A logistic curve per tag (Platt scaling)
    #[default]
    Platt,
    /// One temperature for all tags
    Temperature,
    /// No calibration
    None,
}

impl From<CalibrationArg> for CalibrationMethod {
    fn from(method: CalibrationArg) -> CalibrationMethod {
        match method {
            CalibrationArg::Platt => CalibrationMethod::Platt,
            CalibrationArg::Temperature => CalibrationMethod::Temperature,
            CalibrationArg::None => CalibrationMethod::Uncalibrated,
        }
    }
}

fn share(word: &str) -> Result<f64, String> {
    match word.parse::<f64>() {
        Ok(value) if value > 0.0 && value <= 1.0 => Ok(value),
        _ => Err("expected a number above 0, at most 1".into()),
    }
}

impl From<EvaluationError> for CliError {
    fn from(error: EvaluationError) -> CliError {
        CliError::usage(error.to_string())
    }
}

/// Evaluates predictions and writes a report.
pub(super) fn eval(args: &EvalArgs) -> Result<u8, CliError> {
    // Short inputs first: a mistake is found before audio is tagged.
    let labels = args.labels.read()?;
    let mapping = args.mapping.as_deref().map(read_mapping).transpose()?;
    let rules = args.thresholds.as_deref().map(read_rules).transpose()?;
    let names = args.names.as_deref().map(read_names).transpose()?;
    let options = ReadOptions { names: names.as_deref(), missing: args.missing };
    let (table, mut code) = read_predictions(args, options)?;
    if code == INTERRUPTED {
        return Ok(code);
    }
    if let (Some(rules), Some(path), Some((model, compat))) = (&rules, &args.thresholds, &table.made) {
        check_model(rules, path, model, compat)?;
    }
    let joined = joined_with(args, &labels, &table, mapping.as_ref(), &args.predictions[0])?;
    let evaluation_options = EvaluationOptions {
        thresholds: thresholds(joined.data.tags(), args.threshold, rules.as_ref()),
        top: args.top.iter().copied().map(usize::from).collect(),
        bins: args.bins.into(),
        replicates: args.bootstrap as usize,
        seed: args.seed,
    };
    let mut unmatched = joined.unmatched.clone();
    let mut comparison = None;
    if let Some(path) = &args.compare {
        let other = predictions::read(path, options)?;
        let other = joined_with(args, &labels, &other, mapping.as_ref(), path)?;
        let CommonTracks { first, second, groups, left_out } = joined.common(&other)?;
        unmatched.compared = left_out;
        comparison = Some(compare(&first, &second, &groups, args.bootstrap as usize, args.seed)?);
    }
    let fitted =
        args.fit_thresholds.as_deref().map(|path| fit_rules(args, &table, &joined, mapping.as_ref(), path));
    let report = EvalReport {
        sources: args.predictions.iter().map(|path| path.display().to_string()).collect(),
        labels: args.labels.labels.display().to_string(),
        compared: args.compare.as_ref().map(|path| path.display().to_string()),
        group: args.labels.group.clone(),
        made: table.made.clone(),
        failed: table.failed,
        replicates: args.bootstrap,
        seed: args.seed,
        unmatched,
        evaluation: evaluate(&joined.data, &joined.groups, &evaluation_options)?,
        comparison,
        fitted: fitted.transpose()?,
    };
    if table.failed > 0 {
        code = SOME_FAILED;
    }
    if !args.progress.quiet {
        print_unmatched(&report.unmatched);
    }
    write_report(&report, &joined.data, args.format, args.output.as_deref())?;
    Ok(code)
}

/// Writes a report to a file, or to standard output.
pub(super) fn write_report(
    report: &EvalReport,
    data: &LabelledScores,
    format: ReportArg,
    path: Option<&Path>,
) -> Result<(), CliError> {
    let text = match format {
        ReportArg::Text => text::text(report),
        ReportArg::Json => json::json(report),
        ReportArg::Html => html::page(report, data),
    };
    match path {
        None => io::stdout().lock().write_all(text.as_bytes()).map_err(|error| write_failed(&error)),
        Some(path) => write(path, &text),
    }
}

fn write(path: &Path, text: &str) -> Result<(), CliError> {
    write_file(path, text.as_bytes())
        .map_err(|error| CliError { message: format!("cannot write {error}"), code: SOME_FAILED })
}

/// Error of an input file.
fn in_file(path: &Path, message: impl std::fmt::Display) -> CliError {
    CliError::usage(format!("{}: {message}", path.display()))
}

fn read_text(path: &Path) -> Result<String, CliError> {
    std::fs::read_to_string(path).map_err(|error| in_file(path, error))
}

fn read_mapping(path: &Path) -> Result<Mapping, CliError> {
    Mapping::parse(&read_text(path)?).map_err(|error| in_file(path, error))
}

fn read_names(path: &Path) -> Result<Vec<String>, CliError> {
    let names: Vec<String> = read_text(path)?.lines().map(String::from).collect();
    match names.iter().position(|name| name.trim().is_empty()) {
        Some(index) => Err(in_file(path, format!("line {}: expected a tag, found none", index + 1))),
        None => Ok(names),
    }
}

/// Reads predictions, or tags audio.
fn read_predictions(args: &EvalArgs, options: ReadOptions) -> Result<(ScoreTable, u8), CliError> {
    let audio = args.predictions.iter().filter(|path| is_audio(path)).count();
    if audio == args.predictions.len() {
        return predictions::tag(&args.predictions, &args.model, &args.progress);
    }
    match &args.predictions[..] {
        [path] => Ok((predictions::read(path, options)?, 0)),
        _ => Err(CliError::usage(
            "expected one file of predictions, or only audio: join several files with `tagwave merge`",
        )),
    }
}

/// Joins labels with the predictions of `path`.
fn joined_with(
    args: &EvalArgs,
    labels: &LabelTable,
    table: &ScoreTable,
    mapping: Option<&Mapping>,
    path: &Path,
) -> Result<Joined, CliError> {
    let named = |error: join::JoinError| match error {
        join::JoinError::Labels(message) => args.labels.error(message),
        join::JoinError::Mapping(message) => in_file(args.mapping.as_deref().unwrap_or(path), message),
        join::JoinError::Both(message) => {
            CliError::usage(format!("{} and {}: {message}", path.display(), args.labels.labels.display()))
        }
    };
    join(labels, table, mapping, args.labels.has_keys()).map_err(named)
}

/// Threshold of each tag: that of its rule, or one for all.
fn thresholds(tags: &[String], threshold: f64, rules: Option<&TagRules>) -> Vec<Option<f64>> {
    let of = |tag: &String| match rules {
        None => Some(threshold),
        Some(rules) => rules.tags.iter().find(|rule| rule.tag == *tag).and_then(|rule| rule.threshold),
    };
    tags.iter().map(of).collect()
}

/// Fits thresholds and writes them.
fn fit_rules(
    args: &EvalArgs,
    table: &ScoreTable,
    joined: &Joined,
    mapping: Option<&Mapping>,
    path: &Path,
) -> Result<tagwave::evaluation::Fitted, CliError> {
    let options = FitOptions {
        goal: args.at_precision.map_or(Goal::F1, Goal::Precision),
        calibration: args.calibration.into(),
        folds: FOLDS,
        bins: args.bins.into(),
        seed: args.seed,
    };
    let found = fit(&joined.data, &joined.groups, &options)?;
    let rules = fitted::rules(&found, options.goal, table.made.as_ref(), mapping);
    let labels = args.labels.labels.display().to_string();
    write(path, &rules.to_toml(&fitted::comment(&found, &labels, joined.data.items())))?;
    Ok(found)
}

/// Reports tracks and tags on one side only.
fn print_unmatched(unmatched: &Unmatched) {
    for (title, names) in unmatched.lists() {
        if !names.is_empty() {
            say!("tagwave: {} {title}: {}", names.len(), some(names));
        }
    }
}
