//! Live audio.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use numpy::{PyArray, PyArray1};
use pyo3::prelude::*;
use tagwave::tagger::{StreamConfig, StreamInput, StreamUpdate, StreamWorker};

use crate::process::ProcessBound;
use crate::samples::{Samples, rate_of};
use crate::{errors, tagger as native, work};

/// Settings of a stream: times in seconds, `None` for defaults.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct StreamSettings {
    sample_rate: i64,
    channels: usize,
    hop: Option<f64>,
    window: Option<f64>,
    buffer: Option<f64>,
    smoothing: Option<f64>,
    every_hop: bool,
}

/// Update of a stream.
#[derive(IntoPyObject)]
pub(crate) struct UpdateFields<'py> {
    start_s: f64,
    end_s: f64,
    heard_s: f64,
    scores: Bound<'py, PyArray1<f32>>,
    embedding: Bound<'py, PyArray1<f32>>,
    is_silent: bool,
    skipped: u64,
    overrun_frames: u64,
    device: String,
}

/// Live audio: samples in, an update at every hop.
#[pyclass(frozen, module = "tagwave._native")]
pub(crate) struct Stream(ProcessBound<Halves>);

struct Halves {
    /// Taken at the end of the input.
    input: Mutex<Option<StreamInput>>,
    worker: Mutex<StreamWorker>,
    channels: usize,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Checks a time in seconds.
fn duration(seconds: f64) -> PyResult<Duration> {
    let invalid = || errors::input(format!("timeout {seconds}: expected seconds from 0"));
    Duration::try_from_secs_f64(seconds).map_err(|_| invalid())
}

#[pymethods]
impl Stream {
    /// Opens a stream and starts its thread.
    #[new]
    fn new(py: Python<'_>, tagger: &native::Tagger, settings: StreamSettings) -> PyResult<Stream> {
        let channels = settings.channels;
        let config =
            StreamConfig::new(rate_of(settings.sample_rate)?, channels).every_hop(settings.every_hop);
        let config = settings.hop.into_iter().fold(config, StreamConfig::hop_s);
        let config = settings.window.into_iter().fold(config, StreamConfig::window_s);
        let config = settings.buffer.into_iter().fold(config, StreamConfig::buffer_s);
        let config = settings.smoothing.into_iter().fold(config, StreamConfig::smoothing_s);
        let tagger = tagger.tagger()?.clone();
        let opened = work::run(py, move |_| {
            let (input, stream) = tagger.stream(config)?;
            Ok((input, stream.spawn()?))
        })?;
        let (input, worker) = opened.map_err(|error| errors::of_samples(&error))?;
        let halves = Halves { input: Mutex::new(Some(input)), worker: Mutex::new(worker), channels };
        Ok(Stream(ProcessBound::new(halves)))
    }

    /// Appends samples [channels, frames] and returns the number of frames taken; the others did not fit the buffer.
    fn push(&self, samples: Samples<'_>) -> PyResult<usize> {
        let halves = self.0.get()?;
        let (samples, channels) = samples.interleaved();
        if channels != halves.channels {
            let expected = halves.channels;
            return Err(errors::input(format!(
                "{channels} channels, expected {expected}: those of the stream"
            )));
        }
        match &mut *lock(&halves.input) {
            Some(input) => Ok(input.push_interleaved(&samples)),
            None => Err(errors::input("the stream has ended: open another")),
        }
    }

    /// Ends the input; the last update follows.
    fn end(&self) -> PyResult<()> {
        lock(&self.0.get()?.input).take();
        Ok(())
    }

    /// Discards what was heard so far: times begin at 0 again.
    fn reset(&self) -> PyResult<()> {
        if let Some(input) = &mut *lock(&self.0.get()?.input) {
            input.reset();
        }
        Ok(())
    }

    /// The next update; `None` if there is none within `timeout` seconds (`None`: however long), or after the last.
    fn next<'py>(&self, py: Python<'py>, timeout: Option<f64>) -> PyResult<Option<UpdateFields<'py>>> {
        let worker = &self.0.get()?.worker;
        let limit = timeout.map(duration).transpose()?;
        let update = work::poll(py, limit, |pause| {
            let worker = lock(worker);
            match worker.next_timeout(pause) {
                Ok(Some(update)) => Some(Ok(Some(update))),
                Ok(None) if worker.has_ended() => Some(Ok(None)),
                Ok(None) => None,
                Err(error) => Some(Err(error)),
            }
        })?;
        let update = update.transpose().map_err(|error| errors::of_samples(&error))?.flatten();
        Ok(update.map(|update| fields(py, update)))
    }

    /// True after the last update.
    #[getter]
    fn has_ended(&self) -> PyResult<bool> {
        Ok(lock(&self.0.get()?.worker).has_ended())
    }

    /// Number of frames that did not fit the buffer so far.
    #[getter]
    fn overrun_frames(&self) -> PyResult<u64> {
        Ok(lock(&self.0.get()?.input).as_ref().map_or(0, StreamInput::overrun_frames))
    }

    /// Number of frames that can be pushed now.
    #[getter]
    fn free_frames(&self) -> PyResult<usize> {
        Ok(lock(&self.0.get()?.input).as_ref().map_or(0, StreamInput::free_frames))
    }
}

fn fields(py: Python<'_>, update: StreamUpdate) -> UpdateFields<'_> {
    UpdateFields {
        start_s: update.start_s,
        end_s: update.end_s,
        heard_s: update.heard_s,
        scores: PyArray::from_vec(py, update.scores),
        embedding: PyArray::from_vec(py, update.embedding),
        is_silent: update.is_silent,
        skipped: update.skipped,
        overrun_frames: update.overrun_frames,
        device: update.device.to_string(),
    }
}
