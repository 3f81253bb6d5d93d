//! Results as Python objects.

use numpy::{PyArray, PyArray1, PyArrayDyn, PyArrayMethods};
use pyo3::prelude::*;
use tagwave::tagger::{ClipResult, Tagger, Track};

/// Result of a clip.
#[derive(IntoPyObject)]
pub(crate) struct ClipFields<'py> {
    start_s: f64,
    scores: Bound<'py, PyArray1<f32>>,
    embedding: Bound<'py, PyArray1<f32>>,
    tap: Option<Bound<'py, PyArrayDyn<f32>>>,
    device: String,
}

/// Result of a track.
#[derive(IntoPyObject)]
pub(crate) struct TrackFields<'py> {
    scores: Bound<'py, PyArray1<f32>>,
    embedding: Bound<'py, PyArray1<f32>>,
    tap: Option<Bound<'py, PyArrayDyn<f32>>>,
    clips: Vec<ClipFields<'py>>,
    warnings: Vec<String>,
    track_s: Option<f64>,
    decoder: &'static str,
}

impl<'py> TrackFields<'py> {
    pub(crate) fn new(py: Python<'py>, tagger: &Tagger, track: Track) -> PyResult<TrackFields<'py>> {
        let clip = |clip: ClipResult| {
            Ok(ClipFields {
                start_s: clip.start_s,
                scores: PyArray::from_vec(py, clip.scores),
                embedding: PyArray::from_vec(py, clip.embedding),
                tap: tap(py, tagger, clip.tap)?,
                device: clip.device.to_string(),
            })
        };
        Ok(TrackFields {
            scores: PyArray::from_vec(py, track.scores),
            embedding: PyArray::from_vec(py, track.embedding),
            tap: tap(py, tagger, track.tap)?,
            clips: track.clips.into_iter().map(clip).collect::<PyResult<_>>()?,
            warnings: track.warnings.iter().map(ToString::to_string).collect(),
            track_s: track.track_s,
            decoder: track.decoder,
        })
    }
}

/// Array of the output of a tapped step; `None` without a tap.
pub(crate) fn tap<'py>(
    py: Python<'py>,
    tagger: &Tagger,
    values: Vec<f32>,
) -> PyResult<Option<Bound<'py, PyArrayDyn<f32>>>> {
    let shape = tagger.tap_shape();
    shape.map(|shape| PyArray::from_vec(py, values).reshape(shape.extents())).transpose()
}
