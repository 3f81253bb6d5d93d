//! compact_cnn: K. Choi, G. Fazekas, M. Sandler, K. Cho, "Transfer learning for music classification and
//! regression tasks", ISMIR 2017, arXiv:1703.09179. Reference implementation:
//! github.com/keunwoochoi/music-auto_tagging-keras, `compact_cnn/`.
//!
//! The original normalises with the statistics of the batch, and takes decibels relative to the maximum of the batch
//! (`original`): the tags of a clip depend on the other clips of its batch. `corrected` freezes both: decibels relative
//! to the clip's own maximum, and [`Statistics`] measured once over varied music.

use super::{
    Architecture, ClipSpec, Compat, ModelError, Starts,
    blocks::{self, NormRule},
};
use crate::frontend::{self, Framing, MelConfig};
use crate::plan::{Activation, Axis, Builder, Level, Plan, PlanError, Scope, TensorId};
use crate::tensor::HostTensor;
use crate::weights::{RawWeights, TensorSpec, Variant, Weights, WeightsError};

/// Sizes of the network; the default is the published one.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Input spectrogram; its framing follows the backend that the weights were trained for.
    pub mel: MelConfig,
    /// Clip length in samples.
    pub clip_samples: usize,
    /// Output channels of each of the five convolution blocks.
    pub out_channels: usize,
    /// Max-pool window of each block along frequency and time; together they reduce to one value.
    pub pools: [[usize; 2]; 5],
    /// Number of labels.
    pub labels: usize,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            mel: MelConfig { exponent: 1, framing: Framing::ZerosReversed, ..blocks::mel() },
            clip_samples: 348_000, // 29 s
            out_channels: 32,
            pools: [[2, 4], [3, 4], [2, 5], [2, 4], [4, 4]],
            labels: 50,
        }
    }
}

impl Config {
    /// Sizes by the arrays of a file; `None` if it is of another architecture.
    pub(super) fn of_file(file: &RawWeights) -> Option<Config> {
        // The convolutions have the names of cnn's in safetensors; the normalisation has no statistics here.
        if file.shape("bn0.gamma", "bn_0_freq_gamma").is_some() {
            return None;
        }
        let extent = |name: &str, checkpoint: &str| Some(file.shape(name, checkpoint)?.extent(0));
        Some(Config {
            out_channels: extent("conv1.bias", "convolution2d_1_b")?,
            labels: extent("output.bias", "dense_1_b")?,
            ..Config::default()
        })
    }

    /// Specs of frozen statistics, which published files lack and model files may have.
    pub(super) fn statistics(&self) -> Vec<TensorSpec> {
        let spec = |number: usize, part: &str| {
            let name = format!("bn{number}.{part}");
            // Those of Keras files were never updated: 0 and 1.
            TensorSpec::statistic(name.clone(), name, [self.out_channels]).optional()
        };
        (1..=self.pools.len())
            .flat_map(|number| ["mean", "variance"].map(|part| spec(number, part)))
            .collect()
    }

    /// A small network of the same layers, for tests.
    pub fn tiny() -> Config {
        Config {
            mel: MelConfig { n_mels: 13, ..Config::default().mel },
            clip_samples: 8192,
            out_channels: 5,
            pools: [[2, 2], [3, 2], [2, 2], [1, 2], [1, 2]],
            labels: 11,
        }
    }
}

/// Epsilon of batch normalisation (Keras 1.2).
const EPSILON: f32 = 1e-3;

/// Mean and variance of each channel of each convolution over a corpus, measured by `tagwave calibrate`.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(not(feature = "unstable"), doc(hidden))]
pub struct Statistics {
    /// Statistics of each block in order.
    pub layers: Vec<LayerStatistics>,
}

/// Statistics of one block.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(not(feature = "unstable"), doc(hidden))]
pub struct LayerStatistics {
    /// Mean of each channel.
    pub mean: Vec<f32>,
    /// Variance of each channel.
    pub variance: Vec<f32>,
}

impl Statistics {
    /// Frozen statistics of the published network.
    ///
    /// # Errors
    /// [`ModelError::Statistics`] if the built-in file is invalid.
    pub fn published() -> Result<Statistics, ModelError> {
        Statistics::parse(include_str!("../../weights/compact/statistics.toml"))
    }

    /// Parses the text that `tagwave calibrate` writes.
    ///
    /// # Errors
    /// [`ModelError::Statistics`] with the message of the parser.
    pub fn parse(text: &str) -> Result<Statistics, ModelError> {
        toml::from_str(text).map_err(|error| ModelError::Statistics { reason: error.to_string() })
    }

    /// Adds them to `weights`, where [`Architecture::build`] uses them instead of the built-in ones.
    pub fn insert_into(&self, weights: &mut Weights) {
        for (layer, statistics) in self.layers.iter().enumerate() {
            for (part, values) in [("mean", &statistics.mean), ("variance", &statistics.variance)] {
                let tensor = HostTensor::from_fn([values.len()], |i| values[i]);
                weights.insert(format!("bn{}.{part}", layer + 1), tensor);
            }
        }
    }
}

impl Architecture for Config {
    fn clip(&self) -> ClipSpec {
        ClipSpec { sample_rate: self.mel.sample_rate, samples: self.clip_samples }
    }

    fn embedding_len(&self) -> usize {
        self.pools.len() * self.out_channels
    }

    fn tensors(&self) -> Vec<TensorSpec> {
        let mut rows = Vec::new();
        for number in 1..=self.pools.len() {
            let channels = if number == 1 { 1 } else { self.out_channels };
            rows.extend(blocks::kernel_tensors(number, "convolution2d_", self.out_channels, channels));
            // The files' running statistics were never updated: 0 and 1.
            let (layer, checkpoint) = (format!("bn{number}"), format!("batchnormalization_{number}"));
            rows.extend(blocks::affine_tensors(&layer, &checkpoint, self.out_channels));
        }
        // The TensorFlow file has no dense layer: features only.
        let dense = [
            ("output.weight", "dense_1_W", vec![self.out_channels, self.labels]),
            ("output.bias", "dense_1_b", vec![self.labels]),
        ];
        rows.extend(dense.map(|(name, checkpoint, shape)| {
            TensorSpec::trainable(name, checkpoint, crate::tensor::Shape::new(&shape)).optional()
        }));
        rows
    }

    fn build(&self, weights: &Weights, compat: Compat, starts: Starts) -> Result<Plan, ModelError> {
        let mut b = Builder::new();
        // The comments give the published shapes, [N, C, F, T].
        let (mut x, stats) = self.input(&mut b, weights, compat, starts)?; // [N, 1, 96, 1360]
        let mut levels = Vec::new();
        for number in 1..=self.pools.len() {
            // [N, 32, 48, 340], [N, 32, 16, 85], [N, 32, 8, 17], [N, 32, 4, 4], [N, 32, 1, 1]
            x = self.block(&mut b, x, weights, compat, number)?;
            levels.push(b.mean_pool2d(&format!("feat{}", number - 1), x)?); // [N, 32]
        }
        let features = b.flatten("features", x)?; // [N, 32]
        // The original's order: the last level first. Its mean is over the one value that is left.
        let last = levels.len() - 1;
        let mut embedding = levels.remove(last);
        for (level, &feature) in levels.iter().enumerate().rev() {
            let name = if level == 0 { "feat160".to_string() } else { format!("feat_from{level}") };
            embedding = b.concat(&name, embedding, feature)?; // [N, 160] in the end
        }
        blocks::head(&mut b, weights, features, embedding, stats)?; // [N, 50]
        Ok(b.finish())
    }
}

/// Output `[N, 2 C]` of [`Config::build_statistics`]: mean and variance of each channel over the batch.
#[cfg_attr(not(feature = "unstable"), doc(hidden))]
pub const LAYER_STATISTICS: &str = "layer_statistics";

impl Config {
    /// Builds a plan that measures block `known.layers.len() + 1`; the blocks before it normalise with `known`.
    ///
    /// # Errors
    /// [`ModelError`] when an array is missing or has another shape.
    #[cfg_attr(not(feature = "unstable"), doc(hidden))]
    pub fn build_statistics(&self, weights: &Weights, known: &Statistics) -> Result<Plan, ModelError> {
        let mut weights = weights.clone();
        known.insert_into(&mut weights);
        let mut b = Builder::new();
        let (mut x, _) = self.input(&mut b, &weights, Compat::Corrected, Starts::Mel)?;
        for number in 1..=known.layers.len() {
            x = self.block(&mut b, x, &weights, Compat::Corrected, number)?;
        }
        let x = self.conv(&mut b, x, &weights, known.layers.len() + 1)?;
        let statistics = b.batch_stats("statistics", x)?;
        b.output(LAYER_STATISTICS, statistics);
        Ok(b.finish())
    }

    /// Spectrogram in decibels relative to the maximum of the batch (original) or of the clip (corrected).
    fn input(
        &self,
        b: &mut Builder,
        weights: &Weights,
        compat: Compat,
        starts: Starts,
    ) -> Result<(TensorId, TensorId), PlanError> {
        let framing = match weights.info().variant {
            Some(Variant::TensorFlow) => Framing::ZerosSame,
            _ => Framing::ZerosReversed,
        };
        let mel = MelConfig { framing, ..self.mel.clone() }.input(b, starts, self.clip_samples)?;
        let scope = match compat {
            Compat::Corrected => Scope::Clip,
            Compat::Original => Scope::Batch,
        };
        frontend::level(b, mel, Level::BelowMaximum, scope)
    }

    fn conv(
        &self,
        b: &mut Builder,
        x: TensorId,
        weights: &Weights,
        number: usize,
    ) -> Result<TensorId, ModelError> {
        let array = |part: &str| weights.get(&format!("conv{number}.{part}")).cloned();
        Ok(b.conv2d(&format!("conv{number}"), x, array("kernel")?, array("bias")?)?)
    }

    /// Adds block `number`: `conv{number}`, `bn{number}`, `elu{number}`, `pool{number}`.
    fn block(
        &self,
        b: &mut Builder,
        x: TensorId,
        weights: &Weights,
        compat: Compat,
        number: usize,
    ) -> Result<TensorId, ModelError> {
        let x = self.conv(b, x, weights, number)?;
        let (layer, array) = (format!("bn{number}"), |part: &str| weights.get(&format!("bn{number}.{part}")));
        let x = match compat {
            Compat::Original => {
                b.batch_norm_of_batch(&layer, x, EPSILON, [array("gamma")?.clone(), array("beta")?.clone()])?
            }
            Compat::Corrected => {
                let [mean, variance] = frozen(weights, number)?;
                let rule = NormRule::Variance { epsilon: f64::from(EPSILON) };
                let norm = rule.fold_arrays(array("gamma")?, array("beta")?, &mean, &variance);
                b.batch_norm(&layer, x, Axis::Channel, norm)?
            }
        };
        let x = b.activation(&format!("elu{number}"), x, Activation::Elu)?;
        Ok(b.max_pool2d(&format!("pool{number}"), x, self.pools[number - 1])?)
    }
}

/// Frozen mean and variance of block `number`: from the weights, else the built-in ones.
fn frozen(weights: &Weights, number: usize) -> Result<[HostTensor; 2], ModelError> {
    let channels = weights.get(&format!("bn{number}.gamma"))?.shape();
    let published = Statistics::published()?;
    let tensor = |part: &str, built_in: fn(&LayerStatistics) -> &Vec<f32>| {
        let name = format!("bn{number}.{part}");
        if let Some(tensor) = weights.get_optional(&name) {
            return Ok(tensor.clone());
        }
        let values =
            published.layers.get(number - 1).map(built_in).filter(|values| values.len() == channels.len());
        let Some(values) = values else {
            let found = published.layers.get(number - 1).map_or(0, |layer| built_in(layer).len());
            return Err(WeightsError::Shape { name, expected: channels, found: [found].into() });
        };
        Ok(HostTensor::from_fn(channels, |i| values[i]))
    };
    Ok([tensor("mean", |layer| &layer.mean)?, tensor("variance", |layer| &layer.variance)?])
}
