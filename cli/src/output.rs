//! Output arguments: standard output, a journaled file, a folder of parts, or one array file.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};

use super::terminal::{self, TerminalStyle};
use super::walk::has_audio_name;
use super::{CliError, SOME_FAILED};
use tagwave::sinks::{
    CompletedSet, DEFAULT_FORMAT, FORMATS, Format, JournaledFile, Layout, LineFormat, PartitionedDir, Sink,
    WholeFormat, format_of, parts_of,
};

/// Output arguments.
#[derive(Debug, Args)]
pub(super) struct OutputArgs {
    /// Output file instead of standard output, or folder of parts. Rows are appended as they are computed, with a journal
    /// next to the file (FILE.journal)
    #[arg(long, short, value_name = "FILE")]
    pub(super) output: Option<PathBuf>,

    /// Continue an interrupted run: skip files that are done and have not changed since
    #[arg(long, requires = "output")]
    resume: bool,

    /// Replace the output of an earlier run
    #[arg(long, requires = "output", conflicts_with = "resume")]
    overwrite: bool,
}

/// Kind of output.
#[derive(Clone, Copy, Debug)]
pub(super) enum OutputKind {
    Lines(LineFormat),
    /// One file, written at the end.
    Whole(WholeFormat),
    Parts(WholeFormat),
}

/// A sink, and the files that are already done.
pub(super) struct Output {
    pub(super) sink: Box<dyn Sink>,
    pub(super) done: CompletedSet,
}

impl OutputArgs {
    /// Kind of output for a format; without one, for the format of the file's extension, else for the format of
    /// terminals, else for JSON Lines. `holds` tells which formats the command can write.
    pub(super) fn kind(&self, format: Option<&'static Format>, holds: fn(&Format) -> bool) -> OutputKind {
        let of_file = self.output.as_deref().and_then(format_of).filter(|format| holds(format));
        let is_shown = self.output.is_none() && io::stdout().is_terminal();
        let shown = FORMATS.into_iter().find(|format| is_shown && holds(format) && format.is_for_people());
        let format = format.or(of_file).or(shown).unwrap_or(DEFAULT_FORMAT);
        match format.layout {
            Layout::Lines(lines) => OutputKind::Lines(lines),
            Layout::Whole(whole) if self.output.is_some() && of_file != Some(format) => {
                OutputKind::Parts(whole)
            }
            Layout::Whole(whole) => OutputKind::Whole(whole),
        }
    }

    /// Names the place of errors that standard error does not show.
    pub(super) fn explain_failures(&self, code: u8, sink: &dyn Sink, is_quiet: bool) {
        let is_silent = code != SOME_FAILED || is_quiet || !sink.has_messages();
        if let Some(path) = self.output.as_ref().filter(|_| !is_silent) {
            say!("tagwave: the rows of files that failed have the reason: {}", path.display());
        }
    }

    /// Opens the output.
    pub(super) fn open(&self, kind: OutputKind) -> Result<Output, CliError> {
        let unwritable =
            |error| CliError { message: format!("cannot write the results: {error}"), code: SOME_FAILED };
        let Some(path) = &self.output else {
            return match kind {
                OutputKind::Lines(format) if io::stdout().is_terminal() => {
                    let style = TerminalStyle::of_stdout();
                    let sink = terminal::sink(format.name(), io::stdout().lock(), style);
                    let sink = sink.unwrap_or_else(|| format.sink(io::stdout().lock()));
                    Ok(Output { sink, done: CompletedSet::default() })
                }
                OutputKind::Lines(format) => {
                    Ok(Output { sink: format.sink(io::stdout().lock()), done: CompletedSet::default() })
                }
                _ => Err(CliError::usage("this format needs an output file or folder: add -o FILE")),
            };
        };
        if has_audio_name(path) && !path.is_dir() {
            let message =
                format!("-o {}: the name of an audio file, expected one for results", path.display());
            return Err(CliError::usage(message));
        }
        if let OutputKind::Whole(part) | OutputKind::Parts(part) = kind {
            part.check_built().map_err(|error| CliError::usage(error.to_string()))?;
        }
        if self.has_rows(kind, path).map_err(unwritable)? && !self.resume && !self.overwrite {
            let path = path.display();
            return Err(CliError::usage(match kind {
                OutputKind::Whole(_) => format!("{path} already exists: use --overwrite to replace it"),
                _ => {
                    format!("{path} already has rows: use --resume to continue or --overwrite to replace it")
                }
            }));
        }
        let fresh = |sink| Output { sink, done: CompletedSet::default() };
        let opened = match kind {
            // A pipe or device cannot be resumed.
            OutputKind::Lines(format) if is_device(path) => {
                std::fs::OpenOptions::new().write(true).open(path).map(|file| fresh(format.sink(file)))
            }
            OutputKind::Lines(format) if self.resume => {
                JournaledFile::resume(format, path).map(|(sink, done)| Output { sink: Box::new(sink), done })
            }
            OutputKind::Lines(format) => {
                JournaledFile::create(format, path).map(|sink| fresh(Box::new(sink)))
            }
            OutputKind::Whole(part) if self.resume => {
                let format = part.extension();
                let message = format!(
                    "--resume is not supported for a single {format} file: use a folder, -o FOLDER --format {format}"
                );
                return Err(CliError::usage(message));
            }
            OutputKind::Whole(part) => part.create(path).map(fresh),
            OutputKind::Parts(parts) if self.overwrite => {
                PartitionedDir::create(parts, path).map(|sink| fresh(Box::new(sink)))
            }
            OutputKind::Parts(parts) => {
                PartitionedDir::open(parts, path).map(|(sink, done)| Output { sink: Box::new(sink), done })
            }
        };
        opened.map_err(|error| {
            // An output that cannot be continued.
            let is_refused = error.kind() == io::ErrorKind::Unsupported;
            let mut error = unwritable(error);
            if is_refused {
                error.message += "; choose another output, or replace it with --overwrite";
            }
            error
        })
    }

    /// True if the output has rows of an earlier run.
    fn has_rows(&self, kind: OutputKind, path: &Path) -> io::Result<bool> {
        match kind {
            OutputKind::Lines(_) | OutputKind::Whole(_) => {
                Ok(path.metadata().is_ok_and(|found| found.is_file() && found.len() > 0))
            }
            OutputKind::Parts(parts) => Ok(path.is_dir() && !parts_of(path, parts)?.is_empty()),
        }
    }
}

/// True for pipes and devices. Those of Windows have reserved names, and some have no metadata.
fn is_device(path: &Path) -> bool {
    let is_reserved = path.as_os_str().eq_ignore_ascii_case("nul")
        || path.as_os_str().as_encoded_bytes().starts_with(br"\\.\");
    (cfg!(windows) && is_reserved) || (path.exists() && !path.is_file() && !path.is_dir())
}

/// Parser of the name of a format that a command can write.
pub(super) fn format_parser(holds: fn(&Format) -> bool) -> impl TypedValueParser<Value = &'static Format> {
    let formats = FORMATS.into_iter().filter(move |format| holds(format));
    let names = formats.map(|format| PossibleValue::new(format.name()).help(format.title));
    let find =
        |name: String| FORMATS.into_iter().find(|format| format.name() == name).ok_or("unknown format");
    PossibleValuesParser::new(names).try_map(find)
}
