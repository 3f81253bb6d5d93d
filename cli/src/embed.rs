//! `tagwave embed`.

use std::io::{self, Write};

use clap::Args;

use super::clips::ClipArgs;
use super::inputs::FileArgs;
use super::job::{Job, Requested};
use super::output::{Output, OutputArgs, format_parser};
use super::pca::WithPca;
use super::progress::ProgressArgs;
use super::{CliError, ModelArgs, SOME_FAILED, USAGE, write_failed};
use tagwave::sinks::Format;
use tagwave::tagger::Outputs;

/// Arguments of `tagwave embed`.
#[derive(Debug, Args)]
#[command(
    after_help = "With npy, row i of the float32 array [files, D] is of the file on line i of FILE.paths.txt \
                  (FILE without .npy): a plain path, or a JSON string if it has control characters. Files that \
                  failed have no row and are reported on standard error. FILE.npy and FILE.parquet are written at the \
                  end of the run; with --format and a folder, a part is written at least once a minute, and \
                  `tagwave merge` joins the parts."
)]
pub(super) struct EmbedArgs {
    #[command(flatten)]
    files: FileArgs,

    #[command(flatten)]
    model: ModelArgs,

    #[command(flatten)]
    clips: ClipArgs,

    /// Layer whose output is extracted, flattened in C order [default: the features before the last dense layer; an
    /// unknown name lists all layers]
    #[arg(long, value_name = "NAME")]
    tap: Option<String>,

    /// One level of compact_cnn's features, 32 values: 0 (first block) to 4 (last block)
    #[arg(long, value_name = "LEVEL", conflicts_with = "tap", value_parser = clap::value_parser!(u8).range(0..=4))]
    level: Option<u8>,

    /// Output format [default: by the extension of -o, else jsonl]
    #[arg(long, value_parser = format_parser(|format| format.holds_features))]
    format: Option<&'static Format>,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    progress: ProgressArgs,

    /// Fit this many principal components to the features of the run, at most 256 features per row; needs -o. Writes
    /// next to FILE.npy: the projected rows (FILE.pca.npy), components, mean and variance (FILE.pca.components.npy, ...);
    /// prints the reconstruction error
    #[arg(long, value_name = "K", requires = "output", conflicts_with = "resume", value_parser = clap::value_parser!(u16).range(1..=256))]
    pca: Option<u16>,
}

/// Extracts features and writes a row for each file.
pub(super) fn embed(args: &EmbedArgs) -> Result<u8, CliError> {
    let tap = args.tap.clone().or(args.level.map(|level| format!("feat{level}")));
    let requested = tap.clone().map_or(Requested::Embedding, Requested::Tap);
    let job = Job::new(&args.files, &args.progress, &args.model, &args.clips, |builder| match &tap {
        Some(tap) => builder.outputs(Outputs::Tap).tap(tap),
        None => builder.outputs(Outputs::Embedding),
    })?;
    let open = || args.output.open(args.output.kind(args.format, |format| format.holds_features));
    let (Some(count), Some(path)) = (args.pca, &args.output.output) else {
        let Output { mut sink, done } = open()?;
        let code = job.run(&mut *sink, done, &requested)?;
        args.output.explain_failures(code, &*sink, args.progress.quiet);
        return Ok(code);
    };
    let count = usize::from(count);
    let most = job.tagger().model().architecture().embedding_len();
    if tap.is_none() && count > most {
        let message = format!("--pca {count}: {} has {most} features", job.tagger().model().name());
        return Err(CliError { message, code: USAGE });
    }
    let Output { sink, done } = open()?;
    let unwritable =
        |error| CliError { message: format!("cannot write the results: {error}"), code: SOME_FAILED };
    let mut sink = WithPca::new(sink, path, count).map_err(unwritable)?;
    let code = job.run(&mut sink, done, &requested)?;
    if let Some(report) = sink.report() {
        writeln!(io::stdout().lock(), "{report}").map_err(|error| write_failed(&error))?;
    }
    Ok(code)
}
