//! Interface of output formats.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::Sink;
use super::lock::{Locked, OutputLock};
use super::merge::Merged;
use super::read::Read;

/// Output format.
#[derive(Debug)]
pub struct Format {
    /// Description in one line.
    pub title: &'static str,
    /// True if rows can hold tags.
    pub holds_tags: bool,
    /// True if rows can hold features.
    pub holds_features: bool,
    /// Way of writing.
    pub layout: Layout,
    /// Joins files; `None` for a format for people, which terminals show by default.
    pub merge: Option<Merge>,
    /// Reads rows back; `None` for a format for people.
    pub read: Option<Read>,
}

/// Joins the rows of files of one format in an output file; of several rows for the same subject the last one is kept.
pub type Merge = fn(&[PathBuf], &Path) -> io::Result<Merged>;

/// Way of writing a format.
#[derive(Clone, Copy, Debug)]
pub enum Layout {
    /// Rows are appended to a stream.
    Lines(LineFormat),
    /// A file is written as a whole, or as parts in a folder.
    Whole(WholeFormat),
}

/// Makes a sink on a writer.
type MakeSink = for<'a> fn(Box<dyn Write + 'a>) -> Box<dyn Sink + 'a>;

/// Format whose rows are appended to a stream.
#[derive(Clone, Copy, Debug)]
pub struct LineFormat {
    pub(super) name: &'static str,
    pub(super) sink: MakeSink,
    pub(super) continued: MakeSink,
}

/// Format of files that cannot be appended to.
#[derive(Clone, Copy, Debug)]
pub struct WholeFormat {
    pub(super) name: &'static str,
    /// Creates one file, visible when the sink is finished.
    pub(super) create: fn(&Path) -> io::Result<Box<dyn Sink>>,
    /// See [`Sink::has_messages`].
    pub(super) has_messages: bool,
    /// True if this build has the format.
    pub(super) is_built: bool,
}

impl Format {
    /// Name in options, and extension of files.
    pub fn name(&self) -> &'static str {
        match self.layout {
            Layout::Lines(lines) => lines.name,
            Layout::Whole(whole) => whole.name,
        }
    }

    /// True if rows are for people, who read them on a terminal; others are read back by programs.
    pub fn is_for_people(&self) -> bool {
        self.merge.is_none()
    }
}

impl PartialEq for Format {
    fn eq(&self, other: &Format) -> bool {
        self.name() == other.name()
    }
}

impl LineFormat {
    /// Name in options.
    pub fn name(self) -> &'static str {
        self.name
    }

    /// Makes a sink.
    pub fn sink<'a>(self, writer: impl Write + 'a) -> Box<dyn Sink + 'a> {
        (self.sink)(Box::new(writer))
    }

    /// Makes a sink that continues a file: without a header.
    pub fn continued<'a>(self, writer: impl Write + 'a) -> Box<dyn Sink + 'a> {
        (self.continued)(Box::new(writer))
    }
}

impl WholeFormat {
    /// Extension of files.
    pub fn extension(self) -> &'static str {
        self.name
    }

    /// Creates one file at `path`, locked until the sink is dropped.
    ///
    /// # Errors
    /// As [`AtomicFile::create`](super::AtomicFile::create); another process is writing the file; `Unsupported` if the
    /// program was built without the format.
    pub fn create(self, path: &Path) -> io::Result<Box<dyn Sink>> {
        let sink = self.unlocked(path)?;
        Ok(Box::new(Locked { sink, _lock: OutputLock::beside(path)? }))
    }

    /// Creates one file in a folder that is locked.
    pub(super) fn unlocked(self, path: &Path) -> io::Result<Box<dyn Sink>> {
        self.check_built()?;
        (self.create)(path)
    }

    /// Checks that the program was built with this format.
    ///
    /// # Errors
    /// `Unsupported` if it was not.
    pub fn check_built(self) -> io::Result<()> {
        if self.is_built {
            return Ok(());
        }
        let name = self.name;
        let message = format!("built without {name} support: rebuild with --features {name}");
        Err(io::Error::new(io::ErrorKind::Unsupported, message))
    }
}
