//! Labels, scores, tags, and aggregation of clips to tracks.

use std::sync::Arc;

/// The 50 labels of the published models: the most frequent tags of Last.fm in the Million Song Dataset.
const LASTFM_50: &str = include_str!("../weights/labels/lastfm50.txt");

/// Error of a label list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VocabularyError {
    /// An empty line or a repeated label.
    #[error("line {line} of the label list: expected a unique, non-empty label, found {found:?}")]
    Line {
        /// Line, from 1.
        line: usize,
        /// Content of the line.
        found: String,
    },
}

/// The labels of a model, in the order of its scores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vocabulary(Arc<[String]>);

impl Vocabulary {
    /// Parses text with one label per line.
    ///
    /// # Errors
    /// [`VocabularyError::Line`] for an empty or repeated label.
    pub fn parse(text: &str) -> Result<Vocabulary, VocabularyError> {
        Vocabulary::new(text.lines().map(String::from))
    }

    /// Makes a vocabulary of labels.
    ///
    /// # Errors
    /// [`VocabularyError::Line`] for an empty or repeated label, counted from 1.
    pub fn new(labels: impl IntoIterator<Item = String>) -> Result<Vocabulary, VocabularyError> {
        let mut found: Vec<String> = Vec::new();
        for label in labels {
            if label.trim().is_empty() || found.contains(&label) {
                return Err(VocabularyError::Line { line: found.len() + 1, found: label });
            }
            found.push(label);
        }
        Ok(Vocabulary(found.into()))
    }

    /// The labels of the published models.
    ///
    /// # Errors
    /// None in practice: the list is part of the library and tested.
    pub fn lastfm50() -> Result<Vocabulary, VocabularyError> {
        Vocabulary::parse(LASTFM_50)
    }

    /// The labels.
    pub fn labels(&self) -> &[String] {
        &self.0
    }
}

/// A label with its score.
#[derive(Clone, Debug, PartialEq)]
pub struct Tag {
    /// The label.
    pub label: String,
    /// Output of the model's last sigmoid, 0..1. Scores rank labels; they are not calibrated probabilities.
    pub score: f32,
}

/// Selection of the tags to return.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum TagSelection {
    /// The tags with the highest scores, this many.
    Top(usize),
    /// The tags with at least this score.
    Threshold(f32),
}

/// Selects tags from one row of scores, highest first; equal scores keep the order of the labels.
pub fn select(vocabulary: &Vocabulary, scores: &[f32], selection: TagSelection) -> Vec<Tag> {
    let mut order: Vec<usize> = (0..scores.len().min(vocabulary.labels().len())).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    let kept = match selection {
        TagSelection::Top(count) => count.min(order.len()),
        TagSelection::Threshold(least) => order.iter().take_while(|&&i| scores[i] >= least).count(),
    };
    order[..kept].iter().map(|&i| Tag { label: vocabulary.labels()[i].clone(), score: scores[i] }).collect()
}

/// Aggregation of the scores of a track's clips.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Aggregation {
    /// Mean over clips.
    #[default]
    Mean,
    /// Maximum over clips.
    Max,
}

impl Aggregation {
    /// Aggregates the rows of all clips; empty without clips.
    pub fn apply(self, clips: &[Vec<f32>]) -> Vec<f32> {
        let Some(first) = clips.first() else { return Vec::new() };
        (0..first.len())
            .map(|i| match self {
                Aggregation::Mean => {
                    (clips.iter().map(|clip| f64::from(clip[i])).sum::<f64>() / clips.len() as f64) as f32
                }
                Aggregation::Max => clips.iter().map(|clip| clip[i]).fold(f32::NEG_INFINITY, f32::max),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_labels() {
        let labels = Vocabulary::lastfm50().unwrap();
        assert_eq!(labels.labels().len(), 50);
        assert_eq!(
            [&*labels.labels()[0], &*labels.labels()[33], &*labels.labels()[49]],
            ["rock", "Hip-Hop", "happy"]
        );
        assert!(Vocabulary::parse("a\n\nb").is_err());
        assert!(Vocabulary::parse("a\na").is_err());
    }

    #[test]
    fn the_highest_first() {
        let labels = Vocabulary::parse("a\nb\nc").unwrap();
        let tags = |selection| -> Vec<String> {
            select(&labels, &[0.2, 0.9, 0.2], selection).into_iter().map(|tag| tag.label).collect()
        };
        assert_eq!(tags(TagSelection::Top(2)), ["b", "a"]);
        assert_eq!(tags(TagSelection::Top(9)), ["b", "a", "c"]);
        assert_eq!(tags(TagSelection::Threshold(0.5)), ["b"]);
    }

    #[test]
    fn clips_become_a_track() {
        let clips = [vec![0.0, 1.0], vec![0.5, 0.0]];
        assert_eq!(Aggregation::Mean.apply(&clips), [0.25, 0.5]);
        assert_eq!(Aggregation::Max.apply(&clips), [0.5, 1.0]);
    }
}
