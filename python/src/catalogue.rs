//! Published models, and labels.

use pyo3::prelude::*;
use tagwave::models as zoo;

use crate::errors;
use crate::settings::find_model;

/// Properties of a model.
#[derive(IntoPyObject)]
pub(crate) struct ModelFields {
    name: String,
    title: String,
    sample_rate: u32,
    clip_samples: usize,
    embedding_len: usize,
    is_built_in: bool,
    stated_auc: Option<f32>,
}

/// Properties of the published models.
#[pyfunction]
pub(crate) fn models() -> Vec<ModelFields> {
    let fields = |model: &zoo::Model| {
        let clip = model.architecture().clip();
        ModelFields {
            name: model.name().into(),
            title: model.title().into(),
            sample_rate: clip.sample_rate,
            clip_samples: clip.samples,
            embedding_len: model.architecture().embedding_len(),
            is_built_in: model.is_embedded(),
            stated_auc: model.stated_auc().map(|(auc, _)| auc),
        }
    };
    zoo::all().iter().map(fields).collect()
}

/// Labels of a model by its name, or of a model file, in the order of the scores.
#[pyfunction]
pub(crate) fn labels(py: Python<'_>, model: &str) -> PyResult<Vec<String>> {
    py.detach(|| {
        let found = find_model(model, None, &tagwave_cli::locator(None))?;
        let vocabulary = found.vocabulary().map_err(|error| errors::of_model(&error.into()))?;
        Ok(vocabulary.labels().to_vec())
    })
}
