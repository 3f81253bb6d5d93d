//! Model files: weights with labels, whose sizes are read from their arrays. docs/models.md describes them.

use std::path::Path;
use std::sync::Arc;

use super::head::Head;
use super::{Architecture, Model, ModelError, cnn, compact, crnn, find};
use crate::tags::Vocabulary;
use crate::tensor::{HostTensor, Shape};
use crate::weights::{Locator, RawWeights, TensorSpec, Weights, WeightsFormat, WeightsInfo, read_file};

/// Metadata with the labels, a JSON list.
const LABELS_KEY: &str = "labels";
/// Metadata with the name of the model whose embedding a head takes.
const BASE_KEY: &str = "base";
/// Metadata with the SHA-256 of that model's weights.
const BASE_DIGEST_KEY: &str = "base_sha256";
/// Most names of an error message.
const MAX_NAMES: usize = 8;

/// Extensions of model files.
const EXTENSIONS: [&str; 3] = ["safetensors", "h5", "hdf5"];

/// Path of a model file, if `model` is one and not the name of a published model: it has a folder, or the extension of a
/// weight file.
pub fn path_of(model: &str) -> Option<&Path> {
    let path = Path::new(model);
    let extension = path.extension().unwrap_or_default();
    let is_weights = EXTENSIONS.iter().any(|known| extension.eq_ignore_ascii_case(known));
    (path.components().count() > 1 || is_weights).then_some(path)
}

/// Opens a model file. As [`read`], with the file's name as the default name of the model.
///
/// # Errors
/// As [`read`]; [`ModelError::Weights`] if the file cannot be read.
pub fn open(
    path: impl AsRef<Path>,
    labels: Option<&Vocabulary>,
    base: &Locator,
) -> Result<(Model, Weights), ModelError> {
    let path = path.as_ref();
    let name = path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
    let in_file = |error| match error {
        ModelError::Weights(error) => ModelError::Weights(error.in_file(path)),
        error => error,
    };
    read_named(read_file(path)?, &name, labels, base).map_err(in_file)
}

/// Reads a model from the bytes of a safetensors or Keras file: an architecture of the published models with sizes of its
/// own, or a head on the embedding of a published model.
///
/// Labels are `labels`, else the metadata `labels` of the file. `base` finds the weights of a head's model.
///
/// # Errors
/// [`ModelError::Architecture`] for unknown arrays, [`ModelError::NoLabels`], [`ModelError::Metadata`],
/// [`ModelError::Weights`] for missing arrays, wrong shapes and numbers that are not finite.
pub fn read(
    bytes: Vec<u8>,
    labels: Option<&Vocabulary>,
    base: &Locator,
) -> Result<(Model, Weights), ModelError> {
    read_named(bytes, "unnamed", labels, base)
}

fn read_named(
    bytes: Vec<u8>,
    name: &str,
    labels: Option<&Vocabulary>,
    base: &Locator,
) -> Result<(Model, Weights), ModelError> {
    let raw = RawWeights::read(bytes)?;
    let name = raw.metadata("model").unwrap_or(name).to_string();
    if let Some(weight) = raw.shape("head.weight", "head.weight") {
        let (base, base_weights) = base_model(&raw, base)?;
        // The bias tells the number of labels even if the weights are transposed.
        let scores = raw.shape("head.bias", "head.bias").map_or(weight.extent(1), |bias| bias.extent(0));
        let head = Head::new(base, scores);
        let unknown: Vec<String> =
            raw.names().filter(|name| !head.has(name)).take(MAX_NAMES).map(String::from).collect();
        if !unknown.is_empty() {
            return Err(ModelError::UnknownArrays { architecture: "a head", found: unknown });
        }
        let labels = vocabulary(&raw, labels, scores)?;
        let weights = not_empty(head.weights(&base_weights, raw)?)?;
        return Ok((Model::of_caller(name, Arc::new(head), labels), weights));
    }
    let Some(Found { architecture, name: known, scores, specs }) = architecture(&raw) else {
        let found = raw.names().take(MAX_NAMES).map(String::from).collect();
        return Err(ModelError::Architecture { found });
    };
    let labels = vocabulary(&raw, labels, scores)?;
    let weights = not_empty(raw.into_weights(&specs)?)?;
    // Files of Keras have statistics that the models do not use.
    if weights.info().format == Some(WeightsFormat::Safetensors) && !weights.info().ignored.is_empty() {
        let found = weights.info().ignored.iter().take(MAX_NAMES).cloned().collect();
        return Err(ModelError::UnknownArrays { architecture: known, found });
    }
    Ok((Model::of_caller(name, architecture, labels), weights))
}

/// Weights of a head on the embedding of the published model `base`, as [`read`] takes them once they are exported:
/// `weight` `[D, K]` and `bias` `[K]` of `labels`. `base_weights` are those that the head belongs to.
///
/// # Errors
/// [`ModelError::Metadata`] for other numbers of values.
pub fn head_file(
    name: &str,
    base: &Model,
    base_weights: &Weights,
    labels: &Vocabulary,
    weight: Vec<f32>,
    bias: Vec<f32>,
) -> Result<Weights, ModelError> {
    let labels = labels.labels();
    let sizes = [base.architecture().embedding_len(), labels.len()];
    if weight.len() != sizes[0] * sizes[1] || bias.len() != sizes[1] {
        let found = format!("{} weights and {} biases", weight.len(), bias.len());
        let expected = format!("{} weights and {} biases", sizes[0] * sizes[1], sizes[1]);
        return Err(ModelError::Metadata { key: LABELS_KEY, expected, found });
    }
    let tensor = |shape: Shape, data: Vec<f32>| HostTensor::from_fn(shape, |place| data[place]);
    let arrays = [
        ("head.weight".to_string(), tensor(Shape::from(sizes), weight)),
        ("head.bias".to_string(), tensor(Shape::from([sizes[1]]), bias)),
    ];
    let digest = base_weights.info().sha256.clone().map(|digest| (BASE_DIGEST_KEY.to_string(), digest));
    let metadata = [
        (LABELS_KEY.to_string(), serde_json::Value::from(labels.to_vec()).to_string()),
        (BASE_KEY.to_string(), base.name().to_string()),
    ];
    Ok(Weights::from_tensors(arrays).with_info(WeightsInfo {
        model: Some(name.to_string()),
        licence: base_weights.info().licence.clone(),
        metadata: metadata.into_iter().chain(digest).collect(),
        ..WeightsInfo::default()
    }))
}

/// Weight `[D, K]` and bias `[K]` of a model's last layer; `None` if its scores do not come from its embedding by one dense
/// layer.
pub fn output_layer<'a>(model: &Model, weights: &'a Weights) -> Option<[&'a HostTensor; 2]> {
    let [weight, bias] = ["output.weight", "output.bias"].map(|name| weights.get_optional(name));
    let (weight, bias) = (weight?, bias?);
    (weight.shape().extent(0) == model.architecture().embedding_len()).then_some([weight, bias])
}

/// Refuses sizes of zero, which no layer can have.
fn not_empty(weights: Weights) -> Result<Weights, ModelError> {
    let empty = weights.iter().find(|(_, tensor)| tensor.shape().is_empty());
    let empty = empty.map(|(name, _)| name.to_string());
    empty.map_or(Ok(weights), |name| Err(ModelError::EmptyArray { name }))
}

/// Architecture of a file, with sizes.
struct Found {
    name: &'static str,
    architecture: Arc<dyn Architecture>,
    scores: usize,
    specs: Vec<TensorSpec>,
}

/// Finds the architecture by the arrays.
fn architecture(raw: &RawWeights) -> Option<Found> {
    if let Some(config) = crnn::Config::of_file(raw) {
        let (scores, specs) = (config.labels, [config.tensors(), config.recurrent_biases()].concat());
        return Some(Found { name: "crnn", architecture: Arc::new(config), scores, specs });
    }
    if let Some(config) = compact::Config::of_file(raw) {
        let (scores, specs) = (config.labels, [config.tensors(), config.statistics()].concat());
        return Some(Found { name: "compact", architecture: Arc::new(config), scores, specs });
    }
    let config = cnn::Config::of_file(raw)?;
    let (scores, specs) = (config.labels, config.tensors());
    Some(Found { name: "cnn", architecture: Arc::new(config), scores, specs })
}

/// Labels of `scores` scores: those of the caller, of the file, or, for a file exported from published weights, of the
/// published models.
fn vocabulary(
    raw: &RawWeights,
    labels: Option<&Vocabulary>,
    scores: usize,
) -> Result<Vocabulary, ModelError> {
    let expected = || format!("a JSON list of {scores} names");
    if let Some(labels) = labels {
        return match labels.labels().len() {
            count if count == scores => Ok(labels.clone()),
            count => {
                let found = format!("a list of {count}");
                Err(ModelError::Metadata { key: LABELS_KEY, expected: format!("{scores} names"), found })
            }
        };
    }
    if let Some(text) = raw.metadata(LABELS_KEY) {
        let invalid = |found: String| ModelError::Metadata { key: LABELS_KEY, expected: expected(), found };
        let labels: Vec<String> = serde_json::from_str(text).map_err(|error| invalid(error.to_string()))?;
        if labels.len() != scores {
            return Err(invalid(format!("a list of {}", labels.len())));
        }
        return Vocabulary::new(labels).map_err(|error| invalid(error.to_string()));
    }
    let published = raw.metadata("model").and_then(|name| find(name).ok());
    match published.map(|model| model.vocabulary()).transpose()? {
        Some(labels) if labels.labels().len() == scores => Ok(labels),
        _ => Err(ModelError::NoLabels { scores }),
    }
}

/// Model whose embedding a head takes, with its weights.
fn base_model(raw: &RawWeights, locator: &Locator) -> Result<(Model, Weights), ModelError> {
    let model = find(raw.metadata(BASE_KEY).unwrap_or(super::DEFAULT))?;
    let weights = model.weights(locator)?;
    let (expected, found) = (raw.metadata(BASE_DIGEST_KEY), weights.info().sha256.as_deref());
    match (expected, found) {
        (Some(expected), Some(found)) if expected != found => Err(ModelError::Metadata {
            key: BASE_DIGEST_KEY,
            expected: format!("weights of {} with the SHA-256 {expected}", model.name()),
            found: found.to_string(),
        }),
        _ => Ok((model, weights)),
    }
}
