//! MusicTaggerCRNN: K. Choi, G. Fazekas, M. Sandler, K. Cho, "Convolutional recurrent neural networks for
//! music classification", arXiv:1609.04243. Reference implementation:
//! github.com/keunwoochoi/music-auto_tagging-keras, `music_tagger_crnn.py`.
//!
//! The layer sizes are those of its weight files; the newest source there has others and cannot load them.

use super::{
    Architecture, ClipSpec, Compat, ModelError, Starts,
    blocks::{self, NormRule},
};
use crate::frontend::{self, MelConfig};
use crate::plan::{Axis, Builder, GruWeights, Plan, Scope};
use crate::tensor::{HostTensor, Shape};
use crate::weights::{RawWeights, TensorSpec, Weights, WeightsError};

/// Sizes of the network; the default is the published one.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Input spectrogram.
    pub mel: MelConfig,
    /// Clip length in samples.
    pub clip_samples: usize,
    /// Number of zero frames on either side of the spectrogram.
    pub pad_frames: usize,
    /// Output channels of each convolution block.
    pub out_channels: Vec<usize>,
    /// Max-pool window of each block along frequency and time; together they reduce to one row of frequencies.
    pub pools: Vec<[usize; 2]>,
    /// Units of each of the two GRU layers.
    pub units: usize,
    /// Number of labels.
    pub labels: usize,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            mel: blocks::mel(),
            clip_samples: blocks::CLIP_SAMPLES,
            pad_frames: 37,
            out_channels: vec![64, 128, 128, 128],
            pools: vec![[2, 2], [3, 3], [4, 4], [4, 4]],
            units: 32,
            labels: 50,
        }
    }
}

impl Config {
    /// Configuration of `small`: fewer channels, with most parameters in the last blocks. Distilled from the two published
    /// networks; see training/.
    pub fn small() -> Config {
        Config { out_channels: vec![24, 56, 128, 128], units: 64, ..Config::default() }
    }

    /// A small network of the same layers, for tests.
    pub fn tiny() -> Config {
        Config {
            mel: MelConfig { n_mels: 13, ..Config::default().mel },
            clip_samples: 8192,
            pad_frames: 3,
            out_channels: vec![5, 7, 6, 9],
            pools: vec![[2, 2], [3, 3], [2, 2], [1, 1]],
            units: 5,
            labels: 11,
        }
    }

    /// Sizes by the arrays of a file; `None` if it is of another architecture.
    pub(super) fn of_file(file: &RawWeights) -> Option<Config> {
        let extent = |name: &str, checkpoint: &str| Some(file.shape(name, checkpoint)?.extent(0));
        let published = Config::default();
        Some(Config {
            out_channels: blocks::out_channels(file, published.pools.len()),
            units: extent("gru1.bias_z", "gru1_b_z")?,
            labels: extent("output.bias", "output_b")?,
            ..published
        })
    }

    /// Specs of recurrent biases, which model files may have: GRUs of PyTorch, or of later Keras.
    pub(super) fn recurrent_biases(&self) -> Vec<TensorSpec> {
        let spec = |layer: &str, gate: &str| {
            let name = format!("{layer}.recurrent_bias_{gate}");
            TensorSpec::trainable(name.clone(), name, [self.units]).optional()
        };
        ["gru1", "gru2"].iter().flat_map(|layer| GATES.map(|gate| spec(layer, gate))).collect()
    }

    fn frames(&self) -> usize {
        self.mel.frames(self.clip_samples) + 2 * self.pad_frames
    }
}

/// Meaning of `running_std`, by compatibility.
fn rule(compat: Compat) -> NormRule {
    match compat {
        Compat::Corrected => NormRule::Deviation { epsilon: 1e-6 },
        Compat::Original => NormRule::Variance { epsilon: 1e-5 },
    }
}

/// Gates of a GRU, in storage order.
const GATES: [&str; 3] = ["z", "r", "h"];

impl Architecture for Config {
    fn clip(&self) -> ClipSpec {
        ClipSpec { sample_rate: self.mel.sample_rate, samples: self.clip_samples }
    }

    fn embedding_len(&self) -> usize {
        self.units
    }

    fn tensors(&self) -> Vec<TensorSpec> {
        let mut rows = blocks::tensors("bn0", "bn_0_freq", self.frames());
        let mut channels = 1;
        for (block, &out_channels) in self.out_channels.iter().enumerate() {
            rows.extend(blocks::conv_tensors(block + 1, out_channels, channels));
            channels = out_channels;
        }
        for (layer, inputs) in [("gru1", channels), ("gru2", self.units)] {
            for gate in GATES {
                let row = |part: &str, checkpoint: &str, shape: &[usize]| {
                    let name = format!("{layer}.{part}_{gate}");
                    let shape = Shape::new(shape);
                    TensorSpec::trainable(name, format!("{layer}_{checkpoint}_{gate}"), shape)
                };
                rows.push(row("input", "W", &[inputs, self.units]));
                rows.push(row("recurrent", "U", &[self.units, self.units]));
                rows.push(row("bias", "b", &[self.units]));
            }
        }
        rows.push(TensorSpec::trainable("output.weight", "output_W", [self.units, self.labels]));
        rows.push(TensorSpec::trainable("output.bias", "output_b", [self.labels]));
        rows
    }

    fn build(&self, weights: &Weights, compat: Compat, starts: Starts) -> Result<Plan, ModelError> {
        let rule = rule(compat);
        let mut b = Builder::new();
        // The comments give the published shapes, [N, C, F, T].
        let mel = self.mel.input(&mut b, starts, self.clip_samples)?; // [N, 1, 96, 1366]
        let (x, stats) = frontend::level(&mut b, mel, super::input_level(compat), Scope::Clip)?;
        // In the original the padding is 0 dB, far above the music; corrected, it is the clip's mean.
        let x = b.pad_time("pad", x, [self.pad_frames; 2])?; // [N, 1, 96, 1440]
        let mut x = b.batch_norm("bn0", x, Axis::Time, rule.fold(weights, "bn0")?)?;
        for (block, &pool) in self.pools.iter().enumerate() {
            // [N, 64, 48, 720], [N, 128, 16, 240], [N, 128, 4, 60], [N, 128, 1, 15]
            x = b.conv_block(block + 1, x, blocks::conv_block(weights, rule, block + 1, pool)?)?;
        }
        let x = b.sequence("seq", x)?; // [N, 15, 128]
        let x = b.gru("gru1", x, gru(weights, "gru1")?)?; // [N, 15, 32]
        let x = b.gru("gru2_states", x, gru(weights, "gru2")?)?; // [N, 15, 32]
        let features = b.last_state("features", x)?; // [N, 32]
        blocks::head(&mut b, weights, features, features, stats)?; // [N, 50]
        Ok(b.finish())
    }
}

/// Weights of a GRU layer, with concatenated gates. Recurrent biases select the form of PyTorch.
fn gru(weights: &Weights, layer: &str) -> Result<GruWeights, WeightsError> {
    let beside = |part: &str| -> Result<HostTensor, WeightsError> {
        let gates = GATES.map(|gate| weights.get(&format!("{layer}.{part}_{gate}")));
        let gates = gates.into_iter().collect::<Result<Vec<_>, _>>()?;
        let units = gates[0].shape().channels();
        let rows = gates[0].data().len() / units;
        let shape: Shape =
            if gates[0].shape().rank() == 1 { [3 * units].into() } else { [rows, 3 * units].into() };
        let value = |i: usize| {
            let (row, gate, unit) = (i / (3 * units), i / units % 3, i % units);
            gates[gate].data()[row * units + unit]
        };
        Ok(HostTensor::from_fn(shape, value))
    };
    let mut bias = beside("bias")?;
    let mut recurrent_bias = None;
    if GATES.iter().any(|gate| weights.get_optional(&format!("{layer}.recurrent_bias_{gate}")).is_some()) {
        let [z, r, h] = GATES.map(|gate| weights.get(&format!("{layer}.recurrent_bias_{gate}")).cloned());
        // Those of the gates are added to the input's.
        let of_gates = [z?, r?];
        let added = of_gates.iter().flat_map(HostTensor::data);
        bias.data_mut().iter_mut().zip(added).for_each(|(bias, added)| *bias += added);
        recurrent_bias = Some(h?);
    }
    Ok(GruWeights { input: beside("input")?, bias, recurrent: beside("recurrent")?, recurrent_bias })
}
