//! `tagwave tag` and `tagwave embed`.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{Failed, INTERRUPTED, ModelArgs, SOME_FAILED, USAGE, stop_on_interrupt, write_failed};
use crate::audio::{DecoderMode, Source};
use crate::error::Error;
use crate::sinks::{Failure, Format, Found, Row, Values};
use crate::tagger::{CancelToken, Tagger, Track};
use crate::tags::Selection;

/// Arguments of `tagwave tag`.
#[derive(Debug, Args)]
#[command(
    after_help = "Scores rank tags; they are not calibrated probabilities. 0.2 is a usual threshold: frequent \
                        tags such as rock reach 0.5 and more, rare ones seldom 0.3."
)]
pub(super) struct TagArgs {
    #[command(flatten)]
    files: FileArgs,

    #[command(flatten)]
    model: ModelArgs,

    /// Tags of each file
    #[arg(long, value_name = "N", default_value_t = 5, conflicts_with = "threshold")]
    top: usize,

    /// Only tags with at least this score, 0 to 1
    #[arg(long, value_name = "SCORE", value_parser = score)]
    threshold: Option<f32>,

    /// Output format [default: table on a terminal, jsonl in a pipe]
    #[arg(long, value_enum)]
    format: Option<FormatArg>,
}

/// Arguments of `tagwave embed`.
#[derive(Debug, Args)]
pub(super) struct EmbedArgs {
    #[command(flatten)]
    files: FileArgs,

    #[command(flatten)]
    model: ModelArgs,
}

#[derive(Debug, Args)]
struct FileArgs {
    /// Audio files; `-` reads one from standard input
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,

    /// Most clips of one batch
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
    batch: u16,

    /// Decode as the original's MP3 decoder did (16-bit samples, 529 samples late), to reproduce its figures
    #[arg(long)]
    original_decoder: bool,

    /// No progress bar, no notes
    #[arg(long, short)]
    quiet: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum FormatArg {
    Table,
    Jsonl,
    Csv,
}

fn score(word: &str) -> Result<f32, String> {
    match word.parse::<f32>() {
        Ok(value) if (0.0..=1.0).contains(&value) => Ok(value),
        _ => Err("expected a number from 0 to 1".into()),
    }
}

/// Tags files and writes a row for each.
pub(super) fn tag(args: &TagArgs) -> Result<u8, Failed> {
    let selection = args.threshold.map_or(Selection::Top(args.top), Selection::Threshold);
    let format = match args.format {
        Some(FormatArg::Table) => Format::Table,
        Some(FormatArg::Jsonl) => Format::Jsonl,
        Some(FormatArg::Csv) => Format::Csv,
        None if io::stdout().is_terminal() => Format::Table,
        None => Format::Jsonl,
    };
    run(&args.files, &args.model, format, |tagger, track| Values::Tags(tagger.tags(track, selection)))
}

/// Extracts features and writes a row for each file.
pub(super) fn embed(args: &EmbedArgs) -> Result<u8, Failed> {
    run(&args.files, &args.model, Format::Jsonl, |_, track| Values::Embedding(track.embedding.clone()))
}

fn run(
    files: &FileArgs,
    model: &ModelArgs,
    format: Format,
    values: impl Fn(&Tagger, &Track) -> Values,
) -> Result<u8, Failed> {
    let stdin = files.paths.iter().filter(|path| is_stdin(path)).count();
    if stdin > 1 {
        return Err(Failed { message: "standard input can be read once: give one `-`".into(), code: USAGE });
    }
    let cancel = CancelToken::new();
    stop_on_interrupt(cancel.clone());
    let tagger = Tagger::builder()
        .model(&model.model)
        .reading(model.reading.into())
        .locator(model.weights.locator())
        .device(model.device.device.clone())
        .max_batch(usize::from(files.batch).min(files.paths.len()))
        .decoder(if files.original_decoder { DecoderMode::Original } else { DecoderMode::Plain })
        .cancel_token(cancel.clone())
        .build()?;
    if !files.quiet {
        tagger.notes().iter().for_each(|note| eprintln!("tagwave: {note}"));
    }
    let bar = progress_bar(files.paths.len(), files.quiet);
    let mut sink = format.sink(io::stdout().lock());
    let mut outcome = Ok(0);
    let mut written = 0;
    tagger.tag_each(files.paths.iter().map(|path| source(path)), |index, result| {
        if outcome.is_err() {
            return;
        }
        let row = row(&tagger, &files.paths[index], result, &values);
        if row.outcome.is_err() {
            outcome = Ok(SOME_FAILED);
        }
        // The bar and the rows may share a terminal.
        match bar.suspend(|| sink.row(&row)) {
            Ok(()) => written += 1,
            Err(error) => {
                outcome = Err(error);
                cancel.cancel();
            }
        }
        bar.inc(1);
    });
    bar.finish_and_clear();
    let code = outcome.and_then(|code| sink.finish().map(|()| code)).map_err(|error| write_failed(&error))?;
    if cancel.is_cancelled() {
        eprintln!("tagwave: interrupted after {written} of {} files", files.paths.len());
        return Ok(INTERRUPTED);
    }
    Ok(code)
}

fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

fn source(path: &Path) -> Source {
    if is_stdin(path) { Source::reader(io::stdin()) } else { Source::path(path) }
}

fn row(
    tagger: &Tagger,
    path: &Path,
    result: Result<Track, Error>,
    values: &impl Fn(&Tagger, &Track) -> Values,
) -> Row {
    let outcome = match result {
        Ok(track) => Ok(Found {
            model: tagger.model().name.to_string(),
            reading: tagger.reading().as_str(),
            device: tagger.device_name().to_string(),
            clip_start_s: track.clips.first().map_or(0.0, |clip| clip.start_s),
            track_s: track.track_s,
            values: values(tagger, &track),
            warnings: track.warnings,
        }),
        Err(error) => Err(Failure { kind: error.kind(), message: error.to_string() }),
    };
    Row { path: path.to_path_buf(), outcome }
}

/// A bar with rate and time left, on a terminal and for more than one file.
fn progress_bar(files: usize, quiet: bool) -> ProgressBar {
    let target = match !quiet && files > 1 {
        true => ProgressDrawTarget::stderr(),
        false => ProgressDrawTarget::hidden(),
    };
    let bar = ProgressBar::with_draw_target(Some(files as u64), target);
    let template = "{bar:30} {pos}/{len} files  {per_sec}  {eta} left";
    bar.with_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()))
}
