//! Settings of a tagger.

use std::path::PathBuf;
use std::str::FromStr;

use pyo3::prelude::*;
use tagwave::audio::{ClipPadding, Placement};
use tagwave::models::{self, Compat, Model};
use tagwave::tagger::{Device, TaggerBuilder};
use tagwave::tags::{Aggregation, Vocabulary};
use tagwave::tensor::DType;
use tagwave::weights::Locator;

use crate::errors;

/// Longest stride of clips, in seconds.
const MAX_STRIDE_S: f64 = 1e6;

/// Settings, as the keyword arguments of `tagwave.Tagger`.
#[derive(Clone, Debug, FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct Settings {
    model: String,
    /// Separated by commas.
    device: String,
    weights: Option<PathBuf>,
    labels: Option<Vec<String>>,
    compat: String,
    precision: String,
    clips: ClipPosition,
    stride: Option<f64>,
    pad: String,
    aggregate: String,
    batch: Option<usize>,
    cpu_threads: Option<usize>,
    decode_threads: Option<usize>,
    tap: Option<String>,
}

/// Position of the clips of a track.
#[derive(Clone, Debug, FromPyObject)]
enum ClipPosition {
    Seconds(f64),
    Named(String),
}

impl Settings {
    /// Name of the tapped step.
    pub(crate) fn tap(&self) -> Option<&str> {
        self.tap.as_deref()
    }

    /// Builder with these settings. Reads a model file, if clips overlap.
    pub(crate) fn builder(&self) -> PyResult<TaggerBuilder> {
        let devices = self.device.split(',').map(Device::from_str).collect::<Result<Vec<_>, _>>();
        let devices = devices.map_err(|error| errors::input(format!("device: {error}")))?;
        if devices.contains(&Device::None) {
            return Err(errors::input("device: none runs no model"));
        }
        let builder = tagwave_cli::with_caches(tagwave::tagger::Tagger::builder())
            .devices(devices)
            .locator(self.locator())
            .compat(one_of(
                "compat",
                &self.compat,
                &[("corrected", Compat::Corrected), ("original", Compat::Original)],
            )?)
            .precision(one_of("precision", &self.precision, &[("f32", DType::F32), ("f16", DType::F16)])?)
            .padding(one_of(
                "pad",
                &self.pad,
                &[("zeros", ClipPadding::Zeros), ("repeat", ClipPadding::Repeat)],
            )?)
            .aggregation(one_of(
                "aggregate",
                &self.aggregate,
                &[("mean", Aggregation::Mean), ("max", Aggregation::Max)],
            )?)
            .placement(self.placement()?);
        let builder = match models::path_of(&self.model) {
            Some(path) => builder.model_file(path),
            None => builder.model(&self.model),
        };
        let builder = self.vocabulary()?.into_iter().fold(builder, TaggerBuilder::labels);
        let batch = within("batch", self.batch, 65_535)?;
        let builder = batch.into_iter().fold(builder, TaggerBuilder::max_batch);
        let threads = within("cpu_threads", self.cpu_threads, 1024)?;
        let builder = threads.into_iter().fold(builder, TaggerBuilder::cpu_threads);
        let threads = within("decode_threads", self.decode_threads, 1024)?;
        let builder = threads.into_iter().fold(builder, TaggerBuilder::decode_threads);
        Ok(self.tap.iter().fold(builder, TaggerBuilder::tap))
    }

    fn locator(&self) -> Locator {
        tagwave_cli::locator(self.weights.clone())
    }

    fn vocabulary(&self) -> PyResult<Option<Vocabulary>> {
        let Some(labels) = &self.labels else { return Ok(None) };
        let labels = Vocabulary::new(labels.iter().cloned());
        labels.map(Some).map_err(|error| errors::input(format!("labels: {error}")))
    }

    fn placement(&self) -> PyResult<Placement> {
        let is_all = matches!(&self.clips, ClipPosition::Named(name) if name == "all");
        if self.stride.is_some() && !is_all {
            return Err(errors::input("stride needs clips=\"all\""));
        }
        Ok(match &self.clips {
            ClipPosition::Named(name) if name == "centre" || name == "center" => Placement::Centre,
            ClipPosition::Named(_) if is_all => Placement::All { stride_samples: self.stride_samples()? },
            &ClipPosition::Seconds(seconds) if seconds.is_finite() && seconds >= 0.0 => {
                Placement::At(seconds)
            }
            _ => return Err(errors::input("clips: expected \"centre\", \"all\", or a start in seconds")),
        })
    }

    /// Stride in samples of the model; by default the length of a clip.
    fn stride_samples(&self) -> PyResult<usize> {
        let clip =
            find_model(&self.model, self.vocabulary()?.as_ref(), &self.locator())?.architecture().clip();
        match self.stride {
            None => Ok(clip.samples),
            Some(seconds) if seconds > 0.0 && seconds <= MAX_STRIDE_S => {
                Ok(((seconds * f64::from(clip.sample_rate)).round() as usize).max(1))
            }
            Some(seconds) => {
                Err(errors::input(format!("stride {seconds}: expected a number of seconds above 0")))
            }
        }
    }
}

/// A published model by name, or that of a model file.
pub(crate) fn find_model(name: &str, labels: Option<&Vocabulary>, locator: &Locator) -> PyResult<Model> {
    let model = match models::path_of(name) {
        Some(path) => models::open(path, labels, locator).map(|(model, _)| model),
        None => models::find(name),
    };
    model.map_err(|error| errors::of_model(&error.into()))
}

fn one_of<T: Copy>(name: &str, word: &str, choices: &[(&str, T)]) -> PyResult<T> {
    let found = choices.iter().find(|(choice, _)| *choice == word).map(|&(_, value)| value);
    found.ok_or_else(|| {
        let names: Vec<String> = choices.iter().map(|(choice, _)| format!("{choice:?}")).collect();
        errors::input(format!("{name} {word:?}: expected {}", names.join(" or ")))
    })
}

fn within(name: &str, value: Option<usize>, most: usize) -> PyResult<Option<usize>> {
    match value {
        Some(number) if !(1..=most).contains(&number) => {
            Err(errors::input(format!("{name} {number}: expected 1 to {most}")))
        }
        _ => Ok(value),
    }
}
