//! Input arguments, and the files being processed.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use clap::Args;

use super::entry::FileEntry;
use super::walk::{Filter, LeftOut, Root, Shard, files};
use super::{CliError, USAGE};
use tagwave::audio::{DecoderMode, ExternalDecoder, SeekMode, Source};
use tagwave::sinks::{CompletedSet, JournalKey};
use tagwave::tagger::TaggerBuilder;

/// Input arguments.
#[derive(Debug, Args)]
pub(super) struct FileArgs {
    /// Audio files and folders; `-` reads one file from standard input
    #[arg(required_unless_present = "files_from", value_name = "PATH")]
    paths: Vec<PathBuf>,

    /// File with more paths, one per line or each ended by a NUL byte, or a playlist (.m3u, .m3u8: paths relative to it,
    /// file: URLs); `-` reads the list from standard input
    #[arg(long, value_name = "LIST")]
    files_from: Option<PathBuf>,

    /// Process shard I of N, I from 0; the shard of a file depends on its path only
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,

    /// Include hidden files of folders
    #[arg(long)]
    hidden: bool,

    /// Include video files of folders (.mkv, .mov, .avi, ...): their first audio track
    #[arg(long)]
    video: bool,

    /// Include files that .gitignore and .ignore exclude
    #[arg(long)]
    no_ignore: bool,

    /// Maximum number of clips per batch; `auto` depends on the device: 8 on a CPU, up to 64 on a GPU
    #[arg(long, value_name = "N", default_value = "auto")]
    pub(super) batch: BatchArg,

    /// Number of decoder threads [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    decode_threads: Option<u16>,

    /// Decode like the original's MP3 decoder (16-bit samples, delayed by 529 samples), to reproduce its figures
    #[arg(long)]
    original_decoder: bool,

    /// Decode each file from its start instead of seeking to the clip
    #[arg(long)]
    no_seek: bool,

    /// Do not use ffmpeg for formats without a built-in decoder (Opus, WMA, ...): they are errors
    #[arg(long)]
    no_ffmpeg: bool,
}

/// Maximum number of clips per batch; `None` for a default that depends on the device.
#[derive(Clone, Copy, Debug)]
pub(super) struct BatchArg(Option<u16>);

impl FromStr for BatchArg {
    type Err = &'static str;

    fn from_str(word: &str) -> Result<BatchArg, &'static str> {
        match (word, word.parse()) {
            ("auto", _) => Ok(BatchArg(None)),
            (_, Ok(clips)) if clips > 0 => Ok(BatchArg(Some(clips))),
            _ => Err("expected auto, or a number from 1 to 65535"),
        }
    }
}

impl From<BatchArg> for usize {
    /// Batch size to tune kernels for.
    fn from(BatchArg(clips): BatchArg) -> usize {
        clips.map_or(8, usize::from)
    }
}

impl FileArgs {
    /// Default settings for paths.
    pub(super) fn of_paths(paths: &[PathBuf]) -> FileArgs {
        FileArgs {
            paths: paths.to_vec(),
            files_from: None,
            shard: None,
            hidden: false,
            video: false,
            no_ignore: false,
            batch: BatchArg(None),
            decode_threads: None,
            original_decoder: false,
            no_seek: false,
            no_ffmpeg: false,
        }
    }

    /// Checks that standard input is used once.
    pub(super) fn check(&self) -> Result<(), CliError> {
        let list = self.files_from.as_deref().is_some_and(is_stdin);
        if self.paths.iter().filter(|path| is_stdin(path)).count() + usize::from(list) > 1 {
            let message = "standard input can be read only once: use one `-`".into();
            return Err(CliError { message, code: USAGE });
        }
        Ok(())
    }

    /// Paths given directly, without those of lists.
    pub(super) fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    /// Number of files, if the arguments are only files.
    fn plain_files(&self) -> Option<usize> {
        let plain = self.files_from.is_none() && self.shard.is_none();
        (plain && !self.paths.iter().any(|path| path.is_dir())).then_some(self.paths.len())
    }

    /// True if there may be more than one file.
    pub(super) fn are_many(&self) -> bool {
        self.plain_files() != Some(1)
    }

    /// True if no files is a valid result: an empty list or shard.
    pub(super) fn may_be_none(&self) -> bool {
        self.paths.is_empty() || self.shard.is_some()
    }

    /// Applies these settings; `many_clips` if a file may have more than one clip.
    pub(super) fn apply(&self, builder: TaggerBuilder, many_clips: bool) -> TaggerBuilder {
        let BatchArg(batch) = self.batch;
        let files = if many_clips { None } else { self.plain_files() };
        // One clip per file: a batch larger than the number of files would waste memory.
        let most = match (batch.map(usize::from), files) {
            (Some(clips), Some(files)) => Some(clips.min(files)),
            (None, Some(files)) if files <= 8 => Some(files),
            (clips, _) => clips,
        };
        let builder = most.into_iter().fold(builder, TaggerBuilder::max_batch);
        let builder = builder
            .decoder(if self.original_decoder { DecoderMode::Original } else { DecoderMode::Plain })
            .seek_mode(if self.no_seek { SeekMode::DecodeAll } else { SeekMode::Seek })
            .external_decoder(if self.no_ffmpeg {
                ExternalDecoder::Disabled
            } else {
                ExternalDecoder::Ffmpeg
            });
        match self.decode_threads {
            Some(threads) => builder.decode_threads(threads.into()),
            None => builder,
        }
    }

    /// Settings that rows depend on, for the journal.
    pub(super) fn settings(&self) -> String {
        format!("original={} seek={} ffmpeg={}", self.original_decoder, !self.no_seek, !self.no_ffmpeg)
    }

    fn roots(&self) -> Vec<Root> {
        let paths = self.paths.iter().cloned().map(Root::Path);
        paths.chain(self.files_from.clone().map(Root::List)).collect()
    }

    /// Iterator over all files; files that are left out are counted in `left_out`.
    pub(super) fn entries(&self, left_out: &Arc<LeftOut>) -> impl Iterator<Item = FileEntry> + Send + use<> {
        let filter = Filter { hidden: self.hidden, ignored: self.no_ignore, video: self.video };
        files(self.roots(), filter, self.shard, left_out)
    }

    /// Number of files, counted on a separate thread; `usize::MAX` until it is known.
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

/// File that was passed to the tagger.
#[derive(Debug)]
pub(super) struct PendingInput {
    pub(super) path: PathBuf,
    pub(super) key: Option<JournalKey>,
}

/// Files in processing, which wait here for their result; files that are already done are skipped. Clones share the
/// state.
#[derive(Clone, Default)]
pub(super) struct PendingInputs {
    waiting: Arc<Mutex<VecDeque<(usize, PendingInput)>>>,
    skipped: Arc<AtomicUsize>,
}

impl PendingInputs {
    /// Iterator over the sources of `entries` that are not done; `settings` is part of the journal key.
    pub(super) fn sources(
        &self,
        entries: impl Iterator<Item = FileEntry> + Send,
        settings: String,
        mut done: CompletedSet,
    ) -> impl Iterator<Item = Source> + Send {
        let pending = self.clone();
        let mut count = 0;
        entries.filter_map(move |FileEntry { path, error }| {
            let stdin = is_stdin(&path);
            let key = (!stdin).then(|| key(&settings, &path));
            if key.as_ref().is_some_and(|key| done.take(key)) {
                pending.skipped.fetch_add(1, Ordering::Relaxed);
                return None;
            }
            let source = match error {
                Some(error) => Source::missing(error),
                None if stdin => Source::reader(io::stdin()),
                None => Source::path(&path),
            };
            pending.lock().push_back((count, PendingInput { path, key }));
            count += 1;
            Some(source)
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<(usize, PendingInput)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the file of source `index`. Indices must be ascending and may have gaps.
    pub(super) fn take(&self, index: usize) -> Option<PendingInput> {
        let mut waiting = self.lock();
        while let Some((next, input)) = waiting.pop_front() {
            if next == index {
                return Some(input);
            }
        }
        None
    }

    /// Number of files that were already done.
    pub(super) fn skipped(&self) -> usize {
        self.skipped.load(Ordering::Relaxed)
    }
}

/// Modification time of a file in nanoseconds since 1970; 0 if it is unknown.
pub(super) fn modified_ns(found: &std::fs::Metadata) -> i64 {
    let nanoseconds = |time: std::time::Duration| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
    found.modified().map_or(0, |time| match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => nanoseconds(since),
        Err(before) => -nanoseconds(before.duration()),
    })
}

/// Journal key of a file: settings, path, size and modification time.
fn key(settings: &str, path: &Path) -> JournalKey {
    let found = std::fs::metadata(path).ok();
    let modified = found.as_ref().map_or(0, |found| modified_ns(found).into());
    JournalKey::new(settings, path, found.map_or(u64::MAX, |found| found.len()), modified)
}

fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}
