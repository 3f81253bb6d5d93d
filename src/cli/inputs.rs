//! Which files a command reads, and how.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use clap::Args;

use super::walk::{Entry, Filter, LeftOut, Root, Shard, files};
use super::{Failed, USAGE};
use crate::audio::{Access, DecoderMode, Foreign, Source};
use crate::sinks::{Done, Key};
use crate::tagger::TaggerBuilder;

/// The files, and how they are read.
#[derive(Debug, Args)]
pub(super) struct FileArgs {
    /// Audio files, and folders with all audio in them; `-` reads one file from standard input
    #[arg(required_unless_present = "files_from", value_name = "PATH")]
    paths: Vec<PathBuf>,

    /// File with more paths, one a line, or each ended by a NUL byte, or a playlist (.m3u, .m3u8: paths relative to
    /// it, file: addresses); `-` reads the list from standard input
    #[arg(long, value_name = "LIST")]
    files_from: Option<PathBuf>,

    /// Take part I of N of the files, I from 0: each path belongs to one part, whatever else is in the list
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,

    /// Hidden files of folders too
    #[arg(long)]
    hidden: bool,

    /// Video files of folders too (.mkv, .mov, .avi, ...): their first audio track
    #[arg(long)]
    video: bool,

    /// Files of folders too that .gitignore and .ignore files name
    #[arg(long)]
    no_ignore: bool,

    /// Most clips of one batch; `auto` is what suits the device: 8 on a processor, up to 64 on a GPU
    #[arg(long, value_name = "N", default_value = "auto")]
    pub(super) batch: Batch,

    /// Threads that decode [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    decode_threads: Option<u16>,

    /// Decode as the original's MP3 decoder did (16-bit samples, 529 samples late), to reproduce its figures
    #[arg(long)]
    original_decoder: bool,

    /// Decode each file from its start instead of passing over what lies before the clip
    #[arg(long)]
    no_seek: bool,

    /// Leave formats that are not read here (Opus, WMA, ...) to no ffmpeg: they are errors
    #[arg(long)]
    no_ffmpeg: bool,
}

/// Clips of a batch; `None` for what suits the device.
#[derive(Clone, Copy, Debug)]
pub(super) struct Batch(Option<u16>);

impl FromStr for Batch {
    type Err = &'static str;

    fn from_str(word: &str) -> Result<Batch, &'static str> {
        match (word, word.parse()) {
            ("auto", _) => Ok(Batch(None)),
            (_, Ok(clips)) if clips > 0 => Ok(Batch(Some(clips))),
            _ => Err("expected auto, or a number from 1 to 65535"),
        }
    }
}

impl From<Batch> for usize {
    /// Clips to tune kernels for.
    fn from(Batch(clips): Batch) -> usize {
        clips.map_or(8, usize::from)
    }
}

impl FileArgs {
    /// Refuses what cannot be read.
    pub(super) fn check(&self) -> Result<(), Failed> {
        let list = self.files_from.as_deref().is_some_and(is_stdin);
        if self.paths.iter().filter(|path| is_stdin(path)).count() + usize::from(list) > 1 {
            let message = "standard input can be read once: give one `-`".into();
            return Err(Failed { message, code: USAGE });
        }
        Ok(())
    }

    /// Number of files where nothing but files is named.
    fn plain_files(&self) -> Option<usize> {
        let plain = self.files_from.is_none() && self.shard.is_none();
        (plain && !self.paths.iter().any(|path| path.is_dir())).then_some(self.paths.len())
    }

    /// Whether there may be more than one file.
    pub(super) fn are_many(&self) -> bool {
        self.plain_files() != Some(1)
    }

    /// Whether only lists were named: an empty one is nobody's mistake.
    pub(super) fn may_be_none(&self) -> bool {
        self.paths.is_empty() || self.shard.is_some()
    }

    /// These settings; `many_clips` when a file may have more than one.
    pub(super) fn apply(&self, builder: TaggerBuilder, many_clips: bool) -> TaggerBuilder {
        let Batch(batch) = self.batch;
        let files = if many_clips { None } else { self.plain_files() };
        // One file is one clip: a larger batch than there are clips only takes memory.
        let most = match (batch.map(usize::from), files) {
            (Some(clips), Some(files)) => Some(clips.min(files)),
            (None, Some(files)) if files <= 8 => Some(files),
            (clips, _) => clips,
        };
        let builder = most.into_iter().fold(builder, TaggerBuilder::max_batch);
        let builder = builder
            .decoder(if self.original_decoder { DecoderMode::Original } else { DecoderMode::Plain })
            .access(if self.no_seek { Access::Through } else { Access::Seek })
            .foreign(if self.no_ffmpeg { Foreign::Refuse } else { Foreign::Ffmpeg });
        match self.decode_threads {
            Some(threads) => builder.decode_threads(threads.into()),
            None => builder,
        }
    }

    /// What of these settings a row depends on.
    pub(super) fn settings(&self) -> String {
        format!("original={} seek={} ffmpeg={}", self.original_decoder, !self.no_seek, !self.no_ffmpeg)
    }

    fn roots(&self) -> Vec<Root> {
        let paths = self.paths.iter().cloned().map(Root::Path);
        paths.chain(self.files_from.clone().map(Root::List)).collect()
    }

    /// Every file, one by one; what folders hold besides is counted.
    pub(super) fn entries(&self, left_out: &Arc<LeftOut>) -> impl Iterator<Item = Entry> + Send + use<> {
        let filter = Filter { hidden: self.hidden, ignored: self.no_ignore, video: self.video };
        files(self.roots(), filter, self.shard, left_out)
    }

    /// Number of files, counted on a thread of its own; `usize::MAX` until it is known.
    pub(super) fn count(&self) -> Arc<AtomicUsize> {
        let total = Arc::new(AtomicUsize::new(self.plain_files().unwrap_or(usize::MAX)));
        let once = self.files_from.as_deref().is_none_or(|list| !is_stdin(list));
        if once && self.plain_files().is_none() {
            let (entries, total) = (self.entries(&Arc::default()), total.clone());
            std::thread::spawn(move || total.store(entries.count(), Ordering::Relaxed));
        }
        total
    }
}

/// A file that was handed to the tagger.
#[derive(Debug)]
pub(super) struct Input {
    pub(super) path: PathBuf,
    pub(super) key: Option<Key>,
}

/// Files on their way: those that are done are left out, the others wait here for their result. Clones share
/// what waits.
#[derive(Clone, Default)]
pub(super) struct Underway {
    waiting: Arc<Mutex<VecDeque<(usize, Input)>>>,
    skipped: Arc<AtomicUsize>,
}

impl Underway {
    /// The sources of `entries`; `settings` are part of what a file is known by.
    pub(super) fn sources(
        &self,
        entries: impl Iterator<Item = Entry> + Send,
        settings: String,
        mut done: Done,
    ) -> impl Iterator<Item = Source> + Send {
        let underway = self.clone();
        let mut count = 0;
        entries.filter_map(move |Entry { path, error }| {
            let stdin = is_stdin(&path);
            let key = (!stdin).then(|| key(&settings, &path));
            if key.as_ref().is_some_and(|key| done.take(key)) {
                underway.skipped.fetch_add(1, Ordering::Relaxed);
                return None;
            }
            let source = match error {
                Some(error) => Source::missing(error),
                None if stdin => Source::reader(io::stdin()),
                None => Source::path(&path),
            };
            underway.lock().push_back((count, Input { path, key }));
            count += 1;
            Some(source)
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<(usize, Input)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file that source `index` is of. Indices come in order, though some may be left out.
    pub(super) fn take(&self, index: usize) -> Option<Input> {
        let mut waiting = self.lock();
        while let Some((next, input)) = waiting.pop_front() {
            if next == index {
                return Some(input);
            }
        }
        None
    }

    /// Files that were done before.
    pub(super) fn skipped(&self) -> usize {
        self.skipped.load(Ordering::Relaxed)
    }
}

/// What a file is known by: a file that changes is another one.
fn key(settings: &str, path: &Path) -> Key {
    let found = std::fs::metadata(path).ok();
    let modified = found.as_ref().and_then(|found| found.modified().ok()).map_or(0, |time| {
        match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => since.as_nanos() as i128,
            Err(before) => -(before.duration().as_nanos() as i128),
        }
    });
    Key::new(settings, path, found.map_or(u64::MAX, |found| found.len()), modified)
}

fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}
