//! MusicTaggerCNN: K. Choi, G. Fazekas, M. Sandler, "Automatic tagging using deep convolutional neural
//! networks", ISMIR 2016, arXiv:1606.00298. Reference implementation:
//! github.com/keunwoochoi/music-auto_tagging-keras, `music_tagger_cnn.py`.

use super::{
    Architecture, ClipSpec, Compat, ModelError, Starts,
    blocks::{self, NormRule},
};
use crate::frontend::{self, MelConfig};
use crate::plan::{Axis, Builder, Plan, Scope};
use crate::weights::{RawWeights, TensorSpec, Weights};

/// Sizes of the network; the default is the published one.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Input spectrogram.
    pub mel: MelConfig,
    /// Clip length in samples.
    pub clip_samples: usize,
    /// Output channels of each convolution block.
    pub out_channels: Vec<usize>,
    /// Max-pool window of each block along frequency and time; together they reduce to one value.
    pub pools: Vec<[usize; 2]>,
    /// Number of labels.
    pub labels: usize,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            mel: blocks::mel(),
            clip_samples: blocks::CLIP_SAMPLES,
            out_channels: vec![32, 128, 128, 192, 256],
            pools: vec![[2, 4], [2, 4], [2, 4], [3, 5], [4, 4]],
            labels: 50,
        }
    }
}

impl Config {
    /// A small network of the same layers, for tests.
    pub fn tiny() -> Config {
        Config {
            mel: MelConfig { n_mels: 13, ..Config::default().mel },
            clip_samples: 8192,
            out_channels: vec![5, 7, 6],
            pools: vec![[2, 4], [3, 2], [2, 4]],
            labels: 11,
        }
    }

    /// Sizes by the arrays of a file; `None` if it is of another architecture.
    pub(super) fn of_file(file: &RawWeights) -> Option<Config> {
        let extent = |name: &str, checkpoint: &str| Some(file.shape(name, checkpoint)?.extent(0));
        let published = Config::default();
        Some(Config {
            out_channels: blocks::out_channels(file, published.pools.len()),
            labels: extent("output.bias", "output_b")?,
            ..published
        })
    }

    fn frames(&self) -> usize {
        self.mel.frames(self.clip_samples)
    }
}

/// `running_std` is a standard deviation in both cases: the original prescribes Keras 1.0.6 for this model.
const RULE: NormRule = NormRule::Deviation { epsilon: 1e-6 };

impl Architecture for Config {
    fn clip(&self) -> ClipSpec {
        ClipSpec { sample_rate: self.mel.sample_rate, samples: self.clip_samples }
    }

    fn embedding_len(&self) -> usize {
        self.out_channels.last().copied().unwrap_or_default()
    }

    fn tensors(&self) -> Vec<TensorSpec> {
        let mut rows = blocks::tensors("bn0", "bn_0_freq", self.frames());
        let mut channels = 1;
        for (block, &out_channels) in self.out_channels.iter().enumerate() {
            rows.extend(blocks::conv_tensors(block + 1, out_channels, channels));
            channels = out_channels;
        }
        rows.push(TensorSpec::trainable("output.weight", "output_W", [channels, self.labels]));
        rows.push(TensorSpec::trainable("output.bias", "output_b", [self.labels]));
        rows
    }

    fn build(&self, weights: &Weights, compat: Compat, starts: Starts) -> Result<Plan, ModelError> {
        let mut b = Builder::new();
        // The comments give the published shapes, [N, C, F, T].
        let mel = self.mel.input(&mut b, starts, self.clip_samples)?; // [N, 1, 96, 1366]
        let (x, stats) = frontend::level(&mut b, mel, super::input_level(compat), Scope::Clip)?;
        let mut x = b.batch_norm("bn0", x, Axis::Time, RULE.fold(weights, "bn0")?)?;
        for (block, &pool) in self.pools.iter().enumerate() {
            // [N, 32, 48, 341], [N, 128, 24, 85], [N, 128, 12, 21], [N, 192, 4, 4], [N, 256, 1, 1]
            x = b.conv_block(block + 1, x, blocks::conv_block(weights, RULE, block + 1, pool)?)?;
        }
        let features = b.flatten("features", x)?; // [N, 256]
        blocks::head(&mut b, weights, features, features, stats)?; // [N, 50]
        Ok(b.finish())
    }
}
