//! Samples of NumPy arrays.

use numpy::ndarray::ArrayView2;
use numpy::{Element, PyReadonlyArray2};
use pyo3::prelude::*;
use tagwave::audio::{RATES_HZ, Source};

use crate::errors;

/// Samples of the shape [channels, frames], with any strides.
#[derive(FromPyObject)]
pub(crate) enum Samples<'py> {
    Floats(PyReadonlyArray2<'py, f32>),
    Doubles(PyReadonlyArray2<'py, f64>),
    /// Full scale is 32768.
    Integers(PyReadonlyArray2<'py, i16>),
}

/// Element of samples.
trait Sample: Copy + Element {
    fn to_f32(self) -> f32;
}

impl Sample for f32 {
    fn to_f32(self) -> f32 {
        self
    }
}

impl Sample for f64 {
    fn to_f32(self) -> f32 {
        self as f32
    }
}

impl Sample for i16 {
    fn to_f32(self) -> f32 {
        f32::from(self) / 32768.0
    }
}

impl Samples<'_> {
    /// Interleaved copy, and the number of channels. The array may change while others work on the copy.
    pub(crate) fn interleaved(&self) -> (Vec<f32>, usize) {
        match self {
            Samples::Floats(samples) => interleaved(samples.as_array()),
            Samples::Doubles(samples) => interleaved(samples.as_array()),
            Samples::Integers(samples) => interleaved(samples.as_array()),
        }
    }

    /// Source of the samples.
    ///
    /// # Errors
    /// A rate outside the library's limits.
    pub(crate) fn source(&self, rate_hz: i64) -> PyResult<Source> {
        let rate_hz = rate_of(rate_hz)?;
        let (samples, channels) = self.interleaved();
        Ok(if channels == 1 {
            Source::samples(samples, rate_hz)
        } else {
            Source::interleaved(&samples, channels, rate_hz)
        })
    }
}

/// Checks a sample rate.
pub(crate) fn rate_of(rate_hz: i64) -> PyResult<u32> {
    u32::try_from(rate_hz).ok().filter(|rate_hz| RATES_HZ.contains(rate_hz)).ok_or_else(|| {
        let (least, most) = RATES_HZ.into_inner();
        errors::input(format!("sample_rate {rate_hz}: expected {least} to {most} Hz"))
    })
}

fn interleaved<T: Sample>(samples: ArrayView2<'_, T>) -> (Vec<f32>, usize) {
    let channels = samples.nrows();
    if channels == 1 {
        return (samples.iter().map(|sample| sample.to_f32()).collect(), 1);
    }
    let mut all = vec![0.0; samples.len()];
    for (channel, row) in samples.rows().into_iter().enumerate() {
        let places = all.iter_mut().skip(channel).step_by(channels);
        places.zip(row).for_each(|(place, sample)| *place = sample.to_f32());
    }
    (all, channels)
}
