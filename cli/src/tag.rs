//! `tagwave tag`.

use std::path::{Path, PathBuf};

use clap::Args;

use super::clips::ClipArgs;
use super::inputs::FileArgs;
use super::job::{Job, Requested};
use super::output::{Output, OutputArgs, format_parser};
use super::progress::ProgressArgs;
use super::{CliError, ModelArgs};
use tagwave::evaluation::{BoundRules, TagRules};
use tagwave::sinks::Format;
use tagwave::tagger::Tagger;
use tagwave::tags::TagSelection;

/// Arguments of `tagwave tag`.
#[derive(Debug, Args)]
#[command(
    after_help = "Scores rank tags; they are not calibrated probabilities. 0.2 is a usual threshold: frequent \
                        tags such as rock reach 0.5 and more, rare ones rarely 0.3."
)]
pub(super) struct TagArgs {
    #[command(flatten)]
    files: FileArgs,

    #[command(flatten)]
    model: ModelArgs,

    #[command(flatten)]
    clips: ClipArgs,

    /// Number of tags per file
    #[arg(long, value_name = "N", default_value_t = 5, conflicts_with = "threshold")]
    top: usize,

    /// Return tags with at least this score, 0 to 1
    #[arg(long, value_name = "SCORE", value_parser = score)]
    threshold: Option<f32>,

    /// Return the tags that pass their thresholds in a file of `tagwave eval --fit-thresholds`
    #[arg(long, value_name = "FILE", conflicts_with_all = ["threshold", "top"])]
    thresholds: Option<PathBuf>,

    /// Write calibrated scores, which estimate how often a tag is right, instead of the model's; needs --thresholds
    #[arg(long, requires = "thresholds")]
    calibrated: bool,

    /// Output format [default: by the extension of -o; table on a terminal, else jsonl]
    #[arg(long, value_parser = format_parser(|format| format.holds_tags))]
    format: Option<&'static Format>,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    progress: ProgressArgs,
}

pub(super) fn score(word: &str) -> Result<f32, String> {
    match word.parse::<f32>() {
        Ok(value) if (0.0..=1.0).contains(&value) => Ok(value),
        _ => Err("expected a number from 0 to 1".into()),
    }
}

/// Tags files and writes a row for each.
pub(super) fn tag(args: &TagArgs) -> Result<u8, CliError> {
    let rules = match &args.thresholds {
        Some(path) => Some((path, read_rules(path)?)),
        None => None,
    };
    let selection = args.threshold.map_or(TagSelection::Top(args.top), TagSelection::Threshold);
    let job = Job::new(&args.files, &args.progress, &args.model, &args.clips, |builder| builder)?;
    let requested = match rules {
        None => Requested::Tags(selection),
        Some((path, rules)) => {
            Requested::Rules { rules: bind(&rules, job.tagger(), path)?, is_calibrated: args.calibrated }
        }
    };
    let Output { mut sink, done } =
        args.output.open(args.output.kind(args.format, |format| format.holds_tags))?;
    let code = job.run(&mut *sink, done, &requested)?;
    args.output.explain_failures(code, &*sink, args.progress.quiet);
    Ok(code)
}

/// Reads a file of thresholds.
pub(super) fn read_rules(path: &Path) -> Result<TagRules, CliError> {
    let named = |error: String| CliError::usage(format!("{}: {error}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| named(error.to_string()))?;
    TagRules::parse(&text).map_err(|error| named(error.to_string()))
}

/// Checks that the thresholds of `path` are for a model.
pub(super) fn check_model(rules: &TagRules, path: &Path, model: &str, compat: &str) -> Result<(), CliError> {
    for (option, expected, found) in [("--model", &rules.model, model), ("--compat", &rules.compat, compat)] {
        if let Some(expected) = expected.as_deref().filter(|expected| *expected != found) {
            let path = path.display();
            let message = format!("{path}: the thresholds are for {option} {expected}, not {found}");
            return Err(CliError::usage(message));
        }
    }
    Ok(())
}

/// Finds the labels of rules in the model that they must be for.
fn bind(rules: &TagRules, tagger: &Tagger, path: &Path) -> Result<BoundRules, CliError> {
    check_model(rules, path, tagger.model().name(), tagger.compat().as_str())?;
    rules.bind(tagger.labels()).map_err(|error| CliError::usage(format!("{}: {error}", path.display())))
}
