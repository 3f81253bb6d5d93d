//! A model on a device.

use std::path::PathBuf;
use std::sync::Arc;

use pyo3::prelude::*;
use tagwave::audio::Source;
use tagwave::tagger::{self, Track};
use tagwave::{CancelToken, Error};

use crate::process::ProcessBound;
use crate::samples::Samples;
use crate::settings::Settings;
use crate::track::TrackFields;
use crate::{errors, work};

/// A model on a device. Threads may share it.
#[pyclass(frozen, module = "tagwave._native")]
pub(crate) struct Tagger {
    tagger: ProcessBound<Arc<tagger::Tagger>>,
    tap: Option<String>,
}

impl Tagger {
    pub(crate) fn tagger(&self) -> PyResult<&Arc<tagger::Tagger>> {
        self.tagger.get()
    }

    pub(crate) fn tap(&self) -> Option<&str> {
        self.tap.as_deref()
    }

    /// Tags one source; `None` if it was cancelled.
    fn tag(&self, py: Python<'_>, source: Source) -> PyResult<Option<Result<Track, Error>>> {
        let tagger = self.tagger()?.clone();
        work::run(py, move |cancel: &CancelToken| {
            let mut track = None;
            tagger.tag_each_until(cancel, [source], |_, result| track = Some(result));
            track
        })
    }
}

#[pymethods]
impl Tagger {
    /// Opens a model.
    #[new]
    fn new(py: Python<'_>, settings: Settings) -> PyResult<Tagger> {
        let tap = settings.tap().map(str::to_string);
        let builder = py.detach(|| settings.builder())?;
        let tagger = work::run(py, move |_| builder.build())?.map_err(|error| errors::of_model(&error))?;
        Ok(Tagger { tagger: ProcessBound::new(Arc::new(tagger)), tap })
    }

    /// Tags a file.
    fn tag_file<'py>(&self, py: Python<'py>, path: PathBuf) -> PyResult<TrackFields<'py>> {
        let result = self.tag(py, Source::path(path.clone()))?.ok_or_else(work::panicked)?;
        let track = result.map_err(|error| errors::of_file(&error, &path))?;
        TrackFields::new(py, self.tagger()?, track)
    }

    /// Tags samples [channels, frames] at a rate in Hz.
    fn tag_samples<'py>(
        &self,
        py: Python<'py>,
        samples: Samples<'py>,
        sample_rate: i64,
    ) -> PyResult<TrackFields<'py>> {
        // Before the copy.
        self.tagger()?;
        let source = samples.source(sample_rate)?;
        let result = self.tag(py, source)?.ok_or_else(work::panicked)?;
        let track = result.map_err(|error| errors::of_samples(&error))?;
        TrackFields::new(py, self.tagger()?, track)
    }

    /// Warnings since the last call: a fallback to another device, weights that are not the published ones.
    fn take_warnings(&self) -> PyResult<Vec<String>> {
        Ok(self.tagger()?.take_warnings().iter().map(ToString::to_string).collect())
    }

    /// Labels in the order of the scores.
    #[getter]
    fn labels(&self) -> PyResult<Vec<String>> {
        Ok(self.tagger()?.labels().to_vec())
    }

    /// Name of the model.
    #[getter]
    fn model(&self) -> PyResult<String> {
        Ok(self.tagger()?.model().name().into())
    }

    /// Compatibility with the original.
    #[getter]
    fn compat(&self) -> PyResult<&'static str> {
        Ok(self.tagger()?.compat().as_str())
    }

    /// Name of the device, or names of all devices.
    #[getter]
    fn device(&self) -> PyResult<String> {
        Ok(self.tagger()?.device_name())
    }

    /// Sample rate of the model in Hz.
    #[getter]
    fn sample_rate(&self) -> PyResult<u32> {
        Ok(self.tagger()?.sample_rate_hz())
    }

    /// Length of a clip in samples of the model.
    #[getter]
    fn clip_samples(&self) -> PyResult<usize> {
        Ok(self.tagger()?.clip_samples())
    }

    /// Number of values of an embedding.
    #[getter]
    fn embedding_len(&self) -> PyResult<usize> {
        Ok(self.tagger()?.embedding_len())
    }

    /// Maximum number of clips per batch.
    #[getter]
    fn batch(&self) -> PyResult<usize> {
        Ok(self.tagger()?.max_batch())
    }

    /// SHA-256 of the weight file, if the weights come from one.
    #[getter]
    fn weights_digest(&self) -> PyResult<Option<String>> {
        Ok(self.tagger()?.weights_digest().map(str::to_string))
    }
}
