//! The published models: input, tensor specs and plan of each.
//!
//! One file per architecture. To add a model, add its file, its line in [`all`], and its manifest under `weights/`.
//! Not here: kernels, devices, files.

use std::borrow::Cow;
use std::sync::Arc;

use crate::error_kind::ErrorKind;
use crate::plan::{Level, Plan, PlanError};
use crate::tags::{Vocabulary, VocabularyError};
use crate::weights::{self, Locator, Manifest, TensorSpec, Weights, WeightsError};

mod blocks;
pub mod cnn;
pub mod compact;
pub mod crnn;
mod file;
mod head;

pub use crate::frontend::{Framing, MelConfig};
pub use file::{head_file, open, output_layer, path_of, read};

#[cfg(not(feature = "unstable"))]
pub(crate) use crate::frontend::Starts;
#[cfg(feature = "unstable")]
pub use crate::frontend::Starts;

/// Error of building a model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// Unknown name of a model.
    #[error("unknown model {name:?}: expected one of {}", known.join(", "))]
    Unknown {
        /// Requested name.
        name: String,
        /// Valid names.
        known: Vec<String>,
    },
    /// The model does not support the compatibility.
    #[error("{model} does not support compatibility {:?}: it was trained by this project and supports {} only",
        compat.as_str(), Compat::Corrected.as_str())]
    Compat {
        /// Name of the model.
        model: String,
        /// Requested compatibility.
        compat: Compat,
    },
    /// No published weights belong to a model of the caller.
    #[error("{model} has no published weights: read them from bytes, and build the tagger from both")]
    Unpublished {
        /// Name of the model.
        model: String,
    },
    /// The arrays of a model file are of no known architecture.
    #[error(
        "unknown architecture: expected the arrays of cnn, crnn or compact, or \"head.weight\" and \"head.bias\"; \
         found {}", found.join(", ")
    )]
    Architecture {
        /// Names in the file, at most eight.
        found: Vec<String>,
    },
    /// Arrays of a model file that its architecture does not have.
    #[error("unknown arrays: expected those of {architecture} only, found {}", found.join(", "))]
    UnknownArrays {
        /// The architecture.
        architecture: &'static str,
        /// Names in the file, at most eight.
        found: Vec<String>,
    },
    /// An array of a model file without values.
    #[error("array {name:?} is empty, expected one value or more")]
    EmptyArray {
        /// Name of the array.
        name: String,
    },
    /// A model file without labels.
    #[error(
        "the file has {scores} scores and no labels: add the metadata \"labels\", a JSON list of {scores} names, or \
         pass a list of labels"
    )]
    NoLabels {
        /// Number of scores.
        scores: usize,
    },
    /// Invalid metadata of a model file.
    #[error("metadata \"{key}\": expected {expected}, found {found}")]
    Metadata {
        /// Name of the metadata.
        key: &'static str,
        /// Valid values.
        expected: String,
        /// Value in the file.
        found: String,
    },
    /// Missing or invalid weights.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// Mismatch of layers.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// Invalid file of frozen statistics.
    #[error("frozen statistics: {reason}")]
    Statistics {
        /// Message of the parser.
        reason: String,
    },
    /// Invalid list of labels.
    #[error(transparent)]
    Vocabulary(#[from] VocabularyError),
}

impl ModelError {
    /// Category of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            ModelError::Unknown { .. }
            | ModelError::Compat { .. }
            | ModelError::Unpublished { .. }
            | ModelError::Architecture { .. }
            | ModelError::NoLabels { .. }
            | ModelError::UnknownArrays { .. }
            | ModelError::EmptyArray { .. }
            | ModelError::Metadata { .. } => ErrorKind::Input,
            ModelError::Weights(error) => error.kind(),
            ModelError::Plan(error) => error.kind(),
            ModelError::Vocabulary(_) | ModelError::Statistics { .. } => ErrorKind::Internal,
        }
    }
}

/// Compatibility with the original project: interpretation of its weights (docs/numerics.md).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Compat {
    /// As the networks were trained: standardised input, `running_std` a standard deviation.
    #[default]
    Corrected,
    /// As the original project's scripts ran them, including mistakes: reproduces its published results.
    Original,
}

impl Compat {
    /// Name in options and output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Compat::Corrected => "corrected",
            Compat::Original => "original",
        }
    }

    /// True if activations can be stored as f16: scores of all models then stay within 5e-3 of those with f32. Activations
    /// of [`Compat::Original`] reach 2.1e5, which exceeds the range of f16.
    pub const fn fits_f16(self) -> bool {
        matches!(self, Compat::Corrected)
    }
}

/// Audio input of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClipSpec {
    /// Samples per second.
    pub sample_rate: u32,
    /// Clip length in samples.
    pub samples: usize,
}

/// Network architecture: tensor specs and plan.
pub trait Architecture: std::fmt::Debug + Send + Sync {
    /// Audio input.
    fn clip(&self) -> ClipSpec;

    /// Specs of all arrays that the network needs, with their names in checkpoints.
    fn tensors(&self) -> Vec<TensorSpec>;

    /// Length of an embedding.
    fn embedding_len(&self) -> usize;

    /// Builds the unfused plan for batches of one clip. Outputs: [`SCORES`], [`EMBEDDING`], [`STATS`].
    ///
    /// # Errors
    /// [`ModelError`] if an array is missing or has another shape.
    #[cfg_attr(not(feature = "unstable"), doc(hidden))]
    fn build(&self, weights: &Weights, compat: Compat, starts: Starts) -> Result<Plan, ModelError>;
}

/// Output `[N, K]`: a score in 0..1 for each label.
#[cfg_attr(not(feature = "unstable"), doc(hidden))]
pub const SCORES: &str = "scores";
/// Output `[N, D]`: the features before the last dense layer.
#[cfg_attr(not(feature = "unstable"), doc(hidden))]
pub const EMBEDDING: &str = "embedding";
/// Output `[N, 3]`: maximum, mean and standard deviation of the dB spectrogram.
#[cfg_attr(not(feature = "unstable"), doc(hidden))]
pub const STATS: &str = "stats";

/// A network with its labels: a published model ([`find`]), or one of the caller ([`Model::new`]).
#[derive(Clone, Debug)]
pub struct Model {
    name: Cow<'static, str>,
    title: &'static str,
    architecture: Arc<dyn Architecture>,
    stated_auc: Option<(f32, &'static str)>,
    compats: &'static [Compat],
    origin: ModelOrigin,
}

/// Source of labels and weights.
#[derive(Clone, Debug)]
enum ModelOrigin {
    Published {
        manifest: &'static str,
        /// Weight file built into the program, if any.
        embedded: Option<&'static [u8]>,
    },
    Caller(Vocabulary),
}

/// Default model, whose weights are built into the program (feature `small`).
pub const DEFAULT: &str = "small";

/// Compatibilities of models with weights of the original.
const BOTH: &[Compat] = &[Compat::Corrected, Compat::Original];

impl Model {
    /// A model of the caller: a published architecture with sizes and labels of its own.
    ///
    /// ```
    /// use tagwave::models::{Model, crnn};
    /// use tagwave::tagger::{Device, Tagger};
    /// use tagwave::tags::Vocabulary;
    /// use tagwave::tensor::HostTensor;
    /// use tagwave::weights::Weights;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let labels = Vocabulary::parse("birdsong\nrain\nspeech")?;
    /// let model = Model::new("field-recordings", crnn::Config { labels: 3, ..crnn::Config::tiny() }, labels);
    /// // Of a file: `model.weights_from_bytes(std::fs::read("field-recordings.safetensors")?)?`.
    /// let ones = |spec: tagwave::weights::TensorSpec| (spec.name, HostTensor::from_fn(spec.shape, |_| 1.0));
    /// let weights = Weights::from_tensors(model.architecture().tensors().into_iter().map(ones));
    /// let tagger = Tagger::builder().device(Device::Reference).build_from(model, &weights)?;
    /// assert_eq!(tagger.labels(), ["birdsong", "rain", "speech"]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn new(
        name: impl Into<String>,
        architecture: impl Architecture + 'static,
        labels: Vocabulary,
    ) -> Model {
        Model::of_caller(name.into(), Arc::new(architecture), labels)
    }

    fn of_caller(name: String, architecture: Arc<dyn Architecture>, labels: Vocabulary) -> Model {
        Model {
            name: Cow::Owned(name),
            title: "a model of the caller",
            architecture,
            stated_auc: None,
            compats: BOTH,
            origin: ModelOrigin::Caller(labels),
        }
    }

    /// Name in options and output.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Description in one line.
    pub fn title(&self) -> &str {
        self.title
    }

    /// Network architecture.
    pub fn architecture(&self) -> &dyn Architecture {
        &*self.architecture
    }

    /// Area under the ROC curve stated by the original, with its source.
    pub fn stated_auc(&self) -> Option<(f32, &'static str)> {
        self.stated_auc
    }

    /// Supported compatibilities.
    pub fn compats(&self) -> &'static [Compat] {
        self.compats
    }

    /// Manifest of the published weights.
    ///
    /// # Errors
    /// [`ModelError::Unpublished`] for a model of the caller; [`ModelError::Weights`] if the built-in manifest is invalid.
    #[cfg_attr(not(feature = "unstable"), doc(hidden))]
    pub fn manifest(&self) -> Result<Manifest, ModelError> {
        match self.origin {
            ModelOrigin::Published { manifest, .. } => Ok(Manifest::parse(manifest)?),
            ModelOrigin::Caller(_) => Err(ModelError::Unpublished { model: self.name.to_string() }),
        }
    }

    /// True if the weights are built into the program.
    pub fn is_embedded(&self) -> bool {
        matches!(self.origin, ModelOrigin::Published { embedded: Some(_), .. })
    }

    /// Loads the weights: the built-in ones, if there are any and `locator` has no explicit path, else those that `locator`
    /// finds.
    ///
    /// # Errors
    /// [`ModelError::Weights`] if they are missing or invalid; [`ModelError::Unpublished`] for a model of the caller.
    pub fn weights(&self, locator: &Locator) -> Result<Weights, ModelError> {
        let (manifest, specs) = (self.manifest()?, self.architecture.tensors());
        match self.origin {
            // Built-in weights are not replaced by files that happen to be in a folder.
            ModelOrigin::Published { embedded: Some(bytes), .. } if locator.explicit.is_none() => {
                Ok(weights::load_embedded(bytes, &specs, &manifest)?)
            }
            _ => Ok(weights::load(&locator.locate(&manifest)?, &specs, &manifest)?),
        }
    }

    /// Reads weights from the bytes of a safetensors or Keras file.
    ///
    /// # Errors
    /// [`ModelError::Weights`] if they are invalid or made for another architecture.
    pub fn weights_from_bytes(&self, bytes: Vec<u8>) -> Result<Weights, ModelError> {
        Ok(weights::from_bytes(bytes, &self.architecture.tensors())?)
    }

    /// Checks that the model supports a compatibility.
    ///
    /// # Errors
    /// [`ModelError::Compat`].
    pub fn check_compat(&self, compat: Compat) -> Result<(), ModelError> {
        if self.compats.contains(&compat) {
            Ok(())
        } else {
            Err(ModelError::Compat { model: self.name.to_string(), compat })
        }
    }

    /// Labels in the order of the scores.
    ///
    /// # Errors
    /// [`ModelError::Vocabulary`] if the built-in list is invalid.
    pub fn vocabulary(&self) -> Result<Vocabulary, ModelError> {
        match &self.origin {
            ModelOrigin::Published { .. } => Ok(Vocabulary::lastfm50()?),
            ModelOrigin::Caller(labels) => Ok(labels.clone()),
        }
    }
}

/// Source of the stated area under the ROC curve.
const ORIGINAL_README: &str = "README of keunwoochoi/music-auto_tagging-keras, on the Million Song Dataset";

const COMPACT_README: &str = "about, README of compact_cnn in the same repository";

#[cfg(feature = "small")]
const SMALL: Option<&[u8]> = Some(include_bytes!("../../weights/small/tagwave-small.safetensors"));
#[cfg(not(feature = "small"))]
const SMALL: Option<&[u8]> = None;

/// All models, the default first.
pub fn all() -> Vec<Model> {
    vec![
        Model {
            name: Cow::Borrowed(DEFAULT),
            title: "tagwave-small: MusicTaggerCRNN's architecture with fewer channels, distilled from crnn and cnn, 64 features",
            architecture: Arc::new(crnn::Config::small()),
            stated_auc: None,
            compats: &[Compat::Corrected],
            origin: ModelOrigin::Published {
                manifest: include_str!("../../weights/small/manifest.toml"),
                embedded: SMALL,
            },
        },
        Model {
            name: Cow::Borrowed("cnn"),
            title: "MusicTaggerCNN: five convolution blocks, 256 features",
            architecture: Arc::new(cnn::Config::default()),
            stated_auc: Some((0.8654, ORIGINAL_README)),
            compats: BOTH,
            origin: ModelOrigin::Published {
                manifest: include_str!("../../weights/cnn/manifest.toml"),
                embedded: None,
            },
        },
        Model {
            name: Cow::Borrowed("compact"),
            title: "compact_cnn: five convolution blocks of 32 channels, 5 x 32 features",
            architecture: Arc::new(compact::Config::default()),
            stated_auc: Some((0.849, COMPACT_README)),
            compats: BOTH,
            origin: ModelOrigin::Published {
                manifest: include_str!("../../weights/compact/manifest.toml"),
                embedded: None,
            },
        },
        Model {
            name: Cow::Borrowed("crnn"),
            title: "MusicTaggerCRNN: four convolution blocks and two GRU layers, 32 features",
            architecture: Arc::new(crnn::Config::default()),
            stated_auc: Some((0.8662, ORIGINAL_README)),
            compats: BOTH,
            origin: ModelOrigin::Published {
                manifest: include_str!("../../weights/crnn/manifest.toml"),
                embedded: None,
            },
        },
    ]
}

/// Finds a model by name.
///
/// # Errors
/// [`ModelError::Unknown`] with the valid names.
pub fn find(name: &str) -> Result<Model, ModelError> {
    let models = all();
    let known = models.iter().map(|model| model.name.to_string()).collect();
    let unknown = || ModelError::Unknown { name: name.to_string(), known };
    models.into_iter().find(|model| model.name == name).ok_or_else(unknown)
}

/// Normalisation of the input of CNN and CRNN.
fn input_level(compat: Compat) -> Level {
    match compat {
        Compat::Corrected => Level::Standardised,
        Compat::Original => Level::Absolute,
    }
}
