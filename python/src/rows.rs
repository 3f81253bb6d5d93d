//! Many files: rows as they are computed, in order.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use numpy::{PyArray, PyArray1, PyArrayDyn};
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use tagwave::audio::Source;
use tagwave::sinks::{self, Failure, JSON_LINES, Parquet, Sink, Values};
use tagwave::tagger::{self, Track};
use tagwave::tags::TagSelection;
use tagwave::{CancelToken, Error, ErrorKind};

use crate::process::ProcessBound;
use crate::{errors, tagger as native, track, work};

/// Minimum number of paths that are given to the library before their rows are taken: twice as many as it reads ahead.
const MIN_AHEAD: usize = 128;
/// Interval at which a thread that waits for paths looks for a cancellation.
const PATH_INTERVAL: Duration = Duration::from_millis(50);

type TrackResult = Result<Track, Error>;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Paths given to the library, as sources. A queue beside them has the path of each source whose result is to come.
struct PathSources {
    paths: Receiver<PathBuf>,
    cancel: CancelToken,
    given: Arc<Mutex<VecDeque<PathBuf>>>,
}

impl Iterator for PathSources {
    type Item = Source;

    fn next(&mut self) -> Option<Source> {
        while !self.cancel.is_cancelled() {
            match self.paths.recv_timeout(PATH_INTERVAL) {
                Ok(path) => {
                    lock(&self.given).push_back(path.clone());
                    return Some(Source::path(path));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        None
    }
}

/// Files that are being tagged: paths in, rows out in the same order.
#[pyclass(frozen, module = "tagwave._native")]
pub(crate) struct RowRun(ProcessBound<Run>);

/// The caller's end of a thread that tags files.
struct Run {
    tagger: Arc<tagger::Tagger>,
    tap: Option<Arc<str>>,
    /// Taken after the last path.
    paths: Mutex<Option<Sender<PathBuf>>>,
    rows: Receiver<(PathBuf, TrackResult)>,
    /// Number of paths without a row so far.
    ahead: AtomicUsize,
    most_ahead: usize,
    cancel: CancelToken,
}

impl Drop for Run {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

#[pymethods]
impl RowRun {
    /// Starts a run without paths.
    #[new]
    fn new(tagger: &native::Tagger) -> PyResult<RowRun> {
        let (tap, tagger) = (tagger.tap().map(Arc::from), tagger.tagger()?.clone());
        let (paths, to_read) = unbounded();
        let (sender, rows) = unbounded();
        let cancel = CancelToken::new();
        let given: Arc<Mutex<VecDeque<PathBuf>>> = Arc::default();
        let sources = PathSources { paths: to_read, cancel: cancel.clone(), given: given.clone() };
        let (worker, token) = (tagger.clone(), cancel.clone());
        work::spawn(cancel.clone(), move || {
            worker.tag_each_until(&token, sources, |_, result| {
                // After a cancellation finished sources are delivered out of order, and nobody takes them.
                if token.is_cancelled() {
                    return;
                }
                if let Some(path) = lock(&given).pop_front() {
                    let _ = sender.send((path, result));
                }
            });
        })?;
        let (ahead, most_ahead) = (AtomicUsize::new(0), MIN_AHEAD.max(8 * tagger.max_batch()));
        let paths = Mutex::new(Some(paths));
        Ok(RowRun(ProcessBound::new(Run { tagger, tap, paths, rows, ahead, most_ahead, cancel })))
    }

    /// True if another path should be given before a row is waited for.
    #[getter]
    fn has_room(&self) -> PyResult<bool> {
        let run = self.0.get()?;
        Ok(run.ahead.load(Ordering::Relaxed) < run.most_ahead)
    }

    /// Gives a path.
    fn push(&self, path: PathBuf) -> PyResult<()> {
        let run = self.0.get()?;
        if let Some(paths) = &*lock(&run.paths) {
            run.ahead.fetch_add(1, Ordering::Relaxed);
            // Fails if the run has ended, which the next row tells.
            let _ = paths.send(path);
        }
        Ok(())
    }

    /// Tells that all paths were given.
    fn end(&self) -> PyResult<()> {
        lock(&self.0.get()?.paths).take();
        Ok(())
    }

    /// The next row. If there is none yet: `None`, or with `wait` it waits; then `None` follows the last row.
    fn next(&self, py: Python<'_>, wait: bool) -> PyResult<Option<Row>> {
        let run = self.0.get()?;
        let received = if wait { work::receive(py, &run.rows, None)? } else { run.rows.try_recv().ok() };
        let Some((path, result)) = received else {
            let is_over = wait && !run.cancel.is_cancelled();
            let lacks_rows = is_over && run.ahead.load(Ordering::Relaxed) > 0;
            return if lacks_rows { Err(work::panicked()) } else { Ok(None) };
        };
        run.ahead.fetch_sub(1, Ordering::Relaxed);
        let tagger = ProcessBound::new(run.tagger.clone());
        Ok(Some(Row { tagger, tap: run.tap.clone(), path, result }))
    }

    /// Ends the run; what is on a device is finished there.
    fn close(&self) {
        // After a fork there is nothing to end.
        if let Ok(run) = self.0.get() {
            run.cancel.cancel();
        }
    }
}

/// Values of a row in a table.
#[derive(Clone, Copy)]
enum RowValues {
    Tags(TagSelection),
    Embedding,
    Tap,
}

/// Result of a file.
#[pyclass(frozen, module = "tagwave._native")]
pub(crate) struct Row {
    tagger: ProcessBound<Arc<tagger::Tagger>>,
    tap: Option<Arc<str>>,
    path: PathBuf,
    result: TrackResult,
}

impl Row {
    /// The row as the program writes it.
    fn with(&self, values: RowValues) -> PyResult<sinks::Row> {
        let tagger = self.tagger.get()?;
        let outcome = match &self.result {
            Err(error) => Err(Failure { kind: error.kind(), message: error.to_string() }),
            Ok(track) => {
                let values = match values {
                    RowValues::Tags(selection) => Values::Tags(tagger.tags(track, selection)),
                    RowValues::Embedding => Values::Embedding(track.embedding.clone()),
                    RowValues::Tap => Values::Tap {
                        name: self.tap.as_deref().unwrap_or_default().into(),
                        features: track.tap.clone(),
                    },
                };
                Ok(tagwave_cli::prediction(tagger, track, values, Vec::new()))
            }
        };
        Ok(sinks::Row { path: self.path.clone(), key: None, outcome })
    }
}

/// Selection of tags: with a threshold those that reach it, else the `top` highest.
fn selection(top: usize, threshold: Option<f32>) -> PyResult<TagSelection> {
    match threshold {
        Some(score) if !(0.0..=1.0).contains(&score) => {
            Err(errors::input(format!("threshold {score}: expected 0 to 1")))
        }
        Some(score) => Ok(TagSelection::Threshold(score)),
        None => Ok(TagSelection::Top(top)),
    }
}

#[pymethods]
impl Row {
    /// The line of the program's JSON Lines, with tags.
    fn json(&self, top: usize, threshold: Option<f32>) -> PyResult<String> {
        let row = self.with(RowValues::Tags(selection(top, threshold)?))?;
        let mut line = Vec::new();
        JSON_LINES.sink(&mut line).row(&row)?;
        Ok(String::from_utf8_lossy(&line).into_owned())
    }

    /// Path as it was given.
    #[getter]
    fn path(&self) -> std::ffi::OsString {
        self.path.clone().into_os_string()
    }

    /// A score for each label; `None` if the file failed.
    #[getter]
    fn scores<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyArray1<f32>>> {
        self.result.as_ref().ok().map(|track| PyArray::from_slice(py, &track.scores))
    }

    /// The features before the last dense layer; `None` if the file failed.
    #[getter]
    fn embedding<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyArray1<f32>>> {
        self.result.as_ref().ok().map(|track| PyArray::from_slice(py, &track.embedding))
    }

    /// The output of the tapped step; `None` without a tap, or if the file failed.
    #[getter]
    fn tap<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyArrayDyn<f32>>>> {
        match &self.result {
            Ok(track) => track::tap(py, self.tagger.get()?, track.tap.clone()),
            Err(_) => Ok(None),
        }
    }

    /// Raises the exception of a file that failed.
    fn check(&self) -> PyResult<()> {
        self.result.as_ref().map_or_else(|error| Err(errors::of_file(error, &self.path)), |_| Ok(()))
    }
}

/// Parquet file of the program's format, which appears when it is finished.
#[pyclass(frozen, module = "tagwave._native")]
pub(crate) struct TableWriter {
    /// Taken when finished.
    sink: Mutex<Option<Parquet>>,
    values: RowValues,
    path: PathBuf,
}

impl TableWriter {
    fn failed(&self, error: &io::Error) -> PyErr {
        PyOSError::new_err(format!("{}: {error}", self.path.display()))
    }
}

#[pymethods]
impl TableWriter {
    /// Creates a file for `values`: tags, embedding or tap.
    #[new]
    fn new(path: PathBuf, values: &str, top: usize, threshold: Option<f32>) -> PyResult<TableWriter> {
        let values = match values {
            "tags" => RowValues::Tags(selection(top, threshold)?),
            "embedding" => RowValues::Embedding,
            "tap" => RowValues::Tap,
            _ => {
                let message = format!("values {values:?}: expected \"tags\", \"embedding\" or \"tap\"");
                return Err(errors::input(message));
            }
        };
        let sink = Parquet::create(&path)
            .map_err(|error| PyOSError::new_err(format!("{}: {error}", path.display())))?;
        Ok(TableWriter { sink: Mutex::new(Some(sink)), values, path })
    }

    /// Writes a row.
    fn write(&self, row: &Row) -> PyResult<()> {
        let row = row.with(self.values)?;
        match &mut *lock(&self.sink) {
            Some(sink) => sink.row(&row).map_err(|error| self.failed(&error)),
            None => Err(errors::other("the file is finished", ErrorKind::Internal)),
        }
    }

    /// Writes what is left, and puts the file in its place.
    fn finish(&self) -> PyResult<()> {
        let sink = lock(&self.sink).take();
        sink.map_or(Ok(()), |mut sink| sink.finish()).map_err(|error| self.failed(&error))
    }
}
