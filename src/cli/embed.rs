//! `tagwave embed`.

use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::clips::ClipArgs;
use super::tag::{FileArgs, Job, Wanted};
use super::{Failed, ModelArgs, SOME_FAILED, USAGE};
use crate::sinks::{Format, Npy, Sink};
use crate::tagger::Outputs;

/// Arguments of `tagwave embed`.
#[derive(Debug, Args)]
#[command(
    after_help = "With npy, row i of the float32 array [files, D] is of the file on line i of FILE.paths.txt \
                  (FILE without .npy): a plain path, or a JSON string where it holds control characters. Files \
                  that failed have no row; they are named on standard error. A file given with -o appears when \
                  the run has ended; an interrupted run leaves none."
)]
pub(super) struct EmbedArgs {
    #[command(flatten)]
    files: FileArgs,

    #[command(flatten)]
    model: ModelArgs,

    #[command(flatten)]
    clips: ClipArgs,

    /// Layer whose output to give, flattened in C order [default: the features before the last dense layer;
    /// a wrong name lists the right ones]
    #[arg(long, value_name = "NAME")]
    tap: Option<String>,

    /// Output format; npy needs -o [default: as -o ends, else jsonl]
    #[arg(long, value_enum)]
    format: Option<FormatArg>,

    /// File to write instead of standard output; replaces an older one
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum FormatArg {
    /// One JSON object a line
    Jsonl,
    /// One float32 array [files, D] of NumPy, and a list of the files
    Npy,
    /// One line per file and feature
    Csv,
}

impl EmbedArgs {
    fn format(&self) -> FormatArg {
        let ending = self.output.as_deref().and_then(Path::extension).and_then(|ending| ending.to_str());
        self.format.unwrap_or(match ending {
            Some("npy") => FormatArg::Npy,
            Some("csv") => FormatArg::Csv,
            _ => FormatArg::Jsonl,
        })
    }

    fn sink(&self) -> Result<Box<dyn Sink>, Failed> {
        let lines = |format: Format| match &self.output {
            Some(path) => format.create(path),
            None => Ok(format.sink(io::stdout().lock())),
        };
        let sink = match (self.format(), &self.output) {
            (FormatArg::Jsonl, _) => lines(Format::Jsonl),
            (FormatArg::Csv, _) => lines(Format::Csv),
            (FormatArg::Npy, Some(path)) => Npy::create(path).map(|sink| Box::new(sink) as Box<dyn Sink>),
            (FormatArg::Npy, None) => {
                return Err(Failed { message: "an npy array needs a file: give one with -o".into(), code: USAGE });
            }
        };
        sink.map_err(|error| Failed { message: format!("cannot write the results: {error}"), code: SOME_FAILED })
    }
}

/// Extracts features and writes a row for each file.
pub(super) fn embed(args: &EmbedArgs) -> Result<u8, Failed> {
    let mut sink = args.sink()?;
    let wanted = args.tap.clone().map_or(Wanted::Embedding, Wanted::Tap);
    let job = Job::new(&args.files, &args.model, &args.clips, |builder| match &args.tap {
        Some(tap) => builder.outputs(Outputs::Tap).tap(tap),
        None => builder.outputs(Outputs::Embedding),
    })?;
    job.run(&mut *sink, &wanted)
}
