//! Shared parts of the published models: spectrogram, convolution blocks, and batch normalisation folded to scale and
//! shift.

use super::{EMBEDDING, SCORES, STATS};
use crate::frontend::{Framing, MelConfig};
use crate::plan::{Activation, Builder, ConvBlock, PlanError, TensorId};
use crate::tensor::HostTensor;
use crate::weights::{RawWeights, TensorSpec, Weights, WeightsError};

/// Meaning of the array `running_std`, which differs between versions of Keras.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum NormRule {
    /// Standard deviation: `gamma / (s + epsilon)` (Keras 1.0.6 and before).
    Deviation {
        /// Epsilon added to the deviation.
        epsilon: f64,
    },
    /// Variance: `gamma / sqrt(s + epsilon)` (later Keras 1).
    Variance {
        /// Epsilon added to the variance.
        epsilon: f64,
    },
}

impl NormRule {
    /// Folds the layer called `layer` to scale and shift in f64: `y = (x - mean) * gamma / d + beta`.
    ///
    /// # Errors
    /// [`WeightsError`] if an array is missing.
    pub(super) fn fold(self, weights: &Weights, layer: &str) -> Result<[HostTensor; 2], WeightsError> {
        let array = |part: &str| weights.get(&format!("{layer}.{part}"));
        Ok(self.fold_arrays(array("gamma")?, array("beta")?, array("mean")?, array("deviation")?))
    }

    /// As [`NormRule::fold`], from arrays.
    pub(super) fn fold_arrays(
        self,
        gamma: &HostTensor,
        beta: &HostTensor,
        mean: &HostTensor,
        deviation: &HostTensor,
    ) -> [HostTensor; 2] {
        let at = |tensor: &HostTensor, i: usize| f64::from(tensor.data()[i]);
        let scale = |i: usize| {
            let s = at(deviation, i);
            at(gamma, i)
                / match self {
                    NormRule::Deviation { epsilon } => s + epsilon,
                    NormRule::Variance { epsilon } => (s + epsilon).sqrt(),
                }
        };
        [
            HostTensor::from_fn(gamma.shape(), |i| scale(i) as f32),
            HostTensor::from_fn(gamma.shape(), |i| (at(beta, i) - at(mean, i) * scale(i)) as f32),
        ]
    }
}

/// Tensor specs of a batch normalisation over `extent` channels or frames.
pub(super) fn tensors(layer: &str, checkpoint: &str, extent: usize) -> Vec<TensorSpec> {
    let statistic = |part: &str, suffix: &str| {
        TensorSpec::statistic(format!("{layer}.{part}"), format!("{checkpoint}_{suffix}"), [extent])
    };
    let mut rows = affine_tensors(layer, checkpoint, extent);
    rows.push(statistic("mean", "running_mean"));
    rows.push(statistic("deviation", "running_std"));
    rows
}

/// Tensor specs of a batch normalisation without statistics.
pub(super) fn affine_tensors(layer: &str, checkpoint: &str, extent: usize) -> Vec<TensorSpec> {
    vec![
        TensorSpec::trainable(format!("{layer}.gamma"), format!("{checkpoint}_gamma"), [extent]),
        TensorSpec::trainable(format!("{layer}.beta"), format!("{checkpoint}_beta"), [extent]),
    ]
}

/// Tensor specs of a convolution: `conv{number}`, called `{checkpoint}{number}` in the file.
pub(super) fn kernel_tensors(
    number: usize,
    checkpoint: &str,
    out_channels: usize,
    channels: usize,
) -> Vec<TensorSpec> {
    let (kernel, bias) = (format!("{checkpoint}{number}_W"), format!("{checkpoint}{number}_b"));
    vec![
        TensorSpec::kernel(format!("conv{number}.kernel"), kernel, [out_channels, channels, 3, 3]),
        TensorSpec::trainable(format!("conv{number}.bias"), bias, [out_channels]),
    ]
}

/// Tensor specs of convolution block `number`: `conv{number}` and `bn{number}`, with the same names in the file.
pub(super) fn conv_tensors(number: usize, out_channels: usize, channels: usize) -> Vec<TensorSpec> {
    let mut rows = kernel_tensors(number, "conv", out_channels, channels);
    rows.extend(tensors(&format!("bn{number}"), &format!("bn{number}"), out_channels));
    rows
}

/// Output channels of `blocks` convolution blocks of a file; zero where the kernel is missing.
pub(super) fn out_channels(file: &RawWeights, blocks: usize) -> Vec<usize> {
    let shape = |number: usize| file.shape(&format!("conv{number}.kernel"), &format!("conv{number}_W"));
    (1..=blocks).map(|number| shape(number).map_or(0, |kernel| kernel.extent(0))).collect()
}

/// Weights of convolution block `number`.
pub(super) fn conv_block(
    weights: &Weights,
    rule: NormRule,
    number: usize,
    pool: [usize; 2],
) -> Result<ConvBlock, WeightsError> {
    Ok(ConvBlock {
        kernel: weights.get(&format!("conv{number}.kernel"))?.clone(),
        bias: weights.get(&format!("conv{number}.bias"))?.clone(),
        norm: rule.fold(weights, &format!("bn{number}"))?,
        pool,
    })
}

/// Adds the last dense layer (`logits`, then `probs`) and the outputs of a model: scores, `embedding`, `stats`. Weights
/// without a dense layer have no scores.
pub(super) fn head(
    b: &mut Builder,
    weights: &Weights,
    features: TensorId,
    embedding: TensorId,
    stats: TensorId,
) -> Result<(), PlanError> {
    let dense = ["output.weight", "output.bias"].map(|name| weights.get_optional(name).cloned());
    if let [Some(weight), Some(bias)] = dense {
        let logits = b.dense("logits", features, weight, bias)?; // [N, K]
        let scores = b.activation("probs", logits, Activation::Sigmoid)?;
        b.output(SCORES, scores);
    }
    b.output(EMBEDDING, embedding);
    b.output(STATS, stats);
    Ok(())
}

/// Clip length of CNN and CRNN in samples: 29.12 s at 12 kHz.
pub(super) const CLIP_SAMPLES: usize = 349_440;

/// Spectrogram of CNN and CRNN: 12 kHz, 96 Slaney bands, squared mel power.
pub(super) fn mel() -> MelConfig {
    MelConfig {
        sample_rate: 12_000,
        n_fft: 512,
        hop_length: 256,
        n_mels: 96,
        f_min_hz: 0.0,
        f_max_hz: 6_000.0,
        exponent: 2,
        framing: Framing::Reflect,
    }
}
