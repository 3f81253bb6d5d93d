//! `tagwave tag`, and what `embed` shares with it: files, their rows, progress, interruption.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::clips::ClipArgs;
use super::{Failed, INTERRUPTED, ModelArgs, SOME_FAILED, USAGE, stop_on_interrupt, write_failed};
use crate::audio::{DecoderMode, Source};
use crate::error::Error;
use crate::models;
use crate::sinks::{Failure, Format, Found, FoundInClip, Row, Sink, Values};
use crate::tagger::{CancelToken, ClipResult, Tagger, TaggerBuilder, Track};
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

    #[command(flatten)]
    clips: ClipArgs,

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

/// The files, and how they are read.
#[derive(Debug, Args)]
pub(super) struct FileArgs {
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
    pub(super) quiet: bool,
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
    let job = Job::new(&args.files, &args.model, &args.clips, |builder| builder)?;
    job.run(&mut *format.sink(io::stdout().lock()), &Wanted::Tags(selection))
}

/// What is wanted of each file.
#[derive(Clone, Debug)]
pub(super) enum Wanted {
    Tags(Selection),
    Embedding,
    Tap(String),
}

impl Wanted {
    fn of_track(&self, tagger: &Tagger, track: &Track) -> Values {
        match self {
            Wanted::Tags(selection) => Values::Tags(tagger.tags(track, *selection)),
            Wanted::Embedding => Values::Embedding(track.embedding.clone()),
            Wanted::Tap(name) => Values::Tap { name: name.clone(), features: track.tap.clone() },
        }
    }

    fn of_clip(&self, tagger: &Tagger, clip: &ClipResult) -> FoundInClip {
        let values = match self {
            Wanted::Tags(selection) => Values::Tags(tagger.clip_tags(clip, *selection)),
            Wanted::Embedding => Values::Embedding(clip.embedding.clone()),
            Wanted::Tap(name) => Values::Tap { name: name.clone(), features: clip.tap.clone() },
        };
        FoundInClip { start_s: clip.start_s, values }
    }
}

/// A model made ready for files.
pub(super) struct Job<'a> {
    files: &'a FileArgs,
    per_clip: bool,
    tagger: Tagger,
    cancel: CancelToken,
}

impl<'a> Job<'a> {
    /// Loads the model; `settings` are those of one command.
    pub(super) fn new(
        files: &'a FileArgs,
        model: &ModelArgs,
        clips: &ClipArgs,
        settings: impl FnOnce(TaggerBuilder) -> TaggerBuilder,
    ) -> Result<Job<'a>, Failed> {
        let stdin = files.paths.iter().filter(|path| is_stdin(path)).count();
        if stdin > 1 {
            return Err(Failed {
                message: "standard input can be read once: give one `-`".into(),
                code: USAGE,
            });
        }
        let cancel = CancelToken::new();
        stop_on_interrupt(cancel.clone());
        let batch = usize::from(files.batch);
        let builder = Tagger::builder()
            .model(&model.model)
            .reading(model.reading.into())
            .precision(model.precision.into())
            .coupled_batch(model.upstream_batch.into())
            .locator(model.weights.locator())
            .device(model.device.device.clone())
            .max_batch(if clips.are_many() { batch } else { batch.min(files.paths.len()) })
            .decoder(if files.original_decoder { DecoderMode::Original } else { DecoderMode::Plain })
            .cancel_token(cancel.clone());
        let clip = models::find(&model.model).map_err(Error::from)?.architecture.clip();
        let tagger = settings(clips.apply(builder, clip)?).build()?;
        if !files.quiet {
            tagger.notes().iter().for_each(|note| eprintln!("tagwave: {note}"));
        }
        Ok(Job { files, per_clip: clips.per_clip, tagger, cancel })
    }

    /// The tagger.
    pub(super) fn tagger(&self) -> &Tagger {
        &self.tagger
    }

    /// Writes a row for each file and finishes the sink, unless interrupted.
    pub(super) fn run(&self, sink: &mut dyn Sink, wanted: &Wanted) -> Result<u8, Failed> {
        let paths = &self.files.paths;
        let bar = progress_bar(paths.len(), self.files.quiet);
        let mut outcome = Ok(0);
        let mut written = 0;
        self.tagger.tag_each(paths.iter().map(|path| source(path)), |index, result| {
            if outcome.is_err() {
                return;
            }
            let row = self.row(&paths[index], result, wanted);
            if row.outcome.is_err() {
                outcome = Ok(SOME_FAILED);
            }
            // The bar and the rows may share a terminal.
            let result = bar.suspend(|| {
                if !sink.has_messages() {
                    self.say_messages(&row);
                }
                sink.row(&row)
            });
            match result {
                Ok(()) => written += 1,
                Err(error) => {
                    outcome = Err(error);
                    self.cancel.cancel();
                }
            }
            bar.inc(1);
        });
        bar.finish_and_clear();
        let code = outcome.map_err(|error| write_failed(&error))?;
        if self.cancel.is_cancelled() {
            eprintln!("tagwave: interrupted after {written} of {} files", paths.len());
            return Ok(INTERRUPTED);
        }
        sink.finish().map_err(|error| write_failed(&error))?;
        Ok(code)
    }

    fn row(&self, path: &Path, result: Result<Track, Error>, wanted: &Wanted) -> Row {
        let tagger = &self.tagger;
        let outcome = match result {
            Ok(track) => Ok(Found {
                model: tagger.model().name.to_string(),
                reading: tagger.reading().as_str(),
                device: tagger.device_name().to_string(),
                clip_start_s: track.clips.first().map_or(0.0, |clip| clip.start_s),
                track_s: track.track_s,
                clip_count: track.clips.len(),
                values: wanted.of_track(tagger, &track),
                clips: match self.per_clip {
                    true => track.clips.iter().map(|clip| wanted.of_clip(tagger, clip)).collect(),
                    false => Vec::new(),
                },
                warnings: track.warnings,
            }),
            Err(error) => Err(Failure { kind: error.kind(), message: error.to_string() }),
        };
        Row { path: path.to_path_buf(), outcome }
    }

    /// What an array has no place for.
    fn say_messages(&self, row: &Row) {
        // A file name may hold anything, escape sequences for the terminal among it.
        let path = row.path.to_string_lossy().replace(char::is_control, "\u{fffd}");
        match &row.outcome {
            Ok(found) if !self.files.quiet => {
                found.warnings.iter().for_each(|warning| eprintln!("tagwave: {path}: warning: {warning}"));
            }
            Ok(_) => {}
            Err(failure) => eprintln!("tagwave: {path}: {}", failure.message),
        }
    }
}

fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

fn source(path: &Path) -> Source {
    if is_stdin(path) { Source::reader(io::stdin()) } else { Source::path(path) }
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
