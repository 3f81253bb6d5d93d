//! What the published models share: their spectrogram, their convolution blocks, and batch normalisation as the
//! checkpoints hold it, folded into a scale and a shift.

use super::{EMBEDDING, SCORES, STATS};
use crate::frontend::{Framing, MelConfig};
use crate::plan::{Activation, Builder, ConvBlock, PlanError, TensorId};
use crate::tensor::HostTensor;
use crate::weights::{TensorSpec, Weights, WeightsError};

/// What the array called `running_std` is divided by: Keras changed its meaning between versions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum NormRule {
    /// It is a standard deviation: `gamma / (s + epsilon)` (Keras 1.0.6 and before).
    Deviation {
        /// Added to the deviation.
        epsilon: f64,
    },
    /// It is read as a variance: `gamma / sqrt(s + epsilon)` (later Keras 1).
    Variance {
        /// Added to the variance.
        epsilon: f64,
    },
}

impl NormRule {
    /// Scale and shift of the layer called `layer`: `y = (x - mean) * gamma / d + beta`, folded in f64.
    ///
    /// # Errors
    /// [`WeightsError`] when an array is missing.
    pub(super) fn fold(self, weights: &Weights, layer: &str) -> Result<[HostTensor; 2], WeightsError> {
        let array = |part: &str| weights.get(&format!("{layer}.{part}"));
        Ok(self.fold_arrays(array("gamma")?, array("beta")?, array("mean")?, array("deviation")?))
    }

    /// As [`NormRule::fold`], from the arrays themselves.
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

/// The rows of a batch normalisation over `extent` channels or frames in a table of tensors.
pub(super) fn tensors(layer: &str, checkpoint: &str, extent: usize) -> Vec<TensorSpec> {
    let statistic = |part: &str, suffix: &str| {
        TensorSpec::statistic(format!("{layer}.{part}"), format!("{checkpoint}_{suffix}"), [extent])
    };
    let mut rows = affine_tensors(layer, checkpoint, extent);
    rows.push(statistic("mean", "running_mean"));
    rows.push(statistic("deviation", "running_std"));
    rows
}

/// The rows of a batch normalisation without its statistics.
pub(super) fn affine_tensors(layer: &str, checkpoint: &str, extent: usize) -> Vec<TensorSpec> {
    vec![
        TensorSpec::trainable(format!("{layer}.gamma"), format!("{checkpoint}_gamma"), [extent]),
        TensorSpec::trainable(format!("{layer}.beta"), format!("{checkpoint}_beta"), [extent]),
    ]
}

/// The rows of a convolution: `conv{number}`, called `{checkpoint}{number}` in the file.
pub(super) fn kernel_tensors(
    number: usize,
    checkpoint: &str,
    maps: usize,
    channels: usize,
) -> Vec<TensorSpec> {
    let (kernel, bias) = (format!("{checkpoint}{number}_W"), format!("{checkpoint}{number}_b"));
    vec![
        TensorSpec::kernel(format!("conv{number}.kernel"), kernel, [maps, channels, 3, 3]),
        TensorSpec::trainable(format!("conv{number}.bias"), bias, [maps]),
    ]
}

/// The rows of convolution block `number` in a table of tensors: `conv{number}` and `bn{number}`, in the file
/// too.
pub(super) fn conv_tensors(number: usize, maps: usize, channels: usize) -> Vec<TensorSpec> {
    let mut rows = kernel_tensors(number, "conv", maps, channels);
    rows.extend(tensors(&format!("bn{number}"), &format!("bn{number}"), maps));
    rows
}

/// The arrays of convolution block `number`.
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

/// The last dense layer (`logits`, then `probs`), and the outputs of a model: scores, `embedding`, `stats`. Weights
/// without a dense layer give no scores.
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

/// Samples of the clips of CNN and CRNN: 29.12 s at 12 kHz.
pub(super) const CLIP_SAMPLES: usize = 349_440;

/// The spectrogram of CNN and CRNN: 12 kHz, 96 Slaney bands, the mel power squared.
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
