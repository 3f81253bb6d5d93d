//! `tagwave tag`.

use clap::Args;

use super::clips::ClipArgs;
use super::inputs::FileArgs;
use super::job::{Job, Requested};
use super::output::{Output, OutputArgs, format_parser};
use super::progress::ProgressArgs;
use super::{CliError, ModelArgs};
use tagwave::sinks::Format;
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

    /// Output format [default: by the extension of -o; table on a terminal, else jsonl]
    #[arg(long, value_parser = format_parser(|format| format.holds_tags))]
    format: Option<&'static Format>,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    progress: ProgressArgs,
}

fn score(word: &str) -> Result<f32, String> {
    match word.parse::<f32>() {
        Ok(value) if (0.0..=1.0).contains(&value) => Ok(value),
        _ => Err("expected a number from 0 to 1".into()),
    }
}

/// Tags files and writes a row for each.
pub(super) fn tag(args: &TagArgs) -> Result<u8, CliError> {
    let selection = args.threshold.map_or(TagSelection::Top(args.top), TagSelection::Threshold);
    let job = Job::new(&args.files, &args.progress, &args.model, &args.clips, |builder| builder)?;
    let Output { mut sink, done } =
        args.output.open(args.output.kind(args.format, |format| format.holds_tags))?;
    job.run(&mut *sink, done, &Requested::Tags(selection))
}
