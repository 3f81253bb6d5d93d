//! `tagwave index`: embeddings and scores of a music library, kept up to date.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use lofty::file::TaggedFileExt;
use lofty::tag::Accessor;
use sha2::{Digest, Sha256};

use super::{IndexArgs, located, path_of_track, text_of};
use crate::clips::ClipArgs;
use crate::error::guarded;
use crate::inputs::{FileArgs, modified_ns};
use crate::job::Job;
use crate::progress::ProgressArgs;
use crate::walk::LeftOut;
use crate::{CliError, INTERRUPTED, ModelArgs, SOME_FAILED, counted};
use tagwave::search::{IndexInfo, IndexLock, IndexedTrack, SearchError, TrackIndex};
use tagwave::tagger::{Tagger, Track};

/// Number of new tracks after which the index is written, so that an interruption loses little.
const SAVE_EVERY: usize = 2000;
/// Size of each part of a file whose digest recognises it, in bytes.
const PART_BYTES: u64 = 64 << 10;

/// Arguments of `tagwave index`.
#[derive(Debug, Args)]
#[command(
    after_help = "Only new and changed files are read, by path, size and time; moved and copied ones are recognised by \
                        their contents. Tracks of these folders that are gone leave the index, those of other folders \
                        stay. docs/library.md describes the files of an index."
)]
pub(crate) struct IndexCommandArgs {
    #[command(flatten)]
    files: FileArgs,

    #[command(flatten)]
    index: IndexArgs,

    /// Begin anew, for another model
    #[arg(long)]
    rebuild: bool,

    #[command(flatten)]
    model: ModelArgs,

    #[command(flatten)]
    clips: ClipArgs,

    #[command(flatten)]
    progress: ProgressArgs,
}

/// Updates the index.
pub(crate) fn index(args: &IndexCommandArgs) -> Result<u8, CliError> {
    let folder = args.index.folder()?;
    let lock = TrackIndex::lock(&folder)?;
    let job = Job::new(&args.files, &args.progress, &args.model, &args.clips, |builder| builder)?
        .summarize_warnings();
    let info = info_of(job.tagger());
    let old = if args.rebuild { None } else { earlier(&folder)? };
    if let Some((index, _)) = old.as_ref().filter(|(index, _)| *index.info() != info) {
        let found = index.info();
        return Err(CliError::usage(format!(
            "{}: the index is of the model {} ({}): choose it with --model, or begin anew with --rebuild",
            folder.display(),
            found.model,
            found.compat
        )));
    }
    let mut update = Update { folder, lock, info, rows: IndexRows::default(), unsaved: 0, error: None };
    let (new, mut counts, has_errors) = update.sort(old, &args.files);
    let names: HashMap<PathBuf, IndexedTrack> = new.into_iter().collect();
    let mut paths: Vec<PathBuf> = names.keys().cloned().collect();
    paths.sort();
    let result = job.each_track(paths, &mut |path, track| {
        if let Some(known) = names.get(path) {
            counts.new += 1;
            update.add(described(known.clone(), path, track), track);
        }
        update.error.is_none()
    });
    if let Some(error) = update.error.take() {
        return Err(error.into());
    }
    let code = result?;
    update.save()?;
    if code == INTERRUPTED {
        say!("tagwave: run the command again to add the other files");
    }
    if !args.progress.quiet {
        let UpdateCounts { new, same, moved, gone } = counts;
        say!(
            "tagwave: {}: {}, {new} new or changed, {same} as before, {moved} moved or copied, {gone} gone",
            update.folder.display(),
            counted(update.rows.tracks.len(), "track")
        );
    }
    let UpdateCounts { new, same, moved, gone } = counts;
    if new + same + moved + gone == 0 && code == 0 {
        return Err(CliError { message: "no audio files found".into(), code: SOME_FAILED });
    }
    Ok(if has_errors && code == 0 { SOME_FAILED } else { code })
}

/// Model and labels of a tagger.
pub(super) fn info_of(tagger: &Tagger) -> IndexInfo {
    IndexInfo::new(
        tagger.model().name(),
        tagger.compat().as_str(),
        tagger.weights_digest(),
        tagger.labels(),
        tagger.embedding_len(),
    )
}

/// The index so far and its embeddings, if there is one.
fn earlier(folder: &Path) -> Result<Option<(TrackIndex, Vec<f32>)>, CliError> {
    match TrackIndex::load(folder) {
        Err(SearchError::Missing { .. }) => Ok(None),
        Err(error) => Err(error.into()),
        Ok(index) => {
            let embeddings = index.load_embeddings(folder)?;
            Ok(Some((index, embeddings)))
        }
    }
}

/// IndexRows of the new state.
#[derive(Default)]
struct IndexRows {
    tracks: Vec<IndexedTrack>,
    embeddings: Vec<f32>,
    scores: Vec<f32>,
}

#[derive(Default)]
struct UpdateCounts {
    new: usize,
    same: usize,
    moved: usize,
    gone: usize,
}

/// Place of a file in the earlier state.
enum Place {
    /// The file is as it was.
    Same(usize),
    /// The same contents by another name, or with another time.
    Moved(usize),
    None,
}

/// Rows of the earlier state by path and by contents.
#[derive(Default)]
struct Known<'a> {
    tracks: &'a [IndexedTrack],
    by_path: HashMap<&'a str, usize>,
    by_content: HashMap<&'a str, usize>,
}

impl<'a> Known<'a> {
    fn of(old: Option<&'a (TrackIndex, Vec<f32>)>) -> Known<'a> {
        let tracks = old.map_or(&[][..], |(index, _)| index.tracks());
        let rows = || tracks.iter().enumerate();
        Known {
            tracks,
            by_path: rows().map(|(row, track)| (&*track.path, row)).collect(),
            by_content: rows().map(|(row, track)| (&*track.content, row)).collect(),
        }
    }

    /// Describes a file and finds its place. Contents are read only of files that are new or have changed.
    fn place(&self, path: &Path) -> io::Result<(IndexedTrack, Place)> {
        let found = fs::metadata(path)?;
        let (size, modified_ns, text) = (found.len(), modified_ns(&found), text_of(path));
        if let Some(&row) = self.by_path.get(&*text) {
            let track = &self.tracks[row];
            if track.size == size && track.modified_ns == modified_ns {
                return Ok((track.clone(), Place::Same(row)));
            }
        }
        let track = IndexedTrack::new(text, size, modified_ns, content_of(path, size)?);
        let Some(&row) = self.by_content.get(&*track.content) else { return Ok((track, Place::None)) };
        let IndexedTrack { track_s, title, artist, .. } = self.tracks[row].clone();
        Ok((IndexedTrack { track_s, title, artist, ..track }, Place::Moved(row)))
    }
}

/// Update of an index.
struct Update {
    folder: PathBuf,
    lock: IndexLock,
    info: IndexInfo,
    rows: IndexRows,
    unsaved: usize,
    error: Option<SearchError>,
}

impl Update {
    /// Takes over what is known, and returns the files that must be tagged, and whether some could not be found.
    fn sort(
        &mut self,
        old: Option<(TrackIndex, Vec<f32>)>,
        files: &FileArgs,
    ) -> (Vec<(PathBuf, IndexedTrack)>, UpdateCounts, bool) {
        let (mut counts, mut new, mut seen) = (UpdateCounts::default(), Vec::new(), HashSet::new());
        let known = Known::of(old.as_ref());
        let mut has_errors = false;
        for entry in files.entries(&Arc::new(LeftOut::default())) {
            let path = located(&entry.path);
            let found = match entry.error {
                Some(error) => Err(error),
                None => known.place(&path),
            };
            let (track, place) = match found {
                Ok(found) => found,
                Err(error) => {
                    has_errors = true;
                    say!("tagwave: {}: {error}", path.display());
                    continue;
                }
            };
            if !seen.insert(track.path.clone()) {
                continue;
            }
            match (place, &old) {
                (Place::Same(row), Some(old)) => {
                    counts.same += 1;
                    self.take(old, row, track);
                }
                (Place::Moved(row), Some(old)) => {
                    counts.moved += 1;
                    self.take(old, row, track);
                }
                _ => new.push((path, track)),
            }
        }
        if let Some(old) = &old {
            counts.gone = self.keep_others(old, &seen, files, has_errors);
        }
        (new, counts, has_errors)
    }

    /// Takes over the tracks that were not seen, unless they are gone; returns the number of those.
    fn keep_others(
        &mut self,
        old: &(TrackIndex, Vec<f32>),
        seen: &HashSet<String>,
        files: &FileArgs,
        has_errors: bool,
    ) -> usize {
        // A folder is named by itself; a file that is a link is not what it leads to.
        let root = |path: &PathBuf| {
            if path.is_dir() {
                fs::canonicalize(path).unwrap_or_else(|_| located(path))
            } else {
                located(path)
            }
        };
        let roots: Vec<PathBuf> = files.paths().iter().map(root).collect();
        let mut gone = 0;
        for (row, track) in old.0.tracks().iter().enumerate().filter(|(_, track)| !seen.contains(&track.path))
        {
            let path = path_of_track(track);
            // Folders that cannot be read now may come back.
            if !has_errors && roots.iter().any(|root| path.starts_with(root)) {
                gone += 1;
            } else {
                self.take(old, row, track.clone());
            }
        }
        gone
    }

    /// Adds a row of the earlier state.
    fn take(&mut self, (index, embeddings): &(TrackIndex, Vec<f32>), row: usize, track: IndexedTrack) {
        let length = self.info.embedding_len;
        if let Some(embedding) = embeddings.get(row * length..(row + 1) * length) {
            self.rows.tracks.push(track);
            self.rows.embeddings.extend_from_slice(embedding);
            self.rows.scores.extend_from_slice(index.scores(row));
        }
    }

    /// Adds a new row.
    fn add(&mut self, known: IndexedTrack, track: &Track) {
        if track.embedding.len() != self.info.embedding_len || track.scores.len() != self.info.labels.len() {
            return;
        }
        self.rows.tracks.push(known);
        self.rows.embeddings.extend_from_slice(&track.embedding);
        self.rows.scores.extend_from_slice(&track.scores);
        self.unsaved += 1;
        if self.unsaved >= SAVE_EVERY {
            self.unsaved = 0;
            self.error = self.save().err();
        }
    }

    fn save(&self) -> Result<(), SearchError> {
        let IndexRows { tracks, embeddings, scores } = &self.rows;
        let index = TrackIndex::build(self.info.clone(), tracks.clone(), embeddings, scores.clone())?;
        index.save(&self.folder, embeddings, &self.lock)
    }
}

/// Adds length, title and artist to a track.
fn described(mut known: IndexedTrack, path: &Path, track: &Track) -> IndexedTrack {
    known.track_s = track.track_s;
    // Many formats have no tags that can be read here; they go without names.
    let read = || {
        let found =
            lofty::probe::Probe::open(path).ok().and_then(|probe| probe.guess_file_type().ok()?.read().ok());
        found.ok_or_else(String::new)
    };
    let tagged = guarded(read).ok();
    if let Some(tag) = tagged.as_ref().and_then(|file| file.primary_tag().or_else(|| file.first_tag())) {
        let text = |found: Option<std::borrow::Cow<'_, str>>| {
            found.map(|text| text.trim().to_string()).filter(|text| !text.is_empty())
        };
        known.title = text(tag.title());
        known.artist = text(tag.artist());
    }
    known
}

/// Digest of size, start, middle and end of a file: a moved file is recognised without being read as a whole.
fn content_of(path: &Path, size: u64) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut digest = Sha256::new();
    digest.update(size.to_le_bytes());
    let last = size.saturating_sub(PART_BYTES);
    for start in [0, last / 2, last] {
        file.seek(SeekFrom::Start(start))?;
        let mut part = Vec::new();
        (&mut file).take(PART_BYTES).read_to_end(&mut part)?;
        digest.update(&part);
    }
    Ok(digest.finalize()[..16].iter().map(|byte| format!("{byte:02x}")).collect())
}
