//! `tagwave embed`.

use std::io::{self, Write};

use clap::{Args, ValueEnum};

use super::clips::ClipArgs;
use super::inputs::FileArgs;
use super::job::{Job, Wanted};
use super::output::{Kind, Output, OutputArgs};
use super::pca::WithPca;
use super::progress::ProgressArgs;
use super::{Failed, ModelArgs, SOME_FAILED, USAGE, write_failed};
use crate::sinks::{Format, PartKind};
use crate::tagger::Outputs;

/// Arguments of `tagwave embed`.
#[derive(Debug, Args)]
#[command(
    after_help = "With npy, row i of the float32 array [files, D] is of the file on line i of FILE.paths.txt \
                  (FILE without .npy): a plain path, or a JSON string where it holds control characters. Files \
                  that failed have no row; they are named on standard error. FILE.npy and FILE.parquet appear when the \
                  run has ended; with --format and a folder, finished parts of up to a minute each come, which \
                  `tagwave merge` joins."
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

    /// One level of compact_cnn's features, 32 numbers: 0 to 4, the first block to the last
    #[arg(long, value_name = "LEVEL", conflicts_with = "tap", value_parser = clap::value_parser!(u8).range(0..=4))]
    level: Option<u8>,

    /// Output format; npy and parquet need -o: FILE.npy, or a folder for parts [default: as -o ends, else jsonl]
    #[arg(long, value_enum)]
    format: Option<FormatArg>,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    progress: ProgressArgs,

    /// Fit this many principal components to the features of the run, at most 256 features a row; needs -o.
    /// Beside FILE.npy: the rows in their coordinates (FILE.pca.npy), components, mean and variance
    /// (FILE.pca.components.npy, ...); the reconstruction error is printed
    #[arg(long, value_name = "K", requires = "output", conflicts_with = "resume", value_parser = clap::value_parser!(u16).range(1..=256))]
    pca: Option<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum FormatArg {
    /// One JSON object a line
    Jsonl,
    /// One float32 array [files, D] of NumPy, and a list of the files
    Npy,
    /// One line per file and feature
    Csv,
    /// A row per file, in a table of Apache Parquet
    Parquet,
}

impl EmbedArgs {
    fn kind(&self) -> Kind {
        let ending = self.output.ending();
        let format = self.format.unwrap_or(match ending.as_deref() {
            Some("npy") => FormatArg::Npy,
            Some("csv") => FormatArg::Csv,
            Some("parquet") => FormatArg::Parquet,
            _ => FormatArg::Jsonl,
        });
        match format {
            FormatArg::Jsonl => Kind::Lines(Format::Jsonl),
            FormatArg::Csv => Kind::Lines(Format::Csv),
            FormatArg::Npy => self.output.whole_or_parts(PartKind::Npy),
            FormatArg::Parquet => self.output.whole_or_parts(PartKind::Parquet),
        }
    }
}

/// Extracts features and writes a row for each file.
pub(super) fn embed(args: &EmbedArgs) -> Result<u8, Failed> {
    let tap = args.tap.clone().or(args.level.map(|level| format!("feat{level}")));
    let wanted = tap.clone().map_or(Wanted::Embedding, Wanted::Tap);
    let job = Job::new(&args.files, &args.progress, &args.model, &args.clips, |builder| match &tap {
        Some(tap) => builder.outputs(Outputs::Tap).tap(tap),
        None => builder.outputs(Outputs::Embedding),
    })?;
    let open = || args.output.open(args.kind());
    let (Some(count), Some(path)) = (args.pca, &args.output.output) else {
        let Output { mut sink, done } = open()?;
        return job.run(&mut *sink, done, &wanted);
    };
    let count = usize::from(count);
    let most = job.tagger().model().architecture.embedding_len();
    if tap.is_none() && count > most {
        let message = format!("--pca {count}: {} has {most} features", job.tagger().model().name);
        return Err(Failed { message, code: USAGE });
    }
    let Output { sink, done } = open()?;
    let unwritable =
        |error| Failed { message: format!("cannot write the results: {error}"), code: SOME_FAILED };
    let mut sink = WithPca::new(sink, path, count).map_err(unwritable)?;
    let code = job.run(&mut sink, done, &wanted)?;
    if let Some(report) = sink.report() {
        writeln!(io::stdout().lock(), "{report}").map_err(|error| write_failed(&error))?;
    }
    Ok(code)
}
