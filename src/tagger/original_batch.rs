//! compact_cnn as the original project runs it, where the scores of a clip depend on the other clips of its batch.

use std::sync::Arc;

use super::Device;
use super::active::Active;
use super::clips::is_too_large;
use super::factory::DeviceFactory;
use super::warnings::Warnings;
use crate::error::{Cause, Error};
use crate::executor::blocking::Run;
use crate::models::{Compat, EMBEDDING, Model, SCORES, Starts};
use crate::plan::Plan;
use crate::tensor::HostTensor;
use crate::weights::Weights;

/// Runs batches of a model with [`Compat::Original`] whose clips share statistics: the only place that reproduces them.
/// Results depend on the composition of the batch, so there is no splitting, no fallback and no pipeline.
#[derive(Debug)]
pub struct OriginalBatch {
    active: Active,
    plan: Plan,
    samples: usize,
}

/// Results of one clip of an [`OriginalBatch`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct OriginalClip {
    /// A score in 0..1 for each label.
    pub scores: Vec<f32>,
    /// The features before the last dense layer.
    pub embedding: Vec<f32>,
}

impl OriginalBatch {
    /// Prepares a model for batches of at most `max_batch` clips.
    ///
    /// # Errors
    /// Weights that do not fit, a device that cannot be opened. The CPU executor supports one clip per batch;
    /// [`Device::Auto`] takes the reference implementation for larger ones where there is no GPU.
    pub fn new(
        model: &Model,
        weights: &Weights,
        device: &Device,
        max_batch: usize,
    ) -> Result<OriginalBatch, Error> {
        model.check_compat(Compat::Original)?;
        let plan = model.architecture().build(weights, Compat::Original, Starts::Samples)?;
        if plan.output_index(SCORES).is_none() {
            return Err(Cause::NoScores { model: model.name().to_string() }.into());
        }
        let plan = plan.only_outputs(&[SCORES, EMBEDDING]).fused();
        let mut factory = DeviceFactory::new(device.clone());
        let warnings = Arc::new(Warnings::default());
        let max_batch = max_batch.max(1);
        let mut active = factory.prepare(None, &plan, Some(max_batch), &warnings)?;
        if *device == Device::Auto && active.executor.max_batch() < max_batch {
            active =
                DeviceFactory::new(Device::Reference).prepare(None, &plan, Some(max_batch), &warnings)?;
        }
        Ok(OriginalBatch { active, plan, samples: model.architecture().clip().samples })
    }

    /// Name of the device.
    pub fn device_name(&self) -> &str {
        self.active.executor.device()
    }

    /// Runs clips as one batch; each has as many samples as a clip of the model.
    ///
    /// # Errors
    /// More clips than the device supports in one batch, a clip of another length, samples that overflow the spectrogram, errors of
    /// the device.
    pub fn run(&self, clips: &[Vec<f32>]) -> Result<Vec<OriginalClip>, Error> {
        if clips.iter().any(|clip| is_too_large(clip)) {
            return Err(Cause::TooLoud.into());
        }
        let input = HostTensor::new([clips.len(), self.samples], clips.concat())?;
        let outputs = self.active.executor.run(input)?;
        let row = |name: &str, clip: usize| {
            let output = self.plan.output_index(name).and_then(|index| outputs.get(index));
            output.map_or(Vec::new(), |tensor| tensor.row(clip).to_vec())
        };
        let clips = (0..clips.len()).map(|clip| {
            let (scores, embedding) = (row(SCORES, clip), row(EMBEDDING, clip));
            match scores.iter().chain(&embedding).position(|v| !v.is_finite()) {
                None => Ok(OriginalClip { scores, embedding }),
                Some(index) => Err(Cause::NotFinite { index }.into()),
            }
        });
        clips.collect()
    }
}
