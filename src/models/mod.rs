//! The published models: what each one hears, which arrays it needs, and the plan it makes.
//!
//! One file per architecture. Adding one means its file, its line in [`all`], its manifest under `weights/`.
//! Not here: kernels, devices, files.

use crate::error::ErrorKind;
use crate::plan::{Level, Plan, PlanError};
use crate::tags::{Vocabulary, VocabularyError};
use crate::weights::{self, Locator, Manifest, TensorSpec, Weights, WeightsError};

mod blocks;
pub mod cnn;
pub mod compact;
pub mod crnn;

pub use crate::frontend::Starts;
pub use blocks::NormRule;

/// Why a model cannot be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// No model of that name.
    #[error("no model is called {name:?}: expected one of {}", known.join(", "))]
    Unknown {
        /// Name asked for.
        name: String,
        /// Names there are.
        known: Vec<&'static str>,
    },
    /// Its weights can be understood in one way only.
    #[error("{model} has no reading {:?}: it was trained by this project, and has {} only",
        reading.as_str(), Reading::Restored.as_str())]
    Reading {
        /// The model.
        model: &'static str,
        /// What was asked for.
        reading: Reading,
    },
    /// Its weights lack an array, or hold a wrong one.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// Its layers do not fit together.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The file with its frozen statistics cannot be read.
    #[error("frozen statistics: {reason}")]
    Statistics {
        /// What the parser says.
        reason: String,
    },
    /// Its label list does not fit its last layer.
    #[error(transparent)]
    Vocabulary(#[from] VocabularyError),
}

impl ModelError {
    /// What a batch should do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            ModelError::Unknown { .. } | ModelError::Reading { .. } => ErrorKind::Input,
            ModelError::Weights(error) => error.kind(),
            ModelError::Plan(error) => error.kind(),
            ModelError::Vocabulary(_) | ModelError::Statistics { .. } => ErrorKind::Internal,
        }
    }
}

/// How the arrays of a checkpoint are understood. docs/numerics.md tells the story.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Reading {
    /// As the networks were trained: standardised input, `running_std` a standard deviation.
    #[default]
    Restored,
    /// As the original project's scripts ran them, mistakes included: reproduces its published figures.
    Upstream,
}

impl Reading {
    /// The word used in options and output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Reading::Restored => "restored",
            Reading::Upstream => "upstream",
        }
    }

    /// Whether activations may be stored as f16: every model's scores then stay within 5e-3 of those with f32.
    /// `upstream` reaches 2.1e5, past the largest f16.
    pub const fn fits_f16(self) -> bool {
        matches!(self, Reading::Restored)
    }
}

/// The audio that a model hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClipSpec {
    /// Samples per second.
    pub sample_rate: u32,
    /// Samples of a clip.
    pub samples: usize,
}

/// A network: a config that can name its arrays and lay out its plan.
pub trait Architecture: std::fmt::Debug + Send + Sync {
    /// The audio it hears.
    fn clip(&self) -> ClipSpec;

    /// Every array it needs: the only place where names inside checkpoints stand.
    fn tensors(&self) -> Vec<TensorSpec>;

    /// Numbers in an embedding.
    fn embedding_len(&self) -> usize;

    /// The plan for batches of one clip, unfused. Outputs: [`SCORES`], [`EMBEDDING`], [`STATS`].
    ///
    /// # Errors
    /// [`ModelError`] when an array is missing or has another shape.
    fn build(&self, weights: &Weights, reading: Reading, starts: Starts) -> Result<Plan, ModelError>;
}

/// Output `[N, K]`: a score in 0..1 for each label.
pub const SCORES: &str = "scores";
/// Output `[N, D]`: the features before the last dense layer.
pub const EMBEDDING: &str = "embedding";
/// Output `[N, 3]`: maximum, mean and standard deviation of the dB spectrogram.
pub const STATS: &str = "stats";

/// A published model.
#[derive(Debug)]
pub struct Model {
    /// Name in options and output.
    pub name: &'static str,
    /// One line about it.
    pub title: &'static str,
    /// The network.
    pub architecture: Box<dyn Architecture>,
    /// Area under the ROC curve that the original states on its test set, with where it says so.
    pub stated_auc: Option<(f32, &'static str)>,
    /// How its weights can be understood.
    pub readings: &'static [Reading],
    manifest: &'static str,
    /// Its weight file, where it is part of the program.
    embedded: Option<&'static [u8]>,
}

/// The model that runs when none is named: its weights are part of the program (feature `small`).
pub const DEFAULT: &str = "small";

/// Both ways to understand the weights of the original.
const BOTH: &[Reading] = &[Reading::Restored, Reading::Upstream];

impl Model {
    /// Where its weights come from.
    ///
    /// # Errors
    /// [`ModelError::Weights`] when the built-in manifest is damaged.
    pub fn manifest(&self) -> Result<Manifest, ModelError> {
        Ok(Manifest::parse(self.manifest)?)
    }

    /// Whether its weights are part of the program.
    pub fn is_embedded(&self) -> bool {
        self.embedded.is_some()
    }

    /// Its weights: those of the program for a model that has them there, unless a path is given explicitly; else
    /// those that `locator` finds.
    ///
    /// # Errors
    /// [`ModelError::Weights`] when there are none, or they are wrong.
    pub fn weights(&self, locator: &Locator) -> Result<Weights, ModelError> {
        let (manifest, specs) = (self.manifest()?, self.architecture.tensors());
        match self.embedded {
            // What a command does must not depend on what happens to lie in a folder.
            Some(bytes) if locator.explicit.is_none() => {
                Ok(weights::load_embedded(bytes, &specs, &manifest)?)
            }
            _ => Ok(weights::load(&locator.locate(&manifest)?, &specs, &manifest)?),
        }
    }

    /// Whether its weights can be understood so.
    ///
    /// # Errors
    /// [`ModelError::Reading`].
    pub fn check_reading(&self, reading: Reading) -> Result<(), ModelError> {
        if self.readings.contains(&reading) {
            Ok(())
        } else {
            Err(ModelError::Reading { model: self.name, reading })
        }
    }

    /// Its labels, in the order of the scores.
    ///
    /// # Errors
    /// [`ModelError::Vocabulary`] when the built-in list is damaged.
    pub fn vocabulary(&self) -> Result<Vocabulary, ModelError> {
        Ok(Vocabulary::lastfm50()?)
    }
}

/// Where the original states the area under the ROC curve of its models.
const ORIGINAL_README: &str = "README of keunwoochoi/music-auto_tagging-keras, on the Million Song Dataset";

const COMPACT_README: &str = "about, README of compact_cnn in the same repository";

#[cfg(feature = "small")]
const SMALL: Option<&[u8]> = Some(include_bytes!("../../weights/small/tagwave-small.safetensors"));
#[cfg(not(feature = "small"))]
const SMALL: Option<&[u8]> = None;

/// Every model there is, the default first.
pub fn all() -> Vec<Model> {
    vec![
        Model {
            name: DEFAULT,
            title: "tagwave-small: MusicTaggerCRNN's layout with fewer maps, distilled from crnn and cnn, 64 features",
            architecture: Box::new(crnn::Config::small()),
            stated_auc: None,
            readings: &[Reading::Restored],
            manifest: include_str!("../../weights/small/manifest.toml"),
            embedded: SMALL,
        },
        Model {
            name: "cnn",
            title: "MusicTaggerCNN: five convolution blocks, 256 features",
            architecture: Box::new(cnn::Config::default()),
            stated_auc: Some((0.8654, ORIGINAL_README)),
            readings: BOTH,
            manifest: include_str!("../../weights/cnn/manifest.toml"),
            embedded: None,
        },
        Model {
            name: "compact",
            title: "compact_cnn: five convolution blocks of 32 maps, 5 x 32 features",
            architecture: Box::new(compact::Config::default()),
            stated_auc: Some((0.849, COMPACT_README)),
            readings: BOTH,
            manifest: include_str!("../../weights/compact/manifest.toml"),
            embedded: None,
        },
        Model {
            name: "crnn",
            title: "MusicTaggerCRNN: four convolution blocks and two GRU layers, 32 features",
            architecture: Box::new(crnn::Config::default()),
            stated_auc: Some((0.8662, ORIGINAL_README)),
            readings: BOTH,
            manifest: include_str!("../../weights/crnn/manifest.toml"),
            embedded: None,
        },
    ]
}

/// The model called `name`.
///
/// # Errors
/// [`ModelError::Unknown`] with the names there are.
pub fn find(name: &str) -> Result<Model, ModelError> {
    let models = all();
    let known = models.iter().map(|model| model.name).collect();
    let unknown = || ModelError::Unknown { name: name.to_string(), known };
    models.into_iter().find(|model| model.name == name).ok_or_else(unknown)
}

/// The level of a reading's input in CNN and CRNN.
fn input_level(reading: Reading) -> Level {
    match reading {
        Reading::Restored => Level::Standardised,
        Reading::Upstream => Level::Absolute,
    }
}
