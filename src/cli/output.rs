//! Where rows go: standard output, a file that grows, a folder of parts, or one array.

use std::io;
use std::path::{Path, PathBuf};

use clap::Args;

use super::{Failed, SOME_FAILED, USAGE};
use crate::sinks::{Appended, Done, Format, PartKind, Parts, Sink, parts_of};

/// Where rows go.
#[derive(Debug, Args)]
pub(super) struct OutputArgs {
    /// File to write instead of standard output, or folder for parts. Rows are added to it as they come, with a
    /// journal beside it (FILE.journal)
    #[arg(long, short, value_name = "FILE")]
    pub(super) output: Option<PathBuf>,

    /// Go on with an interrupted run: files that are done, and have not changed since, are left out
    #[arg(long, requires = "output")]
    resume: bool,

    /// Replace what an earlier run wrote
    #[arg(long, requires = "output", conflicts_with = "resume")]
    overwrite: bool,
}

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    Lines(Format),
    /// One file that appears at the end.
    Whole(PartKind),
    Parts(PartKind),
}

/// A sink, and what need not be done again.
pub(super) struct Output {
    pub(super) sink: Box<dyn Sink>,
    pub(super) done: Done,
}

impl OutputArgs {
    /// The ending of the file that was named, in lower case.
    pub(super) fn ending(&self) -> Option<String> {
        let ending = self.output.as_deref().and_then(Path::extension).and_then(|ending| ending.to_str());
        ending.map(str::to_ascii_lowercase)
    }

    /// Parts in a folder, or one file where the name that was given ends like one.
    pub(super) fn whole_or_parts(&self, part: PartKind) -> Kind {
        match &self.output {
            Some(_) if self.ending().as_deref() != Some(part.ending()) => Kind::Parts(part),
            _ => Kind::Whole(part),
        }
    }

    /// Opens it.
    pub(super) fn open(&self, kind: Kind) -> Result<Output, Failed> {
        let unwritable =
            |error| Failed { message: format!("cannot write the results: {error}"), code: SOME_FAILED };
        let Some(path) = &self.output else {
            return match kind {
                Kind::Lines(format) => {
                    Ok(Output { sink: format.sink(io::stdout().lock()), done: Done::default() })
                }
                _ => Err(usage("this format needs a file or folder: give one with -o")),
            };
        };
        if let Kind::Whole(part) | Kind::Parts(part) = kind {
            part.supported().map_err(|error| usage(&error.to_string()))?;
        }
        if self.has_rows(kind, path).map_err(unwritable)? && !self.resume && !self.overwrite {
            let path = path.display();
            return Err(usage(&format!(
                "{path} has rows: --resume goes on with it, --overwrite replaces it"
            )));
        }
        let fresh = |sink| Output { sink, done: Done::default() };
        let opened = match kind {
            // A pipe or device cannot be gone on with.
            Kind::Lines(format) if path.exists() && !path.is_file() && !path.is_dir() => {
                std::fs::OpenOptions::new().write(true).open(path).map(|file| fresh(format.sink(file)))
            }
            Kind::Lines(format) if self.resume => {
                Appended::resume(format, path).map(|(sink, done)| Output { sink: Box::new(sink), done })
            }
            Kind::Lines(format) => Appended::create(format, path).map(|sink| fresh(Box::new(sink))),
            Kind::Whole(part) if self.resume => {
                let format = part.ending();
                let message =
                    format!("one file cannot be gone on with: name a folder with -o, --format {format}");
                return Err(usage(&message));
            }
            Kind::Whole(part) => part.create(path).map(fresh),
            Kind::Parts(parts) => {
                let cleared =
                    if self.overwrite && path.is_dir() { Parts::clear(parts, path) } else { Ok(()) };
                cleared
                    .and_then(|()| Parts::open(parts, path))
                    .map(|(sink, done)| Output { sink: Box::new(sink), done })
            }
        };
        opened.map_err(unwritable)
    }

    /// Whether an earlier run left something that must not be lost by mistake.
    fn has_rows(&self, kind: Kind, path: &Path) -> io::Result<bool> {
        match kind {
            Kind::Lines(_) => Ok(path.metadata().is_ok_and(|found| found.is_file() && found.len() > 0)),
            Kind::Whole(_) => Ok(false),
            Kind::Parts(parts) => Ok(path.is_dir() && !parts_of(path, parts)?.is_empty()),
        }
    }
}

fn usage(message: &str) -> Failed {
    Failed { message: message.into(), code: USAGE }
}
