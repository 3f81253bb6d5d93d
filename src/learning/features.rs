//! Features and labels of tracks.

use super::error::LearningError;

/// Features `[N, D]` and labels `[N, K]` of N tracks.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelledFeatures {
    tags: Vec<String>,
    dimensions: usize,
    features: Vec<f64>,
    truth: Vec<bool>,
}

impl LabelledFeatures {
    /// Takes rows of `dimensions` features, and a row of labels, one per tag, for each of them.
    ///
    /// # Errors
    /// [`LearningError::Length`], [`LearningError::NotFinite`].
    pub fn new(
        tags: Vec<String>,
        dimensions: usize,
        features: Vec<f64>,
        truth: Vec<bool>,
    ) -> Result<LabelledFeatures, LearningError> {
        let tracks = features.len().checked_div(dimensions).unwrap_or(0);
        let length = |what, expected, found| LearningError::Length { what, expected, found };
        if features.len() != tracks * dimensions {
            return Err(length("features", tracks * dimensions, features.len()));
        }
        if truth.len() != tracks * tags.len() {
            return Err(length("labels", tracks * tags.len(), truth.len()));
        }
        match features.iter().position(|value| !value.is_finite()) {
            Some(place) => {
                Err(LearningError::NotFinite { track: place / dimensions, feature: place % dimensions })
            }
            None => Ok(LabelledFeatures { tags, dimensions, features, truth }),
        }
    }

    /// Tags, in the order of the labels.
    pub fn tags(&self) -> &[String] {
        &self.tags
    }

    /// Number of tracks, N.
    pub fn tracks(&self) -> usize {
        self.features.len().checked_div(self.dimensions).unwrap_or(0)
    }

    /// Number of features, D.
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// Labels `[N, K]`.
    pub fn truth(&self) -> &[bool] {
        &self.truth
    }

    /// Features of each track.
    pub(super) fn rows(&self) -> impl Iterator<Item = &[f64]> {
        self.features.chunks_exact(self.dimensions.max(1))
    }

    /// Labels of one tag, one per track.
    pub fn column(&self, tag: usize) -> impl Iterator<Item = bool> {
        self.truth.iter().skip(tag).step_by(self.tags.len().max(1)).copied()
    }

    /// Some of the tags.
    pub(super) fn with_tags(&self, tags: &[usize]) -> LabelledFeatures {
        let rows = self.truth.chunks_exact(self.tags.len().max(1));
        LabelledFeatures {
            tags: tags.iter().map(|&tag| self.tags[tag].clone()).collect(),
            dimensions: self.dimensions,
            features: self.features.clone(),
            truth: rows.flat_map(|row| tags.iter().map(|&tag| row[tag])).collect(),
        }
    }

    /// The tracks for which `keep` is true.
    pub(super) fn part(&self, keep: impl Fn(usize) -> bool) -> LabelledFeatures {
        let mut part = LabelledFeatures {
            tags: self.tags.clone(),
            dimensions: self.dimensions,
            features: Vec::new(),
            truth: Vec::new(),
        };
        let labels = self.truth.chunks_exact(self.tags.len().max(1));
        for (_, (row, labels)) in self.rows().zip(labels).enumerate().filter(|(track, _)| keep(*track)) {
            part.features.extend_from_slice(row);
            part.truth.extend_from_slice(labels);
        }
        part
    }
}
