//! Index of a music library: a folder with tracks, embeddings, scores and vectors.
//!
//! `current` has the name of a folder that holds one complete state; writing makes another folder and then replaces
//! `current`, so that a reader sees the old state or the new one.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::SearchError;
use super::half_array;
use super::vectors::Vectors;
use super::whitening::Whitening;
use crate::atomic_file;

/// Version of the form of an index.
const SCHEMA: u32 = 1;

/// Track of an index.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct IndexedTrack {
    /// Absolute path as text; `base64:` and its bytes if it is not UTF-8.
    pub path: String,
    /// Size of the file in bytes.
    pub size: u64,
    /// Modification time in nanoseconds since 1970.
    pub modified_ns: i64,
    /// Digest of the contents, by which a moved file is recognised.
    pub content: String,
    /// Length in seconds, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub track_s: Option<f64>,
    /// Title, if the file has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Artist, if the file has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artist: Option<String>,
}

impl IndexedTrack {
    /// A track without further information.
    pub fn new(path: String, size: u64, modified_ns: i64, content: String) -> IndexedTrack {
        IndexedTrack { path, size, modified_ns, content, track_s: None, title: None, artist: None }
    }
}

/// Model that made an index, and its labels.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[non_exhaustive]
pub struct IndexInfo {
    /// Name of the model.
    pub model: String,
    /// Compatibility with the original.
    pub compat: String,
    /// SHA-256 of the weights, if they come from a file.
    pub weights: Option<String>,
    /// Labels, in the order of the scores.
    pub labels: Vec<String>,
    /// Length of an embedding.
    pub embedding_len: usize,
}

impl IndexInfo {
    /// Information about a model.
    pub fn new(
        model: &str,
        compat: &str,
        weights: Option<&str>,
        labels: &[String],
        embedding_len: usize,
    ) -> IndexInfo {
        IndexInfo {
            model: model.to_string(),
            compat: compat.to_string(),
            weights: weights.map(String::from),
            labels: labels.to_vec(),
            embedding_len,
        }
    }
}

/// Contents of `info.json`.
#[derive(Deserialize, Serialize)]
struct InfoFile {
    schema: u32,
    tracks: usize,
    info: IndexInfo,
    whitening: Whitening,
}

/// Index in memory.
#[derive(Clone, Debug)]
pub struct TrackIndex {
    info: IndexInfo,
    tracks: Vec<IndexedTrack>,
    /// Scores `[rows, K]`.
    scores: Vec<f32>,
    vectors: Vectors,
    whitening: Whitening,
}

/// Lock of an index for writing, until it is dropped.
#[derive(Debug)]
pub struct IndexLock {
    _file: File,
}

impl TrackIndex {
    /// Makes an index of tracks, their embeddings `[rows, D]` and scores `[rows, K]`.
    ///
    /// # Errors
    /// Embeddings that cannot be whitened, or of another length than tracks.
    pub fn build(
        info: IndexInfo,
        tracks: Vec<IndexedTrack>,
        embeddings: &[f32],
        scores: Vec<f32>,
    ) -> Result<TrackIndex, SearchError> {
        let length = info.embedding_len;
        let is_whole =
            embeddings.len() == tracks.len() * length && scores.len() == tracks.len() * info.labels.len();
        if length == 0 || !is_whole {
            let found = embeddings.len().checked_div(tracks.len()).unwrap_or(0);
            return Err(SearchError::Embedding { expected: length, found });
        }
        let whitening = Whitening::fit(length, embeddings.chunks_exact(length))?;
        let mut values = Vec::with_capacity(tracks.len() * whitening.dimensions());
        for embedding in embeddings.chunks_exact(length) {
            values.extend(whitening.apply(embedding)?);
        }
        let vectors = Vectors::new(values, whitening.dimensions()).unwrap_or_default();
        Ok(TrackIndex { info, tracks, scores, vectors, whitening })
    }

    /// Locks the index in `folder`, which is created, for writing.
    ///
    /// # Errors
    /// Another process holds the lock, or an I/O error.
    pub fn lock(folder: &Path) -> Result<IndexLock, SearchError> {
        let path = folder.join("lock");
        let open = || {
            fs::create_dir_all(folder)?;
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)
        };
        let file = open().map_err(|error| SearchError::io(&path, error))?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => Err(SearchError::Locked { path: folder.to_path_buf() }),
            // File systems without locks are not guarded.
            _ => Ok(IndexLock { _file: file }),
        }
    }

    /// Writes the index to a folder that is locked; `embeddings` are those it was built of.
    ///
    /// # Errors
    /// An I/O error; the earlier state is then kept.
    pub fn save(&self, folder: &Path, embeddings: &[f32], _lock: &IndexLock) -> Result<(), SearchError> {
        let before = current(folder).ok();
        let number = before.as_deref().and_then(|name| name.parse::<u64>().ok()).unwrap_or(0) + 1;
        let state = folder.join(number.to_string());
        // Left by a run that was interrupted.
        let _ = fs::remove_dir_all(&state);
        let failed = |path: &Path| {
            let path = path.to_path_buf();
            move |error| SearchError::Io { path, source: error }
        };
        fs::create_dir_all(&state).map_err(failed(&state))?;
        let mut lines = Vec::new();
        for track in &self.tracks {
            serde_json::to_writer(&mut lines, track)
                .map_err(|error| SearchError::io(&state, error.into()))?;
            lines.push(b'\n');
        }
        let put = |name: &str, bytes: &[u8]| {
            let path = state.join(name);
            atomic_file::replace(&path, bytes).map_err(|error| SearchError::io(&path, error))
        };
        put("tracks.jsonl", &lines)?;
        half_array::write(&state.join("embeddings.npy"), embeddings, self.info.embedding_len)?;
        half_array::write(&state.join("scores.npy"), &self.scores, self.info.labels.len())?;
        let values: Vec<f32> =
            (0..self.vectors.len()).flat_map(|row| self.vectors.row(row)).copied().collect();
        half_array::write(&state.join("vectors.npy"), &values, self.vectors.dimensions())?;
        let info = InfoFile {
            schema: SCHEMA,
            tracks: self.tracks.len(),
            info: self.info.clone(),
            whitening: self.whitening.clone(),
        };
        put(
            "info.json",
            &serde_json::to_vec_pretty(&info).map_err(|error| SearchError::io(&state, error.into()))?,
        )?;
        let pointer = folder.join("current");
        atomic_file::replace(&pointer, format!("{number}\n").as_bytes()).map_err(failed(&pointer))?;
        if let Some(before) = before {
            // Files of an older index that cannot be removed are ignored by readers.
            let _ = fs::remove_dir_all(folder.join(before));
        }
        Ok(())
    }

    /// Reads the index in `folder`.
    ///
    /// # Errors
    /// [`SearchError::Missing`] without one, and files that are no index.
    pub fn load(folder: &Path) -> Result<TrackIndex, SearchError> {
        let name = current(folder)?;
        match load_state(&folder.join(&name)) {
            // Another process has written a new state meanwhile.
            Err(SearchError::Io { .. }) if current(folder)? != name => {
                load_state(&folder.join(current(folder)?))
            }
            result => result,
        }
    }

    /// Reads the embeddings `[rows, D]` of the index in `folder`, from which it was loaded.
    ///
    /// # Errors
    /// An I/O error, or an array of another shape.
    pub fn load_embeddings(&self, folder: &Path) -> Result<Vec<f32>, SearchError> {
        let path = folder.join(current(folder)?).join("embeddings.npy");
        half_array::read(&path, self.tracks.len(), self.info.embedding_len)
    }

    /// Model and labels.
    pub fn info(&self) -> &IndexInfo {
        &self.info
    }

    /// Tracks, in the order of the rows.
    pub fn tracks(&self) -> &[IndexedTrack] {
        &self.tracks
    }

    /// Scores of a track; empty for a row that does not exist.
    pub fn scores(&self, row: usize) -> &[f32] {
        let count = self.info.labels.len();
        let start = row.saturating_mul(count);
        self.scores.get(start..start.saturating_add(count)).unwrap_or(&[])
    }

    /// Whitened vectors of the tracks.
    pub fn vectors(&self) -> &Vectors {
        &self.vectors
    }

    /// Transformation of embeddings to vectors.
    pub fn whitening(&self) -> &Whitening {
        &self.whitening
    }
}

/// Name of the folder of the present state.
fn current(folder: &Path) -> Result<String, SearchError> {
    let path = folder.join("current");
    match fs::read_to_string(&path) {
        Ok(text) if !text.trim().is_empty() && text.trim().bytes().all(|byte| byte.is_ascii_digit()) => {
            Ok(text.trim().to_string())
        }
        Ok(_) => Err(SearchError::format(&path, "a number")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(SearchError::Missing { path: folder.to_path_buf() })
        }
        Err(error) => Err(SearchError::io(&path, error)),
    }
}

fn load_state(state: &Path) -> Result<TrackIndex, SearchError> {
    let path = state.join("info.json");
    let text = fs::read_to_string(&path).map_err(|error| SearchError::io(&path, error))?;
    let found: InfoFile = serde_json::from_str(&text)
        .map_err(|error| SearchError::format(&path, format!("information about an index: {error}")))?;
    if found.schema != SCHEMA {
        let expected =
            format!("schema {SCHEMA}, found {}: make the index again with --rebuild", found.schema);
        return Err(SearchError::format(&path, expected));
    }
    if !found.whitening.is_valid() {
        return Err(SearchError::format(&path, "directions as long as the mean"));
    }
    let tracks = read_tracks(&state.join("tracks.jsonl"))?;
    if tracks.len() != found.tracks {
        let expected = format!("{} tracks, found {}", found.tracks, tracks.len());
        return Err(SearchError::format(&state.join("tracks.jsonl"), expected));
    }
    let scores = half_array::read(&state.join("scores.npy"), tracks.len(), found.info.labels.len())?;
    let dimensions = found.whitening.dimensions();
    let values = half_array::read(&state.join("vectors.npy"), tracks.len(), dimensions)?;
    let vectors = Vectors::new(values, dimensions).unwrap_or_default();
    Ok(TrackIndex { info: found.info, tracks, scores, vectors, whitening: found.whitening })
}

fn read_tracks(path: &PathBuf) -> Result<Vec<IndexedTrack>, SearchError> {
    let file = File::open(path).map_err(|error| SearchError::io(path, error))?;
    let mut tracks = Vec::new();
    for line in BufReader::new(file).lines() {
        let line = line.map_err(|error| SearchError::io(path, error))?;
        let track = serde_json::from_str(&line)
            .map_err(|error| SearchError::format(path, format!("a track per line: {error}")))?;
        tracks.push(track);
    }
    Ok(tracks)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small(count: usize) -> (TrackIndex, Vec<f32>) {
        let info = IndexInfo::new("small", "corrected", None, &["a".to_string(), "b".into()], 3);
        let track = |i: usize| IndexedTrack::new(format!("/{i}.mp3"), 1, -1, "00".into());
        let embeddings: Vec<f32> = (0..3 * count).map(|i| ((i * i) as f32 * 0.7).sin()).collect();
        let scores = (0..2 * count).map(|i| i as f32 / 8.0).collect();
        let tracks = (0..count).map(track).collect();
        (TrackIndex::build(info, tracks, &embeddings, scores).unwrap(), embeddings)
    }

    #[test]
    fn an_index_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(TrackIndex::load(folder.path()), Err(SearchError::Missing { .. })));
        for count in [0, 1, 4, 7] {
            let (index, embeddings) = small(count);
            let lock = TrackIndex::lock(folder.path()).unwrap();
            assert!(matches!(TrackIndex::lock(folder.path()), Err(SearchError::Locked { .. })));
            index.save(folder.path(), &embeddings, &lock).unwrap();
            let found = TrackIndex::load(folder.path()).unwrap();
            assert_eq!((found.tracks(), found.info()), (index.tracks(), index.info()));
            assert_eq!(found.whitening(), index.whitening());
            for row in 0..count {
                assert!((found.scores(row)[1] - index.scores(row)[1]).abs() < 1e-3);
                assert_eq!(found.vectors().nearest(index.vectors().row(row), 1, |_| true)[0].row, row);
            }
            let kept = found.load_embeddings(folder.path()).unwrap();
            assert!(kept.iter().zip(&embeddings).all(|(a, b)| (a - b).abs() < 1e-3));
            // One state, `current` and `lock`.
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
        }
    }

    #[test]
    fn damaged_files_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let (index, embeddings) = small(4);
        let lock = TrackIndex::lock(folder.path()).unwrap();
        for name in ["info.json", "tracks.jsonl", "scores.npy", "vectors.npy"] {
            index.save(folder.path(), &embeddings, &lock).unwrap();
            let path = folder.path().join(current(folder.path()).unwrap()).join(name);
            let bytes = fs::read(&path).unwrap();
            fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
            let error = TrackIndex::load(folder.path()).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
        fs::write(folder.path().join("current"), "../../etc").unwrap();
        assert!(TrackIndex::load(folder.path()).is_err());
    }
}
